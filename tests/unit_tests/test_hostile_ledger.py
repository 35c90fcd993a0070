"""A hostile ledger: thumbs of a bot move nothing past the cap, and taking them back restores the ranking."""

from __future__ import annotations

from collections.abc import Callable

import chromadb
import numpy as np
import pytest
from langgraph.store.memory import InMemoryStore

from langchain_persona.learning import VARSConfig
from langchain_persona.memory import PersonaMemory
from langchain_persona.retrieval import VARSRetriever
from langchain_persona.testing import HashEmbeddings
from tests.memories import MODEL as SMALL
from tests.memories import Clock, Watched, show
from tests.retrievals import create

THUMBS = 200
MODEL = HashEmbeddings(32)
TEXTS = {f"d{number:02}": f"document {number} on subject {number % 7}" for number in range(60)}
QUERIES = ("a document", "subject 3", "something on subject 5", "document 12")
Bot = Callable[[int], float]
BOTS: dict[str, Bot] = {
    "all up": lambda _: 1.0,
    "alternating": lambda number: (-1.0) ** number,
    "up first, down later": lambda number: 1.0 if number < THUMBS // 2 else -1.0,
}
CONFIGS = [VARSConfig(), VARSConfig(spread=1e6), VARSConfig.paper(), VARSConfig.simplified()]


@pytest.fixture(scope="module")
def collection() -> chromadb.Collection:
    texts = list(TEXTS.values())
    return create(ids=list(TEXTS), documents=texts, embeddings=MODEL.embed_documents(texts))


def ranking(retriever: VARSRetriever) -> list[list[tuple[str | None, float]]]:
    """Every document with its score, for every query, in a session of the attack and in a new one."""
    return [
        [
            (doc.id, doc.metadata["persona"]["score"])
            for doc in retriever.invoke(query, user_id="ana", session_id=session)
        ]
        for query in QUERIES
        for session in ("s1", "s9")
    ]


@pytest.mark.parametrize(
    ("config", "bot"),
    [(CONFIGS[0], bot) for bot in BOTS] + list(zip(CONFIGS[1:], BOTS, strict=True)),
    ids=lambda value: value if isinstance(value, str) else f"{type(value.rule).__name__}-{value.spread:g}",
)
def test_the_thumbs_of_a_bot_stay_below_the_cap_and_can_be_taken_back(collection, bot, config):
    memory = PersonaMemory(InMemoryStore(), config=config)
    retriever = VARSRetriever(vectorstore=collection, embeddings=MODEL, memory=memory, k=len(TEXTS))
    for number, doc in enumerate(retriever.invoke(QUERIES[0], user_id="ana", session_id="s0")[:6]):
        retriever.feedback(doc, 1.0 if number % 2 else -0.5, user_id="ana")
    before = ranking(retriever)

    shown = [doc for query in QUERIES for doc in retriever.invoke(query, user_id="ana", session_id="s1", k=5)]
    receipts = [
        retriever.feedback(shown[number % len(shown)], BOTS[bot](number), user_id="ana") for number in range(THUMBS)
    ]
    assert all(receipt.applied for receipt in receipts)
    for strength in (0.5, 3.0):
        for query in QUERIES:
            for doc in retriever.invoke(query, user_id="ana", session_id="s1", strength=strength):
                why = doc.metadata["persona"]
                assert abs(why["long"] + why["short"]) <= strength * config.max_bonus + 1e-9
                assert np.isfinite(why["score"])

    for receipt in receipts:
        assert memory.withdraw("ana", receipt.id).applied
    assert ranking(retriever) == before


def test_a_graph_that_delivers_a_thumb_again_much_later_counts_it_once(monkeypatch):
    clock, memory = Clock(monkeypatch), PersonaMemory(Watched(), SMALL)
    shown = show(memory, now=clock.now)
    for wait in (10.0, 10.0, 800.0, 800.0):
        clock.now += wait
        reading = memory.turns.read("ana", retrieval_ids=[shown.id]).feedback
        memory.ledger.feedback("ana", shown.id, 1.0, key="turn:thumbs", reading=reading)
        assert memory.vectors("ana").count == 1
    assert memory.rebuild("ana").count == 1
