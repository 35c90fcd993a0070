"""langchain-persona: LangChain and LangGraph components that learn each user's preferences.

The names below are the public surface. Those that pull in more than NumPy and the standard library load at first use,
so that `import langchain_persona` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_persona.embeddings import LocalEmbeddings
    from langchain_persona.errors import ConfigError, PersonaError, StoreError
    from langchain_persona.graph import create_persona_graph
    from langchain_persona.identity import PersonaContext
    from langchain_persona.learning import MovingAverage, Reinforce, VARSConfig, WindowedRidge
    from langchain_persona.memory import PersonaMemory
    from langchain_persona.records import PreferenceCard
    from langchain_persona.retriever import VARSRetriever
    from langchain_persona.spaces import PreferenceSpace, UserRatings
    from langchain_persona.vectors import UserVectors

__all__ = [
    "ConfigError",
    "LocalEmbeddings",
    "MovingAverage",
    "PersonaContext",
    "PersonaError",
    "PersonaMemory",
    "PreferenceCard",
    "PreferenceSpace",
    "Reinforce",
    "StoreError",
    "UserRatings",
    "UserVectors",
    "VARSConfig",
    "VARSRetriever",
    "WindowedRidge",
    "create_persona_graph",
]

__version__ = "0.1.0"

_HOMES = {
    "ConfigError": "errors",
    "LocalEmbeddings": "embeddings",
    "MovingAverage": "learning",
    "PersonaContext": "identity",
    "PersonaError": "errors",
    "PersonaMemory": "memory",
    "PreferenceCard": "records",
    "PreferenceSpace": "spaces",
    "Reinforce": "learning",
    "StoreError": "errors",
    "UserRatings": "spaces",
    "UserVectors": "vectors",
    "VARSConfig": "learning",
    "VARSRetriever": "retriever",
    "WindowedRidge": "learning",
    "create_persona_graph": "graph",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module at first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted([*__all__, "__version__"])
