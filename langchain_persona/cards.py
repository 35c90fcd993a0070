"""Preference cards: the text in the store, the vector in Chroma, searched exactly and per user.

Source of the layout: a filtered Chroma query takes time linear in the whole collection, a product with one user's own
rows takes microseconds. So a user's cards are read once, held as a matrix in a bounded cache, and the cache is checked
against a version that every writer changes: a card written by another process is seen by the next read.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, GetOp, Op, PutOp, SearchOp

from langchain_persona.arrays import Vector, frozen, unit
from langchain_persona.effects import Call, Embed, Steps, StoreOps
from langchain_persona.errors import ConfigError, CorruptRecordError, DimensionMismatchError
from langchain_persona.identity import embedding_name, label
from langchain_persona.memo import Memo
from langchain_persona.records import PreferenceCard, new_id, read_record
from langchain_persona.trouble import warn

__all__ = ["CardMatrix", "Cards", "is_dimension_error"]

logger = logging.getLogger(__name__)

_PAGE = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class CardMatrix:
    """One user's active cards and their vectors.

    Attributes:
        cards: in order of creation.
        vectors: unit embeddings, shape (n, d).
        rest: superseded and held-back cards, which are not shown.
    """

    cards: tuple[PreferenceCard, ...]
    vectors: Vector
    rest: tuple[PreferenceCard, ...] = ()


class Cards:
    """The cards of all users: one namespace of a store, one Chroma collection.

    Args:
        store: holds the texts.
        root: namespace under which they lie.
        collection: a `chromadb.Collection` of vectors only: no text is ever written there.
        embeddings: makes the vectors.
        cached_users: users whose matrix is kept in memory; 1,000 cards of 384 numbers take 3 MB.
    """

    def __init__(
        self,
        store: BaseStore,
        root: tuple[str, ...],
        collection: Any,
        embeddings: Embeddings,
        *,
        cached_users: int = 128,
    ) -> None:
        if not callable(getattr(collection, "upsert", None)) or not callable(getattr(collection, "get", None)):
            raise ConfigError(
                f"cards must be a chromadb Collection (client.get_or_create_collection(name)), got "
                f"{type(collection).__name__}"
            )
        self._store = store
        self._root = root
        self._collection = collection
        self.embeddings = embeddings
        self._memo = Memo[CardMatrix](size=cached_users)

    def put(self, user: str, card: PreferenceCard, *, replaces: str | None = None) -> Steps[PreferenceCard]:
        """Add a card or write a changed one; with `replaces`, mark that card as superseded by it.

        The text is the truth: a vector that could not be written is made again at the next read.

        Raises:
            DimensionMismatchError: the embedding model does not fit the collection; nothing was stored.
            ConfigError: the card to be replaced was replaced before.
        """
        ops: list[Op] = []
        if replaces is not None:
            old = yield from self.get(user, replaces)
            if old.superseded_by is not None:
                raise ConfigError(f"card {replaces!r} was superseded by {old.superseded_by!r}: supersede that")
            retired = old.model_copy(update={"superseded_by": card.id, "updated": time.time()})
            ops.append(self._put_op(user, retired))
        try:
            rows = yield from self.embed([card.note])
        except DimensionMismatchError:
            raise
        except Exception as error:
            _later(error)
        else:
            yield from self._upsert_or_later(user, [card], rows)
        yield StoreOps(self._store, [*ops, self._put_op(user, card), self._touch_op(user)])
        return card

    def change(self, user: str, card: PreferenceCard) -> Steps[PreferenceCard]:
        """Write a card whose text did not change: its vector stays."""
        yield StoreOps(self._store, [self._put_op(user, card), self._touch_op(user)])
        return card

    def embed(self, texts: Sequence[str]) -> Steps[Vector]:
        """Unit vectors of any texts in one call, shape (n, d)."""
        return unit((yield Embed(self.embeddings, list(texts))))

    def write(self, user: str, cards: Sequence[PreferenceCard], vectors: Mapping[str, Vector]) -> Steps[None]:
        """Write several cards in one batch of the store.

        Put a card that replaces another before the one that is replaced: where a store breaks off in the middle, the
        new one is there.

        Args:
            user: whose.
            cards: new and changed ones.
            vectors: by card id, of those whose text is new; the others keep theirs.

        Raises:
            DimensionMismatchError: the embedding model does not fit the collection; nothing was stored.
        """
        fresh = [card for card in cards if card.id in vectors]
        if fresh:
            yield from self._upsert_or_later(user, fresh, np.stack([vectors[card.id] for card in fresh]))
        yield StoreOps(self._store, [*(self._put_op(user, card) for card in cards), self._touch_op(user)])

    def get(self, user: str, card_id: str) -> Steps[PreferenceCard]:
        """One card.

        Raises:
            KeyError: the user has no such card.
        """
        (item,) = yield StoreOps(self._store, [GetOp(self._texts(user), label(card_id, prefix="c"))])
        if item is None:
            raise KeyError(f"no card {card_id!r} for this user; memory.preferences(user) lists them")
        return read_record(PreferenceCard, item.value)

    def all(self, user: str) -> Steps[list[PreferenceCard]]:
        """Every readable card of a user, superseded and held-back ones too, oldest first."""
        cards: list[PreferenceCard] = []
        offset = 0
        while True:
            (items,) = yield StoreOps(self._store, [SearchOp(self._texts(user), limit=_PAGE, offset=offset)])
            for item in items:
                if tuple(item.namespace) != self._texts(user):
                    continue
                try:
                    cards.append(read_record(PreferenceCard, item.value))
                except CorruptRecordError as error:
                    logger.warning("Leaving out the unreadable card %s: %s", item.key, error)
            if len(items) < _PAGE:
                return sorted(cards, key=lambda card: (card.created, card.id))
            offset += _PAGE

    def delete(self, user: str, card_ids: Sequence[str]) -> Steps[None]:
        """Erase cards: text first, for without it no reader makes the vector again; can be repeated after a failure."""
        gone: list[Op] = [PutOp(self._texts(user), label(card_id, prefix="c"), None) for card_id in card_ids]
        yield StoreOps(self._store, [*gone, self._touch_op(user)])
        if card_ids:
            vector_ids = [_vector_id(user, card_id) for card_id in card_ids]
            yield Call(lambda: self._collection.delete(ids=vector_ids))

    def erase(self, user: str, card_ids: Sequence[str]) -> Steps[list[PreferenceCard]]:
        """Erase cards together with all that they replaced, whose texts tell the same story; returns what was there.

        What was replaced goes first: where a store breaks off in the middle, the same call finds the rest.
        """
        if not card_ids:
            return []
        every = yield from self.all(user)
        doomed = set(card_ids)
        while more := {card.id for card in every if card.superseded_by in doomed} - doomed:
            doomed |= more
        gone = [card for card in every if card.id in doomed]
        first = [card.id for card in gone if card.id not in card_ids]
        yield from self.delete(user, [*first, *card_ids])
        return gone

    def matrix(self, user: str) -> Steps[CardMatrix]:
        """The user's active cards with their vectors, from the cache while its version is still the stored one."""
        (item,) = yield StoreOps(self._store, [GetOp(self._versions(user), "cards")])
        version = "" if item is None else str(item.value.get("version", ""))
        cached = self._memo.get(user, version, now := time.time())
        if cached is not None:
            return cached
        every = yield from self.all(user)
        cards = [card for card in every if card.active]
        found = (yield from self._read_vectors(user, cards)) if cards else {}
        missing = [card for card in cards if card.id not in found]
        if missing:
            found |= yield from self._write_vectors(user, missing)
            # one of them may have been erased meanwhile: its vector must not outlive it
            kept = {card.id for card in (yield from self.all(user))}
            orphans = [_vector_id(user, card.id) for card in missing if card.id not in kept]
            if orphans:
                yield Call(lambda: self._collection.delete(ids=orphans))
        rows = np.stack([found[card.id] for card in cards]) if cards else np.zeros((0, 0))
        matrix = CardMatrix(tuple(cards), frozen(rows), tuple(card for card in every if not card.active))
        self._memo.put(user, version, matrix, now)
        return matrix

    def _read_vectors(self, user: str, cards: Sequence[PreferenceCard]) -> Steps[dict[str, Vector]]:
        """Stored vectors that still belong to the card's text and the embedding model, by card id."""
        wanted = {_vector_id(user, card.id): card for card in cards}
        result = yield Call(lambda: self._collection.get(ids=list(wanted), include=["embeddings", "metadatas"]))
        return {
            wanted[name].id: unit(vector)
            for name, vector, facts in zip(result["ids"], result["embeddings"], result["metadatas"], strict=True)
            if (facts or {}).get("digest") == self.digest(wanted[name], len(vector))
        }

    def _write_vectors(self, user: str, cards: Sequence[PreferenceCard]) -> Steps[dict[str, Vector]]:
        rows = yield from self.embed([card.note for card in cards])
        yield from self._upsert(user, cards, rows)
        return {card.id: row for card, row in zip(cards, rows, strict=True)}

    def _upsert_or_later(self, user: str, cards: Sequence[PreferenceCard], rows: Vector) -> Steps[None]:
        try:
            yield from self._upsert(user, cards, rows)
        except DimensionMismatchError:
            raise
        except Exception as error:
            _later(error)

    def _upsert(self, user: str, cards: Sequence[PreferenceCard], rows: Vector) -> Steps[None]:
        ids = [_vector_id(user, card.id) for card in cards]
        facts = [{"user_id": label(user), "digest": self.digest(card, rows.shape[1])} for card in cards]
        try:
            yield Call(lambda: self._collection.upsert(ids=ids, embeddings=rows.astype(np.float32), metadatas=facts))
        except Exception as error:
            if "dimension" in str(error) and type(error).__name__ in (
                "InvalidArgumentError",
                "InvalidDimensionException",
            ):
                raise DimensionMismatchError(
                    f"the embedding model gives vectors of {rows.shape[1]} numbers, the cards' collection holds others "
                    f"({error}); give PersonaMemory a new collection: the texts are in the store and are embedded again"
                ) from error
            raise

    def digest(self, card: PreferenceCard, dimension: int) -> str:
        """Changes with the text and with the embedding model: a vector without it is made again."""
        name = embedding_name(self.embeddings, dimension)
        return hashlib.sha256(f"{name}\n{card.note}".encode()).hexdigest()[:16]

    def _texts(self, user: str) -> tuple[str, ...]:
        return (*self._root, label(user), "cards")

    def _versions(self, user: str) -> tuple[str, ...]:
        return (*self._root, label(user), "versions")

    def _put_op(self, user: str, card: PreferenceCard) -> PutOp:
        return PutOp(self._texts(user), label(card.id, prefix="c"), card.to_json(), index=False)

    def _touch_op(self, user: str) -> PutOp:
        return PutOp(self._versions(user), "cards", {"version": new_id()}, index=False)


def is_dimension_error(error: Exception) -> bool:
    """True when Chroma refused vectors for their length; told by the name of its error, so as not to import it."""
    return type(error).__name__ in ("InvalidArgumentError", "InvalidDimensionException") and "dimension" in str(error)


def _later(error: Exception) -> None:
    """Say that the next read makes up for a vector."""
    warn(logger, "The vector of a card could not be written and follows at the next read")
    logger.debug("Why", exc_info=error)


def _vector_id(user: str, card_id: str) -> str:
    """Ids of one collection are shared by all users: the owner is part of it."""
    return f"{label(user)}/{label(card_id, prefix='c')}"
