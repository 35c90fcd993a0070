"""The prebuilt graph with a scripted model: what each node does, and what a user sees of it."""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

import chromadb
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from langchain_persona import ConfigError, PersonaMemory, VARSRetriever
from langchain_persona.effects import run
from langchain_persona.extraction import PreferenceExtractor, Turn
from langchain_persona.graph import create_persona_graph
from langchain_persona.identity import PersonaContext
from langchain_persona.loop import Judge
from langchain_persona.loop.turn import TurnRecord
from langchain_persona.loop.verdict import given_feedback, verdict_on
from langchain_persona.nodes import memory_node, persona_node, retrieve_node
from langchain_persona.persona import TemplateWriter
from langchain_persona.records import Episode, Evidence, PreferenceCard
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel
from langchain_persona.tools import memory_tools

BASE = "You are the host's assistant."
EMBEDDINGS = HashEmbeddings(64)


def new_memory(**options: Any) -> PersonaMemory:
    cards = chromadb.EphemeralClient().create_collection(
        f"t{uuid.uuid4().hex}", embedding_function=None, metadata={"hnsw:space": "cosine"}
    )
    return PersonaMemory(InMemoryStore(), cards=cards, embeddings=EMBEDDINGS, **options)


@pytest.fixture
def memory() -> PersonaMemory:
    return new_memory()


@pytest.fixture
def model() -> ScriptedChatModel:
    return ScriptedChatModel(lambda messages: f"answer to: {messages[-1].text}")


class Agent:
    """A compiled graph with short words for a turn."""

    def __init__(self, model: ScriptedChatModel, memory: PersonaMemory, **options: Any) -> None:
        given = {"extractor": "rules", "writer": None, "reconciler": None, "system_prompt": BASE, **options}
        self.model = model
        self.graph = create_persona_graph(model, memory=memory, **given).compile(checkpointer=InMemorySaver())

    def say(self, text: str | None, thread: str = "t1", user: Any = "ana", **inputs: Any) -> dict[str, Any]:
        messages = {"messages": [("user", text)]} if text is not None else {}
        context = None if user is None else {"user_id": user}
        return self.graph.invoke({**messages, **inputs}, thread_config(thread), context=context)

    @property
    def prompt(self) -> str:
        """The system prompt of the latest model call; "" without one."""
        first = self.model.calls[-1][0]
        return first.text if isinstance(first, SystemMessage) else ""


def thread_config(thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}


@pytest.fixture
def agent(model, memory) -> Agent:
    return Agent(model, memory)


# laws ---------------------------------------------------------------------------------------------------------------


def test_cold_start_leaves_the_prompt_byte_identical(agent):
    agent.say("What is the capital of France?")
    assert agent.prompt == BASE


def test_without_a_prompt_of_the_host_a_new_user_gets_no_system_message(model, memory):
    Agent(model, memory, system_prompt="").say("Hello")
    assert not any(isinstance(message, SystemMessage) for message in model.calls[-1])


def test_the_model_is_called_once_ahead_of_the_answer_and_never_for_learning(agent, model):
    for text in ("Please always answer in German.", "Thanks!", "too long", "forget that"):
        before = len(model.calls)
        agent.say(text)
        assert len(model.calls) == before + 1


def test_an_anonymous_run_reads_and_writes_nothing(agent, memory):
    agent.say("Please always answer in German.", user=None)
    agent.say("Please always answer in German.", user="  ")
    assert memory.store.search(()) == []


def test_one_user_never_sees_another(agent):
    agent.say("Please always answer in German.", user="ana")
    agent.say("Hello", user="ana2", thread="t2")
    assert agent.prompt == BASE


def test_a_stated_preference_is_in_force_in_this_very_turn_and_in_later_sessions(agent):
    agent.say("Please always answer in German. What is the capital of France?")
    assert "answer in German" in agent.prompt
    agent.say("And of Spain?", thread="another day")
    assert "answer in German" in agent.prompt
    assert agent.prompt.startswith(BASE)


