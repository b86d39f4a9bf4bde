"""OpenAI's Python library against the demo server.

The demo's providers are a mock that obeys words such as `mock:words=7` in the last user message. Its answers cost one
token a word; with tools it calls the first one, or all of them when the message asks for "parallel" work; JSON answers
fill a schema with "text" and 1.
"""

import asyncio
import json
import re
import secrets
import time
import zlib
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from conftest import PRICES, TIMEOUT, Attempts, Wallet

MINI = "gpt-4o-mini"
CLAUDE = "claude-sonnet-5-5"
SENTENCE = "Every cent is counted – même «ici», 例えば, and 🦀 too."


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def function(name: str, **properties: str) -> Any:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": f"The {name}",
            "parameters": {
                "type": "object",
                "properties": {key: {"type": kind} for key, kind in properties.items()},
                "required": list(properties),
                "additionalProperties": False,
            },
        },
    }


WEATHER = function("get_weather", city="string")
CLOCK = function("get_time", zone="string", offset="integer")


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def finish_reasons(chunks: list[ChatCompletionChunk]) -> list[str]:
    return [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]


def check_error(error: openai.APIStatusError, status: int, code: str, reason: str, kind: str) -> None:
    body: Any = error.body
    assert (error.status_code, body["code"], body["reason"], body["type"]) == (status, code, reason, kind), body
    assert body["message"] and isinstance(body["message"], str)
    assert isinstance(body["details"], dict)
    assert body["request_id"] == error.request_id == error.response.headers["x-request-id"]
    assert body["doc_url"].endswith(f"#{reason}")
    assert "param" in body


# --- Chat ------------------------------------------------------------------------------------------------------------


def test_echo_answers_with_the_last_message(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model="echo",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "one"},
            {"role": "user", "content": SENTENCE},
        ],
    )
    assert completion.object == "chat.completion"
    assert completion.model == "echo"
    assert completion.id.startswith("chatcmpl-")
    assert completion._request_id
    assert len(completion.choices) == 1
    choice = completion.choices[0]
    assert (choice.index, choice.finish_reason) == (0, "stop")
    assert (choice.message.role, choice.message.content) == ("assistant", SENTENCE)
    usage = completion.usage
    assert usage is not None
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_provider_answers(client: openai.OpenAI) -> None:
    answer = client.chat.completions.with_raw_response.create(model=MINI, messages=user("Hello mock:words=7"))
    completion = answer.parse()
    assert completion.model == MINI
    assert len((completion.choices[0].message.content or "").split()) == 7
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 7
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-assistiv-provider"] == "openai"
    assert int(answer.headers["x-assistiv-overhead-us"]) < 10_000_000
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-assistiv-log-id"])


def test_claude_answers(client: openai.OpenAI, wallet: Wallet) -> None:
    with wallet.charge() as charge:
        completion = client.chat.completions.create(model=CLAUDE, messages=user("Hello mock:cached_tokens=3"))
    assert completion.model == CLAUDE
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert charge.amount == PRICES[CLAUDE].of_usage(completion.usage)


def test_claude_streams(client: openai.OpenAI, wallet: Wallet) -> None:
    with wallet.charge() as charge, client.chat.completions.stream(
        model=CLAUDE, messages=user("mock:words=5"), stream_options={"include_usage": True}
    ) as stream:
        completion = stream.get_final_completion()
    assert len((completion.choices[0].message.content or "").split()) == 5
    assert completion.usage is not None
    assert charge.amount == PRICES[CLAUDE].of_usage(completion.usage)


def test_xai_answers(client: openai.OpenAI, wallet: Wallet) -> None:
    with wallet.charge() as charge:
        answer = client.chat.completions.with_raw_response.create(model="grok-4.3", messages=user("Hi mock:words=9"))
    completion = answer.parse()
    assert answer.headers["x-assistiv-provider"] == "xai"
    assert completion.model == "grok-4.3"
    assert len((completion.choices[0].message.content or "").split()) == 9
    assert charge.amount > 0


def test_text_parts(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model=MINI,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Some words,"}, {"type": "text", "text": "please mock:words=5"}],
            },
        ],
    )
    assert len((completion.choices[0].message.content or "").split()) == 5


def test_the_output_limit_ends_with_length(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model=MINI, messages=user("Go mock:words=30"), max_tokens=20)
    assert completion.choices[0].finish_reason == "length"
    assert len((completion.choices[0].message.content or "").split()) == 20
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 20


