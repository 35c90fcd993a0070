"""Which language a text is written in, by its function words; Chinese by its characters. No model, five languages."""

from __future__ import annotations

import re

from langchain_persona.signals.lexicon import load
from langchain_persona.signals.text import CJK, visible

__all__ = ["language_of"]

LONGEST = 4_000
"""Characters that are looked at; the rest of a text says nothing new."""

_WORDS = {language: frozenset(lists["words"]) for language, lists in load("language").items()}
_LATIN = {language: found for language, found in _WORDS.items() if language != "zh"}
_LETTERS = {"de": "äöüß", "fr": "çàâèêëîïôùûœ", "es": "ñ¿¡áíóú"}
_CHINESE = re.compile(f"[{CJK}]")
_OTHER = re.compile(r"[\u0370-\u1fff\u3040-\u30ff\u31f0-\u31ff\uac00-\ud7af]")
_WORD = re.compile(r"[^\W\d_]+")


def language_of(text: str) -> tuple[str | None, float]:
    """The language of a text and how sure that is.

    Returns:
        An ISO 639-1 code among en, de, fr, es and zh with a confidence in (0, 1]; (None, 0.0) when the text is too
        short, in another language, or could be two.

    Example:
        >>> language_of("Bitte antworte mir auf Deutsch, danke.")[0]
        'de'
        >>> language_of("ok")
        (None, 0.0)
    """
    head = visible(text[:LONGEST]).casefold()
    chinese, other = len(_CHINESE.findall(head)), len(_OTHER.findall(head))
    found = _WORD.findall(_CHINESE.sub(" ", head))
    total = sum(map(len, found))
    if chinese >= 2 and not other and 3 * chinese > total:
        return ("zh", round(chinese / (chinese + total / 3), 2))
    if other > total / 2 or not found:
        return None, 0.0
    scores = {language: float(sum(word in listed for word in found)) for language, listed in _LATIN.items()}
    for language, letters in _LETTERS.items():
        scores[language] += 0.75 * sum(any(letter in word for letter in letters) for word in found)
        scores[language] += 0.75 * any(mark in head for mark in letters if not mark.isalpha())
    best, second = sorted(scores, key=lambda language: -scores[language])[:2]
    margin = (scores[best] - scores[second]) / max(scores[best], 1.0)
    if scores[best] < 1.0 or scores[best] < 0.12 * len(found) or margin < 0.25:
        return None, 0.0
    return best, round(min(1.0, margin * min(1.0, (scores[best] + 1.0) / 4.0)), 2)
