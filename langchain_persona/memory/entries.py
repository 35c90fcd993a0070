"""From what a store holds to what a learner folds: entries of the ledger, parsed and decoded."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Mapping, Sequence

from langgraph.store.base import SearchItem

from langchain_persona.arrays import decode_vectors
from langchain_persona.errors import CorruptRecordError, DimensionMismatchError
from langchain_persona.identity import label
from langchain_persona.learning import Event
from langchain_persona.records import Feedback, Withdrawal, read_entry
from langchain_persona.spaces import PreferenceSpace

__all__ = ["events_of", "parsed"]

logger = logging.getLogger(__name__)


def parsed(
    items: Sequence[SearchItem], after: float, *, read_before: Sequence[SearchItem] = ()
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
) -> list[Event]:
    """The events that count: feedback with vectors of this embedding model, not withdrawn.

    Args:
        entries: any order.
        embedding: name of the embedding model.
        space: in which the item vectors lie.
        without: ids to leave out.
        known: events of an earlier read by id; an entry never changes, so these are not decoded again.
    """
    events = []
    for entry in entries:
        if not isinstance(entry, Feedback) or entry.id in without or entry.embedding != embedding:
            continue
        if entry.id in known and known[entry.id].time == entry.time:
            events.append(known[entry.id])
            continue
        if entry.chosen is None or entry.expected is None:
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
                session=label(entry.session, prefix="s"),
                reward=entry.reward,
                gate=entry.gate,
                retrieval=entry.retrieval_id,
                chosen=item,
                expected=background,
            )
        )
    return events
