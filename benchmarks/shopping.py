"""PAHF shopping, lived through by the pure core: what was offered, what the user said, what the rule made of it.

No store and no database, so that many orders of many users take minutes. `benchmarks.replay` does the same through the
real components; `python -m benchmarks.learning --check` compares the two, offer by offer.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.contenders import Array, Contender, Learner, Rated
from benchmarks.pahf import LEARNING_PHASES, Pahf
from langchain_persona.learning import policy

__all__ = ["PHASES", "PROTOCOLS", "Life", "Shopper", "live", "shoppers"]

PHASES = {1: "learn", 2: "test", 3: "learn after drift", 4: "test after drift"}

PROTOCOLS = {"A": "one thumb a scenario, on the option offered", "B": "a thumb on each of the three options"}

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Shopper:
    """One user as arrays; for each phase n scenarios of three options.

    Attributes:
        name: the user.
        products: n names.
        base: cosine of request and option, shape (n, 3).
        options: unit embeddings, shape (n, 3, d).
        acceptable: shape (n, 3).
    """

    name: str
    products: dict[int, list[str]]
    base: dict[int, Array]
    options: dict[int, Array]
    acceptable: dict[int, Flags]

    def matters(self, phase: int) -> Flags:
        """Where the choice makes a difference: one or two of three are acceptable; shape (n,)."""
        count = self.acceptable[phase].sum(axis=1)
        found: Flags = (count > 0) & (count < 3)
        return found

    def rate(self, phase: int, accepted: npt.ArrayLike) -> float:
        """The mean of what was accepted, shape (n,), where the choice matters; NaN where it never does."""
        kept = np.asarray(accepted, dtype=np.float64)[self.matters(phase)]
        return float(kept.mean()) if kept.size else float("nan")

    def chance(self, phase: int) -> float:
        """The rate that a random choice has on average."""
        return self.rate(phase, self.acceptable[phase].mean(axis=1))


def shoppers(data: Pahf, options: Mapping[str, Array], requests: Mapping[str, Array]) -> list[Shopper]:
    """The users as arrays.

    Args:
        data: the scenarios.
        options: an option's text to its unit embedding.
        requests: a request's text to its unit embedding.
    """
    dimension = next(iter(options.values())).size
    found = []
    for user in data.users:
        shopper = Shopper(user, {}, {}, {}, {})
        for phase in PHASES:
            scenarios = data.of(user, phase)
            rows = np.array([[options[option.text] for option in one.options] for one in scenarios])
            asked = np.array([requests[one.task] for one in scenarios]).reshape(-1, dimension)
            rows = rows.reshape(-1, 3, dimension)
            shopper.products[phase] = [one.product for one in scenarios]
            shopper.base[phase] = np.einsum("nod,nd->no", rows, asked)
            shopper.options[phase] = rows
            shopper.acceptable[phase] = np.array([one.acceptable for one in scenarios], dtype=bool).reshape(-1, 3)
        found.append(shopper)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Life:
    """What came of a user's four phases under one rule.

    Attributes:
        accepted: for each phase whether each offer was taken, in the order of the offers, shape (n,).
        margin: likewise by how much the score of the offer exceeded the next one's.
        rates: for each phase the share taken where the choice matters.
        curve: test phase and number of thumbs to the share taken in that phase after so many thumbs in the one before.
    """

    accepted: dict[int, Flags]
    margin: dict[int, Array]
    rates: dict[int, float]
    curve: dict[tuple[int, int], float]


def live(
    shopper: Shopper, contender: Contender, *, seed: int = 0, protocol: str = "A", every: int | None = None
) -> Life:
    """Let a user live through the four phases.

    In each scenario an option's score is `cosine(request, option) + bonus`, the first is offered, and in the learning
    phases the user's thumbs are learned from at once. Phase 3 goes on from what phase 1 left; a test teaches nothing.

    Args:
        shopper: the user.
        contender: the rule.
        seed: 0 is the order of the data; another number shuffles the products within each learning phase, scenarios of
            one product staying together and in order.
        protocol: a key of `PROTOCOLS`.
        every: also take the test before the first and after each so many scenarios; it teaches nothing either.
    """
    life = Life({}, {}, {}, {})
    learner = Learner.of(contender, shopper.options[1].shape[-1])
    for learning, testing in LEARNING_PHASES.items():
        products, options = shopper.products[learning], shopper.options[learning]
        order = _order(products, seed, f"{shopper.name} {learning}")
        firsts, margins = np.zeros(len(order), dtype=np.intp), np.zeros(len(order))
        for place, index in enumerate(order):
            if every and place % every == 0:
                life.curve[testing, place] = shopper.rate(testing, _exam(shopper, testing, learner)[0])
            session, right = f"{learning}-{products[index]}", shopper.acceptable[learning][index]
            scores = _scores(shopper.base[learning][[index]], options[[index]], learner, session)
            (firsts[index],), (margins[place],) = _offers(scores)
            if learner is not None:
                weights = policy(scores[0], learner.config.temperature)
                expected = np.einsum("o,od->d", weights, options[index])
                rated = [int(firsts[index])] if protocol == "A" else range(3)
                learner.learn(
                    [Rated(session, f"{learning}-{index}", bool(right[o]), options[index, o], expected) for o in rated]
                )
        taken = shopper.acceptable[learning][np.arange(len(order)), firsts]
        life.accepted[learning], life.margin[learning] = taken[order], margins
        life.accepted[testing], life.margin[testing] = _exam(shopper, testing, learner)
        life.rates[learning] = shopper.rate(learning, taken)
        life.rates[testing] = shopper.rate(testing, life.accepted[testing])
        if every:
            life.curve[testing, len(order)] = life.rates[testing]
    return life


def _order(products: Sequence[str], seed: int, salt: str) -> list[int]:
    """Positions of a learning phase's scenarios in the order in which they are lived."""
    if seed == 0:
        return list(range(len(products)))
    blocks: dict[str, list[int]] = {}
    for index, product in enumerate(products):
        blocks.setdefault(product, []).append(index)
    names = list(blocks)
    random.Random(f"{seed} {salt}").shuffle(names)
    return [index for name in names for index in blocks[name]]


def _scores(base: Array, options: Array, learner: Learner | None, session: str | None) -> Array:
    """`s = s_0 + bonus` of each option, shape (n, 3)."""
    if learner is None:
        return base
    long, short = learner.bonus(session).parts(options.reshape(-1, options.shape[-1]))
    return base + (long + short).reshape(base.shape)


def _offers(scores: Array) -> tuple[npt.NDArray[np.intp], Array]:
    """The first of each three, and by how much it is ahead of the second."""
    ranked = np.sort(scores, axis=1)
    return scores.argmax(axis=1), ranked[:, -1] - ranked[:, -2]


def _exam(shopper: Shopper, phase: int, learner: Learner | None) -> tuple[Flags, Array]:
    """Whether each offer of a test phase is taken, and its margin; a new session, without a short vector."""
    firsts, margins = _offers(_scores(shopper.base[phase], shopper.options[phase], learner, None))
    return shopper.acceptable[phase][np.arange(len(firsts)), firsts], margins
