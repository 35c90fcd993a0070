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
from langchain_persona.memory.pages import everything, users_in
from langchain_persona.memory.space_versions import SpaceVersions
from langchain_persona.records import Feedback, Withdrawal
from langchain_persona.spaces import PreferenceSpace, UserRatings
from langchain_persona.spaces.fitted import check_counts, too_few

__all__ = ["MAX_USERS", "Progress", "RefitOptions", "refit_steps"]

logger = logging.getLogger(__name__)

MAX_USERS = 1_000
"""Users that a fit is made from; more cost memory and time and tell little. A hash of their names says which ones."""

MAX_EVENTS = 1_000
"""A user's latest ratings that count; older ones are not even decoded."""

_ITERATIONS = 20

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class RefitOptions:
    """What `PersonaMemory.refit` was asked for; see there.

    Raises:
        ConfigError: something that cannot work.
    """

    embedding: str | None
    k: int
    min_users: int
    min_events: int
    ridge: float
    progress: bool | Progress

    def __post_init__(self) -> None:
        """Check everything that does not need the store."""
        check_counts(k=self.k, min_users=self.min_users, min_events=self.min_events)
        name: object = self.embedding
        if name is not None and (not isinstance(name, str) or not name):
            raise ConfigError(
                f"embedding must be the name of an embedding model, as explain(user).embedding tells it, or None for "
                f"the one with most users; got {name!r}"
            )
        if not callable(self.progress) and not isinstance(self.progress, bool):
            raise ConfigError(f"progress must be True, False or a function of (done, total), got {self.progress!r}")


def refit_steps(ledger: Ledger, versions: SpaceVersions, options: RefitOptions) -> Steps[PreferenceSpace]:
    """The body of `PersonaMemory.refit`; see there."""
    # a bar is imported, drawn and closed where nobody's event loop waits for it
    tell, finish = yield Call(lambda: _shown(options.progress))
    try:
        space = yield from _refitted(ledger, versions, options, tell)
    except Exception:
        yield Call(finish)
        raise
    yield Call(finish)
    return space


def _refitted(ledger: Ledger, versions: SpaceVersions, options: RefitOptions, tell: Progress) -> Steps[PreferenceSpace]:
    labels = yield from users_in(ledger.store, ledger.root)
    # an order that neither names nor age decide
    users = sorted(labels, key=lambda name: hashlib.sha256(name.encode()).digest())
    total = len(users) + _ITERATIONS
    rated: defaultdict[str, list[UserRatings]] = defaultdict(list)
    models: set[str] = set()
    for done, user in enumerate(users, start=1):
        items = yield from everything(ledger.store, (*ledger.root, user, "feedback"))
        found, seen = yield Call(partial(_ratings, items, options.embedding))
        models |= seen
        for embedding, ratings in found.items():
            # who has too little to count takes nobody's place
            if len(ratings) >= options.min_events:
                rated[embedding].append(ratings)
        yield Call(partial(tell, done, total))
        if any(len(some) >= MAX_USERS for some in rated.values()):
            break
    if options.embedding is not None and options.embedding not in models:
        known = ", ".join(map(repr, sorted(models))) or "none"
        raise ConfigError(f"there is no feedback under the embedding model {options.embedding!r}; there is of: {known}")
    model = options.embedding or max(sorted(rated), key=lambda name: len(rated[name]), default="")
    if len(rated[model]) < options.min_users:
        raise too_few(len(rated[model]), len(users), options.min_users, options.min_events)
    space: PreferenceSpace = yield Call(
        lambda: PreferenceSpace.fit(
            rated[model],
            k=options.k,
            min_users=options.min_users,
            min_events=options.min_events,
            max_events=MAX_EVENTS,
            iterations=_ITERATIONS,
            ridge=options.ridge,
            progress=lambda done, _: tell(len(users) + done, total),
            version=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    )
    yield from versions.add(model, space)
    yield Call(partial(tell, total, total))
    return space


def _ratings(items: Sequence[SearchItem], embedding: str | None) -> tuple[dict[str, UserRatings], set[str]]:
    """One user's latest valid feedback that counts, by embedding model and oldest first; and the models there are."""
    entries, _ = parsed(items, float("-inf"))
    withdrawn = {entry.target for entry in entries if isinstance(entry, Withdrawal)}
    rows: defaultdict[str, list[tuple[Any, float, float]]] = defaultdict(list)
    models = set()
    for entry in sorted(entries, key=lambda entry: (entry.time, entry.id), reverse=True):
        if not isinstance(entry, Feedback) or entry.chosen is None or not entry.embedding:
            continue
        models.add(entry.embedding)
        if entry.gate == 0.0 or entry.id in withdrawn or entry.origin in withdrawn:
            continue
        if (embedding is not None and entry.embedding != embedding) or len(rows[entry.embedding]) >= MAX_EVENTS:
            continue
        try:
            (item,) = decode_vectors(entry.chosen, entry.dimension)
        except (CorruptRecordError, ValueError) as error:
            logger.warning("Leaving out feedback %s: %s", entry.id, error)
            continue
        rows[entry.embedding].append((item, entry.reward, entry.gate))
    found = {}
    for name, rated in rows.items():
        if len({item.size for item, _, _ in rated}) == 1:
            vectors, rewards, gates = zip(*reversed(rated), strict=True)
            found[name] = UserRatings(np.stack(vectors), rewards, gates)
    return found, models


def _shown(progress: bool | Progress) -> tuple[Progress, Callable[[], None]]:
    """How to tell of progress, and how to end it; made, called and ended off the event loop."""
    if callable(progress):
        return progress, lambda: None
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
