"""`create_persona_graph`: an agent that learns its user, as an uncompiled LangGraph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, StateGraph

from langchain_persona.errors import ConfigError
from langchain_persona.extraction import PreferenceExtractor
from langchain_persona.identity import PersonaContext
from langchain_persona.loop import Judge, PersonaInput, PersonaState
from langchain_persona.loop.assembly import assembled, check_limits
from langchain_persona.loop.parts import has_question
from langchain_persona.memory import PersonaMemory
from langchain_persona.nodes import (
    add_act,
    agent_node,
    approve_node,
    memory_node,
    persona_node,
    reflect_node,
    retrieve_node,
)
from langchain_persona.persona import PersonaWriter
from langchain_persona.retriever import VARSRetriever

__all__ = ["create_persona_graph"]


def create_persona_graph(
    model: BaseChatModel | None = None,
    *,
    memory: PersonaMemory,
    tools: Sequence[BaseTool | Callable[..., Any]] = (),
    retriever: VARSRetriever | None = None,
    agent: Runnable[Any, Any] | None = None,
    extractor: PreferenceExtractor | Literal["model", "rules"] = "model",
    extract: Literal["after", "before"] = "after",
    writer: PersonaWriter | Literal["model"] | None = "model",
    reconciler: BaseChatModel | Literal["model"] | None = "model",
    judge: Judge | None = None,
    reliability: Mapping[str, float] | None = None,
    system_prompt: str = "",
    reflect: Literal["inline", "background", "off"] = "inline",
    align_every: int = 3,
    approve: bool = False,
    memory_tools: bool = True,
    tool_calls: Literal["native", "schema"] = "native",
    max_cards: int = 5,
    min_relevance: float = 0.25,
    budget_tokens: int = 600,
    document_tokens: int = 2_000,
    context_schema: type[Any] = PersonaContext,
) -> StateGraph[Any, Any, Any, Any]:
    """An agent that learns each user: memory → retrieve → persona → act → reflect.

    The user is named by the run's context or config: `graph.invoke(input, config, context={"user_id": "ana"})`; without
    one the run is anonymous and nothing is kept. A model is called ahead of the answer by the answer alone
    (`extract="before"` adds one call); all other calls come after it.

    Args:
        model: a chat model. May be left out when `agent` answers and nothing else needs one.
        memory: a `PersonaMemory` with cards.
        tools: the host's tools.
        retriever: the host's documents; they are put into the system prompt.
        agent: answers in place of model and tools: a `create_agent` graph or any Runnable on messages.
        extractor: finds preferences; "model" is `LLMExtractor(model)`, "rules" leaves it to the rules that always run.
        extract: "after" the answer, or "before" it, with one more model call ahead.
        writer: writes the persona text; "model" is `ModelWriter(model)`, None leaves it alone. `TemplateWriter()` needs
            no model.
        reconciler: is asked how new cards stand to old ones; None decides by rules.
        judge: rates answers where the rules have no verdict.
        reliability: weights of sources that differ from `rewards.RELIABILITY`, such as `{"follow_up": 0.2}`: how much
            each counts where several signals meet, and in what is learned; 0 leaves a source out.
        system_prompt: the host's; stays untouched at the front.
        reflect: learn "inline" before the run ends, in the "background", or "off".
        align_every: turns between two looks at the persona; 0 is never.
        approve: True interrupts for a person's decision on each new persona text; needs `reflect="inline"` and a
            checkpointer.
        memory_tools: give the model the tools recall, remember and forget.
        tool_calls: "schema" gets tool calls through a JSON schema, for models whose own do not work.
        max_cards: topical cards shown at most.
        min_relevance: cosine below which a topical card stays out of a turn.
        budget_tokens: for what is known of the user in the system prompt.
        document_tokens: for retrieved documents in it.
        context_schema: a subclass of `PersonaContext`, to add fields of your own.

    Returns:
        The uncompiled graph: `.compile(checkpointer=...)`. Settling a turn needs a checkpointer, for the next turn
        learns from how the last one went.

    Raises:
        ConfigError: an argument that cannot work.

    Example:
        >>> graph = create_persona_graph(model, memory=memory).compile(checkpointer=saver)  # doctest: +SKIP
        >>> graph.invoke(
        ...     {"messages": [("user", "Please answer in German.")]},
        ...     {"configurable": {"thread_id": "t1"}},
        ...     context={"user_id": "ana"},
        ... )  # doctest: +SKIP
    """
    check_limits(
        memory,
        retriever,
        max_cards=max_cards,
        min_relevance=min_relevance,
        budget_tokens=budget_tokens,
        document_tokens=document_tokens,
        approve=approve,
        memory_tools=memory_tools,
    )
    _check(model, agent, tools, system_prompt, context_schema)
    if approve and reflect != "inline":
        raise ConfigError(f'approve=True asks a person within the run, so it needs reflect="inline", got {reflect!r}')
    reflector, ahead = assembled(
        memory,
        model,
        extractor=extractor,
        extract=extract,
        writer=writer,
        reconciler=reconciler,
        align_every=align_every,
        judge=judge,
        approve=approve,
        reliability=reliability,
    )
    graph = StateGraph(PersonaState, context_schema, input_schema=PersonaInput)
    graph.add_node("memory", memory_node(memory, extractor=ahead, reliability=reliability))
    graph.add_node(
        "retrieve", retrieve_node(memory, retriever=retriever, max_cards=max_cards, min_relevance=min_relevance)
    )
    graph.add_node("persona", persona_node(system_prompt, budget_tokens=budget_tokens, document_tokens=document_tokens))
    if agent is not None:
        graph.add_node("act", agent_node(agent))
        graph.add_edge("act", "reflect")
    elif model is not None:
        add_act(
            graph, model, then="reflect", tools=tools, memory=memory, memory_tools=memory_tools, tool_calls=tool_calls
        )
    graph.add_node("reflect", reflect_node(reflector, reflect=reflect))
    graph.add_edge(START, "memory")
    graph.add_conditional_edges("memory", _to_answer, {"answer": "retrieve", "nothing to answer": END})
    graph.add_edge("retrieve", "persona")
    graph.add_edge("persona", "act")
    if approve:
        graph.add_node("approve", approve_node(reflector))
        graph.add_conditional_edges("reflect", _to_approve, {"proposal": "approve", "done": END})
        graph.add_edge("approve", END)
    else:
        graph.add_edge("reflect", END)
    return graph


def _to_answer(state: Mapping[str, Any]) -> str:
    """A run that only brings feedback ends after the memory node."""
    return "answer" if has_question(state) else "nothing to answer"


def _to_approve(state: Mapping[str, Any]) -> str:
    return "proposal" if state.get("proposal") else "done"


def _check(model: object, agent: object, tools: object, system_prompt: object, context_schema: object) -> None:
    """Refuse what cannot work, in plain words."""
    if model is None and agent is None:
        raise ConfigError("give a chat model, or an agent that answers in its place")
    if agent is not None and tools:
        raise ConfigError("an agent brings its own tools: give them to the agent, or leave the agent out")
    if agent is not None and not isinstance(agent, Runnable):
        raise ConfigError(f"agent must be a compiled graph or another Runnable on messages, got {type(agent).__name__}")
    if isinstance(tools, str) or not isinstance(tools, Sequence) or not all(map(_is_tool, tools)):
        raise ConfigError(f"tools must be a list of LangChain tools or functions, got {tools!r}")
    if not isinstance(system_prompt, str):
        raise ConfigError(f"system_prompt must be a text, got {type(system_prompt).__name__}")
    if not isinstance(context_schema, type) or not issubclass(context_schema, PersonaContext):
        raise ConfigError(f"context_schema must be PersonaContext or a subclass of it, got {context_schema!r}")


def _is_tool(tool: object) -> bool:
    """Whether something can be a tool: a LangChain tool, a function, a provider's description."""
    return isinstance(tool, BaseTool | dict) or callable(tool)
