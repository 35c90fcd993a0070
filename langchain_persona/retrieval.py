"""One personalised retrieval as steps: embed, read the user, fold, search, score exactly, choose, record.

Whatever fails on the way costs the personalisation, not the answer: the plain ranking is returned and one WARNING
logged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from json import JSONDecodeError
from typing import Any

import numpy as np
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document

from langchain_persona.arrays import HALF, Vector, encode_vectors
from langchain_persona.candidates import Source
from langchain_persona.card_candidates import CardCandidates
from langchain_persona.effects import Call, Embed, Steps
from langchain_persona.errors import ConfigError
from langchain_persona.identity import Identity, embedding_name
from langchain_persona.learning import policy
from langchain_persona.memory import PersonaMemory
from langchain_persona.ranking import Pool, Scored, mmr_order
from langchain_persona.records import Retrieval, new_id
from langchain_persona.translation import translated
from langchain_persona.trouble import warn
from langchain_persona.vectors import BonusVectors

__all__ = ["Request", "Reranker", "at_least_one", "not_negative", "retrieve"]

logger = logging.getLogger(__name__)

Reranker = BaseCrossEncoder | Callable[[str, Sequence[Document]], Sequence[float]]
"""A LangChain cross encoder, or a function from a query and documents to scores, higher is better."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of one retrieval.

    Attributes:
        identity: the user and the session.
        k: documents to return.
        fetch_k: candidates to read; None is the configuration's.
        where: filter in the language of the source.
        max_bonus: cap on the absolute bonus.
        reranker: scores the candidates anew.
        lambda_mult: for maximal marginal relevance; None orders by score alone.
        min_relevance: what is less relevant than this by its base score is not returned.
    """

    identity: Identity
    k: int
    fetch_k: int | None
    where: Mapping[str, Any] | None
    max_bonus: float
    reranker: Reranker | None = None
    lambda_mult: float | None = None
    min_relevance: float | None = None


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
    healthy = not who.anonymous
    bonus: BonusVectors | None = None
    if healthy:
        try:
            bonus = yield from _bonus(memory, source, who, model, vector.size, request.max_bonus)
        except ConfigError:
            raise
        except Exception as error:
            healthy = False
            warn(logger, "Plain ranking: what is known of the user could not be read (%r)", error)
    pool = yield from _pool(source, memory, request, vector, bonus, told=not healthy and not who.anonymous)
    if not len(pool):
        return []
    zero = np.zeros(len(pool))
    long, short = (zero, zero) if bonus is None else bonus.parts(pool.embeddings)
    scored = Scored(pool.base, long, short)
    if request.reranker is not None:
        scored = yield from _reranked(request.reranker, query, pool, scored)
    if request.lambda_mult is None:
        chosen = scored.order()[: request.k]
    else:
        chosen = mmr_order(scored.total, pool.embeddings, k=request.k, lambda_mult=request.lambda_mult)
    if request.min_relevance is not None:
        chosen = [i for i in chosen if scored.base[i] >= request.min_relevance]
        if not chosen:
            return []
    retrieval_id = None
    if healthy:
        try:
            record = _record(memory, who, model, pool, scored, chosen)
            yield from memory.retrievals.save(who.user, record)
            retrieval_id = record.id
        except Exception as error:
            warn(logger, "This retrieval cannot be given feedback: its record was not written (%r)", error)
    return _annotated(pool, scored, chosen, retrieval_id)


def _bonus(
    memory: PersonaMemory, source: Source, who: Identity, model: str, dimension: int, max_bonus: float
) -> Steps[BonusVectors | None]:
    """The user's capped bonus; None when there is none, so that the query stays untouched."""
    user = yield from memory.user_vectors(who.user, who.session, model, dimension)
    given = user.space is not None and not user.count and not memory.ledger.untouched(who.user, model, user.space.id)
    # feedback, but none under this embedding model: the model was changed, or there was nothing to learn from
    if given and (yield from translated(memory, source, who.user, model, dimension)):
        user = yield from memory.refolded_vectors(who.user, who.session, model, dimension)
    space = memory.space_for(dimension) if user.space is None else user.space
    bonus = user.bonus(space, max_bonus=max_bonus, strength=memory.config.strength)
    return bonus if bonus.total.any() else None


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


def _reranked(reranker: Reranker, query: str, pool: Pool, scored: Scored) -> Steps[Scored]:
    """The reranker's scores in place of the base scores; these stay where it fails."""
    pairs = [(query, text) for text in pool.texts]

    def score() -> Vector:
        if isinstance(reranker, BaseCrossEncoder):
            return np.asarray(reranker.score(pairs), dtype=np.float64)
        documents = [pool.document(index) for index in range(len(pool))]
        return np.asarray(reranker(query, documents), dtype=np.float64)

    try:
        base = yield Call(score)
        if base.shape != (len(pool),) or not np.isfinite(base).all():
            raise ValueError(f"expected {len(pool)} finite scores, got an array of shape {base.shape}")
    except Exception as error:
        warn(logger, "The reranker failed; keeping the order by similarity (%r)", error)
        return scored
    return replace(scored, base=base)


def _record(
    memory: PersonaMemory, who: Identity, model: str, pool: Pool, scored: Scored, chosen: Sequence[int]
) -> Retrieval:
    """What a later feedback needs to know."""
    total, order = scored.total, scored.order()
    probabilities = policy(total, memory.config.temperature)
    now = time.time()
    return Retrieval(
        id=new_id(),
        session=who.session,
        time=now,
        expires=now + memory.retrievals.ttl_seconds,
        embedding=model,
        dimension=pool.embeddings.shape[1],
        candidates=tuple(pool.ids[i] for i in order),
        base=tuple(scored.base[order].tolist()),
        scores=tuple(total[order].tolist()),
        probabilities=tuple(probabilities[order].tolist()),
        chosen=tuple(pool.ids[i] for i in chosen),
        chosen_vectors=encode_vectors(pool.embeddings[list(chosen)], HALF),
        expected=encode_vectors(np.einsum("n,nd->d", probabilities, pool.embeddings)),
    )


def _annotated(pool: Pool, scored: Scored, chosen: Sequence[int], retrieval_id: str | None) -> list[Document]:
    """The chosen documents; each says why it stands where it stands."""
    base_ranks = scored.base_ranks()
    documents = []
    for rank, i in enumerate(chosen, start=1):
        base, long, short = float(scored.base[i]), float(scored.long[i]), float(scored.short[i])
        why = {
            "retrieval_id": retrieval_id,
            "rank": rank,
            "base_rank": int(base_ranks[i]),
            "score": base + long + short,
            "base": base,
            "long": long,
            "short": short,
        }
        documents.append(pool.document(i, persona=why))
    return documents


def at_least_one(name: str, value: object) -> int:
    """A whole number of at least 1, or a `ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value


def not_negative(max_bonus: object) -> float:
    """A cap as a float, or a `ConfigError`."""
    if isinstance(max_bonus, bool) or not isinstance(max_bonus, int | float) or not 0.0 <= max_bonus < float("inf"):
        raise ConfigError(f"max_bonus must be a number of at least 0, got {max_bonus!r}")
    return float(max_bonus)
