"""PAHF, shopping and embodied: acceptance in four phases, learning curves, and recovery after the drift."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from rich.progress import Progress, TaskID

from benchmarks.bootstrap import over_users
from benchmarks.choices import PHASES, Chooser
from benchmarks.contenders import OURS, RANDOM, Contender, contenders
from benchmarks.fitted import CrossFitted, cross_fitted
from benchmarks.learners import Array, Rows
from benchmarks.life import Life, live
from benchmarks.pahf import LEARNING_PHASES
from benchmarks.parts import left_out, part, plain, rules_of
from benchmarks.recovery import recovery

__all__ = ["Setting", "choices", "fitted_on", "rules_for"]

_DRAWN = (OURS, "both_some", "both_all")

LAST = 4
"""The test phase after the drift."""

Curve = Mapping[tuple[int, int], list[float]]
"""Test phase and number of scenarios to the acceptance of each user."""


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """One way to run the scenarios.

    Attributes:
        id: of the part.
        title: for people.
        protocol: a key of `life.PROTOCOLS`.
        users: with their scenarios.
        rules: the contenders.
    """

    id: str
    title: str
    protocol: str
    users: Sequence[Chooser]
    rules: Sequence[Contender]


def fitted_on(users: Sequence[Chooser]) -> CrossFitted:
    """Spaces from what other users said in their first learning phase, to every option."""
    return cross_fitted({user.name: user.rated(1) for user in users})


def rules_for(users: Sequence[Chooser], corpus: Rows) -> tuple[tuple[Contender, ...], CrossFitted]:
    """The contenders, without popularity, and the spaces of those that have one."""
    fitted = fitted_on(users)
    return contenders(corpus, fitted), fitted


def choices(
    settings: Sequence[Setting],
    fitted: CrossFitted,
    *,
    seeds: int,
    resamples: int,
    progress: Progress,
    what: str,
    measure: str,
) -> dict[str, Any]:
    """Acceptance where the choice matters, in the four phases, in every setting."""
    task = progress.add_task(what, total=sum(len(one.rules) * len(one.users) for one in settings))
    parts = [_setting(one, seeds=seeds, resamples=resamples, progress=progress, task=task) for one in settings]
    users = settings[0].users
    return {
        "users": len(users),
        "scenarios": {name: sum(len(one.products[phase]) for one in users) for phase, name in PHASES.items()},
        "scenarios_that_matter": {
            name: sum(int(one.matters(phase).sum()) for one in users) for phase, name in PHASES.items()
        },
        "rules": rules_of(settings[0].rules),
        "left_out": left_out(fitted, "popularity, which is for films only"),
        "measure": measure,
        "parts": parts,
    }


def _setting(one: Setting, *, seeds: int, resamples: int, progress: Progress, task: TaskID) -> dict[str, Any]:
    chance = np.array([[user.chance(phase) for phase in PHASES] for user in one.users])
    found = {RANDOM: chance}
    curves: dict[str, Curve] = {}
    within: dict[str, Curve] = {}
    for rule in one.rules:
        if rule.id == RANDOM:  # computed, not drawn
            progress.advance(task, len(one.users))
            continue
        lives: list[list[Life]] = []
        for user in one.users:
            # without a learner every order gives the same
            orders = range(seeds if rule.order else 1)
            lives.append([live(user, rule, seed=seed, protocol=one.protocol, curves=True) for seed in orders])
            progress.advance(task)
        found[rule.id] = np.array([[_mean([life.rates[phase] for life in some]) for phase in PHASES] for some in lives])
        curves[rule.id] = _curve([[life.curve for life in some] for some in lives])
        within[rule.id] = _curve([[life.within for life in some] for some in lives])
    result = part(one.id, one.title, list(PHASES.values()), found, reference=OURS, resamples=resamples)
    result["curve"] = [
        {
            "phase": place[0],
            "scenarios": place[1],
            "values": {
                # intervals are drawn for ours and for what hears words only
                rule: plain(over_users(curve[place], resamples=resamples if rule in _DRAWN else 100))
                for rule, curve in curves.items()
            },
        }
        for place in curves[OURS]
    ]
    result["curve_chance"] = {
        str(phase): plain(over_users(chance[:, phase - 1], resamples=resamples)) for phase in LEARNING_PHASES.values()
    }
    for name, some in (("recovery", curves), ("recovery_within", within)):
        arrays = {rule: _after_drift(curve) for rule, curve in some.items()}
        # in blocks of one scenario there is nothing to watch
        if name == "recovery" or arrays[OURS].shape[1] > 2:
            result[name] = recovery(arrays, resamples=resamples)
    return result


def _curve(lives: Sequence[Sequence[Mapping[tuple[int, int], float]]]) -> Curve:
    """For each test phase and number of scenarios the acceptance of each user; NaN of those who have not so many."""
    places = sorted({place for some in lives for points in some for place in points})
    return {place: [_mean([points.get(place, math.nan) for points in some]) for some in lives] for place in places}


def _after_drift(curve: Curve) -> Array:
    """Acceptance after 0, 1, 2, … scenarios of the phase after the drift, shape (users, points).

    Who has fewer scenarios than others keeps the last value.
    """
    rows = np.array([curve[place] for place in sorted(curve) if place[0] == LAST], dtype=np.float64)
    if not rows.size:
        return np.full((0, 1), np.nan)
    for before, row in pairwise(rows):
        row[np.isnan(row)] = before[np.isnan(row)]
    return rows.T


def _mean(values: Sequence[float]) -> float:
    """The mean; NaN when any is, for a user's scenarios are the same under every seed."""
    return sum(values) / len(values)
