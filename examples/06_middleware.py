"""The persona loop under `create_agent`: one line more, beside other middleware."""

import tempfile

from _model import chat_model
from langchain.agents import create_agent
from langchain.agents.middleware import ModelCallLimitMiddleware
from langgraph.checkpoint.memory import InMemorySaver

from langchain_persona import PersonaContext, PersonaMemory
from langchain_persona.middleware import PersonaMiddleware

ANA = {"user_id": "ana@example.com"}


def main(folder: str) -> None:
    with PersonaMemory.local(folder) as memory, chat_model() as model:
        agent = create_agent(
            model,
            system_prompt="You are a travel agent.",
            # memory_tools=False: the small model of this machine cannot call tools
            middleware=[PersonaMiddleware(memory, memory_tools=False), ModelCallLimitMiddleware(run_limit=5)],
            context_schema=PersonaContext,
            checkpointer=InMemorySaver(),
        )

        def say(session: str, text: str, **who: object) -> str:
            state = agent.invoke({"messages": [("user", text)]}, {"configurable": {"thread_id": session}}, **who)
            return str(state["messages"][-1].text)

        print("answer:", say("t1", "Please keep your answers short. I'm vegetarian.", context=ANA).strip()[:80])
        print("answer:", say("t2", "Where can we eat in Rome?", context=ANA).strip()[:80])
        print("nobody:", say("t3", "Please always answer in French.").strip()[:80])
        print("known: ", [card.note for card in memory.preferences(ANA["user_id"])])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(place)
