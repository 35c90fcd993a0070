"""The ledger and what leads to it: retrievals, feedback, withdrawals, snapshots.

Vectors travel as base64 of little-endian float32 (see `arrays`). Times are seconds since the epoch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from langchain_persona.arrays import HALF, decode_vectors
from langchain_persona.errors import CorruptRecordError
from langchain_persona.learning import list_log_probability
from langchain_persona.records.base import Record, brief

__all__ = ["Feedback", "LedgerEntry", "Logged", "Retrieval", "Snapshot", "Window", "Withdrawal", "read_entry"]


_HALF_STEP = 2.0**-11
"""The largest relative error of a number that is rounded to float16."""


class Logged(Record):
    """What an evaluation of other strengths needs to know of a retrieval; fields at their default are not written.

    Positions are those of `Retrieval.candidates`. Numbers are in units of a cosine, whatever the scale of a reranker.

    Attributes:
        shown: positions returned, in order.
        strength: of the personalised ranking.
        base: base score of each candidate below the highest, as float16; "" where every strength shows the same: the
            ranking abstained, nothing was known of the user, or the bonus was out of play.
        bonus: bonus of each at strength 1 before the cap, as float16; "" likewise.
        shrink: factor by which the cap shrank the bonus; 1 where it did not hold.
        explore: temperature of the draw; 0 where the best were shown.
        log_propensity: log of the probability that exactly these were drawn, in this order, by the scores that ranked;
            0 without a draw. It must agree with what base and bonus give: else the log is damaged.
        shadow: True where the plain ranking was shown.
        would: positions that the personalised ranking would have shown; empty outside shadow mode.
        rated: positions that a feedback is about; empty in the record of a retrieval.
    """

    shown: tuple[int, ...]
    strength: float = 1.0
    base: str = ""
    bonus: str = ""
    shrink: float = 1.0
    explore: float = 0.0
    log_propensity: float = 0.0
    shadow: bool = False
    would: tuple[int, ...] = ()
    rated: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only, without what is at its default."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @model_validator(mode="after")
    def _propensity_agrees(self) -> Logged:
        """The chance of a draw, which is what an estimate rests on, is the one that the scores give."""
        if self.explore <= 0.0:
            return self
        base, bonus = (decode_vectors(text, 1, HALF)[:, 0] for text in (self.base, self.bonus))
        if base.shape != bonus.shape or not all(0 <= place < base.size for place in self.shown):
            raise ValueError("what was logged of the draw does not fit together")
        with np.errstate(all="ignore"):
            acting = self.strength * self.shrink * bonus
            chance = list_log_probability((base + acting) / self.explore, self.shown)
            # each score may be off by the rounding to float16, and each pick twice by that
            rough = 2.0 * len(self.shown) * _HALF_STEP * float((np.abs(base) + np.abs(acting)).max()) / self.explore
        if not abs(chance - self.log_propensity) <= 0.001 + rough:
            raise ValueError("its logged propensity is not the one that its scores give")
        return self


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
        logged: a `Logged` as JSON, for `PersonaMemory.evaluate`; None where not the scores alone choose (MMR, a floor).
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
    logged: dict[str, Any] | None = None


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
        logged: a `Logged` as JSON, with the positions rated; read by an evaluation only, so that nothing in it can cost
            the entry.
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
    logged: dict[str, Any] | None = None


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
        translated: stamp of the latest translation (see `translation`) that it holds.
        state: a `LearnerState` as JSON.
        recent: ids and times of the latest entries in it, so that a repeated delivery across the horizon counts once.
        withdrawn: what it leaves out although the withdrawal, or the feedback withdrawn, is later than the horizon.
    """

    horizon: float
    config: str
    space: str
    translated: str | None = None
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
