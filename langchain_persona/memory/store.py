"""All that knows LangGraph's `BaseStore`: paths, batches with a deadline, paging, tombstones.

Everything on one user lies below `(root, user)`. A `BaseStore` has no compare-and-swap, so what two writers could meet
in is a record of its own: one a card, one a feedback, snapshots that trail.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
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
from langgraph.store.memory import InMemoryStore

from langchain_persona.errors import ConfigError, CorruptRecordError, StoreError
from langchain_persona.identity import Label, label
from langchain_persona.memory.local import scrub
from langchain_persona.records import Record, new_id, read_record
from langchain_persona.resilience import call_within, run_or_default, storable, warn

logger = logging.getLogger(__name__)

Path = tuple[str, ...]
"""A user (id or `Label`), then labels, such as `("ana@example.com", "cards")`."""

T = TypeVar("T")
R = TypeVar("R", bound=Record)

SWEEP_EVERY = 64
"""Retrievals, or turns, that a process records between two looks for expired ones."""

_PAGE = 1_000  # items of a first search
_LABEL = re.compile(r"(?!langgraph)[^.]+")


class UserStore:
    """One place in a LangGraph store, the namespace `root`, with a deadline for every batch.

    Async stores (`AsyncSqliteStore`, `AsyncPostgresStore`) are called from a worker thread, from where they reach their
    event loop. A store that missed a deadline is not asked for the same user again for as long, so that a turn waits
    for it once.

    A deleted user leaves a tombstone, and every later write of that user is taken back, whoever makes it. A store knows
    no conditions, and SQLite refuses to read and write in one batch when two processes do so. Therefore each batch of
    reads looks for tombstones: of the users that it is about, and of those for whom this process has written since.
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
        self.closed = False
        self.caches: list[VersionedCache[Any]] = []
        self._locks = [RLock() for _ in range(64)]
        self._lock = Lock()
        self._silent: dict[str, float] = {}  # until when whose calls are refused, for one has just hung
        self._written: set[str] = set()  # labels of users for whom something was written since the last look
        self._deleted: dict[str, bool] = {}  # labels of deleted users that were met, and whether that was said

    def batch(self, ops: Sequence[Op]) -> list[Result]:
        """The results of some operations, in order: all of them reads, or all writes.

        Of a deleted user nothing is found and nothing is written, as if the user were anonymous.
        """
        users = {name for op in ops if (name := self._owner(op))}
        if not any(isinstance(op, PutOp) for op in ops):
            return self._read(ops, users) if ops else []
        if known := users & self._deleted.keys():  # readmitted by another process meanwhile, or still deleted
            self._read([], known)
        self._call([op for op in ops if self._owner(op) not in self._deleted])
        return [None] * len(ops)

    def tombstone(self, user: str) -> Mapping[str, Any] | None:
        """The tombstone of a deleted user; None where the user was not deleted."""
        item = found_item(self._call([GetOp(*self._tombstone(label(user)), refresh_ttl=False)])[0])
        return None if item is None else item.value

    def bury_user(self, user: str, threads: Sequence[str] = ()) -> None:
        """Leave the tombstone of a user, with what it must remember; `sweep` then deletes what there is."""
        name, value = label(user), {"time": time.time(), "threads": list(threads)}
        self._call([PutOp(*self._tombstone(name), value, index=False)])
        self._remember_deleted(name, said=self._deleted.get(name, False))

    def readmit_user(self, user: str) -> None:
        """Take the tombstone of a user away, and before that what late writers have left."""
        ops: list[Op] = [PutOp(*self._tombstone(label(user)), None)]
        if self.tombstone(user) is not None:
            self.sweep(label(user))
            # no process is to go on with the exchanges that it has of them
            ops.append(self.put((user, "versions"), "past", {"version": new_id()}))
        self._call(ops)
        self._deleted.pop(label(user), None)

    def sweep(self, name: str) -> Counter[str]:
        """Delete every record of a deleted user, given the label; how many of each part, such as "cards"."""
        place, found, others = (*self.root, name), Counter[str](), 0
        if (expire := getattr(self.store, "sweep_ttl", None)) is not None:  # a store may hide what has expired
            if isinstance(self.store, AsyncBatchedBaseStore):
                own, loop = expire, self.store._loop
                expire = lambda: asyncio.run_coroutine_threadsafe(own(), loop).result()  # noqa: E731
            told = "What has expired is left to the store's own sweeper"
            run_or_default(told, partial(call_within, self.timeout_seconds, expire), None)
        while page := self._page(self._call, place, others):
            own = [item for item in page if tuple(item.namespace)[: len(place)] == place]
            others += len(page) - len(own)
            self._call([PutOp(item.namespace, item.key, None) for item in own])
            found.update(item.namespace[len(place)] for item in own)
        return found

    def scrub(self, seconds: float | None = None) -> bool | None:
        """Leave no byte of what was deleted in the file of an embedded store: see `local.scrub`; False also if late."""
        try:
            return call_within(self.timeout_seconds if seconds is None else seconds, partial(scrub, self.store))
        except TimeoutError:
            return False

    def _read(self, ops: Sequence[Op], users: Iterable[str]) -> list[Result]:
        with self._lock:
            written, self._written = self._written, set()
        asked = sorted(written.union(users))
        try:
            results = self._call([*ops, *(GetOp(*self._tombstone(name), refresh_ttl=False) for name in asked)])
        except Exception:
            with self._lock:
                self._written |= written
            raise
        gone = {name for name, tomb in zip(asked, results[len(ops) :], strict=True) if tomb is not None}
        for name in self._deleted.keys() & set(asked) - gone:
            self._deleted.pop(name, None)
        if not gone:
            return results[: len(ops)]
        for name in gone:
            if not self._deleted.get(name):
                self._remember_deleted(name, said=True)
                warn(logger, "A deleted user is treated as anonymous until PersonaMemory.readmit_user(user)")
        found = [(self._owner(op), result) for op, result in zip(ops, results, strict=False)]
        for name in gone & (written | {name for name, result in found if name and result}):
            run_or_default("What was written of a deleted user is not erased yet", partial(self._take_back, name), None)
        return [([] if isinstance(result, list) else None) if name in gone else result for name, result in found]

    def _take_back(self, name: str) -> None:
        try:
            self.sweep(name)
            self.scrub()
        except Exception:
            with self._lock:
                self._written.add(name)  # the next read tries again
            raise

    def _remember_deleted(self, name: str, *, said: bool) -> None:
        if len(self._deleted) >= 10_000:  # one who is not remembered is met again
            self._deleted.clear()
        self._deleted[name] = said
        for cache in self.caches:
            cache.drop_user(name)

    def _page(
        self, batch: Callable[[Sequence[Op]], list[Result]], place: Path, offset: int, limit: int = _PAGE
    ) -> list[SearchItem]:
        return _search_items(batch([SearchOp(place, limit=limit, offset=offset, refresh_ttl=False)])[0])

    def _owner(self, op: Op) -> str | None:
        """Label of the user that an operation is about."""
        place = op.namespace_prefix if isinstance(op, SearchOp) else getattr(op, "namespace", ())
        return next((name for name in place[len(self.root) :][:1] if name.startswith(("u=", "u#"))), None)

    def _tombstone(self, name: str) -> tuple[Path, str]:
        """Namespace and key; the name of the user cannot be read from it."""
        return (*self.root, "deleted"), hashlib.sha256(name.encode()).hexdigest()

    def _call(self, ops: Sequence[Op]) -> list[Result]:
        if self.closed:
            raise StoreError("this memory was closed; open it again with PersonaMemory.local(folder)")
        if isinstance(self.store, AsyncBatchedBaseStore) and _in_event_loop():
            raise StoreError(
                f"{type(self.store).__name__} cannot be called from the thread of an event loop; await the async twin "
                "of this method, such as memory.aremember"
            )
        owners = {name for op in ops if (name := self._owner(op))}
        if any(time.monotonic() < self._silent.get(name, 0.0) for name in owners):
            raise StoreError(
                "the store did not answer this user a moment ago; part of a write may be recorded: repeat it with a key"
            )
        try:
            return call_within(self.timeout_seconds, partial(self._run, ops)) if ops else []
        except ConfigError:
            raise
        except TimeoutError as error:
            self._silent |= dict.fromkeys(owners, time.monotonic() + self.timeout_seconds)
            raise StoreError(f"the store: {error}; it may still do what it was asked, so repeat with a key") from error
        except Exception as error:
            raise StoreError(f"the store failed ({error!r}); this step recorded nothing, so try again") from error

    def _run(self, ops: Sequence[Op]) -> list[Result]:
        try:
            results = self._ask(ops)
            self._silent.clear()
            return results
        finally:  # when it is done, also where nobody waits for it any more
            written = {self._owner(op) for op in ops if isinstance(op, PutOp) and op.value is not None}
            with self._lock:
                self._written.update(filter(None, written))

    def _ask(self, ops: Sequence[Op]) -> list[Result]:
        reads = isinstance(self.store, InMemoryStore) and not any(isinstance(op, PutOp) for op in ops)
        for _ in range(9 if reads else 0):
            with suppress(RuntimeError):  # its search cannot go on where another thread's `get` adds a namespace
                return self.store.batch(ops)
        return self.store.batch(ops)

    def get(self, path: Path, key: str) -> Op:
        """The read of one value, for a batch."""
        return GetOp(self._namespace(path), key, refresh_ttl=False)

    def put(self, path: Path, key: str, value: Mapping[str, Any], ttl_seconds: float | None = None) -> Op:
        """The write of one value, for a batch, with a time to live where the store knows one. It is never indexed."""
        ttl = ttl_seconds / 60.0 if ttl_seconds is not None and self.store.supports_ttl else None
        return PutOp(self._namespace(path), key, _storable(dict(value)), index=False, ttl=ttl)

    def delete(self, path: Path, key: str) -> Op:
        """The erasure of one value, for a batch; it need not be there."""
        return PutOp(self._namespace(path), key, None)

    def search(self, path: Path) -> Op:
        """The read of everything below a path, for a batch; `found` takes its result."""
        return SearchOp(self._namespace(path), limit=_PAGE, refresh_ttl=False)

    def found(self, path: Path, result: Result, *, deleted: bool = False) -> list[SearchItem]:
        """Everything below a path, given the result of its `search`; reads on where that was a full page."""
        place, found = self._namespace(path), _search_items(result)
        batch = self._call if deleted else self.batch
        if len(found) == _PAGE and (parts := self._parts(path)):
            found = []
            for some in chunks(parts):
                pages = zip(some, batch([self.search(part) for part in some]), strict=True)
                found += [one for part, page in pages for one in self.found(part, page, deleted=deleted)]
        else:
            limit = _PAGE
            while len(found) == limit:  # all in one query: of what is equally old two may come in different orders
                limit *= 4
                found = self._page(batch, place, 0, limit)
        # some stores matched prefixes as text (CVE-2026-71433): never another user's item
        return [item for item in found if tuple(item.namespace)[: len(place)] == place]

    def _parts(self, path: Path) -> list[Path]:
        """The paths one level below that together hold all; none where something lies at the path itself.

        To read 20,000 records by 348 of these takes SQLite a third of the time that it takes by offsets, for which it
        sorts all records each time. An `InMemoryStore` looks through all users' namespaces in every search.
        """
        if isinstance(self.store, InMemoryStore):
            return []
        names = self.namespaces((label(path[0]), *path[1:]), len(path) + 1)
        parts: list[Path] = [(path[0], *name[len(self.root) + 1 :]) for name in names]
        return parts if all(len(part) > len(path) for part in parts) else []

    def scan(self, path: Path, *, deleted: bool = False) -> list[SearchItem]:
        """Everything below a path, however much a store gives at a time; `deleted` finds a deleted user's too."""
        (result,) = (self._call if deleted else self.batch)([self.search(path)])
        return self.found(path, result, deleted=deleted)

    def namespaces(self, pattern: Path, depth: int) -> list[Path]:
        """The namespaces below the root that begin with a pattern ("*" is any label), cut at a depth."""
        condition, found = MatchCondition(match_type="prefix", path=(*self.root, *pattern)), list[Path]()
        for offset in count(0, _PAGE):
            page = ListNamespacesOp((condition,), max_depth=len(self.root) + depth, limit=_PAGE, offset=offset)
            (result,) = self.batch([page])
            names = result if isinstance(result, list) else []
            found += [tuple(name) for name in names if isinstance(name, tuple | list)]
            if len(names) < _PAGE:
                break
        return found

    def users(self) -> list[Label]:
        """Labels of all users of whom something is kept, sorted; each stands for its user in every method."""
        found = {name[-1] for name in self.namespaces((), 1) if len(name) > len(self.root)}
        return [Label(name) for name in sorted(found) if name.startswith(("u=", "u#"))]

    def editing(self, user: str) -> RLock:
        """The lock of who reads a user's record, changes it and writes it back. Of two processes the later one wins."""
        return self._locks[hash(label(user)) % len(self._locks)]

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

    def put(self, key: Hashable, version: str | None, value: T) -> None:
        """Keep a value; with version None under the one that is there."""
        with self._lock:
            before = self._kept.pop(key, ("", value))
            self._kept[key] = (before[0] if version is None else version, value)
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)

    def drop(self, key: Hashable) -> None:
        """Forget a value."""
        with self._lock:
            self._kept.pop(key, None)

    def drop_user(self, name: str) -> None:
        """Forget every value of a user, given the label, whose key is the user or begins with the user."""
        with self._lock:
            for key in list(self._kept):
                user: Any = key[0] if isinstance(key, tuple) else key
                if label(user) == name:
                    del self._kept[key]


def _storable(value: Any) -> Any:
    """A JSON value of which every text is storable."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(name): _storable(one) for name, one in value.items()}
    if isinstance(value, list) and not (value and isinstance(value[0], float)):  # scores are on every retrieval's way
        return [_storable(one) for one in value]
    return value


def chunks(items: Sequence[T], size: int = 200) -> Iterator[Sequence[T]]:
    """Some items after the others, few enough for one batch."""
    return (items[start : start + size] for start in range(0, len(items), size))


def found_item(result: Result) -> Item | None:
    """The result of a `get`."""
    return result if isinstance(result, Item) else None


def version_of(result: Result) -> str:
    """The version, given the result of its `get`."""
    item = found_item(result)
    return "" if item is None else str(item.value.get("version", ""))


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
