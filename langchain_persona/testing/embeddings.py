"""Embeddings without a model: the same text gives the same vector on every machine."""

from __future__ import annotations

import hashlib
import re

import numpy as np
from langchain_core.embeddings import Embeddings

from langchain_persona.arrays import Vector, unit
from langchain_persona.errors import ConfigError

__all__ = ["HashEmbeddings"]


class HashEmbeddings(Embeddings):
    """Deterministic embeddings without a model: each word is a fixed random direction, a text their normalised sum.

    Texts that share words are similar; that is all it knows. No download, no state, the same on every machine.

    Args:
        dimension: numbers in a vector.

    Example:
        >>> HashEmbeddings(8).embed_query("a film") == HashEmbeddings(8).embed_documents(["a film"])[0]
        True
    """

    def __init__(self, dimension: int = 64) -> None:
        if dimension < 1:
            raise ConfigError(f"dimension must be at least 1, got {dimension}")
        self.dimension = dimension
        self.model = f"hash-{dimension}"

    def embed_query(self, text: str) -> list[float]:
        """One unit vector."""
        total = np.sum([self._word(word) for word in re.findall(r"\w+", text.lower()) or [""]], axis=0)
        return [float(number) for number in unit(total)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One unit vector a text."""
        return [self.embed_query(text) for text in texts]

    def _word(self, word: str) -> Vector:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).normal(size=self.dimension)
