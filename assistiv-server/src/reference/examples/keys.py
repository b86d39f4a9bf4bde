import json, os
from urllib.request import Request, urlopen

env = os.environ


def call(method, path, key, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request("{API_BASE}" + path, data, headers, method=method)) as answer:
        text = answer.read()
        return json.loads(text) if text else None


# One more key for an end user
print(call("POST", f"/v1/platforms/{env['PLATFORM_ID']}/end-users/{env['END_USER_ID']}/api-keys", env["PLATFORM_KEY"], {"name": "Phone", "scopes": ["inference", "self"]}))
# All keys of end users, without their text
print(call("GET", f"/v1/platforms/{env['PLATFORM_ID']}/api-keys?type=end_user", env["PLATFORM_KEY"]))
