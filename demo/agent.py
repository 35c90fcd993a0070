"""The first part: three conversations with the prebuilt agent, and checks of what the third one knows."""

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
from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo import checks
from demo.model import chat_model, own_model
from demo.recorded import Recorded, model_name, recorded_answers
from demo.script import ANOTHER, PROMPT, SESSIONS, USER, Line
from langchain_persona import LocalEmbeddings, PersonaMemory, VARSRetriever, create_persona_graph

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel

__all__ = ["play", "wednesday_answers"]

FILMS = Path(__file__).parents[1] / "graphs" / "films.json"
SHOWN = 3
PAST = ("Monday", "Tuesday")


def play(console: Console, *, verbose: bool) -> bool:
    """All three conversations; returns whether every check holds."""
    console.rule("[bold]1. An agent learns who it talks to[/]")
    with tempfile.TemporaryDirectory() as place:
        folder, embeddings, model = Path(place) / "persona", LocalEmbeddings(), chat_model()
        collection, size = _films(embeddings)
        console.print(
            "Mia talks to a film adviser made with [bold]create_persona_graph[/]. Each day is a new conversation, "
            f"after a restart. ▲ and ▼ are her thumbs. {_about_the_model()}"
        )
        for day in PAST:
            with _opened(folder, model, collection) as (memory, _, agent):
                _converse(console, day, agent, memory, verbose=verbose)
        with _opened(folder, model, collection) as (memory, films, agent):
            turns = _converse(console, "Wednesday", agent, memory, verbose=verbose)
            stranger = _say(agent, memory, ANOTHER, "Thursday", SESSIONS["Wednesday"][0])
            if not verbose:
                _show_whole(console, turns[0], stranger)
            found = checks.on_prompts(turns, stranger) + checks.on_memory(memory)
            found += checks.on_ranking(films, turns[1]["documents"], size)
            revisions = "\n".join(f"{old.text} {old.diff}" for old in memory.history(USER))
        return checks.show(console, [*found, checks.on_erased(turns, revisions, folder)])


def wednesday_answers(model: BaseChatModel) -> list[str]:
    """What a model answers on Wednesday to Mia's first message: to her, and to somebody new."""
    with tempfile.TemporaryDirectory() as place:
        folder, quiet = Path(place) / "persona", Console(quiet=True)
        collection, _ = _films(LocalEmbeddings())
        for day in PAST:
            with _opened(folder, chat_model(), collection) as (memory, _, agent):
                _converse(quiet, day, agent, memory, verbose=False)
        with _opened(folder, model, collection) as (memory, _, agent):
            first = SESSIONS["Wednesday"][0]
            return [str(_say(agent, memory, user, "Wednesday", first)["answer"]) for user in (USER, ANOTHER)]


def _about_the_model() -> str:
    if own_model():
        return f"Answers and notes: {own_model()}."
    return f"Notes and answers: {model_name()}, recorded."


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
            memory_tools=False,  # what is kept does not depend on the model
        )
        yield memory, films, graph.compile(checkpointer=InMemorySaver())


def _converse(
    console: Console, day: str, agent: Any, memory: PersonaMemory, *, verbose: bool
) -> list[Mapping[str, Any]]:
    """One conversation; returns what the nodes told in each turn. Of the last only the first message is shown."""
    console.print(f"[bold cyan]{day}[/]")
    turns: list[Mapping[str, Any]] = []
    for line in SESSIONS[day]:
        for card in memory.preferences(USER) if line.erase else ():
            if line.erase in card.text:
                memory.forget(USER, card.id)
                console.print(Text(f"  In your app Mia erases the note “{card.text}”", "red"))
        turns.append(_say(agent, memory, USER, day, line))
        if verbose or day in PAST or len(turns) == 1:
            _show(console, line, turns[-1], verbose=verbose)
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
    _labelled(console, "Mia", Text.assemble(thumb, (line.text, "bold")))
    if verbose:
        for film in turn["documents"]:
            why = film["metadata"]["persona"]
            bonus = why["long"] + why["short"] + why["words"]
            _labelled(console, "film", Text(f"{film['id']}: {why['base']:.2f} relevance {bonus:+.2f} learned", "dim"))
        _labelled(console, "answer", Text(turn["answer"].strip(), "italic dim"))
        _labelled(console, "prompt", Text(turn["system"], "dim"))
        for change in turn["learned"]:
            _labelled(console, "note", Text(f"{change['change']}: {change['text']}", "green"))


def _show_whole(console: Console, turn: Mapping[str, Any], stranger: Mapping[str, Any]) -> None:
    """One turn: what the model was told of the user, the answer, and the answer to somebody new."""
    lines = str(turn["system"]).removeprefix(PROMPT).splitlines()
    told = [line for line in lines if line and not line.startswith(("Notes on", "<", "</"))]
    _labelled(console, "prompt", Text("your own, and after it what the agent learned on Monday and Tuesday:", "dim"))
    _labelled(console, "", Text("\n".join(told), "green"))
    ours, theirs = (turn["answer"], stranger["answer"]) if own_model() else recorded_answers()
    _labelled(console, "answer", Text(ours.strip(), "green"))
    _labelled(console, "to Tom", Text.assemble(theirs.strip(), (" (He is new.)", "dim")))


def _labelled(console: Console, label: str, text: Text) -> None:
    """A label, and beside it a text that wraps in a column of its own."""
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=8)
    row.add_column()
    row.add_row(Text(f"  {label}", "dim"), text)
    console.print(row)
