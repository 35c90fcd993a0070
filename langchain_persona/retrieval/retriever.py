"""`VARSRetriever`: a LangChain retriever whose ranking learns from each user's feedback."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables.config import RunnableConfig, ensure_config, run_in_executor
from pydantic import BaseModel, ConfigDict, Field, InstanceOf, PrivateAttr, SkipValidation, ValidationError

from langchain_persona.errors import ConfigError, check_number
from langchain_persona.identity import ANONYMOUS, Identity, User, normalise_user, resolve_identity
from langchain_persona.learning import MAX_STRENGTH, VARSConfig, Vector
from langchain_persona.memory import FeedbackReceipt, PersonaMemory
from langchain_persona.memory.embedder import Embedder, embedding_name
from langchain_persona.memory.memory import async_twin
from langchain_persona.resilience import (
    await_or_default,
    await_within,
    call_within,
    run_or_default,
    warn_of,
    warning_scope,
)
from langchain_persona.retrieval.ranking import Plan, Ranking, Taste, documents_of, rank, read_taste, write_record
from langchain_persona.retrieval.sources import Candidates, CardSource, Source, source_of

logger = logging.getLogger(__name__)

T = TypeVar("T")

SAMPLE = 128
"""Documents on which the spread of relevance and bonus is measured."""

SAMPLE_SECONDS, SHORT_SECONDS = 600.0, 5.0
"""How long a sample is kept, and how long a small one: a collection that is just being filled soon has more."""

Reranker = BaseCrossEncoder | Callable[[str, Sequence[Document]], Sequence[float]]
"""A LangChain cross encoder, or a function from a query and documents to scores, higher is better."""

Embedded = Sequence[float] | Vector

_NO_ROWS: Vector = np.zeros((0, 0))
_NOT_EMBEDDED = "No documents: the query could not be embedded"
_OPTIONS = ("k", "fetch_k", "filter", "strength", "max_bonus", "words")


class VARSRetriever(BaseRetriever):
    """Personalised retrieval over any vector store: relevance plus a bounded bonus learned from the user's feedback.

    Put it where `vectorstore.as_retriever()` stood. A user without feedback gets exactly the plain ranking.
    `ConfigError`: an argument that cannot work; at the first search, where model and store do not fit.

    Attributes:
        vectorstore: a LangChain `VectorStore` (Chroma, FAISS, Qdrant, pgvector, …) or a `chromadb.Collection`. For the
            user's own preference cards write `memory.as_retriever()`.
        memory: a `PersonaMemory`.
        embeddings: the model that made the store's vectors; a `VectorStore` has its own.
        k, fetch_k: documents to return, at least 1, and candidates to read; by default `candidates` of the memory's
            config, or `k + 2` where that is more, and 20 for "mmr".
        filter: in the language of the store, such as `{"genre": "comedy"}`.
        strength, max_bonus: as in `VARSConfig`; by default the memory's.
        words: what a stated like is worth, 0 (off) to 10, in cosines; by default that of the memory's `Words`.
        user_id: the user where the call names none.
        reranker: scores the candidates anew. The bonus is brought to the scale of its scores (see `scale_of`). Fewer
            than three candidates have no scale: then the reranker alone decides.
        search_type: "similarity", or "mmr" for maximal marginal relevance on the personalised scores.
        lambda_mult: for "mmr": 1 is pure score, 0 pure diversity.
        timeout_seconds: for each call to the embedding model and the vector store; by default the memory's.

    The call takes `k`, `fetch_k`, `filter`, `strength`, `max_bonus`, `words`, `user_id` and `session_id` too:
    `retriever.invoke("a film", k=3, user_id="ana@example.com")`. Each document carries `metadata["persona"]`:
    `retrieval_id`; `rank`, and `candidate_rank` by relevance among the candidates read, both from 1; `score` = `base` +
    `long` + `short` + `words`; `cards`, up to three that moved it, with id, text and what they add (`share`);
    `abstained`, why a known user's ranking is plain, else None.

    Where the memory's store fails or is slow, the ranking is the plain one; where the vector store or the embedding
    model does, there are no documents. Each time one WARNING says so.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    vectorstore: SkipValidation[Any] = None
    memory: InstanceOf[PersonaMemory]
    embeddings: SkipValidation[Embeddings | None] = None
    k: SkipValidation[int] = 4
    fetch_k: SkipValidation[int | None] = None
    filter: SkipValidation[Any] = None
    strength: SkipValidation[float | None] = None
    max_bonus: SkipValidation[float | None] = None
    words: SkipValidation[float | None] = None
    user_id: SkipValidation[User | None] = None
    reranker: SkipValidation[Reranker | None] = None
    search_type: Literal["similarity", "mmr"] = "similarity"
    lambda_mult: float = Field(default=0.5, ge=0.0, le=1.0)
    timeout_seconds: float | None = Field(default=None, ge=0.0, le=86_400.0, strict=True)

    _source: Source = PrivateAttr()
    _samples: dict[Hashable, tuple[float, Vector | None]] = PrivateAttr(default_factory=dict)

    if not TYPE_CHECKING:  # type checkers go on seeing the fields as the arguments

        def __init__(self, **arguments: Any) -> None:
            """Understand the `search_kwargs` of `as_retriever`, and say pydantic's complaints in our words."""
            arguments |= arguments.pop("search_kwargs", None) or {}
            if arguments.get("search_type") == "similarity_score_threshold" or "score_threshold" in arguments:
                raise ConfigError(
                    "a score threshold is not built in; filter what comes back: [doc for doc in retriever.invoke(query)"
                    f' if doc.metadata["persona"]["base"] >= {arguments.get("score_threshold", 0.5)}]'
                )
            try:
                super().__init__(**arguments)
            except ValidationError as error:
                raise refusal(type(self), error) from None
            self._prepare()

    def _prepare(self) -> None:
        if self.reranker is not None and not (isinstance(self.reranker, BaseCrossEncoder) or callable(self.reranker)):
            raise ConfigError(f"reranker must be a BaseCrossEncoder or a function, got {type(self.reranker).__name__}")
        self._source = source_of(self.vectorstore, self.embeddings)
        self._plan("", Identity(normalise_user(self.user_id)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._source.name}, k={self.k}>"

    __str__ = __repr__

    @property
    def source(self) -> Source:
        """Where the documents lie."""
        return self._source

    # calls ------------------------------------------------------------------------------------------------------------

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """Documents for a query, ranked for the user of this call; see the class for the keywords."""
        config = ensure_config(config)
        return super().invoke(input, config, **self._resolve(input, config, kwargs))

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """Async twin of `invoke`."""
        config = ensure_config(config)
        return await super().ainvoke(input, config, **self._resolve(input, config, kwargs))

    def rank_for(
        self, query: str, identity: Identity, vector: Embedded | None = None, taste: Taste | None = None, **options: Any
    ) -> list[Document]:
        """Documents for a caller who is known already, with the options of a call.

        `vector` is the embedded query and `taste` what is known of the user (see `read_taste`), where they are at hand.
        """
        plan = self._plan(query, identity, **options)
        with warning_scope():
            if vector is None:
                embed = partial(Embedder(plan.source.embeddings, self._seconds).embed_query, query)
                vector = run_or_default(_NOT_EMBEDDED, embed, None)
            if vector is None:
                return []
            plan = self._personalise(plan, vector, taste)
            return self._finish(plan, self._search(plan))

    async def arank_for(
        self, query: str, identity: Identity, vector: Embedded | None = None, taste: Taste | None = None, **options: Any
    ) -> list[Document]:
        """Async twin of `rank_for`: embedding and search are awaited, the rest runs in threads."""
        plan = self._plan(query, identity, **options)
        with warning_scope():
            if vector is None:
                embed = Embedder(plan.source.embeddings, self._seconds).aembed_query(query)
                vector = await await_or_default(_NOT_EMBEDDED, embed, None)
            if vector is None:
                return []
            plan = await run_in_executor(None, self._personalise, plan, vector, taste)
            return await run_in_executor(None, self._finish, plan, await self._asearch(plan))

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, verbose: bool = False, **options: Any
    ) -> list[Document]:
        return self.rank_for(query, **{"identity": Identity(ANONYMOUS), **options})

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, verbose: bool = False, **options: Any
    ) -> list[Document]:
        return await self.arank_for(query, **{"identity": Identity(ANONYMOUS), **options})

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params, model = super()._get_ls_params(**kwargs), self._source.embeddings
        params["ls_vector_store_provider"] = self._source.name
        params["ls_embedding_provider"] = type(model).__name__
        name = getattr(model, "model", None) or getattr(model, "model_name", None)
        if isinstance(name, str):
            params["ls_embedding_model"] = name
        return params

    # feedback ---------------------------------------------------------------------------------------------------------

    def feedback(
        self,
        docs: Document | Sequence[Document],
        reward: float,
        config: RunnableConfig | None = None,
        *,
        user_id: User | None = None,
        source: str = "thumbs",
        key: str | None = None,
    ) -> FeedbackReceipt:
        """Rate one document or several of one `invoke`: the short way to `PersonaMemory.feedback`.

        Config or `user_id` name the user as in `invoke`.
        """
        if not isinstance(config, Mapping | None):
            raise ConfigError(f"config is that of the invoke, a dict; got {config!r:.100}. A user is named by user_id=")
        rated = [docs] if isinstance(docs, Document) else list(docs)
        facts = [doc.metadata.get("persona") if isinstance(doc, Document) else None for doc in rated]
        found = {fact.get("retrieval_id") if isinstance(fact, Mapping) else "" for fact in facts}
        if len(found) != 1 or "" in found:
            raise ConfigError(
                f"feedback takes documents that one invoke of this retriever returned, got {rated!r:.200}; for ids use "
                "memory.feedback(user, retrieval_id, reward=..., docs=...)"
            )
        (retrieval_id,) = found
        if retrieval_id is None:
            return FeedbackReceipt("", applied=False, reason="the retrieval was anonymous or could not be recorded")
        user = self._identity(ensure_config(config), user_id).user
        if user == ANONYMOUS:
            raise ConfigError("these documents were retrieved for a user, and the feedback names none: pass user_id")
        ids = [str(doc.id) for doc in rated]
        return self.memory.feedback(user, retrieval_id, reward=reward, source=source, key=key, docs=ids)

    afeedback = async_twin(feedback)

    # steps ------------------------------------------------------------------------------------------------------------

    def _personalise(self, plan: Plan, embedded: Embedded, taste: Taste | None) -> Plan:
        """The plan with what is known of the user, moderated: one vector that moves the query."""
        vector = np.asarray(embedded, dtype=np.float64)
        model = embedding_name(plan.source.embeddings, vector.size)
        taste = taste or read_taste(self.memory, plan.identity, model, vector.size)
        if plan.strength and plan.max_bonus:
            taste = taste.with_words(vector, plan.words)
        if taste.bonus is not None and plan.strength and plan.max_bonus:
            rows = self._sample(plan)
            unmeasured = Taste(abstained="not measured")  # without its bound a bonus could drown relevance
            taste = unmeasured if rows is None else taste.moderated(vector, rows, self.memory.config.spread)
        bonus = taste.bonus and taste.bonus.times(plan.strength * taste.bonus.shrink(plan.max_bonus))
        bonus = bonus if bonus and bonus.total.any() else None
        return replace(plan, vector=vector, model=model, taste=taste, bonus=bonus)

    def _sample(self, plan: Plan) -> Vector | None:
        """Some documents on which the spread of relevance is measured; kept for a while, by filter. None: it failed."""
        where, now = plan.filter or None, time.monotonic()
        # a function is kept alive as part of the key, so that no other can take its address
        key = where if isinstance(where, Hashable) else repr(where)
        kept = self._samples if plan.source is self._source else {}  # no copy of a user's own cards is to stay
        rows: Vector | None
        until, rows = kept.get(key, (0.0, None))
        if now < until:
            return rows
        try:
            rows = self._within(plan.source, partial(plan.source.sample, SAMPLE, where))
        except (AssertionError, NotImplementedError):  # a store that only works asynchronously, such as pgvector's
            rows = _NO_ROWS
        except Exception as error:
            warn_of(logger, "Plain ranking: the spread of relevance could not be measured", error)
            rows = None
        if len(kept) >= 128:
            kept.clear()
        kept[key] = (now + (SAMPLE_SECONDS if rows is not None and len(rows) >= 48 else SHORT_SECONDS), rows)
        return rows

    def _search(self, plan: Plan) -> Candidates:
        found = self._ask(plan, self._count(plan))
        again = self._count_again(plan, found)
        return _join(found, self._ask(plan, again)) if again else found

    async def _asearch(self, plan: Plan) -> Candidates:
        found = await self._aask(plan, self._count(plan))
        again = self._count_again(plan, found)
        return _join(found, await self._aask(plan, again)) if again else found

    def _ask(self, plan: Plan, k: int) -> Candidates:
        shift = plan.bonus.total if plan.bonus else None
        search = partial(plan.source.search, plan.vector, k, filter=plan.filter, shift=shift)
        try:
            return self._within(plan.source, search)
        except Exception as error:
            return _nothing_found(plan, error)

    async def _aask(self, plan: Plan, k: int) -> Candidates:
        shift = plan.bonus.total if plan.bonus else None
        try:
            search = plan.source.asearch(plan.vector, k, filter=plan.filter, shift=shift)
            return await await_within(self._seconds, search)
        except Exception as error:
            return _nothing_found(plan, error)

    @property
    def _selects(self) -> bool:
        """Whether something else than the nearest documents is chosen from the candidates."""
        return self.reranker is not None or self.search_type == "mmr"

    def _count(self, plan: Plan) -> int:
        # beyond its depth an approximate index may also change the first results: cold start must not
        plain = not plan.bonus and not self._selects
        return max(plan.k, min(plan.fetch_k, plan.source.depth)) if plain else plan.fetch_k

    def _count_again(self, plan: Plan, found: Candidates) -> int:
        """How many a second, plain query must ask for so that the first `k` are those of the store; 0 for none."""
        k = plan.k
        if plan.bonus or self._selects or not found.measured:
            return 0
        if plan.source.depth == 0:
            return plan.fetch_k if plan.fetch_k > k == len(found) else 0
        # which of several equal documents come first depends on how many are asked for
        return k if len(found) > k and not np.diff(found.relevance[: k + 1]).all() else 0

    def _finish(self, plan: Plan, found: Candidates) -> list[Document]:
        ranking, learns = self._rank(plan, found), plan.taste.readable and found.measured
        retrieval_id = write_record(self.memory, plan, ranking) if learns else None
        return documents_of(ranking, retrieval_id, plan)

    def _rank(self, plan: Plan, found: Candidates) -> Ranking:
        reranked = _rerank(self.reranker, plan.query, found) if self.reranker is not None and found else None
        return rank(plan, found, reranked, self.lambda_mult if self.search_type == "mmr" else None)

    # arguments --------------------------------------------------------------------------------------------------------

    @property
    def _seconds(self) -> float:
        return self.memory.timeout_seconds if self.timeout_seconds is None else self.timeout_seconds

    def _within(self, source: Source, function: Callable[[], T]) -> T:
        # cards are read by the memory, which has deadlines of its own
        return function() if isinstance(source, CardSource) else call_within(self._seconds, function)

    def _identity(self, config: RunnableConfig, user_id: User | None, session_id: str | None = None) -> Identity:
        return resolve_identity(
            config, user_id=user_id, session_id=session_id, default_user=self.user_id, trust=self.memory.trust
        )

    def _resolve(self, query: object, config: RunnableConfig, keywords: dict[str, Any]) -> dict[str, Any]:
        """The keywords of a call, with user and session found while the config is at hand."""
        if not isinstance(query, str):
            raise ConfigError(f"a query is a text, got {query!r}")
        identity = self._identity(config, keywords.pop("user_id", None), keywords.pop("session_id", None))
        if identity.anonymous:
            _tell_anonymous()
        return {**keywords, "identity": identity}

    def _plan(self, query: str, identity: Identity, **options: Any) -> Plan:
        """What one call asks for: what it names, else what the constructor was given, else the configuration."""
        if unknown := options.keys() - set(_OPTIONS):
            known = ", ".join((*_OPTIONS, "user_id", "session_id"))
            raise ConfigError(f"a call takes no option {min(unknown)!r}, only {known}; set others at construction")
        config, source = self.memory.config, self._source
        named = [options[name] if options.get(name) is not None else getattr(self, name) for name in _OPTIONS]
        k, fetch_k, where, strength, max_bonus, weight = named
        strength = config.strength if strength is None else strength
        max_bonus = config.max_bonus if max_bonus is None else max_bonus
        weight = config.words.weight if weight is None else weight
        check_number("k", k, 1)
        check_number("fetch_k", 1 if fetch_k is None else fetch_k, 1)
        check_number("strength", strength, 0.0, MAX_STRENGTH)
        check_number("max_bonus", max_bonus, 0.0, 1e6)
        check_number("words", weight, 0.0, 10.0)
        # what is read and not shown is the contrast to learn from
        wanted = fetch_k or max(config.candidates, k + 2, 20 if self.search_type == "mmr" else 0)
        wanted = k if identity.anonymous and not self._selects else max(k, wanted)
        if where is not None and source.name in ("chroma", "cards") and not isinstance(where, Mapping):
            raise ConfigError(f"filter must be a mapping such as {{'genre': 'comedy'}}, got {where!r}")
        if isinstance(source, CardSource):
            # words rank the host's documents, not themselves
            source, weight = CardSource(self.memory, identity.user), 0.0
        stated = config.words if weight == config.words.weight else replace(config.words, weight=weight)
        return Plan(query, source, identity, k, wanted, where, strength, max_bonus, stated)


