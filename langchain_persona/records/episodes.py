"""Episodic memory: one turn of a conversation and how it went."""

from __future__ import annotations

import time
from typing import Annotated

from pydantic import Field

from langchain_persona.records.base import Record, new_id

__all__ = ["Episode", "ToolOutcome"]


class ToolOutcome(Record):
    """What became of one tool call.

    Attributes:
        tool: name of the tool.
        ok: False when it raised, was unknown, or was turned down by a person.
        error: the message that the model got, shortened.
        interrupted: True when it waited for a person.
    """

    tool: str
    ok: bool = True
    error: str | None = None
    interrupted: bool = False


class Episode(Record):
    """One turn: what was asked, what was answered, how it went. Secrets are masked before it is written.

    Attributes:
        id: unique name.
        thread: the conversation; "" outside one.
        message_id: id of the user's message, for evidence.
        query: the user's message.
        answer: the assistant's answer.
        accepted: what the user accepted instead (an edited answer); None when nothing better is known.
        follow_up: the user's next message, where it judged this turn.
        outcomes: of the tool calls.
        reward: in [−1, 1], all signals together; None until the next turn settles it.
        reasons: why, in words.
        retrievals: ids of the retrievals that it was answered with.
        cards: ids of the preference cards that the model saw.
        time: seconds since the epoch.
    """

    id: str = Field(default_factory=new_id)
    thread: str = ""
    message_id: str = ""
    query: str = ""
    answer: str = ""
    accepted: str | None = None
    follow_up: str | None = None
    outcomes: tuple[ToolOutcome, ...] = ()
    reward: Annotated[float, Field(ge=-1.0, le=1.0)] | None = None
    reasons: tuple[str, ...] = ()
    retrievals: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()
    time: float = Field(default_factory=time.time)
