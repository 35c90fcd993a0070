"""How long the inspector's page of many cards takes: to the last byte, and until Chromium draws it.

    python -m benchmarks.inspector [--cards 1000] [--times 20]

On the SQLite store, through Starlette's test client. `cold` is the first request after the memory was opened anew, so
that each card is read and checked; `warm` are those behind it. Chromium is asked where it and Playwright are installed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from starlette.testclient import TestClient

from langchain_persona import PersonaMemory, PreferenceCard
from langchain_persona.inspector import create_inspector
from langchain_persona.testing import HashEmbeddings

KINDS = ("like", "dislike", "fact", "style")


def milliseconds(client: TestClient, times: int) -> list[float]:
    """So many requests one after the other."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        assert client.get("/persona/").status_code == 200
        taken.append(1_000 * (time.perf_counter() - start))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cards", type=int, default=1_000)
    parser.add_argument("--times", type=int, default=20)
    given, embeddings = parser.parse_args(), HashEmbeddings(384)
    with tempfile.TemporaryDirectory() as folder:
        with PersonaMemory.local(folder, embeddings=embeddings) as memory:
            for number in range(given.cards):
                said = [{"message_id": "m", "quote": f"I told you that number {number} matters to me."}]
                text = f"Number {number} matters on Sundays."
                memory.remember("ana", PreferenceCard(text=text, kind=KINDS[number % 4], evidence=said))
        cold = []
        for _ in range(5):
            with PersonaMemory.local(folder, embeddings=embeddings) as memory:
                client = TestClient(
                    create_inspector(memory, user="ana"), base_url="http://127.0.0.1", client=("127.0.0.1", 1)
                )
                client.get("/persona/inspector.css")
                cold += milliseconds(client, 1)
                warm = milliseconds(client, given.times)
                page = client.get("/persona/").content
        for name, taken in (("cold", cold), ("warm", warm)):
            print(f"{given.cards} cards, {name}: median {statistics.median(taken):.0f} ms, worst {max(taken):.0f} ms")
        print(f"{len(page) / 1_000:.0f} KB")
        if find_spec("playwright") and (chromium := shutil.which("chromium")):
            from playwright.sync_api import sync_playwright

            from tests.integration_tests.test_inspector_browser import FLAGS, served

            with (
                PersonaMemory.local(Path(folder), embeddings=embeddings) as memory,
                served(memory, user="ana") as address,
                sync_playwright() as playwright,
            ):
                tab = playwright.chromium.launch(executable_path=chromium, args=FLAGS).new_page()
                loads = []
                for _ in range(given.times):
                    tab.goto(address)
                    loads.append(tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
                print(f"drawn by Chromium: median {statistics.median(loads):.0f} ms, worst {max(loads):.0f} ms")


if __name__ == "__main__":
    main()
