"""Where a rule holds in a message: sentences, clauses, and what speaks against it. Pure, no model.

Precision comes from structure more than from words: a rule is tried only where a clause begins, so that "my friend
says I like jazz" or "do you think I love her" never reach it; quoted and pasted text is blanked out first; a question,
a hypothesis or one single occasion ("in this mail") takes the sentence out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from langchain_persona.extraction.rulebook import LANGUAGES, Rule, Rulebook, rulebook
from langchain_persona.signals.language import language_of

__all__ = ["MAX_CHARACTERS", "Match", "languages_of", "matches", "sentences_at", "states_nothing"]

MAX_CHARACTERS = 4_000
"""Of a longer message the first and the last half of this are read: what is longer was hardly typed."""

MAX_QUOTE = 200
"""Longer quotes are prose, not a preference."""

MAX_SENTENCE = 500
"""Of a longer sentence the beginning is read: the time a rule takes stays bounded, whatever is sent."""

MAX_CLAUSES = 24
"""So many beginnings of clauses are tried in one sentence."""

SHORT = 12
"""Characters of a sentence that does not count beside another, such as "Thanks!"."""

LANGUAGE_SAMPLE, LANGUAGE_SURE = 400, 0.8
"""From the beginning of a message its language is told; when that is so sure, rules of others are not tried."""

_BLANK = "\x1a"
_QUOTED = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\"[^\"]{0,600}\"|“[^”]{0,600}”|„[^“”]{0,600}[“”]"
    r"|«[^»]{0,600}»|「[^」]{0,600}」|『[^』]{0,600}』"
    r"|《[^》]{0,100}》|\u2039[^\u203a]{0,600}\u203a|(?<![\w])'[^'\n]{2,200}'(?!\w)"
    r"|^[ \t]*(?:>|\|)[^\n]*$|<[a-zA-Z/][^>\n]{0,200}>",
    re.DOTALL | re.MULTILINE,
)
_SENTENCE = re.compile(r"(?:[^.!?。\uff01\uff1f\n\uff1b]|[.!?](?=[^\s\"')\]!?.]))+(?:[.!?。\uff01\uff1f\uff1b]+|\n|$)")
_ENDS = re.compile(r"[\s.!?。\uff01\uff1f\uff1b,\uff0c:;~…\"')(\]\u2600-\u27bf\U0001f300-\U0001faff\ufe0f-]+$")
_OPENS = " \n-*•·–#\"'(¡¿"
_CJK = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[a-zA-Z]{2}")


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that holds.

    Attributes:
        language: of the rule.
        rule: which.
        quote: the words of the message, verbatim.
        position: where the quote begins in the message.
        sentence: that it is part of, verbatim.
        answer_language: ISO code of the language asked for; None where none was.
        named: that language as the user called it.
    """

    language: str
    rule: Rule
    quote: str
    position: int
    sentence: str
    answer_language: str | None = None
    named: str | None = None


def matches(text: str) -> list[Match]:
    """All rules that hold in a message, in its order; a stretch of text serves one rule only.

    Args:
        text: the user's message; of a very long one the beginning and the end are read.

    Example:
        >>> [(match.rule.slot, match.quote) for match in matches("Hi! I'm allergic to nuts, what can I bake?")]
        [('allergy', "I'm allergic to nuts")]
    """
    if len(text) > MAX_CHARACTERS:
        half = MAX_CHARACTERS // 2
        text = text[:half] + "\n" + text[-half:]
    plain = _plain(text)
    found: list[Match] = []
    for language in languages_of(plain):
        found += _of(rulebook(language), plain, text)
    found.sort(key=lambda match: (match.position, -len(match.quote)))
    kept: list[Match] = []
    end = 0
    for match in found:
        if match.position >= end:
            kept.append(match)
            end = match.position + len(match.quote)
    return kept


def states_nothing(text: str, start: int, end: int, *, lasting: bool = False) -> str | None:
    """Why a stretch of a message tells nothing lasting of its user; None when nothing speaks against it.

    For what a model found: the same signs that hold a rule back.

    Args:
        text: the message.
        start: where the stretch begins.
        end: where it ends.
        lasting: it would hold although the sentence speaks of one occasion, as a fact does.

    Example:
        >>> states_nothing("Translate: I hate jazz.", 11, 22)
        'pasted'
    """
    plain = _plain(text)
    if _BLANK in plain[start:end] and not plain[start:end].replace(_BLANK, "").strip():
        return "quoted"
    books = [rulebook(language) for language in languages_of(plain)]
    for book in books:
        if (pasted := book.pasted.search(plain)) and pasted.end() <= start:
            return "pasted"
        for sentence in _SENTENCE.finditer(plain):
            if sentence.start() < end and start < sentence.end():
                if book.unreal.search(plain, *sentence.span()):
                    return "hypothetical"
                if book.reported.search(plain, sentence.start(), start):
                    return "reported"
                if not lasting and book.once.search(plain, *sentence.span()):
                    return "one occasion"
    asked = [one for one in _SENTENCE.finditer(plain) if one.start() < end and start < one.end() and _asks(one.group())]
    if any(all(_in_question(book, one, end) for book in books) for one in asked):
        return "question"
    return None


