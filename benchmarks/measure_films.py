"""MovieLens: rankings of later films without a query, and of all films with one."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from rich.progress import Progress

from benchmarks import asked
from benchmarks.contenders import OURS, OURS_FITTED, Contender, contenders
from benchmarks.films import AFTER, Watched, watch
from benchmarks.fitted import CrossFitted, cross_fitted
from benchmarks.learners import Array, Rows
from benchmarks.movielens import MovieLens
from benchmarks.parts import left_out, part, rules_of
from benchmarks.popularity import Popularity

__all__ = ["movielens"]

UNASKED = {
    "auc": "AUC on later films, nothing asked, in a new session",
    "ndcg": "nDCG@10 on later films, nothing asked, in a new session",
    "auc_same": "AUC on later films, nothing asked, in the session of the last thumb",
}


def movielens(
    what: Watched, *, seeds: int, resamples: int, progress: Progress, most: int | None = None
) -> dict[str, Any]:
    """All measures on films.

    Args:
        what: films, thumbs and queries.
        seeds: draws of what could have been shown, of ties and of queries.
        resamples: of the bootstrap.
        progress: shows how far it is.
        most: evaluate at most so many users, by a hash of their id; spaces and popularity still come from all others.
    """
    data, films = what.data, what.films
    rules, fitted = _rules(data, films, progress)
    users = _some(list(data.thumbs), most)
    task = progress.add_task("MovieLens", total=len(users) * seeds)
    columns = [(measure, after) for measure in UNASKED for after in AFTER]
    columns += [(measure, after) for measure in asked.MEASURES for after in asked.AFTER]
    found: dict[str, list[Array]] = {rule.id: [] for rule in rules}
    for user in users:
        runs = []
        for seed in range(seeds):
            runs.append(watch(what, rules, user, seed=seed))
            progress.advance(task)
        for rule, kept in found.items():
            rows = [[run.get(rule, {}).get(column, np.nan) for column in columns] for run in runs]
            kept.append(_mean(np.array(rows)))
    arrays = {rule: np.array(rows).reshape(len(users), len(columns)) for rule, rows in found.items()}
    reference = OURS_FITTED if OURS_FITTED in arrays else OURS
    parts = []
    task = progress.add_task("MovieLens, intervals", total=len(UNASKED) + 2 * (what.asked is not None))
    for name, title in UNASKED.items():
        places = [columns.index((name, after)) for after in AFTER]
        # with nothing asked plain Chroma and averages per item know nothing of films not yet seen: chance says it all
        some = {rule: rows[:, places] for rule, rows in arrays.items() if rule not in ("plain", "items")}
        named = [f"after {after}" for after in AFTER]
        parts.append(part(name, title, named, some, reference=reference, resamples=resamples))
        progress.advance(task)
    if what.asked is not None:
        for name, title, measures in (
            ("asked", "nDCG@10 with a query", ("rated", "taste", "all")),
            ("kept", "what is left of the query", ("topic", "never")),
        ):
            pairs = [(measure, after) for measure in measures for after in asked.AFTER]
            some = {rule: rows[:, [columns.index(pair) for pair in pairs]] for rule, rows in arrays.items()}
            named = [f"{asked.MEASURES[measure]}, after {after}" for measure, after in pairs]
            parts.append(part(name, title, named, some, reference=reference, resamples=resamples))
            progress.advance(task)
    return {
        "users": len(users),
        "all_users": len(data.thumbs),
        "thumbs": sum(len(given) for given in data.thumbs.values()),
        "films": len(data.texts),
        "unknown_films": data.unknown,
        "queries": [] if what.asked is None else list(what.asked.topics.queries),
        "fitted_on": list(fitted.users),
        "rules": rules_of(rules),
        "left_out": left_out(fitted),
        "measure": "each user's thumbs in order of time, then a ranking of films",
        "parts": parts,
    }


def _rules(data: MovieLens, films: Rows, progress: Progress) -> tuple[tuple[Contender, ...], CrossFitted]:
    """The contenders: with popularity, and with spaces fitted on everybody else's thumbs."""
    task = progress.add_task("fitting spaces on the other users", total=None)
    ledgers = {
        user: (films[[thumb.film for thumb in given]], np.array([1.0 if thumb.up else -1.0 for thumb in given]))
        for user, given in data.thumbs.items()
    }
    fitted = cross_fitted(ledgers)
    progress.remove_task(task)
    pairs = {user: [(thumb.film, thumb.up) for thumb in given] for user, given in data.thumbs.items()}
    popular = Popularity((pair for some in pairs.values() for pair in some), len(films))
    return contenders(films, fitted, lambda user: popular.without(pairs[user])), fitted


def _some(users: list[str], most: int | None) -> list[str]:
    """All users, or so many of them, by a hash of their id."""
    if most is None or most >= len(users):
        return users
    kept = set(sorted(users, key=lambda user: hashlib.sha256(user.encode()).hexdigest())[:most])
    return [user for user in users if user in kept]


def _mean(rows: Array) -> Array:
    """The mean over seeds of what has a value: queries differ from seed to seed, who counts does not."""
    there = np.isfinite(rows)
    count = there.sum(axis=0)
    total = np.where(there, rows, 0.0).sum(axis=0)
    found: Array = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return found
