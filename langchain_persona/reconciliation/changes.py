"""What can happen to a card, as pure functions: strengthened, updated, retired."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from langchain_persona.records import Evidence, PreferenceCard

__all__ = ["Change", "archived", "messages_of", "news", "retired", "strengthened", "updated"]

_MOST_EVIDENCE = 20
_GAIN = 0.5


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a new card.

    Attributes:
        action: "added" as a card of its own; "strengthened", an old card has more evidence; "updated", an old card says
            it more precisely now; "superseded", an old card has ended and this one holds; "dropped", nothing changed.
        card: the card in force, as it is now; of "dropped", the one that was not taken.
        previous: the old card as it was; None where there is none.
        reason: in words that carry nothing of the notes.
    """

    action: Literal["added", "strengthened", "updated", "superseded", "dropped"]
    card: PreferenceCard
    previous: PreferenceCard | None
    reason: str


def messages_of(card: PreferenceCard) -> frozenset[str]:
    """Ids of the messages in which it was seen."""
    return frozenset(seen.message_id for seen in card.evidence)


def news(old: PreferenceCard, new: PreferenceCard) -> tuple[Evidence, ...]:
    """Evidence of messages that have not been counted for the old card: a message counts once."""
    counted = messages_of(old)
    return tuple(seen for seen in new.evidence if seen.message_id not in counted)


def strengthened(old: PreferenceCard, new: PreferenceCard, now: float) -> PreferenceCard:
    """The old card, seen once more: what is missing to certainty shrinks by half the new card's confidence.

    Example:
        >>> old = PreferenceCard(note="likes tea", confidence=0.6)
        >>> round(strengthened(old, old, now=0.0).confidence, 2)
        0.72
    """
    evidence = (*old.evidence, *news(old, new))
    return old.model_copy(
        update={
            "confidence": 1.0 - (1.0 - old.confidence) * (1.0 - _GAIN * new.confidence),
            "evidence": (evidence[:1] + evidence[1:][-(_MOST_EVIDENCE - 1) :]),
            "origin": "stated" if "stated" in (old.origin, new.origin) else old.origin,
            "always": old.always or new.always,
            "topic": old.topic or new.topic,
            "updated": now,
        }
    )


def updated(old: PreferenceCard, new: PreferenceCard, now: float) -> PreferenceCard:
    """The old card with the new, more precise text; it keeps its id."""
    more = {"note": new.note, "condition": new.condition or old.condition, "action": new.action or old.action}
    return strengthened(old, new, now).model_copy(update={**more, "kind": new.kind})


def archived(old: PreferenceCard, now: float) -> PreferenceCard:
    """The old text, kept for the history beside the updated card; the same id however often this is tried."""
    mark = hashlib.sha256(old.note.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return old.model_copy(
        update={"id": f"{old.id}-{mark}", "superseded_by": old.id, "updated": now, "pinned": False, "held_back": False}
    )


def retired(old: PreferenceCard, by: PreferenceCard, now: float) -> PreferenceCard:
    """The old card, ended."""
    return old.model_copy(update={"superseded_by": by.id, "updated": now})
