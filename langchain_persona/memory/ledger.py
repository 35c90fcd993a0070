"""The append-only ledger of feedback, and the fold of it into a user's vectors.

Entries are only added, and a snapshot of the fold may be lost or overwritten by anybody at any time, for it can be made
again. It holds only entries older than `GRACE_SECONDS`; readers fold the younger ones on top. Writers at once, repeated
and late deliveries, and clocks that differ by less than the grace period therefore cost nothing. A clock that ran ahead
and was put right costs a longer read until its time has come: the version that writers leave tells how far to read.

Each 256 events a snapshot stays, as a checkpoint: the fold goes on from it where a later entry is withdrawn.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType

from langgraph.store.base import Item, Op, Result
from langgraph.store.memory import InMemoryStore

from langchain_persona.errors import ConfigError, CorruptRecordError, DimensionMismatchError, StoreError
from langchain_persona.identity import Label, label
from langchain_persona.learning import (
    Event,
    LearnerState,
    PreferenceSpace,
    VARSConfig,
    attribution_gate,
    fold,
    in_order,
)
from langchain_persona.learning.arrays import HALF, decode_vectors, encode_vectors
from langchain_persona.learning.vectors import UserVectors
from langchain_persona.memory.background import Background
from langchain_persona.memory.spaces import Spaces
from langchain_persona.memory.store import SWEEP_EVERY, Path, UserStore, VersionedCache, chunks, found_item, version_of
from langchain_persona.records import Feedback, Retrieval, Snapshot, Withdrawal, new_id, read_entry, read_record
from langchain_persona.resilience import warn
from langchain_persona.rewards import trust, validated

logger = logging.getLogger(__name__)

GRACE_SECONDS = 60.0
"""A snapshot holds no entry younger than this: the bound on clock skew and on the delay of a write."""

ABOUT_DOCUMENTS = frozenset({"thumbs", "rating", "click", "dwell", "copy"})
"""Signals about the retrieved documents themselves: all of the reward is retrieval's, whatever it is worth."""

CHECKPOINT_EVERY = 256
"""Events between two snapshots that stay."""

HOUR, DAY = 3_600.0, 86_400.0

Entry = Feedback | Withdrawal

_CURRENT = "current"
_BY_BUCKETS = 7 * DAY  # how far back hours or days are searched one by one
_LIFETIME = 2 * GRACE_SECONDS  # after that a snapshot may take in what was young, and a used key is looked up
_RETRIEVAL_ID = re.compile(r"(\d{8})-[0-9a-f]{32}")
_KEY_ID = re.compile(r"k[=#][A-Za-z0-9_~@+-]{1,118}")
_ENTRY_ID = re.compile(r"(\d{8})(\d\d)-[0-9a-f]{20}")


@dataclass(frozen=True, slots=True)
class FeedbackReceipt:
    """What became of a feedback or a withdrawal.

    `id` names the entry, for `PersonaMemory.withdraw`; "" when nothing was written. `applied` is True when it moves the
    user's vectors; else `reason` says why not.
    """

    id: str
    applied: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FeedbackReading:
    """What must be known before feedback is written.

    Stored retrievals by id, the time up to which some snapshot holds the ledger, the time of the latest entry, and the
    entry under the idempotency key where that was used before.
    """

    retrievals: Mapping[str, object]
    horizon: float = float("-inf")
    latest: float = float("-inf")
    used: str | None = None


@dataclass(frozen=True, slots=True)
class Folded:
    """The fold of every valid entry of a user, and what a process keeps to go on from there.

    That is the snapshot on which it stands, the decoded events in it that the rule looks at again, decoded events and
    parsed entries later than its horizon, and when they were read.
    """

    state: LearnerState
    space: PreferenceSpace
    betas: tuple[float, float]
    snapshot: Snapshot | None
    window: Sequence[Event]
    young: Sequence[Event]
    entries: Mapping[str, Entry]
    time: float
    _vectors: dict[str, UserVectors] = field(default_factory=dict)

    def vectors(self, session: str) -> UserVectors:
        """The user's vectors in one session; "" is none."""
        if session not in self._vectors:
            short = self.state.short(label(session, prefix="s") if session else None)
            self._vectors[session] = UserVectors(
                self.state.long, short, *self.betas, self.state.baseline, self.state.count, self.space
            )
        return self._vectors[session]


