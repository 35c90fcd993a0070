"""A chat model that says what a test told it to say, by every way in which a chat model can be called."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Literal, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel, PrivateAttr

from langchain_persona.errors import ConfigError
from langchain_persona.testing.stream import pieces_of

__all__ = ["ScriptedChatModel"]

Method = Literal["json_schema", "function_calling", "json_mode"]


@dataclass
class _Tape:
    """What was played and recorded; shared by everything that is bound to one model."""

    calls: list[list[BaseMessage]] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)
    played: itertools.count[int] = field(default_factory=itertools.count)  # `next` is atomic: no lock in async code

    def __deepcopy__(self, memo: dict[int, Any]) -> _Tape:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _rewound, (list(self.calls), list(self.options))


def _rewound(calls: list[list[BaseMessage]], options: list[dict[str, Any]]) -> _Tape:
    return _Tape(calls, options, itertools.count(len(calls)))


class ScriptedChatModel(BaseChatModel):
    """A chat model that answers from a list and records what it was asked.

    Args:
        responses: one for each call, in order, or one function for all calls. A response is

            - a text, an `AIMessage` (with tool calls, where wanted), or a dict or pydantic object (its JSON);
            - an exception, or a class of exceptions: raised;
            - a list of texts and exceptions: these are the chunks of a stream that may break in the middle;
            - a function of the list of messages that returns one of these (in async calls it may be a coroutine).
        then: what comes after the last response: an error (`"raise"`), the last one again (`"repeat"`), or all of them
            again (`"loop"`).
        delay: seconds before each answer.

    Attributes:
        calls: the messages of each call, in order; shared with what `bind_tools`, `bind` or
            `with_structured_output` made of this model, and with its copies.
        options: beside each call, the keywords it came with, such as `tools`, `tool_choice`, `response_format`.

    Example:
        >>> model = ScriptedChatModel(["Hello!", TimeoutError("slow")])
        >>> model.invoke("Hi").content
        'Hello!'
        >>> [[message.content for message in call] for call in model.calls]
        [['Hi']]
        >>> ScriptedChatModel(lambda messages: messages[-1].content.upper()).invoke("echo").content
        'ECHO'
    """

    responses: Any
    then: Literal["raise", "repeat", "loop"] = "raise"
    delay: float = 0.0
    _tape: _Tape = PrivateAttr(default_factory=_Tape)

    def __init__(self, responses: Sequence[Any] | Callable[[list[BaseMessage]], Any] = (), **kwargs: Any) -> None:
        if isinstance(responses, str | BaseMessage | BaseException | dict):
            raise ConfigError(f"responses must be a list, one for each call, or a function; got {responses!r}")
        kwargs["responses"] = responses if callable(responses) else list(responses)
        super().__init__(**kwargs)

    @property
    def calls(self) -> list[list[BaseMessage]]:
        """The messages of each call."""
        return self._tape.calls

    @property
    def options(self) -> list[dict[str, Any]]:
        """The keywords of each call."""
        return self._tape.options

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """A model that is offered these tools; the script alone decides whether it calls one."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], tool_choice=tool_choice, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """A model whose scripted JSON is parsed: as its text, or as the arguments of a tool call.

        Args:
            schema: a pydantic class, a typed dict or a JSON schema with a title.
            method: `json_schema` and `json_mode` parse the text; `function_calling` parses a tool call, which is made
                of a scripted text where the script has none.
            include_raw: answer with `raw`, `parsed` and `parsing_error` instead of raising.
            strict: recorded, nothing more.
            kwargs: recorded, nothing more.
        """
        is_class = isinstance(schema, type) and issubclass(schema, BaseModel)
        parser: Runnable[AIMessage, Any]
        if method == "function_calling":
            name = convert_to_openai_tool(schema)["function"]["name"]
            model = self.bind_tools([schema], tool_choice=name, strict=strict, scripted_tool=name, **kwargs)
            parser = (
                PydanticToolsParser(tools=[cast("type[BaseModel]", schema)], first_tool_only=True)
                if is_class
                else JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
            )
        elif method in ("json_schema", "json_mode"):
            json_schema = convert_to_json_schema(schema)
            body = {"name": json_schema.get("title", "answer"), "schema": json_schema, "strict": strict}
            response_format = (
                {"type": "json_object"} if method == "json_mode" else {"type": "json_schema", "json_schema": body}
            )
            model = self.bind(response_format=response_format, **kwargs)
            parser = (
                PydanticOutputParser(pydantic_object=cast("type[BaseModel]", schema))
                if is_class
                else JsonOutputParser()
            )
        else:
            raise ConfigError(f"method must be json_schema, function_calling or json_mode, got {method!r}")
        if not include_raw:
            return model | parser
        parsed: Runnable[Any, Any] = RunnablePassthrough.assign(
            parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
        )
        failed: Runnable[Any, Any] = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(self._next(messages, kwargs), kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return _result(await self._anext(messages, kwargs), kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        yield from _chunks(self._next(messages, kwargs), kwargs)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(await self._anext(messages, kwargs), kwargs):
            yield chunk
            await asyncio.sleep(0)

    def _next(self, messages: list[BaseMessage], options: dict[str, Any]) -> Any:
        if self.delay:
            time.sleep(self.delay)
        answer = self._play(messages, options)
        if inspect.iscoroutine(answer):
            answer.close()
            raise ConfigError("a response that is a coroutine needs an async call: use ainvoke or astream")
        return answer

    async def _anext(self, messages: list[BaseMessage], options: dict[str, Any]) -> Any:
        await asyncio.sleep(self.delay)
        answer = self._play(messages, options)
        return await answer if inspect.isawaitable(answer) else answer

    def _play(self, messages: list[BaseMessage], options: dict[str, Any]) -> Any:
        self.calls.append(list(messages))
        self.options.append({name: value for name, value in options.items() if name != "scripted_tool"})
        index = next(self._tape.played)
        if callable(self.responses):
            return self.responses(messages)
        count = len(self.responses)
        if index >= count and (self.then == "raise" or not count):
            raise AssertionError(f"the scripted model was called {index + 1} times but has {count} responses")
        answer = self.responses[index if index < count else -1 if self.then == "repeat" else index % count]
        is_error = isinstance(answer, type) and issubclass(answer, BaseException)
        return answer(messages) if callable(answer) and not is_error else answer


def _message(answer: Any, options: dict[str, Any]) -> AIMessage:
    """The message that an answer stands for, or its error."""
    match answer:
        case BaseException():
            raise answer
        case type() if issubclass(answer, BaseException):
            raise answer(f"scripted {answer.__name__}")
        case list():
            for part in answer:
                if isinstance(part, BaseException):
                    raise part
            message = AIMessage("".join(answer))
        case AIMessage():
            message = answer.model_copy(
                deep=True
            )  # core writes an id into what it gets: said twice, it is two messages
        case str():
            message = AIMessage(answer)
        case BaseModel():
            message = AIMessage(answer.model_dump_json())
        case dict():
            message = AIMessage(json.dumps(answer, ensure_ascii=False))
        case _:
            raise ConfigError(
                "a response is a str, AIMessage, dict, pydantic object, exception, list of chunks, or a function that "
                f"returns one of these; got {type(answer).__name__}"
            )
    name = options.get("scripted_tool")
    return message if name is None or message.tool_calls else _as_tool_call(message, name)


def _as_tool_call(message: AIMessage, name: str) -> AIMessage:
    call_id = f"call_{uuid.uuid4().hex[:8]}"
    try:
        args = json.loads(message.text)
    except ValueError as error:
        bad = {"name": name, "args": message.text, "id": call_id, "error": str(error), "type": "invalid_tool_call"}
        return AIMessage("", invalid_tool_calls=[bad])
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": call_id, "type": "tool_call"}])


def _result(answer: Any, options: dict[str, Any]) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=_message(answer, options))])


def _chunks(answer: Any, options: dict[str, Any]) -> Iterator[ChatGenerationChunk]:
    if isinstance(answer, list):
        for part in answer:
            if isinstance(part, BaseException):
                raise part
            yield ChatGenerationChunk(message=AIMessageChunk(content=part))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", chunk_position="last"))
        return
    for chunk in pieces_of(_message(answer, options)):
        yield ChatGenerationChunk(message=chunk)
