"""Cards from an extractor, whoever wrote it: none that the guard refuses, none with a secret."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_persona.effects import Steps, Twin
from langchain_persona.extraction import PreferenceExtractor, Turn
from langchain_persona.records import PreferenceCard
from langchain_persona.signals import has_secret, objection

__all__ = ["extracted"]


def extracted(extractor: PreferenceExtractor, turns: Sequence[Turn]) -> Steps[list[PreferenceCard]]:
    """What an extractor finds, without cards that must not be kept."""
    found: list[PreferenceCard] = yield Twin(lambda: extractor.extract(turns), lambda: extractor.aextract(turns))
    return [card for card in found if _fit(card)]


def _fit(card: PreferenceCard) -> bool:
    texts = (card.note, card.condition, card.action)
    return not any(text and (objection(text, always=card.always) or has_secret(text)) for text in texts)
