"""What `PersonaMemory` keeps over every store, sync and async: the ledger is the truth, the vectors are its fold."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import time as real_time
import uuid
from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any

import chromadb
import numpy as np
import pytest
from langchain_core.documents import Document
from langgraph.store.base import BaseStore, SearchItem
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from langgraph.store.sqlite.aio import AsyncSqliteStore

from langchain_persona.arrays import decode_vectors, encode_vectors
from langchain_persona.effects import Call, StoreOps, run
from langchain_persona.errors import ConfigError, DimensionMismatchError, StoreError
from langchain_persona.identity import label
from langchain_persona.learning import Event, LearnerState, VARSConfig, WindowedRidge, fold
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.feedback import acknowledged, record_feedback
from langchain_persona.memory.ledger import Ledger
from langchain_persona.records import Feedback
from langchain_persona.retriever import VARSRetriever
from langchain_persona.rewards import reliabilities
from langchain_persona.spaces import PreferenceSpace
from langchain_persona.testing import HashEmbeddings

D = 16
TEXTS = {
    f"d{number}": f"film {word}" for number, word in enumerate(["horses", "rockets", "roses", "guns", "pots", "ships"])
}
MODEL = HashEmbeddings(D)
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
    """The time of the package's modules; it goes on when told."""

    def __init__(self) -> None:
        self.now = real_time.time()

    def time(self) -> float:
        self.now += 1e-4  # no two moments alike
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    for module in ("memory.ledger", "memory.feedback", "retrieval.recorded"):
        monkeypatch.setattr(f"langchain_persona.{module}.time", SimpleNamespace(time=made.time))
    return made


@pytest.fixture(scope="module")
def collection() -> chromadb.Collection:
    made = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
    made.add(ids=list(TEXTS), documents=list(TEXTS.values()), embeddings=MODEL.embed_documents(list(TEXTS.values())))
    return made


class World:
    """A store, and as many memories and retrievers over it as wanted."""

    def __init__(self, store: BaseStore, mode: str, collection: chromadb.Collection) -> None:
        self.store, self.mode, self.collection = store, mode, collection
        self.open()

    def open(self, **options: Any) -> World:
        """A fresh memory on the same store, as another process would have."""
        self.raw = PersonaMemory(store=self.store, **{"retrieval_ttl_seconds": FOREVER, **options})
        self.memory = Twins(self.raw, self.mode)
        made = VARSRetriever(vectorstore=self.collection, embeddings=MODEL, memory=self.raw, k=3)
        self.retriever = made
        return self

    async def retrieve(
        self, user: str = "ana", session: str = "t1", query: str = "film", **options: Any
    ) -> list[Document]:
        return await Twins(self.retriever, self.mode).invoke(query, None, user_id=user, session_id=session, **options)

    async def retrieval(self, user: str = "ana", session: str = "t1", query: str = "film") -> str:
        docs = await self.retrieve(user, session, query)
        found = docs[0].metadata["persona"]["retrieval_id"]
        assert isinstance(found, str)
        return found

    async def items(self, *parts: str) -> list[SearchItem]:
        """What the store holds, below any namespace in which these labels occur one after the other."""
        if isinstance(self.store, SqliteStore):
            found = await asyncio.to_thread(self.store.search, ("persona",), limit=100_000)
        else:
            found = await self.store.asearch(("persona",), limit=100_000)
        return [item for item in found if not parts or "/".join(parts) in "/".join(item.namespace)]

    async def put(self, item: SearchItem, value: dict[str, Any]) -> None:
        """Overwrite a stored value behind the package's back."""
        if isinstance(self.store, SqliteStore):
            await asyncio.to_thread(self.store.put, item.namespace, item.key, value, index=False)
        else:
            await self.store.aput(item.namespace, item.key, value, index=False)

    async def ledger(self, user: str = "ana") -> list[dict[str, Any]]:
        return [item.value for item in await self.items(label(user), "feedback")]


KINDS = ["memory-sync", "memory-async", "sqlite-sync", "sqlite-async", "asyncsqlite-async"]


@pytest.fixture(params=KINDS)
async def world(request, tmp_path, collection) -> AsyncIterator[World]:
    kind, mode = request.param.split("-")
    if kind == "memory":
        yield World(InMemoryStore(), mode, collection)
    elif kind == "sqlite":
        with SqliteStore.from_conn_string(str(tmp_path / "store.sqlite3")) as store:
            store.setup()
            yield World(store, mode, collection)
    else:
        async with AsyncSqliteStore.from_conn_string(str(tmp_path / "store.sqlite3")) as store:
            await store.setup()
            yield World(store, mode, collection)


@pytest.fixture
def quick(collection) -> World:
    """The quickest store, where the store is not the point."""
    return World(InMemoryStore(), "async", collection)


