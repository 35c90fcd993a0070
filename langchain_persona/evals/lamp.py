"""LaMP (arXiv 2304.11406), tasks 2 (tags of films, LaMP-2M) and 3 (stars of reviews): what would this user choose?

The folder holds the published `dev_questions.json` and `dev_outputs.json`, or those of `train`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from langchain_persona.evals.arms import Arm, Kit, choose_option
from langchain_persona.evals.items import DataError, DataRow, Item, Outcome, Turn, read_object, read_rows

ABOUT = "LaMP-2M and LaMP-3 (arXiv 2304.11406): tags and stars as this user gives them; persona alignment on and off"
ARMS = ("none", "another", "no-persona", "reflection")
UNIT = "user"

STARS = ("1", "2", "3", "4", "5")


class _Entry(DataRow):
    id: str


class _Film(_Entry):
    tag: str
    description: str


class _Review(_Entry):
    score: str = Field(pattern="^[1-5]$")
    text: str


class _FilmQuestion(_Entry):
    input: str = Field(pattern=r"tags: \[.+\]")
    profile: list[_Film] = Field(min_length=1)


class _ReviewQuestion(_Entry):
    input: str
    profile: list[_Review] = Field(min_length=1)


class _Gold(_Entry):
    output: str


class _Golds(DataRow):
    golds: list[_Gold]


def load(
    path: Path | None,
    *,
    task: Literal["2M", "3"] = "2M",
    split: Literal["dev", "train"] = "dev",
    profile: PositiveInt = 20,
) -> list[Item]:
    """One item for each question.

    Args:
        path: the folder.
        task: LaMP-2M or LaMP-3.
        split: which files.
        profile: the last so many entries of the profile are told.
    """
    if path is None:
        raise DataError("LaMP needs --data: the folder with dev_questions.json and dev_outputs.json")
    questions, outputs = path / f"{split}_questions.json", path / f"{split}_outputs.json"
    golds = {one.id: one.output for one in read_object(outputs, _Golds).golds}
    rows: Sequence[_FilmQuestion | _ReviewQuestion] = (
        read_rows(questions, _FilmQuestion) if task == "2M" else read_rows(questions, _ReviewQuestion)
    )
    items = list[Item]()
    for number, row in enumerate(rows, start=1):
        told, options = [_tell(one) for one in row.profile[-profile:]], STARS
        if task == "2M":
            options = tuple(one.strip() for one in re.findall(r"tags: \[(.+?)\]", row.input)[0].split(","))
        gold = golds.get(row.id)
        if gold not in options:
            raise DataError(f"{questions}, row {number}, field id: {row.id} has the gold {gold!r}, none of {options}")
        given = {"history": (tuple(told),), "options": options, "right": options.index(gold)}
        items.append(Item(id=row.id, user=row.id, question=row.input, groups={"gold": gold}, data=task, **given))  # type: ignore[arg-type]
    return items


def run(item: Item, arm: Arm, kit: Kit) -> Outcome:
    """`correct`, and for stars how far off."""
    place, answer = choose_option(item, arm, kit, "Which would I choose?")
    scores = {"correct": float(place == item.right)}
    if item.data == "3":
        scores["stars_off"] = float(abs(place - item.right)) if place >= 0 else 4.0
    return Outcome(scores, answer)


def _tell(one: _Film | _Review) -> Turn:
    if isinstance(one, _Film):
        return Turn(f'I give the film "{one.description}" the tag "{one.tag}".')
    return Turn(f'I gave {one.score} of 5 stars in my review: "{one.text}"')
