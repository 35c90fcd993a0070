"""PAHF embodied: a household robot is asked for something; the situation decides what the user wants, or where.

A scenario names a task, its context ("Tired", "Hot weather"), the objects in the scene and what the user intends. There
are two kinds. *Fetch*: the wanted option is `user_intent_object`, among all objects. *Put away*: the object is given by
the task, and the user wants it at `user_intent_location`, which is among the objects of the scene; the object itself is
no option, for picking it says nothing. After the drift every preference is inverted.

Source: *Learning Personalized Agents from Human Feedback*, arXiv 2602.16173; the data are under the MIT licence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.choices import PHASES, Chooser, Scene, chooser
from benchmarks.learners import Array

__all__ = ["TEXTS", "Embodied", "Errand", "actors", "load"]

TEXTS = {
    "object": "an option is its object alone",
    "context": "an option is its object in the context of the request",
}
"""What an option's text is. A bonus that is linear in the embedding of an object alone gives one object one bonus in
every context, so it cannot hold "tea when tired, juice when stressed"; of an object in its context it can."""

_FILES = ("original_scenarios_A", "original_scenarios_B", "evolved_scenarios_A", "evolved_scenarios_B")
_FETCH = "pick-up"


@dataclass(frozen=True, slots=True)
class Errand:
    """One scenario.

    Attributes:
        user, task, context: who asks for what, and in which situation.
        options: names of what can be chosen, two or more.
        wanted: the position of the one that the user wants; None when it is not there.
        phase: 1 to 4.
    """

    user: str
    task: str
    context: str
    options: tuple[str, ...]
    wanted: int | None
    phase: int

    @property
    def request(self) -> str:
        """What is searched for: the task, and in brackets its context, which the words of some tasks do not tell."""
        return f"{self.task} ({self.context})"

    def texts(self, kind: str) -> tuple[str, ...]:
        """What is embedded of each option, for a key of `TEXTS`."""
        return tuple(option if kind == "object" else f"{option} ({self.context})" for option in self.options)


@dataclass(frozen=True, slots=True)
class Embodied:
    """The whole data set.

    Attributes:
        errands: in the order of the data, phase by phase.
        left_out: scenarios with fewer than two options.
        unanswered: scenarios in which what the user wants is not in the scene; they teach, but do not count.
    """

    errands: tuple[Errand, ...]
    left_out: int
    unanswered: int

    @property
    def users(self) -> tuple[str, ...]:
        """The users, in the order of the data."""
        return tuple(dict.fromkeys(errand.user for errand in self.errands))

    def of(self, user: str, phase: int) -> tuple[Errand, ...]:
        """The errands of one user in one phase, in the order of the data."""
        return tuple(errand for errand in self.errands if (errand.user, errand.phase) == (user, phase))


def load(folder: str | Path) -> Embodied:
    """Read the embodied half.

    Args:
        folder: the folder with the four files, or one that holds them in `embodied/` or `pahf/embodied/`.

    Raises:
        FileNotFoundError: some of the files are not there; names them and where they were looked for.
        ValueError: a file is not what it should be; names the file and the place in it.
    """
    where = _find(Path(folder))
    errands: list[Errand] = []
    left_out = 0
    for phase, name in enumerate(_FILES, start=1):
        path = where / f"{name}.json"
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON: {error}") from error
        for index, row in enumerate(rows):
            try:
                errand = _errand(row, phase)
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}: scenario {index} cannot be read ({error!r})") from error
            if len(errand.options) < 2:
                left_out += 1
            else:
                errands.append(errand)
    return Embodied(tuple(errands), left_out, sum(errand.wanted is None for errand in errands))


def actors(data: Embodied, kind: str, options: Mapping[str, Array], requests: Mapping[str, Array]) -> list[Chooser]:
    """The users as arrays; each context is a block, that is a session.

    Args:
        data: the scenarios.
        kind: a key of `TEXTS`.
        options: an option's text to its unit embedding.
        requests: a request's text to its unit embedding.
    """
    number = {text: place for place, text in enumerate(options)}
    found = []
    for user in data.users:
        scenes: dict[int, list[Scene]] = {phase: [] for phase in PHASES}
        for errand in data.errands:
            if errand.user != user:
                continue
            texts = errand.texts(kind)
            rows = np.array([options[text] for text in texts])
            right = [place == errand.wanted for place in range(len(texts))]
            base = rows @ requests[errand.request]
            scenes[errand.phase].append(Scene(errand.context, base, rows, [number[text] for text in texts], right))
        found.append(chooser(user, scenes, next(iter(options.values())).size))
    return found


def _errand(row: Mapping[str, Any], phase: int) -> Errand:
    thing, place = row["user_intent_object"], row["user_intent_location"]
    names = list(dict.fromkeys(row["scene_objects"]))
    wanted = thing if place == _FETCH else place
    if place != _FETCH:
        names = [name for name in names if name != thing]
    where = names.index(wanted) if wanted in names else None
    return Errand(str(row["user"]), row["task"], row["context"], tuple(names), where, phase)


def _find(folder: Path) -> Path:
    places = (folder / "pahf" / "embodied", folder / "embodied", folder)
    for place in places:
        if all((place / f"{name}.json").is_file() for name in _FILES):
            return place
    looked = ", ".join(str(place) for place in places)
    raise FileNotFoundError(
        f"no PAHF embodied data: no folder with {', '.join(f'{name}.json' for name in _FILES)} (looked in {looked})"
    )
