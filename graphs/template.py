"""A stand-in for a chat model: it answers from a template, with what a real model would have been told.

Without a key there is no good model to ask. So the answer shows what the agent handed over for this message: the notes
on the user, and the documents. It never repeats itself, and it needs no download.
"""

import re
from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from langchain_persona.testing import ScriptedChatModel

_FENCE = re.compile(r"<(user_notes|earlier_exchanges|documents)>\n(.*?)\n</\1>", re.DOTALL)
_STYLE = re.compile(r"^How this user likes to be answered[^\n]*\n((?:- [^\n]*\n?)+)", re.MULTILINE)

OPENING = "No chat model is connected, so this answer is a template. A model would have been told:"


def template_model() -> ScriptedChatModel:
    """The stand-in, which streams like any other chat model."""
    return ScriptedChatModel(answer)


def answer(messages: Sequence[BaseMessage]) -> str:
    """What the messages tell a model of the user and of the documents, as Markdown."""
    told = "\n".join(message.text for message in messages)
    documents, before = _lines(told, "documents"), _lines(told, "earlier_exchanges")
    wishes = [line for found in _STYLE.findall(told) for line in found.splitlines()]
    notes = wishes + [line if line.startswith("-") else f"\n{line}\n" for line in _lines(told, "user_notes")]
    parts = ["\n".join(["**About you**", *notes]) if notes else "**About you**: nothing yet."]
    parts += ["\n".join(["**Earlier, you asked**", *before])] if before else []
    if documents:
        parts.append("\n".join(["**Documents, best first**", *(_item(line) for line in documents)]))
    return "\n\n".join([OPENING, *parts])


def _lines(text: str, tag: str) -> list[str]:
    """The lines inside all fences of one kind, each once."""
    found = [line for name, body in _FENCE.findall(text) if name == tag for line in body.splitlines()]
    return list(dict.fromkeys(found))


def _item(line: str) -> str:
    return re.sub(r"^\[(\d+)\] ", r"\1. ", line)
