"""What is kept in the store: immutable pydantic models of plain JSON.

Times are seconds since the epoch. Vectors are base64 of little-endian floats (see `learning.arrays`). Fields that a
record does not know are ignored when it is read, so a newer version can add some.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from langchain_persona.errors import CorruptRecordError

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Reward = Annotated[float, Field(ge=-1.0, le=1.0)]
Moment = Annotated[float, Field(ge=0.0, le=2.5e11)]  # up to the year 9892; `datetime` refuses more


def new_id() -> str:
    """A random name of 32 hexadecimal digits."""
    return uuid.uuid4().hex


class Record(BaseModel):
    """Base of all records: immutable; NaN is refused, unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON types."""
        return self.model_dump(mode="json")


R = TypeVar("R", bound=Record)


def read_record(kind: type[R], value: object) -> R:
    """Validate a stored value; `CorruptRecordError`: it is not a record of this kind."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise CorruptRecordError(f"not a {kind.__name__}: {_first_complaint(error)}") from error


def _first_complaint(error: ValidationError) -> str:
    """Where and why, without the value: a log must not carry a user's text."""
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'value'}: {first['msg']} ({error.error_count()} in all)"


class Evidence(Record):
    """Where a preference was seen: a message, and a quote that occurs in it."""

    message_id: str
    quote: str


class Retirement(Record):
    """When and why a card went out of force, and the id of the card that took its place, if one did."""

    time: Moment
    reason: str = ""
    by: str | None = None


class PreferenceCard(Record):
    """One preference or fact of a user.

    Attributes:
        text: the preference in one or two lines, in the user's language; this text is embedded.
        condition: when it holds, such as "on weekdays"; None where it always does.
        kind: like, dislike, fact, or style (how answers should be written).
        scope: "always" for what holds in every conversation, "topic" for the rest.
        retired: when and why it went out of force; None while it is in force. Retired cards stay readable.
        replaces: id of the card in whose place it was put; "" for none.
        pinned: never changed automatically.
        held_back: kept, but never shown to a model.
        questions: up to four questions or situations in which it matters; embedded as further rows of the card.
        vector, embedding: unit embeddings of the text and of the questions as base64 of float16, in this order, and
            their model's name; "" until embedded.
    """

    id: str = Field(default_factory=new_id)
    text: Annotated[str, Field(min_length=1, max_length=4_000, pattern=r"\S")]
    condition: str | None = None
    kind: Literal["like", "dislike", "fact", "style"] = "fact"
    scope: Literal["always", "topic"] = "topic"
    origin: Literal["stated", "inferred"] = "stated"
    confidence: Share = 1.0
    evidence: tuple[Evidence, ...] = ()
    created: Moment = Field(default_factory=time.time)
    updated: Moment = Field(default_factory=time.time)
    retired: Retirement | None = None
    replaces: str = ""
    pinned: bool = False
    held_back: bool = False
    questions: tuple[str, ...] = ()
    vector: str = Field(default="", repr=False)
    embedding: str = Field(default="", repr=False)

    @property
    def active(self) -> bool:
        """True when the card may be shown: neither retired nor held back."""
        return self.retired is None and not self.held_back

    def __repr__(self) -> str:
        """Its text and what sets it apart: `<PreferenceCard 'No horror.' dislike, pinned>`."""
        marks = [self.kind, *(name for name in ("pinned", "held_back", "retired") if getattr(self, name))]
        return f"<PreferenceCard {self.text[:60]!r} {', '.join(marks)}>"

    __str__ = __repr__


class ToolOutcome(Record):
    """How one tool call ended: the tool's name, whether it succeeded, and the shortened error if it did not."""

    tool: str
    ok: bool = True
    error: str | None = None


class Attempt(Record):
    """An answer that the user had made once more, and its reward; None where nothing was said of it."""

    answer: str
    reward: Reward | None = None


class Episode(Record):
    """One turn: what was asked, what was answered, how it went. Secrets are masked before it is written.

    Attributes:
        thread: the conversation; "" outside one.
        before: the assistant's message that the user's message answers; "" at the start of a conversation.
        accepted: the answer as the user edited it; None when nothing better is known.
        retried: answers to the same message that the user had made once more, oldest first; the latest three.
        reward, reasons: in [−1, 1], all signals together, and in words; None until something was said of it.
        retrievals, cards: ids of the retrievals and the cards that the model saw.
        previous: id of the turn whose answer the message reacts to; "" where there is none, or it is rated already.
        vector, embedding: unit embedding of the query as base64 of float16, and its model's name; "" until embedded.
        imported: whether it came with a document; what such a one says of its thread is not believed.
    """

    id: str = Field(default_factory=new_id)
    thread: str = ""
    message_id: str = ""
    query: str = ""
    answer: str = ""
    before: str = ""
    accepted: str | None = None
    retried: tuple[Attempt, ...] = ()
    outcomes: tuple[ToolOutcome, ...] = ()
    reward: Reward | None = None
    reasons: tuple[str, ...] = ()
    retrievals: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()
    previous: str = ""
    vector: str = Field(default="", repr=False)
    embedding: str = Field(default="", repr=False)
    time: Moment = Field(default_factory=time.time)
    imported: bool = False


