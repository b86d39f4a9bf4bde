import json, os
from urllib.request import Request, urlopen

env = os.environ


def call(method, path, key, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request("{API_BASE}" + path, data, headers, method=method)) as answer:
        text = answer.read()
        return json.loads(text) if text else None


# Make an end user, or one more key for it; the answer shows the key this once
print(call("POST", f"/v1/platforms/{env['PLATFORM_ID']}/end-users", env["PLATFORM_KEY"], {"external_id": "user-42", "display_name": "Ada"}))
# Read it by the name that you gave it
print(call("GET", f"/v1/platforms/{env['PLATFORM_ID']}/end-users/external:user-42", env["PLATFORM_KEY"]))
