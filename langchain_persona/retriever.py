"""`VARSRetriever`: a LangChain retriever whose ranking learns from each user's feedback."""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from pydantic import ConfigDict, Field, PrivateAttr, SkipValidation, ValidationError

from langchain_persona.candidates import Source, source_of
from langchain_persona.card_candidates import CardCandidates
from langchain_persona.effects import Steps, arun, run
from langchain_persona.errors import ConfigError
from langchain_persona.identity import Identity, normalise_user, resolve_identity
from langchain_persona.learning import VARSConfig
from langchain_persona.memory import PersonaMemory
from langchain_persona.retrieval import Request, Reranker, retrieve
from langchain_persona.retrieval.rating import RatingMethods
from langchain_persona.retrieval.request import at_least_one, not_negative, number, strength_of, whole_or_none

__all__ = ["VARSRetriever"]

logger = logging.getLogger(__name__)


class VARSRetriever(RatingMethods, BaseRetriever):
    """Personalised retrieval over Chroma: relevance plus a bounded bonus learned from the user's feedback.

    Put it where `vectorstore.as_retriever()` stood. A user without feedback gets exactly the plain ranking.

    Attributes:
        vectorstore: a `langchain_chroma.Chroma` or a `chromadb.Collection`; None ranks the user's preference cards.
        embeddings: the collection's embedding model; may be left out for `Chroma`, which has its own.
        memory: a `PersonaMemory`.
        k: documents to return, at least 1.
        fetch_k: candidates to read; by default `memory.config.candidates`, at least k + 2.
        filter: Chroma's `where`, such as `{"genre": "comedy"}`; for cards, fields to be equal.
        strength: the one knob to turn: 0 is off (exactly the plain ranking), 1 the default, at most 10. It multiplies
            the bonus and its cap; by default `memory.config.strength`.
        max_bonus: cap on the absolute bonus at strength 1, in units of a cosine; by default `memory.config.max_bonus`.
        user_id: the user where the call names none.
        reranker: scores the candidates anew, after folding. The bonus is brought to the scale of its scores (see
            `learning.scale_of`) and added, so that logits, probabilities and percentages give the same order. Fewer
            than three candidates have no scale: then the reranker alone decides.
        search_type: "similarity", or "mmr" for maximal marginal relevance on the personalised scores.
        lambda_mult: for "mmr": 1 is pure score, 0 pure diversity.
        explore: temperature in units of a cosine, such as 0.05: what is shown to a known user is drawn by
            softmax(score / explore) instead of taking the best, so that `memory.evaluate` can tell what another
            strength would have earned. 0 is off. It reads the plain candidates too: one query more.
        seed: names the draws, so that the same calls one after the other show the same; None is fresh. In `batch` and
            `abatch`, which call at the same time, it is left to chance which call is which.
        shadow: rank for the user, log it, learn from feedback, and return the plain ranking: ids, order and scores. It
            asks the database twice.
        objective: tells queries whose answer is no matter of taste; by default by words. See `VARSConfig.abstain`.
        validate_embeddings: check at construction that the model and a non-empty collection have the same dimension.

    Raises:
        ConfigError: at construction, an argument that cannot work; `DimensionMismatchError` for embeddings that do not
            fit.

    The call takes `k`, `fetch_k`, `filter`, `strength`, `max_bonus`, `user_id` and `session_id` too:
    `retriever.invoke("a film", k=3, user_id="ana@example.com")`. Each returned document carries
    `metadata["persona"]` with `retrieval_id`, `rank`, `base_rank` (among the candidates, both from 1), `score`, `base`,
    `long` and `short`, where score = base + long + short; `abstained`, "objective" or "thin evidence" where the ranking
    is plain for that reason; and in shadow mode `shadow_rank`, its rank for the user.

    If the store fails, the plain ranking is returned; if Chroma is gone, nothing; each with one WARNING.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    vectorstore: SkipValidation[Any] = None
    embeddings: SkipValidation[Embeddings | None] = None
    memory: SkipValidation[PersonaMemory]
    k: SkipValidation[int] = 4
    fetch_k: SkipValidation[int | None] = None
    filter: dict[str, Any] | None = None
    strength: SkipValidation[float | None] = None
    max_bonus: SkipValidation[float | None] = None
    user_id: SkipValidation[str | int | uuid.UUID | None] = None
    reranker: SkipValidation[Reranker | None] = None
    search_type: Literal["similarity", "mmr"] = "similarity"
    lambda_mult: float = Field(default=0.5, ge=0.0, le=1.0)
    explore: SkipValidation[float] = 0.0
    seed: SkipValidation[int | None] = None
    shadow: bool = False
    objective: SkipValidation[Callable[[str], bool] | None] = None
    validate_embeddings: bool = True

    _source: Source = PrivateAttr()
    _turns: itertools.count[int] = PrivateAttr(default_factory=lambda: itertools.count(1))

    if not TYPE_CHECKING:  # type checkers go on seeing the fields as the arguments

        def __init__(self, **arguments: Any) -> None:
            """Pydantic wraps whatever is raised in a constructor; hand out our own error."""
            try:
                super().__init__(**arguments)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                cause = first.get("ctx", {}).get("error")
                if isinstance(cause, ConfigError):
                    raise cause from None
                if first["type"] == "extra_forbidden":
                    name = first["loc"][0]
                    raise ConfigError(
                        f"VARSRetriever has no argument {name!r}; "
                        + (
                            f"it belongs to the memory: PersonaMemory(..., config=VARSConfig({name}=...))"
                            if name in VARSConfig.__dataclass_fields__
                            else "what as_retriever takes in search_kwargs are arguments of their own: k=..., "
                            "fetch_k=..., filter=..., lambda_mult=..."
                        )
                    ) from None
                raise ConfigError(f"VARSRetriever: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def model_post_init(self, context: Any, /) -> None:
        """Refuse what cannot work, and find the source of documents."""
        if not isinstance(self.memory, PersonaMemory):
            raise ConfigError(f"memory must be a PersonaMemory, got {type(self.memory).__name__}")
        if self.reranker is not None and not (isinstance(self.reranker, BaseCrossEncoder) or callable(self.reranker)):
            raise ConfigError(f"reranker must be a BaseCrossEncoder or a function, got {type(self.reranker).__name__}")
        if self.objective is not None and not callable(self.objective):
            raise ConfigError(f"objective must be a function of a query, got {type(self.objective).__name__}")
        self._request(None)  # checks, and is no call
        clash = "shadow=True" if self.shadow else 'search_type="mmr"' if self.search_type == "mmr" else None
        if self.explore and clash:
            raise ConfigError(f"explore={self.explore!r} and {clash} exclude each other: leave one of them out")
        if self.vectorstore is None:
            self._source = CardCandidates(self.memory.cards)
        else:
            self._source = source_of(self.vectorstore, self.embeddings)
            stored = self._source.fitting() if self.validate_embeddings else None
            if stored is not None:
                self.memory.space_for(stored)

    # calls ------------------------------------------------------------------------------------------------------

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """Documents for a query, ranked for the user of this call; see the class for the keywords."""
        config = ensure_config(config)
        return super().invoke(input, config, **self._resolved(config, kwargs))

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """Async twin of `invoke`."""
        config = ensure_config(config)
        return await super().ainvoke(input, config, **self._resolved(config, kwargs))

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        identity: Identity | None = None,
        verbose: bool = False,  # LangChain's, which it reads and hands on
        **options: Any,
    ) -> list[Document]:
        return run(retrieve(query, self._source, self.memory, self._request(identity, **options)))

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        identity: Identity | None = None,
        verbose: bool = False,  # LangChain's, which it reads and hands on
        **options: Any,
    ) -> list[Document]:
        return await arun(retrieve(query, self._source, self.memory, self._request(identity, **options)))

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        """What traces say about this retriever."""
        params = super()._get_ls_params(**kwargs)
        model = self._source.embeddings
        params["ls_vector_store_provider"] = self._source.name
        params["ls_embedding_provider"] = type(model).__name__
        name = getattr(model, "model", None) or getattr(model, "model_name", None)
        if isinstance(name, str):
            params["ls_embedding_model"] = name
        return params

    def steps(
        self, query: str, identity: Identity, embedded: Sequence[float] | None = None, **options: Any
    ) -> Steps[list[Document]]:
        """One retrieval as effects, for who composes it with others.

        Args:
            query: what to look for.
            identity: for whom.
            embedded: used in place of embedding the query.
            options: those of a call, such as `strength`; None is as constructed.
        """
        return retrieve(query, self._source, self.memory, self._request(identity, **options), embedded=embedded)

    @property
    def embedding_model(self) -> Embeddings:
        """The model that embeds queries."""
        return self._source.embeddings

    # arguments --------------------------------------------------------------------------------------------------

    def _resolved(self, config: RunnableConfig, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The keywords of a call with the user and session found while the config is at hand."""
        rest = {name: value for name, value in kwargs.items() if name not in ("user_id", "session_id")}
        unknown = sorted(set(rest) - _CALL_OPTIONS)
        if unknown:
            raise ConfigError(
                f"a call takes no option {unknown[0]!r}, only user_id, session_id, {', '.join(sorted(_OURS))}; "
                "set others at construction"
            )
        identity = resolve_identity(
            config,
            user_id=kwargs.get("user_id"),
            session_id=kwargs.get("session_id"),
            default_user=self.user_id,
        )
        return {**rest, "identity": identity}

    def _request(
        self,
        identity: Identity | None,
        *,
        k: int | None = None,
        fetch_k: int | None = None,
        filter: Mapping[str, Any] | None = None,
        strength: float | None = None,
        max_bonus: float | None = None,
    ) -> Request:
        """The options of one call: what it names, else what the constructor was given, else the configuration."""
        config = self.memory.config
        fetch_k = self.fetch_k if fetch_k is None else fetch_k
        return Request(
            identity=Identity(normalise_user(self.user_id)) if identity is None else identity,
            k=at_least_one("k", self.k if k is None else k),
            fetch_k=None if fetch_k is None else at_least_one("fetch_k", fetch_k),
            where=self.filter if filter is None else filter,
            max_bonus=not_negative(_first(max_bonus, self.max_bonus, config.max_bonus)),
            strength=strength_of(_first(strength, self.strength, config.strength)),
            reranker=self.reranker,
            lambda_mult=self.lambda_mult if self.search_type == "mmr" else None,
            explore=number("explore", self.explore, 100.0, meaning="0 is off, 0.05 a moderate draw"),
            seed=whole_or_none("seed", self.seed),
            turn=0 if identity is None else next(self._turns),  # atomic: batch calls from several threads
            shadow=self.shadow,
            objective=self.objective,
        )


def _first(*values: float | None) -> float | None:
    """The first that is given."""
    return next((value for value in values if value is not None), None)


_OURS = frozenset({"k", "fetch_k", "filter", "max_bonus", "strength"})
_CALL_OPTIONS = _OURS | {"run_id", "verbose"}  # the last two are LangChain's
