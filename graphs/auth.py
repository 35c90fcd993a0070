"""Who calls a server of your own, and that nobody reads another's memory or conversations.

In `langgraph.json`:

    "auth": {"path": "./graphs/auth.py:auth", "disable_studio_auth": true}

`PERSONA_TOKENS` names a JSON file with the user of each token, `{"token": "ana@example.com"}`. Ask your identity
provider in `authenticate` instead; the rest may stay. A browser that opens the inspector's pages sends no header: it
brings the token in the cookie `persona_token`, which your sign-in sets as `Secure; HttpOnly; SameSite=Strict`.
"""

import json
import os
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

from langgraph_sdk import Auth

from langchain_persona.identity import allow_own_records

USERS: dict[str, str] = json.loads(Path(os.environ["PERSONA_TOKENS"]).read_text(encoding="utf-8"))

auth = Auth()
auth.on.store(allow_own_records)


@auth.authenticate
async def authenticate(authorization: str | None, path: str, headers: dict[bytes, bytes]) -> Auth.types.MinimalUserDict:
    scheme, _, token = (authorization or "").partition(" ")
    if authorization is None and path.startswith("/persona"):  # these pages refuse what other sites make a browser send
        cookies = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
        scheme, token = "bearer", cookies["persona_token"].value if "persona_token" in cookies else ""
    if scheme.lower() != "bearer" or token not in USERS:
        raise Auth.exceptions.HTTPException(status_code=401, detail="no such token")
    return {"identity": USERS[token]}


@auth.on.threads
async def own_threads(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, str]:
    """Also their states and runs."""
    owner = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(owner)  # in place: the server holds on to it
    return owner


@auth.on.assistants(actions=["read", "search"])
async def all_assistants(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> bool:
    """To make or change one is the developer's: it sets the context for whoever uses it."""
    return True


@auth.on
async def nothing_else(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> bool:
    return False
