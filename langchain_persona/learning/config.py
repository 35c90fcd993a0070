"""The knobs of learning, and the fold: a user's state as a function of the events in the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from langchain_persona.errors import ConfigError
from langchain_persona.learning.rules import MovingAverage, Reinforce, UpdateRule, WindowedRidge, require
from langchain_persona.learning.state import Event, LearnerState, in_order
from langchain_persona.learning.words import Words

FOLD_VERSION = 3  # raised with every change of what a fold gives: snapshots of an older version are folded again
MAX_STRENGTH = 10.0  # far beyond what any ranking gains from


@dataclass(frozen=True, slots=True)
class VARSConfig:
    """How a user's vectors are learned, and how strongly they act.

    Attributes:
        rule: the update rule; `WindowedRidge()` by default.
        strength: the one knob to turn, 0 to 10: a factor on the bonus and on its cap. 0 is exactly the plain ranking.
        max_bonus: cap on the absolute bonus of any unit vector at strength 1, in units of the base score (cosine);
            with a reranker, times the scale of its scores.
        spread: keeps results on topic: over the collection, the standard deviation of the bonus at strength 1 is at
            most this share of the relevance's. Both are measured on a sample of what passes the call's filter, brought
            to unit length; with fewer than 16 documents nothing is moderated. 0 switches the bonus off.
        words: how what the user stated acts; `Words(weight=0)` is off.
        min_feedback: of a user with fewer events only what they stated acts.
        temperature: `τ` of the retrieval policy.
        candidates: documents read for each retrieval, and never fewer than k + 2. What is read and not shown is the
            contrast to learn from.
        max_norm: bound on every stored vector, at most 6e4 because states are kept as float16. Only hostile ledgers
            reach it.
        keep_sessions: how many sessions keep a short-term vector; 2 keep a user's state below 8 KB at 384 dimensions.

    `ConfigError`: a knob is outside its range; it says what was given and what is allowed.

    Example:
        >>> VARSConfig.paper().rule.betas
        (2.0, 5.0)
    """

    rule: UpdateRule = field(default_factory=WindowedRidge)
    max_bonus: float = 0.75
    spread: float = 0.35
    strength: float = 1.0
    temperature: float = 1.0
    candidates: int = 12
    max_norm: float = 100.0
    keep_sessions: int = 2
    min_feedback: int = 1
    words: Words = field(default_factory=Words)

    def __post_init__(self) -> None:
        if not isinstance(self.rule, UpdateRule):
            raise ConfigError(f"rule must be an update rule such as WindowedRidge() or Reinforce(), got {self.rule!r}")
        if not isinstance(self.words, Words):
            raise ConfigError(f"words must be Words(...), such as Words(weight=0.5), got {self.words!r}")
        counts = {"candidates": (1, 10_000), "keep_sessions": (1, 1_000), "min_feedback": (1, 1_000_000)}
        numbers = {"max_bonus": (0.0, 1e6), "spread": (0.0, 1e6), "temperature": (1e-6, 1e6), "max_norm": (1e-6, 6e4)}
        require(self, {**counts, **numbers, "strength": (0.0, MAX_STRENGTH)})

    @classmethod
    def paper(cls) -> VARSConfig:
        """The VARS paper (arXiv 2603.20939): REINFORCE, 64 candidates, τ = 1, no moderation; use it with PCA-256."""
        return cls(rule=Reinforce(), candidates=64, max_bonus=1.0, spread=1e6, words=Words(weight=0.0))

    @classmethod
    def simplified(cls) -> VARSConfig:
        """The simplified moving average with α = 0.7 and rate 0.01."""
        return cls(rule=MovingAverage(), max_bonus=1.0, spread=1e6, words=Words(weight=0.0))

    @property
    def fingerprint(self) -> str:
        """Changes with every knob that changes the fold; a stored snapshot names it.

        `max_bonus`, `spread`, `strength`, `candidates`, `min_feedback` and `words` act at retrieval only.
        """
        folding = replace(self, max_bonus=1.0, spread=1.0, strength=1.0, candidates=1, min_feedback=1, words=Words())
        return hashlib.sha256(f"{FOLD_VERSION} {folding!r}".encode()).hexdigest()[:16]


def fold(
    events: Iterable[Event],
    config: VARSConfig,
    *,
    k: int,
    start: LearnerState | None = None,
    before: Iterable[Event] = (),
) -> LearnerState:
    """The state after the last event, in whatever order the events arrive, also twice; without any, the start.

    After every event the state is rounded to the precision in which it is stored. So a fold that goes on from a stored
    snapshot gives the same bits as one from the first event.

    Args:
        events: those of gate 0 change nothing.
        config: the rule and its surroundings.
        k: numbers in an item vector.
        start: the state to go on from, the cold one by default; its events must all lie before these.
        before: the latest events that `start` holds, at least `config.rule.window` of them.

    Example:
        >>> import numpy as np
        >>> up = Event(0.0, "f1", "t1", 1.0, 1.0, np.array([1.0, 0.0]), np.array([0.5, 0.5]))
        >>> fold([up, up], VARSConfig.paper(), k=2).count
        1
    """
    state = LearnerState.cold(k) if start is None else start
    fresh = in_order(events)
    for event in fresh:
        step = config.rule.step(state, event, temperature=config.temperature, keep=config.keep_sessions)
        state = step.rounded(config.max_norm, state)
    if fresh:
        recent = [*in_order(before), *fresh]
        state = config.rule.settle(state, recent[max(len(recent) - config.rule.window, 0) :]).rounded(config.max_norm)
    return state
