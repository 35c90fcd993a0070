"""The append-only feedback ledger over a `BaseStore`, and the fold of it with a trailing snapshot.

A `BaseStore` has no compare-and-swap, so nothing here is ever read, changed and written back: entries are only added,
and a snapshot may be lost or overwritten by anybody at any time, for it can be made again. It holds only entries older
than `GRACE_SECONDS`; whoever reads folds the younger ones on top. Writers at once, repeated deliveries, late deliveries
and clocks that differ by less than the grace period therefore cost nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from langgraph.store.base import BaseStore, GetOp, Item, Op, PutOp, SearchItem

from langchain_persona.arrays import Vector
from langchain_persona.effects import Call, Steps, StoreOps
from langchain_persona.errors import CorruptRecordError
from langchain_persona.identity import label
from langchain_persona.learning import Event, LearnerState, VARSConfig, fold, in_order
from langchain_persona.memo import Memo
from langchain_persona.memory.buckets import DAY, bucket, buckets_since
from langchain_persona.memory.entries import events_of, horizon_of, parsed, undone_below, usable
from langchain_persona.memory.folded import Folded, Remembered
from langchain_persona.memory.pages import everything
from langchain_persona.memory.space_versions import SpaceChoice
from langchain_persona.records import Feedback, Snapshot, Window, Withdrawal, new_id, read_record
from langchain_persona.spaces import PreferenceSpace

__all__ = ["GRACE_SECONDS", "Ledger"]

logger = logging.getLogger(__name__)

GRACE_SECONDS = 60.0
"""A snapshot holds no entry younger than this: the bound on clock skew and on the delay of a write."""

_CURRENT = "current"
_VERSION = "feedback"
_TRANSLATED = "translated"

Namespace = tuple[str, ...]


class Ledger:
    """Entries, key index and snapshots of all users in one store.

    Args:
        store: any LangGraph store.
        root: namespace under which everything lies.
        config: the learner; a snapshot made under another configuration is ignored.

    Attributes:
        translations: for `translation`: until when (monotonic clock) there is nothing to do for a user and a source.
    """

    def __init__(self, store: BaseStore, root: Namespace, config: VARSConfig) -> None:
        self.store = store
        self.root = root
        self.config = config
        self._memo = Memo[Remembered](lifetime=2 * GRACE_SECONDS, size=64)
        self.translations = Memo[float](size=4_096)

    def namespace(self, user: str, *parts: str) -> Namespace:
        """The namespace of one user's things of one kind."""
        return (*self.root, label(user), *parts)

    def entry_op(self, user: str, entry: Feedback | Withdrawal) -> PutOp:
        """The write of one entry, in the bucket of its hour."""
        return self._put(self.namespace(user, "feedback", *bucket(entry.time)), entry.id, entry.to_json())

    def key_op(self, user: str, key: str) -> GetOp:
        """The read that tells whether an idempotency key was used."""
        return GetOp(self.namespace(user, "keys"), label(key, prefix="k"))

    def append(self, user: str, entry: Feedback | Withdrawal) -> Steps[None]:
        """Add one entry (its key, and a new version for readers) in one batch: acknowledged when this returns."""
        ops: list[Op] = [
            self.entry_op(user, entry),
            self._put(self.namespace(user, "versions"), _VERSION, {"version": new_id()}),
        ]
        if isinstance(entry, Feedback) and entry.key is not None:
            ops.append(self._put(self.namespace(user, "keys"), label(entry.key, prefix="k"), {"id": entry.id}))
        if isinstance(entry, Feedback) and entry.embedding is not None:
            current = {"embedding": entry.embedding, "dimension": entry.dimension}
            ops.append(self._put(self.namespace(user, "state"), _CURRENT, current))
        yield StoreOps(self.store, ops)

    def append_copies(
        self, user: str, copies: Sequence[Feedback], marker: tuple[Namespace, str, dict[str, object]]
    ) -> Steps[None]:
        """Add translated entries and the mark that it was done, in one batch; see `translation`.

        They come with the times of their originals, below the horizon of any snapshot that there may be: with them
        goes a stamp that every snapshot made without them lacks.
        """
        ops: list[Op] = [self.entry_op(user, entry) for entry in copies]
        if copies:
            current: dict[str, object] = {"embedding": copies[-1].embedding, "dimension": copies[-1].dimension}
            for name in (_VERSION, _TRANSLATED):
                ops.append(self._put(self.namespace(user, "versions"), name, {"version": new_id()}))
            ops.append(self._put(self.namespace(user, "state"), _CURRENT, current))
        yield StoreOps(self.store, [*ops, self._put(*marker)])

    def untouched(self, user: str, embedding: str, space: str) -> bool:
        """True when this process's latest read found that nothing was ever written for the user."""
        kept = self._memo.latest((user, embedding, space))
        return kept is not None and not kept.folded.written

    def current(self, user: str) -> Steps[tuple[str, int] | None]:
        """Embedding model and dimension of the latest feedback that could be learned from; None before the first."""
        (item,) = yield StoreOps(self.store, [GetOp(self.namespace(user, "state"), _CURRENT)])
        if item is None:
            return None
        try:
            embedding, dimension = str(item.value["embedding"]), int(item.value["dimension"])
            if dimension < 1:
                raise ValueError(dimension)
            return embedding, dimension
        except (KeyError, TypeError, ValueError):
            logger.warning("The note on a user's embedding model cannot be read; looking through the ledger instead")
        entries, _ = yield from self.entries(user)
        embedded = [entry for entry in entries if isinstance(entry, Feedback) and entry.embedding is not None]
        return (str(embedded[-1].embedding), embedded[-1].dimension) if embedded else None

    def horizon(self, user: str) -> Steps[float]:
        """The time up to which some snapshot of the user holds the ledger; minus infinity where there is none.

        There is one for each embedding model, and one more for each space that a memory on this store was given.
        """
        items = yield from everything(self.store, self.namespace(user, "state"))
        return max(map(horizon_of, items), default=float("-inf"))

    def entries(self, user: str) -> Steps[tuple[list[Feedback | Withdrawal], int]]:
        """Every readable entry of a user, oldest first, and the number of unreadable ones."""
        found, skipped = parsed((yield from self._items(user, [()])), float("-inf"))
        return sorted(found, key=lambda entry: (entry.time, entry.id)), skipped

    def fold(
        self, user: str, embedding: str, choice: PreferenceSpace | SpaceChoice, *, rebuild: bool = False
    ) -> Steps[Folded]:
        """A user's state: the snapshot and everything younger.

        Args:
            user: whose.
            embedding: name of the embedding model; entries of another are left out.
            choice: the preference space to learn in, or what tells it once it is read in the first batch.
            rebuild: ignore the snapshot and fold the whole ledger.
        """
        stamps = [GetOp(self.namespace(user, "versions"), name, refresh_ttl=False) for name in (_VERSION, _TRANSLATED)]
        chosen = [choice.op] if isinstance(choice, SpaceChoice) else []
        name = _snapshot_name(embedding, choice)
        ops = [*stamps, GetOp(self.namespace(user, "state"), name, refresh_ttl=False), *chosen]
        stamp, translated, item, *pointer = yield StoreOps(self.store, ops)
        space = (yield from choice.chosen(*pointer)) if isinstance(choice, SpaceChoice) else choice
        now, key = time.time(), (user, embedding, space.id)
        version, copies = (None if item is None else str(item.value.get("version")) for item in (stamp, translated))
        memo = None if rebuild else self._memo.get(key, version, now)
        if memo is not None:
            return memo.folded
        after = float("-inf") if rebuild else horizon_of(item)
        items = yield from self._items(user, buckets_since(after, now))
        snapshot = None if rebuild else usable(item, space, self.config, copies)
        entries, skipped = yield Call(lambda: parsed(items, after))
        if snapshot is not None and undone_below(snapshot, entries):
            snapshot = None  # something that it holds was withdrawn: fold again without it
        # what this process remembers holds while it stands on the same snapshot, or on none
        stale = None if rebuild or (item is not None and snapshot is None) else self._memo.latest(key)
        if stale is not None and stale.after != after:
            stale = None
        window: tuple[Event, ...] | None = ()
        if stale is not None:
            window = stale.window
        elif snapshot is not None and self.config.rule.window:
            window = yield from self._window(user, name, embedding, space, snapshot, items)
        if window is None:  # what the rule looks at again is not to be found
            snapshot, window = None, ()
        if snapshot is None and after > float("-inf"):
            whole = yield from self._items(user, [()])
            entries, skipped = yield Call(lambda: parsed(whole, float("-inf"), read_before=items))
        undone = dict.fromkeys(snapshot.withdrawn if snapshot else (), after)
        undone |= {entry.target: entry.time for entry in entries if isinstance(entry, Withdrawal)}
        without = {*undone, *(snapshot.recent if snapshot else ())}
        known = {event.id: event for event in stale.young} if stale else {}
        prior = self._prior(space)
        events = yield Call(
            lambda: in_order(events_of(entries, embedding, space, without=without, known=known, prior=prior))
        )

        horizon = now - GRACE_SECONDS
        old = tuple(event for event in events if event.time <= horizon)
        young = tuple(event for event in events if event.time > horizon)
        state = LearnerState.cold(space.k) if snapshot is None else LearnerState.from_json(snapshot.state)
        outdated = rebuild or (item is not None and snapshot is None) or (snapshot is not None and now - after > DAY)
        if old or outdated:
            state = yield from self._stepped(old, state, window, space)
            times = {entry.id: entry.time for entry in entries}
            recent = {**(snapshot.recent if snapshot else {}), **{event.id: event.time for event in old}}
            record = Snapshot(
                horizon=horizon,
                config=self.config.fingerprint,
                space=space.id,
                translated=copies,
                state=state.to_json(),
                recent={name: moment for name, moment in recent.items() if moment > horizon - GRACE_SECONDS},
                withdrawn=tuple(
                    target for target, moment in undone.items() if max(moment, times.get(target, moment)) > horizon
                ),
            )
            window = (*window, *old)[-max(self.config.rule.window, 1) :]
            yield from self._save(user, name, record, window)
            after, stale = horizon, None
        # where this process folded the first of these already, it goes on from there
        folded_before = stale.young if stale else ()
        same = [one is other for one, other in zip(folded_before, young, strict=False)]
        done = len(folded_before) if all(same) and len(same) == len(folded_before) else 0
        if stale is not None and done:
            state = stale.folded.state
        state = yield from self._stepped(young[done:], state, (*window, *young[:done]), space)
        folded = Folded(state, space, young=len(events), skipped=skipped, written=version is not None)
        self._memo.put(key, version, Remembered(folded, after, window, young), now)
        return folded

    def _stepped(
        self, events: Sequence[Event], start: LearnerState, before: Sequence[Event], space: PreferenceSpace
    ) -> Steps[LearnerState]:
        """The fold of some events onto a state, off the event loop."""
        state = start
        if events:
            state = yield Call(lambda: fold(events, self.config, k=space.k, start=start, before=before))
        return state

    def _window(
        self,
        user: str,
        snapshot_name: str,
        embedding: str,
        space: PreferenceSpace,
        snapshot: Snapshot,
        read_before: Sequence[Item],
    ) -> Steps[tuple[Event, ...] | None]:
        """The latest events that a snapshot holds, read by their addresses; None where the list is not to be had."""
        op = GetOp(self.namespace(user, "windows"), snapshot_name, refresh_ttl=False)
        (item,) = yield StoreOps(self.store, [op])
        try:
            window = None if item is None else read_record(Window, item.value)
        except CorruptRecordError as error:
            logger.warning("Ignoring a corrupt list of latest feedback and folding the ledger again: %s", error)
            return None
        if window is None or window.horizon != snapshot.horizon:
            return None
        ops = [
            GetOp(self.namespace(user, "feedback", *bucket(moment)), name, refresh_ttl=False)
            for moment, name in window.entries
        ]
        found = (yield StoreOps(self.store, ops)) if ops else []
        entries, _ = parsed([entry for entry in found if entry is not None], float("-inf"), read_before=read_before)
        prior = self._prior(space)
        return tuple(in_order(events_of(entries, embedding, space, without=(), known={}, prior=prior)))

    def _save(self, user: str, name: str, snapshot: Snapshot, window: Sequence[Event]) -> Steps[None]:
        """Write a snapshot; that it cannot be written costs the next reader some time and nobody anything else."""
        latest = Window(horizon=snapshot.horizon, entries=tuple((event.time, event.id) for event in window))
        ops = [
            self._put(self.namespace(user, "state"), name, snapshot.to_json()),
            self._put(self.namespace(user, "windows"), name, latest.to_json()),
        ]
        try:
            yield StoreOps(self.store, ops)
        except Exception:
            logger.debug("A snapshot could not be written", exc_info=True)

    def _items(self, user: str, parts: Sequence[tuple[str, ...]]) -> Steps[list[SearchItem]]:
        """Everything stored in some buckets of a user's ledger; `()` is the whole of it."""
        found: list[SearchItem] = []
        for part in parts:
            found += yield from everything(self.store, self.namespace(user, "feedback", *part))
        return found

    def _prior(self, space: PreferenceSpace) -> Vector | None:
        return space.prior if self.config.prior == "population" else None

    def _put(self, namespace: Namespace, key: str, value: dict[str, object]) -> PutOp:
        return PutOp(namespace, key, value, index=False)


def _snapshot_name(embedding: str, choice: PreferenceSpace | SpaceChoice) -> str:
    """The key of a snapshot, known before anything is read.

    Memories that learn in the space in force share one; one that was given a space has its own, for otherwise two of
    them would throw away each other's at every read.
    """
    name = label(embedding, prefix="e")
    return name if isinstance(choice, SpaceChoice) else label(f"{name} {choice.id}", prefix="g")
