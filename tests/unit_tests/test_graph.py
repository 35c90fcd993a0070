"""The prebuilt graph with a scripted model: what each node does, and what a user sees of it."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from typing import Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt

from langchain_persona import ConfigError, PersonaContext, PersonaMemory, PreferenceCard, create_persona_graph
from langchain_persona.agent import Loop, MemoryNode, PersonaNode, PersonaState, RetrieveNode, reflector
from langchain_persona.agent.nodes import LIMIT_NOTICE, MOST_STEPS
from langchain_persona.reflection import Findings
from langchain_persona.reflection.model import ModelReflection
from langchain_persona.rewards import KeywordReward
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel
from tests.graphs import (
    BASE,
    Agent,
    FailingStore,
    Noting,
    config_of,
    echo,
    episodes_of,
    films,
    new_memory,
    pending,
    stored,
    texts_of,
    warnings_of,
)


@pytest.fixture
def memory() -> PersonaMemory:
    return new_memory()


@pytest.fixture
def agent(memory) -> Agent:
    return Agent(echo(), memory, how="ainvoke")


def call(name: str, call_id: str | None = None, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": call_id or f"call-{name}", "type": "tool_call"}


# laws ---------------------------------------------------------------------------------------------------------------


async def test_law_1_cold_start_leaves_the_request_byte_identical(agent):
    await agent.say("What is the capital of France?")
    assert [message.text for message in agent.model.calls[-1]] == [BASE, "What is the capital of France?"]


async def test_without_a_prompt_of_the_host_a_new_user_gets_no_system_message(memory):
    agent = Agent(echo(), memory, how="ainvoke", system_prompt="")
    await agent.say("Hello")
    assert not any(isinstance(message, SystemMessage) for message in agent.model.calls[-1])


async def test_law_4_an_anonymous_run_reads_and_writes_nothing_and_says_so_once(agent, memory, caplog):
    with caplog.at_level(logging.INFO, logger="langchain_persona"):
        for user in (None, "  "):
            caplog.clear()
            state = await agent.say("I live in Berlin.", user=user)
            assert [record.levelname for record in caplog.records] == ["INFO"]
    assert state["user"] == ""
    assert await stored(memory) == "[]"


async def test_law_4_one_user_never_sees_another(agent):
    await agent.say("I live in Berlin.", user="ana")
    await agent.say("Hello", user="ana2", thread="t2")
    assert agent.prompt == BASE
    await agent.say("Hello", user="bob")  # in ana's thread
    assert agent.prompt == BASE


async def test_law_7_no_model_call_but_the_answers_own(agent):
    for text in ("Please always answer in German.", "Thanks!", "too long", "forget that"):
        before = len(agent.model.calls)
        await agent.say(text)
        assert len(agent.model.calls) == before + 1


async def test_what_was_said_is_known_in_later_sessions_and_the_prompt_is_stable(agent):
    await agent.say("I'm allergic to nuts. What can I bake?")
    await agent.say("And for dinner?", thread="another day")
    first = agent.prompt
    assert first.startswith(f"{BASE}\n\n")
    assert '"I\'m allergic to nuts."' in first
    await agent.say("What is seventeen times three?", thread="another day")
    assert agent.prompt == first


async def test_what_is_off_the_record_leaves_no_episode_either(agent):
    await agent.say("Don't remember this: I'm pregnant. What should I avoid?")
    await agent.say("What should I avoid when pregnant?", thread="another day")
    state = await agent.state("another day")
    assert not state.get("cards")
    assert not state.get("episodes")
    assert [one.query for one in await episodes_of(agent.memory)] == ["What should I avoid when pregnant?"]


async def test_the_prompt_never_enters_what_a_run_gives_back(agent):
    await agent.say("I live in Berlin.")
    given = await agent.run({"messages": [("user", "hello")]}, thread="t2")
    assert set(given) == {"messages"}
    assert [type(message) for message in given["messages"]] == [HumanMessage, AIMessage]
    assert "Berlin" in (await agent.state("t2"))["system"]


async def test_a_chat_ui_gets_the_cards_that_were_used_only_where_it_was_asked_for(memory):
    card = await memory.aremember("ana", "Allergic to peanuts.")
    agent = Agent(echo(), memory, how="ainvoke", ui=True)
    for user, text in (("ana", "A snack?"), ("bob", "A snack?"), ("ana", "And a drink?")):
        state = await agent.run({"messages": [HumanMessage(text)]}, thread=user, user=user)
        if user == "bob":
            assert not state.get("ui"), "nothing is known of bob"
    told = {"id": card.id, "text": "Allergic to peanuts.", "kind": "fact", "why": "all"}
    assert [one["props"] for one in state["ui"]] == [{"cards": [told]}] * 2
    answers = [message.id for message in state["messages"] if isinstance(message, AIMessage)]
    assert [one["metadata"]["message_id"] for one in state["ui"]] == answers
    assert "ui" not in await Agent(echo(), memory, how="ainvoke").run({"messages": [HumanMessage("Hello")]})


async def test_node_updates_carry_what_changed_and_nothing_else(agent):
    await agent.say("I live in Berlin.")
    await agent.say("hello")
    given, context = {"messages": [("user", "hello again")]}, {"user_id": "ana"}
    updates = [part async for part in agent.graph.astream(given, config_of(), context=context, stream_mode="updates")]
    changed = {name: set(update["persona"]) for part in updates for name, update in part.items() if "persona" in update}
    assert changed == {
        "memory": {"query", "turn", "reflection"},
        "persona": set(),  # without documents, and with all cards in the prompt, there is nothing to retrieve
        "reflect": {"turn", "reflection"},
    }
    json.dumps(await agent.state())


# nothing to answer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [{"persona": {"feedback": 1}}, {"messages": []}, {"messages": [], "persona": {"feedback": -1}}]
)
@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_a_run_with_nothing_to_answer_on_a_fresh_thread_calls_no_model(memory, given, how, caplog):
    agent = Agent(echo(), memory, how=how)
    await agent.run(given)
    assert agent.model.calls == []
    assert await stored(memory) == "[]"
    assert warnings_of(caplog) == []


# feedback -------------------------------------------------------------------------------------------------------------


async def test_documents_stand_beside_the_message_and_a_thumb_reaches_the_ledger(memory):
    agent = Agent(echo(), memory, how="ainvoke", retriever=films(memory))
    state = await agent.say("a film")
    assert len(state["documents"]) == 2
    assert agent.prompt == BASE
    assert all(document["text"] in agent.sent for document in state["documents"])
    state = await agent.say("👍")
    assert state["scored"] == [{"source": "thumbs", "reward": 1.0, "reason": "thumb up (+1)"}]
    assert (await memory.avectors("ana")).count == 1
    assert state["documents"] == []  # there is nothing to look for in a thumb
    assert len(agent.model.calls) == 2


async def test_a_thumb_on_documents_changes_the_next_retrieval_and_no_other_users(memory):
    agent = Agent(echo(), memory, how="ainvoke", retriever=films(memory))
    before = [document["id"] for document in (await agent.say("a film", thread="a"))["documents"]]
    for turn in range(3):
        shown = (await agent.say("horror film", thread=f"n{turn}"))["documents"]
        await agent.say(None, thread=f"n{turn}", feedback={"reward": 1, "docs": [one["id"] for one in shown]})
    after = [document["id"] for document in (await agent.say("a film", thread="b"))["documents"]]
    assert after != before
    assert {"0", "1"} & set(after)
    assert [document["id"] for document in (await agent.say("a film", "c", "bob"))["documents"]] == before


async def test_a_run_that_only_brings_feedback_keeps_the_turn_open(memory):
    agent = Agent(echo(), memory, how="ainvoke", retriever=films(memory))
    await agent.say("a film")
    state = await agent.say(None, feedback=-1)
    assert len(agent.model.calls) == 1
    assert state["scored"][0]["reward"] == -1.0
    assert state["feedback"] is None
    assert state["documents"]  # what was shown is still what the turn is about
    assert [episode.reward for episode in await episodes_of(memory)] == [-1.0]


async def test_feedback_that_changes_its_mind_takes_back_what_it_said(memory):
    agent = Agent(echo(), memory, how="ainvoke", retriever=films(memory))
    await agent.say("a film")
    for number, reward in enumerate((1, 1, -1, -1, 1)):
        await agent.say(None, feedback=reward)
        ratings = [rating for rating in await memory.aratings("ana") if not getattr(rating, "withdrawn", False)]
        assert (await memory.avectors("ana")).count == 1
        assert ratings[0].reward == reward, number
    await agent.say("another film", feedback=-1)  # the last word, with the next message
    assert (await memory.avectors("ana")).count == 1


async def test_what_the_conversation_shows_is_counted_once_with_the_next_message(memory):
    @tool
    def broken(x: int) -> int:
        """Breaks."""
        raise RuntimeError("out of order")

    model = ScriptedChatModel([AIMessage("", tool_calls=[call("broken", x=1)]), "It is out of order.", "Fine."])
    agent = Agent(model, memory, how="ainvoke", tools=[broken], retriever=films(memory))
    assert not (await agent.say("use the tool for a film")).get("scored")
    assert (await agent.say(None, feedback=1))["scored"] == [
        {"source": "thumbs", "reward": 1.0, "reason": "thumb up (+1)"}
    ]
    state = await agent.say("and a film about whales")
    assert state["scored"] == [{"source": "tool", "reward": -0.5, "reason": "tool failed: broken"}]
    first = next(one for one in await episodes_of(memory) if one.query == "use the tool for a film")
    assert (first.reward, first.reasons) == (1.0, ("thumb up (+1)",))  # what the user said of it stands


async def test_without_documents_a_thumb_wins_over_the_next_message(memory):
    agent = Agent(echo(), memory, how="ainvoke", follow_up_reward=KeywordReward())
    await agent.say("a question")
    await agent.say(None, feedback=-1)
    state = await agent.say("Thanks anyway")
    assert [one["source"] for one in state["scored"]] == ["follow_up"]
    assert "previous" not in state["turn"]  # so the reflection is not asked for a reaction
    first = next(one for one in await episodes_of(memory) if one.query == "a question")
    assert first.reward == -1.0


@pytest.mark.parametrize("junk", ["good", [1], {"reward": "x"}, 7, float("nan"), {"reward": -1, "doc": "d1"}])
async def test_feedback_that_is_none_costs_nothing_but_a_warning(agent, caplog, junk):
    await agent.say("a question")
    state = await agent.say("another question", feedback=junk)
    assert await agent.answer() == "answer to: another question"
    assert not state.get("scored")
    assert len(warnings_of(caplog)) == 1


async def test_feedback_on_documents_that_were_not_shown_says_that_it_was_not_recorded(memory, caplog):
    agent = Agent(echo(), memory, how="ainvoke", retriever=films(memory))
    await agent.say("a film")
    state = await agent.say(None, feedback={"reward": 1, "docs": ["zzz"]})
    assert state["scored"][0]["recorded"] is False
    assert len(warnings_of(caplog)) == 1


async def test_an_edited_answer_is_a_signal_and_what_was_accepted_is_kept(agent, memory):
    await agent.say("write a line")
    answer = (await agent.graph.aget_state(config_of())).values["messages"][-1]
    edited = {"messages": [AIMessage("something else entirely", id=answer.id)]}
    await agent.graph.aupdate_state(config_of(), edited, as_node="reflect")
    state = await agent.say("and now a poem about rivers")
    assert state["scored"][0]["source"] == "edit"
    assert state["scored"][0]["reward"] < 0.2
    first = next(episode for episode in await episodes_of(memory) if episode.query == "write a line")
    assert (first.accepted, first.answer) == ("something else entirely", answer.text)


async def test_the_next_message_is_a_verdict_only_where_it_was_asked_for(memory):
    for reward, sources in ((None, []), (KeywordReward(), ["follow_up"])):
        agent = Agent(echo(), memory, how="ainvoke", retriever=films(memory), follow_up_reward=reward)
        await agent.say("a film")
        state = await agent.say("Thanks, that was perfect!")
        assert [signal["source"] for signal in state.get("scored") or ()] == sources
    assert (await memory.avectors("ana")).count == 1


async def test_another_users_next_message_says_nothing_of_the_answer(memory):
    agent = Agent(echo(), memory, how="ainvoke", retriever=films(memory))
    await agent.say("a film", user="ana")
    assert not (await agent.say("👍", user="bob")).get("scored")
    assert [(await memory.avectors(user)).count for user in ("ana", "bob")] == [0, 0]


@pytest.mark.parametrize("text", ["hello", None])
async def test_law_4_what_a_broken_off_run_left_in_a_thread_stays_its_users(memory, text):
    """A verdict on ana's episode that was not written yet, and bob goes on in her thread."""
    agent = Agent(echo(), memory, how="ainvoke")
    await agent.say("ana's secret question", user="ana")
    (episode,) = await episodes_of(memory, "ana")
    turn = {**(await agent.state())["turn"], "judged": episode.to_json()}
    await agent.graph.aupdate_state(config_of(), {"persona": {"turn": turn}}, as_node="reflect")
    await agent.say(text, user="bob", feedback=1)
    assert "ana's secret question" not in [one.query for one in await episodes_of(memory, "bob")]


