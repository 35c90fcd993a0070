"""`VARSRetriever`: exact scores, the folded ranking, cold start, the cap, options, and every trouble at run time."""

from __future__ import annotations

import json
import logging
import pickle
import threading
import time as real_time
import uuid
from types import SimpleNamespace
from typing import Any

import chromadb
import httpx
import numpy as np
import pytest
from blockbuster import BlockingError
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_chroma import Chroma
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from langchain_persona import samples
from langchain_persona.candidates import source_of
from langchain_persona.effects import run
from langchain_persona.errors import ConfigError, DimensionMismatchError, StoreError
from langchain_persona.learning import VARSConfig
from langchain_persona.memory import PersonaMemory
from langchain_persona.retriever import VARSRetriever
from langchain_persona.testing import HashEmbeddings
from langchain_persona.vectors import UserVectors

SPACES = ["cosine", "l2", "ip"]
D = 16
MODEL = HashEmbeddings(D)
TEXTS = {
    f"d{number:02}": f"film number {number} {word}"
    for number, word in enumerate(["sea", "sun", "rain", "snow", "wind", "fog", "ice", "fire", "dust", "moon"] * 2)
}
QUERY = "a film of the sea"
FREE = VARSConfig(spread=1e6)
"""A bonus as strong as its cap, however little relevance varies."""


class Given(Embeddings):
    """Embeds every query as one given vector."""

    def __init__(self, vector: np.ndarray) -> None:
        self.vector = vector

    def embed_query(self, text: str) -> list[float]:
        return self.vector.tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise AssertionError("documents are not embedded by a retriever")


class Known(PersonaMemory):
    """Knows one pair of vectors of every user."""

    def know(self, long: np.ndarray, short: np.ndarray | None = None) -> Known:
        self.known = UserVectors(long, np.zeros_like(long) if short is None else short, count=1)
        return self

    def user_vectors(self, user, session, embedding, dimension):
        yield from ()
        return self.known


def create(space: str = "cosine", **rows: Any) -> chromadb.Collection:
    collection = chromadb.EphemeralClient().create_collection(
        f"t{uuid.uuid4().hex}", configuration={"hnsw": {"space": space}}, embedding_function=None
    )
    if rows:
        collection.add(**rows)
    return collection


def films(space: str = "cosine") -> chromadb.Collection:
    return create(
        space,
        ids=list(TEXTS),
        documents=list(TEXTS.values()),
        embeddings=MODEL.embed_documents(list(TEXTS.values())),
        metadatas=[{"number": number, "even": number % 2 == 0} for number in range(len(TEXTS))],
    )


@pytest.fixture(scope="module")
def collection() -> chromadb.Collection:
    return films()


def over(
    collection: Any, memory: PersonaMemory | None = None, embeddings: Any = MODEL, **options: Any
) -> VARSRetriever:
    return VARSRetriever(
        vectorstore=collection, embeddings=embeddings, memory=memory or PersonaMemory(store=InMemoryStore()), **options
    )


def ids(docs: list[Document]) -> list[str]:
    return [str(doc.id) for doc in docs]


def why(docs: list[Document]) -> list[dict[str, Any]]:
    return [doc.metadata["persona"] for doc in docs]


def plain(collection: chromadb.Collection, query: Any, k: int, **options: Any) -> list[str]:
    return collection.query(query_embeddings=[np.asarray(query, dtype=np.float32)], n_results=k, **options)["ids"][0]


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def vector(number: int, d: int = D) -> np.ndarray:
    made = np.random.default_rng(number).normal(size=d)
    return made / np.linalg.norm(made)


def film_vectors() -> np.ndarray:
    return np.asarray(MODEL.embed_documents(list(TEXTS.values())))


def liking(name: str, size: float = 5.0, **options: Any) -> Known:
    """A memory in which every user likes one film very much."""
    return Known(store=InMemoryStore(), **options).know(size * film_vectors()[list(TEXTS).index(name)])


# what a document says ---------------------------------------------------------------------------------------


def test_each_document_says_why_it_stands_where_it_stands(collection):
    memory = Known(store=InMemoryStore()).know(0.2 * vector(1), 0.1 * vector(2))
    docs = over(collection, memory, k=6).invoke(QUERY, user_id="ana")
    assert [fact["rank"] for fact in why(docs)] == [1, 2, 3, 4, 5, 6]
    assert len({fact["retrieval_id"] for fact in why(docs)}) == 1
    assert [fact["score"] for fact in why(docs)] == sorted((fact["score"] for fact in why(docs)), reverse=True)
    vectors = dict(zip(TEXTS, film_vectors(), strict=True))
    query = np.asarray(MODEL.embed_query(QUERY))
    for doc, fact in zip(docs, why(docs), strict=True):
        assert set(fact) == {"retrieval_id", "rank", "base_rank", "score", "base", "long", "short", "abstained"}
        assert fact["score"] == fact["base"] + fact["long"] + fact["short"]
        assert fact["base"] == pytest.approx(vectors[doc.id] @ query, abs=1e-5)
        assert fact["long"] == pytest.approx(vectors[doc.id] @ (0.2 * vector(1)), abs=1e-5)
        assert fact["short"] == pytest.approx(vectors[doc.id] @ (0.1 * vector(2)), abs=1e-5)
    order = plain(collection, query, len(TEXTS))
    among = sorted(docs, key=lambda doc: order.index(doc.id))
    ranks = [doc.metadata["persona"]["base_rank"] for doc in among]
    assert ranks == sorted(ranks)
    assert ids(docs) != order[:6]


