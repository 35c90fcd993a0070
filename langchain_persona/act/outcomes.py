"""From the messages of tools to records of how their calls went."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.tools import ToolException

from langchain_persona.records import ToolOutcome
from langchain_persona.signals import mask

__all__ = ["NOTICE", "clipped", "described", "outcomes_of", "sendable"]

NOTICE = "\n[cut: this is the beginning of {total:,} characters]"
_LONGEST_ERROR = 300  # in a record
_LONGEST_TOLD = 2_000  # to the model: an error may repeat the arguments


def outcomes_of(messages: Iterable[BaseMessage], *, interrupted: bool = False) -> list[dict[str, Any]]:
    """A `ToolOutcome` as JSON for each tool message; not ok when its status is "error".

    Args:
        messages: others than tool messages are passed over.
        interrupted: True when they waited for a person.

    Example:
        >>> outcomes_of([ToolMessage("no such city", name="weather", tool_call_id="c1", status="error")])
        [{'tool': 'weather', 'ok': False, 'error': 'no such city', 'interrupted': False}]
    """
    return [
        ToolOutcome(
            tool=message.name or "",
            ok=message.status != "error",
            error=_short(mask(message.text[:4_000])) if message.status == "error" else None,
            interrupted=interrupted,
        ).to_json()
        for message in messages
        if isinstance(message, ToolMessage)
    ]


def described(error: BaseException) -> str:
    """An error as the model reads it: its type and what it says; a `ToolException` without the type."""
    try:
        text = str(error).strip()
    except Exception:  # an error whose text fails too
        text = ""
    text = _cut(text, _LONGEST_TOLD)
    if isinstance(error, ToolException) and text:
        return f"Error: {text}"
    return f"Error: {type(error).__name__}: {text}" if text else f"Error: {type(error).__name__}"


def clipped(message: ToolMessage, longest: int | None) -> ToolMessage:
    """The message with at most `longest` characters of text and nothing that cannot be written as UTF-8.

    What is left out is told at the end of what remains. Blocks other than text (images, files) stay as they are.
    """
    if isinstance(message.content, str):
        content: str | list[Any] = _cut(message.content, longest)
    else:
        content = [_cut_block(block, longest) for block in message.content]
    return message if content == message.content else message.model_copy(update={"content": content})


def sendable(text: str) -> str:
    """The text without lone surrogates, which neither a provider's API nor a checkpointer can write."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _cut_block(block: Any, longest: int | None) -> Any:
    if isinstance(block, str):
        return _cut(block, longest)
    if isinstance(block, dict) and isinstance(block.get("text"), str):
        return block | {"text": _cut(block["text"], longest)}
    return block


def _cut(text: str, longest: int | None) -> str:
    if longest is not None and len(text) > longest:
        text = text[:longest] + NOTICE.format(total=len(text))
    return sendable(text)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_ERROR else text[: _LONGEST_ERROR - 1] + "…"
