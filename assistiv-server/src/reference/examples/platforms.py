import json, os
from urllib.request import Request, urlopen

env = os.environ


def call(method, path, key, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request("{API_BASE}" + path, data, headers, method=method)) as answer:
        text = answer.read()
        return json.loads(text) if text else None


# Read the platform
print(call("GET", f"/v1/platforms/{env['PLATFORM_ID']}", env["PLATFORM_KEY"]))
# Refuse calls of end users who have no budget
print(call("PATCH", f"/v1/platforms/{env['PLATFORM_ID']}", env["PLATFORM_KEY"], {"settings": {"require_budget": True}}))
