"""`PersonaMiddleware` in `create_agent`: the same loop as the prebuilt graph, beside other middleware."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, dynamic_prompt
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_persona import ConfigError, PersonaMemory
from langchain_persona.extraction import LLMExtractor
from langchain_persona.identity import PersonaContext
from langchain_persona.loop import Judge
from langchain_persona.middleware import PersonaMiddleware
from langchain_persona.persona import ModelWriter, TemplateWriter
from langchain_persona.records import PreferenceCard
from langchain_persona.testing import ScriptedChatModel
from tests.graphs import (
    BASE,
    Agent,
    FailingStore,
    Noting,
    config_of,
    echo,
    films,
    half_written,
    new_memory,
    run,
    stored,
    unlearned,
    warnings_of,
)

HOWS = ("invoke", "ainvoke", "stream", "astream")


class Assistant:
    """A `create_agent` agent with our middleware among others, with short words for a turn."""

    def __init__(
        self,
        model: ScriptedChatModel,
        memory: PersonaMemory,
        /,
        *,
        how: str = "ainvoke",
        before: Any = (),
        after: Any = (),
        tools: Any = (),
        system_prompt: Any = BASE,
        **options: Any,
    ) -> None:
        given = {"extractor": "rules", "writer": None, "reconciler": None, **options}
        self.model, self.memory, self.how = model, memory, how
        self.middleware = PersonaMiddleware(memory, **given)
        self.graph = create_agent(
            model,
            list(tools),
            system_prompt=system_prompt,
            middleware=[*before, self.middleware, *after],
            context_schema=PersonaContext,
            checkpointer=InMemorySaver(),
        )

    async def say(self, text: str | None, thread: str = "t1", user: Any = "ana", **inputs: Any) -> dict[str, Any]:
        messages = {"messages": [("user", text)]} if text is not None else {}
        context = PersonaContext(user_id=user)
        return await run(self.graph, {**messages, **inputs}, config_of(thread), context, self.how, self.memory)

    @property
    def prompt(self) -> str:
        first = self.model.calls[-1][0]
        return first.text if isinstance(first, SystemMessage) else ""


every_how = pytest.mark.parametrize("how", HOWS)


@tool
def broken(x: int) -> str:
    """Breaks."""
    raise RuntimeError("out of order")


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"Sun in {city}."


def calls(name: str, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}", "type": "tool_call"}])


# laws ---------------------------------------------------------------------------------------------------------------


@every_how
async def test_a_new_user_gets_the_very_same_request(how, caplog):
    model, bare = echo(), echo()
    await Assistant(model, new_memory(), how=how, memory_tools=False, tools=[weather]).say(
        "What is the capital of France?"
    )
    plain = create_agent(bare, [weather], system_prompt=BASE)
    await plain.ainvoke({"messages": [("user", "What is the capital of France?")]})
    assert [(m.type, m.content) for m in model.calls[0]] == [(m.type, m.content) for m in bare.calls[0]]
    assert model.options == bare.options
    assert warnings_of(caplog) == []


@every_how
async def test_a_stated_preference_is_in_force_in_this_turn_and_later(how):
    agent = Assistant(echo(), new_memory(), how=how)
    await agent.say("Please always answer in German. What is the capital of France?")
    assert "answer in German" in agent.prompt
    assert agent.prompt.startswith(BASE)
    await agent.say("And of Spain?", thread="another day")
    assert "answer in German" in agent.prompt
    await agent.say("And of Spain?", thread="another", user="bob")
    assert agent.prompt == BASE
    assert len(agent.model.calls) == 3


@every_how
async def test_the_prompt_never_enters_the_state_and_ours_stays_private(how):
    agent = Assistant(echo(), new_memory(), how=how)
    state = await agent.say("Please always answer in German.")
    assert [message.type for message in state["messages"]] == ["human", "ai"]
    assert "persona" not in state or how in ("stream", "astream")


async def test_private_state_is_no_input():
    agent = Assistant(echo(), new_memory())
    assert "persona" not in agent.graph.get_input_jsonschema()["properties"]
    assert "feedback" in agent.graph.get_input_jsonschema()["properties"]


# the same functions as the nodes --------------------------------------------------------------------------------------

TURNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Please always answer in German. A horror film?", {}),
    ("a comedy film about dogs", {"feedback": {"reward": 1, "docs": ["0"]}}),
    ("Please always answer in French.", {"feedback": -1}),
    ("I'm allergic to peanuts.", {}),
    ("Forget that, please.", {}),
    ("Thanks! And a whale film?", {"feedback": {"reward": 0.5, "accepted": "A documentary."}}),
    ("another film", {}),
)


@pytest.mark.parametrize("reflect", ["inline", "background", "off"])
@every_how
async def test_the_same_prompts_and_cards_as_the_prebuilt_graph(how, reflect):
    seen = []
    for kind in (Agent, Assistant):
        memory = new_memory()
        agent = kind(
            echo(),
            memory,
            how="invoke" if kind is Agent else how,
            retriever=films(memory),
            extractor=Noting(),
            writer=TemplateWriter(),
            align_every=2,
            reflect=reflect,
        )
        prompts = []
        for text, inputs in TURNS:
            await agent.say(text, **inputs)
            prompts.append(agent.prompt)
        cards = [(card.note, card.active, round(card.confidence, 3)) for card in memory.preferences("ana", all=True)]
        persona = memory.persona("ana").revision
        facts = [item.value["reward"] for item in memory.store.search(memory.ledger.namespace("ana", "episodes"))]
        seen.append(
            (prompts, cards, persona.text, persona.number, sorted(map(str, facts)), memory.vectors("ana").count)
        )
        assert half_written(memory) == []
    assert seen[0] == seen[1]
    assert seen[0][-1] > 0


async def test_feedback_is_settled_once_and_gone_from_the_state():
    memory = new_memory()
    agent = Assistant(echo(), memory, retriever=films(memory))
    await agent.say("a film")
    state = await agent.say("another film", feedback=1)
    assert state.get("feedback") is None
    assert memory.vectors("ana").count == 1
    await agent.say("one film more")
    assert memory.vectors("ana").count == 1


async def test_reliability_is_set_where_the_middleware_is_made():
    memory = new_memory()
    agent = Assistant(echo(), memory, retriever=films(memory), reliability={"follow_up": 0.0})
    await agent.say("a film")
    await agent.say("That's too long.")
    assert memory.vectors("ana").count == 0  # seen, and counted for nothing
    await agent.say("one film more", feedback=1)
    assert memory.vectors("ana").count == 1


# tools --------------------------------------------------------------------------------------------------------------


@every_how
async def test_what_becomes_of_tool_calls_is_an_outcome_of_the_turn(how):
    def answer(messages: list[BaseMessage]) -> Any:
        text = messages[-1].text
        if messages[-1].type == "human":
            return calls("weather", city="Rome") if "weather" in text else calls("nope") if "nope" in text else "Fine."
        return f"It says: {text}"

    memory = new_memory()
    agent = Assistant(ScriptedChatModel(answer), memory, how=how, tools=[weather])
    await agent.say("the weather please")
    await agent.say("and nope")
    await agent.say("bye")
    outcomes = {
        item.value["query"]: [(one["tool"], one["ok"]) for one in item.value["outcomes"]]
        for item in memory.store.search(memory.ledger.namespace("ana", "episodes"))
    }
    assert outcomes == {"the weather please": [("weather", True)], "and nope": [("nope", False)], "bye": []}


@every_how
async def test_a_tool_that_raises_goes_its_way_as_without_us(how):
    """`create_agent` raises it unless another middleware handles it."""
    memory = new_memory()
    agent = Assistant(ScriptedChatModel(lambda _: calls("broken", x=1)), memory, how=how, tools=[broken])
    with pytest.raises(RuntimeError, match="out of order"):
        await agent.say("use it")


class Handles(AgentMiddleware):
    """Tells the model of a tool's error, as a host's middleware does."""

    def wrap_tool_call(self, request, handler):
        try:
            return handler(request)
        except RuntimeError as error:
            return self.told(request, error)

    async def awrap_tool_call(self, request, handler):
        try:
            return await handler(request)
        except RuntimeError as error:
            return self.told(request, error)

    def told(self, request, error):
        from langchain_core.messages import ToolMessage

        call = request.tool_call
        return ToolMessage(f"failed: {error}", tool_call_id=call["id"], name=call["name"], status="error")


@pytest.mark.parametrize("outside", [True, False])
@every_how
async def test_another_middleware_handles_a_tools_error(how, outside):
    memory = new_memory()
    model = ScriptedChatModel([calls("broken", x=1), "It is out of order.", "Bye."])
    place = {"before": [Handles()]} if outside else {"after": [Handles()]}
    agent = Assistant(model, memory, how=how, tools=[broken], retriever=films(memory), **place)
    state = await agent.say("use it for a film")
    assert state["messages"][-1].text == "It is out of order."
    await agent.say("and a film about whales")
    (episode,) = [
        item.value for item in memory.store.search(memory.ledger.namespace("ana", "episodes")) if item.value["outcomes"]
    ]
    assert episode["outcomes"][0]["ok"] is False
    assert episode["reward"] < 0


async def test_memory_tools_know_the_user_from_the_run():
    memory = new_memory()
    model = ScriptedChatModel(
        [calls("remember", text="I like whales"), "Noted.", calls("recall", query="whales"), "Yes."]
    )
    agent = Assistant(model, memory)
    await agent.say("Please remember: I like whales")
    assert [card.note for card in memory.preferences("ana")] == ["I like whales"]
    state = await agent.say("What do I like?", thread="t2")
    assert "whales" in next(message.text for message in state["messages"] if message.type == "tool")
    assert memory.preferences("bob") == []
    assert PersonaMiddleware(memory, memory_tools=False).tools == []


# other middleware -----------------------------------------------------------------------------------------------------


@dynamic_prompt
def daily(request):
    return "The prompt of the day."


@pytest.mark.parametrize("outside", [True, False])
async def test_beside_a_middleware_that_changes_the_prompt(outside):
    memory = new_memory()
    memory.remember("ana", PreferenceCard(note="Never spoil the ending.", always=True))
    place = {"before": [daily]} if outside else {"after": [daily]}
    agent = Assistant(echo(), memory, **place)
    await agent.say("hello")
    if outside:  # ours is nearer to the model and adds to what it gets
        assert agent.prompt.startswith("The prompt of the day.\n\n<user_notes>")
        assert "Never spoil the ending." in agent.prompt
    else:  # the other one replaces the whole prompt, which is its right
        assert agent.prompt == "The prompt of the day."


async def test_a_system_message_of_content_blocks_keeps_them():
    memory = new_memory()
    memory.remember("ana", PreferenceCard(note="Never spoil the ending.", always=True))
    block = {"type": "text", "text": BASE, "cache_control": {"type": "ephemeral"}}
    agent = Assistant(echo(), memory, system_prompt=SystemMessage([block]))
    await agent.say("hello")
    content = agent.model.calls[-1][0].content
    assert content[0] == block
    assert "Never spoil the ending." in content[1]["text"]


async def test_a_middleware_that_retries_the_model_gets_one_block_of_notes():
    class Twice(AgentMiddleware):
        async def awrap_model_call(self, request, handler):
            await handler(request)
            return await handler(request)

    memory = new_memory()
    memory.remember("ana", PreferenceCard(note="Never spoil the ending.", always=True))
    for place in ({"before": [Twice()]}, {"after": [Twice()]}):
        agent = Assistant(echo(), memory, **place)
        await agent.say("hello")
        assert agent.prompt.count("<user_notes>") == 1
        assert len(agent.model.calls) == 2


async def test_two_agents_on_one_memory_share_what_is_known():
    memory = new_memory()
    await Assistant(echo(), memory).say("Please always answer in German.")
    other = Agent(echo(), memory, how="ainvoke")
    await other.say("hello", thread="elsewhere")
    assert "answer in German" in other.prompt


# what is missing or fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [None, {}, {"user_id": None}])
@every_how
async def test_without_a_user_the_agent_runs_as_without_us(how, context, caplog):
    memory, model = new_memory(), echo()
    graph = create_agent(model, [], system_prompt=BASE, middleware=[PersonaMiddleware(memory, reflect="inline")])
    state = await run(graph, {"messages": [("user", "Please always answer in German.")]}, {}, context, how, memory)
    assert state["messages"][-1].text.startswith("answer to:")
    assert model.calls[0][0].text == BASE
    assert stored(memory) == "[]"
    assert warnings_of(caplog) == []


@every_how
async def test_the_user_from_configurable(how):
    memory, model = new_memory(), echo()
    graph = create_agent(model, [], system_prompt=BASE, middleware=[PersonaMiddleware(memory)])
    config = {"configurable": {"user_id": "ana"}}
    await run(graph, {"messages": [("user", "Please always answer in German.")]}, config, None, how, memory)
    assert "answer in German" in model.calls[0][0].text
    assert memory.preferences("ana")


@pytest.mark.parametrize("reflect", ["inline", "background"])
@every_how
async def test_a_dead_store_costs_one_warning_a_turn_and_no_answer(how, reflect, caplog):
    memory = new_memory(store := FailingStore())
    agent = Assistant(echo(), memory, how=how, extractor=Noting(), writer=TemplateWriter(), reflect=reflect)
    store.dead = True
    for text in ("Please always answer in German.", "Please always answer in French."):
        state = await agent.say(text, feedback=1)
        assert state["messages"][-1].text == f"answer to: {text}"
        assert agent.prompt == BASE
        assert len(warnings_of(caplog)) == 1
    store.dead = False
    await agent.say("Please always answer in Spanish.")
    assert "answer in Spanish" in agent.prompt
    assert warnings_of(caplog) == []
    assert half_written(memory) == []
    assert unlearned(memory) == []


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_a_store_that_fails_once_costs_one_warning_and_no_answer(how, caplog):
    async def turns(position: int | None) -> int:
        memory = new_memory(store := FailingStore())
        options: dict[str, Any] = {"writer": TemplateWriter(), "align_every": 1, "retriever": films(memory)}
        agent = Assistant(echo(), memory, how=how, extractor=Noting(), **options)
        store.count, store.fails = 0, set() if position is None else {position}
        for text in ("Please always answer in German. A film?", "Please always answer in French. A film?"):
            state = await agent.say(text)
            assert state["messages"][-1].text == f"answer to: {text}"
            assert len(warnings_of(caplog)) <= 1, position
        count, store.fails = store.count, set()
        await agent.say("Please always answer in Spanish. A film?")
        assert warnings_of(caplog) == [], position
        assert half_written(memory) == [], position
        assert unlearned(memory) == [], position
        assert "answer in Spanish" in agent.prompt
        return count

    for position in range(0, await turns(None), 3):
        await turns(position)


@every_how
async def test_models_of_ours_that_fail_cost_one_warning(how, caplog):
    memory = new_memory()
    dead = ScriptedChatModel(lambda _: RuntimeError("down"))
    agent = Assistant(
        echo(),
        memory,
        how=how,
        model=None,
        extractor=LLMExtractor(dead),
        reconciler=dead,
        judge=Judge(dead),
        writer=ModelWriter(dead),
        align_every=1,
        retriever=films(memory),
    )
    for text in ("a film", "one more film about dogs", "and whales"):
        state = await agent.say(text)
        assert state["messages"][-1].text == f"answer to: {text}"
        assert len(warnings_of(caplog)) <= 1
    assert dead.calls


@every_how
async def test_the_agents_own_models_error_is_its_own(how):
    memory = new_memory()
    agent = Assistant(ScriptedChatModel([TimeoutError("slow"), "Here I am."]), memory, how=how, extractor=Noting())
    with pytest.raises(TimeoutError, match="slow"):
        await agent.say("Please always answer in German.")
    state = await agent.say("hello")
    assert state["messages"][-1].text == "Here I am."
    assert "answer in German" in agent.prompt


# reflect --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reflect", "count"), [("inline", 1), ("background", 1), ("off", 0)])
@every_how
async def test_the_modes_of_reflecting(how, reflect, count):
    memory, extractor = new_memory(), Noting()
    agent = Assistant(echo(), memory, how=how, extractor=extractor, reflect=reflect)
    await agent.say("a question")
    assert len(extractor.seen) == count
    assert len(memory.preferences("ana")) == count
    assert unlearned(memory) == []


async def test_the_context_may_say_otherwise():
    memory, extractor = new_memory(), Noting()
    agent = Assistant(echo(), memory, extractor=extractor)
    context = PersonaContext(user_id="ana", reflect="off")
    await agent.graph.ainvoke({"messages": [("user", "a question")]}, config_of(), context=context)
    assert extractor.seen == []


@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_the_stream_holds_the_tokens_of_the_answer_and_no_other(how):
    memory = new_memory()
    own = ScriptedChatModel(lambda _: {"cards": [], "reward": 0.0, "reason": "OWN"})
    agent = Assistant(
        echo(), memory, model=own, extractor="model", reconciler="model", judge=Judge(own), retriever=films(memory)
    )
    for text in ("a film", "and what about some comedy film then"):
        given = {"messages": [("user", text)]}
        options: dict[str, Any] = {"context": PersonaContext(user_id="ana"), "stream_mode": "messages"}
        if how == "stream":
            chunks = await asyncio.to_thread(
                lambda given=given, options=options: list(agent.graph.stream(given, config_of(), **options))
            )
        else:
            chunks = [chunk async for chunk in agent.graph.astream(given, config_of(), **options)]
        assert "".join(chunk.text for chunk, _ in chunks) == f"answer to: {text}"
    assert len(own.calls) >= 3


# misuse ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memory": "here"}, "PersonaMemory"),
        ({"retriever": "films"}, "VARSRetriever"),
        ({"extract": "never"}, "'after' or 'before'"),
        ({"extractor": "llm"}, "'model', 'rules'"),
        ({"writer": "me"}, "writer"),
        ({"reflect": "later"}, "inline, background, off"),
        ({"align_every": -1}, "align_every"),
        ({"reliability": {"follow_up": -1}}, "reliability"),
    ],
)
def test_misuse_raises_early_in_plain_words(options, words):
    given = {"memory": new_memory(), **options}
    with pytest.raises(ConfigError, match=words):
        PersonaMiddleware(given.pop("memory"), **given)
