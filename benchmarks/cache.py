"""Embeddings that are computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from langchain_core.embeddings import Embeddings
from rich.progress import Progress

__all__ = ["FOLDER", "Known", "embedded"]

FOLDER = Path(__file__).resolve().parents[1] / ".cache"
"""Where vectors are kept by default; the folder holds a `.gitignore` of its own."""

_AT_ONCE = 256

Rows = npt.NDArray[np.float32]


def embedded(
    texts: Sequence[str],
    embeddings: Embeddings,
    folder: Path,
    progress: Progress,
    what: str,
    *,
    queries: bool = False,
) -> Rows:
    """The vectors of texts, shape (n, d); from disk where they were computed before.

    Args:
        texts: any number of them, at least one.
        embeddings: the model; its `model` attribute names it.
        folder: holds one file for each list of texts and model, named after the model and the SHA-256 of both.
        progress: shows how far it is.
        what: the words for that.
        queries: whether these are queries, which some models embed in another way than documents.
    """
    model = model_name(embeddings)
    key = hashlib.sha256(json.dumps([model, queries, list(texts)]).encode()).hexdigest()
    path = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', model)}-{key[:32]}.npy"
    kept = _read(path, len(texts))
    if kept is not None:
        return kept
    rows: list[list[float]] = []
    task = progress.add_task(f"embedding {what}", total=len(texts))
    for start in range(0, len(texts), _AT_ONCE):
        some = list(texts[start : start + _AT_ONCE])
        rows += [embeddings.embed_query(text) for text in some] if queries else embeddings.embed_documents(some)
        progress.update(task, completed=len(rows))
    progress.remove_task(task)
    result = np.asarray(rows, dtype=np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.save(file, result)
    partial.replace(path)
    return result


def model_name(embeddings: Embeddings) -> str:
    """The model's own name, or that of its class."""
    return str(getattr(embeddings, "model", type(embeddings).__name__))


def _read(path: Path, count: int) -> Rows | None:
    """The vectors in a file; None when it is not there, or is not what it should be."""
    try:
        rows: Rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return rows if rows.ndim == 2 and len(rows) == count else None


class Known(Embeddings):
    """Embeddings that look up vectors computed before.

    Args:
        documents, queries: text to vector.
        model: the name of the model that made them.
    """

    def __init__(self, documents: dict[str, npt.ArrayLike], queries: dict[str, npt.ArrayLike], model: str) -> None:
        self.documents, self.queries, self.model = documents, queries, model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of documents."""
        return [[float(number) for number in np.asarray(self.documents[text])] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query."""
        return [float(number) for number in np.asarray(self.queries[text])]
