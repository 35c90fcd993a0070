"""What growth costs: one user with very much, and a store with very many users.

    python -m benchmarks.users [--ratings 20000] [--cards 10000] [--users 1000000] [--json FILE] [--readme FILE]

Of one user with many ratings and cards each call is timed once, on SQLite. Of many users the operations on the store
are counted, and the records that they return: the store is a dictionary in which all but ten users are copies of these.
An operation that a store can answer only by looking through several users is counted as a scan.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.base import BaseStore, GetOp, Item, ListNamespacesOp, Op, PutOp, Result, SearchItem, SearchOp
from langgraph.store.memory import InMemoryStore
from rich.progress import Progress

from benchmarks.rows import Row, arguments_of, publish
from benchmarks.speed import Lookup, synthetic
from langchain_persona import PersonaMemory, PreferenceCard, VARSRetriever, create_persona_graph
from langchain_persona.identity import label
from langchain_persona.memory.ledger import _new_entry_id
from langchain_persona.memory.local import open_store
from langchain_persona.memory.store import chunks
from langchain_persona.testing import ScriptedChatModel

__all__ = ["Population"]

TEMPLATES, RATINGS, CARDS, TURNS = 10, 20, 20, 3
CALLERS = 300
"""Users who call at each size, more than a process keeps in mind."""

GROWING = ("feedback", "keys", "cards", "checkpoints")
"""What the ledger and the cards take."""

LIMITED = ("retrievals", "episodes", "past", "pending")
"""What goes after a time to live."""

Place, Times = tuple[str, ...], tuple[float, float]


class Population(BaseStore):
    """A store of many users, of whom many share their records until they write, that counts what it is asked."""

    supports_ttl = True

    def __init__(self) -> None:
        self.users: dict[str, dict[Place, dict[str, Any]]] = {}
        self.shared: set[str] = set()
        self.counts: Counter[str] = Counter()

    def copy(self, name: str, other: str) -> None:
        """Let another user have the records of one."""
        self.users[other] = self.users[name]
        self.shared |= {name, other}

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """See `BaseStore`; the second label of a namespace is the user."""
        self.counts["batches"] += 1
        return [self._answer(op) for op in ops]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Async twin of `batch`."""
        return self.batch(ops)

    def _answer(self, op: Op) -> Result:
        self.counts["operations"] += 1
        if isinstance(op, PutOp):
            self._put(op.namespace[1], op.namespace[2:], op.key, op.value)
            return None
        if isinstance(op, GetOp):
            found = [one for one in self._records(op.namespace) if one[:2] == (op.namespace, op.key)]
            return Item(value=found[0][2], key=op.key, namespace=op.namespace, **_times()) if found else None
        if isinstance(op, SearchOp):
            page = list(self._records(op.namespace_prefix))[op.offset : op.offset + op.limit]
            self.counts["records"] += len(page)
            return [SearchItem(place, key, value, **_times()) for place, key, value in page]
        assert isinstance(op, ListNamespacesOp)
        ((_, path),) = ((one.match_type, tuple(one.path)) for one in op.match_conditions or ())
        names = sorted({place[: op.max_depth] for place, *_ in self._records(path)})
        return names[op.offset : op.offset + op.limit]

    def _records(self, prefix: Place) -> Iterator[tuple[Place, str, Any]]:
        name = prefix[1] if len(prefix) > 1 else "*"
        self.counts["scans"] += name == "*"
        for rest, part in self.users.get(name, {}).items():
            place = (*prefix[:2], *rest)
            if place[: len(prefix)] == prefix:
                yield from ((place, key, value) for key, value in part.items())

    def _put(self, name: str, rest: Place, key: str, value: Any) -> None:
        if name in self.shared:
            self.users[name] = {place: dict(part) for place, part in self.users[name].items()}
            self.shared.discard(name)
        part = self.users.setdefault(name, {}).setdefault(rest, {})
        part.pop(key, None)
        if value is not None:
            part[key] = value

    def kilobytes(self, name: str, parts: Sequence[str], *, others: bool = False) -> float:
        """JSON of some parts of a user, or of all others, in KB."""
        kept = (part for rest, part in self.users[name].items() if (rest[0] in parts) is not others)
        return sum(len(key) + len(json.dumps(value)) for part in kept for key, value in part.items()) / 1024


def _times() -> dict[str, datetime]:
    now = datetime.now(UTC)
    return {"created_at": now, "updated_at": now}


