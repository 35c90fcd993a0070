"""A LangGraph server with authentication: nobody reads another's memory, over the graph or around it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import APIStatusError

from langchain_persona.identity import label
from tests.studio import NEEDS_SERVER, ROOT, DevServer

pytestmark = NEEDS_SERVER

ANA, BOB = "ana@example.com", "ana@example.co"
CHECKS = """
import asyncio
from typing import TypedDict
from langgraph.config import get_store
from langgraph.graph import START, StateGraph
from langchain_persona.testing import check_store

class State(TypedDict, total=False):
    checked: bool

async def check(state: State) -> State:
    await asyncio.to_thread(check_store, get_store())
    return {"checked": True}

graph = StateGraph(State).add_node("check", check).add_edge(START, "check").compile()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    folder = tmp_path_factory.mktemp("auth")
    settings = json.loads((ROOT / "langgraph.json").read_text())
    settings["auth"] = {"path": "./graphs/auth.py:auth", "disable_studio_auth": True}
    settings["graphs"]["checks"] = "./checks.py:graph"
    (folder / "langgraph.json").write_text(json.dumps(settings))
    (folder / "checks.py").write_text(CHECKS)
    (folder / "tokens.json").write_text(json.dumps({"a": ANA, "b": BOB}))
    with DevServer(folder, {"PERSONA_TOKENS": str(folder / "tokens.json")}) as running:
        yield running


@asynccontextmanager
async def client(server: DevServer, token: str) -> AsyncIterator[Any]:
    caller = get_client(url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=120)
    try:
        yield caller
    finally:
        await caller.aclose()


async def say(caller: Any, text: str, user: str | None) -> tuple[str, str]:
    """The thread, and the system prompt of one turn."""
    thread = (await caller.threads.create())["thread_id"]
    given = {"messages": [{"role": "user", "content": text}]}
    await caller.runs.wait(thread, "persona", input=given, context={"user_id": user}, raise_error=True)
    return thread, (await caller.threads.get_state(thread))["values"]["persona"].get("system", "")


async def refused(call: Any) -> int:
    """The status with which a call is refused."""
    with pytest.raises((APIStatusError, httpx.HTTPStatusError)) as caught:
        await call
    return caught.value.response.status_code


def test_law_4_a_caller_reads_own_records_and_threads_and_no_others(server: DevServer) -> None:
    async def story(ana: Any, bob: Any) -> None:
        thread, _ = await say(ana, "I'm allergic to peanuts.", ANA)
        await say(bob, "Please always answer in German.", BOB)
        assert "peanuts" in (await say(ana, "Hello", ANA))[1]
        assert "peanuts" not in (await say(bob, "Hello", ANA))[1], "who claims to be another is anonymous"
        mine, theirs = ["persona", label(BOB)], ["persona", label(ANA)]
        (card,) = (await ana.store.search_items([*theirs, "cards"]))["items"]
        assert "peanuts" in card["value"]["text"]
        for place in ([], ["persona"], theirs, [*theirs, "cards"], ["persona", "deleted"], ["notes"]):
            assert await refused(bob.store.search_items(place)) == 403
            assert await refused(bob.store.list_namespaces(prefix=place)) == 403
        key = card["key"]
        assert await refused(bob.store.get_item([*theirs, "cards"], key)) == 403
        for place in ([*theirs, "cards"], [*mine, "cards"]):
            assert await refused(bob.store.put_item(place, key, {"text": "Loves advertising."})) == 403
            assert await refused(bob.store.delete_item(place, key)) == 403
        found = (await bob.store.search_items(mine, limit=100))["items"]
        assert found
        assert {item["namespace"][1] for item in found} == {label(BOB)}
        assert "peanuts" not in json.dumps(found)
        assert await refused(bob.threads.get_state(thread)) == 404
        assert thread not in {one["thread_id"] for one in await bob.threads.search()}
        assert await refused(bob.assistants.create("persona", context={"user_id": ANA})) == 403

    async def run() -> None:
        async with client(server, "a") as ana, client(server, "b") as bob, client(server, "c") as stranger:
            await story(ana, bob)
            assert await refused(stranger.store.search_items(["persona", label(BOB)])) == 401

    asyncio.run(run())


def test_the_servers_own_store_keeps_what_is_put_there(server: DevServer) -> None:
    async def story() -> Any:
        async with client(server, "a") as ana:
            return await ana.runs.wait(None, "checks", input={}, raise_error=True)

    assert asyncio.run(story()) == {"checked": True}
