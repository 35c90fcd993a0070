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
        changes = messages[0].text.startswith("Old")
        nothing = {"about": "none", "holds": "still true"} if changes else {"note": "Asks.", "kind": "task"}
        return answers.get(last, nothing)

    return ScriptedChatModel(answer)


def questions(model: ScriptedChatModel) -> list[str]:
    return sorted(call[-1].text for call in model.calls)


@pytest.mark.parametrize(
    ("before", "said", "asked"),
    [
        ("", "Nuts put me in hospital. What can I cook?", ["User: Nuts put me in hospital."]),
        ("", "Nuts put me in hospital, what can I cook?", ["User: Nuts put me in hospital"]),
        ("", "Could you use grams?", ["User: Could you use grams?"]),
        ("Tea?", "Tea? It keeps me up. Any milk?", ["Assistant: Tea?\nUser: Tea? It keeps me up."]),
        (
            "Hello!",
            "Up at five. Ten miles. Then paint. At night sew.",
            ["User: At night sew.", "User: Ten miles.", "User: Then paint.", "User: Up at five."],
        ),
        ("", "Translate: I love dogs and every sort of cat", ["User: Translate"]),
    ],
)
def test_each_statement_is_asked_about(before, said, asked):
    model = scripted({})
    assert FlatReflection(model).reflect([Exchange("m1", said, previous_assistant=before)], ()) == Findings()
    assert questions(model) == asked


def test_a_plain_statement_is_kept_word_for_word_without_a_call():
    model = scripted({})
    (found,) = FlatReflection(model).reflect([Exchange("m1", "I'm vegan. What can I cook?")], ()).operations
    assert (found.text, found.quote, found.scope) == ("I'm vegan.", "I'm vegan.", "always")
    assert not model.calls


def test_a_sentence_that_stands_alone_is_kept_as_it_is_and_its_kind_says_the_rest():
    said = "Nuts put me in hospital. Emojis hurt my eyes. The window seat, as ever. Late today."
    model = scripted(
        {
            "Nuts put me in hospital.": {"note": "Nuts: hospital.", "kind": "health"},
            "Emojis hurt my eyes.": {"note": "No emojis.", "kind": "answers"},
            "The window seat, as ever.": {"note": "The window seat.", "kind": "like"},
            "Late today.": {"note": "Is late.", "kind": "now"},
        }
    )
    found = FlatReflection(model, instructions="Mind boats.").reflect([Exchange("m1", said)], ())
    assert [(one.quote, one.text, one.kind, one.scope, one.origin) for one in found.operations] == [
        ("Nuts put me in hospital.", "Nuts put me in hospital.", "fact", "always", "stated"),
        ("Emojis hurt my eyes.", "Emojis hurt my eyes.", "style", "always", "stated"),
        ("The window seat, as ever.", "The window seat, as ever.", "like", "topic", "stated"),
    ]
    assert all(call[0].text.endswith("orders, thanks, plays.\nMind boats.") for call in model.calls)


async def test_a_note_that_is_no_longer_true_is_replaced_once():
    turns = [Exchange("m1", "Cheese is back on my plate. Got a dog."), Exchange("m2", "Eggs are fine.")]
    said = ("Cheese is back on my plate.", "Got a dog.", "Eggs are fine.")
    answers = {one: {"note": one, "kind": "fact"} for one in said}
    gone = {"about": "Is vegan.", "holds": "not any more"}
    model = scripted(answers | {"Cheese is back on my plate. Got a dog.": gone})
    found = await FlatReflection(model).areflect(turns, CARDS)
    assert [(one.action, one.target, one.text) for one in found.operations] == [
        ("update", "vegan", "Cheese is back on my plate."),
        ("add", None, "Got a dog."),
        ("add", None, "Eggs are fine."),
    ]
    assert "Notes:\n- Is vegan.\n- Lives in Bern.\nUser: Eggs are fine." in questions(model)
    assert await asyncio.to_thread(FlatReflection(model).reflect, turns, CARDS) == found


@pytest.mark.parametrize(
    ("note", "text"),
    [("Can't bear horror films.", "Can't bear horror films."), ("Is a Kerin with nine Volk.", "Never again!")],
)
def test_the_note_of_a_reply_gives_way_to_it_where_neither_side_said_so(note, text):
    turn = Exchange("m1", "Never again!", previous_assistant="How about a horror film?")
    model = scripted({"Never again!": {"note": note, "kind": "dislike"}})
    (found,) = FlatReflection(model).reflect([turn], ()).operations
    assert found.text == text


def test_of_many_sentences_ten_are_asked_about():
    model = scripted({})
    FlatReflection(model).reflect([Exchange("m1", " ".join(f"Ran lap {number}." for number in range(12)))], ())
    assert len(model.calls) == 10


def test_an_answer_that_cannot_be_read_costs_its_sentence_alone():
    turn = Exchange("m1", "Up at five. Ten miles. At night sew.")
    answers = {
        "Up at five.": "[]",
        "Ten miles.": TimeoutError,
        "At night sew.": {"note": "At night sew.", "kind": "fact"},
    }
    assert [one.text for one in FlatReflection(scripted(answers)).reflect([turn], ()).operations] == ["At night sew."]
    with pytest.raises(ValueError, match="not a record"):
        FlatReflection(scripted(answers | {"At night sew.": "I would note that."})).reflect([turn], ())


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


def test_a_note_longer_than_was_allowed_is_cut():
    model = ScriptedChatModel(lambda _: {"picked": "", "left": "", "note": "x" * 900, "kind": "like"})
    turn = Exchange("m1", "The hut.", previous_assistant="1. a hut 2. a spa")
    assert [len(one.text) for one in FlatReflection(model).reflect([turn], ()).operations] == [200]


def test_where_nothing_is_the_users_own_nothing_is_asked():
    model = scripted({})
    assert FlatReflection(model).reflect([Exchange("m1", "> I hate cats")], CARDS) == Findings()
    assert not model.calls
