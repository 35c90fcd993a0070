"""Has a question one right answer, whoever asks? Then a personalised ranking has no business in it.

Word lists and grammar, five languages, no model call. In doubt the answer is no: a fact that is ranked to taste costs
little, a matter of taste that is answered alike for all is what this package is there to mend.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from langchain_persona.signals.lexicon import load, merged, pattern
from langchain_persona.signals.text import clauses, fold, visible

__all__ = ["is_objective"]

LONGEST = 600
"""Characters of a message that is judged by its words. In a longer one only formulas, errors and exams are found."""
EXAM = 8_000
"""Characters in which these are looked for."""

_LISTS = load("objective")


def _any(name: str, *more: str) -> re.Pattern[str]:
    """One expression for the lists of a name in all languages."""
    return pattern(entry for of_one in (name, *more) for entry in merged(_LISTS, of_one))


def _either(entries: Iterable[str]) -> str:
    """Alternatives for an expression of one's own, longer ones first."""
    return "|".join(re.escape(entry) for entry in sorted(set(entries), key=lambda entry: (-len(entry), entry)))


_LEAD, _EXCUSED, _ARTICLES, _OF = _any("lead"), _any("excused"), _any("articles"), _any("of")
_TASTE, _PERSON = _any("taste"), _any("person")
_FACTS, _ANYWHERE, _WHAT_IS, _NOT_DEFINED = _any("facts"), _any("anywhere"), _any("what_is"), _any("not_defined")
_ASKS, _ATTRIBUTES, _LOOKED_UP = _any("asks", "what_is"), _any("attributes"), _any("looked_up")
_HOW_TO, _CODE = _any("howto"), _any("code")

_SUPERLATIVE = re.compile(
    r"\b(?!(?:heav|earl|dr|bus|rain)iest)\w{2,}iest\b|\b(?!niedrig|haufig|wichtig)\w+(?:ig|er|end|lich|isch|sam|haft)ste[nrsm]?\b"
)
"""Endings that English and German give to adjectives of taste: "loveliest", "leckerste"; "longest" has another."""
_ERROR = re.compile(
    r"\b[A-Z][A-Za-z]+(?:Error|Exception)\b|Traceback \(most recent call last\)"
    r"|\b(?:ENOENT|EACCES|ECONNREFUSED|SIGSEGV)\b"
    r"|\b(?i:segmentation fault|core dumped|command not found|no such file or directory|permission denied|undefined"
    r" reference to|cannot find module|null pointer|errno \d+|exit (?:code|status) \d+|status code \d{3}|http \d{3})\b"
)
_FORMULA = re.compile(
    r"\\(?:frac|sqrt|sum|int|begin|left|mathbf|mathbb|cdot|times|circ|log|sin|cos|tan|arc\w+|text|pi|angle|boxed)\b"
    r"|\$[^\d\s$][^$\n]{0,300}+\$|\$[^$\n\\^=_]{0,300}+[\\^=_][^$\n]{0,300}+\$|\$\d++\$"
)
_EXAM = re.compile(r"(?i)\b(?:choices|options)\s*:|\bwhich of the following\b|\bthe answer is\b|选项[:：]|下列")
_OPTION = re.compile(r"(?:^|[\s(])[A-Da-d0-4][.)]\s*[^\s.)]")
# what a sum or a conversion may repeat is possessive: there is one way to read it, so a hostile one costs no time
_NUMBER = r"\(*+-?\d[\d.,]*+\)*+"
_SUM = re.compile(
    rf"{_NUMBER}(?:\s*+[-+*/^×÷%]++\s*+{_NUMBER}|\s++(?:x|plus|minus|times|mal|fois|por)\s++{_NUMBER})++\s*+=?"
)
_PLAINLY = re.compile(r"[+*^×÷=]|\s[-/x]\s|[a-z]{3}")
_UNITS = _either(merged(_LISTS, "units"))
_CONVERSION = re.compile(
    rf"(?<!\w)\d[\d.,]*+\s*+(?:{_UNITS})(?!\w)\s*+(?:in|into|to|as|nach|zu|en|a|=|→)\s*+"
    rf"(?:grad\s|degrees\s|degres\s|grados\s)?\s*+(?:{_UNITS})(?!\w)"
)


