"""The state of a personalised conversation (the messages, and one key of plain JSON), and what can be read from it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Container, Mapping, Sequence
from itertools import takewhile
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.graph.message import add_messages
from langgraph.graph.ui import AnyUIMessage, ui_message_reducer
from typing_extensions import TypedDict

from langchain_persona.identity import Identity
from langchain_persona.masking import mask
from langchain_persona.records import Episode, ToolOutcome, new_id
from langchain_persona.resilience import warn
from langchain_persona.rewards import thumb_in, thumbs, validated

logger = logging.getLogger(__name__)

_HALF = 10_000  # characters that are kept of a message at its beginning, and at its end


def merge_persona(old: dict[str, Any] | None, new: dict[str, Any] | None) -> dict[str, Any]:
    """The reducer of the key `persona`: each node returns what it changed."""
    return {**(old or {}), **(new or {})}


class PersonaOutput(TypedDict):
    """What a run gives back."""

    messages: Annotated[list[AnyMessage], add_messages]


class PersonaInput(PersonaOutput, total=False):
    """What a run takes: messages, and in `persona` feedback on the previous answer.

    Feedback is a number from −1 to 1, as in `{"feedback": 1}`, or a dict of `reward`, `docs` (ids of documents that it
    is about) and `accepted` (the answer as the user edited it).
    """

    persona: dict[str, Any]


class PersonaState(PersonaOutput, total=False):
    """The whole state, with what the nodes tell in `persona`.

    `user` ("" is anonymous), `scored` (signals on the previous answer), `profile` (persona text and style), `query`
    (what is searched for), `cards`, `episodes` and `documents` (what the model sees, and why), `system` and `beside`
    (the texts around the conversation), `learned` (changes of the cards), `reflection`, `proposal` (a persona text that
    waits for approval), `turn` (what the next turn needs), `feedback` (the input, then None).
    """

    persona: Annotated[dict[str, Any], merge_persona]


class UIOutput(PersonaOutput, total=False):
    """What a run gives back with `ui=True`."""

    ui: Annotated[Sequence[AnyUIMessage], ui_message_reducer]


class UIState(PersonaState, UIOutput, total=False):
    """The whole state with `ui=True`."""


def has_question(state: Mapping[str, Any]) -> bool:
    """False where there is nothing to answer: no message, an answer at the end, or a tool's result that was the answer.

    (A structured answer and a tool with `return_direct` end a turn of `create_agent` in that way.)
    """
    messages = state.get("messages") or []
    if not messages or (isinstance(messages[-1], AIMessage) and not messages[-1].tool_calls):
        return False
    end = ((state.get("persona") or {}).get("turn") or {}).get("end")
    return not (end and isinstance(messages[-1], ToolMessage) and messages[-1].id == end)


def last_user_message(messages: Sequence[AnyMessage]) -> tuple[int, HumanMessage | None]:
    """Position and message of the latest user message, no summary by a middleware; (−1, None) where there is none."""
    humans = ((place, one) for place, one in enumerate(messages) if isinstance(one, HumanMessage))
    found = [(place, one) for place, one in humans if "lc_source" not in one.additional_kwargs]
    return found[-1] if found else (-1, None)


def text_of(message: BaseMessage | None) -> str:
    """The text of a message as it may be stored: no secrets, nothing that a database cannot write, not too long."""
    text = "" if message is None else str(message.text)
    return mask(text if len(text) <= 2 * _HALF else f"{text[:_HALF]}\n{text[-_HALF:]}")


def episode_id(message: BaseMessage | None, identity: Identity) -> str:
    """The id of the turn that a message begins; the same wherever no state was kept."""
    named = message is not None and message.id
    return hashlib.sha256(f"{identity.session}|{named}".encode()).hexdigest()[:32] if named else new_id()


def episode_at(messages: Sequence[AnyMessage], position: int, identity: Identity) -> Episode:
    """The turn that begins with the user message at a position, as the conversation tells it."""
    question = messages[position] if position >= 0 else None
    turn = list(takewhile(lambda one: not isinstance(one, HumanMessage), messages[position + 1 :]))
    return Episode(
        id=episode_id(question, identity),
        thread=identity.session,
        message_id=(question and question.id) or "",
        query=text_of(question),
        answer=_last_answer(turn),
        before=_last_answer(messages[: max(position, 0)]),
        outcomes=tuple(_outcome(one) for one in turn if isinstance(one, ToolMessage)),
    )


def episode_of(state: Mapping[str, Any], identity: Identity) -> tuple[int, Episode]:
    """The turn that the state opened, and the position of its message; −1 where a middleware has summed that up."""
    messages, persona = state["messages"], state["persona"]
    turn = persona["turn"]
    asked = turn.get("message_id")
    start = next((place for place, one in enumerate(messages) if one.id == asked), -1) if asked else -1
    # what a middleware adds behind the message in the user's name is not the user's
    own = [one for place, one in enumerate(messages) if place <= start or not isinstance(one, HumanMessage)]
    episode = episode_at(own, start, identity)
    if start < 0:
        told = {"id": turn["id"], "message_id": asked or "", "query": persona.get("query", ""), "before": ""}
        return start, episode.model_copy(update=told)
    return start, episode.model_copy(update={"query": question_of(messages, start, turn.get("also", ()))})


def question_of(messages: Sequence[AnyMessage], position: int, also: Container[str] = ()) -> str:
    """What the user asked with the message at a position, and with those ahead of it that have the ids `also`."""
    said = [one for one in messages[: max(position, 0)] if one.id in also]
    texts = dict.fromkeys(map(text_of, [*said, messages[position]]))  # one that was sent again says nothing new
    return "\n".join(texts)


def messages_ahead(messages: Sequence[AnyMessage], before: Mapping[str, Any], identity: Identity) -> list[str]:
    """Ids of the messages that the same user sent right ahead of the last one, with it or in a run that broke off.

    `before` is the turn that the state has. In a group each message has the name of who speaks.
    """
    found, (position, last) = list[str](), last_user_message(messages)
    for one in reversed(messages[: max(position, 0)]):
        known = one.id == before.get("message_id")
        if not isinstance(one, HumanMessage) or not one.id or "lc_source" in one.additional_kwargs:
            break
        if last is None or one.name != last.name:
            break
        if known and (before.get("closed") or before.get("off") or before.get("user") != identity.user):
            break
        found.append(one.id)
        if known:
            break
    return found


def _last_answer(messages: Sequence[AnyMessage]) -> str:
    answers = (one for one in reversed(messages) if isinstance(one, AIMessage) and one.text.strip())
    return text_of(next(answers, None))


def _outcome(message: ToolMessage) -> ToolOutcome:
    error = text_of(message)[:300] if message.status == "error" else None
    return ToolOutcome(tool=message.name or "", ok=error is None, error=error)


def feedback_in(value: object, message: str) -> dict[str, Any]:
    """The feedback of a run, see `PersonaInput`, as a dict; a thumb as message counts. Empty where there is none.

    What cannot be read is left out with a warning: it must not cost the answer.
    """
    given = dict(value) if isinstance(value, Mapping) else {"reward": thumb_in(message) if value is None else value}
    reward, docs, accepted = (given.pop(name, None) for name in ("reward", "docs", "accepted"))
    try:
        if reward is not None:
            reward = thumbs(reward) if isinstance(reward, bool) else validated(reward)
    except (TypeError, ValueError):
        given["reward"] = reward
    if given:  # "doc" for "docs" would rate documents that nobody meant
        names = ", ".join(sorted(map(str, given)))
        warn(logger, "Leaving out feedback (%s): give a number from -1 to 1, or reward, docs and accepted", names)
        return {}
    named = [docs] if isinstance(docs, str) else docs if isinstance(docs, list | tuple) else []
    accepted = accepted if isinstance(accepted, str) and accepted.strip() else None
    found = {"reward": reward, "docs": [str(one) for one in named] or None, "accepted": accepted}
    return {name: value for name, value in found.items() if value is not None}
