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

// The platform's keys for providers
console.log(await call("GET", `/v1/platforms/${env.PLATFORM_ID}/llm-configs`, env.PLATFORM_KEY));
// A name of your own for a model
console.log(await call("PUT", `/v1/platforms/${env.PLATFORM_ID}/model-routes`, env.PLATFORM_KEY, {"overrides": [{"model": "gpt-4o-mini", "aliases": ["fast"]}]}));
