"""Lines of a result: a median, what stands beside it, their ratio, the aim. Measured, shown and written."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.report import write_block

__all__ = ["Row", "arguments_of", "markdown", "medians", "publish"]

REPEATS = 200
WARM_UP = 10


@dataclass(frozen=True)
class Row:
    """One line of the result: what, its median, beside what, that one's median, the aim, and whether it was met."""

    what: str
    value: float
    unit: str
    beside: str = ""
    other: float | None = None
    aim: str = ""
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        """This one's median over the other's."""
        return self.value / self.other if self.other else None

    def cells(self) -> tuple[str, str, str]:
        """The figures as text: its own, the other's, their ratio."""
        other = "" if self.other is None else figure(self.other, self.unit)
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} ×"
        if self.ratio and 0 < self.ratio < 0.1:
            ratio = f"1/{1 / self.ratio:.0f}"
        return figure(self.value, self.unit), other, ratio


def figure(value: float, unit: str) -> str:
    """A number with its unit; what is counted has no places."""
    return f"{value:.0f}" if not unit else f"{value:.2f} {unit}"


def medians(*calls: Callable[[int], Any], repeats: int | None = None) -> list[float]:
    """Median milliseconds of each call, measured in turns so that noise hits all alike."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range((REPEATS if repeats is None else repeats) + WARM_UP):
        for call, kept in zip(calls, times, strict=True):
            start = time.perf_counter()
            call(turn)
            if turn >= WARM_UP:
                kept.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(kept) for kept in times]


def table(rows: Sequence[Row], title: str) -> Table:
    """For a terminal."""
    view = Table(title=title)
    for column in ("what", "figure", "beside", "figure", "ratio", "aim", "met"):
        view.add_column(column, justify="left" if column in ("what", "beside", "aim") else "right")
    for row in rows:
        value, other, ratio = row.cells()
        view.add_row(row.what, value, row.beside, other, ratio, row.aim, {None: "", True: "yes", False: "NO"}[row.met])
    return view


def markdown(rows: Sequence[Row], head: str) -> str:
    """For a page."""
    lines = [
        f"{head} On {os.cpu_count()} shared cores. Ratios travel between machines, times do not.",
        "",
        "| what | figure | beside | figure | ratio | aim |",
        "| --- | ---: | --- | ---: | ---: | --- |",
    ]
    for row in rows:
        value, other, ratio = row.cells()
        aim = row.aim if row.met is None else f"{row.aim} {'✓' if row.met else '**missed**'}"
        lines.append(f"| {row.what} | {value} | {row.beside} | {other} | {ratio} | {aim} |")
    return "\n".join(lines)


def arguments_of(description: str | None, block: str) -> argparse.ArgumentParser:
    """A command line with what every benchmark of rows takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--readme", type=Path, help=f"write the table between the {block} markers of this page")
    return parser


def publish(rows: Sequence[Row], options: argparse.Namespace, *, title: str, head: str, block: str) -> None:
    """Print the rows, and write them where the command line says."""
    Console(width=160).print(table(rows, title))
    if options.json:
        result = [{**asdict(row), "ratio": row.ratio} for row in rows]
        document = {"head": head, "python": platform.python_version(), "result": result}
        options.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.readme:
        write_block(options.readme, block, markdown(rows, head))
