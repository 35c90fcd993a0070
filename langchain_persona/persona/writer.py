"""Who writes a persona: the protocol, and the writer that needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from langchain_persona.errors import ConfigError
from langchain_persona.memory.revisions import MAX_CHARACTERS, Draft, SourcedRevision
from langchain_persona.persona.clean import clean_line
from langchain_persona.records import CommunicationStyle, Episode, Persona, PreferenceCard
from langchain_persona.signals.guard import objection

__all__ = [
    "CHARACTERS",
    "Line",
    "PersonaWriter",
    "TemplateWriter",
    "always_cards",
    "checked_cap",
    "kept_lines",
    "sentence_of",
    "with_always",
]

CHARACTERS = 1_200
"""Cap on the text of a written persona, about 300 tokens of English."""

_ENDS = ".!?\u2026\u3002\uff01\uff1f"

Line = tuple[str, tuple[str, ...]]


@runtime_checkable
class PersonaWriter(Protocol):
    """Proposes the next persona text of a user, or None when the one in force is good."""

    def write(
        self, current: Persona, cards: Sequence[PreferenceCard], style: CommunicationStyle, episodes: Sequence[Episode]
    ) -> Draft | None:
        """A draft, or None.

        Args:
            current: the persona in force.
            cards: the user's active cards.
            style: how the user wants to be talked to.
            episodes: the latest ones, oldest first.
        """
        ...

    async def awrite(
        self, current: Persona, cards: Sequence[PreferenceCard], style: CommunicationStyle, episodes: Sequence[Episode]
    ) -> Draft | None:
        """Async twin of `write`."""
        ...


class TemplateWriter:
    """One line a global card, in the user's own words; no model, the same text for the same cards.

    Lines in force stay where they are while their cards are active, also those that a person or a model wrote; lines of
    cards that were superseded, held back or erased go; new global cards follow at the end, hard limits first. Style
    is not repeated here: it changes on its own and is rendered live beside the persona.

    Args:
        characters: cap on the text; cards beyond it are shown beside the persona as long as the prompt's budget lasts.

    Raises:
        ConfigError: the cap is no number of characters that the store takes.
    """

    def __init__(self, characters: int = CHARACTERS) -> None:
        self.characters = checked_cap(characters)

    def write(
        self,
        current: Persona,
        cards: Sequence[PreferenceCard],
        style: CommunicationStyle | None = None,
        episodes: Sequence[Episode] = (),
    ) -> Draft | None:
        """A draft, or None when nothing changed."""
        kept = kept_lines(current, cards)
        removed = len(current.revision.text.splitlines()) - len(kept)
        lines = with_always(kept, cards, self.characters)
        added = len(lines) - len(kept)
        if not added and not removed:
            return None
        told = [f"{count} {what}" for count, what in ((added, "added"), (removed, "gone")) if count]
        reason = f"preferences for every conversation: {', '.join(told)}"
        return Draft.of(current, lines, cards={card.id for card in cards}, reason=reason, origin="template")

    async def awrite(
        self,
        current: Persona,
        cards: Sequence[PreferenceCard],
        style: CommunicationStyle | None = None,
        episodes: Sequence[Episode] = (),
    ) -> Draft | None:
        """Async twin of `write`."""
        return self.write(current, cards, style, episodes)


def always_cards(cards: Sequence[PreferenceCard]) -> list[PreferenceCard]:
    """Active global cards that may stand in a persona: what to avoid first, then facts, style, preferences."""
    order = {"avoid": 0, "fact": 1, "style": 2, "preference": 3}
    fit = [card for card in cards if card.always and card.active and objection(card.note, always=True) is None]
    return sorted(fit, key=lambda card: (not card.pinned, order[card.kind], card.created, card.id))


def with_always(lines: Sequence[Line], cards: Sequence[PreferenceCard], characters: int) -> list[Line]:
    """The lines, and behind them a line for every global card that none of them rests on, up to a cap on the text."""
    found = list(lines)
    covered = {name for _, names in lines for name in names}
    size = sum(len(line) + 1 for line, _ in lines)
    for card in always_cards(cards):
        sentence = sentence_of(card.note)
        if card.id not in covered and sentence and size + len(sentence) <= characters:
            found.append((sentence, (card.id,)))
            size += len(sentence) + 1
    return found


def checked_cap(characters: object) -> int:
    """A cap on a persona's text, or a `ConfigError`."""
    if isinstance(characters, bool) or not isinstance(characters, int) or not 0 <= characters <= MAX_CHARACTERS:
        raise ConfigError(f"characters must be a whole number from 0 to {MAX_CHARACTERS:,}, got {characters!r}")
    return characters


def kept_lines(current: Persona, cards: Sequence[PreferenceCard]) -> list[Line]:
    """Lines in force with their sources, without those that rest on a card which is no longer active."""
    revision = current.revision
    if not isinstance(revision, SourcedRevision):  # made by hand: nothing is known about its lines
        return [(line, ()) for line in revision.text.splitlines()]
    gone = set(revision.cards) - {card.id for card in cards if card.active}
    return [(line, names) for line, names in revision.lines if gone.isdisjoint(names)]


def sentence_of(note: str) -> str:
    """A note as a line: as the user said it, with a capital letter and a full stop.

    Example:
        >>> sentence_of("answer in German please")
        'Answer in German please.'
    """
    line = clean_line(note)
    if not line:
        return ""
    line = line[0].upper() + line[1:]
    if line[-1] in _ENDS:
        return line
    return line + ("\u3002" if line[-1] >= "\u2e80" else ".")
