"""How tastes spread over many users: mean and covariance of their taste vectors, by expectation maximisation.

The model, for user `u` and item `i` (in centred coordinates `x_i`):

    r_ui = ⟨w_u, x_i⟩ + noise,    w_u ~ N(m, V),    noise ~ N(0, s² / weight)

`m`, `V` and `s²` are estimated. Few users say little of a covariance of thousands of numbers, so `V` is drawn to a
multiple of the identity as if `shrink` users had shown no structure. An intercept for each user (their usual reward)
and an effect of each item were tried and left out: what one chooses to rate says something of taste, too, and effects
of popular items take away what their vectors tell of the rest.

Source: empirical Bayes for hierarchical linear models (Dempster, Laird and Rubin, *Maximum Likelihood from Incomplete
Data via the EM Algorithm*, 1977; Lindley and Smith, 1972), with an inverse-Wishart penalty on `V`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from langchain_persona.arrays import Vector

__all__ = ["FLOOR", "Observed", "Taste", "estimate"]

FLOOR = 1e-6
"""Least noise and least spread: ratings that a linear taste explains to the last digit leave something to divide by."""


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """One user's ratings, each multiplied by the square root of its weight.

    Attributes:
        items: shape (n, q).
        rewards: shape (n,).
    """

    items: Vector
    rewards: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Taste:
    """What is estimated; aggregates over all users, no user's own vector.

    Attributes:
        mean: `m`, shape (q,).
        covariance: `V`, shape (q, q).
        noise: `s²`.
        evidence: penalised log-likelihood before each iteration; it does not fall.
    """

    mean: Vector
    covariance: Vector
    noise: float
    evidence: tuple[float, ...] = ()

    @property
    def second_moment(self) -> Vector:
        """`S = V + m mᵀ`, shape (q, q): how far tastes lie from zero, for learners that start there."""
        return self.covariance + np.outer(self.mean, self.mean)


def estimate(
    users: Sequence[Observed],
    *,
    shrink: float,
    iterations: int,
    tolerance: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Taste:
    """Fit the model.

    The first third of the iterations takes `V` as a multiple of the identity; where that arrives is what `V` is
    then drawn to.

    Args:
        users: at least one rating in all, in any order; what comes out depends on the order in the last digits.
        shrink: pseudo-users without structure; 0 is plain maximum likelihood.
        iterations: at most so many.
        tolerance: stop when an iteration gains less than this a rating.
        progress: called with (done, `iterations`) after each iteration.

    Example:
        Two users of ten who like the first axis and two who dislike it, nothing else being rated differently, give a
        covariance whose largest entry is the first, and a mean near 0.
    """
    q = users[0].items.shape[1]
    ratings = sum(len(user.rewards) for user in users)
    noise = max(sum(float(user.rewards @ user.rewards) for user in users) / ratings, FLOOR)
    spread = 1.0
    taste = Taste(np.zeros(q), spread * np.eye(q), noise)
    evidence: list[float] = []
    simple = max(1, iterations // 3)
    for done in range(iterations):
        sums = _Sums(taste)
        for user in users:
            sums.add(user)
        evidence.append(sums.likelihood - _penalty(taste.covariance, spread, shrink if done >= simple else 0.0))
        mean, scatter = sums.moments()
        if done < simple:
            spread = max(float(np.trace(scatter)) / (q * len(users)), FLOOR)
            covariance = spread * np.eye(q)
        else:
            covariance = (scatter + (shrink * spread + FLOOR) * np.eye(q)) / (len(users) + shrink)
        taste = Taste(mean, covariance, max(sums.error / ratings, FLOOR))
        if progress is not None:
            progress(done + 1, iterations)
        if done > simple and evidence[-1] - evidence[-2] < tolerance * ratings:
            break
    return Taste(taste.mean, taste.covariance, taste.noise, tuple(evidence))


class _Sums:
    """One expectation step: what the users' posteriors add up to under the present estimate.

    Attributes:
        likelihood: log-likelihood of all ratings.
        error: expected sum of squared errors.
    """

    def __init__(self, taste: Taste) -> None:
        self.likelihood, self.error = 0.0, 0.0
        self._taste = taste
        self._root = np.linalg.cholesky(taste.covariance)
        q = taste.mean.size
        self._means: list[Vector] = []
        self._explained = np.zeros((q, q))  # Σ Xᵀ K⁻¹ X, of users with few ratings
        self._left = np.zeros((q, q))  # Σ of posterior covariances, of users with many
        self._few = 0

    def add(self, user: Observed) -> None:
        """Count one user in, by the smaller of the two matrices that give the posterior."""
        rest = user.rewards - user.items @ self._taste.mean
        if len(rest) <= self._taste.mean.size:
            self._add_few(user.items, rest)
        else:
            self._add_many(user.items, rest)

    def moments(self) -> tuple[Vector, Vector]:
        """Mean of the users' vectors, shape (q,), and their expected scatter about it, shape (q, q)."""
        covariance = self._taste.covariance
        means = np.stack(self._means)
        mean = means.mean(axis=0)
        off = means - mean
        inner = self._few * covariance - covariance @ self._explained @ covariance
        scatter = off.T @ off + inner + self._left
        return mean, (scatter + scatter.T) / 2.0

    def _add_few(self, rows: Vector, rest: Vector) -> None:
        covariance, noise, n = self._taste.covariance, self._taste.noise, len(rest)
        gram = rows @ covariance @ rows.T + noise * np.eye(n)
        inverse = np.linalg.inv(gram)
        weighed = inverse @ rest
        self._means.append(self._taste.mean + covariance @ (rows.T @ weighed))
        self._explained += rows.T @ inverse @ rows
        self._few += 1
        # the residual is s² K⁻¹ rest, and X C Xᵀ = s² I − s⁴ K⁻¹
        self.error += noise**2 * float(weighed @ weighed) + noise * (n - noise * float(np.trace(inverse)))
        self._likely(n, float(rest @ weighed), float(np.linalg.slogdet(gram)[1]))

    def _add_many(self, rows: Vector, rest: Vector) -> None:
        noise, root, n = self._taste.noise, self._root, len(rest)
        gram, pull = rows.T @ rows, rows.T @ rest
        inner = np.eye(len(gram)) + root.T @ gram @ root / noise
        covariance = root @ np.linalg.inv(inner) @ root.T
        move = covariance @ pull / noise
        self._means.append(self._taste.mean + move)
        self._left += covariance
        left = rest - rows @ move
        self.error += float(left @ left) + float(np.sum(gram * covariance))
        square = (float(rest @ rest) - float(pull @ move)) / noise
        self._likely(n, square, n * float(np.log(noise)) + float(np.linalg.slogdet(inner)[1]))

    def _likely(self, n: int, square: float, log_determinant: float) -> None:
        self.likelihood -= 0.5 * (n * float(np.log(2.0 * np.pi)) + log_determinant + square)


def _penalty(covariance: Vector, spread: float, shrink: float) -> float:
    """What structure costs: 0 for `spread` times the identity, more for whatever else."""
    if shrink == 0.0:
        return 0.0
    eigenvalues = np.linalg.eigvalsh(covariance) / spread
    return shrink / 2.0 * float(np.sum(np.log(eigenvalues) + 1.0 / eigenvalues - 1.0))
