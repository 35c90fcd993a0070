"""All users and four rules: how many offers are taken on scenarios that nothing was learned from, and who wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.pahf import Pahf
from benchmarks.replay import Outcome, accepted, learning_curve, rate

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["chance", "interval", "show"]

OURS, PLAIN = "our default", "plain Chroma"
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
) -> None:
    """The table of all rules, and in words what it says."""
    console.print(
        "\nThe share of offers taken in test scenarios, from which nothing is learned, where one or two of the three "
        f"options are good: {len(users)} users, before and after their taste changed, by number of thumbs.\n"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("rule", no_wrap=True)
    sizes = {phase: sum(map(len, accepted(outcomes[PLAIN], phase).values())) for phase in TESTS}
    table.add_column(f"before,\n45 thumbs\nn = {sizes[2]}", justify="right")
    table.add_column(f"after,\nno new\nn = {sizes[4]}", justify="right")
    table.add_column(f"after,\n45 new\nn = {sizes[4]}", justify="right")
    table.add_column("our default against it:\npoints, 95 % interval", justify="right")
    guesses = [chance(data, users, phase) for phase in (2, 4, 4)]
    table.add_row("a random one", *(f"{value:.1%}" for value in guesses), "", style="dim", end_section=True)
    rows = {name: _columns(found) for name, found in outcomes.items()}
    best = [max(row[column] for row in rows.values()) for column in range(3)]
    for name, row in rows.items():
        cells = [
            Text(f"{value:.1%}", "bold green" if value == top else "") for value, top in zip(row, best, strict=True)
        ]
        against = "" if name == OURS else "\n".join(_lead(outcomes, name, phase, seed) for phase in TESTS)
        table.add_row(name, *cells, against)
    console.print(table)
    for phase, words in TESTS.items():
        console.print(_judge(outcomes, phase, words, seed))
    ours, plain = (_columns(outcomes[name])[1] for name in (OURS, PLAIN))
    console.print(
        "Right after the change, with only the old taste to go by, our default stands "
        f"{100 * (ours - plain):+.1f} points from plain Chroma."
    )
    if len(users) < len(data.users):
        console.print(f"[yellow]Only {len(users)} of {len(data.users)} users: a look, not a result.[/]")


def _columns(found: Sequence[Outcome]) -> tuple[float, float, float]:
    """Before the change; after it without and with new thumbs."""
    start = next(iter(learning_curve(found, 4).values()))
    return rate(accepted(found, 2)), rate(start), rate(accepted(found, 4))


def _lead(outcomes: Mapping[str, Sequence[Outcome]], name: str, phase: int, seed: int) -> str:
    ours, other = accepted(outcomes[OURS], phase), accepted(outcomes[name], phase)
    low, high = interval(ours, other, seed=seed)
    word = TESTS[phase].split()[0]
    return f"{word} {100 * (rate(ours) - rate(other)):+5.1f} [{100 * low:+5.1f}, {100 * high:+5.1f}]"


def _judge(outcomes: Mapping[str, Sequence[Outcome]], phase: int, words: str, seed: int) -> str:
    """Who wins a test phase, and whether the interval lets us say so."""
    rates = {name: rate(accepted(found, phase)) for name, found in outcomes.items()}
    top = max(rates.values())
    winners = [name for name, value in rates.items() if value == top]
    says = f"{words.capitalize()}: {' and '.join(winners)} {'wins' if len(winners) == 1 else 'tie'} with {top:.1%}."
    ours = accepted(outcomes[OURS], phase)
    sure: list[str] = []
    worse: list[str] = []
    unsure: list[str] = []
    for name in rates:
        if name != OURS:
            low, high = interval(ours, accepted(outcomes[name], phase), seed=seed)
            (sure if low > 0 else worse if high < 0 else unsure).append(name)
    if sure:
        says += f" Our default is better than {', '.join(sure)}."
    if worse:
        says += f" Our default is worse than {', '.join(worse)}."
    if unsure:
        says += f" Not settled by these data: our default against {', '.join(unsure)}."
    return says
