"""A change of embedding model: feedback is carried over by way of the documents that it was about."""

from __future__ import annotations

import asyncio
import logging
import time as real_time
import uuid
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import chromadb
import numpy as np
import pytest
from langgraph.store.base import BaseStore, GetOp, PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from langchain_persona import translation
from langchain_persona.arrays import decode_vectors, unit
from langchain_persona.effects import StoreOps, run
from langchain_persona.identity import embedding_name, label
from langchain_persona.learning import VARSConfig, fold, in_order
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.entries import events_of
from langchain_persona.records import Feedback
from langchain_persona.retriever import VARSRetriever
from langchain_persona.spaces import PreferenceSpace
from langchain_persona.testing import HashEmbeddings

OLD, NEW = HashEmbeddings(16), HashEmbeddings(24)
OLD_NAME, NEW_NAME = embedding_name(OLD, 16), embedding_name(NEW, 24)
WORDS = ["horses", "rockets", "roses", "guns", "pots", "ships", "trains", "kings"]
TEXTS = {f"d{number}": f"film {word}" for number, word in enumerate(WORDS)}


def filled(model: HashEmbeddings, **texts: str) -> chromadb.Collection:
    texts = texts or TEXTS
    made = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
    made.add(ids=list(texts), documents=list(texts.values()), embeddings=model.embed_documents(list(texts.values())))
    return made


@pytest.fixture(scope="module")
def old_rows() -> chromadb.Collection:
    return filled(OLD)


@pytest.fixture(scope="module")
def new_rows() -> chromadb.Collection:
    return filled(NEW)


class World:
    """A store, and retrievals of one user under either model."""

    def __init__(self, store: BaseStore, mode: str, old: chromadb.Collection, new: chromadb.Collection) -> None:
        self.store, self.mode = store, mode
        self.memory = PersonaMemory(store=store)
        self.old, self.new = self.over(old, OLD), self.over(new, NEW)

    def over(self, rows: Any, model: HashEmbeddings, memory: PersonaMemory | None = None) -> VARSRetriever:
        return VARSRetriever(vectorstore=rows, embeddings=model, memory=memory or self.memory, k=3)

    async def ask(self, retriever: VARSRetriever, user: str = "ana", query: str = "film") -> list[Any]:
        if self.mode == "async":
            return await retriever.ainvoke(query, None, user_id=user, session_id="t1")
        return await asyncio.to_thread(retriever.invoke, query, None, user_id=user, session_id="t1")

    async def rate(self, reward: float = 1.0, query: str = "film", pick: int | None = 0) -> str:
        docs = await self.ask(self.old, query=query)
        rated = docs if pick is None else docs[pick]
        receipt = await asyncio.to_thread(self.old.feedback, rated, reward, None, user_id="ana")
        assert receipt.applied
        return receipt.id

    async def copies(self) -> list[Feedback]:
        entries, _ = await asyncio.to_thread(run, self.memory.ledger.entries("ana"))
        return [entry for entry in entries if isinstance(entry, Feedback) and entry.origin is not None]

    async def vectors(self) -> Any:
        return await asyncio.to_thread(run, self.memory.user_vectors("ana", "t1", NEW_NAME, 24))


@pytest.fixture(params=["memory-sync", "memory-async", "sqlite-sync", "sqlite-async"])
async def world(request, tmp_path, old_rows, new_rows) -> AsyncIterator[World]:
    kind, mode = request.param.split("-")
    if kind == "memory":
        yield World(InMemoryStore(), mode, old_rows, new_rows)
    else:
        with SqliteStore.from_conn_string(str(tmp_path / "store.sqlite3")) as store:
            store.setup()
            yield await asyncio.to_thread(World, store, mode, old_rows, new_rows)


@pytest.fixture
def quick(old_rows, new_rows) -> World:
    return World(InMemoryStore(), "sync", old_rows, new_rows)


def new_vector(name: str) -> np.ndarray:
    return unit(NEW.embed_documents([TEXTS[name]])[0])


