"""From one embedding model to another: feedback is carried over by way of the documents that it was about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from langchain_persona.learning import Vector, decode_vectors
from langchain_persona.memory import PersonaMemory, migration
from langchain_persona.memory.embedder import embedding_name
from langchain_persona.records import Feedback
from langchain_persona.testing import HashEmbeddings
from tests.memories import MODEL, NAME, TEXTS, Clock, Watched, show

NEW = HashEmbeddings(12)
NEW_NAME = embedding_name(NEW, 12)


class Documents:
    """The source of a retriever on the same documents under the new model."""

    embeddings = NEW

    def __init__(self, **without: bool) -> None:
        self.texts = {name: text for name, text in TEXTS.items() if name not in without}

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        return {name: np.asarray(NEW.embed_query(self.texts[name])) for name in ids if name in self.texts}

    def sample(self, n: int, filter: Mapping[str, Any] | None = None) -> Vector:
        return np.asarray(NEW.embed_documents(list(self.texts.values())[:n]))


def retriever(**without: bool) -> Any:
    return SimpleNamespace(source=Documents(**without))


@pytest.fixture
def memory() -> PersonaMemory:
    return PersonaMemory(Watched(), MODEL)


def rate(
    memory: PersonaMemory, reward: float, user: str = "ana", query: str = "film", first: int = 3, key: str | None = None
) -> str:
    """Rate the first documents that a query shows."""
    shown = show(memory, user, query=query)
    return memory.feedback(user, shown.id, reward=reward, docs=shown.chosen[:first], key=key).id


def copies(memory: PersonaMemory) -> list[Feedback]:
    return [one for one in memory.ledger.entries("ana") if isinstance(one, Feedback) and one.origin is not None]


def migrate(memory: PersonaMemory, **without: bool) -> Any:
    return memory.migrate_embeddings(retriever(**without), progress=False)


def test_ratings_are_carried_over_by_their_documents_once(memory):
    ids = [rate(memory, 1.0, key="k", first=1), rate(memory, -1.0, query="film guns"), rate(memory, 1.0, "bo")]
    inert = memory.feedback("ana", "unknown", reward=1.0).id
    memory.remember("bo", "likes tea")
    report = memory.migrate_embeddings(retriever(), progress=False)
    assert (report.users, report.ratings, report.lost, report.cards) == (2, 3, 0, 0)
    originals = {entry.id: entry for entry in memory.ledger.entries("ana")}
    assert [copy.origin for copy in copies(memory)] == ids[:2]
    for copy in copies(memory):
        first = originals[copy.origin]
        for name in ("reward", "gate", "source", "session", "documents", "titles", "retrieval_id"):
            assert getattr(copy, name) == getattr(first, name), name
        assert (copy.embedding, copy.dimension, copy.key) == (NEW_NAME, 12, None)
        mean = np.mean([NEW.embed_query(TEXTS[name]) for name in first.documents], axis=0)
        assert np.allclose(decode_vectors(copy.chosen, 12)[0], mean, atol=1e-6)
    assert memory.vectors("ana").long.shape == (12,)
    assert memory.vectors("ana").count == 2
    old = memory.user_vectors("ana", "", NAME, 8)
    assert old.count == 2  # under the old model all is as it was

    assert migrate(memory).ratings == 0
    assert PersonaMemory(memory.store, MODEL).migrate_embeddings(retriever(), users=["ana", "nobody"]).users == 2
    assert len(copies(memory)) == 2
    ratings = memory.ratings("ana")
    assert {rating.id for rating in ratings} == {*ids[:2], inert}  # each is listed once
    told_of = memory.explain("ana")
    assert (told_of.events, told_of.inert, told_of.embedding) == (2, 1, NEW_NAME)


def test_law_5_withdrawing_the_original_withdraws_the_copy(memory, monkeypatch):
    one, other, gone = rate(memory, 1.0), rate(memory, -1.0, query="film guns"), rate(memory, 1.0, query="film roses")
    memory.withdraw("ana", gone)
    clock = Clock(monkeypatch)
    assert migrate(memory).ratings == 2  # what was withdrawn before stays so
    for wait, name, left in ((0.0, one, 1), (600.0, other, 0)):
        clock.now += wait  # the second time a snapshot holds the copies
        assert memory.vectors("ana").count == left + 1
        memory.withdraw("ana", name)
        assert memory.user_vectors("ana", "", NEW_NAME, 12).count == left
        assert memory.rebuild("ana").count == left
    assert not memory.vectors("ana").effective.any()
    assert migrate(memory).ratings == 0


def test_documents_that_are_gone_cost_their_ratings(memory):
    best, second = show(memory).chosen[:2]
    rate(memory, 1.0, first=1)
    rate(memory, -1.0, first=2)
    report = migrate(memory, **{best: True})
    assert (report.ratings, report.lost) == (1, 1)
    (copy,) = copies(memory)
    assert decode_vectors(copy.chosen, 12)[0] == pytest.approx(NEW.embed_query(TEXTS[second]), abs=1e-6)


def test_two_processes_at_once_write_the_same_entries(memory):
    rate(memory, 1.0)

    def other(ops: list[Any]) -> None:
        memory.store.before = lambda ops: None
        assert migrate(PersonaMemory(memory.store, MODEL)).ratings == 1

    def when_writing(ops: list[Any]) -> None:
        if any("feedback" in getattr(op, "namespace", ()) for op in ops):
            other(ops)

    memory.store.before = when_writing
    assert migrate(memory).ratings == 1
    assert memory.vectors("ana").count == 1
    assert len({copy.id for copy in copies(memory)}) == 1


def test_the_latest_ratings_of_a_user_are_carried_over(memory, monkeypatch):
    monkeypatch.setattr(migration, "MOST", 3)
    ids = [rate(memory, 1.0) for _ in range(5)]
    assert migrate(memory).ratings == 3
    assert [copy.origin for copy in copies(memory)] == ids[2:]
    assert migrate(memory).ratings == 0  # older ones would come out as the newest
