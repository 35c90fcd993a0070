"""Said again: a constraint that the user had to repeat, a question asked once more in other words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from langchain_persona.signals.lexicon import load, merged, pattern
from langchain_persona.signals.text import CJK, clauses, fold, visible, words

__all__ = ["repeated_constraint", "repeated_question"]

LONGEST = 2_000
"""Characters of a message that are compared."""
EARLIER = 20
"""Earlier messages that are compared, the latest."""
SAME = 0.6
"""Share of content words that two askings of one question have in common (Jaccard)."""

_MUST = pattern(merged(load("followup"), "must"))
_CHINESE = re.compile(f"[{CJK}]")
_EMPTY = frozenset(word for lists in load("language").values() for word in lists["words"]) | frozenset(
    "的了是在我你您他她它们有和就不要没也都很吗呢吧啊这那个一请给能可以什么怎么如何为"
)
_EMPTY_FOLDED = frozenset(fold(word) for word in _EMPTY)


def repeated_constraint(message: str, question: str | None, earlier: Sequence[str]) -> str | None:
    """The clause of a short message that asks again for what an older message asked already ("no nuts").

    Example:
        >>> repeated_constraint("No nuts please!", "A cake without nuts please, no nuts", [])
        'no nuts please'
    """
    said = [clause for text in _older(question, earlier) for clause in clauses(fold(text)) if _MUST.search(clause)]
    head = fold(message[:LONGEST])
    total = len(_content(head))
    for clause in clauses(head) if said and total <= 12 else ():
        new = _content(clause)
        if not new or not _MUST.search(clause) or 2 * len(new) <= total:
            continue
        if any(new <= _content(old) and len(_content(old)) <= 4 * len(new) for old in said):
            return clause
    return None


def repeated_question(message: str, question: str | None, earlier: Sequence[str]) -> tuple[float, str] | None:
    """Reward and reason when a message asks an older question again, in the same or other words.

    Example:
        >>> repeated_question("How to repair my old bike?", "How do I repair an old bike?", [])
        (-0.6, 'the same question in other words')
        >>> repeated_question("What is the capital of Spain?", "What is the capital of France?", []) is None
        True
    """
    if question is not None and (how := _again(message, question)):
        return (-0.5, how) if how == "the same question again" else (-0.6, how)
    if any(_again(message, old) for old in list(earlier)[-EARLIER:]):
        return -0.4, "a question of before again"
    return None


def _older(question: str | None, earlier: Sequence[str]) -> list[str]:
    return [text[:LONGEST] for text in [*list(earlier)[-EARLIER:], *([question] if question else [])]]


def _again(message: str, old: str) -> str | None:
    if len(message) > LONGEST or len(old) > LONGEST:
        return None
    new_words, old_words = words(message), words(old)
    new, had = _content(fold(message)), _content(fold(old))
    if len(new) < 2 or not had:
        return None
    if new_words == old_words:
        return "the same question again"
    if len(new & had) < SAME * len(new | had) or len(new & had) < 2 or _one_replaced(new_words, old_words):
        return None
    return None if _names(message) ^ _names(old) else "the same question in other words"


def _content(folded: str) -> frozenset[str]:
    """Words that say what a text is about, cut to a stem of six letters; pairs of characters in Chinese."""
    found = words(folded)
    chinese = [word for word in found if _CHINESE.match(word) and word not in _EMPTY_FOLDED]
    latin = {word[:6] for word in found if not _CHINESE.match(word) and word not in _EMPTY_FOLDED}
    return frozenset(latin | {one + other for one, other in pairwise(chinese)})


def _one_replaced(new: list[str], old: list[str]) -> bool:
    """Whether only one or two neighbouring words differ, in the same place: another question of the same form."""
    start = next(
        (at for at, (one, other) in enumerate(zip(new, old, strict=False)) if one != other), min(len(new), len(old))
    )
    rest_new, rest_old = new[start:], old[start:]
    while rest_new and rest_old and rest_new[-1] == rest_old[-1]:
        rest_new, rest_old = rest_new[:-1], rest_old[:-1]
    content = [[word for word in rest if word not in _EMPTY_FOLDED] for rest in (rest_new, rest_old)]
    return all(1 <= len(rest) <= 2 for rest in content) and len(rest_new) <= 3 and len(rest_old) <= 3


def _names(text: str) -> frozenset[str]:
    """Numbers, and words with a capital inside a sentence."""
    seen = visible(text)
    numbers = re.findall(r"\d+", seen)
    inside = re.findall(r"(?<=[^.!?\s]\s)[A-Z]\w+", seen)
    return frozenset(fold(name) for name in [*numbers, *inside])
