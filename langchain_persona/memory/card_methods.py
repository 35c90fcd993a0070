"""The part of `PersonaMemory` that deals in preference cards."""

from __future__ import annotations

import time

from pydantic import ValidationError

from langchain_persona.cards import Cards
from langchain_persona.effects import Steps, arun, run
from langchain_persona.errors import ConfigError
from langchain_persona.identity import ANONYMOUS, normalise_user
from langchain_persona.memory.episodes import Episodes
from langchain_persona.memory.forgetting import forget_story
from langchain_persona.memory.personas import Personas
from langchain_persona.records import PreferenceCard, new_id

__all__ = ["CardMethods"]


class CardMethods:
    """Remember, list, supersede, pin, hold back and forget cards; mixed into `PersonaMemory`."""

    episodes: Episodes
    personas: Personas
    _cards: Cards | None

    @property
    def cards(self) -> Cards:
        """The card store.

        Raises:
            ConfigError: the memory was made without one.
        """
        if self._cards is None:
            raise ConfigError(
                "this memory has no preference cards; make it with PersonaMemory(store, cards=collection, "
                "embeddings=model) or PersonaMemory.local(folder)"
            )
        return self._cards

    def remember(self, user: object, card: str | PreferenceCard) -> PreferenceCard:
        """Keep a preference or fact about a user.

        Args:
            user: whose; nothing is written for the anonymous user.
            card: one line of text, or a whole card.

        Returns:
            The card as stored.

        Raises:
            ConfigError: the memory has no cards, the text is empty, or the vectors do not fit the collection.
        """
        return run(self._remember(user, card))

    async def aremember(self, user: object, card: str | PreferenceCard) -> PreferenceCard:
        """Async twin of `remember`."""
        return await arun(self._remember(user, card))

    def preferences(self, user: object, *, all: bool = False) -> list[PreferenceCard]:
        """The user's cards, oldest first; with `all`, superseded and held-back ones too."""
        return run(self._preferences(user, all))

    async def apreferences(self, user: object, *, all: bool = False) -> list[PreferenceCard]:
        """Async twin of `preferences`."""
        return await arun(self._preferences(user, all))

    def supersede(self, user: object, card_id: str, card: str | PreferenceCard) -> PreferenceCard:
        """Replace a card by a newer one; the old one stays readable with `preferences(user, all=True)`.

        Raises:
            KeyError: the user has no such card.
        """
        return run(self._supersede(user, card_id, card))

    async def asupersede(self, user: object, card_id: str, card: str | PreferenceCard) -> PreferenceCard:
        """Async twin of `supersede`."""
        return await arun(self._supersede(user, card_id, card))

    def pin(self, user: object, card_id: str, pinned: bool = True) -> PreferenceCard:
        """Protect a card from being replaced automatically, or lift the protection.

        Raises:
            KeyError: the user has no such card.
        """
        return run(self._change(user, card_id, pinned=pinned))

    async def apin(self, user: object, card_id: str, pinned: bool = True) -> PreferenceCard:
        """Async twin of `pin`."""
        return await arun(self._change(user, card_id, pinned=pinned))

    def hold_back(self, user: object, card_id: str, held_back: bool = True) -> PreferenceCard:
        """Keep a card but never show it to a model, or show it again.

        Raises:
            KeyError: the user has no such card.
        """
        return run(self._change(user, card_id, held_back=held_back))

    async def ahold_back(self, user: object, card_id: str, held_back: bool = True) -> PreferenceCard:
        """Async twin of `hold_back`."""
        return await arun(self._change(user, card_id, held_back=held_back))

    def forget(self, user: object, card_id: str) -> None:
        """Erase a card for good: text, vector, predecessors, episodes and persona lines that tell it.

        What is not there is no error.
        """
        run(self._forget(user, card_id))

    async def aforget(self, user: object, card_id: str) -> None:
        """Async twin of `forget`."""
        await arun(self._forget(user, card_id))

    def _remember(self, user: object, card: str | PreferenceCard) -> Steps[PreferenceCard]:
        cards, name, new = self.cards, normalise_user(user), _as_card(card)
        return new if name == ANONYMOUS else (yield from cards.put(name, new))

    def _preferences(self, user: object, everything: bool) -> Steps[list[PreferenceCard]]:
        cards, name = self.cards, normalise_user(user)
        found = [] if name == ANONYMOUS else (yield from cards.all(name))
        return [card for card in found if everything or card.active]

    def _supersede(self, user: object, card_id: str, card: str | PreferenceCard) -> Steps[PreferenceCard]:
        cards, name, new = self.cards, normalise_user(user), _as_card(card)
        if name == ANONYMOUS:
            raise KeyError("an anonymous user has no cards")
        if new.id == card_id:  # a changed copy of the old card: it must not overwrite what it replaces
            new = new.model_copy(update={"id": new_id()})
        return (yield from cards.put(name, new, replaces=card_id))

    def _change(self, user: object, card_id: str, **changes: bool) -> Steps[PreferenceCard]:
        cards, name = self.cards, normalise_user(user)
        if name == ANONYMOUS:
            raise KeyError("an anonymous user has no cards")
        card = yield from cards.get(name, card_id)
        return (yield from cards.change(name, card.model_copy(update={**changes, "updated": time.time()})))

    def _forget(self, user: object, card_id: str) -> Steps[None]:
        cards, name = self.cards, normalise_user(user)
        if name != ANONYMOUS:
            gone = yield from cards.erase(name, [card_id])
            yield from forget_story(self.episodes, self.personas, name, gone)


def _as_card(card: str | PreferenceCard) -> PreferenceCard:
    if isinstance(card, PreferenceCard):
        return card
    if not isinstance(card, str) or not card.strip():
        raise ConfigError(f"a card is a line of text or a PreferenceCard, got {card!r}")
    try:
        return PreferenceCard(note=card.strip())
    except ValidationError as error:
        raise ConfigError(
            f"a card holds one short text, at most 4,000 characters; got {len(card.strip()):,}; split it up"
        ) from error
