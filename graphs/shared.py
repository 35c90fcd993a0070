"""What the graphs share, opened once when the server imports them: the memory, the films, the chat model.

The server gives the store (texts, ledger) and the checkpointer; the vectors of preference cards lie in a Chroma folder.

    PERSONA_DATA      folder of that Chroma; ./persona-studio
    OPENAI_API_KEY    answers come from OpenAI
    OPENAI_BASE_URL   … or from any server that speaks its API (Ollama, vLLM, llama.cpp)
    PERSONA_MODEL     name of the chat model there; gpt-4o-mini
    PERSONA_TOOL_CALLS  how it calls the memory tools: native; schema, where its own calls come as text; off
    PERSONA_GGUF      without both: a model file of yours in place of SmolLM2-135M
    PERSONA_MAX_TOKENS  longest answer of that local model; 120
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import chromadb
from chromadb.config import Settings
from filelock import FileLock, Timeout
from langchain_core.language_models import BaseChatModel

from langchain_persona import LocalEmbeddings, PersonaMemory, VARSRetriever
from langchain_persona.errors import LockedError
from langchain_persona.runtime_store import RuntimeStore

FILMS: list[dict[str, str]] = json.loads(Path(__file__).with_name("films.json").read_text(encoding="utf-8"))

_QUIET = Settings(anonymized_telemetry=False)

tool_calls = os.environ.get("PERSONA_TOOL_CALLS") or "native"
embeddings = LocalEmbeddings()


_FOLDER = Path(os.environ.get("PERSONA_DATA") or "./persona-studio")
_LOCK = FileLock(_FOLDER / "persona.lock", thread_local=False)


def _collection() -> Any:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        _LOCK.acquire(timeout=10)  # a server that reloads lets go of it in this time
    except Timeout as error:
        raise LockedError(
            f"{_FOLDER} is open in another server; stop that one, or name another folder in PERSONA_DATA"
        ) from error
    client = chromadb.PersistentClient(_FOLDER, _QUIET)
    return client.get_or_create_collection(
        "persona-cards", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )


def _films() -> Any:
    collection = chromadb.EphemeralClient(_QUIET).get_or_create_collection(
        "films", configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
    )
    texts = [f"{film['title']}: {film['text']}" for film in FILMS]
    collection.upsert(
        ids=[film["title"] for film in FILMS], documents=texts, embeddings=embeddings.embed_documents(texts)
    )
    return collection


memory = PersonaMemory(RuntimeStore(), cards=_collection(), embeddings=embeddings)
films = VARSRetriever(vectorstore=_films(), embeddings=embeddings, memory=memory, k=3)


@cache
def chat_model() -> tuple[BaseChatModel, bool]:
    """The chat model, and whether it is a capable one: True for yours, False for the small one of this machine."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        from langchain_openai import ChatOpenAI

        os.environ.setdefault("OPENAI_API_KEY", "none")
        return ChatOpenAI(model=os.environ.get("PERSONA_MODEL", "gpt-4o-mini"), temperature=0), True
    from langchain_persona.local_llm import serve

    longest = int(os.environ.get("PERSONA_MAX_TOKENS", "120"))
    return serve(os.environ.get("PERSONA_GGUF")).chat_model(max_tokens=longest), False
