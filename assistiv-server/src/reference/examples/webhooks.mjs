const env = process.env;

async function call(method, path, key, body) {
  const answer = await fetch("{API_BASE}" + path, {
    method,
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.status === 204 ? null : answer.json();
}

// Who is told of events; POST adds an https URL
console.log(await call("GET", `/v1/platforms/${env.PLATFORM_ID}/webhooks`, env.PLATFORM_KEY));
