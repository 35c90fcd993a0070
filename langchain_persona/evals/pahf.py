"""PAHF (arXiv 2602.16173), with words in place of thumbs: a shopper, or the user of a household robot, who corrects.

The folder is the published one, with `shopping/` and `embodied/`. In the learning phases the assistant offers an option
and the user says what they think of it, by the rule of the data: "No, I want an over-ear design." In the test phases
the model chooses. After the drift tastes have changed, and the history tells of both times.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt

from langchain_persona.evals.arms import Arm, Kit, choose_option
from langchain_persona.evals.items import (
    DataError,
    DataRow,
    Item,
    Outcome,
    Turn,
    find,
    read_object,
    read_rows,
    shuffle_options,
)

ABOUT = "PAHF (arXiv 2602.16173), shopping and embodied: offers are corrected in words, then the taste drifts"
ARMS = ("none", "everything", "another", "verbatim", "reflection")
UNIT = "user"

PHASES = {2: ("before the drift", (1,)), 4: ("after the drift", (1, 3))}
"""Test phase: its name, and the learning phases that its history holds."""


class _Taste(DataRow):
    like_most: str
    like_second: list[str] = Field(min_length=1)


class _Persona(DataRow):
    persona_info: dict[str, dict[str, _Taste] | str]  # the user's name stands among the products


class _Offer(DataRow):
    product: str
    user: str = Field(alias="User")
    task: str = Field(alias="Task")
    a: list[str] = Field(alias="Option A", min_length=1)
    b: list[str] = Field(alias="Option B", min_length=1)
    c: list[str] = Field(alias="Option C", min_length=1)


class _Errand(DataRow):
    user: str
    task: str
    context: str
    user_intent_object: str
    user_intent_location: str
    scene_objects: list[str]


Scene = tuple[str, Turn, str, tuple[str, ...], set[int]]
"""The user, the exchange that teaches, the request, the options, and the places of those that the user takes."""


def load(
    path: Path | None,
    *,
    part: Literal["shopping", "embodied"] = "shopping",
    per_user: NonNegativeInt = 10,
    seed: int = 0,
) -> list[Item]:
    """Test scenarios in which the choice matters, `per_user` a user and test phase.

    Args:
        path: the folder.
        part: which half.
        per_user: scenarios of each user in each test phase; 0 for all.
        seed: which of them, and what is offered while learning.
    """
    if path is None:
        raise DataError("PAHF needs --data: its folder with shopping/ and embodied/")
    read = _shopping if part == "shopping" else _embodied
    folder = find(path, f"pahf/{part}", part, what=f"PAHF {part} data")
    scenes = {phase: defaultdict[str, list[Scene]](list) for phase in (1, 2, 3, 4)}
    for phase in scenes:
        for one in read(folder, phase, random.Random(f"{seed}-{phase}")):
            scenes[phase][one[0]].append(one)
    items = list[Item]()
    for user in scenes[2]:
        for phase, (when, learned) in PHASES.items():
            history = [tuple(one[1] for one in scenes[before][user]) for before in learned]
            matter = [one for one in scenes[phase][user] if 0 < len(one[4]) < len(one[3])]
            chosen = random.Random(f"{seed}-{user}").sample(matter, min(per_user or len(matter), len(matter)))
            for number, (_, _, question, options, taken) in enumerate(chosen):
                name = f"{user}-{phase}-{number}"
                shown, first = shuffle_options(options, min(taken), f"{seed}-{name}")
                data = {place for place, text in enumerate(shown) if options.index(text) in taken}
                about = {"options": shown, "right": first, "data": data, "groups": {"phase": when}}
                given = {**about, "memory": f"{user}, {when}", "history": history}
                items.append(Item(id=name, user=user, question=question, **given))  # type: ignore[arg-type]
    if not items:
        raise DataError(f"no scenarios in {folder} in which the choice matters")
    return items


def run(item: Item, arm: Arm, kit: Kit) -> Outcome:
    """Whether the user takes what was chosen."""
    place, answer = choose_option(item, arm, kit)
    return Outcome({"accepted": float(place in item.data)}, answer)


def _shopping(folder: Path, phase: int, rng: random.Random) -> Sequence[Scene]:
    name = "persona_info.json" if phase <= 2 else "updated_persona_info.json"
    personas: Mapping[str, _Persona] = read_object(folder / name, dict[str, _Persona])
    path, made = folder / f"phase{phase}.json", list[Scene]()
    for number, row in enumerate(read_rows(path, _Offer), start=1):
        tastes = personas[row.user].persona_info.get(row.product) if row.user in personas else None
        if not isinstance(tastes, dict):
            raise DataError(f"{path}, row {number}, field User or product: {name} has no {row.product} of {row.user}")
        offers = [row.a, row.b, row.c]
        taken = {place for place, features in enumerate(offers) if not _against(tastes, features)}
        options = tuple(f"{row.product}: {', '.join(features)}" for features in offers)
        offered = rng.randrange(len(offers))
        wrong = _against(tastes, offers[offered])
        wish = f"No, I want {wrong[0].like_most} or {wrong[0].like_second[0]}." if wrong else "Yes, I like that one."
        told = Turn(f"You offered me {options[offered]}. {wish}", "I see.")
        made.append((row.user, told, row.task, options, taken))
    return made


def _against(tastes: Mapping[str, _Taste], features: Sequence[str]) -> list[_Taste]:
    """The categories in which an option is not to the user's taste."""
    return [one for one in tastes.values() if not {one.like_most, *one.like_second} & set(features)]


def _embodied(folder: Path, phase: int, rng: random.Random) -> Sequence[Scene]:
    names = {1: "original_scenarios_A", 2: "original_scenarios_B", 3: "evolved_scenarios_A", 4: "evolved_scenarios_B"}
    made = list[Scene]()
    for row in read_rows(folder / f"{names[phase]}.json", _Errand):
        away = row.user_intent_location != "pick-up"  # what is put away is given, and where to is the question
        options = tuple(dict.fromkeys(one for one in row.scene_objects if not away or one != row.user_intent_object))
        wanted = row.user_intent_location if away else row.user_intent_object
        if len(options) < 2:
            continue
        offered = rng.choice(options)
        wish = "Yes, that is right." if offered == wanted else f"No, I want {wanted}."
        taken = {place for place, one in enumerate(options) if one == wanted}
        asked = f"{row.task} ({row.context})"
        told = Turn(f'When I asked "{asked}", you offered me {offered}. {wish}', "I see.")
        made.append((row.user, told, asked, options, taken))
    return made
