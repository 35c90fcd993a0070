"""Tool calls through a JSON schema, for models whose own tool calls do not work.

Many small models answer with tool calls as plain text, or none at all, but keep to a JSON schema where the server
enforces one (llama.cpp, vLLM, Ollama). So the model is asked for one step at a time: a call of one of the tools, or the
answer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.utils import convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.json import parse_partial_json
from langchain_core.utils.json_schema import dereference_refs
from langgraph.constants import TAG_NOSTREAM

from langchain_persona.effects import Steps, Twin, arun, run
from langchain_persona.errors import ConfigError
from langchain_persona.records import new_id
from langchain_persona.trouble import warn

__all__ = ["SchemaToolCalls"]

logger = logging.getLogger(__name__)

PROMPT = """Decide the next step and reply with one JSON object.
Tools:
{tools}
To call a tool: {{"tool": NAME, "args": {{...}}}}. When no tool is needed, or its result is there: \
{{"tool": "none", "answer": "..."}}"""

_LONGEST = 100_000  # characters of JSON that are looked at; what is longer is no step
_ANSWER = {
    "type": "object",
    "properties": {"tool": {"const": "none"}, "answer": {"type": "string"}},
    "required": ["tool", "answer"],
    "additionalProperties": False,
}


class SchemaToolCalls(Runnable[Any, AIMessage]):
    """A chat model with tools, whose calls are read out of JSON.

    Takes what a chat model takes, gives an `AIMessage` with text or with one tool call. What is no such JSON counts as
    the answer; a call that broke off comes as an invalid one. The JSON is not streamed: the answer comes in one piece.

    Args:
        model: a chat model that takes OpenAI's `response_format` with a JSON schema. OpenAI's own service refuses a
            choice at the top of a schema; its models call tools natively.
        tools: what it may call; "none" is no name for a tool.
        options: for each call of the model, such as `{"max_tokens": 300}`.

    Raises:
        ConfigError: a provider's built-in tool, two tools of one name, or one called "none".

    Example:
        >>> from langchain_core.tools import tool
        >>> from langchain_persona.testing import ScriptedChatModel
        >>> @tool
        ... def weather(city: str) -> str:
        ...     \"\"\"The weather now.\"\"\"
        ...     return "rain"
        >>> model = SchemaToolCalls(ScriptedChatModel([{"tool": "weather", "args": {"city": "Oslo"}}]), [weather])
        >>> model.invoke("How is Oslo?").tool_calls[0]["args"]
        {'city': 'Oslo'}
    """

    name: str | None = "schema_tool_calls"

    def __init__(
        self, model: BaseChatModel, tools: Sequence[Any] = (), *, options: Mapping[str, Any] | None = None
    ) -> None:
        self._model = model
        self._tools = list(tools)
        self._options = dict(options or {})
        functions = [_function(tool) for tool in tools]
        names = [function["name"] for function in functions]
        if "none" in names or len(set(names)) < len(names):
            raise ConfigError(f"tools need names of their own, and none may be called 'none'; got {names}")
        schema = {"anyOf": [*map(_call_schema, functions), _ANSWER]}
        self._format = {"type": "json_schema", "json_schema": {"name": "step", "schema": schema}}
        self._prompt = PROMPT.format(tools="\n".join(map(_line, functions)))

    def bind_tools(self, tools: Sequence[Any]) -> SchemaToolCalls:
        """The same with these tools."""
        return SchemaToolCalls(self._model, tools, options=self._options)

    def bind(self, **kwargs: Any) -> SchemaToolCalls:
        """The same with more options for the model, such as `model=`."""
        return SchemaToolCalls(self._model, self._tools, options={**self._options, **kwargs})

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        """The next step."""
        return run(self._steps(input, config, kwargs))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        """Async twin of `invoke`."""
        return await arun(self._steps(input, config, kwargs))

    def _steps(self, input: Any, config: RunnableConfig | None, kwargs: dict[str, Any]) -> Steps[AIMessage]:
        system, *rest = [SystemMessage(self._prompt), *map(_plain, _messages(input))]
        if rest and isinstance(rest[0], SystemMessage):  # one system message, for models that know only one
            system, *rest = [SystemMessage(f"{rest[0].text}\n\n{self._prompt}"), *rest[1:]]
        given = [system, *rest]
        options = {**self._options, **kwargs, "response_format": self._format}
        tags = [*((config or {}).get("tags") or []), TAG_NOSTREAM, "langsmith:nostream"]
        quiet: RunnableConfig = {**(config or {}), "tags": tags}
        answer: AIMessage = yield Twin(
            lambda: self._model.invoke(given, quiet, **options), lambda: self._model.ainvoke(given, quiet, **options)
        )
        kept = {name: getattr(answer, name) for name in ("id", "response_metadata", "usage_metadata")}
        return _read(str(answer.text), kept)


def _read(text: str, kept: dict[str, Any]) -> AIMessage:
    """The step that a model's JSON stands for."""
    step, whole = _parsed(text)
    name, args, answer = step.get("tool"), step.get("args"), step.get("answer")
    if name == "none" and isinstance(answer, str) and answer:
        return AIMessage(answer, **kept)
    call_id = f"call_{new_id()[:12]}"
    if isinstance(name, str) and name not in ("", "none") and "args" in step:
        if whole and isinstance(args, dict):
            return AIMessage("", tool_calls=[{"name": name, "args": args, "id": call_id, "type": "tool_call"}], **kept)
        problem = "args must be an object" if whole else "the call broke off"
        bad = {"name": name, "args": text[:_LONGEST], "id": call_id, "error": problem, "type": "invalid_tool_call"}
        return AIMessage("", invalid_tool_calls=[bad], **kept)
    warn(logger, "The model's step was no JSON of the schema; it counts as the answer")
    return AIMessage(text, **kept)


