"""The preference space in force: fitted from everybody's feedback, seen by every memory on the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from langgraph.store.base import GetOp, PutOp

from langchain_persona.errors import ConfigError
from langchain_persona.identity import label
from langchain_persona.learning import PreferenceSpace, VARSConfig, WindowedRidge, encode_vectors, unit
from langchain_persona.memory import PersonaMemory, spaces
from langchain_persona.records import Feedback
from tests.memories import MODEL, NAME, Clock, D, Watched, World, open_world, oracle, same, warnings_in

USERS = [f"user.{number}@example.com" for number in range(6)]
LONG_AGO = 1_700_000_000.0
PLACE = ("persona", "spaces")


def entry(name: str, item: Any, reward: float, time: float = LONG_AGO, model: str = NAME) -> Feedback:
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
        entries = []
        for index in range(each):
            item = rng.normal(size=d)
            taste = item[0] + (1.0 if number % 2 else -1.0) * 2.0 * item[1]
            reward = 1.0 if taste > 0 else -1.0
            entries.append(entry(f"{seed}-{number}-{index}", item, reward, LONG_AGO + 10.0 * index, model))
        memory.ledger.append(user, entries)


def ledger(memory: PersonaMemory, user: str) -> list[dict[str, Any]]:
    return [one.to_json() for one in memory.ledger.entries(user)]


@pytest.fixture
def memory() -> PersonaMemory:
    made = PersonaMemory(Watched(), MODEL)
    teach(made)
    return made


def another(memory: PersonaMemory, **options: Any) -> PersonaMemory:
    return PersonaMemory(memory.store, MODEL, **options)


@pytest.fixture(params=["memory-sync", "sqlite-async", "asyncsqlite-async"])
async def world(request, tmp_path) -> AsyncIterator[World]:
    async with open_world(request.param, tmp_path) as made:
        yield made


async def test_a_fitted_space_is_in_force_for_every_memory_at_its_next_read(world):
    await asyncio.to_thread(teach, world.raw)
    other = world.another().memory
    for _ in range(2):  # the second read is remembered
        plain = await other.vectors(USERS[0])
        assert plain.space.id == f"identity-{D}"
    space = await world.memory.fit(k=4, min_users=6)
    assert (space.kind, space.k, space.about["users"], space.about["events"]) == ("fitted", 4, 6, 48)
    values = await world.ledger(USERS[0])
    for one in (world.memory, other, world.another().memory):  # the last one from the snapshot
        found = await one.vectors(USERS[0])
        assert (found.space.id, found.count) == (space.id, 8)
        assert same(found, oracle(values, space=space))
    assert same(await world.memory.rebuild(USERS[0]), oracle(values, space=space))
    assert (await world.memory.explain(USERS[0])).space == space.id
    await world.memory.use_space(None)
    assert (await other.vectors(USERS[0])).long.tobytes() == plain.long.tobytes()
    await world.memory.use_space(space, embedding=NAME)
    assert (await other.vectors(USERS[0])).space.id == space.id
    await asyncio.to_thread(world.raw.ledger.append, USERS[0], [entry("late", np.ones(D), -1.0, LONG_AGO * 1.1)])
    assert same(await other.rebuild(USERS[0]), oracle(await world.ledger(USERS[0]), space=space))


def test_withdrawn_feedback_and_other_models_stay_out(memory):
    clean = memory.fit(min_users=6)
    teach(memory, d=5, seed=3)
    memory.ledger.append(USERS[0], [entry("bad", -np.ones(D), 1.0)])
    memory.withdraw(USERS[0], "bad")
    memory.ledger.append("new", [entry(f"g{n}", np.ones(D), 1.0).model_copy(update={"gate": 0.0}) for n in range(5)])
    assert memory.fit(min_users=6, embedding=NAME).id == clean.id
    other = memory.fit(min_users=6, embedding="other/5")
    assert other.d == 5
    assert memory.ledger.fold(USERS[0], NAME, D).space.id == clean.id
    assert memory.ledger.fold(USERS[0], "other/5", 5).space.id == other.id
    memory.use_space(None, embedding="other/5")
    assert memory.ledger.fold(USERS[0], NAME, D).space.id == clean.id
    assert memory.ledger.fold(USERS[0], "other/5", 5).space.id == "identity-5"
    teach(memory, seed=3, d=5)
    memory.use_space(None)
    assert memory.ledger.fold(USERS[0], NAME, D).space.id == f"identity-{D}"


def test_what_cannot_be_fitted_changes_nothing(memory):
    with pytest.raises(ConfigError, match="20 users with 5 ratings each, got 6 of 6"):
        memory.fit()
    with pytest.raises(ConfigError, match=f"no feedback under the embedding model 'unknown'; there is of: '{NAME}'"):
        memory.fit(embedding="unknown")
    with pytest.raises(ConfigError, match="min_users must be a whole number of at least 2"):
        memory.fit(min_users=1)
    with pytest.raises(ConfigError, match="name the embedding model"):
        memory.use_space(PreferenceSpace.identity(D))
    alike = PersonaMemory(Watched(), MODEL)
    for user in USERS:
        alike.ledger.append(user, [entry(f"{n}", np.eye(D)[n % D], 1.0, LONG_AGO + n) for n in range(6)])
    with pytest.raises(ConfigError, match="every one of the 36 ratings is 1"):
        alike.fit(min_users=6)
    for one in (memory, alike):
        assert one.vectors(USERS[0]).space.id == f"identity-{D}"
        assert one.spaces.models() == []


def test_a_space_that_the_developer_chose_stays_and_snapshots_stand_apart(memory):
    rows = np.random.default_rng(0).normal(size=(30, D))
    chosen = [PreferenceSpace.pca(rows, k=k) for k in (3, 4)]
    fitted = memory.fit(min_users=6)
    for turn in range(2):
        memory.store.batches.clear()
        for space in (None, *chosen):
            found = another(memory, space=space).vectors(USERS[0])
            assert same(found, oracle(ledger(memory, USERS[0]), space=space or fitted))
        written = [op for ops in memory.store.batches for op in ops if isinstance(op, PutOp)]
        assert bool(written) is (turn == 0)  # the second time each stands on its own snapshot


@pytest.mark.parametrize("ahead", [0, 1])
def test_law_5_nothing_is_written_below_the_horizon_of_any_snapshot(monkeypatch, ahead):
    """Clocks that differ: the memory with its own space has folded up to a time that the writer has not reached."""
    memory, clock = PersonaMemory(Watched(), MODEL), Clock(monkeypatch)
    given = PreferenceSpace.pca(np.random.default_rng(3).normal(size=(30, D)), k=3)
    options: list[dict[str, Any]] = [{}, {"space": given}]
    first = [entry(str(n), np.eye(D)[n], 1.0, clock.now - 100.0 + n) for n in range(2)]
    memory.ledger.append("ana", first)
    clock.now += 10_000.0
    another(memory, **options[ahead]).vectors("ana")
    clock.now -= 9_000.0
    another(memory, **options[1 - ahead]).withdraw("ana", "1")
    clock.now += 9_100.0
    for each in options:
        found = another(memory, **each).vectors("ana")
        assert found.count == 1
        assert same(found, oracle(ledger(memory, "ana"), space=each.get("space")))


def test_nobodys_name_is_kept_and_beyond_so_many_users_a_sample_is_taken(memory, monkeypatch):
    teach(memory, ["a.b", "ü" * 200, "x" * 500], seed=9)
    assert memory.fit(min_users=9).about["users"] == 9
    kept = str([item.value for item in memory.store.search(PLACE, limit=100)])
    assert not any(name in kept for name in ("example", "a.b", "üü", "xx"))
    monkeypatch.setattr(spaces, "MAX_USERS", 4)
    monkeypatch.setattr(spaces, "MAX_EVENTS", 6)
    space = memory.fit(min_users=4)
    assert (space.about["users"], space.about["events"]) == (4, 24)
    assert memory.fit(min_users=4).id == space.id  # always the same ones


def test_an_unreadable_entry_is_left_out_with_one_warning(memory, caplog):
    clean = memory.fit(min_users=6)
    memory.ledger.append(USERS[0], [entry("x", np.ones(D), 1.0).model_copy(update={"chosen": "!"})])
    assert memory.fit(min_users=6).id == clean.id
    assert len(warnings_in(caplog)) == 1


def test_progress_is_a_bar_or_silent(memory, capsys):
    memory.fit(min_users=6)
    assert capsys.readouterr() == ("", "")
    memory.fit(min_users=6, progress=True)
    assert "preference space" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["gone", "not ours", "another", "too long", "pointer"])
def test_law_3_a_space_that_cannot_be_read_costs_one_warning_and_means_identity(memory, caplog, damage):
    memory.fit(min_users=6)
    pointer, place = label(NAME, prefix="e"), label(NAME, prefix="f")
    longer = PreferenceSpace("fitted", np.ones(D + 1))
    kept = {"not ours": {"d": "x"}, "another": PreferenceSpace.identity(D).to_json(), "too long": longer.to_json()}
    if damage == "gone":
        memory.store.delete(PLACE, place)
    elif damage == "pointer":
        memory.store.put(PLACE, pointer, {"space": 7})
    else:
        memory.store.put(PLACE, place, {"embedding": NAME, "map": kept[damage]})
    if damage == "too long":
        memory.store.put(PLACE, pointer, {"space": longer.id})
    fresh = another(memory)
    assert fresh.vectors(USERS[0]).space.id == f"identity-{D}"
    assert len(warnings_in(caplog)) == 1
    memory.use_space(None)
    memory.use_space(None, embedding=NAME)
    caplog.clear()
    assert another(memory).vectors(USERS[0]).count == 8
    assert warnings_in(caplog) == []


def test_the_hot_path_reads_one_thing_more_in_the_same_batch_and_the_map_once(memory):
    memory.fit(min_users=6)
    memory.vectors(USERS[0])  # writes the snapshot
    reader = another(memory)
    memory.store.batches.clear()
    for _ in range(3):
        reader.user_vectors(USERS[0], "", NAME, D)
    reads = [[op.key for op in ops if isinstance(op, GetOp) and op.namespace == PLACE] for ops in memory.store.batches]
    pointer, place = label(NAME, prefix="e"), label(NAME, prefix="f")
    assert sorted(filter(None, reads)) == [[pointer], [pointer], [pointer], [place]]


@pytest.mark.parametrize("seed", range(4))
def test_law_5_any_history_of_thumbs_and_spaces_equals_the_full_fold(memory, monkeypatch, seed):
    """Two memories, thumbs, withdrawals, changes of space and pauses, with and without snapshots between."""
    rng, clock = np.random.default_rng(seed), Clock(monkeypatch)
    config = VARSConfig(rule=WindowedRidge(window=4))
    memories = [another(memory, config=config) for _ in range(2)]
    known = [None, memory.fit(min_users=6)]
    teach(memory, ["someone"], seed=7)
    known.append(memory.fit(min_users=6))
    space, given = known[2], []
    for number in range(40):
        one = memories[int(rng.integers(2))]
        what = rng.choice(["thumb", "thumb", "withdraw", "space", "wait", "read"])
        clock.now += float(rng.uniform(0.1, 30.0))
        if what == "thumb":
            given.append(f"h{number}")
            one.ledger.append("ana", [entry(given[-1], rng.normal(size=D), float(rng.choice([-1.0, 1.0])), clock.now)])
        elif what == "withdraw" and given:
            one.withdraw("ana", str(rng.choice(given)))
        elif what == "space":
            space = known[int(rng.integers(3))]
            one.use_space(space, embedding=NAME)
        elif what == "wait":
            clock.now += float(rng.choice([100.0, 5_000.0, 100_000.0]))
        found = one.user_vectors("ana", "", NAME, D)
        assert same(found, oracle(ledger(memory, "ana"), config, space)), (number, what)
