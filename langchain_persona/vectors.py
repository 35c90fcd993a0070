"""What is learned about one user: a long-term and a short-term preference vector.

Pure NumPy. Nothing here knows of stores, documents or sessions; see `learning` for how the vectors move.

Source: Hao et al., *User Preference Modeling for Conversational LLM Agents* (VARS), arXiv 2603.20939.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from langchain_persona.arrays import Vector, frozen
from langchain_persona.errors import DimensionMismatchError
from langchain_persona.spaces import PreferenceSpace

__all__ = ["BonusVectors", "UserVectors"]


@dataclass(frozen=True, slots=True, eq=False)
class BonusVectors:
    """A user's preference as it acts on the ranking: two directions in embedding space, capped.

    The bonus of a document with unit embedding `e` is `⟨long + short, e − mean⟩`; it is linear in `e`, so that
    the whole personalised ranking is one nearest-neighbour query (see `fold`).

    Attributes:
        long: shape (d,), in units of the base score (cosine).
        short: shape (d,), likewise.
        mean: shape (d,), the mean `μ` of the preference space.
    """

    long: Vector
    short: Vector
    mean: Vector

    @property
    def total(self) -> Vector:
        """`long + short`, shape (d,)."""
        return self.long + self.short

    @property
    def reach(self) -> float:
        """The largest absolute bonus that any unit embedding can get: `‖long + short‖ · sup‖e − μ‖`."""
        return float(np.linalg.norm(self.total)) * (1.0 + float(np.linalg.norm(self.mean)))

    def shrink(self, max_bonus: float) -> float:
        """The factor that brings the reach down to a cap; 1 where it lies below.

        Example:
            >>> BonusVectors(np.array([0.0, 2.0]), np.zeros(2), np.zeros(2)).shrink(0.5)
            0.25
        """
        reach = self.reach
        return 1.0 if reach <= max_bonus else max_bonus / reach

    def times(self, factor: float) -> BonusVectors:
        """Both parts, multiplied."""
        return BonusVectors(self.long * factor, self.short * factor, self.mean)

    def fold(self, query: npt.ArrayLike, scale: float = 1.0) -> Vector:
        """The query whose plain nearest neighbours are the personalised ranking: `q + scale · (long + short)`.

        Args:
            query: shape (d,); of unit length in a cosine space.
            scale: `1 / ‖e‖` in a space whose vectors are not of unit length.

        Example:
            >>> zero = np.zeros(2)
            >>> BonusVectors(np.array([0.0, 0.5]), zero, zero).fold([1.0, 0.0])
            array([1. , 0.5])
        """
        return np.asarray(query, dtype=np.float64) + scale * self.total

    def parts(self, embeddings: npt.ArrayLike) -> tuple[Vector, Vector]:
        """The two parts of the bonus of each document.

        Args:
            embeddings: unit vectors, shape (n, d).

        Returns:
            `(long, short)`, each of shape (n,).
        """
        centred = np.asarray(embeddings, dtype=np.float64) - self.mean
        return np.einsum("nd,d->n", centred, self.long), np.einsum("nd,d->n", centred, self.short)


@dataclass(frozen=True, slots=True, eq=False)
class UserVectors:
    """The state of one user in one session: what `PersonaMemory.vectors` returns.

    Attributes:
        long: shape (k,), long-term preference `z_L`; kept for ever.
        short: shape (k,), short-term preference `z_S` of one session; zero at its start.
        beta_long: weight of `long` in the effective vector.
        beta_short: weight of `short`.
        baseline: running mean of the user's rewards, in [−1, 1].
        count: number of feedback events behind it.
        space: the preference space in which they lie; None where whoever made them knows.
    """

    long: Vector
    short: Vector
    beta_long: float = 1.0
    beta_short: float = 1.0
    baseline: float = 0.0
    count: int = 0
    space: PreferenceSpace | None = None

    def __post_init__(self) -> None:
        """Freeze the arrays, so that a shared state cannot be changed in place."""
        if self.long.shape != self.short.shape or self.long.ndim != 1:
            raise DimensionMismatchError(
                f"long and short must be vectors of one length, got {self.long.shape} and {self.short.shape}"
            )
        for name in ("long", "short"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @classmethod
    def cold(cls, dimension: int) -> UserVectors:
        """A user of whom nothing is known: two zero vectors of `dimension` numbers."""
        return cls(np.zeros(dimension), np.zeros(dimension))

    @property
    def effective(self) -> Vector:
        """`z = β_L z_L + β_S z_S`, shape (k,)."""
        return self.beta_long * self.long + self.beta_short * self.short

    @property
    def is_cold(self) -> bool:
        """True when the bonus of every document is zero."""
        return not self.effective.any()

    def bonus(self, space: PreferenceSpace, *, max_bonus: float, strength: float = 1.0) -> BonusVectors:
        """The capped bonus in embedding space.

        Both parts are shrunk by one factor, so that no unit embedding whatever gets a bonus above
        `strength · max_bonus` in absolute value: `‖long + short‖ · sup‖e − μ‖ ≤ strength · max_bonus`. It is linear in
        the strength: twice as strong is twice the bonus, also where the cap holds.

        Args:
            space: the preference space in which the vectors were learned.
            max_bonus: cap at strength 1, in units of the base score; 0 switches personalisation off, infinity is none.
            strength: factor on the capped bonus; 0 is off.

        Raises:
            DimensionMismatchError: the vectors do not belong to this space.

        Example:
            >>> user = UserVectors(np.array([0.0, 2.0]), np.zeros(2))
            >>> user.bonus(PreferenceSpace.identity(2), max_bonus=0.5).total
            array([0. , 0.5])
            >>> user.bonus(PreferenceSpace.identity(2), max_bonus=0.5, strength=0.2).total
            array([0. , 0.1])
        """
        if self.long.shape != (space.k,):
            raise DimensionMismatchError(
                f"user vectors of {self.long.shape[0]} numbers do not fit a preference space with k={space.k}; "
                "rebuild them from the ledger: memory.rebuild(user)"
            )
        long, short = space.lift(self.beta_long * self.long), space.lift(self.beta_short * self.short)
        bonus = BonusVectors(long, short, space.mean)
        return bonus.times(strength * bonus.shrink(max_bonus))
