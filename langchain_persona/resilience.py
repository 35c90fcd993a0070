"""What keeps a failing or slow backend from breaking the chat: deadlines, defaults, one warning a turn, clean texts."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import Any, ClassVar, Generic, TypeVar

from langchain_persona.errors import ConfigError

logger = logging.getLogger(__name__)
T = TypeVar("T")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # NUL, and halves of pairs, which are no characters


class _Worker:
    """A thread that makes one call after another. A daemon: the process can end while a call hangs.

    Two bare locks hand a call over and back; the futures of `concurrent.futures` cost three times as much.
    """

    idle: ClassVar[SimpleQueue[_Worker]] = SimpleQueue()
    room: ClassVar[Semaphore] = Semaphore(256)  # a backend that hangs holds some; when all are held, calls time out

    def __init__(self) -> None:
        self._start, self._call = Lock(), _Call(lambda: None)
        self._start.acquire()
        Thread(target=self._work, name="persona-call", daemon=True).start()

    def run(self, call: _Call[Any]) -> None:
        self._call = call
        self._start.release()

    def _work(self) -> None:
        while self._start.acquire():
            call, self._call = self._call, _Call(lambda: None)
            try:
                call.value = call.context.run(call.function)
            except BaseException as error:
                call.error = error
            self.idle.put(self)
            call.done.release()
            del call  # what was returned is the caller's


class _Call(Generic[T]):
    """One call: what to run, and what came of it once `done` can be taken."""

    value: T

    def __init__(self, function: Callable[[], T]) -> None:
        self.function, self.context, self.done = function, contextvars.copy_context(), Lock()
        self.error: BaseException | None = None
        self.done.acquire()


def _forget_workers() -> None:
    _Worker.idle, _Worker.room = SimpleQueue(), Semaphore(256)


if hasattr(os, "register_at_fork"):  # threads do not survive a fork; Windows has none
    os.register_at_fork(after_in_child=_forget_workers)


def _hand_over(call: _Call[Any], seconds: float) -> bool:
    """Give a call to an idle worker, to a new one, or to the first that gets idle in time."""
    try:
        worker = _Worker.idle.get_nowait()
    except Empty:
        try:
            free = _Worker.room.acquire(blocking=False)
            worker = _Worker() if free else _Worker.idle.get(seconds > 0.0, seconds or None)
        except Empty:
            return False
    worker.run(call)
    return True


def call_within(seconds: float, function: Callable[[], T]) -> T:
    """What the function returns, run in another thread with the caller's context, or `TimeoutError`.

    A call that takes too long is left to itself.
    """
    call, deadline = _Call(function), time.monotonic() + seconds
    if not _hand_over(call, seconds) or not call.done.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise TimeoutError(f"no answer within {seconds:g} s")
    if call.error is not None:
        raise call.error
    return call.value


async def acall(function: Callable[[], T]) -> T:
    """What the function returns, run as by `call_within`; `await_within` gives it a deadline.

    One that hangs holds none of the few threads that the event loop lends to everybody.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            settle = partial(answer.set_result, function())
        except BaseException as error:
            settle = partial(answer.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(lambda: answer.done() or settle())

    if not _hand_over(_Call(run), 0.0):
        raise TimeoutError("no thread is free: too many calls hang")
    return await answer


async def await_within(seconds: float, awaitable: Awaitable[T]) -> T:
    """What the awaitable gives, or `TimeoutError`: `call_within` for what has an async form of its own."""
    try:
        async with asyncio.timeout(seconds) as deadline:
            return await awaitable
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise TimeoutError(f"no answer within {seconds:g} s") from error


@dataclass
class WarningScope:
    """Whether this turn has logged its warning."""

    warned: bool


_SCOPE: ContextVar[WarningScope | None] = ContextVar("persona_warning_scope", default=None)


@contextmanager
def warning_scope(*, warned: bool = False) -> Iterator[WarningScope]:
    """One turn, or one node of it, where `warned` tells of earlier nodes: one line in the log says what failed."""
    scope = _SCOPE.get() or WarningScope(warned=False)
    scope.warned |= warned
    token = _SCOPE.set(scope)
    try:
        yield scope
    finally:
        _SCOPE.reset(token)


def warn(logger: logging.Logger, message: str, *arguments: object) -> None:
    """Log a WARNING, or DEBUG where this turn has warned before. Outside a turn every call warns."""
    scope = _SCOPE.get()
    logger.log(logging.DEBUG if scope is not None and scope.warned else logging.WARNING, message, *arguments)
    if scope is not None:
        scope.warned = True


def warn_of(logger: logging.Logger, what: str, error: BaseException) -> None:
    """Warn that something is lost, with the kind of error. Its message is for DEBUG: it may repeat a user's words."""
    warn(logger, "%s (%s; in full at DEBUG)", what, type(error).__name__)
    logger.debug("The error in full", exc_info=error)


def run_or_default(what: str, function: Callable[[], T], default: T) -> T:
    """What the function returns; where it fails, the default, and one warning that says `what` is lost.

    A `ConfigError` passes: it is the developer's to mend.
    """
    try:
        return function()
    except Exception as error:
        return _default(what, error, default)


async def await_or_default(what: str, awaitable: Awaitable[T], default: T) -> T:
    """Async form of `run_or_default`."""
    try:
        return await awaitable
    except Exception as error:
        return _default(what, error, default)


def _default(what: str, error: Exception, default: T) -> T:
    if isinstance(error, ConfigError):
        raise error
    warn_of(logger, what, error)
    return default


def storable(text: str) -> str:
    """The text with "\ufffd" in the place of NUL and lone surrogates, which Postgres and JSON encoders refuse."""
    return text if text.isascii() and "\0" not in text else _UNSTORABLE.sub("\ufffd", text)


@contextmanager
def quiet() -> Iterator[None]:
    """Silences the package's warnings where they are expected."""
    package = logging.getLogger("langchain_persona")
    level = package.level
    package.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        package.setLevel(level)
