"""The life of a fitted space in the memory: refit, versions, who sees which when, what a broken store costs."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
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
from langgraph.store.sqlite.aio import AsyncSqliteStore

from langchain_persona.arrays import encode_vectors, unit
from langchain_persona.effects import StoreOps, run
from langchain_persona.errors import ConfigError, StoreError
from langchain_persona.identity import embedding_name, label
from langchain_persona.learning import MovingAverage, VARSConfig, WindowedRidge, fold, in_order
from langchain_persona.memory import PersonaMemory, refit
from langchain_persona.memory.entries import events_of
from langchain_persona.records import Feedback, Withdrawal
from langchain_persona.retriever import VARSRetriever
from langchain_persona.spaces import PreferenceSpace
from langchain_persona.testing import HashEmbeddings

D = 16
MODEL = HashEmbeddings(D)
NAME = embedding_name(MODEL, D)
TEXTS = {f"d{number}": f"film {word}" for number, word in enumerate(["horses", "rockets", "roses", "guns", "pots"])}
USERS = [f"user.{number}@example.com" for number in range(6)]
LONG_AGO = 1_700_000_000.0


def entry(name: str, item: Any, reward: float, time: float, model: str = NAME) -> Feedback:
    vector = unit(np.asarray(item, dtype=float))
    return Feedback(
        id=name,
        retrieval_id=f"r{name}",
        reward=reward,
        gate=1.0,
        source="thumbs",
        time=time,
        embedding=model,
        dimension=vector.size,
        chosen=encode_vectors(vector),
        expected=encode_vectors(np.zeros(vector.size)),
    )


def teach(memory: PersonaMemory, users: list[str] = USERS, *, seed: int = 0, each: int = 8, d: int = D) -> None:
    """Everybody likes the first axis; they differ along the second."""
    rng = np.random.default_rng(seed)
    model = NAME if d == D else f"other/{d}"
    for number, user in enumerate(users):
        for index in range(each):
            item = rng.normal(size=d)
            taste = item[0] + (1.0 if number % 2 else -1.0) * 2.0 * item[1]
            made = entry(f"{seed}-{number}-{index}", item, 1.0 if taste > 0 else -1.0, LONG_AGO + 10.0 * index, model)
            run(memory.ledger.append(user, made))


def expected(memory: PersonaMemory, user: str, space: PreferenceSpace) -> np.ndarray:
    """The fold of a ledger in a space, from its entries alone."""
    entries, _ = run(memory.ledger.entries(user))
    without = {one.target for one in entries if isinstance(one, Withdrawal)}
    prior = space.prior if memory.config.prior == "population" else None
    events = in_order(events_of(entries, NAME, space, without=without, known={}, prior=prior))
    return fold(events, memory.config, k=space.k).long


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class World:
    """A store and how to call a memory: `await world(memory, "refit", min_users=3)`."""

    def __init__(self, store: BaseStore, mode: str) -> None:
        self.store, self.mode = store, mode

    def memory(self, **options: Any) -> PersonaMemory:
        return PersonaMemory(store=self.store, **options)

    async def __call__(self, memory: PersonaMemory, name: str, *arguments: Any, **options: Any) -> Any:
        if self.mode == "async":
            return await getattr(memory, f"a{name}")(*arguments, **options)
        return await asyncio.to_thread(getattr(memory, name), *arguments, **options)

    async def taught(self, **options: Any) -> PersonaMemory:
        memory = self.memory(**options)
        await asyncio.to_thread(teach, memory)
        return memory


@pytest.fixture(params=["memory-sync", "memory-async", "sqlite-sync", "sqlite-async", "asyncsqlite-async"])
async def world(request, tmp_path) -> AsyncIterator[World]:
    kind, mode = request.param.split("-")
    path = str(tmp_path / "store.sqlite3")
    if kind == "memory":
        yield World(InMemoryStore(), mode)
    elif kind == "sqlite":
        with SqliteStore.from_conn_string(path) as store:
            store.setup()
            yield World(store, mode)
    else:
        async with AsyncSqliteStore.from_conn_string(path) as store:
            await store.setup()
            yield World(store, mode)


@pytest.fixture
def memory() -> PersonaMemory:
    made = PersonaMemory(store=InMemoryStore())
    teach(made)
    return made


def collection() -> chromadb.Collection:
    made = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
    made.add(ids=list(TEXTS), documents=list(TEXTS.values()), embeddings=MODEL.embed_documents(list(TEXTS.values())))
    return made


# refit ------------------------------------------------------------------------------------------------------


async def test_refit_puts_a_space_in_force_and_rebuilds_each_user_at_the_next_read(world):
    memory = await world.taught()
    before = await world(memory, "vectors", USERS[0])
    space = await world(memory, "refit", k=4, min_users=6)
    assert (space.kind, space.k, space.about["users"], space.about["events"]) == ("fitted", 4, 6, 48)
    after = await world(memory, "vectors", USERS[0])
    assert (before.space.id, after.space.id) == ("identity-16", space.id)
    assert after.count == before.count == 8
    assert np.array_equal(after.long, await asyncio.to_thread(expected, memory, USERS[0], space))
    again = await world(memory, "rebuild", USERS[0])
    assert np.array_equal(again.long, after.long)
    fresh = await world(world.memory(), "vectors", USERS[0])  # from the snapshot
    assert np.array_equal(fresh.long, after.long)
    (version,) = await world(memory, "spaces")
    assert (version.id, version.embedding, version.users, version.events, version.current) == (
        space.id,
        NAME,
        6,
        48,
        True,
    )
    assert (await world(memory, "explain", USERS[0])).space == space.id


async def test_another_memory_on_the_store_sees_it_at_its_next_read_and_goes_on_learning_in_it(world):
    memory, other = await world.taught(), world.memory()
    for _ in range(2):  # the second read is remembered
        assert (await world(other, "vectors", USERS[1])).space.id == "identity-16"
    space = await world(memory, "refit", min_users=6)
    assert (await world(other, "vectors", USERS[1])).space.id == space.id
    await asyncio.to_thread(run, memory.ledger.append(USERS[1], entry("late", np.ones(D), -1.0, time.time())))
    found = await world(other, "vectors", USERS[1])
    assert found.count == 9
    assert np.array_equal(found.long, await asyncio.to_thread(expected, memory, USERS[1], space))


async def test_versions_stay_and_any_of_them_can_be_put_in_force_again(world):
    memory = await world.taught()
    plain = await world(memory, "vectors", USERS[2])
    first = await world(memory, "refit", min_users=6)
    in_first = await world(memory, "vectors", USERS[2])
    await asyncio.to_thread(teach, memory, ["someone", "another"], seed=5)
    second = await world(memory, "refit", min_users=6)
    assert first.id != second.id
    versions = await world(memory, "spaces", NAME)
    assert [(one.id, one.current) for one in versions] == [(first.id, False), (second.id, True)]
    assert await world(memory, "spaces", "another model") == []
    for name, known in ((first.id, in_first), (None, plain), (first.id, in_first)):
        await world(memory, "use_space", name)
        found = await world(memory, "vectors", USERS[2])
        assert found.space.id == known.space.id
        assert np.array_equal(found.long, known.long)
    with pytest.raises(ConfigError, match=f"known are: {first.id}, {second.id}"):
        await world(memory, "use_space", "fitted-0")
    assert (await world(memory, "refit", min_users=6)).id == second.id  # the same again makes no version
    assert [one.current for one in await world(memory, "spaces")] == [False, True]


async def test_withdrawn_feedback_and_other_models_stay_out(world):
    memory = await world.taught()
    clean = await world(memory, "refit", min_users=6)
    await asyncio.to_thread(teach, memory, d=8, seed=3)
    await asyncio.to_thread(run, memory.ledger.append(USERS[0], entry("bad", -np.ones(D), 1.0, LONG_AGO)))
    await world(memory, "withdraw", USERS[0], "bad")
    assert (await world(memory, "refit", min_users=6, embedding=NAME)).id == clean.id
    other = await world(memory, "refit", min_users=6, embedding="other/8")
    assert (other.d, len(await world(memory, "spaces"))) == (8, 2)
    assert [one.current for one in await world(memory, "spaces")] == [True, True]
    await world(memory, "use_space", None, embedding="other/8")
    assert [one.current for one in await world(memory, "spaces", NAME)] == [True]


async def test_too_few_users_change_nothing(world):
    memory = await world.taught()
    with pytest.raises(ConfigError, match="20 users with 5 ratings each, got 6 of 6"):
        await world(memory, "refit")
    with pytest.raises(ConfigError, match=f"no feedback under the embedding model 'unknown'; there is of: '{NAME}'"):
        await world(memory, "refit", embedding="unknown")
    for wrong in (5, "", True):
        with pytest.raises(ConfigError, match="embedding must be the name of an embedding model"):
            await world(memory, "refit", embedding=wrong)
    with pytest.raises(ConfigError, match="min_users must be a whole number of at least 2"):
        await world(memory, "refit", min_users=1)
    assert await world(memory, "spaces") == []
    assert (await world(memory, "vectors", USERS[0])).space.id == "identity-16"


async def test_a_space_that_the_developer_chose_stays(world):
    chosen = PreferenceSpace.pca(np.random.default_rng(0).normal(size=(30, D)), k=3)
    memory = await world.taught(space=chosen)
    fitted = await world(memory, "refit", min_users=6)
    assert (await world(memory, "vectors", USERS[0])).space.id == chosen.id
    assert (await world(world.memory(), "vectors", USERS[0])).space.id == fitted.id


def test_anybodys_name_will_do_and_nobodys_is_kept(memory):
    teach(memory, ["a.b", "ü" * 200, "x" * 500], seed=9)
    space = memory.refit(min_users=9)
    assert space.about["users"] == 9
    kept = str([item.value for item in memory.store.search(("persona", "spaces"), limit=100)])
    assert not any(name in kept for name in ("example.com", "a.b", "user", "üü")) or kept.count("user") == kept.count(
        "'users'"
    )


def test_beyond_so_many_users_a_sample_is_taken_always_the_same(memory, monkeypatch):
    monkeypatch.setattr(refit, "MAX_USERS", 4)
    space = memory.refit(min_users=4)
    assert space.about["users"] == 4
    assert memory.refit(min_users=4).id == space.id


def test_unreadable_entries_are_left_out(memory, caplog):
    clean = memory.refit(min_users=6)
    broken = entry("x", np.ones(D), 1.0, LONG_AGO).model_copy(update={"chosen": "!"})
    run(memory.ledger.append(USERS[0], broken))
    assert memory.refit(min_users=6).id == clean.id
    assert len(warnings_in(caplog)) == 1


# progress ---------------------------------------------------------------------------------------------------


async def test_progress_is_told_to_a_function(world):
    told: list[tuple[int, int]] = []
    memory = await world.taught()
    await world(memory, "refit", min_users=6, progress=lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {26}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[0] == (1, 26)
    assert told[-1] == (26, 26)


def test_progress_as_a_bar_or_not_at_all(memory, capsys, monkeypatch):
    memory.refit(min_users=6)
    assert capsys.readouterr() == ("", "")
    memory.refit(min_users=6, progress=True)
    assert "preference space" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm", None)
    memory.refit(min_users=6, progress=True)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ConfigError, match="progress must be"):
        memory.refit(progress="yes")


@pytest.mark.parametrize("when", [3, 10, 26])
async def test_what_a_function_of_progress_raises_is_no_failure_of_the_store(world, when):
    def tell(done: int, total: int) -> None:
        if done == when:
            raise RuntimeError("the bar is closed")

    memory = await world.taught()
    with pytest.raises(RuntimeError, match="the bar is closed"):
        await world(memory, "refit", min_users=6, progress=tell)


async def test_law_8_progress_is_told_off_the_event_loop(memory, monkeypatch):
    here, told = threading.get_ident(), set()
    await memory.arefit(min_users=6, progress=lambda *_: told.add(threading.get_ident()))
    assert here not in told
    places: dict[str, int] = {}

    class Bar:
        n = 0

        def __init__(self, **_: Any) -> None:
            places["open"] = threading.get_ident()

        def update(self, more: int) -> None:
            places["tell"] = threading.get_ident()

        def close(self) -> None:
            places["close"] = threading.get_ident()

    def module(name: str) -> Any:
        places["import"] = threading.get_ident()
        return SimpleNamespace(tqdm=Bar)

    monkeypatch.setattr(refit, "import_module", module)
    with pytest.raises(ConfigError):
        await memory.arefit(progress=True)
    assert set(places) == {"import", "open", "tell", "close"}
    assert here not in places.values()


# what counts ------------------------------------------------------------------------------------------------


def test_feedback_that_weighs_nothing_does_not_make_up_the_number(memory):
    for number in range(5):
        made = entry(f"g{number}", np.ones(D), 1.0, LONG_AGO + number).model_copy(update={"gate": 0.0})
        run(memory.ledger.append("new", made))
    assert memory.refit(min_users=6).about["users"] == 6
    with pytest.raises(ConfigError, match="got 6 of 7"):
        memory.refit(min_users=7)


def test_only_the_latest_ratings_of_a_user_are_decoded(memory, monkeypatch):
    decoded = []
    original = refit.decode_vectors
    monkeypatch.setattr(refit, "MAX_EVENTS", 6)
    monkeypatch.setattr(refit, "decode_vectors", lambda *given: decoded.append(given) or original(*given))
    assert memory.refit(min_users=6).about["events"] == len(decoded) == 36
    entries, _ = run(memory.ledger.entries(USERS[0]))
    items = memory.store.search(("persona", label(USERS[0]), "feedback"))
    found, models = refit._ratings(items, None)
    latest = [original(one.chosen, D)[0] for one in entries[2:]]
    assert np.array_equal(found[NAME].arrays()[0], latest)
    assert models == {NAME}


def test_ratings_that_are_all_alike_put_nothing_in_force():
    memory = PersonaMemory(store=InMemoryStore())
    rng = np.random.default_rng(0)
    for user in USERS:
        for number in range(6):
            run(memory.ledger.append(user, entry(f"{user}{number}", rng.normal(size=D), 1.0, LONG_AGO + number)))
    with pytest.raises(ConfigError, match="every one of the 36 ratings is 1"):
        memory.refit(min_users=6)
    assert memory.spaces() == []


async def test_use_space_names_the_models_that_there_are(world):
    memory = await world.taught()
    with pytest.raises(ConfigError, match="embedding model 'typo'; there are some for: none"):
        await world(memory, "use_space", None, "typo")
    space = await world(memory, "refit", min_users=6)
    for wanted in (None, space.id):
        with pytest.raises(ConfigError, match=f"embedding model 'typo'; there are some for: '{NAME}'"):
            await world(memory, "use_space", wanted, "typo")
    assert (await world(memory, "vectors", USERS[0])).space.id == space.id


@pytest.mark.parametrize("model", [None, NAME])
def test_a_pointer_whose_version_is_gone_can_be_taken_back(memory, caplog, model):
    space = memory.refit(min_users=6)
    memory.store.delete(("persona", "spaces", label(NAME, prefix="e")), label(space.id, prefix="s"))
    memory.use_space(None, model)
    assert PersonaMemory(store=memory.store).vectors(USERS[0]).space.id == "identity-16"
    assert warnings_in(caplog) == []


# trouble ----------------------------------------------------------------------------------------------------


class Watched(BaseStore):
    """Hands on to another store, keeps what was asked, and fails where told."""

    def __init__(self, store: BaseStore) -> None:
        self.store, self.batches, self.fails = store, [], lambda op: False
        self.supports_ttl = store.supports_ttl

    def batch(self, ops):
        self.batches.append(list(ops))
        if any(self.fails(op) for op in ops):
            raise ConnectionError("the store is gone")
        return self.store.batch(ops)

    async def abatch(self, ops):
        return self.batch(ops)


def is_pointer(op: Any) -> bool:
    return isinstance(op, GetOp | PutOp) and op.namespace == ("persona", "spaces")


def test_a_crash_between_version_and_pointer_leaves_the_former_in_force(memory):
    first = memory.refit(min_users=6)
    teach(memory, ["someone"], seed=7)
    watched = Watched(memory.store)
    watched.fails = lambda op: isinstance(op, PutOp) and is_pointer(op)
    crashed = PersonaMemory(store=watched)
    with pytest.raises(StoreError, match=r"the store failed .* what was in force stays so"):
        crashed.refit(min_users=6)
    assert memory.vectors(USERS[0]).space.id == first.id
    one, other = memory.spaces()
    assert (one.id, one.current, other.current) == (first.id, True, False)
    memory.use_space(other.id)
    assert memory.vectors(USERS[0]).space.id == other.id


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("read", ["pointer", "map"])
async def test_law_3_a_store_that_fails_at_the_space_costs_the_personal_part_and_one_warning(
    memory, caplog, mode, read
):
    space = memory.refit(min_users=6)
    watched, rows = Watched(memory.store), collection()
    watched.fails = is_pointer if read == "pointer" else lambda op: getattr(op, "key", "") == f"s={space.id}"
    retriever = VARSRetriever(vectorstore=rows, embeddings=MODEL, memory=PersonaMemory(store=watched), k=5)
    plain = retriever.invoke("film", user_id="")
    call = {"user_id": USERS[0]}
    docs = await retriever.ainvoke("film", **call) if mode == "async" else retriever.invoke("film", **call)
    assert [doc.id for doc in docs] == [doc.id for doc in plain]
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize("damage", ["gone", "not ours", "another", "too long", "pointer"])
def test_a_version_that_cannot_be_read_costs_one_warning_and_means_identity(memory, caplog, damage):
    space = memory.refit(min_users=6)
    place, key = ("persona", "spaces", f"e={NAME.replace('/', '~2f')}"), f"s={space.id}"
    value = memory.store.get(place, key).value
    if damage == "gone":
        memory.store.delete(place, key)
    elif damage == "pointer":
        memory.store.put(place[:2], place[2], {"space": 7})
    else:
        other = PreferenceSpace.identity(D)
        longer = PreferenceSpace("fitted", np.zeros(D + 1), None, np.ones(D + 1))
        changed = {"not ours": {"d": "x"}, "another": other.to_json(), "too long": longer.to_json()}[damage]
        memory.store.put(place, key, {**value, "space": changed})
        if damage == "too long":
            memory.store.put(place, f"s={longer.id}", {**value, "id": longer.id, "space": changed})
            memory.use_space(longer.id)
    fresh = PersonaMemory(store=memory.store)
    for _ in range(2):
        assert fresh.vectors(USERS[0]).space.id == "identity-16"
    assert len(warnings_in(caplog)) == 1
    if damage == "pointer":
        caplog.clear()
        assert [one.current for one in fresh.spaces()] == [False]
        assert len(warnings_in(caplog)) == 1


def test_the_hot_path_reads_one_thing_more_in_the_same_batch_and_the_map_once(memory):
    def without(batches: list[list[Any]]) -> list[int]:
        return [sum(not is_pointer(op) for op in batch) for batch in batches]

    def asked(**options: Any) -> list[list[Any]]:
        watched = Watched(memory.store)
        reader = PersonaMemory(store=watched, **options)
        for _ in range(3):
            run(reader.user_vectors(USERS[0], "", NAME, D))
        return watched.batches

    for options in ({}, {"space": PreferenceSpace.identity(D)}):
        PersonaMemory(store=memory.store, **options).vectors(USERS[0])  # writes the snapshot
    given, before = asked(space=PreferenceSpace.identity(D)), asked()
    assert without(before) == without(given)
    assert [sum(map(is_pointer, batch)) for batch in before if any(map(is_pointer, batch))] == [1, 1, 1]
    memory.refit(min_users=6)
    memory.vectors(USERS[0])
    after = asked()
    assert len(after) == len(before) + 1
    assert sum(any(getattr(op, "key", "").startswith("s=") for op in batch) for batch in after) == 1


def test_who_reads_while_another_refits_is_served_in_one_space_or_the_other(memory):
    memory.vectors(USERS[0])
    plain = expected(memory, USERS[0], PreferenceSpace.identity(D))
    for stop in range(1, 8):
        memory.use_space(None)
        reader = PersonaMemory(store=memory.store)
        steps = reader.user_vectors(USERS[0], "", NAME, D)
        effect, number = next(steps), 1
        try:
            while True:
                if number == stop:
                    space = memory.refit(min_users=6)
                    memory.vectors(USERS[0])  # replaces the snapshot
                is_store = isinstance(effect, StoreOps)
                effect = steps.send(effect.store.batch(effect.ops) if is_store else effect.function())
                number += 1
        except StopIteration as end:
            found = end.value
        assert np.array_equal(found.long, plain if stop > 1 else expected(memory, USERS[0], space))
        if stop <= number:
            latest = reader.vectors(USERS[0])
            assert latest.space.id == space.id
            assert np.array_equal(latest.long, expected(memory, USERS[0], space))


@pytest.mark.parametrize("prior", ["none", "population"])
@pytest.mark.parametrize("seed", range(6))
def test_law_5_any_history_of_thumbs_and_spaces_equals_the_full_fold(memory, monkeypatch, seed, prior):
    """Two memories, thumbs, withdrawals, changes of space and pauses, with and without snapshots between."""
    rng, now = np.random.default_rng(seed), [time.time()]
    clock = SimpleNamespace(time=lambda: now[0])
    for module in ("memory.ledger", "memory.feedback"):
        monkeypatch.setattr(f"langchain_persona.{module}.time", clock)
    config = VARSConfig(rule=WindowedRidge(window=4), prior=prior)
    memories = [PersonaMemory(store=memory.store, config=config) for _ in range(2)]
    known = [memory.refit(min_users=6)]
    teach(memory, ["someone"], seed=7)
    known.append(memory.refit(min_users=6))
    given: list[str] = []
    for number in range(40):
        one = memories[int(rng.integers(2))]
        what = rng.choice(["thumb", "thumb", "withdraw", "space", "wait", "read", "read"])
        now[0] += float(rng.uniform(0.1, 30.0))
        if what == "thumb":
            made = entry(f"h{number}", rng.normal(size=D), float(rng.choice([-1.0, 1.0])), now[0])
            run(one.ledger.append("ana", made))
            given.append(made.id)
        elif what == "withdraw" and given:
            one.withdraw("ana", str(rng.choice(given)))
        elif what == "space":
            one.use_space([None, known[0].id, known[1].id][int(rng.integers(3))])
        elif what == "wait":
            now[0] += float(rng.choice([100.0, 5_000.0, 100_000.0]))
        current = next((one.id for one in memory.spaces() if one.current), None)
        space = next((one for one in known if one.id == current), PreferenceSpace.identity(D))
        found = run(one.user_vectors("ana", "", NAME, D))
        learned = expected(one, "ana", space)
        start = config.prior_scale * space.prior if prior == "population" and space.prior is not None else 0.0
        assert found.space.id == space.id
        assert np.array_equal(found.long, learned + start), (number, what)


def test_memories_with_spaces_of_their_own_on_one_store_leave_each_others_snapshots_alone(memory):
    rng = np.random.default_rng(3)
    spaces = [None, *(PreferenceSpace.pca(rng.normal(size=(30, D)), k=k) for k in (3, 4))]
    for _ in range(2):
        watched = Watched(memory.store)
        found = [PersonaMemory(store=watched, space=space).vectors(USERS[0]) for space in spaces]
        for space, vectors in zip(spaces, found, strict=True):
            assert np.array_equal(vectors.long, expected(memory, USERS[0], space or PreferenceSpace.identity(D)))
    # the second time each stands on its own: nothing is folded anew, so nothing is written
    assert not [op for batch in watched.batches for op in batch if isinstance(op, PutOp)]


@pytest.mark.parametrize("ahead", [0, 1])
def test_law_5_nothing_is_written_below_the_horizon_of_any_snapshot(memory, monkeypatch, ahead):
    """Clocks that differ: the memory with its own space has folded up to a time that the writer has not reached."""
    now = [time.time()]
    clock = SimpleNamespace(time=lambda: now[0])
    for module in ("memory.ledger", "memory.feedback"):
        monkeypatch.setattr(f"langchain_persona.{module}.time", clock)
    given = PreferenceSpace.pca(np.random.default_rng(3).normal(size=(30, D)), k=3)
    options = [{}, {"space": given}]
    run(memory.ledger.append("ana", entry("first", np.eye(D)[0], 1.0, now[0] - 100.0)))
    run(memory.ledger.append("ana", entry("other", np.eye(D)[1], 1.0, now[0] - 99.0)))
    now[0] += 10_000.0
    PersonaMemory(store=memory.store, **options[ahead]).vectors("ana")
    now[0] -= 9_000.0
    PersonaMemory(store=memory.store, **options[1 - ahead]).withdraw("ana", "other")
    now[0] += 9_100.0
    for each in options:
        fresh = PersonaMemory(store=memory.store, **each)
        assert fresh.vectors("ana").count == 1
        space = each.get("space", PreferenceSpace.identity(D))
        assert np.array_equal(fresh.vectors("ana").long, expected(memory, "ana", space))


# the population's prior -------------------------------------------------------------------------------------


def test_law_1_is_given_up_only_by_who_asks_for_it(memory):
    space = memory.refit(min_users=6)
    cold = run(memory.user_vectors("new", "", NAME, D))
    assert cold.is_cold
    warm = PersonaMemory(store=memory.store, config=VARSConfig(prior="population"))
    known = run(warm.user_vectors("new", "", NAME, D))
    assert np.allclose(known.effective, warm.config.rule.gain * space.prior)
    retriever = VARSRetriever(vectorstore=collection(), embeddings=MODEL, memory=warm, k=3)
    assert any(doc.metadata["persona"]["long"] for doc in retriever.invoke("film", user_id="new"))
    assert not any(doc.metadata["persona"]["long"] for doc in retriever.invoke("film"))  # nobody is not the mean user
    patient = PersonaMemory(store=memory.store, config=VARSConfig(prior="population", min_feedback=2))
    waiting = VARSRetriever(vectorstore=collection(), embeddings=MODEL, memory=patient, k=3)
    told = [doc.metadata["persona"] for doc in waiting.invoke("film", user_id="new")]
    assert {(why["long"], why["abstained"]) for why in told} == {(0.0, "thin evidence")}


async def test_a_prior_makes_up_what_it_predicts(world):
    memory = await world.taught(config=VARSConfig(prior="population"))
    space = await world(memory, "refit", min_users=6)
    found = await world(memory, "vectors", USERS[0])
    learned = await asyncio.to_thread(expected, memory, USERS[0], space)
    assert np.array_equal(found.long, learned + memory.config.prior_scale * space.prior)
    entries, _ = await asyncio.to_thread(run, memory.ledger.entries(USERS[0]))
    events = events_of(entries, NAME, space, without=(), known={}, prior=space.prior)
    assert [event.predicted for event in events] == [float(space.prior @ event.chosen) for event in events]
    assert np.array_equal((await world(memory, "rebuild", USERS[0])).long, found.long)


def test_a_prior_that_is_not_known_yet_costs_one_warning(memory, caplog):
    warm = PersonaMemory(store=memory.store, config=VARSConfig(prior="population"))
    for _ in range(2):
        assert run(warm.user_vectors("new", "", NAME, D)).is_cold
    assert len(warnings_in(caplog)) == 1


def test_a_prior_with_a_space_that_was_given():
    space = PreferenceSpace("shop", np.zeros(2), None, np.array([1.0, 0.0]))
    memory = PersonaMemory(store=InMemoryStore(), space=space, config=VARSConfig(prior="population"))
    assert np.allclose(memory.vectors("new").long, space.prior)
    assert "mean user of shop-2" in str(memory.explain("new"))
    assert memory.vectors(None).is_cold
    with pytest.raises(ConfigError, match="needs a space with a prior, and identity-2 has none"):
        PersonaMemory(store=InMemoryStore(), space=PreferenceSpace.identity(2), config=VARSConfig(prior="population"))


async def test_who_has_no_feedback_is_told_of_the_mean_user_where_one_is_in_force(world):
    memory = await world.taught(config=VARSConfig(prior="population"))
    assert "every ranking is the plain one" in str(await world(memory, "explain", "new"))
    assert (await world(memory, "vectors", "new")).long.shape == (0,)
    space = await world(memory, "refit", min_users=6)
    found = await world(memory, "vectors", "new")
    assert found.space.id == space.id
    assert np.array_equal(found.long, (await asyncio.to_thread(run, memory.user_vectors("new", "", NAME, D))).long)
    assert f"that of the mean user of {space.id}" in str(await world(memory, "explain", "new"))
    plain = await world(world.memory(), "explain", "new")
    assert "every ranking is the plain one" in str(plain)
    # two models: which one asks is not known
    await asyncio.to_thread(teach, memory, d=8, seed=3)
    await world(memory, "refit", min_users=6, embedding="other/8")
    told = await world(memory, "explain", "new")
    assert told.several
    assert "may start at the mean user" in str(told)
    assert (await world(memory, "vectors", "new")).long.shape == (0,)
    assert not (await world(memory, "explain", USERS[0])).several
    await world(memory, "use_space", None, NAME)
    assert (await world(memory, "vectors", "new")).long.shape == (8,)
    assert "anonymous" in str(await world(memory, "explain", None))


def test_a_mean_user_who_is_gone_costs_one_warning(memory, caplog):
    space = memory.refit(min_users=6)
    memory.store.delete(("persona", "spaces", label(NAME, prefix="e")), label(space.id, prefix="s"))
    warm = PersonaMemory(store=memory.store, config=VARSConfig(prior="population"))
    for _ in range(2):
        assert "every ranking is the plain one" in str(warm.explain("new"))
    assert len(warnings_in(caplog)) == 1


def test_priors_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match='prior must be "none" or "population"'):
        VARSConfig(prior="mean")
    with pytest.raises(ConfigError, match="a rule that predicts rewards"):
        VARSConfig(prior="population", rule=MovingAverage())
    assert VARSConfig().fingerprint != VARSConfig(prior="population").fingerprint
    assert VARSConfig(rule=WindowedRidge(gain=0.0), prior="population").prior_scale == 0.0


async def test_a_space_is_chosen_by_itself_by_its_version_or_by_its_id(tmp_path):
    memory = PersonaMemory(InMemoryStore())
    teach(memory)
    space = memory.refit(min_users=2, k=4)
    assert repr(space) == f"<PreferenceSpace {space.id}>"
    (version,) = memory.spaces()
    assert await memory.aspaces() == [version]
    for chosen in (space, version, space.id):
        memory.use_space(None)
        assert memory.vectors(USERS[0]).long.shape == (D,)
        memory.use_space(chosen)
        assert memory.vectors(USERS[0]).long.shape == (4,)
    await memory.ause_space(None)
    await memory.ause_space(version)
    assert memory.vectors(USERS[0]).long.shape == (4,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"space": "fitted-4"}, "must be a PreferenceSpace"), ({"config": {"spread": 1}}, "must be a VARSConfig")],
)
def test_a_space_or_a_configuration_that_is_none_is_refused_at_once(arguments, words):
    with pytest.raises(ConfigError, match=words):
        PersonaMemory(InMemoryStore(), **arguments)


async def test_a_memory_is_an_async_context_too():
    async with PersonaMemory(InMemoryStore()) as memory:
        assert memory.vectors("ana").count == 0
