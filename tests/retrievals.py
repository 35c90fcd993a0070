"""Collections, memories and readings for the tests of retrieval."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import chromadb
import numpy as np
import pytest
from blockbuster import blockbuster_ctx
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from langchain_persona.learning import PreferenceSpace, UserVectors, VARSConfig
from langchain_persona.memory import PersonaMemory
from langchain_persona.records import Retrieval
from langchain_persona.retrieval import VARSRetriever
from langchain_persona.testing import HashEmbeddings

T = TypeVar("T")

D = 16
MODEL = HashEmbeddings(D)
WORDS = ["sea", "sun", "rain", "snow", "wind", "fog", "ice", "fire", "dust", "moon"]
TEXTS = {f"d{number:02}": f"film number {number} {WORDS[number % 10]}" for number in range(20)}
VECTORS = dict(zip(TEXTS, np.asarray(MODEL.embed_documents(list(TEXTS.values()))), strict=True))
QUERY = "a film of the sea"

FREE = VARSConfig(spread=1e6)
"""A bonus as strong as its cap, however little relevance varies."""


class Given(Embeddings):
    """Embeds every query as one given vector."""

    def __init__(self, vector: np.ndarray) -> None:
        self.vector = vector

    def embed_query(self, text: str) -> list[float]:
        return self.vector.tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise AssertionError("the documents of a Chroma collection are not embedded by a retriever")


class Known(PersonaMemory):
    """Knows one pair of vectors of every user."""

    def know(self, long: np.ndarray, short: np.ndarray | None = None, count: int = 1) -> Known:
        space = PreferenceSpace.identity(len(long))
        self.known = UserVectors(long, np.zeros_like(long) if short is None else short, count=count, space=space)
        return self

    def user_vectors(self, user: str, session: str, embedding: str, dimension: int) -> UserVectors:
        return self.known


def liking(name: str, size: float = 5.0, **options: Any) -> Known:
    """A memory in which every user likes one film very much."""
    return Known(InMemoryStore(), **options).know(size * VECTORS[name])


def create(space: str = "cosine", **rows: Any) -> chromadb.Collection:
    collection = chromadb.EphemeralClient().create_collection(
        f"t{uuid.uuid4().hex}", configuration={"hnsw": {"space": space}}, embedding_function=None
    )
    if rows:
        collection.add(**rows)
    return collection


def films(space: str = "cosine") -> chromadb.Collection:
    return create(
        space,
        ids=list(TEXTS),
        documents=list(TEXTS.values()),
        embeddings=[row.tolist() for row in VECTORS.values()],
        metadatas=[{"number": number, "even": number % 2 == 0} for number in range(len(TEXTS))],
    )


def over(
    vectorstore: Any, memory: PersonaMemory | None = None, embeddings: Any = MODEL, **options: Any
) -> VARSRetriever:
    memory = PersonaMemory(InMemoryStore()) if memory is None else memory
    return VARSRetriever(vectorstore=vectorstore, embeddings=embeddings, memory=memory, **options)


def run(call: Callable[[], Awaitable[T]]) -> T:
    """What an async call gives, on an event loop that no code of ours may block."""

    async def watched() -> T:
        with blockbuster_ctx("langchain_persona"):
            return await call()

    return asyncio.run(watched())


def found(retriever: VARSRetriever, mode: str, query: str = QUERY, **options: Any) -> list[Document]:
    """What a retriever finds, by its sync or its async form."""
    if mode == "async":
        return run(lambda: retriever.ainvoke(query, **options))
    return retriever.invoke(query, **options)


def ids(docs: list[Document]) -> list[str]:
    return [str(doc.id) for doc in docs]


def why(docs: list[Document]) -> list[dict[str, Any]]:
    return [doc.metadata["persona"] for doc in docs]


def scores(docs: list[Document]) -> list[dict[str, Any]]:
    """What each document says, but for the name of the retrieval."""
    return [{name: value for name, value in fact.items() if name != "retrieval_id"} for fact in why(docs)]


def plain(collection: chromadb.Collection, query: Any, k: int, **options: Any) -> list[str]:
    return collection.query(query_embeddings=[np.asarray(query, dtype=np.float32)], n_results=k, **options)["ids"][0]


def record(retriever: VARSRetriever, docs: list[Document]) -> Retrieval:
    """The stored record of a retrieval."""
    wanted = why(docs)[0]["retrieval_id"]
    values = [item.value for item in retriever.memory.store.search(("persona",), limit=10_000)]
    return Retrieval.model_validate(next(value for value in values if value.get("id") == wanted))


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def vector(number: int, d: int = D) -> np.ndarray:
    made = np.random.default_rng(number).normal(size=d)
    return made / np.linalg.norm(made)


class Wrapped:
    """A collection of which some methods are replaced."""

    def __init__(self, collection: chromadb.Collection, **methods: Any) -> None:
        self.collection = collection
        vars(self).update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.collection, name)


class FailingStore(BaseStore):
    """Hands on to another store; the batch of one number fails, or every one from there on."""

    def __init__(self, store: BaseStore | None = None, at: int = 0, *, for_good: bool = False) -> None:
        self.store, self.count, self.at, self.for_good = store or InMemoryStore(), 0, at, for_good

    def batch(self, ops: Any) -> Any:
        self.count += 1
        if self.at and (self.count == self.at or (self.for_good and self.count > self.at)):
            raise ConnectionError(f"the store is gone at its operation {self.count}")
        return self.store.batch(list(ops))

    async def abatch(self, ops: Any) -> Any:
        return self.batch(ops)
