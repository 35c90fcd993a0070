"""The whole agent on real small models: what a user said in one conversation changes the answers in the next one."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

from langchain_persona import PersonaMemory, create_persona_graph
from tests.models import model_file

pytestmark = [pytest.mark.integration, pytest.mark.model_files, pytest.mark.slow]

FACTS = [
    ("I have a dog called Biscuit.", "What is the name of my dog?", "biscuit"),
    ("I live in Lisbon.", "In which city do I live?", "lisbon"),
    ("I'm allergic to celery.", "Which food am I allergic to?", "celery"),
    ("My favourite colour is turquoise.", "What is my favourite colour?", "turquoise"),
    ("I work as a nurse.", "What is my job?", "nurse"),
    ("I play the violin.", "Which instrument do I play?", "violin"),
]


@pytest.fixture(scope="module", params=["qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"])
def model(request: pytest.FixtureRequest) -> Iterator[BaseChatModel]:
    pytest.importorskip("xllamacpp", reason="needs the extra local-llm")
    from graphs.local_llm import serve

    with serve(model_file(request.param)) as server:
        yield server.chat_model(max_tokens=60)


def test_what_was_said_on_monday_is_known_on_tuesday(model: BaseChatModel) -> None:
    memory = PersonaMemory(InMemoryStore())
    agent = create_persona_graph(model, memory=memory, system_prompt="You are a helpful assistant.", memory_tools=False)
    graph = agent.compile(checkpointer=InMemorySaver())

    def say(text: str, thread: str, user: str) -> str:
        config: Any = {"configurable": {"thread_id": f"{user} {thread}"}}
        state = graph.invoke({"messages": [("user", text)]}, config, context={"user_id": user})
        return str(state["messages"][-1].text).casefold()

    for statement, _, _ in FACTS:
        say(statement, "monday", "ana")
    assert [card.text for card in memory.preferences("ana")] == [statement for statement, _, _ in FACTS]
    answers = {question: say(question, f"tuesday {word}", "ana") for _, question, word in FACTS}
    known = [word for _, question, word in FACTS if word in answers[question]]
    assert len(known) >= 5, answers
    strangers = [word for _, question, word in FACTS if word in say(question, f"tuesday {word}", "bob")]
    assert len(strangers) <= 1, strangers