class Ledger:
    """The ledgers of all users; `background` sweeps expired retrievals."""

    def __init__(
        self, store: UserStore, config: VARSConfig, spaces: Spaces, background: Background, ttl_seconds: float
    ) -> None:
        self._store, self._config, self._spaces, self._background = store, config, spaces, background
        self.retrieval_ttl_seconds = ttl_seconds
        self._cache: VersionedCache[Folded] = VersionedCache(64)
        store.caches.append(self._cache)
        self._written: set[str] = set()  # users for whom this process wrote since it last folded
        self._saved = 0

    # retrievals -------------------------------------------------------------------------------------------------------

    def new_retrieval_id(self, now: float) -> str:
        """A name that carries its day, so that expired retrievals are found without reading any."""
        return f"{datetime.fromtimestamp(now, UTC):%Y%m%d}-{new_id()}"

    def save_retrieval(self, user: str, name: str, value: Mapping[str, object]) -> None:
        """Write one `Retrieval` as JSON. Expired ones are swept now and then, also where the store has no TTL."""
        place, key = self._retrievals(user, name), label(name, prefix="r")
        self._store.batch([self._store.put(place, key, value, self.retrieval_ttl_seconds)])
        self._saved += 1
        if self._saved % SWEEP_EVERY == 0:
            self._background.submit(partial(self.sweep_retrievals, user))

    def sweep_retrievals(self, user: str, most: int = 200) -> int:
        """Delete up to `most` expired retrievals of a user, or of all users in an `InMemoryStore`; how many.

        Other stores would look through all that they hold, and most have a sweeper of their own.
        """
        whose = "*" if isinstance(self._store.store, InMemoryStore) else label(user)
        days = self._store.namespaces((whose, "retrievals"), 3)
        oldest = datetime.fromtimestamp(time.time() - self.retrieval_ttl_seconds - DAY, UTC)
        ops: list[Op] = []
        for *_, user, kind, day in (name for name in days if len(name) == len(self._store.root) + 3):
            if len(ops) < most and day <= f"d{oldest:%Y%m%d}":
                path = (Label(user), kind, day)
                ops += [self._store.delete(path, item.key) for item in self._store.scan(path)]
        self._store.batch(ops[:most])
        return min(len(ops), most)

    def forget_retrievals(self, user: str, ids: Collection[str]) -> None:
        """Delete the retrievals that hold vectors of some documents, such as a user's own cards."""
        found = self._store.scan((user, "retrievals"))
        self._delete(user, [item for item in found if not set(ids).isdisjoint(item.value.get("candidates", ()))])

    def _delete(self, user: str, items: Sequence[Item]) -> None:
        skip = len(self._store.root) + 1
        for some in chunks(items):
            self._store.batch([self._store.delete((user, *item.namespace[skip:]), item.key) for item in some])

    def _retrievals(self, user: str, retrieval_id: str) -> Path:
        match = _RETRIEVAL_ID.fullmatch(retrieval_id)
        return user, "retrievals", f"d{match[1]}" if match else "unknown"

    # writing ----------------------------------------------------------------------------------------------------------

    def reading_ops(self, user: str, retrieval_ids: Sequence[str]) -> list[Op]:
        """What must be read before feedback on some retrievals is written, for a batch."""
        return [
            self._store.search((user, "state")),
            self._store.get((user, "versions"), "feedback"),
            *(self._store.get(self._retrievals(user, name), label(name, prefix="r")) for name in retrieval_ids),
        ]

    def parse_reading(self, user: str, retrieval_ids: Sequence[str], results: Sequence[Result]) -> FeedbackReading:
        """The reading, given the results of `reading_ops`."""
        items = zip(retrieval_ids, map(found_item, results[2:]), strict=True)
        horizons = (_stored_time(item, "horizon") for item in self._store.found((user, "state"), results[0]))
        known = {name: item.value for name, item in items if item is not None}
        latest = _stored_time(found_item(results[1]), "latest")
        return FeedbackReading(known, max(horizons, default=float("-inf")), latest)

    def feedback(
        self,
        user: str,
        retrieval_id: str,
        reward: float,
        *,
        source: str = "thumbs",
        key: str | None = None,
        docs: Sequence[str] | None = None,
        gate: float | None = None,
        about_documents: bool | None = None,
        reading: FeedbackReading | None = None,
        withdraw: str | None = None,
    ) -> FeedbackReceipt:
        """Add one feedback: see `PersonaMemory.feedback`.

        `about_documents` tells whether the signal is about the documents themselves, where its source does not. With a
        `reading` ahead, `key` is looked up only where the retrieval is older than two minutes: so long a snapshot knows
        what it holds. `withdraw` is an entry that this one replaces.
        """
        value, now = validated(reward), time.time()
        found = self._read(user, [retrieval_id], key) if reading is None else reading
        retrieval, reason = _usable_retrieval(found.retrievals.get(retrieval_id), now)
        old = retrieval is None or now - retrieval.time > _LIFETIME
        used = self._read(user, [], key).used if reading is not None and key is not None and old else found.used
        if used is not None:
            return FeedbackReceipt(used, applied=False, reason="this key was used before")
        moment = _on_time(now, found.horizon)
        entry = Feedback(
            id=_new_entry_id(moment) if key is None else label(key, prefix="k"),
            retrieval_id=retrieval_id,
            reward=value,
            gate=1.0 if gate is None else gate,
            source=source,
            time=moment,
            key=key,
            documents=tuple(docs or ()),
        )
        if retrieval is None:
            warn(logger, "Feedback for retrieval %s is kept but moves nothing: %s", retrieval_id[:64], reason)
        else:
            rated = _rated_documents(retrieval, docs)
            if gate is None:
                about = source in ABOUT_DOCUMENTS if about_documents is None else about_documents
                gate = trust(source) * (1.0 if about else attribution_gate(value, _similarity(retrieval, rated)))
            entry = entry.model_copy(update={"gate": gate, **_vectors_of(retrieval, rated)})
        since = None if retrieval is None else retrieval.time
        replaced = [] if withdraw is None else [Withdrawal(id=new_id(), target=withdraw, time=moment, since=since)]
        self._append_in_time(user, [entry, *replaced], found.latest)
        if retrieval is not None and entry.gate == 0.0:
            reason = "its gate is 0: it is kept in the ledger and moves nothing"
        return FeedbackReceipt(entry.id, applied=not reason, reason=reason)

    def withdraw(self, user: str, feedback_id: str) -> FeedbackReceipt:
        """Take one feedback back: see `PersonaMemory.withdraw`. It folds the ledger, so that no retrieval must."""
        target = self._find(user, feedback_id)
        if target is None:
            reason = "no feedback of this user has this id; memory.ratings(user) lists them"
            return FeedbackReceipt("", applied=False, reason=reason)
        noted = self._store.get((user, "keys"), label(feedback_id, prefix="w"))
        *results, withdrawn = self._store.batch([*self.reading_ops(user, []), noted])
        if withdrawn is not None:
            return FeedbackReceipt(feedback_id, applied=False, reason="it was withdrawn before")
        reading = self.parse_reading(user, [], results)
        moment = _on_time(time.time(), reading.horizon)
        entry = Withdrawal(id=new_id(), target=feedback_id, time=moment, since=target.time)
        self._append_in_time(user, [entry], reading.latest)
        if target.embedding is not None:
            with suppress(DimensionMismatchError, StoreError):  # it is recorded; the next reader folds
                self.fold(user, target.embedding, target.dimension)
        return FeedbackReceipt(feedback_id, applied=True)

    def _find(self, user: str, feedback_id: str) -> Feedback | None:
        """One feedback, found by its name or its key; else looked for everywhere."""
        bucket, entry = _ENTRY_ID.fullmatch(feedback_id), None
        places = [(f"d{bucket[1]}", f"h{bucket[2]}")] if bucket else []
        if _KEY_ID.fullmatch(feedback_id):
            (result,) = self._store.batch([self._store.get((user, "keys"), feedback_id)])
            moment = _stored_time(found_item(result), "time")
            places = [_bucket(moment)] if math.isfinite(moment) else []
        for place in places:
            (result,) = self._store.batch([self._store.get((user, "feedback", *place), feedback_id)])
            entry = _parse_entries(filter(None, [found_item(result)])).get(feedback_id)
        entry = entry or next((one for one in self.entries(user) if one.id == feedback_id), None)
        return entry if isinstance(entry, Feedback) else None

    def _append_in_time(self, user: str, entries: Sequence[Entry], latest: float) -> None:
        """Add entries; once more where that took so long that no reader may look at their time any more."""
        self.append(user, entries, latest)
        now = time.time()
        if now - entries[0].time > GRACE_SECONDS:
            self.append(user, [entry.model_copy(update={"time": now}) for entry in entries], latest)

    def append(self, user: str, entries: Sequence[Entry], latest: float | None = None) -> None:
        """Add entries and a new version for readers in one batch: acknowledged when this returns.

        `latest` is the time of the latest entry that is there, if it was read.
        """
        if latest is None:
            latest = self._read(user, [], None).latest
        ops: list[Op] = []
        for entry in entries:
            ops.append(self._store.put((user, "feedback", *_bucket(entry.time)), entry.id, entry.to_json()))
            if isinstance(entry, Withdrawal):
                ops.append(self._store.put((user, "keys"), label(entry.target, prefix="w"), {"id": entry.id}))
            elif entry.key is not None:
                noted = {"id": entry.id, "time": entry.time}
                ops.append(self._store.put((user, "keys"), label(entry.key, prefix="k"), noted))
            if isinstance(entry, Feedback) and entry.embedding is not None:
                current = {"embedding": entry.embedding, "dimension": entry.dimension}
                ops.append(self._store.put((user, "state"), _CURRENT, current))
        if len(self._written) >= 1_000:  # a process that writes and never reads; to forget it costs one more read
            self._written.clear()
        self._written.add(user)
        newest = max([latest, *(entry.time for entry in entries)])
        stamp = {"version": new_id(), **({"latest": newest} if math.isfinite(newest) else {})}
        self._store.batch([*ops, self._store.put((user, "versions"), "feedback", stamp)])

    def _read(self, user: str, retrieval_ids: Sequence[str], key: str | None) -> FeedbackReading:
        used_op = [] if key is None else [self._store.get((user, "keys"), label(key, prefix="k"))]
        results = self._store.batch([*self.reading_ops(user, retrieval_ids), *used_op])
        reading = self.parse_reading(user, retrieval_ids, results[: 2 + len(retrieval_ids)])
        used = found_item(results[-1]) if used_op else None
        return reading if used is None else replace(reading, used=str(used.value.get("id", "")))

    # reading ----------------------------------------------------------------------------------------------------------

    def entries(self, user: str) -> list[Entry]:
        """Every readable entry of a user, oldest first."""
        found = _parse_entries(self._store.scan((user, "feedback")))
        return sorted(found.values(), key=lambda entry: (entry.time, entry.id))

    def current(self, user: str) -> tuple[str, int] | None:
        """Embedding model and dimension of the latest feedback that could be learned from; None before the first."""
        item = found_item(self._store.batch([self._store.get((user, "state"), _CURRENT)])[0])
        if item is None:
            return None
        with suppress(KeyError, TypeError, ValueError):
            if (dimension := int(item.value["dimension"])) >= 1:
                return str(item.value["embedding"]), dimension
        warn(logger, "The note on a user's embedding model cannot be read; looking through the ledger instead")
        known = [one for one in self.entries(user) if isinstance(one, Feedback) and one.embedding is not None]
        return (str(known[-1].embedding), known[-1].dimension) if known else None

    def fold(self, user: str, embedding: str, dimension: int, *, rebuild: bool = False) -> Folded:
        """A user's state under an embedding model: a snapshot and everything younger, or with `rebuild` all anew."""
        return self.fold_beside(user, embedding, dimension, rebuild=rebuild)[0]

    def fold_beside(
        self, user: str, embedding: str, dimension: int, beside: Sequence[Op] = (), *, rebuild: bool = False
    ) -> tuple[Folded, list[Result]]:
        """As `fold`; and the results of other reads that go into the same batch."""
        now, name = time.time(), self._snapshot_name(embedding)
        kept = None if rebuild else self._cache.get((user, name))
        stamps = [self._store.get((user, "versions"), one) for one in ("feedback", "folds")]
        versions = [*stamps, *self._spaces.pointer_ops(embedding)]
        if kept is not None and kept.snapshot is not None and now - kept.snapshot.horizon > _BY_BUCKETS:
            kept = None
        places = [] if kept is None else _buckets_since(user, _horizon(kept.snapshot), now)
        details = [self._store.get((user, "state"), name), *map(self._store.search, places)]
        # one batch tells whether what this process keeps is still true; where it surely is not, all is read at once
        at_once = kept is None or user in self._written
        self._written.discard(user)
        results = self._store.batch([*beside, *versions, *(details if at_once else ())])
        others, results = results[: len(beside)], results[len(beside) :]
        stamp = found_item(results[0])
        version, epoch = version_of(stamp), version_of(results[1])
        until = max(now, _stored_time(stamp, "latest"))
        space = self._spaces.parse(embedding, dimension, results[2 : len(versions)])
        if kept is not None and (kept.space.id != space.id or (kept.snapshot and kept.snapshot.epoch != epoch)):
            kept = None
        if kept is not None and self._cache.get((user, name), version) is kept and 0 <= now - kept.time < _LIFETIME:
            return kept, others

        # what to go on from: a snapshot, everything younger, and the entries in it that the rule looks at again
        found, *pages = results[len(versions) :] if at_once else self._store.batch(details)
        item = found_item(found)
        if kept is not None and _horizon(kept.snapshot) == _stored_time(item, "horizon"):
            snapshot = kept.snapshot
            ahead = [one for one in _buckets_since(user, _horizon(snapshot), until) if one not in places]
            places, pages = [*places, *ahead], [*pages, *self._store.batch(list(map(self._store.search, ahead)))]
            items = [one for place, page in zip(places, pages, strict=True) for one in self._store.found(place, page)]
            entries = _parse_entries(items, kept.entries)
        else:
            kept, snapshot = None, None if rebuild else self._usable_snapshot(item, space, epoch)
            entries = self._entries_since(user, snapshot, until)
        while snapshot is not None and (withdrawn := _withdrawn_below(snapshot, entries)):
            kept, snapshot = None, self._checkpoint(user, name, space, epoch, min(withdrawn))
            entries = self._entries_since(user, snapshot, until)
        after = _horizon(snapshot)
        young = {one: entry for one, entry in entries.items() if entry.time > after}

        # the events that count, and which of them a new snapshot takes in
        decode = partial(_decode_events, embedding=embedding, space=space)
        if kept is None:
            addresses = () if snapshot is None else snapshot.window
            window = in_order(decode(entries[one] for _, one in addresses if one in entries))
        else:
            window = [*kept.window]
        undone = dict.fromkeys(snapshot.withdrawn if snapshot else (), after)
        undone |= {entry.target: entry.time for entry in young.values() if isinstance(entry, Withdrawal)}
        recent = snapshot.recent if snapshot else {}
        known = {event.id: event for event in kept.young} if kept is not None else {}
        events = in_order(decode(young.values(), without={*undone, *recent}, known=known))
        horizon = now - GRACE_SECONDS
        old = [event for event in events if event.time <= horizon]
        events = events[len(old) :]
        # a new snapshot: with old events, in the place of one that does not hold any more, and once a day
        broken = item is not None and (snapshot is None or after != _stored_time(item, "horizon"))
        due = old or rebuild or broken or (snapshot is not None and now - after > DAY)
        if kept is not None and not due and kept.young == events[: len(kept.young)]:
            state, done = kept.state, len(kept.young)  # this process folded these already
        else:
            state, done = LearnerState.cold(space.k) if snapshot is None else LearnerState.from_json(snapshot.state), 0
        if due:
            ops, held = list[Op](), dict(recent)
            for some, end in _portions(old, state.count, horizon):
                state = fold(some, self._config, k=space.k, start=state, before=window)
                window = [*window, *some][max(len(window) + len(some) - self._config.rule.window, 0) :]
                held |= {event.id: event.time for event in some}
                held = {one: moment for one, moment in held.items() if moment > end - _LIFETIME}
                snapshot = Snapshot(
                    horizon=end,
                    config=self._config.fingerprint,
                    space=space.id,
                    state=state.to_json(),
                    recent=held,
                    withdrawn=tuple(one for one, at in undone.items() if at > end or _is_later(young.get(one), end)),
                    window=tuple((event.time, event.id) for event in window),
                    epoch=epoch,
                )
                document = snapshot.to_json()
                if some and state.count and state.count % CHECKPOINT_EVERY == 0:
                    # in the place of the one before at this count; one that no longer holds is not used
                    ops.append(self._store.put((user, "checkpoints", name), f"n{state.count:08d}", document))
            try:
                self._store.batch([*ops, self._store.put((user, "state"), name, document)])
            except StoreError:  # the next reader folds a little more
                logger.debug("A snapshot could not be written", exc_info=True)
        state = fold(events[done:], self._config, k=space.k, start=state, before=[*window, *events[:done]])
        folded = Folded(state, space, self._config.rule.betas, snapshot, window, events, young, now)
        self._cache.put((user, name), version, folded)
        return folded, others

    # helpers ----------------------------------------------------------------------------------------------------------

    def _entries_since(self, user: str, snapshot: Snapshot | None, until: float) -> dict[str, Entry]:
        """Every entry later than a snapshot, and those in it that the rule looks at again."""
        places = _buckets_since(user, _horizon(snapshot), until)
        if snapshot is not None and until - snapshot.horizon > _BY_BUCKETS:  # by the days that there are
            first, _ = _bucket(snapshot.horizon)
            days = (name[-1] for name in self._store.namespaces((label(user), "feedback"), 3))
            places = [(user, "feedback", day) for day in days if day >= first]
        addresses = () if snapshot is None else snapshot.window
        window = [self._store.get((user, "feedback", *_bucket(moment)), one) for moment, one in addresses]
        pages = self._store.batch([*map(self._store.search, places), *window])
        pairs = zip(places, pages, strict=False)
        items: list[Item] = [one for place, page in pairs for one in self._store.found(place, page)]
        return _parse_entries([*items, *filter(None, map(found_item, pages[len(places) :]))])

    def _checkpoint(self, user: str, name: str, space: PreferenceSpace, epoch: str, before: float) -> Snapshot | None:
        """The latest usable checkpoint that holds only what is older."""
        items = self._store.scan((user, "checkpoints", name))
        older = [item for item in items if _stored_time(item, "horizon") < before]
        older.sort(key=lambda item: _stored_time(item, "horizon"), reverse=True)
        return next((one for item in older if (one := self._usable_snapshot(item, space, epoch)) is not None), None)

    def forget_folds(self, user: str) -> None:
        """Delete snapshots and checkpoints, which do not know what is added below their horizons.

        What somebody has read of them and writes again is of another epoch, and counts no more.
        """
        self._store.batch([self._store.put((user, "versions"), "folds", {"version": new_id()})])
        self._delete(user, [item for part in ("state", "checkpoints") for item in self._store.scan((user, part))])

    def _snapshot_name(self, embedding: str) -> str:
        """The key of a snapshot. Memories in the space in force share one; one with a given space has its own."""
        name, given = label(embedding, prefix="e"), self._spaces.given
        return name if given is None else label(f"{name} {given.id}", prefix="g")

    def _usable_snapshot(self, item: Item | None, space: PreferenceSpace, epoch: str) -> Snapshot | None:
        """The stored snapshot, if it is readable and was made in this space and epoch with this configuration."""
        if item is None:
            return None
        try:
            snapshot = read_record(Snapshot, item.value)
            k = LearnerState.from_json(snapshot.state).long.size
            if not math.isfinite(_stored_time(item, "horizon")):
                raise CorruptRecordError("its horizon is no time that a clock can have shown")
        except CorruptRecordError as error:
            warn(logger, "Ignoring a corrupt snapshot and folding the ledger again: %s", error)
            return None
        made = k, snapshot.space, snapshot.config, snapshot.epoch
        return snapshot if made == (space.k, space.id, self._config.fingerprint, epoch) else None


