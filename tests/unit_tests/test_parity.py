"""The public surface of `PersonaMemory`: what there is, that every method has its twin, and how things look."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

import langchain_persona
from langchain_persona import PersonaMemory, PreferenceCard, PreferenceSpace, UserVectors, VARSConfig
from langchain_persona.memory import FeedbackReceipt
from tests.memories import MODEL, show

METHODS = [
    "feedback",
    "withdraw",
    "ratings",
    "vectors",
    "rebuild",
    "explain",
    "remember",
    "preferences",
    "update",
    "retire",
    "revive",
    "pin",
    "hold_back",
    "forget",
    "profile",
    "set_style",
    "persona",
    "history",
    "revise_persona",
    "pin_persona",
    "rollback_persona",
    "export_user",
    "import_user",
    "export_dataset",
    "delete_user",
    "readmit_user",
    "fit",
    "use_space",
    "migrate_embeddings",
    "process_pending",
    "drain",
    "close",
]
WITHOUT_TWIN = {"local", "as_retriever"}  # they make an object
PARTS = [
    "store",
    "embeddings",
    "config",
    "trust",
    "timeout_seconds",
    "background",
    "spaces",
    "ledger",
    "embedder",
    "cards",
    "episodes",
    "personas",
    "portability",
    "turns",
    "user_vectors",
]


def test_the_public_names_are_those_that_the_design_lists():
    memory = PersonaMemory(InMemoryStore())
    public = {name for name in dir(memory) if not name.startswith("_")}
    assert public == {*METHODS, *(f"a{name}" for name in METHODS), *WITHOUT_TWIN, *PARTS}


def test_law_8_every_method_has_a_twin_of_the_same_signature():
    for name in METHODS:
        method, twin = getattr(PersonaMemory, name), getattr(PersonaMemory, f"a{name}")
        assert inspect.iscoroutinefunction(twin), name
        assert not inspect.iscoroutinefunction(method), name
        one, other = inspect.signature(method), inspect.signature(twin)
        assert one.parameters == other.parameters, name
        assert one.return_annotation == other.return_annotation, name
        assert twin.__name__ == f"a{name}"
        assert twin.__qualname__.endswith(f"a{name}")
        assert name in twin.__doc__


async def test_law_8_a_twin_gives_the_same_result():
    """What only reads is asked of one memory in both ways; what writes is in the contract, over every store."""
    memory = PersonaMemory(InMemoryStore(), MODEL)
    card = await memory.aremember("ana", PreferenceCard(text="Works as a nurse."))
    shown = await asyncio.to_thread(show, memory)
    await memory.afeedback("ana", shown.id, reward=1.0)
    await memory.arevise_persona("ana", "A nurse.")
    reads: dict[str, list[Any]] = {"ratings": [], "explain": [], "preferences": [], "profile": []}
    reads |= {"persona": [], "history": [], "process_pending": []}
    for name, arguments in reads.items():
        called = await asyncio.to_thread(getattr(memory, name), "ana", *arguments)
        assert await getattr(memory, f"a{name}")("ana", *arguments) == called, name
    assert (await memory.apreferences("ana")) == [card]
    for name in ("vectors", "rebuild"):
        one = await asyncio.to_thread(getattr(memory, name), "ana")
        assert (await getattr(memory, f"a{name}")("ana")).long.tobytes() == one.long.tobytes()
    with pytest.raises(KeyError, match="no card"):
        await memory.apin("ana", "x")
    assert await memory.adrain()
    await memory.aclose()


def test_reprs_are_short_and_say_what_it_is():
    memory = PersonaMemory(InMemoryStore(), MODEL)
    assert repr(memory) == "<PersonaMemory InMemoryStore, HashEmbeddings>"
    assert repr(PersonaMemory(InMemoryStore())) == "<PersonaMemory InMemoryStore, no embeddings>"
    memory.remember("ana", "likes tea")
    memory.feedback("ana", show(memory).id, reward=1.0)
    shown = [memory.vectors("ana"), memory.ratings("ana")[0], memory.preferences("ana")[0], VARSConfig()]
    shown += [UserVectors.cold(384), PreferenceSpace.identity(384), memory.profile("ana"), memory.persona("ana")]
    shown += [FeedbackReceipt("id", applied=True)]
    for thing in shown:
        assert len(repr(thing)) < 500, repr(thing)
        assert "array" not in repr(thing)


def test_help_shows_the_public_names_and_nothing_else():
    assert set(dir(langchain_persona)) == {*langchain_persona.__all__, "__version__"}
