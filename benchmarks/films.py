"""MovieLens, replayed by the pure core: each user's thumbs in order of time, then a ranking of their later films."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.bootstrap import auc
from benchmarks.contenders import Contender, Learner, Rated
from benchmarks.movielens import MovieLens, Thumb

__all__ = ["AFTER", "SESSIONS", "watch"]

SESSIONS = {"same": "in the session of the last thumb", "new": "in a new session"}
"""Where the later films are ranked: with the short-term vector as it stands, and without one."""

AFTER = (5, 10, 20, 50, 100, 200)
"""Numbers of thumbs after which the later films are ranked."""

POOL = 64
"""Films drawn at random for each thumb: their mean is what could have been shown instead."""

SITTING = 3600.0
"""A pause of more seconds than that begins a new session."""

LATER = 5
"""A user counts at a number of thumbs when at least so many more follow."""


def watch(
    data: MovieLens, films: npt.NDArray[np.float32], rules: Sequence[Contender], user: str, *, seed: int
) -> dict[str, dict[str, list[float]]]:
    """One user's thumbs under several rules.

    Args:
        data: the thumbs.
        films: unit embeddings of `data.texts`, shape (n, d).
        rules: those that do not learn are passed over.
        user: whose thumbs.
        seed: draws what could have been shown instead; every rule sees the same.

    Returns:
        For each rule and each of `SESSIONS` the AUC of the bonus on the later films after each of `AFTER` thumbs; NaN
        where the user does not count, or liked all or none of them.
    """
    thumbs = data.thumbs[user]
    taught = thumbs[: AFTER[-1]]
    rng = np.random.default_rng([seed, zlib.crc32(user.encode())])
    expected = films[rng.integers(len(films), size=(len(taught), POOL))].mean(axis=1, dtype=np.float64)
    sessions = _sessions(taught)
    lessons = [Rated(sessions[i], str(i), thumb.up, films[thumb.film], expected[i]) for i, thumb in enumerate(taught)]
    points: dict[str, dict[str, list[float]]] = {}
    for rule in rules:
        learner = Learner.of(rule, films.shape[1])
        if learner is None:
            continue
        points[rule.id] = {where: [float("nan")] * len(AFTER) for where in SESSIONS}
        for place, (before, after) in enumerate(zip((0, *AFTER), AFTER, strict=False)):
            later = thumbs[after:]
            if len(later) < LATER:
                break
            learner.learn(lessons[before:after])
            rows, liked = films[[thumb.film for thumb in later]], [thumb.up for thumb in later]
            for where, session in (("same", sessions[after - 1]), ("new", None)):
                long, short = learner.bonus(session).parts(rows)
                points[rule.id][where][place] = auc(long + short, liked)
    return points


def _sessions(thumbs: Sequence[Thumb]) -> list[str]:
    """The name of each thumb's session."""
    number, names = 0, []
    for index, thumb in enumerate(thumbs):
        number += index > 0 and thumb.time - thumbs[index - 1].time > SITTING
        names.append(f"s{number}")
    return names