def oracle(
    values: Sequence[dict[str, Any]], config: VARSConfig | None = None, *, space: PreferenceSpace | None = None
) -> LearnerState:
    """The fold of a ledger, worked out from the stored values alone."""
    space = space or PreferenceSpace.identity(D)
    withdrawn = {value["target"] for value in values if value["type"] == "withdrawal"}
    first: dict[str, dict[str, Any]] = {}
    for value in sorted((v for v in values if v["type"] == "feedback"), key=lambda v: v["time"]):
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
    if state.count == 0:  # no dimension is known before the first feedback
        return vectors.is_cold and vectors.count == 0
    short = state.short(None if session is None else label(session, prefix="s"))
    return (
        vectors.long.tobytes() == state.long.tobytes()
        and vectors.short.tobytes() == short.tobytes()
        and vectors.count == state.count
        and vectors.baseline == state.baseline
    )


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# feedback ---------------------------------------------------------------------------------------------------


async def test_a_new_user_is_cold(world):
    vectors = await world.memory.vectors("ana")
    assert vectors.is_cold
    assert vectors.count == 0
    assert "Nothing was learned" in str(await world.memory.explain("ana"))
    assert await world.items() == []


async def test_feedback_moves_the_vectors_and_the_very_next_ranking(world):
    docs = await world.retrieve()
    assert all(doc.metadata["persona"]["long"] == 0.0 for doc in docs)
    receipt = await world.memory.feedback("ana", docs[0].metadata["persona"]["retrieval_id"], reward=1.0, docs=docs[1])
    assert receipt.applied
    assert receipt.reason == ""
    vectors = await world.memory.vectors("ana", "t1")
    assert vectors.count == 1
    assert vectors.long.shape == (D,)
    assert same(vectors, oracle(await world.ledger()), "t1")
    again = {doc.id: doc.metadata["persona"] for doc in await world.retrieve(k=6)}
    assert max(again, key=lambda name: again[name]["long"]) == docs[1].id
    assert again[docs[1].id]["long"] > 0


async def test_the_ledger_entry_says_what_happened(world):
    found = await world.retrieval(session="thread-9")
    receipt = await world.memory.feedback("ana", found, reward=-0.5, source="rating", key="k1")
    (entry,) = await world.ledger()
    assert entry["id"] == receipt.id
    assert (entry["retrieval_id"], entry["reward"], entry["source"], entry["key"]) == (found, -0.5, "rating", "k1")
    assert (entry["session"], entry["gate"], entry["dimension"]) == ("thread-9", 1.0, D)
    assert len(entry["documents"]) == 3


@pytest.mark.parametrize(
    ("source", "gate", "expected"),
    [
        ("thumbs", None, 1.0),
        ("rating", None, 1.0),
        ("click", None, 0.15),
        ("thumbs", 0.25, 0.25),
        ("click", 1.0, 1.0),
        ("judge", None, (0.6 * 0.3, 0.6 * 0.6)),
        ("judge", 0.0, 0.0),
    ],
)
async def test_the_gate(quick, source, gate, expected):
    await quick.memory.feedback("ana", await quick.retrieval(), reward=1.0, source=source, gate=gate)
    (entry,) = await quick.ledger()
    assert entry["gate"] in (expected if isinstance(expected, tuple) else (expected,))


async def test_a_gate_of_zero_is_kept_and_moves_nothing(world):
    receipt = await world.memory.feedback("ana", await world.retrieval(session="t1"), reward=1.0, gate=0.0)
    assert (receipt.applied, "gate is 0" in receipt.reason) == (False, True)
    (entry,) = await world.ledger()
    assert entry["id"] == receipt.id
    after = await world.memory.vectors("ana", session="t1")
    assert (after.count, after.long.any(), after.short.any()) == (0, False, False)
    await world.memory.withdraw("ana", receipt.id)
    assert (await world.memory.vectors("ana")).count == 0


async def test_a_source_that_is_left_out_is_not_written(quick):
    found, memory = await quick.retrieval(), quick.raw
    steps = record_feedback(
        memory.ledger,
        memory.retrievals,
        "ana",
        found,
        1.0,
        source="judge",
        key="j",
        docs=None,
        gate=None,
        reliability=reliabilities({"judge": 0.0}),
    )
    receipt = run(steps)
    assert (receipt.id, receipt.applied) == ("", False)
    assert "the reliability of 'judge' is 0" in receipt.reason
    assert await quick.ledger() == []


async def test_a_key_counts_once(world):
    found = await world.retrieval()
    first = await world.memory.feedback("ana", found, reward=1.0, key="click-1")
    before = await world.memory.vectors("ana")
    again = await world.memory.feedback("ana", found, reward=-1.0, key="click-1")
    from_elsewhere = await world.open().memory.feedback("ana", found, reward=-1.0, key="click-1")
    assert first.applied
    for receipt in (again, from_elsewhere):
        assert (receipt.id, receipt.applied) == (first.id, False)
        assert "key" in receipt.reason
    assert len(await world.ledger()) == 1
    assert (await world.memory.vectors("ana")).long.tobytes() == before.long.tobytes()
    assert (await world.memory.feedback("ana", found, reward=1.0, key="click-2")).applied
    assert (await world.memory.vectors("ana")).count == 2


async def test_a_key_belongs_to_its_user(quick):
    for user in ("ana", "bo"):
        receipt = await quick.memory.feedback(user, await quick.retrieval(user), reward=1.0, key="1")
        assert receipt.applied


