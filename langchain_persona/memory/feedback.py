"""From a thumb to an entry of the ledger: retrieval records, the checks of a feedback, its receipt."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_core.documents import Document
from langgraph.store.base import GetOp, PutOp

from langchain_persona.arrays import HALF, decode_vectors, encode_vectors
from langchain_persona.effects import Steps, StoreOps
from langchain_persona.errors import ConfigError, CorruptRecordError, PersonaError, StoreError
from langchain_persona.identity import ANONYMOUS, label, normalise_user
from langchain_persona.learning import attribution_gate
from langchain_persona.memory.ledger import GRACE_SECONDS, Ledger
from langchain_persona.records import Feedback, Retrieval, Withdrawal, new_id, read_record
from langchain_persona.rewards import RELIABILITY, trust, validated

__all__ = ["FeedbackReceipt", "Retrievals", "record_feedback", "record_withdrawal"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

DocumentLike = str | Document

EXPLICIT_SOURCES = frozenset({"thumbs", "rating", "click", "dwell", "copy"})
"""Signals about the retrieved documents themselves: all of the reward is retrieval's, whatever it is worth."""


@dataclass(frozen=True, slots=True)
class FeedbackReceipt:
    """What became of a feedback.

    Attributes:
        id: name of the ledger entry, for `PersonaMemory.withdraw`; "" when nothing was written.
        applied: True when it moves the user's vectors.
        reason: why not, in words; "" when it does.
    """

    id: str
    applied: bool
    reason: str = ""


class Retrievals:
    """Retrieval records with a time to live, in the namespace of their user.

    Args:
        ledger: gives the store and the namespaces.
        ttl_seconds: how long a retrieval can be given feedback.
    """

    def __init__(self, ledger: Ledger, ttl_seconds: float) -> None:
        self._ledger = ledger
        self.ttl_seconds = ttl_seconds

    def save(self, user: str, retrieval: Retrieval) -> Steps[None]:
        """Write one record; an expired one is never used, and a store that sweeps also drops it."""
        store = self._ledger.store
        ttl = self.ttl_seconds / 60.0 if store.supports_ttl else None
        namespace = self._ledger.namespace(user, "retrievals")
        yield StoreOps(
            store,
            [PutOp(namespace, label(retrieval.id, prefix="r"), retrieval.to_json(), index=False, ttl=ttl)],
        )

    def load_op(self, user: str, retrieval_id: str) -> GetOp:
        """The read of one record, for a batch."""
        return GetOp(self._ledger.namespace(user, "retrievals"), label(retrieval_id, prefix="r"))


def not_recorded(reward: object) -> FeedbackReceipt:
    """The receipt for a rating of what was never recorded: nothing is written, but a bad reward is still refused."""
    validated(reward)
    return FeedbackReceipt("", applied=False, reason="the retrieval was anonymous or could not be recorded")


def acknowledged(
    steps: Steps[T], so: str = "nothing was recorded: try again, with the same key if there is one"
) -> Steps[T]:
    """Steps that write; the failure of a store, and of nothing else, comes out as a `StoreError`.

    Args:
        steps: what to do.
        so: what that failure means, and what to do about it.
    """
    answer: Any = None
    trouble: Exception | None = None
    try:
        while True:
            try:
                effect = steps.send(answer) if trouble is None else steps.throw(trouble)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]  # the generator's return value, typed by Steps[T]
            answer, trouble = None, None
            try:
                answer = yield effect
            except (PersonaError, TypeError, ValueError) as error:
                trouble = error
            except Exception as error:
                trouble = error
                if isinstance(effect, StoreOps):
                    trouble = StoreError(f"the store failed ({error!r}); {so}")
                    trouble.__cause__ = error
    finally:
        steps.close()


def record_feedback(
    ledger: Ledger,
    retrievals: Retrievals,
    user: object,
    retrieval_id: str,
    reward: object,
    *,
    source: str,
    key: str | None,
    docs: DocumentLike | Sequence[DocumentLike] | None,
    gate: float | None,
    explicit: bool | None = None,
    reliability: Mapping[str, float] = RELIABILITY,
) -> Steps[FeedbackReceipt]:
    """The body of `PersonaMemory.feedback`; see there.

    `explicit` says whether the signal is about the documents themselves; by default its source tells. Where no gate is
    given it is the share that is due to retrieval times how far the source is believed: of a thumb and a follow-up that
    come at different times on one retrieval, the ledger then tells what `rewards.combine` would have.
    """
    value = validated(reward)
    name = normalise_user(user)
    if not isinstance(retrieval_id, str) or not retrieval_id:
        raise ConfigError(
            f"retrieval_id must be the text in document.metadata['persona']['retrieval_id'], got {retrieval_id!r}"
        )
    if not source or not isinstance(source, str):
        raise ConfigError(f"source must be a word such as 'thumbs', got {source!r}")
    if gate is not None and (isinstance(gate, bool) or not isinstance(gate, int | float) or not 0.0 <= gate <= 1.0):
        raise ConfigError(f"gate must be a number from 0 to 1, got {gate!r}")
    if key is not None and (not isinstance(key, str) or not key):
        raise ConfigError(f"key must be a text that names this feedback, got {key!r}")
    wanted = _document_ids(docs)
    if name == ANONYMOUS:
        return FeedbackReceipt("", applied=False, reason="anonymous: nothing is written without a user id")
    believed = trust(source, reliability)
    if gate is None and believed == 0.0:
        return FeedbackReceipt("", applied=False, reason=f"the reliability of {source!r} is 0: it is left out")

    ops = [retrievals.load_op(name, retrieval_id)]
    if key is not None:
        ops.append(ledger.key_op(name, key))
    found, *used = yield StoreOps(ledger.store, ops)
    if used and used[0] is not None:
        return FeedbackReceipt(str(used[0].value.get("id", "")), applied=False, reason="this key was used before")

    now = time.time()
    retrieval, reason = _usable(None if found is None else found.value, now)
    entry = Feedback(
        id=new_id() if key is None else label(key, prefix="k"),
        retrieval_id=retrieval_id,
        reward=value,
        gate=gate if gate is not None else 1.0,
        source=source,
        time=now,
        key=key,
        documents=tuple(wanted or ()),
    )
    if retrieval is None:
        logger.warning("Feedback for retrieval %s is kept but moves nothing: %s", retrieval_id[:64], reason)
    else:
        about_documents = source in EXPLICIT_SOURCES if explicit is None else explicit
        entry = _settled(entry, retrieval, wanted, 1.0 if gate is None and about_documents else gate)
        if gate is None:
            entry = entry.model_copy(update={"gate": entry.gate * believed})
        entry = entry.model_copy(update={"time": (yield from _on_time(ledger, name, now))})
    yield from ledger.append(name, entry)
    if retrieval is not None and entry.gate == 0.0:
        return FeedbackReceipt(
            entry.id, applied=False, reason="its gate is 0: it is kept in the ledger and moves nothing"
        )
    return FeedbackReceipt(entry.id, applied=retrieval is not None, reason=reason)


