"""Between two rewrites of the persona a newer card has the word: the prompt never says both."""

from __future__ import annotations

import pytest

from langchain_persona.loop.topics import in_force
from langchain_persona.persona import TemplateWriter
from langchain_persona.records import PreferenceCard
from tests.graphs import BASE, Agent, echo, new_memory


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_a_line_of_a_superseded_card_is_not_shown(how):
    memory = new_memory()
    agent = Agent(echo(), memory, how=how, writer=TemplateWriter(), align_every=2)
    await agent.say("Please always answer in German.")
    await agent.say("What is the capital of Spain?")
    assert "German" in memory.persona("ana").revision.text
    state = await agent.say("Please always answer in French.")
    assert "German" not in agent.prompt
    assert "answer in French" in agent.prompt
    assert state["profile"]["persona"] == ""
    assert "German" in memory.persona("ana").revision.text  # the stored text follows at its next rewrite
    await agent.say("And of Italy?")
    await agent.say("And of Peru?")
    assert "French" in memory.persona("ana").revision.text
    assert agent.prompt.count("lways answer in French") == 1


async def test_a_line_of_a_reworded_card_gives_way_to_the_card():
    memory = new_memory()
    card = memory.remember("ana", PreferenceCard(note="Keep answers short.", always=True))
    agent = Agent(echo(), memory, how="ainvoke", writer=TemplateWriter(), align_every=1)
    await agent.say("hello")
    await agent.say("hello again")
    assert agent.prompt.count("Keep answers short.") == 1
    from langchain_persona.effects import run
    from langchain_persona.reconciliation.changes import archived, updated

    newer = PreferenceCard(note="Keep answers short, at most two sentences.", always=True)
    now = memory.persona("ana").revision.created + 1.0
    run(memory.cards.change("ana", archived(card, now)))
    run(memory.cards.put("ana", updated(card, newer, now)))
    await agent.say("and now")
    assert "at most two sentences" in agent.prompt
    assert "Keep answers short.\n" not in agent.prompt


async def test_a_card_that_is_held_back_takes_its_line_along():
    memory = new_memory()
    card = memory.remember("ana", PreferenceCard(note="Keep answers short.", always=True))
    agent = Agent(echo(), memory, how="ainvoke", writer=TemplateWriter(), align_every=1)
    await agent.say("hello")
    memory.hold_back("ana", card.id)
    await agent.say("hello again")
    assert agent.prompt == BASE


def test_what_a_line_said_beside_is_told_by_its_card():
    profile = {"persona": "A and B.\nC.", "sources": [["a", "b"], ["c"]], "cards": ["a", "b", "c"], "style": {}}
    assert in_force(profile, set()) == profile
    assert in_force(profile, {"a"}) == {"persona": "C.", "sources": [["c"]], "cards": ["c"], "style": {}}
    assert in_force({}, {"a"}) == {}
