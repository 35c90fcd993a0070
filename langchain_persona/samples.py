"""A sample of a collection, on which the spread of relevance and bonus is measured: drawn now and then, and kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from langchain_persona.arrays import Vector, unit
from langchain_persona.effects import Call, Steps
from langchain_persona.memo import Memo

__all__ = ["SAMPLE", "SAMPLE_SECONDS", "SHORT_SECONDS", "Samples", "sample_blocks"]

SAMPLE = 128
"""Documents in a sample."""

SAMPLE_SECONDS = 600.0
"""After so long a sample of a collection is drawn anew: it may have grown."""

SHORT_SECONDS = 5.0
"""The same for a sample with fewer rows than asked for: what is just being filled is soon another collection."""

FILTERS = 1_024
"""Samples kept, one for each of the latest filters."""

ROOM = 64 * 2**20
"""Bytes that they take together, 0.4 MB each for 128 rows of 384 numbers: then the least recently used go first."""

_BLOCKS = 4


@dataclass(frozen=True, slots=True)
class _Kept:
    rows: Vector
    until: float


class Samples:
    """The latest samples of one collection, by filter: at most `FILTERS`, and no more bytes than `ROOM`."""

    def __init__(self) -> None:
        self._kept = Memo[_Kept](size=FILTERS, room=ROOM, weigh=lambda kept: kept.rows.nbytes)

    def of(self, collection: Callable[[], Any], n: int, where: Mapping[str, Any] | None) -> Steps[Vector]:
        """Unit vectors of some documents that pass a filter, shape (at most n, d).

        Args:
            collection: gives the Chroma collection as it is now.
            n: how many are wanted, at least 4.
            where: the filter.
        """
        key, now = (n, json.dumps(where or None, sort_keys=True, default=repr)), time.monotonic()
        kept = self._kept.get(key, None, now)
        if kept is not None and now < kept.until:
            return kept.rows
        rows: Vector = yield Call(lambda: _drawn(collection(), n, where or None))
        lasts = SHORT_SECONDS if len(rows) < n // _BLOCKS * _BLOCKS else SAMPLE_SECONDS
        self._kept.put(key, None, _Kept(rows, now + lasts), now)
        return rows


def _drawn(collection: Any, n: int, where: Mapping[str, Any] | None) -> Vector:
    # how many pass a filter is not known without reading them all: then the first that do
    blocks = [(0, n)] if where else sample_blocks(collection.count(), n)
    found = [
        collection.get(where=where, limit=size, offset=start, include=["embeddings"])["embeddings"]
        for start, size in blocks
    ]
    rows = [np.asarray(some, dtype=np.float64) for some in found if len(some)]
    return unit(np.concatenate(rows)) if rows else np.zeros((0, 0))


def sample_blocks(count: int, n: int) -> list[tuple[int, int]]:
    """Where a sample of a collection is read: first place and length of a few stretches, evenly apart.

    One stretch at the beginning would be all of one kind in a collection that was filled kind by kind; single documents
    would take as many calls.

    Args:
        count: documents in the collection.
        n: how many are wanted, at least 4.

    Example:
        >>> sample_blocks(1000, 128), sample_blocks(100, 128)
        ([(0, 32), (250, 32), (500, 32), (750, 32)], [(0, 100)])
    """
    if count <= n:
        return [(0, count)] if count else []
    return [(count * block // _BLOCKS, n // _BLOCKS) for block in range(_BLOCKS)]
