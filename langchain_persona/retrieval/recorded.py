"""What is kept of a retrieval for later feedback and evaluation, and what each document says about its place."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from langchain_core.documents import Document

from langchain_persona.arrays import HALF, Vector, encode_vectors
from langchain_persona.learning import list_log_probability, policy
from langchain_persona.memory import PersonaMemory
from langchain_persona.ranking import Pool, Scored
from langchain_persona.records import Logged, Retrieval, new_id
from langchain_persona.retrieval.request import Request
from langchain_persona.retrieval.taste import Taste

__all__ = ["Ranking", "documents_of", "record_of"]

_MOST = 6e4  # float16 ends at 65,504


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Candidates, scores and choice of one retrieval. Positions are those of the pool.

    Attributes:
        pool: the candidates.
        personal: their personalised scores.
        shown: the scores by which was chosen: `personal`, or in shadow mode the plain ones.
        chosen: positions to return, in order.
        among: how many of the first candidates could be chosen: all, or in shadow mode the plain ones.
        scale: what one unit of cosine is worth on the scale of the scores; 0 leaves the bonus out of play.
        drawn: the choice was drawn; False when the best were taken.
        would: positions that would have been returned; None outside shadow mode.
    """

    pool: Pool
    personal: Scored
    shown: Scored
    chosen: tuple[int, ...]
    among: int
    scale: float = 1.0
    drawn: bool = False
    would: tuple[int, ...] | None = None


def record_of(memory: PersonaMemory, request: Request, model: str, taste: Taste, ranking: Ranking) -> Retrieval:
    """What a later feedback needs to know."""
    pool, shown = ranking.pool, ranking.shown
    order = np.asarray(shown.order())
    # on the scale of the scores, so that what is learned does not hang on a reranker's units either
    probabilities = policy(shown.total / (ranking.scale or 1.0), memory.config.temperature)
    now, who = time.time(), request.identity
    logged = _logged(request, taste, ranking, order)
    return Retrieval(
        id=new_id(),
        session=who.session,
        time=now,
        expires=now + memory.retrievals.ttl_seconds,
        embedding=model,
        dimension=pool.embeddings.shape[1],
        candidates=tuple(pool.ids[i] for i in order),
        base=tuple(shown.base[order].tolist()),
        scores=tuple(shown.total[order].tolist()),
        probabilities=tuple(probabilities[order].tolist()),
        chosen=tuple(pool.ids[i] for i in ranking.chosen),
        chosen_vectors=encode_vectors(pool.embeddings[list(ranking.chosen)], HALF),
        expected=encode_vectors(np.einsum("n,nd->d", probabilities, pool.embeddings)),
        logged=None if logged is None else logged.to_json(),
    )


def _logged(request: Request, taste: Taste, ranking: Ranking, order: Vector) -> Logged | None:
    """What an evaluation needs; None where what is shown is not a matter of the scores alone (MMR, a floor)."""
    if request.lambda_mult is not None or request.min_relevance is not None:
        return None
    places = {int(i): place for place, i in enumerate(order)}
    shown = tuple(places[i] for i in ranking.chosen)
    would = () if ranking.would is None else tuple(places[i] for i in ranking.would)
    logged = Logged(shown=shown, strength=request.strength, shadow=ranking.would is not None, would=would)
    if taste.bonus is None or ranking.scale == 0.0:
        return logged  # every strength shows the same
    base, personal = ranking.personal.base[order], ranking.personal
    shrink = taste.bonus.shrink(request.max_bonus)
    factor = request.strength * shrink
    if factor > 0.0:
        bonus = (personal.long + personal.short)[order] / (factor * ranking.scale)
    else:  # off: what it would have been
        bonus = np.add(*taste.bonus.parts(ranking.pool.embeddings[order]))
    more: dict[str, object] = {
        "base": encode_vectors(np.clip((base - base.max()) / ranking.scale, -_MOST, _MOST), HALF),
        "bonus": encode_vectors(np.clip(bonus, -_MOST, _MOST), HALF),
        "shrink": shrink,
    }
    if ranking.drawn:
        logits = ranking.personal.total[order] / (request.explore * ranking.scale)
        chance = round(list_log_probability(logits, shown), 4)
        more |= {"explore": request.explore, "log_propensity": chance}
    return logged.model_copy(update=more)


def documents_of(ranking: Ranking, retrieval_id: str | None, abstained: str | None) -> list[Document]:
    """The chosen documents; each says why it stands where it stands."""
    shown = ranking.shown
    base_ranks = Scored(*(part[: ranking.among] for part in (shown.base, shown.long, shown.short))).base_ranks()
    shadow_order = [] if ranking.would is None else ranking.personal.order()
    documents = []
    for rank, i in enumerate(ranking.chosen, start=1):
        base, long, short = float(shown.base[i]), float(shown.long[i]), float(shown.short[i])
        why: dict[str, object] = {
            "retrieval_id": retrieval_id,
            "rank": rank,
            "base_rank": int(base_ranks[i]),
            "score": base + long + short,
            "base": base,
            "long": long,
            "short": short,
            "abstained": abstained,
        }
        if ranking.would is not None:
            why["shadow_rank"] = shadow_order.index(i) + 1
        documents.append(ranking.pool.document(i, persona=why))
    return documents
