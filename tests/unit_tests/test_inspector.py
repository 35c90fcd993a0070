"""The inspector's pages without a browser: whose they are, what they do, and that memories are only text."""

from __future__ import annotations

import asyncio
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from langgraph.store.memory import InMemoryStore
from typer.testing import CliRunner

from langchain_persona import PersonaMemory, PreferenceCard
from langchain_persona.cli import app as command
from langchain_persona.errors import ConfigError
from langchain_persona.inspector import ACTIONS, create_inspector, pages
from langchain_persona.testing import HashEmbeddings
from tests.inspector import USER, attempts, make_past, make_retriever
from tests.memories import Watched

TestClient = pytest.importorskip("starlette.testclient").TestClient

HOSTILE = json.loads((Path(__file__).parents[1] / "data" / "hostile.json").read_text(encoding="utf-8"))
MARKUP = [
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "</textarea><svg onload=document.title='owned'>",
    "{{ 7 * 7 }}{% raw %}<b>bold</b>",
    "javascript:alert(1)//' onmouseover='alert(1)",
    "<style>* { display: none }</style><base href='//evil.example/'>",
    "<a href='javascript:alert(1)'>x</a><form action='//evil.example/'><button>Save</button>",
    "unbroken" * 400,
    "&lt;i&gt;not italic&lt;/i&gt; &amp; \u202egnp.txt",
]
PAGES = ["", "why", "why?q=a+film", "learning", "delete", "export", "?all=ratings"]


def signed_in(app: Any, name: str) -> Any:
    """The app as a server shows it to an authenticated user."""

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "user": SimpleNamespace(identity=name, is_authenticated=True)}, receive, send)

    return behind


def browser(app: Any, **options: Any) -> Any:
    given = {"base_url": "http://127.0.0.1", "client": ("127.0.0.1", 1), "follow_redirects": True, **options}
    return TestClient(app, **given)


def read(answer: Any) -> str:
    """The text of a page's status line."""
    return str(re.search(r'role="status"[^>]*>([^<]*)<', answer.text)[1])  # type: ignore[index]


class Spy(PersonaMemory):
    """Notes the public methods that are called from outside."""

    calls: list[str] = []  # noqa: RUF012

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if callable(found) and name in vars(PersonaMemory) and not name.startswith("_"):
            super().__getattribute__("calls").append(name)
        return found


def make(kind: type[PersonaMemory] = PersonaMemory) -> tuple[Any, Any]:
    """A memory with a past, and its retriever of films."""
    memory = kind(InMemoryStore(), HashEmbeddings(32))
    retriever = make_retriever(memory, memory.embeddings)
    make_past(memory, retriever, rounds=3)
    return memory, retriever


def test_every_action_is_one_public_method_and_says_what_it_did():
    memory, retriever = make(Spy)
    page = browser(create_inspector(memory, retriever, user=USER))
    card = memory.remember(USER, "Plays chess.")
    shown = retriever.invoke("a film", user_id=USER)
    form = {"card": card.id, "text": "Plays the piano.", "kind": "fact", "number": "1", "reward": "1"}
    form |= {"retrieval": shown[0].metadata["persona"]["retrieval_id"], "document": shown[0].id}
    form |= {"axis": "warmth", "value": "0.5", "rating": memory.ratings(USER)[0].id}
    names = {"unpin": "pin", "show": "hold_back", "unpin_persona": "pin_persona"}
    reads = {"ratings", "history"}
    for do in ACTIONS:
        memory.calls.clear()
        answer = page.post("/persona/do", data={**form, "do": do})
        assert answer.status_code == 200, do
        assert read(answer) == ACTIONS[do][1].replace("'", "&#39;"), do
        assert [name for name in memory.calls if name not in reads] == [names.get(do, do)], do
    assert memory.preferences(USER, all=True) == []
    again = page.post("/persona/do", data={**form, "do": "remember"})
    assert read(again) == "Kept."
    assert [one.text for one in memory.preferences(USER)] == ["Plays the piano."]


