// Anthropic's JavaScript library against the demo server: the same code, whoever answers.
//
// What the mock behind the demo answers is told in `test_openai.mjs`.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';

const demo = JSON.parse(readFileSync(process.env.ASSISTIV_DEMO, 'utf8'));
const CLAUDE = 'claude-sonnet-5-5';
const MODELS = [CLAUDE, 'gpt-4o-mini', 'grok-4.3', 'gemini-2.5-flash'];
const WEATHER = {
  name: 'get_weather',
  description: 'The weather',
  input_schema: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
};

const client = new Anthropic({
  baseURL: demo.api_url.replace(/\/v1$/, ''),
  apiKey: demo.end_user_key,
  timeout: 20_000,
  maxRetries: 0,
});

const user = (content) => [{ role: 'user', content }];
const textOf = (message) => message.content.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('');
const words = (text) => text.split(/\s+/).filter(Boolean).length;

for (const model of MODELS) {
  test(`${model} answers a message`, async () => {
    const { data, response } = await client.messages
      .create({ model, max_tokens: 100, messages: user('Hello mock:words=7') })
      .withResponse();
    assert.equal(data.model, model);
    assert.equal(words(textOf(data)), 7);
    assert.equal(data.stop_reason, 'end_turn');
    assert.ok(data.usage.input_tokens > 0);
    assert.equal(data.usage.output_tokens, 7);
    assert.ok(response.headers.get('x-assistiv-log-id'));
  });

  test(`${model} streams a message`, async () => {
    const stream = client.messages.stream({ model, max_tokens: 100, messages: user('Go mock:words=9') });
    let text = '';
    stream.on('text', (piece) => {
      text += piece;
    });
    const message = await stream.finalMessage();
    assert.equal(text, textOf(message));
    assert.equal(words(text), 9);
    assert.equal(message.stop_reason, 'end_turn');
    assert.equal(message.usage.output_tokens, 9);
  });

  test(`${model} calls a tool`, async () => {
    const messages = user('Oslo?');
    const asked = { model, max_tokens: 200, tools: [WEATHER], messages };
    const message = await client.messages.stream(asked).finalMessage();
    assert.equal(message.stop_reason, 'tool_use');
    const [call] = message.content.filter((block) => block.type === 'tool_use');
    assert.equal(call.name, 'get_weather');
    assert.equal(typeof call.input.city, 'string');
    messages.push({ role: 'assistant', content: message.content });
    const result = { type: 'tool_result', tool_use_id: call.id, content: 'rain' };
    messages.push({ role: 'user', content: [result, { type: 'text', text: 'mock:words=4' }] });
    const answer = await client.messages.create({ ...asked, tool_choice: { type: 'none' } });
    assert.equal(words(textOf(answer)), 4);
  });

  test(`${model} has its prompts counted`, async () => {
    const { data, response } = await client.messages
      .countTokens({ model, messages: user('How long is this?') })
      .withResponse();
    assert.ok(data.input_tokens > 3);
    const method = response.headers.get('x-assistiv-token-count-method');
    assert.equal(method, model === CLAUDE ? 'reported' : 'estimated');
  });

  test(`errors of ${model} have their class`, async () => {
    for (const [prompt, kind, status, type] of [
      ['mock:status=400', Anthropic.BadRequestError, 400, 'invalid_request_error'],
      ['mock:status=429', Anthropic.RateLimitError, 429, 'rate_limit_error'],
      ['mock:status=503', Anthropic.InternalServerError, 503, 'overloaded_error'],
    ]) {
      const error = await client.messages.create({ model, max_tokens: 9, messages: user(prompt) }).then(
        () => assert.fail(prompt),
        (error) => error,
      );
      assert.ok(error instanceof kind, error?.stack);
      assert.equal(error.status, status);
      assert.equal(error.error.error.type, type);
      assert.equal(error.requestID, error.error.request_id);
    }
  });
}

test('a key that is none is refused', async () => {
  const stranger = new Anthropic({ baseURL: client.baseURL, apiKey: `sk-eu_${'0'.repeat(56)}`, maxRetries: 0 });
  await assert.rejects(
    stranger.messages.create({ model: CLAUDE, max_tokens: 9, messages: user('x') }),
    Anthropic.AuthenticationError,
  );
});
