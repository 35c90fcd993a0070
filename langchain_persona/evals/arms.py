"""Arms: what a model is told of its user, from nothing to this package; and what stands in for it as a control.

An arm learns a history once, then answers. The arms of this package are built on its public API alone, with the same
host's prompt as all others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.store.memory import InMemoryStore
from pydantic import field_validator

from langchain_persona import FlatReflection, ModelReflection, PersonaMemory, create_persona_graph
from langchain_persona.errors import ConfigError
from langchain_persona.evals.items import LETTERS, Item, Session, Turn
from langchain_persona.evals.models import How, Respond, choose_letter
from langchain_persona.prompt import append_to_last_message, approximate_tokens
from langchain_persona.records import new_id
from langchain_persona.reflection import Findings, Operation

SYSTEM = "You are a helpful assistant."

ARMS = {
    "none": "no memory: what all others are compared with",
    "length": "asks nobody: takes the longest option",
    "everything": "all earlier turns in the prompt, as far as they fit",
    "chroma": "plain Chroma over the earlier turns, the five nearest in the prompt",
    "verbatim": "this package without a model: the user's own sentences",
    "reflection": "this package, with the model that reflects",
    "another": "the memory of another user, learned by `reflection`: a control",
    "no-persona": "`reflection` without the persona text",
    "no-episodes": "`reflection` without earlier exchanges",
    "no-questions": "`reflection` without stored questions on the cards",
}

MODEL_ONLY = {"no-persona": "a persona text", "no-questions": "stored questions"}
"""Arms that are `reflection` itself unless a model reflects, by what they leave out."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the results; a run refuses to resume a results file with other settings.

    Attributes:
        benchmark, options: its name, and what its `load` is given beside the path.
        model, judge, embeddings: names of these.
        limit: only the first so many items; None for all. It may change between two runs on one file.
        reflection: "model" (one call a turn), "flat" (for small models) or "verbatim" (without a model).
        letters: how a multiple choice is answered; see `choose_letter`.
        budget, history: tokens for what is known of the user, and for the arm `everything`.
        temperature, max_tokens: of the model under test; None is its own default.
        seed: for shuffles.
    """

    benchmark: str
    options: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    judge: str = ""
    embeddings: str = ""
    limit: int | None = None
    reflection: str = "model"
    letters: How = "schema"
    budget: int = 800
    history: int = 3_000
    temperature: float | None = 0.0
    max_tokens: int | None = None
    seed: int = 0


@dataclass
class Kit:
    """What arms and benchmarks work with.

    Attributes:
        model, judge: the model under test, which also reflects, and who judges free answers.
        embeddings: of cards and turns.
        others: memory to the memory of another user, and that user's history.
    """

    model: BaseChatModel
    judge: BaseChatModel
    embeddings: Embeddings
    settings: Settings
    others: Mapping[str, tuple[str, Sequence[Session]]] = field(default_factory=dict)

    def respond(self, messages: Sequence[BaseMessage]) -> AIMessage:
        """The text that the model under test answers."""
        return AIMessage(self.model.invoke(list(messages)).text)


@dataclass(frozen=True)
class Reply:
    """An answer, and all that the model was given for it."""

    text: str
    prompt: str


class Choice(NamedTuple):
    """The place of the option that was chosen, -1 where no letter can be read; and its text."""

    place: int
    text: str


class Arm:
    """No memory; the others build on it.

    Attributes:
        beside: whether what is told of the user stands beside the message, as in this package, or in the system prompt.
    """

    beside = False

    def __init__(self, name: str, kit: Kit) -> None:
        self.name, self.kit = name, kit
        self._learned, self._locks = set[str](), defaultdict[str, Lock](Lock)
        self._heard = Counter[str]()  # turns of a user

    def learn(self, user: str, history: Sequence[Session]) -> bool:
        """Learn a history, once; True where that was done now. After an error it goes on with the turn that failed."""
        with self._locks[user]:
            if user in self._learned:
                return False
            turns = [(number, place) for number, session in enumerate(history) for place in range(len(session))]
            for number, place in turns[self._heard[user] :]:
                name = f"{user}-{number}"
                self.observe(user, name, as_messages(history[number][: place + 1], name))
                self._heard[user] += 1
            self._learned.add(user)
            return True

    def observe(self, user: str, thread: str, messages: Sequence[AnyMessage]) -> None:
        """Take note of a conversation; its last message is the answer to the one before."""

    def forget(self, user: str, text: str) -> None:
        """Forget what a message of the user taught."""

    def answer(self, user: str, thread: str, messages: Sequence[AnyMessage], respond: Respond) -> Reply:
        """Answer a conversation in the name of a user."""
        known = self.tell(user, messages)
        ahead, beside = ("", known) if self.beside else (known, "")
        given = [SystemMessage(f"{SYSTEM}\n\n{ahead}" if ahead else SYSTEM), *append_to_last_message(messages, beside)]
        return Reply(respond(given).text, _text_of(given))

    def tell(self, user: str, messages: Sequence[AnyMessage]) -> str:
        """What is told of the user."""
        return ""


class Everything(Arm):
    """All earlier turns, the latest where they do not all fit."""

    def __init__(self, name: str, kit: Kit) -> None:
        super().__init__(name, kit)
        self.turns = defaultdict[str, list[Turn]](list)

    def observe(self, user: str, thread: str, messages: Sequence[AnyMessage]) -> None:
        """Keep the turn."""
        self.turns[user].append(Turn(messages[-2].text, messages[-1].text))

    def forget(self, user: str, text: str) -> None:
        """Drop the turns with this message."""
        self.turns[user] = [one for one in self.turns[user] if one.user != text]

    def tell(self, user: str, messages: Sequence[AnyMessage]) -> str:
        """As many turns as fit, the most important last; those of the present conversation stand there anyway."""
        present, left, lines = {one.text for one in messages}, self.kit.settings.history, list[str]()
        for turn in self.choose(user, messages):
            line = f"User: {turn.user}\nAssistant: {turn.assistant}"
            if turn.user in present:
                continue
            left -= approximate_tokens(line)
            if left < 0:
                break
            lines.append(line)
        return "\n".join(["What this user and you said in earlier conversations:", *reversed(lines)]) if lines else ""

    def choose(self, user: str, messages: Sequence[AnyMessage]) -> Sequence[Turn]:
        """The turns to show, the most important first."""
        return self.turns[user][::-1]


class Nearest(Everything):
    """The five turns of a plain Chroma collection that are nearest to the message."""

    beside = True

    def __init__(self, name: str, kit: Kit) -> None:
        import chromadb
        from chromadb.config import Settings

        super().__init__(name, kit)
        self.collections = defaultdict[tuple[str, int], str](new_id)
        self.client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))  # opening it is not thread-safe

    def choose(self, user: str, messages: Sequence[AnyMessage]) -> Sequence[Turn]:
        """The turns to show, nearest first."""
        turns = list(dict.fromkeys(self.turns[user]))
        if not turns:
            return []
        name = self.collections[user, len(turns)]
        collection = self.client.get_or_create_collection(name, metadata={"hnsw:space": "cosine"})
        if collection.count() < len(turns):
            rows = self.kit.embeddings.embed_documents([f"{turn.user}\n{turn.assistant}" for turn in turns])
            collection.upsert([str(place) for place in range(len(turns))], np.asarray(rows, dtype=np.float32))
        query = self.kit.embeddings.embed_query(messages[-1].text)
        found = collection.query(np.asarray([query], dtype=np.float32), n_results=min(5, len(turns)))
        return [turns[int(place)] for place in found["ids"][0]]


class _WithoutQuestions(Findings):
    """Findings whose cards have no stored questions."""

    @field_validator("operations")
    @classmethod
    def _drop_questions(cls, operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
        return tuple(one.model_copy(update={"questions": ()}) for one in operations)


class PersonaArm(Arm):
    """This package: the graph of `create_persona_graph`, on a memory of its own."""

    def __init__(self, name: str, kit: Kit) -> None:
        super().__init__(name, kit)
        if name in MODEL_ONLY and kit.settings.reflection != "model":
            raise ConfigError(f'the arm {name} leaves out {MODEL_ONLY[name]}; only reflection "model" writes any')
        self.memory = PersonaMemory(InMemoryStore(), kit.embeddings, timeout_seconds=120.0)
        shape = "verbatim" if name == "verbatim" else kit.settings.reflection
        reflection: Any = shape
        if shape == "flat":
            reflection = FlatReflection(kit.model)
        elif shape == "model":
            schema = _WithoutQuestions if name == "no-questions" else Findings
            reflection = ModelReflection(kit.model, schema=schema)
        elif shape != "verbatim":
            raise ConfigError(f'reflection must be "model", "flat" or "verbatim", got {shape!r}')
        self.graph = create_persona_graph(
            agent=RunnableLambda(_respond),
            memory=self.memory,
            system_prompt=SYSTEM,
            reflection=reflection,
            budget_tokens=kit.settings.budget,
            **{"no-persona": {"align_every": 0}, "no-episodes": {"episodes": 0}}.get(name, {}),  # type: ignore[arg-type]
        ).compile()

    def learn(self, user: str, history: Sequence[Session]) -> bool:
        """Learn a history, once; what a reflection put off is done at the end."""
        done = super().learn(user, history)
        if done:
            self.memory.process_pending(user)
        return done

    def observe(self, user: str, thread: str, messages: Sequence[AnyMessage]) -> None:
        """Learn from the turn, as the agent does behind its answer."""
        self._run(user, thread, messages[:-1], lambda _: AIMessage(messages[-1].text), "inline")

    def forget(self, user: str, text: str) -> None:
        """Erase the cards that quote the message."""
        cards = self.memory.preferences(user, all=True)
        self.memory.forget(
            user, [one.id for one in cards if any(said.quote and said.quote in text for said in one.evidence)]
        )

    def answer(self, user: str, thread: str, messages: Sequence[AnyMessage], respond: Respond) -> Reply:
        """The answer of the graph; nothing is learned from it."""
        given = list[BaseMessage]()

        def note(told: Sequence[BaseMessage]) -> AIMessage:
            given.extend(told)
            return respond(told)

        return Reply(self._run(user, thread, messages, note, "off"), _text_of(given))

    def _run(self, user: str, thread: str, messages: Sequence[AnyMessage], respond: Respond, reflect: str) -> str:
        config: RunnableConfig = {"configurable": {"thread_id": thread, "respond": respond}}
        context = {"user_id": user, "reflect": reflect}
        state = self.graph.invoke({"messages": list(messages)}, config, context=context)
        return str(state["messages"][-1].text)


class Another(Arm):
    """Answers with the memory of another user."""

    def __init__(self, name: str, kit: Kit) -> None:
        super().__init__(name, kit)
        self.base: Arm = PersonaArm("reflection", kit)

    def learn(self, user: str, history: Sequence[Session]) -> bool:
        """Learn the other user's history."""
        return self.base.learn(*self.kit.others[user])

    def answer(self, user: str, thread: str, messages: Sequence[AnyMessage], respond: Respond) -> Reply:
        """Answer in the name of the other user."""
        return self.base.answer(self.kit.others[user][0], thread, messages, respond)


