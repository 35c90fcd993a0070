"""Tool calls out of real small models whose own tool calls do not work.

With Qwen2.5-Coder-Instruct (Q4), both sizes choose right in 6 of 6; the smaller one uses a tool too often once a result
is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool

from langchain_persona.act import create_act_graph
from langchain_persona.toolcalls import SchemaToolCalls
from tests.models import model_file

pytest.importorskip("xllamacpp", reason="needs the extra local-llm")

pytestmark = [pytest.mark.model_files, pytest.mark.integration, pytest.mark.slow]

REQUESTS = [
    ("What's the weather in Paris now?", "get_weather"),
    ("Wie warm ist es heute in Oslo?", "get_weather"),
    ("Remember that I am vegetarian.", "save_memory"),
    ("I always want answers in German, please remember.", "save_memory"),
    ("Tell me a joke.", None),
    ("What is 2+2?", None),
]


@tool
def get_weather(city: str) -> str:
    """Get the current weather for a city."""
    return f"rain, 12 degrees in {city}"


@tool
def save_memory(text: str) -> str:
    """Store a lasting fact or preference about the user."""
    return "saved"


@pytest.fixture(scope="module", params=["qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"])
def model(request: pytest.FixtureRequest) -> Iterator[Any]:
    from langchain_persona.local_llm import serve

    with serve(model_file(request.param)) as server:
        yield server.chat_model(timeout=300, max_tokens=120)


def test_the_right_tool_is_chosen(model):
    steps = SchemaToolCalls(model, [get_weather, save_memory])
    chosen = {}
    for words, _ in REQUESTS:
        message = steps.invoke(words)
        chosen[words] = message.tool_calls[0]["name"] if message.tool_calls else None
        assert message.tool_calls or message.content
    right = [words for words, wanted in REQUESTS if chosen[words] == wanted]
    assert len(right) >= 5, chosen


async def test_the_loop_comes_to_an_answer_that_uses_the_result(model):
    graph = create_act_graph(model, tools=[get_weather], tool_calls="schema", max_steps=4).compile()
    given = {"messages": [("user", "What's the weather in Paris now?")], "system": "You are a helpful assistant."}
    answer = await graph.ainvoke(given)
    results = [message for message in answer["messages"] if isinstance(message, ToolMessage)]
    assert results[0].text == "rain, 12 degrees in Paris"
    assert isinstance(answer["messages"][-1], AIMessage)
    assert answer["messages"][-1].content
    assert answer["outcomes"][0] == {"tool": "get_weather", "ok": True, "error": None, "interrupted": False}
