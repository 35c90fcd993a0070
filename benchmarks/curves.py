"""The learning benchmark as a picture: what is gained with the number of thumbs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contenders import RANDOM
from benchmarks.films import AFTER
from benchmarks.tables import TITLES

__all__ = ["draw", "draw_words"]

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers and dashes say the same
_STYLES: dict[str, dict[str, Any]] = {
    "random": {"color": "#777777", "linestyle": ":", "linewidth": 1.5, "marker": ""},
    "popularity": {"color": "#777777", "linestyle": "-", "linewidth": 1.5, "marker": "D"},
    "plain": {"color": "black", "linestyle": (0, (5, 3)), "linewidth": 1.5, "marker": "", "zorder": 5},
    "bayes": {"color": "#CC79A7", "linestyle": "-", "linewidth": 1.5, "marker": "X"},
    "paper": {"color": "#0072B2", "linestyle": "-", "linewidth": 2, "marker": "^"},
    "ours": {"color": "#D55E00", "linestyle": "-", "linewidth": 2.5, "marker": "o"},
    "ours_fitted": {"color": "#D55E00", "linestyle": "--", "linewidth": 2.5, "marker": "o", "markerfacecolor": "white"},
    "both_some": {"color": "#009E73", "linestyle": "-", "linewidth": 2.5, "marker": "^"},
    "both_all": {"color": "#0072B2", "linestyle": "-", "linewidth": 2.5, "marker": "s"},
}

THUMBS = {
    "ours": "this package",
    "ours_fitted": "this package, after learning from other users",
    "paper": "the rule of the VARS paper",
    "bayes": "Bayesian regression",
    "plain": "plain Chroma, which learns nothing",
    "popularity": "what most people like",
    "random": "chance",
}
"""Lines of the picture of thumbs, and what they are called there; the tables have all rules."""

PANELS = {
    "pahf": "A shop (PAHF), {} simulated customers",
    "embodied": "A household (PAHF), {} simulated people",
    "movielens": "Films (MovieLens), {} real people",
}

WORDS = {
    "both_all": "all tastes said, and thumbs",
    "both_some": "30 % of the tastes said, and thumbs",
    "ours": "thumbs only",
    "plain": "plain Chroma, which learns nothing",
}
"""Lines of the picture of words, and what they are called there."""

EVERY = 5
"""Markers of the curves of scenarios."""


def draw(document: dict[str, Any], path: Path) -> None:
    """Write the picture; one panel for each data set that was measured, one legend for all."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in TITLES if document[name] is not None]
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(6 * len(names) + 0.5, 5.6), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        lines: dict[str, Any] = {}
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            rules = [{**rule, "name": THUMBS[rule["id"]]} for rule in document[name]["rules"] if rule["id"] in THUMBS]
            lines |= (_films if name == "movielens" else _choices)(axes, {**document[name], "rules": rules})
            axes.grid(axis="y", color="#dddddd", lw=0.8)
            axes.set_title(PANELS[name].format(document[name]["users"]), loc="left", fontsize=11)
        shown = [rule for rule in THUMBS if rule in lines]
        figure.legend(
            [lines[rule][0] for rule in shown],
            [lines[rule][1] for rule in shown],
            loc="outside lower center",
            ncols=min(4, 2 * len(names)),
            frameon=False,
        )
        figure.suptitle("More thumbs, better choices", x=0.005, ha="left", weight="bold")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def draw_words(document: dict[str, Any], path: Path) -> None:
    """Write the picture of words: PAHF shopping with and without, against thumbs."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    result = document["pahf"]
    rules = [{**rule, "name": WORDS[rule["id"]]} for rule in result["rules"] if rule["id"] in WORDS]
    with mpl.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 5.4), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        lines = _choices(axes, {**result, "rules": rules}, bands=True)
        figure.suptitle("What customers say helps before the first thumb", x=0.005, ha="left", weight="bold")
        axes.set_title(PANELS["pahf"].format(result["users"]), loc="left", fontsize=11)
        axes.set_ylabel("offers that customers take (%)")
        axes.grid(axis="y", color="#dddddd", lw=0.8)
        shown = [rule for rule in WORDS if rule in lines]
        figure.legend(
            [lines[rule][0] for rule in shown], [lines[rule][1] for rule in shown],
            loc="outside lower center", ncols=2, frameon=False,
        )  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def _choices(axes: Any, result: dict[str, Any], *, bands: bool = False) -> dict[str, tuple[Any, str]]:
    """Acceptance in the test phases against scenarios; the taste changes at the line in the middle."""
    part = result["parts"][0]
    phases = sorted({point["phase"] for point in part["curve"]})
    start, lines = 0, {}
    for phase in phases:
        points = [point for point in part["curve"] if point["phase"] == phase]
        x = [start + point["scenarios"] for point in points]
        for rule in result["rules"]:
            if rule["id"] == RANDOM:
                y = [part["curve_chance"][str(phase)]] * len(x)
            else:
                y = [point["values"][rule["id"]] for point in points]
            lines[rule["id"]] = (
                _line(axes, rule, x, y, every=EVERY, band=bands or rule["id"] == part["reference"]),
                rule["name"],
            )
        start = x[-1]
        if phase != phases[-1]:
            axes.axvline(start, color="black", lw=1)
            axes.annotate(" they change their minds", (start, 0.99), xycoords=("data", "axes fraction"), va="top")
    axes.set_xlabel("thumbs given by each")
    axes.set_ylabel("offers that people take (%)")
    return lines


def _films(axes: Any, result: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    part, lines = result["parts"][0], {}
    for rule in result["rules"]:
        if rule["id"] in part["values"]:
            band = rule["id"] == part["reference"]
            line = _line(axes, rule, list(range(len(AFTER))), part["values"][rule["id"]], every=1, band=band)
            lines[rule["id"]] = line, rule["name"]
    axes.set_xticks(range(len(AFTER)), [str(after) for after in AFTER])
    axes.set_xlabel("thumbs given by each (fewer people give many)")
    axes.set_ylabel("later films put in the right order (% of pairs)")
    return lines


def _line(axes: Any, rule: dict[str, Any], x: list[int], y: list[dict[str, Any]], *, every: int, band: bool) -> Any:
    """A line through the means; where asked for, a band of the 95 % interval over users."""
    kept = [(place, value) for place, value in zip(x, y, strict=True) if value["mean"] is not None]
    style = _STYLES[rule["id"]]
    where = [place for place, _ in kept]
    (line,) = axes.plot(where, [100 * value["mean"] for _, value in kept], ms=5, markevery=every, **style)
    if band and all(value["low"] is not None for _, value in kept):
        low, high = ([100 * value[side] for _, value in kept] for side in ("low", "high"))
        axes.fill_between(where, low, high, color=style["color"], alpha=0.12, lw=0)
    return line
