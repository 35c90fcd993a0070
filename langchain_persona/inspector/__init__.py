"""The inspector: web pages on which users see, correct, take along and erase what is held on them.

`langchain-persona inspector --path ./persona` serves them on this machine. They need the extra `inspector`. Here is who
may see which page, and what a form may do: each action is one method of `PersonaMemory`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from langchain_core.runnables.config import run_in_executor

from langchain_persona.errors import ConfigError, MissingExtraError, PersonaError
from langchain_persona.identity import User, authenticated_name, normalise_user
from langchain_persona.inspector import pages
from langchain_persona.memory import FeedbackReceipt, PersonaMemory
from langchain_persona.records import PreferenceCard
from langchain_persona.retrieval import VARSRetriever

try:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, RedirectResponse, Response
    from starlette.routing import Route
except ImportError as error:
    raise MissingExtraError('the inspector needs: pip install "langchain-persona[inspector]"') from error

__all__ = ["create_inspector"]

_HERE = Path(__file__).parent
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LONGEST = 200_000  # bytes of a request
# In each answer, not in a middleware: a LangGraph server would put that around its own routes too.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

Form = Mapping[str, str]
Action = Callable[[PersonaMemory, str, Form], object]

# What a form may ask for in its field `do`, and what the page says when it is done.
ACTIONS: dict[str, tuple[Action, str]] = {
    "remember": (lambda m, u, f: m.remember(u, _card(f)), "Kept."),
    "update": (lambda m, u, f: m.update(u, f["card"], _card(f)), "Changed. The old text is under “No longer used”."),
    "pin": (lambda m, u, f: m.pin(u, f["card"]), "Pinned: it is never changed automatically."),
    "unpin": (lambda m, u, f: m.pin(u, f["card"], False), "No longer pinned."),
    "hold_back": (lambda m, u, f: m.hold_back(u, f["card"]), "Held back: no model sees it."),
    "show": (lambda m, u, f: m.hold_back(u, f["card"], False), "In use again."),
    "retire": (lambda m, u, f: m.retire(u, f["card"], "you set it aside"), "Set aside, under “No longer used”."),
    "revive": (lambda m, u, f: m.revive(u, f["card"]), "In use again."),
    "forget": (lambda m, u, f: m.forget(u, f["card"]), "Forgotten for good."),
    "set_style": (lambda m, u, f: m.set_style(u, **{f["axis"]: float(f["value"]) if f["value"] else None}), "Noted."),
    "revise_persona": (lambda m, u, f: m.revise_persona(u, f["text"]), "Your text is saved."),
    "pin_persona": (lambda m, u, f: m.pin_persona(u), "Pinned: the text is never rewritten automatically."),
    "unpin_persona": (lambda m, u, f: m.pin_persona(u, False), "The text may be rewritten automatically."),
    "rollback_persona": (lambda m, u, f: m.rollback_persona(u, int(f["number"])), "The earlier text is back."),
    "feedback": (lambda m, u, f: m.feedback(u, f["retrieval"], **_thumb(f)), "Noted, and ranked anew."),
    "withdraw": (lambda m, u, f: m.withdraw(u, f["rating"]), "Rating taken back: it counts for nothing."),
    "delete_user": (lambda m, u, f: m.delete_user(u), "Everything was deleted."),
    "readmit_user": (lambda m, u, f: m.readmit_user(u), "Welcome. Nothing is known of you."),
}
_SAID = {do: said for do, (_, said) in ACTIONS.items()}
_SAID["nothing"] = "That changed nothing: it was done before, or the ranking is too old."


def create_inspector(
    memory: PersonaMemory, retriever: VARSRetriever | None = None, *, local: bool = False, user: User | None = None
) -> Starlette:
    """The pages below `/persona/`, and `POST /persona/feedback`, as an app to serve or to mount.

    Each page is of the user whom the server authenticated (`request.user.identity`), and of nobody else; without one it
    is refused. A LangGraph server authenticates custom routes with `"enable_custom_route_auth": true`.

    Args:
        memory: whose users it shows.
        retriever: the documents of *Why this ranking?*; by default the user's own cards.
        local: where nobody is authenticated, calls from this machine (loopback, no proxy) may choose a user.
        user: the same for this user only.

    Raises:
        ConfigError: an argument that cannot work.

    Example:
        >>> from langgraph.store.memory import InMemoryStore
        >>> [route.path for route in create_inspector(PersonaMemory(InMemoryStore())).routes][:3]
        ['/persona', '/persona/', '/persona/why']
    """
    if not isinstance(memory, PersonaMemory):
        raise ConfigError(f"memory must be a PersonaMemory, got {memory!r:.100}")
    if retriever is not None and not (isinstance(retriever, VARSRetriever) and retriever.memory is memory):
        raise ConfigError(f"retriever must be a VARSRetriever on the same memory, or None; got {retriever!r:.100}")
    inspector = _Inspector(memory, retriever, local or user is not None, normalise_user(user))
    handlers = {"": inspector.me, "why": inspector.why, "learning": inspector.learning, "delete": inspector.delete}
    routes = [Route("/persona", partial(_redirect, "persona/"))]
    for name, handler in {**handlers, "export": inspector.export}.items():
        routes.append(Route(f"/persona/{name}", inspector.guard(handler)))
    for name, handler in {"do": inspector.do, "feedback": inspector.feedback}.items():
        routes.append(Route(f"/persona/{name}", inspector.guard(handler), methods=["POST"]))
    for name, kind in {"inspector.css": "text/css", "inspector.js": "text/javascript"}.items():
        routes.append(Route(f"/persona/{name}", partial(_file, (_HERE / name).read_bytes(), kind)))
    return Starlette(routes=routes)


class _RefusedError(Exception):
    """Status, and a sentence for the reader."""


class _Inspector:
    def __init__(self, memory: PersonaMemory, retriever: VARSRetriever | None, local: bool, only: str) -> None:
        self.memory, self.retriever, self.local, self.only = memory, retriever, local, only
        loader = FileSystemLoader(_HERE / "templates")
        self._templates = Environment(
            loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._templates.filters.update(pages.FILTERS)
        for name in loader.list_templates():  # compiled now, not in the first request
            self._templates.get_template(name)

    # who --------------------------------------------------------------------------------------------------------------

    def guard(self, handler: Callable[[Request, str], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of a handler: it gets the user whose page this is, and no page is cached."""

        async def endpoint(request: Request) -> Response:
            try:
                user, known = self._user(request)
                _check_site(request, known)
                response = await handler(request, user) if user else await self._choose(request)
            except _RefusedError as refusal:
                status, why = refusal.args
                response = await self._html("notice.html", request, "", status, title="No page for you here", why=why)
            except PersonaError as error:  # the store failed, or there is nothing to rank
                status, why = (400 if isinstance(error, ConfigError) else 503), str(error)
                response = await self._html("notice.html", request, "", status, title="That did not work", why=why)
            response.headers.update(_HEADERS)
            return response

        return endpoint

    def _user(self, request: Request) -> tuple[str, bool]:
        """Whose page, "" where one must be chosen; and whether the server authenticated them."""
        named = request.query_params.get("user", "")
        verified = _verified(request)
        if verified and named in ("", verified):
            return verified, True
        if verified is not None:
            raise _RefusedError(403, "You are signed in without a name, or as somebody else than this address names.")
        if not self.local:
            raise _RefusedError(401, "Nobody is signed in. Set up authentication on the server that shows this page.")
        proxied = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip"))
        here = request.client is not None and request.client.host in _LOOPBACK
        if proxied or not here or request.url.hostname not in _LOOPBACK:
            raise _RefusedError(403, "Without authentication this page opens on the machine itself only.")
        if self.only and named not in ("", self.only):
            raise _RefusedError(403, "This inspector was started for another user.")
        return self.only or normalise_user(named), False

    # pages ------------------------------------------------------------------------------------------------------------

    async def me(self, request: Request, user: str, wrong: str = "", status: int = 200) -> Response:
        """What we know about you."""
        whole = request.query_params.get("all") == "ratings"
        read = partial(pages.read_user, self.memory, user, whole)
        return await self._html("me.html", request, user, status, read, wrong=wrong)

    async def why(self, request: Request, user: str) -> Response:
        """Why this ranking?"""
        asked = pages.Question.read(request.query_params)
        retriever = self.retriever or self.memory.as_retriever()
        found = await pages.rank_both(self.memory, retriever, user, asked, own=self.retriever is None)
        return await self._html("why.html", request, user, 200, **found, own=self.retriever is None)

    async def learning(self, request: Request, user: str) -> Response:
        """How it learns."""
        read = partial(pages.read_learning, self.memory, user)
        return await self._html("learning.html", request, user, 200, read)

    async def delete(self, request: Request, user: str) -> Response:
        """Asks once."""
        read = partial(pages.count_all, self.memory, user)
        return await self._html("notice.html", request, user, 200, read, title="Delete everything about you?")

    async def export(self, request: Request, user: str) -> Response:
        """The user's document as a file."""
        text = json.dumps(await self.memory.aexport_user(user), ensure_ascii=True, indent=1)
        name = {"Content-Disposition": 'attachment; filename="my-data.json"'}
        return Response(text, media_type="application/json", headers=name)

    async def _choose(self, request: Request) -> Response:
        if request.method == "POST":
            raise _RefusedError(400, "Name the user: ?user=…")
        read = lambda: {"users": pages.list_users(self.memory)}  # noqa: E731
        return await self._html("notice.html", request, "", 200, read, title="Whose page?")

    async def _html(
        self,
        template: str,
        request: Request,
        user: str,
        status: int,
        read: Callable[[], Mapping[str, Any]] = dict,
        **values: Any,
    ) -> Response:
        """A rendered template, with what `read` found: both in a thread."""
        own = {"user": user} if self.local and user else {}  # signed-in users need not be named
        page = {"user": user, "local": self.local and _verified(request) is None}
        page |= {"url": lambda path, **query: _url(path, **{**own, **query}), "page": template.partition(".")[0]}
        page |= {"choice": not self.only, "said": _SAID.get(request.query_params.get("said", ""), "")}

        def render() -> bytes:
            text = self._templates.get_template(template).render(**page, **values, **read())
            return text.encode("utf-8", "replace")  # lone surrogates have no place in UTF-8

        return Response(await run_in_executor(None, render), status, media_type="text/html")

    # actions ----------------------------------------------------------------------------------------------------------

    async def do(self, request: Request, user: str) -> Response:
        """One action of a form; then the page again."""
        form = dict(parse_qsl((await _body(request)).decode("utf-8", "replace"), keep_blank_values=True))
        action, _ = ACTIONS.get(form.get("do", ""), (None, ""))
        own = {"user": user} if request.query_params.get("user") else {}
        try:
            if action is None:
                raise ConfigError("no such action")
            done = await run_in_executor(None, action, self.memory, user, form)
        except (ConfigError, TypeError, ValueError) as error:
            why = str(error) if isinstance(error, ConfigError) else "This text is empty or too long."
            return await self.me(request, user, why, 400)
        except KeyError:
            return await self.me(request, user, "That is not there any more.", 404)
        said = "nothing" if isinstance(done, FeedbackReceipt) and not done.applied else form["do"]
        if form.get("at") == "why":
            asked = {name: form[name] for name in ("q", "k", "strength", "session") if name in form}
            return await _redirect(_url("why", **own, **asked, said=said), request)
        return await _redirect(_url("./", **own, said=said), request)

    async def feedback(self, request: Request, user: str) -> Response:
        """A thumb as JSON from any front end, `{"retrieval_id": …, "reward": 1}`; the receipt as JSON."""
        try:
            given = json.loads(await _body(request))
            names = {"retrieval_id", "reward", "docs", "key", "source"}
            if not isinstance(given, dict) or not {"retrieval_id", "reward"} <= given.keys() <= names:
                raise ValueError(f"a JSON object with retrieval_id and reward, and if need be {sorted(names)}")
            receipt = await self.memory.afeedback(user, given.pop("retrieval_id"), **given)
        except (ConfigError, TypeError, ValueError) as error:
            return JSONResponse({"detail": str(error)[:400]}, 400)
        return JSONResponse({"id": receipt.id, "applied": receipt.applied, "reason": receipt.reason})