class Retrieval(Record):
    """What a later feedback needs to know of a retrieval; kept until `expires`.

    Attributes:
        id: `metadata["persona"]["retrieval_id"]` of every document it returned.
        session: the thread in which it happened.
        embedding, dimension: name of the embedding model, and the numbers in an embedding.
        candidates: ids of the candidates, best first as ranked for the user.
        base, scores: relevance, and the score by which it was ranked, of each candidate.
        chosen, titles: ids and first words of the documents returned, in order.
        chosen_vectors: their unit embeddings, as float16.
        expected: `Σ π_m e_m` over the candidates, as float32.
        logged: what an experiment logged, as JSON; the core neither reads nor checks it.
    """

    id: str
    session: str = ""
    time: Moment
    expires: Moment
    embedding: str
    dimension: int
    candidates: tuple[str, ...]
    base: tuple[float, ...]
    scores: tuple[float, ...]
    chosen: tuple[str, ...]
    titles: tuple[str, ...] = ()
    chosen_vectors: str
    expected: str
    logged: dict[str, Any] | None = None


class Feedback(Record):
    """One entry of the ledger: a reward for a retrieval, with all that learning from it needs.

    Attributes:
        id: name of the entry; derived from the idempotency key `key` where one was given.
        gate: how much it counts: the share that is due to retrieval times how far its source is believed.
        source: the kind of signal, such as "thumbs".
        documents, titles: ids and first words of the documents that the reward is about.
        embedding, dimension: of the vectors below; None and 0 when the retrieval was unknown or had expired.
        chosen: mean unit embedding of those documents.
        expected: `Σ π_m e_m` of the retrieval.
        origin: id of the entry of another embedding model that this one was made from (`migrate_embeddings`).
        logged: what an experiment logged of the retrieval, with the candidates' positions that were rated.
    """

    type: Literal["feedback"] = "feedback"
    id: str
    retrieval_id: str
    reward: Reward
    gate: Share
    source: str
    time: Moment
    key: str | None = None
    session: str = ""
    documents: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    embedding: str | None = None
    dimension: int = 0
    chosen: str | None = None
    expected: str | None = None
    origin: str | None = None
    logged: dict[str, Any] | None = None


class Withdrawal(Record):
    """An entry that takes one feedback back, which stays in the ledger; `since` is a time that is not after it."""

    type: Literal["withdrawal"] = "withdrawal"
    id: str
    target: str
    time: Moment
    since: float | None = None


_ENTRY: TypeAdapter[Feedback | Withdrawal] = TypeAdapter(Annotated[Feedback | Withdrawal, Field(discriminator="type")])


def read_entry(value: object) -> Feedback | Withdrawal:
    """Validate a stored ledger entry; `CorruptRecordError`: it is neither a feedback nor a withdrawal."""
    try:
        return _ENTRY.validate_python(value)
    except ValidationError as error:
        raise CorruptRecordError(f"not a ledger entry: {_first_complaint(error)}") from error


class Snapshot(Record):
    """The fold of all entries up to `horizon`. It trails the ledger and can be thrown away at any time.

    Attributes:
        horizon: entries with a later time are not in it.
        config, space: fingerprint of the learner's configuration, and id of the preference space.
        state: a `LearnerState` as JSON.
        recent: ids and times of the latest entries in it, so that a repeated delivery across the horizon counts once.
        withdrawn: what it leaves out although the withdrawal, or the feedback withdrawn, is later than the horizon.
        window: addresses (time, id) of the latest entries in it, which a rule with a window looks at again.
        epoch: it counts while the ledger's is the same; an import, which adds older entries, begins a new one.
    """

    horizon: float
    config: str
    space: str
    state: dict[str, Any]
    recent: dict[str, float] = Field(default_factory=dict)
    withdrawn: tuple[str, ...] = ()
    window: tuple[tuple[float, str], ...] = ()
    epoch: str = ""


class Trait(Record):
    """One axis of style: a value from −1 to 1, and how sure it is; confidence 0 is unknown."""

    value: Reward = 0.0
    confidence: Share = 0.0


Axis = Literal["verbosity", "formality", "directness", "technical_depth", "warmth", "structure", "proactivity"]


class CommunicationStyle(Record):
    """How a user wants to be talked to; from −1 to 1 on each axis.

    Verbosity: short to detailed. Formality: casual to formal. Directness: gentle to blunt. Technical depth: for a
    layman to for an expert. Warmth: matter-of-fact to warm. Structure: flowing prose to lists and headings.
    Proactivity: only what was asked to suggests more.
    """

    verbosity: Trait = Trait()
    formality: Trait = Trait()
    directness: Trait = Trait()
    technical_depth: Trait = Trait()
    warmth: Trait = Trait()
    structure: Trait = Trait()
    proactivity: Trait = Trait()


class PersonaRevision(Record):
    """One version of a user's persona text.

    Attributes:
        number: from 1; 0 is the empty persona before any.
        text: sentences, one a line, that stand in the system prompt.
        sources: for each line the ids of the cards and episodes that it rests on; `()` for a line that a person wrote.
        reason, origin: why it was written, without content, for it outlives what it is about; and by whom.
        diff: unified diff to the revision before.
    """

    number: int = 0
    text: str = ""
    sources: tuple[tuple[str, ...], ...] = ()
    reason: str = ""
    origin: Literal["template", "model", "user", "rollback"] = "template"
    diff: str = ""
    created: Moment = 0.0

    @property
    def lines(self) -> list[tuple[str, tuple[str, ...]]]:
        """Each line with the ids that it rests on."""
        lines = self.text.splitlines()
        return list(zip(lines, (*self.sources, *[()] * len(lines)), strict=False))

    def lines_in_force(self, cards: Iterable[PreferenceCard]) -> list[tuple[str, tuple[str, ...]]]:
        """The lines of which none rests on a card that is no longer in force; `cards` are all of the user's."""
        gone = {card.id for card in cards if not card.active}
        return [(line, names) for line, names in self.lines if gone.isdisjoint(names)]


class Persona(Record):
    """The persona in force, the highest number given so far, and whether it is never rewritten automatically."""

    revision: PersonaRevision = PersonaRevision()
    latest: int = 0
    pinned: bool = False
