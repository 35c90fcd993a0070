"""The chat model of the examples: yours where the environment names one, else a stand-in that needs no key."""

import os
import re
from collections.abc import Sequence

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from langchain_persona.testing import ScriptedChatModel


def chat_model() -> BaseChatModel:
    """`ChatOpenAI` with OPENAI_API_KEY or OPENAI_BASE_URL (Ollama, vLLM, …); else a template says what it was told."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        from langchain_openai import ChatOpenAI

        os.environ.setdefault("OPENAI_API_KEY", "none")
        return ChatOpenAI(model=os.environ.get("PERSONA_MODEL", "gpt-5-mini"))
    return ScriptedChatModel(_told)


def reflection() -> str:
    """What finds out what is to be remembered: your model, or without one the user's own sentences, word for word."""
    return "model" if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL") else "verbatim"


def _told(messages: Sequence[BaseMessage]) -> str:
    notes = re.findall(
        r'"(.+?)"(?: \(\d{4}-\d\d-\d\d\))?$', "\n".join(message.text for message in messages), flags=re.MULTILINE
    )
    return f"(No model is connected. It would have been told: {'; '.join(notes) or 'nothing about the user'})"