def is_objective(query: str) -> bool:
    """Whether a question has one right answer that does not depend on who asks: then a ranking should not be personal.

    Facts, definitions, sums, conversions, error messages, look-ups of code, exam questions are objective. What asks for
    a recommendation, names a taste ("good", "for me", "something"), tells of the person who asks, or is no question at
    all ("comedy film") is not.

    Args:
        query: as the user wrote it; English, German, French, Spanish or Chinese. It takes about 0.03 ms, 1 ms for
            a long one.

    Example:
        >>> is_objective("What is the capital of France?"), is_objective("TypeError: 'NoneType' object is not callable")
        (True, True)
        >>> is_objective("What is the best laptop for me?"), is_objective("red running shoes")
        (False, False)
    """
    seen = visible(query[:EXAM])[:EXAM]  # one character may become eighteen
    if _ERROR.search(seen) or _FORMULA.search(seen) or (_EXAM.search(seen) and len(_OPTION.findall(seen)) >= 3):
        return True
    if len(query) > LONGEST:
        return False
    folded = _EXCUSED.sub(" ", fold(query)[: 2 * LONGEST])
    if _CONVERSION.search(folded) or _is_sum(folded):
        return True
    asked = [rest for clause in clauses(folded) if (rest := _without_lead(clause))]
    whole = " . ".join(map(_behind_opening, asked))
    said = _ATTRIBUTES.sub(" ", whole)  # "the longest river", "el río más largo"
    if _TASTE.search(said) or _SUPERLATIVE.search(said):
        return False
    if any(map(_asks_for_code, asked)):
        return True
    return not _PERSON.search(whole) and any(_ANYWHERE.search(clause) or _asks_a_fact(clause) for clause in asked)


def _asks_for_code(clause: str) -> bool:
    return _HOW_TO.match(clause) is not None and _CODE.search(clause) is not None


def _behind_opening(clause: str) -> str:
    """A clause without the words that make it a question, which would else count: "how do you say", "cómo se dice"."""
    match = _FACTS.match(clause) or (_HOW_TO.match(clause) if _asks_for_code(clause) else None)
    return clause if match is None else clause[match.end() :]


def _without_lead(clause: str) -> str:
    """A clause without what opens it: marks, "please", "can you tell me", "in"."""
    rest = clause.lstrip(" ¿¡\"'-")
    while not _FACTS.match(rest) and (match := _LEAD.match(rest)) and match.end() < len(rest):
        rest = rest[match.end() :].lstrip(" \"'")
    return rest


def _is_sum(folded: str) -> bool:
    """Whether a message is a sum and nothing else; "9-5" may be anything, "what is 9-5" is one."""
    rest = folded.strip(" ?？.")
    match = _ASKS.match(rest) or _FACTS.match(rest)
    bare = rest if match is None else rest[match.end() :].strip()
    return _SUM.fullmatch(bare) is not None and (match is not None or _PLAINLY.search(bare) is not None)


def _asks_a_fact(clause: str) -> bool:
    """Whether a clause begins as a question for a fact or a definition does."""
    if _FACTS.match(clause):
        return True
    if (match := _ASKS.match(clause)) and _ATTRIBUTES.search(clause, match.end()):
        return True
    noun = _without_article(clause)
    if (match := _LOOKED_UP.match(noun)) and _OF.match(noun[match.end() :].lstrip()):
        return True
    if (match := _WHAT_IS.match(clause)) is None:
        return False
    rest = _without_article(clause[match.end() :].strip())
    return 0 < len(rest.split()) <= 3 and not _NOT_DEFINED.match(rest)


def _without_article(text: str) -> str:
    match = _ARTICLES.match(text)
    return text if match is None else text[match.end() :].lstrip()
