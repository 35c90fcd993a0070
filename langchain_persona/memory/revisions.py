"""Persona revisions as values: a draft, the revision it becomes, and what is left of one when its sources go.

A persona text is lines, one sentence each. Beside every line stand the ids of the cards and episodes that it rests on,
so that what a user has forgotten can be taken out of the text exactly, in every revision ever written.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import Literal

from langchain_persona.records import Persona, PersonaRevision, Record

__all__ = [
    "FORGOTTEN",
    "MAX_CHARACTERS",
    "Draft",
    "Origin",
    "SourcedPersona",
    "SourcedRevision",
    "diff",
    "next_revision",
    "without",
]

MAX_CHARACTERS = 4_000
"""Longest persona text that is kept, about 1,000 tokens of English; writers stay well below."""

Origin = Literal["template", "model", "user", "rollback"]

FORGOTTEN = "shortened: something that it rested on was forgotten"
"""The reason of a revision from which lines were erased."""

Sources = tuple[tuple[str, ...], ...]


Lines = tuple[tuple[str, tuple[str, ...]], ...]
"""Lines of a text, each with the ids that it rests on."""


class SourcedRevision(PersonaRevision):
    """A revision with the sources of each line, as it is stored.

    Attributes:
        sources: for each line of the text the ids of cards and episodes that it rests on; `()` for a line that a person
            wrote.
    """

    sources: Sources = ()

    @property
    def lines(self) -> Lines:
        """Each line of the text with its sources."""
        return _lines(self.text, self.sources)


class SourcedPersona(Persona):
    """The persona in force, as it is stored."""

    revision: SourcedRevision = SourcedRevision(created=0.0)


class Draft(Record):
    """A persona text that a writer proposes; plain JSON, so that it can wait in a graph's state for a person.

    Attributes:
        text: one sentence a line.
        reason: why, in words; names no content, for it outlives what it is about.
        evidence: ids of the cards and episodes that it rests on.
        origin: who wrote it.
        cards: ids of the cards whose content the text carries.
        sources: ids of cards and episodes for each line of the text.
        base: number of the revision that it was made from.
        diff: unified diff to that revision, to be shown to who approves.
        score_old, score_new: how near the answers under the old and the new text come to what the user accepted;
            None where nothing was compared.
    """

    text: str
    reason: str = ""
    evidence: tuple[str, ...] = ()
    origin: Origin = "template"
    cards: tuple[str, ...] = ()
    sources: Sources = ()
    base: int = 0
    diff: str = ""
    score_old: float | None = None
    score_new: float | None = None

    @classmethod
    def of(
        cls,
        current: Persona,
        lines: Sequence[tuple[str, tuple[str, ...]]],
        *,
        cards: Collection[str],
        reason: str,
        origin: Origin,
        scores: tuple[float | None, float | None] = (None, None),
    ) -> Draft:
        """A draft from lines with their sources.

        Args:
            current: the persona that it is to replace.
            lines: sentences and the ids that each rests on.
            cards: the user's card ids; those that a line rests on are the draft's cards.
            reason: why.
            origin: who wrote it.
            scores: of the old and the new text.
        """
        text = "\n".join(line for line, _ in lines)
        evidence = tuple(dict.fromkeys(name for _, names in lines for name in names))
        old = current.revision
        return cls(
            text=text,
            reason=reason,
            evidence=evidence,
            origin=origin,
            cards=tuple(name for name in evidence if name in cards),
            sources=tuple(names for _, names in lines),
            base=old.number,
            diff=diff(old.text, text, old.number, current.latest + 1),
            score_old=scores[0],
            score_new=scores[1],
        )

    @property
    def lines(self) -> Lines:
        """Each line of the text with its sources."""
        return _lines(self.text, self.sources)

    def edited(self, text: str, known: Lines) -> Draft:
        """The draft with a text that a person gave; `known` lines that stand in it unchanged keep their sources."""
        sources_of = {line: names for line, names in known if names}
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        sources = tuple(sources_of.get(line, ()) for line in lines)
        evidence = tuple(dict.fromkeys(name for names in sources for name in names))
        cards = tuple(name for name in self.cards if name in evidence)
        update = {"text": "\n".join(lines), "sources": sources, "evidence": evidence, "cards": cards, "origin": "user"}
        return self.model_copy(update=update)

    def without(self, ids: Collection[str]) -> Draft:
        """The draft without the lines that rest on any of these cards or episodes."""
        kept = [(line, names) for line, names in self.lines if not set(names).intersection(ids)]
        update = {
            "text": "\n".join(line for line, _ in kept),
            "sources": tuple(names for _, names in kept),
            "evidence": tuple(name for name in self.evidence if name not in ids),
            "cards": tuple(name for name in self.cards if name not in ids),
        }
        return self.model_copy(update=update)


def diff(old: str, new: str, old_number: int, new_number: int) -> str:
    """Unified diff of two persona texts; "" when they are the same.

    Example:
        >>> print(diff("Drinks tea.", "Drinks coffee.", 1, 2))
        --- revision 1
        +++ revision 2
        @@ -1 +1 @@
        -Drinks tea.
        +Drinks coffee.
    """
    names = (f"revision {old_number}", f"revision {new_number}")
    return "\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), *names, lineterm=""))


def next_revision(current: SourcedPersona, draft: Draft, *, now: float) -> SourcedRevision:
    """The revision that a draft becomes, numbered after the latest."""
    number, old = current.latest + 1, current.revision
    return SourcedRevision(
        number=number,
        text=draft.text,
        reason=draft.reason,
        evidence=draft.evidence,
        diff=diff(old.text, draft.text, old.number, number),
        origin=draft.origin,
        cards=draft.cards,
        sources=draft.sources,
        created=now,
    )


def without(revision: SourcedRevision, ids: Collection[str], notes: Collection[str] = ()) -> SourcedRevision:
    """The revision without what came from erased cards or episodes; itself when it has none of it.

    The reason goes too, for it may speak of them; the diff has to be made again by who knows the revision before.

    Args:
        revision: any.
        ids: of the erased cards and episodes: lines that rest on one of them go.
        notes: the erased texts: lines that contain one word for word go, whoever wrote them.
    """
    said = [folded for folded in map(_folded, notes) if folded]
    kept = [
        (line, names)
        for line, names in revision.lines
        if not set(names).intersection(ids) and not any(note in _folded(line) for note in said)
    ]
    rests = set(revision.evidence) | set(revision.cards)
    if len(kept) == len(revision.lines) and rests.isdisjoint(ids):
        return revision
    return revision.model_copy(
        update={
            "text": "\n".join(line for line, _ in kept),
            "sources": tuple(names for _, names in kept),
            "evidence": tuple(name for name in revision.evidence if name not in ids),
            "cards": tuple(name for name in revision.cards if name not in ids),
            "reason": FORGOTTEN,
        }
    )


def _lines(text: str, sources: Sources) -> Lines:
    lines = text.splitlines()
    return tuple(zip(lines, (*sources, *[()] * len(lines)), strict=False))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .!-")
