"""Public test doubles and a check list, for our tests and for those of whoever builds on this package."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from threading import Barrier
from typing import Any, Literal

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.store.base import BaseStore, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore
from pydantic import BaseModel, Field, PrivateAttr

from langchain_persona.errors import ConfigError, DimensionMismatchError, check_number
from langchain_persona.identity import Identity, User
from langchain_persona.learning import (
    Event,
    LearnerState,
    UpdateRule,
    UserVectors,
    VARSConfig,
    WindowedRidge,
    fold,
    unit,
)
from langchain_persona.memory import PersonaMemory
from langchain_persona.records import Episode, PreferenceCard, new_id
from langchain_persona.retrieval import VARSRetriever
from langchain_persona.retrieval.sources import source_of

_Messages = list[BaseMessage]


class ScriptedChatModel(BaseChatModel):
    """A chat model that answers from a list and records what it was asked.

    Args:
        responses: one for each call, in order, or one function for all calls. A response is a text or an `AIMessage`; a
            dict or pydantic object (its JSON, or what `with_structured_output` parses); an exception or a class of
            them, raised; or a function of the list of messages that returns one of these.
        then: what comes after the last response: an error (`"raise"`), or all of them again (`"loop"`).
        delay: seconds before each answer.

    Attributes:
        calls, options: the messages of each call, in order, and beside them the keywords it came with.

    Example:
        >>> model = ScriptedChatModel(["Hello!", TimeoutError("slow")])
        >>> model.invoke("Hi").content
        'Hello!'
        >>> [[message.content for message in call] for call in model.calls]
        [['Hi']]
    """

    responses: Any
    then: Literal["raise", "loop"] = "raise"
    delay: float = 0.0
    calls: list[_Messages] = Field(default_factory=list, exclude=True, repr=False)
    options: list[dict[str, Any]] = Field(default_factory=list, exclude=True, repr=False)
    _played: itertools.count[int] = PrivateAttr(default_factory=itertools.count)  # `next` is atomic: no lock needed

    def __init__(self, responses: Sequence[Any] | Callable[[_Messages], Any] = (), **kwargs: Any) -> None:
        if isinstance(responses, str | BaseMessage | BaseException | dict):
            raise ConfigError(f"responses must be a list, one for each call, or a function; got {responses!r}")
        super().__init__(**kwargs | {"responses": responses if callable(responses) else list(responses)})

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """A model that is offered these tools; the script alone decides whether it calls one."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(self, messages: _Messages, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        if self.delay:
            time.sleep(self.delay)
        return ChatResult(generations=[ChatGeneration(message=self._play(messages, kwargs))])

    async def _agenerate(
        self, messages: _Messages, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        await asyncio.sleep(self.delay)
        return ChatResult(generations=[ChatGeneration(message=self._play(messages, kwargs))])

    def _stream(
        self, messages: _Messages, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        """The text in words, as a provider streams it, then tool calls and metadata in the last chunk."""
        if self.delay:
            time.sleep(self.delay)
        message = self._play(messages, kwargs)
        words = re.findall(r"\s*\S+\s*|\s+", message.text)
        step = len(words) // 100 + 1  # a long text comes in bigger pieces
        for start in range(0, len(words), step):
            yield ChatGenerationChunk(message=AIMessageChunk(content="".join(words[start : start + step])))
        last = {**message.model_dump(exclude={"type"}), "content": "", "chunk_position": "last"}
        yield ChatGenerationChunk(message=AIMessageChunk(**last))

    def _play(self, messages: _Messages, options: dict[str, Any]) -> AIMessage:
        """Record a call; give the message that the response stands for, or raise its error."""
        self.calls.append(list(messages))
        self.options.append(options)
        index, answer = next(self._played), self.responses
        if not callable(answer):
            count = len(answer)
            if index >= count and (self.then == "raise" or not count):
                raise AssertionError(f"the scripted model was called {index + 1} times but has {count} responses")
            answer = answer[index % count]
        if callable(answer) and not isinstance(answer, type):
            answer = answer(messages)
        match answer:
            case BaseException():
                raise answer
            case type() if issubclass(answer, BaseException):
                raise answer(f"scripted {answer.__name__}")
            case AIMessage():
                return answer.model_copy(deep=True)  # core writes an id into it: said twice, it is two messages
            case str():
                return AIMessage(answer)
            case BaseModel() | dict():
                fields = answer if isinstance(answer, dict) else answer.model_dump(mode="json")
                if options.get("tool_choice") != "any":
                    return AIMessage(json.dumps(fields, ensure_ascii=False))
                name = options["tools"][0]["function"]["name"]
                return AIMessage("", tool_calls=[{"name": name, "args": fields, "id": f"call-{index}"}])
        raise ConfigError(f"a response cannot be a {type(answer).__name__}; `ScriptedChatModel` says what it can be")


class HashEmbeddings(Embeddings):
    """Deterministic embeddings without a model: each word is a fixed random direction, a text their normalised sum."""

    def __init__(self, dimension: int = 64) -> None:
        check_number("dimension", dimension, 1)
        self.dimension = dimension
        self.model = f"hash-{dimension}"

    def embed_query(self, text: str) -> list[float]:
        """One unit vector."""
        words = re.findall(r"\w+", text.lower()) or [""]
        seeds = (int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big") for word in words)
        total = np.sum([np.random.default_rng(seed).normal(size=self.dimension) for seed in seeds], axis=0)
        return [float(number) for number in unit(total)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One unit vector for each text."""
        return [self.embed_query(text) for text in texts]


def random_events(seed: int, count: int, *, k: int = 8, sessions: int = 3) -> list[Event]:
    """Feedback with random rewards on random unit items of `k` numbers: one a second, two for each retrieval."""
    rng = np.random.default_rng(seed)

    def event(index: int) -> Event:
        session, reward, gate = f"s{rng.integers(sessions)}", float(rng.uniform(-1.0, 1.0)), float(rng.uniform())
        chosen, expected = unit(rng.normal(size=k)), unit(rng.normal(size=k)) * 0.5
        return Event(float(index), f"f{index}", session, reward, gate, chosen, expected, f"r{index // 2}")

    return [event(index) for index in range(count)]


def check_update_rule(rule: UpdateRule) -> None:
    """Assert what every rule must keep, in a test of your own; the `AssertionError` names what does not hold."""
    config = VARSConfig(rule=rule)
    run = partial(fold, config=config, k=8)
    events = random_events(1, 40)
    inputs = [(event.chosen.copy(), event.expected.copy()) for event in events]
    whole, start = run(events).to_json(), run(events[:25])
    stored = start.to_json()
    again = [run(events[25:], start=start, before=events[:25]).to_json() for _ in range(2)]
    assert again[0] == again[1], "not repeatable"
    assert start.to_json() == stored, "a step changed the state it was given"
    assert np.array_equal(inputs, [(event.chosen, event.expected) for event in events]), "a step changed an event"
    resumed = run(events[25:], start=LearnerState.from_json(stored), before=events[:25])
    assert resumed.to_json() == whole, "a snapshot gives another state"
    shuffled = [events[index] for index in np.random.default_rng(0).permutation(40)]
    assert run(shuffled + events[:7]).to_json() == whole, "depends on order of arrival"

    silent = run([replace(event, reward=0.0) for event in events[:10]])
    assert not any(vector.any() for vector in (silent.long, *silent.sessions.values())), "moves without a reward"
    same = replace(events[0], gate=1.0)
    for rewards in ([-1.0] * 300, [1.0] * 300, [1.0, -1.0] * 150):
        state = run([replace(same, time=i, id=f"h{i}", retrieval=f"r{i}", reward=r) for i, r in enumerate(rewards)])
        for vector in (state.long, *state.sessions.values(), *state.extra.values()):
            assert np.linalg.norm(vector) <= config.max_norm * 1.001, "unbounded or not finite under hostile rewards"


# stores ---------------------------------------------------------------------------------------------------------------

_Open = Callable[[], PersonaMemory]
"""Makes a memory in the place under test, as another process would."""

_MODEL = HashEmbeddings(16)
_FILMS = tuple(f"a film about {word}" for word in ("horses", "rockets", "roses", "guns", "pots", "ships"))
# prefixes of each other, two ways of writing one letter, what stores take for syntax or cannot hold, and very long ones
_USERS: tuple[User, ...] = (
    *("ana", "ANA", " ana", "anab", "u=ana", "user-1", "user-10", 7, "07", -7, "é", "e\u0301", "🦉", "langgraph"),
    *("a.b", "a", "..", "a/b", "a%", "%", "a_", "*", "a*", "x\0y", "x", "\ud800", "'; --"),
    *("x" * 2_000, "x" * 1_999 + "y"),
)
_ODD = "NUL \0, half of a pair \ud83e, 🦉, é, %s, '; --, \\u0000, " + "long " * 100


def check_store(store: BaseStore) -> None:
    """Assert that a LangGraph store keeps all that this package puts there, in a test of your own.

    It writes below namespaces of its own and empties them; eight threads call the store at once. An async store is
    checked from another thread than its event loop's: `await asyncio.to_thread(check_store, store)`. A note at the
    error says which check failed.

    Example:
        >>> check_store(InMemoryStore())
    """
    for what, check in store_checks(store).items():
        try:
            check()
        except Exception as error:
            error.add_note(f"check_store: {what}")
            raise


def store_checks(store: BaseStore) -> dict[str, Callable[[], None]]:
    """The checks of `check_store`, each under what it asserts."""

    def run(check: Callable[[_Open], None]) -> None:
        root = f"check-{new_id()}"
        try:
            check(partial(PersonaMemory, store, _MODEL, namespace=(root,), timeout_seconds=30.0))
        finally:
            for _ in range(50):  # a store whose delete does nothing must not hang the test
                if items := store.batch([SearchOp((root,), limit=500)])[0]:
                    store.batch([PutOp(item.namespace, item.key, None) for item in items])  # type: ignore[union-attr]

    return {str(check.__doc__).rstrip("."): partial(run, check) for check in _STORE_CHECKS}


def _check_ledger(open: _Open) -> None:
    """Feedback counts once a key, is seen by every process at once, and can be taken back to the bit."""
    one, other = open(), open()
    assert one.vectors("ana").count == 0
    docs = _show(one, "ana", "t1")
    shown = docs[0].metadata["persona"]["retrieval_id"]
    liked = one.feedback("ana", shown, reward=1.0, key="k", docs=docs[1])
    assert liked.applied, liked.reason
    for memory in (one, other):
        again = memory.feedback("ana", shown, reward=-1.0, key="k")
        assert (again.id, again.applied) == (liked.id, False), "a key was used twice"
        assert memory.vectors("ana", "t1").count == 1, "feedback is not read back"
    before = _bits(other.vectors("ana", "t1"))
    disliked = other.feedback("ana", shown, reward=-1.0)
    for memory in (one, other):
        assert memory.vectors("ana", "t1").count == 2, "what another process wrote is not seen"
    assert one.withdraw("ana", disliked.id).applied
    assert not other.withdraw("ana", disliked.id).applied, "withdrawn twice"
    assert not other.withdraw("bo", liked.id).applied, "withdrawn by a stranger"
    for memory in (one, other, open()):
        assert _bits(memory.vectors("ana", "t1")) == before, "the vectors are not as before"
    assert one.rebuild("ana").long.tobytes() == before[0]
    assert [rating.id for rating in other.ratings("ana")] == [disliked.id, liked.id], "an entry is lost"


def _check_cards(open: _Open) -> None:
    """Cards are kept, replaced, retired and revived, and never come back once they are erased."""
    one, other = open(), open()
    nuts = one.remember("ana", PreferenceCard(text="No nuts!", condition="at meals", kind="dislike", scope="always"))
    tea = one.remember("ana", "likes tea")
    assert other.preferences("ana") == [nuts, tea], "cards are not read back"
    coffee = other.update("ana", tea.id, "likes coffee")
    assert _texts(one) == ["No nuts!", "likes coffee"], "a change by another process is not seen"
    (old,) = [card.retired for card in one.preferences("ana", all=True) if card.id == tea.id]
    assert old is not None
    assert (old.by, old.reason) == (coffee.id, "updated")
    one.retire("ana", nuts.id)
    assert other.pin("ana", coffee.id).pinned
    one.hold_back("ana", coffee.id)
    assert _texts(other) == []
    other.hold_back("ana", coffee.id, False)
    one.revive("ana", nuts.id)
    other.revive("ana", tea.id)
    assert _texts(one) == ["No nuts!", "likes tea"], "reviving does not retire the successor"
    latte = one.update("ana", tea.id, "likes latte")
    erased = other.forget("ana", [coffee.id, latte.id, "unknown"])
    assert {card.id for card in erased} == {tea.id, coffee.id, latte.id}, "what a card replaced is not erased with it"
    assert one.cards.write("ana", [tea]) == []  # by who read it before
    for memory in (one, other):
        assert [card.text for card in memory.preferences("ana", all=True)] == ["No nuts!"], "an erased card came back"


def _check_persona(open: _Open) -> None:
    """A persona has revisions, and an earlier one can be put in force again."""
    one, other = open(), open()
    first = one.revise_persona("ana", "Drinks tea.\nLikes jazz.", reason="asked for it")
    second = other.revise_persona("ana", "Drinks coffee.\nLikes jazz.")
    assert one.persona("ana") == second, "a change by another process is not seen"
    assert [(told.number, told.reason) for told in one.history("ana")] == [(1, "asked for it"), (2, "written by hand")]
    assert other.rollback_persona("ana", 1).revision.text == first.revision.text
    assert one.pin_persona("ana").pinned
    assert other.persona("ana").latest == 3


def _check_turns(open: _Open) -> None:
    """An episode waits until it is worked through, and what it taught is written together with that."""
    one, other = open(), open()
    episode = Episode(thread="t1", message_id="m1", query="I love tea", answer="Noted.")
    one.episodes.record("ana", episode, "model")
    reading = other.turns.read_pending("ana", "model")
    assert [mark.episode for mark in reading.marks] == [episode], "an episode is lost"
    card = PreferenceCard(text="I love tea")
    assert other.turns.finish("ana", reading.marks, reading.progress.model_copy(update={"since": 1}), cards=[card]) == [
        card
    ]
    again = one.turns.read_pending("ana", "model")
    assert (again.marks, again.progress.since, _texts(one)) == ((), 1, ["I love tea"]), "not written together"
    assert one.turns.read("ana", episode_id=episode.id).episode == episode


def _check_users(open: _Open) -> None:
    """Users never meet, however alike or odd their ids are."""
    memory = open()
    for number, user in enumerate(_USERS):
        memory.remember(user, f"secret {number}")
        shown = _show(memory, user)[0].metadata["persona"]["retrieval_id"]
        assert memory.feedback(user, shown, reward=1.0, key="the same").applied
        assert not memory.feedback(_USERS[number - 1], shown, reward=-1.0).applied, f"{user!r:.20} was rated by another"
    for number, user in enumerate(_USERS):
        assert _texts(memory, user) == [f"secret {number}"], f"{user!r:.20} reads others' cards"
        assert memory.vectors(user).count == 1
    memory.forget("user-1", memory.preferences("user-1")[0].id)
    memory.delete_user("a")
    assert [len(memory.preferences(user)) for user in ("user-10", "user-1", "a", "a.b", "a%")] == [1, 0, 0, 1, 1]


def _check_texts(open: _Open) -> None:
    """Any text can be kept: what a store cannot hold of it is replaced."""
    one, other = open(), open()
    shown = _show(one, "ana", _ODD)[0].metadata["persona"]["retrieval_id"]
    assert one.feedback("ana", shown, reward=1.0, source=_ODD, key=_ODD).applied
    assert not other.feedback("ana", shown, reward=1.0, key=_ODD).applied
    card = one.remember("ana", _ODD)
    assert other.preferences("ana") == [card], "a text is not read back as it was returned"
    assert "🦉, é, %s, '; --" in card.text
    written = one.revise_persona("ana", _ODD, reason=_ODD)
    assert other.persona("ana") == written
    one.episodes.record("ana", Episode(thread=_ODD, message_id=_ODD, query=_ODD, answer=_ODD), "model")
    assert len(other.turns.read_pending("ana", "model").marks) == 1
    assert not other.withdraw("ana", _ODD).applied
    assert other.forget("ana", _ODD) == []


def _check_pages(open: _Open) -> None:
    """More records than one search gives are read, each once."""
    one, other = open(), open()
    cards = [PreferenceCard(text=f"wish {number}", created=float(number)) for number in range(1_050)]
    one.cards.write("ana", cards)
    assert [card.text for card in other.preferences("ana")] == [card.text for card in cards]


def _check_deletion(open: _Open) -> None:
    """Of a deleted user nothing is left, and a late writer does not bring anything back."""
    one, other = open(), open()
    for user in ("ana", "anab"):
        one.remember(user, "likes tea")
        _show(one, user)
    assert other.delete_user("ana").records["cards"] == 1
    one.remember("ana", "likes tea")
    assert other.preferences("ana") == one.preferences("ana") == []
    assert not one.delete_user("ana").records, "something of a deleted user is left"
    other.readmit_user("ana")
    one.remember("ana", "likes rain")
    assert (_texts(other), _texts(other, "anab")) == (["likes rain"], ["likes tea"])


def _check_document(open: _Open) -> None:
    """An exported user ranks as before where the document is imported."""
    memory, docs = open(), _show(open(), "ana", "t1")
    for doc, reward in zip(docs, (1.0, -0.5, 0.25), strict=True):
        memory.feedback("ana", doc.metadata["persona"]["retrieval_id"], reward=reward, docs=doc)
    memory.remember("ana", "likes tea")
    memory.import_user(memory.export_user("ana"), "bo")
    assert _bits(memory.vectors("bo", "t1")) == _bits(memory.vectors("ana", "t1"))
    assert memory.preferences("bo") == memory.preferences("ana")


def _check_writers(open: _Open) -> None:
    """Of several writers at once none loses what was acknowledged, and the next reader finds no duplicates."""
    memory = open()
    shown = _show(memory, "ana")[0].metadata["persona"]["retrieval_id"]
    english = memory.remember("ana", "Answer in English.").id
    together = Barrier(8)

    def write(number: int) -> set[str]:
        mine, written = open(), set[str]()
        mine.preferences("ana")
        together.wait(30.0)
        mine.remember("ana", "I like  tea." if number % 2 else "I like tea.")
        mine.update("ana", english, f"Answer in language {number}.")
        for count in range(4):
            receipt = mine.feedback("ana", shown, reward=0.5, key=f"{number} {count}")
            assert receipt.applied, receipt.reason
            written |= {receipt.id, mine.remember("ana", f"wish {number} {count}").id}
        return written

    with ThreadPoolExecutor(8) as threads:
        acknowledged = set[str]().union(*threads.map(write, range(8)))
    every = {rating.id for rating in memory.ratings("ana")} | {card.id for card in memory.preferences("ana")}
    assert acknowledged <= every, "something acknowledged is lost"
    assert memory.vectors("ana").long.tobytes() == memory.rebuild("ana").long.tobytes()
    for reader in (memory, open()):
        texts = [text for text in _texts(reader) if not text.startswith("wish")]
        assert sorted(" ".join(text.split())[:18] for text in texts) == ["Answer in language", "I like tea."], texts
    assert memory.preferences("ana") == open().preferences("ana"), "two readers keep different ones"


def _check_erasure(open: _Open) -> None:
    """An erased card does not come back, whatever another process writes meanwhile."""
    memory = open()
    doomed = [memory.remember("ana", f"doomed {number}").id for number in range(16)]
    together = Barrier(4)

    def forget(memory: PersonaMemory, card: str) -> None:
        memory.forget("ana", card)

    def change(memory: PersonaMemory, card: str) -> None:
        with suppress(KeyError):
            memory.pin("ana", card)
            memory.hold_back("ana", card)
            memory.update("ana", card, "doomed too")

    def race(number: int) -> None:
        mine = open()
        mine.preferences("ana")
        for card in doomed:
            together.wait(30.0)
            (forget if number == 0 else change)(mine, card)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(race, range(4)))
    left = {item.value["id"] for item in memory._store.scan(("ana", "cards"))}
    assert left.isdisjoint(doomed), "an erased card came back"


_STORE_CHECKS = (
    *(_check_ledger, _check_cards, _check_persona, _check_turns, _check_users, _check_texts),
    *(_check_pages, _check_deletion, _check_document, _check_writers, _check_erasure),
)


def _show(memory: PersonaMemory, user: User, session: str = "t1") -> list[Document]:
    """Three films, as a retriever ranked them for a user and recorded it."""
    films = InMemoryVectorStore.from_texts(list(_FILMS), _MODEL, ids=list(_FILMS))
    docs = VARSRetriever(vectorstore=films, memory=memory, k=3).rank_for("a film", Identity(str(user), session))
    assert len({doc.metadata["persona"]["retrieval_id"] for doc in docs} - {None}) == 1, "the retrieval is not recorded"
    return docs


def _texts(memory: PersonaMemory, user: User = "ana") -> list[str]:
    return [card.text for card in memory.preferences(user)]


def _bits(vectors: UserVectors) -> tuple[bytes, bytes, int, float]:
    return vectors.long.tobytes(), vectors.short.tobytes(), vectors.count, vectors.baseline


# sources --------------------------------------------------------------------------------------------------------------


def check_source(vectorstore: Any, embeddings: Embeddings | None = None, *, query: str = "a film") -> None:
    """Assert what ranking needs of a vector store or `Source`, in a test of your own.

    It must hold 8 to 100 documents whose texts differ, embedded by `embeddings` to vectors of unit length.

    Example:
        >>> texts = [f"a film about the number {number}" for number in range(10)]
        >>> check_source(InMemoryVectorStore.from_texts(texts, HashEmbeddings(16)))
    """
    source = source_of(vectorstore, embeddings)
    vector = np.asarray(source.embeddings.embed_query(query), dtype=np.float64)
    found = source.search(vector, 100)
    count, rows = len(found), found.vectors
    assert 8 <= len(set(found.ids)) == count == len(set(found.texts)) == len(found.metadatas), (
        "8 different ones, please"
    )
    assert rows.shape == (count, vector.size), "without vectors nothing can be ranked"
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-3), "vectors are not of length 1"
    assert np.allclose(found.relevance, rows @ unit(vector), atol=1e-3), "relevance is not the cosine"
    assert (np.diff(found.relevance) < 1e-5).all(), "the nearest are not first"
    for k in (1, 3, 5):
        assert source.search(vector, k).ids == found.ids[:k], f"the first {k} depend on how many are asked for"
    shift = np.random.default_rng(0).normal(size=vector.size)
    nearest = [found.ids[place] for place in np.argsort(-(rows @ (unit(vector) + unit(shift))))[:5]]
    assert list(source.search(vector, 5, shift=unit(shift)).ids) == nearest, "a moved query does not find its nearest"
    awaited = asyncio.run(source.asearch(vector, 5, shift=unit(shift)))
    assert list(awaited.ids) == nearest, "the async search finds others"
    some = source.sample(8)
    assert len(some) <= 8, "a sample is larger than was asked for"
    assert len(some) == 0 or np.allclose(np.linalg.norm(some, axis=1), 1.0, atol=1e-3), "a sample of what?"
    for name, row in source.vectors(found.ids[:3]).items():
        assert np.allclose(row, rows[found.ids.index(name)], atol=1e-3), "another vector under this id"
    with suppress(DimensionMismatchError):
        source.search(np.ones(vector.size + 1), 3)
        raise AssertionError("a query of another length is not refused")

    eager = VARSConfig(rule=WindowedRidge(gain=20.0), spread=1e6, strength=3.0)
    memory = PersonaMemory(InMemoryStore(), config=eager)
    retriever = VARSRetriever(vectorstore=vectorstore, embeddings=embeddings, memory=memory, k=5, user_id="ana")
    docs = retriever.invoke(query)
    assert tuple(doc.id for doc in docs) == found.ids[:5], "cold start is not the order of the store"
    assert retriever.feedback(docs[-1], 1.0).applied
    assert retriever.invoke(query)[0].id == docs[-1].id, "what was liked does not come first"
    assert tuple(doc.id for doc in retriever.invoke(query, user_id="bo")) == found.ids[:5], (
        "another user's ranking moved"
    )
