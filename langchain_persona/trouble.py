"""One warning a turn: when a store is gone, every step that needs it fails, and one line in the log says so.

Outside a turn every warning is one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from langchain_persona.effects import Steps

__all__ = ["Trouble", "survived", "turn_of_trouble", "warn"]

T = TypeVar("T")


class Trouble:
    """Whether this turn has warned yet.

    Attributes:
        told: True after the first warning.
    """

    def __init__(self, *, told: bool = False) -> None:
        self.told = told


_CURRENT: ContextVar[Trouble | None] = ContextVar("persona_trouble", default=None)


@contextmanager
def turn_of_trouble(*, told: bool = False) -> Iterator[Trouble]:
    """The scope of one turn, or of one node of it; `told` carries over what an earlier node said."""
    trouble = Trouble(told=told)
    token = _CURRENT.set(trouble)
    try:
        yield trouble
    finally:
        _CURRENT.reset(token)


def warn(logger: logging.Logger, message: str, *arguments: object) -> None:
    """Log a WARNING, or DEBUG where this turn has warned before."""
    trouble = _CURRENT.get()
    logger.log(logging.DEBUG if trouble is not None and trouble.told else logging.WARNING, message, *arguments)
    if trouble is not None:
        trouble.told = True


def survived(logger: logging.Logger, what: str, steps: Steps[T], fallback: T) -> Steps[T]:
    """What the steps return; where they fail, the fallback and a warning that says what will be missing."""
    try:
        return (yield from steps)
    except Exception as error:
        # the name only: a message may repeat the request, and with it the user's words
        warn(logger, "%s (%s)", what, type(error).__name__)
        logger.debug("The trouble in full", exc_info=True)
        return fallback
