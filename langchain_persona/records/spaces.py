"""Fitted preference spaces as they are kept: versions that stay, and a pointer to the one in force."""

from __future__ import annotations

from typing import Any

from langchain_persona.records.base import Record

__all__ = ["SpaceDocument", "SpacePointer", "SpaceVersion"]


class SpaceVersion(Record):
    """One fitted space, as `PersonaMemory.spaces` lists it.

    Attributes:
        id: of the space, for `PersonaMemory.use_space`.
        embedding: name of the embedding model.
        created: seconds since the epoch.
        users, events: how many it was fitted from.
        current: True for the one in force.
    """

    id: str
    embedding: str
    created: float
    users: int = 0
    events: int = 0
    current: bool = False


class SpaceDocument(SpaceVersion):
    """A version with its map.

    Attributes:
        space: what `PreferenceSpace.to_json` wrote.
    """

    space: dict[str, Any]


class SpacePointer(Record):
    """Which version is in force for an embedding model.

    Attributes:
        embedding: name of the model.
        space: id of the version; None is the identity.
    """

    embedding: str
    space: str | None = None
