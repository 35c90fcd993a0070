"""What a turn reads and writes of its user, each in one batch: for the graph and the middleware."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Literal, Protocol

from langchain_persona.memory.cards import Cards, CardSet
from langchain_persona.memory.episodes import Episodes, Past, Pending, Progress
from langchain_persona.memory.ledger import FeedbackReading, Ledger
from langchain_persona.memory.persona import Personas
from langchain_persona.memory.store import UserStore, parse_record
from langchain_persona.records import CommunicationStyle, Episode, Persona, PreferenceCard


@dataclass(frozen=True, slots=True)
class TurnReading:
    """What a turn needs to know of its user.

    Attributes:
        cards: the user's cards.
        persona: the persona in force.
        style: how the user wants to be talked to.
        episode: the previous turn's; None where none was kept.
        feedback: what feedback on the previous turn's retrievals needs; None where none was asked for.
        past: earlier exchanges, of this conversation too; none where they were not asked for.
    """

    cards: CardSet = field(default_factory=CardSet)
    persona: Persona = field(default_factory=Persona)
    style: CommunicationStyle = field(default_factory=CommunicationStyle)
    episode: Episode | None = None
    feedback: FeedbackReading | None = None
    past: Past = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PendingReading(TurnReading):
    """What a reflection works on: the episodes that wait, oldest first, and what is known of their user at a moment."""

    marks: tuple[Pending, ...] = ()
    progress: Progress = field(default_factory=Progress)
    moment: float = field(default_factory=time.monotonic)


class Processor(Protocol):
    """What works through the episodes that wait for one reflection; returns how many."""

    def process(self, user: str) -> int:
        """Work through what waits of a user."""
        ...

    async def aprocess(self, user: str) -> int:
        """Async twin of `process`."""
        ...


class Turns:
    """Reads and writes of a turn, over the parts of a memory. `user` is a normalised id, never the anonymous one."""

    def __init__(self, store: UserStore, cards: Cards, personas: Personas, episodes: Episodes, ledger: Ledger) -> None:
        self._store = store
        self._cards = cards
        self._personas = personas
        self._episodes = episodes
        self._ledger = ledger
        self.processors: dict[str, Processor] = {}

    def editing(self, user: str) -> RLock:
        """Held from reading what is to be changed until it is written; see `UserStore.editing`."""
        return self._store.editing(user)

    def register(self, reflection: str, processor: Processor) -> None:
        """Name who works through what waits for a reflection; see `PersonaMemory.process_pending`."""
        self.processors[reflection] = processor

    def read(
        self,
        user: str,
        *,
        episode_id: str | None = None,
        retrieval_ids: Sequence[str] = (),
        past: Literal["latest", "known"] | None = None,
    ) -> TurnReading:
        """What a turn needs to know, in one batch (two where cards are out of date).

        The episode is that of the previous turn, and so are the retrievals, where feedback on it was given. Of the past
        it reads the latest, or takes what this process knows already, if it does.
        """
        persona, cards = self._personas.read_ops(user), self._cards.read_ops(user)
        episode = [] if episode_id is None else [self._episodes.read_op(user, episode_id)]
        feedback = self._ledger.reading_ops(user, retrieval_ids) if retrieval_ids else []
        copies = self._episodes.past_ops(user, past == "latest") if past else []
        results = iter(self._store.batch([*persona, *episode, *feedback, *copies, *cards]))
        style, current = self._personas.parse([next(results), next(results)])
        previous = parse_record(Episode, next(results)) if episode else None
        known, exchanges = [next(results) for _ in feedback], [next(results) for _ in copies]
        return TurnReading(
            cards=self._cards.parse(user, list(results)),
            persona=current,
            style=style,
            episode=previous,
            feedback=self._ledger.parse_reading(user, retrieval_ids, known) if feedback else None,
            past=self._episodes.parse_past(user, exchanges) if past else {},
        )

    def read_pending(self, user: str, reflection: str, written: Sequence[str] = ()) -> PendingReading:
        """What waits for a reflection, and what it needs to know of the user, in one batch.

        `written` are episodes that were just written; one that had been erased is erased again.
        """
        waiting, persona = self._episodes.pending_ops(user, reflection), self._personas.read_ops(user)
        tombstones = [self._episodes.tombstone_op(user, name) for name in written]
        results = self._store.batch([*tombstones, *waiting, *persona, *self._cards.read_ops(user)])
        found, results = results[: len(written)], results[len(written) :]
        marks, progress = self._episodes.parse_pending(user, reflection, results[:2])
        if erased := {name for name, one in zip(written, found, strict=True) if one is not None}:
            self._episodes.erase(user, erased)
            marks = [mark for mark in marks if mark.episode.id not in erased]
        style, current = self._personas.parse(results[2:4])
        known = self._cards.parse(user, results[4:])
        return PendingReading(known, current, style, marks=tuple(marks), progress=progress)

    def finish(
        self,
        user: str,
        marks: Sequence[Pending],
        progress: Progress,
        *,
        cards: Sequence[PreferenceCard] = (),
        persona: Persona | None = None,
        style: CommunicationStyle | None = None,
        judged: Episode | None = None,
    ) -> list[PreferenceCard]:
        """Keep what a reflection found: one batch of writes, then one look at what was erased meanwhile.

        Args:
            marks: of the episodes that were worked through.
            progress: as it is now.
            cards: new and changed ones.
            persona: with a new revision; None leaves it as it is.
            style: the new one; None leaves it as it is.
            judged: the turn before, with what was said of it.

        Returns:
            The cards that stand. One that was erased since it was read, or rests on an erased episode, is taken back.
        """
        revision = [] if persona is None else self._personas.write_ops(user, persona)
        done = self._episodes.finish_ops(user, marks, progress, judged)
        moved = [] if style is None else [self._personas.style_op(user, style)]
        self._store.batch([*self._cards.write_ops(user, cards), *revision, *moved, *done])
        rests_on = {name for names in persona.revision.sources for name in names} if persona is not None else set()
        if not (cards or rests_on or judged):
            return []
        told = [mark.episode.id for mark in marks] + ([] if judged is None else [judged.id])
        erased = self._store.erased(user, [*(card.id for card in cards), *told, *rests_on])
        self._episodes.take_back(user, erased.intersection(told))
        unsaid = {mark.episode.message_id for mark in marks if mark.episode.id in erased}
        gone = [card for card in cards if card.id in erased or any(one.message_id in unsaid for one in card.evidence)]
        self._cards.take_back(user, {card.id for card in gone})
        if persona is not None and (gone or rests_on & erased):
            self._personas.drop(user, erased | {card.id for card in gone}, {card.text for card in gone})
        return [card for card in cards if card not in gone]
