"""The graphs in a real `langgraph dev`, driven by `langgraph-sdk`: what a newcomer does in Studio, and a restart."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

from tests.studio import NEEDS_SERVER, ROOT, DevServer

pytestmark = NEEDS_SERVER

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

    async def run(self, given: Any, thread: str, context: dict[str, Any], graph: str) -> Any:
        """One run; what a client gets."""
        if thread not in self.threads:
            self.threads[thread] = (await self.client.threads.create())["thread_id"]
        return await self.client.runs.wait(self.threads[thread], graph, input=given, context=context, raise_error=True)

    async def say(
        self, text: str | None, thread: str, context: dict[str, Any], graph: str = "persona", **persona: Any
    ) -> Any:
        """One turn; what the nodes told of it."""
        given: dict[str, Any] = {"persona": persona} if persona else {}
        if text is not None:
            given["messages"] = [{"role": "user", "content": text}]
        answer = await self.run(given, thread, context, graph)
        assert set(answer) <= {"messages", "__interrupt__"}, "no prompt and no notes in what a client gets"
        return await self.told(thread)

    async def told(self, thread: str) -> Any:
        """The key `persona` of a thread's state, as Studio shows it."""
        return (await self.client.threads.get_state(self.threads[thread]))["values"].get("persona", {})


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
    assert set(fields) == {"user_id", "model", "strength", "reflect", "system_prompt"}
    assert all(field["description"] for field in fields.values())
    assert fields["user_id"]["default"] == "ana"
    assert set(found["persona"]["input_schema"]["properties"]) == {"messages", "persona"}
    assert set(found["persona"]["output_schema"]["properties"]) == {"messages"}
    assert set(found["retriever"]["input_schema"]["properties"]) == {"query", "thumb_up", "thumb_down"}


def test_three_sessions_of_two_users(server):
    async def story(talk: Talk) -> None:
        await talk.say("Please always keep your answers short. I'm allergic to peanuts.", "ana 1", ANA)
        await talk.say("Please always answer in French.", "bob 1", BOB)
        scored = (await talk.say("👍", "ana 1", ANA))["scored"]
        assert scored[0]["reward"] == 1.0
        await talk.say("I love horror films.", "ana 2", ANA)
        await talk.say("I love documentaries.", "bob 2", BOB)
        ana = await talk.say("Which film shall I see?", "ana 3", ANA)
        bob = await talk.say("Which film shall I see?", "bob 3", BOB)
        for words in ("allergic to peanuts", "answers short", "love horror films"):
            assert words in ana["system"]
            assert words not in bob["system"]
        for words in ("answer in French", "love documentaries"):
            assert words in bob["system"]
            assert words not in ana["system"]
        # state history is readable: every node's update, newest first
        history = await talk.client.threads.get_history(talk.threads["ana 1"], limit=50)
        steps = [step for state in history for step in state["next"]]
        assert {"memory", "retrieve", "persona", "act", "reflect"} <= set(steps)
        answer = history[0]["values"]["messages"][-1]
        assert answer["type"] == "ai"
        assert "template" in answer["content"], "it says that no model is connected"
        assert "allergic to peanuts" in answer["content"]
        # the server's store holds it
        found = await talk.client.store.search_items(["persona"], limit=200)
        texts = [item["value"]["text"] for item in found["items"] if "evidence" in item["value"]]
        assert any("peanuts" in text for text in texts)

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
        assert kinds.count("act") > 3, "the answer comes in pieces"
        assert max(sizes) < 8_000

    play(server, story)


def test_a_thumb_through_the_state_moves_the_agents_films(server):
    async def story(talk: Talk) -> None:
        fay = {"user_id": "fay"}
        first = await talk.say("Something for tonight", "fay", fay)
        films = [film["id"] for film in first["documents"]]
        alone = await talk.say(None, "fay", fay, feedback={"reward": -1, "docs": films[:1]})
        assert alone["scored"][0]["reward"] == -1.0
        later = await talk.say("Something for tonight", "fay 2", fay)
        assert later["documents"][0]["id"] != films[0]
        assert all(film["metadata"]["persona"]["long"] < 0 for film in later["documents"] if film["id"] == films[0])
        other = await talk.say("Something for tonight", "gil", {"user_id": "gil"})
        assert [film["id"] for film in other["documents"]] == films

    play(server, story)


