import json, os
from urllib.request import Request, urlopen

env = os.environ


def call(method, path, key, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request("{API_BASE}" + path, data, headers, method=method)) as answer:
        text = answer.read()
        return json.loads(text) if text else None


# Ask a model, paid from the budget of the end user
print(call("POST", "/v1/chat/completions", env["END_USER_KEY"], {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}))
# What may be asked
print(call("GET", "/v1/models", env["END_USER_KEY"]))
# What it would cost
print(call("POST", "/v1/quotes", env["END_USER_KEY"], {"endpoint": "/v1/chat/completions", "request": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}}))
