"""The same benchmark in another tree of this project and in this one, in turns: what a change did to the figures.

    python -m benchmarks.before_after {speed,turn} --before TREE [--rounds 3] [--readme FILE] [-- OPTIONS]

Each tree runs its own `benchmarks` with its own interpreter, TREE/.venv/bin/python unless `--python` names another.
What stands behind `--` is handed to both, such as `-- --rows 20000`. Every round runs both trees, and who goes first
changes; figures are medians over the rounds. Ratios are taken within one run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from benchmarks.report import write_block

__all__ = ["keyed", "markdown", "merge"]

HERE = Path(__file__).resolve().parents[1]

Key = tuple[str, str, int]
"""What was measured, beside what, and the how-manieth row of that name it is."""

Rows = Mapping[Key, Mapping[str, Any]]


def run(tree: Path, python: Path, benchmark: str, options: Sequence[str]) -> Rows:
    """One run of a benchmark in a tree."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "result.json"
        command = [str(python), "-m", f"benchmarks.{benchmark}", "--json", str(target), *options]
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed in {tree}:\n{done.stderr[-2_000:]}")
        return keyed(json.loads(target.read_text()))


def keyed(document: Any) -> Rows:
    """The rows of a benchmark's document by what they measure."""
    seen: Counter[tuple[str, str]] = Counter()
    found = {}
    for row in document["result"] if isinstance(document, dict) else document:
        name = row["what"], row["beside"]
        found[*name, seen[name]] = row
        seen[name] += 1
    return found


def merge(runs: Sequence[Rows]) -> dict[Key, dict[str, Any]]:
    """Medians over several runs: of the value, and of its ratio to what stands beside it."""
    merged = {}
    for key, row in runs[0].items():
        values = [one[key]["value"] for one in runs if key in one]
        ratios = [one[key]["value"] / one[key]["other"] for one in runs if key in one and one[key]["other"]]
        ratio = statistics.median(ratios) if ratios else None
        merged[key] = {"value": statistics.median(values), "ratio": ratio, "unit": row["unit"], "aim": row["aim"]}
    return merged


def markdown(before: Mapping[Key, Mapping[str, Any]], after: Mapping[Key, Mapping[str, Any]], rounds: int) -> str:
    """For a page and for a terminal."""
    lines = [
        f"Medians of {rounds} runs of each tree, in turns. Ratios are to what stands beside, in the same run.",
        "",
        "| what | beside | before | ratio | after | ratio | aim |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for key in [*after, *(key for key in before if key not in after)]:
        cells = [*_cells(before.get(key)), *_cells(after.get(key)), after.get(key, {}).get("aim", "")]
        lines.append(f"| {key[0]} | {key[1]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(row: Mapping[str, Any] | None) -> tuple[str, str]:
    if row is None:
        return "–", ""
    ratio = row["ratio"]
    shown = "" if ratio is None else f"1/{1 / ratio:.0f}" if 0 < ratio < 0.1 else f"{ratio:.2f} ×"
    return f"{row['value']:.2f} {row['unit']}".strip(), shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    cut = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=("speed", "turn"))
    parser.add_argument("--before", type=Path, required=True, metavar="TREE", help="the other tree")
    parser.add_argument("--python", type=Path, help="its interpreter (default: TREE/.venv/bin/python)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each tree (default 3)")
    parser.add_argument("--readme", type=Path, help="write the table between the before-after markers of this page")
    options = parser.parse_args(given[:cut])
    python = (options.python or options.before / ".venv" / "bin" / "python").absolute()
    if not python.is_file():
        parser.error(f"{python} is no interpreter; name one with --python")
    trees = {"before": (options.before.resolve(), python), "after": (HERE, Path(sys.executable))}
    found: dict[str, list[Rows]] = {name: [] for name in trees}
    with Progress(transient=True) as progress:
        task = progress.add_task("runs", total=2 * options.rounds)
        for turn in range(options.rounds):
            for name in list(trees) if turn % 2 == 0 else reversed(trees):
                found[name].append(run(*trees[name], options.benchmark, given[cut + 1 :]))
                progress.advance(task)
    text = markdown(merge(found["before"]), merge(found["after"]), options.rounds)
    Console(soft_wrap=True).print(text, markup=False, highlight=False)
    if options.readme:
        write_block(options.readme, f"before-after-{options.benchmark}", text)


if __name__ == "__main__":
    main()
