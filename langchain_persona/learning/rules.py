"""How one event moves a user's state: the protocol of update rules, the default rule, and the two published ones.

A rule is a frozen dataclass of its own knobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from langchain_persona.errors import check_number
from langchain_persona.learning.arrays import gram, solve
from langchain_persona.learning.state import Event, LearnerState

_MEAN_OVER = 30  # events in the running mean of what was offered
_FULL = 50  # ratings beyond which the share of the slow memory grows; at twice as many it has doubled
_MOST = 0.5  # the slow memory's greatest length, as a share of the regression's own vector
_FLOOR = 0.1  # added to ‖x‖² in the step of the session's vector, so that a short item makes no huge step


@runtime_checkable
class UpdateRule(Protocol):
    """What every update rule offers. `langchain_persona.testing.check_update_rule` checks what it must keep."""

    @property
    def betas(self) -> tuple[float, float]:
        """`(β_L, β_S)`: weights of the long-term and the short-term vector in the effective one."""

    @property
    def window(self) -> int:
        """How many of the latest events `settle` needs; 0 when the state is enough."""

    def step(self, state: LearnerState, event: Event, *, temperature: float, keep: int) -> LearnerState:
        """The state after one event; pure. `temperature` is `τ`; `keep` sessions keep a short-term vector."""

    def settle(self, state: LearnerState, recent: Sequence[Event]) -> LearnerState:
        """The state after the last `step` of a fold, given the latest `window` events, oldest first."""


def require(owner: object, allowed: dict[str, tuple[float, float]]) -> None:
    """Raise `ConfigError` for a knob outside its range; see `check_number`."""
    for name, limits in allowed.items():
        check_number(f"{type(owner).__name__}.{name}", getattr(owner, name), *limits)


@dataclass(frozen=True, slots=True)
class WindowedRidge:
    """Predict the reward of an item from its vector; the prediction is the bonus.

    Items are centred on `m`, a running mean of what was offered (`expected`): `x_i = c_i − m`, so that a rating counts
    for what sets the item apart. Over the latest `window` events, with `w_i = γ_i · forgetting^(retrievals since)`:

    `long = argmin_z Σ w_i (r_i − b − ⟨z, x_i⟩)² + ridge · (1 + caution / n) · ‖z‖²  +  slow · g_n · a / mean ‖x‖²`

    - `b` is the user's usual reward: the weighted mean, shrunk towards 0 as if `1 / baseline_rate` neutral ratings had
      come first, and at most ±0.5; `n` is the number of ratings.
    - `a = Σ slow_forgetting^(n−i) γ_i (r_i − b_i) x_i` over *all* events is the slow memory, the sum that REINFORCE
      would build. The regression follows a change of mind; the slow memory averages out what noisy raters contradict.
    - `g_n` rises from 1 at 50 ratings to 2 at 100. The slow memory is never longer than half of the regression's own
      vector, so that old ratings cannot outvote new ones for ever.

    The session's `short` is a faster vector that learns from prediction errors and decays.

    Attributes:
        gain: what a predicted reward of 1 is worth, in units of the base score (cosine).
        ridge: `λ`; 0.1 for consistent users, 0.3 for noisy ratings.
        caution: few ratings are trusted less: `λ` is twice as large at so many, and ten times at a ninth of that.
        forgetting, window: factor for each later retrieval, in (0, 1], and events in the regression.
        slow, slow_forgetting: weight of the slow memory, and its factor for each later event, in (0, 1].
        beta_short, eta_short: weight of the session's vector, relative to `gain`, and its step.
        decay: share of the session's vector lost at each of its events.
        baseline_rate: how fast the usual reward is learned.

    Source: dual ridge regression (Saunders et al., ICML 1998) with exponential forgetting; REINFORCE with a baseline
        (Williams, 1992) for the slow memory; normalised least mean squares (Widrow and Hoff, 1960) for the session.

    Example:
        One thumbs-up with `x = [0.5, −0.5]`: `b = 0.05 / 1.05` and `λ = 0.1 · 21`, so ridge gives
        `z = 0.95 x / (0.5 + 2.1) = 0.37 x`, and the slow memory adds half of that. The long-term bonus of the same
        item is `0.2 · 0.55 · 0.5 = 0.05`.
    """

    gain: float = 0.2
    ridge: float = 0.1
    caution: float = 20.0
    forgetting: float = 0.98
    window: int = 128
    slow: float = 0.1
    slow_forgetting: float = 0.998
    beta_short: float = 0.5
    eta_short: float = 0.5
    decay: float = 0.1
    baseline_rate: float = 0.05

    def __post_init__(self) -> None:
        free = dict.fromkeys(("gain", "slow", "beta_short"), (0.0, 1000.0))
        shares = dict.fromkeys(("eta_short", "decay", "baseline_rate"), (0.0, 1.0))
        factors = dict.fromkeys(("forgetting", "slow_forgetting"), (1e-3, 1.0))
        others = {"ridge": (1e-6, 1e6), "caution": (0.0, 1e6), "window": (1, 10_000)}
        require(self, {**free, **shares, **factors, **others})

    @property
    def betas(self) -> tuple[float, float]:
        """`(gain, gain · beta_short)`."""
        return self.gain, self.gain * self.beta_short

    def step(self, state: LearnerState, event: Event, *, temperature: float, keep: int) -> LearnerState:
        """Move the running mean, the slow memory and the session's vector; see `UpdateRule.step`."""
        count = state.count + 1
        mean = state.array("mean")
        mean = mean + (event.expected - mean) / min(count, _MEAN_OVER)
        item, reward = event.chosen - mean, event.reward - _half(state.baseline)
        short = state.short(event.session)
        error = reward - float(short @ item)
        moved = event.gate * self.eta_short * error / (float(item @ item) + _FLOOR) * item
        return LearnerState(
            long=state.long,
            sessions=state.with_session(event.session, (1.0 - self.decay) * short + moved, keep),
            baseline=state.baseline + self.baseline_rate * event.gate * (event.reward - state.baseline),
            count=count,
            extra={"mean": mean, "slow": self.slow_forgetting * state.array("slow") + event.gate * reward * item},
        )

    def settle(self, state: LearnerState, recent: Sequence[Event]) -> LearnerState:
        """Solve the regression over the latest events; see `UpdateRule.settle`."""
        changes = np.cumsum([0, *(one.retrieval != other.retrieval for one, other in pairwise(recent))])
        gates = np.array([event.gate for event in recent])
        roots = np.sqrt(gates * self.forgetting ** (changes[-1] - changes))
        items = np.array([event.chosen for event in recent]) - state.array("mean")
        rewards = np.array([event.reward for event in recent])
        # the usual reward says nothing about taste; it is shrunk, so that a first thumb counts nearly in full
        usual = float(np.sum(roots**2 * rewards)) * self.baseline_rate / (1.0 + self.baseline_rate * np.sum(roots**2))
        rows, rewards = items * roots[:, None], (rewards - _half(usual)) * roots
        # ratings count by their gate: a click of 0.15 is not one more rating to trust
        ratings = state.count - len(recent) + float(gates.sum())
        ridge = self.ridge * (1.0 + self.caution / max(ratings, 1.0))
        weights = solve(gram(rows) + ridge * np.eye(len(recent)), rewards[:, None])[:, 0]
        taste = np.einsum("nk,n->k", rows, weights)
        # in units of the items' own length, so that its share is the same in every space
        size = float(np.einsum("nk,nk->", items, items)) / len(recent)
        share = self.slow * (1.0 + min(max(ratings / _FULL - 1.0, 0.0), 1.0))
        memory = share * state.array("slow") / size if size > 0.0 else np.zeros_like(taste)
        length, most = float(np.linalg.norm(memory)), _MOST * float(np.linalg.norm(taste))
        if length > most:
            memory *= most / length
        return LearnerState(taste + memory, state.sessions, state.baseline, state.count, state.extra)


