"""The memory node's work: what the new message says about the last answer, and about the user. No model call.

Every part is survived on its own: what fails is missing in this turn, and the turn goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langgraph.store.base import Op, PutOp

from langchain_persona.effects import Steps, StoreOps
from langchain_persona.extraction import PreferenceExtractor, RuleExtractor, Turn
from langchain_persona.identity import Identity
from langchain_persona.loop.extracted import extracted
from langchain_persona.loop.topics import without_topics
from langchain_persona.loop.turn import TurnRecord
from langchain_persona.loop.verdict import Verdict
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.feedback import record_feedback, record_withdrawal
from langchain_persona.memory.forgetting import forget_story
from langchain_persona.memory.revisions import SourcedPersona
from langchain_persona.reconciliation import Change, forget_matching, reconcile
from langchain_persona.records import CommunicationStyle, Episode, PreferenceCard, read_record
from langchain_persona.rewards import RELIABILITY
from langchain_persona.signals import forget_request, mask
from langchain_persona.style import observe
from langchain_persona.trouble import survived

__all__ = ["Settled", "learn_from_message", "settle"]

logger = logging.getLogger(__name__)

_RULES = RuleExtractor()

_MOST_CARDS = 10
"""Cards that one message can make by rule."""


_CHANGEABLE = frozenset({"thumbs", "edit"})
"""Sources that may say something else of the same turn later; the others speak once, with the next message."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What the memory node found out.

    Attributes:
        verdict: on the previous turn.
        changes: of the user's cards by what this message says.
        forgotten: cards erased because the user asked.
        style, persona: as they are in force in this turn.
        remember: False when the user asked not to remember this message.
        lost: True when the reward could not be recorded.
    """

    verdict: Verdict = field(default_factory=Verdict)
    changes: tuple[Change, ...] = ()
    forgotten: tuple[PreferenceCard, ...] = ()
    style: CommunicationStyle = field(default_factory=CommunicationStyle)
    persona: SourcedPersona = field(default_factory=SourcedPersona)
    remember: bool = True
    lost: bool = False


def settle(
    memory: PersonaMemory,
    who: Identity,
    message: str,
    message_id: str,
    *,
    previous: TurnRecord | None = None,
    verdict: Verdict | None = None,
    recent_messages: Sequence[str] = (),
    extractor: PreferenceExtractor | None = None,
    reliability: Mapping[str, float] = RELIABILITY,
) -> Steps[Settled]:
    """Settle the previous turn and learn from the new message.

    Args:
        memory: the user's.
        who: the user; nothing is read or written for an anonymous one.
        message: the new user message.
        message_id: its id, for evidence.
        previous: the turn before in this conversation.
        verdict: what was said of it; see `signals_of`.
        recent_messages: ids of the user's messages in this conversation, for "forget that".
        extractor: runs here too, ahead of the answer; None leaves it to reflect.
        reliability: weight of each source of a reward.
    """
    if who.anonymous:
        return Settled()
    verdict = verdict or Verdict()
    ops: list[Op] = [*memory.personas.ops(who.user)]
    if previous is not None:
        ops.append(memory.episodes.get_op(who.user, previous.id))
    what = "This turn is not personalised: what is known of the user could not be read"
    items = yield from survived(logger, what, _read(memory, ops), None)
    style, persona, episode = CommunicationStyle(), SourcedPersona(), None
    if items is not None:
        style, persona = memory.personas.parse(items[:2])
        episode = _episode(items[2]) if previous is not None else None
    recorded = True
    if previous is not None and verdict.total is not None:
        if not previous.retrievals and episode is not None:
            previous = previous.model_copy(
                update={"retrievals": {str(place): name for place, name in enumerate(episode.retrievals)}}
            )
        rewarded = _rewarded(memory, who, previous, verdict, reliability)
        told = "The reward of the previous answer was not recorded"
        recorded = yield from survived(logger, told, rewarded, False)
    observed = style
    if items is not None:
        said = next((signal for signal in verdict.signals if signal.source == "follow_up"), None)
        observed = observe(style, message, follow_up=said)
    request = forget_request(message)
    forgotten: list[PreferenceCard] = []
    changes: list[Change] = []
    erased: list[str] = []
    remember = True
    if request is not None:
        remember = False
        steps = forget_matching(memory.cards, who.user, request, recent_messages)
        forgotten = yield from survived(logger, "What the user asked to forget could not be erased", steps, [])
        everything = request.scope == "everything"
        also = [previous.id] if request.scope == "last" and previous is not None else []
        if request.scope != "this":
            story = forget_story(
                memory.episodes, memory.personas, who.user, forgotten, also=also, everything=everything
            )
            told = "What tells of it could not be erased"
            erased = yield from survived(logger, told, story, [])
            if forgotten or erased or everything:
                told = "The persona could not be read anew"
                _, persona = yield from survived(
                    logger, told, memory.personas.read(who.user), (style, SourcedPersona())
                )
            episode = None if episode is None or episode.id in erased else episode
            topics = {card.topic for card in forgotten if card.topic}
            observed = CommunicationStyle() if everything else without_topics(style, topics)
        else:
            observed = style
    else:
        learnt = learn_from_message(memory, who, message, message_id, extractor)
        changes = yield from survived(logger, "What this message says of the user was not kept", learnt, [])
    writes: list[Op] = []
    if observed != style and not (request is not None and request.scope == "everything"):
        writes.append(memory.personas.style_op(who.user, observed))
    if episode is not None and previous is not None and (verdict.total is not None or verdict.accepted):
        writes.append(
            memory.episodes.put_op(who.user, _judged(episode, verdict, "" if request is not None else message))
        )
    if writes:
        yield from survived(logger, "Style or episode could not be brought up to date", _write(memory, writes), None)
    return Settled(verdict, tuple(changes), tuple(forgotten), observed, persona, remember, lost=not recorded)


def learn_from_message(
    memory: PersonaMemory, who: Identity, message: str, message_id: str, extractor: PreferenceExtractor | None = None
) -> Steps[list[Change]]:
    """Cards from what a message states or implies by rule, and by an extractor where one is given."""
    turns = [Turn(message_id=message_id, user=message)]
    found = _RULES.extract(turns)[:_MOST_CARDS]
    if extractor is not None:
        said = yield from survived(
            logger, "Preferences were extracted by rules only", extracted(extractor, turns), list[PreferenceCard]()
        )
        known = {quote.quote for card in found for quote in card.evidence}
        found += [card for card in said if not any(quote.quote in known for quote in card.evidence)]
    if not found:
        return []
    return (yield from reconcile(memory.cards, who.user, found))


def _read(memory: PersonaMemory, ops: Sequence[Op]) -> Steps[list[Any]]:
    found: list[Any] = yield StoreOps(memory.store, ops)
    return found


def _write(memory: PersonaMemory, ops: Sequence[Op]) -> Steps[None]:
    yield StoreOps(memory.store, ops)


def _episode(item: Any) -> Episode | None:
    try:
        return None if item is None else read_record(Episode, item.value)
    except Exception:
        return None  # it is only brought up to date here: readers say that it is unreadable


def _judged(episode: Episode, verdict: Verdict, message: str) -> Episode:
    """The episode with what was said of it."""
    follow = any(signal.source == "follow_up" for signal in verdict.signals)
    return episode.model_copy(
        update={
            "reward": None if verdict.total is None else verdict.total.reward,
            "reasons": tuple(mask(signal.reason) for signal in verdict.signals) if message else (),
            "follow_up": mask(message[:4_000]) if follow and message else episode.follow_up,
            "accepted": episode.accepted if verdict.accepted is None else mask(verdict.accepted[:20_000]),
        }
    )


def _rewarded(
    memory: PersonaMemory, who: Identity, previous: TurnRecord, verdict: Verdict, reliability: Mapping[str, float]
) -> Steps[bool]:
    """One feedback for each retrieval of the turn; the gate decides how much of it is retrieval's.

    What comes in one run is one entry. What comes later, such as a complaint after a thumb, is one more under the name
    of its source; the same run delivered twice is not. A source that changes its mind takes back what it said.
    """
    total = verdict.total
    if total is None:
        return True
    for kind, retrieval_id in previous.retrievals.items():
        about = list(verdict.documents) if kind == "documents" and verdict.documents else None
        key = f"turn:{previous.id}:{retrieval_id}:{total.source}"
        note = memory.ledger.key_op(who.user, key)
        changeable = total.source in _CHANGEABLE
        (item,) = (yield from _read(memory, [note])) if changeable else (None,)
        said: Mapping[str, Any] = {} if item is None else item.value
        now = {"reward": total.reward, "documents": about}
        if said and all(said.get(name, value) == value for name, value in now.items()):
            continue  # delivered twice
        number = int(said.get("number", 0)) + 1 if said else 0
        receipt = yield from record_feedback(
            memory.ledger,
            memory.retrievals,
            who.user,
            retrieval_id,
            total.reward,
            source=total.source,
            key=f"{key}:{number}" if number else key,
            docs=about,
            gate=None,
            explicit=about is not None,
            reliability=reliability,
        )
        if not changeable or not receipt.id:
            continue
        if said:
            yield from record_withdrawal(memory.ledger, who.user, str(said["id"]))
        latest = {"id": receipt.id, **now, "number": number}
        yield from _write(memory, [PutOp(note.namespace, note.key, latest, index=False)])
    return True
