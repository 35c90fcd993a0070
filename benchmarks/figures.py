"""The two figures of `docs/explanation/mathematics.md`: `python -m benchmarks.figures`.

`score.png` is drawn from the README's first example, with the local embedding model. `fold.png` is a sketch in two
dimensions; its arrows and its order are computed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.patches
import numpy as np
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.store.memory import InMemoryStore
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from langchain_persona import LocalEmbeddings, PersonaMemory, VARSRetriever

FILMS = ["A romantic comedy at a wedding.", "A horror film in the woods.", "A documentary on whales."]
QUESTION = "What shall we watch tonight?"
COLOURS = {"relevance": "#999999", "the user's ratings": "#D55E00"}


def draw_score(path: Path) -> None:
    """One thumb: what the scores are made of before and after it."""
    store = InMemoryVectorStore.from_texts(FILMS, LocalEmbeddings())
    memory = PersonaMemory(InMemoryStore())
    retriever = VARSRetriever(vectorstore=store, memory=memory, k=2, user_id="ana")
    before = retriever.invoke(QUESTION)
    retriever.feedback(retriever.invoke("something scary")[0], 1.0)
    figure = _figure(8, 3.4)
    rounds = {"before the thumb": before, "after a thumb up for the horror film": retriever.invoke(QUESTION)}
    for axes, (title, films) in zip(figure.subplots(1, 2, sharex=True), rounds.items(), strict=True):
        for place, film in enumerate(films):
            why = film.metadata["persona"]
            axes.barh(place, why["base"], color=COLOURS["relevance"], height=0.45, label="relevance")
            bonus = {"left": why["base"], "color": COLOURS["the user's ratings"], "label": "the user's ratings"}
            axes.barh(place, why["long"], height=0.22 if why["long"] < 0 else 0.45, **bonus)
            axes.text(0.005, place - 0.36, film.page_content, va="center", fontsize=10)
            axes.text(max(why["base"], why["score"]) + 0.006, place, f"{why['score']:.2f}", va="center")
        axes.set(yticks=[0, 1], yticklabels=["1st", "2nd"], xlim=(0, 0.37), ylim=(1.4, -0.6), xlabel="score")
        axes.set_title(title, loc="left", fontsize=11)
    handles = [mpl.patches.Patch(color=colour, label=name) for name, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle("One thumb changes the next ranking", x=0.01, ha="left", weight="bold")
    figure.savefig(path)


def draw_fold(path: Path) -> None:
    """The user moves the query, and another document is the nearest."""
    angles = {"A": 12.0, "B": 41.0, "C": 75.0}
    documents = {name: np.array([np.cos(np.radians(x)), np.sin(np.radians(x))]) for name, x in angles.items()}
    query = np.array([np.cos(np.radians(20.0)), np.sin(np.radians(20.0))])
    user = np.array([-0.12, 0.42])
    figure = _figure(8, 4.2)
    for axes, moved, title in zip(
        figure.subplots(1, 2), (query, query + user), ("the query alone", "the query, moved by the user"), strict=True
    ):
        order = sorted(documents, key=lambda name: -float(documents[name] @ moved))
        arc = np.radians(np.linspace(0, 90, 90))
        axes.plot(np.cos(arc), np.sin(arc), color="#dddddd", lw=1)
        arrow: dict[str, Any] = {"arrowstyle": "-|>", "lw": 2, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", query, (0, 0), arrowprops={**arrow, "color": "black"})
        axes.text(*(query * 0.4 + [0.02, -0.09]), "query")
        if moved is not query:
            axes.annotate("", moved, query, arrowprops={**arrow, "color": "#D55E00"})
            axes.text(*(query + user / 2 + [0.03, 0.0]), "user", color="#D55E00")
            axes.plot([0, moved[0]], [0, moved[1]], color="#D55E00", lw=1.5, ls="--")
        for name, place in documents.items():
            axes.plot(*place, "o", color="#0072B2", ms=9)
            axes.text(
                *(place * (0.78, 0.88)),
                f"{name}: {'1st' if order[0] == name else '2nd' if order[1] == name else '3rd'}",
            )
        axes.set(xlim=(0, 1.3), ylim=(0, 1.15), aspect="equal", xticks=[], yticks=[])
        axes.set_title(title, loc="left", fontsize=11)
    figure.suptitle("The user moves the query; one search finds the personal order", x=0.01, ha="left", weight="bold")
    figure.savefig(path)


def _figure(width: float, height: float) -> Figure:
    mpl.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("docs/explanation"))
    folder = parser.parse_args().folder
    draw_score(folder / "score.png")
    draw_fold(folder / "fold.png")


if __name__ == "__main__":
    main()
