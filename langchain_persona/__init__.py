"""langchain-persona: LangChain and LangGraph components that learn each user's preferences.

The names below are the public surface. Each loads its module at first use, so `import langchain_persona` is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_persona.agent.graph import create_persona_graph
    from langchain_persona.agent.middleware import PersonaMiddleware
    from langchain_persona.embeddings import LocalEmbeddings
    from langchain_persona.errors import ConfigError, PersonaError, StoreError
    from langchain_persona.identity import PersonaContext
    from langchain_persona.learning import PreferenceSpace, UserVectors, VARSConfig, WindowedRidge
    from langchain_persona.memory import PersonaMemory, RuntimeStore
    from langchain_persona.records import PreferenceCard
    from langchain_persona.reflection.flat import FlatReflection
    from langchain_persona.reflection.model import ModelReflection
    from langchain_persona.retrieval import PersonalizedCompressor, VARSRetriever

__all__ = [
    "ConfigError",
    "FlatReflection",
    "LocalEmbeddings",
    "ModelReflection",
    "PersonaContext",
    "PersonaError",
    "PersonaMemory",
    "PersonaMiddleware",
    "PersonalizedCompressor",
    "PreferenceCard",
    "PreferenceSpace",
    "RuntimeStore",
    "StoreError",
    "UserVectors",
    "VARSConfig",
    "VARSRetriever",
    "WindowedRidge",
    "create_persona_graph",
]

__version__ = "0.1.0"

_NAMES = {
    "agent.graph": "create_persona_graph",
    "agent.middleware": "PersonaMiddleware",
    "embeddings": "LocalEmbeddings",
    "errors": "ConfigError PersonaError StoreError",
    "identity": "PersonaContext",
    "learning": "PreferenceSpace UserVectors VARSConfig WindowedRidge",
    "memory": "PersonaMemory RuntimeStore",
    "records": "PreferenceCard",
    "reflection.flat": "FlatReflection",
    "reflection.model": "ModelReflection",
    "retrieval": "PersonalizedCompressor VARSRetriever",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Load a public name from its module at first use."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted([*__all__, "__version__"])