async def test_law_5_a_repeated_delivery_that_raced_past_the_key_counts_once(world):
    """Two processes may both find the key unused: both write the same entry."""
    found = await world.retrieval()
    await world.memory.feedback("ana", found, reward=1.0, key="k")
    before = await world.memory.vectors("ana", "t1")
    (entry,) = await world.items(label("ana"), "feedback")
    late = {**entry.value, "time": entry.value["time"] + 7.0}
    await world.put(SimpleNamespace(namespace=(*entry.namespace[:-1], "h99"), key=entry.key), late)
    assert len(await world.ledger()) == 2
    after = await world.open().memory.vectors("ana", "t1")
    assert after.count == 1
    assert after.long.tobytes() == before.long.tobytes()


async def test_law_5_late_feedback_from_another_object(world):
    found = await world.retrieval(session="t9")
    other = World(world.store, world.mode, world.collection)
    assert (await other.memory.feedback("ana", found, reward=1.0)).applied
    assert (await world.memory.vectors("ana", "t9")).count == 1
    assert (await world.memory.vectors("ana", "t9")).short.any()
    assert not (await world.memory.vectors("ana", "t8")).short.any()


async def test_a_read_sees_what_another_object_wrote_since_the_last_read(world):
    found = await world.retrieval()
    other = World(world.store, world.mode, world.collection)
    for count in range(1, 4):
        await other.memory.feedback("ana", found, reward=1.0)
        vectors = await world.memory.vectors("ana", "t1")
        assert vectors.count == count
        assert same(vectors, oracle(await world.ledger()), "t1")


async def test_an_expired_retrieval_moves_nothing_and_is_kept(world, clock, caplog):
    world.open(retrieval_ttl_seconds=10.0)
    found = await world.retrieval()
    assert (await world.memory.feedback("ana", found, reward=1.0)).applied
    clock.now += 11.0
    receipt = await world.memory.feedback("ana", found, reward=1.0)
    assert not receipt.applied
    assert "expired" in receipt.reason
    assert receipt.id in {entry["id"] for entry in await world.ledger()}
    assert len(warnings_in(caplog)) == 1
    assert (await world.memory.vectors("ana")).count == 1
    assert (await world.memory.explain("ana")).inert == 1


async def test_an_unknown_retrieval_moves_nothing_and_is_kept(world, caplog):
    receipt = await world.memory.feedback("ana", "no-such-thing", reward=1.0)
    assert not receipt.applied
    assert "no such retrieval" in receipt.reason
    assert [entry["id"] for entry in await world.ledger()] == [receipt.id]
    assert len(warnings_in(caplog)) == 1
    assert (await world.memory.vectors("ana")).is_cold
    told = await world.memory.explain("ana")
    assert (told.events, told.inert) == (0, 1)


async def test_law_4_another_users_retrieval_is_unknown(world, caplog):
    found = await world.retrieval("ana")
    receipt = await world.memory.feedback("bo", found, reward=1.0)
    assert not receipt.applied
    assert (await world.memory.vectors("ana")).count == 0
    assert (await world.memory.vectors("bo")).count == 0
    assert len(warnings_in(caplog)) == 1


async def test_feedback_on_single_documents(world):
    docs = await world.retrieve()
    found = docs[0].metadata["persona"]["retrieval_id"]
    await world.memory.feedback("ana", found, reward=1.0, docs=docs[2])
    await world.memory.feedback("ana", found, reward=-1.0, docs=docs[0].id)
    await world.memory.feedback("ana", found, reward=0.5, docs=[docs[0], docs[1].id])
    entries = sorted(await world.ledger(), key=lambda entry: entry["time"])
    assert [entry["documents"] for entry in entries] == [[docs[2].id], [docs[0].id], [docs[0].id, docs[1].id]]
    vectors = {name: np.asarray(MODEL.embed_query(text)) for name, text in TEXTS.items()}
    mean = (vectors[docs[0].id] + vectors[docs[1].id]) / 2
    assert decode_vectors(entries[0]["chosen"], D)[0] == pytest.approx(vectors[docs[2].id], abs=1e-3)
    assert decode_vectors(entries[2]["chosen"], D)[0] == pytest.approx(mean, abs=1e-3)
    told = await world.memory.explain("ana")
    assert dict(told.liked) == {docs[2].id: 1.0, docs[1].id: 0.5}
    assert dict(told.disliked) == {docs[0].id: -0.5}


@pytest.mark.parametrize("wrong", [["d0", "stranger"], "stranger", [], [3], [Document("no id")], [""]])
async def test_documents_that_cannot_be_meant_are_refused(world, wrong):
    found = await world.retrieval()
    with pytest.raises(ConfigError, match="docs"):
        await world.memory.feedback("ana", found, reward=1.0, docs=wrong)
    assert await world.ledger() == []


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), 1.5, -1.0001, "1", True, None, [1.0], 1j])
@pytest.mark.parametrize("user", ["ana", ""])
async def test_bad_rewards_are_refused(quick, wrong, user):
    found = await quick.retrieval()
    with pytest.raises((TypeError, ValueError)) as caught:
        await quick.memory.feedback(user, found, reward=wrong)
    assert "reward must" in str(caught.value)
    assert await quick.ledger() == []


