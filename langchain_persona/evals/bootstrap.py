"""Bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over users with its 95 % bootstrap interval.

    Attributes:
        mean: over the users that have a value; NaN without any.
        low, high: the 2.5th and 97.5th percentile of the resampled means; None with fewer than two users.
        users: how many users have a value.
    """

    mean: float
    low: float | None
    high: float | None
    users: int

    @property
    def verdict(self) -> str:
        """What a difference "ours minus the other rule" says: better, worse, or no clear difference (0 lies inside)."""
        if self.low is None or self.high is None:
            return "too few users"
        if self.low > 0.0:
            return "better"
        return "worse" if self.high < 0.0 else "no clear difference"


def mean(values: Iterable[float]) -> float:
    """The mean; 0 of nothing."""
    some = list(values)
    return sum(some) / len(some) if some else 0.0


def over_users(values: npt.ArrayLike, *, resamples: int = 10_000, seed: int = 0) -> Interval:
    """Bootstrap over users: resample them with replacement, take the mean, 2.5th to 97.5th percentile.

    Give it differences between two rules, one a user, and the comparison is paired.

    Args:
        values: one number a user, shape (n,), averaged over seeds before; users with NaN are left out.
        resamples: how many times.
        seed: the same seed gives the same interval.
    """
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    if kept.size < 2:
        return Interval(float(kept[0]) if kept.size else float("nan"), None, None, int(kept.size))
    rng = np.random.default_rng(seed)
    # in slices: 10,000 times some hundred users is too much memory for one array on a small machine
    means = [
        kept[rng.integers(kept.size, size=(min(1_000, resamples - start), kept.size))].mean(axis=1)
        for start in range(0, resamples, 1_000)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Interval(float(kept.mean()), float(low), float(high), int(kept.size))
