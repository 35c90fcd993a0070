"""What a user stated acts on the ranking: likes and dislikes as ratings of their own texts, read for one query.

`z_w(q) = argmin Σ s_i (y_i − ⟨z, x_i⟩)² + ridge · ‖z‖²`, and the bonus gains `weight · ⟨z_w(q), e⟩`: linear in the
document's embedding `e`, so it folds into the query like the user's vector.

- `y_i` is 1 for a like and −1 for a dislike; `x_i = c_i − ⟨c_i, q⟩ q` is what sets the statement `c_i` apart from what
  was asked. How well a document answers is left to relevance.
- `s_i = w_i · exp(T (⟨c_i, q⟩ − max)) · clip((⟨c_i, q⟩ − silent) / (heard − silent), 0, 1)`: a statement counts the
  more, the nearer it is to the query, and not at all below `silent`. A card about food says nothing about trains.
- `w_i` is the card's confidence times its age's share; and it fades, from a cosine of .6 on and wholly at .9, where a
  newer statement near to it, and as sure, says the opposite ("I love horror films", then "I hate horror films").

The regression shares out what several statements have in common, so repeating one a thousand times makes it no louder
than certain, and a like and a dislike of the same thing, stated at once, cancel.

Source: locally weighted regression (Cleveland, 1979) in its dual form. What else was tried stands in
`benchmarks/README.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from langchain_persona.errors import ConfigError
from langchain_persona.learning.arrays import Vector, dots, gram, solve, unit
from langchain_persona.learning.rules import require

DAY_SECONDS = 86_400.0

_NEAR, _SAME = 0.6, 0.9
"""Cosines from which a newer statement of the opposite silences an older one, in part and wholly. With MiniLM "I love
coffee" and "I can't stand coffee anymore" have .69, "I like jazz" and "I don't like jazz" .88; "I love Italian food"
and "I hate Indian food" .44."""


@dataclass(frozen=True, slots=True)
class Words:
    """How strongly stated likes and dislikes act. A knob outside its range is a `ConfigError`.

    Attributes:
        weight: what a stated like is worth, in units of the base score (cosine), before the cap; 0 is off.
        temperature: `T`, how much louder a statement nearer to the query is.
        ridge: how far few statements are trusted.
        silent, heard: cosines between statement and query: below the first it does not count, above the second fully.
            They suit models whose unrelated texts lie near 0, such as MiniLM; raise them for others.
        most: statements that act on one query, the nearest ones.
        half_life_days: after so long without a change a card counts half; a pinned one does not age.
    """

    weight: float = 1.0
    temperature: float = 8.0
    ridge: float = 0.3
    silent: float = 0.2
    heard: float = 0.3
    most: int = 24
    half_life_days: float = 365.0

    def __post_init__(self) -> None:
        numbers = {"weight": (0.0, 10.0), "temperature": (0.0, 100.0), "ridge": (1e-6, 1e6), "half_life_days": (1, 1e6)}
        floats = {name: (float(low), float(high)) for name, (low, high) in numbers.items()}
        require(self, {**floats, "silent": (-1.0, 1.0), "heard": (-1.0, 2.0), "most": (1, 1_000)})
        if self.heard <= self.silent:
            raise ConfigError(f"Words.heard must be above silent, got {self.heard} and {self.silent}")


@dataclass(frozen=True, slots=True, eq=False)
class Statements:
    """A user's likes and dislikes as arrays.

    Attributes:
        vectors: unit embeddings, shape (n, d), float32: a thousand cards are read in a tenth of a millisecond.
        signs: 1 for a like, −1 for a dislike, shape (n,).
        confidence: in [0, 1], shape (n,).
        since: when each was last changed, seconds since the epoch, shape (n,); infinity for what does not age.
        ids, texts: of the cards.
        embedding: name of the model that made the vectors.
    """

    vectors: npt.NDArray[np.float32] = field(repr=False)
    signs: Vector = field(repr=False)
    confidence: Vector = field(repr=False)
    since: Vector = field(repr=False)
    ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = field(default=(), repr=False)
    embedding: str = ""

    def about(self, query: Vector, words: Words, now: float) -> Heard | None:
        """What the user stated about a query of shape (d,); None where nothing is near enough.

        Example:
            >>> one = np.ones(1)
            >>> said = Statements(np.array([[0.6, 0.8]], dtype=np.float32), one, one, one * np.inf)
            >>> said.about(np.array([1.0, 0.0]), Words(), now=0.0).vector.round(2).tolist()
            [0.0, 0.85]
        """
        asked = unit(query)
        # row by row, so that BLAS starts no threads, and in single precision: it is on the way of every retrieval
        near = (self.vectors[:, None] @ asked.astype(np.float32))[:, 0]
        (acting,) = np.nonzero(near > words.silent)
        if not len(acting) or not words.weight:
            return None
        if len(acting) > words.most:
            acting = acting[np.argpartition(-near[acting], words.most)[: words.most]]
        rows, cosines = self.vectors[acting].astype(np.float64), near[acting].astype(np.float64)
        ages = np.maximum(now - self.since[acting], 0.0) / (words.half_life_days * DAY_SECONDS)
        counts = self.confidence[acting] * 0.5**ages
        counts *= np.exp(words.temperature * (cosines - max(cosines.max(), words.heard)))
        counts *= np.minimum((cosines - words.silent) / (words.heard - words.silent), 1.0)
        alike, signs, since = gram(rows), self.signs[acting], self.since[acting]
        denied = (signs[:, None] != signs) & (since[:, None] < since)
        sure = np.minimum(self.confidence[acting] / np.maximum(self.confidence[acting][:, None], 1e-9), 1.0)
        counts *= 1.0 - np.max(np.clip((alike - _NEAR) / (_SAME - _NEAR), 0.0, 1.0) * sure * denied, axis=1)
        roots = np.sqrt(counts)
        apart = (alike - np.outer(cosines, cosines)) * np.outer(roots, roots)
        apart.flat[:: len(acting) + 1] += words.ridge
        factors = words.weight * roots * solve(apart, (roots * signs)[:, None])[:, 0]
        vector = np.einsum("nd,n->d", rows, factors) - float(factors @ cosines) * asked
        return Heard(vector, asked, acting, factors, self)


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What the user stated about one query.

    Attributes:
        vector: `weight · z_w(q)`, shape (d,).
        query: the unit query, shape (d,).
        places, factors: the statements that act, and what each counts; shape (a,).
        statements: all of the user's.
    """

    vector: Vector = field(repr=False)
    query: Vector = field(repr=False)
    places: npt.NDArray[np.intp] = field(repr=False)
    factors: Vector = field(repr=False)
    statements: Statements

    def shares(self, embeddings: Vector, most: int) -> tuple[npt.NDArray[np.intp], Vector]:
        """The `most` loudest statements, and what each adds to embeddings of shape (n, d): shape (n, most).

        Over all statements the shares sum up to `⟨vector, e⟩`.
        """
        loudest = np.argsort(-np.abs(self.factors), kind="stable")[:most]
        places, factors = self.places[loudest], self.factors[loudest]
        rows = self.statements.vectors[places].astype(np.float64)
        rows -= np.outer(dots(rows, self.query), self.query)
        return places, np.einsum("nd,ad->na", embeddings, rows * factors[:, None])
