"""From one embedding model to another: users' feedback is carried over by way of the documents that it was about."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from langchain_persona.errors import ConfigError
from langchain_persona.learning.arrays import encode_vectors
from langchain_persona.memory.cards import Cards
from langchain_persona.memory.embedder import embedding_name
from langchain_persona.memory.ledger import Ledger
from langchain_persona.memory.spaces import valid_feedback
from langchain_persona.records import Feedback

if TYPE_CHECKING:
    from langchain_persona.retrieval.sources import Source


SAMPLE = 128
"""Documents whose mean stands for what a user was offered."""

MOST = 500
"""A user's latest entries that are carried over: several times what the default rule looks at again."""


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What `PersonaMemory.migrate_embeddings` did.

    Users looked at, ratings carried over, ratings lost because their documents are not in the new collection, and cards
    that were embedded again.
    """

    users: int = 0
    ratings: int = 0
    lost: int = 0
    cards: int = 0


def migrate_user(user: str, cards: Cards, ledger: Ledger, source: Source | None, dimension: int) -> MigrationReport:
    """Carry one user over: see `PersonaMemory.migrate_embeddings`; `dimension` is of the cards' new vectors."""
    sample = None if source is None else source.sample(SAMPLE)
    if sample is not None and not sample.size:
        raise ConfigError("the new collection gives no sample of its documents: fill it first")
    before = {card.id: card.vector for card in cards.read(user).active}
    again = sum(before.get(card.id) != card.vector for card in cards.embedded(user, dimension).active)
    if source is None or sample is None:
        return MigrationReport(users=1, cards=again)
    entries = ledger.entries(user)
    background = sample.mean(axis=0)
    model = embedding_name(source.embeddings, background.size)
    there = {entry.origin for entry in entries if isinstance(entry, Feedback) and entry.embedding == model}
    old = [one for one in valid_feedback(entries) if one.embedding != model and one.origin is None and one.documents]
    missing = [entry for entry in old[-MOST:] if entry.id not in there]
    vectors = source.vectors(sorted({name for entry in missing for name in entry.documents}))
    found = [entry for entry in missing if any(name in vectors for name in entry.documents)]
    now = time.time()
    copies = [
        entry.model_copy(
            update={
                # derived from the old name: done twice, or by two processes at once, it gives the same entries
                "id": hashlib.sha256(f"{entry.id}\0{model}".encode()).hexdigest()[:32],
                "time": now + place * 1e-6,  # given now, in the order of the originals: a ledger is only added to
                "origin": entry.id,
                "key": None,
                "logged": None,  # it belongs to the rating, which is evaluated once
                "embedding": model,
                "dimension": background.size,
                "chosen": encode_vectors(np.mean([vectors[one] for one in entry.documents if one in vectors], axis=0)),
                "expected": encode_vectors(background),
            }
        )
        for place, entry in enumerate(found)
    ]
    if copies:
        ledger.append(user, copies)
    return MigrationReport(1, len(copies), len(missing) - len(copies), again)
