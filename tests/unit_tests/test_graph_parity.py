"""invoke, ainvoke, stream and astream are one behaviour; what is streamed is the answer; what the graph looks like."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from langgraph.types import Command

from langchain_persona import PersonaMemory
from langchain_persona.extraction import LLMExtractor
from langchain_persona.graph import create_persona_graph
from langchain_persona.identity import PersonaContext
from langchain_persona.loop import Judge
from langchain_persona.persona import ModelWriter, TemplateWriter
from langchain_persona.testing import ScriptedChatModel
from tests.graphs import Agent, Noting, config_of, echo, films, new_memory, run, warnings_of

HOWS = ("invoke", "ainvoke", "stream", "astream")
SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.fixture(params=["memory", "sqlite"])
def store(request: Any, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield InMemoryStore()
        return
    connection = sqlite3.connect(tmp_path / "store.sqlite", check_same_thread=False, isolation_level=None)
    opened = SqliteStore(connection)
    opened.setup()
    yield opened
    connection.close()


# the same state -------------------------------------------------------------------------------------------------------


class Plain:
    """Makes states comparable: ids get numbers in the order in which they come, times go."""

    ID = re.compile(r"(?:run-+|lc_run--)?[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}(?:-\d+)?")
    TIMES = frozenset({"time", "created", "updated", "since"})

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}

    def __call__(self, value: Any) -> Any:
        match value:
            case BaseMessage():
                facts = value.model_dump(
                    include={"type", "content", "tool_calls", "name", "status", "id", "tool_call_id"}
                )
                return self(facts)
            case Document():
                return self({"id": value.id, "text": value.page_content, "why": value.metadata})
            case dict():
                return {self(key): self(part) for key, part in value.items() if key not in self.TIMES}
            case list() | tuple():
                return [self(part) for part in value]
            case str():
                return self.ID.sub(lambda found: self._number(found.group().removeprefix("lc_")), value)
            case float():
                return round(value, 6)
        return value

    def _number(self, name: str) -> str:
        return self._numbers.setdefault(name, f"id{len(self._numbers)}")


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"Sun in {city}."


def call(name: str, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}", "type": "tool_call"}])


def answers() -> ScriptedChatModel:
    """Calls tools where the message says so."""

    def answer(messages: list[BaseMessage]) -> Any:
        last = messages[-1]
        if last.type == "tool":
            return f"It says: {last.text[:60]}"
        if "weather" in last.text:
            return call("weather", city="Rome")
        if "recall" in last.text:
            return call("recall", query="films")
        if "broken" in last.text:
            return call("not_there")
        return f"answer to: {last.text}"

    return ScriptedChatModel(answer)


TURNS: tuple[tuple[str | None, dict[str, Any]], ...] = (
    ("Please always answer in German. A horror film?", {}),
    (None, {"feedback": {"reward": 1, "docs": ["0"]}}),
    ("what is the weather", {}),
    ("Thanks! please recall what I like", {}),
    ("Please always answer in French. A comedy film?", {"feedback": -0.5}),
    ("this is broken", {"feedback": "junk"}),
    ("I'm allergic to peanuts.", {}),
    ("Forget that, please.", {}),
    ("Don't remember this: I drink wine.", {}),
    ("and a whale film?", {"feedback": {"accepted": "A documentary.", "reward": 0.2}}),
)


async def conversation(how: str, store: Any, **options: Any) -> tuple[list[Any], Any]:
    """Every state of a long conversation, and what is stored at its end."""
    memory = new_memory(store)
    agent = Agent(answers(), memory, how=how, retriever=films(memory), extractor=Noting(), tools=[weather], **options)
    plain, states = Plain(), []
    for text, inputs in TURNS:
        states.append(plain(await agent.say(text, **inputs)))
        states.append(agent.prompt)
    items = await asyncio.to_thread(memory.store.search, ("persona",), limit=1_000)
    kept = sorted((re.sub(r"[0-9a-f]{12,}", "", "/".join(item.namespace)), len(item.value)) for item in items)
    notes = [card.note for card in await memory.apreferences("ana", all=True)]
    return states, (kept, notes, (await memory.apersona("ana")).revision.text)


@pytest.mark.parametrize("reflect", ["inline", "background", "off"])
@pytest.mark.parametrize("how", HOWS[1:])
async def test_every_way_to_run_it_gives_the_same_states(how, reflect, store, caplog):
    options = {"writer": TemplateWriter(), "align_every": 2, "reflect": reflect}
    expected = await conversation("invoke", InMemoryStore(), **options)
    told = warnings_of(caplog)
    assert len(told) == 1  # the feedback that is none
    states, kept = await conversation(how, store, **options)
    assert warnings_of(caplog) == told
    for found, wanted in zip(states, expected[0], strict=True):
        assert found == wanted
    assert kept == expected[1]
    json.dumps(states)


async def test_the_conversation_uses_the_whole_surface():
    states, (_, _, persona) = await conversation("invoke", InMemoryStore(), writer=TemplateWriter(), align_every=2)
    text = json.dumps(states)
    for word in (
        '"follow_up"',
        '"thumbs"',
        '"superseded"',
        '"erased"',
        '"added"',
        "not_there",
        "Sun in Rome",
        '"diff"',
    ):
        assert word in text, word
    assert "answer in French" in persona
    assert "peanut" not in json.dumps(states[-4:-2][0]["learned"])


@pytest.mark.parametrize("decision", ["approve", "reject", {"decision": "edit", "text": "Speaks German at home."}])
@pytest.mark.parametrize("how", HOWS)
async def test_an_interrupt_is_decided_the_same_way(how, decision, store):
    memory = new_memory(store)
    agent = Agent(echo(), memory, how=how, writer=TemplateWriter(), align_every=1, approve=True)
    state = await agent.say("Please always answer in German.")
    asked = (await asyncio.to_thread(agent.graph.get_state, config_of())).interrupts
    assert [sorted(one.value) for one in asked] == [["answers", "diff", "new", "old", "reason"]]
    assert state["messages"][-1].text == "answer to: Please always answer in German."
    state = await agent.run(Command(resume=decision))
    assert state["proposal"] is None
    told = state["reflection"]["persona"]
    assert told == "the proposal was rejected" if decision == "reject" else told["revision"] == 1
    text = (await memory.apersona("ana")).revision.text
    if decision == "reject":
        assert text == ""
    else:
        assert ("at home" in text) is isinstance(decision, dict)


@pytest.mark.parametrize("sync", [True, False], ids=["drain", "adrain"])
async def test_drain_waits_for_the_work_behind_the_answer(sync, store):
    extractor = Noting()
    memory = new_memory(store)
    agent = Agent(echo(), memory, reflect="background", extractor=extractor)
    given = {"messages": [("user", "a question")]}
    if sync:
        await asyncio.to_thread(agent.graph.invoke, given, config_of(), context={"user_id": "ana"})
        assert await asyncio.to_thread(memory.drain, 30)
    else:
        await agent.graph.ainvoke(given, config_of(), context={"user_id": "ana"})
        assert await memory.adrain(30)
    assert extractor.seen == ["a question"]
    assert await memory.aprocess_pending() == 0
    assert len(await memory.apreferences("ana")) == 1


async def test_turns_of_many_users_at_once(store):
    memory = new_memory(store)
    agent = Agent(echo(), memory, how="ainvoke", extractor=Noting(), reflect="background")
    languages = ("German", "French", "Spanish", "Italian", "Dutch", "Polish")
    given = [(f"Please always answer in {name}.", name, name) for name in languages]
    await asyncio.gather(*(agent.say(*turn) for turn in given))
    assert await memory.adrain(30)
    for name in languages:
        state = await agent.say("hello", f"{name}2", name)
        assert [other for other in languages if other in state["system"]] == [name]


def test_the_first_turn_of_a_process_reads_no_file_on_the_event_loop():
    """In a process of its own: here, earlier tests have loaded whatever is loaded at first use."""
    script = """
