"""`memory.evaluate`: what is logged with a rating, what it gives over any store, sync and async; against the truth."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest
from langgraph.store.base import BaseStore, PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from langchain_persona.arrays import HALF, decode_vectors
from langchain_persona.errors import ConfigError, CorruptRecordError
from langchain_persona.learning import VARSConfig
from langchain_persona.memory import Evaluation, PersonaMemory
from langchain_persona.memory.decisions import decision_of
from langchain_persona.records import Feedback, Logged, Retrieval, read_entry
from langchain_persona.retriever import VARSRetriever
from langchain_persona.testing import HashEmbeddings
from langchain_persona.vectors import UserVectors

D = 16
MODEL = HashEmbeddings(D)
TEXTS = {f"d{number:02}": f"document number {number}" for number in range(30)}
VECTORS = dict(zip(TEXTS, np.asarray(MODEL.embed_documents(list(TEXTS.values()))), strict=True))


class Known(PersonaMemory):
    """Each user has a taste; the vectors know it in part, and no feedback moves them."""

    @staticmethod
    def likes(user: str) -> np.ndarray:
        return np.random.default_rng(int(user)).normal(size=D)

    def user_vectors(self, user, session, embedding, dimension):
        yield from ()
        noise = np.random.default_rng(1_000 + int(user)).normal(size=D)
        return UserVectors(0.1 * (self.likes(user) + 0.7 * noise), np.zeros(D), count=1)


def reward(user: str, document: Any) -> float:
    return float(np.clip(0.5 * VECTORS[str(document)] @ Known.likes(user), -1.0, 1.0))


@pytest.fixture(scope="module")
def collection() -> chromadb.Collection:
    made = chromadb.EphemeralClient().create_collection(
        f"t{uuid.uuid4().hex}", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    rows = [vector.tolist() for vector in VECTORS.values()]
    made.add(ids=list(TEXTS), documents=list(TEXTS.values()), embeddings=rows)
    return made


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest) -> Iterator[BaseStore]:
    if request.param == "memory":
        yield InMemoryStore()
    else:
        with SqliteStore.from_conn_string(":memory:") as made:
            made.setup()
            yield made


def over(collection: Any, memory: PersonaMemory, **options: Any) -> VARSRetriever:
    return VARSRetriever(vectorstore=collection, embeddings=MODEL, memory=memory, **{"k": 3, **options})


def rated(collection: Any, memory: PersonaMemory, users: int, each: int = 3, **options: Any) -> VARSRetriever:
    """Some users rate everything that they are shown."""
    retriever = over(collection, memory, **options)
    for user in map(str, range(users)):
        for number in range(each):
            for doc in retriever.invoke(f"question {number}", user_id=user):
                retriever.feedback(doc, reward(user, doc.id), user_id=user)
    return retriever


def entries(memory: PersonaMemory) -> list[Feedback]:
    values = [item.value for item in memory.store.search(("persona",), limit=10_000)]
    found = [read_entry(value) for value in values if value.get("type") == "feedback"]
    return [entry for entry in found if isinstance(entry, Feedback)]


MODES = pytest.mark.parametrize("mode", ["sync", "async"])


def asked(memory: PersonaMemory, mode: str, **options: Any) -> Evaluation:
    return asyncio.run(memory.aevaluate(**options)) if mode == "async" else memory.evaluate(**options)


# against the truth ------------------------------------------------------------------------------------------


def test_the_estimates_hold_the_true_value_of_running_other_strengths(collection):
    users, each = 24, 4
    memory = Known(InMemoryStore())
    retriever = rated(collection, memory, users, each, explore=0.1, seed=1)
    found = memory.evaluate((0.0, 1.0, 2.0), seed=2)
    for strength in (1.0, 2.0):
        values = [
            reward(str(user), doc.id)
            for user in range(users)
            for number in range(each)
            for _ in range(4)
            for doc in retriever.invoke(f"question {number}", user_id=user, strength=strength)
        ]
        one = found.of(strength)
        assert one.snips_interval[0] <= np.mean(values) <= one.snips_interval[1]
        assert one.ips_interval[0] <= np.mean(values) <= one.ips_interval[1]
    assert found.of(2.0).snips > found.of(1.0).snips > found.of(0.0).snips
    assert (found.users, found.retrievals, found.ratings) == (users, users * each, users * each * 3)


# what is logged ---------------------------------------------------------------------------------------------


@MODES
async def test_a_rating_carries_what_was_logged_and_which_positions_it_is_about(collection, mode):
    memory = Known(InMemoryStore())
    retriever = over(collection, memory, explore=0.1, seed=1)
    docs = retriever.invoke("question", user_id="1")
    if mode == "async":
        await retriever.afeedback(docs[1:], 0.5, user_id="1")
    else:
        retriever.feedback(docs[1:], 0.5, user_id="1")
    (entry,) = entries(memory)
    log = Logged.model_validate(entry.logged)
    assert log.rated == log.shown[1:]
    assert log.explore == 0.1
    assert json.loads(json.dumps(entry.to_json())) == entry.to_json()
    assert decision_of(entry, "1").rated == log.rated
    for wrong in ({"log_propensity": log.log_propensity - 0.1}, {"explore": 0.15}, {"shown": [*log.shown[::-1]]}):
        with pytest.raises(CorruptRecordError, match="propensity"):
            decision_of(entry.model_copy(update={"logged": {**entry.logged, **wrong}}), "1")
    left = {name: value for name, value in entry.logged.items() if name != "log_propensity"}
    with pytest.raises(CorruptRecordError, match="propensity"):
        decision_of(entry.model_copy(update={"logged": left}), "1")


@MODES
def test_old_entries_without_a_log_stay_readable_and_are_left_out(collection, store, mode):
    memory = PersonaMemory(store)
    retriever = over(collection, memory)
    for _ in range(2):
        retriever.feedback(retriever.invoke("question", user_id="ana")[0], 1.0, user_id="ana")
    (first, *_) = (item for item in store.search(("persona",), limit=100) if item.value.get("type") == "feedback")
    old = {name: value for name, value in first.value.items() if name != "logged"}
    store.put(first.namespace, first.key, old, index=False)
    assert PersonaMemory(store).rebuild("ana").count == 2
    found = asked(memory, mode)
    assert (found.ratings, found.left_out) == (1, 1)
    assert "1 more ratings were logged without" in str(found)
    kept = next(item.value for item in store.search(("persona",), limit=100) if "candidates" in item.value)
    assert Retrieval.model_validate({name: value for name, value in kept.items() if name != "logged"}).logged is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"shown": [0, 99]},
        {"rated": [99]},
        {"shown": []},
        {"base": "AAA"},
        {"base": "AAAA"},
        {"bonus": ""},
        {"base": "", "bonus": "", "explore": 0.1},
        {"explore": -1.0},
        {"explore": 0.1, "log_propensity": -0.001},
        {"explore": 0.1, "log_propensity": -50.0},
        {"shrink": 1e9},
        {"shown": "many"},
    ],
)
def test_a_damaged_log_costs_the_evaluation_of_one_rating_and_not_the_rating(collection, caplog, wrong):
    memory = PersonaMemory(InMemoryStore())
    retriever = over(collection, memory)
    retriever.feedback(retriever.invoke("first", user_id="ana")[0], 1.0, user_id="ana")
    retriever.feedback(retriever.invoke("question", user_id="ana")[0], 1.0, user_id="ana")
    for item in memory.store.search(("persona",), limit=100):
        if item.value.get("type") == "feedback" and "base" in item.value["logged"]:
            item.value["logged"].update(wrong)
            memory.store.put(item.namespace, item.key, item.value, index=False)
            with pytest.raises(CorruptRecordError):
                decision_of(read_entry(item.value), "ana")
    assert PersonaMemory(memory.store).vectors("ana").count == 2
    found = memory.evaluate()
    assert (found.ratings, found.left_out) == (1, 1)
    assert len(caplog.records) == 1


def test_what_strength_0_logs_is_the_bonus_as_it_would_have_acted(collection):
    memory = Known(InMemoryStore(), config=VARSConfig(spread=0.1))
    logged = []
    for strength in (0.0, 1.0):
        retriever = over(collection, memory, strength=strength, fetch_k=len(TEXTS))
        retriever.feedback(retriever.invoke("question", user_id="1")[0], 1.0, user_id="1")
        logs = [Logged.model_validate(entry.logged) for entry in entries(memory)]
        (log,) = [log for log in logs if log.strength == strength]
        logged.append(np.sort(decode_vectors(log.bonus, 1, HALF)[:, 0]))
    assert np.abs(logged[0]).max() > 0.01
    assert np.allclose(logged[0], logged[1], atol=2e-3)  # moderated alike


def test_what_scores_alone_do_not_choose_is_left_out(collection):
    memory = Known(InMemoryStore())
    rated(collection, memory, 2, search_type="mmr")
    found = memory.evaluate()
    assert (found.ratings, found.left_out) == (0, 18)
    assert "nothing to evaluate" in str(found)
    feedback = Feedback(id="x", retrieval_id="y", reward=1.0, gate=1.0, source="thumbs", time=1.0)
    assert decision_of(feedback, "1") is None
    assert decision_of(feedback.model_copy(update={"logged": {"shown": [0]}}), "1") is None


# whose, and how ---------------------------------------------------------------------------------------------


@MODES
def test_users_and_withdrawals(collection, store, mode):
    memory = Known(store)
    rated(collection, memory, 2, 2)
    other = Known(store, namespace=("persona", "other"))
    rated(collection, other, 1, 1)
    assert (asked(memory, mode)).ratings == 12
    assert (asked(memory, mode, users=["0"])).ratings == 6
    assert (asked(memory, mode, users="0")).ratings == 6
    assert (asked(memory, mode, users=[0, "0", None, "nobody"])).ratings == 6
    assert (asked(other, mode)).ratings == 3
    memory.withdraw("0", entries(memory)[0].id)
    counts = [(asked(memory, mode, users=[user])).ratings for user in ("0", "1")]
    assert sorted(counts) in ([5, 6], [6, 6])
    assert asked(memory, "sync") == asked(memory, "async")


@pytest.fixture
def filled(collection: chromadb.Collection, tmp_path: Path) -> Iterator[PersonaMemory]:
    """A ledger in a file, written outside the event loop."""
    with SqliteStore.from_conn_string(str(tmp_path / "store.sqlite3")) as store:
        store.setup()
        memory = Known(store)
        rated(collection, memory, 2, explore=0.1)
        yield memory


async def test_law_8_evaluating_does_not_block_the_event_loop(filled):
    assert (await filled.aevaluate()).ratings == 18


@pytest.mark.parametrize(
    "wrong",
    [
        {"strengths": ()},
        {"strengths": "0"},
        {"strengths": 1.0},
        {"strengths": (11.0,)},
        {"strengths": (-1.0,)},
        {"strengths": (True,)},
        {"strengths": (float("nan"),)},
        {"clip": 0.5},
        {"clip": float("nan")},
        {"clip": "10"},
        {"k": 0},
        {"k": 1.5},
        {"seed": -1},
        {"seed": True},
        {"users": 1.5},
        {"deterministic": "no"},
        {"deterministic": 1},
    ],
)
async def test_questions_that_cannot_work(wrong):
    memory = PersonaMemory(InMemoryStore())
    with pytest.raises(ConfigError, match=next(iter(wrong)).rstrip("s")):
        memory.evaluate(**wrong)
    with pytest.raises(ConfigError, match=next(iter(wrong)).rstrip("s")):
        await memory.aevaluate(**wrong)


def test_pages_of_users_and_entries(collection, monkeypatch):
    memory = Known(InMemoryStore())
    rated(collection, memory, 3, 1)
    whole = memory.evaluate()
    monkeypatch.setattr("langchain_persona.memory.pages._PAGE", 2)
    assert memory.evaluate() == whole
    assert whole.ratings == 9


# the three kinds of logs ------------------------------------------------------------------------------------


def test_without_a_draw_it_says_so_and_pretends_nothing(collection):
    memory = Known(InMemoryStore())
    rated(collection, memory, 3)
    found = memory.evaluate((0.0, 1.0))
    assert [one.ips for one in found.estimates] == [None, None]
    assert found.of(1.0).coverage == 1.0
    assert found.of(0.0).coverage < 1.0
    table = str(found)
    assert "Nothing was drawn" in table
    assert "no valid" in table
    assert "IPS" not in table
    with pytest.raises(ConfigError, match="not evaluated"):
        found.of(3.0)


def test_a_shadow_is_a_log_of_strength_zero(collection):
    memory = Known(InMemoryStore())
    rated(collection, memory, 4, shadow=True)
    found = memory.evaluate((0.0, 1.0))
    assert found.shadow == found.ratings == 36
    assert found.of(0.0).coverage == found.of(0.0).agreement == 1.0
    assert 0.0 < found.of(1.0).agreement < 1.0
    assert found.of(1.0).coverage <= found.of(1.0).agreement
    # what is printed compares no strengths: the same mean for all, and both parts of it for each
    mean = np.mean([entry.reward for entry in entries(memory)])
    assert [one.fixed_reward for one in found.estimates] == [pytest.approx(mean)] * 2
    assert found.of(0.0).disagreed is None
    one, share = found.of(1.0), found.of(1.0).coverage
    assert share * (one.replay or 0.0) + (1 - share) * (one.disagreed or 0.0) == pytest.approx(mean)
    said = str(found)
    assert f"earned {mean:+.3f} on all of them" in said
    assert "rows are not comparable" in said
    assert "only exploration" in said
    assert "[" not in said
    # the agreement is that of the rankings themselves
    plain, personal = over(collection, memory, strength=0.0), over(collection, memory)

    def shown(retriever: VARSRetriever, user: int, number: int) -> set[Any]:
        return {doc.id for doc in retriever.invoke(f"question {number}", user_id=user)}

    asked = [(user, number) for user in range(4) for number in range(3)]
    common = [len(shown(plain, *each) & shown(personal, *each)) / 3 for each in asked]
    assert found.of(1.0).agreement == pytest.approx(np.mean(common))
    assert "shadow mode (strength 0 was shown)" in str(found)


def test_a_table_of_everything(collection):
    memory = Known(InMemoryStore(), config=VARSConfig(strength=1.0))
    rated(collection, memory, 3, explore=0.1, seed=4)
    rated(collection, memory, 2, shadow=True)
    table = str(memory.evaluate((0.0, 1.0, 5.0), clip=5.0))
    assert "Drawn (explore > 0), 27 ratings" in table
    assert "weights to 5" in table
    assert "weak" in table
    assert "Above 1, the strongest logged" in table
    assert "Not drawn, 18 ratings, 18 of them in shadow mode" in table
    assert max(map(len, table.splitlines())) <= 120
    alone = str(memory.evaluate((0.0,), users="0"))
    assert "[" not in alone.split("strength")[1]  # one user has no interval


async def test_law_3_of_a_store_that_fails(collection):
    class Gone(InMemoryStore):
        def batch(self, ops):
            if not all(isinstance(op, PutOp) for op in ops):
                raise ConnectionError("gone")
            return super().batch(ops)

        async def abatch(self, ops):
            return self.batch(ops)

    memory = PersonaMemory(Gone())
    with pytest.raises(ConnectionError):
        memory.evaluate()
    with pytest.raises(ConnectionError):
        await memory.aevaluate()
