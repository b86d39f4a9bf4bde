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

// The newest calls
console.log(await call("GET", `/v1/platforms/${env.PLATFORM_ID}/logs?limit=5`, env.PLATFORM_KEY));
// This month, by model and day
console.log(await call("GET", `/v1/platforms/${env.PLATFORM_ID}/usage?group_by=model&interval=day`, env.PLATFORM_KEY));
