"""`VARSRetriever`: exact scores, the folded ranking, cold start, the cap, options, and every trouble at run time."""

from __future__ import annotations

import json
import pickle
import threading
import uuid
from types import SimpleNamespace
from typing import Any

import chromadb
import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_chroma import Chroma
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from langchain_persona.errors import ConfigError, DimensionMismatchError, StoreError
from langchain_persona.identity import Identity
from langchain_persona.learning import VARSConfig
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.embedder import embedding_name
from langchain_persona.resilience import warning_scope
from langchain_persona.retrieval import VARSRetriever
from langchain_persona.retrieval import retriever as module
from langchain_persona.retrieval.ranking import read_taste
from langchain_persona.testing import HashEmbeddings
from tests.retrievals import (
    FREE,
    MODEL,
    QUERY,
    TEXTS,
    VECTORS,
    D,
    FailingStore,
    Given,
    Known,
    Wrapped,
    create,
    films,
    found,
    ids,
    liking,
    over,
    plain,
    record,
    run,
    scores,
    vector,
    warnings_in,
    why,
)

SPACES = ["cosine", "l2", "ip"]
MODES = pytest.mark.parametrize("mode", ["sync", "async"])


@pytest.fixture(scope="module")
def collection() -> chromadb.Collection:
    return films()


# what a document says -------------------------------------------------------------------------------------------------


def test_each_document_says_why_it_stands_where_it_stands(collection):
    memory = Known(InMemoryStore()).know(0.2 * vector(1), 0.1 * vector(2))
    docs = over(collection, memory, k=6).invoke(QUERY, user_id="ana")
    assert [fact["rank"] for fact in why(docs)] == [1, 2, 3, 4, 5, 6]
    assert len({fact["retrieval_id"] for fact in why(docs)}) == 1
    assert [fact["score"] for fact in why(docs)] == sorted((fact["score"] for fact in why(docs)), reverse=True)
    query = np.asarray(MODEL.embed_query(QUERY))
    for doc, fact in zip(docs, why(docs), strict=True):
        parts = {"base", "long", "short", "words", "cards"}
        assert set(fact) == {"retrieval_id", "rank", "candidate_rank", "score", "abstained", *parts}
        assert fact["score"] == pytest.approx(fact["base"] + fact["long"] + fact["short"] + fact["words"])
        assert fact["base"] == pytest.approx(VECTORS[doc.id] @ query, abs=1e-5)
        assert fact["long"] == pytest.approx(VECTORS[doc.id] @ (0.2 * vector(1)), abs=1e-5)
        assert fact["short"] == pytest.approx(VECTORS[doc.id] @ (0.1 * vector(2)), abs=1e-5)
    kept = record(over(collection, memory), docs)
    by_relevance = [name for _, name in sorted(zip(kept.base, kept.candidates, strict=True), reverse=True)]
    assert [by_relevance[fact["candidate_rank"] - 1] for fact in why(docs)] == ids(docs)
    assert ids(docs) != plain(collection, query, 6)


def test_documents_of_the_store_are_given_back_as_they_are(collection):
    before = collection.get(ids=list(TEXTS))
    docs = over(collection, liking("d07")).invoke(QUERY, user_id="ana")
    for doc in docs:
        number = list(TEXTS).index(doc.id)
        assert doc.page_content == TEXTS[doc.id]
        assert {**doc.metadata, "persona": 0} == {"number": number, "even": number % 2 == 0, "persona": 0}
    assert collection.get(ids=list(TEXTS)) == before
    assert pickle.loads(pickle.dumps(docs)) == docs
    assert json.loads(json.dumps([doc.metadata for doc in docs])) == [doc.metadata for doc in docs]
    bare = create(ids=["a", "b"], embeddings=[vector(1), vector(2)])
    docs = over(bare, embeddings=Given(vector(1))).invoke("x", user_id="ana")
    assert [(doc.id, doc.page_content) for doc in docs] == [("a", ""), ("b", "")]


def test_the_record_keeps_what_feedback_needs_and_the_first_words(collection):
    retriever = over(collection, liking("d07"), k=3)
    docs = retriever.invoke(QUERY, user_id="ana", session_id="t1")
    kept = record(retriever, docs)
    assert list(kept.chosen) == ids(docs)
    assert list(kept.titles) == [TEXTS[name] for name in ids(docs)]
    assert list(kept.scores) == sorted(kept.scores, reverse=True)
    assert kept.candidates[:3] == kept.chosen
    assert len(kept.candidates) == len(kept.base) == len(kept.scores) == 12
    assert (kept.session, kept.dimension, kept.embedding) == ("t1", D, f"HashEmbeddings/hash-{D}/{D}")
    assert kept.logged is None
    assert kept.expires - kept.time == pytest.approx(30 * 86_400)


def test_traces_name_the_store_and_the_model_and_reprs_are_short(collection):
    params = over(collection)._get_ls_params()
    assert params["ls_retriever_name"] == "vars"
    assert params["ls_vector_store_provider"] == "chroma"
    assert params["ls_embedding_provider"] == "HashEmbeddings"
    assert params["ls_embedding_model"] == f"hash-{D}"
    assert "ls_embedding_model" not in over(collection, embeddings=Given(vector(1)))._get_ls_params()
    assert repr(over(collection)) == str(over(collection)) == "<VARSRetriever chroma, k=4>"


# options --------------------------------------------------------------------------------------------------------------


