"""The benchmarks of time in small: they run, and their documents are complete. No time is asserted."""

from __future__ import annotations

import json

import pytest

from benchmarks import loop_lag, peers, rows, speed, turn, users


@pytest.mark.model
@pytest.mark.slow
def test_a_small_run_of_each(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rows, "REPEATS", 5)
    monkeypatch.setattr(speed, "import_time", list)  # 15 processes
    page = tmp_path / "page.md"
    for benchmark, arguments in (
        (speed, ["--rows", "1000"]),
        (turn, ["--cards", "3", "--many", "60", "--turns", "2"]),
        (loop_lag, ["--repeats", "1", "--users", "3"]),
    ):
        block = f"bench-{benchmark.__name__.rpartition('.')[2].replace('_', '-')}"
        page.write_text(f"before\n<!-- {block} -->\nold\n<!-- /{block} -->\nafter\n")
        benchmark.main([*arguments, "--json", str(tmp_path / "result.json"), "--readme", str(page)])
        result = json.loads((tmp_path / "result.json").read_text())["result"]
        assert all(row["value"] >= 0 for row in result)
        assert "old" not in page.read_text()
        if benchmark is speed:
            sizes = {row["what"]: row["value"] for row in result}
            assert sizes["the stored state of one user"] <= 8.0
    assert "What personalisation costs" in capsys.readouterr().out


def test_a_store_of_ten_times_as_many_users_is_asked_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(users, "CALLERS", 5)
    users.main(["--ratings", "200", "--cards", "200", "--users", "10000", "--json", str(tmp_path / "result.json")])
    result = json.loads((tmp_path / "result.json").read_text())["result"]
    counted = [row for row in result if row["aim"] == "the same, no scan"]
    assert len(counted) == 8
    assert all(row["met"] for row in counted)
    assert all(row["met"] for row in result if "KB" in row["aim"])


def test_peers_on_a_small_corpus(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- bench-peers -->\nold\n<!-- /bench-peers -->\n")
    options = ["--sizes", "1000/10", "--seconds", "0.1", "--calls", "3"]
    peers.main([*options, "--json", str(tmp_path / "result.json"), "--readme", str(page)])
    (found,) = json.loads((tmp_path / "result.json").read_text()).values()
    assert found[0]["name"] == "langchain-persona"
    assert all(one["own"] == 1.0 for one in found if "no filter" not in one["name"])
    assert "| langchain-chroma, where filter |" in page.read_text()


def test_too_small_a_corpus_is_refused(capsys):
    with pytest.raises(SystemExit):
        speed.main(["--rows", "10"])
    assert "at least 1,000" in capsys.readouterr().err