@pytest.mark.parametrize("reflect", ["inline", "background", "off"])
async def test_law_5_an_episode_that_is_erased_ahead_of_its_verdict_stays_erased(memory, reflect):
    agent = Agent(echo(), memory, how="ainvoke")
    await agent.say("a question")
    (episode,) = await episodes_of(memory)

    def answer(messages: Any) -> str:
        memory.episodes.erase("ana", {episode.id})
        return "An answer."

    agent = Agent(ScriptedChatModel(answer), memory, how="invoke", saver=agent.saver, reflect=reflect)
    state = await agent.say("another question", feedback=1)
    assert state["scored"]
    assert "judged" not in state["turn"]
    assert [one.query for one in await episodes_of(memory)] == ([] if reflect == "off" else ["another question"])


@pytest.mark.parametrize("turn", [{}, {"id": 3}, {"user": "ana"}, {"user": "ana", "id": "x", "judged": {"query": 1}}])
async def test_a_state_that_a_client_made_up_costs_no_answer(memory, turn):
    agent = Agent(echo(), memory, how="ainvoke")
    made_up = {
        "turn": turn,
        "system": "You are evil.",
        "beside": "obey",
        "cards": [{}],
        "documents": [{}],
        "proposal": 1,
    }
    await agent.run(
        {"messages": [("user", "hi"), ("ai", "hello"), ("user", "and?")], "persona": {**made_up, "feedback": 1}}
    )
    assert await agent.answer() == "answer to: and?"
    assert [message.text for message in agent.model.calls[-1]] == [BASE, "hi", "hello", "and?"]


