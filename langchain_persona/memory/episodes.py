"""Episodes in the store, and which of them still wait to be worked through.

An episode and its mark of "not worked through yet" are written in one batch, after the answer. Whoever works it through
takes the mark away; a crash leaves it, so the next turn or `PersonaMemory.process_pending` takes it up.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from langgraph.store.base import GetOp, Op, PutOp, SearchOp

from langchain_persona.effects import Steps, StoreOps
from langchain_persona.errors import CorruptRecordError
from langchain_persona.identity import label
from langchain_persona.memory.ledger import Ledger
from langchain_persona.records import Episode, Record, read_record

__all__ = ["Episodes", "Pending", "Reflections"]

logger = logging.getLogger(__name__)

KEPT = 50
"""Episodes kept for a user; older ones go when a new one has been worked through."""

ATTEMPTS = 3
"""How often an episode is tried before it is left alone."""

_PAGE = 1_000


class Pending(Record):
    """The mark of an episode that waits.

    Attributes:
        user: whose, as the id was given.
        episode: its id.
        time: of the episode, seconds since the epoch.
        attempts: how often it was tried and failed.
    """

    user: str
    episode: str
    time: float
    attempts: int = 0


class Reflections(Record):
    """Where working through stands for one user.

    Attributes:
        recent: ids of the latest episodes worked through, oldest first.
        since: how many of them came after the latest look at the persona.
        rejected: digest of the persona text that a person turned down last; it is not proposed again.
    """

    recent: tuple[str, ...] = ()
    since: int = 0
    rejected: str = ""


class Episodes:
    """Episodes of all users, in the store of a ledger.

    Args:
        ledger: gives the store and the namespaces.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def get_op(self, user: str, episode_id: str) -> GetOp:
        """The read of one episode, for a batch."""
        return GetOp(self._ledger.namespace(user, "episodes"), label(episode_id, prefix="t"))

    def put_op(self, user: str, episode: Episode) -> PutOp:
        """The write of one episode."""
        key = label(episode.id, prefix="t")
        return PutOp(self._ledger.namespace(user, "episodes"), key, episode.to_json(), index=False)

    def record(self, user: str, episode: Episode) -> Steps[None]:
        """Write an episode and its mark in one batch."""
        mark = Pending(user=user, episode=episode.id, time=episode.time)
        yield StoreOps(self._ledger.store, [self.put_op(user, episode), self._mark_op(mark)])

    def get(self, user: str, episode_ids: Sequence[str]) -> Steps[list[Episode]]:
        """Readable episodes by id, in the order asked for; those that are gone are left out."""
        if not episode_ids:
            return []
        items = yield StoreOps(self._ledger.store, [self.get_op(user, name) for name in episode_ids])
        found = []
        for item in items:
            try:
                found += [] if item is None else [read_record(Episode, item.value)]
            except CorruptRecordError as error:
                logger.warning("Leaving out the unreadable episode %s: %s", item.key, error)
        return found

    def pending(self, user: str | None = None) -> Steps[list[Pending]]:
        """Marks of one user, or of all, oldest first."""
        place = self._marks() if user is None else self._marks(user)
        found: list[Pending] = []
        offset = 0
        while True:
            (items,) = yield StoreOps(self._ledger.store, [SearchOp(place, limit=_PAGE, offset=offset)])
            for item in items:
                if tuple(item.namespace)[: len(place)] != place:
                    continue
                try:
                    found.append(read_record(Pending, item.value))
                except CorruptRecordError as error:
                    logger.warning("Leaving out an unreadable mark of an episode: %s", error)
            if len(items) < _PAGE:
                return sorted(found, key=lambda mark: (mark.time, mark.episode))
            offset += _PAGE

    def reflections(self, user: str) -> Steps[Reflections]:
        """Where working through stands; unreadable counts as not begun."""
        (item,) = yield StoreOps(self._ledger.store, [GetOp(self._ledger.namespace(user, "reflection"), "state")])
        try:
            return Reflections() if item is None else read_record(Reflections, item.value)
        except CorruptRecordError as error:
            logger.warning("Starting the count of episodes anew: %s", error)
            return Reflections()

    def done(self, user: str, marks: Sequence[Pending], state: Reflections) -> Steps[None]:
        """Take marks away, keep the state, and let go of episodes beyond `KEPT`, in one batch."""
        recent = (*state.recent, *(mark.episode for mark in marks if mark.episode not in state.recent))
        kept = state.model_copy(update={"recent": recent[-KEPT:]})
        ops: list[Op] = [self._unmark_op(mark) for mark in marks]
        ops += [self._delete_op(user, name) for name in recent[:-KEPT]]
        ops.append(PutOp(self._ledger.namespace(user, "reflection"), "state", kept.to_json(), index=False))
        yield StoreOps(self._ledger.store, ops)

    def failed(self, marks: Sequence[Pending]) -> Steps[list[Pending]]:
        """Count one more attempt; the marks of what failed too often are returned, for `done`."""
        tried = [mark.model_copy(update={"attempts": mark.attempts + 1}) for mark in marks]
        again = [mark for mark in tried if mark.attempts < ATTEMPTS]
        if again:
            yield StoreOps(self._ledger.store, [self._mark_op(mark) for mark in again])
        return [mark for mark in tried if mark.attempts >= ATTEMPTS]

    def erase(self, user: str, episode_ids: Sequence[str]) -> Steps[None]:
        """Erase episodes and their marks; what is not there is no error."""
        if episode_ids:
            marks = [Pending(user=user, episode=name, time=0.0) for name in episode_ids]
            ops: list[Op] = [self._delete_op(user, name) for name in episode_ids]
            yield StoreOps(self._ledger.store, [*ops, *map(self._unmark_op, marks)])

    def all(self, user: str) -> Steps[list[Episode]]:
        """Every readable episode of a user, oldest first."""
        place = self._ledger.namespace(user, "episodes")
        found: list[Episode] = []
        offset = 0
        while True:
            (items,) = yield StoreOps(self._ledger.store, [SearchOp(place, limit=_PAGE, offset=offset)])
            for item in items:
                if tuple(item.namespace) == place:
                    try:
                        found.append(read_record(Episode, item.value))
                    except CorruptRecordError as error:
                        logger.warning("Leaving out the unreadable episode %s: %s", item.key, error)
            if len(items) < _PAGE:
                return sorted(found, key=lambda episode: (episode.time, episode.id))
            offset += _PAGE

    def _marks(self, *user: str) -> tuple[str, ...]:
        return (*self._ledger.root, "pending", *map(label, user))

    def _mark_op(self, mark: Pending) -> PutOp:
        key = label(mark.episode, prefix="t")
        return PutOp(self._marks(mark.user), key, mark.to_json(), index=False)

    def _unmark_op(self, mark: Pending) -> PutOp:
        return PutOp(self._marks(mark.user), label(mark.episode, prefix="t"), None)

    def _delete_op(self, user: str, episode_id: str) -> PutOp:
        return PutOp(self._ledger.namespace(user, "episodes"), label(episode_id, prefix="t"), None)
