"""`PersonaMemory`: everything that is held on users, behind one object."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial, update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore
from pydantic import ValidationError
from tqdm import tqdm

from langchain_persona.errors import ConfigError, check_number
from langchain_persona.identity import ANONYMOUS, Trust, User, normalise_user
from langchain_persona.learning import PreferenceSpace, VARSConfig
from langchain_persona.learning.vectors import UserVectors
from langchain_persona.masking import mask
from langchain_persona.memory.background import Background
from langchain_persona.memory.cards import Cards, card_texts
from langchain_persona.memory.dataset import DatasetFormat, DatasetReceipt, Datasets
from langchain_persona.memory.embedder import Embedder
from langchain_persona.memory.episodes import Episodes
from langchain_persona.memory.explanation import Explanation, Rating, explain_ledger, list_ratings
from langchain_persona.memory.ledger import FeedbackReceipt, Ledger
from langchain_persona.memory.local import open_store
from langchain_persona.memory.migration import MigrationReport, migrate_user
from langchain_persona.memory.persona import LONGEST_PERSONA, Personas
from langchain_persona.memory.portability import DeletionReceipt, DocumentFormat, ImportReceipt, Portability
from langchain_persona.memory.spaces import Spaces
from langchain_persona.memory.store import UserStore
from langchain_persona.memory.turns import Turns
from langchain_persona.records import (
    CommunicationStyle,
    Persona,
    PersonaRevision,
    PreferenceCard,
    Retirement,
    Trait,
    new_id,
)
from langchain_persona.resilience import run_or_default
from langchain_persona.rewards import validated

if TYPE_CHECKING:
    from langchain_persona.retrieval import VARSRetriever


S = TypeVar("S")
T = TypeVar("T")
P = ParamSpec("P")


def async_twin(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """The async form of a method: the same body in a worker thread, with its context."""

    async def twin(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await run_in_executor(None, partial(method, self, *args, **kwargs))

    update_wrapper(twin, method)
    twin.__name__ = twin.__qualname__ = f"a{method.__name__}"
    twin.__doc__ = f"Async twin of `{method.__name__}`."
    return twin


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of a user at a glance: how they want to be talked to, and facts, oldest first."""

    style: CommunicationStyle
    facts: tuple[PreferenceCard, ...] = ()


