"""A preference space fitted to many users' ratings: long axes where tastes differ, short ones where nobody cares.

The model of user `u` and item `i`, with items in centred coordinates `x_i`:

    r_ui = ⟨w_u, x_i⟩ + noise,    w_u ~ N(m, V),    noise ~ N(0, s² / weight)

`fit_taste` estimates `m`, `V` and `s²` by expectation maximisation. A few users say little about a covariance of
thousands of numbers, so `V` is drawn towards a multiple of the identity, as if `shrink` more users had shown no
structure. `fit_map` makes coordinates `P = √(ridge/s²) · S^½` along the longest axes of `S = V + m mᵀ`: in these, ridge
regression with that `ridge` is the posterior mean of a user's taste.

Source: empirical Bayes for hierarchical linear models (Lindley and Smith, 1972; Dempster, Laird and Rubin, 1977), with
an inverse-Wishart penalty on `V`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from langchain_persona.errors import ConfigError, DimensionMismatchError
from langchain_persona.learning.arrays import Vector, fix_signs, frozen

Progress = Callable[[int, int], None]
Observed = tuple[Vector, Vector]  # one user's items (n, q) and rewards (n,), each times the square root of its weight

_AXES = 256  # principal axes of the rated items in which tastes are estimated; more cost time and say little
_FLOOR = 1e-6  # least noise and least spread: a linear taste that explains every rating would leave a division by 0
_TOLERANCE = 1e-5  # an iteration that gains less for each rating is the last


class UserRatings:
    """What one user rated, oldest first: embeddings, shape (n, d), rewards in [−1, 1] and weights in [0, 1], (n,).

    Anything else is a `ConfigError`.

    Example:
        >>> UserRatings([[1.0, 0.0], [0.0, 1.0]], [1.0, -1.0]).weights
        array([1., 1.])
    """

    __slots__ = ("items", "rewards", "weights")

    def __init__(self, items: npt.ArrayLike, rewards: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> None:
        self.items, self.rewards = frozen(items), frozen(rewards)
        self.weights = frozen(np.ones_like(self.rewards) if weights is None else weights)
        n = self.items.shape[:1]
        if self.items.ndim != 2 or self.rewards.shape != n or self.weights.shape != n:
            raise DimensionMismatchError(
                "a user's ratings are items of shape (n, d), rewards and weights of shape (n,); got "
                f"{self.items.shape}, {self.rewards.shape} and {self.weights.shape}"
            )
        if not np.isfinite(self.items).all():
            raise ConfigError("the embeddings of a user's ratings must be finite, got NaN or infinity")
        # written so that NaN is refused too
        if not (np.abs(self.rewards) <= 1.0).all():
            raise ConfigError("rewards must lie between -1 and 1; langchain_persona.rewards converts other scales")
        if not ((self.weights >= 0.0) & (self.weights <= 1.0)).all():
            raise ConfigError("weights must lie between 0 and 1")

    def __len__(self) -> int:
        return len(self.rewards)

    def __repr__(self) -> str:
        return f"<UserRatings of {len(self)} items>"


def choose_users(ledgers: Sequence[UserRatings], min_users: int, min_events: int, max_events: int) -> list[UserRatings]:
    """Those with enough ratings of a weight above 0, each with the latest; the order of `ledgers` does not matter."""
    users = []
    for user in ledgers:
        kept = np.flatnonzero(user.weights > 0.0)[-max_events:]
        if len(kept) >= min_events:
            users.append(UserRatings(user.items[kept], user.rewards[kept], user.weights[kept]))
    if len(users) < min_users:
        raise ConfigError(
            f"a preference space needs {min_users} users with {min_events} ratings each, got {len(users)} of "
            f"{len(ledgers)} users; collect more feedback, or lower min_users or min_events if all may share what "
            "these few have taught"
        )
    return sorted(
        users,
        key=lambda one: hashlib.sha256(one.items.tobytes() + one.rewards.tobytes() + one.weights.tobytes()).digest(),
    )


def fit_map(
    users: Sequence[UserRatings], k: int, iterations: int, shrink: float, ridge: float, progress: Progress | None
) -> tuple[Vector, Vector, dict[str, Any]]:
    """Mean `μ` (d,), matrix `P` (k, d) and story of a fitted space; see `PreferenceSpace.fit`."""
    # written so that NaN is refused too
    if not (0.0 <= shrink < float("inf") and 0.0 < ridge < float("inf")):
        raise ConfigError(f"shrink must be at least 0 and ridge above 0, both finite; got {shrink} and {ridge}")
    dimensions = {user.items.shape[1] for user in users}
    if len(dimensions) != 1:
        raise DimensionMismatchError(f"all items must come from one embedding model, got {sorted(dimensions)} numbers")
    rows, rewards = np.concatenate([user.items for user in users]), np.concatenate([user.rewards for user in users])
    # every user weighs the same: nobody moves the origin or turns the axes by rating more
    shares = np.concatenate([np.full(len(user), 1.0 / (len(user) * len(users))) for user in users])
    mean = shares @ rows
    spread = (rows - mean) * np.sqrt(shares)[:, None]
    values, vectors = np.linalg.eigh(spread.T @ spread)
    kept = [index for index in np.argsort(-values)[:_AXES] if values[index] > 1e-12]
    if not kept:
        raise ConfigError("every rated item has the same embedding: there is nothing to tell tastes apart by")
    if rewards.min() == rewards.max():
        raise ConfigError(
            f"every one of the {len(rewards)} ratings is {rewards[0]:g}: a preference space tells what people like "
            "from what they do not, so collect thumbs down as well as up"
        )
    axes = vectors[:, kept].T
    observed = []
    for user in users:
        roots = np.sqrt(user.weights)
        observed.append((((user.items - mean) @ axes.T) * roots[:, None], user.rewards * roots))
    taste = fit_taste(observed, shrink, iterations, progress)
    if taste.noise <= _FLOOR:
        raise ConfigError(
            f"the {len(rows)} ratings are explained to the last digit, as ratings of people never are: either a rule "
            "made them, or they are about too few different items for so long an embedding; collect more feedback"
        )
    # `P = c S^½` along the `k` longest axes of `S`
    values, vectors = np.linalg.eigh(taste.second_moment)
    order = np.argsort(-values)[:k]
    lengths, directions = np.sqrt(values[order]), fix_signs(vectors[:, order].T)
    # ridge regression is the posterior mean under w ~ N(0, s²/ridge · PᵀP): make that S
    scale = float(np.sqrt(ridge / taste.noise))
    matrix = scale * (lengths[:, None] * directions) @ axes
    about = {"users": len(users), "events": len(rows), "noise": taste.noise, "iterations": len(taste.evidence)}
    return mean, matrix, {**about, "shrink": float(shrink), "ridge": float(ridge)}


class Taste(NamedTuple):
    """How tastes spread over all users: `m` (q,), `V` (q, q), `s²`, and the penalised likelihood of each iteration."""

    mean: Vector
    covariance: Vector
    noise: float
    evidence: tuple[float, ...] = ()

    @property
    def second_moment(self) -> Vector:
        """`S = V + m mᵀ`, shape (q, q)."""
        return self.covariance + np.outer(self.mean, self.mean)


def fit_taste(users: Sequence[Observed], shrink: float, iterations: int, progress: Progress | None = None) -> Taste:
    """Mean, covariance and noise by expectation maximisation.

    In the first third of the iterations `V` is a multiple of the identity; towards this it is drawn in the rest.
    """
    q = users[0][0].shape[1]
    ratings = sum(len(rewards) for _, rewards in users)
    noise = max(sum(float(rewards @ rewards) for _, rewards in users) / ratings, _FLOOR)
    spread = 1.0
    taste = Taste(np.zeros(q), spread * np.eye(q), noise)
    simple = max(1, iterations // 3)
    for done in range(iterations):
        likelihood, error, mean, scatter = _expect(taste, users)
        if done >= simple and shrink:
            # the cost of structure: 0 for `spread` times the identity, more for any other covariance
            eigenvalues = np.linalg.eigvalsh(taste.covariance) / spread
            likelihood -= shrink / 2.0 * float(np.sum(np.log(eigenvalues) + 1.0 / eigenvalues - 1.0))
        evidence = (*taste.evidence, likelihood)
        if done < simple:
            spread = max(float(np.trace(scatter)) / (q * len(users)), _FLOOR)
            covariance = spread * np.eye(q)
        else:
            covariance = (scatter + (shrink * spread + _FLOOR) * np.eye(q)) / (len(users) + shrink)
        taste = Taste(mean, covariance, max(error / ratings, _FLOOR), evidence)
        if progress is not None:
            progress(done + 1, iterations)
        if done > simple and evidence[-1] - evidence[-2] < _TOLERANCE * ratings:
            break
    return taste


def _expect(taste: Taste, users: Sequence[Observed]) -> tuple[float, float, Vector, Vector]:
    """One expectation step: log-likelihood, expected squared error, and mean and scatter of the users' vectors."""
    (prior, covariance, noise, _), q = taste, taste.mean.size
    root = np.linalg.cholesky(covariance)
    likelihood, error, few = 0.0, 0.0, 0
    means: list[Vector] = []
    explained = np.zeros((q, q))  # Σ Xᵀ K⁻¹ X over users with few ratings
    left = np.zeros((q, q))  # Σ of posterior covariances over users with many
    for rows, rewards in users:
        rest, n = rewards - rows @ prior, len(rewards)
        if n <= q:  # the smaller of the two matrices that give the posterior
            gram = rows @ covariance @ rows.T + noise * np.eye(n)
            inverse = np.linalg.inv(gram)
            weighed = inverse @ rest
            move = covariance @ (rows.T @ weighed)
            explained += rows.T @ inverse @ rows
            few += 1
            # the residual is s² K⁻¹ rest, and X C Xᵀ = s² I − s⁴ K⁻¹
            error += noise**2 * float(weighed @ weighed) + noise * (n - noise * float(np.trace(inverse)))
            square, log_determinant = float(rest @ weighed), float(np.linalg.slogdet(gram)[1])
        else:
            gram, pull = rows.T @ rows, rows.T @ rest
            inner = np.eye(q) + root.T @ gram @ root / noise
            posterior = root @ np.linalg.inv(inner) @ root.T
            move = posterior @ pull / noise
            left += posterior
            residual = rest - rows @ move
            error += float(residual @ residual) + float(np.sum(gram * posterior))
            square = (float(rest @ rest) - float(pull @ move)) / noise
            log_determinant = n * float(np.log(noise)) + float(np.linalg.slogdet(inner)[1])
        means.append(prior + move)
        likelihood -= 0.5 * (n * float(np.log(2.0 * np.pi)) + log_determinant + square)
    mean = np.stack(means).mean(axis=0)
    off = np.stack(means) - mean
    scatter = off.T @ off + (few * covariance - covariance @ explained @ covariance) + left
    return likelihood, error, mean, (scatter + scatter.T) / 2.0
