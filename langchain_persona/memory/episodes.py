"""Episodes: one record a turn, and a mark for each that a reflection has not worked through yet.

The mark carries the episode, so one search finds all that waits. Whoever worked it through takes the mark away; a crash
leaves it, and the next turn or `PersonaMemory.process_pending` takes it up. A mark names the reflection it waits for: a
second graph on the same memory does not take over the first one's work.

An episode whose query is embedded has a short copy too, in which the turns of other conversations look for exchanges
like theirs. Only the latest copies are kept, so that one search reads all. They are read at the beginning of a
conversation; later turns of it use what this process has read, for their own exchanges are in the messages anyway.

With a time to live an episode goes with all of its copies: by the store where it can do so, else by a sweep.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice

import numpy as np
from langgraph.store.base import Op, Result

from langchain_persona.identity import label
from langchain_persona.learning.arrays import Vector, dots, unit
from langchain_persona.memory.background import Background
from langchain_persona.memory.cards import CardSet
from langchain_persona.memory.embedder import Embedder
from langchain_persona.memory.store import SWEEP_EVERY, Path, UserStore, VersionedCache, parse_record, version_of
from langchain_persona.records import Episode, Record
from langchain_persona.resilience import run_or_default, warn

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a reflection tries an episode before it leaves it alone."""

SIMILAR = 0.6
"""Cosine from which an exchange resembles a message. On PrefEval's given topics .4 % of pairs of requests from two
topics reach it, and 36 % of pairs that ask for the same thing in other words; at .5 it is 1.5 % and 63 %, but then two
in three messages find one of 200 exchanges on another topic."""

_COPIES = 200  # latest exchanges of a user that a turn looks through
MOST_QUERY = 4_000
"""Characters of a message that are searched for."""

_HEAD = 400  # characters of a question and of an answer in a copy
_CACHED_USERS = 128
_NO_ROW = np.zeros(0)

Past = Mapping[str, tuple[Episode, Vector]]
"""Copies of earlier exchanges with the vectors of their queries, by id, oldest first."""


class Pending(Record):
    """An episode that waits for the reflection of a name, whose it is, and how often it was tried and failed."""

    user: str
    reflection: str
    episode: Episode
    attempts: int = 0


class Progress(Record):
    """How many episodes were worked through since the persona was last brought up to date.

    `rejected` is a digest of the persona text that a person turned down last; it is not proposed again. `aligned` is
    the newest judged episode that a model has read for it.
    """

    since: int = 0
    rejected: str = ""
    aligned: str = ""


