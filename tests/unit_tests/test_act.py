"""The act node: model and tools in a loop, as a graph, inside a bigger graph, or as the host's own agent."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated, Any

import chromadb
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt import InjectedState
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt

from langchain_persona import ConfigError, PersonaMemory
from langchain_persona.act import ActState, add_act, agent_node, create_act_graph
from langchain_persona.act.toolrun import OpenCalls
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel

THREAD = {"configurable": {"thread_id": "t1"}}


def call(name: str, call_id: str | None = None, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": call_id or f"call-{name}", "type": "tool_call"}


def calls(*names: str, text: str = "") -> AIMessage:
    return AIMessage(text, tool_calls=[call(name) for name in names])


def asked(text: str = "Hi", **state: Any) -> dict[str, Any]:
    return {"messages": [("user", text)], **state}


def kinds(state: dict[str, Any]) -> list[str]:
    return [type(message).__name__.removesuffix("Message") for message in state["messages"]]


def told(state: dict[str, Any]) -> str:
    """What the first tool message says."""
    return next(message.text for message in state["messages"] if isinstance(message, ToolMessage))


async def both(graph: Any, *arguments: Any) -> dict[str, Any]:
    """The answer, which is the same in sync and async."""
    answer, again = await asyncio.to_thread(graph.invoke, *arguments), await graph.ainvoke(*arguments)
    assert [message.content for message in answer["messages"]] == [message.content for message in again["messages"]]
    assert answer.get("outcomes") == again.get("outcomes")
    return answer


def outcome(name: str, *, ok: bool = True, error: str | None = None, interrupted: bool = False) -> dict[str, Any]:
    return {"tool": name, "ok": ok, "error": error, "interrupted": interrupted}


@tool
def weather() -> str:
    """The weather now."""
    return "rain"


@tool
def approve() -> str:
    """Ask a person."""
    answer = interrupt("may I?")
    if answer == "no":
        raise ToolException("the person said no")
    return f"they said {answer}"


# the loop -----------------------------------------------------------------------------------------------------------


async def test_the_system_prompt_is_in_front_at_call_time_only():
    model = ScriptedChatModel(["Hello."], then="repeat")
    answer = await both(create_act_graph(model).compile(), asked(system="Be brief."))
    assert kinds(answer) == ["Human", "AI"]
    assert [message.content for message in model.calls[0]] == ["Be brief.", "Hi"]
    assert isinstance(model.calls[0][0], SystemMessage)


@pytest.mark.parametrize("state", [{}, {"system": ""}])
def test_without_a_system_prompt_the_model_gets_the_messages_as_they_are(state):
    model = ScriptedChatModel(["Hello."])
    create_act_graph(model).compile().invoke(asked(**state))
    assert [message.content for message in model.calls[0]] == ["Hi"]
    assert model.options == [{}]  # no tools: the model as it is


async def test_tools_are_called_until_the_model_answers():
    model = ScriptedChatModel([calls("weather"), "It rains."], then="loop")
    answer = await both(create_act_graph(model, tools=[weather]).compile(), asked(system="S"))
    assert kinds(answer) == ["Human", "AI", "Tool", "AI"]
    assert answer["outcomes"] == [outcome("weather")]
    assert isinstance(model.calls[1][0], SystemMessage)
    assert model.options[0]["tools"][0]["function"]["name"] == "weather"


async def test_tokens_stream_from_the_graph_and_from_a_bigger_one():
    model = ScriptedChatModel([calls("weather"), "It rains a lot."], then="loop")
    bigger = StateGraph(ActState)
    bigger.add_node("after", lambda state: {})
    add_act(bigger, model, then="after", tools=[weather])
    bigger.add_edge(START, "act")
    for graph in (create_act_graph(model, tools=[weather]).compile(), bigger.compile()):
        sync = [chunk.content for chunk, _ in graph.stream(asked(), stream_mode="messages")]
        assert sync[-5:] == ["It ", "rains ", "a ", "lot.", ""]
        assert [chunk.content async for chunk, _ in graph.astream(asked(), stream_mode="messages")] == sync


def test_tokens_of_the_graph_as_a_node_stream_with_subgraphs():
    model = ScriptedChatModel(["It rains."], then="repeat")
    bigger = StateGraph(ActState)
    bigger.add_node("act", create_act_graph(model).compile())
    bigger.add_edge(START, "act")
    graph = bigger.compile()
    found = [chunk.content for _, (chunk, _) in graph.stream(asked(), stream_mode="messages", subgraphs=True)]
    assert found[:2] == ["It ", "rains."]


def test_the_graph_as_a_node_gives_its_outcomes_and_is_resumed_through_the_parent():
    model = ScriptedChatModel([calls("weather", "approve"), "Done."])
    bigger = StateGraph(ActState)
    bigger.add_node("act", create_act_graph(model, tools=[weather, approve]).compile())
    bigger.add_edge(START, "act")
    graph = bigger.compile(checkpointer=InMemorySaver())
    assert graph.invoke(asked(system="S"), THREAD)["__interrupt__"][0].value == "may I?"
    answer = graph.invoke(Command(resume="yes"), THREAD)
    assert answer["outcomes"] == [outcome("weather"), outcome("approve", interrupted=True)]
    assert kinds(answer) == ["Human", "AI", "Tool", "Tool", "AI"]


def test_outcomes_are_those_of_one_turn():
    model = ScriptedChatModel([calls("weather"), "It rains.", "Bye.", calls("nothing"), "Sorry."])
    graph = create_act_graph(model, tools=[weather]).compile(checkpointer=InMemorySaver())
    assert graph.invoke(asked(), THREAD)["outcomes"] == [outcome("weather")]
    assert graph.invoke(asked("Bye"), THREAD)["outcomes"] == []
    assert [one["tool"] for one in graph.invoke(asked("More"), THREAD)["outcomes"]] == ["nothing"]


def test_tools_see_the_state():
    @tool
    def peek(messages: Annotated[Any, InjectedState("messages")]) -> str:
        """Count the messages."""
        return str(len(messages))

    model = ScriptedChatModel([calls("peek"), "Two."])
    assert told(create_act_graph(model, tools=[peek]).compile().invoke(asked())) == "2"


def test_a_tool_may_command_the_graph():
    @tool
    def rename(tool_call_id: str = "call-rename") -> Command[Any]:
        """Change the state."""
        return Command(update={"messages": [ToolMessage("x" * 50, tool_call_id=tool_call_id, name="rename")]})

    model = ScriptedChatModel([calls("rename"), "Done."])
    answer = create_act_graph(model, tools=[rename], max_tool_output=10).compile().invoke(asked())
    assert told(answer).startswith("x" * 10 + "\n[cut")
    assert answer["outcomes"] == [outcome("rename")]


def test_a_tool_may_command_the_parent():
    @tool
    def hand_over() -> Command[Any]:
        """Leave for another node."""
        return Command(graph=Command.PARENT, goto="other", update={"messages": [HumanMessage("over to you")]})

    bigger = StateGraph(MessagesState)
    model = ScriptedChatModel([calls("hand_over")])
    bigger.add_node("act", create_act_graph(model, tools=[hand_over]).compile(), destinations=("other",))
    bigger.add_node("other", lambda state: {"messages": [AIMessage("I am here.")]})
    bigger.add_edge(START, "act")
    assert bigger.compile().invoke(asked())["messages"][-1].content == "I am here."


# what fails ---------------------------------------------------------------------------------------------------------


class _UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class _Junk:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (ValueError("no such city"), "Error: ValueError: no such city"),
        (ToolException("closed on Sundays"), "Error: closed on Sundays"),
        (TimeoutError("10 s"), "Error: TimeoutError: 10 s"),
        (TimeoutError(), "Error: TimeoutError"),
        (_UnspeakableError(), "Error: _UnspeakableError"),
        (RecursionError("deep"), "Error: RecursionError: deep"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_failing_tool_gives_the_model_an_error_message(raised, says):
    @tool
    def fails() -> str:
        """Fail."""
        raise raised

    model = ScriptedChatModel([calls("fails"), "Sorry."], then="loop")
    answer = await both(create_act_graph(model, tools=[fails]).compile(), asked())
    assert kinds(answer) == ["Human", "AI", "Tool", "AI"]
    assert told(answer).startswith(says)
    (one,) = answer["outcomes"]
    assert (one["tool"], one["ok"], one["interrupted"]) == ("fails", False, False)
    assert one["error"].startswith(says)


async def test_a_tool_that_cancels_itself_has_failed_and_a_cancelled_run_ends():
    @tool
    async def odd() -> str:
        """Raise what is no Exception."""
        raise asyncio.CancelledError

    @tool
    async def slow() -> str:
        """Wait."""
        await asyncio.sleep(60)
        return "late"

    model = ScriptedChatModel([calls("odd"), "Sorry.", calls("slow")])
    graph = create_act_graph(model, tools=[odd, slow]).compile()
    assert (await graph.ainvoke(asked()))["outcomes"][0]["ok"] is False
    running = asyncio.create_task(graph.ainvoke(asked()))
    await asyncio.sleep(0.2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_an_unknown_tool_is_told_to_the_model():
    model = ScriptedChatModel([calls("nothing", "weather"), "Sorry."], then="loop")
    answer = await both(create_act_graph(model, tools=[weather]).compile(), asked())
    assert "not a valid tool" in told(answer)
    assert [(one["tool"], one["ok"]) for one in answer["outcomes"]] == [("nothing", False), ("weather", True)]


async def test_a_call_without_any_tools_is_told_to_the_model():
    model = ScriptedChatModel([calls("weather"), "Sorry."], then="loop")
    answer = await both(create_act_graph(model).compile(), asked())
    assert answer["messages"][-1].content == "Sorry."
    assert answer["outcomes"][0]["ok"] is False


async def test_invalid_arguments_are_told_to_the_model_not_at_length():
    @tool
    def sized(size: int) -> str:
        """Take a number."""
        return str(size)

    message = AIMessage("", tool_calls=[call("sized", size="x" * 1_000_000)])
    model = ScriptedChatModel([message, "Sorry."], then="loop")
    answer = await both(create_act_graph(model, tools=[sized]).compile(), asked())
    assert "sized" in told(answer)
    assert len(told(answer)) < 3_000
    assert len(answer["outcomes"][0]["error"]) <= 300


async def test_a_call_that_is_no_json_is_answered_so_that_the_model_can_correct_it():
    bad = {"name": "weather", "args": '{"city": ', "id": None, "error": "cut off", "type": "invalid_tool_call"}
    model = ScriptedChatModel([AIMessage("", invalid_tool_calls=[bad]), "Sorry."], then="loop")
    answer = await both(create_act_graph(model, tools=[weather]).compile(), asked())
    assert "not valid JSON (cut off)" in told(answer)
    assert answer["messages"][2].tool_call_id == answer["messages"][1].invalid_tool_calls[0]["id"] is not None
    assert answer["outcomes"][0]["ok"] is False


def test_a_call_without_an_id_gets_one():
    message = AIMessage("", tool_calls=[{**call("weather"), "id": None}])
    answer = create_act_graph(ScriptedChatModel([message, "Rain."]), tools=[weather]).compile().invoke(asked())
    assert answer["messages"][2].tool_call_id == answer["messages"][1].tool_calls[0]["id"] is not None


def test_junk_from_a_tool_becomes_text_or_an_error():
    answers: list[Any] = [object(), {"a": {1, 2}}, None, [1, "x"], _Junk(), "\ud800 lone \x00"]

    @tool
    def junk(index: int) -> Any:
        """Give something."""
        return answers[index]

    message = AIMessage("", tool_calls=[call("junk", f"c{index}", index=index) for index in range(len(answers))])
    graph = create_act_graph(ScriptedChatModel([message, "Well."]), tools=[junk]).compile(checkpointer=InMemorySaver())
    answer = graph.invoke(asked(), THREAD)
    assert answer["messages"][-1].content == "Well."
    assert [one["ok"] for one in answer["outcomes"]] == [True, True, True, True, False, True]
    assert answer["messages"][-2].content == "? lone \x00"


def test_ten_megabytes_from_a_tool_are_cut_and_the_cut_is_told():
    @tool
    def flood() -> Any:
        """Give too much."""
        return "x" * 10_000_000

    @tool
    def blocks() -> Any:
        """Give blocks."""
        return [{"type": "text", "text": "y" * 100_000}, {"type": "image", "url": "https://example.com/a.png"}]

    model = ScriptedChatModel([calls("flood", "blocks"), "Ok."], then="loop")
    answer = create_act_graph(model, tools=[flood, blocks]).compile().invoke(asked())
    text, content = answer["messages"][2].content, answer["messages"][3].content
    assert len(text) < 40_100
    assert text.endswith("[cut: this is the beginning of 10,000,000 characters]")
    assert len(content[0]["text"]) < 40_100
    assert content[1]["type"] == "image"
    whole = create_act_graph(model, tools=[flood, blocks], max_tool_output=None).compile().invoke(asked())
    assert len(whole["messages"][2].content) == 10_000_000


async def test_the_models_own_error_is_raised():
    graph = create_act_graph(ScriptedChatModel([ConnectionError("no model")], then="repeat")).compile()
    with pytest.raises(ConnectionError, match="no model"):
        graph.invoke(asked())
    with pytest.raises(ConnectionError, match="no model"):
        await graph.ainvoke(asked())


def test_a_model_that_answers_with_text_or_junk():
    graph = create_act_graph(RunnableLambda(lambda messages: "plain"), memory_tools=False).compile()
    assert graph.invoke(asked())["messages"][-1].content == "plain"
    broken = create_act_graph(RunnableLambda(lambda messages: 7)).compile()
    with pytest.raises(TypeError, match="got int"):
        broken.invoke(asked())


# limits -------------------------------------------------------------------------------------------------------------


async def test_the_steps_of_a_turn_are_limited_and_the_end_is_clear():
    model = ScriptedChatModel([calls("weather")], then="repeat")
    answer = await both(create_act_graph(model, tools=[weather], max_steps=3).compile(), asked())
    assert len(model.calls) == 6
    assert answer["messages"][-1].content.startswith("I stopped here")
    assert answer["messages"][-1].tool_calls == []
    assert answer["outcomes"] == [
        outcome("weather"),
        outcome("weather"),
        outcome("weather", ok=False, error="not run: no steps were left"),
    ]


def test_what_the_model_said_beside_its_last_call_is_the_answer():
    model = ScriptedChatModel([calls("weather", text="Let me see.")])
    answer = create_act_graph(model, tools=[weather], max_steps=1).compile().invoke(asked())
    assert answer["messages"][-1].content == "Let me see."
    assert kinds(answer) == ["Human", "AI"]


def test_every_turn_has_its_own_steps():
    model = ScriptedChatModel([calls("weather"), "Rain.", calls("weather"), "Still rain."])
    graph = create_act_graph(model, tools=[weather], max_steps=2).compile(checkpointer=InMemorySaver())
    assert graph.invoke(asked(), THREAD)["messages"][-1].content == "Rain."
    assert graph.invoke(asked("And now?"), THREAD)["messages"][-1].content == "Still rain."


@pytest.mark.parametrize("limit", range(3, 10))
def test_the_recursion_limit_ends_the_loop_before_it_ends_the_run(limit):
    model = ScriptedChatModel([calls("weather")], then="repeat")
    bigger = StateGraph(ActState)
    bigger.add_node("after", lambda state: {})
    bigger.add_edge("after", END)
    add_act(bigger, model, then="after", tools=[weather])
    bigger.add_edge(START, "act")
    for graph in (create_act_graph(model, tools=[weather]).compile(), bigger.compile()):
        answer = graph.invoke(asked(), {"recursion_limit": limit})
        assert answer["messages"][-1].content.startswith("I stopped here")


# interrupts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same process", "another process"])
@pytest.mark.parametrize(("said", "ok"), [("yes", True), ("no", False)])
async def test_a_tool_that_waited_for_a_person_is_recorded_as_such(elsewhere, said, ok):
    ran: list[str] = []

    @tool
    def count() -> str:
        """Count the runs."""
        ran.append("count")
        return "counted"

    saver = InMemorySaver()

    def build(script: list[Any]) -> Any:
        return create_act_graph(ScriptedChatModel(script), tools=[approve, count]).compile(checkpointer=saver)

    for asynchronous in (False, True):
        ran.clear()
        thread = {"configurable": {"thread_id": uuid.uuid4().hex}}
        first = build([calls("approve", "count"), "Done."])
        second = build(["Done."]) if elsewhere else first
        if asynchronous:
            stopped = await first.ainvoke(asked(), thread)
            answer = await second.ainvoke(Command(resume=said), thread)
        else:
            stopped = await asyncio.to_thread(first.invoke, asked(), thread)
            answer = await asyncio.to_thread(second.invoke, Command(resume=said), thread)
        assert stopped["__interrupt__"][0].value == "may I?"
        waited, done = answer["outcomes"]
        assert (waited["tool"], waited["ok"], waited["interrupted"]) == ("approve", ok, True)
        assert done == outcome("count")
        assert ran == ["count"]  # what was done is not done again
        assert answer["messages"][-1].content == "Done."


def test_open_calls_are_few():
    opened = OpenCalls()
    for index in range(10_001):
        opened.add("m", str(index))
    assert ("m", "0") not in opened
    assert ("m", "10000") in opened
    opened.remove("m", "10000")
    opened.remove("m", "10000")
    assert ("m", "10000") not in opened


# construction -------------------------------------------------------------------------------------------------------


def test_misuse_is_refused_in_plain_words():
    model = ScriptedChatModel(["x"])
    with pytest.raises(ConfigError, match="chat model object"):
        create_act_graph("gpt-5")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_steps must be at least 1, got 0"):
        create_act_graph(model, max_steps=0)
    with pytest.raises(ConfigError, match="max_tool_output must be at least 1, got -1"):
        create_act_graph(model, max_tool_output=-1)
    with pytest.raises(ConfigError, match="'native' or 'schema', got 'magic'"):
        create_act_graph(model, tool_calls="magic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="two tools are called 'weather'"):
        create_act_graph(model, tools=[weather, weather])
    with pytest.raises(ConfigError, match="cannot be given tools"):
        create_act_graph(RunnableLambda(lambda messages: "x"), tools=[weather])
    with pytest.raises(ConfigError, match="needs a chat model"):
        create_act_graph(RunnableLambda(lambda messages: "x"), tools=[weather], tool_calls="schema")


def test_functions_are_tools_and_a_providers_own_tools_are_only_bound():
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    own = {"type": "function", "function": {"name": "search", "description": "", "parameters": {}}}
    model = ScriptedChatModel([AIMessage("", tool_calls=[call("add", a=1, b=2)]), "3"])
    answer = create_act_graph(model, tools=[add, own]).compile().invoke(asked())
    assert told(answer) == "3"
    assert [one["function"]["name"] for one in model.options[0]["tools"]] == ["add", "search"]


def test_the_memory_tools_are_offered_beside_the_hosts():
    cards = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
    memory = PersonaMemory(InMemoryStore(), cards=cards, embeddings=HashEmbeddings(16))
    model = ScriptedChatModel(["x"], then="repeat")
    create_act_graph(model, tools=[weather], memory=memory).compile().invoke(asked())
    create_act_graph(model, tools=[weather], memory=memory, memory_tools=False).compile().invoke(asked())
    offered = [[one["function"]["name"] for one in options["tools"]] for options in model.options]
    assert offered == [["weather", "recall", "remember", "forget"], ["weather"]]


def test_a_schema_gets_tool_calls_out_of_a_model_without_any():
    script = [{"tool": "weather", "args": {}}, {"tool": "none", "answer": "It rains."}]
    model = ScriptedChatModel(script)
    answer = create_act_graph(model, tools=[weather], tool_calls="schema").compile().invoke(asked(system="Be brief."))
    assert kinds(answer) == ["Human", "AI", "Tool", "AI"]
    assert answer["messages"][-1].content == "It rains."
    assert model.calls[0][0].content.startswith("Be brief.\n\nDecide")


def test_the_drawn_loop():
    drawn = create_act_graph(ScriptedChatModel(["x"])).compile().get_graph()
    edges = sorted((edge.source, edge.target, edge.conditional) for edge in drawn.edges)
    assert edges == [
        ("__start__", "act", False),
        ("act", "__end__", True),
        ("act", "tools", True),
        ("tools", "act", False),
    ]


# the host's own agent -----------------------------------------------------------------------------------------------


def wrapped(agent: Any, **options: Any) -> Any:
    graph = StateGraph(ActState)
    graph.add_node("act", agent_node(agent, **options))
    graph.add_edge(START, "act")
    return graph.compile(checkpointer=InMemorySaver())


async def test_an_agent_gets_the_system_prompt_and_gives_only_what_is_new():
    model = ScriptedChatModel([calls("weather"), "It rains."], then="loop")
    graph = wrapped(create_agent(model, [weather], system_prompt="Mine."))
    answer = await asyncio.to_thread(graph.invoke, asked(system="Be brief."), THREAD)
    assert kinds(answer) == ["Human", "AI", "Tool", "AI"]
    assert [message.content for message in model.calls[0]] == ["Mine.", "Be brief.", "Hi"]
    assert answer["outcomes"] == [outcome("weather")]
    again = await graph.ainvoke(asked("And now?", system="Be brief."), THREAD)
    assert kinds(again) == ["Human", "AI", "Tool", "AI"] * 2
    assert again["outcomes"] == [outcome("weather")]  # of this turn alone
    assert len({message.id for message in again["messages"]}) == 8


def test_an_agent_without_a_system_prompt_is_given_none():
    model = ScriptedChatModel(["Hello."])
    wrapped(create_agent(model, [])).invoke(asked(), THREAD)
    assert [message.content for message in model.calls[0]] == ["Hi"]


def test_an_agent_is_resumed_with_the_graph():
    graph = wrapped(create_agent(ScriptedChatModel([calls("approve"), "Done."]), [approve]))
    assert graph.invoke(asked(system="S"), THREAD)["__interrupt__"][0].value == "may I?"
    answer = graph.invoke(Command(resume="yes"), THREAD)
    assert kinds(answer) == ["Human", "AI", "Tool", "AI"]


@pytest.mark.parametrize(
    ("agent", "options"),
    [
        (lambda given: AIMessage(given[0].text), {}),
        (lambda given: given[0].text, {}),
        (lambda given: [*given, AIMessage(given[0].text)], {}),
        (lambda given: [AIMessage(given[0].text)], {}),
        (lambda given: {"messages": [AIMessage(given[0].text)]}, {}),
        (lambda given: [SystemMessage("Mine."), AIMessage(given[0].text)], {}),
        (lambda given: {"messages": [*given["messages"], AIMessage(given["messages"][0].text)]}, {"takes": "state"}),
    ],
    ids=["message", "text", "all messages", "new messages", "dict", "system message", "state"],
)
def test_any_runnable_on_messages_is_an_agent(agent, options):
    answer = wrapped(RunnableLambda(agent), **options).invoke(asked(system="Be brief."), THREAD)
    assert [message.content for message in answer["messages"]] == ["Hi", "Be brief."]


def test_an_agent_that_shortens_its_own_conversation_changes_nothing_before_this_turn():
    class Shortened(MessagesState):
        pass

    def summarise(state: MessagesState) -> dict[str, list[AnyMessage]]:
        kept = [RemoveMessage(REMOVE_ALL_MESSAGES), HumanMessage("A summary."), AIMessage("Hello.")]
        return {"messages": kept}

    inner = StateGraph(Shortened)
    inner.add_node("only", summarise)
    inner.add_edge(START, "only")
    answer = wrapped(inner.compile()).invoke(asked(system="S"), THREAD)
    assert [message.content for message in answer["messages"]] == ["Hi", "Hello."]


def test_an_agent_that_cannot_work_is_refused():
    with pytest.raises(ConfigError, match="compile it first"):
        agent_node(StateGraph(MessagesState))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="another Runnable, got str"):
        agent_node("agent")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="takes must be"):
        agent_node(RunnableLambda(lambda given: "x"), takes="all")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got int"):
        wrapped(RunnableLambda(lambda given: 7)).invoke(asked(), THREAD)


def test_an_agents_error_is_raised():
    with pytest.raises(ConnectionError, match="gone"):
        wrapped(create_agent(ScriptedChatModel([ConnectionError("gone")]), [])).invoke(asked(), THREAD)
