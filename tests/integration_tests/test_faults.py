"""Law 3 with real faults: a full disk, a folder that cannot be written, damaged files, servers that are killed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from langchain_persona import ConfigError, PersonaMemory, StoreError, VARSRetriever
from tests.chroma import ChromaServer
from tests.graphs import EMBEDDINGS, Agent, echo, films, half_written, texts_of, warnings_of
from tests.memories import MODEL, open_store, show
from tests.postgres import own_server

pytestmark = pytest.mark.integration

LONG = "I love hobby number {}, " + "more than anything else in this whole wide world, " * 40
FAULTS: dict[str, tuple[str, str]] = {  # what makes SQLite fail, and what mends it
    "disk full": ("PRAGMA max_page_count=1", "PRAGMA max_page_count=1000000"),
    "read-only": ("PRAGMA query_only=ON", "PRAGMA query_only=OFF"),
}


def local(folder: Path, **options: Any) -> PersonaMemory:
    return PersonaMemory.local(folder, embeddings=EMBEDDINGS, **options)


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_law_3_a_folder_that_takes_no_more(fault, how, tmp_path, caplog):
    memory = await asyncio.to_thread(local, tmp_path)
    agent = Agent(echo(), memory, how=how, retriever=films(memory), align_every=1)
    await agent.say("I live in Berlin.")
    connection = memory.store.conn
    connection.execute(FAULTS[fault][0])
    told = []
    for number in range(6):
        text = LONG.format(number)
        await agent.say(text, feedback=1 if number else None)
        assert await agent.answer() == f"answer to: {text}"
        told.append(len(warnings_of(caplog)))
        assert await half_written(memory) == []
    assert max(told) == 1
    connection.execute(FAULTS[fault][1])
    await agent.say("I love whale films.")
    assert warnings_of(caplog) == []
    assert await half_written(memory) == []
    assert {"I live in Berlin.", "I love whale films."} <= set(await texts_of(memory))
    await memory.aclose()


def test_law_3_a_damaged_file(tmp_path, caplog):
    memory = local(tmp_path)
    for number in range(30):
        memory.remember("ana", LONG.format(number))
    for pragma in ("wal_checkpoint(TRUNCATE)", "cache_size=0", "shrink_memory"):
        memory.store.conn.execute(f"PRAGMA {pragma}").fetchall()
    file = tmp_path / "persona.sqlite3"
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    agent = Agent(echo(), PersonaMemory(memory.store, EMBEDDINGS))  # nothing is known to it yet
    asyncio.run(agent.say("I live in Berlin."))
    assert asyncio.run(agent.answer()) == "answer to: I live in Berlin."
    assert len(warnings_of(caplog)) == 1
    with pytest.raises(StoreError, match=r"the store failed .*malformed"):
        agent.memory.preferences("ana")
    memory.close()
    with pytest.raises(ConfigError, match=r"persona\.sqlite3 cannot be opened .*malformed"):
        local(tmp_path)


def under_load(call: Callable[[int], object], disturb: Callable[[], object], threads: int = 4) -> list[float]:
    """Call from some threads until the disturbance and a while of quiet behind it are over; how long each call took."""
    over, took = threading.Event(), list[float]()

    def work(number: int) -> None:
        while not over.is_set():
            start = time.monotonic()
            call(number)
            took.append(time.monotonic() - start)

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(work, number) for number in range(threads)]
        try:
            disturb()
        finally:
            over.set()
        for one in running:
            one.result()
    return took


@pytest.mark.parametrize("kills", [1, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["pooled postgres", "pooled asyncpostgres"])
async def test_law_5_postgres_killed_under_load_loses_nothing_that_was_acknowledged(name, kills, tmp_path):
    def play(server: Any, store: BaseStore) -> None:
        acknowledged, lock, keys = set[str](), threading.Lock(), iter(range(10**9))
        memory = PersonaMemory(store, MODEL, timeout_seconds=1.0)
        shown = show(memory)

        def write(_: int) -> None:
            with lock:
                key = str(next(keys))
            try:
                card = memory.remember("ana", f"wish {key}")
                receipt = memory.feedback("ana", shown.id, reward=0.5, key=key)
            except StoreError:
                return
            with lock:
                acknowledged.update((card.id, receipt.id))

        def disturb() -> None:
            for _ in range(kills):
                wait_for_more(acknowledged)
                kill(server)
                server.ensure_postgres_running()
            wait_for_more(acknowledged)

        took = under_load(write, disturb)
        reader = PersonaMemory(store, MODEL, timeout_seconds=60.0)
        kept = {rating.id for rating in reader.ratings("ana")} | {card.id for card in reader.preferences("ana")}
        assert acknowledged <= kept
        assert reader.vectors("ana").long.tobytes() == reader.rebuild("ana").long.tobytes()
        print(f"{kills} kills, {len(took)} calls, {len(acknowledged)} acknowledged, longest call {max(took):.2f} s")

    with own_server() as server:
        async with open_store(name, tmp_path, server.get_uri()) as store:
            await asyncio.to_thread(play, server, store)


def test_law_3_a_chroma_server_killed_under_load_or_frozen_costs_documents_and_comes_back(tmp_path, caplog):
    texts = [f"film number {number}" for number in range(20)]
    with ChromaServer(tmp_path) as server:
        collection = server.client().create_collection("films", embedding_function=None)
        collection.add(ids=texts, documents=texts, embeddings=EMBEDDINGS.embed_documents(texts))
        memory = PersonaMemory(InMemoryStore(), EMBEDDINGS, timeout_seconds=2.0)
        retriever = VARSRetriever(vectorstore=collection, embeddings=EMBEDDINGS, memory=memory, k=3, user_id="ana")
        found: list[int] = []

        def disturb() -> None:
            wait_until(lambda: len(found) > 5)
            server.kill()
            wait_until(lambda: found[-1] == 0)
            server.start()
            wait_until(lambda: found[-1] == 3)

        under_load(lambda _: found.append(len(retriever.invoke("a film"))), disturb)
        assert set(found) == {0, 3}
        assert len(warnings_of(caplog)) == found.count(0)
        server.freeze()
        assert retriever.invoke("a film") == []
        assert len(warnings_of(caplog)) == 1
        server.freeze(False)
        assert len(retriever.invoke("a film")) == 3


def kill(server: Any) -> None:
    """The postmaster first, or it would start its children again, and then these."""
    import psutil  # which the server came with

    postmaster = server.get_postmaster_info().process
    children = postmaster.children(recursive=True)
    for process in (postmaster, *children):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs([postmaster, *children], 30)


def wait_for_more(acknowledged: set[str]) -> None:
    before = len(acknowledged)
    wait_until(lambda: len(acknowledged) > before + 20)


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not recover"
        time.sleep(0.01)
