"""The prebuilt agent in three sessions: what one message says of the user is in force in every later one.

Runs without a key on a small model of this machine: what is learned is right, the answers are poor. Set OPENAI_API_KEY
or OPENAI_BASE_URL for better ones.
"""

import tempfile

from _model import chat_model
from langgraph.checkpoint.memory import InMemorySaver

from langchain_persona import PersonaMemory, create_persona_graph
from langchain_persona.persona import TemplateWriter

ANA = "ana@example.com"


def main(folder: str) -> None:
    with PersonaMemory.local(folder) as memory, chat_model() as model:
        # by rules and templates, so that no other model than the answer's is called; leave these three out for the
        # model to extract, to reconcile and to write the persona, after each answer
        by_rules = {"extractor": "rules", "reconciler": None, "writer": TemplateWriter()}
        graph = create_persona_graph(model, memory=memory, system_prompt="You are a cook.", align_every=2, **by_rules)
        agent = graph.compile(checkpointer=InMemorySaver())

        def say(session: str, text: str) -> None:
            state = agent.invoke(
                {"messages": [("user", text)]}, {"configurable": {"thread_id": session}}, context={"user_id": ANA}
            )
            print(f"\n[{session}] {text}")
            print(f"  answer   {state['messages'][-1].text.strip()[:90]!r}")
            for signal in state["settled"]:
                print(f"  settled  {signal['reward']:+.1f} {signal['source']}: {signal['reason']}")
            for change in state["learned"]:
                print(f"  learned  {change['change']}: {change['note']}")
            print(f"  prompt   {state['system']!r}")

        say("monday", "Please always answer in short sentences. What goes with rice?")
        say("monday", "Thanks! I'm allergic to peanuts.")
        say("tuesday", "What shall I cook tonight?")
        say("wednesday", "And what for breakfast?")

        print("\nThe persona, revision by revision:")
        for revision in memory.history(ANA):
            print(f"  {revision.number}: {revision.reason}")
            print("\n".join(f"     {line}" for line in revision.text.splitlines()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(place)
