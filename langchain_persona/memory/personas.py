"""Communication style and persona of all users, in the store of a ledger.

Under `(root, user, "persona")` lie two records, `style` and `current` (the persona in force, whole, so that the hot
path needs two reads in one batch); under `(root, user, "persona", "revisions")` one record a revision. Their keys begin
with the number and end at random: of two writers at once both revisions stay.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from typing import TypeVar

from langgraph.store.base import GetOp, Item, Op, PutOp, SearchOp

from langchain_persona.effects import Steps, StoreOps
from langchain_persona.errors import CorruptRecordError
from langchain_persona.memory.ledger import Ledger
from langchain_persona.memory.revisions import Draft, SourcedPersona, SourcedRevision, diff, next_revision, without
from langchain_persona.records import (
    CommunicationStyle,
    PersonaRevision,
    PreferenceCard,
    Record,
    new_id,
    read_record,
)

__all__ = ["Personas"]

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)

_PAGE = 1_000


class Personas:
    """The store layout and the steps over it.

    Args:
        ledger: gives the store and the namespaces.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # the hot path -----------------------------------------------------------------------------------------------

    def ops(self, user: str) -> list[Op]:
        """The two reads of the hot path, for a batch; `parse` takes their results."""
        place = self._place(user)
        return [GetOp(place, "style", refresh_ttl=False), GetOp(place, "current", refresh_ttl=False)]

    def parse(self, items: Sequence[Item | None]) -> tuple[CommunicationStyle, SourcedPersona]:
        """Style and persona from the results of `ops`; what is missing or corrupt is the default, with one warning."""
        style, persona, errors = _parsed(items)
        if errors:
            logger.warning("Going on without a user's unreadable style or persona: %s", "; ".join(errors))
        return style, persona

    def read(self, user: str) -> Steps[tuple[CommunicationStyle, SourcedPersona]]:
        """Style and persona in one batch of their own."""
        return self.parse((yield StoreOps(self._ledger.store, self.ops(user))))

    def style_op(self, user: str, style: CommunicationStyle) -> PutOp:
        """The write of a style, for a batch."""
        return PutOp(self._place(user), "style", style.to_json(), index=False)

    # revisions --------------------------------------------------------------------------------------------------

    def adopt(
        self,
        user: str,
        draft: Draft,
        *,
        text: str | None = None,
        active: Collection[str] | None = None,
    ) -> Steps[SourcedPersona]:
        """Put a draft in force as the next revision.

        A pinned persona stays as it is, unless a person speaks: origin `user` or `rollback`, or an edited `text`. So
        does one that says this already.

        Args:
            user: whose.
            draft: from a `PersonaWriter`, perhaps approved by a person meanwhile.
            text: what that person made of it; None is the draft as it is.
            active: ids of the user's active cards now; lines that rest on another card of the draft are left out, for
                it may have been erased while the draft waited.

        Returns:
            The persona in force afterwards.
        """
        current = yield from self._current(user)
        person = text is not None or draft.origin in ("user", "rollback")
        if text is not None:
            draft = draft.edited(text, (*current.revision.lines, *draft.lines))
        if active is not None:
            draft = draft.without({name for name in draft.cards if name not in active})
        if (current.pinned and not person) or draft.text == current.revision.text:
            return current
        return (yield from self._put(user, current, next_revision(current, draft, now=time.time())))

    def revise(self, user: str, text: str, reason: str) -> Steps[SourcedPersona]:
        """Write the text that a person gave as the next revision; lines kept from before keep their sources."""
        current = yield from self._current(user)
        old = current.revision
        draft = Draft(text="", reason=reason, origin="user", cards=old.cards).edited(text, old.lines)
        return (yield from self._put(user, current, next_revision(current, draft, now=time.time())))

    def rollback(self, user: str, number: int) -> Steps[SourcedPersona]:
        """Put an earlier text in force again, as a revision of its own; 0 is the empty persona.

        Raises:
            KeyError: the user has no revision of this number.
        """
        current = yield from self._current(user)
        found = [revision for _, revision in (yield from self._stored(user)) if revision.number == number]
        if not found and number != 0:
            raise KeyError(f"no revision {number!r} for this user; memory.history(user) lists them")
        old = found[-1] if found else SourcedRevision(created=0.0)
        draft = Draft(
            text=old.text,
            reason=f"back to revision {number}",
            evidence=old.evidence,
            origin="rollback",
            cards=old.cards,
            sources=old.sources,
        )
        return (yield from self._put(user, current, next_revision(current, draft, now=time.time())))

    def pin(self, user: str, pinned: bool) -> Steps[SourcedPersona]:
        """Protect the persona from automatic rewrites, or lift the protection."""
        current = yield from self._current(user)
        changed = current.model_copy(update={"pinned": pinned})
        yield StoreOps(self._ledger.store, [self._current_op(user, changed)])
        return changed

    def clear(self, user: str) -> Steps[None]:
        """Erase the style, the persona and every revision."""
        place = self._place(user)
        ops: list[Op] = [PutOp(place, "style", None), PutOp(place, "current", None)]
        while True:
            (items,) = yield StoreOps(self._ledger.store, [SearchOp((*place, "revisions"), limit=_PAGE)])
            ops += [PutOp(tuple(item.namespace), item.key, None) for item in items]
            yield StoreOps(self._ledger.store, ops)
            if len(items) < _PAGE:
                return
            ops = []

    def history(self, user: str) -> Steps[list[PersonaRevision]]:
        """Every readable revision, oldest first."""
        return [revision for _, revision in (yield from self._stored(user))]

    def drop_cards(self, user: str, erased: Collection[PreferenceCard | str]) -> Steps[SourcedPersona]:
        """Take what was forgotten out of the persona and out of every revision ever written, diffs and reasons too.

        Args:
            user: whose.
            erased: cards, or ids of cards and episodes. Of a card the note is known, so a line that repeats it goes
                even where a person wrote it.

        Returns:
            The persona in force afterwards: a revision of its own where its text became shorter.
        """
        ids = {entry if isinstance(entry, str) else entry.id for entry in erased}
        notes = [entry.note for entry in erased if isinstance(entry, PreferenceCard)]
        current = yield from self._current(user)
        stored = yield from self._stored(user)
        kept = [without(revision, ids, notes) for _, revision in stored]
        ops: list[Op] = []
        in_history: dict[tuple[int, float], SourcedRevision] = {}
        if any(after is not before for after, (_, before) in zip(kept, stored, strict=True)):
            # a diff quotes the revision before and its neighbours: all are made again from what is left
            before = SourcedRevision(created=0.0)
            for (key, old), revision in zip(stored, kept, strict=True):
                clean = diff(before.text, revision.text, before.number, revision.number)
                before = revision.model_copy(update={"diff": clean})
                in_history[(before.number, before.created)] = before
                if before != old:
                    ops.append(PutOp(self._revisions(user), key, before.to_json(), index=False))
        old, number = current.revision, current.latest + 1
        shorter = without(old, ids, notes)
        if shorter is not old:
            update = {"number": number, "origin": "template", "diff": "", "created": time.time()}
            current = current.model_copy(update={"revision": shorter.model_copy(update=update), "latest": number})
            ops += [self._revision_op(user, current.revision), self._current_op(user, current)]
        elif ops:  # its own text has nothing of it, its diff may
            same = in_history.get((old.number, old.created)) or old.model_copy(update={"diff": ""})
            current = current.model_copy(update={"revision": same})
            ops.append(self._current_op(user, current))
        if ops:
            yield StoreOps(self._ledger.store, ops)
        return current

    def _current(self, user: str) -> Steps[SourcedPersona]:
        """The persona in force; where its record is missing or corrupt, the numbers given so far come from history."""
        items = yield StoreOps(self._ledger.store, self.ops(user))
        _, persona, _ = _parsed(items)
        if persona.latest == 0:
            revisions = [revision for _, revision in (yield from self._stored(user))]
            persona = persona.model_copy(update={"latest": max((entry.number for entry in revisions), default=0)})
        return persona

    def _stored(self, user: str) -> Steps[list[tuple[str, SourcedRevision]]]:
        """Every readable revision with its key, in order of number and time."""
        place = self._revisions(user)
        found: list[tuple[str, SourcedRevision]] = []
        offset = 0
        while True:
            (items,) = yield StoreOps(self._ledger.store, [SearchOp(place, limit=_PAGE, offset=offset)])
            for item in items:
                if tuple(item.namespace) != place:
                    continue
                try:
                    found.append((item.key, read_record(SourcedRevision, item.value)))
                except CorruptRecordError as error:
                    logger.warning("Leaving out an unreadable revision of a persona: %s", error)
            if len(items) < _PAGE:
                return sorted(found, key=lambda entry: (entry[1].number, entry[1].created))
            offset += _PAGE

    def _put(self, user: str, current: SourcedPersona, revision: SourcedRevision) -> Steps[SourcedPersona]:
        changed = current.model_copy(update={"revision": revision, "latest": revision.number})
        yield StoreOps(self._ledger.store, [self._revision_op(user, revision), self._current_op(user, changed)])
        return changed

    def _place(self, user: str) -> tuple[str, ...]:
        return self._ledger.namespace(user, "persona")

    def _revisions(self, user: str) -> tuple[str, ...]:
        return self._ledger.namespace(user, "persona", "revisions")

    def _current_op(self, user: str, persona: SourcedPersona) -> PutOp:
        return PutOp(self._place(user), "current", persona.to_json(), index=False)

    def _revision_op(self, user: str, revision: SourcedRevision) -> PutOp:
        key = f"{revision.number:08d}-{new_id()[:8]}"
        return PutOp(self._revisions(user), key, revision.to_json(), index=False)


def _parsed(items: Sequence[Item | None]) -> tuple[CommunicationStyle, SourcedPersona, list[str]]:
    """Style, persona, and what could not be read of them."""
    errors: list[str] = []

    def one(kind: type[R], item: Item | None) -> R:
        try:
            return kind() if item is None else read_record(kind, item.value)
        except CorruptRecordError as error:
            errors.append(str(error))
            return kind()

    return one(CommunicationStyle, items[0]), one(SourcedPersona, items[1]), errors
