"""The learning benchmark's document as tables for the terminal, and in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from benchmarks.contenders import PAPER

__all__ = [
    "RECOVERY",
    "TITLES",
    "basis",
    "named",
    "number",
    "pair_words",
    "ratio_words",
    "recovery_cells",
    "recovery_columns",
    "recovery_table",
    "shown",
    "span",
    "tables",
    "words",
]

TITLES = {"pahf": "PAHF shopping", "embodied": "PAHF embodied", "movielens": "MovieLens"}

RECOVERY = (
    "right after the change",
    "after the whole phase",
    "scenarios until 90 % of its own level",
    "scenarios until the paper's level",
    "of one product: right after the change",
    "after all its scenarios",
    "its scenarios until 90 % of that",
)
"""Columns of the recovery tables; the last three only where scenarios come in blocks of several."""

_STYLES = {"better": "green", "worse": "bold red"}


def tables(document: dict[str, Any], name: str) -> Iterator[Table]:
    """One table for each part of a data set's result."""
    result = document[name]
    for part in result["parts"]:
        reference = part["reference"]
        view = Table(title=f"{TITLES[name]}, {part['title']}", caption=basis(document, name), show_lines=True)
        view.add_column("rule", justify="left")
        for column in part["columns"]:
            view.add_column(column, justify="right")
        for rule in shown(part, result["rules"]):
            cells: list[Text] = []
            for place, value in enumerate(part["values"][rule["id"]]):
                cell = Text(number(value["mean"]), style="bold" if rule["id"] == reference else "")
                if rule["id"] == reference:
                    cell.append(f"\n{span(value, signed=False)}", style="dim")
                else:
                    gap = part["differences"][rule["id"]][place]
                    cell.append(f"\nreference {number(gap['mean'], signed=True)}\n{span(gap)}", style="dim")
                    cell.append(f"\n{gap['verdict']}", style=_STYLES.get(gap["verdict"], "yellow"))
                cells.append(cell)
            view.add_row(rule["name"] + (" (reference)" if rule["id"] == reference else ""), *cells)
        yield view


def recovery_table(part: dict[str, Any], rules: Sequence[dict[str, Any]]) -> Table:
    """How fast each rule is back after the change."""
    view = Table(title=f"Recovery, {part['title']}", show_lines=False)
    view.add_column("rule", justify="left")
    for column in recovery_columns(part):
        view.add_column(column, justify="right")
    for rule in rules:
        if rule["id"] in part["recovery"]["rules"]:
            view.add_row(rule["name"], *recovery_cells(part, rule["id"]))
    return view


def recovery_columns(part: dict[str, Any]) -> tuple[str, ...]:
    """What the recovery table of a part shows."""
    return RECOVERY if part.get("recovery_within", {}).get("rules") else RECOVERY[:4]


def recovery_cells(part: dict[str, Any], rule: str) -> list[str]:
    """One row of a recovery table."""
    cells = []
    for name, targets in (("recovery", ("own", "paper")), ("recovery_within", ("own",))):
        row = part.get(name, {}).get("rules", {}).get(rule)
        if row is not None:
            cells += [number(row["before"]), number(row["level"])]
            cells += [_count(row[target], part[name]["scenarios"]) for target in targets]
    return cells


