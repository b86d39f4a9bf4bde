"""Anthropic's Python library against the demo server: the same code, whoever answers.

What the mock behind the demo answers is told in `test_openai.py`.
"""

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest

from conftest import TIMEOUT

CLAUDE = "claude-sonnet-5-5"
MODELS = [CLAUDE, "gpt-4o-mini", "grok-4.3", "gemini-2.5-flash"]
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


@pytest.fixture(scope="module")
def client(demo: dict[str, Any]) -> Iterator[anthropic.Anthropic]:
    base_url = demo["api_url"].removesuffix("/v1")
    with anthropic.Anthropic(
        base_url=base_url, api_key=demo["end_user_key"], timeout=TIMEOUT, max_retries=0
    ) as client:
        yield client


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


@pytest.mark.parametrize("model", MODELS)
def test_a_message(client: anthropic.Anthropic, model: str) -> None:
    message = client.messages.create(
        model=model,
        max_tokens=100,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=user("Hello mock:words=7"),
    )
    assert (message.type, message.role, message.model) == ("message", "assistant", model)
    assert len(text_of(message).split()) == 7
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens == 7
    assert message.id.startswith("msg_")
    assert message._request_id


def test_echo(client: anthropic.Anthropic) -> None:
    message = client.messages.create(model="echo", max_tokens=100, messages=user("one two"))
    assert text_of(message) == "one two"


@pytest.mark.parametrize("model", MODELS)
def test_a_stream(client: anthropic.Anthropic, model: str) -> None:
    with client.messages.stream(
        model=model, max_tokens=100, messages=user("Go mock:words=9 mock:prompt_tokens=50")
    ) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert len(pieces) > 1
    assert "".join(pieces) == text_of(message)
    assert len(text_of(message).split()) == 9
    assert message.stop_reason == "end_turn"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (50, 9)


@pytest.mark.parametrize("model", MODELS)
def test_raw_events(client: anthropic.Anthropic, model: str) -> None:
    events = client.messages.create(
        model=model, max_tokens=100, stream=True, messages=user("Go mock:words=3")
    )
    kinds = [event.type for event in events if event.type != "ping"]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 1


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_loop(client: anthropic.Anthropic, model: str, streamed: bool) -> None:
    messages = user("Oslo?")
    asked: Any = {"model": model, "max_tokens": 200, "tools": [WEATHER], "messages": messages}
    if streamed:
        with client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**asked)
    assert message.stop_reason == "tool_use"
    [call] = [block for block in message.content if block.type == "tool_use"]
    assert call.name == "get_weather"
    assert isinstance(call.input["city"], str)
    messages.append({"role": "assistant", "content": message.content})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    messages.append({"role": "user", "content": [result, {"type": "text", "text": "mock:words=4"}]})
    answer = client.messages.create(**asked, tool_choice={"type": "none"})
    assert answer.stop_reason == "end_turn"
    assert len(text_of(answer).split()) == 4


def test_thoughts_come_back_with_their_signature(client: anthropic.Anthropic) -> None:
    for model in [CLAUDE, "gemini-2.5-flash"]:
        with client.messages.stream(
            model=model,
            max_tokens=4000,
            messages=user("Think mock:words=3 mock:reasoning_tokens=5"),
        ) as stream:
            message = stream.get_final_message()
        thoughts = [block for block in message.content if block.type == "thinking"]
        assert all(block.signature for block in thoughts)
        # Another model takes up the conversation.
        messages: Any = [
            *user("Think"),
            {"role": "assistant", "content": message.content},
            *user("And? mock:words=2"),
        ]
        other = client.messages.create(model="gpt-4o-mini", max_tokens=50, messages=messages)
        assert len(text_of(other).split()) == 2


@pytest.mark.parametrize("model", MODELS)
def test_tokens_are_counted(client: anthropic.Anthropic, model: str) -> None:
    raw = client.messages.with_raw_response.count_tokens(
        model=model, messages=user("How long is this?"), tools=[WEATHER]
    )
    assert raw.parse().input_tokens > 5
    method = raw.headers["x-assistiv-token-count-method"]
    assert method == ("reported" if model == CLAUDE else "estimated")


@pytest.mark.parametrize(
    ("prompt", "kind", "status", "name"),
    [
        ("mock:status=400", anthropic.BadRequestError, 400, "invalid_request_error"),
        ("mock:status=429", anthropic.RateLimitError, 429, "rate_limit_error"),
        ("mock:status=503", anthropic.InternalServerError, 503, "overloaded_error"),
        ("mock:status=500", anthropic.InternalServerError, 502, "api_error"),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_errors(
    client: anthropic.Anthropic, model: str, prompt: str, kind: type, status: int, name: str
) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(model=model, max_tokens=50, messages=user(prompt))
    error = caught.value
    body: Any = error.body
    assert isinstance(error, kind), error
    assert (error.status_code, body["type"], body["error"]["type"]) == (status, "error", name)
    assert body["error"]["message"] and body["error"]["reason"]
    assert body["request_id"] == error.request_id


def test_who_may_not_call(demo: dict[str, Any], client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="none", max_tokens=50, messages=user("x"))
    with pytest.raises(anthropic.AuthenticationError):
        stranger = client.with_options(api_key="sk-eu_" + "0" * 56)
        stranger.messages.create(model=CLAUDE, max_tokens=50, messages=user("x"))
    bearer = {"Authorization": f"Bearer {demo['end_user_key']}"}
    own = {"x-api-key": demo["end_user_key"]}
    body = {"model": "echo", "max_tokens": 9, "messages": user("x")}
    for headers, status in [(bearer, 200), (own, 200), ({**bearer, **own}, 200), ({}, 401)]:
        url = f"{demo['api_url']}/messages"
        answer = httpx.post(url, json=body, headers=headers, timeout=TIMEOUT)
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_that_breaks(client: anthropic.Anthropic, model: str) -> None:
    with pytest.raises(anthropic.APIError):
        with client.messages.stream(
            model=model, max_tokens=100, messages=user("Go mock:words=10 mock:cut")
        ) as stream:
            stream.until_done()
