import json, os
from urllib.request import Request, urlopen

env = os.environ


def call(method, path, key, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request("{API_BASE}" + path, data, headers, method=method)) as answer:
        text = answer.read()
        return json.loads(text) if text else None


# All platforms
print(call("GET", "/v1/admin/platforms", env["OPERATOR_KEY"]))
# What is charged
print(call("GET", "/v1/admin/prices?provider=openai&limit=5", env["OPERATOR_KEY"]))
