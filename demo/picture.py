"""The learning curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.pahf import LEARNING_PHASES, Pahf
from benchmarks.replay import Outcome, learning_curve, rate
from demo.verdict import OURS, PAPER, PLAIN, interval

__all__ = ["draw"]

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers and dashes say the same
STYLES: dict[str, dict[str, Any]] = {
    OURS: {"color": "#D55E00", "marker": "o", "linewidth": 2.5, "zorder": 6, "label": "this package"},
    PAPER: {"color": "#0072B2", "marker": "^", "linewidth": 1.5, "zorder": 4, "label": "the rule of the VARS paper"},
    PLAIN: {"color": "black", "ls": (0, (5, 3)), "zorder": 5, "label": "plain Chroma, which learns nothing"},
}
"""The rules that are drawn; the simplified one would lie on plain Chroma."""


def draw(data: Pahf, outcomes: Mapping[str, Sequence[Outcome]], users: Sequence[str], path: Path, *, seed: int) -> Path:
    """Acceptance on held-out scenarios against number of thumbs, for every rule; returns where it was written."""
    with mpl.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(10, 6), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        start, ends = 0, []
        for learning, testing in LEARNING_PHASES.items():
            length = max(len(data.of(user, learning)) for user in users)
            for name, style in STYLES.items():
                curve = learning_curve(outcomes[name], testing)
                if len(curve) == 1:  # it does not learn: one rate from the first thumb to the last
                    curve = dict.fromkeys((0, length), next(iter(curve.values())))
                x = [start + thumbs for thumbs in curve]
                again = {"label": None} if start else {}
                axes.plot(x, [100 * rate(point) for point in curve.values()], ms=7, **(style | again))
                if name == OURS:
                    bounds = [interval(point, None, seed=seed) for point in curve.values()]
                    low, high = ([100 * bound[side] for bound in bounds] for side in (0, 1))
                    axes.fill_between(x, low, high, color=style["color"], alpha=0.13, lw=0, zorder=1)
            start += length
            ends.append(start)
        _decorate(axes, ends, len(users))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    return path


def _decorate(axes: Axes, ends: Sequence[int], users: int) -> None:
    axes.axvline(ends[0], color="black", lw=1, zorder=1)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.1 * (top - bottom))
    place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "va": "top", "color": "#444444"}
    axes.annotate("here they change their minds", (ends[0] + 1, 0.985), **place)
    axes.set_xlim(-1, ends[-1] + 1)
    axes.set_xticks(range(0, ends[-1] + 1, 9))
    axes.set_xlabel("thumbs that each customer has given")
    axes.set_ylabel("offers that customers take (%)")
    axes.set_title(f"The more thumbs, the more offers are taken\n{users} simulated customers", loc="left", pad=12)
    axes.grid(axis="y", color="#dddddd", lw=0.8)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False)
