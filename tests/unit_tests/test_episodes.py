"""Episodes and their marks: what was answered but not learned from yet waits for the reflection that it names."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from langchain_persona.identity import label
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.episodes import ATTEMPTS, other_exchanges
from langchain_persona.records import Episode, Evidence, PreferenceCard, ToolOutcome
from langchain_persona.testing import HashEmbeddings
from tests.memories import DAY, MODEL, Clock, D, Watched, warnings_in, writes


@pytest.fixture
def memory() -> PersonaMemory:
    return PersonaMemory(Watched(), MODEL)


def episode(number: int, **fields: Any) -> Episode:
    return Episode(id=f"e{number}", message_id=f"m{number}", query=f"question {number}", time=float(number), **fields)


def waiting(memory: PersonaMemory, reflection: str = "verbatim", user: str = "ana") -> list[str]:
    return [mark.episode.id for mark in memory.turns.read_pending(user, reflection).marks]


class Processor:
    """Works through what waits for one reflection."""

    def __init__(self, memory: PersonaMemory, name: str) -> None:
        self.memory, self.name = memory, name

    def process(self, user: str) -> int:
        reading = self.memory.turns.read_pending(user, self.name)
        self.memory.turns.finish(user, reading.marks, reading.progress)
        return len(reading.marks)

    async def aprocess(self, user: str) -> int:
        return await asyncio.to_thread(self.process, user)


def test_an_episode_is_kept_with_its_mark_in_one_batch(memory):
    told = episode(1, outcomes=(ToolOutcome(tool="search", ok=False, error="down"),), retrievals=("r1",))
    memory.store.batches.clear()
    memory.episodes.record("ana", told, "verbatim")
    assert [len(ops) for ops in memory.store.batches] == [2]
    assert memory.episodes.all("ana") == [told]
    assert memory.turns.read("ana", episode_id="e1").episode == told
    better = told.model_copy(update={"reward": 1.0, "accepted": "Better."})
    assert memory.episodes.write("ana", better)
    assert memory.episodes.all("ana") == [better]
    assert memory.episodes.all("bo") == []


def test_law_4_what_waits_of_an_id_that_no_store_holds_as_it_is_stays_with_it(memory):
    memory.turns.processors["verbatim"] = Processor(memory, "verbatim")
    memory.episodes.record("x\0", episode(1), "verbatim")
    memory.episodes.retry(memory.episodes.pending("x\0"))
    assert (waiting(memory, user="x\0"), waiting(memory, user="x\ufffd")) == (["e1"], [])
    assert memory.process_pending() == 1
    assert waiting(memory, user="x\0") == []


def test_marks_wait_in_order_for_the_reflection_that_they_name(memory):
    for number in (3, 1, 2):
        memory.episodes.record("ana", episode(number), "model" if number == 2 else "verbatim")
    assert (waiting(memory), waiting(memory, "model"), waiting(memory, "other")) == (["e1", "e3"], ["e2"], [])
    reading = memory.turns.read_pending("ana", "verbatim")
    memory.turns.finish("ana", reading.marks[:1], reading.progress.model_copy(update={"since": 1}))
    assert (waiting(memory), waiting(memory, "model")) == (["e3"], ["e2"])
    assert memory.turns.read_pending("ana", "model").progress.since == 1
    assert [one.id for one in memory.episodes.all("ana")] == ["e1", "e2", "e3"]


async def test_a_second_graph_on_one_memory_leaves_the_firsts_work_alone(memory):
    def record() -> None:
        for user in ("ana", "bo", "a.b/c"):
            memory.episodes.record(user, episode(1), "one")
            memory.episodes.record(user, episode(2), "other")

    await asyncio.to_thread(record)
    assert await memory.aprocess_pending() == 0  # nobody is there for them yet
    memory.turns.processors["one"] = Processor(memory, "one")
    assert await memory.aprocess_pending("ana") == 1
    assert await asyncio.to_thread(memory.process_pending) == 2
    restarted = PersonaMemory(memory.store, MODEL)
    restarted.turns.processors["other"] = Processor(restarted, "other")
    assert await restarted.aprocess_pending(None) == 3
    assert await asyncio.to_thread(memory.episodes.waiting_users) == []


def test_what_fails_is_tried_again_and_then_left_alone(memory, caplog):
    memory.episodes.record("ana", episode(1), "verbatim")
    for attempt in range(ATTEMPTS):
        assert waiting(memory) == ["e1"]
        marks = memory.turns.read_pending("ana", "verbatim").marks
        assert [mark.attempts for mark in marks] == [attempt]
        assert warnings_in(caplog) == []
        memory.episodes.retry(marks)
    assert waiting(memory) == []
    assert len(warnings_in(caplog)) == 1
    assert len(memory.episodes.all("ana")) == 1


@pytest.mark.parametrize("attempts", [1, ATTEMPTS])
def test_law_5_a_failed_reflection_does_not_bring_back_what_was_erased_meanwhile(memory, attempts):
    card = memory.remember("ana", "Keeps zebras.")
    memory.episodes.record("ana", episode(1, answer="You said: Keeps zebras.", cards=(card.id,)), "verbatim")
    reading = memory.turns.read_pending("ana", "verbatim")
    memory.forget("ana", card.id)
    for _ in range(attempts):
        memory.episodes.retry(reading.marks)
    assert waiting(memory) == []
    everything = str([item.value for item in memory.store.store.search(("persona", label("ana")), limit=100)])
    assert "zebras" not in everything
    assert "question" not in everything


def test_law_5_an_episode_erased_while_it_was_changed_stays_erased(memory):
    memory.episodes.record("ana", episode(1), "verbatim")
    other = PersonaMemory(memory.store, MODEL)

    def meanwhile(ops: list[Any]) -> None:
        if writes(ops, "episodes"):
            memory.store.before = lambda ops: None
            other.episodes.erase("ana", {"e1"})

    memory.store.before = meanwhile
    assert not memory.episodes.write("ana", episode(1, reward=1.0))
    assert memory.episodes.all("ana") == []
    assert waiting(memory) == []


def test_two_reflections_at_once_leave_one_of_each_and_no_mark(memory):
    """Both read the same mark, and write cards whose ids are derived from the message."""
    memory.episodes.record("ana", episode(1), "verbatim")
    other = PersonaMemory(memory.store, MODEL)
    readings = [one.turns.read_pending("ana", "verbatim") for one in (memory, other)]
    for one, reading in zip((memory, other), readings, strict=True):
        card = PreferenceCard(id="from m1", text="question 1")
        assert one.turns.finish("ana", reading.marks, reading.progress, cards=[card]) == [card]
    assert [card.text for card in memory.preferences("ana")] == ["question 1"]
    assert waiting(memory) == []


def test_a_turn_reads_all_it_needs_in_one_batch(memory):
    memory.remember("ana", "likes tea")
    memory.episodes.record("ana", episode(1), "verbatim")
    fresh = PersonaMemory(memory.store, MODEL)
    for cached in (False, True):
        memory.store.batches.clear()
        turn = fresh.turns.read("ana", episode_id="e1", retrieval_ids=("r1", "r2"))
        assert len(memory.store.batches) == 1, cached
        assert ([card.text for card in turn.cards.active], turn.episode.id) == (["likes tea"], "e1")
        assert len(fresh.turns.read_pending("ana", "verbatim").marks) == 1
        assert len(memory.store.batches) == 2
    assert fresh.turns.read("ana").feedback is None


def test_a_corrupt_episode_or_mark_costs_itself(memory, caplog):
    for number in (1, 2):
        memory.episodes.record("ana", episode(number), "verbatim")
    for place in (("episodes",), ("pending", label("verbatim", prefix="m"))):
        memory.store.put(("persona", label("ana"), *place), label("e1", prefix="t"), {"query": ["secret words"]})
    assert [one.id for one in memory.episodes.all("ana")] == ["e2"]
    assert memory.turns.read("ana", episode_id="e1").episode is None
    assert waiting(memory) == ["e2"]
    assert len(warnings_in(caplog)) == 3
    assert "secret words" not in caplog.text


# earlier exchanges ----------------------------------------------------------------------------------------------------


def find(memory: PersonaMemory, query: str, thread: str = "now", fresh: bool = True) -> list[str]:
    """Queries of earlier exchanges that resemble a message, as a turn finds them."""
    reading = memory.turns.read("ana", past="latest" if fresh else "known")
    vector = np.asarray(MODEL.embed_query(query))
    found = memory.episodes.similar(other_exchanges(reading.past, thread, ()), reading.cards, vector, 2)
    return [one.query for one, _ in found]


def exchange(memory: PersonaMemory, number: int, query: str, **fields: Any) -> Episode:
    told = memory.episodes.with_vector(
        episode(number, **{"thread": "then", **fields}).model_copy(update={"query": query})
    )
    memory.episodes.record("ana", told, "verbatim")
    return told


def test_exchanges_of_other_conversations_are_found_by_their_question(memory):
    exchange(memory, 1, "guns and roses")
    exchange(memory, 2, "ships", answer="x" * 9_000)
    exchange(memory, 3, "guns and roses", thread="now")
    fresh = PersonaMemory(memory.store, MODEL)
    memory.store.batches.clear()
    assert find(fresh, "guns and roses") == ["guns and roses"]
    assert len(memory.store.batches) == 1
    assert find(fresh, "ships", fresh=False) == ["ships"]
    assert "'past')" not in str(memory.store.batches[1])  # this process has them: it asks for their version
    assert find(fresh, "rockets") == []
    reading = fresh.turns.read("ana", past="known")
    assert {len(one.answer) for one, _ in reading.past.values()} == {0, 400}
    assert len(other_exchanges(reading.past, "", {"m1"})) == 2  # a message that is in view
    assert memory.turns.read("ana").past == {}


def test_what_is_said_of_an_answer_later_is_in_its_copy(memory):
    exchange(memory, 1, "ships")
    kept = memory.turns.read("ana", episode_id="e1").episode
    assert kept is not None
    judged = kept.model_copy(update={"reward": -1.0, "reasons": ("thumb down",)})
    memory.episodes.record("ana", memory.episodes.with_vector(episode(2)), "verbatim", judged)
    past = PersonaMemory(memory.store, MODEL).episodes.read_past("ana")
    assert past["e1"][0].reasons == ("thumb down",)


def test_only_the_latest_exchanges_are_kept_in_reach(memory, monkeypatch):
    monkeypatch.setattr("langchain_persona.memory.episodes._COPIES", 3)
    for number in range(4):
        exchange(memory, number, "ships")
    memory.turns.read("ana", past="latest")
    exchange(memory, 4, "ships")
    for one in (memory, PersonaMemory(memory.store, MODEL)):
        assert list(one.episodes.read_past("ana", fresh=True)) == ["e2", "e3", "e4"]
    assert len(memory.episodes.all("ana")) == 5


def test_law_6_an_erased_exchange_is_found_by_no_process(memory):
    other = PersonaMemory(memory.store, MODEL)
    card = memory.remember(
        "ana", PreferenceCard(text="Likes ships", evidence=(Evidence(message_id="m1", quote="ships"),))
    )
    exchange(memory, 1, "Likes ships")
    exchange(memory, 2, "rockets fly")
    assert find(other, "Likes ships") == ["Likes ships"]
    memory.forget("ana", card.id)
    for one, fresh in ((memory, False), (other, False), (other, True)):
        assert find(one, "Likes ships", fresh=fresh) == []
    assert "ships" not in str([item.value for item in memory.store.store.search(("persona", label("ana")), limit=100)])
    assert find(other, "rockets fly") == ["rockets fly"]


def test_law_6_no_process_goes_on_with_the_past_of_a_user_who_was_deleted_and_came_back(memory):
    other = PersonaMemory(memory.store, MODEL)
    exchange(memory, 1, "ships")
    assert find(other, "ships") == ["ships"]
    memory.delete_user("ana")
    memory.readmit_user("ana")
    for one in (other, memory):
        assert one.turns.read("ana", past="known").past == {}
    exchange(memory, 2, "rockets")
    assert find(other, "rockets") == ["rockets"]
    memory.store.batches.clear()
    assert find(other, "rockets", fresh=False) == ["rockets"]
    assert len(memory.store.batches) == 1


@pytest.mark.parametrize("change", ["retire", "hold_back"])
def test_an_exchange_on_which_a_retired_or_held_back_card_rests_is_not_shown(memory, change):
    card = memory.remember(
        "ana", PreferenceCard(text="Likes ships", evidence=(Evidence(message_id="m1", quote="ships"),))
    )
    exchange(memory, 1, "ships")
    assert find(memory, "ships") == ["ships"]
    getattr(memory, change)("ana", card.id)
    assert find(memory, "ships") == []


def test_exchanges_of_another_embedding_model_are_silent(memory):
    exchange(memory, 1, "ships")
    other = PersonaMemory(memory.store, HashEmbeddings(D + 1))
    assert other_exchanges(other.turns.read("ana", past="latest").past, "now", ()) == {}
    assert PersonaMemory(memory.store).turns.read("ana", past="latest").past == {}


def test_without_the_embedder_a_turn_is_kept_all_the_same(memory, caplog):
    class Down(HashEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            raise ConnectionError("down: secret words")

    deaf = PersonaMemory(memory.store, Down(D))
    exchange(deaf, 1, "ships")
    assert [one.query for one in memory.episodes.all("ana")] == ["ships"]
    (warning,) = warnings_in(caplog)
    assert "secret" not in warning
    assert find(memory, "ships") == []


@pytest.mark.parametrize("native", [True, False])
def test_an_episode_with_a_time_to_live_goes_with_its_copy_and_its_mark(monkeypatch, native):
    clock, store = Clock(monkeypatch), Watched()
    store.supports_ttl = native
    memory = PersonaMemory(store, MODEL, episode_ttl_seconds=DAY)
    monkeypatch.setattr("langchain_persona.memory.episodes.SWEEP_EVERY", 2)
    told = memory.episodes.with_vector(episode(1, thread="t1").model_copy(update={"time": clock.now}))
    clock.now += DAY / 2
    memory.episodes.record("ana", told, "verbatim")
    lives = [op.ttl for ops in store.batches for op in ops if getattr(op, "value", None)]
    assert lives == [pytest.approx(720.0) if native else None] * 3
    past, vector = memory.episodes.read_past("ana"), np.asarray(MODEL.embed_query(told.query))
    assert memory.episodes.similar(past, memory.cards.read("ana"), vector, 1)
    clock.now += DAY
    assert memory.episodes.all("ana") == []
    assert memory.episodes.similar(past, memory.cards.read("ana"), vector, 1) == []
    new = episode(2).model_copy(update={"time": clock.now})
    memory.episodes.record("ana", new, "verbatim")  # the second one: a sweep
    assert memory.drain()
    items = store.store.search(("persona", label("ana")), limit=100)
    assert {item.value["id"] for item in items if {"episodes", "past"} & set(item.namespace)} == {new.id}
    assert [mark.episode.id for mark in memory.episodes.pending("ana")] == [new.id]
    clock.now += 2 * DAY  # it has expired, and nobody has swept
    card = memory.remember("ana", PreferenceCard(text="Likes.", evidence=(Evidence(message_id="m2", quote="2"),)))
    memory.forget("ana", card.id)
    assert "question 2" not in str(store.store.search(("persona", label("ana")), limit=100))
