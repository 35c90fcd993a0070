"""The reflect node's work, after the answer: episode, extraction, reconciliation, persona alignment.

Each step is survived on its own. Episodes are marked as waiting until they have been worked through, so a crash, or a
model that is down, loses none.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel

from langchain_persona.effects import Steps, StoreOps, Twin
from langchain_persona.errors import ConfigError
from langchain_persona.extraction import PreferenceExtractor, Turn
from langchain_persona.loop.extracted import extracted
from langchain_persona.loop.judge import Judge, judged
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.episodes import Pending
from langchain_persona.persona import Draft, PersonaWriter
from langchain_persona.reconciliation import Change, reconcile
from langchain_persona.records import Episode, Persona
from langchain_persona.rewards import reliabilities, trust
from langchain_persona.trouble import survived, warn

__all__ = ["Reflected", "Reflector"]

logger = logging.getLogger(__name__)

_BATCH = 5
"""Episodes that one extraction looks at together."""

_LOOKED_AT = 20
"""Latest episodes that a writer gets; it picks those with a verdict."""


@dataclass(frozen=True, slots=True)
class Reflected:
    """What came of working through a user's episodes.

    Attributes:
        episodes: how many.
        changes: of the user's cards.
        persona: the new persona; None when it stayed.
        proposal: a persona that waits for approval.
    """

    episodes: int = 0
    changes: tuple[Change, ...] = ()
    persona: Persona | None = None
    proposal: Draft | None = None


def digest(text: str) -> str:
    """A short name of a text that does not tell it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def still_standing(memory: PersonaMemory, user: str, draft: Draft) -> Steps[tuple[Draft, set[str]]]:
    """The draft without lines whose cards or episodes were erased meanwhile, and the ids of the active cards."""
    matrix = yield from memory.cards.matrix(user)
    active = {card.id for card in matrix.cards}
    others = {name for names in draft.sources for name in names} - active
    kept = {episode.id for episode in (yield from memory.episodes.get(user, sorted(others)))}
    return draft.without(others - kept), active


