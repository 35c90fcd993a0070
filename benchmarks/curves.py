"""The learning benchmark as a picture: what is gained with the number of thumbs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contenders import OURS
from benchmarks.films import AFTER
from benchmarks.tables import TITLES

__all__ = ["draw"]

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers and dashes say the same
_STYLES: dict[str, dict[str, Any]] = {
    "random": {"color": "#777777", "linestyle": ":", "linewidth": 1.5, "marker": ""},
    "plain": {"color": "black", "linestyle": (0, (5, 3)), "linewidth": 1.5, "marker": "", "zorder": 5},
    "simplified": {"color": "#E69F00", "linestyle": "-", "linewidth": 4, "marker": "s"},
    "paper": {"color": "#0072B2", "linestyle": "-", "linewidth": 2.5, "marker": "^"},
    "paper_identity": {"color": "#56B4E9", "linestyle": "--", "linewidth": 1.5, "marker": "v"},
    OURS: {"color": "#D55E00", "linestyle": "-", "linewidth": 2.5, "marker": "o"},
}


def draw(document: dict[str, Any], path: Path) -> None:
    """Write the picture; one panel for each data set that was measured."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in TITLES if document[name] is not None]
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(7.5 * len(names), 5), dpi=130, layout="constrained")
        FigureCanvasAgg(figure)
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            (_shopping if name == "pahf" else _films)(axes, document[name])
            axes.grid(axis="y", color="#dddddd", lw=0.8)
            axes.set_title(f"{TITLES[name]}, {document[name]['users']} users", loc="left", weight="bold")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def _shopping(axes: Any, result: dict[str, Any]) -> None:
    """Acceptance in the test phases against thumbs; the taste changes at the line in the middle."""
    part = result["parts"][0]
    phases = sorted({point["phase"] for point in part["curve"]})
    start = 0
    for phase in phases:
        points = [point for point in part["curve"] if point["phase"] == phase]
        x = [start + point["thumbs"] for point in points]
        for rule in result["rules"]:
            if rule["id"] == "random":
                y = [part["curve_chance"][str(phase)]] * len(x)
            else:
                y = [point["values"][rule["id"]] for point in points]
            _line(axes, rule, x, y, label=rule["name"] if phase == phases[0] else None)
        start = x[-1]
        if phase != phases[-1]:
            axes.axvline(start, color="black", lw=1)
            axes.annotate(" the taste changes", (start, 0.99), xycoords=("data", "axes fraction"), va="top")
    axes.set_xlabel("thumbs of each user (one a scenario)")
    axes.set_ylabel("offers accepted in test scenarios that matter (%)")


def _films(axes: Any, result: dict[str, Any]) -> None:
    part = result["parts"][0]
    for rule in result["rules"]:
        _line(axes, rule, list(AFTER), part["values"][rule["id"]], label=rule["name"])
    axes.set_xscale("log")
    axes.set_xticks(AFTER, [str(after) for after in AFTER])
    axes.minorticks_off()
    axes.set_xlabel("thumbs of each user (fewer users reach more thumbs)")
    axes.set_ylabel("AUC on later films (%)")


def _line(axes: Any, rule: dict[str, Any], x: list[int], y: list[dict[str, Any]], *, label: str | None) -> None:
    """A line through the means; a band of the 95 % interval over users for ours."""
    kept = [(place, value) for place, value in zip(x, y, strict=True) if value["mean"] is not None]
    style = _STYLES[rule["id"]]
    axes.plot([place for place, _ in kept], [100 * value["mean"] for _, value in kept], label=label, ms=5, **style)
    if rule["id"] == OURS and all(value["low"] is not None for _, value in kept):
        low, high = ([100 * value[side] for _, value in kept] for side in ("low", "high"))
        axes.fill_between([place for place, _ in kept], low, high, color=style["color"], alpha=0.12, lw=0)
