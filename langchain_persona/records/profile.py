"""How a user talks, and the persona text written for them."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from pydantic import Field

from langchain_persona.records.base import Record

__all__ = ["CommunicationStyle", "Language", "Persona", "PersonaRevision", "Trait"]


class Trait(Record):
    """One dimension of style.

    Attributes:
        value: from −1 to 1; what the ends mean is told by `CommunicationStyle`.
        confidence: in [0, 1]; 0 is unknown.
    """

    value: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.0
    confidence: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0


class Language(Record):
    """The language to answer in.

    Attributes:
        code: ISO 639-1, such as "de"; None is unknown.
        confidence: in [0, 1].
    """

    code: str | None = None
    confidence: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0


class CommunicationStyle(Record):
    """How a user wants to be talked to.

    Attributes:
        verbosity: −1 as short as possible, 1 in full detail.
        formality: −1 casual, 1 formal.
        directness: −1 gentle, 1 blunt.
        technical_depth: −1 for a layman, 1 for an expert.
        warmth: −1 matter-of-fact, 1 warm.
        structure: −1 flowing prose, 1 lists and headings.
        proactivity: −1 only what was asked, 1 suggests more.
        language: of the answers.
    """

    verbosity: Trait = Trait()
    formality: Trait = Trait()
    directness: Trait = Trait()
    technical_depth: Trait = Trait()
    warmth: Trait = Trait()
    structure: Trait = Trait()
    proactivity: Trait = Trait()
    language: Language = Language()


class PersonaRevision(Record):
    """One version of a user's persona text.

    Attributes:
        number: from 1; 0 is the empty persona before any.
        text: the sentences that stand in the system prompt.
        reason: why it was written.
        evidence: ids of the cards and episodes that it rests on.
        diff: unified diff to the revision before.
        origin: who wrote it.
        cards: ids of the cards whose content the text carries, so that they need not be shown beside it.
        created: seconds since the epoch.
    """

    number: int = 0
    text: str = ""
    reason: str = ""
    evidence: tuple[str, ...] = ()
    diff: str = ""
    origin: Literal["template", "model", "user", "rollback"] = "template"
    cards: tuple[str, ...] = ()
    created: float = Field(default_factory=time.time)


class Persona(Record):
    """The persona in force.

    Attributes:
        revision: the one in force.
        latest: the highest number given so far.
        pinned: never rewritten automatically.
    """

    revision: PersonaRevision = PersonaRevision(created=0.0)
    latest: int = 0
    pinned: bool = False
