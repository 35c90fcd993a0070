"""Checks on what a model found: it must stand on the user's own words, say what they say, and be fit to keep."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Literal

from langchain_persona.extraction.fitness import bare, fit, fit_for_always
from langchain_persona.extraction.matching import languages_of, matches, sentences_at, states_nothing
from langchain_persona.extraction.protocol import Turn
from langchain_persona.extraction.rulebook import rulebook
from langchain_persona.extraction.schema import Found
from langchain_persona.records import Evidence, PreferenceCard
from langchain_persona.signals.language import language_of

__all__ = ["MAX_MESSAGE", "grounded", "located"]

MAX_MESSAGE = 2_000
"""Characters of a message that a model is shown, and in which its quotes are looked for."""

MAX_NOTE = 200
"""Characters of the user's own words that may stand as a note."""

CONFIDENCE = {"high": 0.8, "medium": 0.65, "low": 0.5}
"""Below what rules give: a model's word is weaker than a pattern that fits."""

_EDGES = " \t\r\n\"'“”„«»「」.,;:!?。\uff01\uff1f\uff0c…"
_CONTENT = re.compile(r"[^\W\d_]{4,}|[\u4e00-\u9fff]|\d+")
_CJK = re.compile(r"[\u4e00-\u9fff]")
_ENGLISH = re.compile(
    r"(?:the user|user|prefers?|wants?|likes?|loves?|hates?|dislikes?|enjoys?|is|has|does|never|always|plays?"
    r"|works?|lives?|keeps?|drinks?|eats?|uses?|suggest|answer|avoid|give|recommend|write|take|explain|respond|provide)\b",
    re.IGNORECASE,
)
"""How a note begins that slipped into English; too short for its language to be told."""
_LETTERS = re.compile(r"[^\W_]")


def located(turns: Sequence[Turn], quote: str) -> tuple[Turn, str, int] | None:
    """Where a quote occurs in the user's words; white space and case do not count.

    Returns:
        The latest turn that has it, the words as the user wrote them, and their position; None when nobody said so.
    """
    words = quote.strip(_EDGES).replace("’", "'").split()
    letters = len(_LETTERS.findall(quote))
    if letters < (2 if _CJK.search(quote) else 5):
        return None
    pattern = re.compile(r"\s+".join(re.escape(word).replace("'", "['’]") for word in words), re.IGNORECASE)
    for turn in reversed(turns):
        if found := pattern.search(turn.user[:MAX_MESSAGE]):
            return turn, found.group(), found.start()
    return None


def grounded(turns: Sequence[Turn], found: Sequence[Found]) -> list[PreferenceCard]:
    """Cards for what passes: the quote occurs, it is meant, it is no secret and no instruction, each thing once."""
    cards: list[PreferenceCard] = []
    for record in found:
        card = _card(turns, record)
        if card and all(card.note != other.note and card.evidence != other.evidence for other in cards):
            cards.append(card)
    return cards


def _card(turns: Sequence[Turn], record: Found) -> PreferenceCard | None:
    if record.kind == "none":
        return None
    place = located(turns, record.quote)
    if place is None or record.note.rstrip().endswith(("?", "\uff1f")):  # it repeats the question
        return None
    turn, quote, position = place
    if states_nothing(turn.user[:MAX_MESSAGE], position, position + len(quote), lasting=record.kind == "fact"):
        return None
    slot = next((match.rule.meaning for match in matches(quote) if match.rule.meaning.topic), None)
    always = slot.always if slot else record.kind == "style" or record.scope == "always"
    note, origin = _note(turn.user, quote, record, [other.assistant for other in turns])
    condition, action = (
        None if _foreign(turn.user, text) else text.strip() or None for text in (record.condition, record.action)
    )
    sentence = sentences_at(turn.user[:MAX_MESSAGE], position, position + len(quote))
    # a note without a subject ("Runs a bakery.") may tell the guard too little: then the user's own words stand
    note = next((text for text in (note, quote, sentence) if len(text) <= MAX_NOTE and not bare(text)), note)
    note = " ".join(note.split())
    texts = (note, condition, action)
    if not fit(texts, [quote, sentence]):
        return None
    always = always and fit_for_always(texts if record.kind == "style" else (*texts, sentence))
    now = time.time()
    return PreferenceCard(
        note=note,
        condition=condition,
        action=action,
        kind=slot.kind if slot else record.kind,
        topic=slot.topic if slot else None,
        always=always,
        origin=origin,
        confidence=CONFIDENCE[record.confidence],
        evidence=(Evidence(message_id=turn.message_id, quote=quote),),
        created=now,
        updated=now,
    )


def _note(
    user: str, quote: str, record: Found, answers: Sequence[str] = ()
) -> tuple[str, Literal["stated", "inferred"]]:
    """What the card says, and whether the user said it.

    The model's note, or the user's own words where that is empty, in another language, about something else, or says
    the opposite: "never from Berlin" comes back as "Prefers Berlin." from small models. Of a way of answering other
    words are fine ("wall of text" is "Wants short answers."), but then it is inferred.
    """
    note, words = " ".join(record.note.split()), " ".join(quote.split())
    if not note or _foreign(user, note) or bool(_CJK.search(quote)) != bool(_CJK.search(note)):
        return words, record.origin
    said = _content(quote)
    alike = not said or bool(said & _content(note))
    if _negated(quote) != _negated(note) and (alike or record.kind != "style"):
        return words, record.origin
    if alike:
        return note, record.origin
    told = _content(note)
    if any(len(told & _content(answer[:MAX_MESSAGE])) * 2 >= len(told) for answer in answers if told):
        return words, record.origin  # the assistant's own words are no preference
    return (note, "inferred") if record.kind == "style" or record.origin == "inferred" else (words, "stated")


def _negated(text: str) -> bool:
    return any(rulebook(language).negation.search(text) for language in languages_of(text))


def _foreign(user: str, text: str) -> bool:
    """Whether a text is in another language than the user's, as far as that can be told."""
    spoken, sure = language_of(user)
    if spoken is None or sure < 0.5 or not text:
        return False
    written, certain = language_of(text)
    if spoken == "zh":
        return not _CJK.search(text)
    return (written not in (None, spoken) and certain >= 0.5) or (spoken != "en" and _ENGLISH.match(text) is not None)


def _content(text: str) -> set[str]:
    """Words that carry meaning, by their first letters, so that "take" and "takes" are one."""
    return {word[:4] for word in _CONTENT.findall(text.casefold())}
