"""PAHF shopping as scenarios of three options: what is asked, what is on offer, what is acceptable."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.choices import PHASES, Chooser, Scene, chooser
from benchmarks.learners import Array
from benchmarks.pahf import Pahf

__all__ = ["shoppers"]


def shoppers(data: Pahf, options: Mapping[str, Array], requests: Mapping[str, Array]) -> list[Chooser]:
    """The users as arrays; a block is a product.

    Args:
        data: the scenarios.
        options: an option's text to its unit embedding.
        requests: a request's text to its unit embedding.
    """
    number = {option.text: place for place, option in enumerate(data.catalogue)}
    found = []
    for user in data.users:
        scenes: dict[int, list[Scene]] = {phase: [] for phase in PHASES}
        for phase, some in scenes.items():
            for one in data.of(user, phase):
                rows = np.array([options[option.text] for option in one.options])
                ids = [number[option.text] for option in one.options]
                some.append(Scene(one.product, rows @ requests[one.task], rows, ids, one.acceptable))
        found.append(chooser(user, scenes, next(iter(options.values())).size))
    return found
