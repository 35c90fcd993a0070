"""The few statistics that the benchmarks need: bootstrap intervals over users, and the area under the ROC curve."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from langchain_persona.evals.report import Interval, over_users

__all__ = ["Interval", "auc", "over_users", "verdict"]


def verdict(found: Interval) -> str:
    """What a difference "ours minus the other rule" says: better, worse, or no clear difference (0 lies inside)."""
    if found.low is None or found.high is None:
        return "too few users"
    if found.low > 0.0:
        return "better"
    return "worse" if found.high < 0.0 else "no clear difference"


def auc(scores: npt.ArrayLike, liked: npt.ArrayLike) -> float:
    """The probability that a liked item scores higher than a disliked one; a tie counts one half.

    Args:
        scores: shape (n,).
        liked: booleans, shape (n,).

    Returns:
        From 0 to 1; NaN when all are liked or none is.
    """
    values, mask = np.asarray(scores, dtype=np.float64), np.asarray(liked, dtype=bool)
    up, down = values[mask], np.sort(values[~mask])
    if not up.size or not down.size:
        return float("nan")
    beaten = np.searchsorted(down, up, "left") + np.searchsorted(down, up, "right")
    return float(beaten.mean() / (2 * down.size))
