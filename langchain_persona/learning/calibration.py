"""On which scale a reranker speaks, so that one bonus means the same beside any of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["MIN_SPREAD", "scale_of"]

MIN_SPREAD = 0.02
"""Cosines that lie closer together than this count as this far apart, so that near duplicates make no huge scale."""


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
