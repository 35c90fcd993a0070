"""Reflecting in either way, sync or async: before the run ends, or behind the answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from langchain_persona.effects import Steps, arun, run
from langchain_persona.errors import ConfigError
from langchain_persona.identity import Identity
from langchain_persona.loop.parts import answered, reflect_update, scheduled
from langchain_persona.loop.reflect import Reflected, Reflector
from langchain_persona.trouble import survived, turn_of_trouble

__all__ = ["REFLECT_MODES", "areflect", "checked_mode", "reflect", "troubled"]

logger = logging.getLogger(__name__)

REFLECT_MODES = ("inline", "background", "off")

_LATER = "learning goes on behind the answer"


def checked_mode(mode: object) -> str:
    """One of `REFLECT_MODES`, or a `ConfigError`."""
    if mode not in REFLECT_MODES:
        raise ConfigError(f"reflect must be one of {', '.join(REFLECT_MODES)}, got {mode!r}")
    return str(mode)


def troubled(state: Mapping[str, Any]) -> bool:
    """Whether this turn has logged its warning."""
    return bool((state.get("turn") or {}).get("troubled"))


def reflect(reflector: Reflector, who: Identity, state: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """The update of the reflect node; with "background" a worker thread goes on with the work."""
    with turn_of_trouble(told=troubled(state)):
        if mode == "background":
            if run(scheduled(reflector, who, state)):
                reflector.memory.background.submit(_told(reflector, who))
            return answered(state, _LATER)
        return run(reflect_update(reflector, who, state, on=mode == "inline"))


async def areflect(reflector: Reflector, who: Identity, state: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """Async twin of `reflect`; with "background" a task of the running loop goes on with the work."""
    with turn_of_trouble(told=troubled(state)):
        if mode == "background":
            if await arun(scheduled(reflector, who, state)):
                reflector.memory.background.asubmit(_told(reflector, who))
            return answered(state, _LATER)
        return await arun(reflect_update(reflector, who, state, on=mode == "inline"))


def _told(reflector: Reflector, who: Identity) -> Steps[Reflected]:
    """The work behind the answer; its trouble is the turn's."""
    told = "Work behind the answer failed and will be tried again"
    return survived(logger, told, reflector.process(who.user), Reflected())
