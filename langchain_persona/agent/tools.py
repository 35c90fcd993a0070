"""Tools by which a model looks up, keeps and erases what is known of its user: recall, remember, forget.

The user comes from the run, never from the model's arguments. What is kept must stand in the user's own words in this
conversation, so a document or a tool's output cannot have anything remembered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.prebuilt import InjectedState
from pydantic import Field

from langchain_persona.agent.state import text_of
from langchain_persona.identity import resolve_identity
from langchain_persona.learning import unit
from langchain_persona.masking import mask
from langchain_persona.memory import PersonaMemory
from langchain_persona.prompt import clean_line, exchange_lines
from langchain_persona.reflection import Exchange, Findings, Operation
from langchain_persona.reflection.apply import apply_findings
from langchain_persona.resilience import run_or_default, warning_scope

NOBODY = "No user is known in this conversation, so nothing is remembered."
ERASED = "Erased for good:"
FAILED = "The memory does not answer right now. Go on without it."

_FOUND = 8  # cards that one recall shows
_EXCHANGES = 3  # and earlier exchanges

Query = Annotated[str, Field(max_length=1_000, description="What to look for, in a few words.")]
Quote = Annotated[str, Field(max_length=500, description="The user's exact words that state it.")]
CardIds = Annotated[list[str], Field(max_length=50, description="Ids of the notes, as recall tells them.")]
# LangGraph fills these in; the model does not see them
Messages = Annotated[Any, InjectedState("messages")]
Persona = Annotated[Any, InjectedState("persona")]


def memory_tools(memory: PersonaMemory) -> list[BaseTool]:
    """Tools on the memory of whoever is talking: `recall(query)`, `remember(quote)`, `forget(card_ids)`.

    What fails is told to the model in words, with one warning in the log.
    """

    def answer(config: RunnableConfig, persona: Any, call: Callable[[PersonaMemory, str], str]) -> str:
        with warning_scope(warned=bool(((persona or {}).get("turn") or {}).get("warned"))):
            user = resolve_identity(config, trust=memory.trust).user
            return run_or_default("A memory tool failed", partial(call, memory, user), FAILED) if user else NOBODY

    @tool
    def recall(query: Query, config: RunnableConfig, persona: Persona = None) -> str:
        """Look up what is known of the user: preferences, facts and exchanges from earlier conversations."""
        return answer(config, persona, partial(_recall, query))

    @tool
    def remember(quote: Quote, config: RunnableConfig, messages: Messages = None, persona: Persona = None) -> str:
        """Keep a lasting preference or fact that the user states, in the user's exact words."""
        return answer(config, persona, partial(_remember, quote, messages))

    @tool
    def forget(card_ids: CardIds, config: RunnableConfig, persona: Persona = None) -> str:
        """Erase notes on the user for good, when the user asks for it."""
        return answer(config, persona, partial(_forget, card_ids))

    return [recall, remember, forget]


def _recall(query: str, memory: PersonaMemory, user: str) -> str:
    vector = unit(memory.embedder.embed_query(query)) if memory.embedder.has_model else None
    cards = memory.cards.read(user) if vector is None else memory.cards.embedded(user, vector.size)
    order, past = np.arange(len(cards.active))[::-1], list[str]()  # the newest first
    if vector is not None:
        order = np.argsort(-cards.relevance(vector), kind="stable") if cards.active else order
        found = memory.episodes.similar(memory.episodes.read_past(user, fresh=True), cards, vector, _EXCHANGES)
        past = [line for one, _ in found for line in exchange_lines(one)]
    notes = [f"- [{one.id}] {clean_line(one.text)}" for one in (cards.active[place] for place in order[:_FOUND])]
    lines = ["Notes on the user, as data, each with its id:", *notes] if notes else []
    lines += ["Earlier exchanges, as data:", *past] if past else []
    return "\n".join(lines) or "Nothing is known of the user yet."


def _remember(quote: str, messages: Any, memory: PersonaMemory, user: str) -> str:
    if mask(quote) != quote:
        return "Not kept: it looks like a secret (a password, a key, a card number)."
    said = [one for one in messages or () if isinstance(one, HumanMessage)][-1:]  # earlier ones may be another user's
    exchanges = [Exchange(one.id or "", text_of(one), time=time.time()) for one in said]
    wanted = Findings(operations=(Operation(text=quote, quote=quote),))
    applied = apply_findings(wanted, exchanges, memory.cards.read(user), {})
    if not applied.cards and applied.changes:
        return f"Not kept: {applied.changes[0]['reason']}. Give the user's exact words."
    kept = [memory.remember(user, card) for card in applied.cards]
    return f'Kept as [{kept[0].id}]: "{clean_line(kept[0].text)}"' if kept else "That was known already."


def _forget(card_ids: list[str], memory: PersonaMemory, user: str) -> str:
    gone = memory.forget(user, card_ids)
    if not gone:
        return "Nothing was erased: none of these ids is known. Use recall to find them."
    return "\n".join([ERASED, *(f'- "{clean_line(card.text)}"' for card in gone)])
