// Webhooks, verified with the JavaScript libraries of Svix and of Standard Webhooks.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { test } from 'node:test';
import * as standard from 'standardwebhooks';
import * as svix from 'svix';

const demo = JSON.parse(readFileSync(process.env.ASSISTIV_DEMO, 'utf8'));
const base = `${demo.api_url}/platforms/${demo.platform_id}`;

async function api(method, path, body) {
  const answer = await fetch(base + path, {
    method,
    headers: { authorization: `Bearer ${demo.platform_key}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(20_000),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.status === 204 ? undefined : (await answer.json()).data;
}

// Runs a test with an endpoint whose messages are awaited one by one.
async function withEndpoint(run) {
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    response.writeHead(204).end();
    server.emit('message', { headers: request.headers, body: Buffer.concat(chunks).toString() });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}/hook`;
  const hook = await api('POST', '/webhooks', { url, event_types: ['end_user.created'] });
  try {
    await run(hook, () => once(server, 'message', { signal: AbortSignal.timeout(20_000) }));
  } finally {
    await api('DELETE', `/webhooks/${hook.id}`);
    server.closeAllConnections();
    server.close();
  }
}

// The headers of one set of names, so that neither library can help itself to the other's.
const only = (headers, names) =>
  Object.fromEntries(['id', 'timestamp', 'signature'].map((name) => [`${names}-${name}`, headers[`${names}-${name}`]]));

function verify(secret, { headers, body }) {
  new svix.Webhook(secret).verify(body, only(headers, 'svix'));
  new standard.Webhook(secret).verify(body, only(headers, 'webhook'));
}

test('messages verify', () =>
  withEndpoint(async (hook, next) => {
    const arrives = next();
    await api('POST', '/end-users', { external_id: 'webhooks-js' });
    const [message] = await arrives;
    verify(hook.secret, message);
    const told = JSON.parse(message.body);
    assert.equal(told.event_type, 'end_user.created');
    assert.equal(told.data.external_id, 'webhooks-js');
    const changed = { ...message, body: `${message.body} ` };
    assert.throws(() => new svix.Webhook(hook.secret).verify(changed.body, only(changed.headers, 'svix')));
    assert.throws(() => new standard.Webhook(hook.secret).verify(changed.body, only(changed.headers, 'webhook')));
  }));

test('both secrets verify after a rotation', () =>
  withEndpoint(async (hook, next) => {
    const rotated = await api('POST', `/webhooks/${hook.id}/rotate-secret`);
    const arrives = next();
    await api('POST', `/webhooks/${hook.id}/test`);
    const [message] = await arrives;
    assert.equal(JSON.parse(message.body).event_type, 'ping');
    for (const secret of [hook.secret, rotated.secret]) verify(secret, message);
  }));
