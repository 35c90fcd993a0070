"""Any history of feedback and cards, from several processes with clocks that differ, against a model of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from langgraph.store.memory import InMemoryStore

from langchain_persona.identity import label
from langchain_persona.memory import PersonaMemory
from langchain_persona.records import Feedback, PreferenceCard, Retirement
from tests.memories import DAY, FOREVER, HOUR, MODEL, TEXTS, Clock, oracle, same, show

PROCESS = st.sampled_from(range(3))
INDEX = st.integers(0, 1_000)
REWARD = st.sampled_from([1.0, -1.0, 0.5, -0.25, 0.0])
SESSIONS = ("t1", "t2")
PAUSES = (0.5, 10.0, 40.0, 70.0, 200.0, HOUR, 5 * HOUR, 2 * DAY, 12 * DAY)


def gone(by: str | None) -> Retirement:
    return Retirement(time=0.0, by=by)


class Machine(RuleBasedStateMachine):
    """What all processes share: a store, a clock, and one memory a process."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.clock = Clock(self.patch)
        self.store = InMemoryStore()
        self.memories = [self.fresh() for _ in range(3)]
        self.skews = (0.0, 20.0, -20.0)

    def fresh(self) -> PersonaMemory:
        return PersonaMemory(self.store, MODEL, retrieval_ttl_seconds=FOREVER)

    def at(self, process: int) -> PersonaMemory:
        """The memory of a process, at its time."""
        self.clock.skew = self.skews[process]
        return self.memories[process]

    def stored(self, part: str) -> list[dict[str, Any]]:
        return [item.value for item in self.store.search(("persona", label("ana"), part), limit=10_000)]

    @rule(seconds=st.sampled_from(PAUSES))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(process=PROCESS)
    def restart(self, process: int) -> None:
        self.memories[process] = self.fresh()

    def teardown(self) -> None:
        self.patch.undo()