@dataclass(frozen=True, slots=True)
class Reinforce:
    """The rule of the VARS paper: a REINFORCE step on two time scales.

    With `A = γ (r − b)` and `g = chosen − expected`:
    `z_L += η_L (A/τ) g`, `z_S = (1 − λ) z_S + η_S (A/τ) g`, `b = (1 − α) b + α r`.

    The fields are `β_L`, `β_S`, `η_L`, `η_S`, `λ` and `α`; the defaults are those of Hao et al., arXiv 2603.20939.

    Example:
        One thumbs-up (γ = 1, b = 0, τ = 1) with `g = [0.5, −0.5]` gives
        `z_L = [0.005, −0.005]` and `z_S = [0.025, −0.025]`.
    """

    window: ClassVar[int] = 0

    beta_long: float = 2.0
    beta_short: float = 5.0
    eta_long: float = 0.01
    eta_short: float = 0.05
    decay: float = 0.1
    baseline_rate: float = 0.05

    def __post_init__(self) -> None:
        steps = dict.fromkeys(("beta_long", "beta_short", "eta_long", "eta_short"), (0.0, 1000.0))
        require(self, {**steps, "decay": (0.0, 1.0), "baseline_rate": (0.0, 1.0)})

    @property
    def betas(self) -> tuple[float, float]:
        """`(β_L, β_S)`."""
        return self.beta_long, self.beta_short

    def step(self, state: LearnerState, event: Event, *, temperature: float, keep: int) -> LearnerState:
        """See `UpdateRule.step`."""
        move = event.gate * (event.reward - state.baseline) / temperature * (event.chosen - event.expected)
        short = (1.0 - self.decay) * state.short(event.session) + self.eta_short * move
        return LearnerState(
            long=state.long + self.eta_long * move,
            sessions=state.with_session(event.session, short, keep),
            baseline=(1.0 - self.baseline_rate) * state.baseline + self.baseline_rate * event.reward,
            count=state.count + 1,
        )

    def settle(self, state: LearnerState, recent: Sequence[Event]) -> LearnerState:
        """The state itself."""
        return state