_KINDS = {"none": Arm, "length": Arm, "everything": Everything, "chroma": Nearest, "another": Another}


def arm_class(name: str) -> type[Arm]:
    """The class of an arm, or one of your own such as "my_package.memory:MyArm"; `ConfigError`: there is none."""
    if name in ARMS:
        return _KINDS.get(name, PersonaArm)
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ConfigError(f"no arm {name}; there are {', '.join(ARMS)}, and your own as module:Class")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"the arm {name} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Arm)):
        raise ConfigError(f"the arm {name} must be a subclass of langchain_persona.evals.arms.Arm")
    return found


def make_arms(names: Sequence[str], kit: Kit) -> dict[str, Arm]:
    """The arms of some names; `ConfigError`: there is no such arm."""
    made = {name: arm_class(name)(name, kit) for name in names}
    for arm in made.values():
        if isinstance(arm, Another):  # what was learned for the one need not be learned for the other
            arm.base = made.get("reflection", arm.base)
    return made


def as_messages(turns: Sequence[Turn], name: str) -> list[AnyMessage]:
    """Turns as messages, with ids that stay the same."""
    made = list[AnyMessage]()
    for number, turn in enumerate(turns):
        made += [HumanMessage(turn.user, id=f"{name}-{number}"), AIMessage(turn.assistant, id=f"{name}-{number}-a")]
    return made


