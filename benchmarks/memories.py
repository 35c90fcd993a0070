"""Other memory libraries as arms of `langchain-persona eval run`: the same reader, the same embedder, the same budget.

    pip install langmem mem0ai
    langchain-persona eval run prefeval --data DIR --model NAME --arms none,verbatim,benchmarks.memories:LangMem

Each extracts with the model under test. A model whose server does not parse tool calls gets them by a JSON schema. They
forget nothing, so `restraint` is not for them.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_persona.evals.arms import Arm, Kit
from langchain_persona.evals.models import count_calls
from langchain_persona.prompt import approximate_tokens
from langchain_persona.records import new_id

__all__ = ["LangMem", "Mem0"]


class _Notes(Arm):
    """Texts of a library, the nearest to the message as far as they fit the budget; placed and framed as ours are."""

    beside = True

    def texts(self, user: str) -> list[str]:
        """All that is remembered of a user."""
        raise NotImplementedError

    def tell(self, user: str, messages: Sequence[AnyMessage]) -> str:
        """The notes, nearest first."""
        if not (texts := self.texts(user)):
            return ""
        rows = np.asarray(self.kit.embeddings.embed_documents([messages[-1].text, *texts]))
        left, lines = self.kit.settings.budget, list[str]()
        for place in np.argsort(-(rows[1:] @ rows[0]), kind="stable"):
            left -= approximate_tokens(texts[place]) + 2
            if left < 0:
                break
            lines.append(f"- {texts[place]}")
        close = "The answer must respect these notes on the user; the message wins over them. Do not mention them."
        return "\n".join(["<user_notes>", *lines, "</user_notes>", close])


class LangMem(_Notes):
    """LangMem's memory manager, once a turn."""

    def __init__(self, name: str, kit: Kit) -> None:
        from langmem import create_memory_manager

        super().__init__(name, kit)
        self.found = defaultdict[str, dict[str, Any]](dict)
        self.manager = create_memory_manager(_ToolsBySchema(model=kit.model), enable_inserts=True)

    def observe(self, user: str, thread: str, messages: Sequence[AnyMessage]) -> None:
        """Extract from the turn."""
        known = list(self.found[user].items())
        for one in self.manager.invoke({"messages": list(messages), "existing": known}):
            self.found[user][one.id] = one.content

    def texts(self, user: str) -> list[str]:
        """All that is remembered of a user."""
        return [getattr(one, "content", str(one)) for one in self.found[user].values()]


class Mem0(_Notes):
    """mem0 in its open-source form, on a Chroma folder."""

    def __init__(self, name: str, kit: Kit) -> None:
        os.environ["MEM0_TELEMETRY"] = "False"
        from mem0 import Memory

        super().__init__(name, kit)
        folder = tempfile.mkdtemp()
        self.memory = Memory.from_config(
            {
                "llm": {"provider": "langchain", "config": {"model": kit.model}},
                "embedder": {"provider": "langchain", "config": {"model": kit.embeddings}},
                "vector_store": {"provider": "chroma", "config": {"collection_name": new_id(), "path": folder}},
                "history_db_path": f"{folder}/history.db",
            }
        )

    def observe(self, user: str, thread: str, messages: Sequence[AnyMessage]) -> None:
        """Extract from the turn."""
        roles = {"human": "user", "ai": "assistant"}
        self.memory.add([{"role": roles[one.type], "content": one.text} for one in messages[-2:]], user_id=user)

    def texts(self, user: str) -> list[str]:
        """All that is remembered of a user."""
        return [one["memory"] for one in self.memory.get_all(filters={"user_id": user}, top_k=1_000)["results"]]


class _ToolsBySchema(BaseChatModel):
    """Tool calls of a model whose server does not parse them: one call, held to a JSON schema."""

    model: BaseChatModel

    @property
    def _llm_type(self) -> str:
        return "tools-by-schema"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Runnable[Any, AIMessage]:
        """The model with tools; it calls one of them, or none."""
        return self.bind(tools=[convert_to_openai_tool(one)["function"] for one in tools])

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **options: Any
    ) -> ChatResult:
        tools = options.get("tools", ())
        forms = [_record(tool={"const": one["name"]}, args=one["parameters"]) for one in tools]
        schema = {"anyOf": [*forms, _record(tool={"const": "none"})]}
        told = "\n".join(f"- {json.dumps(one)}" for one in tools)
        lead = f'Tools:\n{told}\nReply with one call: {{"tool": NAME, "args": {{...}}}}, or {{"tool": "none"}}.'
        form = {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}
        given = [SystemMessage(lead), *map(_as_text, messages)]
        with count_calls():  # this call is counted once, as that of the model with tools
            answer = self.model.invoke(given, {"callbacks": []}, response_format=form)
        try:
            call = json.loads(answer.text)
            calls = [{"name": call["tool"], "args": call["args"], "id": new_id()}] if call["tool"] != "none" else []
        except (ValueError, LookupError, TypeError):  # cut off, or a model that is held to nothing
            calls = []
        message = AIMessage("", tool_calls=calls, usage_metadata=answer.usage_metadata)
        return ChatResult(generations=[ChatGeneration(message=message)])


def _record(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}


def _as_text(message: BaseMessage) -> BaseMessage:
    """A message without tool calls, for a server that does not know them."""
    if isinstance(message, AIMessage) and message.tool_calls:
        return AIMessage(json.dumps([{"tool": one["name"], "args": one["args"]} for one in message.tool_calls]))
    text = re.sub(r"(session_)[0-9a-f-]{32,36}", r"\1now", message.text)  # LangMem's; the cache knows equal prompts
    return HumanMessage(text) if isinstance(message, ToolMessage) else message.model_copy(update={"content": text})
