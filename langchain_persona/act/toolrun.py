"""One tool call at a time: run it, survive it, record how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.errors import GraphInterrupt
from langgraph.prebuilt import ToolNode
from langgraph.types import Command

from langchain_persona.act.outcomes import clipped, described, outcomes_of
from langchain_persona.effects import Steps, Twin

__all__ = ["OpenCalls", "ToolRunner"]

_MOST_OPEN = 10_000


class OpenCalls:
    """Tool calls that the model made and that did not stop for a person yet; in this process only.

    A call that is run and is not in here was made before the graph stopped: it waited for a person (or its process
    died). So it is known without writing anything, also when the graph is resumed in another process.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], None] = {}

    def add(self, message_id: str, call_id: str) -> None:
        """The model has just made this call."""
        self._open[message_id, call_id] = None
        while len(self._open) > _MOST_OPEN:
            self._open.pop(next(iter(self._open)), None)

    def remove(self, message_id: str, call_id: str) -> None:
        """It is done, or it waits for a person."""
        self._open.pop((message_id, call_id), None)

    def __contains__(self, call: tuple[str, str]) -> bool:
        return call in self._open


class ToolRunner:
    """Runs a tool call with LangGraph's `ToolNode` and gives the update of the state.

    What fails becomes an error message for the model; what steers the graph (interrupts, commands to a parent, a drain)
    goes through, and so does an answer to an interrupt that does not have the form that was asked for.

    Args:
        tools: what can be called.
        longest: most characters of one tool's text that the model gets; None for no limit.
    """

    def __init__(self, tools: Sequence[BaseTool], *, longest: int | None) -> None:
        self._node = ToolNode(list(tools), handle_tool_errors=_told)
        self._longest = longest
        self.open = OpenCalls()

    def steps(self, payload: dict[str, Any], config: RunnableConfig) -> Steps[Any]:
        """The steps of one call.

        Args:
            payload: `call`, a tool call or an invalid one, and `message`, the id of the message that it is part of.
            config: of the node.
        """
        call, place = payload["call"], (payload["message"], payload["call"]["id"])
        interrupted = place not in self.open
        if call.get("type") == "invalid_tool_call":
            result: Any = {"messages": [_unreadable(call)]}
        else:
            try:
                result = yield Twin(
                    lambda: self._node.invoke([call], config), lambda: _uncancelled(self._node, call, config)
                )
            except GraphInterrupt:
                self.open.remove(*place)
                raise
        self.open.remove(*place)
        return self._update(result, interrupted)

    def _update(self, result: Any, interrupted: bool) -> Any:
        """What the node returns: the result with clipped texts, and the outcomes beside it."""
        if isinstance(result, dict):
            messages = self._clipped(result["messages"])
            return {"messages": messages, "outcomes": outcomes_of(messages, interrupted=interrupted)}
        parts: list[Any] = []
        outcomes: list[dict[str, Any]] = []
        for part in result:
            update = part.update if isinstance(part, Command) else part
            messages = self._clipped(update.get("messages", [])) if isinstance(update, dict) else []
            outcomes += outcomes_of(messages, interrupted=interrupted)
            parts.append(_with_messages(part, messages) if messages else part)
        return [*parts, {"outcomes": outcomes}]

    def _clipped(self, messages: Sequence[Any]) -> list[BaseMessage]:
        return [clipped(m, self._longest) if isinstance(m, ToolMessage) else m for m in messages]


def _with_messages(part: Any, messages: list[BaseMessage]) -> Any:
    if isinstance(part, Command):
        update = {**part.update, "messages": messages} if isinstance(part.update, dict) else part.update
        return replace(part, update=update)
    return {**part, "messages": messages}


def _told(error: Exception) -> str:
    return f"{described(error)}\nThe tool did not succeed. Correct the call, or answer without it."


def _unreadable(call: dict[str, Any]) -> ToolMessage:
    """The answer to a call whose arguments are no JSON."""
    text = f"Error: the arguments are not valid JSON ({call.get('error') or 'cannot be read'}). Call it again."
    return ToolMessage(text, name=call.get("name") or "", tool_call_id=call["id"], status="error")


async def _uncancelled(node: ToolNode, call: dict[str, Any], config: RunnableConfig) -> Any:
    """Run a call; a tool that raises `CancelledError` by itself has failed, it does not end the run."""
    try:
        return await node.ainvoke([call], config)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        told = _told(RuntimeError(f"the tool was cancelled {error}".strip()))
        return {"messages": [ToolMessage(told, name=call["name"], tool_call_id=call["id"], status="error")]}