import asyncio, logging, os
from blockbuster import blockbuster_ctx
from langchain_persona.persona import TemplateWriter
from tests.graphs import Agent, Noting, echo, films, new_memory

async def main():
    memory = new_memory()
    options = {"extractor": Noting(), "writer": TemplateWriter(), "align_every": 1, "retriever": films(memory)}
    with blockbuster_ctx("langchain_persona"):
        agent = Agent(echo(), memory, how="ainvoke", **options)
        for text in ("Please always answer in German. A film?", "Thanks! I like whales.", "Forget that, please."):
            await agent.say(text, feedback=1)

logging.basicConfig(format="%(message)s")
asyncio.run(main())
print("over", flush=True)
os._exit(0)  # the threads of Chroma's native part were seen to crash while an interpreter was torn down
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("over\n", "")


# what is streamed -----------------------------------------------------------------------------------------------------


def learning(memory: PersonaMemory) -> tuple[dict[str, Any], ScriptedChatModel]:
    """Options in which every model call of ours is made, and the model that makes them."""
    own = ScriptedChatModel(
        lambda messages: {
            "cards": [{"quote": "I like films", "note": "OWN likes films", "reason": "OWN"}],
            "reward": -0.5,
            "reason": "OWN words",
            "verdicts": [],
        }
    )
    options = {
        "extractor": LLMExtractor(own),
        "reconciler": own,
        "judge": Judge(own),
        "writer": ModelWriter(own, n=1, embeddings=memory.embeddings),
        "align_every": 1,
        "retriever": films(memory),
    }
    return options, own


