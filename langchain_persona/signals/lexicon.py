"""Word lists: data files of one folder, read once, each list one regular expression."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from importlib import resources

from langchain_persona.signals.text import CJK, fold

__all__ = ["LANGUAGES", "load", "merged", "pattern"]

LANGUAGES = ("en", "de", "fr", "es", "zh")
_CHINESE = re.compile(f"[{CJK}]")


def load(folder: str) -> dict[str, dict[str, list[str]]]:
    """The lists of `langchain_persona/data/<folder>/<language>.json`, by language and name, entries folded.

    Example:
        >>> "danke" in load("followup")["de"]["thanks"]
        True
    """
    root = resources.files("langchain_persona") / "data" / folder
    lists: dict[str, dict[str, list[str]]] = {}
    for language in LANGUAGES:
        content: dict[str, list[str]] = json.loads((root / f"{language}.json").read_text(encoding="utf-8"))
        lists[language] = {name: [fold(entry) for entry in entries] for name, entries in content.items()}
    return lists


def pattern(entries: Iterable[str]) -> re.Pattern[str]:
    """One expression for a list of words and phrases, to be used on folded text.

    A trailing `*` stands for any rest of a word, a space for any space. Latin entries match at word boundaries, Chinese
    ones anywhere. Longer entries come first. An empty list matches nothing.

    Example:
        >>> bool(pattern(["ignor*"]).search("please ignored that")), bool(pattern(["no"]).search("know"))
        (True, False)
    """
    latin: list[str] = []
    chinese: list[str] = []
    for entry in sorted(set(entries), key=lambda item: (-len(item), item)):
        body = re.escape(entry.rstrip("*")).replace(r"\ ", r"\s+")
        if _CHINESE.search(entry):
            chinese.append(body)
        else:
            latin.append(body + (r"\w*" if entry.endswith("*") else ""))
    parts = [rf"(?<!\w)(?:{'|'.join(latin)})(?!\w)"] if latin else []
    parts += ["|".join(chinese)] if chinese else []
    return re.compile("|".join(parts) or r"(?!)")


def merged(lists: Mapping[str, Mapping[str, list[str]]], name: str) -> list[str]:
    """One list over all languages."""
    return [entry for language in lists.values() for entry in language.get(name, ())]
