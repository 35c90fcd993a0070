"""The ten ways by which a user reaches the retriever, sync and async: each gets this user's ranking and no other's."""

from __future__ import annotations

import logging
import operator
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict, TypeVar

import chromadb
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import create_retriever_tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from pydantic import BaseModel

from langchain_persona.learning import VARSConfig, WindowedRidge
from langchain_persona.memory import PersonaMemory
from langchain_persona.retrieval import VARSRetriever
from langchain_persona.retrieval import retriever as module
from langchain_persona.testing import HashEmbeddings
from tests.retrievals import ids, run

T = TypeVar("T")

QUERY = "a film for tonight"
TEXTS = {
    "western": "film with horses and dust",
    "space": "film with rockets and stars",
    "love": "film with roses and tears",
    "crime": "film with guns and rain",
    "cook": "film with pots and pans",
    "sea": "film with ships and storms",
}


def filled() -> chromadb.Collection:
    model = HashEmbeddings(32)
    collection = chromadb.EphemeralClient().create_collection(
        f"t{uuid.uuid4().hex}", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    collection.add(
        ids=list(TEXTS), documents=list(TEXTS.values()), embeddings=model.embed_documents(list(TEXTS.values()))
    )
    return collection


@pytest.fixture(scope="module")
def collection() -> chromadb.Collection:
    return filled()


@pytest.fixture(params=["memory", "sqlite"])
def store(request) -> Iterator[BaseStore]:
    if request.param == "memory":
        yield InMemoryStore()
    else:
        with SqliteStore.from_conn_string(":memory:") as store:
            store.setup()
            yield store


def retriever_over(collection: chromadb.Collection, store: BaseStore, **options: Any) -> VARSRetriever:
    memory = PersonaMemory(store=store, config=VARSConfig(rule=WindowedRidge(gain=20.0)))  # every bonus reaches its cap
    return VARSRetriever(
        vectorstore=collection, embeddings=HashEmbeddings(32), memory=memory, **{"k": 3, "max_bonus": 2.0, **options}
    )


def teach(retriever: VARSRetriever, user: object, liked: str, session: str = "t1") -> None:
    """Three thumbs for one document, until it leads."""
    docs = retriever.invoke(QUERY, user_id=user, session_id=session, k=len(TEXTS))
    for _ in range(3):
        retriever.feedback(next(doc for doc in docs if doc.id == liked), 1.0, user_id=user)
    assert retriever.invoke(QUERY, user_id=user)[0].id == liked


class Taught:
    """A retriever on which ana likes one film, and everybody's plain ranking."""

    def __init__(self, collection: chromadb.Collection) -> None:
        self.retriever = retriever_over(collection, InMemoryStore())
        self.plain = ids(self.retriever.invoke(QUERY))
        self.liked = ids(self.retriever.invoke(QUERY, k=len(TEXTS)))[-1]
        teach(self.retriever, "ana", self.liked)
        self.anas = ids(self.retriever.invoke(QUERY, user_id="ana"))


@pytest.fixture(scope="module")
def taught(collection) -> Taught:
    made = Taught(collection)
    assert made.anas[0] == made.liked
    assert made.plain != made.anas
    return made


class State(TypedDict, total=False):
    question: str
    docs: list[Document]
    seen: Annotated[list[str], operator.add]


@dataclass
class DataclassContext:
    user_id: str


class ModelContext(BaseModel):
    user_id: str


def config_of(user: str) -> RunnableConfig:
    return {"configurable": {"user_id": user, "thread_id": "t1"}}


def compiled(node: Any, schema: Any = None, state: Any = State) -> Any:
    builder = StateGraph(state, context_schema=schema)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    return builder.compile()


async def call(runnable: Any, value: Any, config: Any, mode: str, **arguments: Any) -> Any:
    if mode == "async":
        return await runnable.ainvoke(value, config, **arguments)
    return runnable.invoke(value, config, **arguments)


def outcome(coroutine: Coroutine[Any, Any, T], mode: str) -> T:
    """What a coroutine gives; one that only makes sync calls is driven without an event loop."""
    if mode == "async":
        return run(lambda: coroutine)
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it awaited something")


Shape = Callable[[VARSRetriever, str, str], Any]


async def by_config(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    return await call(retriever, QUERY, config_of(user), mode)


async def by_with_config(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    return await call(retriever.with_config(configurable={"user_id": user}), QUERY, None, mode)


async def by_batch(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    """Several users at once: each its own config."""
    configs = [config_of("stranger"), config_of(user), config_of("stranger")]
    found = await retriever.abatch([QUERY] * 3, configs) if mode == "async" else retriever.batch([QUERY] * 3, configs)
    assert ids(found[0]) == ids(found[2])
    return found[1]


async def by_first_in_a_chain(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    return await call(retriever | RunnableLambda(lambda docs: docs), QUERY, config_of(user), mode)


async def by_middle_of_a_chain(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    chain = (
        RunnableLambda(lambda text: text["q"])
        | {"docs": retriever, "same": RunnableLambda(str)}
        | RunnableLambda(lambda both: both["docs"])
    )
    return await call(chain, {"q": QUERY}, config_of(user), mode)


def _node(retriever: VARSRetriever, mode: str, *, hand_on: bool) -> Any:
    if mode == "async":

        async def anode(state: State, config: RunnableConfig) -> State:
            return {"docs": await (retriever.ainvoke(QUERY, config) if hand_on else retriever.ainvoke(QUERY))}

        return anode

    def node(state: State, config: RunnableConfig) -> State:
        return {"docs": retriever.invoke(QUERY, config) if hand_on else retriever.invoke(QUERY)}

    return node


async def by_node_with_config(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    return (await call(compiled(_node(retriever, mode, hand_on=True)), {}, config_of(user), mode))["docs"]


async def by_node_without_config(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    return (await call(compiled(_node(retriever, mode, hand_on=False)), {}, config_of(user), mode))["docs"]


async def by_chain_as_node(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    chain = RunnableLambda(lambda state: state["question"]) | retriever | RunnableLambda(lambda docs: {"docs": docs})
    return (await call(compiled(chain), {"question": QUERY}, config_of(user), mode))["docs"]


async def by_chain_as_node_and_context(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    """Inside such a chain LangGraph's `get_runtime()` raises on its own."""
    chain = RunnableLambda(lambda state: state["question"]) | retriever | RunnableLambda(lambda docs: {"docs": docs})
    return (await call(compiled(chain), {"question": QUERY}, None, mode, context={"user_id": user}))["docs"]


async def _through_a_tool(retriever: VARSRetriever, mode: str, config: Any, **arguments: Any) -> list[Document]:
    tool = create_retriever_tool(retriever, "films", "Finds films.", response_format="content_and_artifact")
    wish = AIMessage("", tool_calls=[{"name": "films", "args": {"query": QUERY}, "id": "c1"}])
    found = await call(compiled(ToolNode([tool]), state=MessagesState), {"messages": [wish]}, config, mode, **arguments)
    message = found["messages"][-1]
    assert message.status == "success", message.content
    return message.artifact


async def by_tool(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    return await _through_a_tool(retriever, mode, config_of(user))


async def by_tool_and_context(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    return await _through_a_tool(retriever, mode, None, context={"user_id": user})


async def by_keyword(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    return await call(retriever, QUERY, config_of("stranger"), mode, user_id=user)


async def by_mapping_context(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    graph = compiled(_node(retriever, mode, hand_on=False))
    return (await call(graph, {}, config_of("stranger"), mode, context={"user_id": user}))["docs"]


async def by_dataclass_context(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    graph = compiled(_node(retriever, mode, hand_on=True), DataclassContext)
    return (await call(graph, {}, None, mode, context=DataclassContext(user)))["docs"]


async def by_pydantic_context(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    graph = compiled(_node(retriever, mode, hand_on=True), ModelContext)
    return (await call(graph, {}, None, mode, context=ModelContext(user_id=user)))["docs"]


async def by_constructor_default(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    own = VARSRetriever(
        vectorstore=retriever.vectorstore,
        embeddings=retriever.embeddings,
        memory=retriever.memory,
        k=3,
        max_bonus=2.0,
        user_id=user,
    )
    return await call(own, QUERY, None, mode)


async def by_subgraph(retriever: VARSRetriever, user: str, mode: str) -> list[Document]:
    outer = compiled(compiled(_node(retriever, mode, hand_on=False)))
    return (await call(outer, {}, None, mode, context={"user_id": user}))["docs"]


SHAPES: list[Shape] = [
    by_config,
    by_with_config,
    by_batch,
    by_first_in_a_chain,
    by_middle_of_a_chain,
    by_node_with_config,
    by_node_without_config,
    by_chain_as_node,
    by_chain_as_node_and_context,
    by_tool,
    by_tool_and_context,
    by_keyword,
    by_mapping_context,
    by_dataclass_context,
    by_pydantic_context,
    by_constructor_default,
    by_subgraph,
]


MODES = pytest.mark.parametrize("mode", ["sync", "async"])


@MODES
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_reaches_the_user(shape, mode, taught):
    mine, other, nobody = (outcome(shape(taught.retriever, user, mode), mode) for user in ("ana", "bo", ""))
    assert ids(mine) == taught.anas
    assert mine[0].metadata["persona"]["long"] > 0
    assert ids(other) == taught.plain
    assert other[0].metadata["persona"]["long"] == 0.0
    assert ids(nobody) == taught.plain
    assert nobody[0].metadata["persona"]["retrieval_id"] is None


@MODES
def test_no_user_at_all_is_anonymous_and_said_once(mode, taught, caplog):
    module._tell_anonymous.cache_clear()
    caplog.set_level(logging.INFO, "langchain_persona")
    for _ in range(2):
        docs = outcome(call(taught.retriever, QUERY, None, mode), mode)
    assert [one.levelname for one in caplog.records] == ["INFO"]
    assert ids(docs) == taught.plain
    assert {doc.metadata["persona"]["retrieval_id"] for doc in docs} == {None}


@MODES
def test_feedback_finds_the_user_the_same_ways(mode, collection):
    retriever = retriever_over(collection, InMemoryStore())
    docs = retriever.invoke(QUERY, config_of("ana"))

    def given(*arguments: Any, **options: Any) -> Any:
        if mode == "async":
            return run(lambda: retriever.afeedback(*arguments, **options))
        return retriever.feedback(*arguments, **options)

    assert given(docs[0], 1.0, config_of("ana")).applied
    assert given(docs, 1.0, user_id="ana").applied
    assert not given(docs[1], 1.0, user_id="bo").applied  # not bo's retrieval
    assert retriever.memory.vectors("ana").count == 2
    assert retriever.memory.vectors("bo").count == 0

    async def node(state: State) -> State:  # feedback in a node finds the context's user
        await retriever.afeedback(docs[1], 1.0)
        return {}

    run(lambda: compiled(node).ainvoke({}, context={"user_id": "ana"}))
    assert retriever.memory.vectors("ana").count == 3


def test_the_short_term_vector_belongs_to_the_thread(collection):
    retriever = retriever_over(collection, InMemoryStore())
    teach(retriever, "ana", "western", session="t1")
    same = retriever.invoke(QUERY, config_of("ana"))
    other = retriever.invoke(QUERY, {"configurable": {"user_id": "ana", "thread_id": "t2"}})
    assert same[0].metadata["persona"]["short"] != 0.0
    assert other[0].metadata["persona"]["short"] == 0.0
    assert other[0].metadata["persona"]["long"] != 0.0


# ids of all kinds -----------------------------------------------------------------------------------------------------

IDS: list[Any] = [
    "a@b.c",
    7,
    "user-1",
    "user-10",
    "user-1.feedback",
    "..",
    "🦉 Ünï",
    "x" * 2_000,
    "x" * 2_001,
    "Ana",
    "ana",
    "a_b",
    "aXb",
    "%",
    " ana",
    "langgraph",
    uuid.UUID(int=9),
]


def test_law_4_each_id_works_and_is_isolated_from_all_others(store, collection):
    retriever = retriever_over(collection, store)
    plain = ids(retriever.invoke(QUERY))
    wishes = {user: list(TEXTS)[index % len(TEXTS)] for index, user in enumerate(IDS)}
    for done, user in enumerate(IDS):
        for stranger in IDS[done:]:
            assert retriever.memory.vectors(stranger).count == 0
        assert ids(retriever.invoke(QUERY, user_id=user)) == plain
        docs = retriever.invoke(QUERY, user_id=user, k=len(TEXTS))
        liked = next(doc for doc in docs if doc.id == wishes[user])
        for number in range(3):
            assert retriever.feedback(liked, 1.0, user_id=user, key=f"{number}").applied
    for user in IDS:
        best = retriever.invoke(QUERY, user_id=user, k=len(TEXTS))
        assert max(best, key=lambda doc: doc.metadata["persona"]["long"]).id == wishes[user]
        assert {rating.documents for rating in retriever.memory.ratings(user)} == {(wishes[user],)}
        assert retriever.memory.vectors(user).count == 3
    assert retriever.memory.vectors("7").count == 3  # seven and "7" are one user


class Counting(InMemoryStore):
    """Counts what is asked of it."""

    asked = 0

    def batch(self, ops):
        self.asked += 1
        return super().batch(ops)


@pytest.mark.parametrize("nobody", ["", None, "   ", "\t\n"])
@MODES
def test_law_4_nothing_is_read_or_written_for_the_anonymous(nobody, mode, collection):
    store = Counting()
    retriever = retriever_over(collection, store)
    docs = outcome(call(retriever, QUERY, {"configurable": {"user_id": nobody}}, mode), mode)
    assert len(docs) == 3
    assert not retriever.feedback(docs[0], 1.0).applied
    cards = PersonaMemory(store, HashEmbeddings(32)).as_retriever()
    assert outcome(call(cards, QUERY, {"configurable": {"user_id": nobody}}, mode), mode) == []
    assert store.asked == 0
    assert store.search(()) == []
