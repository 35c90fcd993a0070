"""The public test doubles do what they say; other tests stand on them."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel, ValidationError

from langchain_persona import testing
from langchain_persona.errors import ConfigError
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel

CALL = {"name": "weather", "args": {"city": "Zürich"}, "id": "c1", "type": "tool_call"}
JSON_SCHEMA = {
    "title": "Film",
    "description": "A film.",
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}


class Film(BaseModel):
    """A film."""

    name: str


@tool
def weather(city: str) -> str:
    """The weather now."""
    return "rain"


def texts(model: ScriptedChatModel) -> list[list[Any]]:
    return [[message.content for message in call] for call in model.calls]


def test_hash_embeddings_know_shared_words_only():
    model = HashEmbeddings(32)
    tea, coffee, other = model.embed_documents(["black tea", "black coffee", "an engine"])
    assert sum(map(float.__mul__, tea, coffee)) > sum(map(float.__mul__, tea, other))
    assert len(model.embed_query("")) == 32
    with pytest.raises(ConfigError, match="at least 1"):
        HashEmbeddings(0)


# answers -------------------------------------------------------------------------------------------------------------


def test_responses_come_in_order_and_calls_are_recorded():
    model = ScriptedChatModel(["one", AIMessage("two", tool_calls=[CALL]), {"name": "drei ü"}, Film(name="four")])
    answers = [model.invoke([HumanMessage(word)]) for word in "abcd"]
    assert [answer.content for answer in answers] == ["one", "two", '{"name": "drei ü"}', '{"name": "four"}']
    assert answers[1].tool_calls == [CALL]
    assert texts(model) == [["a"], ["b"], ["c"], ["d"]]


def test_after_the_last_response_it_raises_or_loops():
    model = ScriptedChatModel(["a", "b"])
    assert [model.invoke("x").content for _ in range(2)] == ["a", "b"]
    with pytest.raises(AssertionError, match="called 3 times but has 2 responses"):
        model.invoke("x")
    with pytest.raises(AssertionError, match="has 0 responses"):
        ScriptedChatModel(then="loop").invoke("x")
    looping = ScriptedChatModel(["a", "b"], then="loop")
    assert [looping.invoke("x").content for _ in range(4)] == ["a", "b", "a", "b"]


def test_the_same_response_said_twice_is_two_messages():
    model = ScriptedChatModel([AIMessage("a")], then="loop")
    assert len({model.invoke("x").id for _ in range(2)}) == 2


def test_exceptions_are_raised_as_objects_and_as_classes():
    model = ScriptedChatModel([TimeoutError("slow"), ValueError])
    with pytest.raises(TimeoutError, match="slow"):
        model.invoke("x")
    with pytest.raises(ValueError, match="scripted ValueError"):
        model.invoke("x")
    assert len(model.calls) == 2


def test_functions_see_the_messages():
    model = ScriptedChatModel(["fixed", lambda messages: messages[-1].text.upper(), lambda _: OSError("gone")])
    assert [model.invoke("hello").content for _ in range(2)] == ["fixed", "HELLO"]
    with pytest.raises(OSError, match="gone"):
        model.invoke("x")
    assert ScriptedChatModel(lambda messages: str(len(messages))).invoke([HumanMessage("a")] * 3).content == "3"


def test_what_cannot_be_a_response_is_refused():
    for single in ("one text", AIMessage("x"), ValueError("x"), {"a": 1}):
        with pytest.raises(ConfigError, match="must be a list"):
            ScriptedChatModel(single)
    for unknown in (1, int):
        with pytest.raises(ConfigError, match="a response cannot be"):
            ScriptedChatModel([unknown]).invoke("x")
    with pytest.raises(ValidationError, match="then"):
        ScriptedChatModel(["x"], then="stop")


async def test_a_delay_sleeps_before_each_answer_and_does_not_block_the_loop(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(testing.time, "sleep", slept.append)
    ScriptedChatModel(["x"], delay=0.25).invoke("x")
    assert slept == [0.25]
    model = ScriptedChatModel(["x"], then="loop", delay=0.01)
    answering = asyncio.gather(*(model.ainvoke("x") for _ in range(20)))
    await asyncio.sleep(0)
    assert model.calls == []  # all are asleep, and so is nobody else
    await answering
    assert len(model.calls) == 20
    assert slept == [0.25]


# streams -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        AIMessage("How are you today?"),
        AIMessage(""),
        AIMessage("  leading, and\nlines "),
        AIMessage("text", tool_calls=[CALL, {**CALL, "id": "c2", "args": {}}]),
        AIMessage("", invalid_tool_calls=[{"name": "f", "args": "no json", "id": "c3", "error": None}]),
        AIMessage("x", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
        AIMessage("word\n " * 100_000),
    ],
    ids=["words", "empty", "spaces", "tools", "invalid", "usage", "long"],
)
def test_a_stream_adds_up_to_the_message(message):
    chunks = list(ScriptedChatModel([message]).stream("x"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.content == message.content
    assert whole.tool_calls == message.tool_calls
    assert whole.usage_metadata == message.usage_metadata
    assert [call["name"] for call in whole.invalid_tool_calls] == [call["name"] for call in message.invalid_tool_calls]
    assert len(chunks) <= 120
    assert chunks[-1].chunk_position == "last"


def test_words_come_one_by_one():
    assert [chunk.content for chunk in ScriptedChatModel(["How are you?"]).stream("x")] == ["How ", "are ", "you?", ""]


async def test_async_is_sync():
    for response in ("one two", AIMessage("", tool_calls=[CALL])):
        model = ScriptedChatModel([response], then="loop")
        answer, again = model.invoke("x"), await model.ainvoke("x")
        assert (answer.content, answer.tool_calls) == (again.content, again.tool_calls)
        streamed = [chunk.content async for chunk in model.astream("x")]
        assert streamed == [chunk.content for chunk in model.stream("x")]


# tools and structure -------------------------------------------------------------------------------------------------


def test_bound_tools_are_recorded_with_the_calls_of_the_model_itself():
    model = ScriptedChatModel(["x"], then="loop")
    model.bind_tools([weather], tool_choice="any").invoke("a")
    model.bind(temperature=0.5).invoke("b")
    assert texts(model) == [["a"], ["b"]]
    assert [one["function"]["name"] for one in model.options[0]["tools"]] == ["weather"]
    assert model.options[0]["tool_choice"] == "any"
    assert model.options[1]["temperature"] == 0.5


@pytest.mark.parametrize("schema", [Film, JSON_SCHEMA], ids=["class", "schema"])
@pytest.mark.parametrize("response", [Film(name="Alien"), {"name": "Alien"}], ids=["object", "dict"])
async def test_a_scripted_object_is_structured_output(schema, response):
    model = ScriptedChatModel([response], then="loop")
    expected = Film(name="Alien") if schema is Film else {"name": "Alien"}
    structured = model.with_structured_output(schema)
    assert structured.invoke("x") == await structured.ainvoke("x") == expected
    raw = model.with_structured_output(schema, include_raw=True).invoke("x")
    assert (raw["parsed"], raw["parsing_error"]) == (expected, None)
    assert [one["function"]["name"] for one in model.options[0]["tools"]] == ["Film"]


def test_junk_is_a_parsing_error_and_a_text_is_nothing_parsed():
    model = ScriptedChatModel([{"title": "Alien"}, {"title": "Alien"}, "junk"])
    with pytest.raises(ValueError, match="name"):
        model.with_structured_output(Film).invoke("x")
    raw, text = (model.with_structured_output(Film, include_raw=True).invoke("x") for _ in range(2))
    assert raw["parsed"] is None
    assert "name" in str(raw["parsing_error"])
    assert (text["parsed"], text["raw"].content) == (None, "junk")


def test_copies_share_the_record_and_the_place_in_the_script():
    model = ScriptedChatModel(["a", "b", "c"])
    assert [one.invoke("x").content for one in (model, copy.copy(model), model.model_copy())] == ["a", "b", "c"]
    assert len(model.calls) == 3
