"""What another strength would have earned, from what was logged while this one ranked and drew.

`ExperimentRetriever(explore=...)` draws `k` candidates without replacement from `softmax(scores / temperature)`
(Plackett-Luce), so each had a known chance to be shown and rated. Ratings are weighted by `w = P(shown under the other
strength) / P(shown as logged)`: inverse propensity scoring, per document rated. The estimate says how the vectors *of
that time* would have ranked the candidates *that were logged*; a reward is taken not to depend on rank or neighbours.

Source: Plackett, 1975; Horvitz and Thompson, 1952; Ionides, 2008 (clipping); Swaminathan and Joachims, NIPS 2015.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from langchain_persona.errors import ConfigError, CorruptRecordError, check_number
from langchain_persona.identity import User, normalise_user
from langchain_persona.learning import MAX_STRENGTH, Vector
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.memory import async_twin
from langchain_persona.memory.spaces import valid_feedback
from langchain_persona.records import Feedback, Record, Reward, read_record

logger = logging.getLogger(__name__)

Interval = tuple[float, float]

_RESAMPLES, _FEW, _TINY = 1_000, 30, float(np.finfo(np.float64).tiny)
_STEP, _EARLY, _LATE, _FLOOR = 0.5, -25.0, 5.0, -60.0  # of the grid of times, see `inclusion`


def draw(logits: npt.ArrayLike, k: int, random: np.random.Generator) -> list[int]:
    """Positions of `k` candidates drawn without replacement, in the order drawn, by Gumbel noise."""
    values = np.asarray(logits, dtype=np.float64)
    positions: list[int] = np.argsort(-(values + random.gumbel(size=values.size)), kind="stable").tolist()
    return positions[:k]


def inclusion(logits: npt.ArrayLike, k: int) -> Vector:
    """Probability of each candidate to be among the `k` that are drawn, shape (n,), with sum `min(k, n)`.

    Each candidate is a clock that rings after an exponential time with rate `w = exp(logit)`, and the first `k` to ring
    are drawn: `p_i = ∫ w_i exp(−w_i t) · P(fewer than k others rang before t) dt`. The second factor is a
    Poisson-binomial tail. The integral over `log t` is a trapezoidal sum, exact to about 1e-7.

    Example:
        >>> inclusion([0.0, 0.0, 0.0, 0.0], 2).round(6).tolist()
        [0.5, 0.5, 0.5, 0.5]
    """
    values = np.asarray(logits, dtype=np.float64)
    n = values.size
    if k >= n:
        return np.ones(n)
    # what is e^-60 times as likely as the best is never seen; the floor keeps the grid of times finite
    values = np.maximum(values - values.max(), _FLOOR)
    weights = np.exp(values)
    if k == 1:
        softmax: Vector = weights / weights.sum()
        return softmax
    # rates lie in [exp(values.min()), 1]: before `_EARLY` hardly anything rings, after `_LATE − min` everything did
    moments = np.exp(np.arange(_EARLY, _LATE - float(values.min()), _STEP))
    spent = weights[:, None] * moments
    rang = -np.expm1(-spent)
    # counts[i, c] = P(exactly c of the others than i rang), for c < k
    counts = np.zeros((n, k, moments.size))
    counts[:, 0] = 1.0
    for j in range(n):
        others = np.arange(n) != j
        before = counts[others]
        after = before * (1.0 - rang[j])
        after[:, 1:] += before[:, :-1] * rang[j]
        counts[others] = after
    probabilities: Vector = _STEP * np.einsum("nt,nct->n", spent * np.exp(-spent), counts)
    probabilities *= k / probabilities.sum()
    return np.minimum(probabilities, 1.0)


class Decision(Record):
    """One rating of a retrieval whose documents were drawn. Positions are those of its candidates.

    Attributes:
        user, retrieval: whose (users are the units of the bootstrap), and of which retrieval.
        reward, rated: in [−1, 1], and positions of the documents that it is about.
        count: documents shown.
        base, bonus: base score of each candidate, and its capped bonus at strength 1, in units of a cosine.
        strength, explore: of the ranking that was drawn from, and temperature of the draw in the same units.
    """

    user: str
    retrieval: str
    reward: Reward
    rated: Annotated[tuple[int, ...], Field(min_length=1)]
    count: Annotated[int, Field(ge=1)]
    base: tuple[float, ...]
    bonus: tuple[float, ...]
    strength: Annotated[float, Field(gt=0.0)]
    explore: Annotated[float, Field(gt=0.0)]

    @model_validator(mode="after")
    def _fits_together(self) -> Decision:
        if len(self.base) != len(self.bonus) or not all(0 <= place < len(self.base) for place in self.rated):
            raise ValueError("positions and scores do not fit together")
        return self

    def chances(self, strength: float) -> Vector:
        """The chance of each candidate to be shown under a strength, shape (n,); strength 0 draws nothing."""
        logits = (np.array(self.base) + strength * np.array(self.bonus)) / self.explore
        if strength:
            return _inclusion(logits.tobytes(), self.count)
        certain = np.zeros(logits.size)
        certain[np.argsort(-logits, kind="stable")[: self.count]] = 1.0
        return certain


@lru_cache(maxsize=10_000)
def _inclusion(logits: bytes, k: int) -> Vector:
    """Kept, for a retrieval is rated several times and the logged chances count for every strength."""
    return inclusion(np.frombuffer(logits), k)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one strength would have earned.

    Attributes:
        strength, ratings: the strength, and how many ratings the rest of this rests on.
        ips: `Σ w r / ratings`: reward per logged rating. None without ratings.
        snips: `Σ w r / Σ w`: mean reward of what would have been rated; less variance, a small bias. None where all
            weights are 0.
        ips_interval, snips_interval: 95 %, from a bootstrap over users; None where fewer than two have any weight.
        effective: `(Σ w)² / Σ w²`: so many ratings, drawn by this strength itself, would say as much.
        unsupported: share of what this strength shows that was logged with less than 1/clip of the chance.
    """

    strength: float
    ratings: int = 0
    ips: float | None = None
    ips_interval: Interval | None = None
    snips: float | None = None
    snips_interval: Interval | None = None
    effective: float = 0.0
    unsupported: float = 0.0


