import json, os
from urllib.request import Request, urlopen

env = os.environ


def call(method, path, key, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request("{API_BASE}" + path, data, headers, method=method)) as answer:
        text = answer.read()
        return json.loads(text) if text else None


# The newest calls
print(call("GET", f"/v1/platforms/{env['PLATFORM_ID']}/logs?limit=5", env["PLATFORM_KEY"]))
# This month, by model and day
print(call("GET", f"/v1/platforms/{env['PLATFORM_ID']}/usage?group_by=model&interval=day", env["PLATFORM_KEY"]))