def test_documents_and_metadata_of_the_store_are_preserved(collection):
    before = collection.get(ids=list(TEXTS))
    docs = over(collection).invoke(QUERY, user_id="ana")
    for doc in docs:
        assert doc.page_content == TEXTS[doc.id]
        assert {name: doc.metadata[name] for name in doc.metadata if name != "persona"} == {
            "number": list(TEXTS).index(doc.id),
            "even": list(TEXTS).index(doc.id) % 2 == 0,
        }
    assert collection.get(ids=list(TEXTS)) == before


def test_a_card_of_the_cache_is_not_changed_in_place():
    memory = PersonaMemory(store=InMemoryStore(), cards=create(), embeddings=MODEL)
    memory.remember("ana", "likes tea")
    retriever = memory.as_retriever(k=1)
    first = retriever.invoke("tea", user_id="ana")[0]
    first.metadata["mine"] = True
    second = retriever.invoke("tea", user_id="ana")[0]
    assert "mine" not in second.metadata
    assert second.metadata["persona"]["retrieval_id"] != first.metadata["persona"]["retrieval_id"]


def test_documents_can_be_pickled_and_written_as_json(collection):
    docs = over(collection, liking("d07")).invoke(QUERY, user_id="ana")
    assert pickle.loads(pickle.dumps(docs)) == docs
    assert json.loads(json.dumps([doc.metadata for doc in docs])) == [doc.metadata for doc in docs]


def test_collections_without_texts_or_metadata(caplog):
    bare = create(ids=["a", "b"], embeddings=[vector(1), vector(2)])
    docs = over(bare, embeddings=Given(vector(1))).invoke("x", user_id="ana")
    assert [(doc.id, doc.page_content) for doc in docs] == [("a", ""), ("b", "")]
    assert warnings_in(caplog) == []


def test_traces_name_the_store_and_the_model(collection):
    params = over(collection)._get_ls_params()
    assert params["ls_retriever_name"] == "vars"
    assert params["ls_vector_store_provider"] == "chroma"
    assert params["ls_embedding_provider"] == "HashEmbeddings"
    assert params["ls_embedding_model"] == f"hash-{D}"
    assert "ls_embedding_model" not in over(collection, embeddings=Given(vector(1)))._get_ls_params()


# options ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_options_at_construction_and_at_call_time(collection, mode):
    async def found(retriever: VARSRetriever, **options: Any) -> list[Document]:
        return await retriever.ainvoke(QUERY, **options) if mode == "async" else retriever.invoke(QUERY, **options)

    anyone = {"user_id": "ana"}
    for k in (1, 3, 20, 50):
        assert len(await found(over(collection, k=k), **anyone)) == min(k, 20)
        assert len(await found(over(collection, k=2), k=k, **anyone)) == min(k, 20)
    even = await found(over(collection, filter={"even": True}, k=20), **anyone)
    assert {doc.metadata["even"] for doc in even} == {True}
    assert len(even) == 10
    assert ids(await found(over(collection, k=20), filter={"even": True}, **anyone)) == ids(even)
    odd = await found(over(collection, filter={"even": True}, k=20), filter={"even": False}, **anyone)
    assert not set(ids(odd)) & set(ids(even))
    assert len(await found(over(collection, filter={"even": True}, k=20), filter={}, **anyone)) == 20
    memory = liking("d07", config=FREE)
    capped = await found(over(collection, memory, max_bonus=0.1), **anyone)
    assert max(abs(fact["long"]) for fact in why(capped)) <= 0.1
    freed = await found(over(collection, memory, max_bonus=0.1), max_bonus=0.4, **anyone)
    assert 0.3 < max(abs(fact["long"]) for fact in why(freed)) <= 0.4
    with pytest.raises(ConfigError, match="no option 'no_such_option'"):
        await found(over(collection), no_such_option=1)
    with pytest.raises(ConfigError, match=r"config=VARSConfig\(spread="):
        over(collection, spread=0.2)
    with pytest.raises(ConfigError, match="no argument 'search_kwargs'"):
        over(collection, search_kwargs={"k": 10})


def test_fetch_k_is_the_number_of_candidates(collection):
    memory = PersonaMemory(store=InMemoryStore())
    for options, count in [({}, 12), ({"k": 14}, 16), ({"fetch_k": 7}, 7), ({"fetch_k": 2}, 4)]:
        over(collection, memory).invoke(QUERY, user_id=str(count), **options)
    over(collection, memory, fetch_k=9).invoke(QUERY, user_id="9")
    kept = {len(item.value["candidates"]) for item in memory.store.search(("persona",), limit=100)}
    assert kept == {12, 16, 7, 4, 9}


