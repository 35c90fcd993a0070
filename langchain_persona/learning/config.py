"""Every knob of the learner that is not a rule's own, validated at construction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Literal

from langchain_persona.errors import ConfigError
from langchain_persona.learning.ridge import WindowedRidge
from langchain_persona.learning.rules import MovingAverage, Reinforce, UpdateRule, require, require_whole

__all__ = ["FOLD_VERSION", "MAX_STRENGTH", "VARSConfig"]

FOLD_VERSION = 3
"""Raised with every change of what a fold gives, so that snapshots of an older version are folded again."""

MAX_STRENGTH = 10.0
"""The highest strength: far beyond what any ranking gains from."""


@dataclass(frozen=True, slots=True)
class VARSConfig:
    """How a user's vectors are learned and how strongly they act.

    Attributes:
        rule: the update rule; `WindowedRidge()` by default.
        strength: the one knob to turn, 0 to 10: factor on the bonus and on its cap alike. 0 is off (exactly the plain
            ranking), 1 the default.
        max_bonus: cap on the absolute bonus of any unit vector whatever at strength 1, in units of the base score
            (cosine); what holds is `strength · max_bonus`, beside a reranker times the scale of its scores. It bounds
            the length of the bonus direction; real documents rarely point straight along it and get less.
        spread: the most that the bonus may vary over the collection, as a share of how much relevance varies over it
            (standard deviations, at strength 1): what keeps results on topic. Measured on a sample of what can be
            shown, that is of what passes the filter of the call; fewer than 16 documents are taken to be all on topic.
            0 is no bonus at all.
            In `ip` and `l2` spaces with vectors not of unit length it is measured on these brought to unit length.
        min_feedback: with fewer events than this behind a user the ranking is the plain one. Only with the
            default of 1, `prior="population"` and a space in force that has a prior a user without any starts there.
        abstain: rank plainly for queries whose answer is no matter of taste, such as "what is 2 + 2".
        temperature: `τ` of the retrieval policy.
        candidates: documents read for each retrieval, and never fewer than k + 2; what is read and not shown is the
            contrast to learn from.
        max_norm: bound on every stored vector, at most 6e4: states are kept as float16. Only hostile ledgers reach it.
        prior: where a new user starts. "none": at zero, so that cold start changes nothing (law 1). "population": at
            the mean user of a fitted space (`PersonaMemory.refit`), so that also a user without any feedback gets a
            ranking that differs from the plain one. That is a warm start bought with law 1: opt in knowingly. It needs
            a rule with a `gain`, which says what a predicted reward is worth.
        keep_sessions: sessions whose short-term vector is kept; 2 keep a user's state below 8 KB at 384 dimensions.

    Raises:
        ConfigError: a knob is outside its range; says what was given and what is allowed.

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
    prior: Literal["none", "population"] = "none"
    min_feedback: int = 1
    abstain: bool = True

    def __post_init__(self) -> None:
        """Validate the knobs."""
        if not isinstance(self.rule, UpdateRule):
            raise ConfigError(f"rule must be an update rule such as WindowedRidge() or Reinforce(), got {self.rule!r}")
        if self.prior not in ("none", "population"):
            raise ConfigError(f'prior must be "none" or "population", got {self.prior!r}')
        if self.prior == "population" and self.prior_scale is None:
            raise ConfigError(
                f'prior="population" needs a rule that predicts rewards and has a gain, such as WindowedRidge(); got '
                f'{self.rule!r}; use that rule or prior="none"'
            )
        require_whole(self, "candidates", "keep_sessions", "min_feedback")
        if not isinstance(self.abstain, bool):
            raise ConfigError(f"VARSConfig.abstain must be True or False, got {self.abstain!r}")
        require(
            self,
            {
                "max_bonus": (0.0, 1e6),
                "spread": (0.0, 1e6),
                "strength": (0.0, MAX_STRENGTH),
                "temperature": (1e-6, 1e6),
                "candidates": (1, 10_000),
                "max_norm": (1e-6, 6e4),
                "keep_sessions": (1, 1_000),
                "min_feedback": (1, 1_000_000),
            },
        )

    @classmethod
    def paper(cls) -> VARSConfig:
        """The VARS paper: REINFORCE with its constants, 64 candidates, τ = 1, no moderation; use it with PCA-256.

        Source: Hao et al., arXiv 2603.20939.
        """
        return cls(rule=Reinforce(), candidates=64, max_bonus=1.0, spread=1e6)

    @classmethod
    def simplified(cls) -> VARSConfig:
        """The simplified moving average with α = 0.7 and rate 0.01."""
        return cls(rule=MovingAverage(), max_bonus=1.0, spread=1e6)

    @property
    def prior_scale(self) -> float | None:
        """What to multiply a space's prior with, so that in the long vector it acts with the rule's `gain`.

        None where the rule has no `gain`; 0 where its long vector does not act at all.
        """
        gain, beta = getattr(self.rule, "gain", None), self.rule.betas[0]
        if gain is None:
            return None
        return float(gain) / beta if beta else 0.0

    @property
    def fingerprint(self) -> str:
        """Changes with every knob that changes the fold; a stored snapshot names it.

        `max_bonus`, `spread`, `strength`, `candidates`, `min_feedback` and `abstain` act at retrieval and leave the
        fold alone.
        """
        folding = replace(self, max_bonus=1.0, spread=1.0, strength=1.0, candidates=1, min_feedback=1, abstain=True)
        return hashlib.sha256(f"{FOLD_VERSION} {folding!r}".encode()).hexdigest()[:16]