def many_users(sizes: Sequence[int], progress: Progress) -> list[Row]:
    """Operations of each call, and bytes, in stores of some sizes."""
    store, model = Population(), Lookup(synthetic(1_000))
    films = InMemoryVectorStore.from_texts([f"film {number}" for number in range(200)], model)
    rows, calls = list[Row](), dict[str, list[tuple[int, int, int, int]]]()
    memory = PersonaMemory(store, model)
    for number in range(TEMPLATES):
        live(memory, films, f"template {number}")
    for size in sizes:
        task = progress.add_task(f"{size:,} users", total=CALLERS)
        for number in range(len(store.users) - TEMPLATES, size - TEMPLATES):
            store.copy(label(f"template {number % TEMPLATES}"), label(f"user {number}"))
        memory = PersonaMemory(store, model)
        retriever, graph = VARSRetriever(vectorstore=films, memory=memory, k=4), turn_graph(memory, films)
        sums: dict[str, Counter[str]] = {}
        for caller in range(CALLERS):
            user = f"user {size - TEMPLATES - 1 - caller}"  # nobody who has called before
            for what, call in calls_of(retriever, graph, user).items():
                store.counts.clear()
                call()
                sums.setdefault(what, Counter()).update(store.counts)
            progress.advance(task)
        for what, one in sums.items():
            mean = tuple(round(one[name] / CALLERS, 1) for name in ("batches", "operations", "records", "scans"))
            calls.setdefault(what, []).append(mean)
    for what, means in calls.items():
        first, last = means[0], means[-1]
        # one more where the hour has changed meanwhile
        same = all(abs(one - two) <= 1.5 for one, two in zip(first, last, strict=True))
        told = f"{last[0]:g} batches, {last[1]:g} operations, {last[2]:g} records found, {last[3]:g} scans"
        rows.append(Row(f"{what}: {told}", last[1], "", f"with {sizes[0]:,} users", first[1], "the same, no scan",
                        same and last[3] == 0))  # fmt: skip
    kept = max(len(cache._kept) for cache in memory._store.caches)
    rows.append(
        Row(f"users whom a process keeps in mind, after {CALLERS} called", kept, "", aim="≤ 128", met=kept <= 128)
    )
    return [*rows, *bytes_a_user(store, f"{sizes[-1]:,}")]


def live(memory: PersonaMemory, films: InMemoryVectorStore, user: str) -> None:
    """What a user does who is then copied: ratings, cards and turns."""
    rate_long_ago(memory, films, user, RATINGS)
    memory.rebuild(user)
    for number in range(CARDS):
        memory.remember(user, PreferenceCard(text=f"I like films about {user} {number}", kind="like"))
    graph = turn_graph(memory, films)
    for number in range(TURNS):
        say(graph, user, f"What about film {number}?")


def rate_long_ago(memory: PersonaMemory, films: InMemoryVectorStore, user: str, number: int) -> list[str]:
    """So many ratings over the past year; returns their ids, newest first."""
    scratch = PersonaMemory(InMemoryStore())
    retriever = VARSRetriever(vectorstore=films, memory=scratch, k=10)
    retriever.feedback(retriever.invoke("query 1", user_id=user)[0], 1.0, user_id=user)
    (entry,) = scratch.ledger.entries(user)
    times = [time.time() - 3e7 * (place + 1) / number for place in range(number)]
    given = [
        entry.model_copy(update={"id": _new_entry_id(moment), "time": moment, "reward": (-1.0) ** place})
        for place, moment in enumerate(times)
    ]
    for some in chunks(given):
        memory.ledger.append(user, some)
    return [one.id for one in given]


def calls_of(retriever: VARSRetriever, graph: Any, user: str) -> dict[str, Callable[[], Any]]:
    """The calls of one user, in order."""
    memory = retriever.memory
    shown: list[Any] = []
    return {
        "first retrieval of a process": lambda: shown.extend(retriever.invoke("query 1", user_id=user)),
        "retrieval": lambda: retriever.invoke("query 2", user_id=user),
        "feedback": lambda: retriever.feedback(shown[0], 1.0, user_id=user),
        "retrieval after feedback": lambda: retriever.invoke("query 3", user_id=user),
        "remember": lambda: memory.remember(user, "I like films about number 7"),
        "turn": lambda: say(graph, user, "What about film 5?"),
        "withdraw": lambda: memory.withdraw(user, memory.ratings(user)[0].id),
        "preferences": lambda: memory.preferences(user),
    }


def turn_graph(memory: PersonaMemory, films: InMemoryVectorStore, asked: list[Times] | None = None) -> Any:
    """A graph with documents and everything that needs no model; `asked` gets the times of the calls of the model."""
    retriever, times = VARSRetriever(vectorstore=films, memory=memory, k=4), [] if asked is None else asked
    model = ScriptedChatModel(lambda messages: times.append(clocks()) or "Here is one.")
    graph = create_persona_graph(model, memory=memory, retriever=retriever, reflection="verbatim", reflect="inline")
    return graph.compile(checkpointer=InMemorySaver())


def clocks() -> Times:
    """Seconds: of a clock, and those in which a processor worked for this process."""
    return time.perf_counter(), time.process_time()


def say(graph: Any, user: str, text: str) -> None:
    """One turn of a conversation of its own."""
    thread: Any = {"configurable": {"thread_id": f"{user} {text}"}}
    graph.invoke({"messages": [("user", text)]}, thread, context={"user_id": user})


