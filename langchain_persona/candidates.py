"""Where documents come from: one protocol, and the source over Chroma (LangChain's or a raw collection).

A source answers one nearest-neighbour query with documents, their unit embeddings and their plain relevance to the
*original* query. Nothing else in the package knows of Chroma's distances.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
from langchain_core.embeddings import Embeddings

from langchain_persona.arrays import Vector, unit
from langchain_persona.effects import Call, Steps
from langchain_persona.errors import ConfigError, DimensionMismatchError
from langchain_persona.ranking import Pool
from langchain_persona.samples import Samples
from langchain_persona.vectors import BonusVectors

__all__ = ["ChromaCandidates", "Source", "source_of"]

logger = logging.getLogger(__name__)

_PAGE = 1_000


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

    def fitting(self) -> int | None:
        """Numbers in a vector, once model and store are known to agree; None where that is not known yet.

        Raises:
            DimensionMismatchError: they do not agree.
        """
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
        vectorstore: a `chromadb.Collection`, or a `langchain_chroma.Chroma`, whose collection may be reset.
        embeddings: the model whose vectors it holds.
    """

    name = "chroma"

    def __init__(self, vectorstore: Any, embeddings: Embeddings) -> None:
        self._vectorstore = vectorstore
        self.embeddings = embeddings
        self._scale: float | None = None
        self._samples = Samples()

    @property
    def collection(self) -> Any:
        """The Chroma collection as it is now."""
        # LangChain's Chroma answers queries by vector without the vectors found; only its collection gives them
        return getattr(self._vectorstore, "_collection", self._vectorstore)

    @property
    def place(self) -> str:
        """See `StoredVectors`."""
        return f"chroma {self.collection.name}"

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

    def fitting(self) -> int | None:
        """Compare the model with the collection; trouble other than a mismatch waits for the first query.

        Returns:
            Numbers in a vector; None for an empty collection, and when it could not be found out.

        Raises:
            DimensionMismatchError: the model makes vectors of another length.
        """
        try:
            sample = np.asarray(self.collection.peek(10)["embeddings"], dtype=np.float64)
            given = len(self.embeddings.embed_query("dimension")) if sample.size else 0
        except Exception:
            logger.debug("The dimension of the embeddings could not be checked", exc_info=True)
            return None
        if not sample.size:
            return None
        if sample.shape[1] != given:
            raise DimensionMismatchError(
                f"the embedding model gives vectors of {given} numbers, the collection holds those of {sample.shape[1]}"
                "; use the model that filled it, or fill a new collection"
            )
        if self.space != "cosine" and not np.allclose(np.linalg.norm(sample, axis=1), 1.0, atol=1e-2):
            logger.warning(
                "This %s collection holds vectors that are not of length 1: relevance is on their scale, beside which "
                "the bonus may do little; normalise the embeddings or use a cosine collection",
                self.space,
            )
        return given

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

    def stored(self, ids: Sequence[str], *, user: str) -> Steps[Mapping[str, Vector]]:
        """See `StoredVectors`."""
        found: dict[str, Vector] = {}
        for start in range(0, len(ids), _PAGE):
            page = list(ids[start : start + _PAGE])
            result = yield Call(partial(self.collection.get, ids=page, include=["embeddings"]))
            if result["ids"]:
                rows = unit(np.asarray(result["embeddings"], dtype=np.float64))
                found |= dict(zip(result["ids"], rows, strict=True))
        return found

    def sample(self, n: int, *, user: str, where: Mapping[str, Any] | None = None) -> Steps[Vector]:
        """See `StoredVectors`; kept for a while, see `Samples`."""
        return (yield from self._samples.of(lambda: self.collection, n, where))

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
            if "dimension" in str(error) and type(error).__name__ in (
                "InvalidArgumentError",
                "InvalidDimensionException",
            ):
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


def source_of(vectorstore: Any, embeddings: Embeddings | None) -> Source:
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
    return ChromaCandidates(vectorstore, embeddings)


def _similarity(space: str, query: Vector, raw: Vector, rows: Vector) -> Vector:
    """The base score of stored vectors against the original query, as Chroma's distance would give it."""
    similarity: Vector
    if space == "l2":
        gap = raw - query
        similarity = 1.0 - np.einsum("nd,nd->n", gap, gap) / 2.0
    else:
        similarity = np.einsum("nd,d->n", rows if space == "cosine" else raw, query)
    return similarity
