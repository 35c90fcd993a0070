"""`PersonaMemory`: what users call. Every method has its `a…` twin; both drive one generator (see `effects`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore

from langchain_persona.cards import Cards
from langchain_persona.effects import Steps, arun, run
from langchain_persona.errors import ConfigError
from langchain_persona.identity import ANONYMOUS, label, normalise_user
from langchain_persona.learning import LearnerState, VARSConfig
from langchain_persona.memory.background import Background
from langchain_persona.memory.card_methods import CardMethods
from langchain_persona.memory.episodes import Episodes
from langchain_persona.memory.evaluation_methods import EvaluationMethods
from langchain_persona.memory.explanation import Explanation, explanation_of
from langchain_persona.memory.feedback import Retrievals
from langchain_persona.memory.feedback_methods import FeedbackMethods
from langchain_persona.memory.folded import Folded
from langchain_persona.memory.ledger import Ledger
from langchain_persona.memory.pending_methods import PendingMethods, Processor
from langchain_persona.memory.persona_methods import PersonaMethods
from langchain_persona.memory.personas import Personas
from langchain_persona.memory.space_methods import SpaceMethods
from langchain_persona.memory.space_versions import SpaceVersions
from langchain_persona.spaces import PreferenceSpace
from langchain_persona.trouble import warn
from langchain_persona.vectors import UserVectors

if TYPE_CHECKING:
    from langchain_persona.retriever import VARSRetriever

__all__ = ["PersonaMemory"]

logger = logging.getLogger(__name__)

DAY_SECONDS = 86_400.0


def _is_label(name: object) -> bool:
    return isinstance(name, str) and bool(name) and "." not in name and not name.startswith("langgraph")


class PersonaMemory(FeedbackMethods, EvaluationMethods, CardMethods, PersonaMethods, PendingMethods, SpaceMethods):
    """Feedback, user vectors, preference cards and personas of all users.

    Args:
        store: any LangGraph `BaseStore`: `InMemoryStore`, `SqliteStore`, `PostgresStore`, …; holds all text and the
            ledger.
        cards: a `chromadb.Collection` for the vectors of preference cards; None when only documents are ranked.
        embeddings: the model that embeds cards; needed with `cards`.
        config: the learner; `VARSConfig()` by default, `VARSConfig.paper()` for the published rule.
        space: preference space; it stays in force whatever `refit` finds. None is the space that `refit` fitted for the
            embeddings that come, and the identity before there is one.
        retrieval_ttl_seconds: how long a retrieval can be given feedback; 30 days by default.
        namespace: where in the store everything lies.

    Raises:
        ConfigError: an argument that cannot work; says what was given, what is allowed, what to do.

    Example:
        >>> from langgraph.store.memory import InMemoryStore
        >>> memory = PersonaMemory(store=InMemoryStore())
        >>> memory.vectors("ana@example.com").count
        0

    A user id is a str, an int or a UUID; None and blank text are the anonymous user, of whom nothing is read or
    written. A failing store makes `feedback` and `withdraw` raise `StoreError` and other methods its own errors; the
    retriever survives it.
    """

    def __init__(
        self,
        store: BaseStore,
        cards: Any | None = None,
        embeddings: Embeddings | None = None,
        *,
        config: VARSConfig | None = None,
        space: PreferenceSpace | None = None,
        retrieval_ttl_seconds: float = 30 * DAY_SECONDS,
        namespace: Sequence[str] = ("persona",),
    ) -> None:
        if not isinstance(store, BaseStore):
            raise ConfigError(
                f"store must be a LangGraph BaseStore such as InMemoryStore() or SqliteStore(connection), "
                f"got {type(store).__name__}; PersonaMemory.local(folder) opens one for you"
            )
        if embeddings is not None and not isinstance(embeddings, Embeddings):
            raise ConfigError(f"embeddings must be a LangChain Embeddings object, got {type(embeddings).__name__}")
        if cards is not None and embeddings is None:
            raise ConfigError("cards need embeddings: PersonaMemory(store, cards=collection, embeddings=model)")
        if config is not None and not isinstance(config, VARSConfig):
            raise ConfigError(f"config must be a VARSConfig such as VARSConfig(spread=0.2), got {config!r}")
        if space is not None and not isinstance(space, PreferenceSpace):
            raise ConfigError(
                f"space must be a PreferenceSpace, got {space!r}; a version in the store is put in force by its id: "
                "memory.use_space(id)"
            )
        if not 0 < retrieval_ttl_seconds < float("inf"):
            raise ConfigError(f"retrieval_ttl_seconds must be above 0 and finite, got {retrieval_ttl_seconds}")
        if isinstance(namespace, str) or not namespace or not all(map(_is_label, namespace)):
            raise ConfigError(
                f"namespace must be a sequence of labels such as ('persona',), each a text without dots that does not "
                f"begin with 'langgraph'; got {namespace!r}"
            )
        self.config = VARSConfig() if config is None else config
        if self.config.prior == "population" and space is not None and space.prior is None:
            raise ConfigError(
                f'prior="population" needs a space with a prior, and {space.id} has none: give one that was fitted '
                '(PreferenceSpace.fit, memory.refit), leave `space` out, or use prior="none"'
            )
        self.store = store
        self.embeddings = embeddings
        self.space = space
        root = tuple(namespace)
        self.ledger = Ledger(store, root, self.config)
        self._spaces = SpaceVersions(store, root, space)
        self._told_no_prior = False
        self.retrievals = Retrievals(self.ledger, retrieval_ttl_seconds)
        self._cards = None if cards is None or embeddings is None else Cards(store, root, cards, embeddings)
        self.personas = Personas(self.ledger)
        self.episodes = Episodes(self.ledger)
        self.background = Background()
        self.processor: Processor | None = None
        self._resources = ExitStack()

    @classmethod
    def local(
        cls,
        path: str | Path,
        *,
        embeddings: Embeddings | None = None,
        config: VARSConfig | None = None,
        space: PreferenceSpace | None = None,
    ) -> Self:
        """Open (or create) the embedded default: one folder with SQLite and Chroma, and a local embedding model.

        Needs the extra `local`. The folder is locked: one process at a time. Close it with `close()` or use `with`.

        Args:
            path: the folder.
            embeddings: another embedding model than the local MiniLM.
            config: the learner.
            space: preference space.

        Raises:
            MissingExtraError: a package of the extra is not installed; names the extra.
            LockedError: another process has the folder open.

        Example:
            >>> with PersonaMemory.local("./persona") as memory:  # doctest: +SKIP
            ...     memory.remember("ana@example.com", "Drinks her coffee black.")
        """
        from langchain_persona.memory.local import open_local

        opened = open_local(Path(path), embeddings)
        try:
            memory = cls(opened.store, opened.collection, opened.embeddings, config=config, space=space)
        except BaseException:
            opened.resources.close()
            raise
        memory._resources = opened.resources
        return memory

    # vectors ----------------------------------------------------------------------------------------------------

    def vectors(self, user: object, session: str | None = None) -> UserVectors:
        """The user's long-term vector and the short-term one of a session (zeros without one).

        They belong to the embedding model of the latest feedback; a user without any has zeros, or with
        `prior="population"` the mean user of the fitted space in force, where there is one and not several.
        """
        return run(self._vectors(user, session, rebuild=False))

    async def avectors(self, user: object, session: str | None = None) -> UserVectors:
        """Async twin of `vectors`."""
        return await arun(self._vectors(user, session, rebuild=False))

    def rebuild(self, user: object) -> UserVectors:
        """Fold the user's whole ledger again and replace the snapshot; returns the long-term state."""
        return run(self._vectors(user, None, rebuild=True))

    async def arebuild(self, user: object) -> UserVectors:
        """Async twin of `rebuild`."""
        return await arun(self._vectors(user, None, rebuild=True))

    def explain(self, user: object, session: str | None = None) -> Explanation:
        """What was learned from feedback and why; `print(memory.explain(user))` says it in words."""
        return run(self._explain(user, session))

    async def aexplain(self, user: object, session: str | None = None) -> Explanation:
        """Async twin of `explain`."""
        return await arun(self._explain(user, session))

    # the rest ---------------------------------------------------------------------------------------------------

    def as_retriever(self, **kwargs: Any) -> VARSRetriever:
        """A retriever over the user's own preference cards; takes the options of `VARSRetriever`, such as `k=5`."""
        from langchain_persona.retriever import VARSRetriever

        return VARSRetriever(memory=self, **kwargs)

    def close(self) -> None:
        """Wait for work behind answers, then release what `local` opened (store, Chroma, lock). Safe to repeat.

        Objects that you passed in stay open.
        """
        self.background.close()
        self._resources.close()

    async def aclose(self) -> None:
        """Async twin of `close`."""
        await self.background.adrain()
        await asyncio.to_thread(self.close)

    async def __aenter__(self) -> Self:
        """The memory itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()

    def __enter__(self) -> Self:
        """The memory itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def space_for(self, dimension: int) -> PreferenceSpace:
        """The preference space for embeddings of this many numbers before anything was fitted: as given, or identity.

        Raises:
            DimensionMismatchError: the memory has a space for another number.
        """
        return self._spaces.plain(dimension)

    def user_vectors(self, user: str, session: str, embedding: str, dimension: int) -> Steps[UserVectors]:
        """Steps of the hot path: the state of a user in one session for one embedding model."""
        folded = yield from self.ledger.fold(user, embedding, self._spaces.choice(embedding, dimension))
        return self._as_vectors(folded, session)

    def _as_vectors(self, folded: Folded, session: str | None) -> UserVectors:
        state, space = folded.state, folded.space
        beta_long, beta_short = self.config.rule.betas
        short = state.short(label(session, prefix="s") if session else None)
        long = state.long
        if self.config.prior == "population":
            if space.prior is not None:
                long = long + (self.config.prior_scale or 0.0) * space.prior
            elif not self._told_no_prior:
                self._told_no_prior = True
                warn(logger, 'prior="population" does nothing before memory.refit() has fitted a space (%s)', space.id)
        return UserVectors(long, short, beta_long, beta_short, state.baseline, state.count, space)

    def _vectors(self, user: object, session: str | None, *, rebuild: bool) -> Steps[UserVectors]:
        name = normalise_user(user)
        current = None if name == ANONYMOUS else (yield from self.ledger.current(name))
        if current is None:
            starts = [] if name == ANONYMOUS else (yield from self._starts())
            if len(starts) != 1:  # whose embeddings, of how many numbers, is not known
                return UserVectors.cold(0 if self.space is None else self.space.k)
            return self._as_vectors(Folded(LearnerState.cold(starts[0].k), starts[0]), session)
        embedding, dimension = current
        choice = self._spaces.choice(embedding, dimension)
        return self._as_vectors((yield from self.ledger.fold(name, embedding, choice, rebuild=rebuild)), session)

    def _starts(self) -> Steps[list[PreferenceSpace]]:
        """The spaces in which a user without feedback may start: the one given, else those whose mean user acts."""
        if self.space is not None:
            return [self.space]
        return (yield from self._spaces.in_force()) if self.config.prior == "population" else []

    def _explain(self, user: object, session: str | None) -> Steps[Explanation]:
        name = normalise_user(user)
        if name == ANONYMOUS:
            return explanation_of(name, [], UserVectors.cold(0), None, None)
        entries, _ = yield from self.ledger.entries(name)
        current = yield from self.ledger.current(name)
        vectors = yield from self._vectors(name, session, rebuild=False)
        space = None if vectors.space is None else vectors.space.id
        if current is not None:
            return explanation_of(name, entries, vectors, space, current[0])
        several = len((yield from self._starts())) > 1
        return explanation_of(name, entries, vectors, space, None, several=several)
