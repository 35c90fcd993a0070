"""From what a store holds to what a learner folds: entries of the ledger, parsed and decoded."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Container, Iterable, Mapping, Sequence

from langgraph.store.base import Item

from langchain_persona.arrays import Vector, decode_vectors
from langchain_persona.errors import CorruptRecordError, DimensionMismatchError
from langchain_persona.identity import label
from langchain_persona.learning import Event, LearnerState, VARSConfig
from langchain_persona.memory.buckets import DAY
from langchain_persona.records import Feedback, Snapshot, Withdrawal, read_entry, read_record
from langchain_persona.spaces import PreferenceSpace

__all__ = ["events_of", "horizon_of", "parsed", "undone_below", "usable"]

logger = logging.getLogger(__name__)

_YEAR = 366 * DAY


def parsed(
    items: Sequence[Item], after: float, *, read_before: Sequence[Item] = ()
) -> tuple[list[Feedback | Withdrawal], int]:
    """Entries later than `after`, each id once (the earliest); unreadable ones are counted and logged, each once."""
    logged = {(item.namespace, item.key) for item in read_before}
    entries: dict[str, Feedback | Withdrawal] = {}
    skipped = 0
    for item in items:
        try:
            entry = read_entry(item.value)
        except CorruptRecordError as error:
            if (item.namespace, item.key) not in logged:
                logger.warning("Leaving out the unreadable ledger entry %s: %s", item.key, error)
            skipped += 1
            continue
        if entry.time > after and (entry.id not in entries or entry.time < entries[entry.id].time):
            entries[entry.id] = entry
    return list(entries.values()), skipped


def events_of(
    entries: Iterable[Feedback | Withdrawal],
    embedding: str,
    space: PreferenceSpace,
    *,
    without: Container[str],
    known: Mapping[str, Event],
    prior: Vector | None = None,
) -> list[Event]:
    """The events that count: feedback of some weight with vectors of this embedding model, not withdrawn.

    Args:
        entries: any order.
        embedding: name of the embedding model.
        space: in which the item vectors lie.
        without: ids to leave out.
        known: events of an earlier read by id; an entry never changes, so these are not decoded again.
        prior: the mean user's vector, shape (k,), where users start there.
    """
    events = []
    for entry in entries:
        if not isinstance(entry, Feedback) or entry.id in without or entry.embedding != embedding:
            continue
        if entry.origin is not None and entry.origin in without:
            continue
        if entry.id in known and known[entry.id].time == entry.time:
            events.append(known[entry.id])
            continue
        if entry.chosen is None or entry.expected is None or entry.gate == 0.0:
            continue
        try:
            (chosen,) = decode_vectors(entry.chosen, entry.dimension)
            (expected,) = decode_vectors(entry.expected, entry.dimension)
            item, background = space.project(chosen), space.project(expected)
        except (CorruptRecordError, DimensionMismatchError, ValueError) as error:
            logger.warning("Leaving out feedback %s: %s", entry.id, error)
            continue
        events.append(
            Event(
                time=entry.time,
                id=entry.id,
                session=label(entry.session, prefix="s") if entry.session else "",
                reward=entry.reward,
                gate=entry.gate,
                retrieval=entry.retrieval_id,
                chosen=item,
                expected=background,
                predicted=0.0 if prior is None else float(prior @ item),
            )
        )
    return events


def undone_below(snapshot: Snapshot, entries: Sequence[Feedback | Withdrawal]) -> bool:
    """True when an entry that the snapshot holds was withdrawn after it was made."""
    # what it holds and what was delivered a second time later is one and the same
    known = ({entry.id for entry in entries} - set(snapshot.recent)) | set(snapshot.withdrawn)
    return any(entry.target not in known for entry in entries if isinstance(entry, Withdrawal))


def horizon_of(item: Item | None) -> float:
    """The horizon that a stored snapshot claims; minus infinity without a readable one."""
    try:
        horizon = float("-inf") if item is None else float(item.value["horizon"])
    except (KeyError, TypeError, ValueError):
        return float("-inf")
    # no clock can have written infinity or a time years ahead: a damaged value
    return horizon if math.isfinite(horizon) and horizon <= time.time() + _YEAR else float("-inf")


def usable(item: Item | None, space: PreferenceSpace, config: VARSConfig, translated: str | None) -> Snapshot | None:
    """The stored snapshot, if it is readable and was made in this space with this configuration.

    Args:
        item: what is stored.
        space: in which it is to be.
        config: of the learner.
        translated: stamp of the latest translation; a snapshot that does not bear it lacks what that one copied.
    """
    if item is None:
        return None
    try:
        snapshot = read_record(Snapshot, item.value)
        k = LearnerState.from_json(snapshot.state).long.size
        if not math.isfinite(horizon_of(item)):
            raise CorruptRecordError("its horizon is no time that a clock can have shown")
    except CorruptRecordError as error:
        logger.warning("Ignoring a corrupt snapshot and folding the ledger again: %s", error)
        return None
    fits = k == space.k and snapshot.space == space.id and snapshot.config == config.fingerprint
    return snapshot if fits and snapshot.translated == translated else None