class LedgerMachine(Machine):
    """Feedback: the vectors are at any time the fold of what is valid, bit for bit."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, float] = {}
        self.withdrawn: set[str] = set()
        self.inert = 0

    @initialize(far=st.booleans())
    def retrieve(self, far: bool) -> None:
        # within the grace of 60 s: no two clocks differ by more than 40 s, nothing is written more than 15 s late;
        # or clocks are far apart, and then nothing is late
        self.far = far
        self.skews = (0.0, 1_500.0, -1_500.0) if far else (0.0, 20.0, -20.0)
        memory = self.at(0)
        queries = list(TEXTS.values())
        self.shown = [show(memory, "ana", SESSIONS[n % 2], queries[n], now=self.clock.now) for n in range(4)]
        self.foreign = show(memory, "bo", now=self.clock.now)

    def one_of_the_given(self, index: int) -> str:
        return list(self.given)[index % len(self.given)]

    @rule(process=PROCESS, index=INDEX, reward=REWARD, keyed=st.booleans())
    def give(self, process: int, index: int, reward: float, keyed: bool) -> None:
        key = f"key {len(self.given)}" if keyed else None
        receipt = self.at(process).feedback("ana", self.shown[index % 4].id, reward=reward, key=key)
        assert receipt.applied
        self.given[receipt.id] = reward

    @precondition(lambda self: any(name.startswith("k=") for name in self.given))
    @rule(process=PROCESS, index=INDEX)
    def give_with_a_used_key(self, process: int, index: int) -> None:
        keyed = [name for name in self.given if name.startswith("k=")]
        name = keyed[index % len(keyed)]
        key = next(value["key"] for value in self.stored("feedback") if value["id"] == name)
        receipt = self.at(process).feedback("ana", self.shown[0].id, reward=1.0, key=key)
        assert (receipt.id, receipt.applied) == (name, False)

    @precondition(lambda self: not self.far)
    @rule(process=PROCESS, other=PROCESS, index=INDEX, reward=REWARD, late=st.floats(0.0, 15.0))
    def give_twice_at_once(self, process: int, other: int, index: int, reward: float, late: float) -> None:
        """Two processes found a key unused: the entry is delivered twice, each time under a time of its own."""
        key, shown = f"two {len(self.given)}", self.shown[index % 4].id
        receipt = self.at(process).feedback("ana", shown, reward=reward, key=key)
        self.given[receipt.id] = reward
        entry = next(value for value in self.stored("feedback") if value["id"] == receipt.id)
        again = Feedback.model_validate({**entry, "time": entry["time"] + late})
        self.at(other).ledger.append("ana", [again])

    @precondition(lambda self: self.given and not self.far)
    @rule(process=PROCESS, index=INDEX, reward=REWARD, late=st.floats(0.0, 15.0))
    def give_late(self, process: int, index: int, reward: float, late: float) -> None:
        """A process that stood still between taking the time and writing."""
        memory, name = self.at(process), f"late {len(self.given)}"
        entry = next(value for value in self.stored("feedback") if value["id"] == self.one_of_the_given(index))
        changed = {"id": name, "key": None, "reward": reward, "time": self.clock.time() - late}
        memory.ledger.append("ana", [Feedback.model_validate({**entry, **changed})])
        self.given[name] = reward

    @rule(process=PROCESS, unknown=st.booleans())
    def give_to_what_is_not_the_users(self, process: int, unknown: bool) -> None:
        receipt = self.at(process).feedback("ana", "unknown" if unknown else self.foreign.id, reward=1.0)
        assert not receipt.applied
        self.inert += 1

    @precondition(lambda self: self.given)
    @rule(process=PROCESS, index=INDEX)
    def withdraw(self, process: int, index: int) -> None:
        name = self.one_of_the_given(index)
        assert self.at(process).withdraw("ana", name).applied is (name not in self.withdrawn)
        self.withdrawn.add(name)

    @precondition(lambda self: self.given)
    @rule(process=PROCESS, index=INDEX, reward=REWARD, known=st.booleans())
    def replace(self, process: int, index: int, reward: float, known: bool) -> None:
        """As the agent does when more is known of an answer; the retrieval may have expired meanwhile."""
        old, ledger = self.one_of_the_given(index), self.at(process).ledger
        receipt = ledger.feedback("ana", self.shown[0].id if known else "unknown", reward, withdraw=old)
        if known:
            self.given[receipt.id] = reward
        self.inert += not known
        self.withdrawn.add(old)

    @rule(process=PROCESS, session=st.sampled_from([*SESSIONS, "another", None]))
    def read(self, process: int, session: str | None) -> None:
        memory = self.at(process)
        assert same(memory.vectors("ana", session), oracle(self.stored("feedback")), session)

    @rule(process=PROCESS)
    def rebuild(self, process: int) -> None:
        assert same(self.at(process).rebuild("ana"), oracle(self.stored("feedback")))

    @rule(process=PROCESS)
    def list_ratings(self, process: int) -> None:
        moving = {rating.id: rating.reward for rating in self.at(process).ratings("ana") if not rating.reason}
        assert moving == {name: reward for name, reward in self.given.items() if name not in self.withdrawn}

    def teardown(self) -> None:
        valid = len(set(self.given) - self.withdrawn)
        for process in range(3):
            memory = self.at(process)
            vectors, told = memory.vectors("ana", "t1"), memory.explain("ana")
            assert same(vectors, oracle(self.stored("feedback")), "t1")
            assert (vectors.count, told.events, told.withdrawn, told.inert) == (
                valid,
                valid,
                len(self.withdrawn),
                self.inert,
            )
        # what is imported once more changes nothing
        entries = memory.ledger.entries("ana")
        memory.ledger.append("ana", entries)
        before, number = memory.rebuild("ana"), len(self.stored("feedback"))
        memory.ledger.append("ana", entries)
        for one in (memory, self.fresh()):
            assert one.vectors("ana").long.tobytes() == before.long.tobytes() == vectors.long.tobytes()
            assert one.rebuild("ana").count == valid
        assert len(self.stored("feedback")) == number
        super().teardown()


class CardsMachine(Machine):
    """Cards: every process lists what the model holds, and what was erased never comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.cards: dict[str, PreferenceCard] = {}
        self.erased: dict[str, PreferenceCard] = {}
        self.seen: list[PreferenceCard] = []
        self.superfluous: dict[str, Any] = {}

    def at(self, process: int) -> PersonaMemory:
        self.settle()
        return super().at(process)

    def settle(self) -> None:
        """What a reader does, each time anew: of several cards in the place of one a pinned one or the latest stays."""
        for name, retired in self.superfluous.items():
            if name in self.cards and self.cards[name].retired is retired:
                self.change(name, retired=None)
        self.superfluous.clear()
        active = sorted((one for one in self.cards.values() if one.active), key=lambda one: (one.created, one.id))
        for place in {one.replaces for one in active} - {""}:
            heirs = [one for one in active if one.replaces == place]
            stays = next((one for one in reversed(heirs) if one.pinned), heirs[-1])
            for one in heirs:
                if one is not stays and not one.pinned:
                    self.superfluous[one.id] = gone(stays.id)
                    self.change(one.id, retired=self.superfluous[one.id])

    def pick(self, index: int) -> str:
        self.settle()
        return list(self.cards)[index % len(self.cards)]

    def change(self, name: str, **changes: Any) -> None:
        self.cards[name] = self.cards[name].model_copy(update=changes)

    @rule(process=PROCESS)
    def remember(self, process: int) -> None:
        card = self.at(process).remember("ana", f"wish {len(self.cards) + len(self.erased)}.")
        self.cards[card.id] = card

    @precondition(lambda self: self.cards)
    @rule(process=PROCESS, index=INDEX)
    def update(self, process: int, index: int) -> None:
        old = self.pick(index)
        new = self.at(process).update("ana", old, f"wish {len(self.cards) + len(self.erased)}.")
        self.cards[new.id] = new
        self.change(old, retired=gone(new.id))

    @precondition(lambda self: self.cards)
    @rule(process=PROCESS, index=INDEX)
    def retire(self, process: int, index: int) -> None:
        name = self.pick(index)
        card = self.at(process).retire("ana", name, "changed my mind")
        self.change(name, retired=gone(card.retired.by))

    @precondition(lambda self: self.cards)
    @rule(process=PROCESS, index=INDEX)
    def revive(self, process: int, index: int) -> None:
        name = self.pick(index)
        heirs, more = {name}, {name}
        while more:
            by = {self.cards[one].retired.by for one in more if self.cards[one].retired}
            more = {one.id for one in self.cards.values() if one.id in by or one.replaces in more} - heirs
            heirs |= more
        assert self.at(process).revive("ana", name).retired is None
        self.change(name, retired=None, replaces="")
        for one in heirs - {name}:
            if self.cards[one].retired is None:
                self.change(one, retired=gone(name))

    @precondition(lambda self: self.cards)
    @rule(process=PROCESS, index=INDEX, field=st.sampled_from(["pinned", "held_back"]), value=st.booleans())
    def flag(self, process: int, index: int, field: str, value: bool) -> None:
        name, memory = self.pick(index), self.at(process)
        getattr(memory, {"pinned": "pin", "held_back": "hold_back"}[field])("ana", name, value)
        self.change(name, **{field: value})

    @precondition(lambda self: self.cards)
    @rule(process=PROCESS, index=INDEX)
    def forget(self, process: int, index: int) -> None:
        name = self.pick(index)
        doomed = {name}
        while more := {one for one, card in self.cards.items() if card.retired and card.retired.by in doomed} - doomed:
            doomed |= more
        assert {card.id for card in self.at(process).forget("ana", name)} == doomed
        self.erased |= {one: self.cards.pop(one) for one in doomed}

    @rule(process=PROCESS)
    def look(self, process: int) -> None:
        """What a reflection reads, which it writes back a little later."""
        self.seen += self.at(process).preferences("ana", all=True)

    @precondition(lambda self: self.seen)
    @rule(process=PROCESS, index=INDEX)
    def write_what_was_read_before(self, process: int, index: int) -> None:
        card = self.seen[index % len(self.seen)]
        kept = self.at(process).cards.write("ana", [card])
        assert kept == ([] if card.id in self.erased else [card])
        if kept:
            self.cards[card.id] = card

    @rule(process=PROCESS)
    def list_all(self, process: int) -> None:
        found = self.at(process).preferences("ana", all=True)
        state = {card.id: (card.text, card.pinned, card.held_back, card.retired and card.retired.by) for card in found}
        assert state == {
            name: (card.text, card.pinned, card.held_back, card.retired and card.retired.by)
            for name, card in self.cards.items()
        }
        shown = {card.id for card in self.at(process).preferences("ana")}
        assert shown == {name for name, card in self.cards.items() if card.retired is None and not card.held_back}
        assert len(found) == len(state)

    @invariant()
    def nothing_erased_is_in_the_store(self) -> None:
        texts = {value["text"] for value in self.stored("cards")}
        assert texts == {card.text for card in self.cards.values()}

    def teardown(self) -> None:
        memory = self.at(0)
        before = memory.preferences("ana", all=True)
        memory.cards.write("ana", before)
        assert memory.cards.write("ana", list(self.erased.values())) == []
        for process in range(3):
            assert self.at(process).preferences("ana", all=True) == before
        super().teardown()


TestLedger = LedgerMachine.TestCase
TestCards = CardsMachine.TestCase
TestLedger.settings = TestCards.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
