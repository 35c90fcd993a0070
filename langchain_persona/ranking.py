"""A pool of candidates, their exact personalised scores, and the choice of what is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.documents import Document

from langchain_persona.arrays import Vector

__all__ = ["Pool", "Scored", "mmr_order"]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The candidates of one query.

    Attributes:
        ids, texts, metadatas: in the order of the source: nearest to the folded query first.
        embeddings: unit vectors, shape (n, d).
        base: plain relevance `s_0` to the original query, shape (n,).
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    metadatas: tuple[Mapping[str, Any], ...]
    embeddings: Vector
    base: Vector

    @classmethod
    def empty(cls, dimension: int) -> Pool:
        """No candidates."""
        return cls((), (), (), np.zeros((0, dimension)), np.zeros(0))

    def __len__(self) -> int:
        """Number of candidates."""
        return len(self.ids)

    def document(self, index: int, **extra: object) -> Document:
        """One candidate as a new document; `extra` is added to its metadata."""
        return Document(id=self.ids[index], page_content=self.texts[index], metadata={**self.metadatas[index], **extra})

    def led_by(self, first: Pool) -> Pool:
        """`first`, and behind it what only this pool has."""
        known = set(first.ids)
        rest = [index for index, name in enumerate(self.ids) if name not in known]
        return Pool(
            (*first.ids, *(self.ids[index] for index in rest)),
            (*first.texts, *(self.texts[index] for index in rest)),
            (*first.metadatas, *(self.metadatas[index] for index in rest)),
            np.concatenate([first.embeddings, self.embeddings[rest]]),
            np.concatenate([first.base, self.base[rest]]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Scores of a pool: `total = base + long + short`, each of shape (n,).

    Attributes:
        base: relevance, or the reranker's score.
        long, short: the two parts of the bonus.
    """

    base: Vector
    long: Vector
    short: Vector

    @property
    def total(self) -> Vector:
        """The personalised score."""
        return self.base + self.long + self.short

    def base_ranks(self) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Rank of every candidate by `base` alone, from 1; ties keep the order of the source."""
        ranks = np.empty(len(self.base), dtype=np.intp)
        ranks[np.argsort(-self.base, kind="stable")] = np.arange(1, len(self.base) + 1)
        return ranks

    def order(self) -> list[int]:
        """Positions, best first; ties keep the order of the source."""
        return [int(position) for position in np.argsort(-self.total, kind="stable")]


def mmr_order(scores: Vector, embeddings: Vector, *, k: int, lambda_mult: float) -> list[int]:
    """Maximal marginal relevance on given scores: positions of `k` candidates, best first.

    Each step takes the candidate with the largest `λ · score − (1 − λ) · max cos(candidate, taken)`.

    Args:
        scores: personalised scores, shape (n,).
        embeddings: unit vectors, shape (n, d).
        k: how many.
        lambda_mult: 1 is pure score, 0 pure diversity.

    Source: Carbonell and Goldstein, SIGIR 1998.

    Example:
        >>> mmr_order(
        ...     np.array([1.0, 0.9, 0.5]),
        ...     np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
        ...     k=2,
        ...     lambda_mult=0.5,
        ... )
        [0, 2]
    """
    taken: list[int] = []
    closest = np.full(len(scores), -np.inf)
    while len(taken) < min(k, len(scores)):
        penalty = np.where(np.isfinite(closest), closest, 0.0)
        value = lambda_mult * scores - (1.0 - lambda_mult) * penalty
        value[taken] = -np.inf
        best = int(np.argmax(value))
        taken.append(best)
        closest = np.maximum(closest, np.einsum("nd,d->n", embeddings, embeddings[best]))
    return taken
