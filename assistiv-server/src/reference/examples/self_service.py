import json, os
from urllib.request import Request, urlopen

env = os.environ


def call(method, path, key, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request("{API_BASE}" + path, data, headers, method=method)) as answer:
        text = answer.read()
        return json.loads(text) if text else None


# Who am I
print(call("GET", "/v1/me", env["END_USER_KEY"]))
# What is left
print(call("GET", "/v1/me/budget", env["END_USER_KEY"]))
# How fast may I be
print(call("GET", "/v1/me/rate-limits", env["END_USER_KEY"]))
