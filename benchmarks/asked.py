"""Films with a query: `relevance + bonus` over all films, as the retriever ranks them.

Two things are wanted at once: among what is on topic, this user's favourites come first; and what comes first stays on
topic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.learners import Ids, Learner
from benchmarks.ranking import TOP, ndcg, ranked, top
from benchmarks.topics import Topics, rated_topics

__all__ = ["AFTER", "MEASURES", "Asked", "ask"]

AFTER = (20, 100)
"""Numbers of thumbs after which is asked."""

QUERIES = 5
"""At most so many queries a user and number of thumbs."""

MEASURES = {
    "rated": "nDCG@10, films rated later",
    "taste": "nDCG@10, of these only what is on topic",
    "all": "nDCG@10, all films",
    "topic": "on topic, top 10 of all films",
    "never": "overlap@10 with plain, topic never rated",
}

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Queries and the relevance of every film to them.

    Attributes:
        topics: the queries and the films on topic.
        relevance: cosine of query and film, single precision, shape (topics, films).
        spread: how far that varies over a sample of the films, shape (topics, 1).
    """

    topics: Topics
    relevance: Rows
    spread: Rows


def ask(
    asked: Asked,
    films: Rows,
    learners: Mapping[str, Learner],
    seen: Sequence[int],
    liked: Ids,
    later: Ids,
    ties: Ids,
    rng: np.random.Generator,
) -> dict[str, dict[str, float]]:
    """Ask every learner the same queries.

    Args:
        asked: the queries.
        films: unit embeddings, shape (n, d).
        learners: what each rule knows of the user.
        seen: films with a thumb so far.
        liked: the later films that the user liked.
        later: all later films.
        ties: a rank of each film for ties, shape (n,).
        rng: draws the queries.

    Returns:
        For each rule the mean over queries of each of `MEASURES`; left out where there is no query to ask:

        - *rated*: the user's later films, ranked; wanted is what they liked and what is on topic. Every label is known.
        - *taste*: of these only the films on topic, so that taste decides; left out where they liked all of them.
        - *all*: the same over all films not yet seen. An unrated film counts as unwanted, though they might like it.
        - *topic*: the share of the first ten of all films that are on topic.
        - *never*: topics of which they have rated nothing: the share of plain Chroma's first ten that are still there.
    """
    on = asked.topics.on
    chosen = asked.topics.pick(rated_topics(asked.topics, liked), rng, QUERIES)
    fresh = asked.topics.pick(~rated_topics(asked.topics, seen), rng, QUERIES)
    if not chosen and not fresh:
        return {rule: {} for rule in learners}
    ids = np.arange(len(films))
    base, spread = asked.relevance[[*chosen, *fresh]], asked.spread[[*chosen, *fresh]]
    plain = [set(top(row, ties).tolist()) for row in base[len(chosen) :]]
    wanted = np.zeros(len(films), dtype=bool)
    wanted[liked] = True
    unseen = np.ones(len(films), dtype=bool)
    unseen[list(seen)] = False
    found: dict[str, dict[str, float]] = {}
    for rule, learner in learners.items():
        scores = learner.scores(films, ids, base, None, spread)
        values: dict[str, list[float]] = {measure: [] for measure in MEASURES}
        for topic, row in zip(chosen, scores[: len(chosen)], strict=True):
            good = wanted & on[topic]
            total = int(good.sum())
            order = later[ranked(row[later], ties[later])]
            values["rated"].append(ndcg(good[order], total))
            order = order[on[topic][order]]
            if total < len(order):
                values["taste"].append(ndcg(good[order], total))
            values["all"].append(ndcg(good[top(np.where(unseen, row, -np.inf), ties)], total))
            values["topic"].append(float(on[topic][top(row, ties)].mean()))
        for before, row in zip(plain, scores[len(chosen) :], strict=True):
            values["never"].append(len(before & set(top(row, ties).tolist())) / min(TOP, len(films)))
        found[rule] = {measure: sum(some) / len(some) for measure, some in values.items() if some}
    return found
