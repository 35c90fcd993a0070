"""`PersonaMiddleware`: the persona loop for `langchain.agents.create_agent` (extra `langchain`).

The same functions as the nodes of the prebuilt graph: memory and retrieve before the agent, persona around each model
call, outcomes around each tool call, reflect after the agent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal, NotRequired

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables.config import ensure_config
from langgraph.runtime import Runtime

from langchain_persona.act.watched import WatchedCalls
from langchain_persona.effects import Steps, arun, run
from langchain_persona.errors import MissingExtraError
from langchain_persona.extraction import PreferenceExtractor
from langchain_persona.identity import resolve_identity, setting
from langchain_persona.loop import Judge, Reflector
from langchain_persona.loop.assembly import assembled, check_limits
from langchain_persona.loop.behind import areflect, checked_mode, reflect
from langchain_persona.loop.parts import has_question, memory_update, persona_update, retrieve_update
from langchain_persona.memory import PersonaMemory
from langchain_persona.persona import PersonaWriter, system_message
from langchain_persona.retriever import VARSRetriever
from langchain_persona.tools import memory_tools as tools_of
from langchain_persona.trouble import turn_of_trouble

try:
    from langchain.agents.middleware.types import (
        AgentMiddleware,
        AgentState,
        ModelRequest,
        ModelResponse,
        PrivateStateAttr,
        ToolCallRequest,
        hook_config,
    )
except ImportError as error:
    raise MissingExtraError(
        'PersonaMiddleware needs the package langchain: pip install "langchain-persona[langchain]"'
    ) from error

__all__ = ["PersonaAgentState", "PersonaMiddleware"]


class PersonaAgentState(AgentState[Any]):
    """The agent's state with what the persona loop keeps in it.

    Attributes:
        feedback: an input: on the previous answer, as in `loop.state.PersonaInput`.
        persona: private: the keys of `loop.state.PersonaState` but for the messages.
    """

    feedback: NotRequired[Any]
    persona: NotRequired[Annotated[dict[str, Any], PrivateStateAttr]]


class PersonaMiddleware(AgentMiddleware[PersonaAgentState, Any, Any]):
    """Makes a `create_agent` agent learn its user.

    Args:
        memory: a `PersonaMemory` with cards.
        model: for extraction, reconciliation and the persona text, after the answer; None does all of it by rules and
            leaves the persona text alone unless a `writer` is given.
        retriever: your documents; they are put behind the system prompt.
        extractor, extract, writer, reconciler, judge, reliability, align_every, reflect, max_cards, min_relevance,
            budget_tokens, document_tokens: as in `create_persona_graph`.
        memory_tools: give the agent the tools recall, remember and forget.

    Raises:
        ConfigError: an argument that cannot work.

    Example:
        >>> agent = create_agent(model, tools, middleware=[PersonaMiddleware(memory, model=model)])  # doctest: +SKIP
        >>> agent.invoke({"messages": [("user", "…")]}, {"configurable": {"user_id": "ana"}})  # doctest: +SKIP

    The user comes from the run's context (`context_schema=PersonaContext`) or from `configurable`; without one, and
    when the store fails, the agent runs as it would without this middleware. The agent needs a checkpointer for a turn
    to learn from how the last one went.
    """

    state_schema = PersonaAgentState

    def __init__(
        self,
        memory: PersonaMemory,
        *,
        model: BaseChatModel | None = None,
        retriever: VARSRetriever | None = None,
        extractor: PreferenceExtractor | Literal["model", "rules"] = "model",
        extract: Literal["after", "before"] = "after",
        writer: PersonaWriter | Literal["model"] | None = "model",
        reconciler: BaseChatModel | Literal["model"] | None = "model",
        judge: Judge | None = None,
        reliability: Mapping[str, float] | None = None,
        align_every: int = 3,
        reflect: Literal["inline", "background", "off"] = "inline",
        max_cards: int = 5,
        min_relevance: float = 0.25,
        budget_tokens: int = 600,
        document_tokens: int = 2_000,
        memory_tools: bool = True,
    ) -> None:
        super().__init__()
        check_limits(
            memory,
            retriever,
            max_cards=max_cards,
            min_relevance=min_relevance,
            budget_tokens=budget_tokens,
            document_tokens=document_tokens,
            memory_tools=memory_tools,
        )
        self.memory = memory
        self.retriever = retriever
        self.reflect_mode = checked_mode(reflect)
        self.max_cards = max_cards
        self.min_relevance = min_relevance
        self.budget_tokens = budget_tokens
        self.document_tokens = document_tokens
        self.tools = tools_of(memory) if memory_tools else []
        self.reflector: Reflector
        self.reflector, self._ahead = assembled(
            memory,
            model,
            extractor=extractor,
            extract=extract,
            writer=writer,
            reconciler=reconciler,
            align_every=align_every,
            judge=judge,
            reliability=reliability,
        )
        self._outcomes = WatchedCalls()

    # before: memory, retrieve, persona --------------------------------------------------------------------------

    @hook_config(can_jump_to=["end"])
    def before_agent(self, state: PersonaAgentState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Settle the turn before, learn from the message, find what it calls for."""
        with turn_of_trouble() as trouble:
            return _noted(run(self._before(state)), told=trouble.told)

    @hook_config(can_jump_to=["end"])
    async def abefore_agent(self, state: PersonaAgentState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Async twin of `before_agent`."""
        with turn_of_trouble() as trouble:
            return _noted(await arun(self._before(state)), told=trouble.told)

    def _before(self, state: Mapping[str, Any]) -> Steps[dict[str, Any]]:
        config = ensure_config()
        who = resolve_identity(config)
        inner = _inner(state)
        inner |= yield from memory_update(self.memory, who, inner, self._ahead, self.reflector.reliability)
        if not has_question(inner):  # a run that only brings feedback ends here
            return {"feedback": None, "persona": {**_outer(inner), "over": True}, "jump_to": "end"}
        inner |= yield from retrieve_update(
            self.memory,
            who,
            inner,
            retriever=self.retriever,
            max_cards=setting(config, "max_cards", self.max_cards),
            max_bonus=setting(config, "max_bonus", None),
            strength=setting(config, "strength", None),
            min_relevance=self.min_relevance,
        )
        inner |= yield from persona_update(
            inner, "", budget_tokens=self.budget_tokens, document_tokens=self.document_tokens
        )
        return {"feedback": None, "persona": _outer(inner)}

    # around: the model and the tools ----------------------------------------------------------------------------

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        """Put what is known of the user behind the agent's own system prompt."""
        return handler(_personal(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | AIMessage:
        """Async twin of `wrap_model_call`."""
        return await handler(_personal(request))

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Note what becomes of a tool call; errors go on to whoever handles them."""
        return self._outcomes.wrap(request, handler)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """Async twin of `wrap_tool_call`."""
        return await self._outcomes.awrap(request, handler)

    # after: reflect ---------------------------------------------------------------------------------------------

    def after_agent(self, state: PersonaAgentState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Keep the episode and learn from it."""
        config = ensure_config()
        inner = self._answered(state)
        if inner.pop("over", False):
            return {"persona": _outer(inner)}
        mode = checked_mode(setting(config, "reflect", self.reflect_mode))
        return {"persona": _outer(inner | reflect(self.reflector, resolve_identity(config), inner, mode))}

    async def aafter_agent(self, state: PersonaAgentState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Async twin of `after_agent`."""
        config = ensure_config()
        inner = self._answered(state)
        if inner.pop("over", False):
            return {"persona": _outer(inner)}
        mode = checked_mode(setting(config, "reflect", self.reflect_mode))
        return {"persona": _outer(inner | await areflect(self.reflector, resolve_identity(config), inner, mode))}

    def _answered(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The inner state with the outcomes of this turn's tool calls."""
        inner = _inner(state)
        inner["outcomes"] = self._outcomes.of_turn(inner["messages"])
        return inner


def _inner(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state as the parts of the loop know it."""
    messages: list[AnyMessage] = list(state.get("messages") or [])
    return {**(state.get("persona") or {}), "messages": messages, "feedback": state.get("feedback")}


def _outer(inner: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept under the private key."""
    return {key: value for key, value in inner.items() if key not in ("messages", "feedback")}


def _noted(update: dict[str, Any], *, told: bool) -> dict[str, Any]:
    """The update, with a note in the turn that it has logged its warning."""
    if told:
        update["persona"]["turn"] = {**update["persona"]["turn"], "troubled": True}
    return update


def _personal(request: ModelRequest[Any]) -> ModelRequest[Any]:
    """The request with what is known of the user behind its system prompt; the very same when nothing is."""
    state: Mapping[str, Any] = request.state
    addition = str((state.get("persona") or {}).get("system", ""))
    if not addition:
        return request
    return request.override(system_message=system_message(request.system_message, addition))