def _verified(request: Request) -> str | None:
    """The id of the authenticated user, "" for one without a name; None where nobody is authenticated."""
    user = request.scope.get("user")
    return authenticated_name(user) or "" if getattr(user, "is_authenticated", False) else None


def _check_site(request: Request, known: bool) -> None:
    """Refuse what another site's page makes a browser send; opening a page by a link from there is fine."""
    explicit = request.headers.get("authorization", "").lower().startswith("bearer ")
    if known and explicit:  # no browser adds that by itself
        return
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    opened = request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
    own = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not opened and not (site in ("same-origin", "none") if site else own):
        raise _RefusedError(403, "This came from another site.")


async def _body(request: Request) -> bytes:
    read = b""
    async for chunk in request.stream():
        read += chunk
        if len(read) > _LONGEST:
            raise _RefusedError(413, "That is too long.")
    return read


def _card(form: Form) -> PreferenceCard:
    given = {name: form[name] for name in ("kind", "scope", "condition") if form.get(name)}
    return PreferenceCard.model_validate({"text": form["text"].strip(), **given})


def _thumb(form: Form) -> dict[str, Any]:
    """The same thumb pressed twice counts once."""
    reward, document = float(form["reward"]), form["document"]
    key = f"inspector {form['retrieval']} {document} {reward}"
    return {"reward": reward, "docs": [document], "key": key}


def _url(path: str, **query: object) -> str:
    """A relative address, so that the app can be mounted below a prefix."""
    return f"{path}?{urlencode(query)}" if query else path


async def _redirect(target: str, request: Request) -> Response:
    return RedirectResponse(target, 303)


async def _file(content: bytes, kind: str, request: Request) -> Response:
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=kind, headers=headers)
