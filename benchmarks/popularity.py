"""What everybody else likes, whoever asks: the baseline that needs no embedding and no thumb of the user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.learners import Array, Ids, Rated, Rows

__all__ = ["Popular", "Popularity"]


class Popularity:
    """Thumbs of all users on each item.

    Args:
        thumbs: item and thumb, of all users.
        items: how many items there are.
    """

    prior = 5.0
    """As if so many thumbs with the usual share of thumbs up had come first."""

    def __init__(self, thumbs: Iterable[tuple[int, bool]], items: int) -> None:
        self.items = items
        self.up, self.count = self._counted(thumbs)

    def without(self, own: Iterable[tuple[int, bool]]) -> Array:
        """The smoothed share of thumbs up over the *other* users, shape (items,).

        Args:
            own: the thumbs of the user in question, which are taken out again.
        """
        up, count = self._counted(own)
        up, count = self.up - up, self.count - count
        usual = float(up.sum() / count.sum()) if count.sum() else 0.5
        shares: Array = (up + self.prior * usual) / (count + self.prior)
        return shares

    def _counted(self, thumbs: Iterable[tuple[int, bool]]) -> tuple[Array, Array]:
        rows = np.array([(item, up) for item, up in thumbs], dtype=np.intp).reshape(-1, 2)
        count = np.bincount(rows[:, 0], minlength=self.items).astype(np.float64)
        up = np.bincount(rows[:, 0], weights=rows[:, 1].astype(np.float64), minlength=self.items)
        return up.astype(np.float64), count


@dataclass(slots=True)
class Popular:
    """Popularity as a bonus; it learns nothing of the user.

    Attributes:
        shares: the share of thumbs up of each item, shape (items,).
        gain: what a reward of 1 is worth in units of the base score, as in ours; a share of thumbs up `p` is a mean
            reward of `2 p − 1`.
    """

    shares: Array
    gain: float = 0.2

    def learn(self, thumbs: Sequence[Rated]) -> None:
        """Nothing."""

    def scores(self, rows: Rows, ids: Ids, base: Rows, session: str | None, spread: Rows | None = None) -> Rows:
        """Relevance and bonus."""
        gained: Rows = (self.gain * (2.0 * self.shares[ids] - 1.0)).astype(base.dtype)
        return base + gained