class PersonaMemory(AbstractContextManager["PersonaMemory"], AbstractAsyncContextManager["PersonaMemory"]):
    """Feedback, user vectors, preference cards, episodes and personas of all users, in one LangGraph store.

    `ConfigError`: an argument that cannot work.

    Args:
        store: any LangGraph `BaseStore`: `InMemoryStore`, `SqliteStore`, `AsyncPostgresStore`, …
        embeddings: the model that embeds cards; may be left out when only documents are ranked.
        config: the learner.
        space: a preference space that stays in force. None is the one that `fit` found for the embeddings that come,
            and the identity before there is one.
        trust: who decides where a LangGraph server authenticated one user and the call claims another. "server" makes
            the call anonymous; "caller" takes the claim, for a service that calls with one key for all its users.
        retrieval_ttl_seconds: how long a retrieval can be given feedback; 30 days by default.
        episode_ttl_seconds: how long past turns are kept; None is until they are erased.
        timeout_seconds: how long a call to the store or the embedding model may take. Then the turn goes on without.
        namespace: where in the store everything lies.

    Example:
        >>> from langgraph.store.memory import InMemoryStore
        >>> memory = PersonaMemory(store=InMemoryStore())
        >>> memory.vectors("ana@example.com").count
        0

    A user id is a str, an int or a UUID. None and blank text are the anonymous user, of whom nothing is read or
    written. Methods that take a card's id raise `KeyError` where the user has no such card, and all raise `StoreError`
    when the store fails. Every method has an async twin: `aremember`, …
    """

    def __init__(
        self,
        store: BaseStore,
        embeddings: Embeddings | None = None,
        *,
        config: VARSConfig | None = None,
        space: PreferenceSpace | None = None,
        trust: Trust = "server",
        retrieval_ttl_seconds: float = 30 * 86_400.0,
        episode_ttl_seconds: float | None = None,
        timeout_seconds: float = 5.0,
        namespace: Sequence[str] = ("persona",),
    ) -> None:
        advice = "a LangGraph BaseStore such as InMemoryStore(); PersonaMemory.local(folder) opens one for you"
        _check_type("store", store, BaseStore, advice, optional=False)
        _check_type("embeddings", embeddings, Embeddings, "a LangChain Embeddings object")
        _check_type("config", config, VARSConfig, "a VARSConfig such as VARSConfig(spread=0.2)")
        _check_type("space", space, PreferenceSpace, "a PreferenceSpace")
        for name, seconds in (("retrieval_ttl_seconds", retrieval_ttl_seconds), ("timeout_seconds", timeout_seconds)):
            check_number(name, seconds, 0.001, 1e12)
        if episode_ttl_seconds is not None:
            check_number("episode_ttl_seconds", episode_ttl_seconds, 60.0, 1e12)
        if trust not in ("server", "caller"):
            raise ConfigError(f'trust must be "server" or "caller", got {trust!r}')
        self.store = store
        self.embeddings = embeddings
        self.config = VARSConfig() if config is None else config
        self.trust = trust
        self.timeout_seconds = timeout_seconds
        self.background = Background()
        self._store = UserStore(store, namespace, timeout_seconds)
        self.spaces = Spaces(self._store, space)
        self.ledger = Ledger(self._store, self.config, self.spaces, self.background, retrieval_ttl_seconds)
        self.embedder = Embedder(embeddings, timeout_seconds)
        self.cards = Cards(self._store, self.embedder)
        self.episodes = Episodes(self._store, self.embedder, self.background, episode_ttl_seconds)
        self.personas = Personas(self._store)
        self.portability = Portability(self._store, self.cards, self.ledger, self.episodes, self.personas)
        self.turns = Turns(self._store, self.cards, self.personas, self.episodes, self.ledger)
        self._datasets = Datasets(self._store, self.cards, self.ledger, self.episodes)
        self._resources = ExitStack()
        self._embed_again = 0.0

    @classmethod
    def local(
        cls,
        path: str | Path,
        *,
        embeddings: Embeddings | None = None,
        config: VARSConfig | None = None,
        space: PreferenceSpace | None = None,
        trust: Trust = "server",
        timeout_seconds: float = 5.0,
    ) -> Self:
        """Open (or create) the embedded default: one SQLite file in the folder `path`, and a local embedding model.

        Several processes may have the folder open at once. `MissingExtraError`: the extra `local` is not installed.

        Example:
            >>> with PersonaMemory.local("./persona") as memory:  # doctest: +SKIP
            ...     memory.remember("ana@example.com", "Drinks her coffee black.")
        """
        with ExitStack() as resources:
            store = open_store(path, resources)
            if embeddings is None:
                from langchain_persona.embeddings import LocalEmbeddings

                embeddings = LocalEmbeddings()
            memory = cls(store, embeddings, config=config, space=space, trust=trust, timeout_seconds=timeout_seconds)
            resources.callback(setattr, memory._store, "closed", True)
            memory._resources = resources.pop_all()
        return memory

    def __repr__(self) -> str:
        """What it is made of: `<PersonaMemory SqliteStore, LocalEmbeddings>`."""
        model = "no embeddings" if self.embeddings is None else type(self.embeddings).__name__
        return f"<PersonaMemory {type(self.store).__name__}, {model}>"

    # feedback ---------------------------------------------------------------------------------------------------------

    def feedback(
        self,
        user: User | None,
        retrieval_id: str,
        *,
        reward: float,
        source: str = "thumbs",
        key: str | None = None,
        docs: str | Document | Sequence[str | Document] | None = None,
        gate: float | None = None,
    ) -> FeedbackReceipt:
        """Record how good a retrieval was for a user; the very next ranking moves.

        Args:
            user: whose; a retrieval of another user is unknown here.
            retrieval_id: `document.metadata["persona"]["retrieval_id"]`.
            reward: from −1 (bad) to 1 (good); `langchain_persona.rewards` makes one of any signal.
            source: the kind of signal: a name of `rewards.RELIABILITY`, or one of your own.
            key: idempotency key; a second feedback with the same key changes nothing.
            docs: the documents (or their ids) that it is about; the whole retrieval when left out.
            gate: how much it counts, in [0, 1]. By default the share that is due to retrieval (1 for thumbs, rating,
                click, dwell and copy, else by `attribution_gate`) times the reliability of its source.

        Returns:
            A receipt. `applied` is False for an anonymous user, a used key, a gate of 0, and an unknown or expired
            retrieval; the last two are kept in the ledger.

        Raises:
            TypeError, ValueError: the reward is not a number, NaN, or out of range.
            ConfigError: another argument cannot be right, such as `docs` that this retrieval did not return.
            StoreError: the store failed, and the call can be made again. Where it only did not answer in time it may
                have recorded it: with a `key` the repetition counts once.
        """
        name = normalise_user(user)
        validated(reward)
        _require_text("retrieval_id", retrieval_id, "document.metadata['persona']['retrieval_id']")
        _require_text("source", source, "a word such as 'thumbs'")
        if key is not None:
            _require_text("key", key, "a text that names this feedback")
        if gate is not None:
            check_number("gate", gate, 0.0, 1.0)
        ids = None if docs is None else _document_ids(docs)
        if name == ANONYMOUS:
            return FeedbackReceipt("", applied=False, reason="anonymous: nothing is written without a user id")
        return self.ledger.feedback(name, retrieval_id, reward, source=source, key=key, docs=ids, gate=gate)

    def withdraw(self, user: User | None, feedback_id: str) -> FeedbackReceipt:
        """Take one feedback back, by the `id` of its receipt or `Rating`: the vectors become as without it.

        `applied` of the receipt is False, with the reason, for an unknown id and for one that was withdrawn before.
        """
        _require_text("feedback_id", feedback_id, "the id of a FeedbackReceipt or of one of memory.ratings(user)")
        name = normalise_user(user)
        if name == ANONYMOUS:
            return FeedbackReceipt("", applied=False, reason="an anonymous user has no feedback")
        return self.ledger.withdraw(name, feedback_id)

    def ratings(self, user: User | None) -> list[Rating]:
        """What was learned from, newest first: every thumb, and all that the loop recorded by itself."""
        name = normalise_user(user)
        return [] if name == ANONYMOUS else list_ratings(self.ledger.entries(name))

    # vectors ----------------------------------------------------------------------------------------------------------

    def vectors(self, user: User | None, session: str | None = None) -> UserVectors:
        """The user's long-term vector, and the short-term one of a session (zeros without one).

        They belong to the embedding model of the latest feedback. A user without any has zeros.
        """
        return self._vectors(normalise_user(user), session or "")

    def rebuild(self, user: User | None) -> UserVectors:
        """Fold the user's whole ledger again and replace the snapshot; returns the long-term state."""
        return self._vectors(normalise_user(user), "", rebuild=True)

    def explain(self, user: User | None) -> Explanation:
        """What is known of a user and why; `print(memory.explain(user))` says it in words."""
        name = normalise_user(user)
        if name == ANONYMOUS:
            return Explanation(name)
        current = self.ledger.current(name)
        embedding, space = (None, None) if current is None else (current[0], self.ledger.fold(name, *current).space.id)
        return explain_ledger(name, self.ledger.entries(name), self.cards.read(name), embedding, space)

    # cards ------------------------------------------------------------------------------------------------------------

    def remember(self, user: User | None, card: str | PreferenceCard) -> PreferenceCard:
        """Keep a preference or fact about a user, a line of text or a whole card, and return it as stored.

        A line of text is a fact, which moves no ranking; `PreferenceCard(text=…, kind="like")` or "dislike" does.
        Secrets in the text (keys, passwords, card numbers) are masked. Where the embedding model does not answer, the
        text is kept and its vector follows. `ConfigError`: the text is empty or too long. `KeyError`: a card with this
        id was erased. Where a card in force says the same and counts as much, that one is returned.
        """
        made, name = _as_card(card), normalise_user(user)
        if name == ANONYMOUS:
            return made
        if twin := self.cards.twin(name, made):
            return twin
        made = self._embed(made)
        if not self.cards.write(name, [made]):
            raise KeyError(f"card {made.id!r} was erased; remember its text to keep it anew")
        return made

    def preferences(self, user: User | None, *, all: bool = False) -> list[PreferenceCard]:
        """The user's cards in force, oldest first; with `all`, retired and held-back ones too."""
        name = normalise_user(user)
        if name == ANONYMOUS:
            return []
        cards = self.cards.read(name)
        return cards.all if all else list(cards.active)

    def update(self, user: User | None, card_id: str, card: str | PreferenceCard) -> PreferenceCard:
        """Put a new card in the place of another, which is retired.

        What is not named stays as it was: kind, scope, condition, whether it is pinned or held back.
        `ConfigError`: the text is empty or too long.
        """
        new, name = _as_card(card), _known_user(user)
        named = set() if isinstance(card, str) else card.model_fields_set
        stays = {"kind", "scope", "condition", "pinned", "held_back"} - named
        new = new.model_copy(update=self.cards.get(name, card_id).model_dump(include=stays))
        new = self._embed(new)
        if any(one.id == new.id for one in self.cards.read(name).all):  # a changed copy: what it is of stays
            new = new.model_copy(update={"id": new_id(), "created": time.time()})
        return self.cards.replace(name, card_id, new, "updated")

    def retire(self, user: User | None, card_id: str, reason: str = "") -> PreferenceCard:
        """Take a card out of force. It stays readable with `preferences(all=True)`, and `revive` brings it back."""
        name = _known_user(user)
        before = self.cards.get(name, card_id).retired
        gone = Retirement(time=time.time(), reason=mask(reason), by=before.by if before else None)
        return self.cards.change(name, card_id, retired=gone)

    def revive(self, user: User | None, card_id: str) -> PreferenceCard:
        """Bring a retired card back. What took its place, at once or later, is retired instead."""
        name, now = _known_user(user), time.time()
        ended = Retirement(time=now, reason="the card that it replaced was revived", by=card_id)
        with self._store.editing(name):
            card = self.cards.get(name, card_id)
            revived = card.model_copy(update={"retired": None, "replaces": "", "updated": now})
            every, heirs, more = self.cards.read(name).all, {card_id}, {card_id}
            while more:
                by = {one.retired.by for one in every if one.id in more and one.retired}
                more = {one.id for one in every if one.id in by or one.replaces in more} - heirs
                heirs |= more
            others = [one for one in every if one.id in heirs - {card_id} and one.retired is None]
            changed = [one.model_copy(update={"retired": ended, "updated": now}) for one in others]
            if revived not in self.cards.write(name, [revived, *changed]):
                raise KeyError(f"card {card_id!r} was erased")
        return revived

    def pin(self, user: User | None, card_id: str, pinned: bool = True) -> PreferenceCard:
        """Protect a card from being changed automatically, or lift the protection."""
        return self.cards.change(_known_user(user), card_id, pinned=pinned)

    def hold_back(self, user: User | None, card_id: str, held_back: bool = True) -> PreferenceCard:
        """Keep a card but never show it to a model, or show it again."""
        return self.cards.change(_known_user(user), card_id, held_back=held_back)

    def forget(self, user: User | None, card_ids: str | Sequence[str]) -> list[PreferenceCard]:
        """Erase cards for good: texts, vectors, what they replaced, episodes, persona lines and retrievals with them.

        Unknown ids are ignored; what was erased is returned. Where the card itself was rated, as a result of
        `as_retriever`, the rating stays in the ledger, and the card's vector in it; the text does not. In the folder of
        `local` the file is written anew, and no byte of the texts is left in it.
        """
        name, ids = normalise_user(user), [card_ids] if isinstance(card_ids, str) else list(card_ids or ())
        if not all(isinstance(one, str) for one in ids):
            raise ConfigError(f"forget takes ids of cards, such as card.id; got {card_ids!r:.200}")
        if name == ANONYMOUS or not ids:
            return []
        return self.portability.forget(name, ids)

    # profile and persona ----------------------------------------------------------------------------------------------

    def profile(self, user: User | None) -> Profile:
        """Communication style and facts of a user; the defaults where nothing is known."""
        name = normalise_user(user)
        if name == ANONYMOUS:
            return Profile(CommunicationStyle())
        reading = self.turns.read(name)
        return Profile(reading.style, tuple(card for card in reading.cards.active if card.kind == "fact"))

    def set_style(self, /, user: User | None, **axes: float | None) -> CommunicationStyle:
        """Say how a user wants to be talked to, from −1 to 1 on axes of `CommunicationStyle`; None is not known.

        What later conversations show moves it on. `ConfigError`: no such axis, or out of range.

        Example:
            >>> from langgraph.store.memory import InMemoryStore
            >>> PersonaMemory(InMemoryStore()).set_style("ana", verbosity=-0.5).verbosity
            Trait(value=-0.5, confidence=1.0)
        """
        if unknown := axes.keys() - CommunicationStyle.model_fields.keys():
            raise ConfigError(f"no axis {min(unknown)!r}, only {', '.join(CommunicationStyle.model_fields)}")
        for axis, value in axes.items():
            check_number(axis, 0.0 if value is None else value, -1.0, 1.0)
        told = {axis: Trait() if value is None else Trait(value=value, confidence=1.0) for axis, value in axes.items()}
        name = normalise_user(user)
        return CommunicationStyle() if name == ANONYMOUS else self.personas.restyle(name, told)

    def persona(self, user: User | None) -> Persona:
        """The persona in force; an empty one, number 0, before any was written."""
        name = normalise_user(user)
        return Persona() if name == ANONYMOUS else self.personas.read(name)[1]

    def history(self, user: User | None) -> list[PersonaRevision]:
        """Every revision of the persona, oldest first, with reason and unified diff."""
        name = normalise_user(user)
        return [] if name == ANONYMOUS else self.personas.history(name)

    def revise_persona(self, user: User | None, text: str, *, reason: str = "written by hand") -> Persona:
        """Write the persona by hand, one sentence a line, also where it is pinned; "" empties it.

        Later automatic rewrites keep these lines. `ConfigError`: not a text, or above 4,000 characters.
        """
        if not isinstance(text, str) or len(text) > LONGEST_PERSONA:
            given = f"{len(text):,} characters" if isinstance(text, str) else type(text).__name__
            raise ConfigError(f"a persona is a text of at most {LONGEST_PERSONA:,} characters, got {given}; shorten it")
        name = normalise_user(user)
        return Persona() if name == ANONYMOUS else self.personas.revise(name, mask(text), mask(reason))

    def pin_persona(self, user: User | None, pinned: bool = True) -> Persona:
        """Protect the persona from automatic rewrites, or lift the protection."""
        name = normalise_user(user)
        return Persona() if name == ANONYMOUS else self.personas.pin(name, pinned)

    def rollback_persona(self, user: User | None, number: int) -> Persona:
        """Put an earlier revision in force again, as a revision of its own; 0 is the empty persona.

        Lines that rest on cards which are no longer in force go at the next rewrite, unless the persona is pinned.
        `KeyError`: the user has no such revision.
        """
        return self.personas.rollback(_known_user(user), number)

    # to take along, and to go -----------------------------------------------------------------------------------------

    def export_user(self, user: User | None, *, format: DocumentFormat = "langchain-persona") -> dict[str, Any]:
        """All that is held on a user, as one document of plain JSON: the fields of `portability.UserDocument`.

        Cards, ratings, episodes, style, and the persona with its revisions. Retrievals that were not rated are left
        out, and so is what can be made again. `KeyError`: an anonymous user.

        With `format="pam"` a memory store of Portable AI Memory 1.0, for another product: the cards alone, as texts.
        """
        return self.portability.export_user(_known_user(user), format)

    def import_user(self, document: object, user: User | None = None, *, max_bytes: int = 50_000_000) -> ImportReceipt:
        """Add what an exported document holds; it then ranks as it did, bit for bit, with the same learner and space.

        What is there stays as it is, so importing twice changes nothing. Persona and style are taken where the user has
        none. Cards and episodes that were erased here stay erased, with all that tells of them.

        Args:
            document: of `export_user`, or its JSON text. Of other tools, for cards: a memory store of Portable AI
                Memory 1.0, or a list of what mem0's `get_all` or LangMem's namespace in a store holds.
            user: whose it becomes; by default the one whom the document names. Always name the user where the document
                comes from outside.
            max_bytes: of JSON; a larger document is refused. A rating takes about 5 KB with 384 numbers a vector.

        Raises:
            DocumentError: it is not such a document, damaged, of another version or too large. Nothing was imported.
            ConfigError: the user was deleted and not readmitted.
            StoreError: the store failed half-way; the same call completes it.
        """
        check_number("max_bytes", max_bytes, 1)
        name, receipt = self.portability.import_user(document, "" if user is None else _known_user(user), max_bytes)
        if self.embedder.has_model:  # what another model embedded
            run_or_default("Imported cards have no vectors yet", lambda: self.cards.embedded(name), None)
        return receipt

    def export_dataset(
        self,
        path: str | Path,
        users: User | Iterable[User],
        *,
        format: DatasetFormat = "sft",
        threshold: float = 0.5,
    ) -> DatasetReceipt:
        """Write what some users judged as training data: one JSON object a line, in TRL's conversational shapes.

        Name the users who agreed to it: nobody else is in it, and no deleted user. An exchange is left out where it
        tells of a retired or held-back card, where its answer was made with a card that is erased or held back, where
        its verdict was withdrawn or its context is not kept, and where it holds tokens of a chat template; the receipt
        counts them. Rows hold no ids, secrets are masked, and repetitions are dropped. The users' words are in them.

        Args:
            path: of the file; one that is there is replaced.
            users: ids of those who agreed.
            format: "sft", the answers that users liked or edited: `{"messages": [...]}`. "dpo", a better and a worse
                answer to the same words: `{"prompt": [...], "chosen": [...], "rejected": [...]}`. "kto", answers with a
                verdict: `{"prompt": [...], "completion": [...], "label": bool}`.
            threshold: an answer is liked above this reward, and disliked below its negative. With the default a tool
                that worked is no verdict yet.

        Raises:
            ConfigError: an argument that cannot work. `KeyError`: an anonymous user.
            StoreError, OSError: nothing was written.
        """
        named = [users] if isinstance(users, User) else users
        return self._datasets.write(Path(path), format, [_known_user(one) for one in named], threshold)

    def delete_user(
        self, user: User | None, *, checkpointer: BaseCheckpointSaver[Any] | None = None
    ) -> DeletionReceipt:
        """Delete everything of a user: cards, ratings, retrievals, episodes, persona, and what is made of them.

        A tombstone without a name stays, so that nothing which is under way anywhere brings them back: until
        `readmit_user` the user is treated as anonymous. Call it again where it failed half-way, or to see whether late
        writers left something; the receipt tells what was deleted this time. In the folder of `local` the file is
        written anew, and no byte of what was deleted is left in it.

        Args:
            user: whose; anonymous is a `KeyError`.
            checkpointer: where the conversations lie: threads of the user's episodes are deleted, whoever else takes
                part in them. Those of imported episodes are left alone, for a document may name anybody's.

        Example:
            >>> from langgraph.store.memory import InMemoryStore
            >>> memory = PersonaMemory(InMemoryStore())
            >>> _ = memory.remember("ana", "Drinks her coffee black.")
            >>> memory.delete_user("ana")
            <DeletionReceipt 1 cards, 2 versions; 0 threads; overwritten=None>
        """
        return self.portability.delete_user(_known_user(user), checkpointer)

    def readmit_user(self, user: User | None) -> None:
        """Let a deleted user in again, as somebody of whom nothing is known; of another user nothing changes."""
        self._store.readmit_user(_known_user(user))

    # preference spaces and embedding models ---------------------------------------------------------------------------

    def fit(
        self,
        *,
        embedding: str | None = None,
        k: int = 64,
        min_users: int = 20,
        min_events: int = 5,
        progress: bool = False,
    ) -> PreferenceSpace:
        """Fit a preference space from the feedback of all users in the store, and put it in force.

        Every memory on this store that was made without `space=` learns in it from a user's next read on;
        `use_space(None)` goes back. `embedding` is by default the model in which most users have enough feedback; the
        rest is as in `PreferenceSpace.fit`. 150 users with 20,000 thumbs take about ten seconds of one core.
        """
        ridge = float(getattr(self.config.rule, "ridge", 0.1))
        limits = {"k": k, "min_users": min_users, "min_events": min_events}
        return self.spaces.fit(self.ledger.entries, embedding, progress=progress, ridge=ridge, **limits)

    def use_space(self, space: PreferenceSpace | None, *, embedding: str | None = None) -> None:
        """Put a preference space in force, for every memory on this store that was made without `space=`.

        A space needs the name of its embedding model, as `explain(user).embedding` tells it. None is the identity, as
        before the first `fit`, by default for all models.
        """
        if space is not None and not isinstance(space, PreferenceSpace):
            raise ConfigError(f"space must be a PreferenceSpace or None, got {type(space).__name__}")
        if space is not None and embedding is None:
            raise ConfigError(
                "name the embedding model of the space: use_space(space, embedding=explain(user).embedding)"
            )
        for model in self.spaces.models() if embedding is None else [embedding]:
            self.spaces.use(model, space)

    def migrate_embeddings(
        self,
        retriever: VARSRetriever | None = None,
        *,
        users: Sequence[User] | None = None,
        progress: bool = True,
    ) -> MigrationReport:
        """Carry users over to another embedding model: embed cards again, and translate feedback.

        Fill a collection with the same documents under the same ids, make a retriever on it, and call this once;
        without a retriever only cards are embedded again, with `memory.embeddings`. A rating is carried over by way of
        the documents that it was about (of each user the latest 500), and withdrawing it afterwards reaches both. Doing
        it again changes nothing. By default all users of the store are carried over.
        """
        source = None if retriever is None else retriever.source
        given = [users] if isinstance(users, str) else users
        names = self._store.users() if given is None else [normalise_user(user) for user in given]
        bar = tqdm(names, desc="embedding model", unit="user", disable=not progress)
        dimension = self.embedder.embed_query("The length of a vector").size if self.embedder.has_model else 0
        reports = [migrate_user(name, self.cards, self.ledger, source, dimension) for name in bar]
        return MigrationReport(*(sum(getattr(one, name) for one in reports) for name in MigrationReport.__slots__))

    # work behind the answer -------------------------------------------------------------------------------------------

    def process_pending(self, user: User | None = None) -> int:
        """Work through episodes that were answered but not yet learned from, such as after a crash; how many.

        Each is worked through by the reflection that it waits for: make the graph or middleware first. Without `user`
        all users' are.
        """
        names = [normalise_user(user)] if user is not None else self.episodes.waiting_users()
        return sum(one.process(name) for name in names if name for one in self.turns.processors.values())

    async def aprocess_pending(self, user: User | None = None) -> int:
        """Async twin of `process_pending`."""
        waiting = self.episodes.waiting_users
        names = [normalise_user(user)] if user is not None else await run_in_executor(None, waiting)
        return sum([await one.aprocess(name) for name in names if name for one in self.turns.processors.values()])

    def drain(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the work behind answers (`reflect="background"`) that this process began; True when none is left.

        What runs on an event loop is waited for with `adrain` there.
        """
        return self.background.drain(timeout_seconds)

    async def adrain(self, timeout_seconds: float | None = None) -> bool:
        """Async twin of `drain`."""
        return await self.background.adrain(timeout_seconds)

    def close(self) -> None:
        """Wait for work behind answers, then release what `local` opened; your own objects stay open."""
        self.background.close()
        self._resources.close()

    async def aclose(self) -> None:
        """Async twin of `close`."""
        await self.background.adrain()
        await run_in_executor(None, self.close)

    def as_retriever(self, **options: Any) -> VARSRetriever:
        """A retriever over the user's own preference cards; takes the options of `VARSRetriever`, such as `k=5`."""
        from langchain_persona.retrieval import VARSRetriever
        from langchain_persona.retrieval.sources import CardSource

        return VARSRetriever(vectorstore=CardSource(self), memory=self, **options)

    afeedback = async_twin(feedback)
    awithdraw = async_twin(withdraw)
    aratings = async_twin(ratings)
    avectors = async_twin(vectors)
    arebuild = async_twin(rebuild)
    aexplain = async_twin(explain)
    aremember = async_twin(remember)
    apreferences = async_twin(preferences)
    aupdate = async_twin(update)
    aretire = async_twin(retire)
    arevive = async_twin(revive)
    apin = async_twin(pin)
    ahold_back = async_twin(hold_back)
    aforget = async_twin(forget)
    aprofile = async_twin(profile)
    aset_style = async_twin(set_style)
    apersona = async_twin(persona)
    ahistory = async_twin(history)
    arevise_persona = async_twin(revise_persona)
    apin_persona = async_twin(pin_persona)
    arollback_persona = async_twin(rollback_persona)
    aexport_user = async_twin(export_user)
    aimport_user = async_twin(import_user)
    aexport_dataset = async_twin(export_dataset)
    adelete_user = async_twin(delete_user)
    areadmit_user = async_twin(readmit_user)
    afit = async_twin(fit)
    ause_space = async_twin(use_space)
    amigrate_embeddings = async_twin(migrate_embeddings)

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    # helpers ----------------------------------------------------------------------------------------------------------

    def user_vectors(self, user: str, session: str, embedding: str, dimension: int) -> UserVectors:
        """For the retriever: a user's vectors in one session ("" is none), from embeddings of some model and length.

        What they stated is read in the same batch. Cards that were kept while the embedding model did not answer get
        their vectors in the background.
        """
        folded, results = self.ledger.fold_beside(user, embedding, dimension, self.cards.read_ops(user))
        vectors, cards = folded.vectors(session), self.cards.parse(user, results)
        if cards.unembedded and self.embedder.has_model and time.monotonic() >= self._embed_again:
            self._embed_again = time.monotonic() + 10.0  # the model may still be down
            self.background.submit(partial(self.cards.embedded, user))
        return vectors if cards.statements is None else replace(vectors, statements=cards.statements)

    def _vectors(self, name: str, session: str, *, rebuild: bool = False) -> UserVectors:
        current = None if name == ANONYMOUS else self.ledger.current(name)
        if current is not None:
            return self.ledger.fold(name, *current, rebuild=rebuild).vectors(session)
        given = self.spaces.given
        # whose embeddings, of how many numbers, is not known
        return UserVectors.cold(0 if given is None else given.k)

    def _embed(self, card: PreferenceCard) -> PreferenceCard:
        """The card with its vectors; without where there is no model or it does not answer."""
        if self.embeddings is None:
            return card
        texts, lost = card_texts([card]), "The text of a card is kept; its vector follows later"
        rows = run_or_default(lost, lambda: self.embedder.embed_documents(texts), None)
        return card if rows is None else self.cards.with_vectors([card], dict(zip(texts, rows, strict=True)))[0]


def _check_type(name: str, value: object, kind: type, advice: str, *, optional: bool = True) -> None:
    if not (isinstance(value, kind) or (optional and value is None)):
        raise ConfigError(f"{name} must be {advice}, got {value!r}"[:400])


def _require_text(name: str, value: object, what: str) -> None:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} must be {what}, got {value!r:.200}")


