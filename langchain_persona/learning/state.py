"""One event of the ledger as a learner sees it, and the state that the events are folded into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from langchain_persona.arrays import HALF, SINGLE, Vector, decode_vectors, encode_vectors, frozen
from langchain_persona.errors import CorruptRecordError, DimensionMismatchError

__all__ = ["Event", "LearnerState"]


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One settled outcome, in item vectors.

    Attributes:
        time: seconds since the epoch; with `id` it gives the order of the fold.
        id: unique name of the feedback.
        session: the session it belongs to (a LangGraph thread), whose short-term vector moves; "" is none.
        reward: `r` in [−1, 1].
        gate: `γ` in [0, 1], the share of the reward that is due to retrieval.
        chosen: shape (k,), mean item vector of the documents that the reward is about.
        expected: shape (k,), `Σ π_m v_m` over the candidates of that retrieval.
        retrieval: id of the retrieval; several thumbs on one retrieval are one moment.
        predicted: the reward that the population gives such an item, `⟨prior, chosen⟩`; 0 unless
            `VARSConfig(prior="population")`. What sets a user apart shows in `reward − predicted`.
    """

    time: float
    id: str
    session: str
    reward: float
    gate: float
    chosen: Vector
    expected: Vector
    retrieval: str = ""
    predicted: float = 0.0

    @property
    def direction(self) -> Vector:
        """`g = chosen − expected`."""
        return self.chosen - self.expected


@dataclass(frozen=True, slots=True, eq=False)
class LearnerState:
    """A user's state between two events. Immutable: a rule takes one and returns another.

    Attributes:
        long: `z_L`, shape (k,).
        sessions: `z_S` of the most recently active sessions, oldest first; each of shape (k,).
        baseline: `b`, running mean of the rewards.
        count: events folded in.
        extra: further arrays that a rule keeps, each of shape (k,).
    """

    long: Vector
    sessions: Mapping[str, Vector] = field(default_factory=dict)
    baseline: float = 0.0
    count: int = 0
    extra: Mapping[str, Vector] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze every array and mapping; refuse shapes that do not agree."""
        object.__setattr__(self, "long", frozen(self.long))
        for name in ("sessions", "extra"):
            arrays = {key: frozen(value) for key, value in getattr(self, name).items()}
            if any(array.shape != self.long.shape for array in arrays.values()):
                raise DimensionMismatchError(f"every vector of a state must have shape {self.long.shape}")
            object.__setattr__(self, name, MappingProxyType(arrays))

    @classmethod
    def cold(cls, k: int) -> LearnerState:
        """The state before the first event."""
        return cls(np.zeros(k))

    def short(self, session: str | None) -> Vector:
        """`z_S` of one session; zeros where the session is new, forgotten, or none at all."""
        found = self.sessions.get(session) if session else None
        return np.zeros_like(self.long) if found is None else found

    def array(self, name: str) -> Vector:
        """A further array of the rule; zeros before it was first set."""
        found = self.extra.get(name)
        return np.zeros_like(self.long) if found is None else found

    def with_session(self, session: str, short: Vector, keep: int) -> Mapping[str, Vector]:
        """The sessions with this one newest, and the oldest beyond `keep` dropped; no session, no short term."""
        if not session:
            return self.sessions
        others = [(name, vector) for name, vector in self.sessions.items() if name != session]
        return dict([*others, (session, short)][-keep:])

    def to_json(self) -> dict[str, Any]:
        """A JSON-safe document: `long` as base64 of float32, the others of float16 (see `rounded`)."""
        return {
            "k": int(self.long.size),
            "long": encode_vectors(self.long),
            "sessions": [[name, encode_vectors(vector, HALF)] for name, vector in self.sessions.items()],
            "baseline": self.baseline,
            "count": self.count,
            "extra": {name: encode_vectors(vector, HALF) for name, vector in self.extra.items()},
        }

    def rounded(self, max_norm: float) -> LearnerState:
        """The state in the precision in which it is stored, every vector no longer than `max_norm`."""
        return LearnerState(
            long=_bounded(self.long, max_norm, np.float32),
            sessions={name: _bounded(vector, max_norm, np.float16) for name, vector in self.sessions.items()},
            baseline=self.baseline,
            count=self.count,
            extra={name: _bounded(vector, max_norm, np.float16) for name, vector in self.extra.items()},
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LearnerState:
        """Read what `to_json` wrote.

        Raises:
            CorruptRecordError: the document is not one of ours.
        """
        try:
            k, baseline = int(document["k"]), float(document["baseline"])
            if not -1.0 <= baseline <= 1.0:
                raise ValueError(f"a baseline of {baseline}")
            return cls(
                long=_one(document["long"], k),
                sessions={str(name): _one(text, k, HALF) for name, text in document["sessions"]},
                baseline=baseline,
                count=int(document["count"]),
                extra={str(name): _one(text, k, HALF) for name, text in document["extra"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptRecordError(f"not a learner state: {error}") from error


def _one(text: str, k: int, dtype: str = SINGLE) -> Vector:
    vector: Vector
    (vector,) = decode_vectors(text, k, dtype)
    return vector


def _bounded(vector: Vector, max_norm: float, precision: type[np.floating[Any]]) -> Vector:
    norm = float(np.linalg.norm(vector))
    bounded = vector if norm <= max_norm else vector * (max_norm / norm)
    return frozen(bounded.astype(precision))
