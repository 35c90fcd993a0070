"""What the default rule learns from thumbs, beside plain Chroma and the published rules.

    python -m benchmarks.learning [--data DIR] [--json FILE] [--readme FILE] [--summary FILE] [--figure PNG] [--check]

Without `--data` it runs on the PAHF shopping scenarios that come with the repository. A folder may hold
`pahf/shopping/`, `movielens/`, or both, or be one of these; what is not there is left out, and said. See
`benchmarks/README.md`.
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

import numpy as np
from langchain_core.embeddings import Embeddings
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import cache, curves, measure, movielens, pahf, tables
from benchmarks.contenders import contenders
from benchmarks.report import write_block
from benchmarks.shopping import shoppers
from langchain_persona import LocalEmbeddings, PersonaError

MARKERS = "bench-learning"
SUMMARY = "bench-learning-summary"
RESAMPLES = 10_000


def read(folder: Path | None) -> tuple[pahf.Pahf | None, movielens.MovieLens | None, dict[str, str]]:
    """The data sets in a folder (by default the bundled one), and for each that is absent the reason.

    Raises:
        ValueError: a file is not what it should be.
    """
    absent: dict[str, str] = {}
    shop, films = None, None
    try:
        shop = pahf.load(pahf.BUNDLED if folder is None else folder)
        if not shop.scenarios:
            shop, absent["pahf"] = None, "no PAHF shopping data: the files hold no scenario"
    except FileNotFoundError as error:
        absent["pahf"] = str(error)
    if folder is None:
        absent["movielens"] = "MovieLens does not come with the repository; name its folder with --data"
        return shop, None, absent
    try:
        films = movielens.load(folder)
        if not films.thumbs:
            films, absent["movielens"] = None, "no MovieLens data: the files hold no thumb"
    except FileNotFoundError as error:
        absent["movielens"] = str(error)
    return shop, films, absent


def run(
    shop: pahf.Pahf | None,
    films: movielens.MovieLens | None,
    embeddings: Embeddings,
    *,
    seeds: int,
    resamples: int,
    folder: Path,
    check: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Measure what there is; gives the document without its head."""
    document: dict[str, Any] = {"pahf": None, "movielens": None, "check": None}
    if shop is not None:
        texts = [option.text for option in shop.catalogue]
        requests = list(dict.fromkeys(scenario.task for scenario in shop.scenarios))
        rows = unit(cache.embedded(texts, embeddings, folder, progress, "the catalogue"))
        asked = unit(cache.embedded(requests, embeddings, folder, progress, "the requests", queries=True))
        options, tasks = dict(zip(texts, rows, strict=True)), dict(zip(requests, asked, strict=True))
        rules, users = contenders(rows), shoppers(shop, options, tasks)
        document["pahf"] = measure.pahf(users, rules, seeds=seeds, resamples=resamples, progress=progress)
        if check:
            from benchmarks.check import compare  # brings Chroma along

            known = cache.Known(options, tasks, cache.model_name(embeddings))
            document["check"] = compare(shop, known, users, rules, progress)
    if films is not None:
        vectors = unit(cache.embedded(films.texts, embeddings, folder, progress, "the films")).astype(np.float32)
        document["movielens"] = measure.movielens(
            films, vectors, contenders(vectors), seeds=seeds, resamples=resamples, progress=progress
        )
    return document


def unit(rows: cache.Rows) -> Any:
    """Unit length, double precision."""
    wide = rows.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


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
        for part, table in zip(document[name]["parts"], tables.tables(document, name), strict=True):
            console.print(table)
            console.print(tables.words(part, document[name]["rules"]), "\n", highlight=False)
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
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder with pahf/shopping/ or movielens/ (default: bundled)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole result here")
    parser.add_argument("--readme", type=Path, metavar="FILE", help=f"write the tables between its {MARKERS} markers")
    parser.add_argument("--summary", type=Path, metavar="FILE", help=f"write one table between its {SUMMARY} markers")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="write the learning curves here")
    parser.add_argument(
        "--seeds", type=int, default=5, help="orders of the learning scenarios, draws of films (default 5)"
    )
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help=f"of the bootstrap (default {RESAMPLES:,})")
    parser.add_argument("--cache", type=Path, default=cache.FOLDER, metavar="DIR", help="where embeddings are kept")
    parser.add_argument(
        "--check", action="store_true", help="also run PAHF once through the real retriever and compare"
    )
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.resamples < 100:
        parser.error("--seeds must be at least 1, --resamples at least 100")
    if options.data is not None and not options.data.is_dir():
        parser.error(f"--data: {options.data} is not a folder")
    for option, page, name in (("--readme", options.readme, MARKERS), ("--summary", options.summary, SUMMARY)):
        if page is not None and not (page.is_file() and f"<!-- {name} -->" in page.read_text(encoding="utf-8")):
            parser.error(f"{option}: {page} is not a file with <!-- {name} --> and <!-- /{name} -->")
    start, console = time.perf_counter(), Console(width=None if sys.stdout.isatty() else 150)
    try:
        shop, films, absent = read(options.data)
        if shop is None and films is None:
            parser.error("nothing to measure. " + ". ".join(absent.values()))
        for reason in absent.values():
            console.print(f"Not measured: {reason}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            model = LocalEmbeddings() if embeddings is None else embeddings
            result = run(
                shop,
                films,
                model,
                seeds=options.seeds,
                resamples=options.resamples,
                folder=options.cache,
                check=options.check,
                progress=progress,
            )
    except (PersonaError, ValueError) as error:
        parser.error(str(error))
    document = {
        "benchmark": "learning",
        "version": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - start, 1),
        "seeds": options.seeds,
        "resamples": options.resamples,
        "model": cache.model_name(model),
        "versions": versions(),
        "absent": absent,
        **result,
    }
    show(document, console)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(
            json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )
    if options.readme is not None:
        write_block(options.readme, MARKERS, tables.markdown(document))
    if options.summary is not None:
        write_block(options.summary, SUMMARY, tables.summary(document))
    if options.figure is not None:
        curves.draw(document, options.figure)
    console.print(f"{document['seconds']:.0f} seconds", style="dim")
    return int(any(rule["differences"] for rule in document["check"] or ()))


if __name__ == "__main__":
    sys.exit(main())
