"""What `PersonaMemory` keeps, the same over every store, called and awaited: the ledger is the truth."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langgraph.store.base import Item, PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite.aio import AsyncSqliteStore

from langchain_persona.errors import ConfigError, DimensionMismatchError, StoreError
from langchain_persona.identity import label
from langchain_persona.learning import LearnerState, PreferenceSpace, VARSConfig, WindowedRidge, decode_vectors
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory import ledger as ledger_module
from langchain_persona.memory import store as store_module
from langchain_persona.records import CommunicationStyle, Episode, PreferenceCard, Trait
from langchain_persona.testing import HashEmbeddings, check_store
from tests.memories import (
    DAY,
    HOUR,
    KINDS,
    MODEL,
    NAME,
    TEXTS,
    VECTORS,
    Clock,
    D,
    Watched,
    World,
    open_store,
    open_world,
    oracle,
    same,
    show,
    warnings_in,
    writes,
)


@pytest.fixture(params=KINDS)
async def world(request, tmp_path) -> AsyncIterator[World]:
    async with open_world(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def quick() -> World:
    """The quickest store, where the store is not the point."""
    return World(InMemoryStore())


@pytest.fixture
def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


# the contract ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["memory", "sqlite", "asyncsqlite"])
async def test_laws_4_and_5_every_store_keeps_what_is_put_there_and_users_apart(name, tmp_path):
    async with open_store(name, tmp_path) as store:
        await asyncio.to_thread(check_store, store)


def test_a_store_that_loses_something_is_told_by_name():
    class Lossy(Watched):
        def batch(self, ops):
            return super().batch([op for op in ops if not (isinstance(op, PutOp) and "keys" in op.namespace)])

    with pytest.raises(AssertionError, match="a key was used twice") as caught:
        check_store(Lossy())
    assert caught.value.__notes__[0].startswith("check_store: Feedback counts once a key")


async def test_a_card_may_be_replaced_by_a_changed_copy_of_itself(quick):
    card = await quick.memory.remember("ana", "  likes tea  ")
    assert (card.text, card.embedding) == ("likes tea", NAME)
    copy = await quick.memory.update("ana", card.id, card.model_copy(update={"text": "likes decaf"}))
    assert copy.id != card.id
    retired = await quick.memory.retire("ana", copy.id, "not any more; pin 4111 1111 1111 1111")
    assert retired.retired.reason == "not any more; pin [secret]"
    await quick.memory.forget("ana", copy.id)
    for call in (quick.memory.pin, quick.memory.hold_back, quick.memory.retire, quick.memory.revive):
        with pytest.raises(KeyError, match="no card"):
            await call("ana", copy.id)
    with pytest.raises(KeyError, match="no card"):
        await quick.memory.update("bo", copy.id, "new")


async def test_a_changed_copy_of_one_card_in_the_place_of_another_leaves_it_as_it_is(quick):
    tea, lyon = [await quick.memory.remember("ana", text) for text in ("likes tea", "Lives in Lyon.")]
    await quick.memory.update("ana", tea.id, lyon.model_copy(update={"text": "likes decaf"}))
    assert [card.text for card in await quick.memory.preferences("ana")] == ["Lives in Lyon.", "likes decaf"]


async def test_a_persona_keeps_its_lines_and_a_profile_style_and_facts(quick):
    memory = quick.memory
    assert ((await memory.persona("ana")).revision.number, await memory.history("ana")) == (0, [])
    first = await memory.revise_persona("ana", "Drinks tea.\n\n  Likes jazz. ")
    assert (first.revision.text, first.revision.origin) == ("Drinks tea.\nLikes jazz.", "user")
    await memory.revise_persona("ana", "Drinks coffee.\nLikes jazz.")
    assert "-Drinks tea.\n+Drinks coffee." in (await memory.history("ana"))[1].diff
    with pytest.raises(KeyError, match="no revision 9"):
        await memory.rollback_persona("ana", 9)
    nurse = await memory.remember("ana", PreferenceCard(text="I work as a nurse.", kind="fact"))
    await memory.remember("ana", PreferenceCard(text="likes tea", kind="like"))
    await memory.set_style("ana", verbosity=-0.5, warmth=1)
    style = await memory.set_style("ana", warmth=None)
    assert style == CommunicationStyle(verbosity=Trait(value=-0.5, confidence=1.0))
    profile = await memory.profile("ana")
    assert (profile.style, profile.facts) == (style, (nurse,))
    assert await memory.set_style(None, warmth=1) == CommunicationStyle(warmth=Trait()), "anonymous"


async def test_ratings_list_all_that_was_learned_from_and_each_can_be_taken_back(quick):
    shown = await quick.show()
    first, second, third = shown.chosen
    thumb = await quick.memory.feedback("ana", shown.id, reward=1.0, docs=second)
    click = await quick.memory.feedback("ana", shown.id, reward=0.3, source="click", docs=[first, third])
    idle = await quick.memory.feedback("ana", shown.id, reward=-1.0, gate=0.0)
    lost = await quick.memory.feedback("ana", "unknown", reward=-1.0, source="tool")
    await quick.memory.withdraw("ana", thumb.id)
    ratings = await quick.memory.ratings("ana")
    assert [rating.id for rating in ratings] == [lost.id, idle.id, click.id, thumb.id]
    assert [rating.source for rating in ratings] == ["tool", "thumbs", "click", "thumbs"]
    assert [rating.moved for rating in ratings] == [0.0, 0.0, pytest.approx(0.3 * 0.15), 0.0]
    assert [rating.reason.split(" ")[-1] for rating in ratings] == ["expired", "0", "", "withdrawn"]
    assert ratings[2].documents == (first, third)
    assert ratings[2].titles == (TEXTS[first], TEXTS[third])
    assert ratings[2].retrieval_id == shown.id
    for rating in ratings[:3]:
        assert (await quick.memory.withdraw("ana", rating.id)).applied
    assert (await quick.memory.vectors("ana")).count == 0


async def test_explain_speaks_of_texts_and_of_cards(quick):
    assert "rankings are the plain ones" in str(await quick.memory.explain("ana"))
    card = await quick.memory.remember("ana", "Drinks her coffee black.")
    told = await quick.memory.explain("ana")
    assert told.cards == ("Drinks her coffee black.",)
    assert "Drinks her coffee black." in str(told)
    assert card.id not in str(told)
    shown = await quick.show()
    best, other, worst = shown.chosen
    await quick.memory.feedback("ana", shown.id, reward=1.0, docs=[best, other])
    await quick.memory.feedback("ana", shown.id, reward=0.5, docs=best)
    await quick.memory.feedback("ana", shown.id, reward=-1.0, source="rating", docs=worst)
    gone = await quick.memory.feedback("ana", shown.id, reward=-1.0, docs=best)
    await quick.memory.withdraw("ana", gone.id)
    await quick.memory.feedback("ana", "unknown", reward=1.0)
    told = await quick.memory.explain("ana")
    assert (told.events, told.withdrawn, told.inert) == (3, 1, 1)
    assert told.sources == {"thumbs": 2, "rating": 1}
    assert told.mean_reward == pytest.approx(0.5 / 3)
    assert told.liked == ((best, TEXTS[best], 1.5), (other, TEXTS[other], 1.0))
    assert told.disliked == ((worst, TEXTS[worst], -1.0),)
    for words in (TEXTS[best], "(+1.5)", TEXTS[worst], "withdrawn", "unknown or had expired"):
        assert words in str(told).replace("Withdrawn", "withdrawn")


async def test_expired_retrievals_teach_nothing_and_are_swept_in_small_portions(world, clock):
    world.open(retrieval_ttl_seconds=2 * DAY)
    for number in range(7):
        await world.show("ana" if number % 2 else "a%b", now=clock.now)
    old = await world.show(now=clock.now)
    assert (await world.memory.feedback("ana", old.id, reward=1.0)).applied
    clock.now += 4 * DAY
    young = await world.show(now=clock.now)
    receipt = await world.memory.feedback("ana", old.id, reward=1.0)
    assert (receipt.applied, receipt.reason) == (False, "the retrieval has expired")
    assert len(await world.items("retrievals")) == 9
    sweep, swept = world.raw.ledger.sweep_retrievals, 0
    while portion := await asyncio.to_thread(sweep, "ana", 3) + await asyncio.to_thread(sweep, "a%b", 3):
        assert portion <= 6
        swept += portion
    assert swept == 8
    (left,) = await world.items("retrievals")
    assert left.value["id"] == young.id
    assert (await world.memory.vectors("ana")).count == 1  # feedback stands without its retrieval


async def test_the_anonymous_leave_no_trace(quick):
    for nobody in (None, "", " \t"):
        memory = quick.memory
        receipt = await memory.feedback(nobody, "x", reward=1.0)
        assert (receipt.id, receipt.applied, "anonymous" in receipt.reason) == ("", False, True)
        card = await memory.remember(nobody, "a secret")
        assert card.text == "a secret"
        assert not (await memory.withdraw(nobody, "x")).applied
        assert not (await memory.vectors(nobody)).effective.any()
        assert not (await memory.rebuild(nobody)).effective.any()
        assert await memory.ratings(nobody) == await memory.preferences(nobody) == await memory.history(nobody) == []
        assert await memory.forget(nobody, card.id) == []
        assert (await memory.profile(nobody)).facts == ()
        assert (await memory.revise_persona(nobody, "Mine.")).revision.text == ""
        assert not (await memory.pin_persona(nobody)).pinned
        assert "anonymous" in str(await memory.explain(nobody))
        for call, arguments in (("pin", ["x"]), ("retire", ["x"]), ("revive", ["x"]), ("update", ["x", "new"])):
            with pytest.raises(KeyError, match="anonymous"):
                await getattr(memory, call)(nobody, *arguments)
        with pytest.raises(KeyError, match="anonymous"):
            await memory.rollback_persona(nobody, 0)
    assert await quick.items() == []


async def test_any_pause_and_any_configuration_give_the_fold_of_the_whole_ledger(world, clock):
    for pause in (0.5, 61.0, 3 * HOUR, 3 * DAY, 30 * DAY):
        for number in range(2):
            shown = await world.show(session=f"t{number}", query=list(TEXTS.values())[number], now=clock.now)
            await world.memory.feedback("ana", shown.id, reward=0.7 - number)
            clock.now += 20.0
        for wait in (0.0, pause):
            clock.now += wait
            assert same(await world.open().memory.vectors("ana", "t1"), oracle(await world.ledger()), "t1")
    assert same(await world.memory.rebuild("ana"), oracle(await world.ledger()))
    for config in (VARSConfig.paper(), VARSConfig(rule=WindowedRidge(window=3)), VARSConfig()):
        world.open(config=config)
        assert same(await world.memory.vectors("ana", "t1"), oracle(await world.ledger(), config), "t1")
    space = PreferenceSpace.pca(MODEL.embed_documents(list(TEXTS.values())), k=3)
    found = await world.open(space=space).memory.vectors("ana", "t1")
    assert found.long.shape == (3,)
    assert same(found, oracle(await world.ledger(), space=space), "t1")
    with pytest.raises(DimensionMismatchError, match=f"{D + 1}"):
        await world.open(space=PreferenceSpace.identity(D + 1)).memory.vectors("ana")


# calling it -----------------------------------------------------------------------------------------------------------


async def test_an_async_store_called_on_its_loops_own_thread_says_what_to_await(tmp_path):
    async with AsyncSqliteStore.from_conn_string(str(tmp_path / "store.sqlite3")) as store:
        await store.setup()
        memory = PersonaMemory(store, MODEL)
        for call in (lambda: memory.preferences("ana"), lambda: memory.feedback("ana", "x", reward=1.0)):
            with pytest.raises(StoreError, match=r"AsyncSqliteStore cannot be called .* await the async twin"):
                call()
        assert await memory.apreferences("ana") == []


async def test_misuse_of_feedback_raises_and_writes_nothing(quick):
    shown = await quick.show()
    nan = float("nan")
    for reward in (nan, float("inf"), 1.5, -1.0001, "1", True, None, [1.0], 1j):
        for user in ("ana", ""):
            with pytest.raises((TypeError, ValueError), match="reward must"):
                await quick.memory.feedback(user, shown.id, reward=reward)
    for docs in (["d0", "stranger"], "stranger", [], [3], [Document("no id")], [""]):
        with pytest.raises(ConfigError, match="docs"):
            await quick.memory.feedback("ana", shown.id, reward=1.0, docs=docs)
    wrong: list[dict[str, Any]] = [{"retrieval_id": one} for one in ("", None, 7)]
    wrong += [{"source": one} for one in ("", None)] + [{"key": one} for one in ("", 3)]
    wrong += [{"gate": one} for one in (-0.1, 1.1, True, nan, "1")]
    for arguments in wrong:
        with pytest.raises(ConfigError, match=next(iter(arguments))):
            await quick.memory.feedback("ana", **{"retrieval_id": shown.id, "reward": 1.0, **arguments})
    for name in ("", None, 3):
        with pytest.raises(ConfigError, match="feedback_id"):
            await quick.memory.withdraw("ana", name)
    with pytest.raises(ConfigError, match=r"card\.id"):
        await quick.memory.forget("ana", PreferenceCard(text="Drinks tea."))
    with pytest.raises(TypeError, match="user id"):
        await quick.memory.feedback(1.5, shown.id, reward=1.0)
    assert await quick.ledger() == []
    for good in (-1, 0, np.float32(0.25), np.int64(1)):
        assert (await quick.memory.feedback("ana", shown.id, reward=good)).applied


def test_misuse_of_the_constructor_raises():
    wrong: list[dict[str, Any]] = [{"store": {}}, {"store": None}, {"embeddings": "minilm"}, {"space": "fitted-4"}]
    wrong += [{"config": {"spread": 1}}, {"trust": "nobody"}]
    wrong += [{"retrieval_ttl_seconds": one} for one in (0, -1, float("inf"), float("nan"), True, "1")]
    wrong += [{"timeout_seconds": one} for one in (0, None)]
    wrong += [{"namespace": one} for one in ((), "persona", ("a.b",), ("langgraph",), (1,), ("",), None)]
    for arguments in wrong:
        with pytest.raises(ConfigError, match=next(iter(arguments))):
            PersonaMemory(**{"store": InMemoryStore(), **arguments})


async def test_close_may_be_repeated_and_leaves_what_was_passed_in_open(quick):
    async with quick.raw as memory:
        assert memory is quick.raw
    await quick.memory.close()
    assert (await quick.memory.remember("ana", "likes tea")).text == "likes tea"


# how much a feedback counts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "gate", "expected"),
    [
        ("thumbs", None, {1.0}),
        ("click", None, {0.15}),
        ("my own", None, {0.3 * 0.3, 0.3 * 0.6}),
        ("judge", None, {0.6 * 0.3, 0.6 * 0.6}),
        ("thumbs", 0.25, {0.25}),
        ("click", 1, {1.0}),
    ],
)
async def test_the_gate(quick, source, gate, expected):
    await quick.memory.feedback("ana", (await quick.show()).id, reward=1.0, source=source, gate=gate)
    (entry,) = await quick.ledger()
    assert entry["gate"] in expected


async def test_feedback_on_single_documents_takes_their_mean(quick):
    shown = await quick.show()
    first, second = Document("x", id=shown.chosen[0]), shown.chosen[1]
    await quick.memory.feedback("ana", shown.id, reward=0.5, docs=[first, second])
    (entry,) = await quick.ledger()
    mean = (VECTORS[shown.chosen[0]] + VECTORS[second]) / 2
    assert decode_vectors(entry["chosen"], D)[0] == pytest.approx(mean, abs=1e-3)


async def test_one_feedback_can_take_the_place_of_another_in_one_batch(quick):
    shown, ledger = await quick.show(), quick.raw.ledger
    old = await quick.memory.feedback("ana", shown.id, reward=1.0)
    new = await asyncio.to_thread(ledger.feedback, "ana", shown.id, -1.0, withdraw=old.id)
    assert [rating.reward for rating in await quick.memory.ratings("ana") if rating.moved] == [-1.0]
    assert same(await quick.memory.vectors("ana", "t1"), oracle(await quick.ledger()), "t1")
    assert new.applied


async def test_two_embedding_models_do_not_mix(quick):
    await quick.memory.feedback("ana", (await quick.show()).id, reward=1.0)
    mine = await quick.memory.vectors("ana")
    other = await quick.show(model=HashEmbeddings(5))
    await quick.memory.feedback("ana", other.id, reward=1.0)
    latest = await quick.memory.vectors("ana")
    assert (latest.long.shape, latest.count) == ((5,), 1)
    await quick.memory.feedback("ana", (await quick.show()).id, reward=0.0)
    assert (await quick.memory.vectors("ana")).count == mine.count + 1


# repeated, late and damaged -------------------------------------------------------------------------------------------


async def test_law_5_a_delivery_repeated_across_the_horizon_counts_once(quick, clock):
    shown = await quick.show(now=clock.now)
    await quick.memory.feedback("ana", shown.id, reward=1.0, key="k")
    (entry,) = await quick.items(label("ana"), "feedback")
    for step in (20.0, 20.0, 25.0, 5.0, 5.0, 5.0):  # the snapshot moves on several times
        await quick.memory.feedback("ana", shown.id, reward=0.5)
        clock.now += step
        await quick.open().memory.vectors("ana")
    repeated = {**entry.value, "time": entry.value["time"] + 55.0}  # by a process that found the key unused
    await quick.put((*entry.namespace[:-1], "h99"), entry.key, repeated)
    await quick.put((*entry.namespace[:-2], *ledger_module._bucket(repeated["time"])), f"{entry.key}'", repeated)
    assert same(await quick.open().memory.vectors("ana", "t1"), oracle(await quick.ledger()), "t1")
    assert (await quick.memory.vectors("ana")).count == 7
    await quick.memory.withdraw("ana", entry.key)  # in the snapshot, and delivered again after it
    assert same(await quick.memory.vectors("ana", "t1"), oracle(await quick.ledger()), "t1")
    assert (await quick.memory.vectors("ana")).count == 6


async def test_law_5_a_delivery_repeated_as_late_as_its_key_is_not_looked_up_counts_once(quick, clock):
    start, shown = clock.now, await quick.show(now=clock.now)
    # as a turn does, which looks up no key
    reading = await asyncio.to_thread(quick.raw.ledger._read, "ana", [shown.id], None)
    for moment, call in (
        (1.0, lambda: quick.raw.ledger.feedback("ana", shown.id, 1.0, key="k", reading=reading)),
        (65.0, lambda: quick.raw.feedback("ana", shown.id, reward=-1.0)),
        (66.0, lambda: quick.raw.vectors("ana")),
        (115.0, lambda: quick.raw.ledger.feedback("ana", shown.id, 1.0, key="k", reading=reading)),
        (130.0, lambda: quick.raw.vectors("ana")),
        (180.0, lambda: quick.raw.vectors("ana")),
    ):
        clock.now = start + moment
        await asyncio.to_thread(call)
    assert (await quick.open().memory.vectors("ana")).count == 2
    assert (await quick.memory.rebuild("ana")).count == 2


@pytest.mark.parametrize("ahead", [2 * HOUR, 20 * DAY])
async def test_law_5_feedback_given_under_a_clock_that_ran_ahead_counts_at_once(quick, clock, ahead):
    other = quick.another()
    for skew, reward in ((0.0, 1.0), (ahead, -0.5), (0.0, 0.5)):  # put right after the second
        clock.skew = skew
        shown = await quick.show(now=clock.time())
        last = await quick.memory.feedback("ana", shown.id, reward=reward)
        clock.now += 100.0
        clock.skew = 0.0
        await other.memory.vectors("ana")  # a snapshot, so that later reads look at what is young only
    for process in (quick, other, quick.another()):
        assert same(await process.memory.vectors("ana", "t1"), oracle(await quick.ledger()), "t1")
        assert (await process.memory.vectors("ana")).count == 3
    clock.skew = ahead
    assert (await other.memory.withdraw("ana", last.id)).applied
    clock.skew = 0.0
    for pause in (0.0, 100.0, HOUR, ahead):
        clock.now += pause
        for process in (quick, other):
            assert same(await process.memory.vectors("ana", "t1"), oracle(await quick.ledger()), "t1")
            assert (await process.memory.vectors("ana")).count == 2


async def test_law_5_what_took_longer_to_write_than_readers_look_back_counts(clock):
    watched = Watched()
    world = World(watched)
    other, shown = World(watched.store, root=world.root), await world.show(now=clock.now)
    first = await world.memory.feedback("ana", shown.id, reward=0.5)
    clock.now += 10.0

    def held_up(ops: Any) -> None:
        if writes(ops, "feedback"):
            watched.before = lambda ops: None
            clock.now += 75.0
            other.raw.vectors("ana")  # makes a snapshot of a later time than the entry

    watched.before = held_up
    assert (await world.memory.feedback("ana", shown.id, reward=1.0, key="k")).applied
    for process in (world, other):
        assert (await process.memory.vectors("ana")).count == 2
    watched.before = held_up
    await world.memory.withdraw("ana", first.id)
    for process in (world, other, other.another()):
        assert (await process.memory.vectors("ana")).count == 1


async def test_a_read_after_one_more_thumb_touches_the_window_and_not_the_whole_ledger(clock):
    config, watched = VARSConfig(rule=WindowedRidge(window=8)), Watched()
    writer = World(watched.store)
    shown = await writer.show(now=clock.now)
    for _ in range(60):
        await writer.open(config=config).memory.feedback("ana", shown.id, reward=1.0)
        clock.now += 2 * HOUR
    await writer.memory.vectors("ana")  # writes the snapshot
    await writer.memory.feedback("ana", shown.id, reward=-1.0)
    reader, read = World(watched, root=writer.root).open(config=config), []
    watched.after = lambda ops, found: read.extend(
        item for result in found for item in (result if isinstance(result, list) else [result])
    )
    assert (await reader.memory.vectors("ana")).count == 61
    assert 8 < len(read) <= 8 + 9
    assert same(await reader.memory.vectors("ana"), oracle(await writer.ledger(), config))


@pytest.mark.parametrize("seed", range(4))
async def test_law_5_what_is_withdrawn_from_before_a_checkpoint_is_as_if_it_had_never_been(monkeypatch, clock, seed):
    monkeypatch.setattr(ledger_module, "CHECKPOINT_EVERY", 5)
    rng, config = random.Random(seed), VARSConfig(rule=WindowedRidge(window=4))
    first = World(InMemoryStore()).open(config=config)
    worlds, given = [first, first.another().open(config=config)], list[str]()
    for turn in range(80):
        world, choice = rng.choice(worlds), rng.random()
        if given and choice < 0.3:
            await world.memory.withdraw("ana", rng.choice(given))
        else:
            shown = await world.show(session="t1", query=rng.choice(list(TEXTS.values())), now=clock.now)
            about = {"key": f"k{turn}"} if choice < 0.6 else {}
            about |= {"withdraw": rng.choice(given)} if given and choice > 0.9 else {}  # an older one than it can tell
            add = partial(world.raw.ledger.feedback, "ana", shown.id, rng.uniform(-1, 1), **about)
            given.append((await asyncio.to_thread(add)).id)
        clock.now += rng.choice((1.0, 30.0, 70.0, HOUR, 3 * DAY, 9 * DAY))
        if rng.random() < 0.7:
            found = await rng.choice(worlds).memory.vectors("ana", "t1")
            assert same(found, oracle(await first.ledger(), config), "t1")
    state = oracle(await first.ledger(), config)
    assert len(await first.items(label("ana"), "checkpoints")) >= state.count // 5 - 1 > 2
    assert same(await first.another().open(config=config).memory.rebuild("ana"), state)


async def test_a_withdrawal_reads_the_ledger_from_the_last_checkpoint_on(monkeypatch, clock):
    monkeypatch.setattr(ledger_module, "CHECKPOINT_EVERY", 8)
    config, watched = VARSConfig(rule=WindowedRidge(window=8)), Watched()
    world, given = World(watched).open(config=config), list[str]()
    for _ in range(100):
        shown = await world.show(now=clock.now)
        given.append((await world.memory.feedback("ana", shown.id, reward=1.0)).id)
        await world.memory.vectors("ana")
        clock.now += 2 * HOUR
    await world.memory.vectors("ana")
    for number, most in ((90, 36), (60, 70)):  # by the hour of the day 23 to 35, and 57 to 68, of 100
        read = list[str]()
        watched.after = lambda ops, found, read=read: read.extend(
            item.key for result in found for item in (result if isinstance(result, list) else [result])
            if isinstance(item, Item) and "feedback" in item.namespace
        )  # fmt: skip
        await world.memory.withdraw("ana", given[number])
        assert 8 < len(read) <= most
        state = oracle(await world.ledger(), config)
        read.clear()
        assert same(await world.memory.vectors("ana"), state)
        assert not read  # the withdrawal has folded already


async def test_a_burst_of_thumbs_is_folded_once_each(clock):
    steps = []

    class Counted(WindowedRidge):
        def step(self, state, event, *, temperature, keep):
            steps.append(event.id)
            return WindowedRidge.step(self, state, event, temperature=temperature, keep=keep)

    world = World(InMemoryStore()).open(config=VARSConfig(rule=Counted(window=8)))
    shown, given = await world.show(now=clock.now), []
    for _ in range(20):
        given.append((await world.memory.feedback("ana", shown.id, reward=1.0)).id)
        await world.memory.vectors("ana")
    assert steps == given


@pytest.mark.parametrize("damage", ["empty", "half", "far", "no state", "window"])
async def test_a_corrupt_snapshot_costs_one_warning_and_is_made_anew(quick, clock, caplog, damage):
    shown = await quick.show(now=clock.now)
    for _ in range(4):
        await quick.memory.feedback("ana", shown.id, reward=0.5)
        clock.now += 40.0
    await quick.memory.vectors("ana")
    (item,) = [item for item in await quick.items(label("ana"), "state") if "horizon" in item.value]
    value = item.value
    broken = {
        "empty": {},
        "half": {**value, "state": {**value.get("state", {}), "long": "AAAA"}},
        "far": {**value, "horizon": clock.now + 3_000 * DAY},
        "no state": {**value, "state": "lost"},
        "window": {**value, "window": "lost"},
    }[damage]
    await quick.put(item.namespace, item.key, broken)
    quick.open()
    for _ in range(2):
        assert same(await quick.memory.vectors("ana", "t1"), oracle(await quick.ledger()), "t1")
        assert len(warnings_in(caplog)) == 1, warnings_in(caplog)
    assert LearnerState.from_json((await quick.items(label("ana"), "state"))[-1].value["state"]).count >= 2


@pytest.mark.parametrize("damage", [{}, {"type": "rumour"}, {"chosen": "AAAA"}, {"reward": 40.0}, {"expected": "!"}])
async def test_a_corrupt_entry_costs_itself_and_one_warning(quick, clock, caplog, damage):
    shown = await quick.show(now=clock.now)
    for number in range(4):
        await quick.memory.feedback("ana", shown.id, reward=0.5 - number / 4)
        clock.now += 5.0
    entries = sorted(await quick.items(label("ana"), "feedback"), key=lambda entry: entry.value["time"])
    victim = entries.pop(1)
    await quick.put(victim.namespace, victim.key, {**victim.value, **damage} if damage else {})
    vectors = await quick.open().memory.vectors("ana", "t1")
    assert len(warnings_in(caplog)) == 1
    assert same(vectors, oracle([entry.value for entry in entries]), "t1")
    await quick.put(victim.namespace, victim.key, victim.value)
    assert (await quick.memory.rebuild("ana")).count == 4  # mended: nothing was thrown away


@pytest.mark.parametrize("damage", [{}, {"chosen_vectors": "AAAA"}, {"chosen": ["d0"]}, {"expected": ""}])
async def test_a_corrupt_retrieval_is_as_good_as_none(quick, caplog, damage):
    shown = await quick.show()
    (item,) = await quick.items(label("ana"), "retrievals")
    await quick.put(item.namespace, item.key, {**item.value, **damage} if damage else {})
    receipt = await quick.memory.feedback("ana", shown.id, reward=1.0)
    assert (receipt.applied, "cannot be read" in receipt.reason) == (False, True)
    assert len(warnings_in(caplog)) == 1
    assert [entry["id"] for entry in await quick.ledger()] == [receipt.id]


@pytest.mark.parametrize("damage", [{}, {"embedding": "x", "dimension": "many"}])
async def test_a_corrupt_note_on_the_embedding_model_costs_one_warning(quick, caplog, damage):
    await quick.memory.feedback("ana", (await quick.show()).id, reward=1.0)
    (item,) = [item for item in await quick.items(label("ana"), "state") if item.key == "current"]
    await quick.put(item.namespace, item.key, damage)
    assert same(await quick.memory.vectors("ana", "t1"), oracle(await quick.ledger()), "t1")
    assert len(warnings_in(caplog)) == 1


# stores with ways of their own ----------------------------------------------------------------------------------------


async def test_a_store_without_time_to_live_is_swept_while_retrievals_are_saved(monkeypatch, clock):
    monkeypatch.setattr(ledger_module, "SWEEP_EVERY", 4)
    world = World(InMemoryStore()).open(retrieval_ttl_seconds=DAY)
    await world.show(now=clock.now)
    clock.now += 3 * DAY
    for _ in range(3):
        await world.show(now=clock.now)
    assert await world.memory.drain()
    assert len(await world.items("retrievals")) == 3


def test_law_5_of_what_is_equally_old_a_store_may_give_another_order_to_each_query(monkeypatch):
    class Shuffling(Watched):
        """As PostgreSQL does, whose order of ties depends on the limit."""

        def batch(self, ops):
            all_of = [op._replace(limit=9_999, offset=0) if hasattr(op, "limit") else op for op in ops]
            found = zip(ops, super().batch(all_of), strict=True)
            return [self.some(op, one) if hasattr(op, "limit") else one for op, one in found]

        def some(self, op, items):
            order = lambda item: hashlib.sha256(f"{op.limit}{item}".encode()).hexdigest()  # noqa: E731
            return sorted(items, key=order)[op.offset : op.offset + op.limit]

    monkeypatch.setattr(store_module, "_PAGE", 10)
    memory, told = PersonaMemory(Shuffling(), MODEL), [Episode(query=f"question {number}") for number in range(47)]
    memory.episodes.write_all("ana", told)
    assert {one.id for one in memory.episodes.all("ana")} == {one.id for one in told}


def test_a_search_that_another_thread_disturbs_in_an_in_memory_store_is_made_again():
    class Disturbed(InMemoryStore):
        left = 1

        def batch(self, ops):
            if self.left:
                self.left -= 1
                raise RuntimeError("dictionary changed size during iteration")
            return super().batch(ops)

    memory = PersonaMemory(Disturbed(), MODEL)
    assert memory.preferences("ana") == []
    memory.store.left = 99
    with pytest.raises(StoreError):
        memory.preferences("ana")


def test_law_4_a_store_that_takes_a_namespace_for_a_prefix_of_text_shows_nobody_elses():
    class Sloppy(Watched):
        def batch(self, ops):
            wide = [op._replace(namespace_prefix=op.namespace_prefix[:1]) if hasattr(op, "limit") else op for op in ops]
            return super().batch(wide)

    memory = PersonaMemory(Sloppy(), MODEL)
    for user in ("user-1", "user-10"):
        memory.remember(user, f"secret of {user}")
        memory.feedback(user, show(memory, user).id, reward=1.0)
    fresh = PersonaMemory(memory.store, MODEL)
    assert [card.text for card in fresh.preferences("user-1")] == ["secret of user-1"]
    assert fresh.explain("user-1").events == 1
    assert fresh.rebuild("user-1").count == 1
