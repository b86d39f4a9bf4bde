// OpenAI's JavaScript library against the demo server.
//
// The demo's providers are a mock that obeys words such as `mock:words=7` in the last user message. Its answers cost
// one token a word; with tools it calls the first one, or all of them when the message asks for "parallel" work; JSON
// answers fill a schema with "text" and 1.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import OpenAI from 'openai';

const demo = JSON.parse(readFileSync(process.env.ASSISTIV_DEMO, 'utf8'));
const MINI = 'gpt-4o-mini';
const SENTENCE = 'Every cent is counted – même «ici», 例えば, and 🦀 too.';
const LONG = 'Go mock:words=300 mock:delay_ms=20';
const TIMEOUT = 20_000;

// Nano-dollars a token: $0.15, $0.075 and $0.60 for a million.
const PRICES = {
  'gpt-4o-mini': { input: 150n, cached: 75n, output: 600n },
  echo: { input: 150n, cached: 75n, output: 600n },
};

const options = { baseURL: demo.api_url, apiKey: demo.end_user_key, timeout: TIMEOUT, maxRetries: 0 };
const client = new OpenAI(options);

/** A client that repeats requests by its own rules, and counts what it sends. */
function counting() {
  const sent = { count: 0 };
  const count = (url, init) => {
    sent.count += 1;
    return fetch(url, init);
  };
  const { maxRetries: _, ...rest } = options;
  return { sent, client: new OpenAI({ ...rest, fetch: count }) };
}

const user = (content) => [{ role: 'user', content }];

const words = (text) => text.split(/\s+/).filter(Boolean).length;

function tool(name, properties) {
  return {
    type: 'function',
    function: {
      name,
      description: `The ${name}`,
      parameters: {
        type: 'object',
        properties: Object.fromEntries(Object.entries(properties).map(([key, type]) => [key, { type }])),
        required: Object.keys(properties),
        additionalProperties: false,
      },
    },
  };
}

const WEATHER = tool('get_weather', { city: 'string' });
const CLOCK = tool('get_time', { zone: 'string', offset: 'integer' });

async function collect(stream, chunks = []) {
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const deltas = (chunks) => chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.delta));
const textOf = (chunks) => deltas(chunks).map((delta) => delta.content ?? '').join('');
const finishReasons = (chunks) =>
  chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.finish_reason)).filter((reason) => reason != null);

let lastBalance;

/** The wallet in nano-dollars, read from the text: nothing here tops it up, so it never rises. */
async function balance() {
  const answer = await fetch(`${demo.api_url}/platforms/${demo.platform_id}/wallet`, {
    headers: { Authorization: `Bearer ${demo.platform_key}` },
    signal: AbortSignal.timeout(TIMEOUT),
  });
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  const [, whole, fraction] = /"balance"\s*:\s*(\d+)\.(\d{6,9})\s*[,}]/.exec(text) ?? assert.fail(text);
  const now = BigInt(whole + fraction.padEnd(9, '0'));
  if (lastBalance !== undefined) assert.ok(now <= lastBalance, `the balance rose from ${lastBalance} to ${now}`);
  lastBalance = now;
  return now;
}

/** What `run` costs, and what it gives. */
async function charge(run) {
  const before = await balance();
  const result = await run();
  return { charged: before - (await balance()), result };
}

/** What was charged since `before`, once something was and no more comes: for calls whose end nobody saw. */
async function settled(before) {
  const deadline = Date.now() + 15_000;
  for (let last = await balance(); ; ) {
    await sleep(400);
    const now = await balance();
    if (now === last && now < before) return before - now;
    assert.ok(Date.now() < deadline, `nothing was charged, or no end is in sight: ${before}, ${now}`);
    last = now;
  }
}

function costOf(model, usage) {
  const price = PRICES[model];
  const cached = BigInt(usage.prompt_tokens_details?.cached_tokens ?? 0);
  return (
    price.input * (BigInt(usage.prompt_tokens) - cached) +
    price.cached * cached +
    price.output * BigInt(usage.completion_tokens)
  );
}

/** Awaits the rejection of `promise` and gives the error. */
async function failure(promise, kind) {
  const error = await promise.then(
    () => assert.fail(`expected ${kind.name}, but the call succeeded`),
    (error) => error,
  );
  assert.ok(error instanceof kind, `expected ${kind.name}, got ${error?.stack}`);
  return error;
}

