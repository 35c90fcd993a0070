"""The model under test: opened by name, its answers kept on disk, its calls and tokens counted, letters chosen."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, get_ident
from typing import Any, Literal

from langchain_core.caches import BaseCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import LLMResult
from langchain_core.tracers.context import register_configure_hook

from langchain_persona.errors import ConfigError, PersonaError
from langchain_persona.evals.items import LETTERS
from langchain_persona.prompt import approximate_tokens
from langchain_persona.reflection.model import answer_json, answer_text, bind_schema, chat_model

Respond = Callable[[Sequence[BaseMessage]], AIMessage]
"""What answers a conversation: the model, or the model held to something."""

How = Literal["schema", "logprobs", "text"]

_LETTER = r"(?:(?<=[a-z,;:] )A(?![A-Za-z'])|[A-Z](?![A-Za-z']|(?<=[AI]) [a-z]))"  # not the words "A" and "I"
_FINAL = re.compile(rf"(?i:final answer)\W{{0,5}}({_LETTER}|[a-z](?=\W*$))")
_FIRST = re.compile(r"^\W*([A-Z])(?=[.,):]|\W*$)")
_ALONE = re.compile(rf"(?<![A-Za-z'])({_LETTER})")
_YES_NO = re.compile(r"\W*(?:(?:the )?(?:answer|letter)\W+(?:is\W+)?)?(yes|no)\b")


class OutOfCallsError(PersonaError, RuntimeError):
    """Raised when a run would make more model calls than it may."""


class AnswerCache(BaseCache):
    """Answers of chat models on disk, one file a request; its key leaves out the port of 127.0.0.1, and today's date.

    Args:
        folder: where they lie; it gets a `.gitignore` of its own.
        max_calls: requests that are not on disk are let through so often; then `OutOfCallsError`.

    Attributes:
        calls: how many were let through.
        exhausted: whether one was refused. What catches the error may go on, so who runs the items looks here.
    """

    def __init__(self, folder: Path, max_calls: int | None = None) -> None:
        self._folder, self._lock, self.max_calls = folder / "answers", Lock(), max_calls
        self._folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
        self.calls, self.exhausted = 0, False

    def _path(self, prompt: str, llm_string: str) -> Path:
        today = f"{datetime.now(UTC):%Y-%m-%d}"  # stands in prompts; a run that goes on tomorrow asks nothing twice
        request = re.sub(rf"127\.0\.0\.1:\d+|{today}", "", prompt + llm_string)
        return self._folder / hashlib.sha256(request.encode()).hexdigest()[:40]

    def lookup(self, prompt: str, llm_string: str) -> Any:
        """The answer, or None."""
        path = self._path(prompt, llm_string)
        if path.exists():
            return loads(path.read_text(), allowed_objects="all")
        with self._lock:
            if self.max_calls is not None and self.calls >= self.max_calls:
                self.exhausted = True
                raise OutOfCallsError(f"{self.calls} calls were made, and no more are allowed")
            self.calls += 1
        return None

    def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
        """Keep an answer; written aside first, so that an interrupted run leaves no half of one."""
        path = self._path(prompt, llm_string)
        partial = path.with_name(f"{path.name}.{os.getpid()}-{get_ident()}.partial")
        partial.write_text(dumps(list(return_val)))
        partial.replace(path)

    def clear(self, **kwargs: Any) -> None:
        """Forget all answers."""
        for path in self._folder.iterdir():
            path.unlink()


class NamedCache(BaseCache):
    """An answer cache for a model whose requests do not say which model they are for, as those of ChatOllama."""

    def __init__(self, cache: AnswerCache, name: str) -> None:
        self._cache, self._name = cache, name

    def lookup(self, prompt: str, llm_string: str) -> Any:
        """The answer of the model of this name, or None."""
        return self._cache.lookup(prompt, self._name + llm_string)

    def update(self, prompt: str, llm_string: str, return_val: Any) -> None:
        """Keep an answer of the model of this name."""
        self._cache.update(prompt, self._name + llm_string, return_val)

    def clear(self, **kwargs: Any) -> None:
        """Forget the answers of all models."""
        self._cache.clear()


class Meter(BaseCallbackHandler):
    """Counts model calls and tokens, also of answers from the cache; approximately where a model does not tell.

    Attributes:
        calls, read, written: calls that were answered, and tokens in and out.
        failed: calls that ended in an error.
    """

    def __init__(self) -> None:
        self.calls = self.read = self.written = self.failed = 0
        self._lock, self._asked = Lock(), dict[Any, int]()

    def on_chat_model_start(
        self, serialized: Any, messages: list[list[BaseMessage]], *, run_id: Any, **kwargs: Any
    ) -> None:
        """Remember how much was asked."""
        self._asked[run_id] = sum(approximate_tokens(one.text) for some in messages for one in some)

    @property
    def complete(self) -> bool:
        """Whether every call was answered; one that somebody no longer waits for was not."""
        return not (self.failed or self._asked)

    def on_llm_error(self, error: BaseException, *, run_id: Any, **kwargs: Any) -> None:
        """Count the failure."""
        with self._lock:
            self.failed += 1
            self._asked.pop(run_id, None)

    def on_llm_end(self, response: LLMResult, *, run_id: Any, **kwargs: Any) -> None:
        """Count the call."""
        message = getattr(response.generations[0][0], "message", None)
        used = getattr(message, "usage_metadata", None) or {}
        asked, answered = self._asked.pop(run_id, 0), approximate_tokens(message.text if message else "")
        with self._lock:
            self.calls += 1
            self.read += used.get("input_tokens", asked)
            self.written += used.get("output_tokens", answered)


_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)
register_configure_hook(_meter, inheritable=True)


@contextmanager
def count_calls() -> Iterator[Meter]:
    """Counts all that models are asked within the block; a block around it does not count that again."""
    meter = Meter()
    token = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(token)


def open_model(
    name: str,
    *,
    base_url: str = "",
    temperature: float | None = 0.0,
    max_tokens: int | None = None,
) -> BaseChatModel:
    """A chat model by name, such as "openai:gpt-5-mini"; with a base URL, of any server that speaks OpenAI's API.

    `ConfigError`: there is no such model, or its provider's package or key is missing.
    """
    given: dict[str, Any] = {"max_retries": 2 if base_url else 5, "timeout": 1_200.0}
    given |= {"temperature": temperature} if temperature is not None else {}
    given |= {"max_tokens": max_tokens} if max_tokens else {}
    if base_url:
        name = f"openai:{name.removeprefix('openai:')}"
        given |= {"base_url": base_url, "api_key": os.environ.get("OPENAI_API_KEY") or "none"}
        if re.match(r"https?://(127\.0\.0\.1|localhost|\[::1\])[:/]", base_url):
            import httpx

            given["http_client"] = httpx.Client(trust_env=False)  # no proxy stands between
    return chat_model(name, **given)


def choose_letter(model: BaseChatModel, count: int, how: How) -> Respond:
    """A model that answers with one of the first letters, as far as it can be held to that.

    Args:
        model: the model.
        count: of letters, from A on.
        how: "schema" binds it to a JSON schema, and where a server does not enforce it, what it wrote is read as text;
            "logprobs" takes the likeliest letter of a single token; "text" lets it write and reads "Final Answer: X",
            a letter at the beginning, or the last one that stands alone.

    The message holds the letter, or "" where there is none to be read; with "logprobs" its `additional_kwargs` have the
    log probability of each letter. `ConfigError`: the server does not tell them.
    """
    letters = LETTERS[:count]
    bound: Any = model
    if how == "schema":
        bound = _bind_letters(model, letters)
    elif how == "logprobs":
        bound = model.bind(logprobs=True, top_logprobs=20, max_tokens=1)

    def respond(messages: Sequence[BaseMessage]) -> AIMessage:
        answer = bound.invoke(list(messages))
        if how != "logprobs":
            return AIMessage(_read_letter(answer, letters))
        told = _likely_letters(answer, letters)
        if not told:
            return AIMessage("")
        return AIMessage(letters[told.index(max(told))], additional_kwargs={"letters": told})

    return respond


def _bind_letters(model: BaseChatModel, letters: str) -> Any:
    field = {"type": "string", "enum": list(letters)}
    schema: dict[str, Any] = {"title": "answer", "description": "The letter of the option.", "type": "object"}
    schema |= {"properties": {"letter": field}, "required": ["letter"], "additionalProperties": False}
    return bind_schema(model, schema)


def _read_letter(answer: Any, letters: str) -> str:
    try:
        found = str(answer_json(answer)["letter"])
    except (ValueError, TypeError, KeyError):
        found = ""
    return found if found in set(letters) else _letter_in(answer_text(answer), letters)


def _likely_letters(answer: AIMessage, letters: str) -> list[float]:
    """The log probability of each letter as the first token; of what is not told, that of the least likely token.

    Empty where no letter is told.
    """
    first = ((answer.response_metadata.get("logprobs") or {}).get("content") or [{}])[0]
    told = [(one["token"].strip(), float(one["logprob"])) for one in first.get("top_logprobs") or []]
    if not told:
        raise ConfigError("this server tells no log probabilities of tokens; use --letters schema")
    if not any(token in set(letters) for token, _ in told):
        return []
    least = min(value for _, value in told)
    return [max((value for token, value in told if token == letter), default=least) for letter in letters]


def _letter_in(text: str, letters: str) -> str:
    found = [*_FINAL.findall(text)[-1:], *_FIRST.findall(text), *reversed(_ALONE.findall(text))]
    return next((one.upper() for one in found if one.upper() in letters), "")


def ask_yes_no(model: BaseChatModel, question: str) -> bool:
    """A judge's answer, a letter or a word, to a yes-or-no question; it is no cost of the arm that is judged.

    `ValueError`: it is neither.
    """
    asked = f"{question}\n\nA. yes\nB. no\n\nAnswer with the letter."
    with count_calls():
        answer = _bind_letters(model, "AB").invoke([HumanMessage(asked)])
    word = _YES_NO.match(answer_text(answer).lower())
    letter = {"yes": "A", "no": "B"}[word[1]] if word else _read_letter(answer, "AB")
    if not letter:
        raise ValueError("the judge's answer is neither A nor B, yes nor no")
    return letter == "A"
