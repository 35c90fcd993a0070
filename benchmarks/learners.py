"""What a rule knows of one user, and how it scores items for them: a small protocol, and this package's own rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from langchain_persona import PreferenceSpace, UserVectors, VARSConfig
from langchain_persona.learning import MIN_SAMPLE, BonusVectors, Event, LearnerState, fold, moderation

__all__ = ["Array", "Ids", "Learner", "Plain", "Rated", "Rows", "VarsLearner", "sampled"]

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating[Any]]
Ids = npt.NDArray[np.intp]

SAMPLE, STRETCHES = 128, 4
"""Documents on which the retriever measures spreads, and in how many stretches it reads them."""


@dataclass(frozen=True, slots=True, eq=False)
class Rated:
    """One thumb on one item.

    Attributes:
        session, retrieval: where it happened; several thumbs on one retrieval are one moment.
        up: the thumb.
        id: the item's number.
        item: embedding of what was rated, shape (d,).
        expected: mean embedding of what could have been shown, weighted by its probability, shape (d,).
    """

    session: str
    retrieval: str
    up: bool
    id: int
    item: Rows
    expected: Rows


class Learner(Protocol):
    """What a rule knows of one user."""

    def learn(self, thumbs: Sequence[Rated]) -> None:
        """Take in thumbs, oldest first."""

    def scores(self, rows: Rows, ids: Ids, base: Rows, session: str | None, spread: Rows | None = None) -> Rows:
        """Personalised scores.

        Args:
            rows: unit embeddings of items, shape (n, d).
            ids: their numbers, shape (n,).
            base: relevance, shape (n,), or (queries, n).
            session: where they are scored; None is a new session.
            spread: how far the relevance of the query varies over a sample of what can be shown; a shape that goes with
                `base`. None where nothing was asked, and where too few can be shown to tell.

        Returns:
            In the shape of `base`; what a rule that knows nothing returns is `base`.
        """


def sampled(corpus: Rows) -> Rows:
    """The documents on which the retriever measures spreads, were the corpus a collection filled in this order."""
    count, size = len(corpus), SAMPLE // STRETCHES
    if count <= SAMPLE:
        return corpus
    return np.concatenate([corpus[count * i // STRETCHES :][:size] for i in range(STRETCHES)])


class Plain:
    """Learns nothing."""

    def learn(self, thumbs: Sequence[Rated]) -> None:
        """Nothing."""

    def scores(self, rows: Rows, ids: Ids, base: Rows, session: str | None, spread: Rows | None = None) -> Rows:
        """The relevance."""
        return base


@dataclass(slots=True)
class VarsLearner:
    """A rule of this package: the fold of the thumbs so far, and those that its window needs.

    Attributes:
        config: the learner.
        space: where it learns.
        background: unit embeddings of a sample of what can be shown, on which the spread of the bonus is measured.
    """

    config: VARSConfig
    space: PreferenceSpace
    background: Rows | None = None
    _state: LearnerState = field(init=False)
    _kept: list[Event] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """A user of whom nothing is known."""
        self._state = LearnerState.cold(self.space.k)

    def gains(self, options: Array, words: Array, session: str | None) -> Array:
        """The capped bonus of options, shape (n, m, d), where words add a vector for each query, shape (n, d)."""
        learned = self.bonus(session, max_bonus=float("inf"))
        total = learned.total + words
        reach = np.linalg.norm(total, axis=1) * (1.0 + float(np.linalg.norm(learned.mean)))
        factor = self.config.strength * np.minimum(1.0, self.config.max_bonus / np.maximum(reach, 1e-12))
        found: Array = np.einsum("nmd,nd->nm", options - learned.mean, total * factor[:, None])
        return found

    def bonus(self, session: str | None, max_bonus: float | None = None) -> BonusVectors:
        """The capped bonus in a session; None is a new one."""
        beta_long, beta_short = self.config.rule.betas
        user = UserVectors(self._state.long, self._state.short(session), beta_long, beta_short)
        cap = self.config.max_bonus if max_bonus is None else max_bonus
        return user.bonus(self.space, max_bonus=cap, strength=1.0 if max_bonus else self.config.strength)

    def scores(self, rows: Rows, ids: Ids, base: Rows, session: str | None, spread: Rows | None = None) -> Rows:
        """`relevance + bonus`, in the precision of the rows."""
        bonus = self.bonus(session)
        gained: Rows = rows @ bonus.total.astype(rows.dtype) - float(bonus.mean @ bonus.total)
        return base + gained * self._moderation(bonus, spread)

    def _moderation(self, bonus: BonusVectors, spread: Rows | None) -> Any:
        """What the retriever multiplies the bonus with, so that it varies no more than a share of relevance."""
        if spread is None or self.background is None or len(self.background) < MIN_SAMPLE:
            return 1.0
        own = float(np.std(np.einsum("nd,d->n", self.background, bonus.total)))
        factors = [moderation(float(one), own, self.config.spread) for one in np.ravel(spread)]
        return np.reshape(factors, np.shape(spread)).astype(self.background.dtype)

    def learn(self, thumbs: Sequence[Rated]) -> None:
        """Fold in thumbs."""
        if not thumbs:
            return
        # what was shown is kept in half, what was expected in single precision, until the thumb comes
        items = self.space.project(np.stack([thumb.item for thumb in thumbs]).astype(np.float16))
        behind = self.space.project(np.stack([thumb.expected for thumb in thumbs]).astype(np.float32))
        events = [
            Event(
                time=float(number),
                id=f"{number:08d}",
                session=thumb.session,
                reward=1.0 if thumb.up else -1.0,
                gate=1.0,
                chosen=item,
                expected=expected,
                retrieval=thumb.retrieval,
            )
            for number, (thumb, item, expected) in enumerate(
                zip(thumbs, items, behind, strict=True), start=self._state.count
            )
        ]
        self._state = fold(events, self.config, k=self.space.k, start=self._state, before=self._kept)
        window = self.config.rule.window
        self._kept = [*self._kept, *events][-window:] if window else []
