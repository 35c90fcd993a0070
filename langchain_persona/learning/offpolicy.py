"""What another strength would have earned, from what was logged while this one ranked.

Where the shown were drawn (`explore` above 0), every candidate had a known chance to be rated, and ratings are weighted
by `w = P(shown under the other strength) / P(shown as logged)`: inverse propensity scoring, per document rated. Where
nothing was drawn, there are no such chances, and only retrievals count in which both strengths show the same: replay.

Both say how the vectors *as they were at that time* would have ranked the candidates *that were logged*; that a user
who is ranked differently also rates, and so teaches, differently is not in it. A document's reward is taken not to
depend on its rank nor on what stands beside it; one reward for several documents counts for each in equal parts.

Source: Horvitz and Thompson, 1952; Ionides, *Truncated Importance Sampling*, 2008; Swaminathan and Joachims, *The
Self-Normalized Estimator*, NIPS 2015; Li, Chu, Langford and Wang, *Unbiased Offline Evaluation*, WSDM 2011.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass

import numpy as np

from langchain_persona.arrays import Vector
from langchain_persona.learning.exploration import inclusion

__all__ = ["Decision", "Estimate", "estimate"]

_RESAMPLES = 1_000

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """One rating of a logged retrieval. Positions are those of the candidates.

    Attributes:
        user: whose; users are the units of the bootstrap.
        retrieval: names the retrieval; it may be rated more than once.
        reward: in [−1, 1].
        rated: positions of the documents that the reward is about.
        shown: positions shown, in order.
        base: shape (n,), base scores in units of a cosine; empty where every strength shows the same.
        bonus: shape (n,), capped bonus at strength 1 in the same units; empty likewise.
        strength: of the personalised ranking.
        explore: temperature of the draw in the same units; 0 is none.
        would: positions that the personalised ranking would have shown where only the plain one was (shadow mode).
    """

    user: str
    retrieval: str
    reward: float
    rated: tuple[int, ...]
    shown: tuple[int, ...]
    base: Vector
    bonus: Vector
    strength: float = 1.0
    explore: float = 0.0
    would: tuple[int, ...] | None = None

    def logits(self, strength: float) -> Vector:
        """Logits of the draw under a strength, shape (n,)."""
        return (self.base + strength * self.bonus) / self.explore

    def best(self, strength: float, k: int | None) -> tuple[int, ...]:
        """What another strength shows without a draw; known exactly where it is the logged one."""
        count = len(self.shown) if k is None else k
        shadow = self.would is not None
        if not self.base.size or (self.explore == 0.0 and strength == (0.0 if shadow else self.strength)):
            known: tuple[int, ...] = self.shown
        elif self.would is not None and strength == self.strength:
            known = self.would
        else:
            known = ()
        if len(known) >= count:
            return known[:count]
        order = np.argsort(-(self.base + strength * self.bonus), kind="stable")
        return tuple(int(position) for position in order[:count])


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one strength would have earned.

    Attributes:
        strength: the strength.
        ratings: ratings of drawn retrievals; what `ips`, `snips` and the next three rest on.
        ips: `Σ w r / ratings`: reward per logged rating. None without drawn retrievals.
        ips_interval: 95 %, from a bootstrap over users; None where fewer than two users have any weight.
        snips: `Σ w r / Σ w`: mean reward of what would have been rated; less variance, a small bias. None where all
            weights are 0.
        snips_interval: likewise.
        effective: `(Σ w)² / Σ w²`: so many ratings, drawn by this strength itself, would say as much.
        unsupported: share of what this strength shows that was logged with less than 1/clip of the chance; about that
            part next to nothing is known, and clipping pulls it towards 0.
        fixed: ratings of retrievals without a draw; what the last six rest on.
        fixed_reward: mean reward of all of these, as shown; None without any.
        replayed: how many of these are of retrievals in which this strength shows the same documents.
        replay: mean reward of those; None without any. It is earned by what was shown, and by every strength that shows
            the same: of two strengths it compares two sets of retrievals, not two rankings.
        disagreed: mean reward, as shown, of the others, of which nothing is known for this strength; None without any.
        coverage: `replayed / fixed`; None without any.
        agreement: mean share of the documents shown that this strength shows too.
    """

    strength: float
    ratings: int = 0
    ips: float | None = None
    ips_interval: Interval | None = None
    snips: float | None = None
    snips_interval: Interval | None = None
    effective: float = 0.0
    unsupported: float | None = None
    fixed: int = 0
    fixed_reward: float | None = None
    replayed: int = 0
    replay: float | None = None
    disagreed: float | None = None
    coverage: float | None = None
    agreement: float | None = None


