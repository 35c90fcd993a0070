"""What a turn reads and writes of its user, each in one batch: for the graph and the middleware."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
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

    `episode` is the previous turn's, if one was kept, and `again` this one's, where the message was answered before;
    `feedback` is what feedback on the previous retrievals needs, and `past` are earlier exchanges, of this conversation
    too, where these were asked for.
    """

    cards: CardSet = field(default_factory=CardSet)
    persona: Persona = field(default_factory=Persona)
    style: CommunicationStyle = field(default_factory=CommunicationStyle)
    episode: Episode | None = None
    again: Episode | None = None
    feedback: FeedbackReading | None = None
    past: Past = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PendingReading(TurnReading):
    """What a reflection works on: the episodes that wait, oldest first, and what is known of their user at a moment."""

    marks: tuple[Pending, ...] = ()
    progress: Progress = field(default_factory=Progress)
    moment: float = field(default_factory=time.monotonic)


class _Processor(Protocol):
    """Works through the episodes of a user that wait for one reflection; returns how many these were."""

    def process(self, user: str) -> int: ...

    async def aprocess(self, user: str) -> int: ...


class Turns:
    """Reads and writes of a turn, over the parts of a memory. `user` is a normalised id, never the anonymous one.

    `processors` work through what waits for the reflection of a name; see `PersonaMemory.process_pending`.
    """

    def __init__(self, store: UserStore, cards: Cards, personas: Personas, episodes: Episodes, ledger: Ledger) -> None:
        self._store = store
        self._cards = cards
        self._personas = personas
        self._episodes = episodes
        self._ledger = ledger
        self.processors: dict[str, _Processor] = {}

    def editing(self, user: str) -> RLock:
        """Held from reading what is to be changed until it is written; see `UserStore.editing`."""
        return self._store.editing(user)

    def read(
        self,
        user: str,
        *,
        episode_id: str | None = None,
        again: str | None = None,
        retrieval_ids: Sequence[str] = (),
        past: Literal["latest", "known"] | None = None,
    ) -> TurnReading:
        """What a turn needs to know, in one batch (two where cards are out of date).

        The episode is that of the previous turn, and so are the retrievals, where feedback on it was given; `again` is
        the id of this one's. Of the past it reads the latest, or takes what this process knows already, if it does.
        """
        persona, cards = self._personas.read_ops(user), self._cards.read_ops(user)
        episodes = [self._episodes.read_op(user, name) for name in (episode_id, again) if name]
        feedback = self._ledger.reading_ops(user, retrieval_ids) if retrieval_ids else []
        copies = self._episodes.past_ops(user, past == "latest") if past else []
        results = iter(self._store.batch([*persona, *episodes, *feedback, *copies, *cards]))
        style, current = self._personas.parse([next(results), next(results)])
        previous, this = (parse_record(Episode, next(results)) if name else None for name in (episode_id, again))
        stored, exchanges = [next(results) for _ in feedback], [next(results) for _ in copies]
        known = self._ledger.parse_reading(user, retrieval_ids, stored) if feedback else None
        earlier = self._episodes.parse_past(user, exchanges) if past else {}
        return TurnReading(self._cards.parse(user, list(results)), current, style, previous, this, known, earlier)

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
        """Keep what a reflection found of some episodes, in one batch; then look at what was erased meanwhile.

        `cards` are new and changed ones, `judged` is the turn before with what was said of it, and None leaves persona
        and style as they are. Returns the cards that stand: one that was erased since it was read, or made from an
        erased episode, is taken back, and an older one does not quote it.
        """
        revision = [] if persona is None else self._personas.write_ops(user, persona)
        done = self._episodes.finish_ops(user, marks, progress, judged)
        moved = [] if style is None else [self._personas.style_op(user, style)]
        self._store.batch([*self._cards.write_ops(user, cards), *revision, *moved, *done])
        rests_on = {name for names in persona.revision.sources for name in names} if persona is not None else set()
        if not (cards or rests_on or judged):
            return []
        told = [mark.episode.id for mark in marks] + ([] if judged is None else [judged.id])
        asked = [*(card.id for card in cards), *told, *rests_on]
        tombs = [self._episodes.tombstone_op(user, name) for name in asked]
        results = self._store.batch([*tombs, *(self._cards.read_ops(user) if cards else ())])
        erased = {name for name, one in zip(asked, results, strict=False) if one is not None}
        if cards:  # so that the next turn has them
            self._cards.parse(user, results[len(asked) :])
        self._episodes.take_back(user, erased.intersection(told))
        unsaid = {mark.episode.message_id: mark.episode.time for mark in marks if mark.episode.id in erased}
        quoting = [card for card in cards if any(one.message_id in unsaid for one in card.evidence)]
        # what was known before the turn loses no more than what the turn said of it
        old = {card.id for card in quoting if card.created < min(unsaid.values())} - erased
        gone = [card for card in cards if card.id in erased or (card in quoting and card.id not in old)]
        taken = {card.id for card in gone}
        self._cards.take_back(user, taken)
        replaced = [one for one in cards if one.retired and one.retired.by in taken]
        back = {one.id: one.model_copy(update={"retired": None}) for one in replaced}
        if changed := [_without(back.get(one.id, one), unsaid) for one in cards if one.id in old | back.keys()]:
            self._cards.write(user, changed)
        if persona is not None and (gone or rests_on & erased):
            self._personas.drop(user, erased | {card.id for card in gone}, {card.text for card in gone})
        return [_without(card, unsaid) for card in cards if card not in gone]


def _without(card: PreferenceCard, messages: Collection[str]) -> PreferenceCard:
    """The card without what it quotes from some messages."""
    evidence = tuple(one for one in card.evidence if one.message_id not in messages)
    return card if evidence == card.evidence else card.model_copy(update={"evidence": evidence})