def ratio_words(part: dict[str, Any], rules: Sequence[dict[str, Any]]) -> str:
    """Our rules and the paper's after the change, with what a ratio alone would hide."""
    recovery = part["recovery"]
    if not recovery["rules"]:
        return "Nobody's choice matters after the drift: nothing to come back to."
    most, paper = recovery["scenarios"], recovery["rules"][PAPER]
    sentences = []
    for target, what in (("own", "90 % of the rule's own new level"), ("paper", "the level the paper's rule ends at")):
        other = paper[target]["mean"]
        clauses = []
        for rule, ratios in recovery["ratios"].items():
            mine = recovery["rules"][rule][target]["mean"]
            ratio = (
                "no ratio, the paper's is 0" if ratios[target] is None else f"{ratios[target]:.2f} times the paper's"
            )
            clauses.append(f"{named(rules, rule)} {_after(mine, most)} ({ratio})")
        sentences.append(f"To {what}: {', '.join(clauses)}; {named(rules, PAPER)} {_after(other, most)}.")
    if part.get("recovery_within", {}).get("rules"):
        inner = part["recovery_within"]["rules"]
        clauses = [
            f"{named(rules, rule)} {number(inner[rule]['before'])} to {number(inner[rule]['level'])}, "
            f"{_after(inner[rule]['own']['mean'], part['recovery_within']['scenarios'])} to 90 % of that"
            for rule in (*recovery["ratios"], PAPER)
        ]
        sentences.append(f"Within one product: {'; '.join(clauses)}.")
    levels = [
        f"{named(rules, rule)} {number(recovery['rules'][rule]['level'])}" for rule in (*recovery["ratios"], PAPER)
    ]
    return " ".join([*sentences, f"The levels that they reach: {', '.join(levels)}."])


def _after(count: float, most: int) -> str:
    return "never" if count > most else f"{count:.0f} scenario{'' if count == 1 else 's'}"


def words(part: dict[str, Any], rules: Sequence[dict[str, Any]]) -> str:
    """Where the reference does not beat a rule, in a sentence."""
    reference = named(rules, part["reference"])
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
                places = "in every column" if len(where) == len(part["columns"]) > 1 else "; ".join(where)
                found.append(f"{phrase} {rule['name']} ({places})")
    if not found:
        return f"Reference: {reference}. It is better than every other rule in every column."
    return f"Reference: {reference}. Where it does not beat a rule: {'; '.join(found)}."


def pair_words(part: dict[str, Any], rules: Sequence[dict[str, Any]]) -> list[str]:
    """Differences between two rules of which none is the reference, a sentence each."""
    found = []
    for pair in part["pairs"]:
        gaps = [
            f"{column} {number(gap['mean'], signed=True)} {span(gap)}".strip()
            for column, gap in zip(part["columns"], pair["values"], strict=True)
            if gap["mean"] is not None
        ]
        if gaps:
            found.append(f"{named(rules, pair['left'])} minus {named(rules, pair['right'])}: {'; '.join(gaps)}.")
    return found


def shown(part: dict[str, Any], rules: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules that a part has."""
    return [rule for rule in rules if rule["id"] in part["values"]]


def named(rules: Sequence[dict[str, Any]], name: str) -> str:
    """A rule's name for people."""
    return next((str(rule["name"]) for rule in rules if rule["id"] == name), name)


def basis(document: dict[str, Any], name: str) -> str:
    """On what the figures stand."""
    result, seeds = document[name], document["seeds"]
    if name != "movielens":
        counts = " / ".join(map(str, result["scenarios_that_matter"].values()))
        return f"{_many(result['users'], 'user')}, {counts} scenarios that matter, {_many(seeds, 'order')}."
    users = [str(value["users"]) for value in result["parts"][0]["values"]["random"]]
    sample = "" if result["users"] == result["all_users"] else f" (a sample of {result['all_users']})"
    return f"{' / '.join(users)} of {result['users']} users{sample} have enough thumbs, {_many(seeds, 'seed')}."


def number(value: float | None, *, signed: bool = False) -> str:
    """Three places, no leading zero."""
    if value is None:
        return "–"
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return text.replace("0.", ".", 1).replace("-", "−")


def span(value: dict[str, Any], *, signed: bool = True) -> str:
    """An interval in brackets."""
    if value["low"] is None:
        return ""
    return f"[{number(value['low'], signed=signed)}, {number(value['high'], signed=signed)}]"


def _count(value: dict[str, Any], most: int) -> str:
    """A count and its interval; above the last is never."""
    mean, low, high = (
        "never" if side is not None and side > most else f"{side or 0:.0f}"
        for side in (value["mean"], value["low"], value["high"])
    )
    return mean if value["low"] is None else f"{mean} [{low}, {high}]"


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