@pytest.mark.parametrize("good", [-1, 0, 1, 0.5, np.float32(0.25), np.int64(1)])
async def test_good_rewards_of_all_types(world, good):
    assert (await world.memory.feedback("ana", await world.retrieval(), reward=good)).applied
    (entry,) = await world.ledger()
    assert entry["reward"] == float(good)


@pytest.mark.parametrize(
    "wrong",
    [
        {"retrieval_id": ""},
        {"retrieval_id": None},
        {"retrieval_id": 7},
        {"source": ""},
        {"source": None},
        {"gate": -0.1},
        {"gate": 1.1},
        {"gate": True},
        {"gate": float("nan")},
        {"key": ""},
        {"key": 3},
    ],
)
async def test_misuse_of_feedback_raises(quick, wrong):
    arguments = {"retrieval_id": "x", "reward": 1.0, **wrong}
    with pytest.raises(ConfigError):
        await quick.memory.feedback("ana", arguments.pop("retrieval_id"), **arguments)
    with pytest.raises(TypeError):
        await quick.memory.feedback(1.5, "x", reward=1.0)
    assert await quick.items() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"store": {}},
        {"store": None},
        {"embeddings": "minilm"},
        {"cards": object()},
        {"cards": object(), "embeddings": MODEL},
        {"retrieval_ttl_seconds": 0},
        {"retrieval_ttl_seconds": float("nan")},
        {"namespace": "persona"},
        {"namespace": ()},
    ],
)
def test_misuse_of_the_constructor_raises(wrong):
    with pytest.raises(ConfigError):
        PersonaMemory(**{"store": InMemoryStore(), **wrong})


# withdrawal -------------------------------------------------------------------------------------------------


async def test_law_5_withdrawal_restores_the_same_bits(world):
    found = await world.retrieval()
    await world.memory.feedback("ana", found, reward=1.0)
    before = await world.memory.vectors("ana", "t1")
    receipt = await world.memory.feedback("ana", found, reward=-1.0)
    assert (await world.memory.vectors("ana", "t1")).long.tobytes() != before.long.tobytes()
    await world.memory.withdraw("ana", receipt.id)
    after = await world.memory.vectors("ana", "t1")
    assert after.long.tobytes() == before.long.tobytes()
    assert after.short.tobytes() == before.short.tobytes()
    assert (after.count, after.baseline) == (before.count, before.baseline)
    assert len(await world.ledger()) == 3  # nothing is taken out of the ledger
    assert (await world.memory.explain("ana")).withdrawn == 1


async def test_withdrawing_twice_or_what_is_not_there_changes_nothing(world):
    receipt = await world.memory.feedback("ana", await world.retrieval(), reward=1.0)
    kept = await world.memory.feedback("ana", await world.retrieval(), reward=0.5)
    for target in (receipt.id, receipt.id, "no-such-feedback"):
        await world.memory.withdraw("ana", target)
    assert (await world.memory.vectors("ana")).count == 1
    await world.memory.withdraw("bo", kept.id)  # not bo's
    assert (await world.memory.vectors("ana")).count == 1
    for wrong in ("", None, 3):
        with pytest.raises(ConfigError, match="feedback_id"):
            await world.memory.withdraw("ana", wrong)


# rebuilding -------------------------------------------------------------------------------------------------


async def some_history(world: World, clock: Clock, count: int = 6, apart: float = 20.0) -> None:
    for number in range(count):
        found = await world.retrieval(session=f"t{number % 2}", query=list(TEXTS.values())[number % 6])
        await world.memory.feedback("ana", found, reward=(-1.0) ** number * 0.7)
        clock.now += apart


async def test_rebuild_gives_the_same_bits(world, clock):
    await some_history(world, clock)
    seen = await world.memory.vectors("ana")
    rebuilt = await world.memory.rebuild("ana")
    assert rebuilt.long.tobytes() == seen.long.tobytes()
    assert same(rebuilt, oracle(await world.ledger()))
    assert (await world.memory.rebuild("nobody")).is_cold


@pytest.mark.parametrize("other", [VARSConfig.paper(), VARSConfig.simplified(), VARSConfig(temperature=0.5)])
async def test_another_configuration_folds_the_ledger_again(world, clock, other):
    await some_history(world, clock)
    clock.now += HOUR
    await world.memory.vectors("ana")  # a snapshot now holds everything
    world.open(config=other)
    assert same(await world.memory.vectors("ana", "t1"), oracle(await world.ledger(), other), "t1")
    world.open()
    assert same(await world.memory.vectors("ana", "t1"), oracle(await world.ledger()), "t1")


async def test_another_space_folds_the_ledger_again(world, clock):
    await some_history(world, clock)
    clock.now += HOUR
    await world.memory.vectors("ana")
    space = PreferenceSpace.pca(MODEL.embed_documents(list(TEXTS.values())), k=3)
    world.open(space=space)
    vectors = await world.memory.vectors("ana", "t1")
    assert vectors.long.shape == (3,)
    assert same(vectors, oracle(await world.ledger(), space=space), "t1")
    wrong = PreferenceSpace.identity(D + 1)
    if world.mode == "sync":  # the constructor of the retriever blocks
        with pytest.raises(DimensionMismatchError, match=f"{D + 1}"):
            world.open(space=wrong)


