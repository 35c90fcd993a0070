"""The prebuilt agent in three sessions: what one message says of the user is in force in every later one.

Runs without a key: a template then answers with what a model would have been told. Set OPENAI_API_KEY or
OPENAI_BASE_URL for a real model.
"""

import tempfile

from _model import chat_model, reflection
from langgraph.checkpoint.memory import InMemorySaver

from langchain_persona import PersonaMemory, create_persona_graph

ANA = "ana@example.com"


def main(folder: str) -> None:
    memory = PersonaMemory.local(folder)
    graph = create_persona_graph(
        chat_model(), memory=memory, system_prompt="You are a cook.", align_every=2, reflection=reflection()
    )
    agent = graph.compile(checkpointer=InMemorySaver())

    def say(session: str, text: str, **persona: object) -> None:
        config = {"configurable": {"thread_id": session}}
        given = {"messages": [("user", text)], "persona": persona}
        answer = agent.invoke(given, config, context={"user_id": ANA})["messages"][-1].text
        turn = agent.get_state(config).values["persona"]
        print(f"\n[{session}] {text}\n  answer   {answer.strip()[:160]}")
        for signal in turn.get("scored", []):
            print(f"  scored   {signal['reward']:+.1f} {signal['source']}: {signal['reason']}")
        for change in turn.get("learned", []):
            print(f"  {change['change']:<8} {change['text']}")

    say("monday", "Please always answer in short sentences. What goes with rice?")
    say("monday", "I'm allergic to peanuts.", feedback=1)
    say("tuesday", "What shall I cook tonight?")
    say("wednesday", "And what for breakfast?")

    print("\nThe persona, revision by revision:")
    for revision in memory.history(ANA):
        print(f"  {revision.number}: {revision.reason}")
        print("\n".join(f"     {line}" for line in revision.text.splitlines()))
    memory.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(place)
