"""What personalisation costs, side by side with plain Chroma in one run.

    python -m benchmarks.speed [--rows 100000] [--json FILE] [--readme FILE]

Vectors are synthetic (200 clusters). Queries are timed twice: as users call them, the query embedded by the local
model, and with the embedding looked up, which leaves the retrieval alone.
Every pair is measured in turns in one process; figures are medians, and what counts is their ratio.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings
from langchain_chroma import Chroma
from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from rich.progress import Progress

from benchmarks.rows import Row, arguments_of, medians, publish
from langchain_persona import LocalEmbeddings, PersonaMemory, PreferenceCard, VARSRetriever
from langchain_persona.memory.embedder import embedding_name
from langchain_persona.memory.local import open_store

DIMENSION = 384
CARDS_A_USER = 100


class Lookup(Embeddings):
    """Embeddings that know the vectors already: the last number in a text is that of the row."""

    model = "lookup"

    def __init__(self, rows: np.ndarray, model: Embeddings | None = None) -> None:
        self.rows, self.inner = rows, model

    def embed_query(self, text: str) -> list[float]:
        """The vector of one row; with a model, after the time that this takes on the text."""
        if self.inner is not None:
            self.inner.embed_query(text)
        numbers = re.findall(r"\d+", text)
        return self.rows[int(numbers[-1]) if numbers else 0].tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of some rows."""
        return [self.embed_query(text) for text in texts]