async def test_two_embedding_models_do_not_mix(world, clock):
    await some_history(world, clock)
    mine = await world.memory.vectors("ana")
    other = HashEmbeddings(8)
    collection = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
    # other documents: what was said of the same ones would be carried over, see test_translation.py
    collection.add(ids=[f"other-{name}" for name in TEXTS], embeddings=other.embed_documents(list(TEXTS.values())))
    retriever = Twins(VARSRetriever(vectorstore=collection, embeddings=other, memory=world.raw), world.mode)
    docs = await retriever.invoke("film", None, user_id="ana")
    assert all(doc.metadata["persona"]["long"] == 0.0 for doc in docs)
    await world.memory.feedback("ana", docs[0].metadata["persona"]["retrieval_id"], reward=1.0)
    latest = await world.memory.vectors("ana")
    assert latest.long.shape == (8,)
    assert latest.count == 1
    again = await world.retrieve()  # the first model's ranking is as it was
    assert again[0].metadata["persona"]["long"] != 0.0
    await world.memory.feedback("ana", again[0].metadata["persona"]["retrieval_id"], reward=0.0)
    assert (await world.memory.vectors("ana")).count == mine.count + 1


# the trailing snapshot --------------------------------------------------------------------------------------


async def snapshots(world: World) -> list[dict[str, Any]]:
    return [item.value for item in await world.items(label("ana"), "state") if "horizon" in item.value]


async def test_the_snapshot_trails_by_the_grace_period(world, clock):
    found = await world.retrieval()
    await world.memory.feedback("ana", found, reward=1.0)
    await world.memory.vectors("ana")
    assert await snapshots(world) == []
    clock.now += 61.0
    second = await world.memory.feedback("ana", found, reward=0.5)
    world.open()
    vectors = await world.memory.vectors("ana", "t1")
    (snapshot,) = await snapshots(world)
    assert snapshot["horizon"] <= clock.now - 60.0
    assert LearnerState.from_json(snapshot["state"]).count == 1
    assert vectors.count == 2
    assert same(vectors, oracle(await world.ledger()), "t1")
    await world.memory.withdraw("ana", second.id)
    assert (await world.memory.vectors("ana", "t1")).count == 1


@pytest.mark.parametrize("idle", [0.5, 59.0, 61.0, 2 * HOUR - 1, 3 * HOUR, 3 * DAY, 30 * DAY, 400 * DAY])
async def test_a_user_who_was_idle_comes_back(world, clock, idle):
    for _ in range(3):
        await some_history(world, clock, 2)
        world.open()
        assert same(await world.memory.vectors("ana", "t1"), oracle(await world.ledger()), "t1")
        clock.now += idle
        assert same(await world.memory.vectors("ana", "t1"), oracle(await world.ledger()), "t1")
    assert (await world.memory.vectors("ana")).count == 6


async def test_a_snapshot_stops_old_entries_from_being_read_again(quick, clock):
    """The bound on the work of a read: an idle day costs one new snapshot, then one bucket is read."""
    await some_history(quick, clock)
    clock.now += 3 * DAY
    await quick.memory.vectors("ana")
    entries = await quick.items(label("ana"), "feedback")
    for entry in entries:  # whoever reads them now would have to complain
        await quick.put(entry, {"type": "nonsense"})
    quick.open()
    assert (await quick.memory.vectors("ana")).count == 6


async def test_a_repeated_delivery_across_the_horizon_counts_once(world, clock):
    found = await world.retrieval()
    await world.memory.feedback("ana", found, reward=1.0, key="k")
    (entry,) = await world.items(label("ana"), "feedback")
    for step in (20.0, 20.0, 25.0, 5.0, 5.0, 5.0):  # the snapshot moves on several times
        await world.memory.feedback("ana", found, reward=0.5)
        clock.now += step
        await world.open().memory.vectors("ana")
    (snapshot,) = await snapshots(world)
    assert entry.value["time"] < snapshot["horizon"]
    repeated = {**entry.value, "time": entry.value["time"] + 55.0}
    assert repeated["time"] > snapshot["horizon"]
    await world.put(SimpleNamespace(namespace=(*entry.namespace[:-1], "h99"), key=entry.key), repeated)
    late = (*entry.namespace[:-2], *_bucket_of(repeated["time"]))
    await world.put(SimpleNamespace(namespace=late, key=f"{entry.key}'"), repeated)
    vectors = await world.open().memory.vectors("ana", "t1")
    assert vectors.count == 7
    assert same(vectors, oracle(await world.ledger()), "t1")
    await world.memory.withdraw("ana", entry.key)  # in the snapshot, and delivered again after it
    assert same(await world.memory.vectors("ana", "t1"), oracle(await world.ledger()), "t1")
    assert (await world.memory.vectors("ana")).count == 6


def _bucket_of(moment: float) -> tuple[str, str]:
    when = real_time.gmtime(moment)
    return f"d{real_time.strftime('%Y%m%d', when)}", f"h{real_time.strftime('%H', when)}"


