"""Model and tools in a loop: as a graph of its own, or as two nodes of a bigger one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool, tool
from langgraph.graph import END, START, StateGraph
from langgraph.types import Overwrite, Send

from langchain_persona.act.state import ActInput, ActOutput, ActState, prompt_of, steps_taken
from langchain_persona.act.toolrun import ToolRunner
from langchain_persona.effects import Steps, Twin, arun, run
from langchain_persona.errors import ConfigError
from langchain_persona.identity import setting
from langchain_persona.records import ToolOutcome
from langchain_persona.toolcalls import SchemaToolCalls
from langchain_persona.tools import memory_tools as tools_of
from langchain_persona.trouble import turn_of_trouble

if TYPE_CHECKING:
    from langchain_persona.memory import PersonaMemory

__all__ = ["LIMIT_NOTICE", "add_act", "create_act_graph"]

LIMIT_NOTICE = "I stopped here: this request needed more steps than I am allowed to take."
# steps that the recursion limit must leave for one more round: the tools, the model, and some nodes of a bigger graph
_ROUND = 3
_ROUND_AND_REST = 6


def create_act_graph(
    model: BaseChatModel | Runnable[Any, Any],
    *,
    tools: Sequence[BaseTool | Callable[..., Any] | dict[str, Any]] = (),
    memory: PersonaMemory | None = None,
    memory_tools: bool = True,
    tool_calls: Literal["native", "schema"] = "native",
    max_steps: int = 12,
    max_tool_output: int | None = 40_000,
    limit_notice: str = LIMIT_NOTICE,
) -> StateGraph[ActState, None, ActInput, ActOutput]:
    """Build the loop of a model and its tools as an uncompiled graph with the nodes `act` and `tools`.

    In a bigger graph, use `add_act` where the tokens are to reach `stream_mode="messages"`: LangGraph streams those of
    a subgraph only with `subgraphs=True`.

    Args:
        model: a chat model. Its own errors are raised: without a model there is no answer.
        tools: the host's tools: LangChain tools or functions; dicts are a provider's built-in tools.
        memory: whose `recall`, `remember` and `forget` the model gets too, where it has preference cards.
        memory_tools: False leaves those three out.
        tool_calls: `"schema"` for models whose own tool calls do not work: the model answers with JSON that says which
            tool to call (see `SchemaToolCalls`).
        max_steps: most model calls for one message of the user; a call that still wants tools then becomes the answer.
        max_tool_output: most characters of one tool's text that the model gets (about 10,000 tokens); the cut is told.
            None for no limit.
        limit_notice: the answer when the steps are used up and the model said nothing else.

    Raises:
        ConfigError: no chat model, one that cannot take tools, two tools of one name, or a limit below 1.

    Example:
        >>> from langchain_persona.testing import ScriptedChatModel
        >>> graph = create_act_graph(ScriptedChatModel(["Hello."])).compile()
        >>> graph.invoke({"messages": [("user", "Hi")], "system": "Be brief."})["messages"][-1].content
        'Hello.'
    """
    graph: StateGraph[ActState, None, ActInput, ActOutput] = StateGraph(
        ActState, input_schema=ActInput, output_schema=ActOutput
    )
    add_act(
        graph,
        model,
        tools=tools,
        memory=memory,
        memory_tools=memory_tools,
        tool_calls=tool_calls,
        max_steps=max_steps,
        max_tool_output=max_tool_output,
        limit_notice=limit_notice,
    )
    graph.add_edge(START, "act")
    return graph


def add_act(
    graph: StateGraph[Any, Any, Any, Any],
    model: BaseChatModel | Runnable[Any, Any],
    *,
    then: str = END,
    tools: Sequence[BaseTool | Callable[..., Any] | dict[str, Any]] = (),
    memory: PersonaMemory | None = None,
    memory_tools: bool = True,
    tool_calls: Literal["native", "schema"] = "native",
    max_steps: int = 12,
    max_tool_output: int | None = 40_000,
    limit_notice: str = LIMIT_NOTICE,
) -> None:
    """Put the loop into a graph: the nodes `act` and `tools`, the edges between them, and one to `then`.

    The graph's state has the keys of `ActState`; its edge to `act` is yours to add.

    Args:
        graph: an uncompiled graph; it is changed.
        then: the node that follows the answer.
        model: this and all that follows as in `create_act_graph`.
        tools: of the host.
        memory: for the memory tools.
        memory_tools: add them.
        tool_calls: "native" or "schema".
        max_steps: model calls for one message.
        max_tool_output: characters of one tool's text.
        limit_notice: the answer when the steps are used up.

    Raises:
        ConfigError: as in `create_act_graph`.
    """
    if not isinstance(model, Runnable):
        raise ConfigError(f"model must be a chat model object such as ChatOpenAI(...), got {model!r}")
    for name, value in (("max_steps", max_steps), ("max_tool_output", max_tool_output)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be at least 1, got {value}")
    own = tools_of(memory) if memory_tools and memory is not None else []
    offered = [*(one if isinstance(one, BaseTool | dict) else tool(one) for one in tools), *own]
    runner = ToolRunner(_callable(offered), longest=max_tool_output)
    spare = _ROUND if then == END else _ROUND_AND_REST
    loop = _Loop(_bound(model, offered, tool_calls), runner, max_steps, spare, limit_notice)

    graph.add_node("act", _node(loop.steps, "act"), input_schema=ActState)
    graph.add_node("tools", _node(runner.steps, "tools"))
    graph.add_conditional_edges("act", _route(then), ["tools", then])
    graph.add_edge("tools", "act")


class _Loop:
    """The model's part: one call, and what its answer means for the loop."""

    def __init__(self, model: Runnable[Any, Any], runner: ToolRunner, max_steps: int, spare: int, notice: str) -> None:
        self._model = model
        self._runner = runner
        self._max_steps = max_steps
        self._spare = spare
        self._notice = notice

    def steps(self, state: ActState, config: RunnableConfig) -> Steps[dict[str, Any]]:
        """The update of one model call."""
        prompt = prompt_of(state)
        taken = steps_taken(state["messages"])
        wanted = setting(config, "model", None)
        model = self._model if wanted is None else self._model.bind(model=wanted)
        answer = yield Twin(lambda: model.invoke(prompt, config), lambda: model.ainvoke(prompt, config))
        message = _identified(answer)
        calls = [*message.tool_calls, *message.invalid_tool_calls]
        cut: list[dict[str, Any]] = []
        if calls and (taken + 1 >= self._max_steps or state.get("remaining_steps", self._spare) < self._spare):
            error = "not run: no steps were left"
            cut = [ToolOutcome(tool=call["name"] or "", ok=False, error=error).to_json() for call in calls]
            message = _without_calls(message, self._notice)
        for call in calls if not cut else ():
            self._runner.open.add(str(message.id), str(call["id"]))
        update: dict[str, Any] = {"messages": [message]}
        if taken == 0 and state.get("outcomes"):  # those of the turn before
            update["outcomes"] = Overwrite(cut)
        elif cut:
            update["outcomes"] = cut
        return update


