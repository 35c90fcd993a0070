"""The rules that are compared, and what each knows of one user: the pure core without store or database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from langchain_persona import PreferenceSpace, UserVectors, VARSConfig
from langchain_persona.learning import Event, LearnerState, Reinforce, fold
from langchain_persona.vectors import BonusVectors

__all__ = ["OURS", "Array", "Contender", "Learner", "Rated", "contenders"]

OURS = "ours"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to learn.

    Attributes:
        id: short, for the JSON document.
        name: for people.
        config: the learner; None does not learn.
        space: where it learns; None is the identity.
    """

    id: str
    name: str
    config: VARSConfig | None
    space: PreferenceSpace | None = None


def contenders(catalogue: npt.ArrayLike) -> tuple[Contender, ...]:
    """Plain Chroma and those that learn, ours last; the paper's PCA is fitted to the catalogue, shape (n, d)."""
    rows = np.asarray(catalogue)
    k = min(256, *rows.shape)
    bare = VARSConfig(rule=Reinforce(), candidates=64, max_bonus=1.0)
    return (
        Contender("plain", "plain Chroma", None),
        Contender("simplified", "simplified rule", VARSConfig.simplified()),
        Contender("paper", f"paper's rule, PCA-{k}", VARSConfig.paper(), PreferenceSpace.pca(rows, k=k)),
        Contender("paper_identity", "paper's rule, no PCA", bare),
        Contender(OURS, "ours, the default", VARSConfig()),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Rated:
    """One thumb on one item.

    Attributes:
        session, retrieval: where it happened; several thumbs on one retrieval are one moment.
        up: the thumb.
        item: embedding of what was rated, shape (d,).
        expected: mean embedding of what could have been shown, weighted by its probability, shape (d,).
    """

    session: str
    retrieval: str
    up: bool
    item: Array
    expected: Array


@dataclass(slots=True)
class Learner:
    """What a rule knows of one user: the fold of the thumbs so far, and those that its window needs.

    Attributes:
        config: the learner.
        space: where it learns.
    """

    config: VARSConfig
    space: PreferenceSpace
    _state: LearnerState = field(init=False)
    _kept: list[Event] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """A user of whom nothing is known."""
        self._state = LearnerState.cold(self.space.k)

    @classmethod
    def of(cls, contender: Contender, dimension: int) -> Learner | None:
        """A fresh learner for one user; None for a contender that does not learn."""
        if contender.config is None:
            return None
        return cls(contender.config, contender.space or PreferenceSpace.identity(dimension))

    def bonus(self, session: str | None) -> BonusVectors:
        """The capped bonus in a session; None is a new one."""
        long, short = self.config.rule.betas
        user = UserVectors(self._state.long, self._state.short(session), long, short)
        return user.bonus(self.space, max_bonus=self.config.max_bonus, strength=self.config.strength)

    def learn(self, thumbs: Sequence[Rated]) -> None:
        """Fold in thumbs, oldest first."""
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
