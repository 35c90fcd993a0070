"""The nodes of the prebuilt graph, for use in graphs of your own: memory, retrieve, persona, act, reflect, approve.

`add_act` puts the model and its tools into a graph as two nodes, `agent_node` wraps an agent of yours. Each other
function makes a Runnable with a sync and an async form that takes the state of `loop.state.PersonaState` (or one that
has its keys) and returns an update. The user comes from the run's context or config, never from the state.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.types import interrupt

from langchain_persona.act import add_act, agent_node
from langchain_persona.effects import Steps, arun, run
from langchain_persona.extraction import PreferenceExtractor
from langchain_persona.identity import Identity, resolve_identity, setting
from langchain_persona.loop import behind
from langchain_persona.loop.behind import checked_mode, troubled
from langchain_persona.loop.parts import memory_update, persona_update, retrieve_update
from langchain_persona.loop.reflect import Reflector, still_standing
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.revisions import MAX_CHARACTERS, Draft
from langchain_persona.retriever import VARSRetriever
from langchain_persona.rewards import reliabilities
from langchain_persona.trouble import turn_of_trouble

__all__ = [
    "Node",
    "add_act",
    "agent_node",
    "approve_node",
    "memory_node",
    "persona_node",
    "reflect_node",
    "retrieve_node",
]

State = Mapping[str, Any]


class Node(Runnable[Any, dict[str, Any]]):
    """A node of a graph with a sync and an async form; LangGraph traces it, so it need not trace itself."""

    def __init__(
        self,
        call: Callable[[State, RunnableConfig], dict[str, Any]],
        acall: Callable[[State, RunnableConfig], Awaitable[dict[str, Any]]],
        *,
        name: str,
    ) -> None:
        self.name = name
        self._call = call
        self._acall = acall

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """The update for a state."""
        return self._call(input, ensure_config(config))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Async twin of `invoke`."""
        return await self._acall(input, ensure_config(config))


def memory_node(
    memory: PersonaMemory,
    *,
    extractor: PreferenceExtractor | None = None,
    reliability: Mapping[str, float] | None = None,
) -> Node:
    """Settle the previous answer, learn what this message states by rule, and read what is in force.

    Args:
        memory: the memory.
        extractor: also run ahead of the answer (`extract="before"`); None leaves it to reflect.
        reliability: weights of sources that differ from `rewards.RELIABILITY`.

    Update: `settled`, `learned`, `profile`, `turn`; it empties what the last turn left in the other keys.
    """
    weights = reliabilities(reliability)

    def steps(state: State, config: RunnableConfig, who: Identity) -> Steps[dict[str, Any]]:
        return memory_update(memory, who, state, extractor, weights)

    return _node("memory", steps)


def retrieve_node(
    memory: PersonaMemory,
    *,
    retriever: VARSRetriever | None = None,
    max_cards: int = 5,
    min_relevance: float = 0.25,
) -> Node:
    """Find the cards and the documents that the message calls for.

    Args:
        memory: the memory.
        retriever: the host's documents.
        max_cards: conditional cards at most; the context may say otherwise.
        min_relevance: cosine below which a conditional card stays out of this turn.

    Update: `cards`, `documents`, `turn`, and `profile` without what newer cards contradict.
    """

    def steps(state: State, config: RunnableConfig, who: Identity) -> Steps[dict[str, Any]]:
        return retrieve_update(
            memory,
            who,
            state,
            retriever=retriever,
            max_cards=setting(config, "max_cards", max_cards),
            max_bonus=setting(config, "max_bonus", None),
            strength=setting(config, "strength", None),
            min_relevance=min_relevance,
        )

    return _node("retrieve", steps)


def persona_node(system_prompt: str = "", *, budget_tokens: int = 600, document_tokens: int = 2_000) -> Node:
    """Render the system prompt: the host's, untouched, then what is known of the user, fenced as data. Pure.

    Args:
        system_prompt: the host's; the context may say otherwise.
        budget_tokens: for what is known of the user.
        document_tokens: for retrieved documents.

    Update: `system`.
    """

    def steps(state: State, config: RunnableConfig, who: Identity) -> Steps[dict[str, Any]]:
        base = setting(config, "system_prompt", system_prompt)
        return persona_update(state, base, budget_tokens=budget_tokens, document_tokens=document_tokens)

    return _node("persona", steps)