def test_the_prompt_is_stable_between_rewrites(agent):
    agent.say("Please always answer in German.")
    first = agent.prompt
    agent.say("What is the capital of Spain?")
    assert agent.prompt == first


# settling -------------------------------------------------------------------------------------------------------------


def films(memory: PersonaMemory) -> VARSRetriever:
    collection = chromadb.EphemeralClient().create_collection(
        f"t{uuid.uuid4().hex}", embedding_function=None, metadata={"hnsw:space": "cosine"}
    )
    texts = [
        "horror film cabin",
        "horror film ghost",
        "comedy film wedding",
        "comedy film dog",
        "whale documentary film",
    ]
    collection.upsert(
        ids=[str(i) for i in range(len(texts))], documents=texts, embeddings=EMBEDDINGS.embed_documents(texts)
    )
    return VARSRetriever(vectorstore=collection, embeddings=EMBEDDINGS, memory=memory, k=2)


def test_documents_reach_the_model_and_thanks_reach_the_ledger(model, memory):
    agent = Agent(model, memory, retriever=films(memory))
    state = agent.say("a film")
    assert [isinstance(document, Document) for document in state["documents"]] == [True, True]
    assert all(document.page_content in agent.prompt for document in state["documents"])
    state = agent.say("Thanks, that was perfect!")
    assert [signal["source"] for signal in state["settled"]] == ["follow_up"]
    assert state["settled"][0]["reward"] > 0
    assert memory.vectors("ana").count == 1


def test_a_thumb_on_one_document_changes_the_next_retrieval_and_no_other_users(model, memory):
    agent = Agent(model, memory, retriever=films(memory))
    before = [document.id for document in agent.say("a film", thread="a")["documents"]]
    wanted = films(memory)  # the same texts, another collection
    assert wanted is not None
    for turn in range(3):
        state = agent.say("horror film", thread=f"n{turn}")
        agent.say(None, thread=f"n{turn}", feedback={"reward": 1, "docs": [d.id for d in state["documents"]]})
    after = [document.id for document in agent.say("a film", thread="b")["documents"]]
    assert after != before
    assert {"0", "1"} & set(after)
    assert [document.id for document in agent.say("a film", thread="c", user="bob")["documents"]] == before


def test_a_run_that_only_brings_feedback_calls_no_model_and_keeps_the_turn_open(agent, model, memory):
    agent.say("a question")
    calls = len(model.calls)
    state = agent.say(None, feedback=-1)
    assert len(model.calls) == calls
    assert state["settled"] == [{"source": "thumbs", "reward": -1.0, "reason": "thumb down (-1)"}]
    assert state["feedback"] is None
    assert agent.say("Thanks!")["settled"][0]["source"] == "follow_up"


def test_the_same_delivery_twice_counts_once(model, memory):
    agent = Agent(model, memory, retriever=films(memory))
    agent.say("a film")
    agent.say(None, feedback=1)
    agent.say(None, feedback=1)
    assert memory.vectors("ana").count == 1


def ledger(memory: PersonaMemory, user: str = "ana") -> list[dict[str, Any]]:
    entries = [item.value for item in memory.store.search(memory.ledger.namespace(user, "feedback"), limit=100)]
    return sorted(entries, key=lambda entry: entry["time"])


@pytest.mark.parametrize("first", ["in the conversation", "on the memory"])
def test_signals_of_one_turn_that_come_at_different_times_are_weighed_by_reliability(model, memory, first):
    """A thumb up and a complaint later: both stand in the ledger, and the thumb says more in what is learned."""
    agent = Agent(model, memory, retriever=films(memory))
    shown = agent.say("a film")["documents"]
    found = shown[0].metadata["persona"]["retrieval_id"]
    if first == "on the memory":
        memory.feedback("ana", found, reward=1.0)
    else:
        agent.say(None, feedback={"reward": 1, "docs": [document.id for document in shown]})
    liked = memory.vectors("ana").long
    agent.say("That's too long.")
    thumb, complaint = (entry for entry in ledger(memory) if entry["retrieval_id"] == found)
    assert (thumb["source"], thumb["reward"], thumb["gate"]) == ("thumbs", 1.0, 1.0)
    assert (complaint["source"], complaint["reward"]) == ("follow_up", -0.8)
    assert complaint["gate"] in (0.5 * 0.9, 0.5 * 0.5, 0.5 * 0.2)
    assert float(memory.vectors("ana").long @ liked) > 0.0  # less sure than before, and still a like
    assert float(memory.vectors("ana").long @ liked) < float(liked @ liked)


