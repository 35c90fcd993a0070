"""Law 4: whatever ids look like and in whatever order users act, nothing read for one is another's."""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import BaseStore

from langchain_persona.identity import User, label, normalise_user
from langchain_persona.memory import PersonaMemory
from langchain_persona.records import Episode
from tests.memories import MODEL, open_store, show

pytestmark = pytest.mark.integration

SEEDS = ["ana", "user-1", "a", "7", "é", "Ａna", "аna", "🦉", "a.b", "../x", "%", "x\0", "u=a", "langgraph", "\ud83e"]
KIN: list[Callable[[str], str]] = [
    lambda seed: seed,
    lambda seed: seed + "0",
    lambda seed: seed + ".",
    lambda seed: seed + "/a",
    lambda seed: seed + "%",
    lambda seed: seed + "\0",
    lambda seed: seed + "\ud800",
    lambda seed: seed + "\ufffd",  # what stands in a text for the two above
    lambda seed: " " + seed,
    lambda seed: seed.upper(),
    lambda seed: seed.replace("a", "а"),  # Cyrillic
    lambda seed: unicodedata.normalize("NFD", seed),
    lambda seed: unicodedata.normalize("NFKC", seed),
    lambda seed: (seed * 2_000)[:2_000],
    lambda seed: (seed * 2_000)[:1_999] + "!",
]


@st.composite
def alike(draw: st.DrawFn) -> list[User]:
    """Two to five ids that differ, made from one; a number may be an int."""
    seed = draw(st.sampled_from(SEEDS) | st.text(min_size=1, max_size=6) | st.integers(-99, 99).map(str))
    made = [make(seed) for make in draw(st.lists(st.sampled_from(KIN), min_size=5, max_size=5))]
    names = [name for name in dict.fromkeys([*made, "ana", "anab"]) if normalise_user(name)][:5]
    return [int(name) if re.fullmatch(r"-?[1-9]\d?", name) else name for name in names]


@dataclass
class Town:
    """Some users, two processes on one store, and what each user should find; each text names its user by number."""

    store: BaseStore
    users: Sequence[User]
    cards: dict[int, dict[str, str]] = field(default_factory=dict)
    ratings: dict[int, set[str]] = field(default_factory=dict)
    shown: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        root = (f"i{uuid.uuid4().hex}",)
        self.processes = [PersonaMemory(self.store, MODEL, namespace=root, timeout_seconds=60.0) for _ in range(2)]

    def act(self, what: str, who: int, other: int, memory: PersonaMemory) -> None:
        user, mine, theirs = self.users[who], self.cards.setdefault(who, {}), self.cards.setdefault(other, {})
        name, rated = normalise_user(user), self.ratings.setdefault(who, set())
        match what:
            case "remember":
                card = memory.remember(user, f"wish {uuid.uuid4().hex} of <{who}>")
                mine[card.id] = card.text
            case "rate":
                self.shown[who] = show(memory, name).id
                rated.add(memory.feedback(user, self.shown[who], reward=1.0, key=f"key {len(rated)}").id)
            case "rate theirs" if other != who and other in self.shown:
                receipt = memory.feedback(user, self.shown[other], reward=-1.0)
                assert not receipt.applied
                rated.add(receipt.id)
            case "persona":
                memory.revise_persona(user, f"Line of <{who}>.")
            case "episode":
                episode = Episode(thread="t", query=f"question of <{who}>", answer=f"to <{who}>")
                memory.episodes.record(name, memory.episodes.with_vector(episode), "model")
            case "retry":
                memory.episodes.retry(memory.episodes.pending(name))
                names = [normalise_user(one) for one in self.users]
                assert set(memory.episodes.waiting_users()) <= {*names, *map(label, names)}
            case "forget" if mine:
                gone = next(iter(mine))
                assert [card.id for card in memory.forget(user, gone)] == [gone]
                del mine[gone]
            case "touch theirs" if other != who and theirs:
                target = next(iter(theirs))
                assert memory.forget(user, target) == []
                with pytest.raises(KeyError):
                    memory.pin(user, target)
                for rating in self.ratings.get(other, set()) - rated:
                    assert not memory.withdraw(user, rating).applied
            case "delete":
                memory.delete_user(user)
                memory.readmit_user(user)
                mine.clear(), rated.clear(), self.shown.pop(who, None)
            case "read":
                self.read(who, memory)

    def read(self, who: int, memory: PersonaMemory) -> None:
        user, name = self.users[who], normalise_user(self.users[who])
        found = memory.preferences(user, all=True)
        assert {card.id: card.text for card in found} == self.cards.get(who, {})
        assert {rating.id for rating in memory.ratings(user)} == self.ratings.get(who, set())
        told: list[Any] = [memory.export_user(user), str(memory.explain(user)), memory.persona(user).to_json()]
        told += [episode.to_json() for episode, _ in memory.episodes.read_past(name, fresh=True).values()]
        told += [mark.to_json() for mark in memory.turns.read_pending(name, "model").marks]
        told += [doc.page_content for doc in memory.as_retriever(k=50).invoke("wish", user_id=user)]
        assert set(re.findall(r"<(\d+)>", json.dumps(told))) <= {str(who)}


ACTS = ["remember", "rate", "rate theirs", "persona", "episode", "retry", "forget", "touch theirs", "delete", "read"]


def check(store: BaseStore, examples: int) -> int:
    """How many operations were done."""
    done = 0
    act = st.tuples(st.sampled_from(ACTS), st.integers(0, 4), st.integers(0, 4), st.integers(0, 1))

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(users=alike(), acts=st.lists(act, min_size=50, max_size=50))
    def run(users: list[User], acts: list[tuple[str, int, int, int]]) -> None:
        nonlocal done
        town = Town(store, users)
        for what, who, other, process in acts:
            town.act(what, who % len(users), other % len(users), town.processes[process])
            done += 1
        for who in range(len(users)):
            for memory in town.processes:
                town.read(who, memory)

    run()
    return done


@pytest.mark.parametrize("examples", [5, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["memory", "sqlite", "pooled postgres"])
async def test_law_4_no_read_for_one_user_gives_anything_of_another(name, examples, tmp_path, request):
    uri = request.getfixturevalue("postgres") if "postgres" in name else ""
    async with open_store(name, tmp_path, uri) as store:
        done = await asyncio.to_thread(check, store, examples)
    assert done >= 50 * examples