@MODES
def test_options_at_construction_and_at_call_time(collection, mode):
    anyone = {"user_id": "ana"}
    for k in (1, 3, 20, 50):
        assert len(found(over(collection, k=k), mode, **anyone)) == min(k, 20)
        assert len(found(over(collection, k=2), mode, k=k, **anyone)) == min(k, 20)
    even = found(over(collection, filter={"even": True}, k=20), mode, **anyone)
    assert {doc.metadata["even"] for doc in even} == {True}
    assert len(even) == 10
    assert ids(found(over(collection, k=20), mode, filter={"even": True}, **anyone)) == ids(even)
    assert len(found(over(collection, filter={"even": True}, k=20), mode, filter={}, **anyone)) == 20
    memory = liking("d07", config=FREE)
    capped = found(over(collection, memory, max_bonus=0.1), mode, **anyone)
    assert max(abs(fact["long"]) for fact in why(capped)) <= 0.1
    freed = found(over(collection, memory, max_bonus=0.1), mode, max_bonus=0.4, **anyone)
    assert 0.3 < max(abs(fact["long"]) for fact in why(freed)) <= 0.4
    with pytest.raises(ConfigError, match="no option 'no_such_option'"):
        found(over(collection), mode, no_such_option=1)
    for wrong in (5, None, ["a film"]):
        with pytest.raises(ConfigError, match="a query is a text"):
            found(over(collection), mode, wrong)
    # LangChain's own
    docs = found(over(collection), mode, verbose=True, run_id=uuid.uuid4())
    assert ids(docs) == ids(over(collection).invoke(QUERY))


def test_the_call_wins_over_the_retriever_and_the_retriever_over_the_configuration(collection):
    memory = Known(InMemoryStore(), config=VARSConfig(strength=0.5)).know(vector(5) / 3)

    def bonus(retriever: VARSRetriever, **options: Any) -> dict[str, float]:
        docs = retriever.invoke(QUERY, k=20, user_id="ana", **options)
        return {str(doc.id): doc.metadata["persona"]["long"] for doc in docs}

    full = bonus(over(collection, memory), strength=1)
    for strength, got in [
        (0.5, bonus(over(collection, memory))),
        (2.0, bonus(over(collection, memory, strength=2.0))),
        (0.25, bonus(over(collection, memory, strength=2.0), strength=0.25)),
    ]:
        assert got == pytest.approx({name: strength * value for name, value in full.items()})


def test_fetch_k_is_the_number_of_candidates(collection):
    retriever = over(collection)
    for options, count in [({}, 12), ({"k": 14}, 16), ({"fetch_k": 7}, 7), ({"fetch_k": 2}, 4)]:
        assert len(record(retriever, retriever.invoke(QUERY, user_id="ana", **options)).candidates) == count
    nine = over(collection, fetch_k=9)
    assert len(record(nine, nine.invoke(QUERY, user_id="ana")).candidates) == 9


@pytest.mark.parametrize(
    ("name", "wrong"),
    [(name, wrong) for name in ("k", "fetch_k") for wrong in (0, -1, True, 1.5, "3", [2])]
    + [
        (name, wrong)
        for name in ("max_bonus", "strength")
        for wrong in (-0.1, float("nan"), float("inf"), True, "much")
    ]
    + [("strength", 10.1), ("filter", "even")],
)
def test_options_that_cannot_work(collection, name, wrong):
    with pytest.raises(ConfigError, match=f"{name} must be"):
        over(collection, **{name: wrong})
    with pytest.raises(ConfigError, match=f"{name} must be"):
        over(collection).invoke(QUERY, **{name: wrong})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"memory": None}, "memory: Input should be an instance of PersonaMemory"),
        ({"memory": InMemoryStore()}, "memory: Input should be an instance of PersonaMemory"),
        ({"vectorstore": None}, r"memory\.as_retriever\(\)"),
        ({"vectorstore": InMemoryStore()}, "a LangChain VectorStore .* got InMemoryStore"),
        ({"embeddings": None}, "needs the model that made its vectors"),
        ({"embeddings": "minilm"}, "embeddings='minilm'"),
        ({"reranker": 3}, "reranker must be"),
        ({"search_type": "best"}, "search_type"),
        ({"lambda_mult": 1.5}, "lambda_mult"),
        ({"timeout_seconds": "5"}, "timeout_seconds: Input should be a valid number"),
        ({"timeout_seconds": -1.0}, "timeout_seconds: Input should be greater"),
        ({"spread": 0.2}, r"config=VARSConfig\(spread="),
        ({"no_such": 1}, "no argument 'no_such'"),
        ({"explore": 0.1}, "no argument 'explore'"),
        ({"search_type": "similarity_score_threshold"}, r'doc\.metadata\["persona"\]\["base"\] >= 0.5'),
        ({"search_kwargs": {"score_threshold": 0.7}}, ">= 0.7"),
        ({"search_kwargs": {"where_document": {}}}, "no argument 'where_document'"),
    ],
)
def test_construction_with_what_cannot_work(collection, wrong, says):
    right = {"vectorstore": collection, "embeddings": MODEL, "memory": PersonaMemory(InMemoryStore())}
    with pytest.raises(ConfigError, match=says):
        VARSRetriever(**{**right, **wrong})
    for missing in ("memory", "vectorstore"):
        with pytest.raises(ConfigError, match=missing):
            VARSRetriever(**{name: value for name, value in right.items() if name != missing})
    with pytest.raises(TypeError, match="user id"):
        VARSRetriever(**right, user_id=1.5)


