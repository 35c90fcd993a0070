"""What follows the answer: keep the episode, learn from it, bring the persona up to date, ask a person about it.

An episode is kept with a mark before anything is learned from it, and who has worked it through takes the mark away. So
a crash, a cancelled run or a model that is down loses none. Nothing is locked: two workers make the same cards of it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import run_in_executor
from langgraph.graph import END
from langgraph.types import interrupt

from langchain_persona.agent.nodes import Loop, Node, State, Update, choose_reflection
from langchain_persona.agent.state import episode_of, last_user_message
from langchain_persona.agent.tools import ERASED
from langchain_persona.identity import Identity, context_value
from langchain_persona.learning import unit
from langchain_persona.masking import mask
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.cards import card_texts
from langchain_persona.memory.episodes import Pending
from langchain_persona.memory.persona import LONGEST_PERSONA
from langchain_persona.memory.turns import PendingReading, TurnReading
from langchain_persona.records import Attempt, Episode, Persona, PreferenceCard, read_record
from langchain_persona.reflection import Exchange, Findings, Reaction
from langchain_persona.reflection.apply import apply_findings, texts_to_embed
from langchain_persona.reflection.model import ModelReflection
from langchain_persona.reflection.persona import Draft, Replay, apropose_persona, draft_persona, propose_persona
from langchain_persona.reflection.verbatim import is_private
from langchain_persona.resilience import await_or_default, await_within, call_within, run_or_default, warn_of
from langchain_persona.rewards import Signal, combine

logger = logging.getLogger(__name__)

Step = tuple[BaseChatModel, Replay]

_SECONDS = 60.0  # how long a reflection may take; what was not learned by then is tried again
_TOGETHER = 5  # episodes that one reflection reads
_STANDS = "The persona stays as it is"
_UNCHANGED = Draft(None, "the model failed", "model")
_FAILED = "This turn was not learned from and will be tried again"
_QUICK = 0.05  # seconds from reading to applying after which all is read once more; a model takes longer
_SHOWN, _STANDING = 20, 10  # cards that a reflection is shown, and how many of these hold in every conversation
_LATE = 32  # cards without a vector that get one in the same batch
_NO_ROWS = np.zeros((0, 0))
_ARGS = {"type": "object", "properties": {"text": {"type": "string", "maxLength": LONGEST_PERSONA}}}
_EDITED = {"type": "object", "properties": {"name": {"const": "revise_persona"}, "args": _ARGS}}
_DECISION = {"type": {"enum": ["approve", "edit", "reject"]}, "edited_action": _EDITED, "message": {"type": "string"}}
_DECISIONS = {  # shown to clients, not enforced: what cannot be read is asked for again
    "type": "object",
    "properties": {"decisions": {"type": "array", "items": {"type": "object", "properties": _DECISION}}},
    "required": ["decisions"],
}
_NOTHING: Update = {"learned": [], "proposal": None, "reflection": {"episodes": 0}}


class ReflectNode(Node):
    """Keeps the episode and learns from it: read (thread), reflect (awaited), apply (thread)."""

    name = "reflect"

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self.reflection = choose_reflection(loop.reflection, loop.model)
        # what waits for a graph that asks a person is not for one that does not
        self.queue = f"{self.reflection.name} approved" if loop.approve else self.reflection.name
        loop.memory.turns.processors[self.queue] = self
        self._asked: dict[str, bool] = {}  # users whose episodes are being worked through, and whether once more
        self._lock = Lock()

    def process(self, user: str, reading: PendingReading | None = None) -> int:
        """Work through all that waits of a user. With `approve` the persona stays as it is, for nobody is asked.

        One call at a time does it for a user; what is asked for meanwhile it does too.
        """
        total = 0
        with closing(self._passes(user)) as passes:
            for _ in passes:
                done = _TOGETHER
                while done == _TOGETHER:  # fewer were all
                    found = run_or_default(_FAILED, partial(self._work, user, reading), _NOTHING)
                    done, reading = found["reflection"]["episodes"], None
                    total += done
        return total

    async def aprocess(self, user: str, reading: PendingReading | None = None) -> int:
        """Async twin of `process`."""
        total = 0
        with closing(self._passes(user)) as passes:
            for _ in passes:
                done = _TOGETHER
                while done == _TOGETHER:
                    found = await await_or_default(_FAILED, self._awork(user, reading), _NOTHING)
                    done, reading = found["reflection"]["episodes"], None
                    total += done
        return total

    def _passes(self, user: str) -> Generator[None, None, None]:
        """Once, and again while it was asked for meanwhile; not at all where another call is at it."""
        with self._lock:
            busy = user in self._asked
            self._asked[user] = True
        if busy:
            return
        try:
            while self._takes_up(user):
                yield
        except BaseException:  # left half-way
            self._asked.pop(user, None)
            raise

    def _takes_up(self, user: str) -> bool:
        """Whether it was asked for; what is asked from now on is for the next time."""
        with self._lock:
            if asked := self._asked.pop(user):
                self._asked[user] = False
            return asked

    def _work(self, user: str, reading: PendingReading | None = None) -> Update:
        """Work through what has waited longest. The update: `learned`, `proposal`, `reflection`."""
        if reading is None or _is_late(reading):
            reading = self._read(user)
        if not reading.marks:
            return _NOTHING
        try:
            (cards, step), draft = self._prepare(user, reading), None
            findings = call_within(_SECONDS, partial(self.reflection.reflect, _exchanges(reading.marks), cards))
            if step:
                propose = partial(call_within, _SECONDS, partial(propose_persona, *step))
                draft = run_or_default(_STANDS, propose, _UNCHANGED)
            return self._apply(user, reading, cards, findings, draft, step)
        except Exception as error:
            return self._put_off(reading, error)

    async def _awork(self, user: str, reading: PendingReading | None = None) -> Update:
        if reading is None or _is_late(reading):
            reading = await run_in_executor(None, self._read, user)
        if not reading.marks:
            return _NOTHING
        try:
            (cards, step), draft = await run_in_executor(None, self._prepare, user, reading), None
            findings = await await_within(_SECONDS, self.reflection.areflect(_exchanges(reading.marks), cards))
            if step:
                propose = await_within(_SECONDS, apropose_persona(*step))
                draft = await await_or_default(_STANDS, propose, _UNCHANGED)
            return await run_in_executor(None, self._apply, user, reading, cards, findings, draft, step)
        except Exception as error:
            return await run_in_executor(None, self._put_off, reading, error)

    def _read(self, user: str, written: Sequence[str] = ()) -> PendingReading:
        reading = self.memory.turns.read_pending(user, self.queue, written)
        # a middleware knows its model after the first call
        ready = not isinstance(self.reflection, ModelReflection) or self.reflection.model is not None
        return replace(reading, marks=reading.marks[: _TOGETHER if ready else 0])

    def _put_off(self, reading: PendingReading, error: Exception) -> Update:
        warn_of(logger, _FAILED, error)
        self.memory.episodes.retry(reading.marks)
        return _NOTHING

    def _aligns(self, reading: PendingReading) -> bool:
        return 0 < self.loop.align_every <= reading.progress.since + len(reading.marks)

    def _prepare(self, user: str, reading: PendingReading) -> tuple[list[PreferenceCard], Step | None]:
        """What the model calls read: the cards that could be meant, and where it is due what aligns the persona."""
        cards, reflection = self._choose_cards(reading), self.reflection
        if not (isinstance(reflection, ModelReflection) and reflection.model and self._aligns(reading)):
            return cards, None
        past = self.memory.episodes.read_past(user, fresh=True)
        replay = Replay(reading.persona, reading.cards.all, [episode for episode, _ in past.values()])
        ready = replay.judged and replay.judged[-1].id != reading.progress.aligned
        return cards, (reflection.model, replay) if ready else None

    def _choose_cards(self, reading: PendingReading) -> list[PreferenceCard]:
        """The cards that the messages could mean, oldest first: the nearest, half of them for every conversation."""
        active, rows, memory = reading.cards.active, reading.cards.vectors, self.memory
        if len(active) <= _SHOWN:
            return list(active)
        scores = np.arange(len(active), dtype=float)  # the newest, where nothing can be compared
        asked = [memory.embedder.decode(one.episode.vector, one.episode.embedding) for one in reading.marks]
        if asked := [row for row in asked if row.size and row.shape[1] == rows.shape[1]]:
            scores = (rows @ unit(np.concatenate(asked)).T).max(axis=1)
        order = np.argsort(-scores, kind="stable").tolist()
        standing = [place for place in order if active[place].pinned or active[place].scope == "always"][:_STANDING]
        chosen = [*standing, *(place for place in order if place not in standing)][:_SHOWN]
        return [active[place] for place in sorted(chosen)]

    def _apply(
        self,
        user: str,
        reading: PendingReading,
        shown: Sequence[PreferenceCard],
        findings: Findings,
        draft: Draft | None,
        step: Step | None,
    ) -> Update:
        memory = self.memory
        texts, rows = [*texts_to_embed(findings), *card_texts(reading.cards.unembedded[:_LATE])], _NO_ROWS
        if texts and memory.embedder.has_model:
            embed = partial(memory.embedder.embed_documents, texts)
            rows = run_or_default("New cards have no vectors yet", embed, rows)
        vectors = dict(zip(texts, rows, strict=False))
        with memory.turns.editing(user):
            # while a model reflects, the user may pin, edit or retire, and another worker may learn from the same turn
            now = memory.turns.read_pending(user, self.queue) if _is_late(reading) else reading
            waiting = {mark.episode.id for mark in now.marks}
            marks = [mark for mark in reading.marks if mark.episode.id in waiting]
            if not marks:
                return _NOTHING
            since, aligns = now.progress.since + len(marks), self._aligns(reading)
            ids = {card.id for card in shown}
            applied = apply_findings(findings, _exchanges(marks), now.cards, vectors, shown=ids, style=now.style)
            previous = next((one.episode.previous for one in marks if one.episode.id == applied.reacting), "")
            before = memory.turns.read(user, episode_id=previous).episode if previous else None
            changed = {card.id: card for card in (*now.cards.unembedded, *applied.cards)}
            cards = [card for card in changed.values() if card in applied.cards or card.text in vectors]
            cards = memory.cards.with_vectors(cards, vectors)
            persona, proposal = self._align(user, reading, now, cards, draft) if aligns else (None, None)
            aligned = {"aligned": step[1].judged[-1].id} if step else {}
            progress = now.progress.model_copy(update={"since": 0 if aligns else since, **aligned})
            judged = _judge(before, applied.reaction) if before and applied.reaction else None
            kept = memory.turns.finish(
                user, marks, progress, cards=cards, persona=persona, style=applied.style, judged=judged
            )
        if before and applied.reaction:
            self._record(user, before, applied.reaction)
        gone = {card.text for card in cards} - {card.text for card in kept}
        learned = [one for one in applied.changes if one["text"] not in gone]
        extra = findings.model_dump(mode="json", exclude=set(Findings.model_fields))
        told: Update = {"persona": _facts(persona) if persona else draft and {"reason": draft.reason}, "extra": extra}
        told["reaction"] = applied.reaction and applied.reaction.to_json()
        facts = {"episodes": len(marks)} | {name: one for name, one in told.items() if one}
        return {"learned": learned, "proposal": proposal, "reflection": facts}

    def _record(self, user: str, previous: Episode, reaction: Reaction) -> None:
        if not previous.retrievals or reaction.blame not in ("documents", "both"):
            return
        retrieval, about = previous.retrievals[0], reaction.blame == "documents"
        add = partial(self.memory.ledger.feedback, user, retrieval, reaction.reward, source="follow_up")
        key = f"{previous.id}:follow_up:{retrieval}.0"
        run_or_default("The reaction was not learned from", partial(add, key=key, about_documents=about), None)

    def _align(
        self, user: str, reading: PendingReading, now: TurnReading, cards: Sequence[PreferenceCard], draft: Draft | None
    ) -> tuple[Persona | None, Update | None]:
        """The persona brought up to date; or where a person decides, the proposal."""
        if draft is None:
            known = {card.id: card for card in (*now.cards.all, *cards)}
            draft = Draft(draft_persona(now.persona, list(known.values())))
        if draft.lines is None or now.persona.revision.number != reading.persona.revision.number:
            return None, None
        persona = _revise(self.memory, now, draft)
        revision = persona.revision
        if persona is now.persona or (self.loop.approve and _digest(revision.text) == reading.progress.rejected):
            return None, None
        proposal = {"user": user, "text": revision.text, "diff": revision.diff, **draft._asdict()}
        proposal["base"] = now.persona.revision.number
        return (None, proposal) if self.loop.approve else (persona, None)

    def _body(self, identity: Identity, state: State, config: RunnableConfig) -> Update:
        (mode, reading), done = self._keep(identity, state, config), _NOTHING
        if reading and mode == "background":
            self.memory.background.submit(partial(self.process, identity.user, reading))
        elif reading:
            done = run_or_default(_FAILED, partial(self._work, identity.user, reading), done)
        return _close(state, mode, done)

    async def _abody(self, identity: Identity, state: State, config: RunnableConfig) -> Update:
        (mode, reading), done = await run_in_executor(None, self._keep, identity, state, config), _NOTHING
        if reading and mode == "background":
            self.memory.background.asubmit(self.aprocess(identity.user, reading))
        elif reading:
            done = await await_or_default(_FAILED, self._awork(identity.user, reading), done)
        return _close(state, mode, done)

    def _keep(self, identity: Identity, state: State, config: RunnableConfig) -> tuple[str, PendingReading | None]:
        """How to reflect; and once the episode of this turn and the verdict on the one before are kept, what waits."""
        mode = str(context_value(config, "reflect", self.loop.reflect))
        mode = "inline" if self.loop.approve and mode == "background" else mode
        user, persona, messages = identity.user, state["persona"], state["messages"]
        turn = persona.get("turn") or {"closed": True}
        if identity.anonymous or turn.get("closed") or turn.get("user") != user:
            return mode, None
        start, episode = episode_of(state, identity)
        ahead = messages[: max(start, 0)]
        erased = any(map(_tells_of_erasure, messages[max(start, 0) :]))
        last = ahead[max(last_user_message(ahead)[0], 0) :]
        if turn.get("apart") or any(map(_tells_of_erasure, last)):  # the answer before is not to be kept
            episode = episode.model_copy(update={"before": ""})
        if mode == "off" or erased or not episode.query.strip() or is_private(episode.query):
            self._keep_verdict(user, turn)
            return mode, None
        shown: Update = {"cards": tuple(card["id"] for card in persona.get("cards", ()))}
        shown["retrievals"] = (turn["retrieval"],) if "retrieval" in turn else ()
        shown["previous"] = turn.get("previous", "")
        attempts = [read_record(Attempt, one) for one in turn.get("retried", ())]
        shown["retried"] = tuple(one for one in attempts if one.answer not in ("", episode.answer))

        def record() -> PendingReading:
            judged = read_record(Episode, turn["judged"]) if "judged" in turn else None
            told = self.memory.episodes.with_vector(episode.model_copy(update=shown), turn.get("vector"))
            self.memory.episodes.record(user, told, self.queue, judged)
            return self._read(user, [episode.id, *([] if judged is None else [judged.id])])

        return mode, run_or_default("This turn was not learned from", record, None)


class ApproveNode(Node):
    """Asks a person about a new persona text, by an interrupt in the schema that chat interfaces draw buttons for.

    Resume with `{"decisions": [{"type": "approve"}]}`, "reject", or "edit" with `"edited_action": {"name":
    "revise_persona", "args": {"text": "…"}}`. An answer that cannot be read is asked for again; a rejected text is not
    proposed again.
    """

    name = "approve"

    def _body(self, identity: Identity, state: State, config: RunnableConfig) -> Update:
        proposal: Mapping[str, Any] = state["persona"]["proposal"]
        decide = partial(self._decide, identity, proposal, *_ask(proposal))
        told = run_or_default("The decision on the persona was not kept", decide, {"decision": "not kept"})
        return {"proposal": None, "reflection": {"persona": told}}

    def _decide(self, identity: Identity, proposal: Mapping[str, Any], kind: str, text: str) -> Update:
        memory, owner = self.memory, str(proposal["user"])
        if not identity.anonymous and identity.user != owner:
            return {"decision": "none: the proposal is another user's"}
        if kind == "reject":
            progress = memory.turns.read_pending(owner, "").progress
            memory.turns.finish(owner, [], progress.model_copy(update={"rejected": _digest(text)}))
            return {"decision": "rejected"}
        if kind == "edit":
            return {"decision": "edited", **_facts(memory.revise_persona(owner, text, reason="edited on approval"))}
        with memory.turns.editing(owner):
            reading = memory.turns.read(owner)
            if reading.persona.pinned or reading.persona.revision.number != proposal["base"]:
                return {"decision": "none: the persona was changed meanwhile"}
            lines = [(line, tuple(names)) for line, names in proposal["lines"]]
            draft = Draft(lines, proposal["reason"], proposal["origin"])
            approved = memory.personas.write(owner, _revise(memory, reading, draft))
        return {"decision": "approved", **_facts(approved)}


def after_reflect(state: State) -> str:
    """The way on where a person decides."""
    return "approve" if state["persona"].get("proposal") else END


def _revise(memory: PersonaMemory, now: TurnReading, draft: Draft) -> Persona:
    """The persona with a draft in force, but for lines on cards that were retired since."""
    gone = {card.id for card in now.cards.rest}
    lines = [(line, names) for line, names in draft.lines or () if gone.isdisjoint(names)]
    return memory.personas.revised(now.persona, lines, reason=draft.reason, origin=draft.origin)


def _judge(episode: Episode, reaction: Reaction) -> Episode:
    """The turn before with the reaction to its answer, beside what its tools told; a thumb is asked about elsewhere."""
    signals = [Signal("follow_up", reaction.reward, f"the user said: {mask(reaction.quote)}")]
    if episode.reward is not None:
        signals.append(Signal("tool", episode.reward, "; ".join(episode.reasons)))
    total = combine(signals)
    assert total is not None
    return episode.model_copy(update={"reward": total.reward, "reasons": tuple(one.reason for one in signals)})


def _tells_of_erasure(message: AnyMessage) -> bool:
    return isinstance(message, ToolMessage) and message.name == "forget" and message.text.startswith(ERASED)


def _is_late(reading: PendingReading) -> bool:
    return time.monotonic() - reading.moment > _QUICK


def _exchanges(marks: Sequence[Pending]) -> list[Exchange]:
    episodes = [mark.episode for mark in marks]
    return [Exchange(one.message_id, one.query, one.answer, one.before, time=one.time, id=one.id) for one in episodes]


def _close(state: State, mode: str, done: Update) -> Update:
    old = state["persona"].get("turn") or {}
    turn = {key: value for key, value in old.items() if key not in ("judged", "vector", "retried")}
    end = {"end": state["messages"][-1].id} if state["messages"] else {}
    return {**done, "turn": {**turn, "closed": True, **end}, "reflection": {"mode": mode, **done["reflection"]}}


def _ask(proposal: Mapping[str, Any]) -> tuple[str, str]:
    problem = ""
    while True:
        about = f"{problem}A new text on the user for the system prompt:\n\n{proposal['diff']}"
        action = {"name": "revise_persona", "args": {"text": proposal["text"]}, "description": about}
        review = {"action_name": "revise_persona", "allowed_decisions": ["approve", "edit", "reject"]}
        answer = interrupt({"action_requests": [action], "review_configs": [review]}, response_schema=_DECISIONS)
        try:
            (decision,) = answer["decisions"]
            kind = decision["type"]
            text = decision["edited_action"]["args"]["text"] if kind == "edit" else proposal["text"]
            if kind in ("approve", "reject") or (kind == "edit" and 0 < len(text.strip()) <= LONGEST_PERSONA):
                return kind, text
        except (AttributeError, KeyError, TypeError, ValueError):
            pass
        problem = f"The last answer was not understood: {answer!r:.200}\n\n"


def _facts(persona: Persona) -> Update:
    return persona.revision.model_dump(mode="json", include={"number", "reason", "diff"})


def _digest(text: str) -> str:
    """A short name of a text that does not tell it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
