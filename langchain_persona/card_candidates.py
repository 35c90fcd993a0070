"""A user's preference cards as a source of documents."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from langchain_persona.arrays import Vector, unit
from langchain_persona.cards import Cards
from langchain_persona.effects import Steps
from langchain_persona.errors import ConfigError, DimensionMismatchError
from langchain_persona.ranking import Pool
from langchain_persona.records import PreferenceCard
from langchain_persona.vectors import BonusVectors

__all__ = ["CardCandidates"]

_NOT_SHOWN = {"note", "evidence", "superseded_by", "held_back"}


class CardCandidates:
    """The preference cards of the user who asks, scored exactly with NumPy."""

    name = "cards"
    place = "cards"

    def __init__(self, cards: Cards) -> None:
        self.cards = cards

    @property
    def embeddings(self) -> Embeddings:
        """The model of the cards."""
        return self.cards.embeddings

    @property
    def depth(self) -> int:
        """No limit: the search is exact."""
        return sys.maxsize

    def fitting(self) -> int | None:
        """None: cards are embedded again where their vectors do not fit."""
        return None

    def stored(self, ids: Sequence[str], *, user: str) -> Steps[Mapping[str, Vector]]:
        """See `StoredVectors`."""
        matrix = yield from self.cards.matrix(user)
        wanted = set(ids)
        return {card.id: row for card, row in zip(matrix.cards, matrix.vectors, strict=True) if card.id in wanted}

    def sample(self, n: int, *, user: str, where: Mapping[str, Any] | None = None) -> Steps[Vector]:
        """See `StoredVectors`."""
        matrix = yield from self.cards.matrix(user)
        rows: Vector = matrix.vectors[_fitting(matrix.cards, where)[:n]]
        return rows

    def search(
        self,
        query: Vector,
        bonus: BonusVectors | None,
        *,
        n: int,
        where: Mapping[str, Any] | None,
        user: str,
    ) -> Steps[Pool]:
        """See `Source.search`; `where` compares fields of the card for equality, such as `{"kind": "avoid"}`."""
        for key, value in (where or {}).items():
            if isinstance(value, Mapping | list):
                raise ConfigError(
                    f"cards are filtered by equality, such as {{'kind': 'avoid'}}; got {key!r}: {value!r}"
                )
        unknown = sorted(set(where or {}) - set(PreferenceCard.model_fields))
        if unknown:
            raise ConfigError(
                f"cards have no field {unknown[0]!r}; filter by one of {sorted(PreferenceCard.model_fields)}"
            )
        matrix = yield from self.cards.matrix(user)
        fits = _fitting(matrix.cards, where)
        if not fits:
            return Pool.empty(query.size)
        rows = matrix.vectors if len(fits) == len(matrix.cards) else matrix.vectors[fits]
        if rows.shape[1] != query.size:
            raise DimensionMismatchError(
                f"the query has {query.size} numbers and the cards have {rows.shape[1]}: one model must make both"
            )
        direction = unit(query)
        folded = direction if bonus is None else bonus.fold(direction)
        # einsum keeps to one thread: BLAS is faster on idle cores and several times slower on busy ones
        order = np.argsort(-np.einsum("nd,d->n", rows, folded), kind="stable")[:n]
        cards = [matrix.cards[fits[position]] for position in order]
        return Pool(
            ids=tuple(card.id for card in cards),
            texts=tuple(card.note for card in cards),
            metadatas=tuple(card.model_dump(mode="json", exclude=_NOT_SHOWN) for card in cards),
            embeddings=rows[order],
            base=np.einsum("nd,d->n", rows[order], direction),
        )


def _fitting(cards: Sequence[PreferenceCard], where: Mapping[str, Any] | None) -> list[int]:
    """Positions of the cards whose fields are equal to those of a filter."""
    wanted = (where or {}).items()
    return [place for place, card in enumerate(cards) if all(getattr(card, key) == value for key, value in wanted)]
