"""Sources of documents: any LangChain vector store, cards, and what is refused."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable
from typing import Any

import chromadb
import numpy as np
import pytest
from chromadb.api.models.AsyncCollection import AsyncCollection
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_qdrant import QdrantVectorStore
from langgraph.store.memory import InMemoryStore
from qdrant_client import models

from langchain_persona.errors import ConfigError, DimensionMismatchError
from langchain_persona.memory import PersonaMemory
from langchain_persona.retrieval import Source, VARSRetriever, sources
from langchain_persona.retrieval.sources import source_of
from langchain_persona.testing import HashEmbeddings, check_source
from tests.retrievals import (
    FREE,
    MODEL,
    QUERY,
    TEXTS,
    VECTORS,
    D,
    Known,
    films,
    found,
    ids,
    liking,
    record,
    vector,
    warnings_in,
    why,
)

with warnings.catch_warnings():  # the package announces its end
    warnings.simplefilter("ignore", DeprecationWarning)
    from langchain_community.vectorstores import FAISS

MODES = pytest.mark.parametrize("mode", ["sync", "async"])
Make = Callable[..., VectorStore]


class Counting(HashEmbeddings):
    """Counts the texts that it embeds as documents."""

    def __init__(self, dimension: int = D) -> None:
        super().__init__(dimension)
        self.texts: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.texts += texts
        return super().embed_documents(texts)


def documents(*, names: bool = True) -> list[Document]:
    return [
        Document(text, id=name if names else None, metadata={"number": number})
        for number, (name, text) in enumerate(TEXTS.items())
    ]


def in_memory(docs: list[Document], model: Embeddings = MODEL) -> VectorStore:
    return InMemoryVectorStore.from_documents(docs, model)


def faiss(docs: list[Document], model: Embeddings = MODEL) -> VectorStore:
    return FAISS.from_documents(docs, model, ids=[doc.id for doc in docs])


def qdrant(docs: list[Document], model: Embeddings = MODEL) -> VectorStore:
    names = [str(uuid.uuid5(uuid.NAMESPACE_OID, str(doc.id))) for doc in docs]  # Qdrant takes UUIDs only
    return QdrantVectorStore.from_documents(docs, model, location=":memory:", ids=names)


STORES = pytest.mark.parametrize("make", [in_memory, faiss, qdrant])


def under(store: VectorStore, memory: PersonaMemory | None = None, **options: Any) -> VARSRetriever:
    return VARSRetriever(vectorstore=store, memory=memory or PersonaMemory(InMemoryStore()), **options)


def texts(docs: list[Document]) -> list[str]:
    return [doc.page_content for doc in docs]


# any vector store -----------------------------------------------------------------------------------------------------


@STORES
def test_every_vector_store_gives_the_exact_personalised_ranking(make: Make):
    check_source(make(documents()), query=QUERY)


@pytest.mark.parametrize("space", ["cosine", "l2", "ip"])
def test_chroma_gives_the_exact_personalised_ranking(space, tmp_path):
    check_source(films(space), MODEL, query=QUERY)
    kept = chromadb.PersistentClient(str(tmp_path)).create_collection("films", embedding_function=None)
    texts = list(TEXTS.values())
    kept.add(ids=list(TEXTS), documents=texts, embeddings=MODEL.embed_documents(texts))
    check_source(Chroma("films", MODEL, client=chromadb.PersistentClient(str(tmp_path))), query=QUERY)


def test_a_source_that_cannot_be_ranked_is_told_what_it_lacks():
    class Plain(Own):
        def search(self, query, k, *, filter=None, shift=None):
            return super().search(query, k)

    with pytest.raises(AssertionError, match="a moved query does not find its nearest"):
        check_source(Plain())


@STORES
@MODES
def test_law_1_cold_start_equals_the_stores_own_search(make: Make, mode):
    """Also among many equal documents, of which an index may give others when it is asked for more."""
    twins = [Document(text, id=f"{name}{n}") for n in range(3) for name, text in TEXTS.items()]
    store = make(twins)
    for query in (QUERY, "film number 3", "snow", "", TEXTS["d05"]):
        for k in (1, 2, 4, 17, 60, 80):
            expected = store.similarity_search(query, k)
            for user in ("ana", ""):
                docs = found(under(store, k=k), mode, query, user_id=user)
                assert texts(docs) == texts(expected), (query, k, user)
                assert make is qdrant or ids(docs) == ids(expected), (query, k, user)
                assert {fact["long"] for fact in why(docs)} == {0.0}


def test_documents_without_an_id_get_one_from_their_text_and_qdrants_are_found(caplog):
    class Nameless(InMemoryVectorStore):
        def similarity_search_by_vector(self, embedding, k=4, **kwargs):
            return [doc.model_copy(update={"id": None}) for doc in super().similarity_search_by_vector(embedding, k)]

    class Remote(VectorStore):
        """A store that gives no ids."""

        def __init__(self) -> None:
            self.inner = Nameless.from_documents(documents(), MODEL)

        embeddings = MODEL

        def similarity_search(self, query, k=4, **kwargs):
            return self.similarity_search_by_vector(MODEL.embed_query(query), k)

        def similarity_search_by_vector(self, embedding, k=4, **kwargs):
            return self.inner.similarity_search_by_vector(embedding, k)

        @classmethod
        def from_texts(cls, *args, **kwargs):
            raise NotImplementedError

    first, second = (under(Remote(), user_id="ana").invoke(QUERY) for _ in range(2))
    assert ids(first) == ids(second)
    assert all(name.startswith("text-") for name in ids(first))
    retriever = under(Remote(), user_id="ana")
    assert retriever.feedback(retriever.invoke(QUERY)[1], 1.0).applied
    store = qdrant(documents())
    docs = under(store, user_id="ana").invoke(QUERY)
    assert ids(docs) == [doc.metadata["_id"] for doc in docs]
    assert warnings_in(caplog) == []


@MODES
def test_a_text_is_embedded_once(mode, monkeypatch):
    model = Counting()
    store = faiss(documents(), model)
    model.texts.clear()
    retriever = under(store, user_id="ana")
    found(retriever, mode)
    assert len(model.texts) == 12
    found(retriever, mode)
    found(retriever, mode, user_id="bob")
    assert len(model.texts) == 12
    monkeypatch.setattr(sources, "TEXTS", 5)
    found(retriever, mode, "something else")
    assert len(set(model.texts)) >= 12
    own = in_memory(documents(), Counting())
    own.embeddings.texts.clear()
    found(under(own, liking("d03")), mode, user_id="ana")
    assert own.embeddings.texts == []  # it gives its own vectors


@STORES
@MODES
def test_a_filter_is_passed_on_as_the_store_takes_it(make: Make, mode):
    three = {
        in_memory: lambda doc: doc.metadata["number"] < 3,
        faiss: lambda metadata: metadata["number"] < 3,
        qdrant: models.Filter(must=[models.FieldCondition(key="metadata.number", range=models.Range(lt=3))]),
    }[make]
    retriever = under(make(documents()), liking("d15"), k=9)
    for docs in (found(retriever, mode, user_id=user, filter=three) for user in ("ana", "")):
        assert {doc.metadata["number"] for doc in docs} == {0, 1, 2}
    assert found(under(make(documents()), filter=three, k=9), mode, user_id="ana", filter={}) != []


@MODES
def test_law_1_a_filter_that_few_documents_pass_is_asked_of_the_whole_of_faiss(mode):
    rare: Any = lambda metadata: metadata["number"] % 20 == 7  # noqa: E731
    store = faiss([Document(f"film {n} {n % 7}", id=f"d{n}", metadata={"number": n}) for n in range(400)])
    expected = store.as_retriever(search_kwargs={"k": 4, "filter": rare, "fetch_k": 400}).invoke(QUERY)
    retriever = under(store, k=4, filter=rare)
    for user in ("ana", ""):
        assert ids(found(retriever, mode, user_id=user)) == ids(expected)
    assert len(expected) == 4
    assert len(retriever.source.sample(64, rare)) >= 16


@STORES
def test_the_bonus_varies_no_more_than_a_share_of_relevance(make: Make):
    many = [Document(f"film {n} {word}", id=f"{n}{word}") for n in range(40) for word in ("sea", "sun", "rain")]
    retriever = under(make(many), Known(InMemoryStore()).know(5.0 * vector(8)), k=120)
    docs = retriever.invoke(QUERY, user_id="ana")
    facts = why(docs)
    ratio = np.std([fact["long"] for fact in facts]) / np.std([fact["base"] for fact in facts])
    assert 0.35 / 2 < ratio < 0.35 * 2  # of a sample of 64
    rows = retriever.source.sample(128)
    assert 32 <= len(rows) <= 64
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0)
    assert np.array_equal(rows, retriever.source.sample(128))


@STORES
@MODES
def test_a_wrong_dimension_is_refused_in_plain_words(make: Make, mode):
    retriever = under(make(documents()), embeddings=HashEmbeddings(D + 1))
    for user in ("ana", ""):
        with pytest.raises(DimensionMismatchError, match=f"vectors of {D + 1} numbers, the .* holds .*use the model"):
            found(retriever, mode, user_id=user)


@STORES
@MODES
def test_an_empty_store_gives_nothing(make: Make, mode, caplog):
    store = make(documents())
    store.delete([doc.metadata.get("_id", doc.id) for doc in store.similarity_search(QUERY, 20)])
    for memory in (None, liking("d03")):
        assert found(under(store, memory), mode, user_id="ana") == []
    assert warnings_in(caplog) == []


class Gone(InMemoryVectorStore):
    """Answers a number of queries, and none after that."""

    left = 0

    def similarity_search_by_vector(self, embedding, k=4, **kwargs):
        if type(self).left <= 0:
            raise ConnectionError("gone")
        type(self).left -= 1
        return super().similarity_search_by_vector(embedding, k, **kwargs)


@MODES
def test_law_3_a_store_that_is_gone(mode, caplog):
    for memory in (None, liking("d03")):
        caplog.clear()
        assert found(under(Gone.from_documents(documents(), MODEL), memory), mode, user_id="ana") == []
        assert len(warnings_in(caplog)) == 1


@MODES
def test_law_3_texts_that_cannot_be_embedded_leave_the_order_of_the_store(mode, caplog):
    class Fading(Counting):
        broken = False

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            if self.broken:
                raise ConnectionError("no answer")
            return super().embed_documents(texts)

    model = Fading()
    store = faiss(documents(), model)
    model.broken = True
    for memory in (None, liking("d03")):
        caplog.clear()
        docs = found(under(store, memory), mode, user_id="ana")
        assert len(docs) == 4
        assert {fact["retrieval_id"] for fact in why(docs)} == {None}
        assert {fact["score"] for fact in why(docs)} == {0.0}
        assert len(warnings_in(caplog)) == 1
    assert texts(found(under(store), mode, user_id="ana")) == texts(store.similarity_search(QUERY, 4))


@MODES
def test_law_3_a_second_query_that_fails_leaves_what_the_first_found(mode, caplog):
    class Faltering(FAISS):
        count = 0

        def similarity_search_with_score_by_vector(self, *args, **kwargs):
            self.count += 1
            if self.count > 1:
                raise ConnectionError("gone")
            return super().similarity_search_with_score_by_vector(*args, **kwargs)

    docs = found(under(Faltering.from_documents(documents(), MODEL)), mode, user_id="ana")
    assert texts(docs) == texts(faiss(documents()).similarity_search(QUERY, 4))
    assert len(warnings_in(caplog)) == 1


# what is refused ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_a_source_is_refused_with_the_line_to_write():
    collection = films()

    waiting = AsyncCollection(None, collection._model, embedding_function=None)
    for wrong, says in [
        (None, r"memory\.as_retriever\(\)"),
        (object(), "got object"),
        (collection, "embeddings=model"),
        (waiting, "async Chroma collection cannot be used; pass the sync one"),
        (
            in_memory(documents()).as_retriever(),
            "got VectorStoreRetriever; .* behind another retriever put PersonalizedCompressor",
        ),
    ]:
        with pytest.raises(ConfigError, match=says):
            source_of(wrong)


def test_a_hybrid_store_is_sent_to_the_compressor():
    store = qdrant(documents())
    store.retrieval_mode = type(store.retrieval_mode)("hybrid")
    with pytest.raises(ConfigError, match="PersonalizedCompressor behind"):
        under(store)


def test_a_store_that_cannot_be_searched_by_vector_is_sent_to_the_compressor():
    class Words(VectorStore):
        embeddings = MODEL

        def similarity_search(self, query, k=4, **kwargs):
            return documents()[:k]

        @classmethod
        def from_texts(cls, *args, **kwargs):
            raise NotImplementedError

    class Awaited(Words):
        async def asimilarity_search_by_vector(self, embedding, k=4, **kwargs):
            return documents()[:k]

    with pytest.raises(ConfigError, match=r"Words cannot be searched by vector.*; put PersonalizedCompressor behind"):
        under(Words())
    assert len(found(under(Awaited()), "async")) == 4


# a source of one's own ------------------------------------------------------------------------------------------------


class Own(Source):
    """The least that a source needs."""

    embeddings = MODEL

    def search(self, query, k, *, filter=None, shift=None):
        rows = np.array(list(VECTORS.values()))
        order = np.argsort(-(rows @ (query if shift is None else query + shift)))[:k]
        docs = documents()
        return sources.measure([docs[place] for place in order], query, lambda _: rows[order])


@MODES
def test_a_source_of_ones_own(mode):
    for memory in (PersonaMemory(InMemoryStore()), liking("d03", config=FREE)):
        own, chroma = (VARSRetriever(vectorstore=one, embeddings=MODEL, memory=memory) for one in (Own(), films()))
        assert ids(found(own, mode, user_id="ana")) == ids(found(chroma, mode, user_id="ana"))
    assert repr(own) == "<VARSRetriever source, k=4>"


# cards ----------------------------------------------------------------------------------------------------------------


@MODES
def test_cards_are_ranked_for_their_user_only(mode):
    memory = PersonaMemory(InMemoryStore(), MODEL)
    tea, _ = memory.remember("ana", "likes green tea"), memory.remember("ana", "has a dog")
    memory.remember("bob", "likes green tea too")
    retriever = memory.as_retriever(k=1)
    (doc,) = found(retriever, mode, "tea", user_id="ana")
    assert (doc.id, doc.page_content) == (tea.id, "likes green tea")
    assert set(doc.metadata) >= {"kind", "scope", "origin", "persona"}
    assert not {"vector", "evidence", "text"} & set(doc.metadata)
    assert found(retriever, mode, "tea") == []
    assert record(retriever, [doc]).titles == ()  # a card's text must not outlive the card
    retriever.feedback(doc, -1.0, user_id="ana")
    assert any(fact["long"] for fact in why(found(memory.as_retriever(k=2), mode, "tea", user_id="ana")))
    memory.hold_back("ana", tea.id)
    assert ids(found(retriever, mode, "tea", user_id="ana")) != [tea.id]
    assert repr(retriever) == "<VARSRetriever cards, k=1>"


def test_cards_are_filtered_by_equality():
    memory = PersonaMemory(InMemoryStore(), MODEL)
    cards = [memory.remember("ana", f"likes {text}") for text in list(TEXTS.values())[:3]]
    memory.pin("ana", cards[1].id)
    retriever = memory.as_retriever(user_id="ana")
    assert ids(retriever.invoke(QUERY, filter={"pinned": True})) == [cards[1].id]
    for wrong in ({"colour": "red"}, {"kind": {"$in": ["like"]}}, {"kind": ["like"]}):
        with pytest.raises(ConfigError, match="fields that are equal"):
            retriever.invoke(QUERY, filter=wrong)
    with pytest.raises(ConfigError, match="embeddings=model"):
        PersonaMemory(InMemoryStore()).as_retriever()


@MODES
def test_law_3_cards_without_a_store(mode, caplog):
    class Broken(InMemoryStore):
        def batch(self, ops):
            raise ConnectionError("gone")

    assert found(PersonaMemory(Broken(), MODEL).as_retriever(), mode, user_id="ana") == []
    assert len(warnings_in(caplog)) == 1
