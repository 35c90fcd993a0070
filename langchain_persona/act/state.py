"""What the act node reads and writes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Annotated, Any, NotRequired

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, SystemMessage, ToolMessage
from langgraph.graph.message import add_messages
from langgraph.managed import RemainingSteps
from typing_extensions import TypedDict

__all__ = ["ActInput", "ActOutput", "ActState", "prompt_of", "steps_taken"]


class ActInput(TypedDict):
    """What the act graph takes: the conversation, and the system prompt for this turn."""

    messages: Annotated[list[AnyMessage], add_messages]
    system: NotRequired[str]


class ActOutput(TypedDict):
    """What the act graph gives: the conversation with the answer, and what became of the tool calls of this turn."""

    messages: Annotated[list[AnyMessage], add_messages]
    outcomes: Annotated[list[dict[str, Any]], operator.add]


class ActState(TypedDict):
    """The state of the loop; a bigger graph that contains it has these keys too.

    Attributes:
        messages: the conversation; the system prompt is never in it.
        system: put in front of the messages as a `SystemMessage` for each model call; "" puts nothing there.
        outcomes: a `ToolOutcome` as JSON for each tool call of this turn; emptied by the first step of the next.
        turn: of the graph around it; its "troubled" says that this turn has logged its warning.
        remaining_steps: how many steps LangGraph's recursion limit leaves.
    """

    messages: Annotated[list[AnyMessage], add_messages]
    system: NotRequired[str]
    outcomes: Annotated[list[dict[str, Any]], operator.add]
    remaining_steps: NotRequired[RemainingSteps]
    turn: NotRequired[dict[str, Any]]


def prompt_of(state: ActState, *, message_id: str | None = None) -> list[BaseMessage]:
    """The messages for one model call: the system prompt, where there is one, then the conversation."""
    system = state.get("system") or ""
    front = [SystemMessage(system, id=message_id)] if system else []
    return [*front, *state["messages"]]


def steps_taken(messages: Sequence[BaseMessage]) -> int:
    """How often the model spoke since the user did."""
    steps = 0
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            steps += 1
        elif not isinstance(message, ToolMessage):
            break
    return steps
