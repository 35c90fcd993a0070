"""What the tests of graph and middleware share: a memory, a store that fails on demand, documents, and turns."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import SystemMessage
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from langchain_persona import PersonaMemory, VARSRetriever, create_persona_graph
from langchain_persona.records import Episode
from langchain_persona.reflection import Exchange, Findings, Operation
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel

BASE = "You are the host's assistant."
EMBEDDINGS = HashEmbeddings(64)
FILMS = ("horror film cabin", "horror film ghost", "comedy film wedding", "comedy film dog", "whale film documentary")


class GoneError(ConnectionError):
    """What a store raises that is not there."""


class FailingStore(InMemoryStore):
    """A store that counts its batches and raises at one of them, or at all.

    Attributes:
        count: batches so far.
        fails: positions of the batches that raise.
        dead: True raises at every one.
        late: True does the work before it raises, as when the answer is lost on the way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.fails: set[int] = set()
        self.dead = False
        self.late = False

    def batch(self, ops: Any) -> Any:
        ops = list(ops)
        self.count += 1
        fails = self.dead or self.count - 1 in self.fails
        if fails and not self.late:
            raise GoneError("the store is gone: ana's secret words")
        results = super().batch(ops)
        if fails:
            raise GoneError("the answer of the store is lost: ana's secret words")
        return results

    async def abatch(self, ops: Any) -> Any:
        return self.batch(ops)


def new_memory(store: BaseStore | None = None, **options: Any) -> PersonaMemory:
    return PersonaMemory(InMemoryStore() if store is None else store, EMBEDDINGS, **options)


def films(
    memory: PersonaMemory, texts: Sequence[str] = FILMS, *, k: int = 2, embeddings: HashEmbeddings = EMBEDDINGS
) -> VARSRetriever:
    store = InMemoryVectorStore(embeddings)
    store.add_texts(list(texts), ids=[str(number) for number in range(len(texts))])
    return VARSRetriever(vectorstore=store, memory=memory, k=k)


def echo() -> ScriptedChatModel:
    return ScriptedChatModel(lambda messages: f"answer to: {messages[-1].text.splitlines()[0]}")


def config_of(thread: str = "t1") -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}


class Noting:
    """A reflection that makes a card of every message, and remembers what it saw."""

    def __init__(self, name: str = "noting", error: BaseException | None = None) -> None:
        self.name = name
        self.error = error
        self.seen: list[str] = []

    def reflect(self, exchanges: Sequence[Exchange], cards: Any) -> Findings:
        if self.error is not None:
            raise self.error
        self.seen += [one.user for one in exchanges]
        return Findings(operations=tuple(Operation(text=one.user, quote=one.user[:40]) for one in exchanges))

    async def areflect(self, exchanges: Sequence[Exchange], cards: Any) -> Findings:
        return self.reflect(exchanges, cards)


class Agent:
    """The prebuilt graph, compiled, with short words for a turn."""

    def __init__(
        self, model: Any, memory: PersonaMemory, *, how: str = "invoke", saver: Any = None, **options: Any
    ) -> None:
        given = {"system_prompt": BASE, "reflection": "verbatim", **options}
        self.model, self.memory, self.how, self.saver = model, memory, how, saver or InMemorySaver()
        self.graph = create_persona_graph(model, memory=memory, **given).compile(checkpointer=self.saver)

    async def run(self, given: Any, thread: str = "t1", user: Any = "ana", **context: Any) -> dict[str, Any]:
        """One run, in the way of `how`, and what goes on behind it; what it gives back."""
        named = {} if user is None else {"user_id": user}
        return await run(self.graph, given, config_of(thread), {**named, **context}, self.how, self.memory)

    async def say(
        self, text: str | None, thread: str = "t1", user: Any = "ana", feedback: Any = None
    ) -> dict[str, Any]:
        """One turn; the key `persona` of the state afterwards."""
        given: dict[str, Any] = {} if text is None else {"messages": [("user", text)]}
        if feedback is not None:
            given["persona"] = {"feedback": feedback}
        await self.run(given, thread, user)
        return await self.state(thread)

    async def state(self, thread: str = "t1") -> dict[str, Any]:
        snapshot = await asyncio.to_thread(self.graph.get_state, config_of(thread))
        return snapshot.values.get("persona") or {}

    async def answer(self, thread: str = "t1") -> str:
        snapshot = await asyncio.to_thread(self.graph.get_state, config_of(thread))
        return snapshot.values["messages"][-1].text

    @property
    def prompt(self) -> str:
        """The system prompt of the latest model call; "" without one."""
        first = self.model.calls[-1][0]
        return first.text if isinstance(first, SystemMessage) else ""

    @property
    def sent(self) -> str:
        """The last message of the latest model call."""
        return self.model.calls[-1][-1].text


async def run(graph: Any, given: Any, config: Any, context: Any, how: str, memory: PersonaMemory) -> dict[str, Any]:
    """One run by `how`: invoke, ainvoke, stream or astream; waits for the work behind the answer."""

    def synchronous() -> dict[str, Any]:
        if how == "invoke":
            state = graph.invoke(given, config, context=context)
        else:
            *_, state = graph.stream(given, config, context=context, stream_mode="values")
        assert memory.drain(30)
        return state  # type: ignore[no-any-return]

    if how in ("invoke", "stream"):
        return await asyncio.to_thread(synchronous)
    if how == "ainvoke":
        state = await graph.ainvoke(given, config, context=context)
    else:
        state = [part async for part in graph.astream(given, config, context=context, stream_mode="values")][-1]
    assert await memory.adrain(30)
    return state  # type: ignore[no-any-return]


def warnings_of(caplog: Any) -> list[str]:
    """What this package warned of since the log was last cleared, and clears it."""
    found = [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("langchain_persona")
    ]
    caplog.clear()
    return found


async def texts_of(memory: PersonaMemory, user: str = "ana") -> list[str]:
    return [card.text for card in await memory.apreferences(user)]


async def stored(memory: PersonaMemory) -> str:
    """Everything in the store as text."""
    items = await asyncio.to_thread(memory.store.search, (), limit=10_000)
    return json.dumps([item.value for item in items], default=str, ensure_ascii=False)


async def pending(memory: PersonaMemory, user: str = "ana") -> list[str]:
    """Messages that wait for a reflection."""
    return [mark.episode.query for mark in await asyncio.to_thread(memory.episodes.pending, user)]


async def episodes_of(memory: PersonaMemory, user: str = "ana") -> list[Episode]:
    return await asyncio.to_thread(memory.episodes.all, user)


async def half_written(memory: PersonaMemory, user: str = "ana") -> list[str]:
    """What does not fit together in the store, in words; nothing does where [] comes back."""
    cards = {card.id: card for card in await memory.apreferences(user, all=True)}
    found = [
        f"{one.text}: no successor" for one in cards.values() if one.retired and one.retired.by not in {None, *cards}
    ]
    texts = [card.text for card in cards.values() if card.active]
    found += [f"twice: {text}" for text in set(texts) if texts.count(text) > 1]
    persona = await memory.apersona(user)
    numbers = [revision.number for revision in await memory.ahistory(user)]
    if persona.revision.number and persona.revision.number not in numbers:
        found.append(f"the persona in force is revision {persona.revision.number}, history has {numbers}")
    known = {episode.id for episode in await episodes_of(memory, user)}
    marks = await asyncio.to_thread(memory.episodes.pending, user)
    return found + [f"a mark without an episode: {one.episode.id}" for one in marks if one.episode.id not in known]
