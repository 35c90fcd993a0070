"""What a note says, by its words: of what, for or against it, and whether it tells of a change.

Sentence embeddings do not tell this: all-MiniLM-L6-v2 puts "I like long answers" and "I don't like long answers" at
0.92 to 0.98, "I like coffee" and "I drink coke" at 0.65. So embeddings find what belongs together and words decide.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Reading", "fold", "read", "values"]

_LONGEST_NOTE = 600
_LONGEST_TERM = 4
_TOKEN = re.compile(r"[\u3400-\u9fff]|[^\W\d_\u3400-\u9fff]+|\d+|[.,;:!?()。、]")
_CJK = re.compile(r"[\u3400-\u9fff]")
_CONTRACTED = re.compile(r"\b(?:can't|won't|shan't)|n't\b")
_ENDINGS = ("es", "en", "em", "er", "e", "s", "n", "o", "a")


@dataclass(frozen=True, slots=True)
class Reading:
    """A note, taken apart.

    Attributes:
        text: the whole note, folded; equal texts say the same.
        wanted: stems of what it speaks for, or simply of.
        unwanted: stems of what it speaks against, or names as what was before.
        frames: kinds of statement, such as "like", "live", "drink".
        numbers: numbers in it.
        change: tells that something is different now.
        joined: names several things.
        addition: says that this comes on top ("also"), so that it ends nothing.
        chinese: written in Chinese characters, of which MiniLM knows few.
    """

    text: str
    wanted: frozenset[str]
    unwanted: frozenset[str]
    frames: frozenset[str]
    numbers: frozenset[str]
    change: bool
    joined: bool
    addition: bool
    chinese: bool


def fold(text: str) -> str:
    """Case, width, punctuation and white space do not count."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", plain))


def read(note: str) -> Reading:
    """Take a note apart; linear in its length, of which the first 600 characters count.

    Example:
        >>> reading = read("I now prefer coffee over coke")
        >>> sorted(reading.wanted), sorted(reading.unwanted), reading.change
        (['coffe'], ['cok'], True)
    """
    plain = unicodedata.normalize("NFKC", note[:_LONGEST_NOTE]).casefold().replace("’", "'")
    plain = _CONTRACTED.sub(lambda found: {"can't": "can not", "won't": "will not"}.get(found[0], " not"), plain)
    clauses: list[_Clause] = [_Clause()]
    tokens = _TOKEN.findall(plain)
    position = 0
    while position < len(tokens):
        length, roles = _longest(tokens, position)
        if roles & {"break", "but"}:
            clauses.append(_Clause())
        clauses[-1].take("".join(tokens[position : position + length]), roles)
        position += length
    compound = any(token.startswith("lieblings") for token in tokens)
    parts = [clause for clause in clauses if clause.roles or clause.content]
    found = [part.split() for part in parts]
    wanted = frozenset(stem for kept, _ in found for stem in kept)
    unwanted = frozenset(stem for _, left in found for stem in left) - wanted
    return Reading(
        text=fold(note),
        wanted=wanted,
        unwanted=unwanted,
        frames=_named("frame", parts) | ({"favourite"} if compound else set()),
        numbers=_named("number", parts),
        change=any(part.changes for part in parts),
        joined=any("join" in part.roles for part in parts),
        addition=any("addition" in part.roles for part in parts),
        chinese=_CJK.search(plain) is not None,
    )


def _named(kind: str, clauses: Sequence[_Clause]) -> frozenset[str]:
    """What comes after the colon in roles such as "frame:like" and "number:2"."""
    return frozenset(
        name
        for clause in clauses
        for role in clause.roles
        for start, _, name in [role.partition(":")]
        if start == kind and name
    )


