"""Who is the user? One answer for every way in which a caller can say so, and names that any store accepts."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langgraph.runtime import Runtime, get_runtime
from pydantic import BaseModel, Field, StrictInt, StrictStr, ValidationError

__all__ = [
    "ANONYMOUS",
    "Identity",
    "PersonaContext",
    "embedding_name",
    "label",
    "normalise_user",
    "resolve_identity",
    "setting",
]

logger = logging.getLogger(__name__)

ANONYMOUS = ""
"""The id of the user who gave none: nothing personal is read, nothing is written."""

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_@+")
_LONGEST_LABEL = 120


class PersonaContext(BaseModel):
    """The runtime context that our graphs understand: `graph.invoke(…, context={"user_id": "ana"})`.

    What is left empty is as the graph was built. LangGraph Studio draws a form of these fields.
    """

    user_id: StrictStr | StrictInt | uuid.UUID | None = Field(
        default=None, description="Whose preferences to use; empty is anonymous."
    )
    model: str | None = Field(
        default=None, description="Name of another chat model of the same provider; empty is the one built in."
    )
    max_cards: int | None = Field(
        default=None, ge=0, le=50, description="How many topical preference cards the model sees at most (default 5)."
    )
    strength: float | None = Field(
        default=None, ge=0.0, le=10.0, description="How much learning counts (default 1; 0 is off, 2 is twice as much)."
    )
    max_bonus: float | None = Field(
        default=None, ge=0.0, le=2.0, description="Cap on what learning may add to a cosine (default 0.75; 0 is off)."
    )
    reflect: Literal["inline", "background", "off"] | None = Field(
        default=None, description="When to learn from an answer: before the run ends, behind it, or not at all."
    )
    system_prompt: str | None = Field(
        default=None,
        description="Your own system prompt; what is known of the user is put after it.",
        json_schema_extra={"langgraph_nodes": ["persona"], "langgraph_type": "prompt"},
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """A resolved caller.

    Attributes:
        user: the user's id as text; `""` is anonymous.
        session: the LangGraph thread, or `""` outside one.
    """

    user: str
    session: str = ""

    @property
    def anonymous(self) -> bool:
        """True when nothing personal may be read or written."""
        return self.user == ANONYMOUS


def normalise_user(user: object) -> str:
    """A user id as text; None and blank text are anonymous.

    Args:
        user: a string, an int or a UUID. Ids are compared exactly: case and spaces inside count; 7 and "7" are one
            user.

    Raises:
        TypeError: any other type (also bool and float): two users must never meet by accident of formatting.

    Example:
        >>> normalise_user(7), normalise_user(" ")
        ('7', '')
    """
    if user is None:
        return ANONYMOUS
    if isinstance(user, bool) or not isinstance(user, str | int | uuid.UUID):
        raise TypeError(f"a user id must be a str, int or UUID, got {type(user).__name__} {user!r}")
    text = str(user)
    return text if text.strip() else ANONYMOUS


def label(name: str, *, prefix: str = "u") -> str:
    """A namespace label or key for any text: no dots, never empty, at most 120 characters, no two names alike.

    Letters, digits and `-_@+` stay readable, all else is written as `~` and two hexadecimal digits a byte; what gets
    too long becomes a SHA-256.

    Example:
        >>> label("a@b.c"), label("..")
        ('u=a@b~2ec', 'u=~2e~2e')
    """
    body = "".join(
        char if char in _PLAIN else "".join(f"~{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
        for char in name
    )
    if len(body) + len(prefix) + 1 > _LONGEST_LABEL:
        return f"{prefix}#{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return f"{prefix}={body}"


def embedding_name(embeddings: object, dimension: int) -> str:
    """A name for an embedding model, so that vectors of two models are never mixed.

    Made of the class, the model's name where the object tells it, and the number of dimensions.

    Example:
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> embedding_name(DeterministicFakeEmbedding(size=8), 8)
        'DeterministicFakeEmbedding/8'
    """
    while (wrapped := getattr(embeddings, "underlying_embeddings", None)) is not None:
        embeddings = wrapped  # a cache around a model makes the same vectors
    names = (getattr(embeddings, attribute, None) for attribute in ("model", "model_name", "model_id", "deployment"))
    model = next((name for name in names if isinstance(name, str) and name), None)
    return "/".join(part for part in (type(embeddings).__name__, model, str(dimension)) if part)


def resolve_identity(
    config: RunnableConfig,
    *,
    user_id: object = None,
    session_id: object = None,
    default_user: object = None,
) -> Identity:
    """Find the user and the session of a call.

    Order of trust: the identity that the server authenticated, the explicit keyword, the runtime context,
    `configurable`, the constructor's default, anonymous. An id of a type that is not allowed is logged and treated as
    anonymous.

    Args:
        config: the merged config of the call (`ensure_config(config)`).
        user_id: explicit keyword; `""` asks for anonymous.
        session_id: explicit keyword.
        default_user: what the constructor was given.
    """
    runtime = _runtime(config)
    configurable = config.get("configurable") or {}
    claims = (
        _verified(runtime),
        user_id,
        _from_context(runtime, "user_id"),
        configurable.get("user_id"),
        default_user,
    )
    sessions = (session_id, configurable.get("thread_id"), configurable.get("session_id"))
    claimed = next((claim for claim in claims if claim is not None), None)
    session = next((str(value) for value in sessions if value is not None), "")
    try:
        return Identity(normalise_user(claimed), session)
    except TypeError:
        logger.warning(
            "Treating the caller as anonymous: a user id must be a str, int or UUID (%s)", type(claimed).__name__
        )
        return Identity(ANONYMOUS, session)


def _runtime(config: RunnableConfig) -> Runtime[Any] | None:
    """The LangGraph runtime of the node that this call happens in, if any."""

    def read() -> Runtime[Any] | None:
        try:
            return get_runtime()
        except (RuntimeError, KeyError):
            return None

    with set_config_context(config) as context:
        return context.run(read)


def setting(config: RunnableConfig, name: str, default: Any) -> Any:
    """A field of the runtime context, or the default where there is none.

    Args:
        config: the merged config of the call.
        name: of a field of `PersonaContext`.
        default: what the graph was built with.
    """
    context = getattr(_runtime(config), "context", None)
    if isinstance(context, Mapping) and context.get(name) not in (None, ""):
        try:
            context = PersonaContext.model_validate({name: context[name]})
        except ValidationError:
            logger.warning("Leaving out what the context says of %s: it is not what it should be", name)
            return default
    value = getattr(context, name, None) if isinstance(context, PersonaContext) else None
    return default if value in (None, "") else value


def _verified(runtime: Runtime[Any] | None) -> str | None:
    server = getattr(runtime, "server_info", None)
    user = getattr(server, "user", None)
    return None if user is None else str(user.identity)


def _from_context(runtime: Runtime[Any] | None, name: str) -> object:
    context = getattr(runtime, "context", None)
    return context.get(name) if isinstance(context, Mapping) else getattr(context, name, None)
