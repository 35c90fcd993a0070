"""The rules of one language, read from its data file and compiled once."""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_persona.errors import ConfigError
from langchain_persona.extraction.slots import SLOTS, Slot

__all__ = ["LANGUAGES", "Rule", "Rulebook", "rulebook", "warm_up"]

LANGUAGES = ("en", "de", "fr", "es", "zh")

_FOLDER = importlib.resources.files("langchain_persona") / "data" / "rules"
_DATA = {language: json.loads((_FOLDER / f"{language}.json").read_text(encoding="utf-8")) for language in LANGUAGES}
"""Read at import: a read at the first message would block the event loop."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern and the slot that it fills.

    Attributes:
        slot: key of `SLOTS`.
        pattern: matched at the beginning of a clause.
        note: what the card says where the user's words alone would not ("too long"); None: the user's words.
        open: the user's words go on after the match, up to the end of the thought.
        whole: the match must be the whole sentence.
        alone: it must be the whole message.
        question: it may stand in a question ("could you always answer in German?").
    """

    slot: str
    pattern: re.Pattern[str]
    note: str | None
    open: bool
    whole: bool
    alone: bool
    question: bool

    @property
    def meaning(self) -> Slot:
        """What the rule's cards are."""
        return SLOTS[self.slot]


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All rules of one language.

    Attributes:
        language: ISO 639-1 code.
        languages: names of languages, in this one, to their codes.
        join: what stands before a clause (a comma, "and", "because"); a rule is tried after it.
        lead: what may stand before the words that count ("well,", "by the way").
        stop: where an open match ends.
        once: signs that one occasion is meant.
        unreal: signs that nothing is stated: hypothetical, role play, doubt.
        reported: signs, ahead of a match, that others are speaking.
        pasted: what follows is not the user's own text ("Translate: …").
        negation: words that turn a sentence around or set one thing against another.
        request: how a question begins that asks for something to be done.
        tag: a question tag that makes a statement a question.
        rules: in the order in which they are tried.
    """

    language: str
    languages: Mapping[str, str]
    join: re.Pattern[str]
    lead: re.Pattern[str]
    stop: re.Pattern[str]
    once: re.Pattern[str]
    unreal: re.Pattern[str]
    reported: re.Pattern[str]
    pasted: re.Pattern[str]
    negation: re.Pattern[str]
    request: re.Pattern[str]
    tag: re.Pattern[str]
    rules: tuple[Rule, ...]


@functools.cache
def rulebook(language: str) -> Rulebook:
    """The rules of a language.

    Raises:
        ConfigError: there are none.
    """
    if language not in LANGUAGES:
        raise ConfigError(f"there are rules for {', '.join(LANGUAGES)}, not for {language!r}")
    data = _DATA[language]
    names = sorted(data["languages"], key=len, reverse=True)
    words = {"LANG": f"(?P<language>{'|'.join(map(re.escape, names))})"}
    for name, text in data["words"].items():  # a word may use those above it
        words[name] = f"(?:{_filled(text, words)})"
    signs = ("join", "lead", "stop", "once", "unreal", "reported", "pasted", "negation", "request", "tag")
    return Rulebook(
        language=language,
        languages=data["languages"],
        **{sign: _compiled(data[sign], words) for sign in signs},
        rules=tuple(rule for entry in data["rules"] for rule in _rules(entry, words)),
    )


def warm_up() -> None:
    """Compile the rules of all languages, a good half second, so that no user's first message pays for it."""
    for language in LANGUAGES:
        rulebook(language)


def _rules(entry: Mapping[str, Any], words: Mapping[str, str]) -> list[Rule]:
    flags = {name: bool(entry.get(name, False)) for name in ("open", "whole", "alone", "question")}
    if entry["slot"] not in SLOTS:
        raise ConfigError(f"a rule fills the slot {entry['slot']!r}, which does not exist")
    return [Rule(entry["slot"], _compiled([text], words), entry.get("note"), **flags) for text in entry["patterns"]]


def _compiled(texts: list[str], words: Mapping[str, str]) -> re.Pattern[str]:
    return re.compile("|".join(_filled(text, words) for text in texts), re.IGNORECASE | re.MULTILINE)


def _filled(text: str, words: Mapping[str, str]) -> str:
    """The pattern with `<WORD>` replaced by the list of that name."""
    return re.sub(r"(?<!\?P)<([A-Z_]+)>", lambda found: words[found.group(1)], text)