# entries --------------------------------------------------------------------------------------------------------------


def _usable_retrieval(value: object, now: float) -> tuple[Retrieval | None, str]:
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


def _rated_documents(retrieval: Retrieval, docs: Sequence[str] | None) -> list[str]:
    """Ids of the documents that a feedback is about; None is all of the retrieval."""
    strangers = sorted(set(docs or ()) - set(retrieval.chosen))
    if strangers:
        raise ConfigError(
            f"docs {strangers[:3]} were not returned by this retrieval; it returned {list(retrieval.chosen)[:10]}"
        )
    return list(retrieval.chosen if docs is None else docs)


def _similarity(retrieval: Retrieval, rated: Sequence[str]) -> float:
    """The highest relevance among the rated documents."""
    base = dict(zip(retrieval.candidates, retrieval.base, strict=True))
    return max(base.get(name, 0.0) for name in rated)


def _vectors_of(retrieval: Retrieval, rated: Sequence[str]) -> dict[str, object]:
    """What the fold needs of a retrieval, so that a feedback stands without it."""
    positions = [retrieval.chosen.index(name) for name in rated]
    rows = decode_vectors(retrieval.chosen_vectors, retrieval.dimension, HALF)
    places = {name: place for place, name in enumerate(retrieval.candidates)}
    logged = retrieval.logged and {**retrieval.logged, "rated": [places[name] for name in rated if name in places]}
    return {
        "session": retrieval.session,
        "documents": tuple(rated),
        "titles": tuple(retrieval.titles[place] for place in positions if place < len(retrieval.titles)),
        "embedding": retrieval.embedding,
        "dimension": retrieval.dimension,
        "chosen": encode_vectors(rows[positions].mean(axis=0)),
        "expected": retrieval.expected,
        "logged": logged or None,
    }


