"""What cards, persona and communication style all tell: the newest card says it in the user's words and goes first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from langchain_persona.extraction.slots import SLOTS
from langchain_persona.records import CommunicationStyle
from langchain_persona.style import describe

__all__ = ["in_force", "sentences", "told", "traits_of", "without_topics"]


def traits_of(topics: Collection[str]) -> set[str]:
    """The traits of style that cards of these topics tell too.

    Example:
        >>> sorted(traits_of(["answer language", "answer length"]))
        ['language', 'verbosity']
    """
    found = {trait for slot in SLOTS.values() if slot.topic in topics for trait in slot.style}
    return found | ({"language"} if "answer language" in topics else set())


def in_force(profile: Mapping[str, Any], outdated: Collection[str]) -> dict[str, Any]:
    """A profile without the lines of the persona that rest on outdated cards; what else they said is told by its cards.

    The stored persona follows at its next rewrite.
    """
    lines = list(zip(str(profile.get("persona", "")).splitlines(), profile.get("sources") or (), strict=False))
    kept = [(line, names) for line, names in lines if not set(names).intersection(outdated)]
    if len(kept) == len(lines):
        return dict(profile)
    told = {name for _, names in kept for name in names}
    return {
        **profile,
        "persona": "\n".join(line for line, _ in kept),
        "sources": [names for _, names in kept],
        "cards": [name for name in profile["cards"] if name in told],
    }


def sentences(style: CommunicationStyle) -> dict[str, str]:
    """What is known surely enough, by trait."""
    lines = {name: describe(CommunicationStyle(**{name: getattr(style, name)})) for name in type(style).model_fields}
    return {name: line[0] for name, line in lines.items() if line}


def told(style: Mapping[str, str], topics: Collection[str]) -> list[str]:
    """The sentences that no shown card says already."""
    covered = traits_of(topics)
    return [sentence for name, sentence in style.items() if name not in covered]


def without_topics(style: CommunicationStyle, topics: Collection[str]) -> CommunicationStyle:
    """The style with what belongs to these topics unknown again."""
    fresh = CommunicationStyle()
    return style.model_copy(update={name: getattr(fresh, name) for name in traits_of(topics)})
