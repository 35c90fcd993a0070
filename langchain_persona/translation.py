"""After a change of embedding model: a user's feedback, translated by way of the documents that it was about.

A ledger entry holds vectors of the model of its time. Where the collection now holds the same documents under another
model, the entry is copied with their new vectors, under a name derived from the old one: translating twice, or in two
processes at once, gives the same entries. It happens at a user's first retrieval from each source under the new model
that finds some of these documents there, once; feedback that is given under the old model after that is not carried
over. A process asks the store once for each user, model and source.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from langgraph.store.base import GetOp, Item

from langchain_persona.arrays import Vector, encode_vectors
from langchain_persona.effects import Call, Steps, StoreOps
from langchain_persona.errors import CorruptRecordError
from langchain_persona.identity import label
from langchain_persona.memory import PersonaMemory
from langchain_persona.records import Feedback, Retrieval, Withdrawal, read_record
from langchain_persona.samples import SAMPLE

__all__ = ["MOST", "StoredVectors", "translated"]

logger = logging.getLogger(__name__)

MOST = 500
"""The latest so many entries are translated: several times what the default rule looks at again."""

AGAIN_SECONDS = 600.0
"""Where no document of a user's feedback was found the collection may not be full yet: so long until the next look."""


@runtime_checkable
class StoredVectors(Protocol):
    """A source that also gives what it holds by name; one that does not is never translated for.

    It may have a `place`: a text that names it, the same in every process. Without one its `name` does.
    """

    def stored(self, ids: Sequence[str], *, user: str) -> Steps[Mapping[str, Vector]]:
        """Unit vectors of those documents that there are, each of shape (d,)."""
        ...

    def sample(self, n: int, *, user: str, where: Mapping[str, Any] | None = None) -> Steps[Vector]:
        """Unit vectors of some documents that pass a filter, shape (at most n, d)."""
        ...


def translated(memory: PersonaMemory, source: object, user: str, model: str, dimension: int) -> Steps[bool]:
    """Copy a user's entries of other embedding models into this one; True when there is now something to fold.

    Args:
        memory: whose ledger.
        source: holds the documents under the new model.
        user: who has given feedback at some time.
        model: the new model's name.
        dimension: numbers in one of its vectors.
    """
    if not isinstance(source, StoredVectors):
        return False
    ledger, now = memory.ledger, time.monotonic()
    place = str(getattr(source, "place", None) or getattr(source, "name", type(source).__name__))
    until = ledger.translations.latest((user, model, place))
    if until is not None and now < until:
        return False
    namespace = ledger.namespace(user, "translated", label(model, prefix="e"))
    marker = GetOp(namespace, label(place, prefix="p"), refresh_ttl=False)
    (done,) = yield StoreOps(ledger.store, [marker])
    until, found = float("inf"), False
    if done is None:
        entries, _ = yield from ledger.entries(user)
        # from another source, or by another process meanwhile
        copied = {entry.origin for entry in entries if isinstance(entry, Feedback) and entry.embedding == model}
        originals = [entry for entry in _originals(entries, model) if entry.id not in copied]
        copies: list[Feedback] = []
        if originals:
            try:
                copies = yield from _carried(memory, source, user, originals, model, dimension)
            except Exception:
                # whoever searches next says so; nothing is marked, so the next retrieval tries again
                logger.debug("The documents of a user's feedback could not be read", exc_info=True)
                return False
        if copies or not originals:
            note: dict[str, object] = {"time": time.time(), "copied": len(copies), "of": len(originals)}
            yield from ledger.append_copies(user, copies, (marker.namespace, marker.key, note))
        else:
            until = now + AGAIN_SECONDS
        found = bool(copies or copied - {None})
    ledger.translations.put((user, model, place), None, until, now)
    return found


def _originals(entries: Sequence[Feedback | Withdrawal], model: str) -> list[Feedback]:
    """The latest valid entries of other models with documents, as they were first given."""
    withdrawn = {entry.target for entry in entries if isinstance(entry, Withdrawal)}
    feedback = [entry for entry in entries if isinstance(entry, Feedback) and entry.embedding not in (None, model)]
    kept = [entry for entry in feedback if entry.origin is None and entry.documents and entry.id not in withdrawn]
    return kept[-MOST:]


def _carried(
    memory: PersonaMemory, source: StoredVectors, user: str, originals: Sequence[Feedback], model: str, dimension: int
) -> Steps[list[Feedback]]:
    """The entries in the new model whose documents the source holds."""
    records = yield from _retrievals(memory, user, originals)
    wanted = {name for entry in originals for name in entry.documents}
    wanted |= {name for record in records.values() for name in record.candidates}
    vectors = yield from source.stored(sorted(wanted), user=user)
    sample = yield from source.sample(SAMPLE, user=user)
    copies: list[Feedback] = yield Call(lambda: _copies(originals, records, vectors, sample, model, dimension))
    return copies


def _retrievals(memory: PersonaMemory, user: str, originals: Sequence[Feedback]) -> Steps[dict[str, Retrieval]]:
    """What is still known of the retrievals that were rated."""
    names = sorted({entry.retrieval_id for entry in originals})
    items: list[Item | None] = yield StoreOps(memory.store, [memory.retrievals.load_op(user, name) for name in names])
    found: dict[str, Retrieval] = {}
    for name, item in zip(names, items, strict=True):
        if item is None:
            continue
        try:
            found[name] = read_record(Retrieval, item.value)
        except CorruptRecordError as error:
            logger.debug("A retrieval record cannot be read: %s", error)
    return found


def _copies(
    originals: Sequence[Feedback],
    records: Mapping[str, Retrieval],
    vectors: Mapping[str, Vector],
    sample: Vector,
    model: str,
    dimension: int,
) -> list[Feedback]:
    """The entries in the new model; those whose documents are all gone are left out."""
    usable = {name: vector for name, vector in vectors.items() if vector.shape == (dimension,)}
    background = sample.mean(axis=0) if sample.size else np.zeros(dimension)
    copies = []
    for entry in originals:
        rows = [usable[name] for name in entry.documents if name in usable]
        if not rows:
            continue
        expected = _expected(records.get(entry.retrieval_id), usable)
        copies.append(
            entry.model_copy(
                update={
                    "id": hashlib.sha256(f"{entry.id}\0{model}".encode()).hexdigest()[:32],
                    "origin": entry.id,
                    "key": None,
                    "logged": None,  # it belongs to the rating, which is evaluated once
                    "embedding": model,
                    "dimension": dimension,
                    "chosen": encode_vectors(np.mean(rows, axis=0)),
                    "expected": encode_vectors(background if expected is None else expected),
                }
            )
        )
    return copies


def _expected(record: Retrieval | None, vectors: Mapping[str, Vector]) -> Vector | None:
    """`Σ π_m e_m` over the candidates that there still are; None where none is known."""
    pairs = [] if record is None else list(zip(record.candidates, record.probabilities, strict=False))
    known = [(vectors[name], weight) for name, weight in pairs if name in vectors and weight > 0.0]
    if not known:
        return None
    weights = np.array([weight for _, weight in known])
    mean: Vector = np.einsum("n,nd->d", weights / weights.sum(), np.stack([vector for vector, _ in known]))
    return mean
