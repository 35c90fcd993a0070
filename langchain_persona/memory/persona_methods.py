"""The part of `PersonaMemory` that deals in the profile and the persona."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from langchain_persona.cards import Cards
from langchain_persona.effects import Steps, arun, run
from langchain_persona.errors import ConfigError
from langchain_persona.identity import ANONYMOUS, normalise_user
from langchain_persona.memory.personas import Personas
from langchain_persona.memory.revisions import MAX_CHARACTERS, SourcedPersona
from langchain_persona.records import CommunicationStyle, Persona, PersonaRevision, PreferenceCard

__all__ = ["PersonaMethods", "Profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a user at a glance.

    Attributes:
        style: how they want to be talked to.
        facts: active cards of kind "fact", oldest first.
    """

    style: CommunicationStyle
    facts: tuple[PreferenceCard, ...] = ()


class PersonaMethods:
    """Read, write, pin and roll back the persona; mixed into `PersonaMemory`."""

    personas: Personas
    _cards: Cards | None

    def profile(self, user: object) -> Profile:
        """Communication style and facts of a user; the defaults where nothing is known."""
        return run(self._profile(user))

    async def aprofile(self, user: object) -> Profile:
        """Async twin of `profile`."""
        return await arun(self._profile(user))

    def persona(self, user: object) -> Persona:
        """The persona in force; an empty one, number 0, before any was written."""
        return run(self._persona(user))

    async def apersona(self, user: object) -> Persona:
        """Async twin of `persona`."""
        return await arun(self._persona(user))

    def history(self, user: object) -> list[PersonaRevision]:
        """Every revision of the persona, oldest first, with reason and unified diff."""
        return run(self._history(user))

    async def ahistory(self, user: object) -> list[PersonaRevision]:
        """Async twin of `history`."""
        return await arun(self._history(user))

    def revise_persona(self, user: object, text: str, *, reason: str = "written by hand") -> Persona:
        """Write the persona by hand, also where it is pinned.

        It is used as given, as notes about the user behind the host's prompt. Later rewrites keep its lines.

        Args:
            user: whose; nothing is written for the anonymous user.
            text: one sentence a line, at most 4,000 characters; "" empties the persona.
            reason: kept with the revision.

        Raises:
            ConfigError: not a text, or too long.
        """
        return run(self._revise(user, text, reason))

    async def arevise_persona(self, user: object, text: str, *, reason: str = "written by hand") -> Persona:
        """Async twin of `revise_persona`."""
        return await arun(self._revise(user, text, reason))

    def pin_persona(self, user: object, pinned: bool = True) -> Persona:
        """Protect the persona from automatic rewrites, or lift the protection."""
        return run(self._pin_persona(user, pinned))

    async def apin_persona(self, user: object, pinned: bool = True) -> Persona:
        """Async twin of `pin_persona`."""
        return await arun(self._pin_persona(user, pinned))

    def rollback_persona(self, user: object, number: int) -> Persona:
        """Put an earlier revision in force again, as a revision of its own; 0 is the empty persona.

        Lines that rest on cards which are no longer active are not shown to the model, and go at the next rewrite; pin
        the persona as well if it is to stay.

        Raises:
            KeyError: the user has no such revision.
        """
        return run(self._rollback(user, number))

    async def arollback_persona(self, user: object, number: int) -> Persona:
        """Async twin of `rollback_persona`."""
        return await arun(self._rollback(user, number))

    def drop_from_persona(self, user: object, erased: Collection[PreferenceCard | str]) -> Steps[SourcedPersona]:
        """Steps that take erased cards (or ids of cards and episodes) out of the persona and of its whole history."""
        name = normalise_user(user)
        if name == ANONYMOUS or not erased:
            return (yield from self._sourced(name))
        return (yield from self.personas.drop_cards(name, erased))

    def _sourced(self, name: str) -> Steps[SourcedPersona]:
        if name == ANONYMOUS:
            return SourcedPersona()
        _, persona = yield from self.personas.read(name)
        return persona

    def _persona(self, user: object) -> Steps[Persona]:
        return (yield from self._sourced(normalise_user(user)))

    def _profile(self, user: object) -> Steps[Profile]:
        name = normalise_user(user)
        if name == ANONYMOUS:
            return Profile(CommunicationStyle())
        style, _ = yield from self.personas.read(name)
        cards = [] if self._cards is None else (yield from self._cards.all(name))
        return Profile(style, tuple(card for card in cards if card.active and card.kind == "fact"))

    def _history(self, user: object) -> Steps[list[PersonaRevision]]:
        name = normalise_user(user)
        return [] if name == ANONYMOUS else (yield from self.personas.history(name))

    def _revise(self, user: object, text: str, reason: str) -> Steps[Persona]:
        if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
            given = f"{len(text):,} characters" if isinstance(text, str) else type(text).__name__
            raise ConfigError(f"a persona is a text of at most {MAX_CHARACTERS:,} characters, got {given}; shorten it")
        name = normalise_user(user)
        return SourcedPersona() if name == ANONYMOUS else (yield from self.personas.revise(name, text, reason))

    def _pin_persona(self, user: object, pinned: bool) -> Steps[Persona]:
        name = normalise_user(user)
        return SourcedPersona() if name == ANONYMOUS else (yield from self.personas.pin(name, pinned))

    def _rollback(self, user: object, number: int) -> Steps[Persona]:
        name = normalise_user(user)
        if name == ANONYMOUS:
            raise KeyError("an anonymous user has no persona")
        return (yield from self.personas.rollback(name, number))
