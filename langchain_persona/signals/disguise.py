"""Tricks of writing that no plain preference needs: hidden and borrowed letters, fences, role marks, encoded text."""

from __future__ import annotations

import html
import re
import unicodedata

from langchain_persona.signals.text import CJK, fold

__all__ = ["disguise", "readings"]

# Letters of other alphabets that look like Latin ones, after case folding.
_LOOKALIKES = str.maketrans(
    "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0458\u0455\u04bb\u0501\u051b\u051d\u0432\u043a\u043c\u043d\u0442\u0433"
    "\u03b1\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u03b7\u03b3\u0131\u0261\u0269\u1d0f\u0585\u057d\u0570",
    "aceopxyijshdqwbkmhtr" + "aeikvoptuxnyi" + "gio" + "ouh",
)
_LEET = str.maketrans("013457@$", "oieastas")
_HIDDEN = re.compile(
    r"(?<=[^\W\d_])[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff]+(?=[^\W\d_])"
    r"|[\u202a-\u202e\u2066-\u2069]|[\U000e0000-\U000e007f]|[\ue000-\uf8ff]|[\u0300-\u036f]{3,}"
    rf"|(?<=[a-zA-Z{CJK}])[\u200c\u200d]+(?=[a-zA-Z{CJK}])|\u200b{{2,}}"
)
_TAG = re.compile(
    r"!\[[^\]]{0,200}\]\(|<[|/!?]|[|/]>|\|im_|<<|>>>|</?[a-z][\w:-]{2,}(?:\s[^<>]{0,200})?/?>|\[/?(?:inst|sys|system|user|assistant|tool)\b|"
    r"'{3,}|~~~|={3,}|-{4,}|#{2,}|\*{4,}|_{4,}|\{\{|\}\}|\{%|%\}|\$\(|\$\{|\[\[|\]\]|\"role\"|'role'\s*:|<s>|</s>|-->|"
    r"(?:^|[\n.;!?>])\s*(?:#\s*)?(?:system|assistant|user|human|developer|tool|ai|systeme?|sistema|asistente|assistent|"
    r"nutzer|benutzer|utilisateur|usuario|系统|助手|用户|开发者)(?:\s?(?:message|prompt|note|notice|nachricht|hinweis|"
    r"提示|消息|notification|override|alert|update|response|output))?\s*[:>\]]|"
    r"\b(?:begin|end|start|stop|ende|fin|debut|inicio)\s?(?:of|der|des|du|de la|del|de)?\s?(?:the\s)?"
    r"(?:user|notes?|system|prompt|instruction|nutzer|benutzer|daten|donnees|utilisateur|usuario|datos"
    r"|context|data|document|message|notizen|anweisung|notas|instruccion)"
    r"|(?:以上|以下)?(?:笔记|用户信息|数据|文档|资料)(?:到此)?(?:结束|完毕)"
)
_ENCODED = re.compile(
    r"(?:\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|%[0-9a-f]{2}|&#x?[0-9a-f]{1,6};){3}|[a-z0-9+/]{40,}={0,2}|(?:[01]{8}\s?){3}|"
    r"\b(?:base64|rot13|hex-encoded|url-encoded)\b"
)
_SPREAD = re.compile(r"(?<![^\W_])(?:[a-z][ .\-_*]{1,3}){5,}[a-z](?![^\W_])")
_SPACES = re.compile(r"[^\S\n]+")
_WORD = re.compile(r"[^\W\d_]{3,}")
_FOREIGN = re.compile(r"[\u0370-\u03ff\u0400-\u052f\u0530-\u058f\u13a0-\u13ff\uab70-\uabbf]")
_LATIN = re.compile(r"[a-z]")


def disguise(text: str) -> str | None:
    r"""Which trick of writing a text uses; None when it uses none.

    Example:
        >>> disguise("ig\u200bnore this"), disguise("</user_notes> hello"), disguise("I love <3 and 2 < 3")
        ('hidden characters', 'marks of a fence or a role', None)
    """
    if _HIDDEN.search(unicodedata.normalize("NFC", text)):
        return "hidden characters"
    for seen in {_lower(text), _lower(html.unescape(text))}:
        if _TAG.search(seen):
            return "marks of a fence or a role"
        if _ENCODED.search(seen):
            return "encoded text"
        if _SPREAD.search(seen):
            return "letters spread out"
    if any(_FOREIGN.search(word) and _LATIN.search(word) for word in _WORD.findall(fold(text))):
        return "letters of several alphabets in one word"
    return None


def readings(text: str) -> list[str]:
    """The text as a reader may read it, folded: with look-alike letters, and with digits for letters, put right.

    Example:
        >>> readings("1gn0re")
        ['1gn0re', 'ignore']
    """
    plain = _lower(html.unescape(text)).translate(_LOOKALIKES)
    leet = re.sub(r"\S++", lambda word: word[0].translate(_LEET) if _few_digits(word[0]) else word[0], plain)
    return list(dict.fromkeys([plain, leet]))


def _few_digits(word: str) -> bool:
    return (
        "://" not in word
        and sum(map(str.isalpha, word)) >= len(word) / 2
        and not re.fullmatch(r"[^\w@$]*[^\W\d_]+[^\w@$]*", word)
    )


def _lower(text: str) -> str:
    return _SPACES.sub(" ", fold(text))