def bytes_a_user(store: Population, users: str) -> list[Row]:
    """What is kept of a user: what the ledger and the cards take, what expires, and the rest."""
    name = label("template 0")
    rest = store.kilobytes(name, (*GROWING, *LIMITED), others=True)
    retrievals = sum(len(part) for place, part in store.users[name].items() if place[0] == "retrievals")
    return [
        Row(f"kept of each of {users}, beside ledger, cards and what expires", rest, "KB", aim="≤ 8 KB", met=rest <= 8),
        Row(f"ledger and cards: {RATINGS} ratings, {CARDS} cards", store.kilobytes(name, GROWING), "KB"),
        Row("one retrieval, until it expires", store.kilobytes(name, ["retrievals"]) / retrievals, "KB"),
        Row("one turn, until it expires", store.kilobytes(name, ["episodes", "past", "pending"]) / TURNS, "KB"),
    ]


def one_user(ratings: int, cards: int, progress: Progress) -> list[Row]:
    """Each call of one user with so many ratings over a year, and so many cards, on SQLite."""
    rows = list[Row]()
    model = Lookup(synthetic(max(cards, 1_000)))
    films = InMemoryVectorStore.from_texts([f"film {number}" for number in range(200)], model)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as resources:
        store = open_store(folder, resources)
        memory, other = (PersonaMemory(store, model, timeout_seconds=60.0) for _ in range(2))
        retriever, others = (VARSRetriever(vectorstore=films, memory=one, k=4) for one in (memory, other))
        asked = list[Times]()

        def take(what: str, call: Callable[[], Any], aim: float = 1_000.0) -> None:
            asked.clear()
            start = clocks()
            call()
            spent, busy = ((end - begin) * 1e3 for end, begin in zip((asked or [clocks()])[0], start, strict=True))
            rows.append(Row(what, spent, "ms", "time of the processor", busy, f"≤ {aim:,.0f} ms", spent <= aim))

        given = rate_long_ago(memory, films, "ana", ratings)
        shown = retriever.invoke("query 1", user_id="ana", session_id="t1")
        take(f"rebuild, {ratings:,} ratings", lambda: memory.rebuild("ana"))
        take("list of all ratings", lambda: memory.ratings("ana"))
        take("explanation", lambda: memory.explain("ana"))
        for what, place in (("100th newest", 100), ("middle", ratings // 2), ("oldest", -1)):
            take(f"withdrawal of the {what}", lambda place=place: memory.withdraw("ana", given[place]))
            take("a retrieval after it", lambda: retriever.invoke("query 2", user_id="ana", session_id="t1"), 50.0)
        take("a thumb", lambda: retriever.feedback(shown[1], 1.0, user_id="ana"))
        take("a retrieval after it", lambda: retriever.invoke("query 3", user_id="ana", session_id="t1"), 50.0)
        take("first retrieval of another process", lambda: others.invoke("query 3", user_id="ana"), 50.0)

        made = [
            PreferenceCard(id=f"c{i}", text=f"card {i}", kind=("like", "dislike", "fact")[i % 3]) for i in range(cards)
        ]
        vectors = {card.text: row for card, row in zip(made, model.rows, strict=False)}
        for some in progress.track(list(chunks(made)), description=f"{cards:,} cards"):
            store.batch(memory.cards.write_ops("bob", memory.cards.with_vectors(some, vectors)))
        take(f"first read of {cards:,} cards", lambda: memory.preferences("bob"))
        for where, one in (("", memory), (", in another process", other)):
            graph = turn_graph(one, films, asked)
            take(f"a first turn to the model call{where}", lambda graph=graph: say(graph, "bob", "Film 1?"))
            take(f"a turn to the model call{where}", lambda graph=graph: say(graph, "bob", "Film 2?"), 50.0)
            take("a new card", lambda: memory.remember("bob", f"I like card {len(rows)}"))
            take(f"the next turn to the model call{where}", lambda graph=graph: say(graph, "bob", "Film 3?"), 50.0)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = arguments_of(__doc__, "bench-users")
    parser.add_argument("--ratings", type=int, default=20_000, help="of the one user (default 20,000)")
    parser.add_argument("--cards", type=int, default=10_000, help="of the one user (default 10,000)")
    parser.add_argument("--users", type=int, default=1_000_000, help="in the store (default 1,000,000)")
    options = parser.parse_args(arguments)
    sizes = [size for size in (1_000, 10_000, 100_000) if size < options.users] + [options.users]
    if min(options.ratings, options.cards) < 200 or options.users < 1_000:
        parser.error("at least 200 ratings and cards and 1,000 users")
    with Progress(transient=True) as progress:
        rows = [*one_user(options.ratings, options.cards, progress), *many_users(sizes, progress)]
    head = f"One user on SQLite, each call timed once; then {options.users:,} users in a store that counts."
    publish(rows, options, title="What growth costs", head=head, block="bench-users")


if __name__ == "__main__":
    main()
