"""Who is the user? One answer for every way in which a caller can say so, and names that any store accepts."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langgraph.runtime import Runtime, get_runtime
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from langchain_persona.errors import ConfigError
from langchain_persona.resilience import warn

logger = logging.getLogger(__name__)

User = str | int | UUID
"""What a user id may be; compared by its text."""

Trust = Literal["server", "caller"]
"""Who decides where a server's authenticated user and the claimed one differ; see `resolve_identity`."""

ANONYMOUS = ""
"""The id of the user who gave none: nothing personal is read, nothing is written."""

_USER_FIELDS = frozenset({"user", "user_id", "langgraph_auth_user_id"})  # of our state, a config, and a server
_ODD = re.compile(rb"[^A-Za-z0-9_@+-]")


class PersonaContext(BaseModel):
    """The runtime context of our graphs: `graph.invoke(..., context={"user_id": "ana"})`.

    An empty field is as the graph was built; an unknown one is an error.
    """

    model_config = ConfigDict(extra="forbid")

    user_id: StrictStr | StrictInt | UUID | None = Field(
        default=None, description="Whose preferences to use; empty is anonymous."
    )
    model: str | None = Field(
        default=None, description="Name of another chat model of the same provider; empty is the one built in."
    )
    strength: float | None = Field(
        default=None, ge=0.0, le=10.0, description="How much learning counts (default 1; 0 is off, 2 is twice as much)."
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
    """A resolved caller: the user's id as text (`""` is anonymous) and the LangGraph thread (`""` outside one)."""

    user: str
    session: str = ""

    @property
    def anonymous(self) -> bool:
        """True when nothing personal may be read or written."""
        return self.user == ANONYMOUS


def normalise_user(user: User | None) -> str:
    """A user id as text; None and blank text are anonymous. Case and spaces count; 7 and "7" are one user.

    Any other type is a `TypeError`, so that two users never meet by accident of formatting.

    Example:
        >>> normalise_user(7), normalise_user(" ")
        ('7', '')
    """
    if user is None:
        return ANONYMOUS
    if isinstance(user, bool) or not isinstance(user, str | int | UUID):
        raise TypeError(f"a user id must be a str, int or UUID, got {type(user).__name__} {user!r}")
    text = str(user)
    return text if text.strip() else ANONYMOUS


class Label(str):
    """A user's label, as `label` makes it; `label` leaves it as it is. For loops over all users of a store."""


def label(name: str, *, prefix: str = "u") -> str:
    """A namespace label or key for any text: no dots, never empty, at most 120 characters, no two names alike.

    Example:
        >>> label("a@b.c"), label("..")
        ('u=a@b~2ec', 'u=~2e~2e')
    """
    return name if isinstance(name, Label) else _label(name, prefix)


@lru_cache(maxsize=4_096)
def _label(name: str, prefix: str) -> str:
    encoded = name.encode("utf-8", "surrogatepass")
    made = f"{prefix}={_ODD.sub(lambda byte: b'~%02x' % ord(byte[0]), encoded).decode()}"
    return made if len(made) <= 120 else f"{prefix}#{hashlib.sha256(encoded).hexdigest()}"


def hash_user_ids(secret: str) -> Callable[[Any], Any]:
    """What puts a pseudonym in the place of each user id in the inputs, outputs or metadata of a trace.

    For `langsmith.Client(hide_inputs=hide, hide_outputs=hide, hide_metadata=hide)`. The pseudonym is a keyed hash, so
    that who does not know the secret cannot try out names. Only fields that hold an id are changed, not the texts.

    Example:
        >>> hash_user_ids("a secret")({"user_id": "ana@example.com", "thread_id": "t1"})
        {'user_id': 'user-c97e39f4da89', 'thread_id': 't1'}
    """
    if not isinstance(secret, str) or len(secret) < 8:
        raise ConfigError("hash_user_ids needs a secret text of 8 characters or more; who knows it can try out names")

    def hide(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: hide(one, name) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [hide(one) for one in value]
        if key not in _USER_FIELDS or not isinstance(value, User) or isinstance(value, bool) or value == ANONYMOUS:
            return value
        return f"user-{hmac.new(secret.encode(), str(value).encode(), 'sha256').hexdigest()[:12]}"

    return hide


def resolve_identity(
    config: RunnableConfig,
    *,
    user_id: User | None = None,
    session_id: str | None = None,
    default_user: User | None = None,
    trust: Trust = "server",
) -> Identity:
    """Find the user and the session of a call, given its merged config (`ensure_config(config)`) and its keywords.

    The first of these that names a user is the claim: the keyword, the runtime context, `configurable`, the default;
    `""` asks for anonymous. On a LangGraph server with authentication, the authenticated user is taken where nothing is
    claimed. Where the two differ, "server" makes the call anonymous, with one WARNING; "caller" takes the claim.
    """
    runtime = _runtime_of(config)
    configurable = config.get("configurable") or {}
    claims = (user_id, _context_field(runtime, "user_id"), configurable.get("user_id"), default_user)
    claimed = next((claim for claim in claims if claim is not None), None)
    sessions = (session_id, configurable.get("thread_id"), configurable.get("session_id"))
    session = next((str(value) for value in sessions if value is not None), "")
    verified = authenticated_name(getattr(getattr(runtime, "server_info", None), "user", None))
    try:
        user = normalise_user(claimed)
    except TypeError:
        warn(logger, "The call is anonymous: a user id must be a str, int or UUID (%s)", type(claimed).__name__)
        return Identity(ANONYMOUS, session)
    if claimed is None and verified is not None:
        return Identity(verified, session)
    if verified in (None, user) or claimed == ANONYMOUS or trust == "caller":
        return Identity(user, session)
    warn(
        logger,
        "The call is anonymous: it claims one user and the server authenticated another. Where a service calls with "
        'one key for many users, set PersonaMemory(trust="caller"); the default is trust="server"',
    )
    return Identity(ANONYMOUS, session)


async def allow_own_records(ctx: Any, value: Mapping[str, Any], root: Sequence[str] = ("persona",)) -> bool:
    """For a LangGraph server, `auth.on.store(allow_own_records)`: over HTTP callers read their own records, no others.

    Nobody writes there, for records are changed by the memory alone; namespaces outside of `root`, the `namespace` of
    the memory, are refused. A developer in Studio may do everything. Where a host keeps other things in the store, it
    decides on those in a handler of its own, which calls this one for the rest.

    Args:
        ctx: who calls, and the action.
        value: what is asked for; without a namespace it is everything.
        root: of the memory.
    """
    if _is_studio_user(ctx.user):
        return True
    identity = getattr(ctx.user, "identity", None)
    if ctx.action not in ("get", "search", "list_namespaces") or not isinstance(identity, str) or not identity.strip():
        return False
    own = (*root, label(identity))
    return tuple(value.get("namespace") or ())[: len(own)] == own


def context_value(config: RunnableConfig, name: str, default: Any) -> Any:
    """A field of the runtime context, or the default where it is empty or there is no context."""
    runtime = _runtime_of(config)
    context = getattr(runtime, "context", None)
    own = isinstance(context, Mapping) and context.keys() <= PersonaContext.model_fields.keys()
    value = _context_field(runtime, name) if own or isinstance(context, PersonaContext) else None
    return default if value in (None, "") else value


def _runtime_of(config: RunnableConfig) -> Runtime[Any] | None:
    """The LangGraph runtime of the node in which this call happens, if any."""
    with set_config_context(config) as context:
        try:
            return context.run(lambda: get_runtime())
        except (RuntimeError, KeyError):
            return None


def _context_field(runtime: Runtime[Any] | None, name: str) -> Any:
    context = getattr(runtime, "context", None)
    return context.get(name) if isinstance(context, Mapping) else getattr(context, name, None)


def authenticated_name(user: Any) -> str | None:
    """The id of a user whom a server authenticated; None for a developer in Studio and for a user without a name."""
    try:
        identity = user.identity
    except (AttributeError, NotImplementedError):  # Starlette's users need not have one
        return None
    if not isinstance(identity, str) or not identity.strip():
        return None
    return None if _is_studio_user(user) else identity


def _is_studio_user(user: Any) -> bool:
    kind = getattr(user, "kind", None) or (user.get("kind") if hasattr(user, "get") else None)
    return kind == "StudioUser" or type(user).__name__ == "StudioUser"
