"""The agent on a LangGraph server, from Python: two sessions of one user, a thumb, what is stored.

Start the server first with `make studio`; another address than its own is given as the argument.
"""

import asyncio
import os
import sys
from typing import Any

from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

ANA = {"user_id": "ana@example.com"}


async def main(url: str) -> None:
    async with get_client(url=url, timeout=300) as client:
        await tell(client)


async def tell(client: LangGraphClient) -> None:
    async def say(thread: str, text: str, **persona: Any) -> Any:
        given = {"messages": [{"role": "user", "content": text}], "persona": persona}
        answer = await client.runs.wait(thread, "persona", input=given, context=ANA)
        turn = (await client.threads.get_state(thread))["values"]["persona"]
        print(f"\n> {text}\n  {answer['messages'][-1]['content'].strip()[:100]!r}")
        for signal in turn.get("scored", []):
            print(f"  scored: {signal['reward']:+.1f} {signal['reason']}")
        for change in turn.get("learned", []):
            print(f"  learned: {change['change']}: {change['text']}")
        return turn

    monday = (await client.threads.create())["thread_id"]
    turn = await say(monday, "I'm afraid of spiders. Which horror film shall I see?")
    films = [film["id"] for film in turn["documents"]]
    print("  documents:", films)
    await say(monday, "And which comedy?", feedback={"reward": 1, "docs": films[:1]})

    tuesday = (await client.threads.create())["thread_id"]
    turn = await say(tuesday, "Which film shall I see?")
    print("  documents:", [film["id"] for film in turn["documents"]])
    print("  prompt:", turn["system"])

    history = await client.threads.get_history(monday, limit=20)
    print("\nsteps of monday, newest first:", [step for state in history for step in state["next"]])
    items = await client.store.search_items(["persona"], limit=1_000)
    print("stored cards:", [item["value"]["text"] for item in items["items"] if "evidence" in item["value"]])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PERSONA_URL", "http://127.0.0.1:2024")))