def estimate(
    decisions: Sequence[Decision],
    strength: float,
    *,
    clip: float = 10.0,
    k: int | None = None,
    deterministic: bool = False,
    seed: int = 0,
    logged: MutableMapping[str, Vector] | None = None,
) -> Estimate:
    """What one strength would have earned on the logged decisions.

    Args:
        decisions: as logged.
        strength: the other strength.
        clip: bound on every weight, at least 1; lower has less variance and more bias, infinity is unbiased.
        k: how many the other strength shows; by default as many as were shown.
        deterministic: the other strength takes the best instead of drawing at the logged temperature, as strength 0
            always does.
        seed: of the bootstrap.
        logged: chances as logged by retrieval, filled here; hand the same to the estimates of one log to save half of
            the work.

    Example:
        Two candidates alike in relevance, one drawn and rated; at strength 4 the first has a better chance than at 1:

        >>> log = [
        ...     Decision("ana", "1", 1.0, (0,), (0,), np.zeros(2), np.array([0.1, 0.0]), 1.0, 0.1),
        ...     Decision("bob", "2", 0.0, (1,), (1,), np.zeros(2), np.array([0.1, 0.0]), 1.0, 0.1),
        ... ]
        >>> round(estimate(log, 1.0).ips, 2), round(estimate(log, 4.0).snips, 2)
        (0.5, 0.95)
    """
    drawn = [decision for decision in decisions if decision.explore > 0.0]
    fixed = [decision for decision in decisions if decision.explore <= 0.0]
    result: dict[str, object] = {"strength": strength, "ratings": len(drawn), "fixed": len(fixed)}
    if drawn:
        chances: dict[str, tuple[Vector, Vector]] = {}
        logged = {} if logged is None else logged
        for decision in drawn:
            name = decision.retrieval
            if name not in logged:
                logged[name] = inclusion(decision.logits(decision.strength), len(decision.shown))
            if name not in chances:
                chances[name] = _other(decision, logged[name], strength, k, deterministic), logged[name]
        weights = np.array([_weight(decision, chances[decision.retrieval], clip) for decision in drawn])
        rewards = np.array([decision.reward for decision in drawn])
        sums = _per_user(drawn, weights * rewards, weights)
        result |= {
            "ips": _mean(sums),
            "ips_interval": _interval(sums, _mean, seed),
            "snips": _ratio(sums) if weights.any() else None,
            "snips_interval": _interval(sums, _ratio, seed),
            "effective": float(weights.sum() ** 2 / max(float((weights**2).sum()), np.finfo(np.float64).tiny)),
            "unsupported": float(np.mean([_beyond(pair, clip) for pair in chances.values()])),
        }
    if fixed:
        shows = [set(decision.best(strength, k)) for decision in fixed]
        same = np.array([float(best == set(one.shown)) for best, one in zip(shows, fixed, strict=True)])
        common = [len(best & set(one.shown)) / len(one.shown) for best, one in zip(shows, fixed, strict=True)]
        earned = np.array([decision.reward for decision in fixed])
        sums = _per_user(fixed, same * earned, same)
        matched = int(same.sum())
        result |= {
            "fixed_reward": float(earned.mean()),
            "replayed": matched,
            "replay": _ratio(sums) if matched else None,
            "disagreed": float(earned[same == 0.0].mean()) if matched < len(fixed) else None,
            "coverage": matched / len(fixed),
            "agreement": float(np.mean(common)),
        }
    return Estimate(**result)  # type: ignore[arg-type]


def _other(decision: Decision, logged: Vector, strength: float, k: int | None, deterministic: bool) -> Vector:
    """The chance of every candidate to be shown under the other strength; `logged` is that under the logged one."""
    count = len(decision.shown) if k is None else k
    if deterministic or strength == 0.0:  # at strength 0 a retriever draws nothing, so neither does its estimate
        other = np.zeros(decision.base.size)
        other[list(decision.best(strength, count))] = 1.0
        return other
    if strength == decision.strength and count == len(decision.shown):
        return logged
    return inclusion(decision.logits(strength), count)


def _weight(decision: Decision, chances: tuple[Vector, Vector], clip: float) -> float:
    """The mean clipped weight of the documents that a reward is about."""
    other, logged = (side[list(decision.rated)] for side in chances)
    return float(np.minimum(other / np.maximum(logged, np.finfo(np.float64).tiny), clip).mean())


def _beyond(chances: tuple[Vector, Vector], clip: float) -> float:
    """Share of what the other strength shows whose weight is clipped."""
    other, logged = chances
    return float(other[other > clip * logged].sum() / other.sum())


def _per_user(decisions: Sequence[Decision], *columns: Vector) -> Vector:
    """Sums of the columns and the number of ratings of each user, shape (users, columns + 1)."""
    rows: defaultdict[str, Vector] = defaultdict(lambda: np.zeros(len(columns) + 1))
    for index, decision in enumerate(decisions):
        rows[decision.user] += np.array([*(float(column[index]) for column in columns), 1.0])
    return np.stack(list(rows.values()))


def _mean(sums: Vector) -> float:
    """`Σ w r / ratings`."""
    total = sums.sum(axis=0)
    return float(total[0] / total[2])


def _ratio(sums: Vector) -> float:
    """`Σ w r / Σ w`; NaN where no weight is left."""
    total = sums.sum(axis=0)
    return float(total[0] / total[1]) if total[1] > 0.0 else float("nan")


def _interval(sums: Vector, statistic: Callable[[Vector], float], seed: int) -> Interval | None:
    """The middle 95 % of the statistic over resampled users; None where fewer than two have any weight."""
    users = len(sums)
    if np.count_nonzero(sums[:, 1]) < 2:
        return None
    rng = np.random.default_rng(seed)
    values = np.array([statistic(sums[rng.integers(users, size=users)]) for _ in range(_RESAMPLES)])
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
