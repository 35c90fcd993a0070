"""A user's own memories among everybody's: ours beside what else remembers for LangChain agents.

    python -m benchmarks.peers [--sizes 10000/100 100000/1000 100000/10] [--seconds 3] [--json FILE] [--readme FILE]

Each size is rows/users. All search the same vectors for the ten that are nearest to a message, of one user at a time,
and embeddings are looked up. First one caller, then 8 and 50 threads for so many seconds. What is not installed is left
out, with a line. `make bench-peers` installs all in an environment of its own.
"""

from __future__ import annotations

import gc
import json
import os
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings
from langchain_chroma import Chroma
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore
from rich.console import Console
from rich.progress import Progress

from benchmarks.report import write_block
from benchmarks.rows import arguments_of
from benchmarks.speed import DIMENSION, Lookup, fill, synthetic
from langchain_persona import PersonaMemory, PreferenceCard
from langchain_persona.memory.local import open_store
from langchain_persona.testing import ScriptedChatModel

__all__ = ["Figures", "measure"]

K, POOL = 10, 64
OURS, FILTERED = "langchain-persona", "langchain-chroma, where filter"

Search = Callable[[str, str], Sequence[str]]
"""Texts of the memories that are nearest to a message, of a user."""


@dataclass
class Peer:
    """What remembers: how it searches, how it learns one thing more of a user, and the memory that it takes."""

    name: str
    search: Search
    add: Callable[[str, str], object]
    megabytes: float


@dataclass(frozen=True)
class Figures:
    """What was measured of a peer: milliseconds of one caller, calls a second of several, and their milliseconds."""

    name: str
    p50: float
    p95: float
    eight: float
    fifty: float
    fifty_p50: float
    fifty_p95: float
    add: float
    megabytes: float
    own: float  # share of what was found that belongs to the user