def estimate(decisions: Sequence[Decision], strength: float, *, clip: float = 10.0, seed: int = 0) -> Estimate:
    """What one strength would have earned on the logged decisions.

    Every weight is at most `clip`: lower has less variance and more bias; infinity is unbiased. `seed` is that of the
    bootstrap.
    """
    if not decisions:
        return Estimate(strength)
    users: dict[str, Vector] = {}  # Σ w r, Σ w and the number of ratings of each
    weights, unsupported = [], []
    for decision in decisions:
        other, logged = decision.chances(strength), decision.chances(decision.strength)
        ratios = other / np.maximum(logged, _TINY)
        # one reward for several documents counts for each in part
        weights.append(float(np.minimum(ratios[list(decision.rated)], clip).mean()))
        unsupported.append(float(other[ratios > clip].sum() / other.sum()))
        row = np.array([weights[-1] * decision.reward, weights[-1], 1.0])
        users[decision.user] = users.get(decision.user, np.zeros(3)) + row
    sums, random = np.stack(list(users.values())), np.random.default_rng(seed)
    total, enough = sums.sum(axis=0), np.count_nonzero(sums[:, 1]) > 1
    again = [sums[random.integers(len(sums), size=len(sums))].sum(axis=0) for _ in range(_RESAMPLES if enough else 0)]
    return Estimate(
        strength,
        len(decisions),
        float(total[0] / total[2]),
        _middle([one[0] / one[2] for one in again]),
        float(total[0] / total[1]) if total[1] else None,
        _middle([one[0] / one[1] for one in again if one[1]]),
        float(total[1] ** 2 / max(float(np.square(weights).sum()), _TINY)),
        float(np.mean(unsupported)),
    )


