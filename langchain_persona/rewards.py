"""Any signal of a user to one scale: a reward in [−1, 1]. Pure functions, no model call.

Text signals (the follow-up message) need word lists and live with the agent, not here.
"""

from __future__ import annotations

import math
from difflib import SequenceMatcher
from numbers import Real

__all__ = ["click", "dwell", "edit", "stars", "thumbs", "tool_outcome", "validated"]


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