@pytest.mark.parametrize("name", ["k", "fetch_k"])
@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "3", [2]])
def test_counts_that_cannot_work(collection, name, wrong):
    with pytest.raises(ConfigError, match=f"{name} must be"):
        over(collection, **{name: wrong})
    with pytest.raises(ConfigError, match=f"{name} must be"):
        over(collection).invoke(QUERY, **{name: wrong})


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf"), True, "much"])
def test_caps_that_cannot_work(collection, wrong):
    with pytest.raises(ConfigError, match="max_bonus must be"):
        over(collection, max_bonus=wrong)
    with pytest.raises(ConfigError, match="max_bonus must be"):
        over(collection).invoke(QUERY, max_bonus=wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory": None},
        {"memory": InMemoryStore()},
        {"vectorstore": object()},
        {"vectorstore": InMemoryStore()},
        {"embeddings": None},
        {"embeddings": "minilm"},
        {"reranker": 3},
        {"search_type": "best"},
        {"lambda_mult": 1.5},
        {"lambda_mult": float("nan")},
        {"filter": "even"},
        {"vectorstore": None},
    ],
)
def test_construction_with_what_cannot_work(collection, wrong):
    right = {"vectorstore": collection, "embeddings": MODEL, "memory": PersonaMemory(store=InMemoryStore())}
    VARSRetriever(**right)
    with pytest.raises(ConfigError):
        VARSRetriever(**{**right, **wrong})


@pytest.mark.parametrize("wrong", [True, 1.5, ["ana"]])
def test_a_default_user_of_a_wrong_type(collection, wrong):
    with pytest.raises(TypeError, match="user id"):
        over(collection, user_id=wrong)


def test_a_missing_memory_is_named(collection):
    with pytest.raises(ConfigError, match="memory"):
        VARSRetriever(vectorstore=collection, embeddings=MODEL)


def test_an_embedding_function_that_cannot_be_built_here_is_no_obstacle(collection):
    """The server may hold collections whose own embedding function needs a key that this process does not have."""

    class Keyless:
        name = "c"
        configuration_json = collection.configuration_json

        @property
        def configuration(self) -> Any:
            raise ValueError("Could not build embedding function")

        def __getattr__(self, name: str) -> Any:
            return getattr(collection, name)

    assert ids(over(Keyless()).invoke(QUERY, user_id="ana")) == plain(collection, MODEL.embed_query(QUERY), 4)


# the ranking ------------------------------------------------------------------------------------------------


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
    retriever = over(
        collection,
        Known(store=InMemoryStore(), config=FREE).know(long, short),
        Given(query),
        k=k,
        fetch_k=k,
        max_bonus=cap,
    )
    docs = retriever.invoke("x", user_id="ana")
    assert [fact["score"] for fact in why(docs)] == pytest.approx(sorted(exact, reverse=True)[:k], abs=1e-5)
    assert [exact[int(doc.id)] for doc in docs] == pytest.approx([fact["score"] for fact in why(docs)], abs=1e-5)
    assert len(set(ids(docs))) == min(k, n)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_the_bonus_varies_over_the_collection_no_more_than_a_share_of_relevance(space, strength):
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(100, D))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    query, long = vector(7), 0.7 * vector(8)
    collection = create(space, ids=[str(number) for number in range(100)], embeddings=rows)
    relevance, found = np.std(rows @ query), {}
    for spread in (0.1, 0.35, 1e6):
        memory = Known(store=InMemoryStore(), config=VARSConfig(spread=spread)).know(long)
        docs = over(collection, memory, Given(query), k=100).invoke("x", user_id="ana", strength=strength)
        found[spread] = np.std([fact["long"] for fact in why(docs)]) / strength
    assert found[0.1] == pytest.approx(0.1 * relevance, rel=1e-4)
    assert found[0.35] == pytest.approx(0.35 * relevance, rel=1e-4)
    assert found[1e6] == pytest.approx(np.std(rows @ long), rel=1e-4)


def test_a_collection_too_small_to_tell_the_spread_moderates_nothing():
    rows = np.eye(D)[:15]
    collection = create(ids=[str(number) for number in range(15)], embeddings=rows)
    moved = {}
    for spread in (0.0, 0.01):
        memory = Known(store=InMemoryStore(), config=VARSConfig(spread=spread)).know(0.5 * vector(8))
        docs = over(collection, memory, Given(vector(7))).invoke("x", user_id="ana")
        moved[spread] = max(abs(fact["long"]) for fact in why(docs))
    assert moved[0.01] > 0.05
    assert moved[0.0] == 0.0, "a share of nothing is nothing, measured or not"