class Corpus:
    """Vectors, each of which is a memory of one user."""

    def __init__(self, rows: int, users: int) -> None:
        self.vectors, self.share = synthetic(rows), rows // users
        self.names = [f"user{number}" for number in range(users)]
        self.model = Lookup(self.vectors)

    def owner(self, row: int) -> str:
        """Whose a memory is."""
        return self.names[min(row // self.share, len(self.names) - 1)]

    def text(self, row: int) -> str:
        """What a memory says."""
        return f"{self.owner(row)} said {row}"


def chroma_peers(corpus: Corpus, progress: Progress) -> list[Peer]:
    """Everything that searches one collection of Chroma."""
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    name, before = f"peers-{uuid.uuid4().hex}", resident_megabytes()
    collection = client.create_collection(name, metadata={"hnsw:space": "cosine"}, embedding_function=None)

    def document(row: int) -> dict[str, Any]:
        text, owner = corpus.text(row), corpus.owner(row)
        return {"ids": f"d{row}", "documents": text, "metadatas": {"user_id": owner, "data": text}}

    fill(collection, corpus.vectors, document, progress, "Chroma")
    took = resident_megabytes() - before
    plain = Chroma(client=client, collection_name=name, embedding_function=corpus.model)
    taste = np.random.default_rng(5).normal(size=DIMENSION) * 0.01

    def mmr(user: str, text: str) -> list[str]:
        kwargs = {"k": K, "filter": {"user_id": user}}
        found = plain.as_retriever(search_type="mmr", search_kwargs=kwargs).invoke(text)
        return [one.page_content for one in found]

    def reference(user: str, text: str) -> list[str]:
        """`s = ⟨q, e⟩ + ⟨z, e⟩` over the 64 nearest of the user."""
        query = corpus.model.embed_query(text)
        include: Any = ["documents", "embeddings", "distances"]
        found = collection.query(query_embeddings=[query], n_results=POOL, where={"user_id": user}, include=include)
        rows, texts, distances = ((found[part] or [[]])[0] for part in ("embeddings", "documents", "distances"))
        scores = 1.0 - np.asarray(distances) + np.asarray(rows) @ taste
        return [texts[place] for place in np.argsort(-scores)[:K]]

    def learn(user: str, text: str) -> None:
        rows = np.asarray(collection.query(query_embeddings=[corpus.model.embed_query(text)], n_results=POOL,
                                           include=["embeddings"])["embeddings"])[0]  # fmt: skip
        np.add(taste, 0.01 * (rows[0] - rows.mean(axis=0)), out=taste)

    def add(user: str, text: str) -> None:
        plain.add_texts([text], metadatas=[{"user_id": user, "data": text}])

    def filtered(user: str, text: str) -> list[str]:
        return [one.page_content for one in plain.similarity_search(text, K, {"user_id": user})]

    def anybody(user: str, text: str) -> list[str]:
        return [one.page_content for one in plain.similarity_search(text, K)]

    peers = [
        Peer("langchain-chroma, no filter", anybody, add, took),
        Peer(FILTERED, filtered, add, took),
        Peer("langchain-chroma, MMR, where filter", mmr, add, took),
        Peer("VARS formula over 64, where filter", reference, learn, took),
    ]
    if find_spec("mem0") is not None:
        peers.append(mem0_peer(corpus, collection, took))
    return peers


def mem0_peer(corpus: Corpus, collection: Any, took: float) -> Peer:
    """mem0 on the same collection; it adds without a model call."""
    folder = tempfile.mkdtemp(prefix="mem0-")
    os.environ |= {"MEM0_TELEMETRY": "False", "MEM0_DIR": folder}  # read at its import
    from mem0 import Memory

    model = {"provider": "langchain", "config": {"model": ScriptedChatModel(lambda messages: "{}")}}
    memory = Memory.from_config({
        "vector_store": {"provider": "chroma", "config": {"collection_name": "unused", "path": f"{folder}/chroma"}},
        "embedder": {"provider": "langchain", "config": {"model": corpus.model}},
        "llm": model,
        "history_db_path": f"{folder}/history.db",
    })  # fmt: skip
    memory.vector_store.collection = collection

    def search(user: str, text: str) -> list[str]:
        found = memory.search(text, top_k=K, filters={"user_id": user}, threshold=0.0)
        return [one["memory"] for one in found["results"]]

    return Peer("mem0 on Chroma", search, lambda user, text: memory.add(text, user_id=user, infer=False), took)


def langgraph_peers(corpus: Corpus, progress: Progress) -> list[Peer]:
    """LangGraph's store with an index, and LangMem's tool over it."""
    before = resident_megabytes()
    store = InMemoryStore(index={"dims": DIMENSION, "embed": corpus.model, "fields": ["text"]})
    places = range(len(corpus.vectors))
    for start in progress.track(places[::1_000], description="InMemoryStore"):
        store.batch([
            PutOp(("memories", corpus.owner(row)), f"d{row}", {"text": corpus.text(row)})
            for row in places[start : start + 1_000]
        ])  # fmt: skip
    took = resident_megabytes() - before

    def search(user: str, text: str) -> list[str]:
        return [item.value["text"] for item in store.search(("memories", user), query=text, limit=K)]

    def add(user: str, text: str) -> None:
        store.put(("memories", user), uuid.uuid4().hex, {"text": text})

    peers = [Peer("InMemoryStore.search", search, add, took)]
    if find_spec("langmem") is not None:
        from langmem import create_search_memory_tool

        tool = create_search_memory_tool(("memories", "{user_id}"), store=store)

        def ask(user: str, text: str) -> list[str]:
            found = tool.invoke({"query": text, "limit": K}, {"configurable": {"user_id": user}})
            return [item["value"]["text"] for item in json.loads(found)]

        peers.append(Peer("LangMem's search tool", ask, add, took))
    return peers


def our_peer(corpus: Corpus, resources: ExitStack, progress: Progress) -> Peer:
    """Our cards on SQLite; what is added is a rating."""
    before = resident_megabytes()
    store = open_store(resources.enter_context(tempfile.TemporaryDirectory()), resources)
    memory = PersonaMemory(store, corpus.model)
    places = range(len(corpus.vectors))
    for start in progress.track(places[:: corpus.share], description="cards"):
        rows = places[start : start + corpus.share]
        cards = [PreferenceCard(id=f"d{row}", text=corpus.text(row)) for row in rows]
        made = memory.cards.with_vectors(
            cards, dict(zip((card.text for card in cards), corpus.vectors[rows], strict=True))
        )
        for some in (made[place : place + 1_000] for place in range(0, len(made), 1_000)):
            store.batch(memory.cards.write_ops(corpus.owner(start), some))
    retriever = memory.as_retriever(k=K)

    def search(user: str, text: str) -> list[str]:
        return [one.page_content for one in retriever.invoke(text, user_id=user)]

    shown = {name: retriever.invoke("query 1", user_id=name)[0] for name in corpus.names[:50]}
    took = max(resident_megabytes() - before, 0.0)  # with the cards of fifty users; the rest lies on disk

    def rate(user: str, text: str) -> None:
        retriever.feedback(shown[user], 1.0, user_id=user)

    return Peer(OURS, search, rate, took)


def measure(peer: Peer, corpus: Corpus, seconds: float, calls: int) -> Figures:
    """One caller, then 8 and 50 threads; the callers are fifty users who have called before."""
    rng, names = random.Random(3), corpus.names[:50]
    found = [(name, text) for name in names for text in peer.search(name, "query 1")]
    own = sum(text.startswith(f"{name} ") for name, text in found) / max(len(found), 1)

    def once(_: int = 0) -> float:
        user, text = rng.choice(names), f"query {rng.randrange(len(corpus.vectors))}"
        start = time.perf_counter()
        peer.search(user, text)
        return (time.perf_counter() - start) * 1e3

    alone = [once() for _ in range(calls)]
    eight, _ = together(once, 8, seconds)
    fifty, times = together(once, 50, seconds)
    starts = list[float]()
    for number in range(20):
        start = time.perf_counter()
        peer.add(names[number % len(names)], f"{names[number % len(names)]} said {number}")
        starts.append((time.perf_counter() - start) * 1e3)
    (p50, p95), (fifty_p50, fifty_p95) = percentiles(alone), percentiles(times)
    add = statistics.median(starts)
    return Figures(peer.name, p50, p95, eight, fifty, fifty_p50, fifty_p95, add, peer.megabytes, own)


def percentiles(times: Sequence[float]) -> tuple[float, float]:
    """Median, and what 95 of 100 stay below."""
    return statistics.median(times), sorted(times)[int(0.95 * (len(times) - 1))]


def together(once: Callable[[], float], threads: int, seconds: float) -> tuple[float, list[float]]:
    """Calls a second of so many threads, and the milliseconds of each call."""
    end = time.perf_counter() + seconds

    def work(_: int) -> list[float]:
        times = list[float]()
        while time.perf_counter() < end:
            times.append(once())
        return times

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        times = [one for some in pool.map(work, range(threads)) for one in some]
    return len(times) / (time.perf_counter() - start), times


def compare(rows: int, users: int, seconds: float, calls: int) -> list[Figures]:
    """All peers on one corpus, ours first."""
    corpus = Corpus(rows, users)
    with ExitStack() as resources, Progress(transient=True) as progress:
        found = [measure(our_peer(corpus, resources, progress), corpus, seconds, calls)]
        for family in (langgraph_peers, chroma_peers):
            gc.collect()
            for peer in family(corpus, progress):
                progress.print(f"{rows:,} / {users:,}: {peer.name}")
                found.append(measure(peer, corpus, seconds, calls))
    return found


def resident_megabytes() -> float:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def left_out() -> list[str]:
    """A line for each peer that is not installed."""
    return [f"{name} is not installed: left out." for name in ("langmem", "mem0") if find_spec(name) is None]


def markdown(results: dict[str, list[Figures]]) -> str:
    """For a page: a table a size; in brackets how many times ours it takes, or the share of ours."""
    lines = list[str]()
    for size, (ours, *others) in results.items():
        lines += [
            f"{size}:",
            "",
            "| | one caller, p50 | p95 | 8 callers: calls a second | 50 callers | p95 / p50 | one more | memory |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for one in (ours, *others):
            times = "" if one is ours else f" ({one.p50 / ours.p50:.1f} ×)"
            shares = [
                "" if one is ours else f" (1/{mine / max(its, 1e-9):.1f})"
                for mine, its in ((ours.eight, one.eight), (ours.fifty, one.fifty))
            ]
            cells = [
                one.name + ("" if one.own > 0.999 else f", {one.own:.0%} of what it finds is the user's"),
                f"{one.p50:.2f} ms{times}",
                f"{one.p95:.2f} ms",
                f"{one.eight:,.0f}{shares[0]}",
                f"{one.fifty:,.0f}{shares[1]}",
                f"{one.fifty_p95 / one.fifty_p50:.1f}",
                f"{one.add:.2f} ms",
                f"{one.megabytes:,.0f} MB",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    packages = ("chromadb", "langchain-chroma", "langgraph", "langmem", "mem0ai")
    pinned = ", ".join(
        f"{name} {version(name)}" for name in packages if find_spec(name.replace("-", "_").removesuffix("ai"))
    )
    return "\n".join([*lines, *left_out(), f"{pinned}. On {os.cpu_count()} shared cores."])


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = arguments_of(__doc__, "bench-peers")
    sizes = ["10000/100", "100000/1000", "100000/10"]
    parser.add_argument("--sizes", nargs="+", default=sizes, help="rows/users, one or several")
    parser.add_argument("--seconds", type=float, default=3.0, help="of 8 and of 50 threads each (default 3)")
    parser.add_argument("--calls", type=int, default=60, help="of one caller (default 60)")
    options = parser.parse_args(arguments)
    results = dict[str, list[Figures]]()
    for size in options.sizes:
        rows, users = map(int, size.split("/"))
        # a process of its own: memory that was given back is not counted as taken again
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            found = pool.submit(compare, rows, users, options.seconds, options.calls).result()
        results[f"{rows:,} memories of {users:,} users"] = found
    text = markdown(results)
    Console(width=200).print(text, markup=False, highlight=False)
    if options.json:
        plain = {size: [asdict(one) for one in found] for size, found in results.items()}
        options.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    if options.readme:
        write_block(options.readme, "bench-peers", text)


if __name__ == "__main__":
    main()
