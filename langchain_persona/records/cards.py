"""Semantic memory: preference cards and the evidence for them."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pydantic import Field

from langchain_persona.records.base import Record, new_id

__all__ = ["Evidence", "PreferenceCard"]


class Evidence(Record):
    """Where a preference was seen: a message and a quote that really occurs in it."""

    message_id: str
    quote: str


class PreferenceCard(Record):
    """One preference or fact of a user: semantic memory.

    Attributes:
        id: unique name.
        note: the preference in one line; this text is embedded.
        condition, action: "when …" → "do …", where it has that form.
        kind: preference, fact, style or avoid.
        topic: what it is about, where that holds one value at a time, such as "answer language" or "answer length": a
            newer card of the same topic supersedes it.
        always: True for a global card (holds in every conversation), False for one that depends on the topic.
        origin: stated by the user, or inferred.
        confidence: in [0, 1].
        evidence: where it was seen.
        created, updated: seconds since the epoch.
        superseded_by: id of the card that replaced it; it stays readable in the history.
        pinned: never replaced automatically.
        held_back: kept, but never shown to a model.
    """

    id: str = Field(default_factory=new_id)
    note: Annotated[str, Field(min_length=1, max_length=4_000, pattern=r"\S")]
    condition: str | None = None
    action: str | None = None
    kind: Literal["preference", "fact", "style", "avoid"] = "preference"
    topic: str | None = None
    always: bool = False
    origin: Literal["stated", "inferred"] = "stated"
    confidence: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    evidence: tuple[Evidence, ...] = ()
    created: float = Field(default_factory=time.time)
    updated: float = Field(default_factory=time.time)
    superseded_by: str | None = None
    pinned: bool = False
    held_back: bool = False

    @property
    def active(self) -> bool:
        """True when it may be shown: neither superseded nor held back."""
        return self.superseded_by is None and not self.held_back
