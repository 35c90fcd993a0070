"""VARS: how a user's vectors are learned. Pure NumPy.

`VARSConfig` holds the knobs, a rule (`WindowedRidge`, `Reinforce`, `MovingAverage`) moves a `LearnerState` by one
`Event`, and `fold` applies it to a ledger.
"""

from langchain_persona.learning.config import VARSConfig
from langchain_persona.learning.fold import fold, in_order
from langchain_persona.learning.policy import attribution_gate, policy, update_direction
from langchain_persona.learning.ridge import WindowedRidge
from langchain_persona.learning.rules import MovingAverage, Reinforce, UpdateRule
from langchain_persona.learning.state import Event, LearnerState

__all__ = [
    "Event",
    "LearnerState",
    "MovingAverage",
    "Reinforce",
    "UpdateRule",
    "VARSConfig",
    "WindowedRidge",
    "attribution_gate",
    "fold",
    "in_order",
    "policy",
    "update_direction",
]
