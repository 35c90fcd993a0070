"""Text made comparable: one form of each letter, no hidden characters, words and clauses."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

__all__ = ["CJK", "clauses", "fold", "visible", "words"]

CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Chinese characters, for a character class."""

_QUOTES = str.maketrans({**dict.fromkeys("‘’‛′´`", "'"), **dict.fromkeys("“”„‟«»″", '"')})
_WORD = re.compile(rf"[{CJK}]|[^\W_]+(?:'[^\W_]+)*")
_CLAUSE = re.compile(r"[.!?;:,\n()…。！？；：，、—–]+|\s-+\s")
_COMBINING = re.compile(r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f]")


def visible(text: str) -> str:
    r"""The text as it is seen: NFKC, no format and control characters, straight quotes; case and accents kept.

    Line breaks stay; other control characters become a space.

    Example:
        >>> visible("i\u200bgnore")
        'ignore'
    """
    if text.isascii() and text.isprintable():
        return text.replace("`", "'")
    text = unicodedata.normalize("NFKC", text)
    return "".join(map(_shown, text)).translate(_QUOTES)


@lru_cache(maxsize=4_096)
def _shown(char: str) -> str:
    if char == "\n":
        return char
    category = unicodedata.category(char)
    if category in {"Cf", "Cs", "Co"}:
        return ""
    if category == "Zl" or category == "Zp":
        return "\n"
    return " " if category in {"Cc", "Zs"} else char


def fold(text: str) -> str:
    """The visible text in small letters and without accents, for comparing.

    Example:
        >>> fold("Schön, ÇA VA")
        'schon, ca va'
    """
    text = visible(text).casefold()
    return text if text.isascii() else _COMBINING.sub("", unicodedata.normalize("NFD", text))


def words(text: str) -> list[str]:
    """The folded words; each Chinese character is one.

    Example:
        >>> words("Don't, 不要!")
        ["don't", '不', '要']
    """
    return _WORD.findall(fold(text))


def clauses(text: str) -> list[str]:
    """The text cut at punctuation, without empty parts.

    Example:
        >>> clauses("No, I meant Java.")
        ['No', 'I meant Java']
    """
    return [part for piece in _CLAUSE.split(text) if (part := piece.strip())]