def synthetic(rows: int, seed: int = 0) -> np.ndarray:
    """Unit vectors around 200 centres, shape (rows, 384), float32."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(200, DIMENSION))
    vectors = centres[rng.integers(0, 200, rows)] + 0.7 * rng.normal(size=(rows, DIMENSION))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def fill(
    collection: Any, vectors: np.ndarray, make: Callable[[int], dict[str, Any]], progress: Progress, what: str
) -> None:
    """Put vectors into a collection, 5,000 at a time."""
    task = progress.add_task(what, total=len(vectors))
    for start in range(0, len(vectors), 5_000):
        chunk = range(start, min(start + 5_000, len(vectors)))
        facts = [make(index) for index in chunk]
        columns = {name: [fact[name] for fact in facts] for name in facts[0]}
        collection.add(embeddings=vectors[chunk.start : chunk.stop], **columns)
        progress.advance(task, len(chunk))


def shared_corpus(client: Any, vectors: np.ndarray, stores: Mapping[str, BaseStore], progress: Progress) -> list[Row]:
    """Personalised against plain search over one corpus for all; a feedback; the size of a state."""
    name = f"corpus-{uuid.uuid4().hex}"
    collection = client.create_collection(name, metadata={"hnsw:space": "cosine"}, embedding_function=None)

    def document(index: int) -> dict[str, Any]:
        return {"ids": f"d{index}", "documents": f"document {index}", "metadatas": {"part": index % 10}}

    fill(collection, vectors, document, progress, "shared corpus")
    plain = Chroma(client=client, collection_name=name, embedding_function=Lookup(vectors))
    queries = [str(number) for number in np.random.default_rng(1).integers(0, len(vectors), 1_000)]
    real = Chroma(client=client, collection_name=name, embedding_function=Lookup(vectors, LocalEmbeddings()))
    rows, size = [], 0.0
    for store_name, store in stores.items():
        memory = PersonaMemory(store)
        rows += [*as_called(store_name, memory, real, queries), *one_store(store_name, memory, plain, queries)]
        folded = memory.ledger.fold("ana", embedding_name(Lookup(vectors), DIMENSION), DIMENSION)
        size = len(json.dumps(folded.state.to_json())) / 1024
    client.delete_collection(name)
    return [*rows, Row("the stored state of one user", size, "KB", aim="≤ 8 KB", met=size <= 8.0)]


def as_called(name: str, memory: PersonaMemory, real: Chroma, queries: Sequence[str]) -> list[Row]:
    """Personalised against plain with the query embedded by a model, as a user calls them."""
    retriever = VARSRetriever(vectorstore=real, memory=memory, k=10)
    texts = [f"a film about two old friends who meet again {query}" for query in queries]
    rate(retriever, "eva", texts)
    ours, plain = medians(
        lambda turn: retriever.invoke(texts[turn], user_id="eva", session_id="t1"),
        lambda turn: real.similarity_search(texts[turn], k=10),
    )
    what = f"personalised, k = 10, {name} store, query embedded"
    return [Row(what, ours, "ms", "similarity_search", plain, "≤ 1.2 ×", ours / plain <= 1.2)]


def one_store(name: str, memory: PersonaMemory, plain: Chroma, queries: Sequence[str]) -> list[Row]:
    """Personalised, cold and fresh retrievals and a feedback over one kind of store."""
    retriever = VARSRetriever(vectorstore=plain, memory=memory, k=10)
    bare = plain.as_retriever(search_kwargs={"k": 10})

    def search(turn: int) -> object:
        return plain.similarity_search(queries[turn], k=10)

    rate(retriever, "ana", queries)
    warm, beside, beside_retriever = medians(
        lambda turn: retriever.invoke(queries[turn], user_id="ana", session_id="t1"),
        search,
        lambda turn: bare.invoke(queries[turn]),
    )
    cold, beside_cold = medians(lambda turn: retriever.invoke(queries[turn], user_id=f"new{turn}"), search)
    given = [
        retriever.invoke(queries[turn], user_id="bob")[0].metadata["persona"]["retrieval_id"] for turn in range(60)
    ]
    (feedback,) = medians(lambda turn: memory.feedback("bob", given[turn], reward=(-1.0) ** turn), repeats=50)
    return [
        Row(f"the same, {name} store, embedding looked up", warm, "ms", "similarity_search", beside, "≤ 1.45 ×",
            warm / beside <= 1.45),
        Row("", warm, "ms", "as_retriever().invoke", beside_retriever),
        Row(f"for a new user, {name} store", cold, "ms", "similarity_search", beside_cold),
        *(after_a_thumb(name, memory, retriever, queries, size) for size in (100, 1_000, 5_000)),
        Row(f"one feedback, {name} store", feedback, "ms", aim="≤ 5 ms", met=feedback <= 5.0),
    ]  # fmt: skip


def rate(retriever: VARSRetriever, user: str, queries: Sequence[str]) -> None:
    """Twenty thumbs, up and down in turns."""
    for turn in range(20):
        documents = retriever.invoke(queries[turn], user_id=user, session_id="t1")
        retriever.feedback(documents[turn % 10], 1.0 if turn % 2 else -1.0, user_id=user)


def after_a_thumb(name: str, memory: PersonaMemory, retriever: VARSRetriever, queries: Sequence[str], size: int) -> Row:
    """The first retrieval after a thumb against the next one, of a user who gave so many thumbs over a year before."""
    user = f"fan{size}"
    documents = retriever.invoke(queries[0], user_id=user, session_id="t1")
    retriever.feedback(documents[0], 1.0, user_id=user)
    (entry,) = memory.ledger.entries(user)
    now = time.time()
    entries = [
        entry.model_copy(update={"id": f"f{i}", "time": now - 3e7 * (i + 1) / size, "reward": (-1.0) ** i})
        for i in range(size)
    ]
    for start in range(0, size, 500):
        memory.ledger.append(user, entries[start : start + 500])
    memory.rebuild(user)

    _, after, ordinary = medians(
        lambda turn: retriever.feedback(documents[turn % 10], 1.0, user_id=user),
        lambda turn: retriever.invoke(queries[turn], user_id=user, session_id="t1"),
        lambda turn: retriever.invoke(queries[turn + 100], user_id=user, session_id="t1"),
        repeats=40,
    )
    what = f"right after a thumb, {size:,} in the ledger, {name} store"
    return Row(what, after, "ms", "an ordinary call", ordinary, "≤ 1.3 ×", after / ordinary <= 1.3)


def own_cards(client: Any, vectors: np.ndarray, store: BaseStore, progress: Progress) -> list[Row]:
    """A user's own 100 cards among those of all users, against a filtered query of a Chroma collection of them all."""
    collection = client.create_collection(
        f"cards-{uuid.uuid4().hex}", metadata={"hnsw:space": "cosine"}, embedding_function=None
    )
    owners = [f"user{index // CARDS_A_USER}" for index in range(len(vectors))]

    def record(index: int) -> dict[str, Any]:
        return {"ids": f"c{index}", "metadatas": {"user_id": owners[index]}}

    fill(collection, vectors, record, progress, "cards in Chroma")
    memory = PersonaMemory(store, Lookup(vectors))
    task = progress.add_task("cards in the store", total=len(vectors))
    for start in range(0, len(vectors), CARDS_A_USER):
        rows = vectors[start : start + CARDS_A_USER]
        cards = [PreferenceCard(id=f"c{start + i}", text=f"card {start + i}") for i in range(len(rows))]
        made = memory.cards.with_vectors(cards, {card.text: row for card, row in zip(cards, rows, strict=True)})
        store.batch(memory.cards.write_ops(owners[start], made))
        progress.advance(task, len(cards))
    retriever = PersonaMemory(store, Lookup(vectors)).as_retriever(k=10)
    start_time = time.perf_counter()
    found = retriever.invoke("query 150", user_id="user1")
    first = (time.perf_counter() - start_time) * 1e3
    assert len(found) == 10, "the cards were not found"

    def filtered(turn: int) -> object:
        return collection.query(query_embeddings=[vectors[turn]], n_results=10, where={"user_id": "user1"})

    ours, theirs = medians(lambda turn: retriever.invoke(f"query {turn}", user_id="user1"), filtered, repeats=40)
    client.delete_collection(collection.name)
    what, beside = f"a user's own {CARDS_A_USER} cards among {len(vectors):,}", "Chroma's filtered query"
    return [
        Row(what, ours, "ms", beside, theirs, "≤ 1/80", ours <= theirs / 80),
        Row("the same, first read of this process", first, "ms", beside, theirs),
    ]


