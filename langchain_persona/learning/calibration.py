"""How large a bonus may be beside relevance: in one collection and another, and beside any reranker.

Two calibrations, both by standard deviations. Over the collection, `moderation` keeps the bonus from varying more than
a share of what relevance varies: a query says little in a collection where everything is alike, and a bonus that is
strong there would take its place. Beside a reranker, `scale_of` brings the bonus to the scale of its scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from langchain_persona.arrays import Vector

__all__ = ["MIN_SAMPLE", "MIN_SPREAD", "moderation", "scale_of", "spread_of"]

MIN_SPREAD = 0.02
"""Cosines that lie closer together than this count as this far apart, so that near duplicates make no huge scale."""


MIN_SAMPLE = 16
"""From fewer documents no spread is told, and nothing is moderated."""


def spread_of(rows: npt.NDArray[np.floating[Any]], direction: Vector) -> float:
    """The standard deviation of `⟨direction, e⟩` over some documents.

    Args:
        rows: unit embeddings, shape (n, d), n at least 1.
        direction: a query or a bonus, shape (d,).

    Example:
        >>> spread_of(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.4, 0.0]))
        0.2
    """
    # einsum keeps to one thread: BLAS is faster on idle cores and several times slower on busy ones
    return float(np.std(np.einsum("nd,d->n", rows, direction)))


def moderation(relevance: float, bonus: float, share: float) -> float:
    """The factor, at most 1, that keeps a bonus from varying more than a share of what relevance varies.

    Args:
        relevance: spread of the query's relevance over the collection, in units of a cosine.
        bonus: spread of the bonus over the same documents, at strength 1.
        share: the most that the second may be of the first.

    Example:
        >>> round(moderation(relevance=0.1, bonus=0.07, share=0.35), 6)
        0.5
    """
    most = share * relevance
    return 1.0 if bonus <= most else most / bonus


def scale_of(scores: npt.ArrayLike, cosines: npt.ArrayLike) -> float:
    """What one unit of cosine is worth on the scale of other scores of the same candidates.

    The ratio of the two standard deviations; the cosines' is taken as at least `MIN_SPREAD`. It is proportional to the
    spread of the scores, so that `a · scores + b` (a > 0) with a bonus times its scale give one and the same order.

    Args:
        scores: of a reranker, shape (n,), on any scale: logits, probabilities, 0 to 1000.
        cosines: base scores of the same candidates, shape (n,).

    Returns:
        The scale, at least 0. It is 0, which leaves the bonus out of play, for fewer than three candidates (a spread of
        two says nothing) and where all scores are alike to within rounding.

    Example:
        >>> round(scale_of([-10.0, 0.0, 10.0], [0.4, 0.5, 0.6]), 6)
        100.0
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.size < 3:
        return 0.0
    spread = float(np.std(values))
    if spread <= 1e-12 * float(np.abs(values).max()):
        return 0.0
    return spread / max(float(np.std(np.asarray(cosines, dtype=np.float64))), MIN_SPREAD)
