// OpenAI's JavaScript library on the Responses and Embeddings endpoints of the demo server, whoever answers.
//
// What the mock behind the demo answers is told in `test_openai.mjs`.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import OpenAI from 'openai';
import { zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const demo = JSON.parse(readFileSync(process.env.ASSISTIV_DEMO, 'utf8'));
const MODELS = ['gpt-4o-mini', 'claude-sonnet-5-5', 'grok-4.3', 'gemini-2.5-flash'];
const WEATHER = {
  type: 'function',
  name: 'get_weather',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
  strict: true,
};
const Answer = z.object({ text: z.string() });

const client = new OpenAI({ baseURL: demo.api_url, apiKey: demo.end_user_key, timeout: 20_000, maxRetries: 0 });
const words = (text) => text.split(/\s+/).filter(Boolean).length;

for (const model of MODELS) {
  test(`${model} creates and streams a response`, async () => {
    const input = 'Hello mock:words=6';
    const made = await client.responses.create({ model, input });
    assert.equal(made.status, 'completed');
    assert.equal(words(made.output_text), 6);
    assert.equal(made.usage.output_tokens, 6);
    const stream = client.responses.stream({ model, input });
    let text = '';
    stream.on('response.output_text.delta', (event) => {
      text += event.delta;
    });
    const final = await stream.finalResponse();
    assert.equal(text, made.output_text);
    assert.equal(final.output_text, made.output_text);
    assert.equal(final.usage.output_tokens, 6);
  });

  test(`${model} goes on after a stored response`, async () => {
    const first = await client.responses.create({ model, input: 'mock:words=2 first' });
    const second = await client.responses.create({
      model,
      input: 'mock:words=2 second',
      previous_response_id: first.id,
    });
    assert.equal(second.previous_response_id, first.id);
    assert.ok(second.usage.input_tokens > first.usage.input_tokens);
  });

  test(`${model} calls a tool and hears its result`, async () => {
    const asked = await client.responses.create({ model, input: 'Weather?', tools: [WEATHER] });
    const calls = asked.output.filter((item) => item.type === 'function_call');
    assert.equal(calls[0].name, 'get_weather');
    const input = calls.map(({ call_id }) => ({ type: 'function_call_output', call_id, output: '18C' }));
    const done = await client.responses.create({ model, input, tools: [WEATHER], previous_response_id: asked.id });
    assert.equal(done.status, 'completed');
  });

  test(`${model} answers in the shape that was asked for`, async () => {
    const text = { format: zodTextFormat(Answer, 'answer') };
    const parsed = await client.responses.parse({ model, input: 'Say something', text });
    assert.ok(Answer.parse(parsed.output_parsed).text);
  });
}

test('texts become vectors, in either encoding', async () => {
  const ask = { model: 'text-embedding-3-small', input: ['one', 'two'] };
  const packed = await client.embeddings.create(ask);
  const plain = await client.embeddings.create({ ...ask, encoding_format: 'float' });
  assert.equal(packed.data.length, 2);
  assert.ok(packed.data[0].embedding.length > 0);
  assert.equal(packed.data[0].embedding.length, plain.data[0].embedding.length);
  assert.ok(plain.usage.prompt_tokens > 0);
});
