"""What is kept in the store, as pydantic models of plain JSON: retrievals, feedback, withdrawals, snapshots, cards.

Vectors travel as base64 of little-endian float32 (see `arrays`). Times are seconds since the epoch.
"""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from langchain_persona.errors import CorruptRecordError

__all__ = [
    "Evidence",
    "Feedback",
    "LedgerEntry",
    "PreferenceCard",
    "Retrieval",
    "Snapshot",
    "Window",
    "Withdrawal",
    "new_id",
    "read_entry",
    "read_record",
]


def new_id() -> str:
    """A fresh random name of 32 hexadecimal digits."""
    return uuid.uuid4().hex


class Record(BaseModel):
    """Base of all records: immutable, NaN refused, unknown fields ignored so that newer writers can be read."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only."""
        return self.model_dump(mode="json")


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
        gate: share of the reward that is due to retrieval, in [0, 1].
        source: what kind of signal: "thumbs", "rating", "edit", "follow-up", "click", "dwell", "tool", "judge", …
        documents: ids that the reward is about.
        chosen: mean unit embedding of those documents; None when the retrieval was unknown or expired.
        expected: `Σ π_m e_m` of the retrieval; None likewise.
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


class Evidence(Record):
    """Where a preference was seen: a message and a quote that really occurs in it."""

    message_id: str
    quote: str


class PreferenceCard(Record):
    """One preference or fact of a user: semantic memory.

    Attributes:
        id: unique name.
        note: the preference in one line; this text is embedded.
        condition, action: "when …" → "do …", where it has that form.
        kind: preference, fact, style or avoid.
        always: True for a global card (holds in every conversation), False for one that depends on the topic.
        origin: stated by the user, or inferred.
        confidence: in [0, 1].
        evidence: where it was seen.
        created, updated: seconds since the epoch.
        superseded_by: id of the card that replaced it; it stays readable in the history.
        pinned: never replaced automatically.
        held_back: kept, but never shown to a model.
    """

    id: str = Field(default_factory=new_id)
    note: Annotated[str, Field(min_length=1, max_length=4_000, pattern=r"\S")]
    condition: str | None = None
    action: str | None = None
    kind: Literal["preference", "fact", "style", "avoid"] = "preference"
    always: bool = False
    origin: Literal["stated", "inferred"] = "stated"
    confidence: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0
    evidence: tuple[Evidence, ...] = ()
    created: float = Field(default_factory=time.time)
    updated: float = Field(default_factory=time.time)
    superseded_by: str | None = None
    pinned: bool = False
    held_back: bool = False

    @property
    def active(self) -> bool:
        """True when it may be shown: neither superseded nor held back."""
        return self.superseded_by is None and not self.held_back


R = TypeVar("R", bound=Record)


def read_record(kind: type[R], value: object) -> R:
    """Validate a stored value.

    Raises:
        CorruptRecordError: it is not a record of this kind.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise CorruptRecordError(f"not a {kind.__name__}: {_brief(error)}") from error


def read_entry(value: object) -> Feedback | Withdrawal:
    """Validate a stored ledger entry.

    Raises:
        CorruptRecordError: it is neither a feedback nor a withdrawal.
    """
    try:
        return _ENTRY.validate_python(value)
    except ValidationError as error:
        raise CorruptRecordError(f"not a ledger entry: {_brief(error)}") from error


def _brief(error: ValidationError) -> str:
    """The first complaint, without the value: a log must not carry a user's text."""
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']} ({error.error_count()} in all)"
