"""The cases for the reflection, and the rules that judge it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from langchain_persona.records import PreferenceCard, Retirement
from tests.reflection_data import Case, judge, load, read

PARTS = [load("development"), load("held_out")]


def make_case(**changes: object) -> Case:
    fields = {"id": "x", "language": "en", "subject": "s", "assistant": "", "user": "u", "answer": "a"}
    return Case(**{**fields, **changes})  # type: ignore[arg-type]


def test_both_halves_are_alike_and_share_no_subject() -> None:
    development, held_out = PARTS
    counts = [Counter((case.category, case.language) for case in part) for part in PARTS]
    assert counts[0] == counts[1]
    assert Counter(case.category for case in development) == {
        "stated": 30, "implied_choice": 10, "implied_dialogue": 10, "change": 10, "control": 20,
    }  # fmt: skip
    assert Counter(case.language for case in development) == {"en": 40, "de": 10, "fr": 10, "es": 10, "zh": 10}

    every = development + held_out
    for name in ("id", "subject", "user"):
        assert len({getattr(case, name) for case in every}) == 160, name


def test_a_malformed_line_is_refused_with_its_number(tmp_path: Path) -> None:
    good = {
        "id": "en-control-01", "category": "control", "language": "en", "subject": "s", "assistant": "", "user": "Hi",
        "answer": "", "cards": [{"text": "Has a cat", "scope": "topic", "kind": "fact"}], "expected": {"stays": [0]},
    }  # fmt: skip
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps(good), encoding="utf-8")
    assert read(path)[0].cards[0].text == "Has a cat"

    for bad in (
        {"category": "controls"},
        {"expected": {"stays": [1]}},
        {"expected": {"stays": [0], "any_off": []}},
        {"category": "stated"},
        {"category": "stated", "expected": {"stays": [0], "any_of": ["cat"]}},
        {"cards": [{"text": "Has a cat"}]},
        {"mood": "good"},
    ):
        path.write_text(json.dumps(good) + "\n" + json.dumps(good | bad), encoding="utf-8")
        with pytest.raises(ValueError, match="line 2"):
            read(path)


def test_a_statement_is_found_missed_or_turned_round() -> None:
    case = make_case(
        category="stated", any_of=(("horror",), ("film", "movie")), forbidden=(" likes horror",), kind=("dislike",)
    )
    dislikes = PreferenceCard(text="Dislikes Horror films", kind="dislike")

    assert judge(case, [], [dislikes]).verdict == "found"
    assert judge(case, [], []).verdict == "missed"
    assert judge(case, [], [PreferenceCard(text="Dislikes horror", kind="dislike")]).verdict == "missed"
    assert judge(case, [], [dislikes.model_copy(update={"kind": "like"})]).verdict == "missed"
    assert judge(case, [], [PreferenceCard(text="Likes horror films", kind="like")]).verdict == "false"


def test_a_change_needs_the_old_card_out_of_force_and_the_others_in() -> None:
    old, other = PreferenceCard(text="Lives in Bristol"), PreferenceCard(text="Has a cat")
    case = make_case(category="change", cards=(old, other), retired=(0,), stays=(1,), any_of=(("glasgow",),))
    retired = old.model_copy(update={"retired": Retirement(time=1.0)})
    new = PreferenceCard(text="Lives in Glasgow")
    updated = old.model_copy(update={"text": "Lives in Glasgow"})

    assert judge(case, [old, other], [retired, other, new]).verdict == "found"
    assert judge(case, [old, other], [updated, other]).verdict == "found"
    assert judge(case, [old, other], [old, other, new]).verdict == "missed"
    assert judge(case, [old, other], [retired, new]).verdict == "false"


def test_a_control_stays_as_it_is() -> None:
    berlin = PreferenceCard(text="Lives in Berlin")
    case = make_case(category="control", cards=(berlin,), stays=(0,))
    flat = PreferenceCard(text="Lives in a small flat")
    reworded = berlin.model_copy(update={"text": "Lives in a small flat in Berlin"})

    assert judge(case, [berlin], [berlin]).verdict == "right"
    assert judge(case, [berlin], [berlin, flat]).verdict == "false"
    assert judge(case, [berlin], []).verdict == "false"

    beside = make_case(category="control", cards=(berlin,), stays=(0,), may_add=True)
    assert judge(beside, [berlin], [berlin, flat]).verdict == "right"
    assert judge(beside, [berlin], [reworded]).verdict == "right"
    assert judge(beside, [berlin], [flat]).verdict == "false"


@pytest.mark.parametrize("part", PARTS, ids=["development", "held_out"])
def test_the_users_own_words_are_never_judged_as_the_opposite(part: list[Case]) -> None:
    """The forbidden words must not match the truth; where the user says it outright, the keywords match too."""
    for case in part:
        if case.category in ("stated", "change"):
            words = PreferenceCard(text=case.user, kind=case.kind[0] if case.kind else "fact")  # type: ignore[arg-type]
            gone = Retirement(time=1.0)
            after = [card.model_copy(update={"retired": gone}) if i in case.retired else card
                     for i, card in enumerate(case.cards)]  # fmt: skip
            assert judge(case, case.cards, [*after, words]).verdict == "found", case.id
