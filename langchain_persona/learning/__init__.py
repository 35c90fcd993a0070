"""VARS: how a user's vectors are learned and act on a ranking. Pure NumPy, no I/O.

`VARSConfig` holds the knobs. A rule (`WindowedRidge`, `Reinforce`, `MovingAverage`) moves a `LearnerState` by one
`Event`, and `fold` applies it to a ledger. `UserVectors` turns the state into a capped bonus, in the coordinates of a
`PreferenceSpace`; `moderation` and `scale_of` say how large the bonus may be beside relevance.
"""

from langchain_persona.learning.arrays import HALF, Vector, decode_vectors, encode_vectors, frozen, unit
from langchain_persona.learning.config import MAX_STRENGTH, VARSConfig, fold
from langchain_persona.learning.fitting import UserRatings
from langchain_persona.learning.rules import MovingAverage, Reinforce, UpdateRule, WindowedRidge
from langchain_persona.learning.space import PreferenceSpace
from langchain_persona.learning.state import Event, LearnerState, in_order
from langchain_persona.learning.vectors import (
    MIN_SAMPLE,
    BonusVectors,
    UserVectors,
    attribution_gate,
    moderation,
    policy,
    scale_of,
)
from langchain_persona.learning.words import Heard, Statements, Words

__all__ = [
    "HALF",
    "MAX_STRENGTH",
    "MIN_SAMPLE",
    "BonusVectors",
    "Event",
    "Heard",
    "LearnerState",
    "MovingAverage",
    "PreferenceSpace",
    "Reinforce",
    "Statements",
    "UpdateRule",
    "UserRatings",
    "UserVectors",
    "VARSConfig",
    "Vector",
    "WindowedRidge",
    "Words",
    "attribution_gate",
    "decode_vectors",
    "encode_vectors",
    "fold",
    "frozen",
    "in_order",
    "moderation",
    "policy",
    "scale_of",
    "unit",
]
