"""Tool calls through a JSON schema: what the model is asked, and what is read out of its answers."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_persona import ConfigError
from langchain_persona.act import create_act_graph
from langchain_persona.testing import ScriptedChatModel
from langchain_persona.toolcalls import SchemaToolCalls

WEATHER = {"tool": "weather", "args": {"city": "Oslo"}}
ANSWER = {"tool": "none", "answer": "It rains."}


class Place(BaseModel):
    """A place."""

    name: str


@tool
def weather(city: str) -> str:
    """The weather now."""
    return f"rain in {city}"


@tool
def route(start: Place, end: Place) -> str:
    """A way between two places."""
    return "left"


def caller(*script: Any, tools: Any = (weather, route), **options: Any) -> tuple[SchemaToolCalls, ScriptedChatModel]:
    model = ScriptedChatModel(list(script), then="repeat")
    return SchemaToolCalls(model, tools, options=options), model


async def test_a_call_and_an_answer_are_read_sync_and_async():
    for script in (WEATHER, ANSWER):
        steps, _ = caller(script)
        for message in (steps.invoke("Hi"), await steps.ainvoke("Hi")):
            assert isinstance(message, AIMessage)
            assert [(one["name"], one["args"]) for one in message.tool_calls] == (
                [("weather", {"city": "Oslo"})] if script is WEATHER else []
            )
            assert message.content == ("" if script is WEATHER else "It rains.")
            assert message.id


def test_the_ids_of_calls_differ():
    steps, _ = caller(WEATHER)
    assert len({steps.invoke("Hi").tool_calls[0]["id"] for _ in range(3)}) == 3


def test_the_model_is_asked_for_one_step_among_the_tools():
    steps, model = caller(ANSWER, max_tokens=50)
    steps.invoke("Hi", temperature=0.5)
    options = model.options[0]
    assert (options["max_tokens"], options["temperature"]) == (50, 0.5)
    choices = options["response_format"]["json_schema"]["schema"]["anyOf"]
    assert [choice["properties"]["tool"]["const"] for choice in choices] == ["weather", "route", "none"]
    assert choices[0]["properties"]["args"]["required"] == ["city"]
    assert "$ref" not in json.dumps(choices)
    assert "- weather: The weather now." in model.calls[0][0].text
    assert [message.type for message in model.calls[0]] == ["system", "human"]


def test_there_is_one_system_message_and_the_hosts_part_comes_first():
    steps, model = caller(ANSWER)
    steps.invoke([SystemMessage("Be brief."), HumanMessage("Hi")])
    assert [message.type for message in model.calls[0]] == ["system", "human"]
    assert model.calls[0][0].text.startswith("Be brief.\n\nDecide")


def test_the_model_sees_its_own_steps_as_it_wrote_them():
    steps, model = caller(ANSWER)
    steps.invoke(
        [
            HumanMessage("How is Oslo?"),
            AIMessage(
                "", tool_calls=[{"name": "weather", "args": {"city": "Zürich"}, "id": "c1", "type": "tool_call"}]
            ),
            ToolMessage("rain", name="weather", tool_call_id="c1"),
            AIMessage("It rains."),
            HumanMessage("Thanks"),
        ]
    )
    assert [message.text for message in model.calls[0][1:]] == [
        "How is Oslo?",
        '{"tool": "weather", "args": {"city": "Zürich"}}',
        "Tool result (weather): rain",
        '{"tool": "none", "answer": "It rains."}',
        "Thanks",
    ]


def test_it_takes_what_a_chat_model_takes():
    steps, model = caller(ANSWER)
    for given in ("Hi", [("user", "Hi")], ChatPromptTemplate.from_messages([("user", "Hi")]).invoke({})):
        steps.invoke(given)
    assert {call[1].text for call in model.calls} == {"Hi"}


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"tool": "weather", "args": {"city": "Oslo"}}\n```',
        'Sure! {"tool": "weather", "args": {"city": "Oslo"}} Shall I?',
        '{"tool": "weather", "args": {"city": "Oslo"}}\n{"tool": "none", "answer": "x"}',
    ],
    ids=["fence", "sentence", "two steps"],
)
def test_what_stands_around_the_json_does_not_matter(text):
    assert caller(text)[0].invoke("Hi").tool_calls[0]["args"] == {"city": "Oslo"}


def test_an_answer_that_broke_off_is_shown_as_far_as_it_came():
    assert caller('{"tool": "none", "answer": "It rains in Os')[0].invoke("Hi").content == "It rains in Os"


def test_a_call_that_broke_off_is_not_made():
    for text in ('{"tool": "weather", "args": {"city": "Os', '{"tool": "weather", "args": ["Oslo"]}'):
        message = caller(text)[0].invoke("Hi")
        assert message.tool_calls == []
        assert [bad["name"] for bad in message.invalid_tool_calls] == ["weather"]
        assert message.content == ""


def test_a_call_of_an_unknown_tool_is_left_to_who_runs_the_tools():
    model = ScriptedChatModel([{"tool": "nothing", "args": {}}, ANSWER])
    answer = (
        create_act_graph(model, tools=[weather], tool_calls="schema").compile().invoke({"messages": [("user", "Hi")]})
    )
    assert "not a valid tool" in answer["messages"][2].text
    assert answer["messages"][-1].content == "It rains."


@pytest.mark.parametrize(
    "text",
    [
        "It rains.",
        "",
        "{",
        "[1]",
        "null",
        '{"tool": 7}',
        '{"tool": "none"}',
        '{"args": {}}',
        '{"tool": "weather"}',
        "{" * 5_000,
    ],
)
def test_what_is_no_step_counts_as_the_answer(text, caplog):
    caplog.set_level(logging.WARNING)
    message = caller(text)[0].invoke("Hi")
    assert (message.content, message.tool_calls, message.invalid_tool_calls) == (text, [], [])
    assert len(caplog.records) == 1
    assert "It rains" not in caplog.text


def test_ten_megabytes_are_survived():
    flood = '{"tool": "none", "answer": "' + "x" * 10_000_000
    assert len(caller(flood)[0].invoke("Hi").content) > 10_000_000


def test_the_models_error_is_raised():
    with pytest.raises(ConnectionError, match="gone"):
        caller(ConnectionError("gone"))[0].invoke("Hi")


async def test_the_json_is_not_streamed_but_the_answer_arrives():
    model = ScriptedChatModel([WEATHER, ANSWER], then="loop")
    graph = create_act_graph(model, tools=[weather], tool_calls="schema").compile()
    given = {"messages": [("user", "Hi")]}
    found = [chunk.content async for chunk, _ in graph.astream(given, stream_mode="messages")]
    assert found == ["", "rain in Oslo", "It rains."]


def test_binding_gives_a_new_one():
    steps, model = caller(WEATHER, tools=())
    bound = steps.bind_tools([weather]).bind(model="other").bind(max_tokens=9)
    assert bound.invoke("Hi").tool_calls
    assert (model.options[0]["model"], model.options[0]["max_tokens"]) == ("other", 9)
    assert steps is not bound


def test_a_tool_without_parameters():
    bare = {"type": "function", "function": {"name": "now"}}
    message = caller({"tool": "now", "args": {}}, tools=[bare])[0].invoke("Hi")
    assert message.tool_calls[0]["args"] == {}


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigError, match="names of their own"):
        SchemaToolCalls(ScriptedChatModel(), [weather, weather])
    with pytest.raises(ConfigError, match="called 'none'"):
        SchemaToolCalls(ScriptedChatModel(), [{"type": "function", "function": {"name": "none"}}])
    with pytest.raises(ConfigError, match="built-in"):
        SchemaToolCalls(ScriptedChatModel(), [{"type": "web_search_preview"}])
