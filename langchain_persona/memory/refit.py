"""From all users' ledgers to a new preference space: who is read, what counts, how the wait is shown."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from langgraph.store.base import SearchItem

from langchain_persona.arrays import decode_vectors
from langchain_persona.effects import Call, Steps
from langchain_persona.errors import ConfigError, CorruptRecordError
from langchain_persona.memory.entries import parsed
from langchain_persona.memory.ledger import Ledger
from langchain_persona.memory.pages import children, everything
from langchain_persona.memory.space_versions import SpaceVersions
from langchain_persona.records import Feedback, Withdrawal
from langchain_persona.spaces import PreferenceSpace, UserRatings
from langchain_persona.spaces.fitted import check_counts, too_few

__all__ = ["MAX_USERS", "Progress", "RefitOptions", "refit_steps"]

logger = logging.getLogger(__name__)

MAX_USERS = 1_000
"""Users that a fit is made from; more cost memory and time and tell little. A hash of their names says which ones."""

_ITERATIONS = 20

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class RefitOptions:
    """What `PersonaMemory.refit` was asked for; see there."""

    embedding: str | None
    k: int
    min_users: int
    min_events: int
    ridge: float
    progress: bool | Progress


def refit_steps(ledger: Ledger, versions: SpaceVersions, options: RefitOptions) -> Steps[PreferenceSpace]:
    """The body of `PersonaMemory.refit`; see there."""
    check_counts(k=options.k, min_users=options.min_users, min_events=options.min_events)
    tell, finish = _shown(options.progress)
    try:
        users = yield from _users(ledger)
        total = len(users) + _ITERATIONS
        rated: defaultdict[str, list[UserRatings]] = defaultdict(list)
        for done, user in enumerate(users, start=1):
            items = yield from everything(ledger.store, (*ledger.root, user, "feedback"))
            found: dict[str, UserRatings] = yield Call(partial(_ratings, items, options.embedding))
            for embedding, ratings in found.items():
                # who has too little to count takes nobody's place
                if len(ratings) >= options.min_events:
                    rated[embedding].append(ratings)
            tell(done, total)
            if any(len(some) >= MAX_USERS for some in rated.values()):
                break
        model = options.embedding or max(sorted(rated), key=lambda name: len(rated[name]), default="")
        if len(rated[model]) < options.min_users:
            raise too_few(len(rated[model]), len(users), options.min_users, options.min_events)
        space: PreferenceSpace = yield Call(
            lambda: PreferenceSpace.fit(
                rated[model],
                k=options.k,
                min_users=options.min_users,
                min_events=options.min_events,
                iterations=_ITERATIONS,
                ridge=options.ridge,
                progress=lambda done, _: tell(len(users) + done, total),
                version=datetime.now(UTC).isoformat(timespec="seconds"),
            )
        )
        yield from versions.add(model, space)
        tell(total, total)
        return space
    finally:
        finish()


def _users(ledger: Ledger) -> Steps[list[str]]:
    """Labels of all users in the store, in an order that neither names nor age decide."""
    labels = yield from children(ledger.store, ledger.root)
    users = [name for name in labels if name.startswith(("u=", "u#"))]
    return sorted(users, key=lambda name: hashlib.sha256(name.encode()).digest())


def _ratings(items: Sequence[SearchItem], embedding: str | None) -> dict[str, UserRatings]:
    """One user's valid feedback by embedding model, oldest first."""
    entries, _ = parsed(items, float("-inf"))
    withdrawn = {entry.target for entry in entries if isinstance(entry, Withdrawal)}
    rows: defaultdict[str, list[tuple[Any, float, float]]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: (entry.time, entry.id)):
        if not isinstance(entry, Feedback) or entry.chosen is None or not entry.embedding:
            continue
        if entry.id in withdrawn or entry.origin in withdrawn:
            continue
        if embedding is not None and entry.embedding != embedding:
            continue
        try:
            (item,) = decode_vectors(entry.chosen, entry.dimension)
        except (CorruptRecordError, ValueError) as error:
            logger.warning("Leaving out feedback %s: %s", entry.id, error)
            continue
        rows[entry.embedding].append((item, entry.reward, entry.gate))
    found = {}
    for name, rated in rows.items():
        vectors, rewards, gates = zip(*rated, strict=True)
        if len({vector.size for vector in vectors}) == 1:
            found[name] = UserRatings(np.stack(vectors), rewards, gates)
    return found


def _shown(progress: bool | Progress) -> tuple[Progress, Callable[[], None]]:
    """How to tell of progress, and how to end it."""
    if callable(progress):
        return progress, lambda: None
    if not isinstance(progress, bool):
        raise ConfigError(f"progress must be True, False or a function of (done, total), got {progress!r}")
    if not progress:
        return lambda done, total: None, lambda: None
    try:
        tqdm = import_module("tqdm").tqdm
    except ImportError:  # it comes with chromadb; without it the fit is silent
        return lambda done, total: None, lambda: None
    bar = tqdm(desc="preference space", unit="step")

    def tell(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return tell, bar.close