def _known_user(user: User | None) -> str:
    name = normalise_user(user)
    if name == ANONYMOUS:
        raise KeyError("nothing is kept of an anonymous user")
    return name


def _document_ids(docs: str | Document | Sequence[str | Document]) -> list[str]:
    given = [docs] if isinstance(docs, str | Document) else list(docs)
    ids = [str(doc.id) if isinstance(doc, Document) and doc.id else doc for doc in given]
    if not ids or not all(isinstance(one, str) and one for one in ids):
        raise ConfigError(
            f"docs takes documents of a retrieval or their ids, or is left out for all; got {docs!r:.200}"
        )
    return [str(one) for one in ids]


def _as_card(card: str | PreferenceCard) -> PreferenceCard:
    """A card without secrets, and without a vector: that belongs to another text."""
    if isinstance(card, PreferenceCard):
        evidence = tuple(one.model_copy(update={"quote": mask(one.quote)}) for one in card.evidence)
        condition = card.condition and mask(card.condition)
        clean = {"text": mask(card.text), "condition": condition, "evidence": evidence}
        clean |= {"vector": "", "embedding": "", "replaces": ""}
        return card.model_copy(update={**clean, "questions": tuple(map(mask, card.questions))})
    if not isinstance(card, str) or not card.strip():
        raise ConfigError(f"a card is a line of text or a PreferenceCard, got {card!r:.200}")
    try:
        return PreferenceCard(text=mask(card.strip()))
    except ValidationError as error:
        raise ConfigError(
            f"a card holds one short text, at most 4,000 characters; got {len(card.strip()):,}; split it up"
        ) from error
