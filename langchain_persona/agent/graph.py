"""`create_persona_graph`: an agent that learns its user, as an uncompiled LangGraph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Unpack

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode

from langchain_persona.agent import nodes
from langchain_persona.agent.nodes import LoopOptions
from langchain_persona.agent.reflector import ApproveNode, ReflectNode, after_reflect
from langchain_persona.agent.state import PersonaInput, PersonaOutput, PersonaState, UIOutput, UIState
from langchain_persona.agent.tools import memory_tools as tools_of
from langchain_persona.errors import ConfigError
from langchain_persona.identity import PersonaContext
from langchain_persona.memory import PersonaMemory
from langchain_persona.reflection.model import chat_model


def create_persona_graph(
    model: BaseChatModel | str | None = None,
    *,
    memory: PersonaMemory,
    tools: Sequence[BaseTool | Callable[..., Any]] = (),
    agent: Runnable[Any, Any] | None = None,
    system_prompt: str = "",
    memory_tools: bool = True,
    approve: bool = False,
    ui: bool = False,
    context_schema: type[Any] = PersonaContext,
    **options: Unpack[LoopOptions],
) -> StateGraph[Any, Any, Any, Any]:
    """An agent that learns each user: memory → retrieve → persona → act (and tools) → reflect.

    The user is named by the run's context or config: `graph.invoke(input, config, context={"user_id": "ana"})`. Without
    a name the run is anonymous and nothing is kept. Ahead of the answer no model is called but for the answer. What is
    returned is not compiled: `.compile(checkpointer=...)`. `ConfigError`: an argument that cannot work.

    Args:
        model: a chat model, or its name for `init_chat_model`. May be left out when `agent` answers.
        memory: the memory.
        tools: the host's tools.
        agent: answers in place of model and tools: a `create_agent` graph or any Runnable on messages.
        system_prompt: the host's; stays untouched at the front.
        memory_tools: give the model the tools recall, remember and forget.
        approve: True interrupts for a person's decision on each new persona text; needs a checkpointer.
        ui: True adds the state's key `ui`, for chat UIs that draw such messages: beside each answer a "persona_cards",
            with id, text, kind and reason (`why`) of the `cards` that the model saw.
        context_schema: a subclass of `PersonaContext`, to add fields of your own.
        retriever: the host's documents, a `VARSRetriever`; they are put beside the last message.
        reflection: finds what is to be remembered. "model", the default, asks the agent's own model in one call behind
            the answer; another chat model or its name can be given, such as a cheaper one. "verbatim" keeps the user's
            own sentences and needs no model. `ModelReflection` takes instructions, a prompt and a schema of yours; an
            object of yours has the protocol `Reflection`.
        reflect: learn "inline" before the run ends (the default), in the "background", or "off".
        align_every: turns between two looks at the persona text, 3 by default; 0 is never.
        budget_tokens, document_tokens: for what is known of the user, 800, and for retrieved documents, 2,000.
        episodes: earlier exchanges like this message that are shown, 2; 0 is none.
        follow_up_reward: reads the next message as a verdict, such as `rewards.KeywordReward()`; by default none does.

    Example:
        >>> graph = create_persona_graph("openai:gpt-5-mini", memory=memory).compile()  # doctest: +SKIP
        >>> run = {"messages": [("user", "I'm allergic to nuts.")]}
        >>> graph.invoke(run, context={"user_id": "ana"})  # doctest: +SKIP
    """
    if (model is None) == (agent is None):
        given = "neither" if model is None else "both"
        raise ConfigError(f"give either a chat model, or an agent= that answers in its place; got {given}")
    if not all(isinstance(one, BaseTool) or callable(one) for one in tools):
        raise ConfigError(f"tools must be a list of LangChain tools or functions, got {tools!r:.200}")
    if agent is not None and (tools or not isinstance(agent, Runnable)):
        raise ConfigError("agent must be a compiled graph or another Runnable on messages; it brings its own tools")
    if not isinstance(context_schema, type) or not issubclass(context_schema, PersonaContext):
        raise ConfigError(f"context_schema must be PersonaContext or a subclass of it, got {context_schema!r}")
    own = None if model is None else chat_model(model)
    if own is None and options.get("reflection", "model") == "model":
        raise ConfigError('beside an agent name what reflects: reflection="verbatim", a chat model or its name')
    loop = nodes.make_loop(memory, options, model=own, system_prompt=system_prompt, approve=approve)
    answers: Any = own if agent is None else agent
    offered = [*tools, *(tools_of(memory) if memory_tools and agent is None else ())]
    runner = ToolNode(offered, handle_tool_errors=True) if offered else None
    state, output = (UIState, UIOutput) if ui else (PersonaState, PersonaOutput)
    graph = StateGraph(state, context_schema, input_schema=PersonaInput, output_schema=output)
    graph.add_node("memory", nodes.MemoryNode(loop))
    graph.add_node("retrieve", nodes.RetrieveNode(loop))
    graph.add_node("persona", nodes.PersonaNode(loop))
    graph.add_node("act", nodes.ActNode(answers, list(runner.tools_by_name.values()) if runner else ()))
    graph.add_node("reflect", ReflectNode(loop))
    graph.add_edge(START, "memory")
    graph.add_conditional_edges("memory", partial(nodes.after_memory, loop), ["retrieve", "persona", END])
    graph.add_edge("retrieve", "persona")
    graph.add_edge("persona", "act")
    answered = "show_cards" if ui else "reflect"
    if ui:
        graph.add_node("show_cards", nodes.show_cards)
        graph.add_edge("show_cards", "reflect")
    if runner is None:
        graph.add_edge("act", answered)
    else:
        graph.add_node("tools", runner)
        graph.add_conditional_edges("act", nodes.after_act, {"tools": "tools", "reflect": answered})
        graph.add_edge("tools", "act")
    if approve:
        graph.add_node("approve", ApproveNode(loop))
        graph.add_conditional_edges("reflect", after_reflect, ["approve", END])
    graph.add_edge("approve" if approve else "reflect", END)
    return graph
