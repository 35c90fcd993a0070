"""What a results file says: tables with paired bootstrap intervals against `none`, what it cost, and one figure."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from langchain_persona.errors import ConfigError, MissingExtraError

BASE, CONTROL = "none", "another"


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over users with its 95 % bootstrap interval.

    Attributes:
        mean: over the users that have a value; NaN without any.
        low, high: the 2.5th and 97.5th percentile of the resampled means; None with fewer than two users.
        users: how many users have a value.
    """

    mean: float
    low: float | None
    high: float | None
    users: int


def mean(values: Iterable[float]) -> float:
    """The mean; 0 of nothing."""
    some = list(values)
    return sum(some) / len(some) if some else 0.0


def over_users(values: npt.ArrayLike, *, resamples: int = 10_000) -> Interval:
    """Bootstrap over users: resample them with replacement, take the mean, 2.5th to 97.5th percentile.

    Give it differences between two rules, one a user, and the comparison is paired.

    Args:
        values: one number a user, shape (n,), averaged over seeds before; users with NaN are left out.
        resamples: how many times, with the same draws at each call.
    """
    kept = np.asarray(values, dtype=np.float64)
    kept = kept[np.isfinite(kept)]
    if kept.size < 2:
        return Interval(float(kept[0]) if kept.size else float("nan"), None, None, int(kept.size))
    rng = np.random.default_rng(0)
    # in slices: 10,000 times some hundred users is too much memory for one array on a small machine
    means = [
        kept[rng.integers(kept.size, size=(min(1_000, resamples - start), kept.size))].mean(axis=1)
        for start in range(0, resamples, 1_000)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Interval(float(kept.mean()), float(low), float(high), int(kept.size))


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """The table in Markdown."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(line)} |" for line in lines)])


def read_results(path: Path) -> dict[str, Any]:
    """A results file; `ConfigError`: it is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = found["rows"], found["arms"], found["unit"], found["settings"]["benchmark"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no results file of `eval run` ({type(error).__name__})") from error
    return found


def metrics_of(results: Mapping[str, Any]) -> list[str]:
    """The metrics in a results file: those of most items first, and of an item the main one first."""
    counts = Counter(name for row in results["rows"] for name in row["scores"])
    return sorted(counts, key=lambda name: -counts[name])


def scores_of(results: Mapping[str, Any], metric: str) -> dict[str, dict[str, float]]:
    """The score of each item, in each arm."""
    found: dict[str, dict[str, float]] = {arm: {} for arm in results["arms"]}
    for row in results["rows"]:
        if metric in row["scores"]:
            found[row["arm"]][row["item"]] = row["scores"][metric]
    return {arm: some for arm, some in found.items() if some}


def mean_of(results: Mapping[str, Any], scores: Mapping[str, float], base: Mapping[str, float] | None) -> Interval:
    """The mean score over items, or users where the benchmark says so; with a base, of the differences, paired."""
    users = {row["item"]: row["user"] for row in results["rows"]}
    by_unit = defaultdict[str, list[float]](list)
    for item, score in scores.items():
        if base is None or item in base:
            unit = users[item] if results["unit"] == "user" else item
            by_unit[unit].append(score - (base[item] if base else 0.0))
    return over_users([mean(some) for some in by_unit.values()])


def tables_of(results: Mapping[str, Any]) -> list[Table]:
    """One table for each metric, one of the costs, and one for each way of grouping the main metric."""
    made = list[Table]()
    for metric in metrics_of(results):
        scores = scores_of(results, metric)
        bases, rows = [one for one in (BASE, CONTROL) if one in scores], list[list[str]]()
        for arm, some in scores.items():
            shown = [_show(mean_of(results, some, None))]
            for base in bases:
                paired = arm not in (base, BASE) and not scores[base].keys().isdisjoint(some)
                shown.append(_show(mean_of(results, some, scores[base]), signed=True) if paired else "")
            rows.append([arm, str(len(some)), *shown])
        made.append(Table(metric, ("arm", "n", "mean [95 %]", *(f"minus {base} [95 %]" for base in bases)), rows))
    made.append(Table("cost", ("arm", "calls", "tokens in", "tokens out", "seconds", "learning"), _costs(results)))
    return [one for one in (*made, *_groups(results)) if one.rows]


def _costs(results: Mapping[str, Any]) -> list[list[str]]:
    """Means a question; and of learning, a history."""
    rows = list[list[str]]()
    for arm in results["arms"]:
        some = [row for row in results["rows"] if row["arm"] == arm and not row["error"]]
        learned = [one for one in results["learning"] if one["arm"] == arm and one["calls"]]
        if some:
            means = [mean(row[name] for row in some) for name in ("calls", "read", "written", "seconds")]
            told = [mean(one["calls"] for one in learned), mean(one["read"] + one["written"] for one in learned)]
            learning = f"{told[0]:.1f} calls, {told[1]:,.0f} tokens a history" if learned else ""
            shown = [f"{means[0]:.1f}", f"{means[1]:,.0f}", f"{means[2]:,.0f}", f"{means[3]:.2f}"]
            rows.append([arm, *shown, learning])
    return rows


def _groups(results: Mapping[str, Any]) -> list[Table]:
    """The first metric that each item has, by group; a way of grouping with one group only is left out."""
    names = dict.fromkeys(name for row in results["rows"] for name in row["groups"])
    arms, made = results["arms"], list[Table]()
    for name in names:
        found = defaultdict[str, dict[str, list[float]]](lambda: defaultdict(list))
        for row in results["rows"]:
            if name in row["groups"] and row["scores"]:
                metric, score = next(iter(row["scores"].items()))
                found[f"{row['groups'][name]}: {metric}"][row["arm"]].append(score)
        rows = [
            [group, *(f"{mean(some[arm]):.2f} ({len(some[arm])})" if arm in some else "" for arm in arms)]
            for group, some in sorted(found.items())
        ]
        if len(rows) > 1:
            made.append(Table(f"by {name}, mean (n)", ("group", *arms), rows))
    return made


def draw(results: Mapping[str, Any], path: Path) -> None:
    """The main metric of each arm with its interval, as a picture; `MissingExtraError`: matplotlib is not there."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError('a figure needs: pip install "langchain-persona[evals]"') from error
    if not (metrics := metrics_of(results)):
        raise ConfigError("there are no scores to draw")
    metric = metrics[0]
    found = {arm: mean_of(results, some, None) for arm, some in scores_of(results, metric).items()}
    figure = Figure(figsize=(7, 1 + 0.4 * len(found)), layout="constrained")
    axes = figure.subplots()
    ends = [
        (one.mean, one.mean) if one.low is None or one.high is None else (one.low, one.high) for one in found.values()
    ]
    means = np.array([one.mean for one in found.values()])
    spread = np.abs(np.array(ends).T - means)
    colours = ["tab:blue" if arm in ("verbatim", "reflection") else "tab:gray" for arm in found]
    axes.barh(list(found), means, xerr=spread, color=colours, ecolor="black", capsize=3)
    axes.invert_yaxis()
    axes.set_xlabel(f"{metric}, mean and 95 % interval")
    settings = results["settings"]
    axes.set_title(f"{settings['benchmark']}, {settings['model']}")
    figure.savefig(path, dpi=150)


def _show(interval: Interval, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    shown, low, high = f"{interval.mean:{sign}.2f}", interval.low, interval.high
    return shown if low is None or low == high else f"{shown} [{low:{sign}.2f}, {high:{sign}.2f}]"
