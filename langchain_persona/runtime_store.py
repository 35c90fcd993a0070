"""A store that is whatever store the running graph has: for graphs whose store is given by a LangGraph server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langgraph.config import get_store
from langgraph.store.base import BaseStore, Op, Result

from langchain_persona.errors import ConfigError

__all__ = ["RuntimeStore"]


class RuntimeStore(BaseStore):
    """Hands every operation on to the store of the graph in which it happens.

    A LangGraph server (`langgraph dev`, LangSmith deployments) gives its own store to the graphs that it runs, and only
    while they run. A memory that is made when the graph's file is imported takes this in its place.

    Args:
        fallback: used outside a running graph; without one an operation there raises.

    Example:
        >>> memory = PersonaMemory(RuntimeStore(), cards=collection, embeddings=model)  # doctest: +SKIP
    """

    supports_ttl = False

    def __init__(self, fallback: BaseStore | None = None) -> None:
        if fallback is not None and not isinstance(fallback, BaseStore):
            raise ConfigError(f"fallback must be a LangGraph BaseStore, got {type(fallback).__name__}")
        self._fallback = fallback

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Operations on the store of the running graph."""
        return self._store().batch(ops)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Async twin of `batch`."""
        return await self._store().abatch(ops)

    def _store(self) -> BaseStore:
        store: Any = None
        try:
            store = get_store()
        except (RuntimeError, KeyError):  # no graph runs here
            store = None
        found = store if store is not None and store is not self else self._fallback
        if found is None:
            raise ConfigError(
                "no graph with a store runs here: compile it with store=..., run it on a LangGraph server, or give "
                "RuntimeStore a fallback"
            )
        return found
