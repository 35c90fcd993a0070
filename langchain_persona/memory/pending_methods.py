"""The part of `PersonaMemory` that sees to work behind the answer."""

from __future__ import annotations

from typing import Any, Protocol

from langchain_persona.effects import Steps, arun, run
from langchain_persona.errors import ConfigError
from langchain_persona.identity import ANONYMOUS, normalise_user
from langchain_persona.memory.background import Background
from langchain_persona.memory.episodes import Episodes

__all__ = ["PendingMethods", "Processor"]


class Processor(Protocol):
    """What works episodes through: a `Reflector`."""

    def process(self, user: str, *, propose: bool = True) -> Steps[Any]:
        """Work through everything that waits for one user; the result's `episodes` says how many."""
        ...


class PendingMethods:
    """Take up what a crash left, wait for what runs; mixed into `PersonaMemory`."""

    episodes: Episodes
    background: Background
    processor: Processor | None

    def process_pending(self, user: object = None) -> int:
        """Work through episodes that were answered but not yet learned from, such as after a crash.

        Args:
            user: whose; all users' when left out.

        Returns:
            How many episodes were worked through.

        Raises:
            ConfigError: nothing was made on this memory that could: see `create_persona_graph`, `PersonaMiddleware`
                or `Reflector`.
        """
        return run(self._process_pending(user))

    async def aprocess_pending(self, user: object = None) -> int:
        """Async twin of `process_pending`."""
        return await arun(self._process_pending(user))

    def drain(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the work behind answers (`reflect="background"`) that this process has begun.

        Args:
            timeout_seconds: how long at most; None waits to the end.

        Returns:
            True when none is left. What runs on an event loop is waited for with `adrain` there.
        """
        return self.background.drain(timeout_seconds)

    async def adrain(self, timeout_seconds: float | None = None) -> bool:
        """Async twin of `drain`."""
        return await self.background.adrain(timeout_seconds)

    def _process_pending(self, user: object) -> Steps[int]:
        if self.processor is None:
            raise ConfigError(
                "nothing here can work through episodes: make a graph (create_persona_graph(model, memory=memory)), a "
                "PersonaMiddleware or a Reflector on this memory first"
            )
        name = normalise_user(user)
        if user is not None and name == ANONYMOUS:
            return 0
        marks = yield from self.episodes.pending(name or None)
        count = 0
        for waiting in dict.fromkeys(mark.user for mark in marks):
            done = yield from self.processor.process(waiting, propose=False)
            count += done.episodes
        return count
