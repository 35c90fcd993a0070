"""Where documents lie: Chroma, any LangChain `VectorStore`, a user's own preference cards.

Nothing else in the package knows the distances of a vector store.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from langchain_persona.errors import ConfigError, DimensionMismatchError
from langchain_persona.learning.arrays import Vector, dots, unit
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.cards import CardSet
from langchain_persona.records import PreferenceCard
from langchain_persona.resilience import acall, warn_of

logger = logging.getLogger(__name__)

TEXTS = 20_000
"""Vectors of texts kept: 60 MB of vectors of 384 numbers."""

_NO_ROWS: Vector = np.zeros((0, 0))
_SHOWN = ("id", "condition", "kind", "scope", "origin", "confidence", "created", "updated", "pinned")


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The documents that a source found, in its order.

    With `vectors`, their unit embeddings, shape (n, d), or (n, 0) where they are not known, and `relevance` to the
    original query, shape (n,).
    """

    ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    metadatas: tuple[Mapping[str, Any], ...] = ()
    vectors: Vector = field(default_factory=lambda: _NO_ROWS)
    relevance: Vector = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def measured(self) -> bool:
        """True when the vectors are known, so that the candidates can be scored."""
        return bool(self.vectors.shape[1])

    def document(self, index: int, **extra: object) -> Document:
        """One candidate as a new document; `extra` is added to its metadata."""
        return Document(id=self.ids[index], page_content=self.texts[index], metadata={**self.metadatas[index], **extra})

    def behind(self, first: Candidates) -> Candidates:
        """`first`, and behind it what only these candidates have."""
        known = set(first.ids)
        rest = [index for index, name in enumerate(self.ids) if name not in known]
        if not known:
            return self
        if not rest or not (first.measured and self.measured):
            return first
        return Candidates(
            (*first.ids, *(self.ids[index] for index in rest)),
            (*first.texts, *(self.texts[index] for index in rest)),
            (*first.metadatas, *(self.metadatas[index] for index in rest)),
            np.concatenate([first.vectors, self.vectors[rest]]),
            np.concatenate([first.relevance, self.relevance[rest]]),
        )


def _id_of(document: Document) -> str:
    """A document's id, or one made from its text, the same in every process, so that it can be rated."""
    given = document.id if document.id is not None else document.metadata.get("_id")  # where Qdrant puts it
    if given is not None:
        return str(given)
    return f"text-{hashlib.sha256(document.page_content.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


@runtime_checkable
class Source(Protocol):
    """A place where documents lie. Inherit from it and write `embeddings` and `search`; the rest may stay.

    Attributes:
        embeddings, name: the model that embeds queries, and what traces say.
        depth: how many results a query may ask for without changing the first ones (HNSW's `ef_search`):
            `sys.maxsize` where the search is exact, 0 where it is not known.
    """

    embeddings: Embeddings
    name: str = "source"
    depth: int = sys.maxsize

    def search(self, query: Vector, k: int, *, filter: Any = None, shift: Vector | None = None) -> Candidates:
        """The `k` nearest documents to an embedded query, shape (d,), that pass a filter in the source's own language.

        `shift`, shape (d,), moves the query, which is brought to unit length first; None sends it untouched.
        """
        ...

    async def asearch(self, query: Vector, k: int, *, filter: Any = None, shift: Vector | None = None) -> Candidates:
        """Async twin of `search`; in a thread, unless the source has an async form of its own."""
        return await acall(lambda: self.search(query, k, filter=filter, shift=shift))

    def sample(self, n: int, filter: Any = None) -> Vector:
        """Unit vectors of some documents that pass a filter, shape (at most n, d): what moderation is measured on."""
        return _NO_ROWS

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        """Unit vectors, each of shape (d,), of those documents that exist."""
        return {}