def _new_entry_id(moment: float) -> str:
    """A name that carries day and hour, so that the entry is found without reading others."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y%m%d%H}-{new_id()[:20]}"


def _on_time(now: float, horizon: float) -> float:
    """The time to write under: never below the horizon of a snapshot, where no reader looks, however clocks differ."""
    return max(now, horizon + GRACE_SECONDS)


def _horizon(snapshot: Snapshot | None) -> float:
    return float("-inf") if snapshot is None else snapshot.horizon


def _stored_time(item: Item | None, field: str) -> float:
    """A time in a stored value, such as the horizon of a snapshot; minus infinity without a readable one."""
    try:
        moment = float("-inf") if item is None else float(item.value[field])
    except (KeyError, TypeError, ValueError):
        return float("-inf")
    # no clock can have written infinity or a time years ahead: a damaged value
    return moment if math.isfinite(moment) and moment <= time.time() + 366 * DAY else float("-inf")


def _parse_entries(items: Iterable[Item], known: Mapping[str, Entry] = MappingProxyType({})) -> dict[str, Entry]:
    """Readable entries by id, of each id the earliest. An entry never changes: `known` ones are not parsed again."""
    entries: dict[str, Entry] = {}
    for item in items:
        try:
            entry = known.get(item.key)
            if entry is None or entry.time != item.value.get("time"):
                entry = read_entry(item.value)
        except CorruptRecordError as error:
            warn(logger, "Leaving out the unreadable ledger entry %s: %s", item.key, error)
            continue
        if entry.id not in entries or entry.time < entries[entry.id].time:
            entries[entry.id] = entry
    return entries


def _decode_events(
    entries: Iterable[Entry],
    *,
    embedding: str,
    space: PreferenceSpace,
    without: Container[str] = (),
    known: Mapping[str, Event] = MappingProxyType({}),
) -> list[Event]:
    """The events that count: feedback of some weight with vectors of this embedding model, but those `without`."""
    events = []
    for entry in entries:
        if not isinstance(entry, Feedback) or entry.embedding != embedding or entry.gate == 0.0:
            continue
        if entry.id in without or (entry.origin is not None and entry.origin in without):
            continue
        if entry.id in known and known[entry.id].time == entry.time:
            events.append(known[entry.id])
            continue
        try:
            (chosen,) = decode_vectors(entry.chosen or "", entry.dimension)
            (expected,) = decode_vectors(entry.expected or "", entry.dimension)
            item, offered = space.project(chosen), space.project(expected)
        except (CorruptRecordError, DimensionMismatchError, ValueError) as error:
            warn(logger, "Leaving out feedback %s: %s", entry.id, error)
            continue
        session = label(entry.session, prefix="s") if entry.session else ""
        reward, gate, retrieval = entry.reward, entry.gate, entry.retrieval_id
        events.append(Event(entry.time, entry.id, session, reward, gate, item, offered, retrieval))
    return events


def _withdrawn_below(snapshot: Snapshot, entries: Mapping[str, Entry]) -> list[float]:
    """Since when the entries may be there that a snapshot holds and that were withdrawn after it was made."""
    young = {one: entry for one, entry in entries.items() if entry.time > snapshot.horizon}
    # what it holds and what was delivered a second time later is one and the same
    known = (young.keys() - set(snapshot.recent)) | set(snapshot.withdrawn)
    found = [one.since for one in young.values() if isinstance(one, Withdrawal) and one.target not in known]
    return [float("-inf") if since is None else min(since, snapshot.horizon) for since in found]


def _is_later(entry: Entry | None, moment: float) -> bool:
    return entry is not None and entry.time > moment


def _portions(old: Sequence[Event], count: int, horizon: float) -> list[tuple[Sequence[Event], float]]:
    """Events that a snapshot takes in, cut at each checkpoint, with its horizon; `count` are in it already."""
    cuts = range(CHECKPOINT_EVERY - count % CHECKPOINT_EVERY, len(old), CHECKPOINT_EVERY)
    apart = [cut for cut in cuts if old[cut - 1].time < old[cut].time]
    ends = [*((cut, old[cut - 1].time) for cut in apart), (len(old), horizon)]
    return [(old[start:end], moment) for start, (end, moment) in zip([0, *apart], ends, strict=True)]


# buckets --------------------------------------------------------------------------------------------------------------


def _bucket(moment: float) -> tuple[str, str]:
    """Day and hour (UTC) as labels, `("d20261122", "h20")`: a read of the young entries does not touch the old ones."""
    when = datetime.fromtimestamp(moment, UTC)
    return f"d{when:%Y%m%d}", f"h{when:%H}"


def _buckets_since(user: str, horizon: float, now: float) -> list[Path]:
    """Paths of the fewest buckets that hold everything after `horizon`: hours, days, or all; clocks may differ."""
    now = max(now, horizon)
    if now - horizon > _BY_BUCKETS:
        return [(user, "feedback")]
    width, depth = (HOUR, 2) if now - horizon <= 2 * HOUR else (DAY, 1)
    times = range(int(horizon // width), int(now // width) + 2)
    return [(user, "feedback", *_bucket(index * width)[:depth]) for index in times]