def test_the_keywords_of_as_retriever_are_understood(collection):
    given = over(collection, search_kwargs={"k": 2, "filter": {"even": True}, "fetch_k": 9})
    assert (given.k, given.filter, given.fetch_k) == (2, {"even": True}, 9)
    mixed = over(collection, search_type="mmr", search_kwargs={"lambda_mult": 0.9})
    assert (mixed.search_type, mixed.lambda_mult) == ("mmr", 0.9)


async def test_construction_asks_nothing_of_store_and_model(collection):
    """It may happen in an event loop."""

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("called at construction")

    silent = Wrapped(collection, **dict.fromkeys(("query", "get", "peek", "count"), forbidden))
    model = SimpleNamespace(embed_query=forbidden, embed_documents=forbidden)
    embeddings = type("Silent", (HashEmbeddings,), vars(model))()
    over(silent, PersonaMemory(FailingStore(at=1, for_good=True)), embeddings)


# the ranking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES)
@settings(max_examples=12)
@given(
    seed=st.integers(0, 10_000), n=st.integers(1, 60), k=st.integers(1, 12), strength=st.sampled_from([0.05, 0.5, 3.0])
)
def test_the_folded_ranking_is_the_exact_one(space, seed, n, k, strength):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 6))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    query = vector(seed, 6)
    long, short = strength * vector(seed + 1, 6), 0.3 * strength * vector(seed + 2, 6)
    cap = 0.8
    factor = min(1.0, cap / np.linalg.norm(long + short))
    exact = rows @ query + factor * (rows @ (long + short))
    collection = create(space, ids=[str(number) for number in range(n)], embeddings=rows)
    memory = Known(InMemoryStore(), config=FREE).know(long, short)
    docs = over(collection, memory, Given(query), k=k, fetch_k=k, max_bonus=cap).invoke("x", user_id="ana")
    assert [fact["score"] for fact in why(docs)] == pytest.approx(sorted(exact, reverse=True)[:k], abs=1e-5)
    assert [exact[int(doc.id)] for doc in docs] == pytest.approx([fact["score"] for fact in why(docs)], abs=1e-5)
    assert len(set(ids(docs))) == min(k, n)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_the_bonus_varies_over_the_collection_no_more_than_a_share_of_relevance(space, strength):
    rows = np.array([vector(number) for number in range(100, 200)])
    query, long = vector(7), 0.7 * vector(8)
    collection = create(space, ids=[str(number) for number in range(100)], embeddings=rows)
    relevance, spread = np.std(rows @ query), {}
    for share in (0.0, 0.1, 0.35, 1e6):
        memory = Known(InMemoryStore(), config=VARSConfig(spread=share)).know(long)
        docs = over(collection, memory, Given(query), k=100).invoke("x", user_id="ana", strength=strength)
        spread[share] = np.std([fact["long"] for fact in why(docs)]) / strength
    assert spread[0.0] == 0.0
    assert spread[0.1] == pytest.approx(0.1 * relevance, rel=1e-4)
    assert spread[0.35] == pytest.approx(0.35 * relevance, rel=1e-4)
    assert spread[1e6] == pytest.approx(np.std(rows @ long), rel=1e-4)


def test_what_passes_a_filter_is_what_the_spread_is_measured_on():
    """Relevance that tells apart what the filter has decided already leaves no more room to the bonus."""
    near = np.eye(D)[0] + 0.05 * np.array([vector(number) for number in range(40)])
    far = -np.eye(D)[0] + 0.05 * np.array([vector(number) for number in range(40, 80)])
    collection = create(
        ids=[str(number) for number in range(80)],
        embeddings=np.concatenate([near, far]),
        metadatas=[{"near": number < 40, "few": number < 15} for number in range(80)],
    )
    memory = Known(InMemoryStore(), config=VARSConfig(spread=0.3)).know(0.7 * vector(8))
    retriever = over(collection, memory, Given(np.eye(D)[0]), k=40, fetch_k=40)
    whole, filtered, few = (
        np.array([(fact["base"], fact["long"]) for fact in why(retriever.invoke("x", user_id="ana", filter=where))])
        for where in (None, {"near": True}, {"few": True})
    )
    assert np.std(filtered[:, 1]) == pytest.approx(0.3 * np.std(filtered[:, 0]), rel=1e-3)
    assert np.std(whole[:, 1]) > 3.0 * np.std(filtered[:, 1])
    assert np.std(few[:, 1]) > 3.0 * np.std(filtered[:, 1])  # too few to tell: nothing is moderated


