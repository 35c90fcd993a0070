"""A user's four phases, lived through by the pure core: what was offered, what they said, what the rule made of it.

No store and no database, so that many orders of many users take minutes. `benchmarks.replay` does the same through the
real components; `python -m benchmarks.learning --check` compares the two, offer by offer.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.choices import Chooser, Flags
from benchmarks.contenders import Contender
from benchmarks.learners import Array, Learner, Rated, VarsLearner
from benchmarks.pahf import LEARNING_PHASES
from langchain_persona.learning import policy

__all__ = ["PROTOCOLS", "Life", "live"]

PROTOCOLS = {"A": "one thumb a scenario, on the option offered", "B": "a thumb on each option"}


@dataclass(frozen=True, slots=True, eq=False)
class Life:
    """What came of a user's four phases under one rule.

    Attributes:
        accepted: for each phase whether each offer was taken, in the order of the offers, shape (n,).
        margin: likewise by how much the score of the offer exceeded the next one's.
        rates: for each phase the share taken where the choice matters.
        curve: test phase and number of scenarios to the share taken in that phase after so many in the one before.
        within: test phase and number of scenarios *of one block* to the share taken in the test of that block.
    """

    accepted: dict[int, Flags]
    margin: dict[int, Array]
    rates: dict[int, float]
    curve: dict[tuple[int, int], float]
    within: dict[tuple[int, int], float]


def live(user: Chooser, contender: Contender, *, seed: int = 0, protocol: str = "A", curves: bool = False) -> Life:
    """Let a user live through the four phases.

    In each scenario an option's score is `cosine(request, option) + bonus`, the first is offered, and in the learning
    phases the user's thumbs are learned from at once. Phase 3 goes on from what phase 1 left; a test teaches nothing.

    Args:
        user: with their scenarios.
        contender: the rule.
        seed: 0 is the order of the data; another number shuffles the blocks within each learning phase, scenarios of
            one block staying together and in order.
        protocol: a key of `PROTOCOLS`.
        curves: also take the test before the first and after every scenario; it teaches nothing either.
    """
    life = Life({}, {}, {}, {}, {})
    learner = contender.learner(user.name, user.options[1].shape[-1])
    said = None if contender.said is None else contender.said(user.name, seed)
    for learning, testing in LEARNING_PHASES.items():
        products, options, ids = user.products[learning], user.options[learning], user.ids[learning]
        order = _order(products, seed, f"{user.name} {learning}")
        firsts, margins = np.zeros(len(order), dtype=np.intp), np.zeros(len(order))
        exams: list[Flags] = []
        for place, index in enumerate(order):
            if curves:
                exams.append(_exam(user, testing, learner, said)[0])
            session, right = f"{learning}-{products[index]}", user.acceptable[learning][index]
            scores = _scores(user, learning, learner, session, slice(index, index + 1), said)
            (firsts[index],), (margins[place],) = _offers(scores)
            weights = policy(scores[0], contender.temperature)
            expected = np.einsum("o,od->d", weights, options[index])
            rated = [int(firsts[index])] if protocol == "A" else range(user.sizes[learning][index])
            thumbs = [
                Rated(session, f"{learning}-{index}", bool(right[o]), int(ids[index, o]), options[index, o], expected)
                for o in rated
            ]
            if contender.thumbs:
                learner.learn(thumbs)
        taken = user.acceptable[learning][np.arange(len(order)), firsts]
        life.accepted[learning], life.margin[learning] = taken[order], margins
        life.accepted[testing], life.margin[testing] = _exam(user, testing, learner, said)
        life.rates[learning] = user.rate(learning, taken)
        life.rates[testing] = user.rate(testing, life.accepted[testing])
        if curves:
            exams.append(life.accepted[testing])
            life.curve.update({(testing, place): user.rate(testing, taken) for place, taken in enumerate(exams)})
            within = _within([products[index] for index in order], user, testing, exams)
            life.within.update({(testing, count): share for count, share in within.items()})
    return life


def _within(blocks: Sequence[str], user: Chooser, testing: int, exams: Sequence[Flags]) -> dict[int, float]:
    """The share taken in the test of a block after 0, 1, 2, … scenarios of that block, over all blocks.

    Args:
        blocks: of the scenarios, as they were lived.
        user: with their scenarios.
        testing: the test phase.
        exams: whether each offer of the test was taken, before the first and after each scenario.
    """
    matters, names = user.matters(testing), np.array(user.products[testing], dtype=object)
    lived: Counter[str] = Counter()
    found: dict[int, list[bool]] = defaultdict(list)
    for place, block in enumerate(blocks):
        asked = matters & (names == block)
        if not lived[block]:
            found[0] += exams[place][asked].tolist()
        lived[block] += 1
        found[lived[block]] += exams[place + 1][asked].tolist()
    return {count: sum(taken) / len(taken) for count, taken in found.items() if taken}


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


def _scores(
    user: Chooser, phase: int, learner: Learner, session: str | None, rows: slice, said: Mapping[int, Array] | None
) -> Array:
    """The score of each option of some scenarios, shape (n, m)."""
    base, options = user.base[phase][rows], user.options[phase][rows]
    if not base.size:
        return base
    if said is not None:
        assert isinstance(learner, VarsLearner)
        base = base + learner.gains(options, said[phase][rows], session)
        return np.where(np.arange(base.shape[1]) < user.sizes[phase][rows][:, None], base, user.base[phase][rows])
    # a few options are too few to measure a spread on: the retriever moderates nothing there
    flat = learner.scores(options.reshape(-1, options.shape[-1]), user.ids[phase][rows].ravel(), base.ravel(), session)
    scores = np.asarray(flat, dtype=np.float64).reshape(base.shape)
    # an option that is not there wins nothing, whatever its bonus
    return np.where(np.arange(base.shape[1]) < user.sizes[phase][rows][:, None], scores, base)


def _offers(scores: Array) -> tuple[npt.NDArray[np.intp], Array]:
    """The first of each row, and by how much it is ahead of the second."""
    if scores.shape[1] < 2:
        return np.zeros(len(scores), dtype=np.intp), np.zeros(len(scores))
    ranked = np.sort(scores, axis=1)
    return scores.argmax(axis=1), ranked[:, -1] - ranked[:, -2]


def _exam(user: Chooser, phase: int, learner: Learner, said: Mapping[int, Array] | None = None) -> tuple[Flags, Array]:
    """Whether each offer of a test phase is taken, and its margin; a new session, without a short vector."""
    firsts, margins = _offers(_scores(user, phase, learner, None, slice(None), said))
    return user.acceptable[phase][np.arange(len(firsts)), firsts], margins
