"""Erase what a user asks to forget: texts, vectors, and what the erased cards had replaced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from langchain_persona.cards import Cards
from langchain_persona.effects import Steps
from langchain_persona.identity import ANONYMOUS
from langchain_persona.reconciliation.changes import messages_of
from langchain_persona.reconciliation.reading import Reading, read
from langchain_persona.reconciliation.relations import SAME, about, nearly
from langchain_persona.records import PreferenceCard
from langchain_persona.signals.forgetting import ForgetRequest

__all__ = ["forget_matching"]


def forget_matching(
    cards: Cards, user: str, request: ForgetRequest, recent: Sequence[str]
) -> Steps[list[PreferenceCard]]:
    """Erase the cards that a forget request means, and all that they replaced: those texts tell it too.

    Args:
        cards: the card store.
        user: whose; nothing is done for the anonymous user.
        request: "last" means cards seen in one of the `recent` messages; "matching" and "this" mean cards that speak of
            `what`, whether for or against it; "everything" means every card, pinned ones too.
        recent: ids of messages.

    Returns:
        The erased cards as they were, oldest first. Erasing again what a failure left is the same call.
    """
    if user == ANONYMOUS:
        return []
    if request.scope == "everything":
        chosen = yield from cards.all(user)
    elif request.scope == "last":
        said = frozenset(recent)
        chosen = [card for card in (yield from cards.all(user)) if messages_of(card) & said] if said else []
    else:
        chosen = yield from _matching(cards, user, request.what)
    return (yield from cards.erase(user, [card.id for card in chosen]))


def _matching(cards: Cards, user: str, what: str) -> Steps[list[PreferenceCard]]:
    """Cards, in force or not, that speak of something."""
    wanted = read(what)
    if not wanted.text:
        return []
    matrix = yield from cards.matrix(user)
    found = [card for card in (*matrix.cards, *matrix.rest) if _says(card, wanted)]
    if not found and matrix.cards and not wanted.chinese:
        # no card has its words: only what is all but the same text is meant
        (row,) = yield from cards.embed([what])
        cosines = np.einsum("nd,d->n", matrix.vectors, row)
        near = [card for card, cosine in zip(matrix.cards, cosines, strict=True) if cosine >= SAME]
        found = [card for card in near if nearly(read(card.note), wanted, 1.0)]
    return found


def _says(card: PreferenceCard, wanted: Reading) -> bool:
    reading = read(card.note)
    if about(reading, wanted):
        return True
    topic = read(card.topic or "")
    return bool(topic.text) and topic.text == wanted.text
