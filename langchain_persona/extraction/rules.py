"""Extraction without a model: what a message states, or implies by rule."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from langchain_persona.extraction.fitness import fit, fit_for_always
from langchain_persona.extraction.matching import Match, matches
from langchain_persona.extraction.protocol import Turn
from langchain_persona.extraction.rulebook import warm_up
from langchain_persona.records import Evidence, PreferenceCard

__all__ = ["RuleExtractor"]

_SPACE = re.compile(r"\s+")


class RuleExtractor:
    """Preferences and facts by rules: five languages, no model, about a millisecond a message.

    Made for precision. It knows what people say of themselves ("I'm allergic to nuts", "ich wohne in Graz"), what they
    ask for in general ("please always…", "never…", "auf Deutsch bitte") and a few corrections that imply a wish ("too
    long"). Of a question, a hypothesis, a quotation, of others' words or of one single occasion it makes nothing. Where
    the language of a message is not clear, the rules of all are tried; the note of a card is in the user's own.

    Example:
        >>> cards = RuleExtractor().extract([Turn("m1", "Too long! And I never eat pork.")])
        >>> [(card.note, card.topic) for card in cards]
        [('Keep answers short.', 'answer length'), ('I never eat pork', None)]
    """

    def __init__(self) -> None:
        warm_up()

    def extract(self, turns: Sequence[Turn]) -> list[PreferenceCard]:
        """Cards for what the user's messages say; the assistant's answers are not read."""
        cards: list[PreferenceCard] = []
        for turn in turns:
            for match in matches(turn.user):
                card = _card(turn, match)
                if card is not None and all(card.note != other.note for other in cards):
                    cards.append(card)
        return cards

    async def aextract(self, turns: Sequence[Turn]) -> list[PreferenceCard]:
        """Async twin of `extract`; it only computes."""
        return self.extract(turns)


def _card(turn: Turn, match: Match) -> PreferenceCard | None:
    slot = match.rule.meaning
    note = _SPACE.sub(" ", match.quote).strip()
    if match.rule.note is not None:
        note = match.rule.note.replace("{language}", match.named or "")
    if not fit([note], [match.quote, match.sentence]):
        return None
    now = time.time()
    return PreferenceCard(
        note=note,
        kind=slot.kind,
        topic=slot.topic,
        always=slot.always and fit_for_always([note, match.quote]),
        origin=slot.origin,
        confidence=slot.confidence,
        evidence=(Evidence(message_id=turn.message_id, quote=match.quote),),
        created=now,
        updated=now,
    )
