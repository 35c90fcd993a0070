"""What the default rule learns from thumbs, beside what is known without it and the published rules.

    python -m benchmarks.learning [--data DIR] [--json FILE] [--readme FILE] [--summary FILE] [--figure PNG] [--check]

Without `--data` it runs on the PAHF shopping scenarios that come with the repository. A folder may hold
`pahf/shopping/`, `pahf/embodied/`, `movielens/`, some of them, or be one of these; what is not there is left out, and
said. See `benchmarks/README.md`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # set before NumPy loads: for arrays of this size BLAS threads wait for each other longer than they work
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if not __package__:  # run as a file
        sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import json
import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from langchain_core.embeddings import Embeddings
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import blocks, cache, curves, tables
from benchmarks.datasets import Options, measured, read
from benchmarks.report import write_block
from langchain_persona import LocalEmbeddings, PersonaError

MARKERS = "bench-learning"
SUMMARY = "bench-learning-summary"
RESAMPLES = 10_000


def versions() -> dict[str, str]:
    """What it ran on."""
    found = {"python": platform.python_version()}
    for package in ("langchain-persona", "numpy", "onnxruntime"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def show(document: dict[str, Any], console: Console) -> None:
    """Tables, and in words where ours does not win."""
    for name in tables.TITLES:
        if document[name] is None:
            continue
        rules = document[name]["rules"]
        for part, table in zip(document[name]["parts"], tables.tables(document, name), strict=True):
            console.print(table)
            for sentence in (tables.words(part, rules), *tables.pair_words(part, rules)):
                console.print(sentence, highlight=False)
            if "recovery" in part:
                console.print(tables.recovery_table(part, rules))
                console.print(tables.ratio_words(part, rules), highlight=False)
            console.print()
    for rule in document["check"] or ():
        console.print(
            f"Real retriever, {rule['name']}: {rule['offers']} offers, "
            f"{rule['differences']} with another outcome than here {rule['first'] or ''}",
            highlight=False,
        )


def main(arguments: Sequence[str] | None = None, *, embeddings: Embeddings | None = None) -> int:
    """Command line; gives 1 when `--check` found a difference.

    Args:
        arguments: by default those of the process.
        embeddings: the model; by default the local one.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with pahf/ or movielens/ (default: bundled)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole result here")
    parser.add_argument("--readme", type=Path, metavar="FILE", help=f"write the tables between its {MARKERS} markers")
    parser.add_argument("--summary", type=Path, metavar="FILE", help=f"write one table between its {SUMMARY} markers")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="write the learning curves here")
    parser.add_argument("--words", type=Path, metavar="PNG", help="write the picture of words and thumbs here")
    parser.add_argument(
        "--seeds", type=int, default=5, help="orders of scenarios; draws of films, ties and queries (default 5)"
    )
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help=f"of the bootstrap (default {RESAMPLES:,})")
    parser.add_argument("--cache", type=Path, default=cache.FOLDER, metavar="DIR", help="where embeddings are kept")
    parser.add_argument(
        "--check", action="store_true", help="also run PAHF once through the real retriever and compare"
    )
    parser.add_argument(
        "--film-users",
        type=int,
        metavar="N",
        help="evaluate N users of MovieLens only; the tables say so (default: all)",
    )
    options = parser.parse_args(arguments)
    if options.film_users is not None and options.film_users < 1:
        parser.error("--film-users must be at least 1")
    if options.seeds < 1 or options.resamples < 100:
        parser.error("--seeds must be at least 1, --resamples at least 100")
    if options.data is not None and not options.data.is_dir():
        parser.error(f"--data: {options.data} is not a folder")
    for option, page, name in (("--readme", options.readme, MARKERS), ("--summary", options.summary, SUMMARY)):
        if page is not None and not (page.is_file() and f"<!-- {name} -->" in page.read_text(encoding="utf-8")):
            parser.error(f"{option}: {page} is not a file with <!-- {name} --> and <!-- /{name} -->")
    start, console = time.perf_counter(), Console(width=None if sys.stdout.isatty() else 150)
    try:
        found = read(options.data)
        if found.nothing:
            parser.error("nothing to measure. " + ". ".join(found.absent.values()))
        for reason in found.absent.values():
            console.print(f"Not measured: {reason}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            model = LocalEmbeddings() if embeddings is None else embeddings
            how = Options(options.seeds, options.resamples, options.cache, options.check, options.film_users)
            result = measured(found, model, how, progress)
    except (PersonaError, ValueError) as error:
        parser.error(str(error))
    document = {
        "benchmark": "learning",
        "version": 2,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - start, 1),
        "seeds": options.seeds,
        "resamples": options.resamples,
        "film_users": options.film_users,
        "model": cache.model_name(model),
        "versions": versions(),
        "absent": found.absent,
        **result,
    }
    show(document, console)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(
            json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
    if options.readme is not None:
        write_block(options.readme, MARKERS, blocks.markdown(document))
    if options.summary is not None:
        write_block(options.summary, SUMMARY, blocks.summary(document))
    if options.figure is not None:
        curves.draw(document, options.figure)
    if options.words is not None and document["pahf"] is not None:
        curves.draw_words(document, options.words)
    console.print(f"{document['seconds']:.0f} seconds", style="dim")
    return int(any(rule["differences"] for rule in document["check"] or ()))


if __name__ == "__main__":
    sys.exit(main())