def test_a_thumb_changes_the_next_retrieval_of_this_user_only(server):
    async def story(talk: Talk) -> None:
        eve, joe = {"user_id": "eve", "k": 10}, {"user_id": "joe", "k": 10}
        first = await talk.run({"query": "something for tonight"}, "eve", eve, "retriever")
        assert [row["film"] for row in first["personalised"]] == first["plain"]
        liked = first["plain"][4]
        given = {"thumb_up": "5", "query": "something for tonight"}
        second = await talk.run(given, "eve", eve, "retriever")
        assert second["thumb"] == {"film": liked, "reward": 1.0, "recorded": True, "why": ""}
        films = [row["film"] for row in second["personalised"]]
        assert films.index(liked) < 4
        assert second["moved"]
        other = await talk.run({"query": "something for tonight"}, "joe", joe, "retriever")
        assert [row["film"] for row in other["personalised"]] == first["plain"]

    play(server, story)


def test_a_persona_is_approved_edited_and_rejected_through_interrupts(server):
    async def story(talk: Talk) -> None:
        async def answered(user: str, decision: dict[str, Any]) -> str:
            given = {"messages": [{"role": "user", "content": "Please always answer in German."}]}
            state = await talk.run(given, user, {"user_id": user}, "persona_with_approval")
            (interrupt,) = state["__interrupt__"]
            (action,) = interrupt["value"]["action_requests"]
            (review,) = interrupt["value"]["review_configs"]
            assert action["name"] == review["action_name"]
            assert "German" in action["args"]["text"]
            assert decision["type"] in review["allowed_decisions"]
            await talk.client.runs.wait(
                talk.threads[user],
                "persona_with_approval",
                command={"resume": {"decisions": [decision]}},
                context={"user_id": user},
            )
            return str((await talk.say("Hello", f"{user} later", {"user_id": user}))["profile"]["persona"])

        assert "German" in await answered("carl", {"type": "approve"})
        edited = {"name": "revise_persona", "args": {"text": "Wants German."}}
        assert "Wants German." in await answered("dora", {"type": "edit", "edited_action": edited})
        assert "German" not in await answered("emil", {"type": "reject"})

    play(server, story)


def test_two_assistants_with_different_contexts(server):
    async def story(talk: Talk) -> None:
        for name, prompt in (("pirate", "You are a pirate."), ("poet", "You are a poet.")):
            made = await talk.client.assistants.create(
                "persona", context={"user_id": name, "system_prompt": prompt, "reflect": "off"}, name=name
            )
            thread = await talk.client.threads.create()
            given = {"messages": [{"role": "user", "content": "Hello, no film today."}]}
            await talk.client.runs.wait(thread["thread_id"], made["assistant_id"], input=given)
            state = await talk.client.threads.get_state(thread["thread_id"])
            assert state["values"]["persona"]["system"].startswith(prompt)

    play(server, story)


def test_the_example_of_a_client(server):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "07_studio_client.py"), server.url],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "scored: +1.0" in done.stdout
    assert "reflect" in done.stdout.split("steps of monday")[1]
    assert "I'm afraid of spiders." in done.stdout.split("stored cards:")[1]


def test_a_browser_on_the_machine_may_open_the_inspector_for_a_user(server):
    with httpx.Client(base_url=server.url) as client:
        page = client.get("/persona/", params={"user": "ana@example.com"})
        assert (page.status_code, "allergic to peanuts" in page.text) == (200, True)
        assert "ana@example.com" in client.get("/persona/").text
        assert client.get("/persona/", headers={"x-forwarded-for": "192.0.2.1"}).status_code == 403


def test_nothing_blocked_the_event_loop(server):
    assert "Blocking call" not in server.log
    assert "BlockingError" not in server.log
    ours = [line for line in server.log.splitlines() if "[langchain_persona." in line]
    assert not [line for line in ours if "[info" not in line], "nothing went wrong that the agent survived"


@pytest.mark.parametrize("kill", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["stopped", "killed"])
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