async def test_the_first_retrieval_under_a_new_model_carries_feedback_over(world):
    ids = [await world.rate(1.0), await world.rate(-1.0, "film guns", pick=None)]
    docs = await world.ask(world.new)
    assert any(doc.metadata["persona"]["long"] for doc in docs)  # personal at once
    copies = await world.copies()
    entries, _ = await asyncio.to_thread(run, world.memory.ledger.entries("ana"))
    originals = {entry.id: entry for entry in entries if entry.id in ids}
    assert sorted(copy.origin for copy in copies) == sorted(ids)
    for copy in copies:
        first = originals[copy.origin]
        for name in ("time", "reward", "gate", "source", "session", "documents", "retrieval_id"):
            assert getattr(copy, name) == getattr(first, name), name
        assert (copy.embedding, copy.dimension, copy.key) == (NEW_NAME, 24, None)
        (chosen,) = decode_vectors(copy.chosen, 24)
        assert np.allclose(chosen, np.mean([new_vector(name) for name in first.documents], axis=0), atol=1e-6)
    found = await world.vectors()
    events = in_order(events_of(copies, NEW_NAME, PreferenceSpace.identity(24), without=(), known={}))
    assert np.array_equal(found.long, fold(events, VARSConfig(), k=24).long)
    assert found.count == 2


async def test_it_happens_once_and_to_nobody_else(world):
    await world.rate()
    await world.ask(world.new)
    before = await world.copies()
    for user in ("ana", "bo"):
        await world.ask(world.new, user)
    assert await world.copies() == before
    await world.rate(-1.0, "film guns")  # given under the old model after the change
    await world.ask(world.new)
    assert await world.copies() == before


async def test_a_withdrawal_of_the_original_withdraws_the_copy(world):
    one, other = await world.rate(1.0), await world.rate(-1.0, "film guns")
    await world.ask(world.new)
    await asyncio.to_thread(world.memory.withdraw, "ana", one)
    found = await world.vectors()
    assert found.count == 1
    rebuilt = await asyncio.to_thread(world.memory.rebuild, "ana")
    assert np.array_equal(found.long, rebuilt.long)
    await asyncio.to_thread(world.memory.withdraw, "ana", other)
    assert (await world.vectors()).is_cold
    await world.ask(world.new)
    assert len(await world.copies()) == 2  # and it is not translated again


async def test_a_withdrawal_also_reaches_a_copy_in_a_snapshot(world, monkeypatch):
    kept = await world.rate(1.0)
    await world.ask(world.new)
    later = SimpleNamespace(time=lambda: real_time.time() + 600.0)
    for module in ("memory.ledger", "memory.feedback", "retrieval.recorded"):
        monkeypatch.setattr(f"langchain_persona.{module}.time", later)
    assert (await world.vectors()).count == 1  # writes the snapshot
    await asyncio.to_thread(world.memory.withdraw, "ana", kept)
    for _ in range(2):
        assert (await world.vectors()).is_cold


def test_a_withdrawal_before_the_change_stays_one(quick):
    kept = asyncio.run(quick.rate())
    quick.memory.withdraw("ana", kept)
    assert not any(doc.metadata["persona"]["long"] for doc in quick.new.invoke("film", user_id="ana"))
    assert asyncio.run(quick.copies()) == []


@pytest.mark.parametrize("apart", range(6))
def test_two_processes_at_once_write_the_same_entries(quick, apart):
    asyncio.run(quick.rate())
    steps = translation.translated(quick.memory, quick.new._source, "ana", NEW_NAME, 24)
    effect, answer = next(steps), False
    for _ in range(apart):
        effect = steps.send(effect.store.batch(effect.ops) if isinstance(effect, StoreOps) else effect.function())
    other = quick.over(quick.new.vectorstore, NEW, PersonaMemory(store=quick.store))  # does all of it meanwhile
    found = [doc.metadata["persona"]["long"] for doc in other.invoke("film", user_id="ana")]
    try:
        while True:
            effect = steps.send(effect.store.batch(effect.ops) if isinstance(effect, StoreOps) else effect.function())
    except StopIteration as end:
        answer = end.value
    assert answer is (apart > 0)
    assert len(asyncio.run(quick.copies())) == 1
    assert [doc.metadata["persona"]["long"] for doc in quick.new.invoke("film", user_id="ana")] == found