def test_what_passes_a_filter_is_what_the_spread_is_measured_on():
    """Relevance that tells apart what the filter has decided already leaves no more room to the bonus."""
    near = np.eye(D)[0] + 0.05 * np.array([vector(number) for number in range(40)])
    far = -np.eye(D)[0] + 0.05 * np.array([vector(number) for number in range(40, 80)])
    collection = create(
        ids=[str(number) for number in range(80)],
        embeddings=np.concatenate([near, far]),
        metadatas=[{"near": number < 40} for number in range(80)],
    )
    memory = Known(store=InMemoryStore(), config=VARSConfig(spread=0.3)).know(0.7 * vector(8))
    retriever = over(collection, memory, Given(np.eye(D)[0]), k=40, fetch_k=40)
    whole, filtered, few = (
        np.array([(fact["base"], fact["long"]) for fact in why(retriever.invoke("x", user_id="ana", filter=where))])
        for where in (None, {"near": True}, {"near": False})
    )
    assert np.std(filtered[:, 1]) == pytest.approx(0.3 * np.std(filtered[:, 0]), rel=1e-3)
    assert np.std(whole[:, 1]) > 3.0 * np.std(filtered[:, 1])
    assert len(few) == 40


def test_a_sample_that_cannot_be_drawn_moderates_nothing(collection, monkeypatch, caplog):
    retriever = over(collection, liking("d03"))
    usual = why(retriever.invoke(QUERY, user_id="ana"))

    def gone(*_: Any, **__: Any) -> None:
        raise ConnectionError("gone")

    retriever._source._samples = samples.Samples()
    monkeypatch.setattr(samples, "_drawn", gone)
    docs = retriever.invoke(QUERY, user_id="ana")
    assert len(docs) == 4
    assert max(abs(fact["long"]) for fact in why(docs)) > max(abs(fact["long"]) for fact in usual)
    assert caplog.records == []


def test_a_sample_is_spread_over_the_collection_and_kept_for_a_while(monkeypatch):
    rows = np.repeat(np.eye(4), 100, axis=0)  # filled kind by kind
    collection = create(ids=[str(number) for number in range(400)], embeddings=rows)
    source = source_of(collection, MODEL)
    sample = run(source.sample(128, user="ana"))
    assert sample.sum(axis=0).tolist() == [32.0] * 4
    collection.delete(ids=[str(number) for number in range(400)])
    assert run(source.sample(128, user="ana")) is sample
    later = SimpleNamespace(monotonic=lambda: real_time.monotonic() + samples.SAMPLE_SECONDS + 1.0)
    monkeypatch.setattr("langchain_persona.samples.time", later)
    assert run(source.sample(128, user="ana")).shape == (0, 0)


@pytest.mark.parametrize("cap", [None, 0.0])
def test_a_bonus_that_cannot_act_is_not_measured(collection, cap, monkeypatch):
    drawn: list[int] = []
    monkeypatch.setattr(samples, "_drawn", lambda *_: drawn.append(1) or np.zeros((0, 0)))
    over(collection, liking("d03"), **({} if cap is None else {"max_bonus": cap})).invoke(QUERY, user_id="ana")
    assert len(drawn) == (cap is None)


