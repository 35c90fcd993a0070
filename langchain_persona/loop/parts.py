"""From the state of a conversation to the update of each node, as effects: shared by the nodes and the middleware."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AnyMessage

from langchain_persona.effects import Steps
from langchain_persona.extraction import PreferenceExtractor
from langchain_persona.identity import Identity
from langchain_persona.loop.documents import with_documents
from langchain_persona.loop.recall import Recalled, recall
from langchain_persona.loop.reflect import Reflected, Reflector
from langchain_persona.loop.settle import Settled, settle
from langchain_persona.loop.topics import in_force, sentences, told
from langchain_persona.loop.turn import (
    LONGEST,
    TurnRecord,
    completed,
    last_user_message,
    previous_turn,
    text_of,
    told_by,
    turn_id,
)
from langchain_persona.loop.verdict import verdict_on
from langchain_persona.memory import PersonaMemory
from langchain_persona.persona import render
from langchain_persona.reconciliation import Change
from langchain_persona.records import Episode, ToolOutcome
from langchain_persona.retriever import VARSRetriever
from langchain_persona.rewards import RELIABILITY
from langchain_persona.signals import mask
from langchain_persona.trouble import survived

__all__ = [
    "answered",
    "has_question",
    "memory_update",
    "persona_update",
    "reflect_update",
    "retrieve_update",
    "scheduled",
]

logger = logging.getLogger(__name__)

State = Mapping[str, Any]
Update = dict[str, Any]


def has_question(state: State) -> bool:
    """False when a run only brings feedback: the conversation ends with an answer."""
    messages = state.get("messages") or []
    return not messages or not (isinstance(messages[-1], AIMessage) and not messages[-1].tool_calls)


def memory_update(
    memory: PersonaMemory,
    who: Identity,
    state: State,
    extractor: PreferenceExtractor | None = None,
    reliability: Mapping[str, float] = RELIABILITY,
) -> Steps[Update]:
    """The memory node: settle the turn before, learn from the new message, empty what the last turn left."""
    messages: Sequence[AnyMessage] = state.get("messages") or []
    position, message = last_user_message(messages)
    previous = completed(previous_turn(state.get("turn")), messages)
    if previous is None:
        previous = told_by(messages, position, who.user, who.session)
    elif previous.user != who.user:  # somebody else goes on in this thread
        previous = None
    feedback = state.get("feedback")
    # the message of the turn before: a run that only brings feedback, or the same question answered once more
    same = (
        previous is not None and bool(previous.message_id) and message is not None and message.id == previous.message_id
    )
    said = "" if same else text_of(message)
    settled = Settled()
    if not who.anonymous:
        verdict = None
        if previous is not None and (said or feedback is not None):
            steps_of_verdict = verdict_on(previous, said, state, messages, position, reliability)
            told_so = "What was said of the previous answer could not be understood"
            verdict = yield from survived(logger, told_so, steps_of_verdict, None)
        steps = settle(
            memory,
            who,
            said,
            (message.id if message is not None else None) or "",
            previous=previous,
            verdict=verdict,
            recent_messages=[previous.message_id] if previous is not None and previous.message_id else [],
            extractor=extractor,
            reliability=reliability,
        )
        settled = yield from survived(logger, "This turn is not personalised", steps, Settled())
    update: Update = {
        "feedback": None,
        "settled": _signals(settled),
        "learned": [*map(change_json, settled.changes), *({"change": "erased"} for _ in settled.forgotten)],
        "profile": _profile(settled),
        "cards": [],
        "documents": [],
        "reflection": {},
        "proposal": None,
    }
    if same and previous is not None and not has_question(state):  # the turn stays open for more feedback
        update["turn"] = previous.to_json()
    else:
        message_id = (message.id if message is not None else None) or ""
        turn = TurnRecord(
            id=turn_id(who.session, message_id),
            user=who.user,
            message_id=message_id,
            query=mask(text_of(message)[:LONGEST]),
            remember=settled.remember,
        )
        update["turn"] = turn.to_json()
    return update


def retrieve_update(
    memory: PersonaMemory,
    who: Identity,
    state: State,
    *,
    retriever: VARSRetriever | None,
    max_cards: int,
    max_bonus: float | None,
    min_relevance: float,
    strength: float | None = None,
) -> Steps[Update]:
    """The retrieve node: cards and documents for the message."""
    _, message = last_user_message(state.get("messages") or [])
    profile: Update = state.get("profile") or {}
    steps = recall(
        memory,
        who,
        text_of(message)[:LONGEST],
        retriever=retriever,
        max_cards=max_cards,
        max_bonus=max_bonus,
        strength=strength,
        min_relevance=min_relevance,
        carried=profile.get("cards") or (),
        since=profile.get("since", 0.0),
    )
    found = yield from survived(logger, "This turn has neither cards nor documents", steps, Recalled())
    profile = in_force(profile, found.outdated)
    in_persona = set(profile.get("cards") or ())
    cards: list[Update] = [
        {
            "id": card.id,
            "note": card.note,
            "why": "in the persona text" if card.id in in_persona else "always",
            **({"topic": card.topic} if card.topic else {}),
        }
        for card in found.always
    ]
    cards += [_shown(document) for document in found.relevant]
    turn = {
        **(state.get("turn") or TurnRecord().to_json()),
        "retrievals": found.retrievals,
        "cards": [card["id"] for card in cards],
    }
    return {"cards": cards, "documents": list(found.documents), "profile": profile, "turn": turn}


def persona_update(state: State, base: str, *, budget_tokens: int, document_tokens: int) -> Steps[Update]:
    """The persona node: the system prompt."""
    yield from ()
    profile = state.get("profile") or {}
    cards = state.get("cards") or []
    system = render(
        base,
        persona=str(profile.get("persona", "")),
        style=told(profile.get("style") or {}, [card["topic"] for card in cards if card.get("topic")]),
        always=[card["note"] for card in cards if card["why"] == "always"],
        relevant=[card["note"] for card in cards if card["why"] == "relevant"],
        budget_tokens=budget_tokens,
    )
    return {"system": with_documents(system, state.get("documents") or (), budget_tokens=document_tokens)}


def scheduled(reflector: Reflector, who: Identity, state: State) -> Steps[bool]:
    """Keep the episode with its mark; False when there is nothing to keep or it could not be kept."""
    episode = _episode(who, state)
    if who.anonymous or episode is None:
        return False
    told = "This turn leaves no episode"
    return (yield from survived(logger, told, _recorded(reflector.memory, who, episode), False))


def reflect_update(reflector: Reflector, who: Identity, state: State, *, on: bool) -> Steps[Update]:
    """The reflect node: keep the episode, work through what waits."""
    if not on:
        return answered(state, "off")
    if not (yield from scheduled(reflector, who, state)):
        return answered(state, "nothing to keep")
    told = "This turn was not learned from and will be tried again"
    done = yield from survived(logger, told, reflector.process(who.user), Reflected())
    facts: Update = {"episodes": done.episodes}
    if done.persona is not None:
        revision = done.persona.revision
        facts["persona"] = {"revision": revision.number, "reason": revision.reason, "diff": revision.diff}
    update = answered(state, facts)
    if done.changes:
        update["learned"] = [*(state.get("learned") or ()), *map(change_json, done.changes)]
    if done.proposal is not None:
        update["proposal"] = {**done.proposal.to_json(), "user": who.user}
    return update


def answered(state: State, reflection: Update | str) -> Update:
    """The update that closes a turn: what was answered, for the next one."""
    turn = previous_turn(state.get("turn"))
    facts = reflection if isinstance(reflection, dict) else {"note": reflection}
    if turn is None:
        return {"reflection": facts}
    return {"reflection": facts, "turn": completed(turn, state.get("messages") or [], anew=True).to_json()}


def change_json(change: Change) -> Update:
    """A change of a card, for the state."""
    facts = {"change": change.action, "note": change.card.note, "always": change.card.always, "reason": change.reason}
    return facts if change.previous is None else {**facts, "before": change.previous.note}


def _signals(settled: Settled) -> list[Update]:
    """The signals for the state; what could not be recorded says so."""
    lost = {"recorded": False} if settled.lost else {}
    return [
        {"source": signal.source, "reward": round(signal.reward, 3), "reason": signal.reason, **lost}
        for signal in settled.verdict.signals
    ]


def _profile(settled: Settled) -> Update:
    revision = settled.persona.revision
    return {
        "persona": revision.text,
        "revision": revision.number,
        "cards": list(revision.cards),
        "sources": [list(names) for names in getattr(revision, "sources", ())],
        "since": revision.created,
        "style": sentences(settled.style),
    }


def _shown(document: Document) -> Update:
    why = document.metadata["persona"]
    scores = {name: round(float(why[name]), 4) for name in ("score", "base", "long", "short")}
    return {"id": str(document.id), "note": document.page_content, "why": "relevant", **scores}


def _episode(who: Identity, state: State) -> Episode | None:
    """The episode of this turn with secrets masked; None when the user asked not to remember it, or there is none."""
    turn = previous_turn(state.get("turn"))
    if turn is None or turn.user != who.user or not turn.remember or not turn.query.strip():
        return None
    turn = completed(turn, state.get("messages") or [], anew=True)
    return Episode(
        id=turn.id,
        thread=who.session,
        message_id=turn.message_id,
        query=turn.query,
        answer=turn.answer,
        outcomes=tuple(ToolOutcome.model_validate(outcome) for outcome in state.get("outcomes") or ()),
        retrievals=tuple(turn.retrievals.values()),
        cards=turn.cards,
        time=turn.time,
    )


def _recorded(memory: PersonaMemory, who: Identity, episode: Episode) -> Steps[bool]:
    yield from memory.episodes.record(who.user, episode)
    return True
