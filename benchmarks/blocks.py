"""The learning benchmark's document as Markdown: all tables for the benchmarks' page, one for the main README."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import OURS, OURS_FITTED, PAPER, RANDOM
from benchmarks.tables import (
    TITLES,
    basis,
    named,
    number,
    pair_words,
    ratio_words,
    recovery_cells,
    recovery_columns,
    shown,
    span,
    words,
)

__all__ = ["SUMMED", "markdown", "summary"]

SUMMED = (
    ("pahf", "A", "test", "shopping, 1 thumb: test"),
    ("pahf", "A", "test after drift", "shopping, 1 thumb: after drift"),
    ("pahf", "B", "test after drift", "shopping, 3 thumbs: after drift"),
    ("embodied", "object_A", "test", "household, 1 thumb: test"),
    ("embodied", "object_A", "test after drift", "household, 1 thumb: after drift"),
    ("movielens", "auc", "after 20", "films, AUC: 20 thumbs"),
    ("movielens", "auc", "after 200", "films, AUC: 200 thumbs"),
    ("movielens", "ndcg", "after 20", "films, nDCG@10: 20 thumbs"),
    ("movielens", "asked", "nDCG@10, films rated later, after 20", "films with a query, nDCG@10: 20 thumbs"),
    ("movielens", "kept", "on topic, top 10 of all films, after 20", "films with a query, on topic: 20 thumbs"),
)
"""Columns of the summary: data set, part, column, and what it is called."""


def markdown(document: dict[str, Any]) -> str:
    """The block for the benchmarks' page; only the data sets that were measured."""
    blocks = []
    for name, title in TITLES.items():
        result = document[name]
        if result is None:
            continue
        blocks.append(f"### {title}\n\nMeasured: {result['measure']}. {basis(document, name)}")
        if result["left_out"]:
            blocks.append(f"Left out: {'; '.join(result['left_out'])}.")
        for part in result["parts"]:
            blocks += [_table(part, result["rules"]), words(part, result["rules"])]
            pairs = pair_words(part, result["rules"])
            if pairs:
                blocks.append("\n".join(f"- {sentence}" for sentence in pairs))
            if "recovery" in part:
                blocks += [_recovery(part, result["rules"]), ratio_words(part, result["rules"])]
    versions = document["versions"]
    blocks.append(
        f"Measured on {document['date'][:10]} with langchain-persona {versions['langchain-persona']}, "
        f"{document['model']}, NumPy {versions['numpy']}, Python {versions['python']}. The second figure is the "
        "reference minus the rule; in brackets, 95 % bootstrap intervals over users "
        f"({document['resamples']:,} resamples, paired)."
    )
    return "\n\n".join(blocks)


def summary(document: dict[str, Any]) -> str:
    """One small table: a row a rule, the columns that say most; ours minus the paper's below."""
    columns = []
    for name, part_id, column, heading in SUMMED:
        part = _part(document, name, part_id)
        if part is not None and column in part["columns"]:
            columns.append((part, part["columns"].index(column), heading))
    rules: dict[str, str] = {}
    for name in TITLES:
        if document[name] is not None:
            rules |= {rule["id"]: rule["name"] for rule in document[name]["rules"]}
    lines = [f"| | {' | '.join(heading for *_, heading in columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for rule in sorted(rules, key=_place):
        cells = []
        for part, place, _ in columns:
            value = part["values"].get(rule)
            text = "–" if value is None else number(value[place]["mean"])
            cells.append(f"**{text}**" if rule == part["reference"] else text)
        lines.append(f"| {rules[rule]} | {' | '.join(cells)} |")
    for left in (OURS, OURS_FITTED):
        if left in rules and PAPER in rules:
            cells = [_difference(part, left, PAPER, place) for part, place, _ in columns]
            lines.append(f"| *{rules[left]} − {rules[PAPER]}, 95 % interval* | {' | '.join(cells)} |")
    notes = [f"{title}: {basis(document, name)}" for name, title in TITLES.items() if document[name] is not None]
    missing: dict[str, list[str]] = {}
    for name, title in TITLES.items():
        for reason in () if document[name] is None else document[name]["left_out"]:
            missing.setdefault(reason, []).append(title)
    if missing:
        reasons = [f"{reason}: {', '.join(titles)}" for reason, titles in missing.items()]
        notes.append(f"Left out: {'; '.join(reasons)}.")
    if document["movielens"] is not None:
        notes.append("With nothing asked, plain Chroma and averages per item are chance.")
    notes.append("In bold the rule that the others are compared with.")
    shopping = _part(document, "pahf", "A")
    back = (
        []
        if shopping is None
        else [f"Shopping, back after the drift. {ratio_words(shopping, document['pahf']['rules'])}"]
    )
    return "\n\n".join(["\n".join(lines), " ".join(notes), *back])


def _part(document: dict[str, Any], name: str, part_id: str) -> dict[str, Any] | None:
    """A part of a data set that was measured."""
    result = document[name]
    return None if result is None else next((part for part in result["parts"] if part["id"] == part_id), None)


def _place(rule: str) -> int:
    """Chance first, then in the order of the contenders, ours last."""
    order = (RANDOM, "popularity", "plain", "items", "rocchio", "bayes", "simplified", PAPER, "paper_fitted", OURS)
    return order.index(rule) if rule in order else len(order)


def _difference(part: dict[str, Any], left: str, right: str, place: int) -> str:
    """Left minus right, wherever the part keeps it."""
    if part["reference"] == left and right in part["differences"]:
        gap = part["differences"][right][place]
    else:
        pair = [one for one in part["pairs"] if (one["left"], one["right"]) == (left, right)]
        if not pair:
            return "–"
        gap = pair[0]["values"][place]
    return f"{number(gap['mean'], signed=True)} {span(gap)}".strip()


def _table(part: dict[str, Any], rules: list[dict[str, Any]]) -> str:
    lines = [
        f"**{part['title'][0].upper()}{part['title'][1:]}.**",
        "",
        f"| | {' | '.join(part['columns'])} |",
        f"| --- |{' ---: |' * len(part['columns'])}",
    ]
    short = "ours" if part["reference"] == OURS else named(rules, part["reference"]).split(" space")[0]
    for rule in shown(part, rules):
        cells = []
        for place, value in enumerate(part["values"][rule["id"]]):
            if value["mean"] is None:
                cells.append("–")
            elif rule["id"] == part["reference"]:
                cells.append(f"**{number(value['mean'])}**<br>{span(value, signed=False)}")
            else:
                gap = part["differences"][rule["id"]][place]
                note = "" if gap["verdict"] == "better" else f"<br>*{gap['verdict']}*"
                difference = f"{number(gap['mean'], signed=True)} {span(gap)}".strip()
                cells.append(f"{number(value['mean'])}<br>{short} {difference}{note}")
        lines.append(f"| {rule['name']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _recovery(part: dict[str, Any], rules: list[dict[str, Any]]) -> str:
    columns = recovery_columns(part)
    lines = [
        "Recovery in the test after drift:",
        "",
        f"| | {' | '.join(columns)} |",
        f"| --- |{' ---: |' * len(columns)}",
    ]
    for rule in rules:
        if rule["id"] in part["recovery"]["rules"]:
            lines.append(f"| {rule['name']} | {' | '.join(recovery_cells(part, rule['id']))} |")
    return "\n".join(lines)
