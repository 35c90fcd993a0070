"""Which preference space is in force for an embedding model: versions in the store, and a pointer to one of them.

A version is written before the pointer that names it, and none is ever changed: a crash between the two writes leaves
the former version in force, and going back is a matter of the pointer. The pointer is read in the batch with which a
user's snapshot is read anyway; the map itself only when the pointer names one that this process has not read yet.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from langgraph.store.base import BaseStore, GetOp, Item, PutOp

from langchain_persona.effects import Steps, StoreOps
from langchain_persona.errors import ConfigError, CorruptRecordError, DimensionMismatchError
from langchain_persona.identity import label
from langchain_persona.memo import Memo
from langchain_persona.memory.pages import everything
from langchain_persona.records import SpaceDocument, SpacePointer, SpaceVersion, read_record
from langchain_persona.spaces import PreferenceSpace
from langchain_persona.trouble import warn

__all__ = ["SpaceChoice", "SpaceVersions"]

logger = logging.getLogger(__name__)

_identity = lru_cache(PreferenceSpace.identity)


@dataclass(frozen=True, slots=True)
class SpaceChoice:
    """A space that is known only once the store was asked.

    Attributes:
        op: what to read, in a batch with other things.
        chosen: takes what was read and gives the space.
    """

    op: GetOp
    chosen: Callable[[Item | None], Steps[PreferenceSpace]]


class SpaceVersions:
    """The spaces of one memory.

    Args:
        store: any LangGraph store.
        root: namespace under which everything lies.
        given: the space that the developer chose; it stays in force whatever the store says.
    """

    def __init__(self, store: BaseStore, root: tuple[str, ...], given: PreferenceSpace | None) -> None:
        self.given = given
        self._store = store
        self._place = (*root, "spaces")
        self._read = Memo[PreferenceSpace](size=8)
        self._told: set[str] = set()

    def plain(self, dimension: int) -> PreferenceSpace:
        """The space that was given, else the identity.

        Raises:
            DimensionMismatchError: the one given is for embeddings of another length.
        """
        if self.given is None:
            return _identity(dimension)
        if self.given.d != dimension:
            raise DimensionMismatchError(
                f"the memory's preference space is for embeddings of {self.given.d} numbers, these have {dimension}; "
                "fit the space on the same embedding model, or leave `space` out"
            )
        return self.given

    def choice(self, embedding: str, dimension: int) -> PreferenceSpace | SpaceChoice:
        """The space that was given, or how to find the one in force."""
        if self.given is not None:
            return self.plain(dimension)
        return SpaceChoice(self._pointer_op(embedding), lambda item: self._chosen(item, embedding, dimension))

    def add(self, embedding: str, space: PreferenceSpace) -> Steps[None]:
        """Write a version, then put it in force. One that is there already (the same map) stays as it was."""
        version = SpaceDocument(
            id=space.id,
            embedding=embedding,
            created=time.time(),
            users=int(space.about.get("users", 0)),
            events=int(space.about.get("events", 0)),
            space=space.to_json(),
        )
        op = self._version_op(embedding, space.id)
        (found,) = yield StoreOps(self._store, [op])
        if found is None:
            yield StoreOps(self._store, [PutOp(op.namespace, op.key, version.to_json(), index=False)])
        yield from self.point(embedding, space.id)

    def point(self, embedding: str, space: str | None) -> Steps[None]:
        """Put a version in force; None is the identity."""
        op, pointer = self._pointer_op(embedding), SpacePointer(embedding=embedding, space=space)
        yield StoreOps(self._store, [PutOp(op.namespace, op.key, pointer.to_json(), index=False)])

    def versions(self, embedding: str | None = None) -> Steps[list[SpaceVersion]]:
        """All versions, of one embedding model or of all, oldest first; unreadable ones are left out with a warning."""
        found, current = yield from self._kept()
        marked = [one.model_copy(update={"current": current.get(one.embedding) == one.id}) for one in found]
        wanted = [one for one in marked if embedding is None or one.embedding == embedding]
        return sorted(wanted, key=lambda one: (one.created, one.id))

    def in_force(self) -> Steps[list[PreferenceSpace]]:
        """The fitted spaces in force that can be read, one for an embedding model."""
        _, pointers = yield from self._kept()
        found = []
        for embedding, name in sorted(pointers.items()):
            if name is not None:
                try:
                    found.append((yield from self._version(embedding, name)))
                except CorruptRecordError as error:
                    self._tell(name, error)
        return found

    def _kept(self) -> Steps[tuple[list[SpaceVersion], dict[str, str | None]]]:
        """The readable versions, and what the pointers name by embedding model."""
        items = yield from everything(self._store, self._place)
        current: dict[str, str | None] = {}
        found: list[SpaceVersion] = []
        for item in items:
            try:
                if tuple(item.namespace) == self._place:
                    pointer = read_record(SpacePointer, item.value)
                    current[pointer.embedding] = pointer.space
                else:
                    found.append(read_record(SpaceVersion, item.value))
            except CorruptRecordError as error:
                warn(logger, "Leaving out the unreadable preference space %s: %s", item.key, error)
        return found, current

    def use(self, space: str | None, embedding: str | None) -> Steps[None]:
        """The body of `PersonaMemory.use_space`; see there."""
        found, pointers = yield from self._kept()
        # a pointer whose version is gone can be taken back all the same
        models = sorted({one.embedding for one in found} | set(pointers))
        if embedding is not None:
            if embedding not in models:
                known = ", ".join(map(repr, models)) or "none"
                raise ConfigError(
                    f"there is no fitted space for the embedding model {embedding!r}; there are some for: {known}"
                )
            models = [embedding]
        if space is not None:
            versions = sorted((one.created, one.id, one.embedding) for one in found if one.embedding in models)
            models = sorted({model for _, name, model in versions if name == space})
            if not models:
                known = ", ".join(name for _, name, _ in versions) or "none"
                raise ConfigError(f"there is no fitted space {space!r}; known are: {known}. See memory.spaces()")
        for model in models:
            yield from self.point(model, space)

    def _chosen(self, item: Item | None, embedding: str, dimension: int) -> Steps[PreferenceSpace]:
        """The space that a pointer names; the identity, with one warning, where it cannot be had."""
        if item is None:
            return _identity(dimension)
        name = embedding
        try:
            pointer = read_record(SpacePointer, item.value)
            if pointer.space is None:
                return _identity(dimension)
            name = pointer.space
            space = yield from self._version(embedding, name)
            if space.d != dimension:
                raise CorruptRecordError(f"it is for embeddings of {space.d} numbers, these have {dimension}")
            return space
        except CorruptRecordError as error:
            self._tell(name, error)
            return _identity(dimension)

    def _version(self, embedding: str, name: str) -> Steps[PreferenceSpace]:
        """The map of a version; a `CorruptRecordError` where it cannot be had."""
        space = self._read.latest((embedding, name))  # what an id names never changes
        if space is None:
            (found,) = yield StoreOps(self._store, [self._version_op(embedding, name)])
            if found is None:
                raise CorruptRecordError("it is not in the store")
            space = PreferenceSpace.from_json(read_record(SpaceDocument, found.value).space)
            if space.id != name:
                raise CorruptRecordError(f"what is stored under this name is {space.id}")
            self._read.put((embedding, name), None, space, 0.0)
        return space

    def _tell(self, name: str, error: CorruptRecordError) -> None:
        if name not in self._told:
            self._told.add(name)
            warn(logger, "Learning without the fitted preference space %s: %s", name, error)

    def _pointer_op(self, embedding: str) -> GetOp:
        return GetOp(self._place, label(embedding, prefix="e"), refresh_ttl=False)

    def _version_op(self, embedding: str, space: str) -> GetOp:
        return GetOp((*self._place, label(embedding, prefix="e")), label(space, prefix="s"), refresh_ttl=False)
