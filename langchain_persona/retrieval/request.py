"""What is asked of one retrieval, and the checks of its options."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document

from langchain_persona.errors import ConfigError
from langchain_persona.identity import Identity
from langchain_persona.learning.config import MAX_STRENGTH

__all__ = ["Request", "Reranker", "at_least_one", "not_negative", "number", "strength_of", "whole_or_none"]

Reranker = BaseCrossEncoder | Callable[[str, Sequence[Document]], Sequence[float]]
"""A LangChain cross encoder, or a function from a query and documents to scores, higher is better."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of one retrieval.

    Attributes:
        identity: the user and the session.
        k: documents to return.
        fetch_k: candidates to read; None is the configuration's.
        where: filter in the language of the source.
        max_bonus: cap on the absolute bonus at strength 1, in units of a cosine.
        strength: factor on the bonus and on its cap; 0 is off.
        reranker: scores the candidates anew.
        lambda_mult: for maximal marginal relevance; None orders by score alone.
        min_relevance: what is less relevant than this by its base score is not returned.
        explore: temperature of the draw of what is shown, in units of a cosine; 0 shows the best.
        seed: with `turn`, the user and the query it names the draw; None is a fresh one.
        turn: number of the retrieval.
        shadow: rank for the user, record it, and return the plain ranking.
        objective: tells queries whose answer is no matter of taste; None is the package's own.
    """

    identity: Identity
    k: int
    fetch_k: int | None
    where: Mapping[str, Any] | None
    max_bonus: float
    strength: float = 1.0
    reranker: Reranker | None = None
    lambda_mult: float | None = None
    min_relevance: float | None = None
    explore: float = 0.0
    seed: int | None = None
    turn: int = 0
    shadow: bool = False
    objective: Callable[[str], bool] | None = None

    def draw_seed(self, query: str) -> int:
        """The seed of this retrieval's draw, below 2⁴⁸."""
        if self.seed is None:
            return secrets.randbits(48)
        name = f"{self.seed}\0{self.turn}\0{self.identity.user}\0{query}"
        return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:6], "big")


def at_least_one(name: str, value: object) -> int:
    """A whole number of at least 1, or a `ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value


def whole_or_none(name: str, value: object) -> int | None:
    """A whole number or None, or a `ConfigError`."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise ConfigError(f"{name} must be a whole number, or None for another one each time, got {value!r}")
    return value


def not_negative(max_bonus: object) -> float:
    """A cap as a float, or a `ConfigError`."""
    if isinstance(max_bonus, bool) or not isinstance(max_bonus, int | float) or not 0.0 <= max_bonus < float("inf"):
        raise ConfigError(f"max_bonus must be a number of at least 0, got {max_bonus!r}")
    return float(max_bonus)


def number(name: str, value: object, high: float, *, meaning: str) -> float:
    """A number from 0 to `high` as a float, or a `ConfigError` that says what 0 and 1 mean."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= high:
        raise ConfigError(f"{name} must be a number from 0 to {high:g} ({meaning}), got {value!r}")
    return float(value)


def strength_of(value: object) -> float:
    """A strength as a float, or a `ConfigError`."""
    return number("strength", value, MAX_STRENGTH, meaning="0 is off, 1 as usual")