class Episodes:
    """The episodes of all users."""

    def __init__(
        self, store: UserStore, embedder: Embedder, background: Background, ttl_seconds: float | None = None
    ) -> None:
        self._store, self._embedder, self._background = store, embedder, background
        self._ttl_seconds = ttl_seconds
        self._recorded = 0
        self._cache: VersionedCache[Past] = VersionedCache(_CACHED_USERS)
        store.caches.append(self._cache)

    def with_vector(self, episode: Episode, known: Mapping[str, str] | None = None) -> Episode:
        """The episode with the embedding of its query: the `known` one, as `Embedder.encode` gives it, or a new one.

        As it is where there is no model, nothing to embed, or no answer.
        """
        text = episode.query[:MOST_QUERY]
        if not self._embedder.has_model or not any(map(str.isalnum, text)):
            return episode
        embed = lambda: self._embedder.encode(unit(self._embedder.embed_query(text)))  # noqa: E731
        none = dict[str, str]()
        return episode.model_copy(update=known or run_or_default("A turn cannot be found by its topic", embed, none))

    def past_ops(self, user: str, fresh: bool) -> list[Op]:
        """The read of the copies, for a batch: of their version alone where those that this process has will do."""
        known, version = not fresh and self._cache.get(user) is not None, self._store.get((user, "versions"), "past")
        found = [version] if known else [version, self._store.search((user, "past"))]
        return found if self._embedder.has_model else []

    def parse_past(self, user: str, results: Sequence[Result]) -> Past:
        """The copies, given the results of `past_ops`; reads on where the user was deleted and readmitted meanwhile."""
        if not results:
            return {}
        version = version_of(results[0])
        if len(results) == 1:
            kept = self._cache.get(user, version)
            return self.read_past(user, fresh=True) if kept is None else kept
        found = (parse_record(Episode, item) for item in self._store.found((user, "past"), results[1]))
        episodes = sorted((one for one in found if one is not None), key=_age)
        old, past = self._cache.get(user) or {}, dict[str, tuple[Episode, Vector]]()
        for one in episodes:  # those of another model are silent, and go when they are old
            known = old.get(one.id)
            decoded = [known[1]] if known and known[0].vector == one.vector else [*self._decode(one), _NO_ROW]
            past[one.id] = (one, decoded[0])
        self._cache.put(user, version, past)
        return past

    def read_past(self, user: str, *, fresh: bool = False) -> Past:
        """The copies; those that this process has already will do, unless `fresh`."""
        known = None if fresh else self._cache.get(user)
        return self.parse_past(user, self._store.batch(self.past_ops(user, True))) if known is None else known

    def similar(self, past: Past, cards: CardSet, vector: Vector, k: int) -> list[tuple[Episode, float]]:
        """The exchanges that resemble a message most, best first, with their cosines.

        One that was erased is left out, and one on which a retired or held-back card rests.
        """
        hidden = {quote.message_id for card in cards.silent for quote in card.evidence}
        usable = (one for one in past.values() if one[1].size == vector.size and not self._expired(one[0]))
        kept = [one for one in usable if one[0].message_id not in hidden]
        if not kept or not k:
            return []
        scores = dots(unit(np.stack([row for _, row in kept])), unit(vector))
        near = ((kept[place][0], float(scores[place])) for place in np.argsort(-scores) if scores[place] >= SIMILAR)
        return list(islice((one for one in near if label(one[0].id, prefix="x") not in cards.erased), k))

    def read_op(self, user: str, episode_id: str) -> Op:
        """The read of one episode, for a batch; `parse_record` takes its result."""
        return self._store.get((user, "episodes"), _key(episode_id))

    def all(self, user: str, *, expired: bool = False) -> list[Episode]:
        """Every readable episode of a user, oldest first; what has `expired` and is still there only if asked for."""
        found = (parse_record(Episode, item) for item in self._store.scan((user, "episodes")))
        return sorted((one for one in found if one is not None and (expired or not self._expired(one))), key=_age)

    def sweep(self, user: str) -> int:
        """Delete a user's expired episodes; returns how many."""
        old = [one.id for one in self.all(user, expired=True) if self._expired(one)]
        self.take_back(user, old)
        return len(old)

    def record(self, user: str, episode: Episode, reflection: str, judged: Episode | None = None) -> None:
        """Write an episode and its mark in one batch, and with them the one before with what was said of it.

        Whether `judged` was erased meanwhile is for the reading that follows: see `Turns.read_pending`.
        """
        if episode.vector and self._cache.get(user) is None:
            self.read_past(user)  # so that the oldest copies are known and go
        mark = Pending(user=user, reflection=reflection, episode=episode)
        written = [episode] if judged is None else [judged, episode]
        self._store.batch([*self._write_ops(user, written), self._mark_op(mark)])
        self._recorded += 1
        if self._ttl_seconds is not None and self._recorded % SWEEP_EVERY == 0:
            self._background.submit(partial(self.sweep, user))

    def write(self, user: str, episode: Episode) -> bool:
        """Write a changed episode; False where it was erased meanwhile, and then it stays erased."""
        self._store.batch(self._write_ops(user, [episode]))
        erased = self._store.erased(user, [episode.id])
        self.take_back(user, erased)
        return not erased

    def write_all(self, user: str, episodes: Sequence[Episode]) -> None:
        """Write up to 200 episodes that nothing waits for, oldest first, in one batch."""
        self.read_past(user)  # so that the oldest copies go again
        self._store.batch(self._write_ops(user, episodes))

    def take_back(self, user: str, episode_ids: Collection[str]) -> None:
        """Delete episodes that were erased or have expired, and their marks."""
        if episode_ids:
            marks = [mark for mark in self.pending(user) if mark.episode.id in episode_ids]
            self._store.batch([*self._delete_ops(user, episode_ids), *map(self._unmark_op, marks)])

    def tombstone_op(self, user: str, episode_id: str) -> Op:
        """The read that tells whether an episode was erased, for a batch: its result is not None then."""
        return self._store.get((user, "erased"), label(episode_id, prefix="x"))

    def erase(self, user: str, episode_ids: Collection[str]) -> None:
        """Erase episodes and their marks, and leave tombstones."""
        self._store.batch(self._store.bury(user, episode_ids))
        self.take_back(user, episode_ids)

    def pending_ops(self, user: str, reflection: str) -> list[Op]:
        """The reads of what waits for a reflection and of the progress, for a batch."""
        return [self._store.search(_marks(user, reflection)), self._store.get((user, "reflection"), "progress")]

    def parse_pending(self, user: str, reflection: str, results: Sequence[Result]) -> tuple[list[Pending], Progress]:
        """What waits, oldest first, and the progress, given the results of `pending_ops`."""
        marks = _parse_marks(user, self._store.found(_marks(user, reflection), results[0]))
        return marks, parse_record(Progress, results[1]) or Progress()

    def pending(self, user: str) -> list[Pending]:
        """All that waits of a user, for whatever reflection."""
        return _parse_marks(user, self._store.scan((user, "pending")))

    def waiting_users(self) -> list[str]:
        """Ids of the users of whom something waits."""
        return list(dict.fromkeys(mark.user for user in self._store.users() for mark in self.pending(user)))

    def finish_ops(
        self, user: str, marks: Sequence[Pending], progress: Progress, judged: Episode | None = None
    ) -> list[Op]:
        """The writes after some episodes were worked through, for a batch: no marks, progress, and what was judged."""
        kept = self._store.put((user, "reflection"), "progress", progress.to_json())
        changed = [] if judged is None else self._write_ops(user, [judged])
        return [*map(self._unmark_op, marks), kept, *changed]

    def retry(self, marks: Sequence[Pending]) -> None:
        """Count one more failed attempt of what still waits; what failed too often waits no longer."""
        waiting = {mark.episode.id for user in {mark.user for mark in marks} for mark in self.pending(user)}
        marks = [mark for mark in marks if mark.episode.id in waiting]
        tried = [mark.model_copy(update={"attempts": mark.attempts + 1}) for mark in marks]
        given_up = [mark for mark in tried if mark.attempts >= ATTEMPTS]
        if given_up:
            warn(logger, "Giving up on %d episodes that could not be learned from", len(given_up))
        again = [self._mark_op(mark) for mark in tried if mark.attempts < ATTEMPTS]
        self._store.batch([*again, *map(self._unmark_op, given_up)])
        # a mark holds the user's words: where they were erased meanwhile, it goes again
        for user in {mark.user for mark in marks}:
            erased = self._store.erased(user, [mark.episode.id for mark in marks])
            self._store.batch([self._unmark_op(mark) for mark in marks if mark.episode.id in erased])

    def _write_ops(self, user: str, episodes: Sequence[Episode]) -> list[Op]:
        """The writes of episodes and of their copies, and the deletion of the oldest copies."""
        ops = [self._put((user, "episodes"), one.id, one, one) for one in episodes]
        copies = {one.id: (_copy(one), row[0]) for one in episodes if len(row := self._decode(one))}
        if not copies:
            return ops
        ops += [self._put((user, "past"), name, one, one) for name, (one, _) in copies.items()]
        if (past := self._cache.get(user)) is not None:
            past = dict(sorted({**past, **copies}.items(), key=lambda item: _age(item[1][0])))
            old = list(past)[:-_COPIES]
            ops += [self._store.delete((user, "past"), _key(name)) for name in old]
            self._cache.put(user, None, {name: one for name, one in past.items() if name not in old})
        return ops

    def _delete_ops(self, user: str, episode_ids: Collection[str]) -> list[Op]:
        self._cache.drop(user)
        return [self._store.delete((user, part), _key(name)) for name in episode_ids for part in ("episodes", "past")]

    def _decode(self, episode: Episode) -> Vector:
        return self._embedder.decode(episode.vector, episode.embedding)

    def _mark_op(self, mark: Pending) -> Op:
        return self._put(_marks(mark.user, mark.reflection), mark.episode.id, mark, mark.episode)

    def _put(self, path: Path, episode_id: str, record: Record, episode: Episode) -> Op:
        """The write of what tells of an episode, for a batch: it lives as long as that."""
        left = None if self._ttl_seconds is None else max(episode.time + self._ttl_seconds - time.time(), 60.0)
        return self._store.put(path, _key(episode_id), record.to_json(), left)

    def _expired(self, episode: Episode) -> bool:
        return self._ttl_seconds is not None and episode.time + self._ttl_seconds < time.time()

    def _unmark_op(self, mark: Pending) -> Op:
        return self._store.delete(_marks(mark.user, mark.reflection), _key(mark.episode.id))


