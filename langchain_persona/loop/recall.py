"""The retrieve node's work: the cards and documents that this message calls for, with one embedding of it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.documents import Document

from langchain_persona.card_candidates import CardCandidates
from langchain_persona.cards import CardMatrix
from langchain_persona.effects import Embed, Steps
from langchain_persona.identity import Identity, embedding_name
from langchain_persona.memory import PersonaMemory
from langchain_persona.records import PreferenceCard
from langchain_persona.retrieval import Request, retrieve
from langchain_persona.retriever import VARSRetriever
from langchain_persona.trouble import survived

__all__ = ["Recalled", "recall"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the model is to see beside the conversation.

    Attributes:
        always: global cards, oldest first.
        relevant: documents made of the conditional cards that the message calls for, best first.
        documents: of the host's retriever, best first.
        retrievals: ids of the retrievals by kind, for feedback: "cards", "documents".
        outdated: ids of cards that the persona rests on and that say so no longer.
    """

    always: tuple[PreferenceCard, ...] = ()
    relevant: tuple[Document, ...] = ()
    documents: tuple[Document, ...] = ()
    retrievals: dict[str, str] = field(default_factory=dict)
    outdated: frozenset[str] = frozenset()


def recall(
    memory: PersonaMemory,
    who: Identity,
    message: str,
    *,
    retriever: VARSRetriever | None = None,
    max_cards: int = 5,
    max_always: int = 10,
    min_relevance: float = 0.25,
    max_bonus: float | None = None,
    strength: float | None = None,
    carried: Collection[str] = (),
    since: float = 0.0,
) -> Steps[Recalled]:
    """Cards and documents for a message.

    Args:
        memory: the user's.
        who: the user; an anonymous one gets documents in the plain order, and no cards.
        message: what to look for.
        retriever: the host's documents; its `objective` tells for the cards too what is no matter of taste.
        max_cards: conditional cards at most.
        max_always: global cards at most, the most certain and newest first.
        min_relevance: cosine below which a conditional card stays out.
        max_bonus: cap on the bonus of cards and documents; by default the memory's and the retriever's.
        strength: factor on the bonus of cards and documents; by default the memory's and the retriever's.
        carried: ids of the cards that the persona rests on.
        since: when the persona was written, in seconds since the epoch.
    """
    cards = memory.cards
    always: tuple[PreferenceCard, ...] = ()
    conditional = False
    outdated: frozenset[str] = frozenset()
    if not who.anonymous:
        told = "This turn has no preference cards: they could not be read"
        matrix = yield from survived(logger, told, cards.matrix(who.user), None)
        if matrix is not None:
            always = _always(matrix.cards, max_always)
            outdated = _outdated(matrix, carried, since)
            conditional = max_cards > 0 and any(not card.always for card in matrix.cards)
    embedded: Sequence[float] | None = None
    if conditional and message.strip():
        told = "This turn has no preference cards: the message could not be embedded"
        embedded = yield from survived(logger, told, _embedded(cards.embeddings, message), None)
    relevant: list[Document] = []
    if embedded is not None:
        request = Request(
            identity=who,
            k=max_cards,
            fetch_k=None,
            where={"always": False},
            max_bonus=memory.config.max_bonus if max_bonus is None else max_bonus,
            strength=memory.config.strength if strength is None else strength,
            min_relevance=min_relevance,
            objective=None if retriever is None else retriever.objective,
        )
        steps = retrieve(message, CardCandidates(cards), memory, request, embedded)
        relevant = yield from survived(logger, "This turn has no conditional preference cards", steps, [])
    documents: list[Document] = []
    if retriever is not None and message.strip():
        shared = embedded if _same_model(retriever, cards.embeddings, embedded) else None
        steps = retriever.steps(message, who, embedded=shared, strength=strength, max_bonus=max_bonus)
        documents = yield from survived(logger, "This turn has no documents: they could not be retrieved", steps, [])
    retrievals = {
        kind: found[0].metadata["persona"]["retrieval_id"]
        for kind, found in (("cards", relevant), ("documents", documents))
        if found and found[0].metadata["persona"]["retrieval_id"]
    }
    return Recalled(always, tuple(relevant), tuple(documents), retrievals, outdated)


def _always(cards: Sequence[PreferenceCard], limit: int) -> tuple[PreferenceCard, ...]:
    """The global cards to show: the most certain and newest, in the order in which they were made."""
    found = [card for card in cards if card.always]
    if len(found) > limit:
        best = sorted(found, key=lambda card: (not card.pinned, -card.confidence, -card.updated))[:limit]
        kept = {card.id for card in best}
        found = [card for card in found if card.id in kept]
    return tuple(found)


def _outdated(matrix: CardMatrix, carried: Collection[str], since: float) -> frozenset[str]:
    """Cards that are no longer active, or that got another text since then: their former text is kept beside them."""
    active = {card.id for card in matrix.cards}
    reworded = {card.superseded_by for card in matrix.rest if card.updated > since}
    return frozenset(name for name in carried if name not in active or name in reworded)


def _embedded(embeddings: Any, message: str) -> Steps[Sequence[float]]:
    (vector,) = yield Embed(embeddings, [message], query=True)
    found: Sequence[float] = vector
    return found


def _same_model(retriever: VARSRetriever, embeddings: Any, embedded: Sequence[float] | None) -> bool:
    """Whether documents and cards are embedded by one model, so that one embedding serves both."""
    if embedded is None:
        return False
    model = retriever.embedding_model
    return model is embeddings or embedding_name(model, len(embedded)) == embedding_name(embeddings, len(embedded))
