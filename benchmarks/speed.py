"""What personalisation costs, side by side with plain Chroma in one run.

    python -m benchmarks.speed [--rows 100000] [--json FILE] [--readme FILE]

Vectors are synthetic (200 clusters). Queries are timed twice: as users call them, the query embedded by the local
model, and with the embedding looked up, which leaves the retrieval alone.
Every pair is measured in turns in one process; figures are medians, and what counts is their ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.report import write_block
from langchain_persona import LocalEmbeddings, PersonaMemory, PreferenceCard, VARSRetriever
from langchain_persona.effects import run
from langchain_persona.identity import label

DIMENSION = 384
CARDS_A_USER = 100
REPEATS = 200


@dataclass(frozen=True)
class Row:
    """One line of the result: what, its median, beside what, that one's median, the ratio, the aim."""

    what: str
    value: float
    unit: str
    beside: str = ""
    other: float | None = None
    aim: str = ""
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        """This one's median over the other's."""
        return None if self.other is None else self.value / self.other

    def cells(self) -> tuple[str, str, str]:
        """The figures as text: its own, the other's, their ratio."""
        if self.other is None or self.ratio is None:
            return f"{self.value:.2f} {self.unit}", "", ""
        ratio = f"1/{1 / self.ratio:.0f}" if self.ratio < 0.1 else f"{self.ratio:.2f} ×"
        return f"{self.value:.2f} {self.unit}", f"{self.other:.2f} {self.unit}", ratio


