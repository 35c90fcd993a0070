"""RuntimeStore: whatever store the running graph has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from typing_extensions import TypedDict

from langchain_persona import ConfigError, PersonaMemory
from langchain_persona.runtime_store import RuntimeStore

NAMESPACE = ("persona", "notes")


class State(TypedDict, total=False):
    seen: Any


def graph_of(node: Callable[[State], Any], store: BaseStore | None) -> Any:
    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    return builder.compile(store=store)


def test_each_graph_gets_its_own_store():
    store = RuntimeStore()

    def node(state: State) -> State:
        before = store.get(NAMESPACE, "key")
        store.put(NAMESPACE, "key", {"text": "kept"})
        return {"seen": None if before is None else before.value}

    one, two = InMemoryStore(), InMemoryStore()
    assert graph_of(node, one).invoke({})["seen"] is None
    assert graph_of(node, one).invoke({})["seen"] == {"text": "kept"}
    assert graph_of(node, two).invoke({})["seen"] is None
    assert one.get(NAMESPACE, "key").value == two.get(NAMESPACE, "key").value == {"text": "kept"}


async def test_the_async_twin_gets_it_too():
    store, own = RuntimeStore(), InMemoryStore()

    async def node(state: State) -> State:
        await store.aput(NAMESPACE, "key", {"text": "kept"})
        return {"seen": [item.key for item in await store.asearch(NAMESPACE)]}

    assert (await graph_of(node, own).ainvoke({}))["seen"] == ["key"]
    assert own.get(NAMESPACE, "key").value == {"text": "kept"}


def test_the_graphs_store_goes_before_the_fallback():
    fallback, own = InMemoryStore(), InMemoryStore()
    store = RuntimeStore(fallback)

    def node(state: State) -> State:
        store.put(NAMESPACE, "key", {"text": "inside"})
        return {}

    store.put(NAMESPACE, "key", {"text": "outside"})
    graph_of(node, own).invoke({})
    assert fallback.get(NAMESPACE, "key").value == {"text": "outside"}
    assert own.get(NAMESPACE, "key").value == {"text": "inside"}


@pytest.mark.parametrize("compiled_with_it", [False, True])
def test_a_graph_without_another_store_uses_the_fallback(compiled_with_it):
    fallback = InMemoryStore()
    store = RuntimeStore(fallback)

    def node(state: State) -> State:
        store.put(NAMESPACE, "key", {"text": "kept"})
        return {}

    graph_of(node, store if compiled_with_it else None).invoke({})
    assert fallback.get(NAMESPACE, "key").value == {"text": "kept"}


async def test_without_any_store_it_says_what_to_do():
    store = RuntimeStore()
    with pytest.raises(ConfigError, match="give RuntimeStore a fallback"):
        store.get(NAMESPACE, "key")
    with pytest.raises(ConfigError, match="compile it with store="):
        await store.aget(NAMESPACE, "key")

    def node(state: State) -> State:
        return {"seen": store.get(NAMESPACE, "key")}

    with pytest.raises(ConfigError, match="no graph with a store runs here"):
        graph_of(node, None).invoke({})


def test_the_fallback_must_be_a_store():
    with pytest.raises(ConfigError, match="must be a LangGraph BaseStore, got dict"):
        RuntimeStore({})  # type: ignore[arg-type]


async def test_a_memory_made_at_import_keeps_everything_in_the_graphs_store():
    memory, own = PersonaMemory(RuntimeStore()), InMemoryStore()

    async def node(state: State) -> State:
        return {"seen": (await memory.avectors("ana")).count}

    assert (await graph_of(node, own).ainvoke({}))["seen"] == 0
    assert graph_of(lambda state: {"seen": memory.vectors("ana").count}, own).invoke({})["seen"] == 0
