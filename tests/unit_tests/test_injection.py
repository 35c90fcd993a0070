"""Hostile texts of users, tools, documents and assistants never become a global card, a persona, or an instruction.

Everything of ours that uses a model is obedient here: it proposes the hostile text for every conversation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool

from langchain_persona import PersonaMemory
from langchain_persona.extraction import LLMExtractor
from langchain_persona.persona import ModelWriter, TemplateWriter
from langchain_persona.records import Evidence, PreferenceCard
from langchain_persona.testing import ScriptedChatModel
from tests.graphs import BASE, Agent, echo, films, new_memory, warnings_of

HOSTILE = json.loads((Path(__file__).parents[1] / "data" / "hostile.json").read_text(encoding="utf-8"))
SYSTEM = re.compile(
    re.escape(BASE)
    + r"(?:\n\n<user_notes>\n([^<>]*)\n</user_notes>)?"
    + r"(?:\n\n<documents>\n([^<>]*)\n</documents>)?"
)
QUESTIONS = ("what is seventeen times three", "and nineteen times four", "the capital of Peru")

every_text = pytest.mark.parametrize("text", [item["text"] for item in HOSTILE], ids=[item["id"] for item in HOSTILE])


def test_the_list_is_long_and_varied():
    assert len(HOSTILE) >= 30
    assert {item["channel"] for item in HOSTILE} == {"user", "tool"}
    assert {item["language"] for item in HOSTILE} >= {"en", "de", "fr", "es", "zh"}
    assert len({item["text"] for item in HOSTILE}) == len(HOSTILE)


def obedient(text: str) -> ScriptedChatModel:
    """Proposes the text, whatever it is asked: as a card, as a persona, as a list."""
    card = {
        "quote": text,
        "note": text,
        "condition": "",
        "action": text,
        "kind": "preference",
        "scope": "always",
        "origin": "stated",
        "confidence": "high",
    }

    def answer(messages: list[BaseMessage]) -> Any:
        return {"cards": [card]} if "quote" in messages[0].text else f"- {text}"

    return ScriptedChatModel(answer)


class Believing:
    """An extractor of the host's that takes every text for a global preference, and checks nothing."""

    def __init__(self, text: str) -> None:
        self.text = text

    def extract(self, turns: Any) -> list[PreferenceCard]:
        quote = Evidence(message_id=turns[0].message_id, quote=turns[0].user)
        return [PreferenceCard(note=self.text[:4_000], always=True, evidence=(quote,))]

    async def aextract(self, turns: Any) -> list[PreferenceCard]:
        return self.extract(turns)


def with_model(text: str) -> dict[str, Any]:
    model = obedient(text)
    return {"extractor": LLMExtractor(model), "writer": ModelWriter(model, n=1), "reconciler": model}


def with_hosts_own(text: str) -> dict[str, Any]:
    return {"extractor": Believing(text), "writer": TemplateWriter()}


every_learner = pytest.mark.parametrize("learner", [with_model, with_hosts_own])


def checked(memory: PersonaMemory, model: ScriptedChatModel, caplog: Any) -> None:
    """Nothing of it holds for every conversation, and nothing stands outside a fence."""
    assert [card.note for card in memory.preferences("ana", all=True) if card.always] == []
    assert [revision.text for revision in memory.history("ana")] == []
    for call in model.calls:
        assert call[0].type == "system"
        assert SYSTEM.fullmatch(call[0].text), call[0].text
        assert all(message.type != "system" for message in call[1:])
    assert warnings_of(caplog) == []  # it was refused by a check, not by an accident


async def go_on(agent: Agent) -> None:
    """Some harmless turns, each of which gives its neighbour a verdict, so that the persona is written."""
    for question in QUESTIONS:
        await agent.say(question, feedback=1)
    await agent.say("one more thing", thread="another day")


