"""RuntimeStore: whatever store the running graph has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from typing_extensions import TypedDict

from langchain_persona import ConfigError, PersonaMemory, RuntimeStore

PLACE = ("persona", "notes")


class State(TypedDict, total=False):
    seen: Any


def graph_of(node: Callable[[State], Any], store: BaseStore | None) -> Any:
    return StateGraph(State).add_node("node", node).add_edge(START, "node").compile(store=store)


def test_each_graph_has_its_own_store_ahead_of_the_fallback():
    fallback, one, two = InMemoryStore(), InMemoryStore(), InMemoryStore()
    store = RuntimeStore(fallback)

    def node(state: State) -> State:
        before = store.get(PLACE, "key")
        store.put(PLACE, "key", {"text": "kept"})
        return {"seen": None if before is None else before.value}

    assert [graph_of(node, own).invoke({})["seen"] for own in (one, one, two)] == [None, {"text": "kept"}, None]
    assert fallback.get(PLACE, "key") is None
    assert graph_of(node, None).invoke({})["seen"] is None  # a graph without one uses the fallback
    assert graph_of(node, store).invoke({})["seen"] == {"text": "kept"}  # and so does one that was compiled with it
    store.put(PLACE, "key", {"text": "outside"})
    assert fallback.get(PLACE, "key").value == {"text": "outside"}


async def test_without_any_store_it_says_what_to_do():
    store = RuntimeStore()
    with pytest.raises(ConfigError, match="give RuntimeStore a fallback"):
        store.get(PLACE, "key")
    with pytest.raises(ConfigError, match="compile it with store="):
        await store.aget(PLACE, "key")
    graph = graph_of(lambda state: {"seen": PersonaMemory(store).preferences("ana")}, None)
    with pytest.raises(ConfigError, match="no graph with a store runs here"):  # a developer's mistake, not a failure
        await asyncio.to_thread(graph.invoke, {})
    with pytest.raises(ConfigError, match="must be a LangGraph BaseStore, got dict"):
        RuntimeStore({})


async def test_a_memory_made_at_import_keeps_everything_in_the_graphs_store():
    memory, own = PersonaMemory(RuntimeStore()), InMemoryStore()

    async def write(state: State) -> State:
        return {"seen": await memory.aremember("ana", "likes tea")}

    card = (await graph_of(write, own).ainvoke({}))["seen"]
    read = graph_of(lambda state: {"seen": memory.preferences("ana")}, own)
    assert (await asyncio.to_thread(read.invoke, {}))["seen"] == [card]
    assert await PersonaMemory(own).apreferences("ana") == [card]
