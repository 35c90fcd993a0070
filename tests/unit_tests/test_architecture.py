"""The house: public names, arrows between modules, no circles, what an import loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import langchain_persona

PACKAGE = Path(langchain_persona.__file__).parent

# from the core outwards; a module may import from its own row's module and from earlier rows
ROWS = [
    {"errors"},
    {"learning", "masking", "rewards", "resilience", "identity", "records"},
    {"embeddings", "memory"},
    {"retrieval"},
    {"prompt"},
    {"reflection", "experiments", "testing"},
    {"agent"},
    {"evals", "inspector"},
    {"cli"},
    {"__main__"},
]
CORE = {"errors", "learning", "masking", "rewards"}
INSIDE_A_METHOD = {("memory", "retrieval"), ("memory", "embeddings")}  # `as_retriever` and `local`
FILES = 74


@cache
def files() -> dict[str, Path]:
    """Every file by its full module name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, *, lazy: bool = True) -> set[str]:
    """Full names of what a file imports, without type-checking blocks; `lazy` is also inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if typing or (not lazy and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            skipped |= {id(child) for child in ast.walk(node)}
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: absolute imports only"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} & set(files()) or {str(node.module)}
    return names


def part(name: str) -> str:
    """`learning` of `langchain_persona.learning.rules`; "" for the package itself."""
    return name.partition(".")[2].partition(".")[0]


def test_arrows_go_one_way():
    rows = {module: number for number, row in enumerate(ROWS) for module in row}
    assert set(rows) == {part(name) for name in files()} - {""}  # every module has its row
    for name, path in files().items():
        here = part(name)
        for target in map(part, filter(lambda other: other.startswith("langchain_persona."), imports(path))):
            outwards = target != here and rows.get(here, len(ROWS)) <= rows[target] and here != ""
            same_row_of_the_core = here in ROWS[1] and target in ROWS[1]
            assert not outwards or same_row_of_the_core or (here, target) in INSIDE_A_METHOD, f"{name} -> {target}"


def test_only_the_inspector_imports_the_experiments():
    for name, path in files().items():
        if part(name) not in ("experiments", "inspector"):
            assert not any(part(other) == "experiments" for other in imports(path) if "persona" in other), name


def test_no_import_goes_in_a_circle():
    known = files()
    graph = {name: imports(path, lazy=False) & set(known) for name, path in known.items()}
    assert set(TopologicalSorter(graph).static_order()) == set(known)  # raises CycleError, which names the circle


def test_the_core_knows_numpy_and_the_standard_library_only():
    for name, path in files().items():
        if part(name) in CORE:
            roots = {other.partition(".")[0] for other in imports(path)}
            foreign = roots - set(sys.stdlib_module_names) - {"numpy", "langchain_persona"}
            assert not foreign, f"{name} imports {foreign}"


def test_the_house_stays_small():
    assert len(files()) <= FILES


def test_every_public_name_exists_and_is_listed_in_order():
    assert sorted(langchain_persona.__all__) == langchain_persona.__all__
    assert set(langchain_persona.__all__) == set(langchain_persona._MODULES)
    for name in langchain_persona.__all__:
        assert getattr(langchain_persona, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = langchain_persona.nothing


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_import_itself_loads_nothing_and_compiles_no_expression():
    code = """
import re, sys
made, compile = [], re._compile
re._compile = lambda *arguments: made.append(arguments) or compile(*arguments)
import langchain_persona
print([name for name in sys.modules if name.partition(".")[0] in ("typer", "rich") or "persona." in name], made)
"""
    assert run(code) == "[] []"


def test_the_everyday_names_load_neither_chroma_nor_a_provider_nor_a_word_list():
    heavy = ("chromadb", "langchain_chroma", "langchain_openai", "openai", "onnxruntime", "tokenizers", "torch")
    heavy += ("typer", "matplotlib", "starlette", "jinja2", "langchain_persona.cli", "langchain_persona.evals")
    code = f"""
import sys
from langchain_persona import PersonaMemory, PreferenceCard, VARSConfig, VARSRetriever, create_persona_graph
print([name for name in {heavy} if name in sys.modules])
"""
    assert run(code) == "[]"