def test_a_sample_is_kept_for_a_while_and_asked_for_only_where_a_bonus_acts(collection, monkeypatch):
    counted = []

    def get(**options: Any) -> Any:
        counted.append(options)
        return collection.get(**options)

    now = [1_000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    watched = Wrapped(collection, get=get)
    for options in ({"max_bonus": 0.0}, {"strength": 0.0}):
        over(watched, liking("d03"), **options).invoke(QUERY, user_id="ana")
    over(watched).invoke(QUERY, user_id="ana")
    assert counted == []
    retriever = over(watched, liking("d03"))
    for _ in range(3):
        retriever.invoke(QUERY, user_id="ana")
    assert len(counted) == 1
    retriever.invoke(QUERY, user_id="ana", filter={"even": True})
    assert len(counted) == 2
    now[0] += module.SHORT_SECONDS + 1  # twenty documents: it may be filled at this moment
    retriever.invoke(QUERY, user_id="ana")
    assert len(counted) == 3


def test_a_sample_that_cannot_be_drawn_leaves_the_plain_ranking(collection, caplog):
    def gone(**_: Any) -> Any:
        raise ConnectionError("gone")

    usual = over(collection, liking("d03")).invoke(QUERY)
    docs = over(Wrapped(collection, get=gone), liking("d03")).invoke(QUERY, user_id="ana")
    assert [doc.id for doc in docs] == [doc.id for doc in usual]
    assert {(fact["abstained"], fact["long"]) for fact in why(docs)} == {("not measured", 0.0)}
    (record,) = warnings_in(caplog)
    assert "could not be measured" in record


@pytest.mark.parametrize("space", SPACES)
def test_a_liked_document_outside_the_plain_pool_is_found(space):
    """Folding asks for the personalised neighbours; re-ranking a pool would have lost this one."""
    rows = np.array([vector(number) for number in range(300)])
    query = vector(1_007)
    last = int(np.argmin(np.abs(rows @ query)))
    collection = create(space, ids=[str(number) for number in range(300)], embeddings=rows)
    assert str(last) not in plain(collection, query, 64)
    memory = Known(InMemoryStore(), config=FREE).know(2.0 * rows[last])
    docs = over(collection, memory, Given(query), max_bonus=2.0, fetch_k=8).invoke("x", user_id="ana")
    assert docs[0].id == str(last)


def test_law_1_cold_start_changes_nothing_in_any_space():
    rng = np.random.default_rng(3)
    for space in SPACES:
        rows = rng.integers(-2, 3, size=(120, 4)).astype(float)  # many ties, many duplicates
        rows[~rows.any(axis=1)] = 1.0
        if space != "cosine":
            rows /= np.linalg.norm(rows, axis=1)[:, None]
        rows[60:] = rows[:60]
        collection = create(space, ids=[f"{number:03}" for number in range(120)], embeddings=rows)
        for k in (1, 3, 4, 17, 60):
            query = rng.integers(-2, 3, size=4).astype(float) + 0.5
            for user in ("ana", ""):
                docs = over(collection, embeddings=Given(query), k=k).invoke("x", user_id=user)
                assert ids(docs) == plain(collection, query, k), (space, k, user)


@pytest.mark.parametrize("space", SPACES)
def test_law_1_cold_start_changes_nothing_in_a_larger_collection(space):
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(2_000, D)) * rng.uniform(0.5, 2.0, size=(2_000, 1))
    collection = create(space, ids=[str(number) for number in range(2_000)], embeddings=rows)
    for number in range(20):
        query = vector(number)
        assert ids(over(collection, embeddings=Given(query)).invoke("x", user_id="ana")) == plain(collection, query, 4)


def test_law_1_cold_start_equals_langchains_own_search():
    store = Chroma(f"t{uuid.uuid4().hex}", MODEL, client=chromadb.EphemeralClient())
    texts = [*TEXTS.values(), *TEXTS.values(), "a film of the sea", "a film of the sea"]
    store.add_texts(texts, [{"number": n % 3} for n in range(len(texts))], [f"{n:02}" for n in range(len(texts))])
    retriever = VARSRetriever(vectorstore=store, memory=PersonaMemory(InMemoryStore()))
    for query in (QUERY, "film number 3", "snow", ""):
        for options in ({"k": 1}, {"k": 5}, {"k": 30}, {"k": 6, "filter": {"number": 1}}):
            expected = store.similarity_search(query, **options)
            docs = retriever.invoke(query, user_id="ana", **options)
            assert ids(docs) == ids(expected)
            assert [doc.page_content for doc in docs] == [doc.page_content for doc in expected]
            assert [fact["candidate_rank"] for fact in why(docs)] == list(range(1, len(docs) + 1))
            assert {fact["long"] for fact in why(docs)} == {0.0}


@MODES
def test_strength_and_cap_of_zero_are_the_plain_ranking_to_the_byte(collection, mode):
    expected = found(over(collection), mode, user_id="")
    off = liking("d07", config=VARSConfig(strength=0.0))
    for retriever, options in [
        (over(collection, liking("d07"), strength=0), {}),
        (over(collection, liking("d07"), max_bonus=0), {}),
        (over(collection, liking("d07")), {"strength": 0.0}),
        (over(collection, liking("d07")), {"max_bonus": 0.0}),
        (over(collection, off), {}),
    ]:
        docs = found(retriever, mode, user_id="ana", **options)
        assert ids(docs) == ids(expected)
        assert json.dumps(scores(docs)) == json.dumps(scores(expected))
    assert ids(over(collection, liking("d07")).invoke(QUERY, user_id="ana")) != ids(expected)


@MODES
def test_thin_evidence(collection, mode):
    config = VARSConfig(min_feedback=4)
    expected = found(over(collection), mode, user_id="bob")
    docs = found(over(collection, liking("d07", config=config)), mode, user_id="ana")
    assert ids(docs) == ids(expected)
    assert {fact["abstained"] for fact in why(docs)} == {"thin evidence"}
    assert why(docs)[0]["retrieval_id"]  # it can be rated
    enough = Known(InMemoryStore(), config=config).know(5.0 * VECTORS["d07"], count=4)
    assert {fact["abstained"] for fact in why(found(over(collection, enough), mode, user_id="ana"))} == {None}


