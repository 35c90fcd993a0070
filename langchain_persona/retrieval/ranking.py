"""One retrieval: `Taste` (what is known of the user) → `Plan` → `Candidates` (found) → `Ranking` → documents."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from langchain_core.documents import Document

from langchain_persona.errors import ConfigError
from langchain_persona.identity import Identity
from langchain_persona.learning import MIN_SAMPLE, BonusVectors, Heard, Statements, Words, moderation, policy, scale_of
from langchain_persona.learning.arrays import HALF, Vector, deviation, dots, encode_vectors, unit
from langchain_persona.memory import PersonaMemory
from langchain_persona.resilience import warn, warn_of
from langchain_persona.retrieval.sources import Candidates, Source

logger = logging.getLogger(__name__)

MOST_CARDS = 3
"""Cards that a document names."""


@dataclass(frozen=True, slots=True, eq=False)
class Taste:
    """What a ranking may use of its user: the bonus at strength 1, before the cap, or None.

    `statements` may act on a query, and `heard` is what they say about this one.
    `abstained` says why the ranking is plain although there is a user. Where the user is anonymous or could not be
    read, `readable` is False, and nothing is recorded either.
    """

    bonus: BonusVectors | None = None
    abstained: str | None = None
    readable: bool = True
    statements: Statements | None = None
    heard: Heard | None = None

    def with_words(self, query: Vector, words: Words) -> Taste:
        """The same with what the user stated about a query of shape (d,) in the bonus."""
        said = self.statements
        if said is None or not words.weight or said.vectors.shape[1] != query.size:
            return self
        heard = said.about(query, words, time.time())
        if heard is None:
            return self
        nothing = np.zeros(query.size)
        bonus = replace(self.bonus or BonusVectors(nothing, nothing, nothing), words=heard.vector)
        return replace(self, bonus=bonus, abstained=None, heard=heard)

    def moderated(self, query: Vector, rows: Vector, share: float) -> Taste:
        """The same with a bonus that varies at most a share of what relevance to the query, shape (d,), varies.

        Both over unit vectors of a sample of documents, shape (n, d). Too small a sample moderates nothing.
        """
        if self.bonus is None or len(rows) < MIN_SAMPLE or rows.shape[1] != query.size:
            return self
        relevance, bonus = deviation(dots(rows, unit(query))), deviation(dots(rows, self.bonus.total))
        return replace(self, bonus=self.bonus.times(moderation(relevance, bonus, share)))


def read_taste(memory: PersonaMemory, identity: Identity, model: str, dimension: int) -> Taste:
    """What is known of a user under one embedding model; nothing, with one WARNING, where it cannot be read."""
    if identity.anonymous:
        return Taste(readable=False)
    config = memory.config
    try:
        user = memory.user_vectors(identity.user, identity.session, model, dimension)
        bonus = user.uncapped
    except ConfigError:
        raise
    except Exception as error:
        warn_of(logger, "Plain ranking: what is known of the user could not be read", error)
        return Taste(readable=False)
    said = user.statements if config.spread else None
    if said is not None and said.embedding != model:
        _tell_other_model(said.embedding, model)
        said = None
    if user.count < config.min_feedback:
        return Taste(abstained="thin evidence", statements=said)
    return Taste(bonus if config.spread and bonus.total.any() else None, statements=said)


@cache
def _tell_other_model(cards: str, documents: str) -> None:
    text = "Likes and dislikes do not act on rankings: cards are embedded by %s, documents by %s; give both one model"
    warn(logger, text, cards, documents)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One retrieval: what is asked and where, see `VARSRetriever`; and once the query is embedded, what moves it.

    `vector`, shape (d,), is the query as the model gave it. `bonus` is moderated, capped, at the strength asked for.
    """

    query: str
    source: Source
    identity: Identity
    k: int
    fetch_k: int
    filter: Any
    strength: float
    max_bonus: float
    words: Words = field(default_factory=Words)
    vector: Vector = field(default_factory=lambda: np.zeros(0))
    taste: Taste = Taste()
    model: str = ""
    bonus: BonusVectors | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Scores and choice of one retrieval. Positions are those of the candidates; scores have shape (n,).

    Attributes:
        base: relevance, or the reranker's scores.
        long, short, words: the parts of the bonus, on the same scale.
        order, chosen: all positions, best first; and those to return.
        scale: what one unit of cosine is worth on the scale of the scores; 0 leaves the bonus out of play.
        logged: what an experiment keeps of it, as JSON.
    """

    candidates: Candidates
    base: Vector
    long: Vector
    short: Vector
    words: Vector
    order: Sequence[int]
    chosen: Sequence[int]
    scale: float = 1.0
    logged: dict[str, Any] | None = None

    @property
    def bonus(self) -> Vector:
        """All parts of the bonus."""
        return self.long + self.short + self.words

    @property
    def total(self) -> Vector:
        """The scores by which it is ranked."""
        return self.base + self.long + self.short + self.words


def rank(plan: Plan, found: Candidates, reranked: Vector | None, lambda_mult: float | None) -> Ranking:
    """Scores of the candidates and the choice: by a reranker's scores, shape (n,), by MMR, or plain."""
    base = found.relevance if reranked is None else reranked
    scale = 1.0 if reranked is None else scale_of(reranked, found.relevance)
    long = short = words = np.zeros(len(found))
    if plan.bonus is not None and found.measured:
        long, short, words = (part * scale for part in plan.bonus.parts(found.vectors))
    ranking = Ranking(found, base, long, short, words, (), (), scale)
    total = ranking.total
    # with nothing of our own the order is that of the store, whatever the last bits of the scores say
    plain = plan.bonus is None and reranked is None and lambda_mult is None
    order = range(len(found)) if plain else _best_first(total)
    if lambda_mult is None:
        return replace(ranking, order=order, chosen=order[: plan.k])
    # on the scale of cosines, whatever a reranker's units are
    chosen = mmr_order(total / (scale or 1.0), found.vectors, k=plan.k, lambda_mult=lambda_mult)
    return replace(ranking, order=order, chosen=chosen)


