"""The demo server under test, clients for it, and its wallet."""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

TIMEOUT = 20.0
NANO = Decimal("0.000000001")


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens."""

    input: Decimal
    cached: Decimal
    output: Decimal

    def of(self, prompt: int, cached: int, completion: int) -> Decimal:
        micro = self.input * (prompt - cached) + self.cached * cached + self.output * completion
        return (micro / 1_000_000).quantize(NANO)

    def of_usage(self, usage: Any) -> Decimal:
        details = usage.prompt_tokens_details
        cached = (details.cached_tokens or 0) if details else 0
        return self.of(usage.prompt_tokens, cached, usage.completion_tokens)


PRICES = {
    "claude-sonnet-5-5": Price(Decimal("2"), Decimal("0.10"), Decimal("10")),
    "gpt-4o-mini": Price(Decimal("0.15"), Decimal("0.075"), Decimal("0.60")),
    "echo": Price(Decimal("0.15"), Decimal("0.075"), Decimal("0.60")),
}


class Charge:
    """What the wallet lost while a block ran."""

    amount: Decimal


class Wallet:
    """The platform's wallet. Nothing here tops it up, so every look must find the same or less."""

    def __init__(self, demo: dict[str, Any]) -> None:
        self._url = f"{demo['api_url']}/platforms/{demo['platform_id']}/wallet"
        self._headers = {"Authorization": f"Bearer {demo['platform_key']}"}
        self._last: Decimal | None = None

    def read(self) -> dict[str, Any]:
        answer = httpx.get(self._url, headers=self._headers, timeout=TIMEOUT)
        assert answer.status_code == 200, answer.text
        assert re.search(r'"balance"\s*:\s*\d+\.\d{6,9}\s*[,}]', answer.text), answer.text
        return json.loads(answer.text, parse_float=Decimal)["data"]

    def balance(self) -> Decimal:
        balance = self.read()["balance"]
        assert isinstance(balance, Decimal)
        if self._last is not None:
            assert balance <= self._last, f"the balance rose from {self._last} to {balance}"
        self._last = balance
        return balance

    @contextmanager
    def charge(self) -> Iterator[Charge]:
        charge = Charge()
        before = self.balance()
        yield charge
        charge.amount = before - self.balance()

    def settled(self, before: Decimal, *, quiet: float = 0.4) -> Decimal:
        """What was charged since `before`, once something was and no more comes: for calls whose end nobody saw."""
        deadline = time.monotonic() + 15
        balance = self.balance()
        while True:
            time.sleep(quiet)
            now = self.balance()
            if now == balance < before:
                return before - now
            assert time.monotonic() < deadline, f"nothing was charged, or no end is in sight: {before}, {now}"
            balance = now


class Attempts:
    """Counts the requests that a client sends, its own repetitions included."""

    def __init__(self, demo: dict[str, Any]) -> None:
        self.count = 0
        self.client = openai.OpenAI(
            base_url=demo["api_url"],
            api_key=demo["end_user_key"],
            timeout=TIMEOUT,
            http_client=openai.DefaultHttpxClient(event_hooks={"request": [self._sent]}),
        )

    def _sent(self, _request: Any) -> None:
        self.count += 1


@pytest.fixture(scope="session")
def demo() -> dict[str, Any]:
    return json.loads(Path(os.environ["ASSISTIV_DEMO"]).read_text())


@pytest.fixture(scope="session")
def wallet(demo: dict[str, Any]) -> Wallet:
    return Wallet(demo)


@pytest.fixture(scope="session")
def client(demo: dict[str, Any]) -> Iterator[openai.OpenAI]:
    """What an end user's program has: never repeats a request."""
    with openai.OpenAI(
        base_url=demo["api_url"], api_key=demo["end_user_key"], timeout=TIMEOUT, max_retries=0
    ) as client:
        yield client


@pytest.fixture(scope="session")
def platform_client(demo: dict[str, Any]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=demo["api_url"], api_key=demo["platform_key"], timeout=TIMEOUT, max_retries=0
    ) as client:
        yield client


@pytest.fixture
def attempts(demo: dict[str, Any]) -> Iterator[Attempts]:
    attempts = Attempts(demo)
    with attempts.client:
        yield attempts


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def async_client(demo: dict[str, Any]) -> Any:
    async with openai.AsyncOpenAI(
        base_url=demo["api_url"], api_key=demo["end_user_key"], timeout=TIMEOUT, max_retries=0
    ) as client:
        yield client