def test_the_background_is_that_of_the_retrieval_or_else_of_the_collection(quick):
    asyncio.run(quick.rate())
    quick.new.invoke("film", user_id="ana")
    (copy,) = asyncio.run(quick.copies())
    record = quick.store.get(("persona", label("ana"), "retrievals"), label(copy.retrieval_id, prefix="r")).value
    weights = np.array(record["probabilities"])
    mean = weights @ np.stack([new_vector(name) for name in record["candidates"]]) / weights.sum()
    assert np.allclose(decode_vectors(copy.expected, 24)[0], mean, atol=1e-6)


@pytest.mark.parametrize("damage", ["gone", "corrupt"])
def test_without_the_retrieval_the_background_is_a_sample(quick, damage):
    asyncio.run(quick.rate())
    for item in quick.store.search(("persona", label("ana"), "retrievals")):
        if damage == "gone":
            quick.store.delete(item.namespace, item.key)
        else:
            quick.store.put(item.namespace, item.key, {"id": 3})
    quick.new.invoke("film", user_id="ana")
    (copy,) = asyncio.run(quick.copies())
    everything = np.mean([new_vector(name) for name in TEXTS], axis=0)
    assert np.allclose(decode_vectors(copy.expected, 24)[0], everything, atol=1e-6)


def test_documents_that_are_gone_are_passed_over(quick):
    for pick in (0, None):
        asyncio.run(quick.rate(pick=pick))
    entries, _ = run(quick.memory.ledger.entries("ana"))
    gone = entries[0].documents[0]
    rest = {name: text for name, text in TEXTS.items() if name != gone}
    quick.over(filled(NEW, **rest), NEW).invoke("film", user_id="ana")
    (copy,) = asyncio.run(quick.copies())  # that of the whole retrieval
    left = [new_vector(name) for name in entries[1].documents if name != gone]
    assert len(left) == 2
    assert np.allclose(decode_vectors(copy.chosen, 24)[0], np.mean(left, axis=0), atol=1e-6)


def test_a_collection_that_is_still_empty_has_nothing_to_go_by(quick):
    asyncio.run(quick.rate())
    rows = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
    assert quick.over(rows, NEW).invoke("film", user_id="ana") == []
    assert asyncio.run(quick.copies()) == []


def test_only_the_latest_entries_are_translated(quick, monkeypatch):
    monkeypatch.setattr(translation, "MOST", 2)
    ids = [asyncio.run(quick.rate(query=f"film {word}")) for word in WORDS[:4]]
    quick.new.invoke("film", user_id="ana")
    assert [copy.origin for copy in asyncio.run(quick.copies())] == ids[2:]


def test_an_explanation_counts_a_thumb_once(quick):
    kept = asyncio.run(quick.rate())
    asyncio.run(quick.rate(-1.0, "film guns"))
    quick.new.invoke("film", user_id="ana")
    told = quick.memory.explain("ana")
    assert (told.events, told.inert, told.withdrawn, told.embedding) == (2, 0, 0, NEW_NAME)
    quick.memory.withdraw("ana", kept)
    told = quick.memory.explain("ana")
    assert (told.events, told.inert, told.withdrawn) == (1, 0, 1)


def test_a_third_model_takes_the_originals_and_not_the_copies(quick):
    asyncio.run(quick.rate())
    quick.new.invoke("film", user_id="ana")
    third = HashEmbeddings(32)
    quick.over(filled(third), third).invoke("film", user_id="ana")
    assert sorted((copy.dimension, copy.origin) for copy in asyncio.run(quick.copies())) == [
        (24, asyncio.run(quick.copies())[0].origin),
        (32, asyncio.run(quick.copies())[0].origin),
    ]


class Counting(BaseStore):
    """Hands on to another store and keeps what was asked; fails where told."""

    def __init__(self, store: BaseStore) -> None:
        self.store, self.ops, self.fails = store, [], lambda op: False
        self.supports_ttl = store.supports_ttl

    def batch(self, ops):
        self.ops += ops
        if any(self.fails(op) for op in ops):
            raise ConnectionError("the store is gone")
        return self.store.batch(ops)

    async def abatch(self, ops):
        return self.batch(ops)


