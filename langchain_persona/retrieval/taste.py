"""What is known of the user for one query, and whether it is better left out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from langchain_persona.arrays import Vector, unit
from langchain_persona.candidates import Source
from langchain_persona.effects import Call, Steps
from langchain_persona.errors import ConfigError
from langchain_persona.learning import MIN_SAMPLE, moderation, spread_of
from langchain_persona.memory import PersonaMemory
from langchain_persona.retrieval.request import Request
from langchain_persona.samples import SAMPLE
from langchain_persona.signals import is_objective
from langchain_persona.translation import StoredVectors, translated
from langchain_persona.trouble import warn
from langchain_persona.vectors import BonusVectors

__all__ = ["OBJECTIVE", "THIN", "Taste", "taste_of"]

logger = logging.getLogger(__name__)

OBJECTIVE = "objective"
THIN = "thin evidence"


@dataclass(frozen=True, slots=True)
class Taste:
    """What the ranking may use of the user.

    Attributes:
        bonus: at strength 1, moderated, before the cap; None where there is none to use.
        abstained: why the ranking is plain although there is a user: "objective", "thin evidence", or None.
        readable: False when the user is anonymous or could not be read; then nothing is recorded either.
    """

    bonus: BonusVectors | None = None
    abstained: str | None = None
    readable: bool = True

    def applied(self, request: Request) -> BonusVectors | None:
        """The bonus as it acts on this ranking; None when it is off, so that the query stays untouched."""
        if self.bonus is None:
            return None
        bonus = self.bonus.times(request.strength * self.bonus.shrink(request.max_bonus))
        return bonus if bonus.total.any() else None


def taste_of(
    query: str, vector: Vector, source: Source, memory: PersonaMemory, request: Request, model: str
) -> Steps[Taste]:
    """What is known of the user of a request; trouble costs the personal part and one WARNING.

    Args:
        query: some are no matter of taste.
        vector: the embedded query, shape (d,).
        source: where the documents lie: what the bonus is measured on, and the way of feedback that was given under
            another embedding model.
        memory: the users'.
        request: names the user and the session.
        model: name of the embedding model.
    """
    who, config, dimension = request.identity, memory.config, vector.size
    if who.anonymous:
        return Taste(readable=False)
    if config.abstain and (yield from _objective(query, request.objective)):
        return Taste(abstained=OBJECTIVE)
    try:
        user = yield from memory.user_vectors(who.user, who.session, model, dimension)
        nothing = user.space is None or memory.ledger.untouched(who.user, model, user.space.id)
        # whatever there is under this embedding model, there may be more that was given under another
        if not nothing and (yield from translated(memory, source, who.user, model, dimension)):
            user = yield from memory.user_vectors(who.user, who.session, model, dimension)
        space = memory.space_for(dimension) if user.space is None else user.space
        bonus = user.bonus(space, max_bonus=float("inf"))
    except ConfigError:
        raise
    except Exception as error:
        warn(logger, "Plain ranking: what is known of the user could not be read (%r)", error)
        return Taste(readable=False)
    prior = config.prior == "population" and space.prior is not None and config.min_feedback == 1
    if user.count < config.min_feedback and not prior:
        return Taste(abstained=THIN)
    if not bonus.total.any():
        return Taste()
    if request.max_bonus == 0.0:
        # it can act at no strength; at strength 0 the log says what it would have been, and that is moderated
        return Taste(bonus)
    return Taste(bonus.times((yield from _moderation(source, request, unit(vector), bonus.total, config.spread))))


def _moderation(source: Source, request: Request, query: Vector, bonus: Vector, share: float) -> Steps[float]:
    """What keeps the bonus below a share of the relevance's spread; 1 where that cannot be measured."""
    if share == 0.0:
        return 0.0
    if not isinstance(source, StoredVectors):
        return 1.0
    try:
        rows: Vector = yield from source.sample(SAMPLE, user=request.identity.user, where=request.where)
    except Exception:
        # the search itself is about to meet the same trouble, and says so
        logger.debug("The spread of relevance could not be measured", exc_info=True)
        return 1.0
    if len(rows) < MIN_SAMPLE or rows.shape[1] != query.size:
        return 1.0
    return moderation(spread_of(rows, query), spread_of(rows, bonus), share)


def _objective(query: str, judge: Callable[[str], bool] | None) -> Steps[bool]:
    """Whether a query is no matter of taste; a judge that fails has no say."""
    try:
        if judge is None:
            return is_objective(query)
        # it may be anything, also slow: off the event loop
        return bool((yield Call(lambda: judge(query))))
    except Exception as error:
        warn(logger, "Whether the query is a matter of taste could not be told; taking it for one (%r)", error)
        return False
