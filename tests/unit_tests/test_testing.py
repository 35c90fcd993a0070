"""The public test doubles do what they say; other tests stand on them."""

from __future__ import annotations

import asyncio
import copy
import pickle
import time
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel, ValidationError

from langchain_persona import ConfigError, testing
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel
from langchain_persona.testing.stream import pieces_of

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


def test_every_public_name_is_there():
    assert testing.__all__ == sorted(testing.__all__, key=lambda name: (not name[0].isupper(), name))
    for name in testing.__all__:
        assert getattr(testing, name).__doc__


def test_hash_embeddings_know_shared_words_only():
    model = HashEmbeddings(32)
    tea, coffee, other = model.embed_documents(["black tea", "black coffee", "an engine"])
    assert sum(map(float.__mul__, tea, coffee)) > sum(map(float.__mul__, tea, other))
    with pytest.raises(ConfigError, match="at least 1"):
        HashEmbeddings(0)


# answers ------------------------------------------------------------------------------------------------------------


def test_responses_come_in_order_and_calls_are_recorded():
    model = ScriptedChatModel(["one", AIMessage("two", tool_calls=[CALL]), {"name": "drei ü"}, Film(name="four")])
    answers = [model.invoke([HumanMessage(word)]) for word in "abcd"]
    assert [answer.content for answer in answers] == ["one", "two", '{"name": "drei ü"}', '{"name":"four"}']
    assert answers[1].tool_calls == [CALL]
    assert texts(model) == [["a"], ["b"], ["c"], ["d"]]


def test_after_the_last_response_it_raises_repeats_or_loops():
    model = ScriptedChatModel(["a", "b"])
    assert [model.invoke("x").content for _ in range(2)] == ["a", "b"]
    with pytest.raises(AssertionError, match="called 3 times but has 2 responses"):
        model.invoke("x")
    with pytest.raises(AssertionError, match="has 0 responses"):
        ScriptedChatModel(then="loop").invoke("x")
    repeating, looping = ScriptedChatModel(["a", "b"], then="repeat"), ScriptedChatModel(["a", "b"], then="loop")
    assert [repeating.invoke("x").content for _ in range(4)] == ["a", "b", "b", "b"]
    assert [looping.invoke("x").content for _ in range(4)] == ["a", "b", "a", "b"]


def test_the_same_response_said_twice_is_two_messages():
    model = ScriptedChatModel([AIMessage("a")], then="repeat")
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


async def test_a_coroutine_is_awaited_in_async_calls_and_refused_in_sync_ones():
    async def answer(messages: list[Any]) -> str:
        await asyncio.sleep(0)
        return "awaited"

    model = ScriptedChatModel(answer)
    assert (await model.ainvoke("x")).content == "awaited"
    with pytest.raises(ConfigError, match="ainvoke"):
        model.invoke("x")


@pytest.mark.parametrize("responses", ["one text", AIMessage("x"), ValueError("x"), {"a": 1}])
def test_a_single_response_is_no_list(responses):
    with pytest.raises(ConfigError, match="must be a list"):
        ScriptedChatModel(responses)


def test_an_unknown_response_and_an_unknown_option_are_refused():
    with pytest.raises(ConfigError, match="got int"):
        ScriptedChatModel([1]).invoke("x")
    with pytest.raises(ValidationError, match="then"):
        ScriptedChatModel(["x"], then="stop")
    with pytest.raises(ConfigError, match="method"):
        ScriptedChatModel(["x"]).with_structured_output(Film, method="magic")


def test_delay_waits_in_sync_calls():
    start = time.monotonic()
    ScriptedChatModel(["x"], delay=0.05).invoke("x")
    assert time.monotonic() - start >= 0.05


async def test_delay_does_not_block_the_loop():
    start = time.monotonic()
    model = ScriptedChatModel(["x"], then="repeat", delay=0.1)
    await asyncio.gather(*(model.ainvoke("x") for _ in range(20)))
    assert time.monotonic() - start < 1.5
    assert len(model.calls) == 20