def other_exchanges(past: Past, thread: str, message_ids: Collection[str]) -> Past:
    """The exchanges of other conversations that can be found; those of this one are in its messages."""
    found = ((name, one) for name, one in past.items() if one[1].size and one[0].message_id not in message_ids)
    return {name: one for name, one in found if not thread or one[0].thread != thread}


def _copy(episode: Episode) -> Episode:
    heads = {"query": episode.query[:_HEAD], "answer": episode.answer[:_HEAD]}
    heads |= {"accepted": episode.accepted[:_HEAD]} if episode.accepted else {}
    return episode.model_copy(update={**heads, "before": "", "cards": (), "retrievals": (), "retried": ()})


def _parse_marks(user: str, items: Iterable[object]) -> list[Pending]:
    read = [mark for mark in (parse_record(Pending, item) for item in items) if mark is not None]
    # an id that no store can hold as it is, with NUL in it: the stored one may be another user's
    found = [one if label(one.user) == label(user) else one.model_copy(update={"user": user}) for one in read]
    return sorted(found, key=lambda mark: _age(mark.episode))


def _marks(user: str, reflection: str) -> tuple[str, ...]:
    return user, "pending", label(reflection, prefix="m")


def _key(episode_id: str) -> str:
    return label(episode_id, prefix="t")


def _age(episode: Episode) -> tuple[float, str]:
    return episode.time, episode.id
