"""The persona agent as one node of a bigger graph, and its parts in a graph of one's own."""

from typing import Any

from _model import chat_model, reflection
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.store.memory import InMemoryStore

from langchain_persona import PersonaContext, PersonaMemory, create_persona_graph
from langchain_persona.agent import Loop, MemoryNode, PersonaNode, PersonaState, RetrieveNode

ANA = {"user_id": "ana@example.com"}


def whole(memory: PersonaMemory) -> Any:
    """Support asks the persona agent, then signs the answer: the two share the key `messages` and nothing else."""
    support = StateGraph(MessagesState, PersonaContext)
    support.add_node("agent", create_persona_graph(chat_model(), memory=memory, reflection=reflection()).compile())
    support.add_node("sign", lambda state: {"messages": [("ai", "Your support team")]})
    support.add_edge(START, "agent")
    support.add_edge("agent", "sign")
    support.add_edge("sign", END)
    return support.compile(checkpointer=InMemorySaver())


def parts(memory: PersonaMemory) -> Any:
    """Only what is known of the user, rendered into a prompt; the answer is somebody else's business."""
    loop = Loop(memory=memory, system_prompt="You are a travel agent.")
    graph = StateGraph(PersonaState, PersonaContext)
    graph.add_node("memory", MemoryNode(loop))
    graph.add_node("retrieve", RetrieveNode(loop))
    graph.add_node("persona", PersonaNode(loop))
    graph.add_edge(START, "memory")
    graph.add_edge("memory", "retrieve")
    graph.add_edge("retrieve", "persona")
    return graph.compile()


def main() -> None:
    memory = PersonaMemory(InMemoryStore())  # without embeddings: while all cards fit the prompt, none are needed
    state = whole(memory).invoke(
        {"messages": [("user", "Never use emojis. My parcel is late.")]},
        {"configurable": {"thread_id": "t1"}},
        context=ANA,
    )
    print("whole:", [type(message).__name__ for message in state["messages"]], "keys:", sorted(state))
    print("known:", [card.text for card in memory.preferences(ANA["user_id"])])

    state = parts(memory).invoke({"messages": [("user", "Where shall we go in May?")]}, context=ANA)
    print("parts:", state["persona"]["system"])


if __name__ == "__main__":
    main()
