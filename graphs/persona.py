"""The agent in Studio: a film adviser that learns who it talks to.

With a chat model of yours, preferences are extracted, reconciled and written into the persona by the model; on the
small model of this machine all of that is done by rules and templates, so what is learned is right even where the
answer is poor.
"""

from typing import Any

from pydantic import Field, StrictInt, StrictStr

from graphs.shared import chat_model, films, memory, tool_calls
from langchain_persona import PersonaContext, create_persona_graph
from langchain_persona.persona import TemplateWriter

PROMPT = "You are a friendly film adviser. Answer in a few sentences. Suggest films from the documents where they fit."


class Context(PersonaContext):
    """The form that Studio draws."""

    user_id: StrictStr | StrictInt | None = Field(
        default="ana", description="Whose preferences to use and to learn; empty is anonymous."
    )


def _agent(**options: Any) -> Any:
    model, capable = chat_model()
    if not capable:
        options |= {"extractor": "rules", "reconciler": None, "writer": TemplateWriter(), "memory_tools": False}
    elif tool_calls == "off":
        options["memory_tools"] = False
    else:
        options["tool_calls"] = tool_calls
    graph = create_persona_graph(
        model, memory=memory, retriever=films, system_prompt=PROMPT, context_schema=Context, **options
    )
    return graph.compile()


graph = _agent()
with_approval = _agent(align_every=1, approve=True)
