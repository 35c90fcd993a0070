"""The data sets of a folder, and what is measured on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from rich.progress import Progress

from benchmarks import cache, embodied, movielens, pahf
from benchmarks.asked import Asked
from benchmarks.choices import PHASES
from benchmarks.contenders import OURS, Contender
from benchmarks.films import Watched
from benchmarks.kept import ANSWERS, ELSEWHERE, kept_part
from benchmarks.learners import sampled
from benchmarks.life import PROTOCOLS
from benchmarks.measure_choices import Setting, choices, rules_for
from benchmarks.measure_films import movielens as measure_films
from benchmarks.shopping import shoppers
from benchmarks.stated import Said, household_sayings, sayings, talkers, texts_of
from benchmarks.topics import topics_of

__all__ = ["Found", "Options", "measured", "read"]


@dataclass(slots=True)
class Found:
    """What a folder holds; None for what it does not, and then the reason in `absent`."""

    pahf: pahf.Pahf | None = None
    embodied: embodied.Embodied | None = None
    movielens: movielens.MovieLens | None = None
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to measure."""
        return self.pahf is None and self.embodied is None and self.movielens is None


@dataclass(frozen=True, slots=True)
class Options:
    """How to measure.

    Attributes:
        seeds: orders of the learning scenarios; draws of films, ties and queries.
        resamples: of the bootstrap.
        cache: where embeddings are kept.
        check: also run PAHF shopping through the real retriever.
        film_users: evaluate at most so many MovieLens users.
    """

    seeds: int
    resamples: int
    cache: Path
    check: bool = False
    film_users: int | None = None


def read(folder: Path | None) -> Found:
    """The data sets in a folder; by default what comes with the repository, which is PAHF shopping.

    Raises:
        ValueError: a file is not what it should be.
    """
    found = Found()
    try:
        found.pahf = pahf.load(pahf.BUNDLED if folder is None else folder)
        if not found.pahf.scenarios:
            found.pahf, found.absent["pahf"] = None, "no PAHF shopping data: the files hold no scenario"
    except FileNotFoundError as error:
        found.absent["pahf"] = str(error)
    if folder is None:
        found.absent["embodied"] = "PAHF embodied does not come with the repository; name its folder with --data"
        found.absent["movielens"] = "MovieLens does not come with the repository; name its folder with --data"
        return found
    try:
        found.embodied = embodied.load(folder)
        if not found.embodied.errands:
            found.embodied, found.absent["embodied"] = None, "no PAHF embodied data: the files hold no scenario"
    except FileNotFoundError as error:
        found.absent["embodied"] = str(error)
    try:
        found.movielens = movielens.load(folder)
        if not found.movielens.thumbs:
            found.movielens, found.absent["movielens"] = None, "no MovieLens data: the files hold no thumb"
    except FileNotFoundError as error:
        found.absent["movielens"] = str(error)
    return found


def measured(found: Found, embeddings: Embeddings, options: Options, progress: Progress) -> dict[str, Any]:
    """Measure what there is; gives the document without its head."""
    document: dict[str, Any] = {"pahf": None, "embodied": None, "movielens": None, "check": None}
    if found.pahf is not None:
        document |= _shopping(found.pahf, embeddings, options, progress)
    if found.embodied is not None:
        document["embodied"] = _embodied(found.embodied, embeddings, options, progress)
    if found.movielens is not None:
        document["movielens"] = _films(found.movielens, embeddings, options, progress)
    return document


