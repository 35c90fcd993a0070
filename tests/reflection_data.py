"""Messages of users, and what a reflection should make of them: `tests/data/reflection`.

`development.jsonl` is for writing prompts; `held_out.jsonl` is for measuring, never for tuning. Their subjects differ.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from langchain_persona.records import PreferenceCard

Category = Literal["stated", "implied_choice", "implied_dialogue", "change", "control"]
Verdict = Literal["found", "missed", "right", "false"]

FOLDER = Path(__file__).parent / "data" / "reflection"
_LANGUAGES = ("en", "de", "fr", "es", "zh")
_CARD_KEYS = {"text", "scope", "kind"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One exchange, the cards that are in force before it, and what must be in force after it.

    Attributes:
        subject: what it is about, in a few words; no subject is in both parts.
        assistant, user, answer: the assistant's message before ("" if none), the user's, and the answer to it.
        cards: what is known beforehand.
        any_of: the new card has at least one keyword of every group; empty where nothing new is needed.
        forbidden: no new card has one of these; a card that does says the opposite of what is true.
        kind: the kinds that the new card may have; empty where any will do.
        retired, stays: indexes of `cards` that must be out of force, and still in force.
        may_add: a control that does state a fact, beside a card that it must not touch: new cards are no error.
    """

    id: str
    category: Category
    language: str
    subject: str
    assistant: str
    user: str
    answer: str
    cards: tuple[PreferenceCard, ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()
    forbidden: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    retired: tuple[int, ...] = ()
    stays: tuple[int, ...] = ()
    may_add: bool = False

    def __post_init__(self) -> None:
        checks = {
            "category": self.category in get_args(Category),
            "language": self.language in _LANGUAGES,
            "user": bool(self.user.strip()),
            "any_of": all(self.any_of) and bool(self.any_of) >= (self.category[:7] in ("stated", "implied")),
            "retired, stays": sorted(self.retired + self.stays) == list(range(len(self.cards))),
            "retired": bool(self.retired) == (self.category == "change"),
            "control": self.category != "control" or not (self.any_of or self.forbidden or self.kind),
            "may_add": self.category == "control" or not self.may_add,
        }
        if wrong := [name for name, holds in checks.items() if not holds]:
            raise ValueError(f"{self.id}: {', '.join(wrong)}")


@dataclass(frozen=True)
class Outcome:
    """How a case went.

    Attributes:
        verdict: "found" or "missed" where something was to be learned, "right" for a control that was left alone,
            "false" where a card is in force that should not be, or one is gone that should be in force.
        reason: what it rests on, in a few words and the card's text.
    """

    verdict: Verdict
    reason: str = ""


def load(part: Literal["development", "held_out"]) -> list[Case]:
    """The cases of one part, in the file's order.

    Raises:
        ValueError: a line is not a case; the message names file and line.
    """
    return read(FOLDER / f"{part}.jsonl")


def read(path: Path) -> list[Case]:
    """The cases of a file, one JSON object a line."""
    cases = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            cases.append(_case(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path.name}, line {number}: {error}") from error
    return cases


def _case(row: dict[str, Any]) -> Case:
    expected = row.pop("expected")
    cards = row.pop("cards")
    for card in cards:
        if set(card) != _CARD_KEYS:
            raise ValueError(f"a card has {sorted(_CARD_KEYS)}, not {sorted(card)}")
    if unknown := {*row, *expected} - {field.name for field in fields(Case)}:
        raise ValueError(f"unknown: {sorted(unknown)}")
    if any(isinstance(group, str) for group in (expected.get("any_of", []), *expected.get("any_of", []))):
        raise ValueError("any_of is a list of lists")
    lists: dict[str, Any] = {name: tuple(expected[name]) for name in expected.keys() - {"any_of", "may_add"}}
    return Case(
        **row,
        cards=tuple(PreferenceCard(**card) for card in cards),
        any_of=tuple(tuple(group) for group in expected.get("any_of", [])),
        may_add=expected.get("may_add", False),
        **lists,
    )


def judge(case: Case, before_cards: Sequence[PreferenceCard], after_cards: Sequence[PreferenceCard]) -> Outcome:
    """Compare the cards after the reflection with what the case expects.

    Args:
        case: what is expected.
        before_cards: the case's cards as they were stored, in the case's order.
        after_cards: all of the user's cards afterwards. A card is new when its id is, or when its text was changed.

    Example:
        A case that states "No horror", judged on no cards before and one `dislike` "Avoids horror films" after,
        is "found"; on no card after it is "missed"; on a `like` "Loves horror" it is "false".
    """
    old = {(card.id, _plain(card.text)) for card in before_cards}
    after = {card.id: card for card in after_cards if card.active}
    new = [card for card in after.values() if (card.id, _plain(card.text)) not in old]

    for card in (before_cards[index] for index in case.stays):
        if card.id not in after or not _words(card.text) <= _words(after[card.id].text):
            return Outcome("false", f"gone: {card.text}")
    if case.category == "control":
        if new and not case.may_add:
            return Outcome("false", f"new: {new[0].text}")
        return Outcome("right")

    retired = [before_cards[index] for index in case.retired]
    false_texts = {_plain(card.text) for card in retired}
    for card in new:
        if _plain(card.text) in false_texts or _has_any(card, case.forbidden):
            return Outcome("false", f"not so: {card.text}")
    for card in retired:
        if card.id in after and after[card.id] not in new:
            return Outcome("missed", f"still in force: {card.text}")
    if not case.any_of:
        return Outcome("found")
    for card in new:
        if all(_has_any(card, group) for group in case.any_of) and (not case.kind or card.kind in case.kind):
            return Outcome("found", card.text)
    return Outcome("missed", "no card says so")


def _has_any(card: PreferenceCard, keywords: Sequence[str]) -> bool:
    """Keywords may begin or end with a space for the edge of a word; the text is padded for that."""
    text = f" {_plain(f'{card.text} {card.condition}' if card.condition else card.text)} "
    return any(_plain(keyword, strip=False) in text for keyword in keywords)


def _plain(text: str, *, strip: bool = True) -> str:
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return text.strip() if strip else text


def _words(text: str) -> set[str]:
    """Words, and the single characters of Chinese, which has no spaces."""
    return set(re.findall(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+", _plain(text)))