def test_several_choices(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model=MINI, messages=user("Go mock:words=4"), n=2)
    assert [choice.index for choice in completion.choices] == [0, 1]
    assert [len((choice.message.content or "").split()) for choice in completion.choices] == [4, 4]


def test_the_platform_key_can_chat_too(platform_client: openai.OpenAI) -> None:
    completion = platform_client.chat.completions.create(model="echo", messages=user("from the server"))
    assert completion.choices[0].message.content == "from the server"


@pytest.mark.anyio
async def test_async_chat(async_client: openai.AsyncOpenAI) -> None:
    completion = await async_client.chat.completions.create(model=MINI, messages=user("Hello mock:words=6"))
    assert len((completion.choices[0].message.content or "").split()) == 6


# --- Streams ---------------------------------------------------------------------------------------------------------


def test_stream_without_usage(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model=MINI, messages=user("Go mock:words=12"), stream=True))
    assert len(text_of(chunks).split()) == 12
    assert finish_reasons(chunks) == ["stop"]
    assert [chunk.usage for chunk in chunks if chunk.usage is not None] == []
    assert {len(chunk.choices) for chunk in chunks} == {1}
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk.model for chunk in chunks} == {MINI}
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.choices[0].delta.role for chunk in chunks if chunk.choices[0].delta.role] == ["assistant"]


def test_stream_with_usage(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MINI, messages=user("Go mock:words=12"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert len(text_of(chunks).split()) == 12
    assert finish_reasons(chunks) == ["stop"]
    assert [index for index, chunk in enumerate(chunks) if chunk.usage] == [len(chunks) - 1]
    assert chunks[-1].choices == []
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens == 12
    assert usage.prompt_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + 12


@pytest.mark.parametrize("model", ["echo", MINI])
@pytest.mark.parametrize("include_usage", [None, False, True])
def test_frames_of_a_stream(demo: dict[str, Any], model: str, include_usage: bool | None) -> None:
    body: dict[str, Any] = {"model": model, "messages": user("one two three"), "stream": True}
    if include_usage is not None:
        body["stream_options"] = {"include_usage": include_usage}
    with httpx.stream(
        "POST",
        f"{demo['api_url']}/chat/completions",
        headers={"Authorization": f"Bearer {demo['end_user_key']}"},
        json=body,
        timeout=TIMEOUT,
    ) as answer:
        text = answer.read().decode()
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert text.endswith("\n\n")
    frames = [frame for frame in text.split("\n\n") if frame and not frame.startswith(":")]
    assert all(re.fullmatch(r"data: [^\n]+", frame) for frame in frames)
    assert frames[-1] == "data: [DONE]"
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]
    assert not [chunk for chunk in chunks if "error" in chunk]
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage") is not None]
    assert len(usages) == (1 if include_usage else 0)
    if include_usage:
        assert chunks[-1]["usage"] == usages[0]


def test_echo_streams_word_by_word(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="echo", messages=user(SENTENCE), stream=True))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert "".join(pieces) == SENTENCE
    assert len(pieces) == len(SENTENCE.split())
    assert finish_reasons(chunks) == ["stop"]


def test_stream_helper(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model=MINI, messages=user("Go mock:words=8"), stream_options={"include_usage": True}
    ) as stream:
        events = list(stream)
        completion = stream.get_final_completion()
    deltas = [event.delta for event in events if event.type == "content.delta" and event.delta]
    assert len(deltas) == 8
    assert completion.choices[0].message.content == "".join(deltas)
    assert completion.choices[0].finish_reason == "stop"
    assert completion.choices[0].message.role == "assistant"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 8
    assert [event.type for event in events].count("content.done") == 1


def test_a_stream_arrives_as_it_is_made(client: openai.OpenAI) -> None:
    begin = time.monotonic()
    stream = client.chat.completions.create(model=MINI, messages=user("Go mock:words=8 mock:delay_ms=150"), stream=True)
    times = [time.monotonic() - begin for chunk in stream if chunk.choices[0].delta.content]
    assert len(times) == 8
    assert times[-1] - times[0] > 0.7


def test_xai_stream(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="grok-4.3", messages=user("Go mock:words=5"), stream=True))
    assert len(text_of(chunks).split()) == 5
    assert finish_reasons(chunks) == ["stop"]
    assert {chunk.model for chunk in chunks} == {"grok-4.3"}