def test_feedback_that_changes_its_mind_on_a_turn_takes_back_what_it_said(model, memory):
    agent = Agent(model, memory, retriever=films(memory))
    agent.say("a film")
    agent.say(None, feedback=1)
    liked = memory.vectors("ana").long
    for reward, written in ((1, 1), (-1, 3), (-1, 3), (1, 5)):  # each change is a rating and a withdrawal
        agent.say(None, feedback=reward)
        assert len(ledger(memory)) == written
        assert memory.vectors("ana").count == 1
        assert (float(memory.vectors("ana").long @ liked) > 0.0) is (reward > 0)
    agent.say("another film", feedback=-1)  # the last word, with the next message
    assert memory.vectors("ana").count == 1
    assert float(memory.vectors("ana").long @ liked) < 0.0
    undone = {entry["target"] for entry in ledger(memory) if entry["type"] == "withdrawal"}
    (standing,) = (entry for entry in ledger(memory) if entry["id"] not in undone and entry["type"] == "feedback")
    assert standing["reward"] == -1.0


def test_what_can_be_seen_is_counted_once_with_the_next_message():
    previous = TurnRecord(query="a film", answer="Some film.", answer_id="a1")
    state = {"feedback": 1, "outcomes": [{"tool": "search", "ok": True}]}
    messages = [AIMessage("Another film.", id="a1")]
    for said, sources in [("", ["thumbs"]), ("and a horror film?", ["thumbs", "edit", "tool"])]:
        verdict = run(verdict_on(previous, said, state, messages, -1))
        assert [signal.source for signal in verdict.signals] == sources


def test_reliability_is_set_where_the_graph_is_made(model, memory):
    agent = Agent(model, memory, retriever=films(memory), reliability={"follow_up": 0.0})
    agent.say("a film")
    state = agent.say("That's too long.")
    assert [signal["source"] for signal in state["settled"]] == ["follow_up"]  # seen, and counted for nothing
    assert ledger(memory) == []
    assert agent.say("and another", feedback=1)["settled"][0]["reward"] == 1.0


@pytest.mark.parametrize("wrong", [{"follow_up": -1}, {"thumbs": float("nan")}, {1: 1.0}, 0.5])
def test_a_reliability_that_cannot_work_is_refused_when_the_graph_is_made(model, memory, wrong):
    with pytest.raises(ConfigError, match="reliability"):
        create_persona_graph(model, memory=memory, reliability=wrong)
    with pytest.raises(ConfigError, match="reliability"):
        memory_node(memory, reliability=wrong)


@pytest.mark.parametrize("junk", ["good", [1], {"reward": "x"}, 7, float("nan")])
def test_feedback_that_is_none_costs_nothing_but_a_warning(agent, caplog, junk):
    agent.say("a question")
    with caplog.at_level(logging.WARNING):
        state = agent.say("another question", feedback=junk)
    assert state["messages"][-1].text == "answer to: another question"
    assert len(caplog.records) == 1


def test_an_edited_answer_is_a_signal_and_what_was_accepted_is_kept(agent, memory):
    state = agent.say("write a line")
    answer = state["messages"][-1]
    agent.graph.update_state(
        thread_config("t1"), {"messages": [AIMessage("something else entirely", id=answer.id)]}, as_node="reflect"
    )
    state = agent.say("and now a poem about rivers")
    assert state["settled"][0]["source"] == "edit"
    assert state["settled"][0]["reward"] < 0.2
    (episode,) = [e for e in list_episodes(memory) if e["query"] == "write a line"]
    assert episode["accepted"] == "something else entirely"
    assert episode["answer"] == answer.text


