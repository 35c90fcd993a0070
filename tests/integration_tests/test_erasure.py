"""What was erased is in no file of the folder and in no row of the database any more."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from langchain_persona import PersonaMemory, PreferenceCard
from langchain_persona.identity import label
from langchain_persona.records import Episode, Evidence
from tests.memories import MODEL, show

MARKS = [f"secret-{number:03}-zebra" for number in range(40)]

DIE = """
import os, sys
from langchain_persona import PersonaMemory
from langchain_persona.testing import HashEmbeddings
memory = PersonaMemory.local(sys.argv[1], embeddings=HashEmbeddings(8))
batch, left = memory.store.batch, int(sys.argv[2])
def count(ops):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    return batch(ops)
memory.store.batch = count
memory.delete_user("ana")
"""


def live(memory: PersonaMemory, user: str, marks: list[str]) -> list[PreferenceCard]:
    """Cards with quotes, changed several times; long and short episodes; persona lines; ratings of the cards."""
    cards = []
    for number, mark in enumerate(marks):
        words = f"I like {mark}. " + "Long words. " * (number % 7) * 300
        told = Episode(thread=f"t{number}", message_id=mark, query=words, answer=f"Yes, {mark} is nice.")
        memory.episodes.record(user, memory.episodes.with_vector(told), "verbatim")
        quote = (Evidence(message_id=mark, quote=f"I like {mark}"),)
        text = f"Likes {mark}, and " + "a lot of it " * (number * 5)
        card = memory.remember(user, PreferenceCard(text=text, evidence=quote))
        memory.pin(user, card.id)
        cards.append(memory.pin(user, card.id, number % 2 == 0))
        memory.revise_persona(user, f"Says: I like {mark}.")
    (shown,) = memory.as_retriever(k=1).invoke(f"likes {marks[0]}", {"configurable": {"user_id": user}})
    memory.feedback(user, shown.metadata["persona"]["retrieval_id"], reward=1.0)
    show(memory, user)
    return cards


def found(folder: Path, marks: list[str]) -> set[str]:
    """Which marks occur in any file of a folder."""
    files = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return {mark for mark in marks if mark.encode() in files}


def local(folder: Path) -> PersonaMemory:
    return PersonaMemory.local(folder, embeddings=MODEL, timeout_seconds=30.0)


@pytest.mark.integration
def test_no_byte_of_a_deleted_user_is_left_in_the_folder(tmp_path):
    with local(tmp_path) as other, local(tmp_path) as memory:  # both stay open
        live(other, "ana", MARKS)
        live(memory, "bo", ["hippo"])
        assert found(tmp_path, MARKS) == set(MARKS)
        receipt = memory.delete_user("ana")
        assert receipt.overwritten is True
        assert receipt.records["cards"] == len(MARKS)
        assert len(receipt.threads) == len(MARKS)
        assert found(tmp_path, [*MARKS, label("ana")]) == set()
        # a late writer
        other.remember("ana", f"Likes {MARKS[0]}.")
        other.preferences("bo")
        assert found(tmp_path, MARKS) == set()
        assert [card.text[:11] for card in other.preferences("bo")] == ["Likes hippo"]
        assert other.persona("bo").revision.text == "Says: I like hippo."


@pytest.mark.integration
def test_while_another_connection_reads_the_receipt_says_so(tmp_path):
    with local(tmp_path) as memory:
        live(memory, "ana", MARKS[:3])
        reader = sqlite3.connect(tmp_path / "persona.sqlite3", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM store").fetchone()
        assert memory.delete_user("ana").overwritten is False
        assert memory.preferences("ana") == []
        reader.close()
        assert memory.delete_user("ana").overwritten is True
        assert found(tmp_path, MARKS) == set()


@pytest.mark.integration
@pytest.mark.parametrize("batches", [1, 4])
def test_a_deletion_that_is_killed_is_finished_by_the_next(tmp_path, batches):
    with local(tmp_path) as memory:
        live(memory, "ana", MARKS)
    path = os.pathsep.join(one for one in sys.path if one)
    died = subprocess.run([sys.executable, "-c", DIE, tmp_path, str(batches)], env={**os.environ, "PYTHONPATH": path})
    assert died.returncode == -9
    with local(tmp_path) as memory:
        assert len(memory.delete_user("ana").threads) == len(MARKS)
        assert found(tmp_path, [*MARKS, label("ana")]) == set()


@pytest.mark.integration
def test_no_byte_of_a_forgotten_card_and_its_story_is_left_in_the_folder(tmp_path):
    with local(tmp_path) as other, local(tmp_path) as memory:
        cards = live(memory, "ana", MARKS)
        other.preferences("ana")
        gone = list(range(0, 40, 3))
        for place in gone[:5]:
            memory.forget("ana", cards[place].id)
        memory.forget("ana", [cards[place].id for place in gone[5:]])
        assert found(tmp_path, MARKS) == set(MARKS) - {MARKS[place] for place in gone}


@pytest.mark.integration
def test_no_row_of_a_deleted_user_is_left_in_postgres(postgres):
    from langgraph.store.postgres import PostgresStore
    from psycopg import connect

    ttl: Any = {"omit_expired": True}
    with PostgresStore.from_conn_string(postgres, ttl=ttl) as store, connect(postgres, autocommit=True) as connection:
        store.setup()
        memory = PersonaMemory(store, MODEL, namespace=("erasure",))
        live(memory, "ana", MARKS[:5])
        query = "SELECT count(*) FROM store WHERE value::text LIKE '%%zebra%%' OR prefix LIKE 'erasure.u=ana%%'"
        assert connection.execute(query).fetchone() > (20,)
        late = "UPDATE store SET expires_at = now() - interval '1 hour' WHERE prefix LIKE '%%ana.retrievals%%'"
        assert connection.execute(late).rowcount > 0  # the store hides them
        memory.delete_user("ana")
        assert connection.execute(query).fetchone() == (0,)
        memory.readmit_user("ana")
