"""What keeps a failing or hanging backend from breaking the chat."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from tempfile import gettempdir
from typing import Any

import pytest

from langchain_persona import resilience
from langchain_persona.errors import ConfigError, StoreError
from langchain_persona.memory import PersonaMemory
from langchain_persona.records import PreferenceCard
from langchain_persona.resilience import await_within, call_within, run_or_default, warn, warning_scope
from langchain_persona.testing import HashEmbeddings
from tests.memories import MODEL, Watched, show, warnings_in

logger = logging.getLogger(__name__)
SOON = 0.02


@pytest.fixture
def forever() -> Iterator[threading.Event]:
    """An event for which a backend waits, until the test is over."""
    event = threading.Event()
    yield event
    event.set()


# deadlines ------------------------------------------------------------------------------------------------------------


async def test_a_call_that_takes_too_long_is_a_timeout(forever):
    def call() -> None:
        with pytest.raises(TimeoutError, match=r"no answer within 0\.02 s"):
            call_within(SOON, forever.wait)

    await asyncio.to_thread(call)
    with pytest.raises(TimeoutError, match=r"no answer within 0\.02 s"):
        await await_within(SOON, asyncio.Event().wait())


async def test_what_the_function_returns_or_raises_comes_through():
    variable = contextvars.ContextVar("variable", default="outside")
    variable.set("the caller's")

    def fail() -> None:
        raise TimeoutError("the backend's own")

    def call() -> None:
        assert call_within(5.0, variable.get) == "the caller's"
        with pytest.raises(TimeoutError, match="the backend's own"):
            call_within(5.0, fail)

    async def afail() -> None:
        fail()

    await asyncio.to_thread(call)
    assert await await_within(5.0, asyncio.sleep(0, "slept")) == "slept"
    with pytest.raises(TimeoutError, match="the backend's own"):
        await await_within(5.0, afail())


def test_a_call_that_hangs_does_not_keep_the_process_from_ending():
    code = """
import threading
from langchain_persona.resilience import call_within
try:
    call_within(0.01, threading.Event().wait)
except TimeoutError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout.strip()) == (0, "no answer within 0.01 s"), ended.stderr


def test_more_calls_than_threads_wait_for_each_other(forever, monkeypatch):
    monkeypatch.setattr(resilience._Worker, "idle", SimpleQueue())
    monkeypatch.setattr(resilience._Worker, "room", threading.Semaphore(2))
    started: list[int] = []

    def hang() -> None:
        started.append(1)
        forever.wait()

    for _ in range(4):
        with pytest.raises(TimeoutError):
            call_within(SOON, hang)
    assert len(started) <= 2
    forever.set()
    assert call_within(5.0, lambda: 42) == 42