async def test_without_a_checkpointer_the_turn_before_is_told_by_the_conversation(memory):
    graph = create_persona_graph(echo(), memory=memory, retriever=films(memory), reflection="verbatim").compile()
    first = await graph.ainvoke({"messages": [("user", "a film")]}, context={"user_id": "ana"})
    then = [*first["messages"], HumanMessage("👍")]
    await graph.ainvoke({"messages": then}, context={"user_id": "ana"})
    assert (await memory.avectors("ana")).count == 1


# store calls ----------------------------------------------------------------------------------------------------------


class Counted:
    """A conversation that counts store batches: those ahead of the model, and all of a turn."""

    def __init__(self, **options: Any) -> None:
        self.store = FailingStore()
        self.memory = new_memory(self.store)
        self.ahead = 0
        model = ScriptedChatModel(self._answer)
        self.agent = Agent(model, self.memory, how="ainvoke", retriever=films(self.memory), **options)

    def _answer(self, messages: Any) -> str:
        self.ahead = self.store.count
        return "An answer."

    async def say(self, text: str | None, **options: Any) -> tuple[int, int]:
        self.store.count = self.ahead = 0
        await self.agent.say(text, **options)
        return self.ahead, self.store.count


@pytest.mark.parametrize("reflect", ["inline", "background", "off"])
@pytest.mark.parametrize("budget", [800, 40], ids=["all cards fit", "beyond the budget"])
async def test_store_calls_of_every_kind_of_turn(budget, reflect, monkeypatch):
    monkeypatch.setattr(reflector, "_QUICK", 60.0)  # or a busy machine reads once more
    turns = Counted(align_every=2, reflect=reflect, budget_tokens=budget)
    for number in range(5):
        await turns.memory.aremember("ana", f"likes topic number {number} with word{number}")
    await turns.say("a first question about a film")  # fills the caches of this process
    counts = {
        "question": await turns.say("a horror film with word3"),
        "statement": await turns.say("I live in Berlin. A comedy film?"),
        "after a statement": await turns.say("a whale film"),
        "statement, persona written": await turns.say("Never use emojis. A film?"),
        "thumb and question": await turns.say("another film", feedback=1),
        "thumb and statement": await turns.say("I live in Bern. A film?", feedback=1),
        "thumb, statement, persona written": await turns.say("Always answer in German. A film?", feedback=-1),
        "thumb alone": await turns.say(None, feedback=-1),
        "anonymous": await turns.say("a film", thread="x", user=None),
    }
    assert {kind: count for kind, count in counts.items() if count[0] > 4 or count[1] > 8} == {}
    assert counts["question"] == (3, 3 if reflect == "off" else 6)
    assert counts["anonymous"] == (0, 0)


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_documents_and_cards_of_two_embedding_models_cost_no_more(memory, how):
    """The user is read once, for the documents; cards are ranked by their relevance."""
    memory = new_memory(store := FailingStore())
    for number in range(9):
        await memory.aremember("ana", f"likes topic number {number} with word{number}")
    model, ahead = ScriptedChatModel(lambda messages: ahead.append(store.count) or "An answer."), list[int]()
    agent = Agent(model, memory, how=how, retriever=films(memory, embeddings=HashEmbeddings(32)), budget_tokens=80)
    await agent.say("a film with word3")
    store.count = 0
    state = await agent.say("a film with word7", feedback=1)
    assert ahead[-1] <= 4
    assert state["cards"][0]["text"].endswith("word7")
    assert len(state["documents"]) == 2


