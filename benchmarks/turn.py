"""What the persona loop adds to a turn ahead of the model call, side by side with the same graph without it.

    python -m benchmarks.turn [--cards 1000] [--turns 200] [--json FILE] [--readme FILE]

Time runs from `invoke` to the moment the chat model is called. The message's embedding is looked up, for it is not
counted; a line with the local model's says what it takes. Every pair is measured in turns in one process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.config import Settings
from langchain_core.embeddings import Embeddings
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from rich.console import Console
from rich.progress import Progress

from benchmarks.report import write_block
from benchmarks.speed import DIMENSION, Lookup, Row, fill, sqlite_store, synthetic, table
from langchain_persona import LocalEmbeddings, PersonaMemory, PreferenceCard
from langchain_persona.graph import create_persona_graph
from langchain_persona.identity import PersonaContext, label
from langchain_persona.loop import PersonaInput, PersonaState
from langchain_persona.nodes import add_act
from langchain_persona.testing import ScriptedChatModel

USER = "ana"


class Clocked:
    """A chat model that notes when it is called, and how often."""

    def __init__(self) -> None:
        self.called: list[float] = []
        self.model = ScriptedChatModel(self._answer)

    def _answer(self, messages: list[Any]) -> str:
        self.called.append(time.perf_counter())
        return "A short answer."


def memory_of(store: BaseStore, count: int, embeddings: Embeddings, client: Any) -> PersonaMemory:
    """A memory in which one user has this many conditional cards."""
    collection = client.create_collection(f"turn-{time.time_ns()}", metadata={"hnsw:space": "cosine"})
    memory = PersonaMemory(store=store, cards=collection, embeddings=embeddings)
    vectors = synthetic(count)
    cards = [PreferenceCard(id=f"c{index}", note=f"card {index}") for index in range(count)]

    def row(index: int) -> dict[str, Any]:
        facts = {"user_id": label(USER), "digest": memory.cards.digest(cards[index], DIMENSION)}
        return {"ids": f"{label(USER)}/c=c{index}", "metadatas": facts}

    with Progress(transient=True) as progress:
        fill(collection, vectors, row, progress, "cards")
    store.batch([memory.cards._put_op(USER, card) for card in cards])
    return memory


def bare(model: Any) -> Any:
    """The same graph without us: the act node alone."""
    graph = StateGraph(PersonaState, PersonaContext, input_schema=PersonaInput)
    add_act(graph, model, memory_tools=False)
    graph.add_edge(START, "act")
    return graph.compile(checkpointer=InMemorySaver())


def ahead(clock: Clocked, graph: Any, turns: int, message: Callable[[int], str], *, other: Any, others: Clocked) -> Any:
    """Median milliseconds ahead of the model call: of the graph, and of the other, in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 10):
        for side, (runs, watch) in enumerate(((graph, clock), (other, others))):
            config = {"configurable": {"thread_id": f"t{turn // 10}"}}
            start = time.perf_counter()
            runs.invoke({"messages": [("user", message(turn))]}, config, context={"user_id": USER})
            if turn >= 10:  # the first read of a process fills the caches
                times[side].append(1e3 * (watch.called[-1] - start))
    return [statistics.median(side) for side in times]


def measure(count: int, turns: int) -> list[Row]:
    """All pairs."""
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    rows = []
    real = LocalEmbeddings()
    with tempfile.TemporaryDirectory() as folder:
        for name, store in (("SQLite", sqlite_store(folder)), ("memory", InMemoryStore())):
            ours, theirs = Clocked(), Clocked()
            memory = memory_of(store, count, Lookup(synthetic(count)), client)
            graph = create_persona_graph(
                ours.model, memory=memory, extractor="rules", writer=None, reconciler=None, min_relevance=0.0,
                memory_tools=False,
            ).compile(checkpointer=InMemorySaver())  # fmt: skip
            plain = bare(theirs.model)

            def question(turn: int) -> str:
                return f"What about number {turn}"

            def thanks(turn: int) -> str:
                return f"Thanks! And what about number {turn}"

            for what, message in (("a question", question), ("thanks and a question", thanks)):
                mine, other = ahead(ours, graph, turns, message, other=plain, others=theirs)
                rows.append(Row(f"{what}, {name} store: to the model call", mine, "ms", "without us", other))
                added = mine - other
                rows.append(Row("added", added, "ms", aim="≤ 5 ms", met=added <= 5.0))
            assert len(ours.called) == 2 * (turns + 10), "a model was called ahead of the answer"
    texts = [f"What about number {index}, tonight, with friends?" for index in range(30)]
    spent = []
    for text in texts:
        start = time.perf_counter()
        real.embed_query(text)
        spent.append(1e3 * (time.perf_counter() - start))
    rows.append(Row("embedding a message with the local model, not counted above", float(np.median(spent)), "ms"))
    return rows


def markdown(rows: Sequence[Row], count: int, turns: int) -> str:
    """For the README."""
    head = (
        f"One user with {count:,} cards, a checkpointer in memory, medians of {turns} turns of one run, 2 shared cores."
    )
    lines = [head, "", "| what | median | beside | median | aim |", "| --- | ---: | --- | ---: | --- |"]
    for row in rows:
        value, other, _ = row.cells()
        aim = row.aim + {None: "", True: " ✓", False: " **missed**"}[row.met]
        lines.append(f"| {row.what} | {value} | {row.beside} | {other} | {aim} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cards", type=int, default=1_000, help="preference cards of the user")
    parser.add_argument("--turns", type=int, default=200, help="turns for each pair")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--readme", type=Path, help="write the table between the bench-turn markers of this page")
    options = parser.parse_args(arguments)
    rows = measure(options.cards, options.turns)
    Console().print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    if options.readme:
        write_block(options.readme, "bench-turn", markdown(rows, options.cards, options.turns))


if __name__ == "__main__":
    main()
