"""The speed benchmark in small: it runs, its document is complete, and what does not depend on the machine holds."""

from __future__ import annotations

import json

import pytest

from benchmarks import speed
from benchmarks.report import write_block


@pytest.mark.model
def test_a_small_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, "REPEATS", 5)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench-speed -->\nold\n<!-- /bench-speed -->\nafter\n")
    speed.main(["--rows", "1000", "--json", str(tmp_path / "speed.json"), "--readme", str(page)])
    document = json.loads((tmp_path / "speed.json").read_text())
    rows = {row["what"]: row for row in document["result"]}
    assert document["rows"] == 1_000
    assert all(row["value"] > 0 for row in document["result"])
    assert rows["the stored state of one user"]["value"] <= 8.0
    assert rows["import langchain_persona, on top of langchain_core"]["value"] <= 300.0
    assert rows["one feedback, SQLite store"]["value"] <= 50.0  # ten times the aim: this machine may be busy
    written = page.read_text()
    assert written.startswith("before\n<!-- bench-speed -->\n")
    assert written.endswith("<!-- /bench-speed -->\nafter\n")
    assert "similarity_search" in written
    assert "old" not in written
    assert "What personalisation costs" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["no markers", "<!-- a -->\n", "<!-- a -->\n<!-- /a -->\n<!-- a -->\n<!-- /a -->\n"])
def test_a_page_without_its_markers_is_refused(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="each once"):
        write_block(page, "a", "new")
    assert page.read_text() == text


def test_too_small_a_corpus_is_refused(capsys):
    with pytest.raises(SystemExit):
        speed.main(["--rows", "10"])
    assert "at least 1,000" in capsys.readouterr().err
