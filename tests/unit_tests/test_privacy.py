"""What a user says and who they are does not reach a log at INFO or above, nor a trace where ids are to be hashed."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import Any
from unittest.mock import Mock

import pytest
from langchain_core.tracers.langchain import LangChainTracer
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.store.base import PutOp
from langsmith import Client

from langchain_persona import PersonaMemory, VARSRetriever, create_persona_graph
from langchain_persona.errors import PersonaError
from langchain_persona.identity import hash_user_ids, label
from langchain_persona.reflection.model import ModelReflection
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel
from tests.graphs import FILMS, Agent, FailingStore, config_of, echo, films, new_memory

ANA, WORD = "ana.karlsen@example.com", "zanzibar"


SAID = {
    "nothing": "Feedback",
    "store": "Plain ranking: what is known of the user could not be read (StoreError",
    "embeddings": "could not be embedded (ValueError",
    "documents": "No documents: the vector store does not answer (RuntimeError",
    "reranker": "The reranker failed",
    "reflection": "This turn was not learned from",
    "records": "Leaving out the unreadable",
}


class Repeating(HashEmbeddings):
    """An embedding model that fails when told, and repeats what it was given."""

    fails = False

    def embed_query(self, text: str) -> list[float]:
        if self.fails:
            raise ValueError(f"cannot embed {text}")
        return super().embed_query(text)


class RepeatingStore(FailingStore):
    def batch(self, ops: Any) -> Any:
        if self.dead:
            raise RuntimeError(f"cannot run {list(ops)} for {ANA}: {WORD}")
        return super().batch(ops)


class Documents(InMemoryVectorStore):
    """A vector store that fails when told."""

    fails = False

    def __getattribute__(self, name: str) -> Any:
        failing = name != "fails" and "search" in name and self.fails
        return repeat if failing else super().__getattribute__(name)


def repeat(*given: Any, **options: Any) -> Any:
    raise RuntimeError(f"cannot take {given} {WORD}")


async def whole_life(memory: PersonaMemory, agent: Agent, retriever: VARSRetriever) -> None:
    """Turns with all kinds of feedback, cards, import and deletion; what fails is no matter here."""
    for text, feedback in ((f"I love {WORD}.", None), (f"A film of {WORD}?", -1), ("And?", {"accepted": WORD})):
        await agent.say(text, user=ANA, feedback=feedback)
        await agent.say(None, user=ANA, feedback={"reward": 1.0, "docs": [WORD]})
        await agent.say(None, user=ANA, feedback={"doc": WORD})
        await retriever.ainvoke(f"A film of {WORD}", user_id=ANA)
    card = f"Hates {WORD}."
    for call in (
        lambda: memory.aremember(ANA, card),
        lambda: memory.afeedback(ANA, "x", reward=1.0, key=f"{WORD}"),
        lambda: memory.arevise_persona(ANA, card, reason=card),
        lambda: memory.aexplain(ANA),
        lambda: memory.aexport_user(ANA),
        lambda: memory.aimport_user([{"memory": card}], ANA),
        lambda: memory.aimport_user(json.dumps([{"memory": card}])[:-3], ANA),
        lambda: memory.aimport_user({"format": "langchain-persona", "version": 1, "user": ANA, "cards": [card]}, ANA),
        lambda: memory.aprocess_pending(),
        lambda: memory.aforget(ANA, "none"),
        lambda: memory.adelete_user(ANA),
        lambda: memory.aremember(ANA, card),
        lambda: memory.areadmit_user(ANA),
    ):
        with suppress(PersonaError, KeyError):
            await call()


@pytest.mark.parametrize("broken", SAID)
async def test_personal_words_are_below_info_whatever_fails(broken, caplog):
    caplog.set_level(logging.DEBUG)
    memory = PersonaMemory(store := RepeatingStore(), model := Repeating(64), timeout_seconds=5.0)
    documents = Documents(model)
    documents.add_texts(list(FILMS), ids=[str(number) for number in range(len(FILMS))])
    retriever = VARSRetriever(
        vectorstore=documents, memory=memory, k=2, reranker=repeat if broken == "reranker" else None
    )
    reflects = ModelReflection(ScriptedChatModel(repeat)) if broken == "reflection" else "verbatim"
    agent = Agent(
        echo(),
        memory,
        how="ainvoke",
        retriever=retriever,
        reflection=reflects,
        follow_up_reward=repeat,
        budget_tokens=0,
    )
    await agent.say(f"I was in {WORD}.", user=ANA)  # all is well at first
    documents.fails = broken == "documents"
    if broken == "records":
        for part in ("cards", "episodes", "feedback", "persona", "pending", "past", "state"):
            store.batch([PutOp(("persona", label(ANA), part), "broken", {"text": [WORD], "query": {ANA: WORD}})])
    store.dead, model.fails = broken == "store", broken == "embeddings"
    await whole_life(memory, agent, retriever)
    lines = [(one.levelno, logging.Formatter().format(one)) for one in caplog.records if "persona" in one.name]
    loud = [line for level, line in lines if level >= logging.INFO]
    assert [line for line in loud if WORD in line.lower() or "karlsen" in line] == []
    assert {"records": 4}.get(broken, 1) <= sum(SAID[broken] in line for line in loud)


class Session:
    """A connection on which nothing goes out; keeps what would have."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.sent: list[str] = []

    def mount(self, *given: Any) -> None: ...

    def close(self) -> None: ...

    def request(self, method: str, url: str, **options: Any) -> Any:
        self.sent.append(bytes(options.get("data") or b"").decode())
        return Mock(status_code=200, ok=True, text="{}", json=dict)


@pytest.mark.parametrize("hashed", [False, True])
def test_user_ids_are_hashed_in_traces_by_choice(hashed):
    memory, session = new_memory(), Session()
    memory.remember(ANA, "Likes rain.")
    hide = hash_user_ids("a secret")
    hides = {"hide_inputs": hide, "hide_outputs": hide, "hide_metadata": hide} if hashed else {}
    client = Client("http://127.0.0.1:9", api_key="k", session=session, auto_batch_tracing=False, info={}, **hides)
    graph = create_persona_graph(echo(), memory=memory, retriever=films(memory), reflection="verbatim").compile()
    config: Any = {"configurable": {"user_id": ANA}, "callbacks": [LangChainTracer(client=client)]}
    graph.invoke({"messages": [("user", "A film?")]}, {**config_of(), **config})
    told = " ".join(session.sent)
    assert len(session.sent) >= 10
    assert "Likes rain." in told, "texts are another matter: LANGSMITH_HIDE_INPUTS and LANGSMITH_HIDE_OUTPUTS"
    assert (ANA in told) is not hashed
    assert (hide({"user_id": ANA})["user_id"] in told) is hashed


def test_what_holds_an_id_is_hashed_and_nothing_else():
    hide = hash_user_ids("a secret")
    told = {"user": ANA, "persona": {"turn": {"user": ANA, "id": 1}}, "list": [{"user_id": 7}, ANA], "user_id": ""}
    ana, seven = hide({"user": ANA})["user"], hide({"user": "7"})["user"]
    assert hide(told) == {
        "user": ana,
        "persona": {"turn": {"user": ana, "id": 1}},
        "list": [{"user_id": seven}, ANA],
        "user_id": "",
    }
    assert hash_user_ids("a long secret")({"user": ANA})["user"] != ana
    assert hide({"user": {"user_id": None}, "user_id": True}) == {"user": {"user_id": None}, "user_id": True}