@pytest.mark.parametrize("space", SPACES)
def test_a_liked_document_outside_the_plain_pool_is_found(space):
    """Folding asks for the personalised neighbours; re-ranking a pool would have lost this one."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(300, D))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    query = vector(7)
    last = int(np.argmin(np.abs(rows @ query)))
    collection = create(space, ids=[str(number) for number in range(300)], embeddings=rows)
    assert str(last) not in plain(collection, query, 64)
    memory = Known(store=InMemoryStore(), config=FREE).know(2.0 * rows[last])
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
                found = over(collection, embeddings=Given(query), k=k).invoke("x", user_id=user)
                assert ids(found) == plain(collection, query, k), (space, k, user)


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
    store.add_texts(
        texts, [{"number": number % 3} for number in range(len(texts))], [f"{n:02}" for n in range(len(texts))]
    )
    retriever = VARSRetriever(vectorstore=store, memory=PersonaMemory(store=InMemoryStore()))
    for query in (QUERY, "film number 3", "snow", ""):
        for options in ({"k": 1}, {"k": 5}, {"k": 30}, {"k": 6, "filter": {"number": 1}}):
            expected = store.similarity_search(query, **options)
            found = retriever.invoke(query, user_id="ana", **options)
            assert ids(found) == ids(expected)
            assert [doc.page_content for doc in found] == [doc.page_content for doc in expected]
            assert [fact["base_rank"] for fact in why(found)] == list(range(1, len(found) + 1))
            assert {fact["long"] for fact in why(found)} == {0.0}


@pytest.mark.parametrize("space", ["l2", "ip"])
def test_vectors_that_are_not_of_unit_length(space):
    rng = np.random.default_rng(11)
    rows = rng.normal(size=(80, D)) * rng.uniform(0.2, 5.0, size=(80, 1))
    query = 3.0 * vector(1)
    collection = create(space, ids=[str(number) for number in range(80)], embeddings=rows)
    cold = over(collection, embeddings=Given(query), k=10).invoke("x", user_id="ana")
    assert ids(cold) == plain(collection, query, 10)
    memory = Known(store=InMemoryStore()).know(0.3 * vector(2))
    warm = over(collection, memory, Given(query), k=10, max_bonus=0.25).invoke("x", user_id="ana")
    assert len(warm) == 10
    for doc, fact in zip(warm, why(warm), strict=True):
        row = rows[int(doc.id)]
        base = row @ query if space == "ip" else 1.0 - ((row - query) ** 2).sum() / 2.0
        assert fact["base"] == pytest.approx(base, rel=1e-4, abs=1e-4)
        assert abs(fact["long"]) <= 0.25 + 1e-9
    assert [fact["score"] for fact in why(warm)] == sorted((fact["score"] for fact in why(warm)), reverse=True)
    # one query has the same base scores, warm or cold
    cold_base = {doc.id: fact["base"] for doc, fact in zip(cold, why(cold), strict=True)}
    for doc, fact in zip(warm, why(warm), strict=True):
        assert fact["base"] == pytest.approx(cold_base.get(doc.id, fact["base"]), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    "config", [VARSConfig(), VARSConfig.paper(), VARSConfig.simplified(), VARSConfig(strength=10.0)]
)
def test_law_2_no_feedback_pushes_the_bonus_past_the_cap(config):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(40, D))
    collection = create(ids=[str(number) for number in range(40)], embeddings=rows)
    for cap in (0.05, 0.3, 1.5):
        memory = PersonaMemory(store=InMemoryStore(), config=config)
        retriever = over(collection, memory, Given(vector(9)), k=40, max_bonus=cap)
        for _ in range(4):
            docs = retriever.invoke("x", user_id="mallory", session_id="t")
            for _ in range(6):  # the same document, over and over
                retriever.feedback(docs[-1], 1.0, user_id="mallory")
                retriever.feedback(docs[0], -1.0, user_id="mallory")
            for fact in why(retriever.invoke("x", user_id="mallory", session_id="t")):
                assert abs(fact["long"] + fact["short"]) <= config.strength * cap * (1 + 1e-9)


def test_max_bonus_zero_is_the_plain_ranking(collection):
    memory = liking("d07")
    assert ids(over(collection, memory).invoke(QUERY, user_id="ana")) != plain(collection, MODEL.embed_query(QUERY), 4)
    for retriever, options in [
        (over(collection, memory, max_bonus=0), {}),
        (over(collection, memory), {"max_bonus": 0.0}),
    ]:
        docs = retriever.invoke(QUERY, user_id="ana", **options)
        assert ids(docs) == plain(collection, MODEL.embed_query(QUERY), 4)
        assert {(fact["long"], fact["short"]) for fact in why(docs)} == {(0.0, 0.0)}
    off = liking("d07", config=VARSConfig(strength=0.0))
    assert ids(over(collection, off).invoke(QUERY, user_id="ana")) == plain(collection, MODEL.embed_query(QUERY), 4)


# reranker and diversity -------------------------------------------------------------------------------------


class Backwards(BaseCrossEncoder):
    """Likes high numbers."""

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        assert all(query == QUERY for query, _ in text_pairs)
        return [int(text.split()[2]) / 100 for _, text in text_pairs]


def by_number(query: str, docs: Any) -> list[float]:
    return [doc.metadata["number"] / 100 for doc in docs]


@pytest.mark.parametrize("reranker", [Backwards(), by_number])
async def test_a_reranker_takes_the_place_of_the_base_score(collection, reranker):
    docs = over(collection, reranker=reranker, fetch_k=20, k=3).invoke(QUERY, user_id="ana")
    assert ids(docs) == ["d19", "d18", "d17"]
    assert [fact["base"] for fact in why(docs)] == [0.19, 0.18, 0.17]
    assert ids(await over(collection, reranker=reranker, fetch_k=20, k=3).ainvoke(QUERY, user_id="ana")) == ids(docs)
    # the scores of this reranker spread less than the cosines, and the bonus shrinks with them
    warm = over(collection, liking("d03", config=FREE), reranker=reranker, fetch_k=20, k=3, strength=2.0).invoke(
        QUERY, user_id="ana"
    )
    assert warm[0].id == "d03"
    assert why(warm)[0]["base"] == 0.03
    assert why(warm)[0]["score"] == why(warm)[0]["base"] + why(warm)[0]["long"] + why(warm)[0]["short"]
    assert why(warm)[0]["base_rank"] == 17


def test_a_reranker_sees_the_same_pool_for_the_anonymous(collection):
    retriever = over(collection, reranker=by_number, k=2)
    assert ids(retriever.invoke(QUERY)) == ids(retriever.invoke(QUERY, user_id="ana"))


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
async def test_law_3_a_reranker_that_fails_costs_one_warning(collection, caplog, reranker):
    retriever = over(collection, reranker=reranker)
    assert ids(retriever.invoke(QUERY, user_id="ana")) == plain(collection, MODEL.embed_query(QUERY), 4)
    assert len(warnings_in(caplog)) == 1
    assert ids(await retriever.ainvoke(QUERY, user_id="ana")) == plain(collection, MODEL.embed_query(QUERY), 4)
    assert len(warnings_in(caplog)) == 2


def test_mmr_takes_different_documents():
    rows = np.array([[1.0, 0.0, 0.0], [0.999, 0.04, 0.0], [0.7, 0.0, 0.7], [0.6, 0.8, 0.0]])
    collection = create(ids=list("abcd"), embeddings=rows)
    options = {"embeddings": Given(np.array([1.0, 0.0, 0.0])), "k": 2}
    assert ids(over(collection, **options).invoke("x", user_id="ana")) == ["a", "b"]
    assert ids(over(collection, **options, search_type="mmr", lambda_mult=0.3).invoke("x", user_id="ana")) == ["a", "d"]
    assert ids(over(collection, **options, search_type="mmr", lambda_mult=1.0).invoke("x", user_id="ana")) == ["a", "b"]
    liked = Known(store=InMemoryStore()).know(np.array([0.0, 0.4, 0.0]))
    personal = over(collection, liked, **options, search_type="mmr", lambda_mult=0.5, max_bonus=1.0).invoke(
        "x", user_id="ana"
    )
    assert "d" in ids(personal)
    assert [fact["rank"] for fact in why(personal)] == [1, 2]


# dimensions and empty collections ---------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("warm", [False, True])
async def test_an_empty_collection_gives_nothing(space, warm, caplog):
    memory = liking("d03") if warm else None
    retriever = over(create(space), memory)
    for user in ("ana", ""):
        assert retriever.invoke(QUERY, user_id=user) == []
        assert await retriever.ainvoke(QUERY, user_id=user) == []
    assert warnings_in(caplog) == []
    emptied = films(space)
    emptied.delete(ids=list(TEXTS))
    assert over(emptied, memory).invoke(QUERY, user_id="ana") == []


@pytest.mark.parametrize("warm", [False, True])
def test_a_filter_that_nothing_passes_gives_nothing(collection, warm, caplog):
    retriever = over(collection, liking("d03") if warm else None)
    assert retriever.invoke(QUERY, user_id="ana", filter={"number": 99}) == []
    assert warnings_in(caplog) == []


def test_a_wrong_dimension_is_refused_at_construction(collection):
    with pytest.raises(DimensionMismatchError, match=f"{D + 1} numbers.*{D}"):
        over(collection, embeddings=HashEmbeddings(D + 1))
    over(collection, embeddings=HashEmbeddings(D + 1), validate_embeddings=False)


async def test_a_wrong_dimension_is_refused_at_run_time_where_the_collection_was_filled_later(caplog):
    collection = create()
    retriever = over(collection, embeddings=HashEmbeddings(D + 1))
    collection.add(ids=["a"], embeddings=[vector(1)])
    for user in ("ana", ""):
        with pytest.raises(DimensionMismatchError, match=f"{D + 1}"):
            retriever.invoke(QUERY, user_id=user)
        with pytest.raises(DimensionMismatchError, match=f"{D + 1}"):
            await retriever.ainvoke(QUERY, user_id=user)


def test_a_collection_filled_later_in_a_space_without_unit_vectors():
    """The scale of the fold is measured when there is something to measure."""
    taste = 2.0 * vector(2)
    collection = create("ip")
    memory = Known(store=InMemoryStore()).know(taste)
    retriever = over(collection, memory, Given(vector(1)), max_bonus=5.0, fetch_k=1, k=1)
    assert retriever.invoke("x", user_id="ana") == []
    rows = np.stack([vector(number) for number in range(3, 40)]) * 4.0
    collection.add(ids=[str(number) for number in range(37)], embeddings=rows)
    right, wrong = int(np.argmax(rows @ (vector(1) + taste / 4.0))), int(np.argmax(rows @ (vector(1) + taste)))
    assert right != wrong
    assert ids(retriever.invoke("x", user_id="ana")) == [str(right)]


# trouble ----------------------------------------------------------------------------------------------------


class Failing(BaseStore):
    """Hands on to another store; the operation of one number fails, or every one from there on."""

    def __init__(self, store: BaseStore) -> None:
        self.store, self.count, self.at, self.for_good = store, 0, 0, False
        self.supports_ttl = store.supports_ttl
        self.snapshot_at = 0

    def _tick(self, ops: list[Any]) -> None:
        self.count += 1
        if any(isinstance(op, PutOp) and op.namespace[-1] == "state" for op in ops):
            self.snapshot_at = self.count
        if self.at and (self.count == self.at or (self.for_good and self.count > self.at)):
            raise ConnectionError(f"the store is gone at its operation {self.count}")

    def batch(self, ops):
        self._tick(ops)
        return self.store.batch(ops)

    async def abatch(self, ops):
        self._tick(ops)
        return await self.store.abatch(ops)


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_law_3_a_store_that_fails_at_any_operation_costs_the_personal_part(
    collection, caplog, monkeypatch, mode, for_good
):
    failing = Failing(InMemoryStore())
    past = SimpleNamespace(time=lambda: real_time.time() - 300.0)
    for module in ("memory.ledger", "memory.feedback", "retrieval.recorded"):
        monkeypatch.setattr(f"langchain_persona.{module}.time", past)
    teacher = over(collection, PersonaMemory(store=failing, config=VARSConfig(strength=10.0)), k=20)
    liked = teacher.invoke(QUERY, user_id="ana")[-1]
    teacher.feedback(liked, 1.0, user_id="ana")
    monkeypatch.undo()  # now the feedback is old enough for a snapshot, which costs a write
    kept = {(item.namespace, item.key): item.value for item in failing.store.search((), limit=1_000)}
    expected = plain(collection, MODEL.embed_query(QUERY), 4)

    async def once() -> list[str]:
        """By a fresh process over the same store."""
        fresh = InMemoryStore()
        fresh.batch([PutOp(namespace, key, value) for (namespace, key), value in kept.items()])
        failing.store, failing.count = fresh, 0
        retriever = over(collection, PersonaMemory(store=failing, config=VARSConfig(strength=10.0)))
        caplog.clear()
        docs = (
            await retriever.ainvoke(QUERY, user_id="ana") if mode == "async" else retriever.invoke(QUERY, user_id="ana")
        )
        if failing.at and (failing.at != failing.snapshot_at or for_good):
            assert {fact["retrieval_id"] for fact in why(docs)} == {None}
        return ids(docs)

    personal = await once()
    operations = failing.count
    assert operations >= 4
    assert personal != expected
    assert warnings_in(caplog) == []
    failing.for_good = for_good
    for number in range(1, operations + 1):
        failing.at = number
        found = await once()
        # a snapshot can be made again; the last is the record for later feedback: everything was known by then
        quiet = number == failing.snapshot_at and not for_good
        known = quiet or number == operations
        assert found == (personal if known else expected), f"operation {number}"
        assert len(warnings_in(caplog)) == (0 if quiet else 1), f"operation {number}"


class Gone:
    """A collection whose database no longer answers."""

    def __init__(self, collection: chromadb.Collection, error: Exception) -> None:
        self.collection, self.error = collection, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.collection, name)

    def query(self, **options: Any) -> Any:
        raise self.error

    def peek(self, count: int) -> Any:
        raise self.error


@pytest.mark.parametrize(
    "error", [chromadb.errors.InternalError("panic"), httpx.ConnectError("refused"), OSError("gone")]
)
@pytest.mark.parametrize("user", ["ana", ""])
async def test_law_3_without_chroma_there_are_no_documents_and_one_warning(collection, caplog, error, user):
    retriever = over(Gone(collection, error))
    assert retriever.invoke(QUERY, user_id=user) == []
    assert len(warnings_in(caplog)) == 1
    assert await retriever.ainvoke(QUERY, user_id=user) == []
    assert len(warnings_in(caplog)) == 2


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
async def test_a_bad_filter_is_for_the_developer_to_see(collection, wrong):
    for user in ("ana", ""):
        with pytest.raises(ValueError):  # noqa: PT011 (Chroma's own words)
            over(collection).invoke(QUERY, user_id=user, filter=wrong)
        with pytest.raises(ValueError):  # noqa: PT011
            await over(collection, filter=wrong).ainvoke(QUERY, user_id=user)


@pytest.fixture
def files(tmp_path):
    """SQLite and Chroma in files, opened outside the event loop."""
    client = chromadb.PersistentClient(str(tmp_path / "chroma"))
    with SqliteStore.from_conn_string(str(tmp_path / "store.sqlite3")) as store:
        store.setup()
        cards = client.create_collection("cards", embedding_function=None)
        films = client.create_collection("films", embedding_function=None)
        films.add(
            ids=list(TEXTS), documents=list(TEXTS.values()), embeddings=MODEL.embed_documents(list(TEXTS.values()))
        )
        memory = PersonaMemory(store=store, cards=cards, embeddings=MODEL)
        yield memory, over(films, memory, reranker=Backwards()), memory.as_retriever(k=2)
    client.close()


async def test_law_8_no_async_path_blocks_the_event_loop(files):
    memory, retriever, cards = files
    with pytest.raises(BlockingError):  # it is armed
        memory.vectors("ana")
    docs = await retriever.ainvoke(QUERY, user_id="ana")
    receipt = await retriever.afeedback(docs[0], 1.0, user_id="ana")
    await memory.afeedback("ana", docs[0].metadata["persona"]["retrieval_id"], reward=0.5, key="k")
    await memory.awithdraw("ana", receipt.id)
    assert (await memory.avectors("ana")).count == 1
    assert (await memory.arebuild("ana")).count == 1
    assert (await memory.aexplain("ana")).withdrawn == 1
    card = await memory.aremember("ana", "likes films of the sea")
    assert ids(await cards.ainvoke(QUERY, user_id="ana")) == [card.id]
    new = await memory.asupersede("ana", card.id, "likes films")
    await memory.apin("ana", new.id)
    await memory.ahold_back("ana", new.id)
    await memory.apreferences("ana")
    await memory.aforget("ana", new.id)
    assert len(await retriever.abatch([QUERY, QUERY], {"configurable": {"user_id": "ana"}})) == 2
    await memory.aclose()


async def test_law_8_chroma_and_rerankers_run_beside_the_event_loop(collection):
    seen: list[int] = []

    class Watching(Gone):
        def query(self, **options: Any) -> Any:
            seen.append(threading.get_ident())
            return self.collection.query(**options)

    def reranker(query: str, docs: Any) -> list[float]:
        seen.append(threading.get_ident())
        return [0.0] * len(docs)

    await over(Watching(collection, OSError()), reranker=reranker).ainvoke(QUERY, user_id="ana")
    assert len(seen) == 2
    assert threading.get_ident() not in seen


# feedback by documents --------------------------------------------------------------------------------------


async def test_feedback_by_documents(collection):
    retriever = over(collection, user_id="ana")
    docs = retriever.invoke(QUERY)
    assert retriever.feedback(docs, 1.0).applied
    assert (await retriever.afeedback(docs[1], -0.5, source="rating", key="k")).applied
    assert not retriever.feedback(docs[1], -0.5, key="k").applied
    told = retriever.memory.explain("ana")
    assert told.sources == {"thumbs": 1, "rating": 1}
    assert dict(told.liked) == {docs[0].id: 1.0, docs[1].id: 0.5, docs[2].id: 1.0, docs[3].id: 1.0}


async def test_misuse_of_feedback_by_documents(collection):
    retriever = over(collection)
    mine, other = retriever.invoke(QUERY, user_id="ana"), retriever.invoke(QUERY, user_id="ana")
    foreign = Document("not retrieved", id="x")
    anonymous = retriever.invoke(QUERY)
    for wrong in (
        [],
        [mine[0], other[0]],
        foreign,
        [mine[0], foreign],
        [mine[0], anonymous[1]],
        "d01",
        ["d01"],
        [mine[0], None],
    ):
        with pytest.raises(ConfigError):
            retriever.feedback(wrong, 1.0, user_id="ana")
        with pytest.raises(ConfigError):
            await retriever.afeedback(wrong, 1.0, user_id="ana")
    with pytest.raises(ConfigError, match="names none"):
        retriever.feedback(mine, 1.0)
    for reward in (2.0, float("nan")):
        with pytest.raises(ValueError, match="reward"):
            retriever.feedback(mine, reward, user_id="ana")
    with pytest.raises(TypeError, match="reward"):
        retriever.feedback(mine, "good", user_id="ana")
    stranger = mine[0].model_copy(update={"id": "stranger"})
    with pytest.raises(ConfigError, match="stranger"):
        retriever.feedback(stranger, 1.0, user_id="ana")
    assert retriever.memory.vectors("ana").count == 0
    for user in ("ana", None):  # who was not logged in gets a receipt, not an exception
        receipt = retriever.feedback(anonymous, 1.0, user_id=user)
        assert (receipt.id, receipt.applied) == ("", False)
        assert await retriever.afeedback(anonymous, 1.0, user_id=user) == receipt
    with pytest.raises(ValueError, match="reward"):
        retriever.feedback(anonymous, 2.0)


async def test_feedback_that_the_store_does_not_take_is_not_acknowledged(collection):
    failing = Failing(InMemoryStore())
    retriever = over(collection, PersonaMemory(store=failing), user_id="ana")
    docs = retriever.invoke(QUERY)
    operations = 4
    for number in range(1, operations):
        failing.count, failing.at = 0, number
        with pytest.raises(StoreError, match="nothing was recorded"):
            retriever.feedback(docs, 1.0, key="k")
    failing.at = 0
    assert retriever.memory.vectors("ana").count == 0
    assert retriever.feedback(docs, 1.0, key="k").applied
    assert retriever.memory.vectors("ana").count == 1


def test_a_proxy_that_answers_with_a_page_costs_the_documents_and_not_the_chat(collection, caplog):
    error = json.JSONDecodeError("Expecting value", "<html>", 0)
    assert over(Gone(collection, error), validate_embeddings=False).invoke(QUERY, user_id="ana") == []
    assert len(warnings_in(caplog)) == 1


def test_a_collection_that_was_reset_is_followed():
    store = Chroma(collection_name=f"c{uuid.uuid4().hex}", embedding_function=MODEL)
    store.add_texts(["red wine"], ids=["1"])
    retriever = over(store)
    assert ids(retriever.invoke("wine", user_id="ana")) == ["1"]
    store.reset_collection()
    store.add_texts(["white wine"], ids=["2"])
    assert ids(retriever.invoke("wine", user_id="ana")) == ["2"]


def test_without_a_session_there_is_no_short_term_vector(collection):
    retriever = over(collection)
    retriever.feedback(retriever.invoke(QUERY, user_id="ana")[0], 1.0, user_id="ana")
    assert {fact["short"] for fact in why(retriever.invoke(QUERY, user_id="ana"))} == {0.0}
    assert any(fact["long"] for fact in why(retriever.invoke(QUERY, user_id="ana")))


def test_vectors_that_are_not_of_unit_length_are_told_at_construction(caplog):
    collection = create("l2")
    collection.add(ids=["a"], embeddings=[3.0 * vector(1)])
    over(collection, embeddings=Given(vector(2)))
    assert "not of length 1" in warnings_in(caplog)[0]
