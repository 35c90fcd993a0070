"""A bench for the retriever: the plain and the personalised ranking beside each other, and thumbs that move it.

Type a query. Then send `thumb_up` or `thumb_down` with a film's title or its rank in the last ranking, alone or with
the next query, and look at what moved.
"""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel, Field, StrictInt, StrictStr
from typing_extensions import TypedDict

from graphs.shared import films, memory
from langchain_persona.identity import resolve_identity


class Context(BaseModel):
    """The form that Studio draws."""

    user_id: StrictStr | StrictInt | None = Field(default="ana", description="Whose ranking; empty is anonymous.")
    k: int = Field(default=8, ge=1, le=40, description="How many films to show.")
    strength: float = Field(default=1.0, ge=0.0, le=10.0, description="How much learning counts; 0 is off.")
    max_bonus: float = Field(default=0.75, ge=0.0, le=2.0, description="Cap on the bonus at strength 1.")


class Question(TypedDict, total=False):
    """What a run takes."""

    query: str
    thumb_up: str
    thumb_down: str


class Bench(Question, total=False):
    """What a run shows."""

    thumb: dict[str, Any]
    plain: list[str]
    personalised: list[dict[str, Any]]
    moved: list[str]
    last: dict[str, Any]


async def thumb(state: Bench, config: RunnableConfig) -> dict[str, Any]:
    """Record the thumb on a film of the last ranking, if one was given."""
    told: dict[str, Any] = {"thumb_up": "", "thumb_down": "", "thumb": {}}
    last = state.get("last") or {}
    who = resolve_identity(config)
    for name, reward in (("thumb_up", 1.0), ("thumb_down", -1.0)):
        wanted = str(state.get(name) or "").strip()
        if not wanted:
            continue
        titles: list[str] = last.get("titles", [])
        if wanted.isdigit() and 1 <= int(wanted) <= len(titles):
            wanted = titles[int(wanted) - 1]
        title = next((title for title in titles if title.casefold() == wanted.casefold()), None)
        if title is None or not last.get("retrieval_id"):
            told["thumb"] = {"film": wanted, "recorded": False, "why": "not in the last ranking of a known user"}
            continue
        receipt = await memory.afeedback(who.user, last["retrieval_id"], reward=reward, docs=title)
        told["thumb"] = {"film": title, "reward": reward, "recorded": receipt.applied, "why": receipt.reason}
    return told


async def rank(state: Bench, config: RunnableConfig, runtime: Runtime[Context]) -> dict[str, Any]:
    """The query's ranking without and with what is known of the user."""
    context = runtime.context or Context()
    query, k = state.get("query") or "a film for tonight", context.k
    plain = [str(film.id) for film in await films.ainvoke(query, config, k=k, user_id="")]
    found = await films.ainvoke(query, config, k=k, strength=context.strength, max_bonus=context.max_bonus)
    titles = [str(film.id) for film in found]
    scores = [film.metadata["persona"] for film in found]
    moved = [
        f"{title}: {plain.index(title) + 1 if title in plain else f'below {k}'} → {rank}"
        for rank, title in enumerate(titles, start=1)
        if title not in plain or plain.index(title) + 1 != rank
    ]
    rows = [
        {"film": title, **{name: round(float(why[name]), 3) for name in ("score", "base", "long", "short", "words")}}
        for title, why in zip(titles, scores, strict=True)
    ]
    retrieval = scores[0]["retrieval_id"] if scores else None
    return {
        "plain": plain,
        "personalised": rows,
        "moved": moved,
        "last": {"retrieval_id": retrieval, "titles": titles},
    }


_builder = StateGraph(Bench, Context, input_schema=Question)
_builder.add_node("thumb", thumb)
_builder.add_node("rank", rank)
_builder.add_edge(START, "thumb")
_builder.add_edge("thumb", "rank")
_builder.add_edge("rank", END)
graph = _builder.compile()
