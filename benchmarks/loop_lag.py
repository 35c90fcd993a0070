"""How long the event loop is held while the graph works: a ticker on the same loop notes how late it comes.

    python -m benchmarks.loop_lag [--repeats 5] [--users 50] [--json FILE] [--readme FILE]

The messages are embedded by the local model. Beside each figure stands that of the same graph without us: other work on
the machine makes a ticker late too, and so does LangGraph when many runs begin in the same instant. Users therefore
come within a second of each other and all wait for a slow model at once; the same instant is a line of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.memory import InMemoryStore

from benchmarks.rows import Row, arguments_of, publish
from langchain_persona import LocalEmbeddings, PersonaMemory, create_persona_graph
from langchain_persona.testing import ScriptedChatModel

__all__ = ["bare", "lateness"]

PERIOD = 0.002
MOST = 50.0
"""Milliseconds that a ticker may be late."""

SENTENCES = {
    "Chinese": "我住在第{}号楼，喜欢安静的咖啡馆，不吃鱼。以后请用中文简短地回答。",
    "English": "I live in house {} and like quiet cafés, and I never eat fish. Always answer in short sentences. ",
}


def long_message(language: str, size: int = 100_000) -> str:
    """At least so many bytes of sentences that speak of their author."""
    sentence = SENTENCES[language]
    return "".join(sentence.format(number) for number in range(size // len(sentence.encode()) + 1))


async def lateness(work: Awaitable[object]) -> float:
    """Milliseconds by which a ticker on this loop was late at most while something was awaited."""
    loop, worst, over = asyncio.get_running_loop(), 0.0, asyncio.Event()

    async def tick() -> None:
        nonlocal worst
        while not over.is_set():
            due = loop.time() + PERIOD
            await asyncio.sleep(PERIOD)
            worst = max(worst, loop.time() - due)

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(5 * PERIOD)
    await work
    await asyncio.sleep(5 * PERIOD)
    over.set()
    await ticker
    return 1e3 * worst


def bare(model: Any) -> Any:
    """The same graph without us: the model alone."""

    def act(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    async def aact(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("act", RunnableLambda(act, aact))
    graph.add_edge(START, "act")
    return graph.compile(checkpointer=InMemorySaver())


async def measure(repeats: int, users: int) -> list[Row]:
    """The worst of some repeats, ours and without us in turns."""
    model = ScriptedChatModel(lambda messages: "A short answer.", delay=1.0)
    memory = PersonaMemory(InMemoryStore(), LocalEmbeddings())
    graphs = {
        "ours": create_persona_graph(model, memory=memory, reflection="verbatim").compile(checkpointer=InMemorySaver()),
        "bare": bare(model),
    }

    texts = {language: long_message(language) for language in SENTENCES}

    async def turn(graph: Any, user: str, text: str) -> None:
        context = {"user_id": user} if graph is graphs["ours"] else None
        await graph.ainvoke({"messages": [("user", text)]}, {"configurable": {"thread_id": user}}, context=context)

    async def crowd(graph: Any, number: int, *, within: float = 0.0) -> None:
        async def one(user: int) -> None:
            await asyncio.sleep(within * user / users)
            await turn(graph, f"crowd{user}", f"I like tea number {user}. What about number {number}?")

        await asyncio.gather(*map(one, range(users)))

    async def monologue(language: str, graph: Any, number: int) -> None:
        await turn(graph, f"{language}{number}", texts[language])

    works: dict[str, Callable[[Any, int], Awaitable[object]]] = {
        **{f"a message of 100 kB in {language}": partial(monologue, language) for language in texts},
        f"{users} users at once": partial(crowd, within=1.0),
        f"{users} users in the same instant": crowd,
    }
    for graph in graphs.values():
        await crowd(graph, -1)  # imports and caches
    rows = []
    for what, work in works.items():
        worst = dict.fromkeys(graphs, 0.0)
        for number in range(repeats):
            for name, graph in graphs.items():
                worst[name] = max(worst[name], await lateness(work(graph, number)))
        ours, instant = worst["ours"], work is crowd
        aim, met = ("", None) if instant else (f"≤ {MOST:.0f} ms", ours <= MOST)
        rows.append(Row(what, ours, "ms", "without us", worst["bare"], aim, met))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = arguments_of(__doc__, "bench-loop-lag")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each case; the worst counts (default 5)")
    parser.add_argument("--users", type=int, default=50, help="users at once (default 50)")
    options = parser.parse_args(arguments)
    rows = asyncio.run(measure(options.repeats, options.users))
    head = f"A store and a checkpointer in memory, the local embedding model; the worst of {options.repeats} runs each."
    publish(rows, options, title="How late a ticker on the same loop is", head=head, block="bench-loop-lag")


if __name__ == "__main__":
    main()
