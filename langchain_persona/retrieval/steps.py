"""One personalised retrieval as steps: embed, read the user, fold, search, score exactly, choose, record.

Whatever fails on the way costs the personalisation, not the answer: the plain ranking is returned and one WARNING
logged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from json import JSONDecodeError

import numpy as np
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document

from langchain_persona.arrays import Vector
from langchain_persona.candidates import Source
from langchain_persona.card_candidates import CardCandidates
from langchain_persona.effects import Call, Embed, Steps
from langchain_persona.errors import ConfigError
from langchain_persona.identity import embedding_name
from langchain_persona.learning import gumbel_order, scale_of
from langchain_persona.memory import PersonaMemory
from langchain_persona.ranking import Pool, Scored, mmr_order
from langchain_persona.retrieval.recorded import Ranking, documents_of, record_of
from langchain_persona.retrieval.request import Request, Reranker
from langchain_persona.retrieval.taste import Taste, taste_of
from langchain_persona.trouble import warn
from langchain_persona.vectors import BonusVectors

__all__ = ["retrieve"]

logger = logging.getLogger(__name__)


def retrieve(
    query: str, source: Source, memory: PersonaMemory, request: Request, embedded: Sequence[float] | None = None
) -> Steps[list[Document]]:
    """The documents for a query, best first, each with `metadata["persona"]`; `embedded` saves the embedding of it."""
    who = request.identity
    if who.anonymous and isinstance(source, CardCandidates):
        return []
    if embedded is None:
        (embedded,) = yield Embed(source.embeddings, [query], query=True)
    vector = np.asarray(embedded, dtype=np.float64)
    model = embedding_name(source.embeddings, vector.size)
    taste = yield from taste_of(query, vector, source, memory, request, model)
    ranking = yield from _ranked(query, source, memory, request, vector, taste)
    if request.min_relevance is not None:
        relevant = [i for i in ranking.chosen if ranking.shown.base[i] >= request.min_relevance]
        ranking = replace(ranking, chosen=tuple(relevant))
    if not ranking.chosen:
        return []
    retrieval_id = None
    if taste.readable:
        try:
            record = record_of(memory, request, model, taste, ranking)
            yield from memory.retrievals.save(who.user, record)
            retrieval_id = record.id
        except Exception as error:
            warn(logger, "This retrieval cannot be given feedback: its record was not written (%r)", error)
    return documents_of(ranking, retrieval_id, taste.abstained)


def _ranked(
    query: str, source: Source, memory: PersonaMemory, request: Request, vector: Vector, taste: Taste
) -> Steps[Ranking]:
    """Candidates, scores and choice.

    In shadow mode the plain candidates alone are what can be shown, and those of the personalised query come behind
    them. Where what is shown is drawn, both are candidates too: what either strength would show must have its chance.
    """
    bonus = taste.applied(request)
    both = bonus is not None and (request.shadow or request.explore > 0.0)
    told = not taste.readable and not request.identity.anonymous
    pool = yield from _pool(source, memory, request, vector, None if both else bonus, told=told)
    scores = yield from _scores(request.reranker, query, pool, 0)
    reranked, base = scores is not None, pool.base if scores is None else scores
    plain = len(pool)
    if both:
        personal = yield from _pool(source, memory, request, vector, bonus, told=told)
        united = personal.led_by(pool)
        rest = (yield from _scores(request.reranker, query, united, plain)) if reranked else united.base[plain:]
        if rest is not None:  # a reranker that failed half-way gives no scores that could be compared
            pool, base = united, np.concatenate([base, rest])
    among = plain if request.shadow else len(pool)
    zero = np.zeros(len(pool))
    long, short = (zero, zero) if bonus is None else bonus.parts(pool.embeddings)
    scale = scale_of(base, pool.base) if reranked else 1.0
    personal_scores = Scored(base, long * scale, short * scale)
    shown = Scored(base, zero, zero) if request.shadow else personal_scores
    drawn = both and not request.shadow and scale > 0.0
    if drawn:
        order = personal_scores.order()
        places = gumbel_order(personal_scores.total[order] / (request.explore * scale), request.draw_seed(query))
        chosen = [order[place] for place in places[: request.k]]
    else:
        chosen = _best(shown, pool, request, among)
    would = _best(personal_scores, pool, request, len(pool)) if request.shadow else None
    would_be = None if would is None else tuple(would)
    return Ranking(pool, personal_scores, shown, tuple(chosen), among, scale, drawn, would_be)


def _best(scored: Scored, pool: Pool, request: Request, among: int) -> list[int]:
    """Positions of the `k` best of the first `among` candidates, by score or for diversity."""
    if request.lambda_mult is None:
        return [i for i in scored.order() if i < among][: request.k]
    return mmr_order(scored.total[:among], pool.embeddings[:among], k=request.k, lambda_mult=request.lambda_mult)


def _pool(
    source: Source, memory: PersonaMemory, request: Request, vector: Vector, bonus: BonusVectors | None, *, told: bool
) -> Steps[Pool]:
    """The candidates; none if the database is gone, with a warning unless one was `told` in this retrieval."""
    wanted = request.fetch_k or max(memory.config.candidates, request.k + 2, 0 if request.lambda_mult is None else 20)
    select = request.reranker is not None or request.lambda_mult is not None
    if request.identity.anonymous and not select:
        wanted = request.k
    if bonus is None and not select:
        # beyond this depth an approximate index may also change the first results: cold start must not
        wanted = min(wanted, source.depth)
    n, user = max(request.k, wanted), request.identity.user
    try:
        pool = yield from source.search(vector, bonus, n=n, where=request.where, user=user)
        if bonus is None and not select and len(pool) > request.k and not np.diff(pool.base[: request.k + 1]).all():
            # which of several equal documents come first depends on how many Chroma is asked for
            first = yield from source.search(vector, None, n=request.k, where=request.where, user=user)
            pool = pool.led_by(first)
        return pool
    except Exception as error:
        misuse = isinstance(error, ConfigError | ValueError | TypeError) and not isinstance(error, JSONDecodeError)
        if misuse or type(error).__name__ == "InvalidArgumentError":
            raise  # a filter or a dimension that cannot work is for the developer to see
        if told:
            logger.debug("No documents: where they lie does not answer (%r)", error)
        else:
            warn(logger, "No documents: where they lie does not answer (%r)", error)
        return Pool.empty(vector.size)


def _scores(reranker: Reranker | None, query: str, pool: Pool, start: int) -> Steps[Vector | None]:
    """The reranker's scores of the candidates from `start` on; None without a reranker and where it fails."""
    if reranker is None or len(pool) == 0:
        return None
    count = len(pool) - start
    if count == 0:
        return np.zeros(0)

    def score() -> Vector:
        if isinstance(reranker, BaseCrossEncoder):
            return np.asarray(reranker.score([(query, text) for text in pool.texts[start:]]), dtype=np.float64)
        documents = [pool.document(index) for index in range(start, len(pool))]
        return np.asarray(reranker(query, documents), dtype=np.float64)

    try:
        scores: Vector = yield Call(score)
        if scores.shape != (count,) or not np.isfinite(scores).all():
            raise ValueError(f"expected {count} finite scores, got an array of shape {scores.shape}")
        return scores
    except Exception as error:
        warn(logger, "The reranker failed; keeping the order by similarity (%r)", error)
        return None
