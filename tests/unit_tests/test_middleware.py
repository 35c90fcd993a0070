"""`PersonaMiddleware` in `create_agent`: the same loop as the prebuilt graph, beside other middleware."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, SummarizationMiddleware, dynamic_prompt
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from langchain_persona import ConfigError, PersonaContext, PersonaMemory, PersonaMiddleware, PreferenceCard
from langchain_persona.testing import ScriptedChatModel
from tests.graphs import (
    BASE,
    Agent,
    FailingStore,
    Noting,
    config_of,
    echo,
    episodes_of,
    films,
    half_written,
    new_memory,
    run,
    stored,
    texts_of,
    warnings_of,
)

every_how = pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream"])


class Assistant(Agent):
    """A `create_agent` agent with our middleware among others."""

    def __init__(
        self,
        model: ScriptedChatModel,
        memory: PersonaMemory,
        *,
        how: str = "ainvoke",
        before: Any = (),
        after: Any = (),
        tools: Any = (),
        system_prompt: Any = BASE,
        **options: Any,
    ) -> None:
        self.model, self.memory, self.how = model, memory, how
        self.graph = create_agent(
            model,
            list(tools),
            system_prompt=system_prompt,
            middleware=[*before, PersonaMiddleware(memory, **{"reflection": "verbatim", **options}), *after],
            context_schema=PersonaContext,
            checkpointer=InMemorySaver(),
        )


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"Sun in {city}."


def calls(name: str, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}", "type": "tool_call"}])


@every_how
async def test_law_1_a_new_user_gets_the_very_same_request(how, caplog):
    model, bare = echo(), echo()
    agent = Assistant(model, new_memory(), how=how, memory_tools=False, tools=[weather])
    await agent.say("What is the capital of France?")
    plain = create_agent(bare, [weather], system_prompt=BASE)
    await plain.ainvoke({"messages": [("user", "What is the capital of France?")]})
    assert [(m.type, m.content) for m in model.calls[0]] == [(m.type, m.content) for m in bare.calls[0]]
    assert model.options == bare.options
    assert warnings_of(caplog) == []


@every_how
async def test_what_was_said_is_known_later_and_to_nobody_else(how):
    agent = Assistant(echo(), new_memory(), how=how)
    await agent.say("I'm allergic to nuts.")
    await agent.say("And for dinner?", thread="another day")
    assert agent.prompt.startswith(f"{BASE}\n\n")
    assert "I'm allergic to nuts." in agent.prompt
    await agent.say("And for dinner?", thread="another", user="bob")
    assert agent.prompt == BASE
    assert len(agent.model.calls) == 3


async def test_the_prompt_never_enters_the_messages_and_ours_stays_private():
    agent = Assistant(echo(), new_memory())
    await agent.say("I live in Berlin.")
    given = await agent.run({"messages": [("user", "hello")]})
    assert set(given) == {"messages"}
    assert [message.type for message in given["messages"]] == ["human", "ai"] * 2
    assert (await agent.state())["system"]


TURNS: tuple[tuple[str | None, Any], ...] = (
    ("Please always answer in German. A horror film?", None),
    ("a comedy film about dogs", {"reward": 1, "docs": ["0"]}),
    ("I live in Berlin.", -1),
    (None, 1),
    ("Thanks! And a whale film?", {"reward": 0.5, "accepted": "A documentary."}),
    ("👍", None),
)


@pytest.mark.parametrize("reflect", ["inline", "background", "off"])
@every_how
async def test_the_same_prompts_cards_and_feedback_as_the_prebuilt_graph(how, reflect):
    seen = []
    for kind in (Agent, Assistant):
        memory = new_memory()
        agent = kind(echo(), memory, how=how, retriever=films(memory), align_every=2, reflect=reflect)
        prompts = []
        for text, feedback in TURNS:
            await agent.say(text, feedback=feedback)
            prompts.append((agent.prompt, agent.sent, len(agent.model.calls)))
        rewards = [(episode.query, episode.reward, episode.accepted) for episode in await episodes_of(memory)]
        persona = (await memory.apersona("ana")).revision
        count = (await memory.avectors("ana")).count
        seen.append((prompts, await texts_of(memory), persona.text, persona.number, rewards, count))
        assert await half_written(memory) == []
    assert seen[0] == seen[1]
    assert seen[0][-1] > 0


@every_how
async def test_a_run_with_nothing_to_answer_calls_no_model(how):
    for given in ({"messages": [], "persona": {"feedback": 1}}, {"messages": []}):
        agent = Assistant(echo(), new_memory(), how=how)
        await agent.run(given)
        assert agent.model.calls == []
        assert await stored(agent.memory) == "[]"


async def test_what_becomes_of_tool_calls_is_an_outcome_of_the_turn():
    def answer(messages: list[BaseMessage]) -> Any:
        text = messages[-1].text
        if messages[-1].type == "human":
            return calls("weather", city="Rome") if "weather" in text else calls("nope") if "nope" in text else "Fine."
        return f"It says: {text}"

    agent = Assistant(ScriptedChatModel(answer), new_memory(), tools=[weather])
    for text in ("the weather please", "and nope", "bye"):
        await agent.say(text)
    outcomes = {one.query: [(out.tool, out.ok) for out in one.outcomes] for one in await episodes_of(agent.memory)}
    assert outcomes == {"the weather please": [("weather", True)], "and nope": [("nope", False)], "bye": []}


async def test_memory_tools_know_user_and_conversation_from_the_run():
    memory = new_memory()
    script = [calls("remember", quote="I like whales"), "Noted.", calls("recall", query="whales"), "Yes."]
    agent = Assistant(ScriptedChatModel(script), memory, reflect="off")
    await agent.say("Please remember: I like whales")
    assert await texts_of(memory) == ["I like whales"]
    await agent.say("What do I like?", thread="t2")
    messages = (await agent.graph.aget_state(config_of("t2"))).values["messages"]
    assert "whales" in next(message.text for message in messages if message.type == "tool")
    assert PersonaMiddleware(memory, memory_tools=False).tools == []


# other middleware -----------------------------------------------------------------------------------------------------


@dynamic_prompt
def daily(request):
    return "The prompt of the day."


async def spoiler_free() -> PersonaMemory:
    memory = new_memory()
    await memory.aremember("ana", PreferenceCard(text="Never spoil the ending.", scope="always"))
    return memory


@pytest.mark.parametrize("outside", [True, False])
async def test_beside_a_middleware_that_changes_the_prompt(outside):
    place = {"before": [daily]} if outside else {"after": [daily]}
    agent = Assistant(echo(), await spoiler_free(), **place)
    await agent.say("hello")
    if outside:  # ours is nearer to the model and adds to what it gets
        assert agent.prompt.startswith("The prompt of the day.\n\n")
        assert "Never spoil the ending." in agent.prompt
    else:  # the other one replaces the whole prompt, which is its right
        assert agent.prompt == "The prompt of the day."


async def test_a_system_message_of_content_blocks_keeps_them():
    block = {"type": "text", "text": BASE, "cache_control": {"type": "ephemeral"}}
    agent = Assistant(echo(), await spoiler_free(), system_prompt=SystemMessage([block]))
    await agent.say("hello")
    content = agent.model.calls[-1][0].content
    assert content[0] == block
    assert "Never spoil the ending." in content[1]["text"]


@pytest.mark.parametrize("place", ["before", "after"])
async def test_a_middleware_that_retries_the_model_gets_one_block_of_notes(place):
    class Twice(AgentMiddleware):
        async def awrap_model_call(self, request, handler):
            await handler(request)
            return await handler(request)

    agent = Assistant(echo(), await spoiler_free(), **{place: [Twice()]})
    await agent.say("hello")
    assert agent.prompt.count("<user_notes>") == 1
    assert len(agent.model.calls) == 2


async def test_two_agents_on_one_memory_share_what_is_known():
    memory = new_memory()
    await Assistant(echo(), memory).say("I live in Berlin.")
    other = Agent(echo(), memory, how="ainvoke")
    await other.say("hello", thread="elsewhere")
    assert "I live in Berlin." in other.prompt


# what is missing or fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [None, {}, {"user_id": None}])
@every_how
async def test_without_a_user_the_agent_runs_as_without_us(how, context, caplog):
    memory, model = new_memory(), echo()
    graph = create_agent(model, [], system_prompt=BASE, middleware=[PersonaMiddleware(memory, reflection="verbatim")])
    state = await run(graph, {"messages": [("user", "I live in Berlin.")]}, {}, context, how, memory)
    assert state["messages"][-1].text.startswith("answer to:")
    assert model.calls[0][0].text == BASE
    assert await stored(memory) == "[]"
    assert warnings_of(caplog) == []


async def test_the_user_from_configurable():
    memory = new_memory()
    graph = create_agent(echo(), [], middleware=[PersonaMiddleware(memory, reflection="verbatim")])
    config = {"configurable": {"user_id": "ana"}}
    await run(graph, {"messages": [("user", "I live in Berlin.")]}, config, None, "ainvoke", memory)
    assert await texts_of(memory) == ["I live in Berlin."]


@every_how
async def test_law_3_a_dead_store_costs_one_warning_a_turn_and_no_answer(how, caplog):
    memory = new_memory(store := FailingStore())
    agent = Assistant(echo(), memory, how=how, reflection=Noting(), retriever=films(memory))
    store.dead = True
    for text in ("I live in Berlin.", "I live in Bern."):
        await agent.say(text, feedback=1)
        assert await agent.answer() == f"answer to: {text}"
        assert agent.prompt == BASE
        assert len(warnings_of(caplog)) == 1
    store.dead = False
    await agent.say("I live in Rome.")
    assert "I live in Rome." in await texts_of(memory)
    assert warnings_of(caplog) == []


async def test_the_models_own_error_is_raised_and_the_next_turn_works():
    agent = Assistant(ScriptedChatModel([TimeoutError("slow"), "Here I am."]), new_memory())
    with pytest.raises(TimeoutError, match="slow"):
        await agent.say("I live in Berlin.")
    await agent.say("hello")
    assert await agent.answer() == "Here I am."


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memory": "here"}, "PersonaMemory"),
        ({"retriever": "films"}, "VARSRetriever"),
        ({"reflection": 5}, "areflect"),
        ({"reflect": "later"}, "background"),
        ({"align_every": -1}, "align_every"),
        ({"budget_tokens": 1.5}, "budget_tokens"),
        ({"approve": True}, "no option 'approve'"),
    ],
)
def test_misuse_raises_early_in_plain_words(options, words):
    given = {"memory": new_memory(), **options}
    with pytest.raises(ConfigError, match=words):
        PersonaMiddleware(given.pop("memory"), **given)


async def test_law_9_a_summary_by_a_middleware_is_not_the_users_own_words():
    turns = itertools.count()
    model = ScriptedChatModel(lambda said: calls("weather", city="Rome") if next(turns) < 5 else "Read.")
    summary = ScriptedChatModel(lambda said: "The weather was read.\nI own a yacht in Monaco.")
    before = [SummarizationMiddleware(summary, trigger=("messages", 6), keep=("messages", 2))]
    agent = Assistant(model, new_memory(), tools=[weather], memory_tools=False, before=before)
    await agent.say("I'm allergic to nuts. Read the weather.")
    assert await texts_of(agent.memory) == ["I'm allergic to nuts."]


async def test_a_thumb_on_a_structured_answer_calls_no_model():
    class Out(BaseModel):
        """A number."""

        x: int

    model = ScriptedChatModel(lambda said: calls("Out", x=1))
    graph = create_agent(
        model,
        [],
        middleware=[PersonaMiddleware(new_memory(), reflection="verbatim", memory_tools=False)],
        response_format=ToolStrategy(Out),
        context_schema=PersonaContext,
        checkpointer=InMemorySaver(),
    )
    for given in ({"messages": [("user", "A number?")]}, {"messages": [], "persona": {"feedback": 1}}):
        await graph.ainvoke(given, config_of(), context={"user_id": "ana"})
    assert len(model.calls) == 1
    assert (await graph.aget_state(config_of())).values["persona"]["scored"]


async def test_law_1_a_context_of_the_hosts_own_is_not_ours():
    @dataclass
    class Mine:
        user_id: str = "ana"
        system_prompt: str = "You are a pirate."

    @dynamic_prompt
    def own(request: Any) -> str:
        return str(request.runtime.context.system_prompt)

    model = echo()
    middleware = [own, PersonaMiddleware(new_memory(), reflection="verbatim")]
    graph = create_agent(model, [], middleware=middleware, context_schema=Mine)
    await graph.ainvoke({"messages": [("user", "hi")]}, context=Mine())
    assert model.calls[0][0].text == "You are a pirate."


async def test_a_context_of_our_fields_alone_is_ours_also_as_a_dict():
    memory = new_memory()
    graph = create_agent(echo(), [], middleware=[PersonaMiddleware(memory, reflection="verbatim")])
    said = {"messages": [("user", "I'm allergic to nuts.")]}
    await graph.ainvoke(said, context={"user_id": "ana", "reflect": "off"})
    assert await texts_of(memory) == []
    await graph.ainvoke(said, context={"user_id": "ana"})
    assert await texts_of(memory) == ["I'm allergic to nuts."]
