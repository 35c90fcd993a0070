"""Any signal of a user on one scale: a reward from −1 (bad) to 1 (good). Pure functions, no model call.

What is said outright is trusted more than what is only seen: clicks and reading time say where somebody looked, and
depend on position. The figures are chosen; their order is what matters. Sources stand in `docs/feedback.md`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType

WORTH: Mapping[str, float] = MappingProxyType({"click": 0.3, "copy": 0.5, "retry": -0.5})
"""Rewards of what a user does with an answer: opens a document, copies a part, has it answered once more."""

RELIABILITY: Mapping[str, float] = MappingProxyType(
    {"thumbs": 1.0, "rating": 1.0, "edit": 0.9, "judge": 0.6, "follow_up": 0.5}
    | {"copy": 0.4, "retry": 0.4, "tool": 0.3, "dwell": 0.2, "click": 0.15}
)
"""How far each source is believed, in [0, 1]; its feedback weighs so much less. One of your own is believed 0.3."""

_THUMBS = re.compile(r"\s*(?:[👍👎][\U0001f3fb-\U0001f3ff]?\ufe0f?\s*)+")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_]+(?:['’][^\W_]+)*|[^\w\s]|_")


def validated(reward: object) -> float:
    """A reward as a float: `TypeError` for what is no number or a boolean, `ValueError` outside [−1, 1]."""
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
    """A thumb: 1 up, −1 down."""
    return 1.0 if up else -1.0


def thumb_in(message: str) -> float | None:
    """The reward of a message of nothing but thumbs of one kind, such as "👍🏽 👍"; None for any other message."""
    up, down = "👍" in message, "👎" in message
    return thumbs(up) if up != down and _THUMBS.fullmatch(message) else None


def stars(rating: float, *, worst: float = 1.0, best: float = 5.0) -> float:
    """A rating, linearly: the worst is −1, the middle 0, the best 1; `stars(4)` is 0.5."""
    if not (worst < best and worst <= rating <= best):
        raise ValueError(f"rating must lie between worst ({worst}) and best ({best}), got {rating}")
    return 2.0 * (rating - worst) / (best - worst) - 1.0


def dwell(seconds: float, *, half: float = 30.0) -> float:
    """Time spent on a document, saturating: 0.5 at `half`, 0.75 at three times as much, towards 1."""
    if not seconds >= 0.0 or not half > 0.0:
        raise ValueError(f"seconds must be at least 0 and half above 0, got {seconds} and {half}")
    return 1.0 if math.isinf(seconds) else seconds / (seconds + half)


def tool_outcome(succeeded: bool) -> float:
    """The outcome of a tool call: 0.5 for success, −0.5 for an error; weaker than what the user says."""
    return 0.5 if succeeded else -0.5


def judge(verdict: bool | float | str, *, worst: float = 0.0, best: float = 10.0) -> float:
    """A model's verdict: yes is 1, no −1, a number (also as text) linear, so `judge(7.5)` is 0.5; else `ValueError`."""
    word = verdict.strip().strip(".!\"'*").casefold() if isinstance(verdict, str) else verdict
    if isinstance(word, bool) or word in ("yes", "no"):
        return thumbs(word in (True, "yes"))
    try:
        score = float(word)
    except (TypeError, ValueError):
        raise ValueError(f"a judge must say yes, no or a number from {worst} to {best}, got {verdict!r}") from None
    return stars(score, worst=worst, best=best)


def edit(shown: str, accepted: str) -> float:
    """How much of the shown text survived the user's editing: 1 untouched, −1 nothing left (Gao et al. 2024).

    The share is twice the words kept in order (their longest common subsequence) over all words of both texts, of which
    the first 20,000 characters are compared. A mark of punctuation is a word, and so is each Chinese or Japanese
    character; spaces count for nothing.

    Example:
        >>> edit("Dear Ana, see you soon.", "Dear Ana, see you tomorrow.")
        0.7142857142857142
    """
    old, new = _WORD.findall(shown[:20_000]), _WORD.findall(accepted[:20_000])
    if not old and not new:
        return 1.0
    places: dict[str, int] = {}
    for place, word in enumerate(old):
        places[word] = places.get(word, 0) | 1 << place
    # on the bits of whole numbers (Hyyrö, AWOCA 2004): bit i is 0 where the i-th old word adds one to the subsequence
    row = every = (1 << len(old)) - 1
    for word in new:
        matched = row & places.get(word, 0)
        row = (row + matched | row - matched) & every
    return 4.0 * (len(old) - row.bit_count()) / (len(old) + len(new)) - 1.0


@dataclass(frozen=True, slots=True)
class KeywordReward:
    """The VARS paper's rule for the next message: praise adds 1, a complaint takes 1 away.

    It knows words, not meaning ("thanks for nothing" is praise to it), so it is off unless you ask for it. Both fields
    are regular expressions of whole English words in small letters; give others for another language.

    Example:
        >>> reward = KeywordReward()
        >>> [reward("Tea?", "Here.", message) for message in ("Thanks!", "That's not tea.", "And coffee?")]
        [1.0, -1.0, None]
    """

    praise: str = "thanks|thank you|great|perfect|excellent|that helps|well done"
    complaint: str = "wrong|incorrect|redo|that's not|not what i|you didn't|doesn't help"

    def __call__(self, question: str, answer: str, message: str) -> float | None:
        """The reward of the answer, read off the first 600 characters of the next message; None: it says nothing."""
        start = message[:600].casefold().replace("’", "'")
        good, bad = (re.search(rf"(?<!\w)(?:{words})(?!\w)", start) for words in (self.praise, self.complaint))
        return float(good is not None) - float(bad is not None) if good or bad else None


@dataclass(frozen=True, slots=True)
class Signal:
    """One sign of how an answer was received: its source (of `RELIABILITY`, or your own), and why, for the user."""

    source: str
    reward: float
    reason: str

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError("a signal needs a source, such as 'follow_up', got an empty one")
        object.__setattr__(self, "reward", validated(self.reward))


def trust(source: str) -> float:
    """How far a source is believed; see `RELIABILITY`."""
    return RELIABILITY.get(source, 0.3)


def combine(signals: Sequence[Signal]) -> Signal | None:
    """Several signals about one answer as one: their mean, weighted by how far each source is believed.

    It has the name of the most reliable source (the first of several) and all reasons; None where there is none.

    Example:
        >>> combine([Signal("thumbs", 1.0, "thumbs up"), Signal("follow_up", -0.5, "too long")])
        Signal(source='thumbs', reward=0.5, reason='thumbs up; too long')
    """
    if not signals:
        return None
    weights = [trust(signal.source) for signal in signals]
    top = max(weights)
    shares = [weight / top for weight in weights]
    mean = math.fsum(share * signal.reward for share, signal in zip(shares, signals, strict=True)) / math.fsum(shares)
    reasons = dict.fromkeys(signal.reason for signal in signals if signal.reason)
    return Signal(signals[weights.index(top)].source, min(1.0, max(-1.0, mean)), "; ".join(reasons))
