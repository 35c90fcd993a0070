"""Extraction on real small models over loopback: the true client path, and figures that must not get worse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from langchain_persona.extraction import LLMExtractor, Turn
from tests.models import model_file

pytest.importorskip("xllamacpp", reason="needs the extra local-llm")
from langchain_persona.local_llm import LocalModelServer, serve

pytestmark = [pytest.mark.integration, pytest.mark.model_files, pytest.mark.slow]

MESSAGES = json.loads((Path(__file__).parents[1] / "data" / "preferences.json").read_text(encoding="utf-8"))["model"]


@pytest.fixture(scope="module")
def small() -> Iterator[LocalModelServer]:
    with serve(model_file("qwen2.5-coder-0.5b")) as server:
        yield server


@pytest.fixture(scope="module")
def larger() -> Iterator[LocalModelServer]:
    with serve(model_file("qwen2.5-coder-1.5b")) as server:
        yield server


@pytest.fixture
def listing(larger) -> LLMExtractor:
    return LLMExtractor(larger.chat_model(max_tokens=400))  # made here: making a client blocks


def figures(extractor: LLMExtractor) -> tuple[float, int]:
    """On the held-back half: the share of preferences found, and how many cards came from messages that hold none."""
    found = asked = false = 0
    for row in MESSAGES:
        if row["split"] != "held":
            continue
        cards = extractor.extract([Turn("m1", row["text"])])
        if row["label"] == "none":
            false += len(cards)
            continue
        said = " ".join(f"{card.note} {card.evidence[0].quote}" for card in cards).lower()
        asked += 1
        found += any(word.lower() in said for word in row["about"])
    return found / asked, false


def test_the_smallest_model_finds_much_as_flat_records(small):
    recall, false = figures(LLMExtractor(small.chat_model(), shape="flat", max_tokens=200))
    assert recall >= 0.6  # measured: 12 of 15
    assert false <= 3  # measured: 1 of 7


def test_the_larger_one_finds_more(larger):
    recall, false = figures(LLMExtractor(larger.chat_model(), shape="flat", max_tokens=200))
    assert recall >= 0.75  # measured: 13 of 15
    assert false <= 1  # measured: 0 of 7


@pytest.mark.parametrize(
    ("language", "text", "word"),
    [
        ("en", "I only drink green tea in the morning.", "tea"),
        ("de", "Ich trinke morgens nur grünen Tee.", "Tee"),
        ("fr", "Le matin, je ne bois que du thé vert.", "thé"),
        ("es", "Por la mañana solo bebo té verde.", "té"),
        ("zh", "我早上只喝绿茶。", "绿茶"),
    ],
)
def test_cards_keep_the_language_of_the_user(larger, language, text, word):
    cards = LLMExtractor(larger.chat_model(), shape="flat", max_tokens=200).extract([Turn("m1", text)])
    assert cards, language
    assert word.lower() in cards[0].note.lower()


async def test_a_window_of_turns_as_a_list(listing):
    turns = [
        Turn("m1", "I keep two tortoises. What do they eat?", "Mostly leafy greens."),
        Turn("m2", "For holidays I always choose the mountains over the sea."),
    ]
    cards = await listing.aextract(turns)
    assert cards
    said = {turn.message_id: turn.user for turn in turns}
    for card in cards:
        assert card.evidence[0].quote in said[card.evidence[0].message_id]
