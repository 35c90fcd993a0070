"""How a new note stands to an old one, decided by rules."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from langchain_persona.reconciliation.reading import Reading

__all__ = ["SAME", "VALUE", "Relation", "Verdict", "about", "nearly", "relation"]

Relation = Literal["same", "refines", "contradicts", "unrelated"]

SAME = 0.85
"""Cosine above which two notes that differ in the spelling of a word are one: "elefant" in a note of nine words has
0.89. Two names of like spelling stay below it ("I like Marina", "I like Martina": 0.59), and so do typing errors in
notes of three words ("cofee": 0.42), which are then kept beside each other. Labelled pairs that differ in one thing
only (tests/data/reconciliation.json) reach 0.82."""

VALUE = 0.33
"""Cosine above which what a note now speaks for could have taken the place of an old note: "coffee" has 0.36 to "I love
coke", "jazz" and "train" at most 0.21, and "coffee" to "I love Italian food" 0.26."""

_SOFT = frozenset({"like", "favourite", "drink", "eat", "use", "write", "read", "play", "watch", "listen", "answer"})
"""Kinds of statement that can tell the same preference: "I like tea", "I drink tea"."""

_ONE_AT_A_TIME = frozenset({"drink", "write", "rise", "drive"})
"""Kinds of statement of which a new one, with a word of change, ends the old one."""

_PREFIX = 5
_MISSPELT = 3
_SPELLING = 0.8


@dataclass(frozen=True, slots=True)
class Verdict:
    """A relation and why.

    Attributes:
        relation: of the new note to the old one.
        reason: in words that carry nothing of the notes.
        guessed: the new note does not name what it ends, so it can end one card only, the nearest.
    """

    relation: Relation
    reason: str
    guessed: bool = False


_UNRELATED = Verdict("unrelated", "something else")


def relation(old: Reading, new: Reading, cosine: float, value: float | None = None) -> Verdict:
    """How a new note stands to an old one.

    Args:
        old: the note that is kept.
        new: what was said later.
        cosine: of their embeddings; not used for Chinese, which MiniLM hardly reads.
        value: cosine of what the new note speaks for to the old note; None where it tells of no change.
    """
    if old.text == new.text:
        return Verdict("same", "the same words")
    if not _of_one_kind(old.frames, new.frames):
        return _UNRELATED
    if new.change and new.unwanted and _covers(new.unwanted, old.wanted) and not _equal(old.wanted, new.wanted):
        return Verdict("contradicts", "it says that this has ended")
    if _opposed(old, new):
        return Verdict("contradicts", "it says the opposite")
    if _counted_anew(old, new):
        return Verdict("contradicts", "it gives another number")
    if old.numbers and new.numbers and old.numbers != new.numbers:
        return _UNRELATED
    alike = _alike(old, new)
    if alike is not None:
        return alike
    if _takes_its_place(old, new):
        return Verdict("contradicts", "it gives another value")
    if _replaced(old, new, value):
        return Verdict("contradicts", "it says what is so now", guessed=True)
    if not new.change and nearly(old, new, cosine):
        return Verdict("same", f"nearly the same words (cosine {cosine:.2f})")
    return _UNRELATED


def nearly(one: Reading, other: Reading, cosine: float) -> bool:
    """Whether two notes are one but for a mistyped or inflected word: by cosine, and by the letters of what differs.

    "I live in Bern" is near "I live in Berlin" too.
    """
    if cosine < SAME or one.chinese or other.chinese or one.numbers != other.numbers:
        return False
    return _spelt_alike(one.wanted, other.wanted) and _spelt_alike(one.unwanted, other.unwanted)


def _spelt_alike(one: Set[str], other: Set[str]) -> bool:
    left = [stem for stem in one if not _is_in(stem, other)]
    right = [stem for stem in other if not _is_in(stem, one)]
    if len(left) != len(right) or len(left) > _MISSPELT:
        return False
    return all(any(SequenceMatcher(None, a, b).ratio() >= _SPELLING for b in right) for a in left)


def _of_one_kind(old: Set[str], new: Set[str]) -> bool:
    """Whether two notes may speak of one thing: "I live in Rome" and "I like Rome" do not."""
    if ("other" in old) != ("other" in new):
        return False
    return not old or not new or bool(old & new) or bool(old & _SOFT and new & _SOFT)


