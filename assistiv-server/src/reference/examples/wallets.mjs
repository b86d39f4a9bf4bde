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

// The balance, and what moved it lately
console.log(await call("GET", `/v1/platforms/${env.PLATFORM_ID}/wallet`, env.PLATFORM_KEY));
// Be told when it falls to five dollars
console.log(await call("PATCH", `/v1/platforms/${env.PLATFORM_ID}/wallet`, env.PLATFORM_KEY, {"low_balance_threshold": "5.00"}));
