"""One walk through the whole public surface, over whatever store: called, awaited, and as a graph inside a server."""

import asyncio
import uuid
from pathlib import Path
from typing import Any, TypedDict

from langchain.agents import create_agent
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore

from langchain_persona import (
    PersonaContext,
    PersonaMemory,
    PersonaMiddleware,
    RuntimeStore,
    VARSRetriever,
    create_persona_graph,
)
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel

ANA, BOB = "ana@example.com", "bob@example.com"
FILMS = ["horror film cabin", "comedy film wedding", "comedy film dog", "whale film documentary"]


def _films(memory: PersonaMemory, size: int = 64) -> VARSRetriever:
    store = InMemoryVectorStore.from_texts(FILMS, HashEmbeddings(size), ids=FILMS)
    return VARSRetriever(vectorstore=store, memory=memory, k=2)


async def walk(store: BaseStore, folder: Path, *, awaits: bool) -> list[str]:
    """Use every method of a memory, a retriever, the graph and the middleware; the names of the memory's methods.

    Each is called in a worker thread, or its async twin is awaited.
    """
    used = set[str]()
    memory = PersonaMemory(store, HashEmbeddings(64), timeout_seconds=60, namespace=(f"surface{uuid.uuid4().hex}",))

    async def use(name: str, *arguments: Any, of: Any = memory, **options: Any) -> Any:
        if of is memory:
            used.add(name)
        if awaits:
            return await getattr(of, f"a{name}")(*arguments, **options)
        return await asyncio.to_thread(getattr(of, name), *arguments, **options)

    # thumbs
    films = _films(memory)
    first = await use("invoke", "a film", of=films, user_id=ANA)
    liked = first[-1]
    thumb = await use("feedback", ANA, liked.metadata["persona"]["retrieval_id"], reward=1.0, docs=liked)
    down, again = [await use("feedback", first[0], -1.0, of=films, user_id=ANA) for _ in range(2)]
    assert thumb.applied
    assert down.applied
    moved = {one.id: one.metadata["persona"]["long"] for one in await use("invoke", "a film", of=films, user_id=ANA)}
    assert max(moved, key=moved.__getitem__) == liked.id
    assert [one.id for one in await use("invoke", "a film", of=films, user_id=BOB)] == [one.id for one in first]
    assert [one.reward for one in await use("ratings", ANA)] == [-1.0, -1.0, 1.0]
    assert (await use("withdraw", ANA, again.id)).applied
    vectors, rebuilt = await use("vectors", ANA), await use("rebuild", ANA)
    assert (vectors.count, vectors.long.tobytes()) == (2, rebuilt.long.tobytes())
    assert liked.page_content in str(await use("explain", ANA))

    # cards and persona
    coke = await use("remember", ANA, "Drinks coke.")
    coffee = await use("update", ANA, coke.id, "Drinks coffee.")
    await use("revive", ANA, coke.id)
    await use("retire", ANA, coke.id)
    await use("revive", ANA, coke.id)
    await use("pin", ANA, coke.id)
    await use("hold_back", ANA, coke.id)
    assert await use("preferences", ANA) == []
    assert [card.text for card in await use("forget", ANA, coffee.id)] == ["Drinks coffee."]
    assert (await use("invoke", "what to drink", of=memory.as_retriever(), user_id=ANA)) == []
    await use("revise_persona", ANA, "Ana is a film critic.")
    await use("revise_persona", ANA, "Ana is a baker.")
    await use("rollback_persona", ANA, 1)
    assert (await use("pin_persona", ANA)).pinned
    assert (await use("persona", ANA)).revision.text == "Ana is a film critic."
    assert len(await use("history", ANA)) == 3

    # turns: what was said is known in another conversation, and a liked answer is training data
    model = ScriptedChatModel(lambda messages: "A whale film.")
    graph = create_persona_graph(model, memory=memory, retriever=films, reflection="verbatim").compile()
    said: list[Any] = [("user", "I'm allergic to peanuts. Which film?")]
    answered = await use("invoke", {"messages": said}, of=graph, context={"user_id": ANA})
    said = [*answered["messages"], ("user", "👍")]
    await use("invoke", {"messages": said}, of=graph, context={"user_id": ANA})
    middleware = PersonaMiddleware(memory, reflection="verbatim")
    agent = create_agent(model, middleware=[middleware], context_schema=PersonaContext)
    await use("invoke", {"messages": [("user", "And a snack?")]}, of=agent, context=PersonaContext(user_id=ANA))
    assert "allergic to peanuts" in str(model.calls[-1])
    assert "Ana is a film critic." in str(model.calls[-1])
    assert (await use("set_style", ANA, warmth=0.5)).warmth.value == 0.5
    assert [card.text for card in (await use("profile", ANA)).facts] == ["I'm allergic to peanuts."]
    assert await use("process_pending", ANA) == 0
    assert await use("drain")
    assert (await use("export_dataset", folder / f"{uuid.uuid4().hex}.jsonl", [ANA])).rows == 1

    # all users, another embedding model, and out of the house
    await use("import_user", await use("export_user", ANA), BOB)
    assert (await use("vectors", BOB)).long.tobytes() == (await use("vectors", ANA)).long.tobytes()
    assert (await use("fit", k=2, min_users=2, min_events=1)).k == 2
    await use("use_space", None)
    assert (await use("migrate_embeddings", _films(memory, 16), progress=False)).users == 2
    assert (await use("delete_user", ANA)).records["cards"] == 2
    await use("remember", ANA, "Is back.")
    assert await use("preferences", ANA) == []
    await use("readmit_user", ANA)
    assert [one.text for one in (await use("preferences", ANA, all=True))] == []
    assert len(await use("preferences", BOB, all=True)) == 2
    await use("close")
    return sorted(used)


class State(TypedDict, total=False):
    folder: str
    awaits: bool
    used: list[str]


async def _walk(state: State) -> State:
    return {"used": await walk(RuntimeStore(), Path(state["folder"]), awaits=state["awaits"])}


graph = StateGraph(State).add_node("walk", _walk).add_edge(START, "walk").compile()
