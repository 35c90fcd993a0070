"""What an extractor is given and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from langchain_persona.records import PreferenceCard

__all__ = ["PreferenceExtractor", "Turn"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the user with the answer that followed it.

    Attributes:
        message_id: id of the user's message; it stands in the evidence of the cards.
        user: the user's own words; the only place where a preference may come from.
        assistant: the answer that followed, "" while there is none; context only, never a source.
    """

    message_id: str
    user: str
    assistant: str = ""


@runtime_checkable
class PreferenceExtractor(Protocol):
    """Finds preferences and facts in what a user wrote.

    An extractor never raises because of what was written. Where a model or a service fails it raises: the turn is then
    tried again later, three times at most. Every card carries evidence whose quote occurs in the message that the
    evidence names.
    """

    def extract(self, turns: Sequence[Turn]) -> list[PreferenceCard]:
        """New cards, in the order in which they were said; duplicates of known cards are not its business."""
        ...

    async def aextract(self, turns: Sequence[Turn]) -> list[PreferenceCard]:
        """Async twin of `extract`."""
        ...
