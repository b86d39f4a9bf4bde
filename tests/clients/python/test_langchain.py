"""LangChain's OpenAI integration against the demo server, on both routes that it knows."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

MODELS = ["gpt-4o-mini", "claude-sonnet-5-5", "grok-4.3", "gemini-2.5-flash"]
ROUTES = pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])


class Answer(BaseModel):
    """An answer."""

    text: str


@tool
def get_weather(city: str) -> str:
    """Tells the weather of a city."""
    return f"18C in {city}"


def chat(demo: dict[str, Any], model: str, responses: bool) -> ChatOpenAI:
    return ChatOpenAI(
        model=model,
        base_url=demo["api_url"],
        api_key=demo["end_user_key"],
        use_responses_api=responses,
        timeout=20,
        max_retries=0,
    )


@ROUTES
@pytest.mark.parametrize("model", MODELS)
def test_invoke_and_stream_say_the_same(demo: dict[str, Any], model: str, responses: bool) -> None:
    llm = chat(demo, model, responses)
    whole = llm.invoke("Hello mock:words=6")
    assert len(whole.text.split()) == 6
    assert whole.usage_metadata and whole.usage_metadata["output_tokens"] == 6
    pieces = list(llm.stream("Hello mock:words=6"))
    assert len(pieces) > 1
    assert "".join(piece.text for piece in pieces) == whole.text


@ROUTES
@pytest.mark.parametrize("model", MODELS)
def test_tools_are_called_and_answered(demo: dict[str, Any], model: str, responses: bool) -> None:
    llm = chat(demo, model, responses).bind_tools([get_weather])
    question = HumanMessage("Weather in Oslo?")
    asked = llm.invoke([question])
    assert isinstance(asked, AIMessage)
    assert [call["name"] for call in asked.tool_calls] == ["get_weather"]
    results = [ToolMessage("18C", tool_call_id=call["id"]) for call in asked.tool_calls]
    done = chat(demo, model, responses).invoke([question, asked, *results])
    assert done.text and not done.tool_calls


@ROUTES
@pytest.mark.parametrize("model", MODELS)
def test_structured_output_is_structured(demo: dict[str, Any], model: str, responses: bool) -> None:
    llm = chat(demo, model, responses).with_structured_output(Answer, method="json_schema")
    answer = llm.invoke("Say something")
    assert isinstance(answer, Answer) and answer.text


def test_texts_become_vectors(demo: dict[str, Any]) -> None:
    embeddings = OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=demo["api_url"],
        api_key=demo["end_user_key"],
        check_embedding_ctx_length=False,
    )
    vectors = embeddings.embed_documents(["one", "two"])
    assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1]) > 0
