"""What one user rated, as the fit of a preference space sees it: vectors and rewards, and nobody's name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from langchain_persona.arrays import Vector, frozen
from langchain_persona.errors import ConfigError, DimensionMismatchError

__all__ = ["UserRatings"]


@dataclass(frozen=True, slots=True, eq=False)
class UserRatings:
    """One user's ratings, oldest first.

    Attributes:
        items: embeddings of what was rated, shape (n, d).
        rewards: one for each, in [−1, 1], shape (n,).
        weights: how much each counts, in [0, 1], shape (n,); ones by default. In a ledger it is the gate.

    Raises:
        ConfigError: NaN or infinity, a reward or weight out of range; `DimensionMismatchError` for shapes that do not
            agree.

    Example:
        >>> UserRatings([[1.0, 0.0], [0.0, 1.0]], [1.0, -1.0]).weights
        array([1., 1.])
    """

    items: npt.ArrayLike
    rewards: npt.ArrayLike
    weights: npt.ArrayLike | None = None

    def __post_init__(self) -> None:
        """Check and freeze the arrays."""
        items = np.asarray(self.items, dtype=np.float64)
        rewards = np.asarray(self.rewards, dtype=np.float64)
        weights = np.ones_like(rewards) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        if items.ndim != 2 or rewards.shape != items.shape[:1] or weights.shape != rewards.shape:
            raise DimensionMismatchError(
                "a user's ratings are items of shape (n, d), rewards and weights of shape (n,); got "
                f"{items.shape}, {rewards.shape} and {weights.shape}"
            )
        if not np.isfinite(items).all():
            raise ConfigError("the embeddings of a user's ratings must be finite, got NaN or infinity")
        # written so that NaN is refused too
        if not (np.abs(rewards) <= 1.0).all():
            raise ConfigError("rewards must lie between -1 and 1; langchain_persona.rewards makes them of other scales")
        if not ((weights >= 0.0) & (weights <= 1.0)).all():
            raise ConfigError("weights must lie between 0 and 1")
        for name, array in (("items", items), ("rewards", rewards), ("weights", weights)):
            object.__setattr__(self, name, frozen(array))

    def __len__(self) -> int:
        """Number of ratings."""
        return len(self.arrays()[1])

    def arrays(self) -> tuple[Vector, Vector, Vector]:
        """Items, rewards and weights as float64 arrays."""
        return np.asarray(self.items), np.asarray(self.rewards), np.asarray(self.weights)

    def latest(self, limit: int) -> UserRatings:
        """The latest `limit` of those that count at all: nobody's ratings outweigh everybody's."""
        items, rewards, weights = self.arrays()
        kept = np.flatnonzero(weights > 0.0)[-limit:]
        return UserRatings(items[kept], rewards[kept], weights[kept])

    def digest(self) -> bytes:
        """A key to sort by, so that a fit does not depend on the order in which users come."""
        parts = [np.ascontiguousarray(array).tobytes() for array in self.arrays()]
        return hashlib.sha256(b"".join(parts)).digest()
