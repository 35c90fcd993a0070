"""The scale, and what a signal says on it: one small function for each kind, from −1 (bad) to 1 (good).

Figures that are not measured by somebody are chosen so that what is said outright is stronger than what is only seen;
how far each is to be believed is another matter: see `combining.RELIABILITY`.
"""

from __future__ import annotations

import math
from numbers import Real

__all__ = ["click", "copy", "dwell", "judge", "retry", "stars", "thumbs", "tool_outcome", "validated"]


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


def click() -> float:
    """A click: a weak yes, 0.3. Attention, not satisfaction (Joachims et al., SIGIR 2005)."""
    return 0.3


def copy() -> float:
    """The user copied the answer or a part of it: a yes, 0.5. It was worth keeping, which is not yet praise.

    Cut and paste is among the "references" of Oard and Kim, *Implicit Feedback for Recommender Systems* (AAAI workshop
    on recommender systems, 1998), the kind of use that they set beside keeping and reading.
    """
    return 0.5


def retry() -> float:
    """The user had the same thing answered once more: a no, −0.5, as strong as asking it again in the same words.

    Asking again is among the best signs that a result did not satisfy (Hassan, Shi, Craswell and Ramsey, *Beyond
    Clicks: Query Reformulation as a Predictor of Search Satisfaction*, CIKM 2013). No worse than −0.5, for some only
    want to see another.
    """
    return -0.5


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


def judge(verdict: bool | float | str, *, worst: float = 0.0, best: float = 10.0) -> float:
    """What a model says of an answer: yes is 1, no is −1, a score lies linearly between the worst and the best.

    What a model wrote is not to be trusted in form either, hence the checks. Models agree with people about as often
    as people do with each other, but they favour long answers and what stands first (Zheng et al., *Judging
    LLM-as-a-Judge with MT-Bench and Chatbot Arena*, NeurIPS 2023, arXiv 2306.05685); so a judge is believed less than
    the user. VARS (arXiv 2603.20939) takes its rewards from one.

    Args:
        verdict: True or False, "yes" or "no", a number, or a number as text.
        worst: the lower end of the scale that the model was asked to use.
        best: its upper end.

    Raises:
        ValueError: neither yes, no nor a number, or one outside [worst, best], or these are not in order.

    Example:
        >>> judge(7.5), judge("No."), judge("4", worst=1, best=5)
        (0.5, -1.0, 0.5)
    """
    word = verdict.strip().strip(".!\"'*").casefold() if isinstance(verdict, str) else verdict
    if isinstance(word, bool) or word in ("yes", "no"):
        return thumbs(word in (True, "yes"))
    try:
        score = float(word)
    except (TypeError, ValueError):
        raise ValueError(f"a judge must say yes, no or a number from {worst} to {best}, got {verdict!r}") from None
    return stars(score, worst=worst, best=best)