@pytest.mark.anyio
async def test_async_stream(async_client: openai.AsyncOpenAI) -> None:
    stream = await async_client.chat.completions.create(
        model=MINI, messages=user("Go mock:words=12"), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert len(text_of(chunks).split()) == 12
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [12]


# --- Tools -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [MINI, CLAUDE])
def test_tool_call_and_result(client: openai.OpenAI, model: str) -> None:
    messages = user("What is the weather?")
    completion = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER, CLOCK])
    choice = completion.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    [call] = choice.message.tool_calls
    assert call.type == "function"
    assert call.id
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "text"})

    messages.append(choice.message)
    messages.append({"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 21}'})
    completion = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER, CLOCK])
    assert completion.choices[0].finish_reason == "stop"
    assert completion.choices[0].message.content
    assert completion.choices[0].message.tool_calls is None


def test_a_named_tool_is_called(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model=MINI,
        messages=user("What time is it?"),
        tools=[WEATHER, CLOCK],
        tool_choice={"type": "function", "function": {"name": "get_time"}},
    )
    [call] = completion.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_time"
    assert json.loads(call.function.arguments) == {"zone": "text", "offset": 1}


def test_no_tool_is_called_with_choice_none(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model=MINI, messages=user("Just talk mock:words=3"), tools=[WEATHER], tool_choice="none"
    )
    assert completion.choices[0].message.tool_calls is None
    assert len((completion.choices[0].message.content or "").split()) == 3


@pytest.mark.parametrize(("parallel", "names"), [(True, ["get_weather", "get_time"]), (False, ["get_weather"])])
def test_parallel_tool_calls(client: openai.OpenAI, parallel: bool, names: list[str]) -> None:
    completion = client.chat.completions.create(
        model=MINI,
        messages=user("Weather and time, in parallel"),
        tools=[WEATHER, CLOCK],
        parallel_tool_calls=parallel,
    )
    calls = completion.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls if call.type == "function"] == names
    assert len({call.id for call in calls}) == len(names)


@pytest.mark.parametrize("model", [MINI, CLAUDE])
def test_tool_arguments_stream_in_pieces(client: openai.OpenAI, model: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model, messages=user("Weather and time, in parallel"), tools=[WEATHER, CLOCK], stream=True
        )
    )
    pieces = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert {piece.index for piece in pieces} == {0, 1}
    for index, name, arguments in [(0, "get_weather", {"city": "text"}), (1, "get_time", {"zone": "text", "offset": 1})]:
        own = [piece for piece in pieces if piece.index == index]
        functions = [piece.function for piece in own if piece.function]
        # Whatever repeats an id or a name would be glued together by clients.
        assert len([piece.id for piece in own if piece.id]) == 1
        assert [one.name for one in functions if one.name] == [name]
        parts = [one.arguments for one in functions if one.arguments]
        assert len(parts) > 1
        assert json.loads("".join(parts)) == arguments
    assert finish_reasons(chunks) == ["tool_calls"]


def test_stream_helper_with_tools(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model=MINI, messages=user("Weather and time, in parallel"), tools=[WEATHER, CLOCK]
    ) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        completion = stream.get_final_completion()
    assert [(event.name, json.loads(event.arguments)) for event in done] == [
        ("get_weather", {"city": "text"}),
        ("get_time", {"zone": "text", "offset": 1}),
    ]
    calls = completion.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]


def test_tools_of_xai(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(model="grok-4.3", messages=user("Weather?"), tools=[WEATHER])
    [call] = completion.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "text"}


# --- Structured output -----------------------------------------------------------------------------------------------


class Report(BaseModel):
    city: str
    degrees: int
    windy: bool


def test_parse(client: openai.OpenAI) -> None:
    completion = client.chat.completions.parse(model=MINI, messages=user("A report"), response_format=Report)
    message = completion.choices[0].message
    assert message.parsed == Report(city="text", degrees=1, windy=True)
    assert json.loads(message.content or "") == {"city": "text", "degrees": 1, "windy": True}


def test_parse_from_a_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model=MINI, messages=user("A report"), response_format=Report) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.parsed == Report(city="text", degrees=1, windy=True)


def test_json_schema(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model=MINI,
        messages=user("A colour"),
        response_format={
            "type": "json_schema",
            "json_schema": {
                "name": "colour",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": {"name": {"type": "string", "enum": ["red", "blue"]}},
                    "required": ["name"],
                    "additionalProperties": False,
                },
            },
        },
    )
    assert json.loads(completion.choices[0].message.content or "") == {"name": "red"}


