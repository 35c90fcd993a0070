"""Which preference space is in force for an embedding model, and how one is fitted from everybody's feedback.

For each embedding model the store holds one map and a small pointer to it. The pointer is read with a user's snapshot,
the map only when the pointer names one that this process has not read yet.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
from langgraph.store.base import Op, Result
from tqdm import tqdm

from langchain_persona.errors import ConfigError, CorruptRecordError, DimensionMismatchError
from langchain_persona.identity import Label, label
from langchain_persona.learning import PreferenceSpace, UserRatings
from langchain_persona.learning.arrays import Vector, decode_vectors
from langchain_persona.memory.store import UserStore, VersionedCache, found_item
from langchain_persona.records import Feedback, Withdrawal
from langchain_persona.resilience import warn

logger = logging.getLogger(__name__)

MAX_USERS = 1_000
"""Users that a fit is made from; more cost time and tell little. A hash of their names says which ones."""

MAX_EVENTS = 1_000
"""A user's latest ratings that count; older ones are not even decoded."""

ITERATIONS = 20

_identity = lru_cache(PreferenceSpace.identity)


class Spaces:
    """The preference spaces of one memory; the one that the developer gave stays in force whatever the store says."""

    def __init__(self, store: UserStore, given: PreferenceSpace | None) -> None:
        self.given = given
        self._store = store
        self._path = (Label("spaces"),)
        self._read: VersionedCache[PreferenceSpace] = VersionedCache(8)

    def plain(self, dimension: int) -> PreferenceSpace:
        """The space that was given, else the identity."""
        if self.given is None:
            return _identity(dimension)
        if self.given.d != dimension:
            raise DimensionMismatchError(
                f"the memory's preference space is for embeddings of {self.given.d} numbers, these have {dimension}; "
                "fit the space on the same embedding model, or leave `space` out"
            )
        return self.given

    def pointer_ops(self, embedding: str) -> list[Op]:
        """The read that names the space in force, for a batch; none where a space was given."""
        return [] if self.given is not None else [self._store.get(self._path, _pointer(embedding))]

    def parse(self, embedding: str, dimension: int, results: Sequence[Result]) -> PreferenceSpace:
        """The space in force, given the results of `pointer_ops`; the identity where a fitted one cannot be read."""
        item = found_item(results[0]) if results else None
        if item is None or (name := item.value.get("space")) is None:
            return self.plain(dimension)
        try:
            return self._fitted(embedding, str(name), dimension)
        except CorruptRecordError as error:
            warn(logger, "Learning without the fitted preference space %s: %s", name, error)
            return _identity(dimension)

    def models(self) -> list[str]:
        """Names of the embedding models for which a space is kept."""
        return sorted(str(item.value["embedding"]) for item in self._store.scan(self._path) if "map" in item.value)

    def use(self, embedding: str, space: PreferenceSpace | None) -> None:
        """Put a space in force for an embedding model; None is the identity."""
        pointer, place = _pointer(embedding), _map(embedding)
        if space is None:
            self._store.batch([self._store.delete(self._path, key) for key in (pointer, place)])
            return
        kept = {"embedding": embedding, "map": space.to_json()}
        # the map before the pointer that names it
        named = self._store.put(self._path, pointer, {"space": space.id})
        self._store.batch([self._store.put(self._path, place, kept), named])

    def fit(
        self,
        read_entries: Callable[[str], list[Feedback | Withdrawal]],
        embedding: str | None,
        *,
        progress: bool,
        ridge: float,
        k: int,
        min_users: int,
        min_events: int,
    ) -> PreferenceSpace:
        """Fit a space from everybody's feedback and put it in force: see `PersonaMemory.fit`."""
        rated: defaultdict[str, list[UserRatings]] = defaultdict(list)
        models: set[str] = set()
        # in an order that neither names nor age decide
        users = sorted(self._store.users(), key=lambda name: hashlib.sha256(name.encode()).digest())
        for user in tqdm(users, desc="reading users", disable=not progress):
            entries = valid_feedback(read_entries(user))
            for name in {str(entry.embedding) for entry in entries}:
                models.add(name)
                ratings = _ratings([entry for entry in entries if entry.embedding == name and entry.gate > 0.0])
                if ratings is not None and len(ratings) >= min_events:
                    rated[name].append(ratings)
            if any(len(some) >= MAX_USERS for some in rated.values()):
                break
        if embedding is not None and embedding not in models:
            known = ", ".join(map(repr, sorted(models))) or "none"
            raise ConfigError(f"there is no feedback under the embedding model {embedding!r}; there is of: {known}")
        model = embedding or max(sorted(rated), key=lambda name: len(rated[name]), default="")
        with tqdm(total=ITERATIONS, desc="preference space", disable=not progress) as bar:
            space = PreferenceSpace.fit(
                rated[model],
                k=k,
                min_users=min_users,
                min_events=min_events,
                max_events=MAX_EVENTS,
                iterations=ITERATIONS,
                ridge=ridge,
                progress=lambda done, total: bar.update(1),
                version=datetime.now(UTC).isoformat(timespec="seconds"),
            )
        self.use(model, space)
        return space

    def _fitted(self, embedding: str, name: str, dimension: int) -> PreferenceSpace:
        space = self._read.get((embedding, name))
        if space is None:
            (result,) = self._store.batch([self._store.get(self._path, _map(embedding))])
            item = found_item(result)
            if item is None:
                raise CorruptRecordError("it is not in the store")
            space = PreferenceSpace.from_json(item.value.get("map") or {})
            if space.id != name:
                raise CorruptRecordError(f"what is stored under this name is {space.id}")
            self._read.put((embedding, name), "", space)
        if space.d != dimension:
            raise CorruptRecordError(f"it is for embeddings of {space.d} numbers, these have {dimension}")
        return space


def _pointer(embedding: str) -> str:
    return label(embedding, prefix="e")


def _map(embedding: str) -> str:
    return label(embedding, prefix="f")


# fitting --------------------------------------------------------------------------------------------------------------


def valid_feedback(entries: Sequence[Feedback | Withdrawal]) -> list[Feedback]:
    """Feedback that can be learned from and was not withdrawn, oldest first."""
    withdrawn = {entry.target for entry in entries if isinstance(entry, Withdrawal)}
    kept = [entry for entry in entries if isinstance(entry, Feedback) and entry.chosen and entry.embedding]
    return [entry for entry in kept if entry.id not in withdrawn and entry.origin not in withdrawn]


def _ratings(entries: Sequence[Feedback]) -> UserRatings | None:
    rows: list[tuple[Vector, float, float]] = []
    for entry in entries[-MAX_EVENTS:]:
        try:
            rows.append((decode_vectors(entry.chosen or "", entry.dimension)[0], entry.reward, entry.gate))
        except (CorruptRecordError, ValueError, IndexError) as error:
            logger.warning("Leaving out feedback %s: %s", entry.id, error)
    if len({row.size for row, _, _ in rows}) != 1:
        return None
    vectors, rewards, gates = zip(*rows, strict=True)
    return UserRatings(np.stack(vectors), rewards, gates)
