import json, os
from urllib.request import Request, urlopen

env = os.environ


def call(method, path, key, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request("{API_BASE}" + path, data, headers, method=method)) as answer:
        text = answer.read()
        return json.loads(text) if text else None


# The platform's keys for providers
print(call("GET", f"/v1/platforms/{env['PLATFORM_ID']}/llm-configs", env["PLATFORM_KEY"]))
# A name of your own for a model
print(call("PUT", f"/v1/platforms/{env['PLATFORM_ID']}/model-routes", env["PLATFORM_KEY"], {"overrides": [{"model": "gpt-4o-mini", "aliases": ["fast"]}]}))
