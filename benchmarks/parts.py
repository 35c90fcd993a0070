"""From one number a user to figures: bootstrap intervals and differences to ours, as plain JSON values.

All data sets give documents of one form, so that one table, one picture and one block of Markdown serve them all:

    users, rules: [{id, name, rule, space, max_bonus}], left_out: [reason], measure, parts: [part]
    part: id, title, columns: [name], reference: rule, values: {rule: [interval]},
          differences: {rule: [interval with verdict]}, pairs: [{left, right, values: [interval with verdict]}]
    interval: mean, low, high, users        (differences: reference minus rule; pairs: left minus right)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.bootstrap import Interval, over_users, verdict
from benchmarks.contenders import OURS, OURS_FITTED, PAPER, Contender, described
from benchmarks.fitted import CrossFitted
from benchmarks.learners import Array

__all__ = ["left_out", "part", "plain", "rules_of"]

PAIRS = ((OURS, PAPER), (OURS_FITTED, PAPER), (OURS_FITTED, "paper_fitted"), (OURS_FITTED, OURS))
"""Differences of their own, where both rules are there and the left one is not the reference."""


def part(
    name: str, title: str, columns: Sequence[str], found: Mapping[str, Array], *, reference: str, resamples: int
) -> dict[str, Any]:
    """Intervals of every rule, and of the reference minus every other.

    Args:
        name: of the part.
        title: for people.
        columns: for people.
        found: for each rule an array of shape (users, columns), averaged over seeds; NaN is no value.
        reference: the rule from which the others are subtracted.
        resamples: of the bootstrap.
    """
    return {
        "id": name,
        "title": title,
        "columns": list(columns),
        "reference": reference,
        "values": {rule: [plain(one) for one in _intervals(rows, resamples)] for rule, rows in found.items()},
        "differences": {
            rule: _differences(found[reference] - rows, resamples) for rule, rows in found.items() if rule != reference
        },
        "pairs": [
            {"left": left, "right": right, "values": _differences(found[left] - found[right], resamples)}
            for left, right in PAIRS
            if left in found and right in found and reference not in (left, right)
        ],
    }


def plain(interval: Interval) -> dict[str, Any]:
    """Plain values; a mean over nobody is None."""
    mean = None if math.isnan(interval.mean) else interval.mean
    return {"mean": mean, "low": interval.low, "high": interval.high, "users": interval.users}


def rules_of(rules: Sequence[Contender]) -> list[dict[str, Any]]:
    """The rules and their settings."""
    return [described(rule) for rule in rules]


def left_out(fitted: CrossFitted, *others: str) -> list[str]:
    """Which contenders are missing and why, in words."""
    reasons = list(others)
    if fitted.spaces is None:
        reasons.append(f"rules in a fitted space, five groups of users ({fitted.refused})")
    return reasons


def _intervals(rows: Array, resamples: int) -> list[Interval]:
    return [over_users(column, resamples=resamples) for column in rows.T]


def _differences(rows: Array, resamples: int) -> list[dict[str, Any]]:
    return [plain(one) | {"verdict": verdict(one)} for one in _intervals(rows, resamples)]
