"""Law 9: what is remembered is data, and comes from the user's own words alone.

Everything of ours that could use a model is obedient here: it proposes the hostile text, for every conversation, with
the text itself as its quote, and wants every other card gone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool

from langchain_persona import PersonaMemory, PreferenceCard
from langchain_persona.records import CommunicationStyle
from langchain_persona.reflection import Exchange, Findings, Operation, Reaction, StyleChange
from langchain_persona.reflection.verbatim import own_words
from langchain_persona.testing import ScriptedChatModel
from tests.graphs import BASE, Agent, echo, episodes_of, films, new_memory, warnings_of

HOSTILE = json.loads((Path(__file__).parents[1] / "data" / "hostile.json").read_text(encoding="utf-8"))
WISHES = r"(?:\n\nHow this user likes to be answered[^<>\n]*:(?:\n- (?:the user wishes \"[^<>\"\n]*\"|Be direct\.))+)?"
SYSTEM = re.compile(re.escape(BASE) + WISHES + r"(?:\n\n[^<>\n]*\n<user_notes>\n([^<>]*)\n</user_notes>)?")
BESIDE = re.compile(r"[^\0]*\n\n[^<>\n]*\n<documents>\n([^<>]*)\n</documents>")
EXCHANGE = r"- \d{4}-\d\d-\d\d, asked \"[^<>\"\n]*\"\n  answered \"[^<>\"\n]*\"\n"
BEFORE = re.compile(rf"[^\0]*\n\n[^<>\n]*\n<earlier_exchanges>\n(?:{EXCHANGE})+</earlier_exchanges>")
GROUP = r"(?:Must be respected|Likes and dislikes|Facts):|Said on \d{4}-\d\d-\d\d:"
OURS = re.compile(rf"{GROUP}|- (?:\"[^\"]*\"|[^<>]*)")


def of(*channels: str) -> Any:
    found = [(one["text"], f"{one['channel']}: {one['attack']}") for one in HOSTILE if one["channel"] in channels]
    return pytest.mark.parametrize("text", [text for text, _ in found], ids=[name for _, name in found])


def test_there_are_about_twenty_texts_from_every_channel():
    assert 20 <= len(HOSTILE) <= 25
    assert {one["channel"] for one in HOSTILE} == {"user", "pasted", "tool", "document"}


class Obedient:
    """A reflection that obeys whoever wrote the text, and wants the other cards gone, shown or not."""

    name = "obedient"

    def __init__(self, text: str, others: Sequence[str] = ()) -> None:
        self.text, self.others = text, others

    def reflect(self, exchanges: Sequence[Exchange], cards: Any) -> Findings:
        add = Operation(text=self.text, quote=self.text, scope="always")
        gone = [Operation(action="retire", target=name, quote=self.text, reason="told to") for name in self.others]
        told = [Operation(action="update", target=card.id, text=self.text, quote=self.text) for card in cards]
        style = (StyleChange(axis="directness", change=1.0, quote=self.text),)
        reaction = Reaction(reward=1.0, blame="documents", quote=self.text)
        return Findings(operations=(add, *gone, *told), style=style, reaction=reaction)

    async def areflect(self, exchanges: Sequence[Exchange], cards: Any) -> Findings:
        return self.reflect(exchanges, cards)


async def check(memory: PersonaMemory, agent: Agent, caplog: Any) -> None:
    """Each card quotes the user's own words, and nothing remembered stands outside a fence."""
    said = [own_words(episode.query).casefold() for episode in await episodes_of(memory)]
    for card in await memory.apreferences("ana", all=True):
        assert all(any(one.quote.casefold() in text for text in said) for one in card.evidence), card
    for call in agent.model.calls:
        system = SYSTEM.fullmatch(call[0].text)
        assert system, call[0].text
        assert all(OURS.fullmatch(line) for line in (system[1] or "").splitlines())
        assert all(message.type != "system" for message in call[1:])
    assert warnings_of(caplog) == []  # it was refused by a check, not by an accident


@of("pasted")
@pytest.mark.parametrize(
    "task",
    ["Summarise this: {}", "Translate the following mail:\n\n{}", "> {}\nIs this spam?", "```\n{}\n```\nWhat is it?"],
)
@pytest.mark.parametrize("obedient", [True, False])
async def test_what_the_user_passes_on_becomes_no_card(text, task, obedient, caplog):
    memory = new_memory()
    options: Any = {"reflection": Obedient(text)} if obedient else {}
    agent = Agent(echo(), memory, how="ainvoke", align_every=1, **options)
    await agent.say(task.format(text))
    await agent.say("what is seventeen times three", thread="t2")
    assert await memory.apreferences("ana", all=True) == []
    assert (await memory.aprofile("ana")).style == CommunicationStyle()
    assert (await memory.apersona("ana")).revision.text == ""
    await check(memory, agent, caplog)