async def test_cancelling_passes():
    task = asyncio.create_task(await_within(60.0, asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_or_default("lost", cancelled, None)


# one warning a turn ---------------------------------------------------------------------------------------------------


def fail() -> str:
    raise ConnectionError("with the user's words")


def test_law_3_the_default_is_returned_with_one_warning_a_turn(caplog):
    with warning_scope() as scope:
        assert [run_or_default("No cards", fail, "default") for _ in range(3)] == ["default"] * 3
        warn(logger, "and another thing")
        assert scope.warned
    assert warnings_in(caplog) == ["No cards (ConnectionError; in full at DEBUG)"]
    caplog.clear()
    with warning_scope(warned=True):  # a later node of the same turn
        run_or_default("No cards", fail, "default")
    assert warnings_in(caplog) == []
    for _ in range(2):  # outside a turn each call warns
        run_or_default("No cards", fail, "default")
    assert len(warnings_in(caplog)) == 2
    assert run_or_default("No cards", lambda: "found", "default") == "found"


def test_a_scope_within_a_turn_belongs_to_it_and_the_next_turn_warns_again(caplog):
    for turn in ("first", "second"):
        with warning_scope() as outer:
            with warning_scope() as inner:
                warn(logger, turn)
            assert inner is outer
            warn(logger, "and another thing")
    assert warnings_in(caplog) == ["first", "second"]


def test_what_is_the_developers_to_mend_passes():
    def misuse() -> None:
        raise ConfigError("k must be at least 1")

    with pytest.raises(ConfigError, match="k must be"):
        run_or_default("lost", misuse, None)


# a store that hangs or fails ------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[PersonaMemory, str, str], object]] = {
    "feedback": lambda memory, card, shown: memory.feedback("ana", shown, reward=1.0, key="k2"),
    "withdraw": lambda memory, card, shown: memory.withdraw("ana", memory.ratings("ana")[0].id),
    "ratings": lambda memory, card, shown: memory.ratings("ana"),
    "vectors": lambda memory, card, shown: memory.vectors("ana"),
    "rebuild": lambda memory, card, shown: memory.rebuild("ana"),
    "explain": lambda memory, card, shown: memory.explain("ana"),
    "remember": lambda memory, card, shown: memory.remember("ana", PreferenceCard(id="new", text="likes rain")),
    "preferences": lambda memory, card, shown: memory.preferences("ana"),
    "update": lambda memory, card, shown: memory.update("ana", card, PreferenceCard(id="new", text="likes rain")),
    "retire": lambda memory, card, shown: memory.retire("ana", card),
    "revive": lambda memory, card, shown: memory.revive("ana", "old"),
    "pin": lambda memory, card, shown: memory.pin("ana", card),
    "hold_back": lambda memory, card, shown: memory.hold_back("ana", card),
    "forget": lambda memory, card, shown: memory.forget("ana", card),
    "profile": lambda memory, card, shown: memory.profile("ana"),
    "set_style": lambda memory, card, shown: memory.set_style("ana", warmth=0.5),
    "persona": lambda memory, card, shown: memory.persona("ana"),
    "history": lambda memory, card, shown: memory.history("ana"),
    "revise_persona": lambda memory, card, shown: memory.revise_persona("ana", "New."),
    "pin_persona": lambda memory, card, shown: memory.pin_persona("ana"),
    "rollback_persona": lambda memory, card, shown: memory.rollback_persona("ana", 1),
    "export_user": lambda memory, card, shown: memory.export_user("ana"),
    "import_user": lambda memory, card, shown: memory.import_user([{"memory": "likes rain"}], "ana"),
    "export_dataset": lambda memory, card, shown: memory.export_dataset(f"{gettempdir()}/persona.jsonl", "ana"),
    "delete_user": lambda memory, card, shown: memory.delete_user("ana"),
    "readmit_user": lambda memory, card, shown: memory.readmit_user("ana"),
    "fit": lambda memory, card, shown: memory.fit(min_users=2),
    "use_space": lambda memory, card, shown: memory.use_space(None),
    "migrate_embeddings": lambda memory, card, shown: memory.migrate_embeddings(progress=False),
    "process_pending": lambda memory, card, shown: memory.process_pending(),
}


def lived_in(store: Watched, **options: Any) -> tuple[PersonaMemory, str, str]:
    """A memory with a rating, cards of which one replaced another, and a persona; a card and a retrieval."""
    memory = PersonaMemory(store, MODEL, **options)
    shown = show(memory)
    memory.feedback("ana", shown.id, reward=-1.0, key="k1")
    memory.remember("ana", PreferenceCard(id="old", text="likes tea"))
    card = memory.update("ana", "old", PreferenceCard(id="card", text="likes coffee"))
    for text in ("First.", "Second."):
        memory.revise_persona("ana", text)
    return memory, card.id, shown.id


def state(store: Watched) -> tuple[object, ...]:
    """What a user sees."""
    memory = PersonaMemory(store.store, MODEL)
    cards = [(card.id, card.active, card.pinned) for card in memory.preferences("ana", all=True)]
    persona = memory.persona("ana")
    ratings = sorted((rating.reward, rating.reason) for rating in memory.ratings("ana"))
    vectors = memory.vectors("ana")
    return cards, persona.revision.text, persona.pinned, len(memory.history("ana")), ratings, vectors.long.tobytes()


def test_every_method_is_tried():
    methods = {name for name in vars(PersonaMemory) if f"a{name}" in vars(PersonaMemory)}
    assert set(CALLS) == methods - {"drain", "close"}


def test_law_3_a_store_that_hangs_is_a_store_error_within_the_deadline(forever):
    for call in CALLS.values():
        store = Watched()
        memory, card, shown = lived_in(store)
        before = state(store)
        memory._store.timeout_seconds = SOON
        store.before = lambda ops: forever.wait()
        with pytest.raises(StoreError, match=r"no answer within 0\.02 s"):
            call(memory, card, shown)
        assert state(store) == before


def test_law_3_a_store_that_fails_in_the_middle_leaves_nothing_half_written():
    """Whichever call to the store is the first to fail, a user sees the state before or the state after."""
    for name in set(CALLS) - {"forget"}:  # that one can be repeated, see test_cards.py
        untouched = Watched()
        memory, card, shown = lived_in(untouched)
        before = state(untouched)
        untouched.batches.clear()
        with suppress(ConfigError):  # there is too little to fit on
            CALLS[name](memory, card, shown)
        calls, after = len(untouched.batches), state(untouched)
        assert calls > 0
        for fails_at in range(calls):
            store = Watched()
            memory, card, shown = lived_in(store)
            store.before = failing_from(fails_at)
            with suppress(StoreError, ConfigError):
                CALLS[name](memory, card, shown)
            store.before = lambda ops: None
            assert state(store) in (before, after), f"{name}, failing at call {fails_at}"


def failing_from(number: int) -> Callable[[object], None]:
    count = itertools.count()

    def before(ops: object) -> None:
        if next(count) >= number:
            raise ConnectionError("the store is gone")

    return before


async def test_cancelled_anywhere_a_write_is_done_or_not_and_the_next_one_works():
    store, threads = Watched(), ThreadPoolExecutor(4)
    asyncio.get_running_loop().set_default_executor(threads)
    memory, _, shown = await asyncio.to_thread(lived_in, store)
    for number in range(40):
        calls = [
            memory.aremember("ana", f"likes {number}"),
            memory.afeedback("ana", shown, reward=1.0, key=str(number)),
        ]
        tasks = [asyncio.create_task(call) for call in calls]
        for _ in range(number % 8):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    threads.shutdown()  # what was under way has ended
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4))
    assert (await memory.aremember("ana", "likes the last one")).text == "likes the last one"
    assert (await memory.afeedback("ana", shown, reward=1.0)).applied
    fresh = PersonaMemory(store, MODEL)
    assert await memory.apreferences("ana", all=True) == await fresh.apreferences("ana", all=True)
    vectors, rebuilt = await memory.avectors("ana"), await fresh.arebuild("ana")
    assert vectors.long.tobytes() == rebuilt.long.tobytes()
    assert vectors.count == len(await memory.aratings("ana"))


