"""The exact personalised score of a pool of candidates, and the choice of what is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from langchain_persona.arrays import Vector

__all__ = ["Scored", "mmr_order"]


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
