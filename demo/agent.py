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

from demo import checks, turns
from demo.model import chat_model, own_model
from demo.script import ANOTHER, PROMPT, SESSIONS, USER, Line
from langchain_persona import LocalEmbeddings, PersonaMemory, VARSRetriever, create_persona_graph
from langchain_persona.persona import TemplateWriter

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel
    from rich.console import Console

__all__ = ["play"]

FILMS = Path(__file__).parents[1] / "graphs" / "films.json"
SHOWN = 3


def play(console: Console, *, max_tokens: int) -> bool:
    """All three conversations; returns whether every check holds."""
    with tempfile.TemporaryDirectory() as place, chat_model(max_tokens) as model:
        folder, embeddings = Path(place) / "persona", LocalEmbeddings()
        collection, size = _films(embeddings)
        _intro(console, str(getattr(model, "model_name", "a chat model")), size)
        for day in ("Monday", "Tuesday"):
            with _opened(folder, model, collection) as (memory, _, agent):
                _converse(console, day, agent, memory)
        with _opened(folder, model, collection) as (memory, films, agent):
            states = _converse(console, "Wednesday", agent, memory)
            stranger = _say(agent, ANOTHER, "Thursday", SESSIONS["Wednesday"][0])
            found = checks.on_states(states, stranger) + checks.on_memory(memory)
            found += checks.on_ranking(films, states[0]["documents"], size)
        console.rule("[bold]Is it in force?[/]")
        return checks.show(console, found + checks.on_files(folder))


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
            # learned by rules and templates, whatever model answers
            extractor="rules",
            reconciler=None,
            writer=TemplateWriter(),
            align_every=1,
            memory_tools=False,
        )
        yield memory, films, graph.compile(checkpointer=InMemorySaver())


def _intro(console: Console, model: str, size: int) -> None:
    console.rule("[bold]langchain-persona: an agent that learns who it talks to[/]")
    console.print(
        f"\nMia talks to a film adviser in three conversations. It retrieves from {size} films and is made by "
        "[bold]create_persona_graph[/]: memory → retrieve → persona → act → reflect.\n"
    )
    if own_model():
        console.print(f"Answers come from {model}, which your environment names.")
    else:
        console.print(
            f"Answers come from {model}, running in this process: a real model, and a weak one, that follows "
            "hardly any instruction. Do not judge by the answers. OPENAI_API_KEY or OPENAI_BASE_URL puts a better one "
            "in its place."
        )
    console.print(
        "What is learned is learned by rules and templates, without a model; what the answering model is then told is "
        "checked at the end. No check reads an answer.\n"
    )


def _converse(console: Console, day: str, agent: Any, memory: PersonaMemory) -> list[Mapping[str, Any]]:
    """One conversation; returns the state after each turn."""
    first = day == next(iter(SESSIONS))
    console.rule(f"[bold]{day}[/]" if first else f"[bold]{day}: a new conversation, the memory opened anew[/]")
    states: list[Mapping[str, Any]] = []
    for line in SESSIONS[day]:
        before = memory.persona(USER).revision.text
        states.append(_say(agent, USER, day, line))
        turns.show(console, line, states[-1], before, memory.persona(USER).revision.text)
    return states


def _say(agent: Any, user: str, thread: str, line: Line) -> Mapping[str, Any]:
    """One turn; the state when it is over."""
    config = {"configurable": {"thread_id": f"{user}/{thread}"}}
    update: dict[str, Any] = {"messages": [("user", line.text)]}
    if line.thumb is not None:
        reward, title = line.thumb
        update["feedback"] = {"reward": reward, "docs": [title]}
    state: Mapping[str, Any] = agent.invoke(update, config, context={"user_id": user})
    return state
