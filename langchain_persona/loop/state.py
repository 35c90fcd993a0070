"""The state of a personalised conversation: plain JSON, messages and documents, so that Studio can show all of it."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langchain_core.documents import Document
from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages
from langgraph.managed import RemainingSteps
from typing_extensions import TypedDict

__all__ = ["PersonaInput", "PersonaState"]


class PersonaInput(TypedDict, total=False):
    """What a run takes.

    Attributes:
        messages: the conversation; usually just the new user message.
        feedback: on the previous answer: a reward from −1 to 1, or `{"reward": 1, "docs": [ids], "accepted": "text"}`,
            where `docs` are the documents that it is about and `accepted` is the answer as the user edited it.
    """

    messages: Annotated[list[AnyMessage], add_messages]
    feedback: Any


class PersonaState(PersonaInput, total=False):
    """The whole state; every node writes its own keys.

    Attributes:
        settled: memory node: the signals on the previous answer, each with source, reward and reason.
        learned: memory and reflect nodes: changes of the user's cards, each with what, note and reason.
        profile: memory node: the persona text in force with its revision, and the style in words.
        cards: retrieve node: the cards shown, each with note, scores and why it is here.
        documents: retrieve node: of the host's retriever.
        system: persona node: the whole system prompt of this turn.
        outcomes: act and tools nodes: what became of the tool calls of this turn.
        reflection: reflect node: what was learned behind the answer, and the persona's diff.
        proposal: reflect node: a new persona that waits for approval.
        turn: what the next turn needs to settle this one.
    """

    settled: list[dict[str, Any]]
    learned: list[dict[str, Any]]
    profile: dict[str, Any]
    cards: list[dict[str, Any]]
    documents: list[Document]
    system: str
    outcomes: Annotated[list[dict[str, Any]], operator.add]
    remaining_steps: RemainingSteps
    reflection: dict[str, Any]
    proposal: dict[str, Any] | None
    turn: dict[str, Any]