def _parsed(text: str) -> tuple[dict[str, Any], bool]:
    """The JSON object in a text, and whether it is whole; an empty one when there is none.

    Servers that do not enforce the schema put a code fence or a sentence around it; a limit on tokens cuts its end off.
    """
    if len(text) > _LONGEST or "{" not in text:
        return {}, False
    body = text[text.index("{") :]
    try:
        step, _ = json.JSONDecoder(strict=False).raw_decode(body)
        return (step, True) if isinstance(step, dict) else ({}, False)
    except (ValueError, RecursionError):
        pass
    try:
        step = parse_partial_json(body)
    except (ValueError, RecursionError):
        return {}, False
    return (step, False) if isinstance(step, dict) else ({}, False)


def _messages(input: Any) -> list[BaseMessage]:
    if isinstance(input, PromptValue):
        return input.to_messages()
    return [HumanMessage(input)] if isinstance(input, str) else convert_to_messages(input)


def _function(tool: Any) -> dict[str, Any]:
    """Name, description and parameters, without references: they would point nowhere inside the choice."""
    function: dict[str, Any] | None = convert_to_openai_tool(tool).get("function")
    if function is None:
        raise ConfigError(f"a provider's built-in tool cannot be called through a schema; leave out {tool!r}")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    if "$defs" in parameters:
        parameters = {key: value for key, value in dereference_refs(parameters).items() if key != "$defs"}
    return {"description": "", **function, "parameters": parameters}


def _call_schema(function: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"tool": {"const": function["name"]}, "args": function["parameters"]},
        "required": ["tool", "args"],
        "additionalProperties": False,
    }


def _line(function: dict[str, Any]) -> str:
    args = json.dumps(function["parameters"].get("properties", {}), ensure_ascii=False)
    return f"- {function['name']}: {function['description']} args: {args}"


def _plain(message: BaseMessage) -> BaseMessage:
    """A message in the words of the schema, so that the model sees its own steps as it wrote them."""
    if isinstance(message, AIMessage):
        steps: list[dict[str, Any]] = [{"tool": call["name"], "args": call["args"]} for call in message.tool_calls]
        if not steps:
            steps = [{"tool": "none", "answer": str(message.text)}]
        return AIMessage("\n".join(json.dumps(step, ensure_ascii=False) for step in steps))
    if isinstance(message, ToolMessage):
        return HumanMessage(f"Tool result ({message.name or 'tool'}): {message.text}")
    return message