def test_who_never_gave_any_pays_nothing_and_who_has_nothing_to_carry_over_one_read_in_each_process(quick):
    asyncio.run(quick.rate())
    counting = Counting(quick.store)
    for process in range(3):
        counting.ops.clear()
        memory = PersonaMemory(store=counting)
        for _ in range(3):
            for retriever, user in ((quick.old, "ana"), (quick.new, "new")):
                quick.over(retriever.vectorstore, retriever.embeddings, memory).invoke("film", user_id=user)
        told = [op for op in counting.ops if "translated" in getattr(op, "namespace", ())]
        assert [type(op) for op in told] == ([GetOp, PutOp] if process == 0 else [GetOp])
        assert all(label("ana") in op.namespace for op in told)


@pytest.mark.parametrize("first", ["another collection", "cards", "an empty one"])
def test_who_asks_elsewhere_first_loses_nothing(quick, first):
    asyncio.run(quick.rate())
    if first == "cards":
        memory = PersonaMemory(store=quick.store, cards=filled(NEW, c="coffee"), embeddings=NEW)
        memory.remember("ana", "Drinks her coffee black.")
        elsewhere = memory.as_retriever(k=2)
    else:
        rows = filled(NEW, x="film rain")
        if first == "an empty one":
            rows.delete(ids=["x"])
        elsewhere = quick.over(rows, NEW)
    elsewhere.invoke("film", user_id="ana")
    assert asyncio.run(quick.copies()) == []
    assert any(doc.metadata["persona"]["long"] for doc in quick.new.invoke("film", user_id="ana"))
    assert len(asyncio.run(quick.copies())) == 1


def test_each_source_carries_over_what_it_holds(quick):
    first = asyncio.run(quick.rate())
    others = {f"x{number}": f"show {word}" for number, word in enumerate(WORDS)}
    old = quick.over(filled(OLD, **others), OLD)
    second = old.feedback(old.invoke("show", user_id="ana")[0], 1.0, user_id="ana").id
    new = quick.over(filled(NEW, **others), NEW)
    for retriever, origins in ((quick.new, {first}), (new, {first, second}), (quick.new, {first, second})):
        assert any(doc.metadata["persona"]["long"] for doc in retriever.invoke("film", user_id="ana"))
        assert {copy.origin for copy in asyncio.run(quick.copies())} == origins


def test_a_collection_that_is_filled_later_is_looked_at_again(quick, monkeypatch):
    asyncio.run(quick.rate())
    now = [real_time.monotonic()]
    clock = SimpleNamespace(time=real_time.time, monotonic=lambda: now[0])
    monkeypatch.setattr("langchain_persona.translation.time", clock)
    rows = filled(NEW, x="film rain")
    retriever = quick.over(rows, NEW)
    retriever.invoke("film", user_id="ana")
    texts = list(TEXTS.values())
    rows.add(ids=list(TEXTS), documents=texts, embeddings=NEW.embed_documents(texts))
    retriever.invoke("film", user_id="ana")
    assert asyncio.run(quick.copies()) == []  # the ledger is not read at every retrieval
    now[0] += translation.AGAIN_SECONDS
    retriever.invoke("film", user_id="ana")
    assert len(asyncio.run(quick.copies())) == 1


async def test_feedback_under_the_new_model_does_not_keep_the_old_from_being_carried_over(world):
    """An objective query comes first, and its thumb is the first that there is under the new model."""
    kept = await world.rate()
    docs = await world.ask(world.new, query="what is 2 + 2")
    assert docs[0].metadata["persona"]["abstained"] == "objective"
    assert await world.copies() == []
    receipt = await asyncio.to_thread(world.new.feedback, docs[0], 1.0, None, user_id="ana")
    assert receipt.applied
    assert (await world.vectors()).count == 1
    await world.ask(world.new)
    assert [copy.origin for copy in await world.copies()] == [kept]
    found = await world.vectors()
    assert found.count == 2
    assert np.array_equal(found.long, (await asyncio.to_thread(world.memory.rebuild, "ana")).long)


