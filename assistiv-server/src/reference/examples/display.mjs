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

// The ledgers of an end user
console.log(await call("GET", `/v1/platforms/${env.PLATFORM_ID}/end-users/${env.END_USER_ID}/wallet`, env.PLATFORM_KEY));
