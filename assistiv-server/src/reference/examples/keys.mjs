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

// One more key for an end user
console.log(await call("POST", `/v1/platforms/${env.PLATFORM_ID}/end-users/${env.END_USER_ID}/api-keys`, env.PLATFORM_KEY, {"name": "Phone", "scopes": ["inference", "self"]}));
// All keys of end users, without their text
console.log(await call("GET", `/v1/platforms/${env.PLATFORM_ID}/api-keys?type=end_user`, env.PLATFORM_KEY));