def list_episodes(memory: PersonaMemory, user: str = "ana") -> list[dict[str, Any]]:
    return [item.value for item in memory.store.search(memory.ledger.namespace(user, "episodes"), limit=100)]


def test_episodes_hold_no_secret(agent, memory):
    agent.say("My password is hunter2xyz and my card is 4111 1111 1111 1111. Please always answer in German.")
    stored = json.dumps([item.value for item in memory.store.search((), limit=1000)])
    assert "hunter2xyz" not in stored
    assert "4111" not in stored
    assert "German" in stored


def test_without_a_checkpointer_a_turn_is_told_from_the_conversation(model, memory):
    graph = create_persona_graph(
        model, memory=memory, retriever=films(memory), extractor="rules", writer=None, reconciler=None
    ).compile()
    first = graph.invoke({"messages": [("user", "I'm allergic to peanuts.")]}, context={"user_id": "ana"})
    then = [*first["messages"], HumanMessage("Thanks, that was perfect!")]
    second = graph.invoke({"messages": then}, context={"user_id": "ana"})
    assert second["settled"][0]["reward"] > 0
    assert memory.vectors("ana").count == 1
    graph.invoke({"messages": [*first["messages"], HumanMessage("Forget that.")]}, context={"user_id": "ana"})
    assert memory.preferences("ana") == []


def test_another_users_next_message_in_a_thread_says_nothing_of_the_answer(model, memory):
    agent = Agent(model, memory, retriever=films(memory))
    agent.say("a film", user="ana")
    assert agent.say("Thanks, that was perfect!", user="bob")["settled"] == []
    assert memory.vectors("ana").count == memory.vectors("bob").count == 0


def test_feedback_on_documents_that_were_not_shown_says_that_it_was_not_recorded(model, memory):
    agent = Agent(model, memory, retriever=films(memory))
    agent.say("a film")
    state = agent.say(None, feedback={"reward": 1, "docs": ["zzz"]})
    assert state["settled"][0]["recorded"] is False


def test_text_that_no_database_can_write_is_cleaned(agent, memory):
    agent.say("I'm allergic to peanuts. \x00 \ud800")
    assert [card.note for card in memory.preferences("ana")] == ["I'm allergic to peanuts"]
    assert len(list_episodes(memory)) == 1


def test_one_message_makes_ten_cards_at_most(agent, memory):
    agent.say(" ".join(f"I love hobby number {i}." for i in range(50)))
    assert 1 <= len(memory.preferences("ana")) <= 10


# forgetting -----------------------------------------------------------------------------------------------------------


def everything_stored(memory: PersonaMemory) -> str:
    return json.dumps([item.value for item in memory.store.search((), limit=10_000)], default=str)


def test_forget_that_erases_the_card_and_the_episode(agent, memory):
    agent.say("I'm allergic to peanuts.")
    assert memory.preferences("ana")
    agent.say("Forget that, please.")
    assert memory.preferences("ana", all=True) == []
    assert "peanut" not in everything_stored(memory)


def test_do_not_remember_this_keeps_nothing_of_the_message(agent, memory):
    agent.say("Don't remember this: I'm allergic to peanuts.")
    assert memory.preferences("ana", all=True) == []
    assert "peanut" not in everything_stored(memory)
    agent.say("Hello again")
    assert "peanut" not in everything_stored(memory)


# reflect --------------------------------------------------------------------------------------------------------------


class FixedExtractor:
    """Finds one card in every message."""

    def __init__(self, *, fails: int = 0) -> None:
        self.fails = fails
        self.seen: list[str] = []

    def extract(self, turns):
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the model is down")
        self.seen += [turn.user for turn in turns]
        return [
            PreferenceCard(
                note=f"noted: {turn.user}", evidence=(Evidence(message_id=turn.message_id, quote=turn.user),)
            )
            for turn in turns
        ]

    async def aextract(self, turns):
        return self.extract(turns)