def test_what_cannot_be_done_is_said_and_changes_nothing():
    memory, _ = make()
    page, before = browser(create_inspector(memory, user=USER)), memory.export_user(USER)
    for form, status, said in [
        ({"do": "pin", "card": "x"}, 404, "not there any more"),
        ({"do": "pin"}, 404, "not there any more"),
        ({"do": "close"}, 400, "no such action"),
        ({"do": "remember", "text": " "}, 400, "empty or too long"),
        ({"do": "remember", "text": "x", "kind": "admin"}, 400, "empty or too long"),
        ({"do": "revise_persona", "text": "x" * 5_000}, 400, "at most 4,000"),
        ({"do": "rollback_persona", "number": "one"}, 400, "empty or too long"),
        ({"do": "set_style", "axis": "warmth", "value": "2"}, 400, "warmth"),
        ({"do": "set_style", "axis": "charm", "value": ""}, 400, "no axis"),
        ({"do": "remember", "text": "x" * 300_000}, 413, "too long"),
    ]:
        answer = page.post("/persona/do", data=form)
        assert (answer.status_code, said in answer.text) == (status, True), form
    assert page.get("/persona/do").status_code == 405
    assert memory.export_user(USER) == before


def test_law_4_another_users_data_is_in_no_response():
    memory, retriever = make()
    bob = memory.remember("bob", PreferenceCard(text="Collects xylophones.", kind="like"))
    shown = retriever.invoke("a film", user_id="bob")
    receipt = retriever.feedback(shown[0], 1.0, user_id="bob")
    memory.revise_persona("bob", "A xylophone dealer.")
    theirs = memory.export_user("bob")
    page = browser(signed_in(create_inspector(memory, retriever, local=True), USER))
    ids, statuses = [bob.id, receipt.id, shown[0].metadata["persona"]["retrieval_id"], "u=bob", "*"], set()
    for one in attempts(200, "bob", ids, [*ACTIONS]):
        answer = page.request(**one)
        statuses.add(answer.status_code)
        assert "xylophone" not in answer.text.lower() + str(answer.headers).lower(), one
    assert {200, 403, 404} <= statuses
    assert memory.export_user("bob") == theirs


def test_nobody_signed_in_sees_something_on_this_machine_only_and_where_that_was_asked_for():
    memory, _ = make()
    assert browser(create_inspector(memory)).get(f"/persona/?user={USER}").status_code == 401
    app = create_inspector(memory, local=True)
    here = browser(app).get(f"/persona/?user={USER}")
    assert "Only this machine" in here.text
    assert "peanuts" in here.text
    assert USER in browser(app).get("/persona/").text, "a choice of users"
    for options, headers in [
        ({"client": ("192.0.2.1", 1)}, {}),
        ({"base_url": "http://rebound.example"}, {}),
        ({}, {"x-forwarded-for": "192.0.2.1"}),
    ]:
        away = browser(app, **options).get(f"/persona/?user={USER}", headers=headers)
        assert away.status_code == 403
        assert "peanuts" not in away.text
    only = browser(create_inspector(memory, user=USER))
    assert "peanuts" in only.get("/persona/").text
    assert only.get("/persona/?user=bob").status_code == 403
    nameless = browser(signed_in(create_inspector(memory, local=True), " "))
    assert nameless.get(f"/persona/?user={USER}").status_code == 403, "such as a developer in Studio"
    with pytest.raises(ConfigError, match="same memory"):
        create_inspector(memory, make()[1])


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://127.0.0.1"}, True),
        ({}, True),  # not a browser
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site", "origin": "http://127.0.0.1"}, False),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://evil.example", "authorization": "Bearer forged"}, False),
    ],
)
def test_no_other_site_makes_a_browser_do_something(headers, allowed):
    memory, _ = make()
    page, before = browser(create_inspector(memory, user=USER)), memory.preferences(USER)
    answer = page.post("/persona/do", data={"do": "remember", "text": "Loves advertising."}, headers=headers)
    assert answer.status_code == (200 if allowed else 403)
    assert (memory.preferences(USER) == before) is not allowed
    opened = page.get("/persona/", headers=headers)
    assert opened.status_code == (200 if allowed or "sec-fetch-mode" in headers else 403), "a link may open the page"


