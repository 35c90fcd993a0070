"""The persona agent as one node of a bigger graph, and its parts in a graph of one's own."""

import tempfile
from typing import Any

from _model import chat_model
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from langchain_persona import PersonaContext, PersonaMemory, create_persona_graph
from langchain_persona.loop import PersonaState
from langchain_persona.nodes import memory_node, persona_node, retrieve_node

ANA = {"user_id": "ana@example.com"}


def whole(model: Any, memory: PersonaMemory) -> Any:
    """Support asks the persona agent, then signs the answer: the two share the key `messages` and nothing else."""
    agent = create_persona_graph(model, memory=memory, extractor="rules", reconciler=None, writer=None).compile()
    support = StateGraph(MessagesState, PersonaContext)
    support.add_node("agent", agent)
    support.add_node("sign", lambda state: {"messages": [("ai", "Your support team")]})
    support.add_edge(START, "agent")
    support.add_edge("agent", "sign")
    support.add_edge("sign", END)
    return support.compile(checkpointer=InMemorySaver())


def parts(memory: PersonaMemory) -> Any:
    """Only what is known of the user, rendered into a prompt; the answer is somebody else's business."""
    graph = StateGraph(PersonaState, PersonaContext)
    graph.add_node("memory", memory_node(memory))
    graph.add_node("retrieve", retrieve_node(memory))
    graph.add_node("persona", persona_node("You are a travel agent."))
    graph.add_edge(START, "memory")
    graph.add_edge("memory", "retrieve")
    graph.add_edge("retrieve", "persona")
    return graph.compile()


def main(folder: str) -> None:
    with PersonaMemory.local(folder) as memory, chat_model() as model:
        support = whole(model, memory)
        state = support.invoke(
            {"messages": [("user", "Please don't use emojis. My parcel is late.")]},
            {"configurable": {"thread_id": "t1"}},
            context=ANA,
        )
        print("whole:", [type(message).__name__ for message in state["messages"]], "keys:", sorted(state))
        print("known:", [card.note for card in memory.preferences(ANA["user_id"])])

        prompt = parts(memory).invoke({"messages": [("user", "Where shall we go in May?")]}, context=ANA)["system"]
        print("parts:", prompt)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(place)
