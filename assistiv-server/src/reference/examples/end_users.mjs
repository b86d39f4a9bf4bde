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

// Make an end user, or one more key for it; the answer shows the key this once
console.log(await call("POST", `/v1/platforms/${env.PLATFORM_ID}/end-users`, env.PLATFORM_KEY, {"external_id": "user-42", "display_name": "Ada"}));
// Read it by the name that you gave it
console.log(await call("GET", `/v1/platforms/${env.PLATFORM_ID}/end-users/external:user-42`, env.PLATFORM_KEY));
