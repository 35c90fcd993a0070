"""What "model" and "rules" stand for: the reflector that graph and middleware share, built from their arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from langchain_persona.errors import ConfigError
from langchain_persona.extraction import LLMExtractor, PreferenceExtractor, RuleExtractor
from langchain_persona.loop.judge import Judge
from langchain_persona.loop.reflect import Reflector
from langchain_persona.memory import PersonaMemory
from langchain_persona.persona import ModelWriter, PersonaWriter
from langchain_persona.retriever import VARSRetriever

__all__ = ["assembled", "check_limits"]


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
    reliability: Mapping[str, float] | None = None,
) -> tuple[Reflector, PreferenceExtractor | None]:
    """The reflector, and the extractor that runs ahead of the answer, if any; arguments as `create_persona_graph`."""
    if model is not None and not isinstance(model, BaseChatModel):
        raise ConfigError(
            f"model must be a chat model object such as ChatOpenAI(model=...), got {type(model).__name__}; "
            "for a name use langchain's init_chat_model(name)"
        )
    if judge is not None and not isinstance(judge, Judge):
        raise ConfigError(f"judge must be a Judge(model), got {type(judge).__name__}")
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
        reliability=reliability,
    )
    return reflector, found if extract == "before" else None


def check_limits(
    memory: object,
    retriever: object,
    *,
    max_cards: object,
    min_relevance: object,
    budget_tokens: object,
    document_tokens: object,
    **switches: object,
) -> None:
    """Refuse what cannot work, in plain words; `switches` must be True or False."""
    if not isinstance(memory, PersonaMemory):
        raise ConfigError(
            f"memory must be a PersonaMemory such as PersonaMemory.local('./persona'), got {type(memory).__name__}"
        )
    _ = memory.cards  # says what is missing when there are none
    if retriever is not None and not isinstance(retriever, VARSRetriever):
        raise ConfigError(
            f"retriever must be a VARSRetriever, got {type(retriever).__name__}; "
            "VARSRetriever(vectorstore=..., memory=memory) wraps a Chroma"
        )
    if retriever is not None and retriever.memory is not memory:
        raise ConfigError("the retriever has another memory: make both with the same one, or nothing is learned of it")
    counts = {"max_cards": max_cards, "budget_tokens": budget_tokens, "document_tokens": document_tokens}
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigError(f"{name} must be a whole number of at least 0, got {value!r}")
    if isinstance(min_relevance, bool) or not isinstance(min_relevance, int | float) or not -1 <= min_relevance <= 1:
        raise ConfigError(f"min_relevance must be a cosine from -1 to 1, got {min_relevance!r}")
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{name} must be True or False, got {value!r}")


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
