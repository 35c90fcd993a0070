"""All that knows LangGraph's `BaseStore`: paths, batches with a deadline, paging, tombstones.

Everything on one user lies below `(root, user)`. A `BaseStore` has no compare-and-swap, so what two writers could meet
in is a record of its own: one a card, one a feedback, snapshots that trail.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from threading import Lock, RLock
from typing import Any, Generic, TypeVar

from langgraph.config import get_store
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)
from langgraph.store.base.batch import AsyncBatchedBaseStore

from langchain_persona.errors import ConfigError, CorruptRecordError, StoreError
from langchain_persona.identity import Label, label
from langchain_persona.records import Record, read_record
from langchain_persona.resilience import call_within, warn

logger = logging.getLogger(__name__)

Path = tuple[str, ...]
"""A user (id or `Label`), then labels, such as `("ana@example.com", "cards")`."""

T = TypeVar("T")
R = TypeVar("R", bound=Record)

_PAGE = 1_000
_LABEL = re.compile(r"(?!langgraph)[^.]+")


class UserStore:
    """One place in a LangGraph store, the namespace `root`, with a deadline for every batch.

    Async stores (`AsyncSqliteStore`, `AsyncPostgresStore`) are called from a worker thread, from where they reach their
    event loop.
    """

    def __init__(self, store: BaseStore, root: Sequence[str], timeout_seconds: float) -> None:
        labels = tuple(root) if isinstance(root, Sequence) and not isinstance(root, str) else ()
        if not labels or not all(isinstance(one, str) and _LABEL.fullmatch(one) for one in labels):
            raise ConfigError(
                "namespace must be a sequence of labels such as ('persona',), each a text without dots that does not "
                f"begin with 'langgraph'; got {root!r}"
            )
        self.store = store
        self.root = labels
        self.timeout_seconds = timeout_seconds
        self._locks = [RLock() for _ in range(64)]

    def batch(self, ops: Sequence[Op]) -> list[Result]:
        """The results of some operations, in order. Reads among them see what was there before the writes."""
        if isinstance(self.store, AsyncBatchedBaseStore) and _in_event_loop():
            raise StoreError(
                f"{type(self.store).__name__} cannot be called from the thread of an event loop; await the async twin "
                "of this method, such as memory.aremember"
            )
        try:
            return call_within(self.timeout_seconds, lambda: self.store.batch(ops)) if ops else []
        except ConfigError:
            raise
        except TimeoutError as error:
            raise StoreError(f"the store: {error}; it may still do what it was asked, so repeat with a key") from error
        except Exception as error:
            raise StoreError(f"the store failed ({error!r}); nothing was recorded, so try again") from error

    def get(self, path: Path, key: str) -> Op:
        """The read of one value, for a batch."""
        return GetOp(self._namespace(path), key, refresh_ttl=False)

    def put(self, path: Path, key: str, value: Mapping[str, Any], ttl_seconds: float | None = None) -> Op:
        """The write of one value, for a batch, with a time to live where the store knows one. It is never indexed."""
        ttl = ttl_seconds / 60.0 if ttl_seconds is not None and self.store.supports_ttl else None
        return PutOp(self._namespace(path), key, dict(value), index=False, ttl=ttl)

    def delete(self, path: Path, key: str) -> Op:
        """The erasure of one value, for a batch; it need not be there."""
        return PutOp(self._namespace(path), key, None)

    def search(self, path: Path) -> Op:
        """The read of everything below a path, for a batch; `found` takes its result."""
        return SearchOp(self._namespace(path), limit=_PAGE, refresh_ttl=False)

    def found(self, path: Path, result: Result) -> list[SearchItem]:
        """Everything below a path, given the result of its `search`; reads on where that was a full page."""
        place, page = self._namespace(path), _search_items(result)
        found = list(page)
        while len(page) == _PAGE:
            (more,) = self.batch([SearchOp(place, limit=_PAGE, offset=len(found), refresh_ttl=False)])
            page = _search_items(more)
            found += page
        # some stores matched prefixes as text (CVE-2026-71433): never another user's item
        return [item for item in found if tuple(item.namespace)[: len(place)] == place]

    def scan(self, path: Path) -> list[SearchItem]:
        """Everything below a path, however much a store gives at a time."""
        (result,) = self.batch([self.search(path)])
        return self.found(path, result)

    def namespaces(self, pattern: Path, depth: int, offset: int = 0) -> list[Path]:
        """A page of the namespaces below the root that begin with a pattern ("*" is any label), cut at a depth."""
        condition = MatchCondition(match_type="prefix", path=(*self.root, *pattern))
        page = ListNamespacesOp((condition,), max_depth=len(self.root) + depth, limit=_PAGE, offset=offset)
        (result,) = self.batch([page])
        return [tuple(name) for name in result if isinstance(name, tuple | list)] if isinstance(result, list) else []

    def users(self) -> list[Label]:
        """Labels of all users of whom something is kept, sorted; each stands for its user in every method."""
        found: set[str] = set()
        for offset in count(0, _PAGE):
            names = self.namespaces((), 1, offset)
            found |= {name[-1] for name in names if len(name) > len(self.root)}
            if len(names) < _PAGE:
                return [Label(name) for name in sorted(found) if name.startswith(("u=", "u#"))]
        return []

    def editing(self, user: str) -> RLock:
        """The lock of who reads a user's record, changes it and writes it back. Of two processes the later one wins."""
        return self._locks[hash(user) % len(self._locks)]

    # tombstones of cards and episodes: what was erased must not be written again

    def bury(self, user: str, names: Iterable[str]) -> list[Op]:
        """The writes of tombstones, for a batch."""
        return [self.put((user, "erased"), label(name, prefix="x"), {}) for name in names]

    def erased(self, user: str, names: Iterable[str]) -> set[str]:
        """Which of some cards and episodes were erased."""
        asked = list(dict.fromkeys(names))
        results = self.batch([self.get((user, "erased"), label(name, prefix="x")) for name in asked])
        return {name for name, result in zip(asked, results, strict=True) if result is not None}

    def _namespace(self, path: Path) -> tuple[str, ...]:
        return (*self.root, label(path[0]), *path[1:])