@pytest.mark.parametrize("space", ["l2", "ip"])
def test_vectors_that_are_not_of_unit_length(space, caplog):
    rng = np.random.default_rng(11)
    rows = rng.normal(size=(80, D)) * rng.uniform(0.2, 5.0, size=(80, 1))
    query = 3.0 * vector(1)
    collection = create(space, ids=[str(number) for number in range(80)], embeddings=rows)
    cold = over(collection, embeddings=Given(query), k=10).invoke("x", user_id="ana")
    assert ids(cold) == plain(collection, query, 10)
    assert caplog.records == []
    memory = Known(InMemoryStore()).know(0.3 * vector(2))
    retriever = over(collection, memory, Given(query), k=10, max_bonus=0.25)
    for _ in range(2):
        warm = retriever.invoke("x", user_id="ana")
    assert len(warm) == 10
    for doc, fact in zip(warm, why(warm), strict=True):
        row = rows[int(doc.id)]
        base = row @ query if space == "ip" else 1.0 - ((row - query) ** 2).sum() / 2.0
        assert fact["base"] == pytest.approx(base, rel=1e-4, abs=1e-4)
        assert abs(fact["long"]) <= 0.25 + 1e-9
    assert [fact["score"] for fact in why(warm)] == sorted((fact["score"] for fact in why(warm)), reverse=True)
    assert len(warnings_in(caplog)) == 1
    assert "not of length 1" in warnings_in(caplog)[0]


@pytest.mark.parametrize(
    "config", [VARSConfig(), VARSConfig.paper(), VARSConfig.simplified(), VARSConfig(strength=10.0)]
)
def test_law_2_no_feedback_pushes_the_bonus_past_the_cap(config):
    rows = np.random.default_rng(1).normal(size=(40, D))
    collection = create(ids=[str(number) for number in range(40)], embeddings=rows)
    for cap in (0.05, 0.3, 1.5):
        memory = PersonaMemory(InMemoryStore(), config=config)
        retriever = over(collection, memory, Given(vector(9)), k=40, max_bonus=cap)
        for _ in range(3):
            docs = retriever.invoke("x", user_id="mallory", session_id="t")
            for _ in range(4):  # the same document, over and over
                retriever.feedback(docs[-1], 1.0, user_id="mallory")
                retriever.feedback(docs[0], -1.0, user_id="mallory")
            for fact in why(retriever.invoke("x", user_id="mallory", session_id="t")):
                assert abs(fact["long"] + fact["short"]) <= config.strength * cap * (1 + 1e-9)


def test_law_2_the_cap_is_relative_to_the_strength(collection):
    loud = Known(InMemoryStore()).know(100.0 * vector(5))
    for strength in (0.1, 1.0, 3.0):
        docs = over(collection, loud, max_bonus=0.2, strength=strength, k=20).invoke(QUERY, user_id="ana")
        assert 0.3 * strength * 0.2 < max(abs(fact["long"]) for fact in why(docs)) <= strength * 0.2 * (1 + 1e-9)


# reranker and diversity -----------------------------------------------------------------------------------------------


class Backwards(BaseCrossEncoder):
    """Likes high numbers."""

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        assert all(query == QUERY for query, _ in text_pairs)
        return [int(text.split()[2]) / 100 for _, text in text_pairs]


def by_number(query: str, docs: Any) -> list[float]:
    return [doc.metadata["number"] / 100 for doc in docs]


@pytest.mark.parametrize("reranker", [Backwards(), by_number])
def test_a_reranker_takes_the_place_of_the_base_score(collection, reranker):
    docs = over(collection, reranker=reranker, fetch_k=20, k=3).invoke(QUERY, user_id="ana")
    assert ids(docs) == ["d19", "d18", "d17"]
    assert [fact["base"] for fact in why(docs)] == [0.19, 0.18, 0.17]
    assert ids(found(over(collection, reranker=reranker, fetch_k=20, k=3), "async", user_id="ana")) == ids(docs)
    assert ids(over(collection, reranker=reranker, k=2).invoke(QUERY)) == ids(
        over(collection, reranker=reranker, k=2).invoke(QUERY, user_id="ana")
    )  # the anonymous see the same candidates
    # the scores of this reranker spread less than the cosines, and the bonus shrinks with them
    warm = over(collection, liking("d03", config=FREE), reranker=reranker, fetch_k=20, k=3, strength=2.0)
    docs = warm.invoke(QUERY, user_id="ana")
    assert docs[0].id == "d03"
    assert why(docs)[0]["base"] == 0.03
    assert why(docs)[0]["candidate_rank"] == 17


def broken(query: str, docs: Any) -> list[float]:
    raise RuntimeError("no GPU")


@pytest.mark.parametrize(
    "reranker",
    [
        broken,
        lambda q, d: [float("nan")] * len(d),
        lambda q, d: [0.5],
        lambda q, d: None,
        lambda q, d: ["a"] * len(d),
        lambda q, d: [[0.1]] * len(d),
    ],
)
@MODES
def test_law_3_a_reranker_that_fails_costs_one_warning(collection, caplog, reranker, mode):
    docs = found(over(collection, reranker=reranker), mode, user_id="ana")
    assert ids(docs) == plain(collection, MODEL.embed_query(QUERY), 4)
    assert len(warnings_in(caplog)) == 1