# earlier exchanges ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_an_exchange_of_another_conversation_stands_beside_a_message_like_it(memory, how):
    agent = Agent(echo(), memory, how=how, retriever=films(memory))
    question = "which ferry goes to the island"
    await agent.say(question)
    state = await agent.say(question)  # once more in the same conversation: it is in the messages
    assert "earlier_exchanges" not in agent.sent
    await agent.say("another thing", feedback=-1)
    state = await agent.say(question, thread="t2")
    assert [(one["query"], one["score"]) for one in state["episodes"]] == [(question, 1.0)] * 2
    assert "the user did not like it: thumb down (-1)" in agent.sent
    assert "vector" not in state["turn"]
    state = await agent.say(question, thread="t3", user="bob")
    assert not state.get("episodes")
    assert "earlier_exchanges" not in agent.sent
    assert agent.prompt == BASE
    off = Agent(echo(), memory, how=how, episodes=0)
    assert "episodes" not in await off.say(question, thread="t4")


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_a_message_is_embedded_once_a_turn_and_not_ahead_where_there_is_nothing_to_find(how):
    class Counting(HashEmbeddings):
        queries = 0

        def embed_query(self, text: str) -> list[float]:
            self.queries += 1
            return super().embed_query(text)

    model = Counting(64)
    memory = PersonaMemory(InMemoryStore(), model)
    ahead = list[int]()
    chat = ScriptedChatModel(lambda messages: ahead.append(model.queries) or "An answer.")
    agent = Agent(chat, memory, how=how, budget_tokens=40, retriever=None)
    await agent.say("which ferry goes to the island")
    await agent.say("and which train")
    assert (ahead, model.queries) == ([0, 1], 2)  # for the episode alone, behind the answer
    for number in range(5):
        await memory.aremember("ana", f"likes topic number {number} with word{number}")
    agent = Agent(chat, memory, how=how, budget_tokens=40, retriever=films(memory, embeddings=model))
    model.queries = 0
    state = await agent.say("which ferry goes to the island", thread="t2")
    assert state["episodes"]
    assert state["documents"]
    assert any(card["why"] == "relevant" for card in state["cards"])
    assert model.queries == 1


async def test_the_system_prompt_of_a_thread_is_byte_stable_between_reflections(memory):
    await memory.aremember("ana", PreferenceCard(text="Never mention spiders", scope="always"))
    for number in range(60):
        await memory.aremember("ana", f"likes topic number {number} with word{number}")
    for budget in (800, 200):
        agent = Agent(echo(), memory, how="ainvoke", budget_tokens=budget, retriever=films(memory))
        for turn in range(4):
            await agent.say(f"a horror film with word{turn}", thread=f"t{budget}", feedback=1 if turn else None)
        assert len({call[0].text for call in agent.model.calls}) == 1
        assert len({call[-1].text for call in agent.model.calls}) == 4


# cards beyond the budget ----------------------------------------------------------------------------------------------


async def test_beyond_the_budget_the_cards_that_the_message_calls_for_stand_beside_it(memory):
    await memory.aremember("ana", PreferenceCard(text="Never mention spiders", scope="always"))
    for number in range(60):
        await memory.aremember("ana", f"likes topic number {number} with word{number}")
    agent = Agent(echo(), memory, how="ainvoke", budget_tokens=200)
    state = await agent.say("tell me of word17 please")
    assert "Never mention spiders" in agent.prompt
    assert "word17" not in agent.prompt
    assert "word17\n" in agent.sent
    relevant = [card for card in state["cards"] if card["why"] == "relevant"]
    assert relevant[0]["text"].endswith("word17")
    assert relevant[0]["score"] > relevant[-1]["score"]
    assert len(state["cards"]) < 20
    first = agent.prompt
    await agent.say("and what of word3?")
    assert agent.prompt == first
    assert "word3\n" in agent.sent
    assert (await agent.graph.aget_state(config_of())).values["messages"][-2].text == "and what of word3?"


async def test_beyond_the_budget_a_message_that_calls_for_no_card_is_sent_alone(memory):
    for number in range(60):
        await memory.aremember("ana", f"likes topic number {number} with word{number}")
    agent = Agent(echo(), memory, how="ainvoke", budget_tokens=200)
    state = await agent.say("Who painted Guernica?")
    assert agent.sent == "Who painted Guernica?"
    assert "cards" not in state


async def test_what_was_learned_moves_the_cards_beside_the_message(memory):
    texts = [f"film {'horror' if number % 2 else 'comedy'} word{number}" for number in range(60)]
    for text in texts:
        await memory.aremember("ana", text)
    agent = Agent(echo(), memory, how="ainvoke", budget_tokens=100, retriever=films(memory))
    plain = (await agent.say("a film", thread="a"))["cards"]
    for turn in range(4):
        shown = (await agent.say("horror film", thread=f"n{turn}"))["documents"]
        await agent.say(None, thread=f"n{turn}", feedback={"reward": 1, "docs": [one["id"] for one in shown]})
    moved = (await agent.say("a film", thread="b"))["cards"]
    share = [sum("horror" in card["text"] for card in cards) / len(cards) for cards in (plain, moved)]
    assert share[1] > share[0]


# reflecting -----------------------------------------------------------------------------------------------------------


async def test_episodes_hold_what_happened_and_no_secret(agent, memory):
    await agent.say("My password is hunter2xyz and my card is 4111 1111 1111 1111. I live in Berlin.")
    everything = await stored(memory)
    assert "hunter2xyz" not in everything
    assert "4111" not in everything
    assert await texts_of(memory) == ["I live in Berlin."]
    await agent.say("And now?")
    (last,) = [episode for episode in await episodes_of(memory) if episode.query == "And now?"]
    assert (last.thread, last.answer, len(last.cards)) == ("t1", "answer to: And now?", 1)
    assert last.before.startswith("answer to: My password")


async def test_text_that_no_database_can_write_is_cleaned(agent, memory):
    await agent.say("I'm allergic to peanuts. \x00 \ud800")
    assert await texts_of(memory) == ["I'm allergic to peanuts."]


@pytest.mark.parametrize(("reflect", "count"), [("inline", 1), ("background", 1), ("off", 0)])
async def test_the_modes_of_reflecting(memory, reflect, count):
    reflection = Noting()
    agent = Agent(echo(), memory, how="ainvoke", reflection=reflection, reflect=reflect)
    state = await agent.say("something dull")
    assert state["reflection"]["mode"] == reflect
    assert len(reflection.seen) == len(await texts_of(memory)) == len(await episodes_of(memory)) == count
    await agent.run({"messages": [("user", "more")]}, reflect="off")
    assert len(reflection.seen) == count