# streams ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        AIMessage("How are you today?"),
        AIMessage(""),
        AIMessage("  leading, and\nlines "),
        AIMessage("text", tool_calls=[CALL, {**CALL, "id": "c2", "args": {}}]),
        AIMessage("", invalid_tool_calls=[{"name": "f", "args": "no json", "id": "c3", "error": None}]),
        AIMessage("x", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
        AIMessage("word " * 100_000),
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
    assert [chunk.content for chunk in pieces_of(AIMessage(["a", {"type": "text", "text": "b"}]))][:2] == [
        [{"type": "text", "text": "a", "index": 0}],
        [{"type": "text", "text": "b", "index": 1}],
    ]


async def test_a_stream_may_break_in_the_middle_sync_and_async():
    model = ScriptedChatModel([["Hel", "lo", TimeoutError("cut")]], then="repeat")
    seen: list[Any] = []
    stream = model.stream("x")
    seen += [next(stream).content, next(stream).content]
    with pytest.raises(TimeoutError, match="cut"):
        next(stream)
    astream = model.astream("x")
    seen += [(await anext(astream)).content, (await anext(astream)).content]
    with pytest.raises(TimeoutError, match="cut"):
        await anext(astream)
    assert seen == ["Hel", "lo"] * 2
    with pytest.raises(TimeoutError, match="cut"):
        model.invoke("x")
    assert ScriptedChatModel([["Hel", "lo"]]).invoke("x").content == "Hello"
    assert "".join(chunk.content for chunk in ScriptedChatModel([["Hel", "lo"]]).stream("x")) == "Hello"


async def test_async_is_sync():
    for response in ("one two", AIMessage("", tool_calls=[CALL])):
        model = ScriptedChatModel([response], then="repeat")
        answer, again = model.invoke("x"), await model.ainvoke("x")
        assert (answer.content, answer.tool_calls) == (again.content, again.tool_calls)
        streamed = [chunk.content async for chunk in model.astream("x")]
        assert streamed == [chunk.content for chunk in model.stream("x")]


# tools and structure ------------------------------------------------------------------------------------------------


def test_bound_tools_are_recorded_with_the_calls_of_the_model_itself():
    model = ScriptedChatModel(["x"], then="repeat")
    model.bind_tools([weather], tool_choice="any").invoke("a")
    model.bind(temperature=0.5).invoke("b")
    assert texts(model) == [["a"], ["b"]]
    assert [one["function"]["name"] for one in model.options[0]["tools"]] == ["weather"]
    assert model.options[0]["tool_choice"] == "any"
    assert model.options[1]["temperature"] == 0.5


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("schema", [Film, JSON_SCHEMA], ids=["class", "schema"])
async def test_structured_output_is_parsed_from_scripted_json(method, schema):
    model = ScriptedChatModel(['{"name": "Alien"}'], then="repeat")
    expected = Film(name="Alien") if schema is Film else {"name": "Alien"}
    structured = model.with_structured_output(schema, method=method)
    assert structured.invoke("x") == expected
    assert await structured.ainvoke("x") == expected
    raw = model.with_structured_output(schema, method=method, include_raw=True).invoke("x")
    assert (raw["parsed"], raw["parsing_error"]) == (expected, None)
    assert isinstance(raw["raw"], AIMessage)
    assert "scripted_tool" not in model.options[0]


def test_the_schema_reaches_the_options():
    model = ScriptedChatModel(['{"name": "Alien"}'], then="repeat")
    model.with_structured_output(Film).invoke("x")
    model.with_structured_output(Film, method="function_calling").invoke("x")
    assert model.options[0]["response_format"]["json_schema"]["name"] == "Film"
    assert model.options[1]["tool_choice"] == "Film"


def test_structured_output_from_a_scripted_tool_call():
    model = ScriptedChatModel([AIMessage("", tool_calls=[{**CALL, "name": "Film", "args": {"name": "Alien"}}])])
    assert model.with_structured_output(Film, method="function_calling").invoke("x") == Film(name="Alien")


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_junk_is_a_parsing_error(method):
    model = ScriptedChatModel(["junk"], then="repeat")
    with pytest.raises(ValueError, match="junk"):
        model.with_structured_output(Film, method=method).invoke("x")
    raw = model.with_structured_output(Film, method=method, include_raw=True).invoke("x")
    assert raw["parsed"] is None
    assert raw["parsing_error"] is not None
    assert raw["raw"].content == "junk"


def test_junk_in_place_of_a_tool_call_is_an_invalid_call():
    raw = ScriptedChatModel(["junk"]).with_structured_output(Film, method="function_calling", include_raw=True)
    answer = raw.invoke("x")
    assert answer["parsed"] is None
    assert answer["raw"].invalid_tool_calls[0]["args"] == "junk"


# copies -------------------------------------------------------------------------------------------------------------


def test_copies_share_the_record_and_the_place_in_the_script():
    model = ScriptedChatModel(["a", "b", "c"])
    assert [one.invoke("x").content for one in (model, copy.copy(model), copy.deepcopy(model))] == ["a", "b", "c"]
    assert len(model.calls) == 3


def test_a_pickled_model_goes_on_where_it_was():
    model = ScriptedChatModel(["a", "b"])
    model.invoke("x")
    again = pickle.loads(pickle.dumps(model))
    assert (again.invoke("y").content, texts(again)) == ("b", [["x"], ["y"]])
    assert texts(model) == [["x"]]
