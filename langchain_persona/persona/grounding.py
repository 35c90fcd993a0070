"""Does a sentence of a persona rest on what the user said? Word by word, against the user's own cards and messages.

A model that writes a persona has seen answers and, through them, tool results and web pages. So its sentences count
only when every content word of theirs occurs in the user's own words, or speaks of nothing but the form of answers, and
when none turns a "no" into a "yes". What does not pass is left out; the cards themselves stay and are shown beside
the persona.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from langchain_persona.records import Episode, PreferenceCard
from langchain_persona.signals.guard import objection

__all__ = ["Source", "carries", "content_words", "sources_of", "support", "tokens"]

_MOST_SOURCES = 4
_LONGEST_MESSAGE = 400
_LEAST_CONFIDENCE = 0.5

_QUOTED = re.compile(r"```.*?(?:```|$)|[\"“„«「『].{3,}?[\"”“»」』]|^\s*>.*?$|https?://\S+", re.DOTALL | re.MULTILINE)
_WORD = re.compile(r"[^\W\d_]{2,}|\d+|[@€$£%]")
_CLAUSE = re.compile(
    r"[,;:.!?()\u2026\u3001\u3002\uff0c\uff1b\uff1a\uff01\uff1f\n]+"
    r"|\b(?:but|aber|sondern|mais|pero|sino)\b|但是?"
)
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_NEGATED = re.compile(
    r"\b(?:no|not|never|none|without|avoid\w*|dislike\w*|hate\w*|stop|too|less|cannot"
    r"|nicht|kein\w*|nie|niemals|ohne|vermeide\w*|weniger|zu (?:lang|kurz|viel|wenig|ausführlich|technisch)\w*"
    r"|pas|jamais|sans|aucun\w*|évite\w*|trop|moins"
    r"|nunca|jamás|sin|evit\w*|demasiado|ningun\w*|menos)\b|n['’]t\b|[不别沒没勿无無太]"
)

_AVERSE = re.compile(r"\b(?:allerg|alerg|intoler|unverträg)\w*|过敏|過敏")

_WORDS = json.loads(files("langchain_persona").joinpath("data/persona/words.json").read_text(encoding="utf-8"))

# words that frame a preference and carry none of it
_FRAME: frozenset[str] = frozenset(_WORDS["frame"])


@dataclass(frozen=True, slots=True)
class Source:
    """One clause of a user's words and where it stands.

    Attributes:
        id: of the card or episode.
        words: stems and pairs of CJK characters.
        refusals: how often it says no; a sentence that rests on it says so as often.
        judges: True for an episode on whose answer the user had a word to say.
    """

    id: str
    words: frozenset[str]
    refusals: tuple[int, int]
    judges: bool = False


def content_words(text: str) -> set[str]:
    """Stems of the words that carry a sentence: without its frame, CJK in pairs of characters.

    Example:
        >>> sorted(content_words("The user prefers short answers in German."))
        ['germa', 'short']
    """
    return {_stem(word) for word in tokens(text) if word not in _FRAME}


def tokens(text: str) -> list[str]:
    """Words of a text, folded, in any order; CJK in pairs of characters."""
    text = unicodedata.normalize("NFKC", text).casefold()
    pairs = [run[index : index + 2] for run in _CJK.findall(text) for index in range(max(1, len(run) - 1))]
    return pairs + _WORD.findall(_CJK.sub(" ", text))


def sources_of(cards: Sequence[PreferenceCard], episodes: Sequence[Episode]) -> list[Source]:
    """What a persona may rest on: the user's active cards, and what they said of the form of answers.

    Answers and tool results are no evidence; neither is a question: it speaks of its topic and may hold foreign text.
    Of what was said of an answer only words of form count, outside quotes and code: taste and facts are a matter of
    cards.
    """
    found: list[Source] = []
    for card in cards:
        if card.active and card.confidence >= _LEAST_CONFIDENCE and objection(card.note, always=True) is None:
            texts = (card.note, card.condition, card.action, *(entry.quote for entry in card.evidence))
            found += _clauses(card.id, texts)
    for episode in episodes:
        said = episode.follow_up or ""
        if 0 < len(said) <= _LONGEST_MESSAGE:
            found += _clauses(episode.id, [_QUOTED.sub(" ", said)], judges=True)
    return found


def support(sentence: str, sources: Sequence[Source]) -> tuple[str, ...]:
    """Ids of what a sentence rests on, best first; `()` when it must not stand in a persona.

    Example:
        >>> sources = sources_of([PreferenceCard(id="c1", note="Short answers please, no emojis")], [])
        >>> support("Never use emojis.", sources), support("Use emojis.", sources), support("Pay by IBAN.", sources)
        (('c1',), (), ())
    """
    if objection(sentence, always=True) is not None:
        return ()
    found: dict[str, None] = {}
    for clause in _CLAUSE.split(sentence):
        if words := content_words(clause):
            names = _supported(words, _refusals(clause), sources)
            if not names:
                return ()
            found |= dict.fromkeys(names)
    return tuple(found)


def carries(line: str, note: str) -> bool:
    """True when a line holds a note: at least four fifths of its content words.

    Example:
        >>> carries("No emojis.", "No emojis please"), carries("No emojis.", "No emojis, except for birthdays")
        (True, False)
    """
    wanted = content_words(note)
    return len(wanted & content_words(line)) >= 0.8 * len(wanted)


def _supported(words: set[str], refusals: tuple[int, int], sources: Sequence[Source]) -> tuple[str, ...]:
    chosen: list[Source] = []
    left = set(words)
    while left and len(chosen) < _MOST_SOURCES:
        best = max(sources, key=lambda source: (len(left & source.words), source.refusals == refusals), default=None)
        if best is None or not left & best.words:
            break
        chosen.append(best)
        left -= best.words
    if left - _FORM_STEMS:
        return ()
    if chosen:
        same = all(source.refusals == refusals for source in chosen)
        return tuple(source.id for source in chosen) if same else ()
    return tuple(dict.fromkeys(source.id for source in sources if source.judges))


def _refusals(text: str) -> tuple[int, int]:
    """How often a clause says no ("too long" does once, "not too long" twice), and how often it names an allergy."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return len(_NEGATED.findall(folded)), len(_AVERSE.findall(folded))


def _clauses(name: str, texts: Sequence[str | None], *, judges: bool = False) -> list[Source]:
    clauses = dict.fromkeys(clause for text in texts if text for clause in _CLAUSE.split(text))
    found: list[Source] = []
    for clause in clauses:
        words = frozenset(content_words(clause))
        found.append(Source(name, words & _FORM_STEMS if judges else words, _refusals(clause), judges))
    kept = [source for source in found if source.words]
    return kept if kept or not judges else found[:1]


def _stem(word: str) -> str:
    short = word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
    return short[:5]


_FORM_STEMS: frozenset[str] = frozenset(map(_stem, _WORDS["form"]))
"""Words that speak of the form of an answer only: harmless whoever said them."""