class Lookup(Embeddings):
    """Embeddings that know the vectors already: the last word of a text is the row's number."""

    model = "lookup"

    def __init__(self, rows: np.ndarray, model: Embeddings | None = None) -> None:
        self.rows, self.inner = rows, model

    def embed_query(self, text: str) -> list[float]:
        """The vector of one row; with a model, after the time that this takes on the text."""
        if self.inner is not None:
            self.inner.embed_query(text)
        return self.rows[int(text.rsplit(" ", 1)[-1])].tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of some rows."""
        return [self.embed_query(text) for text in texts]


def synthetic(rows: int, seed: int = 0) -> np.ndarray:
    """Unit vectors around 200 centres, shape (rows, 384), float32."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(200, DIMENSION))
    vectors = centres[rng.integers(0, 200, rows)] + 0.7 * rng.normal(size=(rows, DIMENSION))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def medians(*calls: Callable[[int], Any], repeats: int | None = None) -> list[float]:
    """Median milliseconds of each call, measured in turns so that noise hits all alike."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range((REPEATS if repeats is None else repeats) + 10):
        for call, kept in zip(calls, times, strict=True):
            start = time.perf_counter()
            call(turn)
            if turn >= 10:
                kept.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(kept) for kept in times]


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


def sqlite_store(folder: str) -> SqliteStore:
    """A SQLite store in a file, as `PersonaMemory.local` opens one."""
    file = Path(folder) / f"{uuid.uuid4().hex}.db"
    connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
    store = SqliteStore(connection)
    store.setup()
    return store


def shared_corpus(client: Any, vectors: np.ndarray, folder: str, progress: Progress) -> list[Row]:
    """Personalised against plain search over one corpus for all; a feedback; the size of a state."""
    name = f"corpus-{uuid.uuid4().hex}"
    collection = client.create_collection(name, metadata={"hnsw:space": "cosine"}, embedding_function=None)

    def document(index: int) -> dict[str, Any]:
        return {"ids": f"d{index}", "documents": f"document {index}", "metadatas": {"part": index % 10}}

    fill(collection, vectors, document, progress, "shared corpus")
    plain = Chroma(client=client, collection_name=name, embedding_function=Lookup(vectors))
    queries = [str(number) for number in np.random.default_rng(1).integers(0, len(vectors), 1_000)]
    real = Chroma(client=client, collection_name=name, embedding_function=Lookup(vectors, LocalEmbeddings()))
    rows = []
    for store_name, store in (("memory", InMemoryStore()), ("SQLite", sqlite_store(folder))):
        memory = PersonaMemory(store=store)
        rows += [*as_called(store_name, memory, real, queries), *one_store(store_name, memory, plain, queries)]
        state = run(memory.ledger.fold("ana", "Lookup/lookup/384", memory.space_for(DIMENSION))).state
    size = len(json.dumps(state.to_json())) / 1024
    client.delete_collection(name)
    return [*rows, Row("the stored state of one user", size, "KB", aim="≤ 8 KB", met=size <= 8.0)]


def as_called(name: str, memory: PersonaMemory, real: Chroma, queries: Sequence[str]) -> list[Row]:
    """Personalised against plain with the query embedded by a model, as a user calls them."""
    retriever = VARSRetriever(vectorstore=real, memory=memory, k=10)
    texts = [f"a film about two old friends who meet again {query}" for query in queries]
    for turn in range(20):
        documents = retriever.invoke(texts[turn], user_id="eva", session_id="t1")
        retriever.feedback(documents[turn % 10], 1.0 if turn % 2 else -1.0, user_id="eva")
    ours, plain = medians(
        lambda turn: retriever.invoke(texts[turn], user_id="eva", session_id="t1"),
        lambda turn: real.similarity_search(texts[turn], k=10),
    )
    what = f"personalised, k = 10, {name} store, query embedded"
    return [Row(what, ours, "ms", "similarity_search", plain, "≤ 1.3 ×", ours / plain <= 1.3)]


def one_store(name: str, memory: PersonaMemory, plain: Chroma, queries: Sequence[str]) -> list[Row]:
    """Personalised, cold and fresh retrievals and a feedback over one kind of store."""
    retriever = VARSRetriever(vectorstore=plain, memory=memory, k=10)
    bare = plain.as_retriever(search_kwargs={"k": 10})

    def search(turn: int) -> object:
        return plain.similarity_search(queries[turn], k=10)

    def personalised(turn: int) -> list[Document]:
        return retriever.invoke(queries[turn], user_id="ana", session_id="t1")

    for turn in range(20):
        retriever.feedback(personalised(turn)[turn % 10], 1.0 if turn % 2 else -1.0, user_id="ana")
    warm, beside, beside_retriever = medians(personalised, search, lambda turn: bare.invoke(queries[turn]))
    cold, beside_cold = medians(lambda turn: retriever.invoke(queries[turn], user_id=f"new{turn}"), search)
    given = [
        retriever.invoke(queries[turn], user_id="bob")[0].metadata["persona"]["retrieval_id"] for turn in range(60)
    ]
    (feedback,) = medians(lambda turn: memory.feedback("bob", given[turn], reward=(-1.0) ** turn), repeats=50)
    fresh = after_a_thumb(memory, retriever, queries)
    what = f"the same, {name} store, embedding looked up"
    return [
        Row(what, warm, "ms", "similarity_search", beside, "≤ 1.3 ×", warm / beside <= 1.3),
        Row("", warm, "ms", "as_retriever().invoke", beside_retriever),
        Row(f"for a new user, {name} store", cold, "ms", "similarity_search", beside_cold),
        *(Row(f"right after a thumb, {size:,} in the ledger, {name} store", value, "ms") for size, value in fresh),
        Row(f"one feedback, {name} store", feedback, "ms", aim="≤ 5 ms", met=feedback <= 5.0),
    ]


def after_a_thumb(memory: PersonaMemory, retriever: VARSRetriever, queries: Sequence[str]) -> list[tuple[int, float]]:
    """Median milliseconds of the first retrieval after a thumb, by the number of thumbs given over a year before."""
    found = []
    for size in (100, 1_000, 5_000):
        user = f"fan{size}"
        documents = retriever.invoke(queries[0], user_id=user, session_id="t1")
        retriever.feedback(documents[0], 1.0, user_id=user)
        (entry,), _ = run(memory.ledger.entries(user))
        now = time.time()
        ops = [
            memory.ledger.entry_op(
                user,
                entry.model_copy(update={"id": f"f{i}", "time": now - 3e7 * (i + 1) / size, "reward": (-1.0) ** i}),
            )
            for i in range(size)
        ]
        for start in range(0, size, 500):
            memory.store.batch(ops[start : start + 500])
        memory.rebuild(user)
        times = []
        for turn in range(1, 21):
            retriever.feedback(documents[turn % 10], 1.0, user_id=user)
            begin = time.perf_counter()
            retriever.invoke(queries[turn], user_id=user, session_id="t1")
            times.append((time.perf_counter() - begin) * 1e3)
        found.append((size, statistics.median(times)))
    return found


def own_cards(client: Any, vectors: np.ndarray, folder: str, progress: Progress) -> list[Row]:
    """A user's own 100 cards among those of all users, against Chroma's filtered query."""
    collection = client.create_collection(
        f"cards-{uuid.uuid4().hex}", metadata={"hnsw:space": "cosine"}, embedding_function=None
    )
    store = sqlite_store(folder)
    memory = PersonaMemory(store=store, cards=collection, embeddings=Lookup(vectors))
    cards = [PreferenceCard(id=f"c{index}", note=f"card {index}") for index in range(len(vectors))]
    owners = [label(f"user{index // CARDS_A_USER}") for index in range(len(vectors))]

    def vector(index: int) -> dict[str, Any]:
        facts = {"user_id": owners[index], "digest": memory.cards.digest(cards[index], DIMENSION)}
        return {"ids": f"{owners[index]}/c=c{index}", "metadatas": facts}

    fill(collection, vectors, vector, progress, "cards, vectors")
    task = progress.add_task("cards, texts", total=len(cards))
    for start in range(0, len(cards), 500):
        chunk = range(start, min(start + 500, len(cards)))
        store.batch([PutOp(("persona", owners[i], "cards"), f"c=c{i}", cards[i].to_json(), index=False) for i in chunk])
        progress.advance(task, len(chunk))
    retriever = memory.as_retriever(k=10)
    start = time.perf_counter()
    found = retriever.invoke("query 150", user_id="user1")
    first = (time.perf_counter() - start) * 1e3
    assert len(found) == 10, "the cards were not found"

    def filtered(turn: int) -> object:
        return collection.query(query_embeddings=[vectors[turn]], n_results=10, where={"user_id": owners[150]})

    ours, theirs = medians(lambda turn: retriever.invoke(f"query {turn}", user_id="user1"), filtered, repeats=40)
    client.delete_collection(collection.name)
    what, beside = f"a user's own {CARDS_A_USER} cards among {len(vectors):,}", "Chroma's filtered query"
    met = ours <= 2.0 and ours <= theirs / 40
    return [
        Row(what, ours, "ms", beside, theirs, "≤ 2 ms and ≤ 1/40", met),
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
    with tempfile.TemporaryDirectory() as folder, Progress(transient=True) as progress:
        return [
            *import_time(),
            *threads(),
            *shared_corpus(client, vectors, folder, progress),
            *own_cards(client, vectors, folder, progress),
        ]


def table(rows: Sequence[Row]) -> Table:
    """For a terminal."""
    view = Table(title="What personalisation costs (medians of one run)")
    for column in ("what", "median", "beside", "median", "ratio", "aim", "met"):
        view.add_column(column, justify="left" if column in ("what", "beside", "aim") else "right")
    for row in rows:
        value, other, ratio = row.cells()
        view.add_row(row.what, value, row.beside, other, ratio, row.aim, {None: "", True: "yes", False: "NO"}[row.met])
    return view


def markdown(rows: Sequence[Row], corpus: int) -> str:
    """For a page."""
    lines = [
        f"Medians of one run over {corpus:,} vectors of {DIMENSION} numbers on {os.cpu_count()} shared cores. Ratios"
        " travel between machines, times do not.",
        "",
        "| what | median | beside | median | ratio | aim |",
        "| --- | ---: | --- | ---: | ---: | --- |",
    ]
    for row in rows:
        value, other, ratio = row.cells()
        aim = row.aim if row.met is None else f"{row.aim} {'✓' if row.met else '**missed**'}"
        lines.append(f"| {row.what} | {value} | {row.beside} | {other} | {ratio} | {aim} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="size of the corpus (default 100,000)")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--readme", type=Path, help="write the table between the bench-speed markers of this page")
    options = parser.parse_args(arguments)
    if options.rows < 1_000:
        parser.error("--rows must be at least 1,000")
    rows = measure(options.rows)
    Console(width=150).print(table(rows))
    if options.json:
        result = [{**asdict(row), "ratio": row.ratio} for row in rows]
        document = {"rows": options.rows, "python": platform.python_version(), "result": result}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.readme:
        write_block(options.readme, "bench-speed", markdown(rows, options.rows))


if __name__ == "__main__":
    main()
