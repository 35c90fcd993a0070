"""Where documents come from: one protocol, three sources (LangChain's Chroma, a raw Chroma collection, a user's cards).

A source answers one nearest-neighbour query with documents, their unit embeddings and their plain relevance to the
*original* query. Nothing else in the package knows of Chroma's distances.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from langchain_core.embeddings import Embeddings

from langchain_persona.arrays import Vector, unit
from langchain_persona.cards import Cards
from langchain_persona.effects import Call, Steps
from langchain_persona.errors import ConfigError, DimensionMismatchError
from langchain_persona.ranking import Pool
from langchain_persona.records import PreferenceCard
from langchain_persona.vectors import BonusVectors

__all__ = ["CardCandidates", "ChromaCandidates", "Source", "source_of"]


_NOT_SHOWN = {"note", "evidence", "superseded_by", "held_back"}


@runtime_checkable
class Source(Protocol):
    """What the retriever asks of a source of documents."""

    @property
    def embeddings(self) -> Embeddings:
        """The model that embeds queries."""
        ...

    @property
    def name(self) -> str:
        """The provider, for traces: "chroma" or "cards"."""
        ...

    @property
    def depth(self) -> int:
        """How many results a query may ask for without changing the first of them."""
        ...

    def search(
        self,
        query: Vector,
        bonus: BonusVectors | None,
        *,
        n: int,
        where: Mapping[str, Any] | None,
        user: str,
    ) -> Steps[Pool]:
        """The `n` nearest candidates.

        Args:
            query: the embedded query as the model gave it, shape (d,).
            bonus: folded into the query; None is the plain query, sent untouched.
            n: how many.
            where: filter in the language of the source.
            user: whose cards; sources that are the same for all users ignore it.
        """
        ...


class ChromaCandidates:
    """A Chroma collection in any of its three spaces (cosine, l2, ip).

    Base scores: `1 − distance` for cosine and ip, `1 − distance / 2` for l2 (squared), which is the cosine where the
    vectors are of unit length. Where they are not (l2 and ip), folding chooses the pool and the exact score orders it.

    Args:
        collection: a `chromadb.Collection`.
        embeddings: the model whose vectors it holds.
    """

    name = "chroma"

    def __init__(self, collection: Any, embeddings: Embeddings) -> None:
        self.collection = collection
        self.embeddings = embeddings
        self._scale: float | None = None

    @property
    def space(self) -> str:
        """`cosine`, `l2` or `ip`."""
        configuration = self.collection.configuration_json  # `configuration` would build its embedding function
        index = configuration.get("hnsw") or configuration.get("spann") or {}
        return str(index.get("space") or "l2")

    @property
    def depth(self) -> int:
        """How many results a query may ask for without changing the first of them (HNSW's `ef_search`)."""
        index = self.collection.configuration_json.get("hnsw") or {}
        return int(index.get("ef_search") or 100)

    def dimension(self) -> int | None:
        """Numbers in a stored vector; None for an empty collection."""
        sample = self.collection.peek(1)["embeddings"]
        return len(sample[0]) if sample is not None and len(sample) else None

    def search(
        self,
        query: Vector,
        bonus: BonusVectors | None,
        *,
        n: int,
        where: Mapping[str, Any] | None,
        user: str,
    ) -> Steps[Pool]:
        """See `Source.search`."""
        pool: Pool = yield Call(lambda: self._query(query, bonus, n, where))
        return pool

    def _query(self, query: Vector, bonus: BonusVectors | None, n: int, where: Mapping[str, Any] | None) -> Pool:
        space = self.space
        direction = unit(query) if space == "cosine" else query
        folded = query if bonus is None else bonus.fold(direction, self._fold_scale(space))
        try:
            result = self.collection.query(
                query_embeddings=[np.asarray(folded, dtype=np.float32)],
                n_results=n,
                where=where or None,
                include=["documents", "metadatas", "distances", "embeddings"],
            )
        except Exception as error:
            if "dimension" in str(error):
                raise DimensionMismatchError(
                    f"the query has {query.size} numbers and the collection holds others ({error}); use the embedding "
                    "model that filled the collection"
                ) from error
            raise
        ids = tuple(result["ids"][0])
        if not ids:
            return Pool.empty(query.size)
        raw = np.asarray(result["embeddings"][0], dtype=np.float64).reshape(len(ids), -1)
        rows = unit(raw)
        if bonus is None:
            distances = np.asarray(result["distances"][0], dtype=np.float64)
            base = 1.0 - distances / (2.0 if space == "l2" else 1.0)
        else:
            base = _similarity(space, direction, raw, rows)
        texts = tuple(text or "" for text in result["documents"][0])
        return Pool(ids, texts, tuple(facts or {} for facts in result["metadatas"][0]), rows, base)

    def _fold_scale(self, space: str) -> float:
        """`1 / ‖e‖` for a typical stored vector: 1 in cosine, measured once on ten vectors elsewhere."""
        if space == "cosine":
            return 1.0
        if self._scale is None:
            sample = np.asarray(self.collection.peek(10)["embeddings"], dtype=np.float64)
            if not sample.size:
                return 1.0  # empty as yet: measure again when it is not
            norm = float(np.linalg.norm(sample, axis=-1).mean())
            self._scale = 1.0 if abs(norm - 1.0) < 1e-3 or norm == 0.0 else 1.0 / norm
        return self._scale


class CardCandidates:
    """The preference cards of the user who asks, scored exactly with NumPy."""

    name = "cards"

    def __init__(self, cards: Cards) -> None:
        self.cards = cards

    @property
    def embeddings(self) -> Embeddings:
        """The model of the cards."""
        return self.cards.embeddings

    @property
    def depth(self) -> int:
        """No limit: the search is exact."""
        return sys.maxsize

    def search(
        self,
        query: Vector,
        bonus: BonusVectors | None,
        *,
        n: int,
        where: Mapping[str, Any] | None,
        user: str,
    ) -> Steps[Pool]:
        """See `Source.search`; `where` compares fields of the card for equality, such as `{"kind": "avoid"}`."""
        unknown = sorted(set(where or {}) - set(PreferenceCard.model_fields))
        if unknown:
            raise ConfigError(
                f"cards have no field {unknown[0]!r}; filter by one of {sorted(PreferenceCard.model_fields)}"
            )
        matrix = yield from self.cards.matrix(user)
        fits = [
            index
            for index, card in enumerate(matrix.cards)
            if all(getattr(card, key, None) == value for key, value in (where or {}).items())
        ]
        if not fits:
            return Pool.empty(query.size)
        rows = matrix.vectors if len(fits) == len(matrix.cards) else matrix.vectors[fits]
        if rows.shape[1] != query.size:
            raise DimensionMismatchError(
                f"the query has {query.size} numbers and the cards have {rows.shape[1]}: one model must make both"
            )
        direction = unit(query)
        folded = direction if bonus is None else bonus.fold(direction)
        # einsum stays on one thread: BLAS would wake a second one and lose by it
        order = np.argsort(-np.einsum("nd,d->n", rows, folded), kind="stable")[:n]
        cards = [matrix.cards[fits[position]] for position in order]
        return Pool(
            ids=tuple(card.id for card in cards),
            texts=tuple(card.note for card in cards),
            metadatas=tuple(card.model_dump(mode="json", exclude=_NOT_SHOWN) for card in cards),
            embeddings=rows[order],
            base=np.einsum("nd,d->n", rows[order], direction),
        )


def source_of(vectorstore: Any, embeddings: Embeddings | None) -> ChromaCandidates | Source:
    """The source for what a user handed over.

    Args:
        vectorstore: a `langchain_chroma.Chroma`, a `chromadb.Collection`, or an object with the `Source` protocol.
        embeddings: needed for a raw collection; for `Chroma` its own model is used unless one is given.

    Raises:
        ConfigError: something else, or a collection without embeddings.
    """
    if isinstance(vectorstore, Source):
        return vectorstore
    collection = vectorstore
    if callable(getattr(vectorstore, "similarity_search_by_vector_with_relevance_scores", None)):
        # LangChain's Chroma answers queries by vector without the vectors found; only its collection gives them
        collection = getattr(vectorstore, "_collection", None)
        embeddings = embeddings or vectorstore.embeddings
    if not callable(getattr(collection, "query", None)) or not hasattr(collection, "configuration_json"):
        raise ConfigError(
            f"vectorstore must be a langchain_chroma.Chroma or a chromadb Collection, got {type(vectorstore).__name__}"
        )
    if not isinstance(embeddings, Embeddings):
        raise ConfigError(
            "a Chroma collection needs the model that made its vectors: VARSRetriever(vectorstore=collection, "
            f"embeddings=model, ...); got embeddings={embeddings!r}"
        )
    return ChromaCandidates(collection, embeddings)


def _similarity(space: str, query: Vector, raw: Vector, rows: Vector) -> Vector:
    """The base score of stored vectors against the original query, as Chroma's distance would give it."""
    similarity: Vector
    if space == "l2":
        gap = raw - query
        similarity = 1.0 - np.einsum("nd,nd->n", gap, gap) / 2.0
    else:
        similarity = np.einsum("nd,d->n", rows if space == "cosine" else raw, query)
    return similarity
