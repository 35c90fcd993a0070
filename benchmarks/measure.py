"""From replays to figures: means over seeds and users, bootstrap intervals, differences to ours, as plain JSON values.

Both data sets give documents of one form, so that one table, one picture and one block of Markdown serve them all:

    users, rules: [{id, name, rule, space, max_bonus}], measure, parts: [part]
    part: id, title, columns: [name], values: {rule: [interval]}, differences: {rule: [interval with verdict]}
    interval: mean, low, high, users        (differences: ours minus the rule)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from benchmarks.bootstrap import Interval, over_users
from benchmarks.contenders import OURS, Array, Contender
from benchmarks.films import AFTER, SESSIONS, watch
from benchmarks.movielens import MovieLens
from benchmarks.pahf import LEARNING_PHASES
from benchmarks.shopping import PHASES, PROTOCOLS, Life, Shopper, live

__all__ = ["movielens", "pahf"]

EVERY = 5
"""A point of the learning curve after each so many thumbs."""

RANDOM = "random"


def pahf(
    users: Sequence[Shopper], rules: Sequence[Contender], *, seeds: int, resamples: int, progress: Progress
) -> dict[str, Any]:
    """Acceptance where the choice matters, in the four phases, under both protocols."""
    task = progress.add_task("PAHF shopping", total=len(PROTOCOLS) * len(rules) * len(users))
    chance = np.array([[shopper.chance(phase) for phase in PHASES] for shopper in users])
    parts = []
    for protocol, title in PROTOCOLS.items():
        found = {RANDOM: chance}
        points: dict[str, Mapping[tuple[int, int], Interval]] = {}
        for rule in rules:
            lives: list[list[Life]] = []
            for shopper in users:
                # without a learner every order gives the same
                orders = range(seeds if rule.config else 1)
                every = EVERY if protocol == "A" else None
                lives.append([live(shopper, rule, seed=seed, protocol=protocol, every=every) for seed in orders])
                progress.advance(task)
            found[rule.id] = np.array(
                [[_mean([life.rates[phase] for life in some]) for phase in PHASES] for some in lives]
            )
            points[rule.id] = _curve(lives, resamples)
        part = _part(protocol, f"protocol {protocol}: {title}", list(PHASES.values()), found, resamples)
        if protocol == "A":
            part["curve"] = [
                {
                    "phase": place[0],
                    "thumbs": place[1],
                    "values": {rule: _json(curve[place]) for rule, curve in points.items()},
                }
                for place in points[OURS]
            ]
            part["curve_chance"] = {
                str(phase): _json(over_users(chance[:, phase - 1])) for phase in LEARNING_PHASES.values()
            }
        parts.append(part)
    scenarios = {name: sum(len(one.products[phase]) for one in users) for phase, name in PHASES.items()}
    matter = {name: sum(int(one.matters(phase).sum()) for one in users) for phase, name in PHASES.items()}
    return {
        "users": len(users),
        "scenarios": scenarios,
        "scenarios_that_matter": matter,
        "rules": [{"id": RANDOM, "name": "a random option"}, *_rules(rules)],
        "measure": "acceptance of the option offered, where one or two of the three are acceptable",
        "parts": parts,
    }


def movielens(
    data: MovieLens,
    films: npt.NDArray[np.float32],
    rules: Sequence[Contender],
    *,
    seeds: int,
    resamples: int,
    progress: Progress,
) -> dict[str, Any]:
    """AUC on each user's later films after so many thumbs."""
    users = list(data.thumbs)
    learning = [rule for rule in rules if rule.config is not None]
    task = progress.add_task("MovieLens", total=len(users) * seeds)
    found: dict[str, dict[str, list[Array]]] = {where: {rule.id: [] for rule in learning} for where in SESSIONS}
    for user in users:
        runs = []
        for seed in range(seeds):
            runs.append(watch(data, films, learning, user, seed=seed))
            progress.advance(task)
        for where, rows in found.items():
            for rule, kept in rows.items():
                # which users count does not depend on the seed, so a NaN is one in every run
                kept.append(np.mean([run[rule][where] for run in runs], axis=0))
    columns = [f"after {after}" for after in AFTER]
    parts = []
    for where, title in SESSIONS.items():
        arrays = {rule: np.array(rows) for rule, rows in found[where].items()}
        arrays = {RANDOM: np.where(np.isfinite(arrays[OURS]), 0.5, np.nan), **arrays}
        parts.append(_part(where, f"AUC on later films after so many thumbs, {title}", columns, arrays, resamples))
    return {
        "users": len(users),
        "thumbs": sum(len(given) for given in data.thumbs.values()),
        "films": len(data.texts),
        "unknown_films": data.unknown,
        "rules": [{"id": RANDOM, "name": "no personalisation"}, *_rules(learning)],
        "measure": "area under the ROC curve of the bonus on each user's later films",
        "parts": parts,
    }


def _part(name: str, title: str, columns: list[str], found: Mapping[str, Array], resamples: int) -> dict[str, Any]:
    """Intervals of every rule, and of ours minus every other; arrays of shape (users, columns)."""
    differences = {rule: found[OURS] - rows for rule, rows in found.items() if rule != OURS}
    return {
        "id": name,
        "title": title,
        "columns": columns,
        "values": {rule: [_json(one) for one in _intervals(rows, resamples)] for rule, rows in found.items()},
        "differences": {
            rule: [_json(one) | {"verdict": one.verdict} for one in _intervals(rows, resamples)]
            for rule, rows in differences.items()
        },
    }


def _intervals(rows: Array, resamples: int) -> list[Interval]:
    return [over_users(column, resamples=resamples) for column in rows.T]


def _curve(lives: Sequence[Sequence[Life]], resamples: int) -> dict[tuple[int, int], Interval]:
    """For each test phase and number of thumbs the acceptance, over the users who gave so many."""
    places = sorted({place for some in lives for life in some for place in life.curve})
    return {
        place: over_users(
            [_mean([life.curve.get(place, math.nan) for life in some]) for some in lives], resamples=resamples
        )
        for place in places
    }


def _mean(values: Sequence[float]) -> float:
    """The mean; NaN when any is, for a user's scenarios are the same under every seed."""
    return sum(values) / len(values)


def _json(interval: Interval) -> dict[str, Any]:
    """Plain values; a mean over nobody is None."""
    mean = None if math.isnan(interval.mean) else interval.mean
    return {"mean": mean, "low": interval.low, "high": interval.high, "users": interval.users}


def _rules(rules: Sequence[Contender]) -> list[dict[str, Any]]:
    return [
        {
            "id": rule.id,
            "name": rule.name,
            "rule": None if rule.config is None else repr(rule.config.rule),
            "max_bonus": None if rule.config is None else rule.config.max_bonus,
            "space": "identity" if rule.space is None else rule.space.id,
        }
        for rule in rules
    ]
