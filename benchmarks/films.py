"""MovieLens, replayed by the pure core: each user's thumbs in order of time, then rankings of films."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.asked import AFTER as ASKED_AFTER
from benchmarks.asked import Asked, ask
from benchmarks.bootstrap import auc
from benchmarks.contenders import Contender
from benchmarks.learners import Learner, Rated
from benchmarks.movielens import MovieLens, Thumb
from benchmarks.ranking import TOP, ndcg, top

__all__ = ["AFTER", "MEASURES", "Watched", "watch"]

AFTER = (0, 5, 10, 20, 50, 100, 200)
"""Numbers of thumbs after which the later films are ranked."""

MEASURES = ("auc", "ndcg", "auc_same")
"""AUC and nDCG@10 in a new session; AUC in the session of the last thumb, with its short-term vector as it stands."""

POOL = 64
"""Films drawn at random for each thumb: their mean is what could have been shown instead."""

SITTING = 3600.0
"""A pause of more seconds than that begins a new session."""

LATER = 5
"""A user counts at a number of thumbs when at least so many more follow."""


Values = dict[tuple[str, int], float]
"""A measure and a number of thumbs to its value."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """The films as all rules see them.

    Attributes:
        data: the thumbs.
        films: unit embeddings of `data.texts`, single precision, shape (n, d).
        asked: the queries; None leaves the measures with a query out.
    """

    data: MovieLens
    films: npt.NDArray[np.float32]
    asked: Asked | None = None


def watch(what: Watched, rules: Sequence[Contender], user: str, *, seed: int) -> dict[str, Values]:
    """One user's thumbs under several rules.

    Args:
        what: films and thumbs.
        rules: the contenders.
        user: whose thumbs.
        seed: draws what could have been shown instead, the order of ties and the queries; every rule sees the same.

    Returns:
        For each rule, measure and number of thumbs a value. Where the user does not count there is none, and NaN where
        they liked all later films or none of them.
    """
    thumbs, films = what.data.thumbs[user], what.films
    taught = thumbs[: AFTER[-1]]
    rng = np.random.default_rng([seed, zlib.crc32(user.encode())])
    expected = films[rng.integers(len(films), size=(len(taught), POOL))].mean(axis=1, dtype=np.float64)
    ties = rng.permutation(len(films))
    sessions = _sessions(taught)
    lessons = [
        Rated(sessions[i], str(i), thumb.up, thumb.film, films[thumb.film], expected[i])
        for i, thumb in enumerate(taught)
    ]
    found: dict[str, Values] = defaultdict(dict)
    learners = {rule.id: rule.learner(user, films.shape[1]) for rule in rules}
    for before, after in zip((0, *AFTER), AFTER, strict=False):
        later = thumbs[after:]
        if len(later) < LATER:
            break
        ids = np.array([thumb.film for thumb in later], dtype=np.intp)
        liked = np.array([thumb.up for thumb in later])
        last = sessions[after - 1] if after else None
        for rule, learner in learners.items():
            learner.learn(lessons[before:after])
            found[rule] |= _unasked(learner, films[ids], ids, liked, ties[ids], after, last)
        if what.asked is not None and after in ASKED_AFTER:
            seen = [thumb.film for thumb in thumbs[:after]]
            draw = np.random.default_rng([seed, zlib.crc32(user.encode()), after])
            for rule, values in ask(what.asked, films, learners, seen, ids[liked], ids, ties, draw).items():
                found[rule] |= {(measure, after): value for measure, value in values.items()}
    return dict(found)


def _unasked(
    learner: Learner,
    rows: npt.NDArray[np.float32],
    ids: npt.NDArray[np.intp],
    liked: npt.NDArray[np.bool_],
    ties: npt.NDArray[np.intp],
    after: int,
    last: str | None,
) -> Values:
    """The later films ranked by the bonus alone: nothing was asked, the relevance of every film is 0."""
    nothing: npt.NDArray[Any] = np.zeros(len(ids), dtype=rows.dtype)
    scores = learner.scores(rows, ids, nothing, None)
    there = scores if last is None else learner.scores(rows, ids, nothing, last)
    return {
        ("auc", after): auc(scores, liked),
        ("ndcg", after): ndcg(liked[top(scores, ties)], int(liked.sum()), TOP),
        ("auc_same", after): auc(there, liked),
    }


def _sessions(thumbs: Sequence[Thumb]) -> list[str]:
    """The name of each thumb's session."""
    number, names = 0, []
    for index, thumb in enumerate(thumbs):
        number += index > 0 and thumb.time - thumbs[index - 1].time > SITTING
        names.append(f"s{number}")
    return names
