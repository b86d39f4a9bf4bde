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

// Read the platform
console.log(await call("GET", `/v1/platforms/${env.PLATFORM_ID}`, env.PLATFORM_KEY));
// Refuse calls of end users who have no budget
console.log(await call("PATCH", `/v1/platforms/${env.PLATFORM_ID}`, env.PLATFORM_KEY, {"settings": {"require_budget": true}}));