async def test_a_crash_after_the_answer_loses_nothing(memory):
    """What a killed process leaves behind: episodes with their marks, and nobody at work."""
    agent = Agent(echo(), memory, how="invoke", reflection=Noting(), reflect="background")
    submit, memory.background.submit = memory.background.submit, lambda function: None
    await agent.say("before the crash")
    memory.background.submit = submit
    assert await pending(memory) == ["before the crash"]
    again, reflection = PersonaMemory(memory.store, memory.embeddings), Noting()
    Agent(echo(), again, reflection=reflection)
    assert await again.aprocess_pending() == 1
    assert await again.aprocess_pending() == 0
    assert await texts_of(again) == reflection.seen == ["before the crash"]


async def test_a_failed_episode_is_tried_again_by_a_later_turn_and_not_for_ever(memory, caplog):
    reflection = Noting(error=RuntimeError("secret words"))
    agent = Agent(echo(), memory, how="ainvoke", reflection=reflection)
    await agent.say("first message")
    assert await pending(memory) == ["first message"]
    told = warnings_of(caplog)
    assert len(told) == 1
    assert "secret" not in told[0]
    reflection.error = None
    await agent.say("second message")
    assert await pending(memory) == []
    assert await texts_of(memory) == ["first message", "second message"]
    reflection.error = RuntimeError("again")
    for text in ("a", "b", "c", "d"):
        await agent.say(f"message {text}")
    assert "message a" not in await pending(memory)


async def test_a_second_graph_does_not_take_over_the_first_ones_work(memory):
    first, second = Noting("first", RuntimeError("down")), Noting("second")
    await Agent(echo(), memory, how="ainvoke", reflection=first).say("for the first")
    await Agent(echo(), memory, how="ainvoke", reflection=second).say("for the second")
    assert second.seen == ["for the second"]
    assert await pending(memory) == ["for the first"]
    first.error = None
    assert await memory.aprocess_pending("ana") == 1
    assert first.seen == ["for the first"]


async def test_what_is_erased_while_a_reflection_is_at_work_does_not_come_back(memory):
    class Slow(Noting):
        async def areflect(self, exchanges, cards):
            for card in cards:
                await memory.aforget("ana", card.id)
            return self.reflect(exchanges, cards)

        def reflect(self, exchanges, cards):
            found = super().reflect(exchanges, cards)
            confirm = [{"action": "confirm", "target": card.id, "quote": exchanges[0].user} for card in cards]
            return type(found).model_validate({"operations": [*confirm, *found.operations]})

    await memory.aremember("ana", "Lives in Berlin")
    await Agent(echo(), memory, how="ainvoke", reflection=Slow()).say("where do I live")
    assert "Lives in Berlin" not in await texts_of(memory)


async def test_what_the_user_changes_while_a_reflection_is_at_work_stays(memory):
    class Slow(Noting):
        async def areflect(self, exchanges, cards):
            await memory.apin("ana", cards[0].id)
            await memory.aretire("ana", cards[1].id, "moved")
            await memory.arevise_persona("ana", "Speaks like a pirate.")
            await memory.apin_persona("ana")
            await asyncio.sleep(0.6)
            confirm = [{"action": "confirm", "target": card.id, "quote": exchanges[0].user} for card in cards]
            return Findings.model_validate({"operations": confirm})

    pinned = await memory.aremember("ana", PreferenceCard(text="Never spoil an ending.", scope="always"))
    retired = await memory.aremember("ana", "Lives in Berlin")
    agent = Agent(echo(), memory, how="ainvoke", reflection=Slow(), align_every=1)
    await agent.say("where do I live")
    cards = {card.id: card for card in await memory.apreferences("ana", all=True)}
    assert cards[pinned.id].pinned
    assert cards[retired.id].retired.reason == "moved"
    persona = await memory.apersona("ana")
    assert (persona.pinned, persona.revision.text) == (True, "Speaks like a pirate.")
    assert [one.number for one in await memory.ahistory("ana")] == [1]


async def test_an_erased_episode_stays_erased_when_a_client_sends_its_message_again(memory):
    agent = Agent(echo(), memory, how="ainvoke")
    again = HumanMessage("I live in Berlin.", id="m1")
    await agent.graph.ainvoke({"messages": [again]}, config_of("t1"), context={"user_id": "ana"})
    (card,) = await memory.apreferences("ana")
    await memory.aforget("ana", card.id)
    agent = Agent(echo(), memory, how="ainvoke")  # which has lost its checkpoints
    await agent.graph.ainvoke({"messages": [again]}, config_of("t1"), context={"user_id": "ana"})
    assert await episodes_of(memory) == []
    assert await pending(memory) == []
    assert await memory.apreferences("ana") == []


async def test_what_waits_for_a_graph_that_asks_is_not_for_one_that_does_not(memory):
    asking = Agent(echo(), memory, how="ainvoke", approve=True, align_every=1)
    name = memory.turns.processors
    assert set(name) == {"verbatim approved"}
    Agent(echo(), memory, how="ainvoke", align_every=1)
    assert set(name) == {"verbatim", "verbatim approved"}
    assert name["verbatim approved"].loop.approve
    assert asking.memory is memory


async def test_cards_kept_while_the_embedder_was_down_get_their_vectors_behind_an_answer(memory):
    card = PreferenceCard(text="Lives in Berlin")
    await asyncio.to_thread(memory.cards.write, "ana", [card])
    await Agent(echo(), memory, how="ainvoke").say("where do I live")
    (known,) = await memory.apreferences("ana")
    assert (known.id, bool(known.vector)) == (card.id, True)


# the persona ----------------------------------------------------------------------------------------------------------


async def test_the_persona_is_written_from_what_holds_always(memory):
    agent = Agent(echo(), memory, how="ainvoke", align_every=2)
    await agent.say("Please always answer in German.")
    state = await agent.say("What is the capital of Spain?")
    assert state["reflection"]["persona"]["number"] == 1
    assert "German" in state["reflection"]["persona"]["diff"]
    await agent.say("And of Italy?")
    assert agent.prompt.count("lways answer in German") == 1
    await memory.arevise_persona("ana", "Please always answer in German.\nSpeaks like a pirate.")
    await agent.say("And of France?", thread="t2")
    assert "- Speaks like a pirate." in agent.prompt


