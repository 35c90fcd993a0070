"""The agent in Studio: a film adviser that learns who it talks to.

What the user says of themselves is kept word for word, and shown to the model in every later conversation.
`with_approval` asks a person before a new text about the user is adopted.
"""

from typing import Any

from pydantic import Field, StrictInt, StrictStr

from graphs.shared import chat_model, films, memory
from langchain_persona import PersonaContext, create_persona_graph

PROMPT = "You are a friendly film adviser. Answer in a few sentences. Suggest films from the documents where they fit."


class Context(PersonaContext):
    """The form that Studio draws."""

    user_id: StrictStr | StrictInt | None = Field(
        default="ana", description="Whose preferences to use and to learn; empty is anonymous."
    )


def _agent(**options: Any) -> Any:
    model, calls_tools = chat_model()
    graph = create_persona_graph(
        model,
        memory=memory,
        retriever=films,
        system_prompt=PROMPT,
        context_schema=Context,
        memory_tools=calls_tools,
        reflection="model" if calls_tools else "verbatim",
        **options,
    )
    return graph.compile()


graph = _agent()
with_approval = _agent(align_every=1, approve=True)
