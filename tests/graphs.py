"""What the tests of graph and middleware share: a memory, a store and a collection that fail on demand, and turns."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import uuid
from collections.abc import Sequence
from typing import Any

import chromadb
from langchain_core.messages import SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from langchain_persona import PersonaMemory, VARSRetriever
from langchain_persona.effects import Steps
from langchain_persona.extraction import Turn
from langchain_persona.graph import create_persona_graph
from langchain_persona.records import Evidence, PreferenceCard
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel

BASE = "You are the host's assistant."
EMBEDDINGS = HashEmbeddings(64)
FILMS = ("horror film cabin", "horror film ghost", "comedy film wedding", "comedy film dog", "whale film documentary")


class GoneError(ConnectionError):
    """What a store or collection raises that is not there."""


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
        fails = self._fails()
        if fails and not self.late:
            raise GoneError("the store is gone")
        results = super().batch(ops)
        if fails:
            raise GoneError("the answer of the store is lost")
        return results

    async def abatch(self, ops: Any) -> Any:
        return self.batch(ops)

    def _fails(self) -> bool:
        self.count += 1
        return self.dead or self.count - 1 in self.fails


class FailingCollection:
    """A Chroma collection that raises in every method while it is dead."""

    def __init__(self, real: Any, *, dead: bool = False) -> None:
        self._real = real
        self.dead = dead

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.dead:
                raise GoneError("Chroma is gone")
            return found(*args, **kwargs)

        return call


def new_collection() -> Any:
    return chromadb.EphemeralClient().create_collection(
        f"t{uuid.uuid4().hex}", embedding_function=None, metadata={"hnsw:space": "cosine"}
    )


def new_memory(store: BaseStore | None = None, cards: Any = None) -> PersonaMemory:
    return PersonaMemory(
        InMemoryStore() if store is None else store,
        cards=new_collection() if cards is None else cards,
        embeddings=EMBEDDINGS,
    )


def films(memory: PersonaMemory, texts: Sequence[str] = FILMS, *, k: int = 2) -> VARSRetriever:
    collection = new_collection()
    collection.upsert(
        ids=[str(i) for i in range(len(texts))],
        documents=list(texts),
        embeddings=EMBEDDINGS.embed_documents(list(texts)),
    )
    return VARSRetriever(vectorstore=collection, embeddings=EMBEDDINGS, memory=memory, k=k)


def echo() -> ScriptedChatModel:
    return ScriptedChatModel(lambda messages: f"answer to: {messages[-1].text}")


def config_of(thread: str = "t1") -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}


def remark(text: str) -> str:
    """Two words that are like no others: a card of its own for every message."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{digest[:8]} {digest[8:16]}"


class Noting:
    """An extractor that finds one card in every message, and remembers what it saw."""

    def __init__(self, *, always: bool = False) -> None:
        self.always = always
        self.seen: list[str] = []

    def extract(self, turns: Sequence[Turn]) -> list[PreferenceCard]:
        self.seen += [turn.user for turn in turns]
        return [
            PreferenceCard(
                note=remark(turn.user),
                always=self.always,
                evidence=(Evidence(message_id=turn.message_id, quote=turn.user),),
            )
            for turn in turns
        ]

    async def aextract(self, turns: Sequence[Turn]) -> list[PreferenceCard]:
        return self.extract(turns)


class Agent:
    """The prebuilt graph, compiled, with short words for a turn; by rules alone unless told otherwise."""

    def __init__(
        self, model: ScriptedChatModel, memory: PersonaMemory, *, how: str = "invoke", saver: Any = None, **options: Any
    ) -> None:
        given = {"extractor": "rules", "writer": None, "reconciler": None, "system_prompt": BASE, **options}
        self.model = model
        self.memory = memory
        self.how = how
        self.graph = create_persona_graph(model, memory=memory, **given).compile(checkpointer=saver or InMemorySaver())

    async def run(self, given: Any, thread: str = "t1", user: Any = "ana", **context: Any) -> dict[str, Any]:
        """One run, in the way of `how`, and what goes on behind it; the state as it ends."""
        named = {} if user is None else {"user_id": user}
        return await run(self.graph, given, config_of(thread), {**named, **context}, self.how, self.memory)

    async def say(self, text: str | None, thread: str = "t1", user: Any = "ana", **inputs: Any) -> dict[str, Any]:
        messages = {"messages": [("user", text)]} if text is not None else {}
        return await self.run({**messages, **inputs}, thread, user)

    @property
    def prompt(self) -> str:
        """The system prompt of the latest model call; "" without one."""
        first = self.model.calls[-1][0]
        return first.text if isinstance(first, SystemMessage) else ""


async def run(graph: Any, given: Any, config: Any, context: Any, how: str, memory: PersonaMemory) -> dict[str, Any]:
    """One run by `how`: invoke, ainvoke, stream or astream; waits for the work behind the answer."""

    def synchronous() -> dict[str, Any]:
        if how == "invoke":
            state = graph.invoke(given, config, context=context)
        else:
            *_, state = graph.stream(given, config, context=context, stream_mode="values")
        assert memory.drain(30)
        memory.background.submit(_nothing())  # what is logged about a job comes after it, in the same thread
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


def _nothing() -> Steps[None]:
    yield from ()


def warnings_of(caplog: Any) -> list[str]:
    """What this package warned of since the log was last cleared, and clears it."""
    found = [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("langchain_persona")
    ]
    caplog.clear()
    return found


def stored(memory: PersonaMemory) -> str:
    """Everything in the store as text."""
    return json.dumps([item.value for item in memory.store.search((), limit=10_000)], default=str, ensure_ascii=False)


def half_written(memory: PersonaMemory, user: str = "ana") -> list[str]:
    """What does not fit together in the store, in words; nothing does where [] comes back."""
    cards = {card.id: card for card in memory.preferences(user, all=True)}
    found = [f"{card.note}: its successor is missing" for card in cards.values() if not _followed(card, cards)]
    notes = [card.note for card in cards.values() if card.active]
    found += [f"twice: {note}" for note in set(notes) if notes.count(note) > 1]
    persona = memory.persona(user)
    numbers = [revision.number for revision in memory.history(user)]
    if persona.revision.number and persona.revision.number not in numbers:
        found.append(f"the persona in force is revision {persona.revision.number}, history has {numbers}")
    if len(numbers) != len(set(numbers)):
        found.append(f"numbers of revisions twice: {numbers}")
    episodes = {item.key for item in memory.store.search(memory.ledger.namespace(user, "episodes"), limit=1_000)}
    marks = {item.key for item in memory.store.search(("persona", "pending"), limit=1_000)}
    found += [f"a mark without an episode: {key}" for key in marks - episodes]
    return found


def _followed(card: PreferenceCard, cards: dict[str, PreferenceCard]) -> bool:
    return card.superseded_by is None or card.superseded_by in cards


def unlearned(memory: PersonaMemory, user: str = "ana") -> list[str]:
    """Messages of episodes that are marked as done and left no card, where `Noting` is the extractor."""
    marks = {item.key for item in memory.store.search(("persona", "pending"), limit=1_000)}
    notes = {card.note for card in memory.preferences(user, all=True)}
    episodes = memory.store.search(memory.ledger.namespace(user, "episodes"), limit=1_000)
    return [
        item.value["query"] for item in episodes if item.key not in marks and remark(item.value["query"]) not in notes
    ]