def test_mmr_takes_different_documents():
    rows = np.array([[1.0, 0.0, 0.0], [0.999, 0.04, 0.0], [0.7, 0.0, 0.7], [0.6, 0.8, 0.0]])
    collection = create(ids=list("abcd"), embeddings=rows)
    options = {"embeddings": Given(np.array([1.0, 0.0, 0.0])), "k": 2}
    assert ids(over(collection, **options).invoke("x", user_id="ana")) == ["a", "b"]
    assert ids(over(collection, **options, search_type="mmr", lambda_mult=0.3).invoke("x", user_id="ana")) == ["a", "d"]
    assert ids(over(collection, **options, search_type="mmr", lambda_mult=1.0).invoke("x", user_id="ana")) == ["a", "b"]
    liked = Known(InMemoryStore()).know(np.array([0.0, 0.4, 0.0]))
    personal = over(collection, liked, **options, search_type="mmr", max_bonus=1.0).invoke("x", user_id="ana")
    assert "d" in ids(personal)
    assert [fact["rank"] for fact in why(personal)] == [1, 2]


def test_mmr_behind_a_reranker_does_not_depend_on_its_units(collection):
    orders = []
    for unit in (0.01, 1.0, 100.0):
        scores = lambda query, docs, unit=unit: [unit * doc.metadata["number"] for doc in docs]  # noqa: E731
        diverse = over(collection, liking("d03"), reranker=scores, search_type="mmr", fetch_k=20, k=6)
        orders.append(ids(diverse.invoke(QUERY, user_id="ana")))
    assert orders[0] == orders[1] == orders[2] != [f"d{number}" for number in range(19, 13, -1)]


# empty collections and dimensions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("warm", [False, True])
@MODES
def test_where_there_is_nothing_nothing_is_found(collection, warm, mode, caplog):
    memory = liking("d03") if warm else None
    for user in ("ana", ""):
        for space in SPACES:
            assert found(over(create(space), memory), mode, user_id=user) == []
        assert found(over(collection, memory), mode, user_id=user, filter={"number": 99}) == []
    assert warnings_in(caplog) == []


@pytest.mark.parametrize("user", ["ana", ""])
@MODES
def test_a_wrong_dimension_is_refused_at_the_first_search(collection, user, mode):
    retriever = over(collection, embeddings=HashEmbeddings(D + 1))
    with pytest.raises(DimensionMismatchError, match=f"vectors of {D + 1} numbers, .* {D}.*use the model"):
        found(retriever, mode, user_id=user)


def test_a_collection_filled_later_in_a_space_without_unit_vectors():
    """The scale of the fold is measured when there is something to measure."""
    taste = 2.0 * vector(2)
    collection = create("ip")
    memory = Known(InMemoryStore()).know(taste)
    retriever = over(collection, memory, Given(vector(1)), max_bonus=5.0, fetch_k=1, k=1)
    assert retriever.invoke("x", user_id="ana") == []
    rows = np.stack([vector(number) for number in range(3, 40)]) * 4.0
    collection.add(ids=[str(number) for number in range(37)], embeddings=rows)
    right, wrong = int(np.argmax(rows @ (vector(1) + taste / 4.0))), int(np.argmax(rows @ (vector(1) + taste)))
    assert right != wrong
    assert ids(retriever.invoke("x", user_id="ana")) == [str(right)]


# trouble --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("for_good", [False, True])
@MODES
def test_law_3_a_store_that_fails_at_any_operation_costs_the_personal_part(collection, caplog, mode, for_good):
    strong = VARSConfig(strength=10.0)
    store = InMemoryStore()
    teacher = over(collection, PersonaMemory(store, config=strong), k=20)
    teacher.feedback(teacher.invoke(QUERY, user_id="ana")[-1], 1.0, user_id="ana")
    kept = {(item.namespace, item.key): item.value for item in store.search((), limit=1_000)}
    expected = plain(collection, MODEL.embed_query(QUERY), 4)

    def once(at: int) -> tuple[list[Document], int]:
        """By a fresh process over the same store."""
        fresh = FailingStore(at=at, for_good=for_good)
        fresh.store.batch([PutOp(namespace, key, value) for (namespace, key), value in kept.items()])
        caplog.clear()
        docs = found(over(collection, PersonaMemory(fresh, config=strong)), mode, user_id="ana")
        return docs, fresh.count

    personal, operations = once(0)
    assert operations >= 2
    assert ids(personal) != expected
    assert warnings_in(caplog) == []
    for number in range(1, operations + 1):
        docs, _ = once(number)
        # the last writes the record for later feedback: everything was known by then
        assert ids(docs) == (ids(personal) if number == operations else expected), f"operation {number}"
        assert {fact["retrieval_id"] for fact in why(docs)} == {None}
        assert len(warnings_in(caplog)) == 1, f"operation {number}"


@pytest.mark.parametrize(
    "error",
    [
        chromadb.errors.InternalError("panic"),
        httpx.ConnectError("refused"),
        OSError("gone"),
        json.JSONDecodeError("Expecting value", "<html>", 0),  # a proxy that answers with a page
    ],
)
@pytest.mark.parametrize("user", ["ana", ""])
@MODES
def test_law_3_without_the_vector_store_there_are_no_documents_and_one_warning(collection, caplog, error, user, mode):
    def gone(**_: Any) -> Any:
        raise error

    assert found(over(Wrapped(collection, query=gone)), mode, user_id=user) == []
    assert len(warnings_in(caplog)) == 1
    # everything is gone: still one
    caplog.clear()
    both = over(Wrapped(collection, query=gone), PersonaMemory(FailingStore(at=1, for_good=True)))
    assert found(both, mode, user_id=user) == []
    assert len(warnings_in(caplog)) == 1
    # within a turn that has warned, none
    caplog.clear()
    with warning_scope(warned=True):
        assert found(both, mode, user_id=user) == []
    assert warnings_in(caplog) == []


