"""The embedded default: one folder that holds SQLite (text, ledger), Chroma (vectors) and a lock."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore

from langchain_persona.errors import LockedError, MissingExtraError

__all__ = ["Opened", "open_local"]


@dataclass(frozen=True, slots=True)
class Opened:
    """What a folder gives, and how to let go of it."""

    store: BaseStore
    collection: Any
    embeddings: Embeddings
    resources: ExitStack


def open_local(folder: Path, embeddings: Embeddings | None) -> Opened:
    """Open a folder; see `PersonaMemory.local`."""
    try:
        from filelock import FileLock, Timeout
        from langgraph.store.sqlite import SqliteStore
    except ImportError as error:
        raise MissingExtraError(
            f'PersonaMemory.local needs the package {error.name}: pip install "langchain-persona[local]"'
        ) from error
    if embeddings is None:
        from langchain_persona.embeddings import LocalEmbeddings

        embeddings = LocalEmbeddings()
    import chromadb
    from chromadb.config import Settings

    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as resources:
        # not of one thread: opened in a worker thread, it must be released by whichever thread closes
        lock = FileLock(folder / "persona.lock", thread_local=False)
        try:
            resources.enter_context(lock.acquire(timeout=0))
        except Timeout as error:
            raise LockedError(
                f"{folder} is open in another process (or another PersonaMemory of this one); close that one first, or "
                "share a Chroma server and Postgres: PersonaMemory(store=..., cards=..., embeddings=...)"
            ) from error
        connection = sqlite3.connect(folder / "persona.sqlite3", check_same_thread=False, isolation_level=None)
        resources.callback(connection.close)
        # WAL with NORMAL: a killed process loses nothing acknowledged and no write waits for the disk (a power cut may
        # take the last moments); secure_delete: no deleted text stays behind
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON", "busy_timeout=5000"):
            connection.execute(f"PRAGMA {pragma}")
        store = SqliteStore(connection, ttl={"sweep_interval_minutes": 60, "refresh_on_read": False})
        store.setup()
        store.sweep_ttl()
        store.start_ttl_sweeper()
        resources.callback(store.stop_ttl_sweeper)
        client: Any = chromadb.PersistentClient(str(folder / "chroma"), Settings(anonymized_telemetry=False))
        resources.callback(client.close)
        collection = client.get_or_create_collection(
            "persona-cards",
            # a low threshold empties Chroma's write-ahead queue soon, where deleted rows would stay readable
            configuration={"hnsw": {"space": "cosine", "sync_threshold": 50, "batch_size": 25}},
            embedding_function=None,
        )
        return Opened(store, collection, embeddings, resources.pop_all())
