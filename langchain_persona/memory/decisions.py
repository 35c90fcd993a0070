"""From the ledger to decisions that can be evaluated: whose ratings, and what was logged with each."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from langgraph.store.base import Item

from langchain_persona.arrays import HALF, Vector, decode_vectors
from langchain_persona.effects import Call, Steps
from langchain_persona.errors import ConfigError, CorruptRecordError
from langchain_persona.identity import ANONYMOUS, label, normalise_user
from langchain_persona.learning import Decision, Estimate, estimate
from langchain_persona.learning.config import MAX_STRENGTH
from langchain_persona.memory.entries import parsed
from langchain_persona.memory.evaluation import Evaluation
from langchain_persona.memory.ledger import Ledger
from langchain_persona.memory.pages import everything, users_in
from langchain_persona.records import Feedback, Logged, Withdrawal, read_record

__all__ = ["Question", "decision_of", "evaluated"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of an evaluation; see `PersonaMemory.evaluate`.

    Raises:
        ConfigError: something that cannot work.
    """

    strengths: Sequence[float]
    users: object = None
    clip: float = 10.0
    k: int | None = None
    deterministic: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check everything."""
        given: object = self.strengths
        if isinstance(given, str) or not isinstance(given, Sequence) or not given:
            raise ConfigError(f"strengths must be some numbers such as (0.0, 0.5, 1.0, 2.0), got {given!r}")
        for strength in given:
            if not _is_number(strength) or not 0.0 <= strength <= MAX_STRENGTH:
                raise ConfigError(f"a strength must be a number from 0 to {MAX_STRENGTH:g}, got {strength!r}")
        if not _is_number(self.clip) or not self.clip >= 1.0:
            raise ConfigError(f"clip must be a number of at least 1 (infinity for none), got {self.clip!r}")
        if self.k is not None and (not _is_number(self.k) or not isinstance(self.k, int) or self.k < 1):
            raise ConfigError(f"k must be a whole number of at least 1, or None for as many as shown, got {self.k!r}")
        if not _is_number(self.seed) or not isinstance(self.seed, int) or self.seed < 0:
            raise ConfigError(f"seed must be a whole number of at least 0, got {self.seed!r}")
        if not isinstance(self.deterministic, bool):
            raise ConfigError(f"deterministic must be True or False, got {self.deterministic!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def evaluated(ledger: Ledger, asked: Question) -> Steps[Evaluation]:
    """The body of `PersonaMemory.evaluate`; see there."""
    users = (yield from users_in(ledger.store, ledger.root)) if asked.users is None else _labels(asked.users)
    decisions: list[Decision] = []
    left_out = 0
    for user in users:
        items = yield from everything(ledger.store, (*ledger.root, user, "feedback"))
        found, missed = yield Call(partial(_decisions, user, items))
        decisions += found
        left_out += missed

    def all_estimates() -> tuple[Estimate, ...]:
        logged: dict[str, Vector] = {}
        return tuple(
            estimate(
                decisions,
                float(strength),
                clip=asked.clip,
                k=asked.k,
                deterministic=asked.deterministic,
                seed=asked.seed,
                logged=logged,
            )
            for strength in dict.fromkeys(asked.strengths)
        )

    estimates: tuple[Estimate, ...] = yield Call(all_estimates)
    return Evaluation(
        estimates=estimates,
        users=len({decision.user for decision in decisions}),
        retrievals=len({decision.retrieval for decision in decisions}),
        ratings=len(decisions),
        left_out=left_out,
        shadow=sum(decision.would is not None for decision in decisions),
        strongest=max((decision.strength for decision in decisions), default=0.0),
        clip=asked.clip,
    )


def decision_of(entry: Feedback, user: str) -> Decision | None:
    """A feedback as a decision to evaluate; None where it lacks what is needed.

    Raises:
        CorruptRecordError: what was logged cannot be right.
    """
    if entry.logged is None:
        return None
    logged = read_record(Logged, entry.logged)
    base, bonus = _numbers(logged.base), _numbers(logged.bonus)
    places = (*logged.shown, *logged.would, *logged.rated)
    inside = not base.size or all(0 <= place < base.size for place in places)
    numbers_fit = all(0.0 <= value <= 1e6 for value in (logged.strength, logged.shrink, logged.explore))
    drawn_without = logged.explore > 0.0 and not base.size
    if not inside or not numbers_fit or base.size != bonus.size or not logged.shown or drawn_without:
        raise CorruptRecordError("what was logged of the retrieval does not fit together")
    if not logged.rated:
        return None
    return Decision(
        user=user,
        retrieval=entry.retrieval_id,
        reward=entry.reward,
        rated=logged.rated,
        shown=logged.shown,
        base=base,
        bonus=logged.shrink * bonus,
        strength=logged.strength,
        explore=logged.explore,
        would=logged.would if logged.shadow else None,
    )


def _numbers(text: str) -> Vector:
    """What was written as base64 of float16."""
    return decode_vectors(text, 1, HALF)[:, 0] if text else np.zeros(0)


def _decisions(user: str, items: Sequence[Item]) -> tuple[list[Decision], int]:
    """The decisions of one user that count, and how many ratings lack what is needed."""
    entries, left_out = parsed(items, float("-inf"))
    undone = {entry.target for entry in entries if isinstance(entry, Withdrawal)}
    decisions = []
    for entry in sorted(entries, key=lambda entry: (entry.time, entry.id)):
        # what was translated into another embedding model is one rating, and its log is that of the original
        if not isinstance(entry, Feedback) or entry.origin is not None or entry.id in undone:
            continue
        try:
            decision = decision_of(entry, user)
        except CorruptRecordError as error:
            logger.warning("Leaving feedback %s out of the evaluation: %s", entry.id, error)
            decision = None
        if decision is None:
            left_out += 1
        else:
            decisions.append(decision)
    return decisions, left_out


def _labels(users: object) -> list[str]:
    """The labels of the named users."""
    if isinstance(users, str | int | uuid.UUID):
        users = (users,)
    if not isinstance(users, Iterable):
        raise ConfigError(f"users must be ids of users, or None for all, got {users!r}")
    names = [normalise_user(user) for user in users]
    return [label(name) for name in dict.fromkeys(names) if name != ANONYMOUS]
