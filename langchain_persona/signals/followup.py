"""Is this message a verdict on the answer before it? Word lists and grammar, five languages, no model call.

The lists are used on whole clauses, not on loose words: praise counts when the rest of its clause says nothing else
("that was really helpful" does, "good recipes for pasta" does not). A negation in the clause turns it ("not bad").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_persona.rewards import Signal
from langchain_persona.signals.lexicon import LANGUAGES, load, pattern
from langchain_persona.signals.repeats import repeated_constraint, repeated_question
from langchain_persona.signals.text import fold, words

__all__ = ["follow_up"]

LONGEST = 600
"""Characters at the beginning of a message that are looked at: a verdict comes first, and is short."""

THANKS, PRAISE, BOTH, NOT_BAD = 0.6, 0.8, 0.9, 0.4
WRONG, NOT_GOOD, RESTYLE, DOUBT, NO, AGAIN = -0.8, -0.7, -0.5, -0.4, -0.5, -0.8

_CLAUSE = re.compile(r"([^.!?;:,\n()…。！？；：，、—–]*)([.!?;:,\n()…。！？；：，、—–]*)")
_OPENING = re.compile(
    r"(?:(?:no(?=\s+(?:i|you|that|this)\b)|nein|non|and|und|et|y|well|hey|oh|hm+|sorry|again|but)\s+)+"
)
_LISTS = load("followup")
_QUESTION_MARKS = ("?", "？")


@dataclass(frozen=True, slots=True)
class _Verdict:
    reward: float
    reason: str


@dataclass(frozen=True, slots=True)
class _Language:
    """The lists of one language, each one expression."""

    thanks: re.Pattern[str]
    praise: re.Pattern[str]
    complaint: re.Pattern[str]
    corrections: re.Pattern[str]
    again: re.Pattern[str]
    again_not: re.Pattern[str]
    doubt: re.Pattern[str]
    restyle: re.Pattern[str]
    restyle_alone: re.Pattern[str]
    negation: re.Pattern[str]
    traps: re.Pattern[str]
    about: re.Pattern[str]
    but: re.Pattern[str]
    no: frozenset[str]
    replies: frozenset[str]
    around: frozenset[str]


def _language(lists: dict[str, list[str]]) -> _Language:
    return _Language(
        thanks=pattern(lists["thanks"]),
        praise=pattern(lists["praise"]),
        complaint=pattern(lists["complaint"]),
        corrections=pattern(lists["corrections"]),
        again=pattern(lists["again"]),
        again_not=pattern(lists["again_not"]),
        doubt=pattern(lists["doubt"]),
        restyle=pattern(lists["restyle"]),
        restyle_alone=pattern(lists["restyle_alone"]),
        negation=pattern(lists["negation"]),
        traps=pattern(lists["traps"]),
        about=pattern(lists["about"]),
        but=pattern(lists["but"]),
        no=frozenset(lists["no"]),
        replies=frozenset(lists["replies"]),
        around=frozenset(word for entry in lists["around"] for word in words(entry)),
    )


_BY_LANGUAGE = tuple(_language(_LISTS[language]) for language in LANGUAGES)


def follow_up(
    message: str, *, question: str | None = None, answer: str | None = None, earlier: Sequence[str] = ()
) -> Signal | None:
    """What a message says about the answer before it: thanks, praise, a correction, a constraint said again, a repeat.

    Args:
        message: what the user wrote after the answer.
        question: the user's message that the answer belongs to.
        answer: the answer. When it ends in a question, a bare "no" or "exactly" replies to that and is no verdict.
        earlier: older messages of the user.

    Returns:
        A signal of source "follow_up" with its reason in words, or None when the message is no verdict.

    Example:
        >>> follow_up("Thanks, that was really helpful!")
        Signal(source='follow_up', reward=0.9, reason='thanks; praise')
        >>> follow_up("That's too long.")
        Signal(source='follow_up', reward=-0.8, reason="correction: 'too long'")
        >>> follow_up("Do you know a good restaurant?") is None
        True
    """
    asked = answer is not None and answer.rstrip()[-1:] in _QUESTION_MARKS
    found = _verdicts(fold(message[:LONGEST]), asked=asked)
    if (constraint := repeated_constraint(message, question, earlier)) and not any(v.reward == AGAIN for v in found):
        found.append(_Verdict(AGAIN, f"said again: '{constraint}'"))
    if not found and (repeat := repeated_question(message, question, earlier)):
        found.append(_Verdict(*repeat))
    if not found:
        return None
    reasons = "; ".join(dict.fromkeys(verdict.reason for verdict in found))
    return Signal("follow_up", _weigh([verdict.reward for verdict in found], reasons), reasons)


def _weigh(rewards: list[float], reasons: str) -> float:
    """One reward: the strongest; a complaint beside praise or thanks outweighs it, at half its strength."""
    low, high = min(rewards), max(rewards)
    if low < 0.0:
        return low / 2 if high > 0.0 else low
    return BOTH if "thanks" in reasons and "praise" in reasons else high


def _verdicts(text: str, *, asked: bool) -> list[_Verdict]:
    """Verdicts of the clauses at the beginning of a message, until one says something else."""
    found: list[_Verdict] = []
    open_ = True
    short = len(words(text)) <= 30
    parts = _split(text)
    for clause, end in parts:
        verdict = _of_clause(clause, question=end.startswith(_QUESTION_MARKS), asked=asked, late=not open_)
        if len(parts) > 1 and any(clause == match[0] for match in _alone(clause)):
            verdict = None  # "In German, how do you say …"
        if verdict is not None:
            found.append(verdict)
        elif len(words(clause)) > 3 or end.startswith(_QUESTION_MARKS):
            if not short:
                break
            open_ = False
    return found


def _alone(clause: str) -> list[re.Match[str]]:
    return [match for language in _BY_LANGUAGE if (match := language.restyle_alone.match(clause))]


def _split(text: str) -> list[tuple[str, str]]:
    """Clauses with the punctuation that ends them; "but" begins a new one."""
    parts: list[tuple[str, str]] = []
    for match in _CLAUSE.finditer(text):
        pieces = [match[1]]
        for language in _BY_LANGUAGE:
            pieces = [piece for whole in pieces for piece in language.but.split(whole)]
        pieces = [piece.strip() for piece in pieces if piece.strip()]
        parts += [(piece, "") for piece in pieces[:-1]] + [(piece, match[2]) for piece in pieces[-1:]]
    return parts


def _of_clause(clause: str, *, question: bool, asked: bool, late: bool) -> _Verdict | None:
    """The verdict of one clause in the first language that finds one; late ones must be outright corrections."""
    for language in _BY_LANGUAGE:
        if (verdict := _outright(language, clause)) is not None:
            return verdict
    if late:
        return None
    for language in _BY_LANGUAGE:
        if asked and clause in language.replies:
            return None
        verdict = _request(language, clause)
        if verdict is None and not question:
            verdict = _judgement(language, clause)
        if verdict is not None:
            return verdict
    return None


def _outright(language: _Language, clause: str) -> _Verdict | None:
    """What the beginning of a clause tells, whatever follows: "I said …", "you forgot …"."""
    start = _skip(language, clause)
    if (match := language.again.match(clause, start)) and not language.again_not.match(clause, start):
        return _Verdict(AGAIN, f"said again: '{match[0]}'")
    if match := language.corrections.match(clause, start):
        return _Verdict(WRONG, f"correction: '{match[0]}'")
    return None


def _skip(language: _Language, clause: str) -> int:
    """Where a clause begins behind "no", "and", "but"."""
    match = _OPENING.match(clause)
    return match.end() if match and not language.again.match(clause) and not language.corrections.match(clause) else 0


def _request(language: _Language, clause: str) -> _Verdict | None:
    """Asked to be said otherwise ("shorter please"), or doubted ("are you sure")."""
    if (match := language.doubt.match(clause)) and _closed(language, clause[match.end() :]):
        return _Verdict(DOUBT, f"doubt: '{match[0]}'")
    match = language.restyle.search(clause)
    if match is None or not _closed(language, clause[: match.start()] + " " + clause[match.end() :]):
        return None
    return _Verdict(RESTYLE, f"correction: '{match[0]}'")


def _judgement(language: _Language, clause: str) -> _Verdict | None:
    """Praise, thanks or complaint, in a clause that says nothing else."""
    if language.traps.search(clause):
        return None
    if clause in language.no:
        return _Verdict(NO, f"correction: '{clause}'")
    rest, bad = _cut(language.complaint, clause)
    rest, thanks = _cut(language.thanks, rest)
    rest, good = _cut(language.praise, rest)
    if not (bad or good or thanks):
        return None
    if thanks and clause.startswith(thanks):
        return _Verdict(BOTH if good and not bad else THANKS, "thanks; praise" if good and not bad else "thanks")
    about = bool(bad) and language.about.match(clause) is not None and len(words(rest)) <= 8
    if not (about or _closed(language, rest)):
        return None
    turned = language.negation.search(rest)
    if bad:
        if turned and not good and not language.negation.search(bad):
            return _Verdict(NOT_BAD, f"praise: '{turned[0]} {bad}'")
        return _Verdict(WRONG, f"correction: '{bad}'")
    if turned and good:
        return _Verdict(NOT_GOOD, f"correction: '{turned[0]} {good}'")
    return _Verdict(PRAISE, "praise") if good else _Verdict(THANKS, "thanks")


def _cut(expression: re.Pattern[str], clause: str) -> tuple[str, str]:
    """The clause without what the expression matches, and the first match."""
    match = expression.search(clause)
    return (expression.sub(" ", clause), match[0]) if match else (clause, "")


def _closed(language: _Language, rest: str) -> bool:
    """Whether only words are left that say nothing of their own."""
    return all(word in language.around or language.negation.fullmatch(word) for word in words(rest))
