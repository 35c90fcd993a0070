"""What became of tool calls that somebody else runs: noted around each call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt.tool_node import ToolCallRequest

from langchain_persona.act.outcomes import outcomes_of
from langchain_persona.memo import Memo
from langchain_persona.records import ToolOutcome
from langchain_persona.signals import mask

__all__ = ["WatchedCalls"]


class WatchedCalls:
    """What became of tool calls, by ids of the model's message and of the call.

    Kept in the process, for the ids of the latest calls; a call of another process is told from its message.
    """

    def __init__(self) -> None:
        self._kept: Memo[ToolOutcome] = Memo(size=1_024)

    def failed(self, request: ToolCallRequest, error: BaseException) -> None:
        """Note a call that raised; one that waits for a person has not failed."""
        waits = isinstance(error, GraphBubbleUp)
        told = None if waits else mask(f"{type(error).__name__}: {error}"[:4_000])[:300]
        outcome = ToolOutcome(tool=request.tool_call["name"], ok=waits, error=told, interrupted=waits)
        self._kept.put(_call_key(request), None, outcome, 0.0)

    def done(self, request: ToolCallRequest, result: Any) -> Any:
        """Note a call that returned; one that had waited before stays marked as such."""
        before = self._kept.latest(_call_key(request))
        outcome = ToolOutcome(tool=request.tool_call["name"])
        if isinstance(result, ToolMessage):
            outcome = ToolOutcome.model_validate(outcomes_of([result])[0])
        waited = before is not None and before.interrupted
        self._kept.put(_call_key(request), None, outcome.model_copy(update={"interrupted": waited}), 0.0)
        return result

    def of_turn(self, messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
        """The outcomes since the latest user message, as JSON, in order."""
        humans = [index for index, message in enumerate(messages) if isinstance(message, HumanMessage)]
        start = humans[-1] if humans else -1
        asked, found = "", list[dict[str, Any]]()
        for message in messages[start + 1 :]:
            if isinstance(message, AIMessage):
                asked = str(message.id)
            elif isinstance(message, ToolMessage):
                kept = self._kept.latest((asked, message.tool_call_id))
                found.append(kept.to_json() if kept is not None else outcomes_of([message])[0])
        return found

    def wrap(self, request: ToolCallRequest, execute: Callable[[ToolCallRequest], Any]) -> Any:
        """Around one call; errors go on to whoever handles them."""
        try:
            result = execute(request)
        except BaseException as error:
            self.failed(request, error)
            raise
        return self.done(request, result)

    async def awrap(self, request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Any]]) -> Any:
        """Async twin of `wrap`."""
        try:
            result = await execute(request)
        except BaseException as error:
            self.failed(request, error)
            raise
        return self.done(request, result)


def _call_key(request: ToolCallRequest) -> tuple[str, str]:
    """Names a call: some providers give the same ids to the calls of every message."""
    messages: Sequence[BaseMessage] = request.state["messages"]
    asked = next((message for message in reversed(messages) if isinstance(message, AIMessage)), None)
    return ("" if asked is None else str(asked.id)), str(request.tool_call["id"])
