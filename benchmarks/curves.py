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
    "items": {"color": "#009E73", "linestyle": ":", "linewidth": 1.5, "marker": "s"},
    "rocchio": {"color": "#009E73", "linestyle": "-", "linewidth": 1.5, "marker": "P"},
    "bayes": {"color": "#CC79A7", "linestyle": "-", "linewidth": 1.5, "marker": "X"},
    "simplified": {"color": "#E69F00", "linestyle": "-", "linewidth": 3, "marker": ""},
    "paper": {"color": "#0072B2", "linestyle": "-", "linewidth": 2, "marker": "^"},
    "paper_fitted": {"color": "#56B4E9", "linestyle": "--", "linewidth": 1.5, "marker": "v"},
    "ours": {"color": "#D55E00", "linestyle": "-", "linewidth": 2.5, "marker": "o"},
    "ours_fitted": {"color": "#D55E00", "linestyle": "--", "linewidth": 2.5, "marker": "o", "markerfacecolor": "white"},
    "both_some": {"color": "#009E73", "linestyle": "-", "linewidth": 2.5, "marker": "^"},
    "both_all": {"color": "#0072B2", "linestyle": "-", "linewidth": 2.5, "marker": "s"},
}

WORDS = {
    "both_all": "all tastes stated, and thumbs",
    "both_some": "30 % of the tastes stated, and thumbs",
    "ours": "thumbs only",
    "plain": "plain Chroma",
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
            lines |= (_films if name == "movielens" else _choices)(axes, document[name])
            axes.grid(axis="y", color="#dddddd", lw=0.8)
            axes.set_title(f"{TITLES[name]}, {document[name]['users']} users", loc="left", weight="bold")
        order = {name: place for place, name in enumerate(_STYLES)}
        shown = sorted(lines, key=lambda rule: order[rule])
        figure.legend(
            [lines[rule][0] for rule in shown],
            [lines[rule][1] for rule in shown],
            loc="outside lower center",
            ncols=min(6, 2 * len(names)),
            frameon=False,
        )
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
        axes.set_title(f"What a few sentences add: {result['users']} users of PAHF shopping", loc="left", weight="bold")
        axes.set_xlabel("thumbs given by each user")
        axes.set_ylabel("offers taken in held-out choices (%)")
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
        for rule in (one for one in result["rules"] if bands or not one["id"].startswith(("both", "words"))):
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
            axes.annotate(" the taste changes", (start, 0.99), xycoords=("data", "axes fraction"), va="top")
    axes.set_xlabel("scenarios of each user (one thumb each)")
    axes.set_ylabel("offers accepted in the test (%)")
    return lines


def _films(axes: Any, result: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    part, lines = result["parts"][0], {}
    for rule in result["rules"]:
        if rule["id"] in part["values"]:
            band = rule["id"] == part["reference"]
            line = _line(axes, rule, list(range(len(AFTER))), part["values"][rule["id"]], every=1, band=band)
            lines[rule["id"]] = line, rule["name"]
    axes.set_xticks(range(len(AFTER)), [str(after) for after in AFTER])
    axes.set_xlabel("thumbs of each user (fewer users reach more thumbs)")
    axes.set_ylabel("AUC on later films, nothing asked (%)")
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
