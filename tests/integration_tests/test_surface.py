"""The same walk through the public surface passes on SQLite, on Postgres, and inside `langgraph dev`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client

from tests.memories import open_store
from tests.studio import NEEDS_SERVER, ROOT, DevServer
from tests.surface import walk
from tests.unit_tests.test_parity import METHODS


@pytest.mark.integration
@pytest.mark.parametrize("awaits", [False, True], ids=["called", "awaited"])
@pytest.mark.parametrize("name", ["sqlite", "asyncsqlite", "pooled postgres", "pooled asyncpostgres"])
async def test_the_public_surface_on_every_store(name: str, awaits: bool, tmp_path: Path, request: Any):
    uri = request.getfixturevalue("postgres") if "postgres" in name else ""
    async with open_store(name, tmp_path, uri) as store:
        assert await walk(store, tmp_path, awaits=awaits) == sorted(METHODS), "a method is not part of the walk"


class TestServer:
    """Inside `langgraph dev`, on the store that the server gives."""

    pytestmark = NEEDS_SERVER

    def test_the_public_surface_inside_a_server(self, tmp_path: Path):
        settings = json.loads((ROOT / "langgraph.json").read_text())
        settings["graphs"] = {"surface": "./surface.py:graph"}
        (tmp_path / "langgraph.json").write_text(json.dumps(settings))
        (tmp_path / "surface.py").symlink_to(ROOT / "tests" / "surface.py")

        async def story(url: str) -> list[Any]:
            client = get_client(url=url, timeout=120)
            try:
                given = [{"folder": str(tmp_path), "awaits": awaits} for awaits in (False, True)]
                return [await client.runs.wait(None, "surface", input=one, raise_error=True) for one in given]
            finally:
                await client.aclose()

        with DevServer(tmp_path) as server:
            for answer in asyncio.run(story(server.url)):
                assert answer["used"] == sorted(METHODS)
            assert "Blocking call" not in server.log