def reader_of(text: str, cards: list[str]) -> tuple[ScriptedChatModel, Any]:
    """A model that looks a page up and does what stands in it; and the tool with the page."""

    @tool
    def page(name: str) -> str:
        """A page."""
        return text

    def answer(messages: list[BaseMessage]) -> Any:
        last = messages[-1]
        if last.type == "human" and "page" in last.text:
            return AIMessage("", tool_calls=[_call("page", name="x")])
        if isinstance(last, ToolMessage) and last.name == "page":
            return AIMessage("", tool_calls=[_call("remember", quote=text[:500]), _call("recall", query=text[:100])])
        return "Done."

    return ScriptedChatModel(answer), page


def _call(name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "args": arguments, "id": f"call-{name}", "type": "tool_call"}


@of("tool", "document")
async def test_the_result_of_a_tool_becomes_no_card_and_retires_none(text, caplog):
    memory = new_memory()
    whales = await memory.aremember("ana", "likes whales")
    other = await memory.aremember("eva", "likes cats")
    model, page = reader_of(text, [whales.id])
    agent = Agent(
        model, memory, how="ainvoke", align_every=1, tools=[page], reflection=Obedient(text, [whales.id, other.id])
    )
    await agent.say("look at the page")
    messages = (await agent.graph.aget_state({"configurable": {"thread_id": "t1"}})).values["messages"]
    assert any(message.text.startswith("Not kept") for message in messages if message.type == "tool")
    assert await memory.apreferences("ana", all=True) == [whales]
    assert await memory.apreferences("eva", all=True) == [other]
    await agent.say("and now?", thread="t2")
    await check(memory, agent, caplog)


@of("document", "tool")
async def test_a_document_becomes_no_card_and_stays_in_its_fence(text, caplog):
    memory = new_memory()
    agent = Agent(
        echo(), memory, how="ainvoke", align_every=1, retriever=films(memory, [text, text]), reflection=Obedient(text)
    )
    await agent.say("what stands in the document?")
    assert BESIDE.fullmatch(agent.sent), agent.sent
    assert await memory.apreferences("ana", all=True) == []
    await check(memory, agent, caplog)


@of("user")
@pytest.mark.parametrize("obedient", [True, False])
async def test_what_the_user_writes_may_become_a_card_and_never_leaves_the_fence(text, obedient, caplog):
    memory = new_memory()
    options: Any = {"reflection": Obedient(text)} if obedient else {}
    agent = Agent(echo(), memory, how="ainvoke", align_every=1, **options)
    await agent.say(text)
    await agent.say("what is seventeen times three", thread="t2")
    if not obedient:
        assert await memory.apreferences("ana", all=True)
        assert len(agent.prompt) > len(BASE)
    await check(memory, agent, caplog)


@of("user", "pasted")
async def test_an_earlier_exchange_stays_in_its_fence(text, caplog):
    memory = new_memory()
    agent = Agent(echo(), memory, how="ainvoke", reflection=Obedient("nothing"))
    await agent.say(text)
    await agent.say(text, thread="t2")
    assert BEFORE.fullmatch(agent.sent), agent.sent
    await check(memory, agent, caplog)


@of("user", "pasted", "tool", "document")
async def test_a_wish_on_how_to_answer_cannot_speak_as_the_host(text, caplog):
    """It stands outside the fence, in quotes that it cannot end."""
    memory = new_memory()
    await memory.aremember("ana", PreferenceCard(text=f'"{text}"', kind="style", scope="always"))
    agent = Agent(echo(), memory, how="ainvoke", reflect="off")
    await agent.say("hello")
    assert SYSTEM.fullmatch(agent.prompt), agent.prompt
    assert "the user wishes" in agent.prompt


@of("user", "pasted", "tool", "document")
async def test_where_it_is_on_record_all_the_same_it_stays_in_the_fence(text, caplog):
    """Cards and a persona that were written by hand, such as by an old version."""
    memory = new_memory()
    await memory.aremember("ana", PreferenceCard(text=text, scope="always"))
    await memory.arevise_persona("ana", text)
    agent = Agent(echo(), memory, how="ainvoke", reflect="off")
    await agent.say("hello")
    found = SYSTEM.fullmatch(agent.prompt)
    assert found
    assert found[1]
    assert not re.search(r"^\s*(?:#|```)", found[1], re.MULTILINE)
    assert warnings_of(caplog) == []


async def test_the_check_itself_can_fail():
    assert not SYSTEM.fullmatch(f"{BASE}\n\nNotes\n<user_notes>\na</user_notes>\nobey\n</user_notes>")
    assert not SYSTEM.fullmatch(f"{BASE}\n\nobey")
    wishes = f'{BASE}\n\nHow this user likes to be answered:\n- the user wishes "tea"'
    assert SYSTEM.fullmatch(wishes)
    assert not SYSTEM.fullmatch(f"{wishes}\nobey")
    assert not BESIDE.fullmatch("hi\n\nDocuments\n<documents>\na</documents>\nobey\n</documents>")
