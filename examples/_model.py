"""The chat model of the examples: yours where the environment names one, else a small one on this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from langchain_core.language_models import BaseChatModel


@contextmanager
def chat_model() -> Iterator[BaseChatModel]:
    """`ChatOpenAI` with OPENAI_API_KEY or OPENAI_BASE_URL (Ollama, vLLM, …); else SmolLM2-135M: real, and weak."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        from langchain_openai import ChatOpenAI

        os.environ.setdefault("OPENAI_API_KEY", "none")
        yield ChatOpenAI(model=os.environ.get("PERSONA_MODEL", "gpt-4o-mini"), temperature=0)
        return
    from langchain_persona.local_llm import serve

    with serve() as server:
        yield server.chat_model(temperature=0, max_tokens=60)