@pytest.mark.parametrize("idle", [90.0, 3 * HOUR, 3 * DAY, 30 * DAY])
async def test_withdrawal_of_what_the_snapshot_already_holds(world, clock, idle):
    found = await world.retrieval()
    first = await world.memory.feedback("ana", found, reward=-1.0)
    await world.memory.feedback("ana", found, reward=1.0)
    clock.now += idle
    await world.memory.vectors("ana")
    (snapshot,) = await snapshots(world)
    assert LearnerState.from_json(snapshot["state"]).count == 2
    await world.memory.withdraw("ana", first.id)
    for wait in (0.0, 30.0, 31.0, HOUR, 2 * DAY):
        clock.now += wait
        world.open()
        vectors = await world.memory.vectors("ana", "t1")
        assert vectors.count == 1
        assert same(vectors, oracle(await world.ledger()), "t1")


@pytest.mark.parametrize("behind", [30.0, 600.0, 3 * HOUR, 3 * DAY])
async def test_a_clock_that_runs_behind_loses_nothing(world, clock, behind):
    found = await world.retrieval()
    first = await world.memory.feedback("ana", found, reward=1.0)
    clock.now += 90.0
    await world.memory.vectors("ana")  # a snapshot by a clock that is right
    clock.now -= behind
    other = World(world.store, world.mode, world.collection)
    assert (await other.memory.feedback("ana", found, reward=-0.5)).applied
    assert same(await other.memory.vectors("ana", "t1"), oracle(await world.ledger()), "t1")
    clock.now += behind
    assert same(await world.open().memory.vectors("ana", "t1"), oracle(await world.ledger()), "t1")
    assert (await world.memory.vectors("ana")).count == 2
    clock.now -= behind
    await other.memory.withdraw("ana", first.id)
    clock.now += behind
    assert (await world.open().memory.vectors("ana")).count == 1


async def test_a_withdrawal_with_an_earlier_time_than_its_target(world, clock):
    """Clocks that differ: the horizon passes the withdrawal before it passes what was withdrawn."""
    found = await world.retrieval()
    await world.memory.feedback("ana", found, reward=1.0)
    receipt = await world.memory.feedback("ana", found, reward=-1.0)
    clock.now -= 20.0
    await world.memory.withdraw("ana", receipt.id)
    clock.now += 20.0
    for _ in range(12):
        clock.now += 7.0
        vectors = await world.open().memory.vectors("ana", "t1")
        assert vectors.count == 1
        assert same(vectors, oracle(await world.ledger()), "t1")


@pytest.mark.parametrize("seed", range(12))
async def test_law_5_any_history_by_any_clocks_equals_the_full_fold(quick, clock, seed):
    """Several processes with clocks that differ write, withdraw and read in any order."""
    dice = random.Random(seed)
    skews = [0.0, 20.0, -25.0] if seed % 2 else [0.0, 1_500.0, -1_500.0, 70.0]
    found = {
        session: await quick.retrieval(session=session, query=query)
        for session, query in zip("abc", TEXTS.values(), strict=False)
    }
    processes = [World(quick.store, "async", quick.collection) for _ in skews]
    given: list[str] = []
    for step in range(70):
        number = dice.randrange(len(skews))
        memory, session = processes[number].memory, dice.choice("abc")
        clock.now += skews[number]
        action = dice.random()
        if action < 0.45:
            receipt = await memory.feedback("ana", found[session], reward=dice.uniform(-1, 1), key=f"k{step}")
            assert receipt.applied
            given.append(receipt.id)
        elif action < 0.6 and given:
            await memory.withdraw("ana", dice.choice(given))
        elif action < 0.7:
            processes[number].open()
        else:
            assert same(await memory.vectors("ana", session), oracle(await quick.ledger()), session), f"step {step}"
        clock.now -= skews[number]
        clock.now += dice.choice(
            [0.0, 0.5, 10.0, 40.0, 70.0, 200.0, *([HOUR, 5 * HOUR, 2 * DAY, 12 * DAY] if dice.random() < 0.2 else [])]
        )
    for memory in (quick.open().memory, *(process.memory for process in processes)):
        assert same(await memory.vectors("ana", "a"), oracle(await quick.ledger()), "a")


# damage -----------------------------------------------------------------------------------------------------

GARBAGE: list[dict[str, Any]] = [
    {},
    {"state": {}},
    {"horizon": "soon"},
    {"horizon": 1e300},
    {"horizon": 1e12, "config": "c", "space": "s", "state": {}},
]


@pytest.mark.parametrize("damage", [*GARBAGE, "half", "far", "state"])
async def test_a_corrupt_snapshot_costs_one_warning(world, clock, caplog, damage):
    await some_history(world, clock)
    clock.now += 120.0
    await world.memory.vectors("ana")
    (item,) = [item for item in await world.items(label("ana"), "state") if "horizon" in item.value]
    value: dict[str, Any] = item.value
    if damage == "half":
        value = {**value, "state": {**value["state"], "long": value["state"]["long"][:20]}}
    elif damage == "far":
        value = {**value, "horizon": clock.now + 3_000 * DAY}
    elif damage == "state":
        value = {**value, "state": "lost"}
    else:
        value = damage
    await world.put(item, value)
    world.open()
    caplog.clear()
    assert same(await world.memory.vectors("ana", "t1"), oracle(await world.ledger()), "t1")
    assert len(warnings_in(caplog)) == 1, warnings_in(caplog)
    assert same(await world.memory.vectors("ana", "t1"), oracle(await world.ledger()), "t1")
    assert len(warnings_in(caplog)) == 1  # it was made anew
    await world.put(item, value)
    assert (await world.memory.feedback("ana", await world.retrieval(), reward=1.0)).applied
    assert (await world.memory.vectors("ana")).count == 7


