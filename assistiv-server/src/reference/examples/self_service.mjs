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

// Who am I
console.log(await call("GET", "/v1/me", env.END_USER_KEY));
// What is left
console.log(await call("GET", "/v1/me/budget", env.END_USER_KEY));
// How fast may I be
console.log(await call("GET", "/v1/me/rate-limits", env.END_USER_KEY));
