"""What is learned about one user, and how it acts on a ranking: the bonus, how large it may be, and the policy.

Source: Hao et al., *User Preference Modeling for Conversational LLM Agents* (VARS), arXiv 2603.20939.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from langchain_persona.errors import ConfigError, DimensionMismatchError
from langchain_persona.learning.arrays import Vector, deviation, dots, frozen
from langchain_persona.learning.space import PreferenceSpace
from langchain_persona.learning.words import Statements

MIN_SPREAD = 0.02  # cosines closer together count as this far apart, so that near duplicates make no huge scale
MIN_SAMPLE = 16  # fewer documents tell no spread, and nothing is moderated


@dataclass(frozen=True, slots=True, eq=False)
class BonusVectors:
    """A user's preference as it acts on the ranking: the bonus of a unit embedding `e` is `⟨total, e − mean⟩`.

    `long` and `short`, shape (d,), are in units of the base score (cosine); `mean`, shape (d,), is that of the space.
    `words`, shape (d,), is what the user stated about the query (see `Statements.about`).
    """

    long: Vector = field(repr=False)
    short: Vector = field(repr=False)
    mean: Vector = field(repr=False)
    words: Vector | None = field(default=None, repr=False)

    @property
    def total(self) -> Vector:
        """`long + short + words`, shape (d,)."""
        learned = self.long + self.short
        return learned if self.words is None else learned + self.words

    def shrink(self, max_bonus: float) -> float:
        """The factor, at most 1, that keeps the bonus of every unit embedding within ±`max_bonus`.

        Example:
            >>> BonusVectors(np.array([0.0, 2.0]), np.zeros(2), np.zeros(2)).shrink(0.5)
            0.25
        """
        # ‖total‖ · sup‖e − μ‖
        reach = float(np.linalg.norm(self.total)) * (1.0 + float(np.linalg.norm(self.mean)))
        return 1.0 if reach <= max_bonus else max_bonus / reach

    def times(self, factor: float) -> BonusVectors:
        """All parts, multiplied."""
        return BonusVectors(
            self.long * factor, self.short * factor, self.mean, None if self.words is None else self.words * factor
        )

    def parts(self, embeddings: npt.ArrayLike) -> tuple[Vector, Vector, Vector]:
        """The long-term, short-term and words part of each bonus, shapes (n,), for unit embeddings of shape (n, d)."""
        centred = np.asarray(embeddings, dtype=np.float64) - self.mean
        words = np.zeros(len(centred)) if self.words is None else dots(centred, self.words)
        return dots(centred, self.long), dots(centred, self.short), words


@dataclass(frozen=True, eq=False)
class UserVectors:
    """One user's vectors in one session: what `PersonaMemory.vectors` returns.

    Attributes:
        long, short: long-term preference `z_L`, and short-term `z_S` of one session, shape (k,).
        beta_long, beta_short: their weights in the effective vector.
        baseline: running mean of the user's rewards, in [−1, 1].
        count: number of feedback events behind it.
        space: the preference space in which they lie; None where the caller knows it.
        statements: likes and dislikes that may act on a ranking; None where there are none.
    """

    long: Vector = field(repr=False)
    short: Vector = field(repr=False)
    beta_long: float = 1.0
    beta_short: float = 1.0
    baseline: float = 0.0
    count: int = 0
    space: PreferenceSpace | None = None
    statements: Statements | None = None

    def __post_init__(self) -> None:
        if self.long.shape != self.short.shape or self.long.ndim != 1:
            raise DimensionMismatchError(
                f"long and short must be vectors of one length, got {self.long.shape} and {self.short.shape}"
            )
        object.__setattr__(self, "long", frozen(self.long))
        object.__setattr__(self, "short", frozen(self.short))

    @classmethod
    def cold(cls, dimension: int) -> UserVectors:
        """A user about whom nothing is known: two zero vectors of `dimension` numbers."""
        return cls(np.zeros(dimension), np.zeros(dimension))

    @cached_property
    def uncapped(self) -> BonusVectors:
        """The bonus at strength 1 without a cap; of the identity where the space is not known."""
        return self.bonus(self.space or PreferenceSpace.identity(self.long.size), max_bonus=float("inf"))

    @property
    def effective(self) -> Vector:
        """`z = β_L z_L + β_S z_S`, shape (k,)."""
        return self.beta_long * self.long + self.beta_short * self.short

    def bonus(self, space: PreferenceSpace, *, max_bonus: float, strength: float = 1.0) -> BonusVectors:
        """The bonus in embedding space: at most `strength · max_bonus` in absolute value for any unit embedding.

        Args:
            space: the preference space in which the vectors were learned; another is a `DimensionMismatchError`.
            max_bonus: cap at strength 1, in units of the base score; infinity is no cap.
            strength: factor on the capped bonus.

        Example:
            >>> user = UserVectors(np.array([0.0, 2.0]), np.zeros(2))
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


def policy(scores: npt.ArrayLike, temperature: float = 1.0) -> Vector:
    """Probabilities of the candidates: `softmax(scores / τ)`, shape (n,); `ConfigError` where `τ` is not positive."""
    if not temperature > 0.0:
        raise ConfigError(f"temperature must be above 0, got {temperature}")
    logits = np.asarray(scores, dtype=np.float64) / temperature
    weights: Vector = np.exp(logits - logits.max())
    weights /= weights.sum()
    return weights


def attribution_gate(reward: float, similarity: float) -> float:
    """How much of a turn's reward is due to retrieval (`γ`), by the table of the VARS paper.

    `similarity` is the highest base score (cosine) among what was chosen.

    Example:
        >>> attribution_gate(-1.0, 0.1), attribution_gate(1.0, 0.6)
        (0.9, 0.6)
    """
    if reward < -0.5 and similarity < 0.2:
        return 0.9  # retrieval brought the wrong thing
    if reward < -0.5 and similarity > 0.5:
        return 0.2  # the right thing was there, so the answer was wrong
    if reward > 0.5:
        return 0.6 if similarity > 0.4 else 0.3  # the right thing helped, or the answer was good without it
    return 0.5  # nobody can tell


def moderation(relevance: float, bonus: float, share: float) -> float:
    """The factor, at most 1, that keeps the spread of a bonus at or below a share of the spread of relevance.

    Both are standard deviations over the same documents. Where everything is alike, a query says little, and a strong
    bonus would take its place.

    Example:
        >>> moderation(relevance=0.2, bonus=0.4, share=0.5)
        0.25
    """
    most = share * relevance
    return 1.0 if bonus <= most else most / bonus


def scale_of(scores: npt.ArrayLike, cosines: npt.ArrayLike) -> float:
    """What one unit of cosine is worth on a reranker's scale, both of shape (n,): the ratio of standard deviations.

    So `a · scores + b` (a > 0) gives the same personalised order for any a, b. It is 0, which switches the bonus off,
    for fewer than three candidates and where all scores are alike.

    Example:
        >>> round(scale_of([-10.0, 0.0, 10.0], [0.4, 0.5, 0.6]), 6)
        100.0
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.size < 3 or (spread := deviation(values)) <= 1e-12 * float(np.abs(values).max()):
        return 0.0
    return spread / max(deviation(np.asarray(cosines, dtype=np.float64)), MIN_SPREAD)
