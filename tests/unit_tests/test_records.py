"""What is kept in the store: plain JSON that survives a round trip, an older version and a damaged value."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from langchain_persona.errors import CorruptRecordError
from langchain_persona.records import (
    CommunicationStyle,
    Episode,
    Evidence,
    Feedback,
    Persona,
    PersonaRevision,
    PreferenceCard,
    Record,
    Retirement,
    Retrieval,
    Snapshot,
    ToolOutcome,
    Trait,
    Withdrawal,
    read_entry,
    read_record,
)

RETRIEVAL = Retrieval(
    id="r",
    session="t1",
    time=1.0,
    expires=2.0,
    embedding="e",
    dimension=2,
    candidates=("a", "b"),
    base=(0.5, 0.25),
    scores=(0.5, 0.25),
    chosen=("a",),
    titles=("A",),
    chosen_vectors="AAAAAA==",
    expected="AAAAAAAAAAA=",
    logged={"anything": [1, None, {"x": "y"}]},
)
FEEDBACK = Feedback(id="f", retrieval_id="r", reward=-0.5, gate=0.3, source="click", time=1.0, documents=("a",))
REVISION = PersonaRevision(number=3, text="Likes tea.\nMine.", sources=(("c",),), created=1.0)
RECORDS: list[Record] = [
    PreferenceCard(
        text="Kein Fleisch 🥩",
        condition="on weekdays",
        kind="dislike",
        scope="always",
        evidence=(Evidence(message_id="m", quote="Kein Fleisch"),),
        retired=Retirement(time=1.0, reason="changed", by="c2"),
        vector="AAAA",
    ),
    Episode(query="q", answer="a", outcomes=(ToolOutcome(tool="t", ok=False, error="e"),), reward=0.5, cards=("c",)),
    RETRIEVAL,
    FEEDBACK,
    Withdrawal(id="w", target="f", time=1.0),
    Snapshot(horizon=1.0, config="c", space="s", state={"k": 2}, recent={"f": 1.0}, withdrawn=("x",)),
    CommunicationStyle(warmth=Trait(value=-1.0, confidence=1.0)),
    Persona(revision=REVISION, latest=3, pinned=True),
]


def test_a_record_survives_json_and_is_read_whatever_a_newer_version_added():
    for record in RECORDS:
        value = json.loads(json.dumps(record.to_json()))
        assert read_record(type(record), value) == record
        assert read_record(type(record), {**value, "added later": {"x": 1}}) == record
        with pytest.raises(ValidationError, match="frozen"):
            setattr(record, next(iter(type(record).model_fields)), None)


def test_a_damaged_value_is_named_without_its_text():
    for kind in map(type, RECORDS):
        for damaged in (None, "secret words", [], {name: ["secret words"] for name in kind.model_fields}):
            with pytest.raises(CorruptRecordError, match=f"not a {kind.__name__}") as caught:
                read_record(kind, damaged)
            assert "secret words" not in str(caught.value)


def test_an_entry_of_the_ledger_is_a_feedback_or_a_withdrawal():
    for record in (FEEDBACK, Withdrawal(id="w", target="f", time=1.0)):
        assert read_entry(record.to_json()) == record
    damaged = [{}, {"type": "rumour"}, {**FEEDBACK.to_json(), "reward": 1.5}, {**FEEDBACK.to_json(), "gate": -0.1}]
    for value in [*damaged, {**FEEDBACK.to_json(), "time": float("nan")}]:
        with pytest.raises(CorruptRecordError, match="not a ledger entry"):
            read_entry(value)


def test_a_card_is_one_short_text():
    for text in ("", " \n", "x" * 4_001):
        with pytest.raises(ValidationError):
            PreferenceCard(text=text)
    card = PreferenceCard(text="x" * 4_000)
    assert card.active
    assert not card.model_copy(update={"held_back": True}).active
    assert not card.model_copy(update={"retired": Retirement(time=1.0)}).active
    assert PreferenceCard(text="a").id != PreferenceCard(text="a").id


def test_a_revision_knows_what_each_line_rests_on():
    assert REVISION.lines == [("Likes tea.", ("c",)), ("Mine.", ())]
    assert PersonaRevision().lines == []


def test_reprs_are_short_and_without_vectors():
    card = PreferenceCard(text="No horror. " * 20, kind="dislike", pinned=True, vector="A" * 1_000)
    assert repr(card).startswith("<PreferenceCard 'No horror. ")
    assert repr(card).endswith(" dislike, pinned>")
    assert len(repr(card)) < 120
