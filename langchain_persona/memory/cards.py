"""Preference cards: one record a card, its vector within; read once a user and kept while their version stands.

An erased card never comes back. A `BaseStore` cannot refuse a write that was decided on before the erasure, so erasing
leaves a tombstone: readers pass over a card that has one, and every writer looks for it after the write and takes back
what it has just written.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from langgraph.store.base import Op, Result

from langchain_persona.errors import CorruptRecordError
from langchain_persona.identity import label
from langchain_persona.learning import Statements
from langchain_persona.learning.arrays import HALF, Vector, decode_vectors, encode_vectors, frozen, unit
from langchain_persona.memory.embedder import Embedder, embedding_name
from langchain_persona.memory.store import UserStore, VersionedCache, found_item, parse_record
from langchain_persona.records import PreferenceCard, Retirement, new_id

_CACHED_USERS = 128


@dataclass(frozen=True, slots=True, eq=False)
class CardSet:
    """One user's cards.

    Attributes:
        active: cards that may be shown, oldest first.
        rest: retired and held-back cards.
        vectors: unit embeddings of the active cards, shape (n, d); a row of zeros where there is none yet, and d = 0
            where no card has one.
        statements: the active likes and dislikes that have a vector; None where there are none.
    """

    active: tuple[PreferenceCard, ...] = ()
    rest: tuple[PreferenceCard, ...] = ()
    vectors: Vector = field(default_factory=lambda: np.zeros((0, 0)))
    statements: Statements | None = None

    @property
    def all(self) -> list[PreferenceCard]:
        """Every card, oldest first."""
        return sorted((*self.active, *self.rest), key=_age)

    @property
    def unembedded(self) -> list[PreferenceCard]:
        """Active cards without a vector."""
        return [self.active[place] for place in np.flatnonzero(~np.any(self.vectors, axis=1))]


class Cards:
    """The cards of all users.

    Args:
        store: where they lie.
        embedder: the model whose vectors count.
    """

    def __init__(self, store: UserStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._cache: VersionedCache[CardSet] = VersionedCache(_CACHED_USERS)

    def read(self, user: str) -> CardSet:
        """The user's cards, from the cache while its version is still the stored one."""
        return self.parse(user, self._store.batch(self.read_ops(user)))

    def latest(self, user: str) -> CardSet:
        """The cards as this process read them last; reads them where it has none."""
        return self._cache.get(user) or self.read(user)

    def read_ops(self, user: str) -> list[Op]:
        """What `read` asks of the store, for a batch: the version, and the cards where this process has none."""
        version = self._store.get((user, "versions"), "cards")
        return [version] if self._cache.get(user) is not None else [version, *self._search(user)]

    def parse(self, user: str, results: Sequence[Result]) -> CardSet:
        """The cards, given the results of `read_ops`; reads on where the cached ones are out of date."""
        item = found_item(results[0])
        version = "" if item is None else str(item.value.get("version", ""))
        found = self._cache.get(user, version)
        if found is None:
            cards, tombs = results[1:] if len(results) > 1 else self._store.batch(self._search(user))
            found = self._card_set(user, cards, tombs)
            self._cache.put(user, version, found)
        return found

    def embedded(self, user: str) -> CardSet:
        """The cards, each active one with its vector; what was missing is made and written back."""
        cards = self.read(user)
        if missing := cards.unembedded:
            self.write(user, self.with_vectors(missing, self._embedder.embed_documents([one.text for one in missing])))
            cards = self.read(user)
        return cards

    def with_vectors(self, cards: Sequence[PreferenceCard], vectors: Vector) -> list[PreferenceCard]:
        """The cards with unit vectors, shape (n, d), made by the memory's model."""
        name = embedding_name(self._embedder.model, vectors.shape[1])
        return [
            card.model_copy(update={"vector": encode_vectors(row, HALF), "embedding": name})
            for card, row in zip(cards, vectors, strict=True)
        ]

    def get(self, user: str, card_id: str) -> PreferenceCard:
        """One card.

        Raises:
            KeyError: the user has no such card.
        """
        for card in self.read(user).all:
            if card.id == card_id:
                return card
        raise KeyError(f"no card {card_id!r} for this user; memory.preferences(user, all=True) lists them")

    def write(self, user: str, cards: Sequence[PreferenceCard]) -> list[PreferenceCard]:
        """Write new and changed cards; returns those that stand, without any that was erased meanwhile."""
        self._store.batch(self.write_ops(user, cards))
        erased = self._store.erased(user, [card.id for card in cards])
        self.take_back(user, erased)
        return [card for card in cards if card.id not in erased]

    def write_ops(self, user: str, cards: Sequence[PreferenceCard]) -> list[Op]:
        """The writes of some cards, for a batch. Who uses it looks for tombstones afterwards, as `write` does."""
        if not cards:
            return []
        self._cache.drop(user)
        return [*(self._store.put((user, "cards"), _key(card.id), card.to_json()) for card in cards), self._touch(user)]

    def take_back(self, user: str, card_ids: Collection[str]) -> None:
        """Delete the records of cards that were erased."""
        if card_ids:
            self._cache.drop(user)
            deletes = [self._store.delete((user, "cards"), _key(name)) for name in card_ids]
            self._store.batch([*deletes, self._touch(user)])

    def replace(self, user: str, card_id: str, new: PreferenceCard, reason: str) -> PreferenceCard:
        """Put a new card in the place of another, which is retired.

        Raises:
            KeyError: the user has no such card.
        """
        retired = Retirement(time=time.time(), reason=reason, by=new.id)
        with self._store.editing(user):
            self.write(user, [new, self.get(user, card_id).model_copy(update={"retired": retired})])
        return new

    def change(self, user: str, card_id: str, **changes: object) -> PreferenceCard:
        """Write a card with some fields changed; not its text.

        Raises:
            KeyError: the user has no such card, or it was erased at this moment.
        """
        with self._store.editing(user):
            changed = self.get(user, card_id).model_copy(update={**changes, "updated": time.time()})
            if not self.write(user, [changed]):
                raise KeyError(f"card {card_id!r} was erased")
        return changed

    def bury(self, user: str, card_ids: Collection[str]) -> list[PreferenceCard]:
        """Hide cards for ever, and with them all that they replaced, whose texts tell the same story.

        Returns:
            What was hidden. `take_back` deletes it; until then an erasure that failed half-way can be repeated.
        """
        (result,) = self._store.batch([self._store.search((user, "cards"))])
        every, doomed = self._parse_cards(user, result), set(card_ids)
        while more := {card.id for card in every if card.retired and card.retired.by in doomed} - doomed:
            doomed |= more
        self._cache.drop(user)
        self._store.batch([*self._store.bury(user, doomed), self._touch(user)])
        return [card for card in every if card.id in doomed]

    def _search(self, user: str) -> list[Op]:
        return [self._store.search((user, "cards")), self._store.search((user, "erased"))]

    def _card_set(self, user: str, cards: Result, tombs: Result) -> CardSet:
        erased = {item.key for item in self._store.found((user, "erased"), tombs)}
        found = [card for card in self._parse_cards(user, cards) if label(card.id, prefix="x") not in erased]
        active = tuple(card for card in found if card.active)
        vectors = frozen(self._matrix(active))
        return CardSet(active, tuple(card for card in found if not card.active), vectors, _statements(active, vectors))

    def _parse_cards(self, user: str, result: Result) -> list[PreferenceCard]:
        """Every readable card, oldest first, also erased ones that are not deleted yet."""
        parsed = (parse_record(PreferenceCard, item) for item in self._store.found((user, "cards"), result))
        return sorted((card for card in parsed if card is not None), key=_age)

    def _matrix(self, cards: Sequence[PreferenceCard]) -> Vector:
        """The cards' vectors, shape (n, d); zeros for one that is missing or of another model."""
        rows = [self._vector(card) for card in cards]
        # one model has one length; if a custom one changed it under its name, the latest counts
        size = next((row.size for row in reversed(rows) if row.size), 0)
        return np.stack([row if row.size == size else np.zeros(size) for row in rows]) if rows else np.zeros((0, 0))

    def _vector(self, card: PreferenceCard) -> Vector:
        """The vector of a card; of no numbers where it has none of the memory's model."""
        size = card.embedding.rpartition("/")[2]
        known = self._embedder.has_model and card.vector and size.isdigit()
        if known and card.embedding == embedding_name(self._embedder.model, int(size)):
            try:
                return unit(decode_vectors(card.vector, int(size), HALF)[0])
            except (CorruptRecordError, IndexError):
                pass
        return np.zeros(0)

    def _touch(self, user: str) -> Op:
        return self._store.put((user, "versions"), "cards", {"version": new_id()})


def _key(card_id: str) -> str:
    return label(card_id, prefix="c")


def _statements(cards: Sequence[PreferenceCard], vectors: Vector) -> Statements | None:
    places = [i for i, card in enumerate(cards) if card.kind in ("like", "dislike") and vectors[i].any()]
    said = [cards[i] for i in places]
    if not said:
        return None
    return Statements(
        vectors=vectors[places].astype(np.float32),
        signs=np.array([1.0 if card.kind == "like" else -1.0 for card in said]),
        confidence=np.array([card.confidence for card in said]),
        since=np.array([np.inf if card.pinned else card.updated for card in said]),
        ids=tuple(card.id for card in said),
        texts=tuple(card.text for card in said),
        embedding=said[0].embedding,
    )


def _age(card: PreferenceCard) -> tuple[float, str]:
    return card.created, card.id
