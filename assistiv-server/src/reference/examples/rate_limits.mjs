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

// Six hundred requests in a minute for one end user
console.log(await call("PUT", `/v1/platforms/${env.PLATFORM_ID}/end-users/${env.END_USER_ID}/rate-limits`, env.PLATFORM_KEY, {"rpm_limit": 600}));
// And the platform's default again
console.log(await call("DELETE", `/v1/platforms/${env.PLATFORM_ID}/end-users/${env.END_USER_ID}/rate-limits`, env.PLATFORM_KEY));