def _node(steps: Callable[[Any, RunnableConfig], Steps[Any]], name: str) -> RunnableLambda[Any, Any]:
    """A node with a sync and an async form."""

    def call(state: Any, config: RunnableConfig) -> Any:
        with turn_of_trouble(told=_troubled(state)):
            return run(steps(state, config))

    async def acall(state: Any, config: RunnableConfig) -> Any:
        with turn_of_trouble(told=_troubled(state)):
            return await arun(steps(state, config))

    return RunnableLambda(call, acall, name=name)


def _troubled(state: Any) -> bool:
    return bool((state.get("turn") or {}).get("troubled"))


def _route(then: str) -> Callable[[ActState], list[Send] | str]:
    def route(state: ActState) -> list[Send] | str:
        """One task for each tool call, so that what is done is not done again when another is resumed."""
        last = state["messages"][-1]
        calls = [*last.tool_calls, *last.invalid_tool_calls] if isinstance(last, AIMessage) else []
        shared = {"message": str(last.id), "turn": {"troubled": _troubled(state)}}
        return [Send("tools", {"call": call, **shared}) for call in calls] or then

    return route


def _callable(offered: Sequence[BaseTool | dict[str, Any]]) -> list[BaseTool]:
    """The tools that we run; the dicts are run by the provider."""
    found = [one for one in offered if isinstance(one, BaseTool)]
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two tools are called {name!r}; rename one, or leave the memory's own out with memory_tools=False"
            )
    return found


def _bound(
    model: Runnable[Any, Any], offered: Sequence[BaseTool | dict[str, Any]], tool_calls: str
) -> Runnable[Any, Any]:
    """The model with its tools; without any, the model as it is."""
    if tool_calls not in ("native", "schema"):
        raise ConfigError(f"tool_calls must be 'native' or 'schema', got {tool_calls!r}")
    if not offered:
        return model
    if tool_calls == "schema":
        if not isinstance(model, BaseChatModel):
            raise ConfigError(f"tool_calls='schema' needs a chat model, got {type(model).__name__}")
        return SchemaToolCalls(model=model).bind_tools(offered)
    try:
        return model.bind_tools(offered)  # type: ignore[attr-defined,no-any-return]  # asked for, see below
    except (AttributeError, NotImplementedError) as error:
        raise ConfigError(
            f"{type(model).__name__} cannot be given tools; use tool_calls='schema', or give it none (tools=(), "
            "memory_tools=False)"
        ) from error


def _identified(answer: Any) -> AIMessage:
    """The answer as a message that has an id, and so has each of its tool calls."""
    message = answer if isinstance(answer, AIMessage) else AIMessage(_text(answer))
    return message.model_copy(
        update={
            "id": message.id or f"run-{uuid.uuid4()}",
            "tool_calls": [call | {"id": call["id"] or _new_call()} for call in message.tool_calls],
            "invalid_tool_calls": [call | {"id": call["id"] or _new_call()} for call in message.invalid_tool_calls],
        }
    )


def _text(answer: Any) -> str:
    if isinstance(answer, BaseMessage):
        return answer.text
    if isinstance(answer, str):
        return answer
    raise TypeError(f"the model must answer with an AIMessage or a str, got {type(answer).__name__}")


def _new_call() -> str:
    return f"call_{uuid.uuid4().hex[:12]}"


def _without_calls(message: AIMessage, notice: str) -> AIMessage:
    return AIMessage(
        message.text or notice,
        id=message.id,
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
    )