def test_hostile_memories_are_text_and_pages_hold_no_code_of_their_own():
    memory, texts = PersonaMemory(InMemoryStore(), HashEmbeddings(32)), [one["text"] for one in HOSTILE] + MARKUP
    quote = lambda text: [{"message_id": "m", "quote": text + "!"}]  # noqa: E731
    kept = [memory.remember(USER, PreferenceCard(text=text, evidence=quote(text))) for text in texts]
    memory.revise_persona(USER, "\n".join(MARKUP), reason=MARKUP[0])
    memory.retire(USER, kept[-1].id, MARKUP[1])
    memory.update(USER, kept[-2].id, MARKUP[2] + "?")
    page = browser(create_inspector(memory, user=USER))
    for path in PAGES[:-2]:
        answer = page.get(f"/persona/{path}")
        parsed = Parsed(answer.text)
        assert parsed.scripts == ["inspector.js"], path
        assert not parsed.code, path
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
    shown = Parsed(page.get("/persona/").text).texts
    squeeze = lambda text: " ".join(text.split())  # noqa: E731
    assert {squeeze(card.text) for card in memory.preferences(USER, all=True)} <= set(map(squeeze, shown))
    assert len(kept) == 30


class Parsed(HTMLParser):
    """What a browser makes of a page: the sources of scripts, code in attributes or elements, texts of cards."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.scripts, self.code, self.texts = [], [], []
        self._card = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.code += [tag] if tag in ("style", "iframe", "object", "img") else []
        self.code += [name for name, value in attrs if name.startswith("on") or name == "style"]
        self.code += [value for value in given.values() if value and value.startswith("javascript:") and tag == "a"]
        self.scripts += [given.get("src")] if tag == "script" else []
        self._card = tag == "p" and given.get("class") == "text"
        self.texts += [""] if self._card else []

    def handle_data(self, data):
        if self._card:
            self.texts[-1] += data

    def handle_endtag(self, tag):
        self._card = self._card and tag != "p"


def test_a_thumb_moves_the_ranking_and_the_bars_add_up_to_the_score():
    memory, retriever = make()
    page = browser(create_inspector(memory, retriever, user="eve"))
    plain = page.get("/persona/why?q=a+film&k=5").text
    last = re.findall(r'data-key="d-([^"]+)"', plain)[-1]
    retrieval = re.findall(r'name="retrieval" value="([^"]+)"', plain)[-1]
    form = {
        "do": "feedback",
        "at": "why",
        "retrieval": retrieval,
        "document": last,
        "reward": "1",
        "q": "a film",
        "k": "5",
    }
    moved = page.post("/persona/do", data=form)
    assert read(page.post("/persona/do", data=form)).startswith("That changed nothing"), "pressed twice"
    assert len(memory.ratings("eve")) == 1
    assert str(moved.url).endswith("/persona/why?q=a+film&k=5&said=feedback")
    assert re.findall(r'data-key="d-([^"]+)"', moved.text)[0] == last
    assert "Take back your thumb up" in moved.text
    bars = re.findall(r'aria-label="Score ([−.\d]+): ([^"]*)"', moved.text)
    number = lambda text: float(text.replace("−", "-"))  # noqa: E731
    for score, parts in bars:
        assert abs(number(score) - sum(map(number, re.findall(r"[+−][.\d]+", parts)))) < 0.003
    assert any("session" in parts for _, parts in bars)
    off = page.get("/persona/why?q=a+film&k=5&strength=0").text
    order = lambda text, key: re.findall(f'data-key="{key}-([^"]+)"', text)  # noqa: E731
    assert order(off, "d") == order(off, "p") == order(plain, "p")
    assert page.get("/persona/why?q=a+film&k=nan&strength=x").status_code == 200


def test_what_it_learned_is_drawn():
    memory = PersonaMemory(InMemoryStore(), HashEmbeddings(32))
    page = browser(create_inspector(memory, user=USER))
    assert "Three ratings" in page.get("/persona/learning").text
    make_past(memory, make_retriever(memory, memory.embeddings, explore=0.05), rounds=4)
    app = create_inspector(memory, make_retriever(memory, memory.embeddings), user=USER)
    text = browser(app).get("/persona/learning").text
    assert text.count('class="step"') == len(memory.ratings(USER)) == 16
    assert "From 16 ratings of documents that were drawn" in text
    data = pages.read_learning(memory, USER)
    assert all(0 <= value <= 100 for spot in data["map"]["path"] for value in spot)
    assert [len(curve["points"]) for curve in data["curves"]] == [15, 16, 14]


def test_a_front_end_sends_a_thumb():
    memory, retriever = make()
    app = signed_in(create_inspector(memory, retriever), USER)
    shown = retriever.invoke("a film", user_id=USER)
    retrieval = shown[0].metadata["persona"]["retrieval_id"]
    given = {"retrieval_id": retrieval, "reward": 1.0, "docs": [shown[0].id], "key": "k1"}
    elsewhere = {"authorization": "Bearer a", "origin": "https://front.example", "sec-fetch-site": "cross-site"}
    done = browser(app).post("/persona/feedback", json=given, headers=elsewhere).json()
    assert done["applied"]
    assert memory.ratings(USER)[0].id == done["id"]
    assert not browser(app).post("/persona/feedback", json=given).json()["applied"], "the key was used"
    wrong = [[], {}, {"retrieval_id": "x"}, {**given, "reward": 7}, {**given, "user": "bob"}]
    for other in [*wrong, {**given, "docs": ["?"], "key": "k2"}]:
        assert browser(app).post("/persona/feedback", json=other).status_code == 400
    assert browser(app).post("/persona/feedback", content=b"{").status_code == 400


async def test_no_page_blocks_the_event_loop():
    memory, retriever = await asyncio.to_thread(make)
    app = await asyncio.to_thread(create_inspector, memory, retriever, user=USER)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for path in PAGES:
            assert (await client.get(f"/persona/{path}")).status_code == 200, path
        assert (await client.post("/persona/do", data={"do": "remember", "text": "Sings."})).status_code == 303


def test_a_store_that_fails_is_said_in_a_sentence():
    store = Watched()
    page = browser(create_inspector(PersonaMemory(store, HashEmbeddings(32)), user=USER))
    store.before = lambda ops: 1 / 0
    for path in ("", "learning", "export"):
        answer = page.get(f"/persona/{path}")
        assert answer.status_code == 503
        assert "try again" in answer.text


@pytest.mark.model
def test_the_command_serves_a_folder_on_this_machine_only(tmp_path, monkeypatch):
    uvicorn, served = pytest.importorskip("uvicorn"), {}

    def run(app: Any, **options: Any) -> None:
        found = browser(app).get("/persona/why?user=ana&q=a+boat")
        served.update(options, text=found.text)

    monkeypatch.setattr(uvicorn, "run", run)
    (tmp_path / "lines.txt").write_text("A boat.\nA train.\n")
    PersonaMemory.local(tmp_path / "persona").close()
    given = ["inspector", "--path", str(tmp_path / "persona"), "--documents", str(tmp_path / "lines.txt")]
    result = CliRunner().invoke(command, given)
    assert result.exit_code == 0, result.output
    assert "only this machine can open it" in result.output
    assert (served["host"], served["proxy_headers"]) == ("127.0.0.1", False)
    assert served["text"].index("A boat.") < served["text"].index("A train.")
    assert CliRunner().invoke(command, ["inspector", "--path", str(tmp_path / "none")]).exit_code == 2
