"""Episodes: one record a turn, and a mark for each that a reflection has not worked through yet.

The mark carries the episode, so one search finds all that waits. Whoever worked it through takes the mark away; a crash
leaves it, and the next turn or `PersonaMemory.process_pending` takes it up. A mark names the reflection it waits for: a
second graph on the same memory does not take over the first one's work.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence

from langgraph.store.base import Op, Result

from langchain_persona.identity import label
from langchain_persona.memory.store import UserStore, parse_record
from langchain_persona.records import Episode, Record

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a reflection tries an episode before it leaves it alone."""


class Pending(Record):
    """An episode that waits for a reflection.

    Attributes:
        user: whose, as the id was given.
        reflection: name of the reflection it waits for.
        episode: as it was recorded.
        attempts: how often it was tried and failed.
    """

    user: str
    reflection: str
    episode: Episode
    attempts: int = 0


class Progress(Record):
    """How far a user's episodes have been worked through.

    Attributes:
        since: how many were since the persona was last brought up to date.
        rejected: digest of the persona text that a person turned down last; it is not proposed again.
    """

    since: int = 0
    rejected: str = ""


class Episodes:
    """The episodes of all users, in a store."""

    def __init__(self, store: UserStore) -> None:
        self._store = store

    def read_op(self, user: str, episode_id: str) -> Op:
        """The read of one episode, for a batch; `parse_record` takes its result."""
        return self._store.get((user, "episodes"), _key(episode_id))

    def all(self, user: str) -> list[Episode]:
        """Every readable episode of a user, oldest first."""
        found = (parse_record(Episode, item) for item in self._store.scan((user, "episodes")))
        return sorted((one for one in found if one is not None), key=_age)

    def record(self, user: str, episode: Episode, reflection: str, judged: Episode | None = None) -> None:
        """Write an episode and its mark in one batch, and with them the one before with what was said of it.

        Whether `judged` was erased meanwhile is for the reading that follows: see `Turns.read_pending`.
        """
        mark = Pending(user=user, reflection=reflection, episode=episode)
        written = [episode] if judged is None else [judged, episode]
        self._store.batch([*(self._write_op(user, one) for one in written), self._mark_op(mark)])

    def write(self, user: str, episode: Episode) -> bool:
        """Write a changed episode; False where it was erased meanwhile, and then it stays erased."""
        self._store.batch([self._write_op(user, episode)])
        erased = self._store.erased(user, [episode.id])
        self.take_back(user, erased)
        return not erased

    def take_back(self, user: str, episode_ids: Collection[str]) -> None:
        """Delete the records of episodes that were erased."""
        self._store.batch([self._store.delete((user, "episodes"), _key(name)) for name in episode_ids])

    def tombstone_op(self, user: str, episode_id: str) -> Op:
        """The read that tells whether an episode was erased, for a batch: its result is not None then."""
        return self._store.get((user, "erased"), label(episode_id, prefix="x"))

    def erase(self, user: str, episode_ids: Collection[str]) -> None:
        """Erase episodes and their marks, and leave tombstones."""
        self._store.batch(self._store.bury(user, episode_ids))
        marks = [mark for mark in self.pending(user) if mark.episode.id in episode_ids] if episode_ids else []
        deletes = [self._store.delete((user, "episodes"), _key(name)) for name in episode_ids]
        self._store.batch([*deletes, *map(self._unmark_op, marks)])

    def pending_ops(self, user: str, reflection: str) -> list[Op]:
        """The reads of what waits for a reflection and of the progress, for a batch."""
        return [self._store.search(_marks(user, reflection)), self._store.get((user, "reflection"), "progress")]

    def parse_pending(self, user: str, reflection: str, results: Sequence[Result]) -> tuple[list[Pending], Progress]:
        """What waits, oldest first, and the progress, given the results of `pending_ops`."""
        marks = _parse_marks(self._store.found(_marks(user, reflection), results[0]))
        return marks, parse_record(Progress, results[1]) or Progress()

    def pending(self, user: str) -> list[Pending]:
        """All that waits of a user, for whatever reflection."""
        return _parse_marks(self._store.scan((user, "pending")))

    def waiting_users(self) -> list[str]:
        """Ids of the users of whom something waits."""
        return list(dict.fromkeys(mark.user for user in self._store.users() for mark in self.pending(user)))

    def finish_ops(
        self, user: str, marks: Sequence[Pending], progress: Progress, judged: Episode | None = None
    ) -> list[Op]:
        """The writes after some episodes were worked through, for a batch: no marks, progress, and what was judged."""
        kept = self._store.put((user, "reflection"), "progress", progress.to_json())
        changed = [] if judged is None else [self._write_op(user, judged)]
        return [*map(self._unmark_op, marks), kept, *changed]

    def retry(self, marks: Sequence[Pending]) -> None:
        """Count one more failed attempt; what failed too often waits no longer."""
        tried = [mark.model_copy(update={"attempts": mark.attempts + 1}) for mark in marks]
        given_up = [mark for mark in tried if mark.attempts >= ATTEMPTS]
        if given_up:
            logger.warning("Giving up on %d episodes that could not be learned from", len(given_up))
        again = [self._mark_op(mark) for mark in tried if mark.attempts < ATTEMPTS]
        self._store.batch([*again, *map(self._unmark_op, given_up)])
        # a mark holds the user's words: where they were erased meanwhile, it goes again
        for user in {mark.user for mark in marks}:
            erased = self._store.erased(user, [mark.episode.id for mark in marks])
            self._store.batch([self._unmark_op(mark) for mark in marks if mark.episode.id in erased])

    def _write_op(self, user: str, episode: Episode) -> Op:
        return self._store.put((user, "episodes"), _key(episode.id), episode.to_json())

    def _mark_op(self, mark: Pending) -> Op:
        return self._store.put(_marks(mark.user, mark.reflection), _key(mark.episode.id), mark.to_json())

    def _unmark_op(self, mark: Pending) -> Op:
        return self._store.delete(_marks(mark.user, mark.reflection), _key(mark.episode.id))


def _parse_marks(items: Iterable[object]) -> list[Pending]:
    found = (parse_record(Pending, item) for item in items)
    return sorted((mark for mark in found if mark is not None), key=lambda mark: _age(mark.episode))


def _marks(user: str, reflection: str) -> tuple[str, ...]:
    return user, "pending", label(reflection, prefix="m")


def _key(episode_id: str) -> str:
    return label(episode_id, prefix="t")


def _age(episode: Episode) -> tuple[float, str]:
    return episode.time, episode.id