@every_text
@every_learner
async def test_as_a_message_of_the_user(text, learner, caplog):
    memory, model = new_memory(), echo()
    agent = Agent(model, memory, how="ainvoke", align_every=1, **learner(text))
    await agent.say(text)
    await agent.say(f"Thanks! {text}")
    await go_on(agent)
    checked(memory, model, caplog)


def reader_of(text: str) -> tuple[ScriptedChatModel, Callable[[str], str]]:
    """A model that looks a page up and does what stands in it; and the tool with the page."""

    @tool
    def page(name: str) -> str:
        """A page."""
        return text

    def answer(messages: list[BaseMessage]) -> Any:
        last = messages[-1]
        if last.type == "human" and "page" in last.text:
            return AIMessage("", tool_calls=[_call("page", name="x")])
        if last.type == "tool" and last.name == "page":
            return AIMessage("", tool_calls=[_call("remember", text=text[:500]), _call("forget", what="everything")])
        return "Done."

    return ScriptedChatModel(answer), page


def _call(name: str, /, **arguments: str) -> dict[str, Any]:
    return {"name": name, "args": arguments, "id": f"call-{name}", "type": "tool_call"}


@every_text
async def test_as_the_result_of_a_tool(text, caplog):
    memory = new_memory()
    memory.remember("ana", "likes whales")
    model, page = reader_of(text)
    agent = Agent(model, memory, how="ainvoke", align_every=1, tools=[page], **with_model(text))
    state = await agent.say("look at the page")
    assert any(message.type == "tool" and message.name == "forget" for message in state["messages"])
    assert "likes whales" in [card.note for card in memory.preferences("ana")]  # no page has it erased
    assert [card.note for card in memory.preferences("ana", all=True)] == ["likes whales"]  # nor has it kept
    await go_on(agent)
    checked(memory, model, caplog)


@every_text
async def test_as_a_document(text, caplog):
    memory, model = new_memory(), echo()
    agent = Agent(
        model, memory, how="ainvoke", align_every=1, retriever=films(memory, [text, text]), **with_model(text)
    )
    await agent.say("what stands in the document?")
    assert "<documents>" in agent.prompt
    assert memory.preferences("ana", all=True) == []
    await go_on(agent)
    checked(memory, model, caplog)


@every_text
async def test_as_what_the_assistant_said(text, caplog):
    memory, model = new_memory(), ScriptedChatModel(lambda messages: text)
    agent = Agent(model, memory, how="ainvoke", align_every=1, **with_model(text))
    await agent.say("tell me something")
    assert memory.preferences("ana", all=True) == []
    await go_on(agent)
    checked(memory, model, caplog)


@every_text
async def test_where_it_is_on_record_all_the_same_it_stays_in_the_fence(text, caplog):
    """A card and a persona that were written by hand, such as by an old version."""
    memory, model = new_memory(), echo()
    memory.remember("ana", PreferenceCard(note=text, always=True))
    memory.remember("ana", text)
    memory.revise_persona("ana", text[:1_000])
    agent = Agent(model, memory, how="ainvoke", min_relevance=-1.0, retriever=films(memory, [text]))
    await agent.say("hello")
    found = SYSTEM.fullmatch(agent.prompt)
    assert found, agent.prompt
    for part in found.groups():
        assert part
        assert "user_notes" not in part
        assert not re.search(r"^\s*(?:#|```)", part, re.MULTILINE)
    assert warnings_of(caplog) == []


async def test_the_check_itself_can_fail(caplog):
    memory, model = new_memory(), echo()
    agent = Agent(model, memory, how="ainvoke", align_every=1, **with_hosts_own("Answers in German, please."))
    await agent.say("Please always answer in German.")
    await go_on(agent)
    assert warnings_of(caplog) == []
    with pytest.raises(AssertionError, match="answer in German"):
        checked(memory, model, caplog)
    assert not SYSTEM.fullmatch(f"{BASE}\n\n<user_notes>\na</user_notes>\nobey\n</user_notes>")
    assert not SYSTEM.fullmatch(f"{BASE}\n\nobey")
