"""How a user's state moves with one event: the protocol of update rules, and the two published ones.

A rule is a frozen dataclass of its own knobs: `betas` are the weights of the two time scales in the effective vector,
`step` is a pure function from state and event to the next state, and `settle` may look at the latest events once more.
Our own default is `WindowedRidge` in its own file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from langchain_persona.errors import ConfigError
from langchain_persona.learning.state import Event, LearnerState

__all__ = ["MovingAverage", "Reinforce", "UpdateRule", "require", "require_whole"]


@runtime_checkable
class UpdateRule(Protocol):
    """What every update rule offers; see `langchain_persona.testing.check_update_rule` for what it must keep."""

    @property
    def name(self) -> str:
        """The word for it in records and tables."""
        ...

    @property
    def betas(self) -> tuple[float, float]:
        """`(β_L, β_S)`: weights of the long-term and the short-term vector in the effective one."""
        ...

    def step(self, state: LearnerState, event: Event, *, temperature: float, keep: int) -> LearnerState:
        """The state after one event; a pure function that changes neither argument.

        Args:
            state: before the event.
            event: one settled outcome.
            temperature: `τ` of the retrieval policy.
            keep: how many sessions' short-term vectors are kept.
        """
        ...

    @property
    def window(self) -> int:
        """How many of the latest events `settle` needs; 0 when the state is all."""
        ...

    def settle(self, state: LearnerState, recent: Sequence[Event]) -> LearnerState:
        """The state after the last event of a fold.

        Args:
            state: after `step` of every event.
            recent: the latest `window` events (fewer at the start), oldest first; none where `window` is 0.
        """
        ...


def require(owner: object, allowed: dict[str, tuple[float, float]]) -> None:
    """Refuse knobs outside their closed range, in plain words.

    Raises:
        ConfigError: names the class, the knob, what was given and what is allowed.
    """
    for name, (low, high) in allowed.items():
        value = getattr(owner, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ConfigError(f"{type(owner).__name__}.{name} must be a number from {low} to {high}, got {value!r}")


def require_whole(owner: object, *names: str) -> None:
    """Refuse knobs that are not whole numbers.

    Raises:
        ConfigError: names the class, the knob and what was given.
    """
    for name in names:
        if not isinstance(getattr(owner, name), int):
            raise ConfigError(f"{type(owner).__name__}.{name} must be a whole number, got {getattr(owner, name)!r}")


@dataclass(frozen=True, slots=True)
class Reinforce:
    """The rule of the VARS paper: a REINFORCE step on two time scales.

    With `A = γ (r − b)` and `g = chosen − expected`:
    `z_L += η_L (A/τ) g`, `z_S = (1 − λ) z_S + η_S (A/τ) g`, `b = (1 − α) b + α r`.

    Attributes:
        beta_long, beta_short: `β_L`, `β_S`.
        eta_long, eta_short: step sizes `η_L`, `η_S`.
        decay: `λ`, share of the short-term vector lost at each event of its session.
        baseline_rate: `α`.

    Source: Hao et al., arXiv 2603.20939; the defaults are the paper's.

    Example:
        One thumbs-up (γ = 1, b = 0, τ = 1) with `g = [0.5, −0.5]` gives
        `z_L = [0.005, −0.005]` and `z_S = [0.025, −0.025]`.
    """

    beta_long: float = 2.0
    beta_short: float = 5.0
    eta_long: float = 0.01
    eta_short: float = 0.05
    decay: float = 0.1
    baseline_rate: float = 0.05

    def __post_init__(self) -> None:
        """Validate the knobs."""
        steps = dict.fromkeys(("beta_long", "beta_short", "eta_long", "eta_short"), (0.0, 1000.0))
        require(self, {**steps, "decay": (0.0, 1.0), "baseline_rate": (0.0, 1.0)})

    @property
    def name(self) -> str:
        """`reinforce`."""
        return "reinforce"

    @property
    def betas(self) -> tuple[float, float]:
        """`(β_L, β_S)`."""
        return self.beta_long, self.beta_short

    def step(self, state: LearnerState, event: Event, *, temperature: float, keep: int) -> LearnerState:
        """See `UpdateRule.step`."""
        move = event.gate * (event.reward - state.baseline) / temperature * event.direction
        short = (1.0 - self.decay) * state.short(event.session) + self.eta_short * move
        return LearnerState(
            long=state.long + self.eta_long * move,
            sessions=state.with_session(event.session, short, keep),
            baseline=(1.0 - self.baseline_rate) * state.baseline + self.baseline_rate * event.reward,
            count=state.count + 1,
        )

    @property
    def window(self) -> int:
        """0: the state is all that it needs."""
        return 0

    def settle(self, state: LearnerState, recent: Sequence[Event]) -> LearnerState:
        """The state itself."""
        return state


@dataclass(frozen=True, slots=True)
class MovingAverage:
    """The simplified rule: a reward-weighted running sum of what was chosen, on two time scales.

    `z_S += rate · r · chosen`, `z_L = (1 − rate) z_L + rate · z_S`, effective `mix · z_L + (1 − mix) · z_S`.
    It knows neither gate nor baseline nor what else could have been chosen; kept as a point of comparison.

    Attributes:
        mix: `α`, weight of the long-term vector.
        rate: step of both vectors.

    Example:
        One thumbs-up on `chosen = [1, 0]` gives `z_S = [0.01, 0]` and `z_L = [0.0001, 0]`.
    """

    mix: float = 0.7
    rate: float = 0.01

    def __post_init__(self) -> None:
        """Validate the knobs."""
        require(self, {"mix": (0.0, 1.0), "rate": (0.0, 1.0)})

    @property
    def name(self) -> str:
        """`moving_average`."""
        return "moving_average"

    @property
    def betas(self) -> tuple[float, float]:
        """`(α, 1 − α)`."""
        return self.mix, 1.0 - self.mix

    def step(self, state: LearnerState, event: Event, *, temperature: float, keep: int) -> LearnerState:
        """See `UpdateRule.step`."""
        short = state.short(event.session) + self.rate * event.reward * event.chosen
        return LearnerState(
            long=(1.0 - self.rate) * state.long + self.rate * short,
            sessions=state.with_session(event.session, short, keep),
            baseline=state.baseline,
            count=state.count + 1,
        )

    @property
    def window(self) -> int:
        """0: the state is all that it needs."""
        return 0

    def settle(self, state: LearnerState, recent: Sequence[Event]) -> LearnerState:
        """The state itself."""
        return state