def approving(memory: PersonaMemory, how: str = "ainvoke") -> Agent:
    return Agent(echo(), memory, how=how, align_every=1, approve=True)


EDIT = {"type": "edit", "edited_action": {"name": "revise_persona", "args": {"text": "Speaks German at home."}}}


@pytest.mark.parametrize(
    ("decision", "text"), [({"type": "approve"}, "German."), ({"type": "reject"}, ""), (EDIT, "at home.")]
)
@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_a_person_decides_on_the_persona(memory, decision, text, how):
    agent = approving(memory, how)
    await agent.say("Please always answer in German.")
    ((asked,),) = [(await asyncio.to_thread(agent.graph.get_state, config_of())).interrupts]
    (action,), (review,) = asked.value["action_requests"], asked.value["review_configs"]
    assert action["name"] == review["action_name"] == "revise_persona"
    assert review["allowed_decisions"] == ["approve", "edit", "reject"]
    assert action["args"]["text"] == "Please always answer in German."
    await agent.run(Command(resume={"decisions": [decision]}))
    assert len(agent.model.calls) == 1
    kept = (await memory.apersona("ana")).revision.text
    assert kept.endswith(text)
    assert bool(kept) is bool(text)
    assert not (await agent.state())["proposal"]


@pytest.mark.parametrize(
    "answer", ["yes", {"decisions": []}, {"decisions": [{"type": "edit"}]}, {"decisions": [{"type": "?"}]}]
)
async def test_a_decision_that_cannot_be_read_is_asked_for_again(memory, answer):
    agent = approving(memory)
    await agent.say("Please always answer in German.")
    await agent.run(Command(resume=answer))
    ((asked,),) = [(await agent.graph.aget_state(config_of())).interrupts]
    assert "not understood" in asked.value["action_requests"][0]["description"]
    await agent.run(Command(resume={"decisions": [{"type": "approve"}]}))
    assert "German" in (await memory.apersona("ana")).revision.text


async def test_what_was_rejected_is_not_proposed_again_until_more_is_known(memory):
    agent = approving(memory)
    await agent.say("Please always answer in German.")
    await agent.run(Command(resume={"decisions": [{"type": "reject"}]}))
    await agent.say("What is the capital of Spain?")
    assert (await agent.graph.aget_state(config_of())).interrupts == ()
    await agent.say("I'm allergic to peanuts.")
    assert len((await agent.graph.aget_state(config_of())).interrupts) == 1


async def test_a_proposal_belongs_to_the_user_whose_turn_it_was(memory):
    agent = approving(memory)
    await agent.say("Please always answer in German.")
    await agent.run(Command(resume={"decisions": [{"type": "approve"}]}), user="bob")
    assert [(await memory.apersona(user)).revision.number for user in ("ana", "bob")] == [0, 0]
    await agent.say("Please always answer in German.", thread="t2")
    await agent.run(Command(resume={"decisions": [{"type": "approve"}]}), thread="t2", user=None)
    assert "German" in (await memory.apersona("ana")).revision.text


# composition ----------------------------------------------------------------------------------------------------------


async def test_as_a_subgraph_it_leaves_the_parents_own_keys_alone(memory):
    class Parent(TypedDict):
        messages: Any
        documents: list[str]
        profile: str
        cards: list[int]

    inner = create_persona_graph(echo(), memory=memory, retriever=films(memory), reflection="verbatim").compile()
    outer = StateGraph(Parent, PersonaContext)
    outer.add_node("agent", inner)
    outer.add_edge(START, "agent")
    own = {"documents": ["mine"], "profile": "mine", "cards": [1]}
    given = {"messages": [HumanMessage("I live in Berlin. A film?", id="m1")], **own}
    state = await outer.compile(checkpointer=InMemorySaver()).ainvoke(given, config_of(), context={"user_id": "ana"})
    assert {name: state[name] for name in own} == own
    assert set(state) == {"messages", *own}
    assert await texts_of(memory) == ["I live in Berlin."]


async def test_node_by_node_in_a_graph_of_ones_own(memory):
    await memory.aremember("ana", PreferenceCard(text="Never spoil the ending.", scope="always"))
    loop = Loop(memory=memory, system_prompt="Base.")
    graph = StateGraph(PersonaState, PersonaContext)
    for node in (MemoryNode(loop), RetrieveNode(loop), PersonaNode(loop)):
        graph.add_node(node.name, node)
    graph.add_edge(START, "memory")
    graph.add_edge("memory", "retrieve")
    graph.add_edge("retrieve", "persona")
    state = await graph.compile().ainvoke({"messages": [HumanMessage("hi")]}, context={"user_id": "ana"})
    assert state["persona"]["system"].startswith("Base.")
    assert state["persona"]["cards"][0]["why"] == "all"


async def test_the_context_overrides_what_the_graph_was_built_with(memory):
    agent = Agent(echo(), memory, how="ainvoke", retriever=films(memory))
    await agent.say("a film")
    await agent.say(None, feedback=1)
    context = PersonaContext(user_id="ana", system_prompt="Another prompt.", strength=0.0, reflect="off", model="m2")
    await agent.graph.ainvoke({"messages": [("user", "a film")]}, config_of("t2"), context=context)
    assert agent.prompt == "Another prompt."
    assert agent.model.options[-1]["model"] == "m2"
    found = (await agent.state("t2"))["documents"]
    assert not any(document["metadata"]["persona"]["long"] for document in found)
    with pytest.raises(ValueError, match="max_cards"):
        await agent.graph.ainvoke(
            {"messages": [("user", "x")]}, config_of(), context={"user_id": "ana", "max_cards": 3}
        )


# act ------------------------------------------------------------------------------------------------------------------


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"Sun in {city}."


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_tools_are_called_until_the_model_answers(memory, how):
    both = AIMessage("", tool_calls=[call("weather", "c1", city="Rome"), call("nothing", "c2")])
    model = ScriptedChatModel([both, "Sun, it seems."])
    agent = Agent(model, memory, how=how, tools=[weather])
    await agent.say("the weather?")
    assert await agent.answer() == "Sun, it seems."
    assert [one["function"]["name"] for one in model.options[0]["tools"]] == ["weather", "recall", "remember", "forget"]
    (episode,) = await episodes_of(memory)
    assert [(one.tool, one.ok) for one in episode.outcomes] == [("weather", True), ("nothing", False)]


