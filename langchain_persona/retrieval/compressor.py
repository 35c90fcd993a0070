"""`PersonalizedCompressor`: what any retriever found, in the order for this user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import ensure_config
from pydantic import ConfigDict, InstanceOf, PrivateAttr, SkipValidation, ValidationError

from langchain_persona.errors import ConfigError
from langchain_persona.identity import Identity, User, resolve_identity
from langchain_persona.learning import Vector
from langchain_persona.memory import PersonaMemory
from langchain_persona.retrieval.retriever import VARSRetriever, refusal
from langchain_persona.retrieval.sources import Candidates, Source, TextVectors, measure


class PersonalizedCompressor(BaseDocumentCompressor):
    """Re-ranks what any retriever found, for hosts whose retriever cannot be replaced (BM25, hybrid, a web search).

    The order in which the documents come is kept as their relevance: the first is given the highest cosine to the query
    among them, and so on. The user's bonus is added to that. A user without feedback gets the documents as they came.

    Attributes:
        memory: a `PersonaMemory`.
        embeddings: embeds the query and the documents' texts, each text once; by default the memory's model.
        k: documents to return; None is all.
        strength, max_bonus, timeout_seconds: as in `VARSRetriever`.
        user_id: the user. By default the one whom the config of the surrounding chain or graph names.

    Example:
        >>> ours = PersonalizedCompressor(memory=memory)  # doctest: +SKIP
        >>> retriever = ContextualCompressionRetriever(base_retriever=bm25, base_compressor=ours)  # doctest: +SKIP
        >>> chain = RunnableLambda(str) | retriever  # doctest: +SKIP
        >>> chain.invoke("a film", {"configurable": {"user_id": "ana"}})  # doctest: +SKIP

    In a chain, as above, and in a function that is a LangGraph node the config is found. Where
    `ContextualCompressionRetriever` is called by itself, or stands in a chain that is a node, give `user_id`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    memory: InstanceOf[PersonaMemory]
    embeddings: SkipValidation[Embeddings | None] = None
    k: SkipValidation[int | None] = None
    strength: SkipValidation[float | None] = None
    max_bonus: SkipValidation[float | None] = None
    timeout_seconds: SkipValidation[float | None] = None
    user_id: SkipValidation[User | None] = None

    _texts: TextVectors = PrivateAttr()

    def __init__(self, **arguments: Any) -> None:
        try:
            super().__init__(**arguments)
        except ValidationError as error:
            raise refusal(type(self), error) from None
        model = self.embeddings or self.memory.embeddings
        if not isinstance(model, Embeddings):
            raise ConfigError("a compressor needs a model: PersonalizedCompressor(memory=memory, embeddings=model)")
        self._texts = TextVectors(model)
        self._retriever([])

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """The documents in the order for the user; as they came, where the query cannot be embedded."""
        found = documents and self._retriever(documents).rank_for(query, self._identity())
        return list(found or documents[: self.k])

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Async twin of `compress_documents`."""
        found = documents and await self._retriever(documents).arank_for(query, self._identity())
        return list(found or documents[: self.k])

    def _identity(self) -> Identity:
        return resolve_identity(ensure_config(), default_user=self.user_id, trust=self.memory.trust)

    def _retriever(self, documents: Sequence[Document]) -> VARSRetriever:
        return VARSRetriever(
            vectorstore=_Found(documents, self._texts),
            memory=self.memory,
            k=max(len(documents), 1) if self.k is None else self.k,
            **{name: getattr(self, name) for name in ("strength", "max_bonus", "timeout_seconds", "user_id")},
        )


class _Found(Source):
    """The documents that another retriever found, in its order."""

    name = "compressor"

    def __init__(self, documents: Sequence[Document], texts: TextVectors) -> None:
        self.embeddings, self._documents, self._texts = texts.embeddings, documents, texts

    def search(self, query: Vector, k: int, *, filter: Any = None, shift: Vector | None = None) -> Candidates:
        found = measure(self._documents, query, self._texts.of)
        return replace(found, relevance=np.sort(found.relevance)[::-1])

    def sample(self, n: int, filter: Any = None) -> Vector:
        return self._texts.of(self._documents[:n])