def sentences_at(text: str, start: int, end: int) -> str:
    """The whole sentences of which a stretch is a part."""
    found = [one for one in _SENTENCE.finditer(text) if one.start() < end and start < one.end()]
    return text[found[0].start() : found[-1].end()].strip() if found else text[start:end]


def _asks(line: str) -> bool:
    return line.rstrip().endswith(("?", "\uff1f"))


def _in_question(book: Rulebook, sentence: re.Match[str], end: int) -> bool:
    """Whether a stretch that ends there belongs to what is asked, and that is no polite request."""
    line = sentence.group()
    begin = sentence.start() + len(line) - len(line.lstrip(_OPENS))
    starts = [begin, *(join.end() for join in book.join.finditer(sentence.string, begin, sentence.end()))]
    clause = max((start for start in starts if start < end), default=begin)
    asked = max(starts)
    return clause >= asked and not any(book.request.match(sentence.string, start) for start in starts)


def languages_of(plain: str) -> Sequence[str]:
    """Whose rules to try: those of the language where that is clear, else all that share the script."""
    latin, chinese = _LATIN.search(plain), _CJK.search(plain)
    if latin and not chinese:
        code, sure = language_of(plain[:LANGUAGE_SAMPLE])
        if code in LANGUAGES and sure >= LANGUAGE_SURE:
            return (code,)
    return [language for language in LANGUAGES if (chinese if language == "zh" else latin)]


def _plain(text: str) -> str:
    """The text with quotations and code blanked out and apostrophes made one; the same length."""
    plain = text.replace("’", "'").replace("\u2018", "'").replace("\u02bc", "'").replace("\t", " ").replace("\xa0", " ")
    return _QUOTED.sub(lambda found: _BLANK * len(found.group()), plain)


def _of(book: Rulebook, plain: str, text: str) -> list[Match]:
    foreign = book.pasted.search(plain)
    limit = foreign.end() if foreign else len(plain)
    sentences = list(_SENTENCE.finditer(plain, 0, limit))
    long = {index for index, one in enumerate(sentences) if len(_ENDS.sub("", one.group()).strip()) > SHORT}
    return [
        match
        for index, sentence in enumerate(sentences)
        for match in _in_sentence(book, sentence, text, only=not long - {index})
    ]


def _in_sentence(book: Rulebook, sentence: re.Match[str], text: str, *, only: bool) -> Iterator[Match]:
    line, plain = sentence.group(), sentence.string
    end = sentence.start() + min(len(_ENDS.sub("", line)), MAX_SENTENCE)
    begin = sentence.start() + len(line) - len(line.lstrip(_OPENS))
    if begin >= end or book.unreal.search(plain, begin, end):
        return
    asks = _asks(line)
    if asks and (tag := book.tag.search(plain, begin, end)) and tag.end() == end:
        return
    once = book.once.search(plain, begin, end) is not None
    taken, led = begin, _leads(book, plain, begin, end)
    for start in _starts(book, plain, begin, end):
        if start < taken:
            continue
        for rule in book.rules:
            if once and not rule.meaning.lasting:
                continue
            found = rule.pattern.match(plain, start, end)
            if found is None or found.end() == start:
                continue
            stop = _end(book, rule, found, end)
            quote = text[start:stop]
            if (
                ((rule.whole or rule.alone) and (stop < end or start not in led))
                or (rule.alone and not only)
                or (asks and stop >= end and not rule.question)
                or (stop < end and _word(plain[stop]) and _word(plain[stop - 1]))
                or len(quote) > MAX_QUOTE
                or (start > begin and book.reported.search(plain, begin, start))
            ):
                continue
            named = found.groupdict().get("language")
            code = book.languages.get(named.lower()) if named else None
            yield Match(book.language, rule, quote, start, text[begin:end], code, named)
            taken = stop
            break


def _starts(book: Rulebook, plain: str, begin: int, end: int) -> list[int]:
    """Where clauses begin, each with and without what may lead it."""
    starts: set[int] = set()
    for start in (begin, *(join.end() for join in book.join.finditer(plain, begin, end))):
        starts.update(_leads(book, plain, start, end))
    return sorted(starts)[:MAX_CLAUSES]


def _leads(book: Rulebook, plain: str, start: int, end: int) -> list[int]:
    """The position and those after one, two, … of the words that may lead a clause ("well, by the way, …")."""
    positions = [start]
    while len(positions) < 5 and (lead := book.lead.match(plain, positions[-1], end)) and lead.end() > positions[-1]:
        positions.append(lead.end())
    return positions


def _end(book: Rulebook, rule: Rule, found: re.Match[str], end: int) -> int:
    if not rule.open:
        return found.end()
    stop = book.stop.search(found.string, found.end(), end)
    stop_at = stop.start() if stop else end
    return found.start() + len(_ENDS.sub("", found.string[found.start() : stop_at]))


def _word(character: str) -> bool:
    """A letter of a script that puts spaces between words."""
    return character.isalnum() and not _CJK.match(character)