def test_json_object(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model=MINI, messages=user("Some JSON"), response_format={"type": "json_object"}
    )
    assert json.loads(completion.choices[0].message.content or "") == {"text": "text"}


# --- Models ----------------------------------------------------------------------------------------------------------


def test_models(client: openai.OpenAI, demo: dict[str, Any]) -> None:
    models = client.models.list().data
    names = [model.id for model in models]
    assert {"echo", MINI, "grok-4.3"} <= set(names)
    assert set(demo["models"]) <= set(names)
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    assert {model.object for model in models} == {"model"}
    assert all(model.created > 0 for model in models)


@pytest.mark.parametrize(("name", "owner"), [(MINI, "openai"), ("grok-4.3", "xai")])
def test_model(client: openai.OpenAI, name: str, owner: str) -> None:
    model = client.models.retrieve(name)
    assert (model.id, model.object, model.owned_by) == (name, "model", owner)
    assert [other for other in client.models.list().data if other.id == name] == [model]


def test_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no-such-model")
    check_error(caught.value, 404, "not_found", "model_not_found", "invalid_request_error")


@pytest.mark.anyio
async def test_async_models(async_client: openai.AsyncOpenAI) -> None:
    names = [model.id async for model in async_client.models.list()]
    assert {"echo", MINI, "grok-4.3"} <= set(names)
    assert (await async_client.models.retrieve("echo")).id == "echo"


# --- Errors of the request -------------------------------------------------------------------------------------------


def well_formed_key(prefix: str) -> str:
    body = prefix + secrets.token_hex(24)
    return f"{body}{zlib.crc32(body.encode()):08x}"


@pytest.mark.parametrize("key", [well_formed_key("sk-eu_"), well_formed_key("sk-plat_"), "sk-eu_wrong", "nonsense"])
def test_wrong_key(client: openai.OpenAI, wallet: Wallet, key: str) -> None:
    stranger = client.with_options(api_key=key)
    with wallet.charge() as charge, pytest.raises(openai.AuthenticationError) as caught:
        stranger.chat.completions.create(model="echo", messages=user("Hi"))
    check_error(caught.value, 401, "unauthorized", "invalid_api_key", "authentication_error")
    assert caught.value.response.headers["www-authenticate"].startswith("Bearer")
    assert key not in caught.value.response.text
    assert charge.amount == 0


def test_missing_key(demo: dict[str, Any]) -> None:
    answer = httpx.post(
        f"{demo['api_url']}/chat/completions", json={"model": "echo", "messages": user("Hi")}, timeout=TIMEOUT
    )
    assert answer.status_code == 401
    assert answer.json()["error"]["reason"] == "missing_api_key"


@pytest.mark.parametrize("stream", [False, True])
def test_missing_model(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model", messages=user("Hi"), stream=stream)
    check_error(caught.value, 404, "not_found", "model_not_found", "invalid_request_error")


def test_wrong_kind_of_key(client: openai.OpenAI, platform_client: openai.OpenAI, demo: dict[str, Any]) -> None:
    path = f"/platforms/{demo['platform_id']}"
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.get(path, cast_to=object)
    check_error(caught.value, 403, "forbidden", "wrong_key_type", "permission_error")
    platform: Any = platform_client.get(path, cast_to=object)
    assert platform["data"]["id"] == demo["platform_id"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "echo"}, "messages"),
        ({"model": "echo", "messages": []}, "messages"),
        ({"messages": user("Hi")}, "model"),
    ],
)
def test_bad_body(client: openai.OpenAI, body: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body=body, cast_to=object)
    check_error(caught.value, 400, "bad_request", "validation_failed", "invalid_request_error")
    assert [error["param"] for error in caught.value.body["details"]["errors"]] == [param]


