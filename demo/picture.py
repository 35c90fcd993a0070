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
from demo.verdict import OURS, chance, interval

__all__ = ["draw"]

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers and dashes say the same
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "black", "marker": "", "linestyle": (0, (5, 3)), "linewidth": 1.5, "zorder": 5},
    {"color": "#E69F00", "marker": "s", "linestyle": "-", "linewidth": 4, "zorder": 3},
    {"color": "#0072B2", "marker": "^", "linestyle": "-", "linewidth": 2, "zorder": 4},
    {"color": "#D55E00", "marker": "o", "linestyle": "-", "linewidth": 2.5, "zorder": 6},
)
"""Rules may coincide: what is drawn later is thinner, so that what lies below still shows."""


def draw(data: Pahf, outcomes: Mapping[str, Sequence[Outcome]], users: Sequence[str], path: Path, *, seed: int) -> Path:
    """Acceptance on held-out scenarios against number of thumbs, for every rule; returns where it was written."""
    with mpl.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(10, 6), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        start, ends, sizes = 0, [], []
        for learning, testing in LEARNING_PHASES.items():
            length = max(len(data.of(user, learning)) for user in users)
            for (name, found), style in zip(outcomes.items(), STYLES, strict=True):
                curve = learning_curve(found, testing)
                if len(curve) == 1:  # it does not learn: one rate from the first thumb to the last
                    curve = dict.fromkeys((0, length), next(iter(curve.values())))
                x = [start + thumbs for thumbs in curve]
                label = name if start == 0 else None
                axes.plot(x, [100 * rate(point) for point in curve.values()], ms=7, label=label, **style)
                if name == OURS:
                    bounds = [interval(point, None, seed=seed) for point in curve.values()]
                    low, high = ([100 * bound[side] for bound in bounds] for side in (0, 1))
                    axes.fill_between(x, low, high, color=style["color"], alpha=0.13, lw=0, zorder=1)
            random = 100 * chance(data, users, testing)
            label = "a random option" if start == 0 else None
            axes.plot([start, start + length], [random] * 2, color="#777777", lw=1.5, ls=":", zorder=2, label=label)
            start += length
            ends.append(start)
            sizes.append(sum(scenario.matters for user in users for scenario in data.of(user, testing)))
        _decorate(axes, ends, sizes, len(users))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    return path


def _decorate(axes: Axes, ends: Sequence[int], sizes: Sequence[int], users: int) -> None:
    axes.axvline(ends[0], color="black", lw=1, zorder=1)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.1 * (top - bottom))
    notes = (
        (ends[0] - 1, "right", f"first taste, {sizes[0]} choices a point"),
        (ends[0] + 1, "left", f"the taste has changed, {sizes[1]} choices a point"),
    )
    for x, side, words in notes:
        place = {"xycoords": ("data", "axes fraction"), "ha": side, "va": "top"}
        axes.annotate(words, (x, 0.985), color="#444444", bbox={"fc": "white", "ec": "none", "pad": 1}, **place)
    axes.set_xlim(-1, ends[-1] + 1)
    axes.set_xticks(range(0, ends[-1] + 1, 9))
    axes.set_xlabel("thumbs given by each user; nine are about one product, five products in each half")
    axes.set_ylabel("offers taken in held-out scenarios (%)")
    axes.set_title(f"Which rule learns from thumbs? {users} users of PAHF shopping", loc="left", weight="bold", pad=12)
    axes.grid(axis="y", color="#dddddd", lw=0.8)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=5, frameon=False)
    axes.annotate(
        f"No smoothing: every point is measured on all held-out choices. Shaded: 95 % interval of {OURS} over users.",
        (0.5, -0.245), xycoords="axes fraction", ha="center", va="top", color="#444444", fontsize=9.5,
    )  # fmt: skip
