import json, os
from urllib.request import Request, urlopen

env = os.environ


def call(method, path, key, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request("{API_BASE}" + path, data, headers, method=method)) as answer:
        text = answer.read()
        return json.loads(text) if text else None


# Six hundred requests in a minute for one end user
print(call("PUT", f"/v1/platforms/{env['PLATFORM_ID']}/end-users/{env['END_USER_ID']}/rate-limits", env["PLATFORM_KEY"], {"rpm_limit": 600}))
# And the platform's default again
print(call("DELETE", f"/v1/platforms/{env['PLATFORM_ID']}/end-users/{env['END_USER_ID']}/rate-limits", env["PLATFORM_KEY"]))