def test_the_double_is_an_extractor():
    assert isinstance(FixedExtractor(), PreferenceExtractor)
    assert FixedExtractor().extract([Turn("m", "hi")])[0].note == "noted: hi"


def test_an_extractor_runs_after_the_answer_and_tells_what_was_learned(model, memory):
    state = Agent(model, memory, extractor=FixedExtractor()).say("something dull")
    assert [change["change"] for change in state["learned"]] == ["added"]
    assert state["reflection"]["episodes"] == 1
    assert [card.note for card in memory.preferences("ana")] == ["noted: something dull"]


def test_extract_before_has_its_cards_in_force_in_this_turn(model, memory):
    agent = Agent(model, memory, extractor=FixedExtractor(), extract="before", min_relevance=0.0)
    agent.say("something dull")
    assert "noted: something dull" in agent.prompt


def test_what_could_not_be_extracted_is_tried_again_at_the_next_turn(model, memory, caplog):
    extractor = FixedExtractor(fails=1)
    agent = Agent(model, memory, extractor=extractor)
    agent.say("first")
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    agent.say("second")
    assert extractor.seen == ["first", "second"]


def test_what_fails_for_ever_is_given_up_after_three_attempts(model, memory):
    extractor = FixedExtractor(fails=10)
    agent = Agent(model, memory, extractor=extractor)
    for text in ("a", "b", "c", "d"):
        agent.say(text)
    marks = memory.store.search(("persona", "pending"), limit=100)
    assert len(marks) == 2  # "a" and "b" were tried three times or more


def test_a_crash_after_the_answer_loses_nothing(model, memory):
    """What a killed process leaves behind: episodes with their marks, and nobody at work."""
    first = FixedExtractor()
    agent = Agent(model, memory, extractor=first, reflect="background")
    memory.background.submit = lambda steps: steps.close()  # the process dies before it begins
    agent.say("before the crash")
    assert first.seen == []
    again = PersonaMemory(memory.store, cards=memory.cards._collection, embeddings=EMBEDDINGS)
    with pytest.raises(ConfigError, match="create_persona_graph"):
        again.process_pending()
    second = FixedExtractor()
    Agent(model, again, extractor=second)
    assert again.process_pending() == 1
    assert second.seen == ["before the crash"]
    assert again.process_pending() == 0


def test_the_next_turn_takes_up_what_a_crash_left(model, memory):
    extractor = FixedExtractor()
    agent = Agent(model, memory, extractor=extractor, reflect="background")
    memory.background.submit, real = (lambda steps: steps.close()), memory.background.submit
    agent.say("before the crash")
    memory.background.submit = real
    agent.say("after it")
    assert memory.drain(10)
    assert extractor.seen == ["before the crash", "after it"]


def test_background_returns_at_once_and_drain_waits(model, memory):
    import threading

    gate = threading.Event()

    class Slow(FixedExtractor):
        def extract(self, turns):
            assert gate.wait(10)
            return super().extract(turns)

    agent = Agent(model, memory, extractor=Slow(), reflect="background")
    state = agent.say("something dull")
    assert state["messages"][-1].text == "answer to: something dull"
    assert memory.preferences("ana") == []
    assert memory.drain(0.05) is False
    gate.set()
    assert memory.drain(10) is True
    assert len(memory.preferences("ana")) == 1


def test_off_keeps_no_episode_and_still_settles(model, memory):
    agent = Agent(model, memory, retriever=films(memory), reflect="off", extractor=FixedExtractor())
    agent.say("a film")
    state = agent.say("Thanks, perfect!")
    assert state["settled"][0]["reward"] > 0
    assert list_episodes(memory) == []
    assert memory.vectors("ana").count == 1


def test_the_judge_rates_where_the_rules_have_no_verdict(model, memory):
    judge = ScriptedChatModel([{"reason": "asks for another", "reward": -0.5}], then="repeat")
    agent = Agent(model, memory, retriever=films(memory), judge=Judge(judge))
    agent.say("a film")
    assert judge.calls == []
    agent.say("hm, what else is on tonight in town")
    assert len(judge.calls) == 1
    assert memory.vectors("ana").count == 1


