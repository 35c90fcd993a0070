"""What cards and communication style both tell: a card says it in the user's words, so it goes first."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from langchain_persona.extraction.slots import SLOTS
from langchain_persona.records import CommunicationStyle
from langchain_persona.style import describe

__all__ = ["sentences", "told", "traits_of", "without_topics"]


def traits_of(topics: Collection[str]) -> set[str]:
    """The traits of style that cards of these topics tell too.

    Example:
        >>> sorted(traits_of(["answer language", "answer length"]))
        ['language', 'verbosity']
    """
    found = {trait for slot in SLOTS.values() if slot.topic in topics for trait in slot.style}
    return found | ({"language"} if "answer language" in topics else set())


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