@pytest.mark.parametrize("text", ["{", '{"model":"echo","model":"echo","messages":[{"role":"user","content":"Hi"}]}'])
def test_unacceptable_json(demo: dict[str, Any], text: str) -> None:
    answer = httpx.post(
        f"{demo['api_url']}/chat/completions",
        headers={"Authorization": f"Bearer {demo['end_user_key']}", "Content-Type": "application/json"},
        content=text,
        timeout=TIMEOUT,
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["reason"] == "invalid_json"


def test_requests_that_cannot_succeed_are_sent_once(attempts: Attempts) -> None:
    with pytest.raises(openai.NotFoundError):
        attempts.client.chat.completions.create(model="no-such-model", messages=user("Hi"))
    with pytest.raises(openai.BadRequestError):
        attempts.client.post("/chat/completions", body={"model": "echo"}, cast_to=object)
    assert attempts.count == 2


# --- Errors of the provider ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("knob", "kind", "status", "code", "reason", "type_"),
    [
        ("status=500", openai.InternalServerError, 502, "bad_gateway", "provider_error", "server_error"),
        ("html", openai.InternalServerError, 502, "bad_gateway", "provider_error", "server_error"),
        ("status=401", openai.InternalServerError, 502, "bad_gateway", "provider_auth_error", "server_error"),
        ("status=503", openai.InternalServerError, 503, "service_unavailable", "provider_overloaded", "server_error"),
        ("quota", openai.InternalServerError, 503, "service_unavailable", "provider_quota_exhausted", "server_error"),
        ("status=429", openai.RateLimitError, 429, "rate_limited", "provider_rate_limited", "rate_limit_error"),
        ("status=400", openai.BadRequestError, 400, "bad_request", "provider_bad_request", "invalid_request_error"),
    ],
)
def test_a_provider_that_refuses(
    client: openai.OpenAI,
    wallet: Wallet,
    stream: bool,
    knob: str,
    kind: type[openai.APIStatusError],
    status: int,
    code: str,
    reason: str,
    type_: str,
) -> None:
    with wallet.charge() as charge, pytest.raises(kind) as caught:
        client.chat.completions.create(model=MINI, messages=user(f"Hi mock:{knob}"), stream=stream)
    check_error(caught.value, status, code, reason, type_)
    assert charge.amount == 0


def test_an_error_before_the_first_piece_is_an_ordinary_one(client: openai.OpenAI, wallet: Wallet) -> None:
    with wallet.charge() as charge, pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=MINI, messages=user("Hi mock:error_first"), stream=True)
    check_error(caught.value, 502, "bad_gateway", "provider_error", "server_error")
    assert charge.amount == 0


@pytest.mark.parametrize(
    ("knob", "kind", "expected"),
    [
        ("status=429", openai.RateLimitError, 3),
        ("status=500", openai.InternalServerError, 3),
        ("status=401", openai.InternalServerError, 1),
        ("quota", openai.InternalServerError, 1),
        ("status=400", openai.BadRequestError, 1),
    ],
)
def test_what_clients_repeat(attempts: Attempts, knob: str, kind: type[openai.APIError], expected: int) -> None:
    begin = time.monotonic()
    with pytest.raises(kind) as caught:
        attempts.client.chat.completions.create(model=MINI, messages=user(f"Hi mock:{knob}"))
    assert attempts.count == expected
    if knob == "status=429":
        seconds = int(caught.value.response.headers["retry-after"])
        assert seconds >= 1
        assert time.monotonic() - begin >= 2 * seconds


def test_no_repetition_when_it_is_off(attempts: Attempts) -> None:
    with pytest.raises(openai.RateLimitError):
        attempts.client.with_options(max_retries=0).chat.completions.create(
            model=MINI, messages=user("Hi mock:status=429")
        )
    assert attempts.count == 1


