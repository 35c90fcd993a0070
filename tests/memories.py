"""Stores, a clock, and what a user did, for the tests of what is remembered."""

from __future__ import annotations

import asyncio
import logging
import time as real_time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from langgraph.store.base import BaseStore, Op, PutOp, Result, SearchItem
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore
from langgraph.store.postgres.aio import AsyncPostgresStore
from langgraph.store.sqlite import SqliteStore
from langgraph.store.sqlite.aio import AsyncSqliteStore

from langchain_persona.identity import label
from langchain_persona.learning import HALF, Event, LearnerState, PreferenceSpace, VARSConfig, encode_vectors, fold
from langchain_persona.learning.arrays import decode_vectors
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.embedder import embedding_name
from langchain_persona.records import Retrieval
from langchain_persona.testing import HashEmbeddings

D = 8
MODEL = HashEmbeddings(D)
NAME = embedding_name(MODEL, D)
WORDS = ["horses", "rockets", "roses", "guns", "pots", "ships"]
TEXTS = {f"d{number}": f"film about {word}" for number, word in enumerate(WORDS)}
VECTORS = {name: np.asarray(MODEL.embed_query(text)) for name, text in TEXTS.items()}
HOUR, DAY = 3_600.0, 86_400.0
FOREVER = 1_000 * DAY


class Twins:
    """Calls `name` in a worker thread or awaits `aname`: one test for both."""

    def __init__(self, target: Any, mode: str) -> None:
        self._target, self._mode = target, mode

    def __getattr__(self, name: str) -> Any:
        if self._mode == "async":
            return getattr(self._target, f"a{name}")

        async def call(*arguments: Any, **options: Any) -> Any:
            return await asyncio.to_thread(getattr(self._target, name), *arguments, **options)

        return call


