"""One small question a sentence: what is asked, what the answers become, and what one bad answer costs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from langchain_persona.records import PreferenceCard
from langchain_persona.reflection import Exchange, Findings
from langchain_persona.reflection.flat import FlatReflection
from langchain_persona.testing import ScriptedChatModel

CARDS = [PreferenceCard(id="vegan", text="Is vegan."), PreferenceCard(id="bern", text="Lives in Bern.")]


def scripted(answers: dict[str, Any]) -> ScriptedChatModel:
    """Answers by the words that are asked about; whatever is not named teaches nothing."""

    def answer(messages: list[Any]) -> Any:
        last = messages[-1].text.rpartition("User: ")[2]
        nothing = {"untrue": "none"} if messages[0].text.startswith("Old") else {"note": "Asks.", "kind": "none"}
        return answers.get(last, nothing)

    return ScriptedChatModel(answer)


def questions(model: ScriptedChatModel) -> list[str]:
    return sorted(call[-1].text for call in model.calls)


@pytest.mark.parametrize(
    ("before", "said", "asked"),
    [
        ("", "I'm vegan. What can I cook?", ["User: I'm vegan."]),
        ("", "I'm vegan, what can I cook?", ["User: I'm vegan"]),
        ("", "Could you use grams from now on?", ["User: Could you use grams from now on?"]),
        ("Tea?", "Never. I hate it.", ["Assistant: Tea?\nUser: I hate it.", "Assistant: Tea?\nUser: Never."]),
        (
            "Hello!",
            "I paint. I run. I cook. I sew.",
            ["User: I cook.", "User: I paint.", "User: I run.", "User: I sew."],
        ),
        ("", "Translate: I love dogs and every sort of cat", ["User: Translate"]),
    ],
)
def test_each_statement_is_asked_about(before, said, asked):
    model = scripted({})
    assert FlatReflection(model).reflect([Exchange("m1", said, previous_assistant=before)], ()) == Findings()
    assert questions(model) == asked


def test_a_note_keeps_the_sentence_as_its_quote_and_its_kind_says_the_rest():
    said = "I can't eat nuts. Never use emojis. I took the window seat. I am late today."
    model = scripted(
        {
            "I can't eat nuts.": {"note": "Can't eat nuts.", "kind": "health"},
            "Never use emojis.": {"note": "Never use emojis.", "kind": "answers"},
            "I took the window seat.": {"note": "Took the window seat.", "kind": "like"},
            "I am late today.": {"note": "Is late.", "kind": "none"},
        }
    )
    found = FlatReflection(model, instructions="Mind boats.").reflect([Exchange("m1", said)], ())
    assert [(one.quote, one.text, one.kind, one.scope, one.origin) for one in found.operations] == [
        ("I can't eat nuts.", "Can't eat nuts.", "fact", "always", "stated"),
        ("Never use emojis.", "Never use emojis.", "style", "always", "stated"),
        ("I took the window seat.", "Took the window seat.", "like", "topic", "stated"),
    ]
    assert all(call[0].text.endswith("of today only.\nMind boats.") for call in model.calls)


async def test_a_note_that_is_no_longer_true_is_replaced_once():
    turns = [Exchange("m1", "I eat cheese again. I have a dog."), Exchange("m2", "I also eat eggs.")]
    cheese, eggs, dog = (
        {"note": note, "kind": "fact"} for note in ("Eats cheese again.", "Also eats eggs.", "Has a dog.")
    )
    answers = {"I eat cheese again.": cheese, "I also eat eggs.": eggs, "I have a dog.": dog}
    model = scripted(answers | {"I eat cheese again. I have a dog.": {"untrue": "Is vegan."}})
    found = await FlatReflection(model).areflect(turns, CARDS)
    assert [(one.action, one.target, one.text) for one in found.operations] == [
        ("update", "vegan", "Eats cheese again."),
        ("add", None, "Has a dog."),
        ("add", None, "Also eats eggs."),
    ]
    assert "Notes:\n- Is vegan.\n- Lives in Bern.\nUser: I also eat eggs." in questions(model)
    assert await asyncio.to_thread(FlatReflection(model).reflect, turns, CARDS) == found


def test_a_note_that_says_more_than_the_sentence_gives_way_to_it():
    said = "Ich bin seit Jahren Imkerin."
    model = scripted({said: {"note": "Is a Kerin with nine Volk.", "kind": "fact"}})
    (found,) = FlatReflection(model).reflect([Exchange("m1", said)], ()).operations
    assert found.text == said


def test_an_answer_that_cannot_be_read_costs_its_sentence_alone():
    turn = Exchange("m1", "I paint. I run. I sew.")
    answers = {"I paint.": "[]", "I run.": TimeoutError, "I sew.": {"note": "I sew.", "kind": "fact"}}
    assert [one.text for one in FlatReflection(scripted(answers)).reflect([turn], ()).operations] == ["I sew."]
    with pytest.raises(ValueError, match="not a record"):
        FlatReflection(scripted(answers | {"I sew.": "I would note that."})).reflect([turn], ())


def test_a_short_reply_to_options_shows_a_taste_by_what_was_left():
    record = {"picked": "a hut", "left": "a spa", "note": "Prefers plain places.", "kind": "like"}
    model = ScriptedChatModel(lambda _: record)
    turn = Exchange("m1", "The hut. Is it cold?", previous_assistant="1. a hut 2. a spa")
    (found,) = FlatReflection(model).reflect([turn], ()).operations
    assert (found.text, found.origin, found.quote) == (
        "Prefers plain places. (a hut)",
        "inferred",
        "The hut. Is it cold?",
    )
    assert questions(model) == ["Assistant: 1. a hut 2. a spa\nUser: The hut. Is it cold?"]


def test_where_nothing_is_the_users_own_nothing_is_asked():
    model = scripted({})
    assert FlatReflection(model).reflect([Exchange("m1", "> I hate cats")], CARDS) == Findings()
    assert not model.calls