@pytest.mark.parametrize("stop", range(1, 10))
def test_law_5_a_snapshot_that_was_made_meanwhile_without_the_copies_is_not_believed(quick, monkeypatch, stop):
    asyncio.run(quick.rate())
    docs = quick.new.invoke("what is 2 + 2", user_id="ana")
    quick.new.feedback(docs[0], -1.0, user_id="ana")
    later = SimpleNamespace(time=lambda: real_time.time() + 600.0)
    for module in ("memory.ledger", "memory.feedback", "retrieval.recorded"):
        monkeypatch.setattr(f"langchain_persona.{module}.time", later)
    steps, number = PersonaMemory(store=quick.store).user_vectors("ana", "t1", NEW_NAME, 24), 0
    effect = next(steps)
    try:
        while True:
            if number == stop:  # another process
                quick.over(quick.new.vectorstore, NEW, PersonaMemory(store=quick.store)).invoke("film", user_id="ana")
            effect = steps.send(effect.store.batch(effect.ops) if isinstance(effect, StoreOps) else effect.function())
            number += 1
    except StopIteration:
        pass
    if number <= stop:
        quick.new.invoke("film", user_id="ana")
    for _ in range(2):
        assert run(PersonaMemory(store=quick.store).user_vectors("ana", "t1", NEW_NAME, 24)).count == 2


def test_law_3_a_store_that_fails_meanwhile_costs_the_personal_part_and_the_next_retrieval_tries_again(quick, caplog):
    asyncio.run(quick.rate())
    counting = Counting(quick.store)
    counting.fails = lambda op: isinstance(op, PutOp) and "translated" in op.namespace
    retriever = quick.over(quick.new.vectorstore, NEW, PersonaMemory(store=counting))
    plain = [doc.id for doc in retriever.invoke("film")]
    assert [doc.id for doc in retriever.invoke("film", user_id="ana")] == plain
    assert [record.levelno >= logging.WARNING for record in caplog.records].count(True) == 1
    counting.fails = lambda op: False
    assert any(doc.metadata["persona"]["long"] for doc in retriever.invoke("film", user_id="ana"))


def test_law_3_a_collection_that_gives_no_vectors_by_name_is_tried_again(quick, monkeypatch):
    asyncio.run(quick.rate())
    source = quick.new._source

    def broken(ids, *, user):
        raise ConnectionError("gone")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(source, "stored", broken)
        docs = quick.new.invoke("film", user_id="ana")
    assert len(docs) == 3
    assert docs[0].metadata["persona"]["retrieval_id"]
    assert asyncio.run(quick.copies()) == []
    quick.new.invoke("film", user_id="ana")
    assert len(asyncio.run(quick.copies())) == 1


def test_a_source_of_ones_own_needs_no_vectors_by_name(quick):
    asyncio.run(quick.rate())
    assert run(translation.translated(quick.memory, object(), "ana", NEW_NAME, 24)) is False


def test_cards_are_carried_over_too():
    store = InMemoryStore()

    def opened(model: HashEmbeddings) -> PersonaMemory:
        rows = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
        return PersonaMemory(store=store, cards=rows, embeddings=model)

    first = opened(OLD)
    for text in ("Drinks her coffee black.", "Likes trains.", "Hates guns."):
        first.remember("ana", text)
    retriever = first.as_retriever(k=2)
    retriever.feedback(retriever.invoke("coffee", user_id="ana")[0], 1.0, user_id="ana")
    docs = opened(NEW).as_retriever(k=2).invoke("coffee", user_id="ana")
    assert any(doc.metadata["persona"]["long"] for doc in docs)


def test_an_evaluation_counts_a_rating_once_and_heeds_its_withdrawal(quick):
    kept = asyncio.run(quick.rate())
    asyncio.run(quick.rate(-1.0, "film guns"))
    before = quick.memory.evaluate()
    quick.new.invoke("film", user_id="ana")
    assert all(copy.logged is None for copy in asyncio.run(quick.copies()))
    after = quick.memory.evaluate()
    assert (after.ratings, after.left_out) == (before.ratings, before.left_out) == (2, 0)
    # as copies were written before: with the log of their originals
    for item in quick.store.search(("persona", label("ana"), "feedback"), limit=100):
        if item.value.get("origin"):
            logged = quick.store.search(("persona", label("ana"), "feedback"), filter={"id": item.value["origin"]})
            quick.store.put(item.namespace, item.key, {**item.value, "logged": logged[0].value["logged"]})
    quick.memory.withdraw("ana", kept)
    assert (quick.memory.evaluate().ratings, quick.memory.evaluate().left_out) == (1, 0)