def reflect_node(reflector: Reflector, *, reflect: str = "inline") -> Node:
    """Keep the episode and learn from it.

    Args:
        reflector: does the work.
        reflect: "inline" before the run ends, "background" behind it, "off" not at all; the context may say otherwise.

    Update: `reflection`, `learned`, `proposal`, `turn`.
    """
    checked_mode(reflect)

    def mode(config: RunnableConfig) -> str:
        wanted = checked_mode(setting(config, "reflect", reflect))
        return "inline" if reflector.approve and wanted == "background" else wanted

    def node(state: State, config: RunnableConfig) -> dict[str, Any]:
        return behind.reflect(reflector, resolve_identity(config), state, mode(config))

    async def anode(state: State, config: RunnableConfig) -> dict[str, Any]:
        return await behind.areflect(reflector, resolve_identity(config), state, mode(config))

    return Node(node, anode, name="reflect")


def approve_node(reflector: Reflector) -> Node:
    """Ask a person about a new persona text: an interrupt with old, new, reason and diff.

    Resume with `"approve"`, `"reject"`, or `{"decision": "edit", "text": "…"}`; anything else is asked again. A text
    that was rejected is not proposed again. The persona is that of the user whose turn it was; a resume by another user
    is refused.

    Update: `reflection`, and `proposal` emptied.
    """

    def ask(state: State) -> tuple[str, str | None]:
        proposal = state["proposal"]
        old = str((state.get("profile") or {}).get("persona", ""))
        asked = {"old": old, "new": proposal["text"], "reason": proposal["reason"], "diff": proposal["diff"]}
        answer = interrupt({**asked, "answers": list(_ANSWERS)})
        while (decision := _decision(answer)) is None:
            answer = interrupt({**asked, "answers": list(_ANSWERS), "problem": f"not understood: {answer!r}"[:200]})
        return decision

    def node(state: State, config: RunnableConfig) -> dict[str, Any]:
        decision, text = ask(state)
        return run(_decided(reflector, resolve_identity(config), state["proposal"], decision, text))

    async def anode(state: State, config: RunnableConfig) -> dict[str, Any]:
        decision, text = ask(state)
        return await arun(_decided(reflector, resolve_identity(config), state["proposal"], decision, text))

    return Node(node, anode, name="approve")


_ANSWERS = ("approve", "reject", {"decision": "edit", "text": "..."})


def _decision(answer: object) -> tuple[str, str | None] | None:
    """What a person answered to a proposal; None where it cannot be understood."""
    if isinstance(answer, Sequence) and not isinstance(answer, str) and len(answer) == 1:
        answer = answer[0]
    facts: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {"decision": answer}
    decision, text = facts.get("decision", facts.get("type")), facts.get("text")
    if isinstance(decision, bool):
        decision = "approve" if decision else "reject"
    word = decision.strip().casefold() if isinstance(decision, str) else ""
    if word == "edit":
        return ("edit", text) if isinstance(text, str) and 0 < len(text.strip()) <= MAX_CHARACTERS else None
    return (word, None) if word in ("approve", "reject") else None


def _decided(
    reflector: Reflector, who: Identity, proposal: Mapping[str, Any], decision: str, text: str | None
) -> Steps[dict[str, Any]]:
    """Keep, change or drop a proposal as decided; it belongs to the user whose turn it was."""
    owner, draft = str(proposal.get("user", "")), Draft.model_validate(proposal)
    if not who.anonymous and who.user != owner:
        return {"reflection": {"persona": "not decided: the proposal is another user's"}}
    memory = reflector.memory
    if decision == "reject":
        yield from reflector.rejected(owner, draft)
        return {"proposal": None, "reflection": {"persona": "the proposal was rejected"}}
    standing, active = yield from still_standing(memory, owner, draft)
    persona = yield from memory.personas.adopt(owner, standing, text=text, active=active)
    revision = persona.revision
    facts = {"decision": decision, "revision": revision.number, "reason": revision.reason, "diff": revision.diff}
    return {"proposal": None, "reflection": {"persona": facts}}


def _node(name: str, steps: Callable[[State, RunnableConfig, Identity], Steps[dict[str, Any]]]) -> Node:
    """A node with both forms around one generator; a warning that it logged is noted in the turn."""

    def node(state: State, config: RunnableConfig) -> dict[str, Any]:
        with turn_of_trouble(told=name != "memory" and troubled(state)) as trouble:
            return _noted(run(steps(state, config, resolve_identity(config))), told=trouble.told)

    async def anode(state: State, config: RunnableConfig) -> dict[str, Any]:
        with turn_of_trouble(told=name != "memory" and troubled(state)) as trouble:
            return _noted(await arun(steps(state, config, resolve_identity(config))), told=trouble.told)

    return Node(node, anode, name=name)


def _noted(update: dict[str, Any], *, told: bool) -> dict[str, Any]:
    if told and "turn" in update:
        update["turn"] = {**update["turn"], "troubled": True}
    return update
