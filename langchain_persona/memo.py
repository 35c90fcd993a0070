"""A small cache that a version in the store keeps honest: what another process wrote is seen by the next read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

__all__ = ["Memo"]

T = TypeVar("T")


class Memo(Generic[T]):
    """What was last computed for some users, valid while a version in the store stays the same.

    Args:
        lifetime: seconds after which a value is computed anew whatever the version says.
        size: entries kept; the least recently used goes first.
        room: what all of them may weigh together; the same goes first.
        weigh: what one weighs, such as its bytes.
    """

    def __init__(
        self,
        lifetime: float = float("inf"),
        size: int = 512,
        *,
        room: int = 0,
        weigh: Callable[[T], int] = lambda value: 0,
    ) -> None:
        self._lifetime = lifetime
        self._size = size
        self._room = room
        self._weigh = weigh
        self._weight = 0
        self._kept: OrderedDict[Hashable, tuple[str | None, float, T]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, version: str | None, now: float) -> T | None:
        """The value kept under `key`, if it belongs to this version and is young enough."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept[0] != version or not 0.0 <= now - kept[1] < self._lifetime:
                return None
            self._kept.move_to_end(key)
            return kept[2]

    def latest(self, key: Hashable) -> T | None:
        """The value last kept under `key`, whatever its version and age."""
        with self._lock:
            kept = self._kept.get(key)
            return None if kept is None else kept[2]

    def put(self, key: Hashable, version: str | None, value: T, now: float) -> None:
        """Keep a value."""
        with self._lock:
            before = self._kept.pop(key, None)
            self._weight += self._weigh(value) - (0 if before is None else self._weigh(before[2]))
            self._kept[key] = (version, now, value)
            while len(self._kept) > self._size or self._weight > self._room:
                _, (_, _, gone) = self._kept.popitem(last=False)
                self._weight -= self._weigh(gone)
