"""From many users' ratings to a preference space: long axes where tastes differ much, short ones where nobody cares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from langchain_persona.arrays import Vector
from langchain_persona.errors import ConfigError, DimensionMismatchError
from langchain_persona.spaces.ratings import UserRatings
from langchain_persona.spaces.taste import FLOOR, Observed, Taste, estimate

__all__ = ["FittedMap", "check_counts", "fit_map", "too_few"]

AXES = 256
"""Principal axes of the rated items in which tastes are estimated; more cost time and say little."""

_TOLERANCE = 1e-5
_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class FittedMap:
    """The parts of a fitted space.

    Attributes:
        mean: `μ`, mean of the rated items over all users, shape (d,).
        matrix: `P`, shape (k, d).
        prior: the mean user's vector in the new coordinates, shape (k,).
        about: how it was made, as JSON values.
    """

    mean: Vector
    matrix: Vector
    prior: Vector
    about: dict[str, Any]


def fit_map(
    ledgers: Sequence[UserRatings],
    *,
    k: int,
    min_users: int,
    min_events: int,
    max_events: int,
    iterations: int,
    shrink: float,
    ridge: float,
    progress: Callable[[int, int], None] | None,
    version: str,
) -> FittedMap:
    """The body of `PreferenceSpace.fit`; see there."""
    check_counts(k=k, min_users=min_users, min_events=min_events, max_events=max_events, iterations=iterations)
    # written so that NaN is refused too
    if not (0.0 <= shrink < float("inf") and 0.0 < ridge < float("inf")):
        raise ConfigError(f"shrink must be at least 0 and ridge above 0, both finite; got {shrink} and {ridge}")
    counted = [user.latest(max_events) for user in ledgers]
    enough = sorted((user for user in counted if len(user) >= min_events), key=UserRatings.digest)
    if len(enough) < min_users:
        raise too_few(len(enough), len(ledgers), min_users, min_events)
    dimensions = {user.arrays()[0].shape[1] for user in enough}
    if len(dimensions) != 1:
        raise DimensionMismatchError(f"all items must come from one embedding model, got {sorted(dimensions)} numbers")
    rows = np.concatenate([user.arrays()[0] for user in enough])
    # every user weighs the same: nobody moves the origin or turns the axes by rating more
    shares = np.concatenate([np.full(len(user), 1.0 / (len(user) * len(enough))) for user in enough])
    mean = shares @ rows
    axes = _axes((rows - mean) * np.sqrt(shares)[:, None])
    rewards = np.concatenate([user.arrays()[1] for user in enough])
    if rewards.min() == rewards.max():
        raise ConfigError(
            f"every one of the {len(rewards)} ratings is {rewards[0]:g}: a preference space tells what people like "
            "from what they do not, so collect thumbs down as well as up"
        )
    users = [_observed(user, mean, axes) for user in enough]
    taste = estimate(users, shrink=shrink, iterations=iterations, tolerance=_TOLERANCE, progress=progress)
    if taste.noise <= FLOOR:
        raise ConfigError(
            f"the {len(rows)} ratings are explained to the last digit, as ratings of people never are: too few of "
            "different items for so many numbers in an embedding, or made by a rule; collect more feedback"
        )
    matrix, prior = _mapped(taste, axes, k, ridge)
    about = {
        "version": version,
        "users": len(enough),
        "events": len(rows),
        "noise": taste.noise,
        "iterations": len(taste.evidence),
        "shrink": float(shrink),
        "ridge": float(ridge),
    }
    return FittedMap(mean, matrix, prior, about)


def check_counts(**numbers: int) -> None:
    """Refuse arguments of a fit that are not whole numbers, or too small.

    Raises:
        ConfigError: names the argument, what was given and what is allowed.
    """
    for name, value in numbers.items():
        least = 2 if name == "min_users" else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            # one user's space would be that user's taste, handed to everybody
            raise ConfigError(f"{name} must be a whole number of at least {least}, got {value!r}")


def too_few(enough: int, users: int, min_users: int, min_events: int) -> ConfigError:
    """The refusal to fit from few: what one of them likes would show in what all of them get."""
    return ConfigError(
        f"a preference space needs {min_users} users with {min_events} ratings each, got {enough} of {users} users; "
        "collect more feedback, or lower min_users or min_events if what is learned of so few may be shared among all"
    )


def _axes(rows: Vector) -> Vector:
    """The leading principal axes of the rated items, shape (q, d)."""
    values, vectors = np.linalg.eigh(rows.T @ rows)
    kept = [index for index in np.argsort(-values)[:AXES] if values[index] > _TINY]
    if not kept:
        raise ConfigError("every rated item has the same embedding: there is nothing to tell tastes apart by")
    return vectors[:, kept].T


def _observed(user: UserRatings, mean: Vector, axes: Vector) -> Observed:
    items, rewards, weights = user.arrays()
    roots = np.sqrt(weights)
    return Observed(((items - mean) @ axes.T) * roots[:, None], rewards * roots)


def _mapped(taste: Taste, axes: Vector, k: int, ridge: float) -> tuple[Vector, Vector]:
    """`P = c S^½` along the `k` longest axes of `S`, and the mean user in these coordinates."""
    values, vectors = np.linalg.eigh(taste.second_moment)
    order = np.argsort(-values)[:k]
    lengths, directions = np.sqrt(values[order]), vectors[:, order].T
    # the sign of an axis is arbitrary; fix it, so that one ledger gives one space
    leading = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    directions = directions * np.sign(leading)[:, None]
    # ridge regression is the posterior mean under w ~ N(0, s²/ridge · PᵀP): make that S
    scale = float(np.sqrt(ridge / taste.noise))
    prior = directions @ taste.mean / (scale * lengths)
    return scale * (lengths[:, None] * directions) @ axes, prior
