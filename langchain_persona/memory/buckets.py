"""Ledger entries lie in buckets of an hour (UTC), so that a read of the young ones does not touch the old ones."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["DAY", "HOUR", "bucket", "buckets_since"]

HOUR = 3_600.0
DAY = 24 * HOUR


def bucket(moment: float) -> tuple[str, str]:
    """Day and hour (UTC) as labels: `("d20261122", "h20")`."""
    when = datetime.fromtimestamp(moment, UTC)
    return f"d{when:%Y%m%d}", f"h{when:%H}"


def buckets_since(horizon: float, now: float) -> list[tuple[str, ...]]:
    """The fewest buckets that hold everything after `horizon`: hours, days, or all.

    One hour and one day into the future are looked at too, and the horizon may lie in the future: clocks differ.
    """
    now = max(now, horizon)
    if now - horizon <= 2 * HOUR:
        return _between(horizon, now, HOUR, 2)
    return _between(horizon, now, DAY, 1) if now - horizon <= 7 * DAY else [()]


def _between(start: float, end: float, width: float, depth: int) -> list[tuple[str, ...]]:
    first, last = int(start // width), int(end // width) + 1
    return [bucket(index * width)[:depth] for index in range(first, last + 1)]
