"""What one turn hands to the next, as plain JSON in the state of a conversation."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from pydantic import Field, ValidationError

from langchain_persona.records import Record, new_id
from langchain_persona.signals import mask

__all__ = [
    "LONGEST",
    "TurnRecord",
    "answer_after",
    "answer_now",
    "completed",
    "earlier_questions",
    "last_user_message",
    "previous_turn",
    "text_of",
    "told_by",
    "turn_id",
]

LONGEST = 20_000
"""Characters of a message that are kept."""


class TurnRecord(Record):
    """One turn as the next one needs it.

    Attributes:
        id: names the episode and makes feedback idempotent.
        user: whose turn it was; another user's next message says nothing about it.
        message_id: of the user's message.
        query: the user's message, secrets masked.
        answer_id, answer: the assistant's last message, secrets masked.
        retrievals: ids of what was retrieved, by kind: "cards", "documents".
        cards: ids of the cards that the model saw.
        remember: False when the user asked not to remember this message.
        troubled: True when this turn has logged its warning.
        time: seconds since the epoch.
    """

    id: str = Field(default_factory=new_id)
    user: str = ""
    message_id: str = ""
    query: str = ""
    answer_id: str = ""
    answer: str = ""
    retrievals: dict[str, str] = Field(default_factory=dict)
    cards: tuple[str, ...] = ()
    remember: bool = True
    troubled: bool = False
    time: float = Field(default_factory=time.time)


def previous_turn(value: object) -> TurnRecord | None:
    """The turn that the state carries; what is not one counts as none."""
    try:
        return TurnRecord.model_validate(value) if value else None
    except ValidationError:
        return None


def text_of(message: BaseMessage | None) -> str:
    """The text of a message, whatever its content is made of."""
    if message is None:
        return ""
    # neither a checkpointer nor a database can write lone surrogates, and some no NUL
    return str(message.text).replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def turn_id(session: str, message_id: str) -> str:
    """The id of a turn: told from its message, so that it is found again where the state was not kept."""
    return hashlib.sha256(f"{session}|{message_id}".encode()).hexdigest()[:32] if message_id else new_id()


def told_by(messages: Sequence[AnyMessage], position: int, user: str, session: str) -> TurnRecord | None:
    """The turn before the message at a position, told from the conversation: where no state was kept."""
    before = messages[:position] if position > 0 else []
    index, message = last_user_message(before)
    if message is None or not message.id:
        return None
    answer = answer_after(before, index)
    if answer is None:
        return None
    return TurnRecord(
        id=turn_id(session, message.id),
        user=user,
        message_id=message.id,
        query=mask(text_of(message)[:LONGEST]),
        answer_id=answer.id or "",
        answer=mask(text_of(answer)[:LONGEST]),
    )


def last_user_message(messages: Sequence[AnyMessage]) -> tuple[int, HumanMessage | None]:
    """Position and message of the latest user message; (−1, None) where there is none."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if isinstance(message, HumanMessage):
            return index, message
    return -1, None


def answer_after(messages: Sequence[AnyMessage], start: int) -> AIMessage | None:
    """The last assistant message with text after a position, before the next user message."""
    found: AIMessage | None = None
    for message in messages[start + 1 :]:
        if isinstance(message, HumanMessage):
            break
        if isinstance(message, AIMessage) and text_of(message).strip():
            found = message
    return found


def earlier_questions(messages: Sequence[Any], position: int, *, limit: int = 4) -> list[str]:
    """The user's messages before the one at a position, newest first."""
    texts = [text_of(message) for message in messages[:position] if isinstance(message, HumanMessage)]
    return texts[::-1][:limit]


def completed(turn: TurnRecord | None, messages: Sequence[AnyMessage], *, anew: bool = False) -> Any:
    """The turn with its answer, where the conversation holds one and the turn does not know it yet."""
    if turn is None or (turn.answer and not anew):
        return turn
    position = next(
        (index for index, message in enumerate(messages) if turn.message_id and message.id == turn.message_id),
        -1,
    )
    answer = answer_after(messages, position) if position >= 0 else None
    if answer is None:
        return turn
    return turn.model_copy(update={"answer_id": answer.id or "", "answer": mask(text_of(answer)[:LONGEST])})


def answer_now(previous: TurnRecord, messages: Sequence[AnyMessage]) -> str | None:
    """The previous answer as the conversation holds it now; None when it is gone."""
    found = next((message for message in messages if previous.answer_id and message.id == previous.answer_id), None)
    return None if found is None else mask(text_of(found)[:LONGEST])
