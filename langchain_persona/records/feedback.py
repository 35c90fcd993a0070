"""The ledger and what leads to it: retrievals, feedback, withdrawals, snapshots.

Vectors travel as base64 of little-endian float32 (see `arrays`). Times are seconds since the epoch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from langchain_persona.errors import CorruptRecordError
from langchain_persona.records.base import Record, brief

__all__ = ["Feedback", "LedgerEntry", "Retrieval", "Snapshot", "Window", "Withdrawal", "read_entry"]


class Retrieval(Record):
    """What a later feedback needs to know of a retrieval; kept until `expires`.

    Attributes:
        id: `metadata["persona"]["retrieval_id"]` of every document it returned.
        session: thread in which it happened.
        time, expires: seconds since the epoch.
        embedding: name of the embedding model; vectors of another are never mixed in.
        dimension: numbers in an embedding.
        candidates: ids of the candidates, best first as ranked for the user.
        base, scores, probabilities: relevance `s_0`, `s_0` + bonus, and `π` of each candidate.
        chosen: ids of the documents returned, in order.
        chosen_vectors: their unit embeddings, as float16.
        expected: `Σ π_m e_m` over the candidates.
    """

    id: str
    session: str
    time: float
    expires: float
    embedding: str
    dimension: int
    candidates: tuple[str, ...]
    base: tuple[float, ...]
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    chosen: tuple[str, ...]
    chosen_vectors: str
    expected: str


class Feedback(Record):
    """One entry of the ledger: a reward for a retrieval, with all that the fold needs.

    Attributes:
        id: name of the entry; derived from `key` where one was given.
        reward: in [−1, 1].
        gate: share of the reward that is due to retrieval, times how far its source is believed, in [0, 1].
        source: what kind of signal: "thumbs", "rating", "edit", "follow_up", "click", "dwell", "tool", "judge", …
        documents: ids that the reward is about.
        chosen: mean unit embedding of those documents; None when the retrieval was unknown or expired.
        expected: `Σ π_m e_m` of the retrieval; None likewise.
        origin: id of the entry of another embedding model that this one translates; whoever withdraws that one
            withdraws both.
    """

    type: Literal["feedback"] = "feedback"
    id: str
    retrieval_id: str
    reward: Annotated[float, Field(ge=-1.0, le=1.0)]
    gate: Annotated[float, Field(ge=0.0, le=1.0)]
    source: str
    time: float
    key: str | None = None
    session: str = ""
    documents: tuple[str, ...] = ()
    embedding: str | None = None
    dimension: int = 0
    chosen: str | None = None
    expected: str | None = None
    origin: str | None = None


class Withdrawal(Record):
    """An entry that takes one feedback out of the fold; the feedback itself stays in the ledger."""

    type: Literal["withdrawal"] = "withdrawal"
    id: str
    target: str
    time: float


LedgerEntry = Annotated[Feedback | Withdrawal, Field(discriminator="type")]
"""What the append-only ledger holds."""

_ENTRY: TypeAdapter[Feedback | Withdrawal] = TypeAdapter(LedgerEntry)


class Snapshot(Record):
    """The fold of all entries up to `horizon`; trails the ledger, and can be thrown away at any time.

    Attributes:
        horizon: entries with a later time are not in it.
        config: fingerprint of the learner's configuration.
        space: id of the preference space.
        state: a `LearnerState` as JSON.
        recent: ids and times of the latest entries in it, so that a repeated delivery across the horizon counts once.
        withdrawn: what it leaves out although the withdrawal, or the feedback withdrawn, is later than the horizon.
    """

    horizon: float
    config: str
    space: str
    state: dict[str, Any]
    recent: dict[str, float] = Field(default_factory=dict)
    withdrawn: tuple[str, ...] = ()


class Window(Record):
    """Addresses of the latest entries in a snapshot: what a rule with a window looks at again.

    Attributes:
        horizon: that of the snapshot to which it belongs.
        entries: time and id of each, oldest first.
    """

    horizon: float
    entries: tuple[tuple[float, str], ...]


def read_entry(value: object) -> Feedback | Withdrawal:
    """Validate a stored ledger entry.

    Raises:
        CorruptRecordError: it is neither a feedback nor a withdrawal.
    """
    try:
        return _ENTRY.validate_python(value)
    except ValidationError as error:
        raise CorruptRecordError(f"not a ledger entry: {brief(error)}") from error