function checkError(error, status, code, reason, type) {
  const { error: body } = error;
  assert.deepEqual(
    { status: error.status, code: error.code, reason: body.reason, type: error.type },
    { status, code, reason, type },
  );
  assert.equal(typeof body.message, 'string');
  assert.equal(typeof body.details, 'object');
  assert.equal(body.request_id, error.headers.get('x-request-id'));
  assert.equal(error.requestID, body.request_id);
  assert.ok(body.doc_url.endsWith(`#${reason}`), body.doc_url);
}

// --- Chat -----------------------------------------------------------------------------------------------------------

test('echo answers with the last message', async () => {
  const completion = await client.chat.completions.create({
    model: 'echo',
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'one' },
      { role: 'user', content: SENTENCE },
    ],
  });
  assert.equal(completion.object, 'chat.completion');
  assert.equal(completion.model, 'echo');
  assert.match(completion.id, /^chatcmpl-/);
  assert.ok(completion._request_id);
  assert.equal(completion.choices.length, 1);
  const [choice] = completion.choices;
  assert.equal(choice.finish_reason, 'stop');
  assert.equal(choice.message.role, 'assistant');
  assert.equal(choice.message.content, SENTENCE);
  const { prompt_tokens, completion_tokens, total_tokens } = completion.usage;
  assert.ok(prompt_tokens > 0 && completion_tokens > 0);
  assert.equal(total_tokens, prompt_tokens + completion_tokens);
});

for (const [model, provider] of [[MINI, 'openai'], ['grok-4.3', 'xai']]) {
  test(`${provider} answers`, async () => {
    const { data, response } = await client.chat.completions
      .create({ model, messages: user('Hello mock:words=7') })
      .withResponse();
    assert.equal(data.model, model);
    assert.equal(words(data.choices[0].message.content), 7);
    assert.equal(data.usage.completion_tokens, 7);
    assert.equal(response.headers.get('x-assistiv-provider'), provider);
  });
}

test('the output limit ends with length', async () => {
  const completion = await client.chat.completions.create({
    model: MINI,
    messages: user('Go mock:words=30'),
    max_completion_tokens: 20,
  });
  assert.equal(completion.choices[0].finish_reason, 'length');
  assert.equal(words(completion.choices[0].message.content), 20);
});

// --- Streams --------------------------------------------------------------------------------------------------------

test('a stream without usage', async () => {
  const chunks = await collect(
    await client.chat.completions.create({ model: MINI, messages: user('Go mock:words=12'), stream: true }),
  );
  assert.equal(words(textOf(chunks)), 12);
  assert.deepEqual(finishReasons(chunks), ['stop']);
  assert.deepEqual(chunks.filter((chunk) => chunk.usage != null), []);
  assert.ok(chunks.every((chunk) => chunk.choices.length === 1 && chunk.model === MINI));
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  assert.deepEqual(deltas(chunks).map((delta) => delta.role).filter(Boolean), ['assistant']);
});

test('a stream with usage', async () => {
  const chunks = await collect(
    await client.chat.completions.create({
      model: MINI,
      messages: user('Go mock:words=12'),
      stream: true,
      stream_options: { include_usage: true },
    }),
  );
  assert.equal(words(textOf(chunks)), 12);
  const withUsage = chunks.filter((chunk) => chunk.usage != null);
  assert.equal(withUsage.length, 1);
  assert.equal(withUsage[0], chunks.at(-1));
  assert.deepEqual(withUsage[0].choices, []);
  assert.equal(withUsage[0].usage.completion_tokens, 12);
  assert.equal(withUsage[0].usage.total_tokens, withUsage[0].usage.prompt_tokens + 12);
});

test('echo streams word by word', async () => {
  const chunks = await collect(
    await client.chat.completions.create({ model: 'echo', messages: user(SENTENCE), stream: true }),
  );
  const pieces = deltas(chunks).map((delta) => delta.content).filter(Boolean);
  assert.equal(pieces.join(''), SENTENCE);
  assert.equal(pieces.length, SENTENCE.split(' ').length);
});

