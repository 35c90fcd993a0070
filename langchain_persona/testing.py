"""Public test doubles and a check list, for our tests and for those of whoever builds on this package."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, Field, PrivateAttr

from langchain_persona.errors import ConfigError, check_number
from langchain_persona.learning import Event, LearnerState, UpdateRule, VARSConfig, fold, unit

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
