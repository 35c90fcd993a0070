"""`PersonaMiddleware`: what the prebuilt graph does, for `langchain.agents.create_agent` (extra `langchain`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NotRequired, Unpack

from langchain_core.messages import AIMessage
from langgraph.runtime import Runtime

from langchain_persona.agent import nodes
from langchain_persona.agent.nodes import LoopOptions, State, Update
from langchain_persona.agent.reflector import ReflectNode
from langchain_persona.agent.state import has_question, merge_persona
from langchain_persona.agent.tools import memory_tools as tools_of
from langchain_persona.errors import MissingExtraError
from langchain_persona.memory import PersonaMemory
from langchain_persona.prompt import append_to_last_message, append_to_system
from langchain_persona.reflection.model import ModelReflection

try:
    from langchain.agents.middleware import types
except ImportError as error:
    needed = 'PersonaMiddleware needs the package langchain: pip install "langchain-persona[langchain]"'
    raise MissingExtraError(needed) from error

Request = types.ModelRequest[Any]
Response = types.ModelResponse[Any]


class PersonaAgentState(types.AgentState[Any]):
    """The agent's state with the key `persona`: feedback goes in, as in `PersonaInput`, and nothing comes out."""

    persona: NotRequired[Annotated[dict[str, Any], types.OmitFromOutput, merge_persona]]


class PersonaMiddleware(types.AgentMiddleware[PersonaAgentState, Any, Any]):
    """Makes a `create_agent` agent learn its user.

    The user comes from the run's context (`context_schema=PersonaContext`) or from `configurable`. Without one, and
    when the store fails, the agent runs as it would without this middleware. Feedback is given as
    `agent.invoke({"persona": {"feedback": 1}}, config)`; it needs a checkpointer, or the conversation beside it.
    `ConfigError`: an argument that cannot work.

    Args:
        memory: the memory.
        memory_tools: give the model the tools recall, remember and forget.
        retriever, reflection, reflect, align_every, budget_tokens, document_tokens, episodes, follow_up_reward: as in
            `create_persona_graph`.

    Example:
        >>> agent = create_agent("openai:gpt-5-mini", tools, middleware=[PersonaMiddleware(memory)])  # doctest: +SKIP
        >>> agent.invoke({"messages": [("user", "…")]}, {"configurable": {"user_id": "ana"}})  # doctest: +SKIP
    """

    state_schema = PersonaAgentState

    def __init__(self, memory: PersonaMemory, *, memory_tools: bool = True, **options: Unpack[LoopOptions]) -> None:
        super().__init__()
        loop = nodes.make_loop(memory, options)
        self.tools = tools_of(memory) if memory_tools else []
        self._ahead = nodes.MemoryNode(loop), nodes.RetrieveNode(loop), nodes.PersonaNode(loop)
        self._behind = ReflectNode(loop)

    @types.hook_config(can_jump_to=["end"])
    def before_agent(self, state: PersonaAgentState, runtime: Runtime[Any]) -> Update:
        """Read what is known of the user, score the turn before, find what the message calls for."""
        seen: State = state
        for node in self._ahead[: 3 if has_question(state) else 1]:
            seen = _after(seen, node.invoke(seen))
        return _update(state, seen)

    @types.hook_config(can_jump_to=["end"])
    async def abefore_agent(self, state: PersonaAgentState, runtime: Runtime[Any]) -> Update:
        """Async twin of `before_agent`."""
        seen: State = state
        for node in self._ahead[: 3 if has_question(state) else 1]:
            seen = _after(seen, await node.ainvoke(seen))
        return _update(state, seen)

    def wrap_model_call(self, request: Request, handler: Callable[[Request], Response]) -> Response | AIMessage:
        """Put what is known of the user behind the agent's own system prompt and beside the last message."""
        return handler(self._personal(request))

    async def awrap_model_call(
        self, request: Request, handler: Callable[[Request], Awaitable[Response]]
    ) -> Response | AIMessage:
        """Async twin of `wrap_model_call`."""
        return await handler(self._personal(request))

    def after_agent(self, state: PersonaAgentState, runtime: Runtime[Any]) -> Update:
        """Keep the episode and learn from it."""
        return self._behind.invoke(state)

    async def aafter_agent(self, state: PersonaAgentState, runtime: Runtime[Any]) -> Update:
        """Async twin of `after_agent`."""
        return await self._behind.ainvoke(state)

    def _personal(self, request: Request) -> Request:
        reflection = self._behind.reflection
        if isinstance(reflection, ModelReflection) and reflection.model is None:
            reflection.model = request.model
        state: State = request.state
        persona = state.get("persona") or {}
        system = append_to_system(request.system_message, persona.get("system") or "")
        messages = append_to_last_message(request.messages, persona.get("beside") or "")
        return request.override(system_message=system, messages=messages)


def _after(state: State, update: Update) -> Update:
    return {**state, "persona": merge_persona(state.get("persona"), update["persona"])}


def _update(state: State, seen: State) -> Update:
    ends = {} if has_question(state) else {"jump_to": "end"}
    return {**nodes.changes(state, seen["persona"]), **ends}