def _opposed(old: Reading, new: Reading) -> bool:
    """What one speaks for the other speaks against; of a wider or narrower thing only where it tells of a change."""
    for one, other in ((old.wanted, new.unwanted), (old.unwanted, new.wanted)):
        if not one or not other:
            continue
        if _equal(one, other) or (new.change and (_covers(one, other) or _covers(other, one))):
            return True
    return False


def _counted_anew(old: Reading, new: Reading) -> bool:
    differs = bool(old.numbers) and bool(new.numbers) and old.numbers != new.numbers
    return differs and new.change and _equal(old.wanted, new.wanted) and _equal(old.unwanted, new.unwanted)


def _alike(old: Reading, new: Reading) -> Verdict | None:
    """Same or finer: they are of one mind, and one says all that the other says."""
    if old.wanted and new.wanted:
        if _equal(old.wanted, new.wanted):
            wider = len(new.unwanted) > len(old.unwanted)
            return Verdict("refines", "it says more") if wider else Verdict("same", "it says the same")
        if _covers(new.wanted, old.wanted):
            return Verdict("refines", "it is more precise")
        if _covers(old.wanted, new.wanted) and not new.change:
            return Verdict("same", "it says no more than what is known")
        return None
    if old.unwanted and new.unwanted and not old.wanted and not new.wanted:
        if _equal(old.unwanted, new.unwanted):
            return Verdict("same", "it says the same")
        if _covers(new.unwanted, old.unwanted) and new.joined:
            return Verdict("refines", "it names more")
        return None
    empty = not (old.wanted | old.unwanted | new.wanted | new.unwanted)
    if empty and old.frames and old.frames == new.frames and old.numbers == new.numbers:
        return Verdict("same", "it says the same")
    return None


def _takes_its_place(old: Reading, new: Reading) -> bool:
    """Another value of what has one at a time in any case: where somebody lives, the favourite drink."""
    shared = old.frames & new.frames
    if not old.wanted or not new.wanted:
        return False
    # "my favourite drink is …": "drink" is a kind of statement too, "film" is not
    subject = shared - {"favourite", "like"} or _touches(old.wanted, new.wanted)
    return "live" in shared or ("favourite" in shared and bool(subject))


def _replaced(old: Reading, new: Reading, value: float | None) -> bool:
    """Told as a change, it speaks for another thing of the same kind, and does not say what that comes in place of."""
    if not new.change or new.addition or new.unwanted or not old.wanted or not new.wanted:
        return False
    if old.frames & new.frames & _ONE_AT_A_TIME or _touches(old.wanted, new.wanted):
        return True
    taste = all(not frames or frames & _SOFT - {"answer"} for frames in (old.frames, new.frames))
    return taste and not (old.chinese or new.chinese) and value is not None and value >= VALUE


def _touches(one: Set[str], other: Set[str]) -> bool:
    return any(_is_in(stem, other) for stem in one)


def _match(one: str, other: str) -> bool:
    short, long = (one, other) if len(one) <= len(other) else (other, one)
    if "\u3400" <= short[:1] <= "\u9fff":
        return short in long
    return short == long or (len(short) >= _PREFIX and long.startswith(short))


def _is_in(stem: str, stems: Set[str]) -> bool:
    return stem in stems or any(_match(stem, other) for other in stems)


def _covers(wide: Set[str], narrow: Set[str]) -> bool:
    """Every stem of `narrow` is also in `wide`."""
    return bool(narrow) and all(_is_in(stem, wide) for stem in narrow)


def _equal(one: Set[str], other: Set[str]) -> bool:
    return (not one and not other) or (_covers(one, other) and _covers(other, one))


def about(note: Reading, subject: Reading) -> bool:
    """Whether a note speaks, for or against, of what a subject names: "coffee", "that I like coffee", "where I live".

    A subject that names a thing and the kind of statement ("that I live in Rome") does not mean other kinds.
    """
    if note.text == subject.text:
        return True
    if ("other" in subject.frames) and "other" not in note.frames:
        return False
    named = subject.wanted | subject.unwanted
    if named:
        return _of_one_kind(note.frames, subject.frames - {"other"}) and _covers(note.wanted | note.unwanted, named)
    if "other" in subject.frames:
        return f" {subject.text} " in f" {note.text} "
    kinds = subject.frames - {"like", "have", "use"}
    return bool(kinds) and kinds <= note.frames