class ChromaSource(Source):
    """A `langchain_chroma.Chroma` or a `chromadb.Collection` in any of its three spaces (cosine, l2, ip).

    Relevance is `1 − distance` for cosine and ip and `1 − distance / 2` for l2 (squared): the cosine, where vectors are
    of unit length. Where they are not, folding chooses the candidates and the exact score orders them.
    """

    name = "chroma"

    def __init__(self, vectorstore: Any, embeddings: Embeddings) -> None:
        self.embeddings, self._vectorstore = embeddings, vectorstore
        self._length: float | None = None  # of a typical stored vector; measured where it matters

    @property
    def collection(self) -> Any:
        """The collection as it is now: that of a `langchain_chroma.Chroma` may be reset."""
        # LangChain's Chroma answers queries by vector without the vectors found; only its collection gives them
        return getattr(self._vectorstore, "_collection", self._vectorstore)

    @property
    def depth(self) -> int:  # type: ignore[override]
        """HNSW's `ef_search`."""
        return int((self.collection.configuration_json.get("hnsw") or {}).get("ef_search") or 100)

    def search(self, query: Vector, k: int, *, filter: Any = None, shift: Vector | None = None) -> Candidates:
        """One query of the collection."""
        configuration = self.collection.configuration_json  # `configuration` would build its embedding function
        space = str((configuration.get("hnsw") or configuration.get("spann") or {}).get("space") or "l2")
        direction = unit(query) if space == "cosine" else query
        folded = query if shift is None else direction + self._fold_scale(space) * shift
        with _mismatch_in_words(self.collection, query.size):
            result = self.collection.query(
                query_embeddings=[np.asarray(folded, dtype=np.float32)],
                n_results=k,
                where=filter or None,
                include=["documents", "metadatas", "distances", "embeddings"],
            )
        ids = tuple(result["ids"][0])
        if not ids:
            return Candidates()
        raw = np.asarray(result["embeddings"][0], dtype=np.float64).reshape(len(ids), -1)
        rows = unit(raw)
        if shift is None:
            relevance = 1.0 - np.asarray(result["distances"][0], dtype=np.float64) / (2.0 if space == "l2" else 1.0)
        elif space == "l2":
            gap = raw - query
            relevance = 1.0 - np.einsum("nd,nd->n", gap, gap) / 2.0
        else:
            relevance = dots(rows if space == "cosine" else raw, direction)
        texts = tuple(text or "" for text in result["documents"][0])
        return Candidates(ids, texts, tuple(facts or {} for facts in result["metadatas"][0]), rows, relevance)

    def sample(self, n: int, filter: Any = None) -> Vector:
        """The first documents that pass a filter, or without one four stretches: the first may be all of one kind."""
        collection, where = self.collection, filter or None
        count = n if where else collection.count()
        starts = [0] if count <= n else [0, count // 4, count // 2, count * 3 // 4]
        limit = max(min(count, n) // len(starts), 1)
        found = [collection.get(where=where, limit=limit, offset=at, include=["embeddings"]) for at in starts]
        rows = [np.asarray(some["embeddings"], dtype=np.float64) for some in found if len(some["ids"])]
        return unit(np.concatenate(rows)) if rows else _NO_ROWS

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        """By id, a thousand at a time."""
        found: dict[str, Vector] = {}
        for start in range(0, len(ids), 1_000):
            page = self.collection.get(ids=list(ids[start : start + 1_000]), include=["embeddings"])
            found |= zip(page["ids"], unit(page["embeddings"]), strict=True)
        return found

    def _fold_scale(self, space: str) -> float:
        """`1 / ‖e‖` for a typical stored vector: 1 in cosine, measured once on ten vectors elsewhere."""
        if space == "cosine":
            return 1.0
        if self._length is None:
            rows = np.asarray(self.collection.peek(10)["embeddings"], dtype=np.float64)
            if not rows.size:
                return 1.0  # empty as yet: measured again when it is not
            self._length = float(np.linalg.norm(rows, axis=-1).mean())
            if abs(self._length - 1.0) > 1e-2:
                logger.warning(
                    "This %s collection holds vectors that are not of length 1. Relevance is on their scale, and the "
                    "bonus may do little beside it; normalise the embeddings or use a cosine collection",
                    space,
                )
        return 1.0 if abs(self._length - 1.0) < 1e-3 or self._length == 0.0 else 1.0 / self._length


class TextVectors:
    """Unit embeddings of documents by their texts; each text is embedded once and kept in this process."""

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings
        self._kept: dict[int, Vector] = {}

    def of(self, documents: Sequence[Document]) -> Vector:
        """The vectors of some documents, shape (n, d)."""
        kept, texts = self._kept, [document.page_content for document in documents]
        new = [text for text in dict.fromkeys(texts) if hash(text) not in kept]
        if new:
            kept.update(zip(map(hash, new), unit(self.embeddings.embed_documents(new)), strict=True))
        if len(kept) > TEXTS:
            self._kept = {}  # whoever holds the old one goes on with it
        return np.stack([kept[hash(text)] for text in texts]) if texts else _NO_ROWS


def measure(documents: Sequence[Document], query: Vector, vectors_of: Callable[..., Vector]) -> Candidates:
    """Candidates with the cosine to the query as relevance; without vectors, and a WARNING, where these fail."""
    rows, relevance = np.zeros((len(documents), 0)), np.zeros(len(documents))
    try:
        if documents:
            rows = vectors_of(documents)
            relevance = dots(rows, unit(query))
    except Exception as error:
        warn_of(logger, "What was found cannot be scored: its texts could not be embedded", error)
    texts, facts = tuple(one.page_content for one in documents), tuple(one.metadata for one in documents)
    return Candidates(tuple(map(_id_of, documents)), texts, facts, rows, relevance)


class VectorStoreSource(Source):
    """Any store with `similarity_search_by_vector`: FAISS, Qdrant, pgvector and others.

    Such a store returns documents without their vectors, so each text is embedded when it is found for the first time;
    `InMemoryVectorStore` gives its own. How deep a query may look without changing its first results is not known: a
    user without feedback is shown what a query for exactly `k` finds, and a second one reads what stands behind it.
    """

    def __init__(self, vectorstore: Any, embeddings: Embeddings) -> None:
        self.embeddings, self._vectorstore = embeddings, vectorstore
        exact = isinstance(vectorstore, InMemoryVectorStore)
        self.name, self.depth = type(vectorstore).__name__, sys.maxsize if exact else 0
        self._vectors_of = self._stored_vectors if exact else TextVectors(embeddings).of
        # FAISS filters what it has found, by default the nearest 20
        self._filters_late = isinstance(getattr(getattr(vectorstore, "index", None), "ntotal", None), int)

    def search(self, query: Vector, k: int, *, filter: Any = None, shift: Vector | None = None) -> Candidates:
        """One query of the store."""
        with _mismatch_in_words(self._vectorstore, query.size):
            found = self._nearest(_move(query, shift), k, filter)
        return measure(found, query, self._vectors_of)

    async def asearch(self, query: Vector, k: int, *, filter: Any = None, shift: Vector | None = None) -> Candidates:
        """Async twin of `search`, by the store's own async form."""
        own = _is_searched(self._vectorstore, "a") and not self._filters_late
        if not own or isinstance(self._vectorstore, InMemoryVectorStore):  # its async form computes in the event loop
            return await super().asearch(query, k, filter=filter, shift=shift)
        with _mismatch_in_words(self._vectorstore, query.size):
            try:
                search = self._vectorstore.asimilarity_search_by_vector
                found = await search(_move(query, shift), **_options(k, filter))
            except (AssertionError, NotImplementedError):  # so does pgvector where it was made for synchronous use
                return await super().asearch(query, k, filter=filter, shift=shift)
        return await acall(lambda: measure(found, query, self._vectors_of))

    def sample(self, n: int, filter: Any = None) -> Vector:
        """The 16 nearest documents to each of four random directions: such a store cannot be listed."""
        size = len(self.embeddings.embed_query("dimension"))
        some = [self._nearest(query.tolist(), 16, filter) for query in np.random.default_rng(0).normal(size=(4, size))]
        found = {(doc.id, doc.page_content): doc for documents in some for doc in documents}
        return self._vectors_of(list(found.values())[:n])

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        """For stores that give documents by id."""
        found = self._vectorstore.get_by_ids(list(ids))
        return dict(zip(map(_id_of, found), self._vectors_of(found), strict=True))

    def _nearest(self, query: list[float], k: int, filter: Any) -> list[Document]:
        search = self._vectorstore.similarity_search_by_vector
        if not (filter and self._filters_late):
            return list(search(query, **_options(k, filter)))
        fetch, size = 50 * k, max(self._vectorstore.index.ntotal, 1)
        while len(found := search(query, k=k, filter=filter, fetch_k=min(fetch, size))) < k and fetch < size:
            fetch *= 8
        return list(found)

    def _stored_vectors(self, documents: Sequence[Document]) -> Vector:
        entries = self._vectorstore.store
        return unit([entries[str(doc.id)]["vector"] for doc in documents]) if documents else _NO_ROWS


def _options(k: int, filter: Any) -> dict[str, Any]:
    return {"k": k, "filter": filter} if filter else {"k": k}


def _is_searched(vectorstore: VectorStore, prefix: str = "") -> bool:
    """Whether a store has its own search by vector; the one that it inherits raises."""
    name = f"{prefix}similarity_search_by_vector"
    return getattr(type(vectorstore), name) is not getattr(VectorStore, name)


def _move(query: Vector, shift: Vector | None) -> list[float]:
    """The query that finds the personalised neighbours, as long as the given one, for stores that do not normalise."""
    moved: list[float] = (query if shift is None else np.linalg.norm(query) * (unit(query) + shift)).tolist()
    return moved


@contextmanager
def _mismatch_in_words(store: Any, size: int) -> Iterator[None]:
    """Say in plain words what stores report in many ways: that the query has another length than their vectors."""
    try:
        yield
    except Exception as error:
        held = _dimension_of(store)
        if held == size or (held is None and "dim" not in str(error).lower()):
            raise
        raise DimensionMismatchError(
            f"the embedding model gives vectors of {size} numbers, the {type(store).__name__} holds {held or 'others'} "
            f"({error!r}); use the model that filled it, or fill a new one"
        ) from error


def _dimension_of(store: Any) -> int | None:
    if isinstance(store, InMemoryVectorStore):
        return next((len(entry["vector"]) for entry in store.store.values()), None)
    size = getattr(getattr(store, "index", None), "d", None)  # FAISS
    return size if isinstance(size, int) else None


class CardSource(Source):
    """The active cards of one user ("" has none), read once and scored exactly."""

    name = "cards"

    def __init__(self, memory: PersonaMemory, user: str = "") -> None:
        self.embeddings = memory.embedder.model
        self._memory, self._user = memory, user
        self._cards: CardSet | None = None

    def search(self, query: Vector, k: int, *, filter: Any = None, shift: Vector | None = None) -> Candidates:
        """A filter compares fields of the cards for equality, such as `{"kind": "dislike"}`."""
        cards, rows = self._passing(filter)
        if not cards:
            return Candidates()
        folded = unit(query) if shift is None else unit(query) + shift
        order = np.argsort(-dots(rows, folded), kind="stable")[:k]
        found = [cards[place] for place in order]
        facts = tuple({name: getattr(card, name) for name in _SHOWN} for card in found)
        ids, texts = tuple(card.id for card in found), tuple(card.text for card in found)
        return Candidates(ids, texts, facts, rows[order], dots(rows[order], unit(query)))

    def sample(self, n: int, filter: Any = None) -> Vector:
        """The first cards that pass a filter."""
        return self._passing(filter)[1][:n]

    def _passing(self, filter: Mapping[str, Any] | None) -> tuple[Sequence[PreferenceCard], Vector]:
        """The cards that pass a filter, and their vectors, shape (n, d)."""
        wanted, fields = dict(filter or {}), PreferenceCard.model_fields
        for name, value in wanted.items():
            if name not in fields or isinstance(value, Mapping | list):
                given = f"got {name!r}: {value!r}; their fields are {sorted(fields)}"
                raise ConfigError(f"cards are filtered by fields that are equal, such as {{'kind': 'fact'}}, {given}")
        if self._cards is None:
            self._cards = self._memory.cards.embedded(self._user) if self._user else CardSet()
        cards, rows = self._cards.active, self._cards.vectors
        if not wanted:
            return cards, rows
        fits = [all(getattr(card, name) == value for name, value in wanted.items()) for card in cards]
        return [card for card, fit in zip(cards, fits, strict=True) if fit], rows[fits]


def source_of(vectorstore: Any, embeddings: Embeddings | None = None) -> Source:
    """The source for a LangChain `VectorStore`, a `chromadb.Collection`, or an object with the `Source` protocol.

    Anything else is a `ConfigError` that says what to write. Nothing is asked of the store.
    """
    if isinstance(vectorstore, Source):
        return vectorstore
    kind, is_store = type(vectorstore).__name__, isinstance(vectorstore, VectorStore)
    collection: Any = getattr(vectorstore, "_collection", None) if is_store else vectorstore
    is_chroma = callable(getattr(collection, "query", None)) and hasattr(collection, "configuration_json")
    if not is_store and not is_chroma:
        raise ConfigError(
            "vectorstore must be a LangChain VectorStore (Chroma, FAISS, InMemoryVectorStore, ...) or a chromadb "
            f"Collection, got {kind}; for the user's own preference cards write memory.as_retriever(), and behind "
            "another retriever put PersonalizedCompressor"
        )
    if is_chroma and inspect.iscoroutinefunction(collection.query):
        raise ConfigError(
            "an async Chroma collection cannot be used; pass the sync one, such as "
            "chromadb.HttpClient(...).get_collection(name): the async calls of the retriever run it in a thread"
        )
    if is_store and not is_chroma and not (_is_searched(vectorstore) or _is_searched(vectorstore, "a")):
        raise ConfigError(
            f"a {kind} cannot be searched by vector: it has no similarity_search_by_vector; put PersonalizedCompressor "
            "behind vectorstore.as_retriever(), or write a Source of your own"
        )
    if getattr(getattr(vectorstore, "retrieval_mode", None), "value", "dense") != "dense":
        raise ConfigError(
            f"a {kind} in sparse or hybrid mode is not one nearest-neighbour query; put PersonalizedCompressor behind "
            "vectorstore.as_retriever()"
        )
    model = vectorstore.embeddings if embeddings is None and is_store else embeddings
    if not isinstance(model, Embeddings):
        raise ConfigError(
            f"a {kind} needs the model that made its vectors: VARSRetriever(vectorstore=..., embeddings=model, "
            f"memory=memory); got embeddings={model!r}"
        )
    return ChromaSource(vectorstore, model) if is_chroma else VectorStoreSource(vectorstore, model)
