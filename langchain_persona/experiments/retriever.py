"""`ExperimentRetriever`: watch in shadow mode, or draw a little, and log what `evaluate` needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from langchain_core.documents import Document
from pydantic import PrivateAttr, SkipValidation

from langchain_persona.errors import ConfigError, check_number
from langchain_persona.experiments.offpolicy import draw
from langchain_persona.retrieval import Candidates, VARSRetriever
from langchain_persona.retrieval.ranking import Plan, Ranking


@dataclass(frozen=True, slots=True, eq=False)
class _TwoPools(Candidates):
    """The plain candidates, and behind them those that only the personalised query found."""

    plain: Candidates = field(default_factory=Candidates)

    @classmethod
    def join(cls, plain: Candidates, personal: Candidates) -> _TwoPools:
        both = personal.behind(plain)
        return cls(both.ids, both.texts, both.metadatas, both.vectors, both.relevance, plain)


class ExperimentRetriever(VARSRetriever):
    """A `VARSRetriever` that draws what it shows and logs how likely that was, or shows the plain ranking and watches.

    Attributes:
        explore: temperature in units of a cosine, such as 0.05: what a known user is shown is drawn by
            softmax(score / explore), so that `evaluate` can tell what another strength would have earned. 0 is off.
        seed: the same calls one after the other show the same; None is fresh.
        shadow: rank for the user, learn from feedback, and return the plain ranking. Each document carries
            `shadow_rank`, its rank for the user.

    `ConfigError`: as `VARSRetriever`; and for `explore` together with `shadow` or `search_type="mmr"`.
    """

    explore: SkipValidation[float] = 0.0
    seed: SkipValidation[int | None] = None
    shadow: bool = False

    _random: np.random.Generator = PrivateAttr()

    def _prepare(self) -> None:
        super()._prepare()
        check_number("explore", self.explore, 0.0, 100.0)
        if self.seed is not None and (type(self.seed) is not int or self.seed < 0):
            raise ConfigError(f"seed must be a whole number, or None for another draw each time, got {self.seed!r}")
        if self.explore and (self.shadow or self.search_type == "mmr"):
            raise ConfigError(f'explore={self.explore!r} excludes shadow=True and search_type="mmr": leave one out')
        self._random = np.random.default_rng(self.seed)

    def _search(self, plan: Plan) -> Candidates:
        """Both pools where what is shown is plain or drawn: what either strength would show must have its chance."""
        if plan.bonus is None or not (self.shadow or self.explore):
            return super()._search(plan)
        return _TwoPools.join(super()._search(replace(plan, bonus=None)), super()._search(plan))

    async def _asearch(self, plan: Plan) -> Candidates:
        if plan.bonus is None or not (self.shadow or self.explore):
            return await super()._asearch(plan)
        return _TwoPools.join(await super()._asearch(replace(plan, bonus=None)), await super()._asearch(plan))

    def _finish(self, plan: Plan, found: Candidates) -> list[Document]:
        if not self.shadow or not found.measured:
            return super()._finish(plan, found)
        ranks = {found.ids[place]: rank for rank, place in enumerate(self._rank(plan, found).order, start=1)}
        documents = super()._finish(replace(plan, bonus=None), found.plain if isinstance(found, _TwoPools) else found)
        for doc in documents:
            doc.metadata["persona"]["shadow_rank"] = ranks[str(doc.id)]
        return documents

    def _rank(self, plan: Plan, found: Candidates) -> Ranking:
        best = super()._rank(plan, found)
        if not self.explore or not isinstance(found, _TwoPools) or best.scale == 0.0:
            return best
        # what is drawn from is what is logged, in the order of the record, in cosines: its chances are exact
        order = list(best.order)
        base = np.round((best.base - best.base.max())[order] / best.scale, 5)
        bonus = np.round(best.bonus[order] / (best.scale * plan.strength), 5)
        drawn = draw((base + plan.strength * bonus) / self.explore, plan.k, self._random)
        log = {"count": len(drawn), "strength": plan.strength, "explore": self.explore}
        logged = {**log, "base": base.tolist(), "bonus": bonus.tolist()}
        return replace(best, chosen=[order[place] for place in drawn], logged=logged)
