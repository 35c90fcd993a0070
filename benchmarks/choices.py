"""Users who choose: scenarios with a few options each, in four phases, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.learners import Array, Ids

__all__ = ["PHASES", "Chooser", "Flags", "Scene", "chooser"]

PHASES = {1: "learn", 2: "test", 3: "learn after drift", 4: "test after drift"}

Flags = npt.NDArray[np.bool_]

_ABSENT = -1e3
"""The relevance of an option that is not there: scenarios have unlike numbers of options, arrays have not."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One scenario.

    Attributes:
        block: what belongs together: scenarios of one block are one session, and stay together when orders are
            shuffled.
        base: relevance of each option, shape (m,).
        options: unit embeddings, shape (m, d).
        ids: numbers of the options, shape (m,).
        acceptable: shape (m,).
    """

    block: str
    base: Array
    options: Array
    ids: Sequence[int]
    acceptable: Sequence[bool]


@dataclass(frozen=True, slots=True, eq=False)
class Chooser:
    """One user; for each phase n scenarios of at most m options.

    Attributes:
        name: the user.
        products: n names: the block of each scenario.
        sizes: how many options each scenario has, shape (n,); they come first, what follows is empty.
        base: relevance of each option, shape (n, m).
        options: unit embeddings, shape (n, m, d).
        ids: numbers of the options, shape (n, m).
        acceptable: shape (n, m).
    """

    name: str
    products: dict[int, list[str]] = field(default_factory=dict)
    sizes: dict[int, Ids] = field(default_factory=dict)
    base: dict[int, Array] = field(default_factory=dict)
    options: dict[int, Array] = field(default_factory=dict)
    ids: dict[int, Ids] = field(default_factory=dict)
    acceptable: dict[int, Flags] = field(default_factory=dict)

    def matters(self, phase: int) -> Flags:
        """Where the choice makes a difference: some options are acceptable, but not all; shape (n,)."""
        count = self.acceptable[phase].sum(axis=1)
        found: Flags = (count > 0) & (count < self.sizes[phase])
        return found

    def rate(self, phase: int, accepted: npt.ArrayLike) -> float:
        """The mean of what was accepted, shape (n,), where the choice matters; NaN where it never does."""
        kept = np.asarray(accepted, dtype=np.float64)[self.matters(phase)]
        return float(kept.mean()) if kept.size else float("nan")

    def chance(self, phase: int) -> float:
        """The rate that a random choice has on average."""
        return self.rate(phase, self.acceptable[phase].sum(axis=1) / self.sizes[phase])

    def rated(self, phase: int) -> tuple[Array, Array]:
        """All options of a phase, shape (options, d), and what this user would say to each: 1 or −1."""
        there = np.arange(self.ids[phase].shape[1]) < self.sizes[phase][:, None]
        return self.options[phase][there], np.where(self.acceptable[phase][there], 1.0, -1.0)


def chooser(name: str, scenes: dict[int, list[Scene]], dimension: int) -> Chooser:
    """A user's scenarios as arrays.

    Args:
        name: the user.
        scenes: for each phase the scenarios, in the order of the data.
        dimension: numbers in an embedding.
    """
    user = Chooser(name)
    for phase in PHASES:
        some = scenes.get(phase, [])
        n, m = len(some), max((len(one.base) for one in some), default=1)
        user.products[phase] = [one.block for one in some]
        user.sizes[phase] = np.array([len(one.base) for one in some], dtype=np.intp)
        user.base[phase] = np.full((n, m), _ABSENT)
        user.options[phase] = np.zeros((n, m, dimension))
        user.ids[phase] = np.zeros((n, m), dtype=np.intp)
        user.acceptable[phase] = np.zeros((n, m), dtype=bool)
        for row, one in enumerate(some):
            size = len(one.base)
            user.base[phase][row, :size] = one.base
            user.options[phase][row, :size] = one.options
            user.ids[phase][row, :size] = one.ids
            user.acceptable[phase][row, :size] = one.acceptable
    return user
