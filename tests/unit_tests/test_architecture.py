"""The house: public names, arrows between modules, what an import loads, how long a file is."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import langchain_persona

PACKAGE = Path(langchain_persona.__file__).parent

# from the core outwards; a module may import from its own and earlier rows
ROWS = [
    {"errors"},
    {"arrays", "spaces", "vectors", "learning", "rewards", "signals"},
    {"records", "identity", "effects", "embeddings", "memo", "trouble", "local_llm", "runtime_store"},
    {"cards", "candidates", "card_candidates", "memory", "ranking", "samples", "testing"},
    {"translation", "retrieval", "retriever"},
    {"extraction", "style", "reconciliation", "persona", "prompts", "prompts_persona", "prompts_reconciliation"},
    {"tools", "toolcalls"},
    {"loop", "act"},
    {"nodes"},
    {"graph", "middleware"},
]
CORE = ROWS[0] | ROWS[1]


def modules() -> dict[str, set[Path]]:
    """Files by top-level module of the package."""
    found: dict[str, set[Path]] = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            found.setdefault(parts[0], set()).add(path)
    return found


def imports(path: Path) -> set[str]:
    """Full names of everything imported in a file, also inside functions; type-checking blocks left out."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: absolute imports only"
            names.add(node.module or "")
    return names


def test_every_module_has_its_row():
    assert set(modules()) == set().union(*ROWS)


@pytest.mark.parametrize("module", sorted(set().union(*ROWS)))
def test_arrows_go_one_way(module):
    row = next(index for index, names in enumerate(ROWS) if module in names)
    allowed = set().union(*ROWS[: row + 1])
    lazily_outwards = {("memory", "retriever")}  # memory.as_retriever, inside the method
    for path in modules()[module]:
        for name in imports(path):
            if name.startswith("langchain_persona."):
                target = name.split(".")[1]
                assert target in allowed or (module, target) in lazily_outwards, f"{path.name} imports {name}"


@pytest.mark.parametrize("module", sorted(CORE))
def test_the_core_knows_numpy_and_the_standard_library_only(module):
    for path in modules()[module]:
        roots = {name.split(".")[0] for name in imports(path)}
        foreign = roots - set(sys.stdlib_module_names) - {"numpy", "langchain_persona"}
        assert not foreign, f"{path.name} imports {foreign}"


def test_a_file_holds_one_concept_and_at_most_300_lines():
    long = {path.name: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 300} == {}


def test_every_public_name_exists_and_is_listed_in_order():
    assert sorted(langchain_persona.__all__) == langchain_persona.__all__
    assert set(langchain_persona.__all__) == set(langchain_persona._HOMES)
    for name in langchain_persona.__all__:
        assert getattr(langchain_persona, name).__doc__, f"{name} has no docstring"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = langchain_persona.nothing


def test_every_module_lists_its_public_names():
    for paths in modules().values():
        for path in paths:
            assert "__all__" in path.read_text(), path.name


@pytest.mark.parametrize(
    "code", ["import langchain_persona", "from langchain_persona import PersonaMemory, VARSRetriever, VARSConfig"]
)
def test_the_import_loads_neither_chroma_nor_a_provider(code):
    heavy = ("chromadb", "langchain_chroma", "langchain_openai", "openai", "onnxruntime", "torch")
    report = f"import sys; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", f"{code}; {report}"], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