def _shopping(data: pahf.Pahf, embeddings: Embeddings, options: Options, progress: Progress) -> dict[str, Any]:
    texts = [option.text for option in data.catalogue]
    requests = list(dict.fromkeys(scenario.task for scenario in data.scenarios))
    rows = _unit(cache.embedded(texts, embeddings, options.cache, progress, "the catalogue"))
    asked = _unit(cache.embedded(requests, embeddings, options.cache, progress, "the requests", queries=True))
    vectors, tasks = dict(zip(texts, rows, strict=True)), dict(zip(requests, asked, strict=True))
    users = shoppers(data, vectors, tasks)
    rules, fitted = rules_for(users, rows)
    say = partial(sayings, data)
    asked_by = {
        user.name: {phase: np.array([tasks[one.task] for one in data.of(user.name, phase)]) for phase in PHASES}
        for user in users
    }
    rules = (*rules, *_talkers(say, asked_by, rows, embeddings, options, progress))
    settings = [Setting(name, f"protocol {name}: {title}", name, users, rules) for name, title in PROTOCOLS.items()]
    document: dict[str, Any] = {
        "pahf": choices(
            settings,
            fitted,
            seeds=options.seeds,
            resamples=options.resamples,
            progress=progress,
            what="PAHF shopping",
            measure="acceptance of the option offered, where one or two of the three are acceptable",
        )
    }
    ours = next(rule for rule in rules if rule.id == OURS)
    elsewhere = _unit(cache.embedded(ELSEWHERE, embeddings, options.cache, progress, "other topics", queries=True))
    asking, right = (
        _unit(cache.embedded(list(some), embeddings, options.cache, progress, "one right answer", queries=queries))
        for some, queries in ((ANSWERS, True), (ANSWERS.values(), False))
    )
    spoken = texts_of(say, [user.name for user in users], options.seeds)
    told = _unit(cache.embedded(spoken, embeddings, options.cache, progress, "what users state"))
    document["pahf"]["parts"].append(
        kept_part(
            data,
            users,
            ours,
            rows,
            tasks,
            elsewhere,
            (asking, right),
            dict(zip(spoken, told, strict=True)),
            seeds=options.seeds,
            resamples=options.resamples,
        )
    )
    if options.check:
        from benchmarks.check import compare  # brings Chroma along

        known = cache.Known(vectors, tasks, cache.model_name(embeddings))
        document["check"] = compare(data, known, users, rules, progress)
    return document


def _embodied(data: embodied.Embodied, embeddings: Embeddings, options: Options, progress: Progress) -> dict[str, Any]:
    requests = list(dict.fromkeys(errand.request for errand in data.errands))
    asked = _unit(cache.embedded(requests, embeddings, options.cache, progress, "the errands", queries=True))
    settings, first = [], None
    for kind, title in embodied.TEXTS.items():
        texts = list(dict.fromkeys(text for errand in data.errands for text in errand.texts(kind)))
        rows = _unit(cache.embedded(texts, embeddings, options.cache, progress, "the objects"))
        vectors, tasks = dict(zip(texts, rows, strict=True)), dict(zip(requests, asked, strict=True))
        users = embodied.actors(data, kind, vectors, tasks)
        rules, fitted = rules_for(users, rows)
        asked_by = {
            user.name: {
                phase: np.array([tasks[one.request] for one in data.of(user.name, phase)]).reshape(-1, rows.shape[1])
                for phase in PHASES
            }
            for user in users
        }
        rules = (*rules, *_talkers(partial(household_sayings, data), asked_by, rows, embeddings, options, progress))
        first = first or fitted
        settings += [
            Setting(f"{kind}_{name}", f"{title}; protocol {name}: {one}", name, users, rules)
            for name, one in PROTOCOLS.items()
        ]
    assert first is not None
    document = choices(
        settings,
        first,
        seeds=options.seeds,
        resamples=options.resamples,
        progress=progress,
        what="PAHF embodied",
        measure="share of errands in which the option offered is the one that the user wants",
    )
    return document | {"without_options": data.left_out, "without_answer": data.unanswered}


def _films(data: movielens.MovieLens, embeddings: Embeddings, options: Options, progress: Progress) -> dict[str, Any]:
    rows = _unit(cache.embedded(data.texts, embeddings, options.cache, progress, "the films")).astype(np.float32)
    topics = topics_of(data)
    asked = None
    if topics.queries:
        queries: Sequence[str] = topics.queries
        asked_rows = _unit(cache.embedded(queries, embeddings, options.cache, progress, "the queries", queries=True))
        relevance = (asked_rows @ rows.T.astype(np.float64)).astype(np.float32)
        asked = Asked(topics, relevance, np.std(asked_rows @ sampled(rows).T, axis=1, keepdims=True))
    return measure_films(
        Watched(data, rows, asked),
        seeds=options.seeds,
        resamples=options.resamples,
        progress=progress,
        most=options.film_users,
    )


def _talkers(
    say: Callable[[str, float, int], Said],
    asked: dict[str, dict[int, Any]],
    background: Any,
    embeddings: Embeddings,
    options: Options,
    progress: Progress,
) -> tuple[Contender, ...]:
    """The rules that hear words, with what is said embedded."""
    texts = texts_of(say, list(asked), options.seeds)
    rows = _unit(cache.embedded(texts, embeddings, options.cache, progress, "what users state"))
    return talkers(say, dict(zip(texts, rows, strict=True)), asked, sampled(background))


def _unit(rows: cache.Rows) -> Any:
    """Unit length, double precision."""
    wide = rows.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)
