import json, os, uuid
from urllib.request import Request, urlopen

env = os.environ


def call(method, path, key, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    headers |= {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with urlopen(Request("{API_BASE}" + path, data, headers, method=method)) as answer:
        text = answer.read()
        return json.loads(text) if text else None


# Let an end user spend five dollars more; with an Idempotency-Key a repeat adds nothing
print(call("POST", f"/v1/platforms/{env['PLATFORM_ID']}/end-users/{env['END_USER_ID']}/budget/topup", env["PLATFORM_KEY"], {"amount_usd": "5.00", "reason": "bonus"}, **{"Idempotency-Key": str(uuid.uuid4())}))
# What moved the budget
print(call("GET", f"/v1/platforms/{env['PLATFORM_ID']}/end-users/{env['END_USER_ID']}/budget/transactions?limit=5", env["PLATFORM_KEY"]))