def test_a_judge_whose_word_counts_for_nothing_is_not_asked(model, memory):
    judge = ScriptedChatModel([{"reason": "asks for another", "reward": -0.5}], then="repeat")
    agent = Agent(model, memory, retriever=films(memory), judge=Judge(judge), reliability={"judge": 0.0})
    agent.say("a film")
    agent.say("hm, what else is on tonight in town")
    assert judge.calls == []
    assert memory.vectors("ana").count == 0


def test_the_context_caps_documents_too_and_the_hosts_objective_counts_for_cards(model, memory):
    asked: list[str] = []
    host = films(memory).model_copy(update={"objective": lambda query: bool(asked.append(query))})
    memory.remember("ana", PreferenceCard(note="a film: no horror", condition="a film"))
    agent = Agent(model, memory, retriever=host)
    agent.say("a film")
    agent.say(None, feedback=1)
    assert any(document.metadata["persona"]["long"] for document in agent.say("a film")["documents"])
    asked.clear()
    run_of = {"messages": [("user", "a film")]}
    state = agent.graph.invoke(run_of, thread_config("t1"), context={"user_id": "ana", "max_bonus": 0.0})
    assert state["documents"]
    assert not any(document.metadata["persona"]["long"] for document in state["documents"])
    assert asked == ["a film"] * 2  # for the documents and for the cards


# persona --------------------------------------------------------------------------------------------------------------


def test_the_persona_is_written_from_what_is_known_and_replaces_the_cards_it_carries(model, memory):
    agent = Agent(model, memory, writer=TemplateWriter(), align_every=2)
    agent.say("Please always answer in German.")
    state = agent.say("What is the capital of Spain?")
    facts = state["reflection"]["persona"]
    assert facts["revision"] == 1
    assert "German" in facts["diff"]
    agent.say("And of Italy?")
    assert agent.prompt.count("lways answer in German") == 1
    assert memory.persona("ana").revision.number == 1


def approving(model, memory) -> Agent:
    return Agent(model, memory, writer=TemplateWriter(), align_every=1, approve=True)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("approve", "German"),
        ("reject", ""),
        ({"decision": "edit", "text": "Speaks German at home."}, "Speaks German at home."),
        (" Approve ", "German"),
        (True, "German"),
        (False, ""),
    ],
)
def test_a_person_decides_on_the_persona(model, memory, answer, text):
    agent = approving(model, memory)
    state = agent.say("Please always answer in German.")
    (asked,) = state["__interrupt__"]
    assert asked.value["old"] == ""
    assert "German" in asked.value["new"]
    assert asked.value["reason"]
    calls = len(model.calls)
    agent.graph.invoke(Command(resume=answer), thread_config("t1"), context={"user_id": "ana"})
    assert len(model.calls) == calls
    kept = memory.persona("ana").revision.text
    assert (text in kept) if text else kept == ""


@pytest.mark.parametrize("answer", ["whatever", {"decision": "edit"}, {"type": "edit", "text": "  "}, 3])
def test_an_answer_that_is_none_is_asked_for_again(model, memory, answer):
    agent = approving(model, memory)
    agent.say("Please always answer in German.")
    state = agent.graph.invoke(Command(resume=answer), thread_config("t1"), context={"user_id": "ana"})
    assert "not understood" in state["__interrupt__"][0].value["problem"]
    agent.graph.invoke(Command(resume="approve"), thread_config("t1"), context={"user_id": "ana"})
    assert "German" in memory.persona("ana").revision.text


def test_what_was_rejected_is_not_proposed_again_until_more_is_known(model, memory):
    agent = approving(model, memory)
    agent.say("Please always answer in German.")
    agent.graph.invoke(Command(resume="reject"), thread_config("t1"), context={"user_id": "ana"})
    assert "__interrupt__" not in agent.say("What is the capital of Spain?")
    assert "__interrupt__" in agent.say("I'm allergic to peanuts.")


