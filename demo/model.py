"""The chat model of the second part: yours where the environment names one, else a template that needs no key."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from graphs.template import template_model

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["chat_model", "own_model"]


def own_model() -> str:
    """Name of the model that the environment names; "" where it names none."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        return os.environ.get("PERSONA_MODEL", "gpt-5-mini")
    return ""


def chat_model() -> BaseChatModel:
    """`ChatOpenAI` on the server that the environment names, or the template."""
    name = own_model()
    if not name:
        return template_model()
    from langchain_openai import ChatOpenAI

    os.environ.setdefault("OPENAI_API_KEY", "none")
    return ChatOpenAI(model=name)
