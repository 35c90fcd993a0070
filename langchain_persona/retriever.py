"""`VARSRetriever`: a LangChain retriever whose ranking learns from each user's feedback."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
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
from langchain_persona.memory import FeedbackReceipt, PersonaMemory
from langchain_persona.memory.feedback import not_recorded
from langchain_persona.retrieval import Request, Reranker, at_least_one, not_negative, retrieve

__all__ = ["VARSRetriever"]

logger = logging.getLogger(__name__)


class VARSRetriever(BaseRetriever):
    """Personalised retrieval over Chroma: relevance plus a bounded bonus learned from the user's feedback.

    Put it where `vectorstore.as_retriever()` stood. A user without feedback gets exactly the plain ranking.

    Attributes:
        vectorstore: a `langchain_chroma.Chroma` or a `chromadb.Collection`; None ranks the user's preference cards.
        embeddings: the collection's embedding model; may be left out for `Chroma`, which has its own.
        memory: a `PersonaMemory`.
        k: documents to return, at least 1.
        fetch_k: candidates to read; by default `memory.config.candidates`, at least k + 2.
        filter: Chroma's `where`, such as `{"genre": "comedy"}`; for cards, fields to be equal.
        max_bonus: cap on the absolute bonus, in units of the base score; by default `memory.config.max_bonus`.
        user_id: the user where the call names none.
        reranker: scores the candidates anew, after folding; the bonus is added to its scores, so give it a scale that
            fits `max_bonus`, such as probabilities.
        search_type: "similarity", or "mmr" for maximal marginal relevance on the personalised scores.
        lambda_mult: for "mmr": 1 is pure score, 0 pure diversity.
        validate_embeddings: check at construction that the model and a non-empty collection have the same dimension.

    Raises:
        ConfigError: at construction, an argument that cannot work; `DimensionMismatchError` for embeddings that do not
            fit.

    The call takes `k`, `fetch_k`, `filter`, `max_bonus`, `user_id` and `session_id` too:
    `retriever.invoke("a film", k=3, user_id="ana@example.com")`. Each returned document carries
    `metadata["persona"]` with `retrieval_id`, `rank`, `base_rank` (among the candidates, both from 1), `score`, `base`,
    `long` and `short`, where score = base + long + short.

    If the store fails, the plain ranking is returned; if Chroma is gone, nothing; each with one WARNING.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    vectorstore: SkipValidation[Any] = None
    embeddings: SkipValidation[Embeddings | None] = None
    memory: SkipValidation[PersonaMemory]
    k: SkipValidation[int] = 4
    fetch_k: SkipValidation[int | None] = None
    filter: dict[str, Any] | None = None
    max_bonus: SkipValidation[float | None] = None
    user_id: SkipValidation[str | int | uuid.UUID | None] = None
    reranker: SkipValidation[Reranker | None] = None
    search_type: Literal["similarity", "mmr"] = "similarity"
    lambda_mult: float = Field(default=0.5, ge=0.0, le=1.0)
    validate_embeddings: bool = True

    _source: Source = PrivateAttr()

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
                    raise ConfigError(
                        f"VARSRetriever has no argument {first['loc'][0]!r}; what as_retriever takes in search_kwargs "
                        "are arguments of their own: k=..., fetch_k=..., filter=..., lambda_mult=..."
                    ) from None
                raise ConfigError(f"VARSRetriever: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def model_post_init(self, context: Any, /) -> None:
        """Refuse what cannot work, and find the source of documents."""
        if not isinstance(self.memory, PersonaMemory):
            raise ConfigError(f"memory must be a PersonaMemory, got {type(self.memory).__name__}")
        if self.reranker is not None and not (isinstance(self.reranker, BaseCrossEncoder) or callable(self.reranker)):
            raise ConfigError(f"reranker must be a BaseCrossEncoder or a function, got {type(self.reranker).__name__}")
        self._request(None, None, None, None, None)
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

    def feedback(
        self,
        docs: Document | Sequence[Document],
        reward: float,
        config: RunnableConfig | None = None,
        *,
        user_id: str | int | None = None,
        source: str = "thumbs",
        key: str | None = None,
    ) -> FeedbackReceipt:
        """Rate documents that this retriever returned; the short way to `PersonaMemory.feedback`.

        Args:
            docs: one document or several of one retrieval.
            reward: from −1 (bad) to 1 (good).
            config: names the user as in `invoke`.
            user_id: names the user directly.
            source: what kind of signal.
            key: idempotency key.

        Returns:
            A receipt; `applied` is False for documents of an anonymous retrieval, and for documents whose retrieval
            could not be recorded.

        Raises:
            ConfigError: these are not documents of one retrieval by a `VARSRetriever`, or the user is missing.
            TypeError, ValueError: the reward is not a number from −1 to 1.
            StoreError: the store could not take the feedback.
        """
        user, retrieval_id, ids = self._rated(docs, config, user_id)
        if retrieval_id is None:
            return not_recorded(reward)
        return self.memory.feedback(user, retrieval_id, reward=reward, source=source, key=key, docs=ids)

    async def afeedback(
        self,
        docs: Document | Sequence[Document],
        reward: float,
        config: RunnableConfig | None = None,
        *,
        user_id: str | int | None = None,
        source: str = "thumbs",
        key: str | None = None,
    ) -> FeedbackReceipt:
        """Async twin of `feedback`."""
        user, retrieval_id, ids = self._rated(docs, config, user_id)
        if retrieval_id is None:
            return not_recorded(reward)
        return await self.memory.afeedback(user, retrieval_id, reward=reward, source=source, key=key, docs=ids)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        identity: Identity | None = None,
        k: int | None = None,
        fetch_k: int | None = None,
        filter: dict[str, Any] | None = None,
        max_bonus: float | None = None,
    ) -> list[Document]:
        return run(retrieve(query, self._source, self.memory, self._request(identity, k, fetch_k, filter, max_bonus)))

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        identity: Identity | None = None,
        k: int | None = None,
        fetch_k: int | None = None,
        filter: dict[str, Any] | None = None,
        max_bonus: float | None = None,
    ) -> list[Document]:
        request = self._request(identity, k, fetch_k, filter, max_bonus)
        return await arun(retrieve(query, self._source, self.memory, request))

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

    def steps(self, query: str, identity: Identity, embedded: Sequence[float] | None = None) -> Steps[list[Document]]:
        """One retrieval as effects, for who composes it with others; `embedded` is used in place of embedding it."""
        return retrieve(
            query, self._source, self.memory, self._request(identity, None, None, None, None), embedded=embedded
        )

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
        k: int | None,
        fetch_k: int | None,
        where: Mapping[str, Any] | None,
        max_bonus: float | None,
    ) -> Request:
        """The options of one call: what it names, else what the constructor was given, else the configuration."""
        k = self.k if k is None else k
        fetch_k = self.fetch_k if fetch_k is None else fetch_k
        max_bonus = self.max_bonus if max_bonus is None else max_bonus
        return Request(
            identity=Identity(normalise_user(self.user_id)) if identity is None else identity,
            k=at_least_one("k", k),
            fetch_k=None if fetch_k is None else at_least_one("fetch_k", fetch_k),
            where=self.filter if where is None else where,
            max_bonus=self.memory.config.max_bonus if max_bonus is None else not_negative(max_bonus),
            reranker=self.reranker,
            lambda_mult=self.lambda_mult if self.search_type == "mmr" else None,
        )

    def _rated(
        self, docs: Document | Sequence[Document], config: RunnableConfig | None, user_id: str | int | None
    ) -> tuple[str, str | None, list[str]]:
        """User, retrieval id (None where there is none) and document ids of a rating."""
        rated = [docs] if isinstance(docs, Document) else list(docs)
        if not all(isinstance(doc, Document) for doc in rated):
            raise ConfigError(
                f"feedback takes the documents that this retriever returned, got {docs!r}; for ids use "
                "memory.feedback(user, retrieval_id, reward=..., docs=[...])"
            )
        facts = [doc.metadata.get("persona") for doc in rated]
        found = {fact.get("retrieval_id") if isinstance(fact, Mapping) else _NOT_OURS for fact in facts}
        if len(found) != 1 or _NOT_OURS in found:
            raise ConfigError(
                f"feedback needs documents that one invoke of a VARSRetriever returned, got {len(rated)} documents of "
                f"{len(found)} retrievals; rate each retrieval in a call of its own"
            )
        identity = resolve_identity(ensure_config(config), user_id=user_id, default_user=self.user_id)
        retrieval_id = found.pop()
        if identity.anonymous and retrieval_id is not None:
            raise ConfigError(
                "these documents were retrieved for a user, and the feedback names none: pass user_id or config"
            )
        return identity.user, retrieval_id, [str(doc.id) for doc in rated]


_OURS = frozenset({"k", "fetch_k", "filter", "max_bonus"})
_CALL_OPTIONS = _OURS | {"run_id", "verbose"}  # the last two are LangChain's
_NOT_OURS = ""
