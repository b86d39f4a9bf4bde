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

// All platforms
console.log(await call("GET", "/v1/admin/platforms", env.OPERATOR_KEY));
// What is charged
console.log(await call("GET", "/v1/admin/prices?provider=openai&limit=5", env.OPERATOR_KEY));
