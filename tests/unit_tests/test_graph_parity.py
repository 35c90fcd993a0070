"""Law 8: every way to run the graph gives the same states, on every store; and what Studio sees of it, as snapshots."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from langgraph.store.sqlite.aio import AsyncSqliteStore

from langchain_persona import PersonaContext, create_persona_graph
from langchain_persona.testing import ScriptedChatModel
from tests.graphs import Agent, config_of, echo, films, half_written, new_memory, run, texts_of, warnings_of

HOWS = ("invoke", "ainvoke", "stream", "astream")
SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.fixture(params=["memory", "sqlite", "async sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseStore]:
    path = str(tmp_path / "store.db")
    if request.param == "memory":
        yield InMemoryStore()
    elif request.param == "sqlite":
        manager = SqliteStore.from_conn_string(path)
        found = await asyncio.to_thread(manager.__enter__)
        await asyncio.to_thread(found.setup)
        yield found
        await asyncio.to_thread(manager.__exit__, None, None, None)
    else:
        async with AsyncSqliteStore.from_conn_string(path) as opened:
            await opened.setup()
            yield opened


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"Sun in {city}."


def answers() -> ScriptedChatModel:
    """Calls tools where the message says so."""

    def call(name: str, **arguments: Any) -> AIMessage:
        made = {"name": name, "args": arguments, "id": f"call-{name}", "type": "tool_call"}
        return AIMessage("", tool_calls=[made])

    def answer(messages: list[BaseMessage]) -> Any:
        last = messages[-1]
        if last.type == "tool":
            return f"It says: {last.text[:40]}"
        if "weather" in last.text:
            return call("weather", city="Rome")
        return call("not_there") if "broken" in last.text else f"answer to: {last.text[:40]}"

    return ScriptedChatModel(answer)


TURNS: tuple[tuple[str | None, Any], ...] = (
    ("Please always answer in German. A horror film?", None),
    (None, {"reward": 1, "docs": ["0"]}),
    ("what is the weather", None),
    ("I live in Berlin. A comedy film?", -0.5),
    ("this is broken", "junk"),
    ("I'm allergic to peanuts.", None),
    ("I live in Berlin!", None),
    ("👍", None),
    ("and a whale film?", {"accepted": "A documentary.", "reward": 0.2}),
)


class Plain:
    """States without what differs from run to run: ids by their order, no times."""

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
        text = re.sub(r'"(created|updated)": [0-9.]+', r'"\1": 0', text)
        text = re.sub(r"(?:\d{8}-)?[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", self._number, text)
        return json.loads(re.sub(r"\d\.\d{7,}", lambda found: f"{float(found[0]):.5f}", text))

    def _number(self, found: re.Match[str]) -> str:
        return self._numbers.setdefault(found[0], f"id{len(self._numbers)}")


async def conversation(how: str, store: Any, **options: Any) -> Any:
    """Every state of a conversation, and what is known at its end."""
    memory = new_memory(store)
    agent = Agent(answers(), memory, how=how, retriever=films(memory), tools=[weather], align_every=2, **options)
    plain, states = Plain(), []
    for text, feedback in TURNS:
        states.append(plain(await agent.say(text, feedback=feedback)))
    assert await half_written(memory) == []
    count = (await memory.avectors("ana")).count
    return states, await texts_of(memory), (await memory.apersona("ana")).revision.text, count


@pytest.mark.parametrize("reflect", ["inline", "background", "off"])
@pytest.mark.parametrize("how", HOWS[1:])
async def test_law_8_every_way_to_run_it_gives_the_same_states(how, reflect, store, caplog):
    expected = await conversation("invoke", InMemoryStore(), reflect=reflect)
    told = warnings_of(caplog)
    assert len(told) == 1  # the feedback that is none
    found = await conversation(how, store, reflect=reflect)
    assert warnings_of(caplog) == told
    assert found == expected


async def test_the_conversation_uses_the_whole_surface():
    states, texts, persona, count = await conversation("invoke", InMemoryStore())
    text = json.dumps(states)
    for word in ('"thumbs"', '"edit"', '"tool"', '"added"', '"confirmed"', '"diff"', '"retrieval"', '"all"'):
        assert word in text, word
    assert len(texts) == 3
    assert "peanuts" in persona
    assert count == 4


@pytest.mark.parametrize("how", HOWS)
async def test_a_run_without_context_is_anonymous_in_every_way(how):
    memory = new_memory()
    agent = Agent(echo(), memory, how=how)
    state = await run(agent.graph, {"messages": [("user", "hi")]}, config_of(), None, how, memory)
    assert state["messages"][-1].text == "answer to: hi"


# snapshots ------------------------------------------------------------------------------------------------------------


def same_as_kept(name: str, text: str) -> None:
    """Compare with a file; PERSONA_TEST_UPDATE=1 writes it."""
    path = SNAPSHOTS / name
    if os.environ.get("PERSONA_TEST_UPDATE"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"PERSONA_TEST_UPDATE=1 writes {path.name} anew"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("graph.txt", {}),
        ("graph_approve.txt", {"approve": True}),
        ("graph_no_tools.txt", {"memory_tools": False}),
        ("graph_agent.txt", {"model": None, "agent": echo(), "reflection": "verbatim"}),
    ],
)
def test_the_drawn_graph(name, options):
    graph = create_persona_graph(**{"model": echo(), "memory": new_memory(), **options})
    same_as_kept(name, graph.compile(checkpointer=InMemorySaver()).get_graph().draw_mermaid())


def test_the_context_schema():
    schema = PersonaContext.model_json_schema()
    same_as_kept("context.json", json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
    compiled = create_persona_graph(echo(), memory=new_memory()).compile()
    assert compiled.get_context_jsonschema() == schema


def test_what_goes_in_and_comes_out():
    compiled = create_persona_graph(echo(), memory=new_memory()).compile()
    schemas = (compiled.get_input_jsonschema(), compiled.get_output_jsonschema())
    kept = {name: sorted(one["properties"]) for name, one in zip(("input", "output"), schemas, strict=True)}
    same_as_kept("state.json", json.dumps(kept, indent=2) + "\n")
