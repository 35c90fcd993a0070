"""The fold: a user's state as a function of the set of events in the ledger, whatever their order of arrival."""

from __future__ import annotations

from collections.abc import Iterable

from langchain_persona.learning.config import VARSConfig
from langchain_persona.learning.state import Event, LearnerState

__all__ = ["fold", "in_order"]


def in_order(events: Iterable[Event]) -> list[Event]:
    """Events by `(time, id)`, each id once; one of gate 0 says nothing and is none."""
    unique = {event.id: event for event in events if event.gate > 0.0}
    return sorted(unique.values(), key=lambda event: (event.time, event.id))


def fold(
    events: Iterable[Event],
    config: VARSConfig,
    *,
    k: int,
    start: LearnerState | None = None,
    before: Iterable[Event] = (),
) -> LearnerState:
    """Fold events into a state.

    After every event the state is rounded to the precision in which it is stored: a fold that goes on from a stored
    snapshot gives the same bits as one from the first event.

    Args:
        events: any order, duplicates allowed; those of gate 0 change nothing, not even what a window holds.
        config: the rule and its surroundings.
        k: numbers in an item vector.
        start: the state to go on from; its events must all lie before these.
        before: the events that `start` holds, at least the latest `config.rule.window` of them; needed with `start`
            when the rule has a window.

    Returns:
        The state after the last event; `start`, or the cold state, when there is none.

    Example:
        >>> import numpy as np
        >>> up = Event(0.0, "f1", "t1", 1.0, 1.0, np.array([1.0, 0.0]), np.array([0.5, 0.5]))
        >>> fold([up, up], VARSConfig.paper(), k=2).count
        1
    """
    state = LearnerState.cold(k) if start is None else start
    fresh = in_order(events)
    for event in fresh:
        step = config.rule.step(state, event, temperature=config.temperature, keep=config.keep_sessions)
        state = step.rounded(config.max_norm)
    if fresh:
        recent = [*in_order(before), *fresh]
        state = config.rule.settle(state, recent[max(len(recent) - config.rule.window, 0) :]).rounded(config.max_norm)
    return state