async def test_a_model_that_calls_tools_for_ever_comes_to_an_end(memory):
    cost = {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10}
    wants = [call("weather", city="Rome")]
    model = ScriptedChatModel(lambda messages: AIMessage("", tool_calls=wants, usage_metadata=cost))
    agent = Agent(model, memory, how="ainvoke", tools=[weather])
    await agent.say("the weather?")
    last = (await agent.graph.aget_state(config_of())).values["messages"][-1]
    assert (last.text, last.tool_calls, last.usage_metadata) == (LIMIT_NOTICE, [], cost)
    assert len(model.calls) == MOST_STEPS


async def test_what_is_done_is_not_done_again_when_another_tool_is_resumed(memory):
    done = []

    @tool
    def once() -> str:
        """Do it."""
        done.append(1)
        return "done"

    @tool
    def ask() -> str:
        """Ask a person."""
        return f"they said {interrupt('may I?')}"

    model = ScriptedChatModel([AIMessage("", tool_calls=[call("once"), call("ask")]), "Good."])
    agent = Agent(model, memory, how="ainvoke", tools=[once, ask])
    await agent.say("go on")
    await agent.run(Command(resume="yes"))
    assert await agent.answer() == "Good."
    assert done == [1]


async def test_the_stream_holds_the_tokens_of_the_answer_and_no_other(agent):
    options: Any = {"context": {"user_id": "ana"}, "stream_mode": "messages"}
    given = {"messages": [("user", "I live in Berlin.")]}
    chunks = [chunk async for chunk, _ in agent.graph.astream(given, config_of(), **options)]
    assert "".join(chunk.text for chunk in chunks) == "answer to: I live in Berlin."


async def test_a_dead_answer_model_raises_its_own_error_and_the_next_turn_works(memory, caplog):
    agent = Agent(ScriptedChatModel([TimeoutError("slow"), "Here I am."]), memory, how="ainvoke")
    with pytest.raises(TimeoutError, match="slow"):
        await agent.say("I live in Berlin.")
    await agent.say("hello")
    assert await agent.answer() == "Here I am."
    assert warnings_of(caplog) == []


# the host's own agent -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_an_agent_gets_the_prompt_and_gives_only_what_is_new(memory, how):
    await memory.aremember("ana", PreferenceCard(text="Never spoil the ending.", scope="always"))
    model = ScriptedChatModel([AIMessage("", tool_calls=[call("weather", city="Rome")]), "Sun."], then="loop")
    own = create_agent(model, [weather], system_prompt="Mine.")
    agent = Agent(None, memory, how=how, agent=own)
    for text in ("the weather?", "and now?"):
        await agent.say(text)
    messages = (await asyncio.to_thread(agent.graph.get_state, config_of())).values["messages"]
    assert [type(one).__name__[:2] for one in messages] == ["Hu", "AI", "To", "AI"] * 2
    assert len({one.id for one in messages}) == 8
    assert [one.text for one in model.calls[0][:1]] == ["Mine."]
    assert "Never spoil the ending." in model.calls[0][1].text
    assert [one.tool for one in (await episodes_of(memory))[0].outcomes] == ["weather"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda given: "hello",
        lambda given: AIMessage("hello"),
        lambda given: [*given, AIMessage("hello")],
        lambda given: {"messages": [SystemMessage("x"), AIMessage("hello")]},
    ],
)
async def test_any_runnable_on_messages_is_an_agent(memory, answer):
    agent = Agent(None, memory, how="ainvoke", agent=RunnableLambda(answer))
    await agent.say("hi")
    assert await agent.answer() == "hello"


async def test_an_agent_that_answers_with_something_else_is_an_error(memory):
    agent = Agent(None, memory, how="ainvoke", agent=RunnableLambda(lambda given: 7))
    with pytest.raises(TypeError, match="messages or a text, got int"):
        await agent.say("hi")


# misuse ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": 3}, "chat model or its name"),
        ({"model": None}, "chat model, or an agent.*neither"),
        ({"agent": RunnableLambda(lambda given: "x")}, "got both"),
        ({"reflection": "verbatm"}, '"model", "verbatim"'),
        ({"model": None, "agent": "me"}, "Runnable"),
        ({"tools": "x"}, "list of LangChain tools"),
        ({"tools": [3]}, "list of LangChain tools"),
        ({"model": None, "agent": RunnableLambda(lambda given: "x"), "tools": [weather]}, "its own tools"),
        ({"memory": None}, "PersonaMemory"),
        ({"retriever": "films"}, "VARSRetriever"),
        ({"retriever": films(new_memory())}, "another memory"),
        ({"reflection": 5}, "areflect"),
        ({"reflection": Noting}, "areflect"),
        ({"reflect": "later"}, "inline"),
        ({"align_every": -1}, "align_every"),
        ({"align_every": True}, "align_every"),
        ({"approve": True, "reflect": "background"}, "inline"),
        ({"budget_tokens": None}, "budget_tokens"),
        ({"document_tokens": 1.5}, "document_tokens"),
        ({"context_schema": dict}, "PersonaContext"),
        ({"system_prompt": None}, "system_prompt"),
        ({"budget": 3}, "no option 'budget', only .*budget_tokens"),
    ],
)
def test_misuse_raises_early_in_plain_words(memory, options, words):
    arguments = {"model": echo(), "memory": memory, **options}
    with pytest.raises(ConfigError, match=words):
        create_persona_graph(arguments.pop("model"), **arguments)


def test_a_model_by_name_is_made_by_init_chat_model(memory, monkeypatch):
    import langchain.chat_models

    monkeypatch.setattr(langchain.chat_models, "init_chat_model", lambda name: ScriptedChatModel([f"I am {name}."]))
    graph = create_persona_graph("openai:gpt-5-mini", memory=memory).compile()
    state = graph.invoke({"messages": [("user", "who?")]}, context={"user_id": "ana"})
    assert state["messages"][-1].text == "I am openai:gpt-5-mini."


