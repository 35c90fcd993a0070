"""What one would try before anything of this package: averages of items, Rocchio's feedback, Bayesian regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.learners import Array, Ids, Rated, Rows

__all__ = ["BayesianRegression", "ItemAverages", "Rocchio"]


@dataclass(slots=True)
class ItemAverages:
    """A running weight of each item; it moves the item's own relevance and no other's.

    `w ← w + rate · (r − w)` from 0, score `base + reach · w · |base|`: a factor of 1 ± `reach` on a positive relevance.

    Attributes:
        rate: of the running weight.
        reach: how far the relevance is moved at most, as a share of it.
    """

    rate: float = 0.3
    reach: float = 0.3
    _weights: dict[int, float] = field(init=False, default_factory=dict)

    def learn(self, thumbs: Sequence[Rated]) -> None:
        """Move the weights of the rated items."""
        for thumb in thumbs:
            before = self._weights.get(thumb.id, 0.0)
            self._weights[thumb.id] = before + self.rate * ((1.0 if thumb.up else -1.0) - before)

    def scores(self, rows: Rows, ids: Ids, base: Rows, session: str | None, spread: Rows | None = None) -> Rows:
        """The relevance; of items rated before, moved."""
        if not self._weights:
            return base
        known = np.array(list(self._weights), dtype=np.intp)
        table = np.zeros(max(int(known.max()), int(ids.max())) + 1, dtype=base.dtype)
        table[known] = list(self._weights.values())
        moved: Rows = base + self.reach * table[ids] * np.abs(base)
        return moved


@dataclass(slots=True)
class Rocchio:
    """Relevance feedback: towards the mean of what was liked, away from the mean of what was not.

    `v = β (mean liked − μ) − γ (mean disliked − μ)`, shrunk to `‖v‖ ≤ reach`; the bonus is `⟨v, e − μ⟩`.

    Attributes:
        mean: `μ`, the mean of the corpus, shape (d,): without it, all that texts have in common would count.
        liked, disliked: `β` and `γ`, in units of the query's length; 0.75 for both, so that a user who says only what
            they dislike is heard as well.
        reach: bound on the length, that of ours.

    Source: Rocchio, *Relevance feedback in information retrieval*, 1971 (there: β = .75, γ = .25 or less).
    """

    mean: Array
    liked: float = 0.75
    disliked: float = 0.75
    reach: float = 0.75
    _sums: dict[bool, Array] = field(init=False, default_factory=dict)
    _counts: dict[bool, int] = field(init=False, default_factory=dict)

    def learn(self, thumbs: Sequence[Rated]) -> None:
        """Add to the two sums."""
        for thumb in thumbs:
            self._sums[thumb.up] = self._sums.get(thumb.up, 0.0) + (thumb.item - self.mean)
            self._counts[thumb.up] = self._counts.get(thumb.up, 0) + 1

    def direction(self) -> Array:
        """`v`, shape (d,)."""
        vector = np.zeros_like(self.mean)
        for up, total in self._sums.items():
            vector += (self.liked if up else -self.disliked) * total / self._counts[up]
        length = float(np.linalg.norm(vector))
        return vector if length <= self.reach else vector * (self.reach / length)

    def scores(self, rows: Rows, ids: Ids, base: Rows, session: str | None, spread: Rows | None = None) -> Rows:
        """Relevance and bonus."""
        return _linear(rows, base, self.direction(), self.mean)


@dataclass(slots=True)
class BayesianRegression:
    """Bayesian linear regression of the reward on the embedding with full covariance: exact, and the expensive one.

    `r = ⟨w, e − μ⟩ + b + ε`, `w ~ N(0, prior · I)`, `b ~ N(0, intercept)`, `ε ~ N(0, noise)`. The posterior mean of
    `w` over all thumbs ever given is the taste; nothing is forgotten, no thumb counts more than another. It is computed
    from the n × n matrix of the thumbs, which gives the same mean as the d × d covariance and costs less here.

    Attributes:
        mean: `μ`, the mean of the corpus, shape (d,).
        prior: variance of each number of `w`.
        intercept: variance of the user's usual reward.
        noise: variance of a thumb's noise, half of what a coin would give.
        gain: what a predicted reward of 1 is worth in units of the base score, and
        reach: the bound on the bonus direction; both those of ours.
    """

    mean: Array
    prior: float = 1.0
    intercept: float = 1.0
    noise: float = 0.5
    gain: float = 0.2
    reach: float = 0.75
    _items: list[Array] = field(init=False, default_factory=list)
    _rewards: list[float] = field(init=False, default_factory=list)
    _taste: Array | None = field(init=False, default=None)

    def learn(self, thumbs: Sequence[Rated]) -> None:
        """Keep the thumbs; solved when asked."""
        for thumb in thumbs:
            self._items.append(thumb.item - self.mean)
            self._rewards.append(1.0 if thumb.up else -1.0)
        self._taste = None

    def direction(self) -> Array:
        """The bonus direction, shape (d,)."""
        if self._taste is None:
            if not self._items:
                return np.zeros_like(self.mean)
            rows = np.stack(self._items)
            covariance = self.prior * (rows @ rows.T) + self.intercept + self.noise * np.eye(len(rows))
            taste = self.gain * self.prior * (rows.T @ np.linalg.solve(covariance, np.array(self._rewards)))
            length = float(np.linalg.norm(taste))
            self._taste = taste if length <= self.reach else taste * (self.reach / length)
        return self._taste

    def scores(self, rows: Rows, ids: Ids, base: Rows, session: str | None, spread: Rows | None = None) -> Rows:
        """Relevance and bonus."""
        return _linear(rows, base, self.direction(), self.mean)


def _linear(rows: Rows, base: Rows, direction: Array, mean: Array) -> Rows:
    """`base + ⟨direction, e − mean⟩`, in the precision of the rows."""
    gained: Rows = rows @ direction.astype(rows.dtype) - float(mean @ direction)
    return base + gained