@dataclass(frozen=True, slots=True)
class MovingAverage:
    """The simplified rule: a reward-weighted running sum of what was chosen, on two time scales.

    `z_S += rate · r · chosen`, `z_L = (1 − rate) z_L + rate · z_S`, effective `mix · z_L + (1 − mix) · z_S`. It has no
    gate, no baseline and no contrast with what else could have been chosen. It is kept for comparison.

    Example:
        One thumbs-up on `chosen = [1, 0]` gives `z_S = [0.01, 0]` and `z_L = [0.0001, 0]`.
    """

    window: ClassVar[int] = 0

    mix: float = 0.7
    rate: float = 0.01

    def __post_init__(self) -> None:
        require(self, {"mix": (0.0, 1.0), "rate": (0.0, 1.0)})

    @property
    def betas(self) -> tuple[float, float]:
        """`(α, 1 − α)`."""
        return self.mix, 1.0 - self.mix

    def step(self, state: LearnerState, event: Event, *, temperature: float, keep: int) -> LearnerState:
        """See `UpdateRule.step`."""
        short = state.short(event.session) + self.rate * event.reward * event.chosen
        sessions = state.with_session(event.session, short, keep)
        return LearnerState(
            (1.0 - self.rate) * state.long + self.rate * short, sessions, state.baseline, state.count + 1
        )

    def settle(self, state: LearnerState, recent: Sequence[Event]) -> LearnerState:
        """The state itself."""
        return state


def _half(usual: float) -> float:
    """The usual reward, at most half of the scale: a user who gives only thumbs up still means them."""
    return min(max(usual, -0.5), 0.5)