class _Clause:
    """What comes between two commas: its content in order, and the roles of its other words."""

    def __init__(self) -> None:
        self.content: list[tuple[str, frozenset[str]]] = []
        self.roles: set[str] = set()
        self._open = False  # the last piece of Chinese content may go on

    def take(self, word: str, roles: frozenset[str]) -> None:
        begins = all("break" in before for _, before in self.content)
        if "plus" in roles and (begins or "ne" in self.roles):
            roles = frozenset({"ceased"})  # "je n'aime plus …", "plus de …"
        if roles:
            self.roles |= roles
            self.content.append(("", roles))
        elif _CJK.match(word) and self._open:
            self.content[-1] = (self.content[-1][0] + word, frozenset())
        else:
            self.content.append((word if _CJK.match(word) else _stem(word), frozenset()))
        self._open = not roles and _CJK.match(word) is not None

    @property
    def changes(self) -> bool:
        """Whether it tells that something is different now."""
        told = any(role.partition(":")[0] in ("change", "switch", "ceased") for role in self.roles)
        return told or (self._negative and "if_negative_change" in self.roles)

    @property
    def _negative(self) -> bool:
        against = bool(self.roles & {"negation", "ceased"})
        return against != bool(self.roles & {"aversion"})

    def split(self) -> tuple[list[str], list[str]]:
        """Stems spoken for and against."""
        kept: list[str] = []
        left: list[str] = []
        demoted = started = False
        preferred: set[str] = set()
        switched = {role for role in self.roles if role.startswith("switch:")}
        for stem, roles in self.content:
            if not roles:
                (left if demoted else kept).append(stem)
            elif (
                "demote" in roles
                or (kept and {f"demote_if_{word}" for word in preferred} & roles)
                or {f"demote_if_{word}" for word in switched} & roles
            ):
                demoted = True
            elif "promote" in roles:
                demoted = False
            elif "start_negation" in roles and not started:
                self.roles.add("negation")
            preferred |= {role for role in roles if role.startswith("prefer:")}
            started = started or not roles or not roles <= {"stop"}
        return ([], kept + left) if self._negative else (kept, left)


def _longest(tokens: list[str], position: int) -> tuple[int, frozenset[str]]:
    """How many tokens the longest known term takes here, and its roles; one and none for content."""
    terms = _terms()
    for length in range(min(_LONGEST_TERM, len(tokens) - position), 0, -1):
        part = tokens[position : position + length]
        glue = "" if _CJK.match(part[0]) else " "
        roles = terms.get(glue.join(part))
        if roles is not None:
            return length, roles
    token = tokens[position]
    if token.isdigit():
        return 1, frozenset({f"number:{int(token[:18])}"})
    if not token[0].isalnum():
        return 1, frozenset({"break", "stop"})
    return 1, frozenset()


def _stem(word: str) -> str:
    """A word without accents and endings: singular and plural, and the cases of German, become one."""
    plain = word
    if not word.isascii():
        plain = "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))
        plain = plain.replace("ß", "ss")
    for ending in _ENDINGS:
        if plain.endswith(ending) and len(plain) - len(ending) >= 3:
            return plain[: -len(ending)]
    return plain


@functools.cache
def _terms() -> Mapping[str, frozenset[str]]:
    """Known terms and their roles, of all languages together: a card does not tell its language."""
    path = importlib.resources.files("langchain_persona") / "data" / "reconciliation.json"
    found: dict[str, set[str]] = {}
    for language, words in json.loads(path.read_text(encoding="utf-8")).items():
        if not isinstance(words, dict):
            continue
        for role, terms in words.items():
            if role == "numbers":
                for number, term in enumerate(terms, 1):
                    found.setdefault(term, set()).add(f"number:{number}")
            elif isinstance(terms, dict):
                for name, several in terms.items():
                    for term in several:
                        kinds = {f"frame:{name}", "light"} if role == "light" else {f"frame:{name}"}
                        found.setdefault(term, set()).update(kinds)
            else:
                # "a" after "prefiero", "de" after "passé" mean more than in another language
                own = role in ("prefer", "switch", "demote_if_prefer", "demote_if_switch")
                for term in terms:
                    found.setdefault(term, set()).add(f"{role}:{language}" if own else role)
    return {term: frozenset(roles) for term, roles in found.items()}


def values(note: str, reading: Reading) -> str:
    """The words of a note that it speaks for, for an embedding of them alone: "coffee" of "I switched to coffee"."""
    return " ".join(
        word for word in re.findall(r"\w+", note[:_LONGEST_NOTE]) if _stem(word.casefold()) in reading.wanted
    )


_terms()  # read at import, for an event loop must not wait for a file
