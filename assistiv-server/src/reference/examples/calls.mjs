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

// Ask a model, paid from the budget of the end user
console.log(await call("POST", "/v1/chat/completions", env.END_USER_KEY, {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}));
// What may be asked
console.log(await call("GET", "/v1/models", env.END_USER_KEY));
// What it would cost
console.log(await call("POST", "/v1/quotes", env.END_USER_KEY, {"endpoint": "/v1/chat/completions", "request": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}}));
