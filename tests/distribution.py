"""`make dist`: is what was built fit to publish? Contents and size, then a trial in an empty environment."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tarfile
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from zipfile import ZipFile

from tests.eval_data import write_prefeval

ROOT = Path(__file__).parents[1]
WHEEL_BYTES = 320_000  # 313 KiB; the aim is 300
WANTED = (
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "docs/",
    "examples/",
    "tests/",
    "langgraph.json",
    "zensical.toml",
)


class Model(BaseHTTPRequestHandler):
    """A chat model that says A to everything, as a server that speaks OpenAI's API."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": "Final Answer: A"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = json.dumps({"id": "1", "object": "chat.completion", "created": 0, "model": "a", "choices": [choice]})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


def check_contents(folder: Path) -> Path:
    """One wheel and one sdist, of one version, small, with all that belongs there and nothing else; the wheel."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    version = re.search(r'__version__ = "(.+)"', (ROOT / "langchain_persona/__init__.py").read_text())[1]
    assert wheel.name.split("-")[1] == version, (wheel.name, version)
    assert sdist.name.endswith(f"-{version}.tar.gz"), sdist.name
    names = ZipFile(wheel).namelist()
    strange = [name for name in names if not name.startswith(("langchain_persona/", f"langchain_persona-{version}."))]
    assert not strange, strange
    assert "langchain_persona/py.typed" in names
    page = ZipFile(wheel).read(f"langchain_persona-{version}.dist-info/METADATA").decode()
    assert not re.findall(r"\]\((?!https?:).*?\)", page), "links to files are dead on the page of the package"
    assert not [name for name in names if name.endswith((".onnx", ".gguf", "tokenizer.json", ".pyc"))]
    assert wheel.stat().st_size <= WHEEL_BYTES, f"{wheel.stat().st_size:,} bytes"
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert not [wanted for wanted in WANTED if not any(name.startswith(wanted) for name in packed)]
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, {len(names)} files")
    print(f"{sdist.name}: {sdist.stat().st_size:,} bytes, {len(packed)} files")
    return wheel


def try_wheel(wheel: Path, python: str) -> None:
    """The README's first example, and a public benchmark, in an environment that holds nothing but the wheel."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENAI", "LANG"))}

    def run(*command: object) -> str:
        done = subprocess.run(
            [str(part) for part in command], cwd=folder, env=clean, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(python, "-m", "venv", folder / "venv")
        command = folder / "venv" / "bin"
        run(command / "pip", "install", "--quiet", f"{wheel.absolute()}[evals]")
        example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
        (folder / "example.py").write_text(example, encoding="utf-8")
        lines = run(command / "python", "example.py").splitlines()
        assert "comedy" in lines[0], lines
        assert "horror" in lines[2], lines
        assert "NO" not in run(command / "langchain-persona", "doctor")
        server = HTTPServer(("127.0.0.1", 0), Model)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told = run(
            command / "langchain-persona", "eval", "run", "prefeval", "--data", write_prefeval(folder / "PrefEval"),
            "--model", "openai:a", "--base-url", f"http://127.0.0.1:{server.server_port}/v1",
            "--letters", "text", "--reflection", "verbatim", "--limit", 5, "--yes",
        )  # fmt: skip
        server.shutdown()
        assert "verbatim" in told, told
        print("\n".join(lines[:4]))
        print(f"{run(command / 'python', '--version').strip()}: the example, the doctor and PrefEval run")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default="python3", help="makes the empty environment")
    given = parser.parse_args()
    try_wheel(check_contents(ROOT / "dist"), given.python)


if __name__ == "__main__":
    main()
