"""A message in the pieces in which a provider would stream it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk

__all__ = ["pieces_of"]

_MOST = 100  # chunks of one text; a longer one comes in bigger pieces


def pieces_of(message: AIMessage) -> Iterator[AIMessageChunk]:
    """Chunks that add up to the message: words, then tool calls (name first, arguments in two halves), then metadata.

    Example:
        >>> [chunk.content for chunk in pieces_of(AIMessage("How are you?"))]
        ['How ', 'are ', 'you?', '']
    """
    if isinstance(message.content, str):
        for text in _words(message.content):
            yield AIMessageChunk(content=text)
    else:
        for index, block in enumerate(message.content):
            part = {"type": "text", "text": block} if isinstance(block, str) else block
            yield AIMessageChunk(content=[part | {"index": index}])
    for index, call in enumerate(message.tool_calls):
        args = json.dumps(call["args"], ensure_ascii=False)
        half = len(args) // 2
        for name, piece, call_id in (
            (call["name"], "", call["id"]),
            (None, args[:half], None),
            (None, args[half:], None),
        ):
            yield AIMessageChunk(
                content="", tool_call_chunks=[tool_call_chunk(name=name, args=piece, id=call_id, index=index)]
            )
    for index, bad in enumerate(message.invalid_tool_calls, len(message.tool_calls)):
        broken = tool_call_chunk(name=bad["name"], args=bad["args"], id=bad["id"], index=index)
        yield AIMessageChunk(content="", tool_call_chunks=[broken])
    yield AIMessageChunk(
        content="",
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
        chunk_position="last",
    )


def _words(text: str) -> list[str]:
    if text.count(" ") < _MOST:
        return re.findall(r"\s*\S+\s*|\s+", text)
    size = -(-len(text) // _MOST)
    return [text[start : start + size] for start in range(0, len(text), size)]