def record_withdrawal(ledger: Ledger, user: object, feedback_id: str) -> Steps[None]:
    """The body of `PersonaMemory.withdraw`; see there."""
    if not isinstance(feedback_id, str) or not feedback_id:
        raise ConfigError(f"feedback_id must be the id of a FeedbackReceipt, got {feedback_id!r}")
    name = normalise_user(user)
    if name != ANONYMOUS:
        moment = yield from _on_time(ledger, name, time.time())
        yield from ledger.append(name, Withdrawal(id=new_id(), target=feedback_id, time=moment))


def _on_time(ledger: Ledger, user: str, now: float) -> Steps[float]:
    """The time to write under: never below the horizon of any snapshot of the user, where no reader looks.

    With clocks that agree this is `now`, for a snapshot trails by the grace period.
    """
    horizon = yield from ledger.horizon(user)
    return max(now, horizon + GRACE_SECONDS)


def _document_ids(docs: DocumentLike | Sequence[DocumentLike] | None) -> list[str] | None:
    """Ids of the documents that a thumb is about; None is all of them."""
    if docs is None:
        return None
    ids = []
    for doc in [docs] if isinstance(docs, str | Document) else docs:
        doc_id = doc.id if isinstance(doc, Document) else doc
        if not isinstance(doc_id, str) or not doc_id:
            raise ConfigError(f"docs takes documents of a retrieval or their ids, got {doc!r}")
        ids.append(doc_id)
    if not ids:
        raise ConfigError("docs is empty: leave it out to rate the whole retrieval")
    return ids


def _usable(value: object, now: float) -> tuple[Retrieval | None, str]:
    """The stored retrieval, or the reason why it cannot be learned from."""
    if value is None:
        return None, "no such retrieval for this user (wrong id, another user's, or expired)"
    try:
        retrieval = read_record(Retrieval, value)
        rows = decode_vectors(retrieval.chosen_vectors, retrieval.dimension, HALF)
        if len(rows) != len(retrieval.chosen) or len(decode_vectors(retrieval.expected, retrieval.dimension)) != 1:
            raise CorruptRecordError("its vectors do not belong to its documents")
    except CorruptRecordError as error:
        return None, f"its record cannot be read: {error}"
    return (retrieval, "") if retrieval.expires > now else (None, "the retrieval has expired")


def _settled(entry: Feedback, retrieval: Retrieval, wanted: list[str] | None, gate: float | None) -> Feedback:
    """The entry with all that the fold needs, so that it stands without the retrieval record."""
    rated = list(retrieval.chosen) if wanted is None else wanted
    strangers = sorted(set(rated) - set(retrieval.chosen))
    if strangers:
        raise ConfigError(
            f"docs {strangers[:3]} were not returned by this retrieval; it returned {list(retrieval.chosen)[:10]}"
        )
    rows = decode_vectors(retrieval.chosen_vectors, retrieval.dimension, HALF)
    positions = [retrieval.chosen.index(doc_id) for doc_id in rated]
    base = dict(zip(retrieval.candidates, retrieval.base, strict=True))
    if gate is None:
        gate = attribution_gate(entry.reward, max(base.get(doc_id, 0.0) for doc_id in rated))
    return entry.model_copy(
        update={
            "gate": gate,
            "session": retrieval.session,
            "documents": tuple(rated),
            "embedding": retrieval.embedding,
            "dimension": retrieval.dimension,
            "chosen": encode_vectors(rows[positions].mean(axis=0)),
            "expected": retrieval.expected,
            "logged": _logged(retrieval, rated),
        }
    )


def _logged(retrieval: Retrieval, rated: Sequence[str]) -> dict[str, Any] | None:
    """What was logged of the retrieval, with the positions that were rated."""
    if retrieval.logged is None:
        return None
    places = {doc_id: place for place, doc_id in enumerate(retrieval.candidates)}
    return {**retrieval.logged, "rated": [places[doc_id] for doc_id in rated if doc_id in places]}
