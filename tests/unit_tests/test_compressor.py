"""`PersonalizedCompressor`: what any retriever found, in the order for this user."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import numpy as np
import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph
from langgraph.store.memory import InMemoryStore

from langchain_persona.errors import ConfigError
from langchain_persona.memory import PersonaMemory
from langchain_persona.retrieval import PersonalizedCompressor
from langchain_persona.testing import HashEmbeddings
from tests.retrievals import FREE, MODEL, QUERY, TEXTS, VECTORS, D, FailingStore, ids, liking, run, warnings_in, why

MODES = pytest.mark.parametrize("mode", ["sync", "async"])

FOUND = [Document(TEXTS[name], id=name, metadata={"by": "bm25"}) for name in ("d07", "d00", "d13", "d10", "d02")]
"""Not in the order of any cosine."""


def compress(compressor: PersonalizedCompressor, mode: str, docs: Any = FOUND) -> list[Document]:
    if mode == "async":
        return run(lambda: compressor.acompress_documents(docs, QUERY))
    return compressor.compress_documents(docs, QUERY)


def order(memory: PersonaMemory, mode: str, **options: Any) -> list[str]:
    return ids(compress(PersonalizedCompressor(memory=memory, embeddings=MODEL, user_id="ana", **options), mode))


@MODES
def test_law_1_a_user_without_feedback_gets_the_documents_as_they_came(mode):
    memory = PersonaMemory(InMemoryStore(), MODEL)
    for user in ("ana", None):
        docs = compress(PersonalizedCompressor(memory=memory, user_id=user), mode)
        assert ids(docs) == ids(FOUND)
        assert [doc.page_content for doc in docs] == [doc.page_content for doc in FOUND]
        assert {doc.metadata["by"] for doc in docs} == {"bm25"}
    assert order(memory, mode, k=2) == ["d07", "d00"]
    assert order(liking("d02"), mode, strength=0.0) == ids(FOUND)
    assert compress(PersonalizedCompressor(memory=memory), mode, []) == []
    assert "persona" not in FOUND[0].metadata


@MODES
def test_what_the_user_likes_comes_first_and_the_order_of_the_host_counts(mode):
    assert order(liking("d02"), mode, strength=3.0)[0] == "d02"
    docs = compress(PersonalizedCompressor(memory=liking("d02"), embeddings=MODEL, user_id="ana"), mode)
    facts = {doc.id: fact for doc, fact in zip(docs, why(docs), strict=True)}
    assert [facts[name]["candidate_rank"] for name in ids(FOUND)] == [1, 2, 3, 4, 5]
    cosines = sorted((VECTORS[name] @ np.asarray(MODEL.embed_query(QUERY)) for name in ids(FOUND)), reverse=True)
    assert [facts[name]["base"] for name in ids(FOUND)] == pytest.approx(cosines)
    assert max(abs(fact["long"]) for fact in facts.values()) <= 0.75
    # a small bonus moves little
    assert order(liking("d02", size=0.01), mode) == ids(FOUND)


@MODES
def test_it_learns_like_the_retriever(mode):
    memory = PersonaMemory(InMemoryStore(), MODEL, config=FREE)
    compressor = PersonalizedCompressor(memory=memory, user_id="ana", strength=10.0)
    last = compress(compressor, mode)[-1]
    receipt = memory.feedback("ana", why([last])[0]["retrieval_id"], reward=1.0, docs=last)
    assert receipt.applied
    assert memory.ratings("ana")[0].titles == (last.page_content,)
    assert ids(compress(compressor, mode)).index(last.id) < 4
    memory.withdraw("ana", receipt.id)
    assert ids(compress(compressor, mode)) == ids(FOUND)


class Fixed(BaseRetriever):
    """Finds the same for everybody."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return FOUND


class State(TypedDict, total=False):
    docs: Annotated[list[Document], operator.add]


@MODES
def test_it_finds_its_user_in_a_chain_and_in_a_graph(mode):
    ours = PersonalizedCompressor(memory=liking("d02"), embeddings=MODEL, strength=3.0)
    retriever = ContextualCompressionRetriever(base_retriever=Fixed(), base_compressor=ours)
    chain, config = RunnableLambda(str) | retriever, {"configurable": {"user_id": "ana"}}

    def node(state: State) -> State:
        return {"docs": retriever.invoke(QUERY)}

    async def anode(state: State) -> State:
        return {"docs": await retriever.ainvoke(QUERY)}

    builder = StateGraph(State)
    builder.add_node("node", anode if mode == "async" else node)
    builder.add_edge(START, "node")
    graph = builder.compile()
    if mode == "async":
        docs = [
            run(lambda: chain.ainvoke(QUERY, config)),
            run(lambda: graph.ainvoke({}, context={"user_id": "ana"}))["docs"],
        ]
        nobody = run(lambda: chain.ainvoke(QUERY))
    else:
        docs = [chain.invoke(QUERY, config), graph.invoke({}, context={"user_id": "ana"})["docs"]]
        nobody = chain.invoke(QUERY)
    assert [ids(some)[0] for some in docs] == ["d02", "d02"]
    assert ids(nobody) == ids(FOUND)
    assert {fact["retrieval_id"] for fact in why(nobody)} == {None}


@MODES
def test_law_3_whatever_fails_the_documents_stay(mode, caplog):
    class Mute(HashEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            raise ConnectionError("gone")

    class Half(HashEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise ConnectionError("gone")

    broken = PersonaMemory(FailingStore(at=1, for_good=True), MODEL)
    for memory, model in ((liking("d02"), Mute(D)), (liking("d02"), Half(D)), (broken, MODEL)):
        caplog.clear()
        docs = compress(PersonalizedCompressor(memory=memory, embeddings=model, user_id="ana"), mode)
        assert ids(docs) == ids(FOUND)
        assert len(warnings_in(caplog)) == 1


def test_what_cannot_work_is_refused():
    memory = PersonaMemory(InMemoryStore(), MODEL)
    for wrong in ({}, {"memory": None}, {"memory": memory, "n": 3}):
        with pytest.raises(ConfigError, match=r"memory|embeddings=model|no argument 'n'"):
            PersonalizedCompressor(**wrong)
    with pytest.raises(ConfigError, match="embeddings=model"):
        PersonalizedCompressor(memory=PersonaMemory(InMemoryStore()))
    for wrong, says in (
        ({"k": 0}, "k must be"),
        ({"strength": 11}, "strength must be"),
        ({"max_bonus": -1}, "max_bonus"),
    ):
        with pytest.raises(ConfigError, match=says):
            PersonalizedCompressor(memory=memory, **wrong)