test('the stream helper', async () => {
  const pieces = [];
  const stream = client.chat.completions
    .stream({ model: MINI, messages: user('Go mock:words=8'), stream_options: { include_usage: true } })
    .on('content', (delta) => pieces.push(delta));
  const completion = await stream.finalChatCompletion();
  assert.equal(pieces.filter(Boolean).length, 8);
  assert.equal(completion.choices[0].message.content, pieces.join(''));
  assert.equal(completion.choices[0].finish_reason, 'stop');
  assert.equal(completion.usage.completion_tokens, 8);
  assert.equal((await stream.totalUsage()).completion_tokens, 8);
});

test('a stream arrives as it is made', async () => {
  const times = [];
  const stream = await client.chat.completions.create({
    model: MINI,
    messages: user('Go mock:words=8 mock:delay_ms=150'),
    stream: true,
  });
  for await (const chunk of stream) if (chunk.choices[0].delta.content) times.push(performance.now());
  assert.equal(times.length, 8);
  assert.ok(times.at(-1) - times[0] > 700, `${times}`);
});

// --- Tools ----------------------------------------------------------------------------------------------------------

test('a tool call and its result', async () => {
  const messages = user('What is the weather?');
  const first = await client.chat.completions.create({ model: MINI, messages, tools: [WEATHER, CLOCK] });
  const [choice] = first.choices;
  assert.equal(choice.finish_reason, 'tool_calls');
  assert.equal(choice.message.content, null);
  assert.equal(choice.message.tool_calls.length, 1);
  const [call] = choice.message.tool_calls;
  assert.equal(call.type, 'function');
  assert.equal(call.function.name, 'get_weather');
  assert.deepEqual(JSON.parse(call.function.arguments), { city: 'text' });

  const second = await client.chat.completions.create({
    model: MINI,
    messages: [...messages, choice.message, { role: 'tool', tool_call_id: call.id, content: '{"degrees":21}' }],
    tools: [WEATHER, CLOCK],
  });
  assert.equal(second.choices[0].finish_reason, 'stop');
  assert.ok(second.choices[0].message.content);
  assert.equal(second.choices[0].message.tool_calls, undefined);
});

test('parallel tool calls stream in pieces', async () => {
  const chunks = await collect(
    await client.chat.completions.create({
      model: MINI,
      messages: user('Weather and time, in parallel'),
      tools: [WEATHER, CLOCK],
      stream: true,
    }),
  );
  const pieces = deltas(chunks).flatMap((delta) => delta.tool_calls ?? []);
  const expected = [['get_weather', { city: 'text' }], ['get_time', { zone: 'text', offset: 1 }]];
  for (const [index, [name, value]] of expected.entries()) {
    const own = pieces.filter((piece) => piece.index === index);
    // Whatever repeats an id or a name would be glued together by clients.
    assert.equal(own.filter((piece) => piece.id).length, 1);
    assert.deepEqual(own.map((piece) => piece.function?.name).filter(Boolean), [name]);
    const parts = own.map((piece) => piece.function?.arguments).filter(Boolean);
    assert.ok(parts.length > 1);
    assert.deepEqual(JSON.parse(parts.join('')), value);
  }
  assert.deepEqual(finishReasons(chunks), ['tool_calls']);
});

for (const stream of [false, true]) {
  test(`runTools calls functions and goes on with their results${stream ? ', streamed' : ''}`, async () => {
    const calls = [];
    const runnable = (tool, result) => ({
      type: 'function',
      function: {
        ...tool.function,
        parse: JSON.parse,
        function: (args) => {
          calls.push([tool.function.name, args]);
          return result;
        },
      },
    });
    const runner = client.chat.completions.runTools({
      model: MINI,
      stream,
      messages: user('Weather and time, in parallel'),
      tools: [runnable(WEATHER, '21 degrees'), runnable(CLOCK, 'noon')],
    });
    const content = await runner.finalContent();
    assert.ok(content);
    assert.deepEqual(calls, [['get_weather', { city: 'text' }], ['get_time', { zone: 'text', offset: 1 }]]);
    assert.deepEqual(
      runner.messages.map((message) => message.role),
      ['user', 'assistant', 'tool', 'tool', 'assistant'],
    );
    assert.deepEqual(
      runner.messages.filter((message) => message.role === 'tool').map((message) => message.content),
      ['21 degrees', 'noon'],
    );
    assert.equal(runner.messages.at(-1).content, content);
  });
}

// --- Structured output ----------------------------------------------------------------------------------------------

