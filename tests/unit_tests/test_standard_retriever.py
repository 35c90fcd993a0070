"""LangChain's own tests for retrievers, for each kind of source."""

from __future__ import annotations

import uuid
import warnings
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests
from langgraph.store.memory import InMemoryStore

from langchain_persona.memory import PersonaMemory
from langchain_persona.retrieval import VARSRetriever
from langchain_persona.testing import HashEmbeddings

TEXTS = ["a film about the sea", "a film about horses", "a book about the sea", "a song", "a walk in the rain"]
DOCUMENTS = [Document(text, metadata={"number": number}) for number, text in enumerate(TEXTS)]
MODEL = HashEmbeddings(32)


class Standard(RetrieversIntegrationTests):
    """What is the same for all sources."""

    @property
    def retriever_constructor(self) -> type[VARSRetriever]:
        return VARSRetriever

    @property
    def retriever_query_example(self) -> str:
        return "a film for tonight"

    def of(self, vectorstore: Any, **options: Any) -> dict[str, Any]:
        return {"vectorstore": vectorstore, "memory": PersonaMemory(InMemoryStore()), "user_id": "ana", **options}

    @pytest.fixture(autouse=True)
    def _never_empty(self, retriever: VARSRetriever) -> None:
        """The suite itself would not notice a retriever that finds nothing and is asked for nothing."""
        assert len(retriever.invoke(self.retriever_query_example)) > 0


class TestLangChainsChroma(Standard):
    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        chromadb, chroma = pytest.importorskip("chromadb"), pytest.importorskip("langchain_chroma")
        store = chroma.Chroma(f"t{uuid.uuid4().hex}", MODEL, client=chromadb.EphemeralClient())
        store.add_documents(DOCUMENTS)
        return self.of(store)


class TestRawCollection(Standard):
    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        chromadb = pytest.importorskip("chromadb")
        collection = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
        collection.add(ids=list("abcde"), documents=TEXTS, embeddings=MODEL.embed_documents(TEXTS))
        return self.of(collection, embeddings=MODEL)


class TestInMemoryVectorStore(Standard):
    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return self.of(InMemoryVectorStore.from_documents(DOCUMENTS, MODEL))


class TestFaiss(Standard):
    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        pytest.importorskip("faiss")
        with warnings.catch_warnings():  # the package announces its end
            warnings.simplefilter("ignore", DeprecationWarning)
            vectorstores = pytest.importorskip("langchain_community.vectorstores")
            return self.of(vectorstores.FAISS.from_documents(DOCUMENTS, MODEL))


class TestQdrant(Standard):
    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        qdrant = pytest.importorskip("langchain_qdrant")
        return self.of(qdrant.QdrantVectorStore.from_documents(DOCUMENTS, MODEL, location=":memory:"))


class TestCards(Standard):
    @property
    def retriever_constructor(self) -> Any:
        return lambda memory, **options: memory.as_retriever(**options)

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        memory = PersonaMemory(InMemoryStore(), MODEL)
        for text in TEXTS:
            memory.remember("ana", text)
        return {"memory": memory, "user_id": "ana"}
