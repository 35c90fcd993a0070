"""Rules: five languages, high precision, the user's own words."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from langchain_persona.errors import ConfigError
from langchain_persona.extraction import PreferenceExtractor, RuleExtractor, Turn
from langchain_persona.extraction.fitness import SOFT, fit
from langchain_persona.extraction.matching import MAX_CHARACTERS, matches, states_nothing
from langchain_persona.extraction.rulebook import LANGUAGES, rulebook
from langchain_persona.extraction.slots import SLOTS
from langchain_persona.signals.guard import objection

MESSAGES = json.loads((Path(__file__).parents[1] / "data" / "preferences.json").read_text(encoding="utf-8"))["rules"]

HOSTILE = json.loads((Path(__file__).parents[1] / "data" / "hostile.json").read_text(encoding="utf-8"))


def cards(text, message_id="m1"):
    return RuleExtractor().extract([Turn(message_id, text)])


def rate(split):
    """Precision and recall on one half of the messages."""
    right = false = missed = 0
    for row in MESSAGES:
        if row["split"] != split:
            continue
        found = cards(row["text"])
        wanted = row.get("about", "").lower()
        hits = [card for card in found if wanted in f"{card.note} {card.evidence[0].quote}".lower()]
        good = row["label"] == "card" and bool(hits)
        right += good
        missed += row["label"] == "card" and not hits
        false += len(found) - len(hits) if row["label"] == "card" else len(found)
    return right / (right + false), right / (right + missed)


def test_the_set_is_large_enough_to_mean_something():
    assert sum(row["label"] == "none" for row in MESSAGES) >= 60
    assert sum(row["label"] == "card" for row in MESSAGES) >= 60
    assert {row["language"] for row in MESSAGES} == set(LANGUAGES)


@pytest.mark.parametrize(("split", "precision", "recall"), [("tune", 0.99, 0.97), ("held", 0.97, 0.90)])
def test_precision_and_recall(split, precision, recall):
    found = rate(split)
    assert found[0] >= precision
    assert found[1] >= recall


@pytest.mark.parametrize("row", [row for row in MESSAGES if row["label"] == "none"], ids=lambda row: row["text"][:40])
def test_what_says_nothing_of_the_user_gives_no_card(row):
    assert cards(row["text"]) == []


@pytest.mark.parametrize("row", MESSAGES, ids=lambda row: row["text"][:40])
def test_the_quote_stands_in_the_message(row):
    for card in cards(row["text"], "m7"):
        (evidence,) = card.evidence
        assert evidence.message_id == "m7"
        assert evidence.quote in row["text"]


def test_a_card_says_what_is_known_of_it():
    (card,) = cards("Thanks! I'm allergic to nuts, what can I bake?")
    assert (card.note, card.kind, card.always, card.origin) == ("I'm allergic to nuts", "fact", True, "stated")
    (card,) = cards("Too long!")
    assert (card.note, card.topic, card.kind) == ("Keep answers short.", "answer length", "style")
    assert (card.origin, card.always) == ("inferred", True)
    assert card.evidence[0].quote == "Too long"
    (card,) = cards("I prefer window seats.")
    assert (card.always, card.topic) == (False, None)


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("in German please", "answer language"),
        ("Antworte bitte auf Englisch.", "answer language"),
        ("Réponds en espagnol s'il te plaît.", "answer language"),
        ("Responde siempre en francés.", "answer language"),
        ("请用英文回答", "answer language"),
        ("Das ist mir zu lang.", "answer length"),
        ("Ta réponse est trop longue.", "answer length"),
        ("Tu respuesta es demasiado larga.", "answer length"),
        ("你的回答太长了", "answer length"),
        ("I told you no lists", "lists"),
        ("Explain like I'm five.", "technical depth"),
        ("No emojis please.", "emojis"),
        ("Du kannst mich duzen.", "formality"),
        ("My name is Priya.", "name"),
        ("As a vegetarian, what can I cook tonight?", "diet"),
    ],
)
def test_slots_that_hold_one_value_have_their_topic(text, topic):
    assert [card.topic for card in cards(text)] == [topic]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("Zu lang.", "Antworten kurz halten."),
        ("C'est trop long.", "Répondre brièvement."),
        ("Demasiado largo.", "Responder brevemente."),
        ("太长了。", "回答要简短。"),
        ("Meine Tochter ist allergisch gegen Nüsse.", "Meine Tochter ist allergisch gegen Nüsse"),
        ("Je ne mange jamais de porc.", "Je ne mange jamais de porc"),
        ("No me gustan las películas de terror.", "No me gustan las películas de terror"),
        ("我对花生过敏", "我对花生过敏"),
    ],
)
def test_the_note_is_in_the_language_of_the_user(text, note):
    assert [card.note for card in cards(text)] == [note]


def test_several_in_one_message_and_each_once():
    found = cards("I prefer window seats, and I hate early flights. I prefer window seats.")
    assert [card.note for card in found] == ["I prefer window seats", "I hate early flights"]


def test_coke_coffee_coke():
    notes = [cards(text)[0].note for text in ("I like Coke.", "Actually I prefer coffee now.", "I'm back to Coke.")]
    assert notes == ["I like Coke", "I prefer coffee now", "I'm back to Coke"]


def test_the_assistants_words_are_never_a_source():
    assert RuleExtractor().extract([Turn("m1", "Thanks.", assistant="I prefer tea. I'm allergic to nuts.")]) == []


@pytest.mark.parametrize(
    "text",
    [
        "I'm allergic to nuts?",
        "I prefer window seats?",
        "我对花生过敏吗？",
        "I'm vegan, right?",
        "Write a mail to my boss. Keep it short.",
        "Fass mir den Artikel von gestern zusammen. Kürzer bitte.",
    ],
)
def test_a_question_or_a_remark_on_a_task_is_no_preference(text):
    assert cards(text) == []


def test_one_occasion_does_not_hide_a_lasting_fact():
    assert cards("Tonight I prefer pasta.") == []
    assert [card.note for card in cards("I'm allergic to nuts, what can I cook tonight?")] == ["I'm allergic to nuts"]


def test_what_the_guard_or_the_secrets_refuse_is_no_card(monkeypatch):
    monkeypatch.setattr("langchain_persona.extraction.fitness.objection", lambda text, always=False: "no")
    assert cards("I like tea.") == []
    monkeypatch.undo()
    monkeypatch.setattr("langchain_persona.extraction.fitness.has_secret", lambda text: True)
    assert cards("I like tea.") == []


def test_what_may_not_hold_everywhere_holds_for_its_topic(monkeypatch):
    assert cards("Please never use tables.")[0].always
    monkeypatch.setattr(
        "langchain_persona.extraction.fitness.objection", lambda text, always=False: "no" if always else None
    )
    assert not cards("Please never use tables.")[0].always


@pytest.mark.parametrize("attack", HOSTILE, ids=lambda attack: attack["id"])
def test_a_hostile_text_gives_no_card(attack):
    assert cards(attack["text"]) == []


def test_what_is_no_note_itself_may_still_be_where_one_comes_from():
    neutral = "The bridge over the river was closed."
    assert objection(neutral) in SOFT  # the guard's word for it
    assert fit(["I like tea"], [neutral])
    assert not fit([neutral], ["I like tea"])


async def test_sync_and_async_are_twins():
    extractor = RuleExtractor()
    assert isinstance(extractor, PreferenceExtractor)
    turns = [Turn("m1", "I like tea.")]
    one, other = extractor.extract(turns), await extractor.aextract(turns)
    assert [card.note for card in one] == [card.note for card in other] == ["I like tea"]


@pytest.mark.parametrize(
    "text",
    [
        "please, " * 500,
        "really really really " * 190 + "I like",
        "I always use " * 300,
        ", " * 2_000,
        "too " * 1_000,
        '"' * 4_000,
        "<a " * 1_300,
        "my favourite " + "a " * 2_000,
        "我" * 4_000,
        "still way much too too " * 150,
        "I like tea. " + "x" * 10_000_000,
    ],
    ids=range(11),
)
def test_hostile_text_takes_no_time(text):
    matches("warm up")
    began = time.perf_counter()
    matches(text)
    assert time.perf_counter() - began < 1.0


def test_of_a_long_message_the_beginning_and_the_end_are_read():
    filler = "The river rose in the night. " * 400
    assert len(filler) > 2 * MAX_CHARACTERS
    assert [card.note for card in cards(f"I like tea. {filler} I hate jazz.")] == ["I like tea", "I hate jazz"]


@pytest.mark.parametrize(
    ("text", "quote", "reason"),
    [
        ("Translate: I hate jazz.", "I hate jazz", "pasted"),
        ('What is "I hate jazz" in French?', "I hate jazz", "quoted"),
        ("Imagine I hate jazz.", "I hate jazz", "hypothetical"),
        ("My friend says I hate jazz.", "I hate jazz", "reported"),
        ("I want no jazz at the party tonight.", "no jazz", "one occasion"),
        ("I hate jazz.", "I hate jazz", None),
    ],
)
def test_why_a_stretch_states_nothing(text, quote, reason):
    start = text.index(quote)
    assert states_nothing(text, start, start + len(quote)) == reason


def test_a_fact_outlasts_the_occasion():
    text = "I'm vegan, what is on the menu tonight?"
    assert states_nothing(text, 0, 9) == "one occasion"
    assert states_nothing(text, 0, 9, lasting=True) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_fills_the_slots_that_matter(language):
    filled = {rule.slot for rule in rulebook(language).rules}
    assert filled <= set(SLOTS)
    assert filled >= {
        "language",
        "too_long",
        "short",
        "no_emojis",
        "allergy",
        "diet",
        "family",
        "name",
        "prefer",
        "like",
    }
    assert filled >= {"dislike", "always_do", "never_do", "avoid", "home", "job", "simple", "no_lists", "casual"}


def test_an_unknown_language_is_refused():
    with pytest.raises(ConfigError, match="'xx'"):
        rulebook("xx")


@pytest.mark.parametrize("piece", ["\n", "- \n", "\n\nx", " ", "$", "( "])
def test_no_run_of_blank_lines_or_marks_costs_time(piece):
    begin = time.perf_counter()
    matches(("i prefer " + piece * 600)[:600])
    assert time.perf_counter() - begin < 0.3
