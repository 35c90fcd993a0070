"""One event of the ledger as a learner sees it, and the state that a learner keeps between two events."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import numpy as np

from langchain_persona.errors import CorruptRecordError, DimensionMismatchError
from langchain_persona.learning.arrays import HALF, SINGLE, Vector, decode_vectors, encode_vectors, frozen


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One feedback, in item vectors.

    Attributes:
        time, id: seconds since the epoch, and the name of the feedback: the order of the fold.
        session: the session whose short-term vector moves; "" is none.
        reward, gate: `r` in [−1, 1], and `γ` in [0, 1], the share of it that is due to retrieval.
        chosen: shape (k,), mean item vector of the documents that the reward is about.
        expected: shape (k,), `Σ π_m v_m` over the candidates of that retrieval.
        retrieval: id of the retrieval; several thumbs on one retrieval are one moment.
    """

    time: float
    id: str
    session: str
    reward: float
    gate: float
    chosen: Vector = field(repr=False)
    expected: Vector = field(repr=False)
    retrieval: str = ""


def in_order(events: Iterable[Event]) -> list[Event]:
    """Events by `(time, id)`, each id once, without those of gate 0, which teach nothing."""
    unique = {event.id: event for event in events if event.gate > 0.0}
    return sorted(unique.values(), key=attrgetter("time", "id"))


@dataclass(frozen=True, slots=True, eq=False)
class LearnerState:
    """A user's state between two events. Immutable: a rule takes one and returns another.

    Attributes:
        long: `z_L`, shape (k,).
        sessions: `z_S` of the most recently active sessions, oldest first; each of shape (k,).
        baseline, count: `b`, running mean of the rewards, and the events folded in.
        extra: further arrays that a rule keeps, each of shape (k,).
    """

    long: Vector = field(repr=False)
    sessions: Mapping[str, Vector] = field(default_factory=dict, repr=False)
    baseline: float = 0.0
    count: int = 0
    extra: Mapping[str, Vector] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
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
        """`z_S` of one session; zeros for a new or forgotten session, and for none."""
        found = self.sessions.get(session or "")
        return np.zeros_like(self.long) if found is None else found

    def array(self, name: str) -> Vector:
        """A further array of the rule; zeros before it was first set."""
        found = self.extra.get(name)
        return np.zeros_like(self.long) if found is None else found

    def with_session(self, session: str, short: Vector, keep: int) -> Mapping[str, Vector]:
        """The `keep` latest sessions, this one last; unchanged for the session ""."""
        if not session:
            return self.sessions
        others = [(name, vector) for name, vector in self.sessions.items() if name != session]
        return dict([*others, (session, short)][-keep:])

    def rounded(self, max_norm: float, before: LearnerState | None = None) -> LearnerState:
        """The state in the precision in which it is stored, with no vector longer than `max_norm`.

        What it shares with a rounded one `before` is not rounded again.
        """

        def bound(vector: Vector, known: Vector | None, precision: str) -> Vector:
            if vector is known:
                return vector
            norm = math.sqrt(vector @ vector)
            short = vector if norm <= max_norm else vector * (max_norm / norm)
            made = short.astype(precision).astype(np.float64)
            made.setflags(write=False)
            return made

        old = LearnerState.cold(0) if before is None else before
        sessions = {name: bound(vector, old.sessions.get(name), HALF) for name, vector in self.sessions.items()}
        extra = {name: bound(vector, old.extra.get(name), HALF) for name, vector in self.extra.items()}
        known = None if before is None else before.long
        return LearnerState(bound(self.long, known, SINGLE), sessions, self.baseline, self.count, extra)

    def to_json(self) -> dict[str, Any]:
        """A JSON-safe document: `long` as base64 of float32, the other arrays of float16 (see `rounded`)."""
        return {
            "k": int(self.long.size),
            "long": encode_vectors(self.long),
            "sessions": [[name, encode_vectors(vector, HALF)] for name, vector in self.sessions.items()],
            "baseline": self.baseline,
            "count": self.count,
            "extra": {name: encode_vectors(vector, HALF) for name, vector in self.extra.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LearnerState:
        """Read what `to_json` wrote; `CorruptRecordError` for anything else."""
        try:
            k, baseline = int(document["k"]), float(document["baseline"])
            if not -1.0 <= baseline <= 1.0:
                raise ValueError(f"a baseline of {baseline}")
            long = decode_vectors(document["long"], k).reshape(k)
            sessions = {str(name): decode_vectors(text, k, HALF).reshape(k) for name, text in document["sessions"]}
            extra = {str(name): decode_vectors(text, k, HALF).reshape(k) for name, text in document["extra"].items()}
            return cls(long, sessions, baseline, int(document["count"]), extra)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptRecordError(f"not a learner state: {error}") from error
