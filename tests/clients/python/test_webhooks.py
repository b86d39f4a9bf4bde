"""Webhooks, verified with the libraries of Svix and of Standard Webhooks."""

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import standardwebhooks
import svix.webhooks

TIMEOUT = 20.0


class Receiver:
    """Takes every message and keeps it."""

    def __init__(self) -> None:
        self.got: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.put(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self) -> tuple[dict[str, str], bytes]:
        return self.got.get(timeout=TIMEOUT)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()


@pytest.fixture
def api(demo: dict[str, Any]) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"{demo['api_url']}/platforms/{demo['platform_id']}",
        headers={"Authorization": f"Bearer {demo['platform_key']}"},
        timeout=TIMEOUT,
    ) as api:
        yield api


@contextmanager
def endpoint(api: httpx.Client, url: str) -> Iterator[dict[str, Any]]:
    made = api.post("/webhooks", json={"url": url, "event_types": ["end_user.created"]})
    assert made.status_code == 201, made.text
    hook = made.json()["data"]
    yield hook
    assert api.delete(f"/webhooks/{hook['id']}").status_code == 204


def only(headers: dict[str, str], names: str) -> dict[str, str]:
    """The headers of one set of names, so that neither library can help itself to the other's."""
    return {name: headers[name] for name in (f"{names}-id", f"{names}-timestamp", f"{names}-signature")}


def verify(secret: str, headers: dict[str, str], body: bytes) -> None:
    svix.webhooks.Webhook(secret).verify(body, only(headers, "svix"))
    standardwebhooks.Webhook(secret).verify(body.decode(), only(headers, "webhook"))


def test_messages_verify(api: httpx.Client, receiver: Receiver) -> None:
    with endpoint(api, receiver.url) as hook:
        made = api.post("/end-users", json={"external_id": "webhooks-python"})
        assert made.status_code == 201, made.text
        headers, body = receiver.next()
        verify(hook["secret"], headers, body)
        told = json.loads(body)
        assert told["event_type"] == "end_user.created"
        assert told["data"]["external_id"] == "webhooks-python"

        with pytest.raises(svix.webhooks.WebhookVerificationError):
            svix.webhooks.Webhook(hook["secret"]).verify(body + b" ", only(headers, "svix"))
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            changed = body.decode() + " "
            standardwebhooks.Webhook(hook["secret"]).verify(changed, only(headers, "webhook"))


def test_both_secrets_verify_after_a_rotation(api: httpx.Client, receiver: Receiver) -> None:
    with endpoint(api, receiver.url) as hook:
        rotated = api.post(f"/webhooks/{hook['id']}/rotate-secret")
        assert rotated.status_code == 200, rotated.text
        assert api.post(f"/webhooks/{hook['id']}/test").status_code == 202
        headers, body = receiver.next()
        assert json.loads(body)["event_type"] == "ping"
        for secret in (hook["secret"], rotated.json()["data"]["secret"]):
            verify(secret, headers, body)
