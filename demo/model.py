"""The chat model of the second part: yours where the environment names one, else a small one on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from langchain_persona.errors import MissingExtraError
from langchain_persona.local_llm import bundled_model, serve

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["chat_model", "lacking", "own_model"]


def own_model() -> str:
    """Name of the model that the environment puts in place of the small one; "" where it names none."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        return os.environ.get("PERSONA_MODEL", "gpt-4o-mini")
    return ""


def lacking() -> str:
    """What to do where the small model is needed and its file is not there; "" otherwise."""
    if own_model():
        return ""
    try:
        bundled_model()
    except MissingExtraError as error:
        return (
            f"The second part of the demo talks to a small model: {error}.\n"
            "OPENAI_API_KEY or OPENAI_BASE_URL puts another one in its place; --part retriever needs none."
        )
    return ""


@contextmanager
def chat_model(max_tokens: int) -> Iterator[BaseChatModel]:
    """`ChatOpenAI`, on the server that the environment names or on one in this process."""
    name = own_model()
    if name:
        from langchain_openai import ChatOpenAI

        os.environ.setdefault("OPENAI_API_KEY", "none")
        yield ChatOpenAI(model=name, temperature=0, max_completion_tokens=max_tokens)
        return
    # one thread is enough for it, and two that wait for each other are ten times slower where a neighbour works
    with serve(threads=1) as server:
        yield server.chat_model(max_tokens=max_tokens, timeout=300)
