"""The embedded default: one folder with one SQLite file, open to several processes at once."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from pathlib import Path

from langgraph.store.base import BaseStore

from langchain_persona.errors import ConfigError, MissingExtraError

_PRAGMAS = (
    "busy_timeout=10000",  # a writer waits for the one before it, up to 10 s
    "journal_mode=WAL",  # readers do not wait for a writer
    "synchronous=NORMAL",  # a killed process loses nothing; a power cut may take the last moments
    "secure_delete=ON",  # most of what is deleted is overwritten at once, and the rest by `scrub`
)


def open_store(folder: str | Path, resources: ExitStack) -> BaseStore:
    """Open (or create) the store of a folder, which is released with `resources`; see `PersonaMemory.local`."""
    if not isinstance(folder, str | Path) or not str(folder).strip():
        raise ConfigError(f"path must name a folder, such as './persona', got {folder!r}")
    try:
        from langgraph.store.sqlite import SqliteStore
    except ImportError as error:
        raise MissingExtraError(
            f'PersonaMemory.local needs the package {error.name}: pip install "langchain-persona[local]"'
        ) from error
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise ConfigError(f"path must name a folder, and {place} is a file; give a folder, which is made if missing")
    try:
        place.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(place / "persona.sqlite3", check_same_thread=False, isolation_level=None)
        resources.callback(connection.close)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        store = SqliteStore(connection, ttl={"sweep_interval_minutes": 60, "refresh_on_read": False})
        store.setup()
        store.sweep_ttl()
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"{place / 'persona.sqlite3'} cannot be opened ({error}); is the folder writable?") from error
    store.start_ttl_sweeper()
    resources.callback(store.stop_ttl_sweeper)
    return store


def scrub(store: BaseStore) -> bool | None:
    """Leave no byte of what was deleted in the files of a `SqliteStore`, by writing the file anew.

    False: another connection is reading or writing, so the log beside the file still holds old pages. None: another
    kind of store.
    """
    connection, lock = getattr(store, "conn", None), getattr(store, "lock", None)
    if not isinstance(connection, sqlite3.Connection) or lock is None:
        return None
    with lock:
        try:
            connection.execute("PRAGMA busy_timeout=1000")  # what waits for the lock has a deadline of its own
            connection.execute("VACUUM")  # secure_delete leaves copies where pages were split or merged
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy
        except sqlite3.Error:
            return False
        finally:
            connection.execute(f"PRAGMA {_PRAGMAS[0]}")