def test_a_persona_is_that_of_the_user_whose_turn_it_was(model, memory):
    agent = approving(model, memory)
    agent.say("Please always answer in German.")
    state = agent.graph.invoke(Command(resume="approve"), thread_config("t1"), context={"user_id": "bob"})
    assert "another user" in state["reflection"]["persona"]
    assert memory.persona("ana").revision.number == memory.persona("bob").revision.number == 0
    agent.say("Please always answer in German.", thread="t2")
    agent.graph.invoke(Command(resume="approve"), thread_config("t2"))  # a resume that names nobody
    assert "German" in memory.persona("ana").revision.text


def test_who_writes_on_instead_of_deciding_leaves_the_persona_alone(model, memory):
    agent = approving(model, memory)
    agent.say("Please always answer in German.")
    state = agent.say("never mind that; what is the capital of Spain?")
    assert memory.persona("ana").revision.text == ""
    assert state["messages"][-1].text.startswith("answer to: never mind")


# composition ----------------------------------------------------------------------------------------------------------


def test_as_a_subgraph_of_another_graph(model, memory):
    inner = create_persona_graph(model, memory=memory, extractor="rules", writer=None, reconciler=None).compile()
    outer = StateGraph(MessagesState, PersonaContext)
    outer.add_node("agent", inner)
    outer.add_node("tail", lambda state: {"messages": [AIMessage("bye")]})
    outer.add_edge(START, "agent")
    outer.add_edge("agent", "tail")
    outer.add_edge("tail", END)
    graph = outer.compile(checkpointer=InMemorySaver())
    state = graph.invoke(
        {"messages": [("user", "Please always answer in German.")]}, thread_config("t1"), context={"user_id": "ana"}
    )
    assert [message.text for message in state["messages"][1:]] == ["answer to: Please always answer in German.", "bye"]
    assert set(state) == {"messages"}
    assert memory.preferences("ana")


def test_node_by_node_in_a_graph_of_ones_own(memory):
    from langchain_persona.loop import PersonaState

    memory.remember("ana", PreferenceCard(note="Never spoil the ending.", always=True))
    graph = StateGraph(PersonaState, PersonaContext)
    graph.add_node("memory", memory_node(memory))
    graph.add_node("retrieve", retrieve_node(memory))
    graph.add_node("persona", persona_node("Base."))
    graph.add_edge(START, "memory")
    graph.add_edge("memory", "retrieve")
    graph.add_edge("retrieve", "persona")
    state = graph.compile().invoke({"messages": [HumanMessage("hi", id="m1")]}, context={"user_id": "ana"})
    assert "Never spoil the ending." in state["system"]
    assert state["cards"][0]["why"] == "always"


def test_a_host_brings_an_agent_of_their_own(memory):
    seen = []

    def answer(state):
        seen.extend(state["messages"])
        return {"messages": [AIMessage("from the host")]}

    own = StateGraph(MessagesState)
    own.add_node("answer", answer)
    own.add_edge(START, "answer")
    memory.remember("ana", PreferenceCard(note="Never spoil the ending.", always=True))
    graph = create_persona_graph(agent=own.compile(), memory=memory, system_prompt=BASE).compile()
    state = graph.invoke({"messages": [("user", "hi")]}, context={"user_id": "ana"})
    assert "Never spoil the ending." in seen[0].text
    assert [type(message) for message in state["messages"]] == [HumanMessage, AIMessage]


def test_the_context_overrides_what_the_graph_was_built_with(model, memory):
    for name in ("tea", "coffee", "water"):
        memory.remember("ana", f"likes {name} in the morning")
    agent = Agent(model, memory, min_relevance=-1.0)
    state = agent.graph.invoke(
        {"messages": [("user", "in the morning")]},
        thread_config("t1"),
        context=PersonaContext(user_id="ana", max_cards=1, system_prompt="Another prompt.", reflect="off"),
    )
    assert len(state["cards"]) == 1
    assert state["system"].startswith("Another prompt.")
    assert list_episodes(memory) == []


