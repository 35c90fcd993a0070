"""What goes with an erased card: the episodes that tell it, and what the persona says of it."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_persona.effects import Steps
from langchain_persona.memory.episodes import Episodes
from langchain_persona.memory.personas import Personas
from langchain_persona.records import Episode, PreferenceCard

__all__ = ["forget_story"]


def forget_story(
    episodes: Episodes,
    personas: Personas,
    user: str,
    cards: Sequence[PreferenceCard],
    *,
    also: Sequence[str] = (),
    everything: bool = False,
) -> Steps[list[str]]:
    """Erase what tells of erased cards: episodes that quote them or showed them, lines of the persona.

    Args:
        episodes: of all users.
        personas: likewise.
        user: whose.
        cards: that were erased.
        also: ids of episodes to erase besides, with what follows them.
        everything: True erases every episode and the whole persona with its history.

    Returns:
        Ids of the erased episodes.
    """
    messages = {evidence.message_id for card in cards for evidence in card.evidence if evidence.message_id}
    quotes = {evidence.quote for card in cards for evidence in card.evidence if evidence.quote}
    quotes |= {card.note for card in cards}
    ids = {card.id for card in cards}
    found = yield from episodes.all(user)
    named = set(also)
    quotes |= {episode.query for episode in found if episode.id in named and episode.query}

    def tells(episode: Episode) -> bool:
        texts = (episode.query, episode.answer, episode.accepted or "", episode.follow_up or "", *episode.reasons)
        shown = episode.message_id in messages or not ids.isdisjoint(episode.cards)
        return everything or episode.id in named or shown or any(quote in text for quote in quotes for text in texts)

    gone = sorted(named | {episode.id for episode in found if tells(episode)})
    yield from episodes.erase(user, gone)
    if everything:
        yield from personas.clear(user)
    elif cards or gone:
        yield from personas.drop_cards(user, [*cards, *gone])
    return gone