@pytest.mark.parametrize("damage", [{}, {"type": "feedback"}, {"type": "rumour"}, "vector", "reward", "nan"])
async def test_a_corrupt_entry_costs_itself_and_one_warning(world, clock, caplog, damage):
    await some_history(world, clock, apart=5.0)
    entries = await world.items(label("ana"), "feedback")
    victim = sorted(entries, key=lambda entry: entry.value["time"])[2]
    value = {
        "vector": {**victim.value, "chosen": "AAAA"},
        "reward": {**victim.value, "reward": 40.0},
        "nan": {**victim.value, "expected": "AADAfw=="},
    }.get(damage if isinstance(damage, str) else "", damage)
    await world.put(victim, value)
    world.open()
    caplog.clear()
    vectors = await world.memory.vectors("ana", "t1")
    assert len(warnings_in(caplog)) == 1
    rest = [entry.value for entry in entries if entry.key != victim.key]
    assert same(vectors, oracle(rest), "t1")
    await world.put(victim, victim.value)
    clock.now += 1.0
    assert (await world.open().memory.vectors("ana")).count == 6  # mended: nothing was thrown away


async def test_a_corrupt_entry_that_a_snapshot_holds_costs_nothing_until_a_rebuild(world, clock, caplog):
    await some_history(world, clock)
    clock.now += 120.0
    before = await world.memory.vectors("ana")
    entries = await world.items(label("ana"), "feedback")
    victim = sorted(entries, key=lambda entry: entry.value["time"])[2]
    await world.put(victim, {"type": "rumour"})
    caplog.clear()
    assert (await world.open().memory.vectors("ana")).long.tobytes() == before.long.tobytes()
    assert len(warnings_in(caplog)) <= 1
    await world.memory.feedback("ana", await world.retrieval(), reward=1.0)
    caplog.clear()
    assert (await world.open().memory.vectors("ana")).count == 7
    assert len(warnings_in(caplog)) <= 1
    rebuilt = await world.memory.rebuild("ana")
    assert same(rebuilt, oracle([value for value in await world.ledger() if value["type"] != "rumour"]))


@pytest.mark.parametrize("damage", [{}, {"id": "x"}, "vectors", "rows", "expected"])
async def test_a_corrupt_retrieval_record_is_as_good_as_none(world, caplog, damage):
    found = await world.retrieval()
    (item,) = await world.items(label("ana"), "retrievals")
    value = {
        "vectors": {**item.value, "chosen_vectors": "AAAA"},
        "rows": {**item.value, "chosen": item.value["chosen"][:1]},
        "expected": {**item.value, "expected": item.value["expected"][:-8]},
    }.get(damage if isinstance(damage, str) else "", damage)
    await world.put(item, value)
    receipt = await world.memory.feedback("ana", found, reward=1.0)
    assert not receipt.applied
    assert receipt.reason
    assert len(warnings_in(caplog)) == 1
    assert [entry["id"] for entry in await world.ledger()] == [receipt.id]


@pytest.mark.parametrize(
    "damage", [{}, {"embedding": "x"}, {"embedding": "x", "dimension": "many"}, {"embedding": "x", "dimension": 0}]
)
async def test_a_corrupt_note_on_the_embedding_model_costs_one_warning(world, caplog, damage):
    await world.memory.feedback("ana", await world.retrieval(), reward=1.0)
    (item,) = [item for item in await world.items(label("ana"), "state") if item.key == "current"]
    await world.put(item, damage)
    vectors = await world.memory.vectors("ana", "t1")
    assert len(warnings_in(caplog)) == 1
    assert same(vectors, oracle(await world.ledger()), "t1")
    assert vectors.count == 1


async def test_what_another_user_stores_does_not_show(world):
    """A store that matches prefixes as text, as some did, gives entries of other users."""

    class Sloppy(InMemoryStore):
        def batch(self, ops):
            wide = [op._replace(namespace_prefix=("persona",)) if hasattr(op, "namespace_prefix") else op for op in ops]
            return super().batch(wide)

        async def abatch(self, ops):
            return self.batch(ops)

    sloppy = World(Sloppy(), world.mode, world.collection)
    for user in ("user-1", "user-10"):
        await sloppy.memory.feedback(user, await sloppy.retrieval(user), reward=1.0)
    assert (await sloppy.memory.vectors("user-1")).count == 1
    assert (await sloppy.memory.explain("user-1")).events == 1


def test_only_the_failure_of_a_store_is_called_one():
    def steps(effect: Any) -> Any:
        yield effect

    def fails() -> None:
        raise ZeroDivisionError("by a callback")

    with pytest.raises(ZeroDivisionError):
        run(acknowledged(steps(Call(fails))))

    class Gone(InMemoryStore):
        def batch(self, ops):
            raise ConnectionError("gone")

    with pytest.raises(StoreError, match=r"the store failed \(ConnectionError\('gone'\)\); try it tomorrow") as caught:
        run(acknowledged(steps(StoreOps(Gone(), [])), "try it tomorrow"))
    assert isinstance(caught.value.__cause__, ConnectionError)

    def heals() -> Any:
        try:
            yield StoreOps(Gone(), [])
        except StoreError:
            return "well"

    assert run(acknowledged(heals())) == "well"


