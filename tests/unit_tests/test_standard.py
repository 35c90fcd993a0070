"""LangChain's own tests for retrievers, for each of the three sources."""

from __future__ import annotations

import uuid
from typing import Any

import chromadb
import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_tests.integration_tests import RetrieversIntegrationTests
from langgraph.store.memory import InMemoryStore

from langchain_persona.memory import PersonaMemory
from langchain_persona.retriever import VARSRetriever
from langchain_persona.testing import HashEmbeddings

TEXTS = ["a film about the sea", "a film about horses", "a book about the sea", "a song", "a walk in the rain"]
MODEL = HashEmbeddings(32)


class Standard(RetrieversIntegrationTests):
    """What is the same for all sources."""

    @property
    def retriever_constructor(self) -> type[VARSRetriever]:
        return VARSRetriever

    @property
    def retriever_query_example(self) -> str:
        return "a film for tonight"

    @pytest.fixture(autouse=True)
    def _never_empty(self, retriever: VARSRetriever) -> None:
        """The suite itself would not notice a retriever that finds nothing and is asked for nothing."""
        assert len(retriever.invoke(self.retriever_query_example)) > 0


class TestLangChainsChroma(Standard):
    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        store = Chroma(f"t{uuid.uuid4().hex}", MODEL, client=chromadb.EphemeralClient())
        store.add_documents([Document(text, metadata={"number": number}) for number, text in enumerate(TEXTS)])
        return {"vectorstore": store, "memory": PersonaMemory(store=InMemoryStore()), "user_id": "ana"}


class TestRawCollection(Standard):
    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        collection = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
        collection.add(ids=list("abcde"), documents=TEXTS, embeddings=MODEL.embed_documents(TEXTS))
        return {"vectorstore": collection, "embeddings": MODEL, "memory": PersonaMemory(store=InMemoryStore())}


class TestCards(Standard):
    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        collection = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
        memory = PersonaMemory(store=InMemoryStore(), cards=collection, embeddings=MODEL)
        for text in TEXTS:
            memory.remember("ana", text)
        return {"memory": memory, "user_id": "ana"}
