"""The persona text and the communication style of each user.

Each revision is a record of its own, whose key begins with the number and ends at random: of two writers at once both
revisions stay.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Literal

from langgraph.store.base import Op, Result

from langchain_persona.memory.store import UserStore, chunks, parse_record
from langchain_persona.records import CommunicationStyle, Persona, PersonaRevision, Trait, new_id

LONGEST_PERSONA = 4_000
"""Characters of a persona text, about 1,000 tokens of English."""

_LETTER = "[0-9A-Za-z\u00c0-\u052f]"  # of scripts that put spaces between words
_START, _END = rf"(?:(?<!{_LETTER})|(?!{_LETTER}))", rf"(?:(?!{_LETTER}{{3}})|(?<!{_LETTER}))"

Lines = Sequence[tuple[str, tuple[str, ...]]]


class Personas:
    """The personas of all users, in a store."""

    def __init__(self, store: UserStore) -> None:
        self._store = store

    def read_ops(self, user: str) -> list[Op]:
        """The two reads of a turn, for a batch; `parse` takes their results."""
        return [self._store.get((user, "persona"), "style"), self._store.get((user, "persona"), "current")]

    def parse(self, results: Sequence[Result]) -> tuple[CommunicationStyle, Persona]:
        """Style and persona; what is missing or cannot be read is the default."""
        style, persona = parse_record(CommunicationStyle, results[0]), parse_record(Persona, results[1])
        return style or CommunicationStyle(), persona or Persona()

    def read(self, user: str) -> tuple[CommunicationStyle, Persona]:
        """Style and persona of a user."""
        return self.parse(self._store.batch(self.read_ops(user)))

    def style_op(self, user: str, style: CommunicationStyle) -> Op:
        """The write of a style, for a batch."""
        return self._store.put((user, "persona"), "style", style.to_json())

    def restyle(self, user: str, told: Mapping[str, Trait]) -> CommunicationStyle:
        """Replace some axes of a style."""
        with self._store.editing(user):
            style = self.read(user)[0].model_copy(update=dict(told))
            self._store.batch([self.style_op(user, style)])
        return style

    def history(self, user: str) -> list[PersonaRevision]:
        """Every readable revision, oldest first, each with its diff to the one before."""
        found = [PersonaRevision(), *(revision for _, revision in self._revisions(user))]
        return [new.model_copy(update={"diff": diff_texts(old, new)}) for old, new in pairwise(found)]

    def revised(
        self,
        persona: Persona,
        lines: Lines,
        *,
        reason: str,
        origin: Literal["template", "model", "user", "rollback"],
    ) -> Persona:
        """The persona with a new revision in force; itself where the text stays or it is pinned. Nothing is written.

        Each line comes with the ids of the cards and episodes that it rests on. A user and a rollback also change a
        pinned persona.
        """
        old, text = persona.revision, "\n".join(line for line, _ in lines)
        if (persona.pinned and origin in ("template", "model")) or text == old.text:
            return persona
        number, sources, now = persona.latest + 1, tuple(names for _, names in lines), time.time()
        new = PersonaRevision(number=number, text=text, sources=sources, reason=reason, origin=origin, created=now)
        new = new.model_copy(update={"diff": diff_texts(old, new)})
        return persona.model_copy(update={"revision": new, "latest": number})

    def write_ops(self, user: str, persona: Persona) -> list[Op]:
        """The writes that put a new revision in force, for a batch."""
        revision = persona.revision
        kept = revision.model_copy(update={"diff": ""})  # made anew by `history`
        return [
            self._current_op(user, persona),
            self._store.put((user, "persona", "revisions"), f"{revision.number:08d}-{new_id()[:8]}", kept.to_json()),
        ]

    def write(self, user: str, persona: Persona) -> Persona:
        """Put a new revision in force; returns it without lines that rest on what was erased meanwhile."""
        self._store.batch(self.write_ops(user, persona))
        return self._without_erased(user, persona)

    def adopt(self, user: str, style: CommunicationStyle, persona: Persona, history: Sequence[PersonaRevision]) -> bool:
        """Take over style, persona and revisions from elsewhere, each where the user has none; True for a persona."""
        own_style, own = self.read(user)
        if own_style == CommunicationStyle() != style:
            self._store.batch([self.style_op(user, style)])
        if own != Persona() or persona == own:
            return False
        for some in chunks(history):
            # the text names the record: after a crash it is written again, not twice
            values = [one.model_copy(update={"diff": ""}).to_json() for one in some]
            digests = [hashlib.sha256(json.dumps(value).encode()).hexdigest()[:8] for value in values]
            keys = [f"{one.number:08d}-{digest}" for one, digest in zip(some, digests, strict=True)]
            place = (user, "persona", "revisions")
            self._store.batch([self._store.put(place, key, value) for key, value in zip(keys, values, strict=True)])
        self._store.batch([self._current_op(user, persona)])
        return True

    def revise(self, user: str, text: str, reason: str) -> Persona:
        """Write the text that a person gave; lines kept from before keep their sources."""
        with self._store.editing(user):
            _, persona = self.read(user)
            sources = dict(persona.revision.lines)
            lines = [(line, sources.get(line, ())) for line in map(str.strip, text.splitlines()) if line]
            new = self.revised(persona, lines, reason=reason, origin="user")
            return persona if new is persona else self.write(user, new)

    def rollback(self, user: str, number: int) -> Persona:
        """Put an earlier text in force again, as a revision of its own; see `PersonaMemory.rollback_persona`."""
        found = [revision for revision in self.history(user) if revision.number == number]
        if not found and number != 0:
            raise KeyError(f"no revision {number!r} for this user; memory.history(user) lists them")
        lines = found[-1].lines if found else []
        with self._store.editing(user):
            _, persona = self.read(user)
            new = self.revised(persona, lines, reason=f"back to revision {number}", origin="rollback")
            return persona if new is persona else self.write(user, new)

    def pin(self, user: str, pinned: bool) -> Persona:
        """Protect the persona from automatic rewrites, or lift the protection."""
        with self._store.editing(user):
            changed = self.read(user)[1].model_copy(update={"pinned": pinned})
            self._store.batch([self._current_op(user, changed)])
            return self._without_erased(user, changed)

    def drop(self, user: str, ids: Collection[str], texts: Collection[str]) -> None:
        """Take lines that rest on erased cards and episodes, or repeat an erased text, out of every revision."""
        said = contains(folded for folded in map(_fold, texts) if folded)
        ops = [
            self._store.put((user, "persona", "revisions"), key, kept.to_json())
            for key, old in self._revisions(user)
            if (kept := _without(old, ids, said)) is not old
        ]
        _, persona = self.read(user)
        kept = _without(persona.revision, ids, said)
        if kept is not persona.revision:
            kept = kept.model_copy(update={"number": persona.latest + 1, "created": time.time()})
            ops += self.write_ops(user, persona.model_copy(update={"revision": kept, "latest": kept.number}))
        elif ops:  # the diff of the one in force may quote what went
            plain = persona.revision.model_copy(update={"diff": ""})
            ops.append(self._current_op(user, persona.model_copy(update={"revision": plain})))
        self._store.batch(ops)

    def _without_erased(self, user: str, persona: Persona) -> Persona:
        erased = self._store.erased(user, [name for names in persona.revision.sources for name in names])
        if not erased:
            return persona
        self.drop(user, erased, ())
        return self.read(user)[1]

    def _revisions(self, user: str) -> list[tuple[str, PersonaRevision]]:
        items = self._store.scan((user, "persona", "revisions"))
        found = [(item.key, one) for item in items if (one := parse_record(PersonaRevision, item)) is not None]
        return sorted(found, key=lambda entry: (entry[1].number, entry[1].created))

    def _current_op(self, user: str, persona: Persona) -> Op:
        return self._store.put((user, "persona"), "current", persona.to_json())


def diff_texts(old: PersonaRevision, new: PersonaRevision) -> str:
    """Unified diff of two revisions; "" when their texts are the same."""
    names = (f"revision {old.number}", f"revision {new.number}")
    return "\n".join(difflib.unified_diff(old.text.splitlines(), new.text.splitlines(), *names, lineterm=""))


def contains(texts: Iterable[str]) -> Callable[[str], bool]:
    """What tells whether one of some texts stands in another.

    One as short as "Java" must stand there as a word, for it is a part of "JavaScript" by chance; an ending of up to
    two letters may follow, as in "cats". Erasing rather takes too much than leaves something.
    """
    known = tuple(texts)

    def stands(text: str, other: str) -> bool:
        return text in other and (len(text) > 5 or re.search(_START + re.escape(text) + _END, other) is not None)

    return lambda other: any(stands(text, other) for text in known)


def _without(revision: PersonaRevision, ids: Collection[str], said: Callable[[str], bool]) -> PersonaRevision:
    """The revision without the lines that came from what was erased; itself where it has none."""
    kept = [
        (line, names) for line, names in revision.lines if not set(names).intersection(ids) and not said(_fold(line))
    ]
    if len(kept) == len(revision.lines):
        return revision
    left = {"text": "\n".join(line for line, _ in kept), "sources": tuple(names for _, names in kept)}
    reason = "shortened: something that it rested on was erased"
    return revision.model_copy(update={**left, "reason": reason, "diff": ""})  # the diff quotes the revision before


def _fold(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .!-")