# parity -----------------------------------------------------------------------------------------------------

NO_IO = {
    "as_retriever",
    "space_for",
    "user_vectors",
    "local",
    "steps",
    "drop_from_persona",
}  # these make effects


def public_methods(kind: type) -> dict[str, Any]:
    """What this package itself defines on a class, without what the frameworks bring."""
    found = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("langchain_persona"):
            found |= {name: value for name, value in vars(base).items() if callable(value) and not name.startswith("_")}
    return {name: value for name, value in found.items() if name not in NO_IO and not name.startswith("model_")}


@pytest.mark.parametrize("kind", [PersonaMemory, VARSRetriever])
def test_law_8_every_method_has_its_twin_with_the_same_signature(kind):
    methods = public_methods(kind)
    sync = {name for name, value in methods.items() if not inspect.iscoroutinefunction(value)}
    assert len(sync) >= 2
    assert {f"a{name}" for name in sync} == set(methods) - sync
    for name in sync:
        one, other = inspect.signature(methods[name]), inspect.signature(methods[f"a{name}"])
        assert one.parameters == other.parameters, name
        assert one.return_annotation == other.return_annotation, name


async def test_close_leaves_what_was_passed_in_open_and_may_be_repeated(world):
    await world.memory.close()
    await world.memory.close()
    assert (await world.memory.vectors("ana")).is_cold
    with PersonaMemory(store=InMemoryStore()) as memory:
        assert isinstance(memory, PersonaMemory)


def test_a_thumb_reads_the_window_and_not_the_whole_ledger(clock):
    """With a year of thumbs behind it, the read after one more touches at most the window and what is new."""
    store = InMemoryStore()
    ledger = Ledger(store, ("persona",), VARSConfig(rule=WindowedRidge(window=16)))
    first = Feedback(
        id="f0",
        retrieval_id="r",
        reward=1.0,
        gate=1.0,
        source="thumbs",
        time=clock.now,
        embedding="e",
        dimension=4,
        chosen=encode_vectors([1.0, 0.0, 0.0, 0.0]),
        expected=encode_vectors([0.5, 0.5, 0.0, 0.0]),
    )
    for i in range(300):
        run(ledger.append("ana", first.model_copy(update={"id": f"f{i}", "time": clock.now - 1e5 * (i + 2)})))
    space = PreferenceSpace.identity(4)
    whole = run(ledger.fold("ana", "e", space)).state  # writes the snapshot
    run(ledger.append("ana", first.model_copy(update={"id": "new"})))
    read = []

    class Counting(InMemoryStore):
        def batch(self, ops):
            results = store.batch(ops)
            for result in results:
                read.extend(result if isinstance(result, list) else [result])
            return results

    fresh = Ledger(Counting(), ("persona",), ledger.config)
    state = run(fresh.fold("ana", "e", space)).state
    assert len(read) <= 16 + 5
    assert state.count == whole.count + 1 == 301
    again = run(Ledger(store, ("persona",), ledger.config).fold("ana", "e", space, rebuild=True)).state
    assert state.to_json() == again.to_json()


@pytest.mark.parametrize("namespace", [(), "persona", ("a.b",), ("langgraph",), (1,), ("",)])
def test_a_namespace_that_no_store_takes_is_refused(namespace):
    with pytest.raises(ConfigError, match="namespace"):
        PersonaMemory(store=InMemoryStore(), namespace=namespace)


@pytest.mark.parametrize("ttl", [0, -1, float("inf"), float("nan")])
def test_a_time_to_live_that_cannot_work_is_refused(ttl):
    with pytest.raises(ConfigError, match="retrieval_ttl_seconds"):
        PersonaMemory(store=InMemoryStore(), retrieval_ttl_seconds=ttl)


def test_a_burst_of_thumbs_is_folded_once_each_also_before_the_first_snapshot(clock):
    steps = []

    class Counted(WindowedRidge):
        def step(self, state, event, *, temperature, keep):
            steps.append(event.id)
            return WindowedRidge.step(self, state, event, temperature=temperature, keep=keep)

    store, config, space = InMemoryStore(), VARSConfig(rule=Counted(window=8)), PreferenceSpace.identity(2)
    ledger = Ledger(store, ("persona",), config)
    entry = Feedback(
        id="f",
        retrieval_id="r",
        reward=1.0,
        gate=1.0,
        source="thumbs",
        time=clock.now,
        embedding="e",
        dimension=2,
        chosen=encode_vectors([1.0, 0.0]),
        expected=encode_vectors([0.5, 0.5]),
    )
    for i in range(30):
        run(ledger.append("ana", entry.model_copy(update={"id": f"f{i:02}", "time": clock.now + i / 10})))
        state = run(ledger.fold("ana", "e", space)).state
    assert steps == [f"f{i:02}" for i in range(30)]
    again = run(Ledger(store, ("persona",), config).fold("ana", "e", space)).state
    assert state.to_json() == again.to_json()
