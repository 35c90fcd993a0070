"""One body for sync and async: logic is a generator of effects, a driver performs them.

A method that needs the outside yields what it wants done (`StoreOps`, `Embed`, `Call`, `Twin`) and is sent the
result, or has the error thrown in at that place. `run` performs effects in the calling thread; `arun` awaits what has
an async form and moves the rest to a thread, so that no async path blocks the event loop. The two twins of a public
method cannot drift apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, Op

__all__ = ["Call", "Effect", "Embed", "Steps", "StoreOps", "Twin", "arun", "run"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoreOps:
    """A batch of store operations; answers with their results in order."""

    store: BaseStore
    ops: Sequence[Op]


@dataclass(frozen=True, slots=True)
class Embed:
    """Embed texts as documents, or one text as a query; answers with a list of vectors."""

    embeddings: Embeddings
    texts: Sequence[str]
    query: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A blocking call without arguments; answers with what it returns."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Twin:
    """A call that has an async form of its own, such as that of a chat model; answers with what it returns.

    Example:
        >>> Twin(lambda: model.invoke(messages), lambda: model.ainvoke(messages))  # doctest: +SKIP
    """

    call: Callable[[], Any]
    acall: Callable[[], Awaitable[Any]]


Effect = StoreOps | Embed | Call | Twin
Steps = Generator[Effect, Any, T]
"""A generator of effects that returns a T."""


def run(steps: Steps[T]) -> T:
    """Perform the effects of a generator here and now."""
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            effect = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the generator's return value, typed by Steps[T]
        answer, error = None, None
        try:
            answer = _perform(effect)
        except Exception as caught:
            error = caught


async def arun(steps: Steps[T]) -> T:
    """Perform the effects of a generator without blocking the event loop."""
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            effect = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # the generator's return value, typed by Steps[T]
        answer, error = None, None
        try:
            answer = await _aperform(effect)
        except Exception as caught:
            error = caught


def _perform(effect: Effect) -> Any:
    match effect:
        case StoreOps(store, ops):
            return store.batch(ops)
        case Embed(embeddings, texts, True):
            return [embeddings.embed_query(text) for text in texts]
        case Embed(embeddings, texts, _):
            return embeddings.embed_documents(list(texts))
        case Call(function):
            return function()
        case Twin(call, _):
            return call()


async def _aperform(effect: Effect) -> Any:
    match effect:
        case StoreOps(store, ops):
            try:
                return await store.abatch(ops)
            except NotImplementedError:  # SqliteStore and others know only the sync form
                return await asyncio.to_thread(store.batch, ops)
        case Embed(embeddings, texts, True):
            return [await embeddings.aembed_query(text) for text in texts]
        case Embed(embeddings, texts, _):
            return await embeddings.aembed_documents(list(texts))
        case Call(function):
            return await asyncio.to_thread(function)
        case Twin(_, acall):
            return await acall()
