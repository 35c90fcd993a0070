"""An embedding model: its name, its vectors within a deadline as NumPy arrays, and as a record holds them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from langchain_core.embeddings import Embeddings

from langchain_persona.errors import ConfigError, CorruptRecordError
from langchain_persona.learning.arrays import HALF, Vector, decode_vectors, encode_vectors, unit
from langchain_persona.resilience import acall, await_within, call_within, storable


def embedding_name(embeddings: object, dimension: int) -> str:
    """A name for an embedding model, of class, model and dimension, so that vectors of two models are never mixed.

    Example:
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> embedding_name(DeterministicFakeEmbedding(size=8), 8)
        'DeterministicFakeEmbedding/8'
    """
    while (wrapped := getattr(embeddings, "underlying_embeddings", None)) is not None:
        embeddings = wrapped  # a cache around a model makes the same vectors
    names = (getattr(embeddings, attribute, None) for attribute in ("model", "model_name", "model_id", "deployment"))
    model = next((name for name in names if isinstance(name, str) and name), None)
    return "/".join(part for part in (type(embeddings).__name__, model, str(dimension)) if part)


class Embedder:
    """An embedding model; without one every call raises `ConfigError`. The deadline is for each 32 texts begun."""

    def __init__(self, model: Embeddings | None, timeout_seconds: float) -> None:
        self._model = model
        self._timeout_seconds = timeout_seconds

    @property
    def has_model(self) -> bool:
        """Whether there is a model."""
        return self._model is not None

    @property
    def model(self) -> Embeddings:
        """The model."""
        if self._model is None:
            raise ConfigError("this memory has no embedding model: PersonaMemory(store, embeddings=model)")
        return self._model

    def embed_query(self, text: str) -> Vector:
        """The embedding of a text as the model gives it, shape (d,)."""
        text = storable(text)
        return np.asarray(call_within(self._timeout_seconds, lambda: self.model.embed_query(text)), dtype=np.float64)

    async def aembed_query(self, text: str) -> Vector:
        """Async twin of `embed_query`."""
        text = storable(text)
        own = type(self.model).aembed_query is not Embeddings.aembed_query
        found = self.model.aembed_query(text) if own else acall(lambda: self.model.embed_query(text))
        return np.asarray(await await_within(self._timeout_seconds, found), dtype=np.float64)

    def embed_documents(self, texts: Sequence[str]) -> Vector:
        """Unit embeddings of texts, shape (n, d)."""
        seconds, given = self._timeout_seconds * (1 + len(texts) // 32), list(map(storable, texts))
        return unit(call_within(seconds, lambda: self.model.embed_documents(given)))

    def encode(self, rows: Vector) -> dict[str, str]:
        """The fields `vector` and `embedding` of a record, of unit vectors of shape (d,) or (n, d)."""
        return {"vector": encode_vectors(rows, HALF), "embedding": embedding_name(self.model, rows.shape[-1])}

    def decode(self, vector: str, embedding: str) -> Vector:
        """The vectors of a record, of length 1 but for rounding, shape (n, d); (0, 0) for none of this model."""
        size = embedding.rpartition("/")[2]
        if self.has_model and vector and size.isdigit() and embedding == embedding_name(self.model, int(size)):
            try:
                return decode_vectors(vector, int(size), HALF)
            except CorruptRecordError:
                pass
        return np.zeros((0, 0))
