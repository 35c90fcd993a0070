"""VARS: how a user's vectors are learned. Pure NumPy.

`VARSConfig` holds the knobs, a rule (`WindowedRidge`, `Reinforce`, `MovingAverage`) moves a `LearnerState` by one
`Event`, and `fold` applies it to a ledger. `calibration`, `exploration` and `offpolicy` are about the ranking: the
scale of the bonus, drawing what is shown, and what another strength would have earned.
"""

from langchain_persona.learning.calibration import MIN_SAMPLE, moderation, scale_of, spread_of
from langchain_persona.learning.config import VARSConfig
from langchain_persona.learning.exploration import gumbel_order, inclusion, list_log_probability
from langchain_persona.learning.fold import fold, in_order
from langchain_persona.learning.offpolicy import Decision, Estimate, estimate
from langchain_persona.learning.policy import attribution_gate, policy, update_direction
from langchain_persona.learning.ridge import WindowedRidge
from langchain_persona.learning.rules import MovingAverage, Reinforce, UpdateRule
from langchain_persona.learning.state import Event, LearnerState

__all__ = [
    "MIN_SAMPLE",
    "Decision",
    "Estimate",
    "Event",
    "LearnerState",
    "MovingAverage",
    "Reinforce",
    "UpdateRule",
    "VARSConfig",
    "WindowedRidge",
    "attribution_gate",
    "estimate",
    "fold",
    "gumbel_order",
    "in_order",
    "inclusion",
    "list_log_probability",
    "moderation",
    "policy",
    "scale_of",
    "spread_of",
    "update_direction",
]
