"""Law 3: whatever fails beside the answer, the answer comes; one warning a turn, nothing half-written."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.store.memory import InMemoryStore

from langchain_persona import PersonaMemory, VARSRetriever
from langchain_persona.agent import reflector
from langchain_persona.errors import StoreError
from langchain_persona.reflection import Findings
from langchain_persona.retrieval.sources import Source
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel
from tests.graphs import (
    BASE,
    EMBEDDINGS,
    Agent,
    FailingStore,
    Noting,
    config_of,
    echo,
    films,
    half_written,
    new_memory,
    pending,
    texts_of,
    warnings_of,
)

TURNS: tuple[tuple[str, Any], ...] = (
    ("Please always answer in German. A horror film?", None),
    ("I live in Berlin. And a comedy film?", 1),
)
HOWS = ("invoke", "ainvoke")


def full(memory: PersonaMemory, how: str, **options: Any) -> Agent:
    """Everything that uses the store at once."""
    return Agent(echo(), memory, how=how, retriever=films(memory), align_every=1, **options)


async def healthy_batches(how: str) -> int:
    memory = new_memory(store := FailingStore())
    agent = full(memory, how)
    store.count = 0
    for text, feedback in TURNS:
        await agent.say(text, feedback=feedback)
    return store.count


@pytest.mark.parametrize("late", [False, True], ids=["before", "after the work"])
@pytest.mark.parametrize("how", HOWS)
async def test_a_store_that_raises_at_each_single_batch_in_turn(how, late, caplog, monkeypatch):
    monkeypatch.setattr(reflector, "_QUICK", 60.0)  # or a busy machine reads once more
    total = await healthy_batches(how)
    assert 12 <= total <= 24
    caplog.clear()
    problems: list[str] = []
    for position in range(total):
        problems += [f"batch {position}: {what}" for what in await one_fault(how, position, late, caplog)]
    assert problems == []


async def one_fault(how: str, position: int, late: bool, caplog: Any) -> list[str]:
    """Two turns with a store that fails once, then a healthy one; what went wrong, in words."""
    memory = new_memory(store := FailingStore())
    agent = full(memory, how)
    store.count, store.fails, store.late = 0, {position}, late
    found = []
    for text, feedback in TURNS:
        await agent.say(text, feedback=feedback)
        if await agent.answer() != f"answer to: {text}":
            found.append("no answer")
        if not agent.prompt.startswith(BASE):
            found.append("the host's prompt is gone")
        told = warnings_of(caplog)
        if len(told) > 1:
            found.append(f"{len(told)} warnings: {told}")
    if store.count <= position:
        found.append("the batch was never reached")
    store.fails = set()
    await agent.say("Never use emojis. And a whale film?", feedback=1)
    found += [f"afterwards: {what}" for what in (*warnings_of(caplog), *await half_written(memory))]
    if "Never use emojis." not in await texts_of(memory):
        found.append("afterwards: a new statement is not kept")
    if await pending(memory):
        found.append("afterwards: an episode still waits")
    return found


@pytest.mark.parametrize("reflect", ["inline", "background"])
@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_store_that_is_dead_from_the_start_and_comes_back(how, reflect, caplog):
    memory = new_memory(store := FailingStore())
    agent = full(memory, how, reflect=reflect)
    store.dead = True
    for text, feedback in TURNS:
        state = await agent.say(text, feedback=feedback)
        assert await agent.answer() == f"answer to: {text}"
        assert [document["text"] for document in state["documents"]]  # in the plain order
        assert agent.prompt == BASE
        told = warnings_of(caplog)
        assert len(told) == 1
        assert "secret words" not in told[0]
    store.dead = False
    await agent.say("I live in Berlin.")
    assert await texts_of(memory) == ["I live in Berlin."]
    assert warnings_of(caplog) == []


class Hanging:
    """A backend that answers after half a minute, or when the test is over; `waits` counts the calls of the turn."""

    def __init__(self) -> None:
        self.over, self.dead, self.waits = threading.Event(), False, 0

    def __call__(self) -> None:
        if self.dead:
            self.waits += 1
            self.over.wait(30)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    ("what", "deadlines"),
    [
        (("store",), 1),
        (("embedder",), 1),
        (("documents",), 2),  # the spread of relevance is measured, and then searched
        (("store", "documents"), 2),
        (("store", "embedder", "documents"), 2),  # without a vector nothing is searched
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
async def test_law_3_backends_that_answer_after_30_s_cost_two_deadlines_ahead_of_the_answer(
    what, deadlines, how, caplog
):
    hang = Hanging()

    class Store(FailingStore):
        def batch(self, ops: Any) -> Any:
            if "store" in what:
                hang()
            return super().batch(ops)

    class Model(HashEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            if "embedder" in what:
                hang()
            return super().embed_query(text)

    class Documents(InMemoryVectorStore):
        def similarity_search_by_vector(self, *args: Any, **options: Any) -> Any:
            if "documents" in what:
                hang()
            return super().similarity_search_by_vector(*args, **options)

    memory = PersonaMemory(Store(), model := Model(64), timeout_seconds=0.5)
    documents = Documents.from_texts(["horror film cabin"], model)
    waits: list[int] = []

    def answer(messages: Any) -> str:
        waits.append(hang.waits)
        return f"answer to: {messages[-1].text.splitlines()[0]}"

    retriever = VARSRetriever(vectorstore=documents, memory=memory, k=1)
    agent = Agent(ScriptedChatModel(answer), memory, how=how, retriever=retriever)
    await agent.say("I live in Berlin.")
    hang.dead = True
    await agent.say("I love horror films.", feedback=1)
    assert await agent.answer() == "answer to: I love horror films."
    assert waits == [0, deadlines]
    assert len(warnings_of(caplog)) == 1
    hang.dead = False
    hang.over.set()
    while memory._store._silent:  # noqa: ASYNC110  # what hung comes back
        await asyncio.sleep(0.001)
    await agent.say("I love whale films.")
    assert warnings_of(caplog) == []
    assert await half_written(memory) == []
    assert {"I live in Berlin.", "I love whale films."} <= set(await texts_of(memory))


class Deaf(Embeddings):
    """Raises, and tells how often it was asked."""

    dead = True

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if self.dead:
            raise ConnectionError("no embeddings for ana's secret words")
        return EMBEDDINGS.embed_documents(texts)


@pytest.mark.parametrize("how", HOWS)
async def test_without_embeddings_the_text_is_kept_and_shown(how, caplog):
    memory = PersonaMemory(FailingStore(), deaf := Deaf())
    agent = Agent(echo(), memory, how=how, budget_tokens=100)
    for number in range(5):
        await agent.say(f"I love hobby number {number}, more than anything else in this whole wide world.")
        assert len(warnings_of(caplog)) == 1  # no vector yet; then also no ranking
    await agent.say("and now?")
    assert "hobby number 4" in agent.sent  # beyond the budget: the newest
    assert len(warnings_of(caplog)) == 1
    deaf.dead = False
    await agent.say("hobby number 1?")
    assert warnings_of(caplog) == []
    assert len((await asyncio.to_thread(memory.cards.embedded, "ana")).active) == 5


@pytest.mark.parametrize("how", HOWS)
async def test_the_hosts_vector_store_is_gone(how, caplog):
    memory = new_memory()

    class Gone(Source):
        embeddings = EMBEDDINGS

        def search(self, *args: Any, **kwargs: Any) -> Any:
            raise ConnectionError("gone")

    retriever = VARSRetriever(vectorstore=Gone(), memory=memory, k=2)
    agent = Agent(echo(), memory, how=how, retriever=retriever)
    state = await agent.say("I live in Berlin. A film?")
    assert not state.get("documents")
    assert await texts_of(memory) == ["I live in Berlin."]
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize(
    "found",
    [
        RuntimeError("secret words"),
        None,
        {"operations": []},
        Findings.model_construct(operations=({"action": "erase everything"},)),  # type: ignore[arg-type]
    ],
    ids=["raises", "nothing", "a dict", "no operations"],
)
@pytest.mark.parametrize("how", HOWS)
async def test_a_reflection_that_fails_or_returns_junk(found, how, caplog):
    class Broken(Noting):
        def reflect(self, exchanges: Any, cards: Any) -> Any:
            if isinstance(found, Exception):
                raise found
            return found

        async def areflect(self, exchanges: Any, cards: Any) -> Any:
            return self.reflect(exchanges, cards)

    memory = new_memory()
    agent = Agent(echo(), memory, how=how, reflection=Broken())
    await agent.say("a question")
    assert await agent.answer() == "answer to: a question"
    told = warnings_of(caplog)
    assert len(told) == 1
    assert "secret" not in told[0]
    assert await pending(memory) == ["a question"]


async def test_memory_tools_on_a_dead_store_tell_the_model(caplog):
    memory = new_memory(store := FailingStore())
    args = {"recall": {"query": "tea"}, "remember": {"quote": "I like tea"}, "forget": {"card_ids": ["c"]}}
    calls = [{"name": name, "args": given, "id": name, "type": "tool_call"} for name, given in args.items()]
    agent = Agent(ScriptedChatModel([AIMessage("", tool_calls=calls), "Never mind."]), memory, how="ainvoke")
    store.dead = True
    await agent.say("I like tea, forget tea")
    assert await agent.answer() == "Never mind."
    assert len(warnings_of(caplog)) == 1


# cancelling and lag ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reflect", ["inline", "background"])
async def test_cancelled_at_random_points_the_next_turn_works_and_nothing_waits_for_ever(reflect, caplog):
    memory = new_memory()
    agent = full(memory, "ainvoke", reflect=reflect)
    chance = random.Random(7)
    cancelled = 0
    for number in range(60):
        turn = asyncio.create_task(agent.say(f"I love hobby number {number}.", thread=f"t{number % 5}"))
        await asyncio.sleep(chance.random() * 0.06)
        turn.cancel()
        try:
            await turn
        except asyncio.CancelledError:
            cancelled += 1
    assert cancelled > 10
    await agent.say("I live in Berlin.", thread="new")
    assert await memory.adrain(10)
    await agent.say("hello", thread="new")
    await asyncio.sleep(0.1)  # threads of cancelled runs end
    await memory.aprocess_pending("ana")
    assert await agent.answer("new") == "answer to: hello"
    assert "I live in Berlin." in await texts_of(memory)
    assert await pending(memory) == []
    assert await half_written(memory) == []


async def test_what_eight_chats_are_told_at_once_is_kept_once():
    store = InMemoryStore()
    agents = [Agent(echo(), new_memory(store), how="ainvoke") for _ in range(8)]  # as many processes
    for text in ("I love tea.", "I live in Berlin."):
        await asyncio.gather(*(agent.say(text, thread=f"t{place}") for place, agent in enumerate(agents)))
    for agent in agents:
        assert sorted(await texts_of(agent.memory)) == ["I live in Berlin.", "I love tea."]
        assert await half_written(agent.memory) == []


@pytest.mark.parametrize(
    "text", ["我喜欢喝茶。今天天气很好。" * 8_000, "I love tea, and it rains. " * 4_000], ids=["zh", "en"]
)
async def test_a_long_message_never_holds_the_event_loop(text):
    memory = new_memory()
    agent = full(memory, "ainvoke")
    await agent.say("warm up, I love tea")
    # a busy machine is late by itself: what holds the loop does so every time
    assert min([await lateness(agent, text, f"long{number}") for number in range(4)]) < 0.05


async def lateness(agent: Agent, text: str, thread: str) -> float:
    """By how many seconds a ticker on this loop is late, at worst, while a message is handled."""
    late = 0.0

    async def tick() -> None:
        nonlocal late
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            late = max(late, time.perf_counter() - before - 0.005)

    ticker = asyncio.create_task(tick())
    await agent.graph.ainvoke({"messages": [("user", text)]}, config_of(thread), context={"user_id": "ana"})
    ticker.cancel()
    return late


def test_a_store_that_hangs_for_one_user_is_not_refused_to_another():
    class Store(InMemoryStore):
        hung = True

        def batch(self, ops: Any) -> Any:
            if self.hung and any("u=ana" in str(op) for op in ops):
                time.sleep(0.4)
            return super().batch(ops)

    memory = PersonaMemory(store := Store(), timeout_seconds=0.2)
    for said in ("no answer within", "a moment ago"):
        with pytest.raises(StoreError, match=said):
            memory.preferences("ana")
    assert memory.remember("bob", "Drinks tea.").text == "Drinks tea."
    store.hung = False
    assert memory.preferences("ana") == []  # bob's answer shows that the store is back
