"""Update rules: the shared check list, the published forms, knobs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.arrays import unit
from langchain_persona.errors import ConfigError
from langchain_persona.learning import (
    Event,
    LearnerState,
    MovingAverage,
    Reinforce,
    VARSConfig,
    WindowedRidge,
    fold,
)
from langchain_persona.testing import check_update_rule, random_events

RULES = [Reinforce(), MovingAverage(), WindowedRidge(), Reinforce(eta_long=10.0, eta_short=10.0)]


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule_passes_the_check_list(rule):
    check_update_rule(rule)


class _Mutating(Reinforce):
    """A rule that breaks the law on purpose: the check list must see it."""

    def step(self, state, event, *, temperature, keep):
        object.__setattr__(event, "chosen", event.chosen + 1.0)
        return Reinforce.step(self, state, event, temperature=temperature, keep=keep)


class _Restless(Reinforce):
    def step(self, state, event, *, temperature, keep):
        moved = Reinforce.step(self, state, event, temperature=temperature, keep=keep)
        return LearnerState(moved.long + 0.1, moved.sessions, moved.baseline, moved.count)


@pytest.mark.parametrize(
    ("rule", "words"), [(_Mutating(), "changed an event|not repeatable"), (_Restless(), "without a reward")]
)
def test_the_check_list_can_fail(rule, words):
    with pytest.raises(AssertionError, match=words):
        check_update_rule(rule)


@given(st.integers(0, 1_000), st.integers(1, 25))
def test_the_unrolled_two_time_scale_form_equals_the_recursion(seed, count):
    """`z_L = η_L Σ A_t/τ g_t`; `z_S = η_S Σ (1 − λ)^(T−t) A_t/τ g_t`; `b_t` from the rewards alone."""
    rule, tau = Reinforce(), 0.7
    events = random_events(seed, count, sessions=1)
    state = LearnerState.cold(8)
    for event in events:
        state = rule.step(state, event, temperature=tau, keep=1)
    baselines = [sum(0.05 * 0.95 ** (t - 1 - i) * events[i].reward for i in range(t)) for t in range(count)]
    moves = [e.gate * (e.reward - b) / tau * e.direction for e, b in zip(events, baselines, strict=True)]
    assert np.allclose(state.long, 0.01 * np.sum(moves, axis=0))
    assert np.allclose(
        state.short("s0"), 0.05 * np.sum([0.9 ** (count - 1 - t) * m for t, m in enumerate(moves)], axis=0)
    )


def test_reinforce_by_hand():
    event = Event(0.0, "f", "s", 1.0, 0.5, np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    state = Reinforce().step(LearnerState.cold(2), event, temperature=1.0, keep=2)
    assert np.allclose(state.long, [0.0025, -0.0025])
    assert np.allclose(state.short("s"), [0.0125, -0.0125])
    assert state.baseline == pytest.approx(0.05)
    assert state.count == 1


def test_moving_average_by_hand():
    event = Event(0.0, "f", "s", -1.0, 1.0, np.array([1.0, 0.0]), np.array([9.0, 9.0]))
    state = MovingAverage().step(LearnerState.cold(2), event, temperature=1.0, keep=2)
    assert np.allclose(state.short("s"), [-0.01, 0.0])
    assert np.allclose(state.long, [-0.0001, 0.0])
    assert MovingAverage().betas == (0.7, pytest.approx(0.3))


@pytest.mark.parametrize("rule", RULES[:3], ids=lambda rule: rule.name)
def test_a_liked_item_rises_against_the_rest_and_a_disliked_one_falls(rule):
    liked = [Event(float(i), f"u{i}", "s", 1.0, 1.0, np.array([1.0, 0.0]), np.array([0.5, 0.5])) for i in range(5)]
    bad = [Event(float(i), f"d{i}", "s", -1.0, 1.0, np.array([1.0, 0.0]), np.array([0.5, 0.5])) for i in range(5)]
    config = VARSConfig(rule=rule)
    for events, sign in ((liked, 1.0), (bad, -1.0)):
        state = fold(events, config, k=2)
        long_weight, short_weight = rule.betas
        z = long_weight * state.long + short_weight * state.short("s")
        assert sign * (z[0] - z[1]) > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Reinforce(eta_long=-1.0),
        lambda: Reinforce(decay=1.5),
        lambda: Reinforce(baseline_rate=float("nan")),
        lambda: Reinforce(beta_long="2"),
        lambda: MovingAverage(mix=2.0),
        lambda: MovingAverage(rate=True),
        lambda: WindowedRidge(ridge=0.0),
        lambda: WindowedRidge(forgetting=0.0),
        lambda: WindowedRidge(window=0),
        lambda: WindowedRidge(slow_forgetting=0.0),
        lambda: WindowedRidge(caution=-1.0),
        lambda: VARSConfig(max_bonus=-0.1),
        lambda: VARSConfig(max_bonus=float("inf")),
        lambda: VARSConfig(temperature=0.0),
        lambda: VARSConfig(candidates=0),
        lambda: VARSConfig(keep_sessions=0),
        lambda: VARSConfig(strength=-1.0),
    ],
)
def test_knobs_out_of_range_are_refused_with_what_is_allowed(make):
    with pytest.raises(ConfigError, match=r"must be a number from .* to .*, got"):
        make()


def test_a_rule_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="update rule"):
        VARSConfig(rule="reinforce")


@pytest.mark.parametrize(
    "make",
    [
        lambda: WindowedRidge(window=1.5),
        lambda: VARSConfig(candidates=12.5),
        lambda: VARSConfig(keep_sessions=1.5),
    ],
)
def test_counts_are_whole_numbers(make):
    with pytest.raises(ConfigError, match="whole number"):
        make()


def test_windowed_ridge_by_hand():
    """One thumb: `x = c − m` with `m` the first `expected`; ridge, slow memory and session as in the docstring."""
    event = Event(0.0, "f", "s", 1.0, 1.0, np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    rule = WindowedRidge()
    state = rule.settle(rule.step(LearnerState.cold(2), event, temperature=1.0, keep=1), [event])
    x = np.array([0.5, -0.5])
    usual = 0.05 / 1.05
    taste = (1.0 - usual) * x / (0.5 + 0.1 * 21.0)
    assert np.linalg.norm(0.1 * x / 0.5) > 0.5 * np.linalg.norm(taste)  # the slow memory meets its bound
    assert np.allclose(state.long, 1.5 * taste)
    assert float(state.long @ x) == pytest.approx(0.27, abs=0.005)
    assert state.baseline == pytest.approx(0.05)
    assert np.allclose(state.short("s"), 0.5 * x / (0.5 + 0.1))
    assert np.allclose(state.array("mean"), [0.5, 0.5])
    assert np.allclose(state.array("slow"), x)


@given(st.integers(0, 1_000), st.integers(1, 25))
def test_the_slow_memory_is_the_unrolled_sum_of_advantages(seed, count):
    """`a = Σ 0.998^(n−i) γ_i (r_i − b_i) (c_i − m_i)`, with the running baseline and mean."""
    events = random_events(seed, count)
    rule, state, baseline, mean = WindowedRidge(), LearnerState.cold(8), 0.0, np.zeros(8)
    unrolled = np.zeros(8)
    for number, event in enumerate(events, start=1):
        state = rule.step(state, event, temperature=1.0, keep=1)
        mean = mean + (event.expected - mean) / number
        unrolled += 0.998 ** (count - number) * event.gate * (event.reward - baseline) * (event.chosen - mean)
        baseline += 0.05 * event.gate * (event.reward - baseline)
    assert np.allclose(state.array("slow"), unrolled)


def test_faint_signals_are_no_more_ratings_to_trust():
    """Twenty clicks of gate 0.15 leave the caution where it is for three ratings."""
    rule = WindowedRidge(slow=0.0)
    events = [replace(event, gate=0.15) for event in random_events(6, 20)]
    state = LearnerState.cold(8)
    for event in events:
        state = rule.step(state, event, temperature=1.0, keep=1)
    same = WindowedRidge(slow=0.0, caution=0.0, ridge=0.1 * (1.0 + 20.0 / 3.0))
    assert np.allclose(rule.settle(state, events).long, same.settle(state, events).long)


def test_what_the_population_predicts_teaches_neither_regression_nor_session():
    rule = WindowedRidge(slow=0.0, baseline_rate=0.0)
    prior = np.arange(8.0) / 20.0
    events = [
        replace(event, reward=float(prior @ event.chosen), predicted=float(prior @ event.chosen))
        for event in random_events(7, 12)
    ]
    state = fold(events, VARSConfig(rule=rule), k=8)
    assert not state.long.any()
    assert not any(short.any() for short in state.sessions.values())


def test_the_share_of_the_slow_memory_does_not_depend_on_the_scale_of_the_space():
    """Coordinates ten times as long, a ridge a hundred times as large: the same predicted rewards."""
    events = random_events(3, 40)
    wide = [replace(event, chosen=10.0 * event.chosen, expected=10.0 * event.expected) for event in events]

    def long(rule, some):
        state = LearnerState.cold(8)
        for event in some:
            state = rule.step(state, event, temperature=1.0, keep=1)
        return rule.settle(state, some).long

    assert np.allclose(10.0 * long(WindowedRidge(ridge=10.0), wide), long(WindowedRidge(ridge=0.1), events))


@given(st.integers(0, 500), st.integers(1, 20))
def test_the_ridge_is_the_minimum_of_its_objective(seed, count):
    """The dual solution equals the primal normal equations, with gates and forgetting by retrieval as weights."""
    rule = WindowedRidge(slow=0.0, ridge=0.2, caution=0.0)
    events = random_events(seed, count)
    state = LearnerState.cold(8)
    for event in events:
        state = rule.step(state, event, temperature=1.0, keep=1)
    long = rule.settle(state, events).long
    rows = np.array([event.chosen for event in events]) - state.array("mean")
    turns = np.array([index // 2 for index in range(count)])  # two thumbs a retrieval in `random_events`
    weights = np.array([event.gate for event in events]) * 0.98 ** (turns[-1] - turns)
    rewards = np.array([event.reward for event in events])
    rewards = rewards - weights @ rewards / (weights.sum() + 20.0)  # the usual reward, as if after 20 neutral ones
    primal = np.linalg.solve(rows.T @ (weights[:, None] * rows) + 0.2 * np.eye(8), rows.T @ (weights * rewards))
    assert np.allclose(long, primal, atol=1e-8)


def test_who_only_gives_thumbs_up_keeps_a_preference():
    up = [
        Event(float(i), f"u{i}", "s", 1.0, 1.0, np.array([1.0, 0.0]), np.array([0.5, 0.5]), f"r{i}") for i in range(120)
    ]
    first, last = fold(up[:1], VARSConfig(), k=2).long, fold(up, VARSConfig(), k=2).long
    assert last[0] - last[1] > 0.5 * (first[0] - first[1])


def test_the_latest_ratings_win_after_a_change_of_mind():
    up = [
        Event(float(i), f"u{i}", "s", 1.0, 1.0, np.array([1.0, 0.0]), np.array([0.5, 0.5]), f"r{i}") for i in range(30)
    ]
    down = [
        Event(float(i), f"d{i}", "s", -1.0, 1.0, np.array([1.0, 0.0]), np.array([0.5, 0.5]), f"r{i}")
        for i in range(30, 60)
    ]
    config = VARSConfig()
    assert fold(up, config, k=2).long[0] > 0.1
    assert fold(up + down, config, k=2).long[0] < -0.1


@pytest.mark.parametrize("before", [30, 300, 1_000])
def test_a_thousand_old_ratings_are_outvoted_by_a_hundred_new_ones(before):
    """Two kinds of items among noise; what was liked is disliked from now on."""
    rng = np.random.default_rng(before)
    kinds = np.eye(16)[:2]

    def rated(number: int, liked: int) -> Event:
        kind = int(rng.integers(2))
        item = unit(kinds[kind] + 0.3 * rng.normal(size=16))
        reward = 1.0 if kind == liked else -1.0
        return Event(float(number), f"f{number:05}", "", reward, 1.0, item, 0.5 * kinds.sum(axis=0), f"r{number}")

    old = [rated(number, 0) for number in range(before)]
    new = [rated(before + number, 1) for number in range(100)]
    state = fold(old, VARSConfig(), k=16)
    assert kinds[0] @ state.long > kinds[1] @ state.long
    state = fold(new, VARSConfig(), k=16, start=state, before=old)
    assert kinds[1] @ state.long > kinds[0] @ state.long


def test_the_paper_preset_has_the_values_of_the_paper():
    config = VARSConfig.paper()
    rule = config.rule
    assert (rule.beta_long, rule.beta_short, rule.eta_long, rule.eta_short) == (2.0, 5.0, 0.01, 0.05)
    assert (rule.decay, rule.baseline_rate, config.temperature, config.candidates) == (0.1, 0.05, 1.0, 64)


def test_names_of_rules_are_their_own():
    assert {rule.name for rule in RULES} == {"reinforce", "moving_average", WindowedRidge().name}
    assert VARSConfig.simplified().rule == MovingAverage()
