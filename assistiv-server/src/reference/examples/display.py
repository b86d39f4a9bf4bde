import json, os
from urllib.request import Request, urlopen

env = os.environ


def call(method, path, key, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request("{API_BASE}" + path, data, headers, method=method)) as answer:
        text = answer.read()
        return json.loads(text) if text else None


# The ledgers of an end user
print(call("GET", f"/v1/platforms/{env['PLATFORM_ID']}/end-users/{env['END_USER_ID']}/wallet", env["PLATFORM_KEY"]))
