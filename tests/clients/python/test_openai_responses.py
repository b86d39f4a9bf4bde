"""OpenAI's Python library on the Responses endpoint of the demo server."""

from typing import Any

import openai
import pytest
from pydantic import BaseModel

MODELS = ["claude-sonnet-5-5", "gpt-4o-mini", "grok-4.3", "gemini-2.5-flash", "echo"]
CLAUDE = "claude-sonnet-5-5"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Answer(BaseModel):
    text: str


@pytest.mark.parametrize("model", MODELS)
def test_create_and_stream_say_the_same(client: openai.OpenAI, model: str) -> None:
    made = client.responses.create(model=model, input="mock:words=5 one two three")
    assert made.status == "completed" and made.output_text
    assert made.usage and made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens
    with client.responses.stream(model=model, input="mock:words=5 one two three") as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(pieces) == final.output_text == made.output_text


@pytest.mark.parametrize("model", MODELS)
def test_a_response_is_stored_read_and_deleted(client: openai.OpenAI, model: str) -> None:
    made = client.responses.create(model=model, input="mock:words=2 hello", metadata={"k": "v"})
    fetched = client.responses.retrieve(made.id)
    assert fetched.to_dict() == made.to_dict()
    items = list(client.responses.input_items.list(made.id, limit=1))
    assert len(items) == 1 and items[0].type == "message"
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError) as refused:
        client.responses.retrieve(made.id)
    assert refused.value.body["reason"] == "response_not_found"  # type: ignore[index]


def test_a_conversation_goes_on(client: openai.OpenAI) -> None:
    first = client.responses.create(model=CLAUDE, input="mock:words=2 first")
    second = client.responses.create(
        model=CLAUDE, input="mock:words=2 second", previous_response_id=first.id
    )
    assert second.previous_response_id == first.id
    assert second.usage and first.usage and second.usage.input_tokens > first.usage.input_tokens


def test_parse_gives_a_model(client: openai.OpenAI) -> None:
    parsed = client.responses.parse(model=CLAUDE, input="Say something", text_format=Answer)
    assert isinstance(parsed.output_parsed, Answer)


@pytest.mark.parametrize("stored", [True, False])
def test_tools_are_called_and_answered(client: openai.OpenAI, stored: bool) -> None:
    question: Any = [{"role": "user", "content": "Weather?"}]
    asked = client.responses.create(model=CLAUDE, input=question, tools=[WEATHER], store=stored)
    calls = [item for item in asked.output if item.type == "function_call"]
    assert calls and calls[0].name == "get_weather"
    results: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "18C"} for call in calls
    ]
    if stored:
        done = client.responses.create(
            model=CLAUDE, input=results, tools=[WEATHER], previous_response_id=asked.id
        )
    else:
        said = [item.to_dict() for item in asked.output]
        done = client.responses.create(
            model=CLAUDE, input=question + said + results, tools=[WEATHER], store=False
        )
    assert done.status == "completed"
