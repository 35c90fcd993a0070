"""The check list for update rules, and the random events that it runs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from langchain_persona.arrays import unit
from langchain_persona.learning import Event, LearnerState, UpdateRule, VARSConfig, fold

__all__ = ["check_update_rule", "random_events"]


def random_events(seed: int, count: int, *, k: int = 8, sessions: int = 3) -> list[Event]:
    """Feedback events with random unit items and rewards, one a second.

    Args:
        seed: the same seed gives the same events.
        count: how many.
        k: numbers in an item vector.
        sessions: among how many sessions they are spread.
    """
    rng = np.random.default_rng(seed)
    return [
        Event(
            time=float(index),
            id=f"f{index}",
            session=f"s{rng.integers(sessions)}",
            reward=float(rng.uniform(-1.0, 1.0)),
            gate=float(rng.uniform(0.0, 1.0)),
            chosen=unit(rng.normal(size=k)),
            expected=unit(rng.normal(size=k)) * 0.5,
            retrieval=f"r{index // 2}",
        )
        for index in range(count)
    ]


def check_update_rule(rule: UpdateRule) -> None:
    """Assert what every update rule must keep; call it in a test of your own rule.

    The step is pure and repeatable, no input changes, states survive JSON in the middle of a fold, order of arrival and
    duplicates do not matter, nothing grows without bound under hostile rewards, and no reward means no move from cold.

    Raises:
        AssertionError: names the property that does not hold.
    """
    config = VARSConfig(rule=rule)
    for check in (_pure, _arrival, _json, _bounded, _neutral):
        check(config)


def _same(one: LearnerState, other: LearnerState) -> bool:
    return one.to_json() == other.to_json()


def _pure(config: VARSConfig) -> None:
    events = random_events(1, 20)
    before = [(event.chosen.copy(), event.expected.copy()) for event in events]
    start = fold(events[:5], config, k=8)
    kept = start.to_json()
    once, again = (fold(events[5:], config, k=8, start=start, before=events[:5]) for _ in range(2))
    assert _same(once, again), "not repeatable"
    assert start.to_json() == kept, "a step changed the state it was given"
    for event, (chosen, expected) in zip(events, before, strict=True):
        same = np.array_equal(event.chosen, chosen) and np.array_equal(event.expected, expected)
        assert same, "a step changed an event"


def _arrival(config: VARSConfig) -> None:
    events = random_events(2, 30)
    shuffled = [events[index] for index in np.random.default_rng(0).permutation(30)]
    assert _same(fold(events, config, k=8), fold(shuffled + events[:7], config, k=8)), "depends on order of arrival"


def _json(config: VARSConfig) -> None:
    events = random_events(3, 40)
    whole = fold(events, config, k=8)
    middle = LearnerState.from_json(fold(events[:25], config, k=8).to_json())
    assert _same(fold(events[25:], config, k=8, start=middle, before=events[:25]), whole), (
        "a snapshot gives another state"
    )


def _bounded(config: VARSConfig) -> None:
    hostile: tuple[Callable[[int], float], ...] = (
        lambda _: -1.0,
        lambda _: 1.0,
        lambda index: (-1.0) ** index,
    )
    same = random_events(4, 1)[0]
    for reward in hostile:
        events = [
            replace(same, time=float(i), id=f"h{i}", retrieval=f"r{i}", reward=reward(i), gate=1.0) for i in range(300)
        ]
        state = fold(events, config, k=8)
        for vector in (state.long, *state.sessions.values(), *state.extra.values()):
            assert np.isfinite(vector).all(), "not finite under hostile rewards"
            assert np.linalg.norm(vector) <= config.max_norm * 1.001, "unbounded under hostile rewards"


def _neutral(config: VARSConfig) -> None:
    silent = [replace(event, reward=0.0) for event in random_events(5, 10)]
    state = fold(silent, config, k=8)
    assert not any(vector.any() for vector in (state.long, *state.sessions.values())), "moves without a reward"
