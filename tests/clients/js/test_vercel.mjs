// Vercel's AI SDK against the demo server, on the Responses route that its OpenAI provider takes.
//
// What the mock behind the demo answers is told in `test_openai.mjs`.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { embed, generateText, Output, streamText, tool } from 'ai';
import { z } from 'zod';

const demo = JSON.parse(readFileSync(process.env.ASSISTIV_DEMO, 'utf8'));
const MODELS = ['gpt-4o-mini', 'claude-sonnet-5-5', 'grok-4.3', 'gemini-2.5-flash'];

const assistiv = createOpenAI({ baseURL: demo.api_url, apiKey: demo.end_user_key });
const words = (text) => text.split(/\s+/).filter(Boolean).length;

for (const name of MODELS) {
  const model = assistiv(name);
  const maxRetries = 0;

  test(`${name} generates and streams text`, async () => {
    const prompt = 'Hello mock:words=6';
    const whole = await generateText({ model, prompt, maxRetries });
    assert.equal(words(whole.text), 6);
    assert.equal(whole.finishReason, 'stop');
    assert.equal(whole.usage.outputTokens, 6);
    const streamed = streamText({ model, prompt, maxRetries });
    let text = '';
    for await (const piece of streamed.textStream) text += piece;
    assert.equal(text, whole.text);
    assert.equal((await streamed.usage).outputTokens, 6);
    assert.equal(await streamed.finishReason, 'stop');
  });

  test(`${name} has a tool called`, async () => {
    const cities = [];
    const weather = tool({
      description: 'Tells the weather of a city',
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => {
        cities.push(city);
        return '18C';
      },
    });
    const done = await generateText({ model, prompt: 'Weather?', tools: { weather }, maxRetries });
    assert.equal(done.toolCalls[0].toolName, 'weather');
    assert.equal(done.toolResults[0].output, '18C');
    assert.equal(cities.length, 1);
    const streamed = streamText({ model, prompt: 'Weather?', tools: { weather }, maxRetries });
    await streamed.consumeStream();
    assert.equal((await streamed.toolCalls)[0].toolName, 'weather');
  });

  test(`${name} generates an object`, async () => {
    const output = Output.object({ schema: z.object({ text: z.string() }) });
    const { output: object } = await generateText({ model, prompt: 'Say something', output, maxRetries });
    assert.ok(object.text);
  });
}

test('a text becomes a vector', async () => {
  const model = assistiv.embedding('text-embedding-3-small');
  const { embedding, usage } = await embed({ model, value: 'one' });
  assert.ok(embedding.length > 0);
  assert.ok(usage.tokens > 0);
});
