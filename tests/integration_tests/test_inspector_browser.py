"""The inspector in a real Chromium: every action clicked, alone on SQLite and inside `langgraph dev` with its users.

`PERSONA_TEST_PICTURES=docs` takes the pictures of the documentation.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from langchain_persona import PersonaMemory, PreferenceCard
from langchain_persona.identity import label
from langchain_persona.testing import HashEmbeddings
from tests.inspector import USER, attempts, make_past, make_retriever
from tests.studio import NEEDS_SERVER, ROOT, DevServer

CHROMIUM = os.environ.get("PERSONA_TEST_CHROMIUM") or shutil.which("chromium") or ""
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(find_spec("playwright") is None, reason="needs the extra `browser`"),
    pytest.mark.skipif(not CHROMIUM, reason="needs Debian's chromium, or one that PERSONA_TEST_CHROMIUM names"),
    pytest.mark.skipif(find_spec("uvicorn") is None, reason="needs the extra `inspector`"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
BOB = "bob@example.com"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@contextmanager
def served(memory: PersonaMemory, retriever: Any = None, **options: Any) -> Iterator[str]:
    """The app on loopback; its address."""
    import uvicorn

    from langchain_persona.inspector import create_inspector

    app = create_inspector(memory, retriever, **options)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", proxy_headers=False, ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/persona/"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def opened(chromium: Any, address: str, **options: Any) -> Iterator[Any]:
    """A page of its own, on which nothing may go wrong."""
    context = chromium.new_context(viewport={"width": 1240, "height": 860}, **options)
    page, wrong = context.new_page(), []
    page.set_default_timeout(15_000)
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    try:
        yield page
        assert wrong == []
    finally:
        context.close()


def click_everything(page: Any, address: str, query: str = "") -> None:
    """Each action once, as a user does it; what became of it is read from the export."""

    def held() -> Any:
        return page.request.get(f"{address}export{query}").json()

    def card(text: str) -> Any:
        return next(one for one in held()["cards"] if one["text"] == text)

    def said(text: str) -> None:
        page.wait_for_function("text => document.getElementById('status').textContent.includes(text)", arg=text)

    def press(name: str, text: str, then: str) -> None:
        page.locator("li.card", has_text=text).first.get_by_role("button", name=name, exact=True).click()
        said(then)

    page.evaluate("window.here = true")  # stays while the page changes in place
    page.fill("#new", "Plays chess on Sundays.")
    page.select_option("#new-kind", "like")
    page.click("#remember")
    said("Kept.")
    assert card("Plays chess on Sundays.")["kind"] == "like"
    press("Pin", "Plays chess", "Pinned")
    assert card("Plays chess on Sundays.")["pinned"]
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true", "focus stays on the button"
    press("Pin", "Plays chess", "No longer pinned")
    press("Hold back", "Plays chess", "Held back")
    assert card("Plays chess on Sundays.")["held_back"]
    press("Hold back", "Plays chess", "In use again")
    page.locator("li.card", has_text="Plays chess").locator("summary").click()
    page.locator("li.card", has_text="Plays chess").locator("textarea").fill("Plays go on Sundays.")
    press("Save", "Plays chess", "Changed")
    assert card("Plays chess on Sundays.")["retired"]["by"] == card("Plays go on Sundays.")["id"]
    page.locator("#retired > summary").click()
    page.locator("#retired li", has_text="Plays chess").get_by_role("button", name="Use again").click()
    said("In use again")
    assert card("Plays chess on Sundays.")["retired"] is None
    assert card("Plays go on Sundays.")["retired"]["reason"] == "the card that it replaced was revived"
    press("Set aside", "Plays chess", "Set aside")
    page.locator("#retired li", has_text="Plays chess").get_by_role("button", name="Forget for good").click()
    said("Forgotten for good")
    assert "Plays chess on Sundays." not in json.dumps(held())

    for text in ("Plays games.", "Plays old games."):
        page.fill("#persona", text)
        page.click("#persona-save")
        said("Your text is saved")
        page.evaluate("document.getElementById('status').textContent = ''")
    page.locator("#history > summary").click()
    page.locator("#history li").nth(1).get_by_role("button", name="Put back").click()
    said("The earlier text is back")
    assert held()["persona"]["revision"]["text"] == "Plays games."
    page.focus("#s-warmth")
    page.keyboard.press("End")
    said("Noted.")
    assert held()["style"]["warmth"] == {"value": 1.0, "confidence": 1.0}
    assert page.evaluate("document.activeElement.id") == "s-warmth"
    page.click("#persona-pin")
    said("never rewritten automatically")
    page.click("#persona-pin")
    said("may be rewritten")
    assert page.evaluate("window.here"), "all of that without loading a page"

    page.get_by_role("link", name="Why this ranking?").click()
    page.fill("#q", "something for tonight")
    page.click("#ask")
    unrated = page.locator("#h-own + ol > li:has([aria-label='Thumb up'])")
    unrated.first.wait_for()
    liked = unrated.last.get_attribute("data-key")
    places = "id => [...document.querySelectorAll(`#${id} + ol > li`)].map((row) => row.dataset.key.slice(2))"
    before = page.evaluate(places, "h-own").index(liked[2:])
    unrated.last.get_by_role("button", name="Thumb up").click()
    said("Noted, and ranked anew")
    after = page.evaluate(places, "h-own").index(liked[2:])
    assert after < before, "one thumb moves it at once"
    page.focus("#strength")
    page.keyboard.press("Home")
    page.wait_for_url("**strength=0&**")
    assert page.evaluate(places, "h-own") == page.evaluate(places, "h-plain")
    assert page.evaluate("document.activeElement.id") == "strength", "the slider is not lost under the hand"
    page.keyboard.press("End")
    page.wait_for_url("**strength=4&**")
    assert page.evaluate(places, "h-own").index(liked[2:]) <= after
    page.locator(f"[data-key='{liked}']").get_by_role("button", name="Take back").click()
    said("Rating taken back")
    page.get_by_role("button", name="Thumb down").last.click()
    said("Noted")
    page.get_by_role("link", name="How it learns").click()
    assert page.locator("h1").inner_text() == "How it learns"
    page.get_by_role("link", name="What we know").click()
    page.locator(".ratings li:not(.off)").first.get_by_role("button", name="Take back").click()
    said("Rating taken back")
    assert sum(entry["type"] == "withdrawal" for entry in held()["ledger"]) >= 2

    with page.expect_download() as download:
        page.get_by_role("link", name="Download everything").click()
    assert json.loads(Path(download.value.path()).read_text())["persona"]["revision"]["text"] == "Plays games."
    page.get_by_role("link", name="Delete everything …").click()
    assert held()["cards"], "it asks first"
    page.get_by_role("button", name="Delete everything").click()
    page.get_by_role("heading", name="Nothing is kept about you").wait_for()
    assert not any(held()[name] for name in ("cards", "ledger", "episodes", "history"))
    page.get_by_role("button", name="Start again").click()
    said("Nothing is known of you")


def test_every_action_alone_on_sqlite(chromium: Any, tmp_path: Path) -> None:
    embeddings = HashEmbeddings(32)
    with PersonaMemory.local(tmp_path, embeddings=embeddings) as memory:
        retriever = make_retriever(memory, embeddings)
        make_past(memory, retriever, rounds=3)
        memory.remember(BOB, "Collects xylophones.")
        with served(memory, retriever, local=True) as address:
            with opened(chromium, address) as page:
                page.get_by_role("link", name=USER).click()
                page.get_by_role("heading", name="What we know about you").wait_for()
                click_everything(page, address, f"?user={USER}")
            with opened(chromium, f"{address}?user={BOB}", java_script_enabled=False) as page:
                page.get_by_role("button", name="Set aside").click()
                assert page.locator("#status").inner_text().startswith("Set aside"), "forms do without scripts too"
        assert memory.preferences(USER) == []
        assert [card.text for card in memory.preferences(BOB, all=True)] == ["Collects xylophones."]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    folder = tmp_path_factory.mktemp("inspector")
    settings = json.loads((ROOT / "langgraph.json").read_text())
    settings["auth"] = {"path": "./graphs/auth.py:auth", "disable_studio_auth": True}
    (folder / "langgraph.json").write_text(json.dumps(settings))
    (folder / "tokens.json").write_text(json.dumps({"a": USER, "b": BOB}))
    with DevServer(folder, {"PERSONA_TOKENS": str(folder / "tokens.json")}) as running:
        yield running


class TestOnAServer:
    """Inside `langgraph dev`, whose authentication is that of `graphs/auth.py`."""

    pytestmark = NEEDS_SERVER

    def test_every_action_with_authentication(self, chromium: Any, server: DevServer) -> None:
        from langchain_persona.inspector import ACTIONS

        address = f"{server.url}/persona/"
        # a browser cannot send a header of its own when it opens a page
        cookie = {"name": "persona_token", "url": server.url, "sameSite": "Strict", "httpOnly": True}
        cookies = {name: [{**cookie, "value": name}] for name in "ab"}
        with opened(chromium, "about:blank") as page:
            page.context.add_cookies(cookies["b"])
            page.goto(address)
            page.fill("#new", "Collects xylophones.")
            page.click("#remember")
            page.get_by_text("Kept.").wait_for()
            theirs = page.request.get(f"{address}export").text()
        with opened(chromium, "about:blank") as page:
            page.context.add_cookies(cookies["a"])
            run = {"assistant_id": "persona", "context": {"user_id": USER}}
            run["input"] = {"messages": [{"role": "user", "content": "I'm allergic to peanuts. A film for tonight?"}]}
            assert page.request.post(f"{server.url}/runs/wait", data=run, headers={"authorization": "Bearer a"}).ok
            page.goto(address)
            assert "In your own words" in page.locator("li.card", has_text="allergic to peanuts").inner_text()
            assert "xylophones" not in page.content()
            click_everything(page, address)
            assert page.request.get(f"{address}?user={BOB}").status == 403
        mine, ids = {"authorization": "Bearer a"}, [card["id"] for card in json.loads(theirs)["cards"]]
        with httpx.Client(base_url=server.url, follow_redirects=True) as client:
            for one in attempts(200, BOB, ids, [*ACTIONS]):
                answer = client.request(**{**one, "headers": {**one["headers"], **mine}})
                assert answer.status_code < 500
                assert "xylophone" not in answer.text.lower() + str(answer.headers).lower(), one
        with opened(chromium, "about:blank") as page:
            for path in ("", "why", "learning", "export", "delete", "inspector.css"):
                assert page.request.get(f"{address}{path}").status == 401, path
            forged = {"cookie": "persona_token=b", "origin": "http://evil.example", "sec-fetch-site": "cross-site"}
            answer = page.request.post(f"{address}do", form={"do": "delete_user"}, headers=forged)
            assert answer.status == 403
            mine = {"authorization": "Bearer b"}
            assert page.request.get(f"{address}export", headers=mine).text() == theirs
            given = {"retrieval_id": "unknown", "reward": 1}
            assert not page.request.post(f"{address}feedback", data=given, headers=mine).json()["applied"]
        assert "Blocking call" not in server.log
        assert label(BOB) not in server.log


def test_hostile_memories_are_text(chromium: Any) -> None:
    from langgraph.store.memory import InMemoryStore

    hostile = json.loads((ROOT / "tests" / "data" / "hostile.json").read_text(encoding="utf-8"))
    texts = [one["text"] for one in hostile]
    texts += [
        "<script>document.title='owned'</script>",
        '"><img src=x onerror="document.title=\'owned\'">',
        "</textarea></p><svg onload=document.title='owned'>",
        "<style>* { display: none }</style>",
        "<a href=\"javascript:document.title='owned'\">click</a>",
        "<iframe srcdoc=\"<script>parent.document.title='owned'</script>\"></iframe>",
        "{{ 7 * 7 }} ${7 * 7} <%= 7 * 7 %>",
        "unbroken" * 400,
        "\u202egnp.txt\u2066 \u0000 \ufeff",
    ]
    memory = PersonaMemory(InMemoryStore(), HashEmbeddings(32))
    for text in texts:
        memory.remember(USER, PreferenceCard(text=text, evidence=[{"message_id": "m", "quote": f"{text}!"}]))
    memory.revise_persona(USER, "\n".join(texts[21:27]))
    memory.retire(USER, memory.preferences(USER)[-1].id, texts[22])
    plain = lambda text: " ".join(text.replace("\ufffd", "").split())  # noqa: E731
    with served(memory, local=True) as address, opened(chromium, f"{address}?user={USER}") as page:
        shown = page.locator("li.card .text").evaluate_all("rows => rows.map((row) => row.textContent)")
        known = {plain(card.text) for card in memory.preferences(USER, all=True)}
        assert len(known) == 30
        assert known == {plain(text) for text in shown}
        assert page.title() == "What we know about you"
        assert (
            page.evaluate(
                "document.querySelectorAll('main :is(script, style, img, iframe, a[href^=javascript])').length"
            )
            == 0
        )
        page.set_viewport_size({"width": 360, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def take_picture(page: Any, path: Path) -> None:
    """A small PNG of what is on the screen."""
    from PIL import Image

    page.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            path, optimize=True
        )


def test_keyboard_screen_reader_narrow_screens_and_pictures(chromium: Any, tmp_path: Path) -> None:
    pictures = os.environ.get("PERSONA_TEST_PICTURES")
    nameless = """() => [...document.querySelectorAll("button, a, summary, select, textarea, input")].filter(
        (one) => one.type !== "hidden" && !(one.labels?.length || one.ariaLabel || one.textContent.trim()))
        .map((one) => one.outerHTML)"""
    pages = {"known": "", "why": "&q=a+film+for+tonight&k=5", "learning": ""}
    paths = {"known": "", "why": "why", "learning": "learning"}
    embeddings = None if pictures else HashEmbeddings(32)
    with PersonaMemory.local(tmp_path, embeddings=embeddings) as memory:
        make_past(memory, make_retriever(memory, memory.embeddings, explore=0.05))
        with served(memory, make_retriever(memory, memory.embeddings), local=True) as address:
            for scheme in ("light", "dark"):
                with opened(chromium, "about:blank", color_scheme=scheme) as page:
                    for name, query in pages.items():
                        page.set_viewport_size({"width": 1240, "height": 860})
                        page.goto(f"{address}{paths[name]}?user={USER}{query}")
                        if pictures:
                            take_picture(page, Path(pictures) / f"inspector-{name}-{scheme}.png")
                        assert page.evaluate(nameless) == []
                        page.keyboard.press("Tab")
                        assert page.evaluate("document.activeElement.className") == "skip"
                        page.keyboard.press("Enter")
                        assert page.evaluate("document.activeElement.id") == "main"
                        page.set_viewport_size({"width": 360, "height": 800})
                        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
