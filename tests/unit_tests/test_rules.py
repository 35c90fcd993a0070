"""Update rules: the shared check list, the published forms, the knobs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.errors import ConfigError
from langchain_persona.learning import (
    Event,
    LearnerState,
    MovingAverage,
    Reinforce,
    VARSConfig,
    WindowedRidge,
    fold,
    unit,
)
from langchain_persona.testing import check_update_rule, random_events

RULES = [Reinforce(), MovingAverage(), WindowedRidge()]


def event(reward: float = 1.0, at: int = 0, gate: float = 1.0) -> Event:
    """A rating of the first of two items: `chosen − expected = [0.5, −0.5]`."""
    return Event(float(at), f"f{at:05}", "s", reward, gate, np.array([1.0, 0.0]), np.array([0.5, 0.5]), f"r{at}")


def stepped(rule, events, k: int = 8, temperature: float = 1.0) -> LearnerState:
    """The state after every step, neither rounded nor settled."""
    state = LearnerState.cold(k)
    for one in events:
        state = rule.step(state, one, temperature=temperature, keep=1)
    return state


@pytest.mark.parametrize("rule", [*RULES, Reinforce(eta_long=10.0, eta_short=10.0)], ids=repr)
def test_every_rule_passes_the_check_list(rule):
    check_update_rule(rule)


class _Mutating(Reinforce):
    """Rules that break the law on purpose: the check list must see it."""

    def step(self, state, event, *, temperature, keep):
        object.__setattr__(event, "chosen", event.chosen + 1.0)
        return Reinforce.step(self, state, event, temperature=temperature, keep=keep)


class _Restless(Reinforce):
    def step(self, state, event, *, temperature, keep):
        moved = Reinforce.step(self, state, event, temperature=temperature, keep=keep)
        return LearnerState(moved.long + 0.1, moved.sessions, moved.baseline, moved.count)


class _Forgetful(WindowedRidge):
    """Keeps in the object what belongs into the state."""

    def settle(self, state, recent):
        settled = WindowedRidge.settle(self, state, recent)
        return LearnerState(settled.long * len(recent), settled.sessions, settled.baseline, 1, settled.extra)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (_Mutating(), "changed an event|not repeatable"),
        (_Restless(), "without a reward"),
        (_Forgetful(), "a snapshot gives another state"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_check_list_can_fail(rule, words):
    with pytest.raises(AssertionError, match=words):
        check_update_rule(rule)


@given(st.integers(0, 1_000), st.integers(1, 25))
def test_the_unrolled_two_time_scale_form_equals_the_recursion(seed, count):
    """`z_L = η_L Σ A_t/τ g_t`; `z_S = η_S Σ (1 − λ)^(T−t) A_t/τ g_t`; `b_t` from the rewards alone."""
    tau = 0.7
    events = random_events(seed, count, sessions=1)
    state = stepped(Reinforce(), events, temperature=tau)
    baselines = [sum(0.05 * 0.95 ** (t - 1 - i) * events[i].reward for i in range(t)) for t in range(count)]
    moves = [e.gate * (e.reward - b) / tau * (e.chosen - e.expected) for e, b in zip(events, baselines, strict=True)]
    decayed = [0.9 ** (count - 1 - t) * move for t, move in enumerate(moves)]
    assert np.allclose(state.long, 0.01 * np.sum(moves, axis=0))
    assert np.allclose(state.short("s0"), 0.05 * np.sum(decayed, axis=0))


def test_reinforce_and_moving_average_by_hand():
    state = stepped(Reinforce(), [event(gate=0.5)], k=2)
    assert np.allclose(state.long, [0.0025, -0.0025])
    assert np.allclose(state.short("s"), [0.0125, -0.0125])
    assert (state.baseline, state.count) == (pytest.approx(0.05), 1)
    state = stepped(MovingAverage(), [event(-1.0)], k=2)
    assert np.allclose(state.short("s"), [-0.01, 0.0])
    assert np.allclose(state.long, [-0.0001, 0.0])
    assert MovingAverage().betas == (0.7, pytest.approx(0.3))


def test_a_liked_item_rises_against_the_rest_and_a_disliked_one_falls():
    for rule in RULES:
        for sign in (1.0, -1.0):
            state = fold([event(sign, at) for at in range(5)], VARSConfig(rule=rule), k=2)
            z = rule.betas[0] * state.long + rule.betas[1] * state.short("s")
            assert sign * (z[0] - z[1]) > 0, rule


def test_knobs_out_of_range_are_refused_with_what_is_allowed():
    for kind, knobs in (
        (Reinforce, {"eta_long": -1.0, "baseline_rate": float("nan"), "beta_long": "2"}),
        (MovingAverage, {"rate": True}),
        (WindowedRidge, {"forgetting": 0.0, "window": 0, "slow": float("inf")}),
        (VARSConfig, {"max_bonus": float("inf"), "temperature": 0.0, "strength": 10.5, "max_norm": 7e4}),
    ):
        for name, value in knobs.items():
            with pytest.raises(ConfigError, match=rf"{kind.__name__}\.{name} must be a .*number from .* to .*, got"):
                kind(**{name: value})
    for make in (
        lambda: WindowedRidge(window=1.5),
        lambda: VARSConfig(candidates=12.5),
        lambda: VARSConfig(min_feedback=True),
    ):
        with pytest.raises(ConfigError, match=r"must be a whole number from 1 to .*, got"):
            make()


def test_what_is_no_rule_is_refused():
    with pytest.raises(ConfigError, match="update rule"):
        VARSConfig(rule="reinforce")


def test_windowed_ridge_by_hand():
    """One thumb: `x = c − m` with `m` the first `expected`; ridge, slow memory and session as in the docstring."""
    rule = WindowedRidge()
    state = rule.settle(stepped(rule, [event()], k=2), [event()])
    x = np.array([0.5, -0.5])
    taste = (1.0 - 0.05 / 1.05) * x / (0.5 + 0.1 * 21.0)
    assert np.linalg.norm(0.1 * x / 0.5) > 0.5 * np.linalg.norm(taste)  # the slow memory meets its bound
    assert np.allclose(state.long, 1.5 * taste)
    assert float(state.long @ x) == pytest.approx(0.27, abs=0.005)
    assert state.baseline == pytest.approx(0.05)
    assert np.allclose(state.short("s"), 0.5 * x / (0.5 + 0.1))
    assert np.allclose([state.array("mean"), state.array("slow")], [[0.5, 0.5], x])


def test_items_that_are_all_what_was_offered_teach_nothing():
    same = replace(event(), chosen=np.array([0.5, 0.5]))
    assert not fold([same], VARSConfig(), k=2).long.any()


@given(st.integers(0, 1_000), st.integers(1, 25))
def test_the_slow_memory_is_the_unrolled_sum_of_advantages(seed, count):
    """`a = Σ 0.998^(n−i) γ_i (r_i − b_i) (c_i − m_i)`, with the running baseline and mean."""
    events = random_events(seed, count)
    baseline, mean, unrolled = 0.0, np.zeros(8), np.zeros(8)
    for number, one in enumerate(events, start=1):
        mean = mean + (one.expected - mean) / number
        unrolled += 0.998 ** (count - number) * one.gate * (one.reward - baseline) * (one.chosen - mean)
        baseline += 0.05 * one.gate * (one.reward - baseline)
    assert np.allclose(stepped(WindowedRidge(), events).array("slow"), unrolled)


@given(st.integers(0, 500), st.integers(1, 20))
def test_the_ridge_is_the_minimum_of_its_objective(seed, count):
    """The dual solution equals the primal normal equations, with gates and forgetting by retrieval as weights."""
    rule = WindowedRidge(slow=0.0, ridge=0.2, caution=0.0)
    events = random_events(seed, count)
    state = stepped(rule, events)
    rows = np.array([one.chosen for one in events]) - state.array("mean")
    turns = np.array([index // 2 for index in range(count)])  # two thumbs a retrieval in `random_events`
    weights = np.array([one.gate for one in events]) * 0.98 ** (turns[-1] - turns)
    rewards = np.array([one.reward for one in events])
    rewards = rewards - weights @ rewards / (weights.sum() + 20.0)  # the usual reward, as if after 20 neutral ones
    primal = np.linalg.solve(rows.T @ (weights[:, None] * rows) + 0.2 * np.eye(8), rows.T @ (weights * rewards))
    assert np.allclose(rule.settle(state, events).long, primal, atol=1e-8)


def test_faint_signals_are_no_more_ratings_to_trust():
    """Twenty clicks of gate 0.15 leave the caution where it is for three ratings."""
    rule = WindowedRidge(slow=0.0)
    events = [replace(one, gate=0.15) for one in random_events(6, 20)]
    state = stepped(rule, events)
    same = WindowedRidge(slow=0.0, caution=0.0, ridge=0.1 * (1.0 + 20.0 / 3.0))
    assert np.allclose(rule.settle(state, events).long, same.settle(state, events).long)


def test_the_share_of_the_slow_memory_does_not_depend_on_the_scale_of_the_space():
    """Coordinates ten times as long, a ridge a hundred times as large: the same predicted rewards."""
    events = random_events(3, 40)
    wide = [replace(one, chosen=10.0 * one.chosen, expected=10.0 * one.expected) for one in events]
    small, large = WindowedRidge(ridge=0.1), WindowedRidge(ridge=10.0)
    one, other = small.settle(stepped(small, events), events), large.settle(stepped(large, wide), wide)
    assert np.allclose(10.0 * other.long, one.long)


def test_who_only_gives_thumbs_up_keeps_a_preference_and_the_latest_ratings_win_after_a_change_of_mind():
    config = VARSConfig()
    first, last = (fold([event(at=at) for at in range(count)], config, k=2).long for count in (1, 120))
    assert last[0] - last[1] > 0.5 * (first[0] - first[1])
    up, down = [event(at=at) for at in range(30)], [event(-1.0, at) for at in range(30, 60)]
    assert fold(up, config, k=2).long[0] > 0.1
    assert fold(up + down, config, k=2).long[0] < -0.1


@pytest.mark.parametrize("before", [30, 1_000])
def test_a_thousand_old_ratings_are_outvoted_by_a_hundred_new_ones(before):
    """Two kinds of items among noise; what was liked is disliked from now on."""
    rng = np.random.default_rng(before)
    kinds = np.eye(16)[:2]

    def rated(number: int, liked: int) -> Event:
        kind = int(rng.integers(2))
        item = unit(kinds[kind] + 0.3 * rng.normal(size=16))
        return replace(event(1.0 if kind == liked else -1.0, number), chosen=item, expected=0.5 * kinds.sum(axis=0))

    old = [rated(number, 0) for number in range(before)]
    new = [rated(before + number, 1) for number in range(100)]
    state = fold(old, VARSConfig(), k=16)
    assert kinds[0] @ state.long > kinds[1] @ state.long
    state = fold(new, VARSConfig(), k=16, start=state, before=old)
    assert kinds[1] @ state.long > kinds[0] @ state.long


def test_the_presets():
    config = VARSConfig.paper()
    rule = config.rule
    assert (rule.beta_long, rule.beta_short, rule.eta_long, rule.eta_short) == (2.0, 5.0, 0.01, 0.05)
    assert (rule.decay, rule.baseline_rate, config.temperature, config.candidates) == (0.1, 0.05, 1.0, 64)
    assert VARSConfig.simplified().rule == MovingAverage()
