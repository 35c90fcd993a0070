"""The cards on the table while a batch is reconciled: nothing is written before all is decided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from langchain_persona.arrays import Vector
from langchain_persona.cards import CardMatrix
from langchain_persona.reconciliation.changes import archived, retired
from langchain_persona.reconciliation.reading import Reading, read
from langchain_persona.records import PreferenceCard

__all__ = ["Desk", "Entry", "New"]

_NEAREST = 16
_NEAREST_VALUE = 8
_BY_WORD = 12
_PREFIX = 5


@dataclass(slots=True)
class Entry:
    """An active card.

    Attributes:
        card: as it is by now.
        vector: unit embedding of its note.
        stored: as it is in the store; None for one of this batch.
        revised: the vector is not the stored one.
    """

    card: PreferenceCard
    vector: Vector
    stored: PreferenceCard | None = None
    revised: bool = False
    _reading: Reading | None = None

    @property
    def reading(self) -> Reading:
        """Its note, taken apart when it is first asked for."""
        if self._reading is None or self.revised:
            self._reading = read(self.card.note)
        return self._reading


@dataclass(frozen=True, slots=True)
class New:
    """A card of the batch.

    Attributes:
        card: as it was given.
        reading: its note, taken apart.
        vector: of its note.
        value: of the words that it speaks for; None where it tells of no change.
    """

    card: PreferenceCard
    reading: Reading
    vector: Vector
    value: Vector | None


@dataclass(slots=True)
class Desk:
    """A user's cards while they change.

    Attributes:
        matrix: the user's cards as stored.
        entries: active cards that were looked at or added, by id.
        history: former texts of cards that were updated.
        ended: cards that ended in this batch.
    """

    matrix: CardMatrix
    entries: dict[str, Entry] = field(default_factory=dict)
    history: list[PreferenceCard] = field(default_factory=list)
    ended: list[PreferenceCard] = field(default_factory=list)
    _gone: set[str] = field(default_factory=set)
    _folded: list[str] | None = None

    def near(self, new: New) -> list[tuple[Entry, float, float | None]]:
        """Active cards that a new one may have to do with, with the cosines of its note and of its value.

        The nearest first, by its value where the new one has one.
        """
        for position in self._positions(new):
            card = self.matrix.cards[position]
            if card.id not in self._gone:
                self.entries.setdefault(card.id, Entry(card, self.matrix.vectors[position], card))
        found = [
            (entry, float(entry.vector @ new.vector), None if new.value is None else float(entry.vector @ new.value))
            for entry in self.entries.values()
        ]
        return sorted(found, key=lambda near: -(near[1] if near[2] is None else near[2]))

    def knows(self, card_id: str) -> bool:
        """Whether the user has, or had, a card of this id."""
        return card_id in self.entries or any(
            card.id == card_id for cards in (self.matrix.cards, self.matrix.rest, self.ended) for card in cards
        )

    def add(self, card: PreferenceCard, vector: Vector) -> None:
        """Put a new card on the table."""
        self.entries[card.id] = Entry(card, vector)

    def correct(self, card: PreferenceCard, vector: Vector) -> None:
        """Put another card in the place of one of this batch."""
        self.entries[card.id] = Entry(card, vector)

    def update(self, entry: Entry, card: PreferenceCard, vector: Vector, now: float) -> None:
        """Give a card another text; what it said before is kept for the history."""
        (self.ended if entry.stored is None else self.history).append(archived(entry.card, now))
        entry.card, entry.vector, entry.revised = card, vector, True

    def end(self, entry: Entry, by: PreferenceCard, now: float) -> None:
        """A card holds no longer."""
        self.ended.append(retired(entry.card, by, now))
        self._gone.add(entry.card.id)
        del self.entries[entry.card.id]

    def writes(self) -> tuple[list[PreferenceCard], dict[str, Vector]]:
        """What has to be written, and the vectors of new texts.

        In an order in which a store may break off: no text is lost, and what replaces a card comes before it.
        """
        changed = [entry for entry in self.entries.values() if entry.card != entry.stored]
        vectors = {entry.card.id: entry.vector for entry in changed if entry.stored is None or entry.revised}
        return [*self.history, *(entry.card for entry in changed), *reversed(self.ended)], vectors

    def _positions(self, new: New) -> Iterator[int]:
        cards, vectors = self.matrix.cards, self.matrix.vectors
        if len(cards) <= _NEAREST:
            yield from range(len(cards))
            return
        # einsum keeps to one thread: BLAS is faster on idle cores and several times slower on busy ones
        cosines = np.einsum("nd,d->n", vectors, new.vector)
        yield from np.argpartition(-cosines, _NEAREST)[:_NEAREST]
        if new.value is not None:
            yield from np.argpartition(-np.einsum("nd,d->n", vectors, new.value), _NEAREST_VALUE)[:_NEAREST_VALUE]
        if new.card.topic is not None:
            yield from (position for position, card in enumerate(cards) if card.topic == new.card.topic)
        named = self._naming([*new.reading.wanted, *new.reading.unwanted])
        yield from sorted(named, key=lambda position: -cosines[position])[:_BY_WORD]

    def _naming(self, stems: Sequence[str]) -> list[int]:
        """Cards in which the beginning of one of these words stands; MiniLM may put them far away."""
        if self._folded is None:
            self._folded = [card.note[:600].casefold() for card in self.matrix.cards]
        starts = {stem[:_PREFIX] for stem in stems if len(stem) > 2 or stem[:1] >= "\u3400"}
        return [position for position, note in enumerate(self._folded) if any(start in note for start in starts)]
