"""Rankings: who comes first, how good that is, and how ties are broken."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["TOP", "ndcg", "ranked", "top"]

TOP = 10
"""How many of the first count."""

Scores = npt.NDArray[np.floating[Any]]
Places = npt.NDArray[np.intp]


def ranked(scores: Scores, tie: Places) -> Places:
    """All positions, the highest score first.

    Args:
        scores: shape (n,).
        tie: a rank of each item, shape (n,), each once: the lower comes first among equal scores; the same for all.
    """
    return np.lexsort((tie, -scores))


def top(scores: Scores, tie: Places, k: int = TOP) -> Places:
    """The first `k` positions of `ranked`, without sorting the rest."""
    k = min(k, scores.size)
    if k == 0:
        return np.zeros(0, dtype=np.intp)
    least = np.partition(scores, scores.size - k)[scores.size - k]
    kept = np.flatnonzero(scores >= least)
    first: Places = kept[ranked(scores[kept], tie[kept])][:k]
    return first


def ndcg(gains: npt.ArrayLike, total: int, k: int = TOP) -> float:
    """Normalised discounted cumulative gain, `Σ gain / log₂(rank + 1)` over that of the best order.

    Args:
        gains: 1 for what was wanted, else 0, in the order of the ranking, at least the first `k`.
        total: how many wanted items there are in all.
        k: ranks that count.

    Returns:
        From 0 to 1; NaN when nothing was wanted.

    Example:
        Wanted items at ranks 1 and 3 of three wanted: (1 + 1/2) / (1 + 1/log₂3 + 1/2) = .7039.
    """
    if total < 1:
        return float("nan")
    shown = np.asarray(gains, dtype=np.float64)[:k]
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    return float(shown @ discounts[: shown.size] / discounts[: min(total, k)].sum())
