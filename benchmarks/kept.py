"""Over-personalisation: what is left of plain Chroma's first ten on what a user neither stated nor rated.

Each shopper states all tastes of two products, drawn by seed, and rates these products' scenarios of the first phase.
Then the whole catalogue is searched: for their other products, and for things that no shop of this kind has.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.choices import Chooser
from benchmarks.contenders import OURS, PLAIN, Contender
from benchmarks.learners import Array, Rated, VarsLearner
from benchmarks.pahf import Pahf
from benchmarks.parts import part
from benchmarks.stated import sayings, statements_of
from langchain_persona.learning import Words, moderation, policy

__all__ = ["ANSWERS", "ELSEWHERE", "kept_part"]

ELSEWHERE = (
    "what shall I watch tonight",
    "which train goes to Lyon",
    "a quick recipe for dinner",
    "how do I sort a list in Python?",
    "when do I sow tomatoes",
    "where can I go on holiday",
    "a book about the sea",
    "who wrote Faust?",
)
"""Queries on other topics."""

ANSWERS = {
    "What is the capital of France?": "Paris is the capital of France.",
    "Who wrote Faust?": "Faust is a tragedy by Johann Wolfgang von Goethe.",
    "At what temperature does water boil?": "At sea level water boils at 100 degrees Celsius.",
    "How many planets does the sun have?": "Eight planets orbit the sun, from Mercury to Neptune.",
    "When did the Berlin Wall fall?": "The Berlin Wall fell on 9 November 1989.",
    "Which gas do plants take in?": "Plants take in carbon dioxide and give off oxygen.",
    "What is the square root of 144?": "The square root of 144 is 12.",
    "How long is a marathon?": "A marathon is 42.195 kilometres long.",
    "Why may I not put metal in a microwave oven?": "Metal in a microwave oven reflects the waves and throws sparks.",
    "How cold should a refrigerator be?": "A refrigerator should be kept at 4 degrees Celsius.",
    "How often should I descale a dishwasher?": "Descale a dishwasher every three months.",
    "Why does my washing machine shake?": "A washing machine shakes when it stands uneven or is loaded on one side.",
    "What does the aperture of a camera do?": "The aperture sets how much light reaches the sensor of a camera.",
    "How do I clean headphones?": "Clean headphones with a dry cloth, and the cushions with a little alcohol.",
    "How do I reset a smartphone?": "To reset a smartphone, back it up and choose reset in its settings.",
    "How far from a TV should I sit?": "Sit one and a half times the screen's diagonal away from a TV.",
}
"""Questions with one right answer, and the text that answers each; half are about what the shops sell."""

WORDS = Words()
COLUMNS = (
    "other products",
    "other topics",
    "what was stated and rated: first ten of that product",
    "questions with one right answer: it stands first",
)


def kept_part(
    data: Pahf,
    users: Sequence[Chooser],
    ours: Contender,
    rows: Array,
    tasks: Mapping[str, Array],
    elsewhere: Sequence[Array],
    answers: tuple[Array, Array],
    vectors: Mapping[str, Array],
    *,
    seeds: int,
    resamples: int,
) -> dict[str, Any]:
    """The part of the document.

    Args:
        data, users: the shoppers.
        ours: the rule that learns from thumbs, with its background.
        rows: the catalogue, shape (n, d).
        tasks: a request's text to its vector.
        elsewhere: vectors of the queries on other topics.
        answers: vectors of the questions that have one right answer, shape (m, d), and of the answers.
        vectors: a statement's text to its vector.
        seeds, resamples: as everywhere.
    """
    products, (questions, right) = np.array([option.product for option in data.catalogue]), answers
    shelf = np.concatenate([rows, right])
    found = {rule: np.zeros((len(users), len(COLUMNS))) for rule in (PLAIN, OURS, "words_all", "both_all")}
    for place, user in enumerate(users):
        for seed in range(seeds):
            own = sorted(set(user.products[1]))
            known = random.Random(f"{seed} {user.name}").sample(own, min(2, len(own)))
            learner = _taught(user, ours, known)
            said = [one for one in sayings(data, user.name, 1.0, seed)["before"] if _about(one[0], known, data)]
            statements = statements_of(said, vectors)
            asked = {
                0: [tasks[one.task] for one in data.of(user.name, 2) if one.product not in known],
                1: list(elsewhere),
                2: [tasks[one.task] for one in data.of(user.name, 2) if one.product in known],
            }
            for column, queries in asked.items():
                if not queries:  # a shop of two products has no others
                    for rates in found.values():
                        rates[place, column] = np.nan
                    continue
                for query in np.unique(queries, axis=0):
                    base = rows @ query
                    plain = set(_first(base))
                    heard = statements.about(query, WORDS, 0.0)
                    words = np.zeros_like(query) if heard is None else heard.vector
                    for rule, found_rows in found.items():
                        first = _first(base + _gained(rule, learner, ours, rows, query, words))
                        share = np.isin(products[first], known).mean() if column == 2 else len(plain & set(first)) / 10
                        found_rows[place, column] += share / (len(np.unique(queries, axis=0)) * seeds)
            for number, query in enumerate(questions):
                heard = statements.about(query, WORDS, 0.0)
                words = np.zeros_like(query) if heard is None else heard.vector
                for rule, rates in found.items():
                    scores = shelf @ query + _gained(rule, learner, ours, shelf, query, words)
                    rates[place, 3] += (scores.argmax() == len(rows) + number) / (len(questions) * seeds)
    title = "over-personalisation: two products stated and rated, share of plain Chroma's first ten that is still there"
    return part("kept", title, COLUMNS, found, reference=OURS, resamples=resamples)


def _gained(rule: str, learner: VarsLearner, ours: Contender, rows: Array, query: Array, words: Array) -> Array:
    """The bonus of every row as the retriever gives it: moderated, then capped."""
    assert ours.config is not None
    assert ours.background is not None
    learned = learner.bonus(None, max_bonus=float("inf")).total * (rule in (OURS, "both_all"))
    total = learned + words * (rule in ("words_all", "both_all"))
    relevance, spread = (float(np.std(ours.background @ one)) for one in (query, total))
    total = total * moderation(relevance, spread, ours.config.spread)
    found: Array = rows @ (total * min(1.0, ours.config.max_bonus / max(float(np.linalg.norm(total)), 1e-12)))
    return found


def _taught(user: Chooser, ours: Contender, known: Sequence[str]) -> VarsLearner:
    """What is learned from a thumb on each first offer of some products."""
    learner = replace(ours).learner(user.name, user.options[1].shape[-1])
    assert isinstance(learner, VarsLearner)
    for index, product in enumerate(user.products[1]):
        if product in known:
            first, options = int(user.base[1][index].argmax()), user.options[1][index]
            expected = np.einsum("o,od->d", policy(user.base[1][index], ours.temperature), options)
            up, name = bool(user.acceptable[1][index][first]), int(user.ids[1][index, first])
            learner.learn([Rated(product, str(index), up, name, options[first], expected)])
    return learner


def _about(text: str, known: Sequence[str], data: Pahf) -> bool:
    """Whether a statement names one of some products, or a feature that only they have."""
    sold = {feature for one in data.catalogue if one.product in known for feature in one.features}
    return any(product in text for product in known) or any(feature in text for feature in sold)


def _first(scores: Array) -> list[int]:
    found: list[int] = np.argsort(-scores, kind="stable")[:10].tolist()
    return found