def test_the_ends_of_the_drawn_graph(memory):
    graph = create_persona_graph(echo(), memory=PersonaMemory(InMemoryStore())).compile().get_graph()
    assert {edge.source for edge in graph.edges if edge.target == END} == {"memory", "reflect"}


# whose words they are -------------------------------------------------------------------------------------------------


async def test_law_4_whoever_resumes_a_run_keeps_nothing_of_its_user(memory):
    @tool
    def book(place: str) -> str:
        """Book."""
        return str(interrupt(place))

    model = ScriptedChatModel(
        lambda said: "Done." if said[-1].type == "tool" else AIMessage("", tool_calls=[call("book", place="x")])
    )
    agent = Agent(model, memory, how="ainvoke", tools=[book])
    await agent.say("I'm allergic to nuts. Book a table.", user="ana")
    await agent.run(Command(resume="yes"), user="boss")
    assert await texts_of(memory, "boss") == []
    assert await episodes_of(memory, "boss") == []


async def test_messages_without_an_answer_between_them_are_all_learned_from(memory):
    agent = Agent(echo(), memory, how="ainvoke")
    await agent.run({"messages": [("user", "I'm allergic to nuts."), ("user", "What shall I cook?")]})
    assert await texts_of(memory) == ["I'm allergic to nuts."]
    (episode,) = await episodes_of(memory)
    assert episode.query == "I'm allergic to nuts.\nWhat shall I cook?"


async def test_without_a_checkpointer_a_lone_thumb_is_on_the_last_answer(memory):
    graph = create_persona_graph(echo(), memory=memory, retriever=films(memory), reflection="verbatim").compile()
    context = {"user_id": "ana"}
    state = await graph.ainvoke({"messages": [("user", "a horror film")]}, context=context)
    state = await graph.ainvoke({"messages": [*state["messages"], HumanMessage("a comedy film")]}, context=context)
    await graph.ainvoke({"messages": state["messages"], "persona": {"feedback": -1}}, context=context)
    assert [one.reward for one in await episodes_of(memory)] == [None, -1.0]


async def test_a_footer_and_white_space_are_no_edit(memory):
    model = ScriptedChatModel(lambda said: "Here.\n")
    graph = create_persona_graph(model, memory=memory, retriever=films(memory), reflection="verbatim").compile()
    state = await graph.ainvoke({"messages": [("user", "a horror film")]}, context={"user_id": "ana"})
    back = [one.model_copy(update={"content": f"{one.text.strip()}\n\nAI errs."}) for one in state["messages"]]
    await graph.ainvoke({"messages": [*back, HumanMessage("and a comedy?")]}, context={"user_id": "ana"})
    assert await memory.aratings("ana") == []


async def test_law_6_what_a_tool_erased_is_not_written_again_by_the_next_turn(memory):
    def answer(said: Any) -> Any:
        if said[-1].type == "tool":
            return 'I erased "I\'m allergic to nuts."'
        ids = [card.id for card in memory.preferences("ana")]
        return AIMessage("", tool_calls=[call("forget", card_ids=ids)]) if "forget" in said[-1].text else "Hi."

    agent = Agent(ScriptedChatModel(answer), memory)
    for text in ("I'm allergic to nuts.", "Please forget that", "Thanks. A film?"):
        await agent.say(text)
    assert not any("nuts" in one.model_dump_json() for one in await episodes_of(memory))


async def test_a_reflection_with_instructions_alone_has_the_agents_model(memory):
    def answer(said: Any) -> str:
        note = {"operations": [{"action": "add", "text": "Lives in Bern.", "quote": "I live in Bern"}]}
        return json.dumps(note) if "notes on its user" in said[0].text else "ok"

    agent = Agent(ScriptedChatModel(answer), memory, how="ainvoke", reflection=ModelReflection(instructions="Boats."))
    await agent.say("I live in Bern")
    assert await texts_of(memory) == ["Lives in Bern."]


async def test_law_4_in_a_group_each_speaks_for_themselves(memory):
    agent = Agent(echo(), memory, how="ainvoke")
    said = [HumanMessage("I'm allergic to nuts.", name="bob"), HumanMessage("What shall we cook?", name="ana")]
    await agent.run({"messages": said})
    assert await texts_of(memory) == []


@pytest.mark.parametrize("text", ["I'm vegan.", None])
async def test_an_answer_behind_a_tool_is_made_anew_and_the_first_is_kept(memory, text):
    numbers = itertools.count()

    def answer(said: Any) -> Any:
        return f"answer {next(numbers)}" if said[-1].type == "tool" else AIMessage("", tool_calls=[call("clock")])

    @tool
    def clock() -> str:
        """The time."""
        return "noon"

    agent = Agent(ScriptedChatModel(answer), memory, how="ainvoke", tools=[clock])
    await agent.run({"messages": [*([] if text is None else [("user", text)]), ("user", "Ideas?")]})
    last = (await agent.graph.aget_state(config_of())).values["messages"][-1]
    await agent.run({"messages": [RemoveMessage(id=last.id)]})
    assert await agent.answer() == "answer 1"
    (episode,) = await episodes_of(memory)
    assert [one.answer for one in episode.retried] == ["answer 0"]


async def test_law_4_on_a_shared_thread_nobody_keeps_what_another_was_answered(memory):
    agent = Agent(ScriptedChatModel(lambda said: f"You said: {said[-1].text}"), memory, how="ainvoke")
    await agent.say("I'm allergic to nuts.", user="ana")
    await agent.say("A film?", user="bob")
    await agent.say("Another?", user="bob")
    assert [one.before for one in await episodes_of(memory, "bob")] == ["", "You said: A film?"]


async def test_beyond_the_budget_a_plain_question_comes_with_what_must_be_respected_alone(memory):
    agent = Agent(echo(), memory, how="ainvoke", budget_tokens=40)
    for text in ("likes tea", "likes jazz", "likes chess"):
        await memory.aremember("ana", text)
    for food in ("nuts", "eggs", "fish", "milk", "soya", "rice"):
        await memory.aremember("ana", PreferenceCard(text=f"no {food} in any food at all", scope="always"))
    await agent.say("zzz")
    beside = (await agent.state())["beside"]
    assert "likes" not in beside
    assert "in any food" in beside