@pytest.mark.anyio
async def test_async_errors(async_client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        await async_client.chat.completions.create(model=MINI, messages=user("Hi mock:status=500"))
    check_error(caught.value, 502, "bad_gateway", "provider_error", "server_error")
    with pytest.raises(openai.AuthenticationError):
        await async_client.with_options(api_key="sk-eu_wrong").models.list()


INTERRUPTED = "provider_stream_interrupted"


@pytest.mark.parametrize(
    ("knob", "reason"),
    [
        ("cut", INTERRUPTED),
        ("end_early", INTERRUPTED),
        ("error_mid", "provider_error"),
        ("garbage", "provider_malformed_output"),
    ],
)
def test_an_error_in_the_middle_never_looks_like_an_end(
    client: openai.OpenAI, wallet: Wallet, knob: str, reason: str
) -> None:
    before = wallet.balance()
    chunks: list[ChatCompletionChunk] = []
    stream = client.chat.completions.create(model=MINI, messages=user(f"Go mock:words=20 mock:{knob}"), stream=True)
    with pytest.raises(openai.APIError) as caught:
        for chunk in stream:
            chunks.append(chunk)
    assert not isinstance(caught.value, openai.APIStatusError | openai.APIConnectionError)
    body: Any = caught.value.body
    assert (body["code"], body["reason"], body["type"]) == ("bad_gateway", reason, "server_error")
    assert body["message"] and body["request_id"]
    assert 1 <= len(text_of(chunks).split()) < 20
    assert finish_reasons(chunks) == []
    # What was delivered is paid for.
    assert wallet.settled(before) > 0


def test_an_error_in_the_middle_of_the_stream_helper(client: openai.OpenAI, wallet: Wallet) -> None:
    before = wallet.balance()
    with (
        pytest.raises(openai.APIError) as caught,
        client.chat.completions.stream(model=MINI, messages=user("Go mock:words=20 mock:cut")) as stream,
    ):
        stream.until_done()
    assert caught.value.body["reason"] == INTERRUPTED
    assert wallet.settled(before) > 0


@pytest.mark.anyio
async def test_an_error_in_the_middle_of_an_async_stream(async_client: openai.AsyncOpenAI, wallet: Wallet) -> None:
    before = wallet.balance()
    pieces = []
    stream = await async_client.chat.completions.create(
        model=MINI, messages=user("Go mock:words=20 mock:error_mid"), stream=True
    )
    with pytest.raises(openai.APIError) as caught:
        async for chunk in stream:
            pieces.append(chunk.choices[0].delta.content or "")
    assert caught.value.body["reason"] == "provider_error"
    assert 1 <= len("".join(pieces).split()) < 20
    assert wallet.settled(before) > 0


# --- Money -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["echo", MINI])
def test_a_call_costs_tokens_times_price(client: openai.OpenAI, wallet: Wallet, model: str, stream: bool) -> None:
    for text in ["one", "one two three", SENTENCE, "many words " * 50]:
        with wallet.charge() as charge:
            if stream:
                options: Any = {"stream": True, "stream_options": {"include_usage": True}}
                *_, last = client.chat.completions.create(model=model, messages=user(text), **options)
            else:
                last = client.chat.completions.create(model=model, messages=user(text))
        assert last.usage is not None
        assert charge.amount == PRICES[model].of_usage(last.usage)
        assert charge.amount > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("prompt", "cached", "completion", "cost"),
    [
        (1237, 0, 43, "0.000211350"),
        (1237, 501, 43, "0.000173775"),
        (1024, 1024, 1, "0.000077400"),
        (7, 0, 3, "0.000002850"),
    ],
)
def test_cached_input_is_cheaper(
    client: openai.OpenAI, wallet: Wallet, stream: bool, prompt: int, cached: int, completion: int, cost: str
) -> None:
    knobs = f"mock:prompt_tokens={prompt} mock:cached_tokens={cached} mock:completion_tokens={completion}"
    with wallet.charge() as charge:
        answer = client.chat.completions.create(model=MINI, messages=user(f"Hi {knobs}"), stream=stream)
        if isinstance(answer, openai.Stream):
            assert text_of(list(answer))
        else:
            assert answer.usage is not None
            assert answer.usage.prompt_tokens_details is not None
            assert (answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens) == (prompt, cached)
    assert PRICES[MINI].of(prompt, cached, completion) == Decimal(cost)
    assert charge.amount == Decimal(cost)


def test_only_the_platform_sees_the_cost(
    client: openai.OpenAI, platform_client: openai.OpenAI, wallet: Wallet
) -> None:
    with wallet.charge() as charge:
        answer = platform_client.chat.completions.with_raw_response.create(model=MINI, messages=user("mock:words=11"))
    assert Decimal(answer.headers["x-assistiv-cost-usd"]) == charge.amount
    usage = answer.parse().usage
    assert usage is not None
    assert charge.amount == PRICES[MINI].of_usage(usage)
    answer = client.chat.completions.with_raw_response.create(model=MINI, messages=user("mock:words=11"))
    assert "x-assistiv-cost-usd" not in answer.headers


def test_the_newest_transaction_explains_the_balance(client: openai.OpenAI, wallet: Wallet) -> None:
    with wallet.charge() as charge:
        client.chat.completions.create(model=MINI, messages=user("mock:words=13"))
    state = wallet.read()
    newest = state["recent_transactions"][0]
    assert newest["type"] == "llm_usage"
    assert newest["amount"] == charge.amount
    assert newest["balance_after"] == state["balance"]
    assert state["currency"] == "usd"