@pytest.mark.parametrize("extract", ["after", "before"])
@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_the_stream_holds_the_tokens_of_the_answer_and_no_other(how, extract):
    memory = new_memory()
    options, own = learning(memory)
    agent = Agent(echo(), memory, extract=extract, **options)
    for text in ("I like films about whales", "and I like films with dogs in them", "I like films, all in all", "more"):
        given = {"messages": [("user", text)], "feedback": None if text == "more" else 1}
        chunks: list[tuple[Any, dict[str, Any]]] = []
        if how == "stream":
            chunks = await asyncio.to_thread(
                lambda given=given: list(
                    agent.graph.stream(given, config_of(), context={"user_id": "ana"}, stream_mode="messages")
                )
            )
        else:
            async for chunk in agent.graph.astream(
                given, config_of(), context={"user_id": "ana"}, stream_mode="messages"
            ):
                chunks.append(chunk)
        assert len([chunk for chunk, _ in chunks if isinstance(chunk, AIMessageChunk) and chunk.text]) > 2
        assert "".join(chunk.text for chunk, _ in chunks) == f"answer to: {text}"
        assert {facts["langgraph_node"] for _, facts in chunks} == {"act"}
    assert len(own.calls) > 3


async def test_updates_come_node_by_node_and_say_what_happened():
    memory = new_memory()
    agent = Agent(echo(), memory, extractor=Noting())
    given = {"messages": [("user", "Please always answer in German.")]}
    found = [
        update
        async for update in agent.graph.astream(given, config_of(), context={"user_id": "ana"}, stream_mode="updates")
    ]
    assert [next(iter(update)) for update in found] == ["memory", "retrieve", "persona", "act", "reflect"]
    assert "German" in found[0]["memory"]["learned"][0]["note"]


# snapshots ------------------------------------------------------------------------------------------------------------


def same_as_kept(name: str, text: str) -> None:
    """Compare with a file; PERSONA_TEST_UPDATE=1 writes it."""
    path = SNAPSHOTS / name
    if os.environ.get("PERSONA_TEST_UPDATE"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, (
        f"PERSONA_TEST_UPDATE=1 writes tests/unit_tests/snapshots/{name} anew"
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("graph.txt", {}),
        ("graph_approve.txt", {"approve": True}),
        ("graph_tools.txt", {"tools": [weather], "memory_tools": False}),
    ],
)
def test_the_drawn_graph(name, options):
    graph = create_persona_graph(echo(), memory=new_memory(), **options)
    same_as_kept(name, graph.compile(checkpointer=InMemorySaver()).get_graph().draw_mermaid())


def test_the_drawn_graph_with_an_agent_of_the_hosts():
    graph = create_persona_graph(agent=echo(), memory=new_memory())
    same_as_kept("graph_agent.txt", graph.compile().get_graph().draw_mermaid())


def test_the_context_schema():
    schema = PersonaContext.model_json_schema()
    same_as_kept("context.json", json.dumps(schema, indent=2, ensure_ascii=False) + "\n")
    compiled = create_persona_graph(echo(), memory=new_memory()).compile()
    assert compiled.get_context_jsonschema() == schema


def test_what_goes_in_and_comes_out():
    compiled = create_persona_graph(echo(), memory=new_memory()).compile()
    inputs, outputs = compiled.get_input_jsonschema(), compiled.get_output_jsonschema()
    kept = {"input": sorted(inputs["properties"]), "output": sorted(outputs["properties"])}
    same_as_kept("state.json", json.dumps(kept, indent=2) + "\n")


@pytest.mark.parametrize("how", HOWS)
async def test_a_run_without_context_is_anonymous_in_every_way(how):
    memory = new_memory()
    agent = Agent(echo(), memory, how=how)
    state = await run(agent.graph, {"messages": [("user", "hi")]}, config_of(), None, how, memory)
    assert state["messages"][-1].text == "answer to: hi"
