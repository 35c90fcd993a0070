"""What "model" and "rules" stand for: the reflector that graph and middleware share, built from their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.language_models import BaseChatModel

from langchain_persona.errors import ConfigError
from langchain_persona.extraction import LLMExtractor, PreferenceExtractor, RuleExtractor
from langchain_persona.loop.judge import Judge
from langchain_persona.loop.reflect import Reflector
from langchain_persona.memory import PersonaMemory
from langchain_persona.persona import ModelWriter, PersonaWriter

__all__ = ["assembled"]


def assembled(
    memory: PersonaMemory,
    model: BaseChatModel | None,
    *,
    extractor: PreferenceExtractor | str | None,
    extract: str,
    writer: PersonaWriter | str | None,
    reconciler: BaseChatModel | str | None,
    align_every: int,
    judge: Judge | None,
    approve: bool = False,
) -> tuple[Reflector, PreferenceExtractor | None]:
    """The reflector, and the extractor that runs ahead of the answer, if any; arguments as `create_persona_graph`."""
    if extract not in ("after", "before"):
        raise ConfigError(f"extract must be 'after' or 'before', got {extract!r}")
    found = _extractor(extractor, model)
    reflector = Reflector(
        memory,
        extractor=found if extract == "after" else None,
        reconciler=_of_model("reconciler", reconciler, model, lambda own: own),
        writer=_of_model("writer", writer, model, lambda own: ModelWriter(own, embeddings=memory.embeddings)),
        align_every=align_every,
        judge=judge,
        approve=approve,
    )
    return reflector, found if extract == "before" else None


def _extractor(extractor: PreferenceExtractor | str | None, model: BaseChatModel | None) -> PreferenceExtractor | None:
    """The extractor that runs beside the rules, if any."""
    if extractor == "model":
        return None if model is None else LLMExtractor(model)
    if extractor == "rules" or extractor is None or isinstance(extractor, RuleExtractor):
        return None  # the rules run in the memory node at every turn
    if isinstance(extractor, str):
        raise ConfigError(f"extractor must be 'model', 'rules' or an extractor, got {extractor!r}")
    return extractor


def _of_model(name: str, choice: Any, model: BaseChatModel | None, make: Callable[[BaseChatModel], Any]) -> Any:
    """What "model" stands for; other choices as they are."""
    if isinstance(choice, str):
        if choice != "model":
            raise ConfigError(f"{name} must be 'model', None or an object, got {choice!r}")
        return None if model is None else make(model)
    return choice