@cache
def _tell_anonymous() -> None:
    logger.info('A retrieval named no user, so it is plain: pass user_id, or {"configurable": {"user_id": ...}}')


def _rerank(reranker: Reranker, query: str, found: Candidates) -> Vector | None:
    """The reranker's scores, shape (n,); None, with a WARNING, where it fails."""
    try:
        if isinstance(reranker, BaseCrossEncoder):
            given: Sequence[float] = reranker.score([(query, text) for text in found.texts])
        else:
            given = reranker(query, [found.document(place) for place in range(len(found))])
        scores = np.asarray(given, dtype=np.float64)
        if scores.shape != (len(found),) or not np.isfinite(scores).all():
            raise ValueError(f"expected {len(found)} finite scores, got an array of shape {scores.shape}")
        return scores
    except Exception as error:
        warn_of(logger, "The reranker failed; keeping the order by similarity", error)
        return None


def _join(found: Candidates, again: Candidates) -> Candidates:
    """The answers of two plain queries: the one that asked for fewer documents leads."""
    fewer, more = sorted((found, again), key=len)
    return more.behind(fewer)


def _nothing_found(plan: Plan, error: Exception) -> Candidates:
    """No candidates, and a warning; what is the developer's to mend is raised."""
    misuse = isinstance(error, ConfigError | ValueError | TypeError) and not isinstance(error, JSONDecodeError)
    if misuse or type(error).__name__ == "InvalidArgumentError":
        raise error
    warn_of(logger, "No documents: the vector store does not answer", error)
    return Candidates()


def refusal(kind: type[BaseModel], error: ValidationError) -> ConfigError:
    """The first complaint of pydantic about arguments, in our words."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] != "extra_forbidden":
        return ConfigError(f"{kind.__name__}: {name}: {first['msg']}")
    if name in VARSConfig.__dataclass_fields__:
        return ConfigError(f"{name} belongs to the memory: PersonaMemory(..., config=VARSConfig({name}=...))")
    return ConfigError(f"{kind.__name__} has no argument {name!r}, only {', '.join(sorted(kind.model_fields))}")