async def test_law_3_an_embedder_that_hangs_costs_the_vector_only(forever, caplog):
    class Hanging(HashEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            forever.wait()
            return []

    memory = PersonaMemory(Watched(), Hanging(8))
    memory.embedder._timeout_seconds = SOON
    cards = [await asyncio.to_thread(memory.remember, "ana", "likes tea"), await memory.aremember("ana", "likes rain")]
    forever.set()  # or the loop waits for its threads
    assert await memory.apreferences("ana") == cards
    assert [card.vector for card in cards] == ["", ""]
    assert len(warnings_in(caplog)) == 2


async def test_calls_that_hang_hold_no_thread_that_the_event_loop_lends_to_others(forever):
    class Hanging(HashEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            forever.wait()
            return []

    memory = PersonaMemory(Watched(), Hanging(8))
    memory.embedder._timeout_seconds = 0.2
    calls = [memory.embedder.aembed_query("tea") for _ in range(40)]  # the loop lends at most 32
    found = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5.0)
    assert {type(one) for one in found} == {TimeoutError}
    assert await asyncio.wait_for(memory.apreferences("ana"), 5.0) == []
    forever.set()


def test_edits_of_one_card_by_several_threads_lose_none():
    memory = PersonaMemory(Watched(), MODEL)
    for _ in range(50):
        card = memory.remember("ana", "likes tea")
        edits = [memory.pin, memory.hold_back, partial(memory.retire, reason="no more")]
        threads = [threading.Thread(target=edit, args=("ana", card.id)) for edit in edits]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        now = memory.cards.get("ana", card.id)
        assert (now.pinned, now.held_back, now.retired is not None) == (True, True, True)
