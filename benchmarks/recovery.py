"""How fast a rule is back after a user's taste has changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.contenders import OURS, OURS_FITTED, PAPER
from benchmarks.learners import Array

__all__ = ["SHARE", "first_stay", "recovery"]

SHARE = 0.9
"""Back is who has so much of the acceptance after the whole phase."""


def first_stay(curves: npt.ArrayLike, target: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """The first point from which a curve stays at or above a target to its end.

    Args:
        curves: shape (..., points): acceptance after 0, 1, 2, … scenarios.
        target: shape (...).

    Returns:
        The number of scenarios, shape (...); as many as there are points for a curve that ends below.

    Example:
        `[.4, .6, .5, .6]` and .55 give 3: at 1 it was there, and lost it again.
    """
    values = np.asarray(curves, dtype=np.float64)
    below = values < np.asarray(target, dtype=np.float64)[..., None]
    points = values.shape[-1]
    return np.where(below.any(axis=-1), points - below[..., ::-1].argmax(axis=-1), 0)


def recovery(curves: Mapping[str, Array], *, resamples: int, seed: int = 0) -> dict[str, Any]:
    """Scenarios until a rule is back, of the curves' mean over users.

    Two targets, because one alone misleads. *Its own level*: 90 % of the rule's own acceptance after the whole phase. A
    rule that hardly learns has hardly anything to come back to, and is back at once. *The paper's level*: what the
    paper's rule has after the whole phase, the same for all.

    Args:
        curves: for each rule the acceptance in the test after drift after 0, 1, 2, … scenarios of the learning phase
            before it, averaged over orders, shape (users, points); users without a value are left out.
        resamples: of the bootstrap over users.
        seed: of the bootstrap.

    Returns:
        For each rule the acceptance right after the change and after the whole phase, and for both targets the number
        of scenarios with its interval, which is one more than there are where the target is not reached, and the
        paper's number subtracted from it (`own_minus_paper`, `paper_minus_paper`); and the ratios of our rules to the
        paper's.
    """
    points = int(next(iter(curves.values())).shape[1])
    kept = np.all([np.isfinite(rows).all(axis=1) for rows in curves.values()], axis=0)
    users = int(kept.sum())
    if not users:
        return {"share": SHARE, "users": 0, "scenarios": points - 1, "rules": {}, "ratios": {}}
    drawn = np.random.default_rng(seed).integers(users, size=(min(resamples, 2_000), users))
    # the first row is all users, each once; the others are the resamples
    weights = np.array([np.ones(users), *(np.bincount(row, minlength=users) for row in drawn)]) / users
    means = {rule: weights @ rows[kept] for rule, rows in curves.items()}
    counts = {
        rule: {
            "own": first_stay(rows, SHARE * rows[:, -1]),
            "paper": first_stay(rows, means[PAPER][:, -1]),
        }
        for rule, rows in means.items()
    }
    table: dict[str, dict[str, Any]] = {}
    for rule, rows in means.items():
        table[rule] = {"before": float(rows[0, 0]), "level": float(rows[0, -1])}
        for target, found in counts[rule].items():
            table[rule][target] = _interval(found, users)
            table[rule][f"{target}_minus_paper"] = _interval(found - counts[PAPER][target], users)
    ratios = {rule: _ratios(table[rule], table[PAPER]) for rule in (OURS, OURS_FITTED) if rule in table}
    return {"share": SHARE, "users": users, "scenarios": points - 1, "rules": table, "ratios": ratios}


def _ratios(ours: Mapping[str, Any], paper: Mapping[str, Any]) -> dict[str, float | None]:
    """Ours over the paper's, for both targets; None where the paper's is 0."""
    return {
        target: ours[target]["mean"] / paper[target]["mean"] if paper[target]["mean"] else None
        for target in ("own", "paper")
    }


def _interval(found: npt.NDArray[np.intp], users: int) -> dict[str, Any]:
    """The number on all users, which comes first, and the 2.5th to 97.5th percentile over resampled users."""
    low, high = (None, None) if users < 2 else map(float, np.percentile(found[1:], [2.5, 97.5]))
    return {"mean": float(found[0]), "low": low, "high": high, "users": users}
