"""The second part: three conversations with the prebuilt agent, and checks of what the third one knows."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chromadb
from chromadb.config import Settings
from langgraph.checkpoint.memory import InMemorySaver
from rich.text import Text

from demo import checks
from demo.model import chat_model, own_model
from demo.recorded import Recorded, model_name
from demo.script import ANOTHER, PROMPT, SESSIONS, USER, Line
from langchain_persona import LocalEmbeddings, PersonaMemory, VARSRetriever, create_persona_graph

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel
    from rich.console import Console

__all__ = ["play"]

FILMS = Path(__file__).parents[1] / "graphs" / "films.json"
SHOWN = 3


def play(console: Console, *, verbose: bool) -> bool:
    """All three conversations; returns whether every check holds."""
    console.rule("[bold]2. An agent learns who it talks to[/]")
    with tempfile.TemporaryDirectory() as place:
        folder, embeddings, model = Path(place) / "persona", LocalEmbeddings(), chat_model()
        collection, size = _films(embeddings)
        console.print(f"A film adviser ([bold]create_persona_graph[/]) takes notes on Mia. {_about_the_model()}")
        for day in ("Monday", "Tuesday"):
            with _opened(folder, model, collection) as (memory, _, agent):
                _converse(console, day, agent, memory, verbose=verbose)
        with _opened(folder, model, collection) as (memory, films, agent):
            turns = _converse(console, "Wednesday", agent, memory, verbose=verbose)
            stranger = _say(agent, memory, ANOTHER, "Thursday", SESSIONS["Wednesday"][0])
            found = checks.on_prompts(turns, stranger) + checks.on_memory(memory)
            found += checks.on_ranking(films, turns[0]["documents"], size)
            revisions = "\n".join(f"{old.text} {old.diff}" for old in memory.history(USER))
        return checks.show(console, [*found, checks.on_erased(turns, revisions, folder)])


def _about_the_model() -> str:
    if own_model():
        return f"Answers come from {own_model()}; --verbose shows them."
    return f"Without a key, a template answers, and the notes are {model_name()}'s, recorded."


def _films(embeddings: Embeddings) -> tuple[Any, int]:
    """The host's documents in a Chroma collection, and how many they are."""
    films = json.loads(FILMS.read_text(encoding="utf-8"))
    texts = [f"{film['title']}: {film['text']}" for film in films]
    client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
    collection = client.get_or_create_collection("demo-films", configuration={"hnsw": {"space": "cosine"}})
    vectors: Any = embeddings.embed_documents(texts)
    collection.upsert(ids=[film["title"] for film in films], documents=texts, embeddings=vectors)
    return collection, len(films)


@contextmanager
def _opened(folder: Path, model: BaseChatModel, collection: Any) -> Iterator[tuple[PersonaMemory, VARSRetriever, Any]]:
    """Memory, retriever and agent as after a restart: nothing goes from one to the next but the folder."""
    with PersonaMemory.local(folder) as memory:
        films = VARSRetriever(vectorstore=collection, embeddings=memory.embeddings, memory=memory, k=SHOWN)
        graph = create_persona_graph(
            model,
            memory=memory,
            retriever=films,
            system_prompt=PROMPT,
            align_every=1,
            reflection="model" if own_model() else Recorded(),
            memory_tools=False,  # what is kept does not hang on the model
        )
        yield memory, films, graph.compile(checkpointer=InMemorySaver())


def _converse(
    console: Console, day: str, agent: Any, memory: PersonaMemory, *, verbose: bool
) -> list[Mapping[str, Any]]:
    """One conversation; returns what the nodes told in each turn."""
    again = "" if day == next(iter(SESSIONS)) else ": a new conversation; the memory was closed and opened again"
    console.print(f"[bold cyan]{day}[/][cyan]{again}[/]")
    turns: list[Mapping[str, Any]] = []
    for line in SESSIONS[day]:
        for card in memory.preferences(USER) if line.erase else ():
            if line.erase in card.text:
                memory.forget(USER, card.id)
                console.print(Text(f"  On her page Mia erases the note “{card.text}”", "red"))
        turns.append(_say(agent, memory, USER, day, line))
        _show(console, line, turns[-1], verbose=verbose)
    kept = [f"“{change['text']}”" for turn in turns for change in turn["learned"] if change["change"] != "left out"]
    if kept:
        console.print(Text(f"  Kept: {', '.join(kept)}", "green"))
    return turns


def _say(agent: Any, memory: PersonaMemory, user: str, thread: str, line: Line) -> Mapping[str, Any]:
    """One turn; what the nodes told of it, and the answer."""
    config = {"configurable": {"thread_id": f"{user}/{thread}"}}
    given: dict[str, Any] = {"messages": [("user", line.text)]}
    if line.thumb is not None:
        reward, title = line.thumb
        given["persona"] = {"feedback": {"reward": reward, "docs": [title]}}
    answer = agent.invoke(given, config, context={"user_id": user})["messages"][-1].text
    told = agent.get_state(config).values["persona"]
    return {"cards": [], "learned": [], "scored": [], "documents": [], "system": "", **told, "answer": answer}


def _show(console: Console, line: Line, turn: Mapping[str, Any], *, verbose: bool) -> None:
    """What she says, and with `verbose` what came of it."""
    thumb = Text()
    if line.thumb is not None:
        reward, title = line.thumb
        thumb = Text(f"({'▲' if reward > 0 else '▼'} {title}) ", "green" if reward > 0 else "red")
    said = Text.assemble(("  Mia  ", "dim"), thumb, (line.text, "bold"))
    console.print(said, no_wrap=not verbose, overflow="fold" if verbose else "ellipsis")
    if verbose:
        for film in turn["documents"]:
            why = film["metadata"]["persona"]
            bonus = why["long"] + why["short"]
            console.print(Text(f"       film {film['id']}: {why['base']:.2f} relevance {bonus:+.2f} learned", "dim"))
        console.print(Text(f"       answer: {turn['answer'].strip()}", "italic dim"))
        console.print(Text(f"       system prompt: {turn['system']}", "dim"))