class VersionedCache(Generic[T]):
    """What was last read for so many users, valid while a version in the store, which every writer changes, stays."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, tuple[str, T]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, version: str | None = None) -> T | None:
        """The value under a key; with a version only if it belongs to that one."""
        with self._lock:
            kept = self._kept.get(key)
            return kept[1] if kept is not None and version in (None, kept[0]) else None

    def put(self, key: Hashable, version: str, value: T) -> None:
        """Keep a value."""
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = (version, value)
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)

    def drop(self, key: Hashable) -> None:
        """Forget a value."""
        with self._lock:
            self._kept.pop(key, None)


def found_item(result: Result) -> Item | None:
    """The result of a `get`."""
    return result if isinstance(result, Item) else None


def parse_record(kind: type[R], result: object) -> R | None:
    """A record, given the result of a `get` or an item of a `search`; None, with a warning, where it cannot be read."""
    if not isinstance(result, Item):
        return None
    try:
        return read_record(kind, result.value)
    except CorruptRecordError as error:
        warn(logger, "Leaving out the unreadable record %s: %s", result.key, error)
        return None


def _search_items(result: Result) -> list[SearchItem]:
    return [item for item in result if isinstance(item, SearchItem)] if isinstance(result, list) else []


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class RuntimeStore(BaseStore):
    """The store of whatever graph is running, for a memory that is made when the graph's file is imported.

    A server (`langgraph dev`, a deployment) gives its store to a graph only while it runs. Outside a running graph
    `fallback` is used; without one an operation there raises `ConfigError`.

    Example:
        >>> memory = PersonaMemory(RuntimeStore(), embeddings)  # doctest: +SKIP
    """

    supports_ttl = False

    def __init__(self, fallback: BaseStore | None = None) -> None:
        if fallback is not None and not isinstance(fallback, BaseStore):
            raise ConfigError(f"fallback must be a LangGraph BaseStore, got {type(fallback).__name__}")
        self._fallback = fallback

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Operations on the store of the running graph."""
        return self._running().batch(ops)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Async twin of `batch`."""
        return await self._running().abatch(ops)

    def _running(self) -> BaseStore:
        store: BaseStore | None = None
        with suppress(RuntimeError, KeyError):  # no graph runs here
            store = get_store()
        found = store if store is not None and store is not self else self._fallback
        if found is not None:
            return found
        raise ConfigError("no graph with a store runs here: compile it with store=..., or give RuntimeStore a fallback")
