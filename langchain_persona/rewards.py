"""Any signal of a user to one scale: a reward in [−1, 1]. Pure functions, no model call.

The follow-up message, which needs word lists, is read in `langchain_persona.signals`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from numbers import Real
from types import MappingProxyType

__all__ = [
    "RELIABILITY",
    "Signal",
    "click",
    "combine",
    "dwell",
    "edit",
    "stars",
    "thumbs",
    "tool_outcome",
    "validated",
]

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


def validated(reward: object) -> float:
    """Check a reward and return it as a float.

    Args:
        reward: a real number in [−1, 1]; NumPy scalars are fine, booleans are not.

    Raises:
        TypeError: not a number (booleans included: say `thumbs(True)`).
        ValueError: NaN, infinite, or outside [−1, 1].

    Example:
        >>> validated(1)
        1.0
    """
    if isinstance(reward, bool) or not isinstance(reward, Real):
        raise TypeError(
            f"reward must be a number from -1 (bad) to 1 (good), got {type(reward).__name__} {reward!r}; "
            "for a yes or no use langchain_persona.rewards.thumbs"
        )
    value = float(reward)
    if not -1.0 <= value <= 1.0:
        raise ValueError(f"reward must lie between -1 (bad) and 1 (good), got {value}")
    return value


def thumbs(up: bool) -> float:
    """A thumb: 1 up, −1 down.

    Example:
        >>> thumbs(True), thumbs(False)
        (1.0, -1.0)
    """
    return 1.0 if up else -1.0


def stars(rating: float, *, worst: float = 1.0, best: float = 5.0) -> float:
    """A rating, linearly: the worst is −1, the middle 0, the best 1.

    Raises:
        ValueError: the rating lies outside [worst, best], or these are not in order.

    Example:
        >>> stars(4), stars(1)
        (0.5, -1.0)
    """
    if not worst < best:
        raise ValueError(f"worst ({worst}) must lie below best ({best})")
    if not worst <= rating <= best:
        raise ValueError(f"rating must lie between {worst} and {best}, got {rating}")
    return 2.0 * (rating - worst) / (best - worst) - 1.0


def edit(shown: str, accepted: str) -> float:
    """How much of the shown text survived the user's editing: 1 untouched, −1 nothing left.

    The share is `difflib`'s ratio (Ratcliff and Obershelp, 1988): twice the matching characters over all characters.

    Example:
        >>> edit("Dear Ana,", "Dear Ana,"), edit("abc", "xyz")
        (1.0, -1.0)
    """
    return 2.0 * SequenceMatcher(None, shown, accepted, autojunk=False).ratio() - 1.0


def click() -> float:
    """A click: a weak yes, 0.3. Attention, not satisfaction (Joachims et al., SIGIR 2005)."""
    return 0.3


def dwell(seconds: float, *, half: float = 30.0) -> float:
    """Time spent on a document, saturating: 0 at none, 0.5 at `half`, towards 1.

    30 s is the usual threshold of a satisfied click (Fox et al., ACM TOIS 23(2), 2005).

    Raises:
        ValueError: a negative or NaN time, or a half that is not positive.

    Example:
        >>> dwell(0.0), dwell(30.0), dwell(90.0)
        (0.0, 0.5, 0.75)
    """
    if not seconds >= 0.0 or not half > 0.0:
        raise ValueError(f"seconds must be at least 0 and half above 0, got {seconds} and {half}")
    return 1.0 if math.isinf(seconds) else seconds / (seconds + half)


def tool_outcome(succeeded: bool) -> float:
    """The outcome of a tool call: 0.5 for success, −0.5 for an error; weaker than what the user says.

    Example:
        >>> tool_outcome(False)
        -0.5
    """
    return 0.5 if succeeded else -0.5


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
        reliability: a weight of at least 0 for each source; a source that is not named there counts 0.3.

    Returns:
        A signal named after the most reliable source (the first of these where several are), its reason all reasons
        joined; None without signals, or when every weight is 0.

    Raises:
        ValueError: a weight is negative, infinite or NaN.

    Example:
        >>> combine([Signal("thumbs", 1.0, "thumbs up"), Signal("follow_up", -0.5, "too long")])
        Signal(source='thumbs', reward=0.5, reason='thumbs up; too long')
    """
    weights = [float(reliability.get(signal.source, UNKNOWN_RELIABILITY)) for signal in signals]
    if any(not 0.0 <= weight < math.inf for weight in weights):
        raise ValueError(f"a reliability must be a number of at least 0, got {weights}")
    top = max(weights, default=0.0)
    if top == 0.0:
        return None
    shares = [weight / top for weight in weights]  # so that the smallest and the largest floats are safe too
    mean = math.fsum(share * signal.reward for share, signal in zip(shares, signals, strict=True)) / math.fsum(shares)
    kept = [signal for share, signal in zip(shares, signals, strict=True) if share > 0.0]
    reasons = dict.fromkeys(signal.reason for signal in kept if signal.reason)
    return Signal(signals[weights.index(top)].source, min(1.0, max(-1.0, mean)), "; ".join(reasons))
