"""Plain statements, one after the other: nothing true is lost, nothing ordinary is refused (with the verbatim mode)."""

from __future__ import annotations

import pytest

from langchain_persona.reflection import Exchange
from langchain_persona.reflection.verbatim import VerbatimReflection
from tests.graphs import Agent, echo, new_memory, texts_of, warnings_of


@pytest.mark.parametrize(
    ("messages", "kept"),
    [
        (["I'm allergic to nuts", "Forget it. What's a good film?"], ["I'm allergic to nuts"]),
        (["I live in Berlin", "I live in a small flat"], ["I live in Berlin", "I live in a small flat"]),
        (["I love coffee", "I love decaf in the evening"], ["I love coffee", "I love decaf in the evening"]),
        (["I use bash and curl"], ["I use bash and curl"]),
        (["I run a bakery and send invoices every Friday"], ["I run a bakery and send invoices every Friday"]),
        (["I stopped eating red meat"], ["I stopped eating red meat"]),
        (["I'm vegetarian", "I'm not vegetarian anymore"], ["I'm vegetarian", "I'm not vegetarian anymore"]),
        (["I love tea", "I LOVE tea!", "i love tea."], ["I love tea"]),
        (["I love tea", "Thanks for nothing", "Never mind"], ["I love tea"]),
    ],
)
async def test_what_was_said_is_in_the_next_sessions_prompt(messages, kept, caplog):
    memory = new_memory()
    agent = Agent(echo(), memory, how="ainvoke")
    for message in messages:
        await agent.say(message)
    assert await texts_of(memory) == kept
    await agent.say("What should I cook tonight?", thread="another day")
    assert all(f'"{text}"' in agent.prompt for text in kept)
    assert warnings_of(caplog) == []


async def test_coke_then_coffee_then_coke_ends_with_coke_as_the_newest():
    memory = new_memory()
    agent = Agent(echo(), memory, how="ainvoke")
    for drink in ("coke", "coffee", "coke"):
        await agent.say(f"My favourite drink is {drink}.")
    coke, coffee = await memory.apreferences("ana")
    assert (coke.text, coffee.text) == ("My favourite drink is coke.", "My favourite drink is coffee.")
    assert coke.updated > coffee.updated


@pytest.mark.parametrize(
    "text", ["im allergic to nuts", "cant eat gluten, I'm coeliac", "Im vegan", "i dont like subtitles"]
)
def test_phones_write_no_apostrophes(text):
    assert VerbatimReflection().reflect([Exchange("m1", text)], ()).operations


@pytest.mark.parametrize(
    "text",
    [
        "Don't remember this: I'm pregnant.",
        "I'm gay. Don't remember that.",
        "Off the record, I hate my job.",
        "I don't want you to remember this, but I'm in debt.",
        "I'm in debt. Keep this between us.",
        "Ich bin schwanger. Bitte nicht speichern.",
        '"I am vegan," she told me.',
        "“I love opera” is what he wrote.",
        "My colleague wrote 'I hate pizza'",
        "Can you fix this? '''def f(x): return x+1  # I love tabs'''",
    ],
)
def test_what_is_private_or_quoted_is_not_kept(text):
    assert not VerbatimReflection().reflect([Exchange("m1", text)], ()).operations
