"""Does the user ask to forget something? Patterns in five languages, as data files; no model call.

A request is an order at the beginning of a sentence. "I forget that film's name", "don't forget to …" and a question
about forgetting are none.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from langchain_persona.signals.lexicon import LANGUAGES
from langchain_persona.signals.text import visible

__all__ = ["ForgetRequest", "forget_request"]

Scope = Literal["last", "this", "matching", "everything"]

LONGEST = 1_000
"""Characters of a message that are looked at; a request stands at its beginning or in one of its first sentences."""

_SENTENCE = re.compile(r"(?<=[.!?;。！？；\n])\s*")
_END = ".!?;,。！？；，… \n\"'"
_POLITE = re.compile(
    r"[\s,]+(?:please|pls|thanks|thank you|ok|okay|bitte|danke|ja|s'il te plaît|s'il vous plaît|stp|svp|merci"
    r"|por favor|gracias|谢谢|好吗)$",
    re.IGNORECASE,
)
_SCOPES: tuple[Scope, ...] = ("everything", "this", "last", "matching")


@dataclass(frozen=True, slots=True)
class ForgetRequest:
    """What the user wants forgotten.

    Attributes:
        scope: "last", what was just learned; "this", the message itself is not to be kept; "matching", what is about
            `what`; "everything".
        what: the subject in the user's words; empty for "last" and "everything". With "this": what is not to be kept,
            empty when that is the whole message.
    """

    scope: Scope
    what: str = ""


@dataclass(frozen=True, slots=True)
class _Language:
    orders: tuple[tuple[Scope, tuple[re.Pattern[str], ...]], ...]
    no: re.Pattern[str]


def _read(language: str) -> _Language:
    """The patterns of a language: whole sentences, but for "this", which something may follow."""
    path = resources.files("langchain_persona") / "data" / "forgetting" / f"{language}.json"
    lists: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    lead = "".join(lists["lead"])
    ends = {"this": r"(?=[\s:：,，.。!！]|$)"}
    orders = tuple(
        (scope, tuple(re.compile(f"{lead}(?:{body}){ends.get(scope, '$')}", re.IGNORECASE) for body in lists[scope]))
        for scope in _SCOPES
    )
    return _Language(orders, re.compile("|".join(lists["no"]), re.IGNORECASE))


_CLAUSE = re.compile(r"[,，;；]\s*")

_MORE = re.compile(
    r"[,，]\s*(?:and|but|then|und|aber|et|mais|y|pero)\b|\s(?:and|und|et|y)\s+(?=(?:then|please|what|which|who|how|where|when"
    r"|suggest|tell|give|recommend|show|find|help|dann|bitte|was|welche[rs]?|wie|wo|wer|sag|gib|zeig|nenn|empfiehl|dis|donne"
    r"|propose|montre|quels?|quelles?|comment|dime|dame|sugiere|recomienda|muestra|qué|cuál|cómo)\b)",
    re.IGNORECASE,
)

_BY_LANGUAGE = tuple(map(_read, LANGUAGES))


def forget_request(message: str) -> ForgetRequest | None:
    """What a message asks to forget; None when it asks nothing of the kind.

    Example:
        >>> forget_request("Please forget that.")
        ForgetRequest(scope='last', what='')
        >>> forget_request("Forget that I like coffee")
        ForgetRequest(scope='matching', what='I like coffee')
        >>> forget_request("Don't forget to add salt") is None
        True
    """
    head = visible(message[:LONGEST])[:LONGEST]
    at = 0
    for sentence in _SENTENCE.split(head):
        start = head.index(sentence, at)
        at = start + len(sentence)
        if (request := _of_sentence(_before_more(sentence), head[start:])) is not None:
            return request
        for clause in _CLAUSE.split(sentence)[1:][-1:]:
            request = _of_sentence(clause.strip(), clause)
            if request is not None and request.scope == "last":  # "that's private, forget what I said"
                return request
    return None


def _before_more(sentence: str) -> str:
    """The sentence up to where it goes on with another request: "forget that I love tea, and what's for dinner?"."""
    return _MORE.split(sentence.strip(), maxsplit=1)[0].strip()


def _of_sentence(sentence: str, onwards: str) -> ForgetRequest | None:
    """The request of one sentence; `onwards` is the message from there on."""
    order = _POLITE.sub("", sentence.rstrip(_END)).rstrip(_END).strip()
    for language in _BY_LANGUAGE:
        for scope, expressions in language.orders:
            for expression in expressions:
                if (match := expression.match(order)) is None:
                    continue
                if scope == "this":
                    return ForgetRequest("this", onwards.strip()[match.end() :].strip(_END + ":：-— "))
                what = match.groupdict().get("what", "").strip(_END)
                if scope == "matching" and (not what or language.no.search(what)):
                    return None
                return ForgetRequest(scope, what)
    return None
