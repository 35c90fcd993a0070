"""The default rule: ridge regression on a user's latest ratings, and slow and fast error-driven vectors beside it."""

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
    item apart. Over the latest `window` events, with weights `w_i = γ_i · forgetting^(retrievals since)`:

    `long = argmin_z Σ w_i (r_i − b − ⟨z, c_i − m⟩)² + ridge · ‖z‖²  +  kappa · a`

    where `b` is the user's usual reward (the weighted mean, shrunk to 0 as if `1 / baseline_rate` neutral ratings had
    come first, and at most ±0.5), `a` is a normalised-LMS vector over all events (what is older than the window is not
    lost), and the session's `short` is a faster one that decays. `gain` is what a predicted reward of 1 is worth in
    units of the base score.

    Attributes:
        gain: cosine units per unit of predicted reward.
        ridge: `λ`; 0.1 for consistent users, 0.3 for noisy ratings.
        forgetting: factor for each later retrieval, in (0, 1].
        window: events in the regression.
        kappa: weight of the slow vector.
        eta: step of the slow vector.
        beta_short: weight of the session's vector, relative to `gain`.
        eta_short: step of the session's vector.
        decay: share of the session's vector lost at each of its events.
        baseline_rate: how fast the usual reward is learned.

    Source: dual ridge regression (Saunders et al., ICML 1998) with exponential forgetting; normalised least mean
        squares (Widrow and Hoff, 1960). What was tried beside it stands in `benchmarks/README.md`.

    Example:
        One thumbs-up with `x = c − m = [0.5, −0.5]`: `b = 0.05 / 1.05`, so ridge gives `z = 0.95 x / (0.5 + 0.1)`. The
        predicted reward of the same item is then 0.79, its bonus 0.2 · 0.79 = 0.16 before the other two are added.
    """

    gain: float = 0.2
    ridge: float = 0.1
    forgetting: float = 0.98
    window: int = 128
    kappa: float = 2.0
    eta: float = 0.1
    beta_short: float = 0.5
    eta_short: float = 0.5
    decay: float = 0.1
    baseline_rate: float = 0.05

    def __post_init__(self) -> None:
        """Validate the knobs."""
        free = dict.fromkeys(("gain", "kappa", "beta_short"), (0.0, 1000.0))
        unit = dict.fromkeys(("eta", "eta_short", "decay", "baseline_rate"), (0.0, 1.0))
        require_whole(self, "window")
        require(self, {**free, **unit, "ridge": (1e-6, 1e6), "forgetting": (1e-3, 1.0), "window": (1, 10_000)})

    @property
    def name(self) -> str:
        """`windowed_ridge`."""
        return "windowed_ridge"

    @property
    def betas(self) -> tuple[float, float]:
        """`(gain, gain · beta_short)`."""
        return self.gain, self.gain * self.beta_short

    def step(self, state: LearnerState, event: Event, *, temperature: float, keep: int) -> LearnerState:
        """Move the running mean, the slow vector and the session's vector; see `UpdateRule.step`."""
        count = state.count + 1
        mean = state.array("mean")
        mean = mean + (event.expected - mean) / min(count, _MEAN_OVER)
        item, reward = event.chosen - mean, event.reward - _half(state.baseline)
        slow, short = state.array("slow"), state.short(event.session)
        return LearnerState(
            long=state.long,
            sessions=state.with_session(
                event.session, (1.0 - self.decay) * short + _lms(short, item, reward, event.gate * self.eta_short), keep
            ),
            baseline=state.baseline + self.baseline_rate * event.gate * (event.reward - state.baseline),
            count=count,
            extra={"mean": mean, "slow": slow + _lms(slow, item, reward, event.gate * self.eta)},
        )

    def settle(self, state: LearnerState, recent: Sequence[Event]) -> LearnerState:
        """Solve the regression over the latest events; see `UpdateRule.settle`."""
        changes = np.cumsum([0, *(one.retrieval != other.retrieval for one, other in pairwise(recent))])
        gates = np.array([event.gate for event in recent])
        roots = np.sqrt(gates * self.forgetting ** (changes[-1] - changes))
        rows = (np.stack([event.chosen for event in recent]) - state.array("mean")) * roots[:, None]
        rewards = np.array([event.reward for event in recent])
        # a user's usual reward says nothing of taste; shrunk, so that a first thumb counts nearly in full
        usual = float(np.sum(roots**2 * rewards)) * self.baseline_rate / (1.0 + self.baseline_rate * np.sum(roots**2))
        rewards = (rewards - _half(usual)) * roots
        # einsum keeps to one thread: BLAS is faster on idle cores and several times slower on busy ones
        gram = np.einsum("nk,mk->nm", rows, rows) + self.ridge * np.eye(len(recent))
        taste = np.einsum("nk,n->k", rows, np.linalg.solve(gram, rewards))
        return LearnerState(
            long=taste + self.kappa * state.array("slow"),
            sessions=state.sessions,
            baseline=state.baseline,
            count=state.count,
            extra=state.extra,
        )


def _half(usual: float) -> float:
    """The usual reward, at most half of the scale: who only ever gives thumbs up still means them."""
    return min(max(usual, -0.5), 0.5)


_MEAN_OVER = 30
_FLOOR = 0.1


def _lms(vector: Vector, item: Vector, reward: float, eta: float) -> Vector:
    """One step of normalised least mean squares towards predicting the reward of the item."""
    error = reward - float(vector @ item)
    return eta * error / (float(item @ item) + _FLOOR) * item
