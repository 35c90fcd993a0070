"""The learning benchmark's document as a table for the terminal, as Markdown for a README, and in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmarks.contenders import OURS

__all__ = ["TITLES", "markdown", "summary", "tables", "words"]

TITLES = {"pahf": "PAHF shopping", "movielens": "MovieLens"}

SHORT = {
    ("pahf", "A"): "shopping, one thumb a choice",
    ("pahf", "B"): "shopping, three thumbs a choice",
    ("movielens", "same"): "films, AUC",
}
"""Parts of the summary and their short names."""

SUMMED = {"pahf": (1, 3), "movielens": (2, 4, 5)}
"""Columns of the summary: the test phases; after 20, 100 and 200 thumbs."""

_STYLES = {"better": "green", "worse": "bold red"}


def tables(document: dict[str, Any], name: str) -> Iterator[Table]:
    """One table for each part of a data set's result."""
    result = document[name]
    for part in result["parts"]:
        view = Table(title=f"{TITLES[name]}, {part['title']}", caption=_basis(document, name), show_lines=True)
        view.add_column("rule", justify="left")
        for column in part["columns"]:
            view.add_column(column, justify="right", no_wrap=True)
        for rule in result["rules"]:
            cells: list[Text] = []
            for place, value in enumerate(part["values"][rule["id"]]):
                cell = Text(_number(value["mean"]), style="bold" if rule["id"] == OURS else "")
                if rule["id"] == OURS:
                    cell.append(f"\n{_range(value, signed=False)}", style="dim")
                else:
                    gap = part["differences"][rule["id"]][place]
                    cell.append(f"\nours {_number(gap['mean'], signed=True)}\n{_range(gap)}", style="dim")
                    cell.append(f"\n{gap['verdict']}", style=_STYLES.get(gap["verdict"], "yellow"))
                cells.append(cell)
            view.add_row(rule["name"], *cells)
        yield view


def words(part: dict[str, Any], rules: list[dict[str, Any]]) -> str:
    """Where ours does not beat a rule, in a sentence."""
    found = []
    for rule in rules:
        gaps = part["differences"].get(rule["id"], [])
        for verdict, phrase in (
            ("no clear difference", "no clear difference from"),
            ("worse", "worse than"),
            ("too few users", "too few users to tell it from"),
        ):
            where = [column for column, gap in zip(part["columns"], gaps, strict=False) if gap["verdict"] == verdict]
            if where:
                found.append(f"{phrase} {rule['name']} ({', '.join(where)})")
    if not found:
        return "Ours is better than every other rule in every column."
    return f"Where ours does not beat a rule: {'; '.join(found)}."


def markdown(document: dict[str, Any]) -> str:
    """The block for a README; only the data sets that were measured."""
    blocks = []
    for name, title in TITLES.items():
        if document[name] is None:
            continue
        result = document[name]
        blocks.append(f"**{title}**: {result['measure']}. {_basis(document, name)}")
        for part in result["parts"]:
            lines = [
                f"{part['title'][0].upper()}{part['title'][1:]}.",
                "",
                f"| | {' | '.join(part['columns'])} |",
                f"| --- |{' ---: |' * len(part['columns'])}",
            ]
            for rule in result["rules"]:
                cells = []
                for place, value in enumerate(part["values"][rule["id"]]):
                    if rule["id"] == OURS:
                        cells.append(f"**{_number(value['mean'])}**<br>{_range(value, signed=False)}")
                        continue
                    gap = part["differences"][rule["id"]][place]
                    note = "" if gap["verdict"] == "better" else f"<br>*{gap['verdict']}*"
                    difference = f"{_number(gap['mean'], signed=True)} {_range(gap)}"
                    cells.append(f"{_number(value['mean'])}<br>ours {difference}{note}")
                lines.append(f"| {rule['name']} | {' | '.join(cells)} |")
            blocks += ["\n".join(lines), words(part, result["rules"])]
    versions = document["versions"]
    blocks.append(
        f"Measured on {document['date'][:10]} with langchain-persona {versions['langchain-persona']}, "
        f"{document['model']}, NumPy {versions['numpy']}, Python {versions['python']}. The second figure is ours minus "
        f"the rule; in brackets, 95 % bootstrap intervals over users ({document['resamples']:,} resamples, paired)."
    )
    return "\n\n".join(blocks)


def summary(document: dict[str, Any]) -> str:
    """One small table: a row a rule, the columns that say most; and where ours is not clearly better."""
    shown = [
        (name, part, place, f"{SHORT[name, part['id']]}, {part['columns'][place]}")
        for name in TITLES
        if document[name] is not None
        for part in document[name]["parts"]
        if (name, part["id"]) in SHORT
        for place in SUMMED[name]
        if place < len(part["columns"])
    ]
    rules = {rule["id"]: rule["name"] for name in TITLES if document[name] for rule in document[name]["rules"]}
    rules["random"] = "chance"
    lines = [f"| | {' | '.join(heading for *_, heading in shown)} |", f"| --- |{' ---: |' * len(shown)}"]
    for rule, title in rules.items():
        values = [(part["values"].get(rule), place) for _, part, place, _ in shown]
        cells = ["–" if value is None else _number(value[place]["mean"]) for value, place in values]
        cells = [f"**{cell}**" for cell in cells] if rule == OURS else cells
        lines.append(f"| {title} | {' | '.join(cells)} |")
    gaps = [part["differences"]["paper"][place] for _, part, place, _ in shown]
    notes = [f"{_number(gap['mean'], signed=True)} {_range(gap)}" for gap in gaps]
    lines.append(f"| *ours − paper's, 95 % interval* | {' | '.join(notes)} |")
    basis = " ".join(f"{TITLES[name]}: {_basis(document, name)}" for name in TITLES if document[name] is not None)
    return "\n".join(lines) + f"\n\n{basis}"


def _basis(document: dict[str, Any], name: str) -> str:
    """On what the figures stand."""
    result, seeds = document[name], document["seeds"]
    if name == "pahf":
        counts = result["scenarios_that_matter"].values()
        return (
            f"{result['users']} users, {' / '.join(map(str, counts))} scenarios that matter, {_many(seeds, 'order')}."
        )
    users = [str(value["users"]) for value in result["parts"][0]["values"][OURS]]
    return f"{' / '.join(users)} of {result['users']} users have enough thumbs, {_many(seeds, 'seed')}."


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _number(value: float | None, *, signed: bool = False) -> str:
    """Three places, no leading zero."""
    if value is None:
        return "–"
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return text.replace("0.", ".", 1).replace("-", "−")


def _range(value: dict[str, Any], *, signed: bool = True) -> str:
    if value["low"] is None:
        return ""
    return f"[{_number(value['low'], signed=signed)}, {_number(value['high'], signed=signed)}]"