def _best_first(scores: Vector) -> list[int]:
    """Positions, best first; ties keep the order of the source."""
    positions: list[int] = np.argsort(-scores, kind="stable").tolist()
    return positions


def write_record(memory: PersonaMemory, plan: Plan, ranking: Ranking) -> str | None:
    """Keep what a later feedback needs to know; returns its id, or None with one WARNING where it was not written."""
    found, order, chosen = ranking.candidates, list(ranking.order), list(ranking.chosen)
    total, now = ranking.total, time.time()
    name = memory.ledger.new_retrieval_id(now)
    try:
        # on the scale of the scores, so that what is learned does not depend on a reranker's units either
        probabilities = policy(total / (ranking.scale or 1.0), memory.config.temperature)
        record = {  # a `Retrieval` as JSON; of our own numbers, so there is nothing to validate
            "id": name,
            "session": plan.identity.session,
            "time": now,
            "expires": now + memory.ledger.retrieval_ttl_seconds,
            "embedding": plan.model,
            "dimension": found.vectors.shape[1],
            "candidates": [found.ids[place] for place in order],
            "base": found.relevance[order].tolist(),
            "scores": total[order].tolist(),
            "chosen": [found.ids[place] for place in chosen],
            # a card's text is the user's own: it must not outlive the card
            "titles": [] if plan.source.name == "cards" else [found.texts[i][:80] for i in chosen],
            "chosen_vectors": encode_vectors(found.vectors[chosen], HALF),
            "expected": encode_vectors(np.einsum("n,nd->d", probabilities, found.vectors)),
            "logged": ranking.logged,
        }
        memory.ledger.save_retrieval(plan.identity.user, name, record)
        return name
    except Exception as error:
        warn_of(logger, "This retrieval cannot be given feedback: its record was not written", error)
        return None


def documents_of(ranking: Ranking, retrieval_id: str | None, plan: Plan) -> list[Document]:
    """The chosen documents; each says why it stands where it stands."""
    ranks = {place: rank for rank, place in enumerate(_best_first(ranking.base), start=1)}
    base, long, short = ranking.base.tolist(), ranking.long.tolist(), ranking.short.tolist()
    words, cards = ranking.words.tolist(), _loudest_cards(ranking, plan)
    documents = []
    for rank, place in enumerate(ranking.chosen, start=1):
        parts = {"base": base[place], "long": long[place], "short": short[place], "words": words[place]}
        why: dict[str, Any] = {"retrieval_id": retrieval_id, "rank": rank, "candidate_rank": ranks[place]}
        why |= {"score": sum(parts.values()), **parts, "cards": cards[rank - 1], "abstained": plan.taste.abstained}
        documents.append(ranking.candidates.document(place, persona=why))
    return documents


def _loudest_cards(ranking: Ranking, plan: Plan) -> list[list[dict[str, Any]]]:
    """Of each chosen document the cards that speak loudest on this query, and what each adds to the score."""
    heard, bonus = plan.taste.heard, plan.bonus
    if heard is None or bonus is None or bonus.words is None or not ranking.candidates.measured:
        return [[] for _ in ranking.chosen]
    rows = ranking.candidates.vectors[list(ranking.chosen)] - bonus.mean
    places, shares = heard.shares(rows, MOST_CARDS)
    # moderated and capped like the whole
    shares = shares * ranking.scale * float(np.linalg.norm(bonus.words) / (np.linalg.norm(heard.vector) or 1.0))
    said = [(heard.statements.ids[place], heard.statements.texts[place]) for place in places]
    return [
        sorted(
            ({"id": name, "text": text, "share": share} for (name, text), share in zip(said, some, strict=True)),
            key=lambda card: -abs(float(card["share"])),
        )
        for some in shares.tolist()
    ]


def mmr_order(scores: Vector, vectors: Vector, *, k: int, lambda_mult: float) -> list[int]:
    """Maximal marginal relevance (Carbonell and Goldstein, 1998): positions of `k` candidates, best first.

    Each step takes the candidate with the largest `λ · score − (1 − λ) · max cos(candidate, taken)`.
    """
    taken: list[int] = []
    closest = np.full(len(scores), -np.inf)
    while len(taken) < min(k, len(scores)):
        penalty = np.where(np.isfinite(closest), closest, 0.0)
        value = lambda_mult * scores - (1.0 - lambda_mult) * penalty
        value[taken] = -np.inf
        taken.append(int(np.argmax(value)))
        closest = np.maximum(closest, dots(vectors, vectors[taken[-1]]))
    return taken
