"""The persona loop under `create_agent`: one line more, beside other middleware."""

import tempfile

from _model import chat_model, reflection
from langchain.agents import create_agent
from langchain.agents.middleware import ModelCallLimitMiddleware
from langgraph.checkpoint.memory import InMemorySaver

from langchain_persona import PersonaContext, PersonaMemory, PersonaMiddleware

ANA = {"user_id": "ana@example.com"}


def main(folder: str) -> None:
    with PersonaMemory.local(folder) as memory:
        agent = create_agent(
            chat_model(),
            system_prompt="You are a travel agent.",
            middleware=[PersonaMiddleware(memory, reflection=reflection()), ModelCallLimitMiddleware(run_limit=5)],
            context_schema=PersonaContext,
            checkpointer=InMemorySaver(),
        )

        def say(session: str, text: str, **who: object) -> str:
            state = agent.invoke({"messages": [("user", text)]}, {"configurable": {"thread_id": session}}, **who)
            return str(state["messages"][-1].text).strip()[:160]

        print("Ana:   ", say("t1", "Please always answer in one sentence. I'm vegetarian.", context=ANA))
        print("Ana:   ", say("t2", "Where can we eat in Rome?", context=ANA))
        print("nobody:", say("t3", "Please always answer in French."))
        print("known: ", [card.text for card in memory.preferences(ANA["user_id"])])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(place)
