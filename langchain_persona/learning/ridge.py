"""The default rule: ridge regression on a user's latest ratings, a slow memory of all, a vector of the session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from langchain_persona.arrays import Vector
from langchain_persona.learning.rules import require, require_whole
from langchain_persona.learning.state import Event, LearnerState

__all__ = ["WindowedRidge"]


@dataclass(frozen=True, slots=True)
class WindowedRidge:
    """Predict the reward of an item from its vector; what is predicted is the bonus.

    Items are centred on `m`, a running mean of what was offered (`expected`), so that a rating counts for what sets the
    item apart: `x_i = c_i − m`. Over the latest `window` events, with `w_i = γ_i · forgetting^(retrievals since)`:

    `long = argmin_z Σ w_i (r_i − b − ⟨z, x_i⟩)² + ridge · (1 + caution / n) · ‖z‖²  +  slow · g_n · a / mean ‖x‖²`

    where `b` is the user's usual reward (the weighted mean, shrunk to 0 as if `1 / baseline_rate` neutral ratings had
    come first, and at most ±0.5), `n` is the number of events, and `a = Σ slow_forgetting^(n−i) γ_i (r_i − b_i) x_i`
    over *all* events is what REINFORCE would sum up. The regression answers a change of mind; the sum, which hardly
    forgets, averages out what noisy raters contradict. Its share `g_n` rises from 1 at 50 ratings, about as many as the
    regression remembers, to 2 at 100; but it is at most half as long as the regression's own vector, so that old
    ratings cannot outvote the latest for ever. The session's `short` is a faster error-driven vector that decays.
    `gain` is what a predicted reward of 1 is worth in units of the base score.

    Attributes:
        gain: cosine units per unit of predicted reward.
        ridge: `λ`; 0.1 for consistent users, 0.3 for noisy ratings.
        caution: few ratings are trusted less: `λ` is twice as large at so many, and ten times at a ninth of that.
            Ratings count by their gate.
        forgetting: factor for each later retrieval, in (0, 1].
        window: events in the regression.
        slow: weight of the slow memory.
        slow_forgetting: its factor for each later event, in (0, 1]; 0.998 holds the latest 500.
        beta_short: weight of the session's vector, relative to `gain`.
        eta_short: step of the session's vector.
        decay: share of the session's vector lost at each of its events.
        baseline_rate: how fast the usual reward is learned.

    Source: dual ridge regression (Saunders et al., ICML 1998) with exponential forgetting; REINFORCE with a baseline
        (Williams, 1992) for the slow memory; normalised least mean squares (Widrow and Hoff, 1960) for the session.
        What was tried beside it stands in `benchmarks/README.md`.

    Example:
        One thumbs-up with `x = [0.5, −0.5]`: `b = 0.05 / 1.05` and `λ = 0.1 · 21`, so ridge gives
        `z = 0.95 x / (0.5 + 2.1) = 0.37 x`. The slow memory, `0.1 x / 0.5 = 0.2 x`, adds half of that. The
        predicted reward of the same item is `0.55 · 0.5 = 0.27`, its long-term bonus `0.2 · 0.27 = 0.05`.
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
        """Validate the knobs."""
        free = dict.fromkeys(("gain", "slow", "beta_short"), (0.0, 1000.0))
        unit = dict.fromkeys(("eta_short", "decay", "baseline_rate"), (0.0, 1.0))
        factors = dict.fromkeys(("forgetting", "slow_forgetting"), (1e-3, 1.0))
        require_whole(self, "window")
        require(self, {**free, **unit, **factors, "ridge": (1e-6, 1e6), "caution": (0.0, 1e6), "window": (1, 10_000)})

    @property
    def name(self) -> str:
        """`windowed_ridge`."""
        return "windowed_ridge"

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
        # what is expected of anybody says nothing of this session; 0 without a population prior. The slow memory keeps
        # the whole reward: a sum, which predicts nothing, would count against the prior whatever agrees with it
        moved = _lms(short, item, reward - event.predicted, event.gate * self.eta_short)
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
        items = np.stack([event.chosen for event in recent]) - state.array("mean")
        # what is expected of anybody says nothing of this user; 0 without a population prior
        rewards = np.array([event.reward - event.predicted for event in recent])
        # a user's usual reward says nothing of taste; shrunk, so that a first thumb counts nearly in full
        usual = float(np.sum(roots**2 * rewards)) * self.baseline_rate / (1.0 + self.baseline_rate * np.sum(roots**2))
        rows, rewards = items * roots[:, None], (rewards - _half(usual)) * roots
        # a click of gate 0.15 is not one more rating to trust
        ratings = state.count - len(recent) + float(gates.sum())
        ridge = self.ridge * (1.0 + self.caution / max(ratings, 1.0))
        # einsum keeps to one thread: BLAS is faster on idle cores and several times slower on busy ones
        gram = np.einsum("nk,mk->nm", rows, rows) + ridge * np.eye(len(recent))
        taste = np.einsum("nk,n->k", rows, np.linalg.solve(gram, rewards))
        # in units of the items' own length, so that its share is the same in every space
        size = float(np.einsum("nk,nk->", items, items)) / len(recent)
        share = self.slow * (1.0 + min(max(ratings / _FULL - 1.0, 0.0), 1.0))
        memory = share * state.array("slow") / size if size > 0.0 else np.zeros_like(taste)
        length, most = float(np.linalg.norm(memory)), _MOST * float(np.linalg.norm(taste))
        if length > most:
            memory *= most / length
        return LearnerState(
            long=taste + memory,
            sessions=state.sessions,
            baseline=state.baseline,
            count=state.count,
            extra=state.extra,
        )


def _half(usual: float) -> float:
    """The usual reward, at most half of the scale: who only ever gives thumbs up still means them."""
    return min(max(usual, -0.5), 0.5)


_MEAN_OVER = 30
_FULL = 50
_MOST = 0.5
_FLOOR = 0.1


def _lms(vector: Vector, item: Vector, reward: float, eta: float) -> Vector:
    """One step of normalised least mean squares towards predicting the reward of the item."""
    error = reward - float(vector @ item)
    return eta * error / (float(item @ item) + _FLOOR) * item
