"""Rows of results, before and after, and what a call enters of the package. Counts are asserted here, times never."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.store.memory import InMemoryStore

from benchmarks import before_after, entered, turn
from benchmarks.report import write_block
from benchmarks.rows import Row, markdown
from langchain_persona.identity import label


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        (Row("a", 1.5, "ms", "b", 3.0), ("1.50 ms", "3.00 ms", "0.50 ×")),
        (Row("a", 1.0, "ms", "b", 80.0), ("1.00 ms", "80.00 ms", "1/80")),
        (Row("a", 4, ""), ("4", "", "")),
        (Row("a", 0.0, "ms", "b", 0.0), ("0.00 ms", "0.00 ms", "")),
    ],
)
def test_figures_as_text(row: Row, cells: tuple[str, str, str]) -> None:
    assert row.cells() == cells


def test_a_missed_aim_is_said() -> None:
    text = markdown(
        [Row("a", 1.0, "ms", aim="≤ 2 ms", met=True), Row("b", 3.0, "ms", aim="≤ 2 ms", met=False)], "Head."
    )
    assert "| a | 1.00 ms |  |  |  | ≤ 2 ms ✓ |" in text
    assert "| b | 3.00 ms |  |  |  | ≤ 2 ms **missed** |" in text


@pytest.mark.parametrize("text", ["no markers", "<!-- a -->\n", "<!-- a -->\n<!-- /a -->\n<!-- a -->\n<!-- /a -->\n"])
def test_a_page_without_its_markers_is_refused(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="each once"):
        write_block(page, "a", "new")
    assert page.read_text() == text


def test_before_and_after_are_medians_by_name() -> None:
    def document(value: float, *, old: bool = False) -> list[dict[str, object]]:
        rows = [Row("same", value, "ms", "other", 2.0, "≤ 1 ×"), Row("same", 9.0, "ms"), Row("new", 1.0, "ms")]
        return [vars(row) for row in (rows[:2] if old else rows)]

    runs = [before_after.keyed({"result": document(value)}) for value in (1.0, 9.0, 3.0)]
    before = before_after.merge([before_after.keyed(document(4.0, old=True))])
    text = before_after.markdown(before, before_after.merge(runs), 3)
    assert "| same | other | 4.00 ms | 2.00 × | 3.00 ms | 1.50 × | ≤ 1 × |" in text
    assert "| same |  | 9.00 ms |  | 9.00 ms |  |  |" in text
    assert "| new |  | – |  | 1.00 ms |  |  |" in text


def test_what_a_thread_pool_runs_is_counted_too() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(label, "warm").result()
        counted = entered.count(lambda: pool.submit(label, "ana").result())
    assert counted.files == ["identity.py"]
    assert ("identity.py", "label") in counted.functions
    assert entered.count(lambda: None).files == []


def test_a_retrieval_and_a_turn_enter_few_files() -> None:
    for what, one in entered.measure().items():
        most = entered.MOST.get(what, entered.MOST["one chat turn"])
        assert len(one.files) <= most, f"{what}: {one.files}"


@pytest.mark.parametrize("kind", turn.KINDS, ids=lambda kind: kind.name)
def test_a_turn_makes_few_batches(kind: turn.Kind) -> None:
    films = InMemoryVectorStore(turn.Lookup(turn.synthetic(turn.ROWS)))
    films.add_texts([f"a film with the number {index}" for index in range(20)])
    cards = 60 if kind.beyond else 3
    rows = turn.measure_kind(kind, "memory", InMemoryStore(), lambda text: None, films, cards, 3)
    counts = {row.what.rpartition(": ")[2]: row for row in rows}
    # a process that has not met the user learns from the snapshot what is younger, and reads that in a batch of its own
    assert counts["batches ahead, at most"].value <= (5 if kind.anew else 4)
    assert counts["batches in all, at most"].value <= 8


def test_users_who_talk_at_once_are_timed_beside_the_same_graph_without_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "open_postgres", nullcontext)  # where there is none, a line less
    rows = turn.measure_load(users=3, cards=2, turns=2)
    assert [row.what.partition(": ")[0] for row in rows] == ["3 users at once, SQLite store"] * 3
    assert all(row.value > 0 and row.other for row in rows)
