"""Whatever fails beside the answer, the answer comes: one warning a turn, nothing half-written, the next turn works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langchain_persona import VARSRetriever
from langchain_persona.extraction import LLMExtractor
from langchain_persona.loop import Judge
from langchain_persona.memory import PersonaMemory
from langchain_persona.persona import ModelWriter, TemplateWriter
from langchain_persona.records import Evidence, PreferenceCard
from langchain_persona.testing import ScriptedChatModel
from tests.graphs import (
    BASE,
    Agent,
    FailingCollection,
    FailingStore,
    GoneError,
    Noting,
    echo,
    films,
    half_written,
    new_collection,
    new_memory,
    run,
    stored,
    unlearned,
    warnings_of,
)

HOWS = ("invoke", "astream")
TURNS = (
    ("Please always answer in German. A horror film?", {}),
    ("Please always answer in French. And a comedy film?", {"feedback": 1}),
)


def unknown_tool() -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "no_such_tool", "args": {"x": 1}, "id": "c1", "type": "tool_call"}])


FAULTS: dict[str, Callable[[], Any]] = {
    "raises": lambda: RuntimeError("the model broke on: my secret words"),
    "times out": lambda: TimeoutError("too slow"),
    "nothing": lambda: "",
    "junk": lambda: "{]\x00 �} <|im_end|> null",
    "another schema": lambda: '{"cards": {"note": [1, null]}, "reward": "NaN", "relations": -1}',
    "nested": lambda: "[" * 50_000,
    "10 MB": lambda: '{"cards": [' + '{"note": "x"}, ' * 700_000,
    "an unknown tool": unknown_tool,
}


def faulty(name: str) -> ScriptedChatModel:
    return ScriptedChatModel(lambda messages: FAULTS[name]())


def in_role(role: str, model: ScriptedChatModel) -> dict[str, Any]:
    """The options that give the model this work; the rest is done by healthy parts."""
    return {
        "extractor": {"extractor": LLMExtractor(model)},
        "flat extractor": {"extractor": LLMExtractor(model, shape="flat")},
        "extractor ahead": {"extractor": LLMExtractor(model), "extract": "before"},
        "reconciler": {"extractor": Similar(), "reconciler": model},
        "judge": {"judge": Judge(model)},
        "writer": {"writer": ModelWriter(model, n=1), "align_every": 1},
        "all of them": {
            "extractor": LLMExtractor(model),
            "reconciler": model,
            "judge": Judge(model),
            "writer": ModelWriter(model, n=1),
            "align_every": 1,
        },
    }[role]


class Similar(Noting):
    """Finds cards that need a second look: all on one topic and none quite like another."""

    NOTES = ("Likes black coffee in the morning", "Likes black tea in the morning", "Likes milk in the morning")

    def extract(self, turns):
        found = []
        for turn in turns:
            note = self.NOTES[len(self.seen) % len(self.NOTES)]
            self.seen.append(turn.user)
            found.append(
                PreferenceCard(note=note, evidence=(Evidence(message_id=turn.message_id, quote=turn.user[:20]),))
            )
        return found


# a model that fails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("role", ["extractor", "flat extractor", "extractor ahead", "reconciler", "judge", "writer"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_model_that_fails_behind_the_answer(fault, role, how, caplog):
    memory, model = new_memory(), faulty(fault)
    agent = Agent(echo(), memory, how=how, retriever=films(memory), **in_role(role, model))
    for text, inputs in (
        ("I wonder about a horror film for tonight", {}),
        ("and what about some comedy film then", {} if role == "judge" else {"feedback": 1}),
        ("is there a whale film too", {"feedback": 1}),
        ("one film about a wedding", {"feedback": 1}),
    ):
        state = await agent.say(text, **inputs)
        assert state["messages"][-1].text == f"answer to: {text}"
        told = warnings_of(caplog)
        assert len(told) <= 1
        assert "secret words" not in "".join(told)
        assert half_written(memory) == []
    assert model.calls
    assert memory.persona("ana").revision.text == ""


@pytest.mark.parametrize("reflect", ["inline", "background"])
@pytest.mark.parametrize("fault", ["raises", "10 MB"])
async def test_all_of_its_models_fail_at_once(fault, reflect, caplog):
    memory = new_memory()
    options = in_role("all of them", faulty(fault))
    agent = Agent(echo(), memory, how="ainvoke", retriever=films(memory), reflect=reflect, **options)
    for text, inputs in TURNS:
        state = await agent.say(text, **inputs)
        assert state["messages"][-1].text == f"answer to: {text}"
        assert len(warnings_of(caplog)) <= 1
    assert half_written(memory) == []
    assert "answer in French" in agent.prompt  # what the rules find does not hang on a model


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("fault", "error"), [("raises", RuntimeError), ("times out", TimeoutError)])
async def test_a_dead_answer_model_raises_its_own_error_and_the_next_turn_works(fault, error, how, caplog):
    memory = new_memory()
    answers = [FAULTS[fault](), "Here I am."]
    agent = Agent(ScriptedChatModel(answers), memory, how=how, extractor=Noting(), retriever=films(memory))
    with pytest.raises(error, match=str(answers[0])):
        await agent.say("Please always answer in German. A film?")
    assert warnings_of(caplog) == []
    assert half_written(memory) == []
    assert "answer in German" in stored(memory)  # said is said, also where no answer came
    state = await agent.say("a horror film")
    assert state["messages"][-1].text == "Here I am."
    assert "answer in German" in agent.prompt
    assert state["settled"] == []  # there was no answer to have an opinion on
    assert unlearned(memory) == []
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("fault", ["nothing", "junk", "nested", "10 MB"])
async def test_whatever_the_answer_model_says_is_the_answer(fault, how, caplog):
    memory = new_memory()
    agent = Agent(faulty(fault), memory, how=how, extractor=Noting(), retriever=films(memory))
    for text, inputs in TURNS:
        state = await agent.say(text, **inputs)
        assert state["messages"][-1].text == FAULTS[fault]()
        assert warnings_of(caplog) == []
    assert half_written(memory) == []
    assert unlearned(memory) == []
    assert len(stored(memory)) < 500_000  # 10 MB are not remembered


@pytest.mark.parametrize("how", HOWS)
async def test_a_tool_that_is_not_there_is_told_to_the_model_and_counts_as_an_outcome(how, caplog):
    memory = new_memory()
    model = ScriptedChatModel([unknown_tool(), "Then without it."])
    state = await Agent(model, memory, how=how, extractor=Noting()).say("a question")
    assert state["messages"][-1].text == "Then without it."
    assert [(outcome["tool"], outcome["ok"]) for outcome in state["outcomes"]] == [("no_such_tool", False)]
    assert warnings_of(caplog) == []
    assert unlearned(memory) == []


@pytest.mark.parametrize("how", HOWS)
async def test_a_model_that_calls_such_a_tool_for_ever_comes_to_an_end(how, caplog):
    agent = Agent(faulty("an unknown tool"), new_memory(), how=how, extractor=Noting())
    state = await agent.say("a question")
    assert isinstance(state["messages"][-1], AIMessage)
    assert not state["messages"][-1].tool_calls
    assert state["messages"][-1].text
    assert warnings_of(caplog) == []


# a store that fails ---------------------------------------------------------------------------------------------------


def full(memory: PersonaMemory, how: str, reflect: str) -> Agent:
    """Everything that uses the store at once."""
    return Agent(
        echo(),
        memory,
        how=how,
        reflect=reflect,
        retriever=films(memory),
        extractor=Noting(),
        writer=TemplateWriter(),
        align_every=1,
    )


async def batches_of_a_healthy_run(how: str, reflect: str) -> int:
    memory = new_memory(store := FailingStore())
    agent = full(memory, how, reflect)
    store.count = 0
    for text, inputs in TURNS:
        await agent.say(text, **inputs)
    return store.count


@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True], ids=["before", "after the work"])
@pytest.mark.parametrize("reflect", ["inline", "background"])
@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_a_store_that_raises_at_each_single_operation_in_turn(how, reflect, late, caplog):
    total = await batches_of_a_healthy_run(how, reflect)
    assert total > 30
    caplog.clear()
    problems: list[str] = []
    for position in range(total):
        problems += [
            f"batch {position} of {total}: {what}" for what in await one_fault(how, reflect, position, late, caplog)
        ]
    assert problems == []


@pytest.mark.parametrize("late", [False, True], ids=["before", "after the work"])
@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_a_store_that_raises_at_some_operations(how, late, caplog):
    """Every fifth, for everyday; the slow test takes each."""
    total = await batches_of_a_healthy_run(how, "inline")
    caplog.clear()
    problems: list[str] = []
    for position in range(int(late), total, 5):
        problems += [
            f"batch {position} of {total}: {what}" for what in await one_fault(how, "inline", position, late, caplog)
        ]
    assert problems == []


async def one_fault(how: str, reflect: str, position: int, late: bool, caplog: Any) -> list[str]:
    """Two turns with a store that fails once, then a healthy one; what went wrong, in words."""
    memory = new_memory(store := FailingStore())
    agent = full(memory, how, reflect)
    store.count, store.fails, store.late = 0, {position}, late
    found = []
    for text, inputs in TURNS:
        state = await agent.say(text, **inputs)
        if state["messages"][-1].text != f"answer to: {text}":
            found.append("no answer")
        if not agent.prompt.startswith(BASE):
            found.append("the host's prompt is gone")
        told = warnings_of(caplog)
        if len(told) > 1:
            found.append(f"{len(told)} warnings: {told}")
    if store.count <= position:
        found.append("the operation was never reached")
    store.fails = set()
    found += half_written(memory)
    state = await agent.say("Please always answer in Spanish. And a whale film?", feedback=1)
    found += [f"afterwards: {what}" for what in (*warnings_of(caplog), *half_written(memory))]
    found += [f"marked as done and not learned: {text}" for text in unlearned(memory)]
    if "answer in Spanish" not in agent.prompt:
        found.append("afterwards: the new preference is not in force")
    if memory.store.search(("persona", "pending"), limit=1):
        found.append("afterwards: an episode still waits")
    return found


@pytest.mark.parametrize("reflect", ["inline", "background"])
@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_store_that_is_dead_from_the_start_and_comes_back(how, reflect, caplog):
    memory = new_memory(store := FailingStore())
    agent = full(memory, how, reflect)
    store.dead = True
    for text, inputs in TURNS:
        state = await agent.say(text, **inputs)
        assert state["messages"][-1].text == f"answer to: {text}"
        assert [document.page_content for document in state["documents"]]  # the plain order
        assert agent.prompt.startswith(BASE)
        assert "user_notes" not in agent.prompt
        assert len(warnings_of(caplog)) == 1
    store.dead = False
    await agent.say("Please always answer in Spanish.")
    assert "answer in Spanish" in agent.prompt
    assert warnings_of(caplog) == []
    assert half_written(memory) == []
    assert unlearned(memory) == []


async def test_memory_tools_on_a_dead_store_tell_the_model(caplog):
    memory = new_memory(store := FailingStore())
    calls = [
        {"name": name, "args": {key: "tea"}, "id": name, "type": "tool_call"}
        for name, key in (("recall", "query"), ("remember", "text"), ("forget", "what"))
    ]
    model = ScriptedChatModel([AIMessage("", tool_calls=calls), "Never mind."])
    agent = Agent(model, memory, how="ainvoke")
    store.dead = True
    state = await agent.say("I like tea, forget tea")
    assert state["messages"][-1].text == "Never mind."
    assert len([message for message in state["messages"] if message.type == "tool"]) == 3
    assert len(warnings_of(caplog)) <= 1


# Chroma that is gone --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reflect", ["inline", "background"])
@pytest.mark.parametrize("how", ["invoke", "ainvoke", "astream"])
async def test_without_chroma_from_the_start(how, reflect, caplog):
    cards = FailingCollection(new_collection(), dead=True)
    memory = new_memory(cards=cards)
    agent = full(memory, how, reflect)
    for text, inputs in TURNS:
        state = await agent.say(text, **inputs)
        assert state["messages"][-1].text == f"answer to: {text}"
        assert len(warnings_of(caplog)) == 1
        assert half_written(memory) == []
    cards.dead = False
    state = await agent.say("And a whale film?")
    assert warnings_of(caplog) == []
    assert half_written(memory) == []
    assert unlearned(memory) == []


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_chroma_goes_between_two_turns(how, caplog):
    cards = FailingCollection(new_collection())
    memory = new_memory(cards=cards)
    agent = full(memory, how, "inline")
    await agent.say("Please always answer in German. A horror film?")
    cards.dead = True
    again = full(new_memory(memory.store, cards), how, "inline")  # another process: nothing in its cache
    state = await again.say("Please always answer in French. And a comedy film?")
    assert state["messages"][-1].text.startswith("answer to: Please")
    assert len(warnings_of(caplog)) == 1
    assert half_written(memory) == []
    cards.dead = False
    await again.say("Another film?")
    assert "answer in French" in again.prompt or "answer in German" in again.prompt
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_the_hosts_collection_of_documents_is_gone(how, caplog):
    memory = new_memory()
    dead = FailingCollection(new_collection(), dead=True)
    retriever = VARSRetriever(vectorstore=dead, embeddings=memory.embeddings, memory=memory, k=2)
    agent = Agent(echo(), memory, how=how, retriever=retriever)
    state = await agent.say("Please always answer in German. A horror film?")
    assert state["messages"][-1].text.startswith("answer to:")
    assert state["documents"] == []
    assert "answer in German" in agent.prompt
    assert len(warnings_of(caplog)) == 1


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_embeddings_that_fail_cost_the_cards_of_this_turn_only(how, caplog, monkeypatch):
    memory = new_memory()
    memory.remember("ana", "likes horror films about ghosts")
    agent = full(memory, how, "inline")

    def broken(*_: Any) -> Any:
        raise GoneError("no embedding model")

    with monkeypatch.context() as patch:
        patch.setattr(type(memory.embeddings), "embed_query", broken)
        state = await agent.say("Please always answer in German. A horror film?")
        assert state["messages"][-1].text.startswith("answer to:")
        assert len(warnings_of(caplog)) == 1
    await agent.say("Please always answer in French. A film?")
    assert "answer in French" in agent.prompt
    assert half_written(memory) == []


# who is there ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("context", [None, {}, {"user_id": None}, {"user_id": ""}])
async def test_without_a_user_the_graph_answers_and_keeps_nothing(context, how, caplog):
    memory = new_memory()
    agent = full(memory, how, "inline")
    given = {"messages": [("user", "Please always answer in German.")]}
    state = await run(agent.graph, given, {"configurable": {"thread_id": "t"}}, context, how, memory)
    assert state["messages"][-1].text.startswith("answer to:")
    assert agent.prompt.startswith(BASE)
    assert "user_notes" not in agent.prompt
    assert stored(memory) == "[]"
    assert warnings_of(caplog) == []