@pytest.mark.parametrize("what", ["embedding model", "vector store", "store"])
@MODES
def test_law_3_what_is_slow_is_left_behind(collection, caplog, what, mode):
    over_now, answered = threading.Event(), []

    def hang() -> None:
        over_now.wait(60)
        answered.append(what)

    class Slow(HashEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            hang()
            return super().embed_query(text)

    class SlowStore(InMemoryStore):
        def batch(self, ops: Any) -> Any:
            hang()
            return super().batch(ops)

    def query(**options: Any) -> Any:
        hang()
        return collection.query(**options)

    memory = PersonaMemory(SlowStore() if what == "store" else InMemoryStore(), timeout_seconds=0.1)
    vectorstore = Wrapped(collection, query=query) if what == "vector store" else collection
    retriever = over(vectorstore, memory, Slow(D) if what == "embedding model" else MODEL)
    if what == "store":
        retriever.timeout_seconds = 60.0

    async def ask() -> list[Document]:
        try:
            return await retriever.ainvoke(QUERY, user_id="ana")
        finally:
            assert answered == []
            over_now.set()  # asyncio.run waits for its threads

    docs = run(ask) if mode == "async" else retriever.invoke(QUERY, user_id="ana")
    assert mode == "async" or answered == []
    over_now.set()
    assert ids(docs) == (plain(collection, MODEL.embed_query(QUERY), 4) if what == "store" else [])
    assert len(warnings_in(caplog)) == 1


class Mute(HashEmbeddings):
    """Does not answer."""

    def embed_query(self, text: str) -> list[float]:
        raise ConnectionError("the model is gone")


@MODES
def test_law_3_without_the_embedding_model_there_are_no_documents_and_one_warning(collection, caplog, mode):
    assert found(over(collection, embeddings=Mute(D)), mode, user_id="ana") == []
    assert len(warnings_in(caplog)) == 1


def test_law_3_a_deleted_collection(caplog):
    client = chromadb.EphemeralClient()
    collection = client.create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
    collection.add(ids=["a"], embeddings=[vector(1)])
    retriever = over(collection)
    client.delete_collection(collection.name)
    assert retriever.invoke(QUERY, user_id="ana") == []
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize(
    "wrong", [{"even": True, "number": 3}, {"$nor": [{"even": True}]}, {"even": {"$about": 3}}, {"even": [1]}]
)
@MODES
def test_a_bad_filter_is_for_the_developer_to_see(collection, wrong, mode):
    for user in ("ana", ""):
        with pytest.raises(ValueError):  # noqa: PT011 (Chroma's own words)
            found(over(collection), mode, user_id=user, filter=wrong)


def test_a_collection_that_was_reset_is_followed():
    store = Chroma(f"c{uuid.uuid4().hex}", MODEL)
    store.add_texts(["red wine"], ids=["1"])
    retriever = over(store)
    assert ids(retriever.invoke("wine", user_id="ana")) == ["1"]
    store.reset_collection()
    store.add_texts(["white wine"], ids=["2"])
    assert ids(retriever.invoke("wine", user_id="ana")) == ["2"]


# the event loop -------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """SQLite and Chroma in files, opened outside the event loop."""
    client = chromadb.PersistentClient(str(tmp_path / "chroma"))
    with SqliteStore.from_conn_string(str(tmp_path / "store.sqlite3")) as store:
        store.setup()
        films = client.create_collection("films", embedding_function=None)
        rows = [row.tolist() for row in VECTORS.values()]
        films.add(ids=list(TEXTS), documents=list(TEXTS.values()), embeddings=rows)
        memory = PersonaMemory(store, MODEL)
        yield memory, over(films, memory, reranker=Backwards()), memory.as_retriever(k=2)
    client.close()


async def test_law_8_no_async_path_blocks_the_event_loop(files, caplog):
    memory, retriever, cards = files
    assert retriever.invoke(QUERY) == []  # it is armed
    assert "BlockingError" in warnings_in(caplog)[0]
    caplog.clear()
    docs = await retriever.ainvoke(QUERY, user_id="ana")
    await retriever.afeedback(docs[0], 1.0, user_id="ana")
    docs = await retriever.ainvoke(QUERY, user_id="ana")
    assert any(fact["long"] for fact in why(docs))
    card = await memory.aremember("ana", "likes films of the sea")
    assert ids(await cards.ainvoke(QUERY, user_id="ana")) == [card.id]
    assert len(await retriever.abatch([QUERY, QUERY], {"configurable": {"user_id": "ana"}})) == 2
    assert warnings_in(caplog) == []


async def test_law_8_vector_store_and_reranker_run_beside_the_event_loop(collection):
    seen: list[int] = []

    def query(**options: Any) -> Any:
        seen.append(threading.get_ident())
        return collection.query(**options)

    def reranker(query: str, docs: Any) -> list[float]:
        seen.append(threading.get_ident())
        return [0.0] * len(docs)

    await over(Wrapped(collection, query=query), reranker=reranker).ainvoke(QUERY, user_id="ana")
    assert len(seen) == 2
    assert threading.get_ident() not in seen


# feedback by documents ------------------------------------------------------------------------------------------------


def test_feedback_by_documents(collection):
    retriever = over(collection, user_id="ana")
    docs = retriever.invoke(QUERY)
    assert retriever.feedback(docs, 1.0).applied
    assert run(lambda: retriever.afeedback(docs[1], -0.5, source="rating", key="k")).applied
    assert not retriever.feedback(docs[1], -0.5, key="k").applied
    newest, oldest = retriever.memory.ratings("ana")
    assert (newest.source, newest.documents, newest.titles) == ("rating", (docs[1].id,), (TEXTS[docs[1].id],))
    assert (oldest.source, list(oldest.documents)) == ("thumbs", ids(docs))


@MODES
def test_misuse_of_feedback_by_documents(collection, mode):
    retriever = over(collection)
    mine, other = retriever.invoke(QUERY, user_id="ana"), retriever.invoke(QUERY, user_id="ana")
    foreign = Document("not retrieved", id="x")
    anonymous = retriever.invoke(QUERY)

    def rate(*arguments: Any, **options: Any) -> Any:
        if mode == "async":
            return run(lambda: retriever.afeedback(*arguments, **options))
        return retriever.feedback(*arguments, **options)

    for wrong in (
        [],
        [mine[0], other[0]],
        foreign,
        [mine[0], foreign],
        [mine[0], anonymous[1]],
        "d01",
        [mine[0], None],
    ):
        with pytest.raises(ConfigError, match="one invoke"):
            rate(wrong, 1.0, user_id="ana")
    with pytest.raises(ConfigError, match="names none"):
        rate(mine, 1.0)
    with pytest.raises(ConfigError, match="user_id="):
        rate(mine, 1.0, "ana")
    for reward in (2.0, float("nan")):
        with pytest.raises(ValueError, match="reward"):
            rate(mine, reward, user_id="ana")
    with pytest.raises(TypeError, match="reward"):
        rate(mine, "good", user_id="ana")
    with pytest.raises(ConfigError, match="stranger"):
        rate(mine[0].model_copy(update={"id": "stranger"}), 1.0, user_id="ana")
    assert retriever.memory.vectors("ana").count == 0
    for user in ("ana", None):  # who was not logged in gets a receipt, not an exception
        receipt = rate(anonymous, 1.0, user_id=user)
        assert (receipt.id, receipt.applied) == ("", False)


def test_feedback_that_the_store_does_not_take_is_not_acknowledged(collection):
    failing = FailingStore()
    retriever = over(collection, PersonaMemory(failing), user_id="ana")
    docs = retriever.invoke(QUERY)
    for number in (1, 2):  # reads what it needs, then writes
        failing.count, failing.at = 0, number
        with pytest.raises(StoreError, match="recorded nothing"):
            retriever.feedback(docs, 1.0, key="k")
    failing.at = 0
    assert retriever.memory.vectors("ana").count == 0
    assert retriever.feedback(docs, 1.0, key="k").applied
    assert retriever.memory.vectors("ana").count == 1


def test_without_a_session_there_is_no_short_term_vector(collection):
    retriever = over(collection)
    retriever.feedback(retriever.invoke(QUERY, user_id="ana")[0], 1.0, user_id="ana")
    docs = retriever.invoke(QUERY, user_id="ana")
    assert {fact["short"] for fact in why(docs)} == {0.0}
    assert any(fact["long"] for fact in why(docs))


# for a caller who is known already ------------------------------------------------------------------------------------


@MODES
def test_rank_for_a_known_caller_with_the_query_embedded(collection, mode):
    memory = liking("d07")
    expected = over(collection, memory).invoke(QUERY, user_id="ana", strength=2.0)
    mute, arguments = over(collection, memory, Mute(D)), (QUERY, Identity("ana"), MODEL.embed_query(QUERY))
    if mode == "sync":
        docs = mute.rank_for(*arguments, strength=2.0)
    else:
        docs = run(lambda: mute.arank_for(*arguments, strength=2.0))
    assert scores(docs) == scores(expected)


@MODES
def test_what_is_known_of_the_user_is_not_read_again_where_it_is_at_hand(collection, mode):
    store = FailingStore()
    retriever, options = over(collection, PersonaMemory(store)), {"vector": MODEL.embed_query(QUERY)}
    retriever.feedback(retriever.invoke(QUERY, user_id="ana")[0], 1.0, user_id="ana")
    expected = retriever.rank_for(QUERY, Identity("ana"))
    name = embedding_name(MODEL, D)
    options["taste"] = read_taste(retriever.memory, Identity("ana"), name, D)
    store.count = 0
    if mode == "sync":
        docs = retriever.rank_for(QUERY, Identity("ana"), **options)
    else:
        docs = run(lambda: retriever.arank_for(QUERY, Identity("ana"), **options))
    assert scores(docs) == scores(expected)
    assert store.count == 1  # the record


def test_a_retrieval_asks_the_store_for_one_read_and_one_write(collection):
    store = FailingStore()
    retriever = over(collection, PersonaMemory(store))
    retriever.feedback(retriever.invoke(QUERY, user_id="ana")[0], 1.0, user_id="ana")
    retriever.invoke(QUERY, user_id="ana")
    store.count = 0
    retriever.invoke(QUERY, user_id="ana")
    assert store.count == 2
