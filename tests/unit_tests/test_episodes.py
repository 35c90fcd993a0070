"""Episodes and their marks: what was answered but not learned from yet waits for the reflection that it names."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from langchain_persona.identity import label
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.episodes import ATTEMPTS
from langchain_persona.records import Episode, PreferenceCard, ToolOutcome
from tests.memories import MODEL, Watched, warnings_in, writes


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
    memory.turns.register("one", Processor(memory, "one"))
    assert await memory.aprocess_pending("ana") == 1
    assert await asyncio.to_thread(memory.process_pending) == 2
    restarted = PersonaMemory(memory.store, MODEL)
    restarted.turns.register("other", Processor(restarted, "other"))
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