def _middle(values: Sequence[float]) -> Interval | None:
    """The middle 95 %."""
    return (float(np.percentile(values, 2.5)), float(np.percentile(values, 97.5))) if values else None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Estimates by strength, of so many ratings of retrievals by users; `print(evaluation)` gives a table.

    `left_out` ratings are of what was not drawn, or their log is unreadable.
    """

    estimates: Mapping[float, Estimate]
    users: int = 0
    retrievals: int = 0
    ratings: int = 0
    left_out: int = 0

    def __str__(self) -> str:
        """A table, and how far to trust it."""
        lines = [f"{self.ratings} ratings of {self.retrievals} drawn retrievals by {self.users} users."]
        if self.left_out:
            lines.append(f"{self.left_out} more ratings are of what was not drawn (explore=0): they tell nothing here.")
        if not self.ratings:
            return "\n".join([*lines, "There is nothing to evaluate."])
        lines.append(f"{'strength':<10}{'IPS':<26}{'SNIPS':<26}{'effective':<11}without support")
        for one in self.estimates.values():
            cells = f"{_cell(one.ips, one.ips_interval):<26}{_cell(one.snips, one.snips_interval):<26}"
            weak = "  weak" if one.effective < _FEW or one.unsupported > 0.25 else ""
            lines.append(f"{one.strength:<10g}{cells}{one.effective:<11.0f}{one.unsupported:.0%}{weak}")
        return "\n".join(lines)


def _cell(value: float | None, interval: Interval | None) -> str:
    """A number, with its interval where it has one."""
    number = "–" if value is None else f"{value:+.3f}"
    return number if interval is None else f"{number} [{interval[0]:+.3f}, {interval[1]:+.3f}]"


def evaluate(
    memory: PersonaMemory,
    strengths: Sequence[float] = (0.0, 0.5, 1.0, 2.0),
    users: Iterable[User] | None = None,
    *,
    clip: float = 10.0,
    seed: int = 0,
) -> Evaluation:
    """What other strengths, from 0 (plain) to 10, would have earned, from the ratings on record; `print` it.

    It needs ratings of documents that were drawn (`ExperimentRetriever(explore=0.05)`). Without `users` it reads all
    users' ledgers; `clip` and `seed` are as in `estimate`.

    Raises:
        ConfigError: an argument that cannot work.
        StoreError: the store failed.

    Example:
        >>> from langgraph.store.memory import InMemoryStore
        >>> print(evaluate(PersonaMemory(InMemoryStore())))
        0 ratings of 0 drawn retrievals by 0 users.
        There is nothing to evaluate.
    """
    check_number("clip", clip, 1.0)
    for strength in strengths:
        check_number("strengths", strength, 0.0, MAX_STRENGTH)
    if isinstance(users, str):
        raise ConfigError(f"users must be a list of ids, or None for all, got {users!r}")
    decisions: list[Decision] = []
    left_out = 0
    for user in memory._store.users() if users is None else dict.fromkeys(map(normalise_user, users)):
        # what was carried over to another embedding model is one rating, and its log is that of the original
        ratings = [entry for entry in valid_feedback(memory.ledger.entries(user)) if entry.origin is None]
        found = [decision for entry in ratings if (decision := _decision_of(user, entry))]
        decisions += found
        left_out += len(ratings) - len(found)
    return Evaluation(
        {strength: estimate(decisions, strength, clip=clip, seed=seed) for strength in strengths},
        len({decision.user for decision in decisions}),
        len({decision.retrieval for decision in decisions}),
        len(decisions),
        left_out,
    )


aevaluate = async_twin(evaluate)


def _decision_of(user: str, entry: Feedback) -> Decision | None:
    """A rating as a decision to evaluate; None where it was not drawn, with a WARNING where its log is unreadable."""
    if not entry.logged:
        return None
    try:
        about = {"user": user, "retrieval": entry.retrieval_id, "reward": entry.reward}
        return read_record(Decision, {**entry.logged, **about})
    except CorruptRecordError as error:
        logger.warning("Leaving feedback %s out of the evaluation: %s", entry.id, error)
        return None
