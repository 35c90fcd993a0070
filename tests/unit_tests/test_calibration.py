"""The scale of a bonus beside a reranker: rerankers that say the same on other scales give the same personal order."""

from __future__ import annotations

import uuid
from typing import Any

import chromadb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from langchain_persona.learning import scale_of
from langchain_persona.learning.calibration import MIN_SPREAD
from langchain_persona.memory import PersonaMemory
from langchain_persona.retriever import VARSRetriever
from langchain_persona.testing import HashEmbeddings
from langchain_persona.vectors import UserVectors

D = 16
MODEL = HashEmbeddings(D)
TEXTS = {f"d{number:02}": f"document number {number}" for number in range(20)}
QUERY = "a document"


class Known(PersonaMemory):
    """Every user likes the same direction."""

    taste = np.random.default_rng(3).normal(size=D)

    def user_vectors(self, user, session, embedding, dimension):
        yield from ()
        return UserVectors(self.taste, 0.5 * np.roll(self.taste, 1), count=3)


@pytest.fixture(scope="module")
def collection() -> chromadb.Collection:
    made = chromadb.EphemeralClient().create_collection(
        f"t{uuid.uuid4().hex}", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    made.add(ids=list(TEXTS), documents=list(TEXTS.values()), embeddings=MODEL.embed_documents(list(TEXTS.values())))
    return made


def over(collection: Any, **options: Any) -> VARSRetriever:
    return VARSRetriever(
        vectorstore=collection, embeddings=MODEL, memory=Known(InMemoryStore()), **{"k": 8, "user_id": "ana", **options}
    )


def test_the_scale_is_the_ratio_of_the_spreads():
    assert scale_of([-10.0, 0.0, 10.0], [0.4, 0.5, 0.6]) == pytest.approx(100.0)
    assert scale_of([0.4, 0.5, 0.6], [0.4, 0.5, 0.6]) == pytest.approx(1.0)
    # near duplicates make no huge scale
    assert scale_of([0.0, 1.0, 2.0], [0.5, 0.5, 0.5]) == pytest.approx(np.std([0.0, 1.0, 2.0]) / MIN_SPREAD)


@pytest.mark.parametrize("scores", [[], [1.0], [0.0, 9.0], [0.3, 0.3, 0.3], [1e6 + 0.1] * 7])
def test_without_a_spread_to_speak_of_the_bonus_is_out_of_play(scores):
    assert scale_of(scores, [0.1 * number for number in range(len(scores))]) == 0.0


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 30),
    gain=st.sampled_from([1e-3, 0.05, 1.0, 10.0, 1e3]),
    offset=st.floats(-100, 100),
)
def test_the_scale_follows_the_scores_and_not_their_offset(seed, n, gain, offset):
    rng = np.random.default_rng(seed)
    scores, cosines = rng.normal(size=n), rng.normal(size=n)
    assert scale_of(gain * scores + offset, cosines) == pytest.approx(gain * scale_of(scores, cosines), rel=1e-6)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    gain=st.sampled_from([0.01, 0.5, 7.0, 1_000.0]),
    offset=st.sampled_from([-500.0, -1.0, 0.0, 3.0, 400.0]),
    strength=st.sampled_from([0.3, 1.0, 4.0]),
)
def test_affine_scores_give_one_personalised_order(collection, seed, gain, offset, strength):
    scores = dict(zip(TEXTS.values(), np.random.default_rng(seed).normal(size=len(TEXTS)), strict=True))

    def order(a: float, b: float) -> list[str]:
        def reranker(query: str, docs: Any) -> list[float]:
            return [a * scores[doc.page_content] + b for doc in docs]

        docs = over(collection, reranker=reranker, strength=strength).invoke(QUERY)
        for doc in docs:
            why = doc.metadata["persona"]
            assert why["score"] == why["base"] + why["long"] + why["short"]
            assert why["base"] == pytest.approx(a * scores[doc.page_content] + b)
        return [str(doc.id) for doc in docs]

    assert order(gain, offset) == order(1.0, 0.0)


@pytest.mark.parametrize("gain", [0.01, 1.0, 1_000.0])
def test_law_2_the_cap_is_on_the_scale_of_the_reranker(collection, gain):
    def reranker(query: str, docs: Any) -> list[float]:
        return [gain * len(TEXTS) * int(doc.id[1:]) for doc in docs]

    retriever = over(collection, reranker=reranker, k=20, fetch_k=20, max_bonus=0.3, strength=2.0)
    facts = [doc.metadata["persona"] for doc in retriever.invoke(QUERY)]
    plain = over(collection, k=20, strength=0.0).invoke(QUERY)
    scale = scale_of([fact["base"] for fact in facts], [doc.metadata["persona"]["base"] for doc in plain])
    largest = max(abs(fact["long"] + fact["short"]) for fact in facts)
    assert 0.0 < largest <= 2.0 * 0.3 * scale * (1 + 1e-9)


def test_two_candidates_have_no_scale_and_the_reranker_alone_decides(collection):
    def reranker(query: str, docs: Any) -> list[float]:
        return [float(doc.id[1:]) for doc in docs]

    docs = over(collection, reranker=reranker, filter=None, k=1, fetch_k=2).invoke(QUERY)
    assert docs[0].metadata["persona"]["long"] == 0.0
    assert docs[0].metadata["persona"]["base_rank"] == 1
    drawn = over(collection, reranker=lambda q, docs: [0.5] * len(docs), explore=0.1, k=3).invoke(QUERY)
    assert {doc.metadata["persona"]["score"] for doc in drawn} == {0.5}


def test_what_is_learned_does_not_hang_on_the_units_of_a_reranker(collection):
    def kept(gain: float) -> list[float]:
        retriever = over(collection, reranker=lambda q, docs: [gain * float(doc.id[1:]) for doc in docs])
        retriever.invoke(QUERY)
        (item,) = retriever.memory.store.search(("persona",))
        return item.value["probabilities"]

    assert kept(1_000.0) == pytest.approx(kept(1.0))