class Reflector:
    """Works through what was answered: the memory's hands behind the answer.

    Args:
        memory: the memory; `memory.process_pending()` will use this object.
        extractor: finds preferences in what the user wrote; None leaves that to the rules of the memory node.
        reconciler: a chat model that is asked, once a batch, how new cards stand to old ones; None decides by rules.
        writer: writes the persona; None leaves it alone.
        align_every: episodes between two looks at the persona; 0 is never.
        judge: rates an answer by the user's next message where the rules have no verdict; one model call, and none
            where its reliability is 0.
        approve: True returns a new persona as a proposal and leaves the decision to somebody.
        reliability: weights of sources that differ from `rewards.RELIABILITY`; here that of "judge" counts.

    Raises:
        ConfigError: an argument that cannot work.

    Example:
        >>> Reflector(memory, extractor=LLMExtractor(model), writer=ModelWriter(model))  # doctest: +SKIP
    """

    def __init__(
        self,
        memory: PersonaMemory,
        *,
        extractor: PreferenceExtractor | None = None,
        reconciler: BaseChatModel | None = None,
        writer: PersonaWriter | None = None,
        align_every: int = 3,
        judge: Judge | None = None,
        approve: bool = False,
        reliability: Mapping[str, float] | None = None,
    ) -> None:
        if not isinstance(memory, PersonaMemory):
            raise ConfigError(f"memory must be a PersonaMemory, got {type(memory).__name__}")
        if extractor is not None and not isinstance(extractor, PreferenceExtractor):
            raise ConfigError(
                f"extractor needs extract(turns) and aextract(turns), which {type(extractor).__name__} has not; "
                "LLMExtractor(model) and RuleExtractor() come with this package"
            )
        if writer is not None and not isinstance(writer, PersonaWriter):
            raise ConfigError(f"writer needs write(...) and awrite(...), which {type(writer).__name__} has not")
        if isinstance(align_every, bool) or not isinstance(align_every, int) or align_every < 0:
            raise ConfigError(f"align_every must be a whole number of at least 0 (0 is never), got {align_every!r}")
        self.memory = memory
        self.extractor = extractor
        self.reconciler = reconciler
        self.writer = writer
        self.align_every = align_every
        self.reliability = reliabilities(reliability)
        self.judge = judge if trust("judge", self.reliability) > 0.0 else None  # a call that could move nothing
        self.approve = approve
        self._lock = memory.background.lock
        self._busy = memory.background.busy
        memory.processor = self

    def process(self, user: str, *, propose: bool = True) -> Steps[Reflected]:
        """Work through everything that waits for one user; whoever comes while that runs leaves it to the first.

        Without `propose` a reflector that asks a person about a new persona leaves the persona alone.
        """
        self.memory.background.prune()
        with self._lock:
            if user in self._busy:
                self._busy[user] = True
                return Reflected()
            self._busy[user] = False
        total = Reflected()
        try:
            while True:
                done = yield from self._round(user, propose=propose)
                total = Reflected(
                    total.episodes + done.episodes,
                    (*total.changes, *done.changes),
                    done.persona or total.persona,
                    done.proposal or total.proposal,
                )
                with self._lock:
                    again, self._busy[user] = self._busy[user], False
                    if not again:
                        del self._busy[user]
                        return total
        except BaseException:
            with self._lock:
                self._busy.pop(user, None)
            raise

    def _round(self, user: str, *, propose: bool) -> Steps[Reflected]:
        episodes = self.memory.episodes
        marks = yield from episodes.pending(user)
        total, changes = 0, list[Change]()
        for start in range(0, len(marks), _BATCH):
            batch = marks[start : start + _BATCH]
            found = yield from episodes.get(user, [mark.episode for mark in batch])
            try:
                changes += yield from self._extracted(user, found)
            except Exception as error:
                warn(logger, "Preferences were not extracted and will be tried again (%s)", type(error).__name__)
                logger.debug("The trouble in full", exc_info=True)
                given_up = yield from episodes.failed(batch)
                if given_up:
                    yield from self._finish(user, given_up)
                continue
            if self.judge is not None:
                told = "An answer was not judged"
                yield from survived(logger, told, judged(self.memory, user, self.judge, found, self.reliability), None)
            yield from self._finish(user, batch)
            total += len(batch)
        if self.approve and not propose:  # nobody is here to be asked
            return Reflected(total, tuple(changes))
        aligned = yield from self._aligned(user)
        return Reflected(total, tuple(changes), *aligned)

    def _extracted(self, user: str, found: Sequence[Episode]) -> Steps[list[Change]]:
        extractor = self.extractor
        turns = [
            Turn(message_id=episode.message_id, user=episode.query, assistant=episode.answer)
            for episode in found
            if episode.query.strip()
        ]
        if extractor is None or not turns:
            return []
        cards = yield from extracted(extractor, turns)
        # the user may have asked to forget while the model was at work
        left = {episode.message_id for episode in (yield from self.memory.episodes.get(user, [e.id for e in found]))}
        cards = [card for card in cards if all(evidence.message_id in left for evidence in card.evidence)]
        if not cards:
            return []
        return (yield from reconcile(self.memory.cards, user, cards, judge=self.reconciler))

    def _finish(self, user: str, batch: Sequence[Pending]) -> Steps[None]:
        state = yield from self.memory.episodes.reflections(user)
        counted = state.model_copy(update={"since": state.since + len(batch)})
        yield from self.memory.episodes.done(user, batch, counted)

    def _aligned(self, user: str) -> Steps[tuple[Persona | None, Draft | None]]:
        """A new persona, when enough came together since the last look at it."""
        if self.writer is None or not self.align_every:
            return None, None
        state = yield from self.memory.episodes.reflections(user)
        if state.since < self.align_every:
            return None, None
        # the count starts anew first: a writer that fails is not called again at every turn
        yield from self.memory.episodes.done(user, [], state.model_copy(update={"since": 0}))
        told = "The persona was not brought up to date"
        draft = yield from survived(logger, told, self._draft(user, state.recent), None)
        if draft is not None and digest(draft.text) == state.rejected:
            return None, None
        if draft is None or self.approve:
            return None, draft
        kept = yield from survived(logger, told, self._adopted(user, draft), None)
        return kept, None

    def rejected(self, user: str, draft: Draft) -> Steps[None]:
        """Note that a person turned a draft down, so that it is not proposed again."""
        state = yield from self.memory.episodes.reflections(user)
        noted = state.model_copy(update={"rejected": digest(draft.text)})
        yield from self.memory.episodes.done(user, [], noted)

    def _adopted(self, user: str, draft: Draft) -> Steps[Persona]:
        """The persona with a draft in force; what was erased while it was written stays out."""
        standing, active = yield from still_standing(self.memory, user, draft)
        return (yield from self.memory.personas.adopt(user, standing, active=active))

    def _draft(self, user: str, recent: Sequence[str]) -> Steps[Draft | None]:
        memory, writer = self.memory, self.writer
        items = yield StoreOps(memory.store, memory.personas.ops(user))
        style, persona = memory.personas.parse(items)
        if persona.pinned or writer is None:
            return None
        matrix = yield from memory.cards.matrix(user)
        # more than the writer replays: the latest has no verdict yet, and others may never get one
        found = yield from memory.episodes.get(user, recent[-_LOOKED_AT:])
        draft: Draft | None = yield Twin(
            lambda: writer.write(persona, matrix.cards, style, found),
            lambda: writer.awrite(persona, matrix.cards, style, found),
        )
        return draft
