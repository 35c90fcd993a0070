"""RPEval (arXiv 2601.16621): when must a preference be ignored, when may it support an answer, when must it decide?

The folder is the published one: `{explicit,implicit}_preference/{single,multi}_testset.json`, in Chinese. The
preference is told in an earlier session, outright or in a dialogue; then the model says how far it bears on a request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from langchain_persona.evals.arms import Arm, Kit, choose_option
from langchain_persona.evals.items import DataError, DataRow, Item, Outcome, Session, Turn, read_rows

ABOUT = "RPEval (arXiv 2601.16621): whether a preference is to be ignored, may support, or must decide"
ARMS = ("none", "everything", "verbatim", "reflection")
UNIT = "user"

WEIGHTS = ("ignore", "support", "dominate")
OPTIONS = (
    "It has nothing to do with this request, or I ask for something else: ignore it.",
    "It may support the answer, as one hint among others.",
    "It must decide the answer.",
)
Weight = Literal["ignore", "support", "dominate", "支持性偏好"]  # one published file writes "support" in Chinese


class _Single(DataRow):
    question: str
    persona: str
    intent_type: Weight
    implicit_persona: str = ""


class _Multi(DataRow):
    question: str
    persona: list[str]
    intent_type: str
    implicit_persona: list[str] = Field(default_factory=list)


def load(
    path: Path | None,
    *,
    form: Literal["explicit", "implicit"] = "explicit",
    count: Literal["single", "multi"] = "single",
) -> list[Item]:
    """One item for each preference of each request.

    Args:
        path: the folder.
        form: told outright, or in a dialogue.
        count: requests of users with one preference, or with several.
    """
    if path is None:
        raise DataError("RPEval needs --data: the folder with explicit_preference/ and implicit_preference/")
    file = path / f"{form}_preference" / f"{count}_testset.json"
    rows: Sequence[_Single | _Multi] = read_rows(file, _Single) if count == "single" else read_rows(file, _Multi)
    items = list[Item]()
    for number, row in enumerate(rows):
        if isinstance(row, _Single):
            personas, talks = [row.persona], [row.implicit_persona]
            weights = ["support" if row.intent_type == "支持性偏好" else str(row.intent_type)]
        else:
            personas, talks = row.persona, row.implicit_persona
            weights = [WEIGHTS["ABC".index(one)] for one in row.intent_type if one in "ABC"]
        if len(weights) != len(personas) or (form == "implicit" and (len(talks) != len(personas) or not all(talks))):
            raise DataError(f"{file}, row {number + 1}, field intent_type: not one letter and dialogue a preference")
        told = [(Turn(one),) for one in personas] if form == "explicit" else [_turns(one) for one in talks]
        for place, (persona, weight) in enumerate(zip(personas, weights, strict=True)):
            about = f'"{persona}"' if count == "multi" else "what you know of me"
            close = f"How far does {about} bear on this request?"
            given = {"history": told, "options": OPTIONS, "right": WEIGHTS.index(weight), "data": close}
            name, groups = f"{number}-{place}", {"weight": weight, "form": form}
            items.append(Item(id=name, user=str(number), question=row.question, groups=groups, **given))  # type: ignore[arg-type]
    return items


def run(item: Item, arm: Arm, kit: Kit) -> Outcome:
    """`correct`; and `overused`, where what is to be ignored is not."""
    place, _ = choose_option(item, arm, kit, item.data)
    scores = {"correct": float(place == item.right)}
    if item.right == 0:
        scores["overused"] = float(place > 0)
    return Outcome(scores, WEIGHTS[place] if place >= 0 else "")


def _turns(talk: str) -> Session:
    """The exchanges of a dialogue that is written as one text."""
    parts = re.split(r"(用户|助手)[：:]", talk)
    said = list(zip(parts[1::2], map(str.strip, parts[2::2]), strict=False))
    turns = list[Turn]()
    for who, text in said:
        if who == "用户":
            turns.append(Turn(text, "好的。"))
        elif turns:
            turns[-1] = Turn(turns[-1].user, text)
    return turns