const REPORT = {
  type: 'json_schema',
  json_schema: {
    name: 'report',
    strict: true,
    schema: {
      type: 'object',
      properties: {
        city: { type: 'string' },
        degrees: { type: 'integer' },
        sky: { type: 'string', enum: ['clear', 'grey'] },
      },
      required: ['city', 'degrees', 'sky'],
      additionalProperties: false,
    },
  },
};

test('a JSON schema is filled', async () => {
  const completion = await client.chat.completions.create({
    model: MINI,
    messages: user('A report'),
    response_format: REPORT,
  });
  assert.deepEqual(JSON.parse(completion.choices[0].message.content), { city: 'text', degrees: 1, sky: 'clear' });
});

test('a JSON schema is filled in a stream', async () => {
  const stream = client.chat.completions.stream({ model: MINI, messages: user('A report'), response_format: REPORT });
  assert.deepEqual(JSON.parse(await stream.finalContent()), { city: 'text', degrees: 1, sky: 'clear' });
});

// --- Models ---------------------------------------------------------------------------------------------------------

test('models', async () => {
  const names = [];
  for await (const model of client.models.list()) {
    assert.equal(model.object, 'model');
    names.push(model.id);
  }
  for (const name of ['echo', MINI, 'grok-4.3', ...demo.models]) assert.ok(names.includes(name), name);
  assert.deepEqual(names, [...new Set(names)].sort());
  const model = await client.models.retrieve(MINI);
  assert.equal(model.id, MINI);
  assert.equal(model.owned_by, 'openai');
  const error = await failure(client.models.retrieve('no-such-model'), OpenAI.NotFoundError);
  checkError(error, 404, 'not_found', 'model_not_found', 'invalid_request_error');
});

// --- Errors ---------------------------------------------------------------------------------------------------------

test('a wrong key', async () => {
  const stranger = client.withOptions({ apiKey: `sk-eu_${'0'.repeat(56)}` });
  const { charged, result } = await charge(() =>
    failure(
      stranger.chat.completions.create({ model: 'echo', messages: user('Hi') }),
      OpenAI.AuthenticationError,
    ),
  );
  checkError(result, 401, 'unauthorized', 'invalid_api_key', 'authentication_error');
  assert.equal(charged, 0n);
});

test('a model that does not exist', async () => {
  for (const stream of [false, true]) {
    const error = await failure(
      client.chat.completions.create({ model: 'no-such-model', messages: user('Hi'), stream }),
      OpenAI.NotFoundError,
    );
    checkError(error, 404, 'not_found', 'model_not_found', 'invalid_request_error');
  }
});

test('the wrong kind of key', async () => {
  const error = await failure(client.get(`/platforms/${demo.platform_id}`), OpenAI.PermissionDeniedError);
  checkError(error, 403, 'forbidden', 'wrong_key_type', 'permission_error');
});

test('a body without messages', async () => {
  const error = await failure(
    client.post('/chat/completions', { body: { model: 'echo' } }),
    OpenAI.BadRequestError,
  );
  checkError(error, 400, 'bad_request', 'validation_failed', 'invalid_request_error');
  assert.deepEqual(error.error.details.errors.map((one) => one.param), ['messages']);
});

const REFUSALS = [
  ['status=500', OpenAI.InternalServerError, 502, 'bad_gateway', 'provider_error', 'server_error'],
  ['status=503', OpenAI.InternalServerError, 503, 'service_unavailable', 'provider_overloaded', 'server_error'],
  ['status=429', OpenAI.RateLimitError, 429, 'rate_limited', 'provider_rate_limited', 'rate_limit_error'],
  ['status=400', OpenAI.BadRequestError, 400, 'bad_request', 'provider_bad_request', 'invalid_request_error'],
];
for (const [knob, kind, ...expected] of REFUSALS) {
  test(`a provider that refuses with ${knob}`, async () => {
    for (const stream of [false, true]) {
      const { charged, result } = await charge(() =>
        failure(client.chat.completions.create({ model: MINI, messages: user(`Hi mock:${knob}`), stream }), kind),
      );
      checkError(result, ...expected);
      assert.equal(charged, 0n);
    }
  });
}

const REPEATED = [['status=429', OpenAI.RateLimitError, 3], ['status=400', OpenAI.BadRequestError, 1]];
for (const [knob, kind, expected] of REPEATED) {
  test(`requests sent for ${knob}: ${expected}`, async () => {
    const { client, sent } = counting();
    await failure(client.chat.completions.create({ model: MINI, messages: user(`Hi mock:${knob}`) }), kind);
    assert.equal(sent.count, expected);
  });
}