@pytest.mark.anyio
async def test_calls_side_by_side_are_each_charged_once(async_client: openai.AsyncOpenAI, wallet: Wallet) -> None:
    async def call(index: int) -> Decimal:
        model = "echo" if index % 2 else MINI
        if index % 3:
            completion = await async_client.chat.completions.create(model=model, messages=user("word " * (index + 1)))
            return PRICES[model].of_usage(completion.usage)
        stream = await async_client.chat.completions.create(
            model=model, messages=user("word " * (index + 1)), stream=True, stream_options={"include_usage": True}
        )
        [usage] = [chunk.usage async for chunk in stream if chunk.usage]
        return PRICES[model].of_usage(usage)

    with wallet.charge() as charge:
        costs = await asyncio.gather(*(call(index) for index in range(48)))
    assert len(set(costs)) > 10
    assert charge.amount == sum(costs)


LONG = "Go mock:words=300 mock:delay_ms=20"


def test_leaving_a_stream(client: openai.OpenAI, wallet: Wallet) -> None:
    begin = time.monotonic()
    before = wallet.balance()
    stream = client.chat.completions.create(model=MINI, messages=user(LONG), stream=True)
    pieces = []
    for chunk in stream:
        pieces.append(chunk.choices[0].delta.content or "")
        if len("".join(pieces).split()) == 5:
            break
    stream.close()
    charged = wallet.settled(before)
    assert time.monotonic() - begin < 5, "the charge waited for the end of a stream that nobody reads"
    with wallet.charge() as whole:
        client.chat.completions.create(model=MINI, messages=user(LONG.replace("=20", "=0")))
    assert 0 < charged < whole.amount
    # The books are in order afterwards: the next call costs what it says, to the last digit.
    with wallet.charge() as charge:
        completion = client.chat.completions.create(model=MINI, messages=user("And now? mock:words=3"))
    assert completion.usage is not None
    assert charge.amount == PRICES[MINI].of_usage(completion.usage)


@pytest.mark.anyio
async def test_many_leave_at_once(async_client: openai.AsyncOpenAI, wallet: Wallet) -> None:
    async def leave(index: int) -> None:
        stream = await async_client.chat.completions.create(model=MINI, messages=user(LONG), stream=True)
        read = 0
        async for chunk in stream:
            read += bool(chunk.choices[0].delta.content)
            if read > index % 4:
                break
        await stream.close()

    before = wallet.balance()
    await asyncio.gather(*(leave(index) for index in range(12)))
    charged = wallet.settled(before, quiet=1.5)
    with wallet.charge() as whole:
        await async_client.chat.completions.create(model=MINI, messages=user(LONG.replace("=20", "=0")))
    assert 0 < charged < 12 * whole.amount
    with wallet.charge() as charge:
        completion = await async_client.chat.completions.create(model="echo", messages=user("still here"))
    assert charge.amount == PRICES["echo"].of_usage(completion.usage)


@pytest.mark.anyio
async def test_a_cancelled_task_leaves_its_stream(async_client: openai.AsyncOpenAI, wallet: Wallet) -> None:
    async def read() -> None:
        stream = await async_client.chat.completions.create(model=MINI, messages=user(LONG), stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                started.set()

    started = asyncio.Event()
    before = wallet.balance()
    task = asyncio.create_task(read())
    await asyncio.wait_for(started.wait(), TIMEOUT)
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wallet.settled(before) > 0


# --- Embeddings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["text-embedding-3-small", "gemini-embedding-001"])
@pytest.mark.parametrize("encoding", [openai.NOT_GIVEN, "float", "base64"])
def test_embeddings(client: openai.OpenAI, encoding: Any, model: str) -> None:
    # Without an encoding the library asks for base64 and decodes it itself.
    answer = client.embeddings.create(
        model=model, input=["one", "two"], encoding_format=encoding, dimensions=4
    )
    assert (answer.object, answer.model) == ("list", model)
    assert [entry.index for entry in answer.data] == [0, 1]
    for entry in answer.data:
        length = 24 if encoding == "base64" else 4
        assert len(entry.embedding) == length
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 2


def test_embeddings_want_their_own_models(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=MINI, input="x")
    check_error(caught.value, 400, "bad_request", "unsupported_endpoint", "invalid_request_error")