def test_cards_that_are_not_relevant_or_held_back_stay_out(model, memory):
    memory.remember("ana", "likes horror films about ghosts")
    hidden = memory.remember("ana", "likes horror films about cabins")
    memory.hold_back("ana", hidden.id)
    agent = Agent(model, memory)
    state = agent.say("what is seventeen times three")
    assert state["cards"] == []
    assert agent.prompt == BASE
    state = agent.say("horror films about ghosts")
    assert [card["note"] for card in state["cards"]] == ["likes horror films about ghosts"]
    assert state["cards"][0]["base"] > 0.25


def test_a_failing_tool_reaches_the_model_as_a_message_and_the_memory_as_an_outcome(memory):
    @tool
    def broken(x: int) -> int:
        """Breaks."""
        raise RuntimeError("out of order")

    call = {"name": "broken", "args": {"x": 1}, "id": "c1", "type": "tool_call"}
    model = ScriptedChatModel([AIMessage("", tool_calls=[call]), "It is out of order.", "Fine."])
    agent = Agent(model, memory, tools=[broken], retriever=films(memory))
    state = agent.say("use the tool for a film")
    assert state["messages"][-1].text == "It is out of order."
    assert state["outcomes"][0]["ok"] is False
    state = agent.say("and a film about whales")
    assert any(signal["source"] == "tool" and signal["reward"] < 0 for signal in state["settled"])


# misuse ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "gpt-4o"}, "init_chat_model"),
        ({"model": None}, "chat model, or an agent"),
        ({"memory": None}, "PersonaMemory"),
        ({"memory": PersonaMemory(InMemoryStore())}, "no preference cards"),
        ({"retriever": "films"}, "VARSRetriever"),
        ({"agent": "me"}, "Runnable"),
        ({"extract": "never"}, "'after' or 'before'"),
        ({"extractor": "llm"}, "'model', 'rules'"),
        ({"extractor": 3}, "extract"),
        ({"writer": "me"}, "writer"),
        ({"reconciler": "me"}, "reconciler"),
        ({"reflect": "later"}, "inline, background, off"),
        ({"align_every": -1}, "align_every"),
        ({"align_every": True}, "align_every"),
        ({"approve": True, "reflect": "background"}, "inline"),
        ({"approve": True, "reflect": "off"}, "inline"),
        ({"approve": "yes"}, "approve must be True or False"),
        ({"memory_tools": 1}, "memory_tools"),
        ({"max_cards": "5"}, "max_cards"),
        ({"max_cards": -1}, "max_cards"),
        ({"budget_tokens": None}, "budget_tokens"),
        ({"document_tokens": 1.5}, "document_tokens"),
        ({"min_relevance": "a"}, "min_relevance"),
        ({"min_relevance": 2}, "min_relevance"),
        ({"judge": "x"}, "Judge"),
        ({"tools": "x"}, "tools"),
        ({"tools": [1]}, "tools"),
        ({"context_schema": dict}, "PersonaContext"),
        ({"system_prompt": None}, "system_prompt"),
    ],
)
def test_misuse_raises_early_in_plain_words(model, memory, options, words):
    arguments = {"model": model, "memory": memory, **options}
    with pytest.raises(ConfigError, match=words):
        create_persona_graph(arguments.pop("model"), **arguments)


def test_the_forget_tool_erases_what_forget_that_erases(memory):
    card = memory.remember("ana", "I love olives")
    told = Episode(query="What is for dinner?", answer="Olives again.", cards=(card.id,))
    run(memory.episodes.record("ana", told))
    forget = next(tool for tool in memory_tools(memory) if tool.name == "forget")
    assert forget.invoke({"what": "I love olives"}, {"configurable": {"user_id": "ana"}}) == "Erased 1."
    assert "lives" not in everything_stored(memory)


@pytest.mark.parametrize("given", [{"reward": -1, "doc": "d1"}, {"rewrd": 1}])
def test_feedback_with_a_mistyped_key_rates_nothing_and_says_so(given, caplog):
    """`doc` for `docs` would rate every document of the answer."""
    assert given_feedback(given) == (None, {})
    assert "unknown key" in caplog.text
    assert "reward, docs, accepted" in caplog.text
