"""What the graphs share, opened once when the server imports them: the memory, the films, the chat model.

The server gives the store, where everything about the users lies, and the checkpointer.

    OPENAI_API_KEY    answers come from OpenAI
    OPENAI_BASE_URL   … or from any server that speaks its API (Ollama, vLLM, llama.cpp)
    PERSONA_MODEL     name of the chat model there; gpt-5-mini
    PERSONA_GGUF      without both: a model file of yours, run on this machine; its answers are at most
    PERSONA_MAX_TOKENS  so many tokens long; 200
    CHROMA_HOST       the films lie on a Chroma server, not in memory; CHROMA_PORT is 8000

Without a model a template answers with what one would have been told.
"""

import json
import os
from functools import cache
from pathlib import Path

import chromadb
from langchain_core.language_models import BaseChatModel
from langchain_core.vectorstores import InMemoryVectorStore

from graphs.template import template_model
from langchain_persona import LocalEmbeddings, PersonaMemory, RuntimeStore, VARSRetriever

FILMS: list[dict[str, str]] = json.loads(Path(__file__).with_name("films.json").read_text(encoding="utf-8"))

embeddings = LocalEmbeddings()


def _films() -> InMemoryVectorStore | chromadb.Collection:
    texts, ids = [f"{film['title']}: {film['text']}" for film in FILMS], [film["title"] for film in FILMS]
    if host := os.environ.get("CHROMA_HOST"):
        server = chromadb.HttpClient(host, int(os.environ.get("CHROMA_PORT", "8000")))
        found = server.get_or_create_collection("films", embedding_function=None)
        found.upsert(ids, embeddings.embed_documents(texts), documents=texts)
        return found
    return InMemoryVectorStore.from_texts(texts, embeddings, ids=ids)


memory = PersonaMemory(RuntimeStore(), embeddings)
films = VARSRetriever(vectorstore=_films(), embeddings=embeddings, memory=memory, k=3)


@cache
def chat_model() -> tuple[BaseChatModel, bool]:
    """The chat model, and whether it can call tools."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        from langchain_openai import ChatOpenAI

        os.environ.setdefault("OPENAI_API_KEY", "none")
        return ChatOpenAI(model=os.environ.get("PERSONA_MODEL", "gpt-5-mini")), True
    file = os.environ.get("PERSONA_GGUF")
    if file:
        from graphs.local_llm import serve

        # a small model repeats itself without a penalty, and goes on for ever without a stop
        longest = int(os.environ.get("PERSONA_MAX_TOKENS", "200"))
        penalty = {"repeat_penalty": 1.1, "repeat_last_n": 256}
        return serve(file).chat_model(max_tokens=longest, stop=["\n\n\n"], extra_body=penalty), False
    return template_model(), False
