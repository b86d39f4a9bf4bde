const env = process.env;

async function call(method, path, key, body, headers = {}) {
  const answer = await fetch("{API_BASE}" + path, {
    method,
    headers: { ...headers, Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.status === 204 ? null : answer.json();
}

// Let an end user spend five dollars more; with an Idempotency-Key a repeat adds nothing
console.log(await call("POST", `/v1/platforms/${env.PLATFORM_ID}/end-users/${env.END_USER_ID}/budget/topup`, env.PLATFORM_KEY, {"amount_usd": "5.00", "reason": "bonus"}, { "Idempotency-Key": crypto.randomUUID() }));
// What moved the budget
console.log(await call("GET", `/v1/platforms/${env.PLATFORM_ID}/end-users/${env.END_USER_ID}/budget/transactions?limit=5`, env.PLATFORM_KEY));
