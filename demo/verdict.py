"""All users and four rules: how many offers are taken on scenarios that nothing was learned from, and who wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

from benchmarks.pahf import Pahf
from benchmarks.replay import Outcome, accepted, learning_curve, rate

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["chance", "interval", "show"]

OURS, PLAIN, PAPER = "our default", "plain Chroma", "paper's rule"
TESTS = {2: "before the change", 4: "after the change"}

ByUser = Mapping[str, Sequence[bool]]


def chance(data: Pahf, users: Sequence[str], phase: int) -> float:
    """The rate of offering one of the three at random, where the choice matters: exact, not drawn."""
    tests = [scenario for user in users for scenario in data.of(user, phase) if scenario.matters]
    return sum(sum(scenario.acceptable) / 3 for scenario in tests) / len(tests)


def interval(one: ByUser, other: ByUser | None, *, seed: int, draws: int = 2_000) -> tuple[float, float]:
    """95 % bootstrap interval of a rate, or of the difference of two on the same scenarios, resampling users."""
    users = sorted(one)
    hits = np.array([sum(one[user]) - (sum(other[user]) if other else 0) for user in users])
    sizes = np.array([len(one[user]) for user in users])
    picks = np.random.default_rng(seed).integers(len(users), size=(draws, len(users)))
    values = hits[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def show(
    console: Console,
    data: Pahf,
    outcomes: Mapping[str, Sequence[Outcome]],
    users: Sequence[str],
    *,
    seed: int,
    verbose: bool,
) -> None:
    """The table of all rules, and in words what it says."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column(f"share taken, {len(users)} users", no_wrap=True)
    for heading in ("45 thumbs", "taste changed", "45 new thumbs"):
        table.add_column(heading, justify="right")
    if verbose:
        table.add_column("our default against it:\npoints, 95 % interval", justify="right")
    guesses = [chance(data, users, phase) for phase in (2, 4, 4)]
    table.add_row("a random one", *(f"{value:.1%}" for value in guesses), style="dim")
    rows = {name: _columns(found) for name, found in outcomes.items()}
    best = [max(row[column] for row in rows.values()) for column in range(3)]
    for name, row in rows.items():
        cells: list[Text | str] = [
            Text(f"{value:.1%}", "bold green" if value == top else "") for value, top in zip(row, best, strict=True)
        ]
        if verbose:
            cells.append("" if name == OURS else "\n".join(_lead(outcomes, name, phase, seed) for phase in TESTS))
        table.add_row(name, *cells)
    console.print(table)
    few = f" [yellow]Only {len(users)} of {len(data.users)} users: a look, not a result.[/]"
    console.print(f"Two of the rules are the VARS paper's.{few if len(users) < len(data.users) else ''}")
    judged = {words: _judge(outcomes, phase, seed) for phase, words in TESTS.items()}
    if len(set(judged.values())) == 1:
        judged = {"before and after the change": next(iter(judged.values()))}
    for words, verdict in judged.items():
        console.print(f"{words.capitalize()}, our default is {verdict}.")


def _columns(found: Sequence[Outcome]) -> tuple[float, float, float]:
    """Before the change; after it without and with new thumbs."""
    start = next(iter(learning_curve(found, 4).values()))
    return rate(accepted(found, 2)), rate(start), rate(accepted(found, 4))


def _lead(outcomes: Mapping[str, Sequence[Outcome]], name: str, phase: int, seed: int) -> str:
    ours, other = accepted(outcomes[OURS], phase), accepted(outcomes[name], phase)
    low, high = interval(ours, other, seed=seed)
    word = TESTS[phase].split()[0]
    return f"{word} {100 * (rate(ours) - rate(other)):+5.1f} [{100 * low:+5.1f}, {100 * high:+5.1f}]"


def _judge(outcomes: Mapping[str, Sequence[Outcome]], phase: int, seed: int) -> str:
    """Whom our default beats in a test phase, as far as the interval lets us say so."""
    ours = accepted(outcomes[OURS], phase)
    found: dict[str, list[str]] = {"better than": [], "worse than": [], "not to be told from": []}
    for name in outcomes:
        if name != OURS:
            low, high = interval(ours, accepted(outcomes[name], phase), seed=seed)
            verdict = "better than" if low > 0 else "worse than" if high < 0 else "not to be told from"
            found[verdict].append(name)
    told = [
        f"{verdict} {'all three others' if len(names) == len(outcomes) - 1 else ', '.join(names)}"
        for verdict, names in found.items()
        if names
    ]
    return " and ".join(told)