def converse(item: Item, arm: Arm, respond: Respond) -> Reply:
    """Ask an item's question, behind the turns of its conversation."""
    asked = HumanMessage(item.question, id=item.id)
    thread = f"question {item.id}"  # of its own: what was said in the same thread is not recalled
    return arm.answer(item.key, thread, [*as_messages(item.before, item.id), asked], respond)


def choose_option(item: Item, arm: Arm, kit: Kit, close: str = "Which option suits me best?") -> Choice:
    """Ask a multiple choice.

    An arm sees the question alone; the options join it when the model is asked. They say what the memory holds in other
    words, so whoever searched with them would find more than a user's question finds.

    With letters="logprobs" it is asked once for each option, so that each stands once at every letter, and an option
    gets the sum of its letters' log probabilities: a liking for some letter, which small models have, cancels out
    (cyclic permutation, arXiv 2309.03882).
    """
    if arm.name == "length":
        longest = max(item.options, key=len)
        return Choice(item.options.index(longest), longest)
    form = 'End with "Final Answer: X".' if kit.settings.letters == "text" else "Answer with its letter alone."
    count = len(item.options)
    choose, sums = choose_letter(kit.model, count, kit.settings.letters), np.zeros(count)

    def respond(messages: Sequence[BaseMessage]) -> AIMessage:
        last, answer = messages[-1], AIMessage("")
        for shift in range(count if kit.settings.letters == "logprobs" else 1):
            order = np.roll(range(count), -shift)
            lines = "\n".join(f"{LETTERS[at]}. {item.options[place]}" for at, place in enumerate(order))
            text = last.text.replace(item.question, f"{item.question}\n\n{lines}\n\n{close} {form}", 1)
            answer = choose([*messages[:-1], last.model_copy(update={"content": text})])
            one_hot = [float(letter == answer.text) for letter in LETTERS[:count]]
            sums[order] += answer.additional_kwargs.get("letters", one_hot)
        return answer

    converse(item, arm, respond)
    place = int(sums.argmax()) if sums.any() else -1
    return Choice(place, item.options[place] if place >= 0 else "")


def _respond(messages: Sequence[BaseMessage], config: RunnableConfig) -> AIMessage:
    answer: AIMessage = config["configurable"]["respond"](messages)
    return answer


def _text_of(messages: Sequence[BaseMessage]) -> str:
    return "\n".join(one.text for one in messages)
