"""Signals of one answer brought together: how reliable each source is, and their weighted mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from langchain_persona.errors import ConfigError
from langchain_persona.rewards.scale import validated

__all__ = ["RELIABILITY", "UNKNOWN_RELIABILITY", "Signal", "combine", "reliabilities", "trust"]

RELIABILITY: Mapping[str, float] = MappingProxyType(
    {
        "thumbs": 1.0,
        "rating": 1.0,
        "edit": 0.9,
        "judge": 0.6,
        "follow_up": 0.5,
        "copy": 0.4,
        "retry": 0.4,
        "tool": 0.3,
        "dwell": 0.2,
        "click": 0.15,
    }
)
"""How much a source counts against the others, in (0, 1]. What was said outright comes first, what was only seen last:
clicks and reading time say where somebody looked, and are biased by position (Joachims et al., SIGIR 2005; Fox et al.,
ACM TOIS 23(2), 2005). The order is what matters; the figures are chosen, not measured."""

UNKNOWN_RELIABILITY = 0.3
"""Of a source that is not named."""


def reliabilities(own: Mapping[str, float] | None = None) -> Mapping[str, float]:
    """`RELIABILITY` with weights of your own in it, checked.

    Args:
        own: weights from 0 to 1 by source; new sources may be among them, 0 leaves a source out.

    Raises:
        ConfigError: no mapping of names to numbers, or a weight is no number from 0 to 1.

    Example:
        >>> own = reliabilities({"follow_up": 0.2, "survey": 0.8})
        >>> own["follow_up"], own["survey"], own["thumbs"]
        (0.2, 0.8, 1.0)
    """
    if own is None:
        return RELIABILITY
    if not isinstance(own, Mapping):
        raise ConfigError(f"reliability must be a mapping such as {{'follow_up': 0.5}}, got {own!r}")
    for source, weight in own.items():
        if not isinstance(source, str) or not source:
            raise ConfigError(f"a source in reliability must be a word such as 'follow_up', got {source!r}")
        _checked(source, weight)
    return MappingProxyType({**RELIABILITY, **{source: float(weight) for source, weight in own.items()}})


def trust(source: str, reliability: Mapping[str, float] = RELIABILITY) -> float:
    """How far a source is believed, in [0, 1].

    Signals that come at different times cannot be combined; each goes into the ledger with this factor in its weight,
    so that a least-squares rule learns what `combine` would have given.

    Example:
        >>> trust("thumbs"), trust("follow_up"), trust("a new one")
        (1.0, 0.5, 0.3)
    """
    return _checked(source, reliability.get(source, UNKNOWN_RELIABILITY))


def _checked(source: str, weight: object) -> float:
    """A weight that can be used."""
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0.0 <= weight <= 1.0:
        raise ConfigError(
            f"the reliability of {source!r} must be a number from 0 (left out) to 1 (as much as a thumb), got "
            f"{weight!r}; to let it count more than the others, lower theirs"
        )
    return float(weight)


@dataclass(frozen=True, slots=True)
class Signal:
    """One sign of how an answer was received.

    Attributes:
        source: where it came from, such as "follow_up"; the names of `RELIABILITY`, or one of your own.
        reward: from −1 (bad) to 1 (good).
        reason: why, in words that a user may read.

    Raises:
        ValueError: no source, or the reward lies outside [−1, 1].
        TypeError: the reward is no number.

    Example:
        >>> Signal("follow_up", 0.6, "thanks").reward
        0.6
    """

    source: str
    reward: float
    reason: str

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError("a signal needs a source, such as 'follow_up', got an empty one")
        object.__setattr__(self, "reward", validated(self.reward))


def combine(signals: Sequence[Signal], reliability: Mapping[str, float] = RELIABILITY) -> Signal | None:
    """Several signals about one answer as one: their mean, weighted by how reliable each source is.

    Args:
        signals: about the same answer, in any order.
        reliability: a weight from 0 to 1 for each source; a source that is not named there counts 0.3.

    Returns:
        A signal named after the most reliable source (the first of these where several are), its reason all reasons
        joined; None without signals, or when every weight is 0.

    Raises:
        ConfigError: a weight is no number from 0 to 1.

    Example:
        >>> combine([Signal("thumbs", 1.0, "thumbs up"), Signal("follow_up", -0.5, "too long")])
        Signal(source='thumbs', reward=0.5, reason='thumbs up; too long')
    """
    weights = [_checked(signal.source, reliability.get(signal.source, UNKNOWN_RELIABILITY)) for signal in signals]
    top = max(weights, default=0.0)
    if top == 0.0:
        return None
    shares = [weight / top for weight in weights]  # so that the smallest floats are safe too
    mean = math.fsum(share * signal.reward for share, signal in zip(shares, signals, strict=True)) / math.fsum(shares)
    kept = [signal for share, signal in zip(shares, signals, strict=True) if share > 0.0]
    reasons = dict.fromkeys(signal.reason for signal in kept if signal.reason)
    return Signal(signals[weights.index(top)].source, min(1.0, max(-1.0, mean)), "; ".join(reasons))