class Clock:
    """The time of the modules of `memory`; it goes on when told, and `skew` makes it another machine's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.skew = real_time.time(), 0.0
        for module in ("ledger", "memory", "cards", "episodes", "persona", "migration"):
            monkeypatch.setattr(f"langchain_persona.memory.{module}.time", SimpleNamespace(time=self.time))

    def time(self) -> float:
        self.now += 1e-4  # no two moments alike
        return self.now + self.skew


class Watched(BaseStore):
    """Hands on to another store; what `before` and `after` do with a batch, such as failing, is up to the test."""

    supports_ttl = False

    def __init__(self, store: BaseStore | None = None) -> None:
        self.store = InMemoryStore() if store is None else store
        self.batches: list[list[Op]] = []
        self.before: Callable[[list[Op]], object] = lambda ops: None
        self.after: Callable[[list[Op], list[Result]], object] = lambda ops, results: None

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        ops = list(ops)
        self.batches.append(ops)
        self.before(ops)
        results = self.store.batch(ops)
        self.after(ops, results)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return self.batch(ops)


def writes(ops: Sequence[Op], part: str) -> bool:
    """True when one of the operations writes below a namespace with this label."""
    return any(isinstance(op, PutOp) and op.value is not None and part in op.namespace for op in ops)


def show(
    memory: PersonaMemory,
    user: str = "ana",
    session: str = "t1",
    query: str = "film",
    *,
    k: int = 3,
    model: HashEmbeddings = MODEL,
    now: float | None = None,
) -> Retrieval:
    """Keep the record of a retrieval, as a retriever does."""
    vectors = {name: np.asarray(model.embed_query(text)) for name, text in TEXTS.items()}
    relevance = {name: float(vector @ np.asarray(model.embed_query(query))) for name, vector in vectors.items()}
    ids = sorted(relevance, key=lambda name: -relevance[name])
    base = tuple(relevance[name] for name in ids)
    weights = np.exp(base) / np.exp(base).sum()
    time = real_time.time() if now is None else now
    record = Retrieval(
        id=memory.ledger.new_retrieval_id(time),
        session=session,
        time=time,
        expires=time + memory.ledger.retrieval_ttl_seconds,
        embedding=embedding_name(model, model.dimension),
        dimension=model.dimension,
        candidates=tuple(ids),
        base=base,
        scores=base,
        chosen=tuple(ids[:k]),
        titles=tuple(TEXTS[name] for name in ids[:k]),
        chosen_vectors=encode_vectors([vectors[name] for name in ids[:k]], HALF),
        expected=encode_vectors(weights @ np.stack([vectors[name] for name in ids])),
    )
    memory.ledger.save_retrieval(user, record.id, record.to_json())
    return record


def oracle(
    values: Iterable[dict[str, Any]], config: VARSConfig | None = None, space: PreferenceSpace | None = None
) -> LearnerState:
    """The fold of a ledger, worked out from the stored values alone."""
    space = space or PreferenceSpace.identity(D)
    values = sorted(values, key=lambda value: value["time"])
    withdrawn = {value["target"] for value in values if value["type"] == "withdrawal"}
    first: dict[str, dict[str, Any]] = {}
    for value in values:
        if value["type"] == "feedback":
            first.setdefault(value["id"], value)
    events = [
        Event(
            time=value["time"],
            id=value["id"],
            session=label(value["session"], prefix="s"),
            reward=value["reward"],
            gate=value["gate"],
            retrieval=value["retrieval_id"],
            chosen=space.project(decode_vectors(value["chosen"], D)[0]),
            expected=space.project(decode_vectors(value["expected"], D)[0]),
        )
        for value in first.values()
        if value["id"] not in withdrawn and value["chosen"] is not None
    ]
    return fold(events, config or VARSConfig(), k=space.k)


def same(vectors: Any, state: LearnerState, session: str | None = None) -> bool:
    """Whether a user's vectors are this state, bit for bit."""
    if vectors.long.size == 0:  # no dimension is known before the first feedback
        return state.count == vectors.count == 0
    short = state.short(None if session is None else label(session, prefix="s"))
    return bool(
        vectors.long.tobytes() == state.long.tobytes()
        and vectors.short.tobytes() == short.tobytes()
        and (vectors.count, vectors.baseline) == (state.count, state.baseline)
    )


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class World:
    """A store, and as many memories on it as wanted."""

    def __init__(self, store: BaseStore, mode: str = "async", root: str | None = None) -> None:
        self.store, self.mode, self.root = store, mode, root or f"p{uuid.uuid4().hex}"
        self.open()

    def another(self) -> World:
        """The same store, in another process."""
        return World(self.store, self.mode, self.root)

    def open(self, **options: Any) -> World:
        """A fresh memory on the same store, as another process would have."""
        options = {"retrieval_ttl_seconds": FOREVER, "namespace": (self.root,), **options}
        self.raw = PersonaMemory(self.store, MODEL, **options)
        self.memory = Twins(self.raw, self.mode)
        return self

    async def show(self, user: str = "ana", session: str = "t1", query: str = "film", **options: Any) -> Retrieval:
        return await asyncio.to_thread(show, self.raw, user, session, query, **options)

    async def items(self, *parts: str) -> list[SearchItem]:
        """What the store holds below any namespace in which these labels occur one after the other."""
        if isinstance(self.store, AsyncSqliteStore):
            found = await self.store.asearch((self.root,), limit=100_000)
        else:
            found = await asyncio.to_thread(self.store.search, (self.root,), limit=100_000)
        return [item for item in found if "/".join(parts) in "/".join(item.namespace)]

    async def put(self, place: tuple[str, ...], key: str, value: dict[str, Any]) -> None:
        """Write behind the package's back."""
        ops = [PutOp(place, key, value, index=False)]
        await (self.store.abatch(ops) if hasattr(self.store, "_task") else asyncio.to_thread(self.store.batch, ops))

    async def ledger(self, user: str = "ana") -> list[dict[str, Any]]:
        return [item.value for item in await self.items(label(user), "feedback")]


KINDS = ["memory-sync", "sqlite-async", "asyncsqlite-sync", "asyncsqlite-async"]


@asynccontextmanager
async def open_store(name: str, folder: Path, uri: str = "") -> AsyncIterator[Any]:
    """A store, empty but on Postgres: memory, sqlite, postgres, "async…", "pooled …"."""
    path, kind = str(folder / "store.sqlite3"), name.removeprefix("pooled ")
    pool: Any = {"pool_config": {"min_size": 1, "max_size": 8}} if name != kind else {}
    async with AsyncExitStack() as stack:
        if kind == "memory":
            store: Any = InMemoryStore()
        elif kind == "sqlite":
            store = stack.enter_context(SqliteStore.from_conn_string(path))
            store.conn.execute("PRAGMA synchronous=OFF")
        elif kind == "asyncsqlite":
            store = await stack.enter_async_context(AsyncSqliteStore.from_conn_string(path))
            await store.conn.execute("PRAGMA synchronous=OFF")
        elif kind == "postgres":
            store = stack.enter_context(PostgresStore.from_conn_string(uri, **pool))
        else:
            store = await stack.enter_async_context(AsyncPostgresStore.from_conn_string(uri, **pool))
        if kind != "memory":
            await store.setup() if kind.startswith("async") else store.setup()
        yield store


@asynccontextmanager
async def open_world(kind: str, folder: Path) -> AsyncIterator[World]:
    """A world of one of `KINDS`: the store, and whether its memory is called or awaited."""
    name, mode = kind.split("-")
    async with open_store(name, folder) as store:
        yield World(store, mode)
