"""How a retrieval may be asked for: strength, abstention, a draw, shadow mode; and what is logged of it."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import uuid
from typing import Any

import chromadb
import numpy as np
import pytest
from langchain_core.documents import Document
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from langchain_persona.arrays import HALF, decode_vectors
from langchain_persona.errors import ConfigError
from langchain_persona.identity import PersonaContext
from langchain_persona.learning import VARSConfig, inclusion, list_log_probability
from langchain_persona.loop.state import PersonaState
from langchain_persona.memory import PersonaMemory
from langchain_persona.nodes import retrieve_node
from langchain_persona.records import Logged, Retrieval
from langchain_persona.retrieval import Request
from langchain_persona.retriever import VARSRetriever
from langchain_persona.testing import HashEmbeddings
from langchain_persona.vectors import UserVectors

D = 16
MODEL = HashEmbeddings(D)
TEXTS = {f"d{number:02}": f"document number {number}" for number in range(40)}
QUERY = "a document of the sea"


class Known(PersonaMemory):
    """Every user likes one direction; `count` is how often they said so."""

    taste = np.random.default_rng(5).normal(size=D) / 3.0
    count = 3

    def user_vectors(self, user, session, embedding, dimension):
        yield from ()
        return UserVectors(self.taste, np.zeros(D), count=self.count)


@pytest.fixture(scope="module")
def collection() -> chromadb.Collection:
    made = chromadb.EphemeralClient().create_collection(
        f"t{uuid.uuid4().hex}", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    made.add(ids=list(TEXTS), documents=list(TEXTS.values()), embeddings=MODEL.embed_documents(list(TEXTS.values())))
    return made


def over(collection: Any, memory: PersonaMemory | None = None, **options: Any) -> VARSRetriever:
    memory = memory or Known(InMemoryStore())
    return VARSRetriever(vectorstore=collection, embeddings=MODEL, memory=memory, **{"user_id": "ana", **options})


def ids(docs: list[Document]) -> list[str]:
    return [str(doc.id) for doc in docs]


def facts(docs: list[Document], *without: str) -> list[dict[str, Any]]:
    left_out = {"retrieval_id", *without}
    return [{name: value for name, value in doc.metadata["persona"].items() if name not in left_out} for doc in docs]


def record(retriever: VARSRetriever, docs: list[Document]) -> Retrieval:
    wanted = docs[0].metadata["persona"]["retrieval_id"]
    values = [item.value for item in retriever.memory.store.search(("persona",), limit=1_000)]
    return Retrieval.model_validate(next(value for value in values if value.get("id") == wanted))


def logged(retriever: VARSRetriever, docs: list[Document]) -> Logged:
    return Logged.model_validate(record(retriever, docs).logged)


def halves(text: str) -> np.ndarray:
    return decode_vectors(text, 1, HALF)[:, 0]


async def found(retriever: VARSRetriever, mode: str, query: str = QUERY, **options: Any) -> list[Document]:
    return await retriever.ainvoke(query, **options) if mode == "async" else retriever.invoke(query, **options)


MODES = pytest.mark.parametrize("mode", ["sync", "async"])


# strength ---------------------------------------------------------------------------------------------------


@MODES
async def test_strength_zero_is_the_plain_ranking_to_the_byte(collection, mode):
    plain = await found(over(collection, PersonaMemory(InMemoryStore())), mode)
    for retriever, options in [
        (over(collection, strength=0), {}),
        (over(collection), {"strength": 0.0}),
        (over(collection, strength=0.0, explore=0.1), {}),
        (over(collection, Known(InMemoryStore(), config=VARSConfig(strength=0.0))), {}),
    ]:
        docs = await found(retriever, mode, **options)
        assert ids(docs) == ids(plain)
        assert json.dumps(facts(docs, "abstained")) == json.dumps(facts(plain, "abstained"))
        assert {fact["abstained"] for fact in facts(docs)} == {None}
        assert logged(retriever, docs).strength == 0.0
        assert halves(logged(retriever, docs).bonus).any()  # what it would have been is on record


def test_the_call_wins_over_the_retriever_and_the_retriever_over_the_configuration(collection):
    memory = Known(InMemoryStore(), config=VARSConfig(strength=0.5))

    def bonus(retriever: VARSRetriever, **options: Any) -> dict[str, float]:
        docs = retriever.invoke(QUERY, k=40, **options)
        return {str(doc.id): doc.metadata["persona"]["long"] for doc in docs}

    full = bonus(over(collection), strength=1)
    for strength, given in [
        (0.5, bonus(over(collection, memory))),
        (2.0, bonus(over(collection, memory, strength=2.0))),
        (0.25, bonus(over(collection, memory, strength=2.0), strength=0.25)),
    ]:
        assert given == pytest.approx({name: strength * value for name, value in full.items()})


def test_law_2_the_cap_is_relative_to_the_strength(collection):
    class Loud(Known):
        taste = 100.0 * Known.taste

    for strength in (0.1, 1.0, 3.0):
        docs = over(collection, Loud(InMemoryStore()), max_bonus=0.2, strength=strength, k=40).invoke(QUERY)
        largest = max(abs(fact["long"]) for fact in facts(docs))
        assert 0.3 * strength * 0.2 < largest <= strength * 0.2 * (1 + 1e-9)


@pytest.mark.parametrize("wrong", [-0.1, 10.1, float("nan"), float("inf"), True, "much"])
def test_strengths_that_cannot_work(collection, wrong):
    with pytest.raises(ConfigError, match="strength must be a number from 0 to 10"):
        over(collection, strength=wrong)
    with pytest.raises(ConfigError, match="strength must be a number from 0 to 10"):
        over(collection).invoke(QUERY, strength=wrong)


def test_switches_that_cannot_work(collection):
    for wrong in (
        {"explore": -1.0},
        {"explore": "much"},
        {"explore": float("nan")},
        {"seed": 1.5},
        {"seed": True},
        {"objective": "what"},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            over(collection, **wrong)
    for wrong, name in (({"search_type": "mmr"}, "mmr"), ({"shadow": True}, "shadow")):
        with pytest.raises(ConfigError, match=name):
            over(collection, explore=0.1, **wrong)
    for wrong in ({"min_feedback": 0}, {"min_feedback": 1.5}, {"abstain": "yes"}, {"strength": 11.0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            VARSConfig(**wrong)
    assert VARSConfig(min_feedback=3, abstain=False).fingerprint == VARSConfig().fingerprint


@MODES
async def test_the_runtime_context_sets_the_strength_of_cards_and_documents(collection, mode):
    cards = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
    memory = Known(InMemoryStore(), cards=cards, embeddings=MODEL)
    for text in list(TEXTS.values())[:8]:
        await memory.aremember("ana", f"likes {text}")
    builder = StateGraph(PersonaState, PersonaContext)
    builder.add_node("retrieve", retrieve_node(memory, retriever=over(collection, memory), min_relevance=-1.0))
    builder.add_edge(START, "retrieve")
    graph = builder.compile()

    async def bonus(**strength: float) -> tuple[float, float]:
        given = {"input": {"messages": [("user", QUERY)]}, "context": {"user_id": "ana", **strength}}
        update = await graph.ainvoke(**given) if mode == "async" else graph.invoke(**given)
        documents = [abs(doc.metadata["persona"]["long"]) for doc in update["documents"]]
        return max(documents), max(abs(card["long"]) for card in update["cards"])

    assert await bonus(strength=0) == (0.0, 0.0)
    usual, double = await bonus(), await bonus(strength=2)
    assert all(one > 0.0 for one in usual)
    assert double[0] > 1.5 * usual[0]


async def test_cards_can_be_drawn_and_shadowed_too():
    cards = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
    memory = Known(InMemoryStore(), cards=cards, embeddings=MODEL)
    for text in list(TEXTS.values())[:12]:
        memory.remember("ana", f"likes {text}")
    plain = ids(memory.as_retriever(strength=0.0, user_id="ana").invoke(QUERY))
    shadow = await memory.as_retriever(shadow=True, user_id="ana").ainvoke(QUERY)
    assert ids(shadow) == plain
    assert [fact["shadow_rank"] for fact in facts(shadow)] != [1, 2, 3, 4]
    drawing = memory.as_retriever(explore=0.5, seed=1, user_id="ana")
    assert len({tuple(ids(drawing.invoke(QUERY))) for _ in range(5)}) > 1


@MODES
async def test_the_options_of_langchain_itself_are_taken(collection, mode):
    docs = await found(over(collection), mode, verbose=True, run_id=uuid.uuid4())
    assert ids(docs) == ids(over(collection).invoke(QUERY))


# abstention -------------------------------------------------------------------------------------------------


@MODES
async def test_it_abstains_on_objective_queries_and_can_still_be_rated(collection, mode):
    plain = await found(over(collection, PersonaMemory(InMemoryStore())), mode)
    memory = PersonaMemory(InMemoryStore())
    taught = over(collection, memory, objective=lambda query: "sea" in query)
    for doc in taught.invoke("anything", k=3):
        taught.feedback(doc, -1.0)
    docs = await found(taught, mode)
    assert json.dumps(facts(docs, "abstained")) == json.dumps(facts(plain, "abstained"))
    assert {fact["abstained"] for fact in facts(docs)} == {"objective"}
    assert ids(docs) == ids(plain)
    assert {fact["abstained"] for fact in facts(await found(taught, mode, "anything"))} == {None}
    assert any(fact["long"] for fact in facts(await found(taught, mode, "anything")))
    assert taught.feedback(docs[0], 1.0).applied
    always = over(collection, Known(InMemoryStore(), config=VARSConfig(abstain=False)), objective=lambda query: True)
    assert {fact["abstained"] for fact in facts(await found(always, mode))} == {None}


@MODES
async def test_thin_evidence(collection, mode):
    memory = Known(InMemoryStore(), config=VARSConfig(min_feedback=4))
    plain = await found(over(collection, PersonaMemory(InMemoryStore())), mode)
    docs = await found(over(collection, memory), mode)
    assert facts(docs) == facts(plain)
    assert {fact["abstained"] for fact in facts(docs)} == {"thin evidence"}
    assert docs[0].metadata["persona"]["retrieval_id"]
    # no prior makes up for it, nor does waiting for more than one rating go with a prior
    for more in ({"prior": "population", "min_feedback": 4}, {"prior": "population"}):
        waiting = Known(InMemoryStore(), config=VARSConfig(**more))
        waiting.count = 0
        assert {one["abstained"] for one in facts(await found(over(collection, waiting), mode))} == {"thin evidence"}
    memory.count = 4
    assert {fact["abstained"] for fact in facts(await found(over(collection, memory), mode))} == {None}
    anonymous = await found(over(collection, memory), mode, user_id="")
    assert {fact["abstained"] for fact in facts(anonymous)} == {None}


@MODES
async def test_law_3_a_judge_that_fails_has_no_say(collection, caplog, mode):
    def broken(query: str) -> bool:
        raise RuntimeError("no words")

    docs = await found(over(collection, objective=broken), mode)
    assert ids(docs) == ids(over(collection).invoke(QUERY))
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == 1


def test_the_packages_own_judge_is_asked_where_none_is_given(collection):
    told = [facts(over(collection).invoke(query)) for query in ("What is the capital of France?", "a film for tonight")]
    assert [{fact["abstained"] for fact in some} for some in told] == [{"objective"}, {None}]


# drawing ----------------------------------------------------------------------------------------------------


@MODES
async def test_one_seed_gives_one_sequence_of_draws(collection, mode):
    async def sequence(**options: Any) -> list[list[str]]:
        retriever = over(collection, explore=0.2, **options)
        return [ids(await found(retriever, mode)) for _ in range(5)]

    first = await sequence(seed=7)
    assert first == await sequence(seed=7)
    assert first != await sequence(seed=8)
    assert len({tuple(shown) for shown in first}) > 1
    assert await sequence() != await sequence()  # without a seed every draw is fresh


def test_the_record_says_how_likely_the_draw_was(collection):
    def reranker(query: str, docs: Any) -> list[float]:
        return [40.0 * int(doc.id[1:]) % 17 for doc in docs]

    for options in ({}, {"reranker": reranker}):
        retriever = over(collection, explore=0.1, **options)
        docs = retriever.invoke(QUERY)
        kept, log = record(retriever, docs), logged(retriever, docs)
        units = np.ptp(kept.scores) / np.ptp(halves(log.base) + log.strength * log.shrink * halves(log.bonus))
        logits = np.array(kept.scores) / (log.explore * units)
        assert [kept.candidates[place] for place in log.shown] == ids(docs) == list(kept.chosen)
        assert log.log_propensity == pytest.approx(list_log_probability(logits, log.shown), abs=0.02)
        rough = (halves(log.base) + log.strength * log.shrink * halves(log.bonus)) / log.explore
        assert inclusion(rough, 4) == pytest.approx(inclusion(logits, 4), abs=0.01)
        assert [fact["rank"] for fact in facts(docs)] == [1, 2, 3, 4]
        for fact in facts(docs):
            assert fact["score"] == fact["base"] + fact["long"] + fact["short"]


def test_a_seed_counts_the_calls_and_no_construction_and_no_two_alike(collection, monkeypatch):
    turns: list[int] = []
    monkeypatch.setattr(Request, "draw_seed", lambda request, query: turns.append(request.turn) or 7)
    retriever = over(collection, explore=0.1, seed=1)
    retriever.invoke(QUERY)
    assert turns == [1]
    retriever.batch([QUERY] * 40)
    assert sorted(turns) == list(range(1, 42))


def test_draws_come_as_often_as_the_log_says(collection):
    retriever = over(collection, explore=0.15, seed=3, k=2)
    shown = [ids(retriever.invoke(QUERY)) for _ in range(300)]
    docs = retriever.invoke(QUERY)
    kept, log = record(retriever, docs), logged(retriever, docs)
    chances = inclusion(np.array(kept.scores) / log.explore, 2)
    counts = np.array([sum(name in each for each in shown) for name in kept.candidates]) / 300
    assert counts == pytest.approx(chances, abs=4 * 0.5 / np.sqrt(300))


def test_what_either_strength_would_show_has_its_chance(collection):
    retriever = over(collection, explore=0.1, strength=3.0)
    candidates = set(record(retriever, retriever.invoke(QUERY)).candidates)
    assert candidates >= set(ids(over(collection, strength=0.0).invoke(QUERY)))
    assert candidates >= set(ids(over(collection, strength=3.0).invoke(QUERY)))


def test_law_1_who_is_unknown_is_not_explored(collection):
    cold = over(collection, PersonaMemory(InMemoryStore()), explore=50.0)
    plain = ids(over(collection, PersonaMemory(InMemoryStore())).invoke(QUERY))
    for user in ("ana", ""):
        docs = cold.invoke(QUERY, user_id=user)
        assert ids(docs) == plain
    assert logged(cold, cold.invoke(QUERY)).explore == 0.0
    abstaining = over(collection, explore=50.0, objective=lambda query: True)
    assert ids(abstaining.invoke(QUERY)) == plain
    assert ids(over(collection, explore=50.0, max_bonus=0.0).invoke(QUERY)) == plain


def test_a_retriever_that_draws_can_be_copied(collection):
    retriever = over(collection, PersonaMemory(InMemoryStore()), explore=0.1, seed=1)
    assert ids(retriever.model_copy().invoke(QUERY)) == ids(copy.copy(retriever).invoke(QUERY))
    assert pickle.loads(pickle.dumps(retriever.invoke(QUERY)))


# shadow mode ------------------------------------------------------------------------------------------------


def by_number(query: str, docs: Any) -> list[float]:
    return [float(int(doc.id[1:]) * 7 % 40) for doc in docs]


@MODES
@pytest.mark.parametrize("options", [{}, {"reranker": by_number}, {"search_type": "mmr"}, {"k": 11, "fetch_k": 5}])
async def test_shadow_mode_returns_exactly_the_plain_ranking(collection, mode, options):
    plain = await found(over(collection, PersonaMemory(InMemoryStore()), **options), mode)
    shadow = over(collection, shadow=True, strength=2.0, **options)
    docs = await found(shadow, mode)
    assert ids(docs) == ids(plain)
    assert json.dumps(facts(docs, "abstained", "shadow_rank")) == json.dumps(facts(plain, "abstained"))
    assert [fact["shadow_rank"] for fact in facts(docs)] != [fact["rank"] for fact in facts(docs)]
    personal = await found(over(collection, strength=2.0, **options), mode)
    if options.get("search_type") == "mmr":
        assert record(shadow, docs).logged is None  # what MMR shows is no matter of the scores alone
        return
    kept, log = record(shadow, docs), logged(shadow, docs)
    assert log.shadow
    assert list(kept.chosen) == ids(plain)
    assert [kept.candidates[place] for place in log.shown] == ids(plain)
    if "reranker" not in options:
        assert [kept.candidates[place] for place in log.would] == ids(personal)
        scored = halves(log.base) + log.strength * log.shrink * halves(log.bonus)
        assert set(np.argsort(-scored, kind="stable")[: len(docs)]) == set(log.would)


async def test_who_is_unknown_has_a_shadow_too(collection):
    retriever = over(collection, PersonaMemory(InMemoryStore()), shadow=True)
    for user in ("ana", ""):
        docs = retriever.invoke(QUERY, user_id=user)
        assert [fact["shadow_rank"] for fact in facts(docs)] == [1, 2, 3, 4]
    docs = await retriever.ainvoke(QUERY)
    assert logged(retriever, docs).would == (0, 1, 2, 3)


def test_shadow_mode_learns(collection):
    retriever = over(collection, PersonaMemory(InMemoryStore()), shadow=True)
    plain = ids(retriever.invoke(QUERY))
    for _ in range(3):
        retriever.feedback(retriever.invoke(QUERY)[3], 1.0)
    assert retriever.memory.vectors("ana").count == 3
    assert ids(retriever.invoke(QUERY)) == plain
    assert [fact["shadow_rank"] for fact in facts(retriever.invoke(QUERY))][3] == 1
    assert over(collection, retriever.memory).invoke(QUERY)[0].id == plain[3]


class Broken(BaseStore):
    def batch(self, ops):
        raise ConnectionError("gone")

    async def abatch(self, ops):
        raise ConnectionError("gone")


@MODES
@pytest.mark.parametrize("options", [{"shadow": True}, {"explore": 0.3}, {"strength": 5.0}])
async def test_law_3_without_a_store_the_ranking_is_plain(collection, caplog, mode, options):
    docs = await found(over(collection, PersonaMemory(Broken()), **options), mode)
    assert ids(docs) == ids(over(collection, PersonaMemory(InMemoryStore())).invoke(QUERY))
    assert {doc.metadata["persona"]["retrieval_id"] for doc in docs} == {None}
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == 1


class Faltering:
    """A collection that answers the first query and none after it."""

    def __init__(self, collection: chromadb.Collection) -> None:
        self.collection, self.count = collection, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.collection, name)

    def query(self, **options: Any) -> Any:
        self.count += 1
        if self.count > 1:
            raise OSError("gone")
        return self.collection.query(**options)


@MODES
async def test_law_3_a_second_query_that_fails_leaves_the_plain_candidates(collection, caplog, mode):
    docs = await found(over(Faltering(collection), shadow=True), mode)
    assert ids(docs) == ids(over(collection, strength=0.0).invoke(QUERY))
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == 1


@MODES
async def test_law_3_a_reranker_that_fails_half_way(collection, caplog, mode):
    calls: list[int] = []

    def faltering(query: str, docs: Any) -> list[float]:
        calls.append(len(docs))
        if len(calls) > 1:
            raise RuntimeError("no GPU")
        return by_number(query, docs)

    docs = await found(over(collection, shadow=True, strength=3.0, reranker=faltering), mode)
    assert len(calls) == 2
    assert ids(docs) == ids(over(collection, strength=0.0, reranker=by_number).invoke(QUERY))
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == 1


def test_the_log_is_small(collection):
    for options, most in (({}, 250), ({"explore": 0.1}, 420), ({"fetch_k": 40}, 400)):
        retriever = over(collection, **options)
        kept = record(retriever, retriever.invoke(QUERY))
        assert len(json.dumps(kept.logged)) <= most
        assert kept.to_json()["logged"] == kept.logged
    cold = over(collection, PersonaMemory(InMemoryStore()))
    assert len(json.dumps(record(cold, cold.invoke(QUERY)).logged)) <= 40
