"""What one may ask a film adviser for: the genres and the most used tags of MovieLens, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.learners import Ids
from benchmarks.movielens import MovieLens

__all__ = ["Topics", "rated_topics", "topics_of"]

TAGS = 20
"""The most used tags that become queries."""

LEAST = 3
"""A tag needs so many films; a genre at least one."""

_WORDED = {
    "sci-fi": "a science fiction film",
    "film-noir": "a film noir",
    "children": "a children's film",
    "imax": "an IMAX film",
}

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Topics:
    """Queries, and the films that are on topic.

    Attributes:
        names: genre or tag, in small letters.
        queries: what is asked, as a person would write it.
        on: whether a film has the genre or the tag, shape (topics, films).
    """

    names: tuple[str, ...]
    queries: tuple[str, ...]
    on: Flags

    def pick(self, allowed: Flags, rng: np.random.Generator, most: int) -> list[int]:
        """At most so many of the allowed topics, drawn at random, in the order of the data; `allowed` is (topics,)."""
        places = np.flatnonzero(allowed)
        return sorted(int(place) for place in rng.permutation(places)[:most])


def topics_of(data: MovieLens) -> Topics:
    """The genres, and the most used tags that are not called like a genre.

    Small and capital letters are one. A tag's use is the number of films that bear it; of equals the first in the
    alphabet.
    """
    genres = [tuple(genre.lower() for genre in some) for some in data.genres]
    tags = [tuple(dict.fromkeys(tag.strip().lower() for tag in some)) for some in data.tags]
    kinds = sorted({genre for some in genres for genre in some})
    uses = Counter(tag for some in tags for tag in some if tag and tag not in kinds)
    often = sorted((tag for tag, count in uses.items() if count >= LEAST), key=lambda tag: (-uses[tag], tag))[:TAGS]
    bearers = [frozenset(some) for some in genres], [frozenset(some) for some in tags]
    # a film tagged "horror" is a horror film, whatever its genres say
    rows = [[kind in one or kind in other for one, other in zip(*bearers, strict=True)] for kind in kinds]
    rows += [[tag in some for some in bearers[1]] for tag in often]
    on = np.array(rows, dtype=bool).reshape(len(kinds) + len(often), len(data.texts))
    return Topics((*kinds, *often), (*map(_asked_genre, kinds), *map(_asked_tag, often)), on)


def _asked_genre(genre: str) -> str:
    return _WORDED.get(genre) or f"{_article(genre)} {genre} film"


def _asked_tag(tag: str) -> str:
    return f"{tag} films"


def _article(word: str) -> str:
    return "an" if word[:1] in "aeiou" else "a"


def rated_topics(topics: Topics, films: Sequence[int] | Ids) -> Flags:
    """Which topics any of these films is on, shape (topics,)."""
    found: Flags = np.any(topics.on[:, np.asarray(films, dtype=np.intp)], axis=1, keepdims=True)[:, 0]
    return found