def threads() -> list[Row]:
    """A matrix-vector product as NumPy does it (BLAS, all cores) and as we do (one thread)."""
    rows, query = synthetic(10_000).astype(np.float64), synthetic(1)[0].astype(np.float64)
    single, blas = medians(lambda _: np.einsum("nd,d->n", rows, query), lambda _: rows @ query)
    return [Row("10,000 × 384 product on one thread", single, "ms", "BLAS on its own threads", blas)]


def import_time(repeats: int = 5) -> list[Row]:
    """Seconds that `import langchain_persona` takes on top of `langchain_core`."""

    def milliseconds(code: str) -> float:
        before = "import time, langchain_core.documents, langchain_core.runnables; t = time.perf_counter()"
        script = [sys.executable, "-c", f"{before}; {code}; print(time.perf_counter() - t)"]
        runs = [subprocess.run(script, capture_output=True, text=True, check=True) for _ in range(repeats)]
        return 1e3 * statistics.median(float(run.stdout) for run in runs)

    bare = milliseconds("import langchain_persona")
    return [
        Row("import langchain_persona, on top of langchain_core", bare, "ms", aim="≤ 300 ms", met=bare <= 300.0),
        Row(
            "the same and PersonaMemory",
            milliseconds("from langchain_persona import LocalEmbeddings, PersonaMemory"),
            "ms",
        ),
        Row(
            "import langgraph's store and runtime alone",
            milliseconds("import langgraph.store.base, langgraph.runtime"),
            "ms",
        ),
    ]


def measure(rows: int) -> list[Row]:
    """All of it."""
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    vectors = synthetic(rows)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_stores, Progress(transient=True) as progress:
        stores = {"memory": InMemoryStore(), "SQLite": open_store(f"{folder}/ledger", open_stores)}
        return [
            *import_time(),
            *threads(),
            *shared_corpus(client, vectors, stores, progress),
            *own_cards(client, vectors, open_store(f"{folder}/cards", open_stores), progress),
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = arguments_of(__doc__, "bench-speed")
    parser.add_argument("--rows", type=int, default=100_000, help="size of the corpus (default 100,000)")
    options = parser.parse_args(arguments)
    if options.rows < 1_000:
        parser.error("--rows must be at least 1,000")
    head = f"Medians of one run over {options.rows:,} vectors of {DIMENSION} numbers."
    publish(measure(options.rows), options, title="What personalisation costs", head=head, block="bench-speed")


if __name__ == "__main__":
    main()