test('no repetition when it is off', async () => {
  const { client, sent } = counting();
  await failure(
    client.chat.completions.create({ model: MINI, messages: user('Hi mock:status=429') }, { maxRetries: 0 }),
    OpenAI.RateLimitError,
  );
  assert.equal(sent.count, 1);
});

const BREAKS = [['cut', 'provider_stream_interrupted'], ['error_mid', 'provider_error']];
for (const [knob, reason] of BREAKS) {
  test(`an error in the middle never looks like an end: ${knob}`, async () => {
    const before = await balance();
    const chunks = [];
    const stream = await client.chat.completions.create({
      model: MINI,
      messages: user(`Go mock:words=20 mock:${knob}`),
      stream: true,
    });
    const error = await failure(collect(stream, chunks), OpenAI.APIError);
    assert.equal(error.status, undefined);
    assert.equal(error.code, 'bad_gateway');
    assert.equal(error.error.reason, reason);
    assert.ok(words(textOf(chunks)) >= 1 && words(textOf(chunks)) < 20);
    assert.deepEqual(finishReasons(chunks), []);
    // What was delivered is paid for.
    assert.ok((await settled(before)) > 0n);
  });
}

test('an error in the middle of the stream helper', async () => {
  const before = await balance();
  const stream = client.chat.completions.stream({ model: MINI, messages: user('Go mock:words=20 mock:cut') });
  const error = await failure(stream.finalChatCompletion(), OpenAI.APIError);
  assert.equal(error.error.reason, 'provider_stream_interrupted');
  assert.ok((await settled(before)) > 0n);
});

// --- Money ----------------------------------------------------------------------------------------------------------

for (const model of ['echo', MINI]) {
  test(`a call to ${model} costs tokens times price`, async () => {
    for (const text of ['one', 'one two three', SENTENCE]) {
      const plain = await charge(() => client.chat.completions.create({ model, messages: user(text) }));
      assert.ok(plain.charged > 0n);
      assert.equal(plain.charged, costOf(model, plain.result.usage));
      const streamed = await charge(async () =>
        collect(
          await client.chat.completions.create({
            model,
            messages: user(text),
            stream: true,
            stream_options: { include_usage: true },
          }),
        ),
      );
      assert.equal(streamed.charged, costOf(model, streamed.result.at(-1).usage));
      assert.equal(streamed.charged, plain.charged);
    }
  });
}

test('calls side by side are each charged once', async () => {
  const { charged, result } = await charge(() =>
    Promise.all(
      Array.from({ length: 24 }, async (_, index) => {
        const model = index % 2 ? 'echo' : MINI;
        const completion = await client.chat.completions.create({ model, messages: user('word '.repeat(index + 1)) });
        return costOf(model, completion.usage);
      }),
    ),
  );
  assert.equal(charged, result.reduce((sum, cost) => sum + cost, 0n));
});

test('leaving a stream', async () => {
  const begin = Date.now();
  const before = await balance();
  const controller = new AbortController();
  const stream = await client.chat.completions.create(
    { model: MINI, messages: user(LONG), stream: true },
    { signal: controller.signal },
  );
  const chunks = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
    if (words(textOf(chunks)) === 5) controller.abort();
  }
  assert.deepEqual(finishReasons(chunks), []);
  assert.ok(words(textOf(chunks)) < 300);
  const charged = await settled(before);
  assert.ok(Date.now() - begin < 5_000, 'the charge waited for the end of a stream that nobody reads');
  const whole = await charge(() =>
    client.chat.completions.create({ model: MINI, messages: user(LONG.replace('=20', '=0')) }),
  );
  assert.ok(charged > 0n && charged < whole.charged, `${charged}, ${whole.charged}`);
  // The books are in order afterwards: the next call costs what it says, to the last digit.
  const next = await charge(() => client.chat.completions.create({ model: MINI, messages: user('mock:words=3') }));
  assert.equal(next.charged, costOf(MINI, next.result.usage));
});

test('leaving the stream helper', async () => {
  const before = await balance();
  const stream = client.chat.completions.stream({ model: MINI, messages: user(LONG) });
  stream.once('content', () => stream.abort());
  await failure(stream.finalChatCompletion(), OpenAI.APIUserAbortError);
  assert.ok((await settled(before)) > 0n);
});
