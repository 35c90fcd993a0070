"""The host's own agent as the act node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.pregel.protocol import PregelProtocol
from langgraph.types import Overwrite

from langchain_persona.act.outcomes import outcomes_of
from langchain_persona.act.state import ActState, prompt_of
from langchain_persona.effects import Steps, Twin, arun, run
from langchain_persona.errors import ConfigError

__all__ = ["agent_node"]

_SYSTEM_ID = "persona-system"


def agent_node(
    agent: Runnable[Any, Any], *, takes: Literal["auto", "state", "messages"] = "auto"
) -> RunnableLambda[ActState, dict[str, Any]]:
    """Wrap an agent that the host brings, so that it stands where the loop of model and tools would.

    It gets the conversation with the rendered system prompt in front and gives back only the messages that are new;
    the system prompt does not enter the state. Tool messages among the new ones become outcomes. An interrupt of the
    agent stops the whole graph, and is resumed with it.

    LangGraph streams the tokens of a graph inside a node with `stream_mode="messages", subgraphs=True`.

    Args:
        agent: a compiled graph over `messages` (such as `create_agent` makes), or any Runnable on a list of messages
            that answers with a message, a text, or messages.
        takes: `{"messages": [...]}` (`"state"`) or the bare list (`"messages"`); `"auto"`: the former for graphs.

    Raises:
        ConfigError: not a Runnable; a graph must be compiled first.
    """
    if not isinstance(agent, Runnable):
        advice = "; compile it first" if hasattr(agent, "compile") else ""  # type: ignore[unreachable]  # not for mypy
        raise ConfigError(f"agent must be a compiled graph or another Runnable, got {type(agent).__name__}{advice}")
    if takes not in ("auto", "state", "messages"):
        raise ConfigError(f"takes must be 'auto', 'state' or 'messages', got {takes!r}")
    as_state = isinstance(agent, PregelProtocol) if takes == "auto" else takes == "state"

    def steps(state: ActState, config: RunnableConfig) -> Steps[dict[str, Any]]:
        prompt = prompt_of(state, message_id=_SYSTEM_ID)
        given: Any = {"messages": prompt} if as_state else prompt
        answer = yield Twin(lambda: agent.invoke(given, config), lambda: agent.ainvoke(given, config))
        new = _new(_messages(answer), prompt)
        outcomes = outcomes_of(new)
        return {"messages": new, "outcomes": Overwrite(outcomes) if state.get("outcomes") else outcomes}

    def call(state: ActState, config: RunnableConfig) -> dict[str, Any]:
        return run(steps(state, config))

    async def acall(state: ActState, config: RunnableConfig) -> dict[str, Any]:
        return await arun(steps(state, config))

    return RunnableLambda(call, acall, name="act")


def _messages(answer: Any) -> list[BaseMessage]:
    match answer:
        case {"messages": list(messages)}:
            return messages
        case BaseMessage():
            return [answer]
        case str():
            return [AIMessage(answer)]
        case list() if all(isinstance(one, BaseMessage) for one in answer):
            return answer
    raise TypeError(
        "the agent must answer with a message, a text, a list of messages or a dict with `messages`, got "
        f"{type(answer).__name__}"
    )


def _new(messages: Sequence[BaseMessage], given: Sequence[BaseMessage]) -> list[BaseMessage]:
    """What comes after the last message that was given; agents may shorten or summarise what is before it."""
    known = {message.id for message in given if message.id is not None}
    places = [index for index, message in enumerate(messages) if message.id in known or message in given]
    if not places:
        places = [index for index, message in enumerate(messages) if isinstance(message, HumanMessage)]
    start = places[-1] + 1 if places else 0
    return [message for message in messages[start:] if not isinstance(message, SystemMessage)]
