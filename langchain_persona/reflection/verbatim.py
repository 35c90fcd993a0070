"""Without a model: the user's own sentences about themselves, kept word for word.

A sentence is kept when it speaks of the user ("I run a bakery") or sets a standing rule ("Never use emojis"). Nothing
is rephrased and no contradiction is judged: the answering model sees the sentences with their dates. Small markers for
twelve languages are in `data/verbatim.json`.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Sequence
from functools import cache

from langchain_core.runnables.config import run_in_executor

from langchain_persona.records import PreferenceCard
from langchain_persona.reflection import Exchange, Findings, Operation

_LONG = 2_000  # characters: of a longer message only the first and the last sentences are read
_EDGE = 600
_LONGEST_SENTENCE = 300

# no abbreviation ("z. B.", "D.C.", "Dr.") and no date ("3. Mai") ends a sentence
_END = re.compile(
    r"(?<=[.!?])(?<!\b[a-zäöü]\.)(?<!\b\w\.\w\.)(?<!\b\w\. \w\.)(?<!\b(?:Dr|St|Mr|Ms|Nr|ca|Sr|Hr)\.)"
    r"(?<!\b(?:Mrs|Mme|Sra|bzw)\.)(?:(?<!\d\.)|(?!\s+(?:Jan|Feb|Mär|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez)))\s+"
    r"|(?<=[。！？])|\n+"
)
_CLAUSE = re.compile(r"[,，;；—–](?!.*[,，;；—–])")
_QUOTED = re.compile(r'(?:(?<!\w)"|[“„«「『])([^"“”„«»「」『』]{0,2000})["”“»」』]')
_QUOTES = ("'", '"', "“", "„", "«", "「", "『")  # what opens with one are the words of somebody
_CODE = re.compile(r"```|'''")
_HEADER = re.compile(r"\s*(?:from|to|subject|von|an|betreff|de|à|para|objet|asunto|da|oggetto)\s?:\s?\S", re.IGNORECASE)
# a text behind a blank line is pasted where a task points at it; "explain" and "write" are tasks without a text, too
_WEAK = re.compile(r"^(?:says?|write|draft|expli?\w+|écris|escribe|解释|写)$|erklär|schreib", re.I)
_POINTS = re.compile(r"\b(?:this|these|following|below|dies|folgend|ce|cette|ces|est[aeo]s?)|这|下面|以下", re.I)
_AND = re.compile(r"(?<!\w)(?:and|und|et|y|и)(?!\w)|[,;，；和而]", re.IGNORECASE)
_STRAIGHT = str.maketrans("’‘`´", "''''")
_UNSPACED = ("zh", "ja", "ko", "cjk")


class VerbatimReflection:
    """Keeps the user's own sentences about themselves, without a model.

    Example:
        >>> turn = Exchange("m1", "I'm allergic to nuts. What can I bake?")
        >>> [(found.text, found.scope) for found in VerbatimReflection().reflect([turn], ()).operations]
        [("I'm allergic to nuts.", 'always')]
    """

    name = "verbatim"

    def reflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        """An "add" for each such sentence, at most ten a message."""
        found: list[Operation] = []
        for exchange in exchanges:
            kept = dict.fromkeys(filter(None, map(_statement, sentences(own_words(exchange.user)))))
            found += map(_operation, list(kept)[:10])
        return Findings(operations=tuple(found))

    async def areflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        """Async twin of `reflect`."""
        return await run_in_executor(None, self.reflect, exchanges, cards)


def own_words(text: str) -> str:
    r"""A message without what the user only passes on.

    Left out are quoted lines, code, long quotations, what follows "Translate:" and the like or the headers of a mail,
    and a whole message that opens a role play or asks not to be remembered.

    Example:
        >>> own_words("Is this right?\n> I hate cats\nI have two. Translate: I love dogs")
        'Is this right?\nI have two. Translate'
    """
    text = "\n".join(_CODE.split(text)[::2])
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith((">", "＞")))
    text = _QUOTED.sub(lambda one: '""' if len(one[1]) >= 30 else one[0], text.translate(_STRAIGHT)).strip()
    if _has("play", text[:_EDGE], start=True) or is_private(text):
        return ""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if _HEADER.match(line) and any(map(_HEADER.match, lines[index + 1 : index + 3])):
            return "\n".join(lines[:index])
        task = _task().search(line[:_EDGE])
        if task and task[1]:
            return "\n".join([*lines[:index], line[: task.start(1)]])
        below = lines[index + 1 :]
        # "Can you translate this?", and a text below: long, or behind a blank line
        near = below and not below[0].strip() and (_POINTS.search(line) or not _WEAK.search(task[0] if task else ""))
        if task and below and (near or sum(map(len, below)) > _EDGE):
            return "\n".join(lines[: index + 1])
    return text


def is_private(text: str) -> bool:
    """Whether a message asks not to be remembered, in a few usual phrases of English, German and French."""
    return _has("private", text[:_EDGE]) or _has("private", text[-_EDGE:])


def sentences(text: str) -> list[str]:
    """The sentences of a text; of a very long one the first and the last two."""
    if len(text) <= _LONG:
        found = _END.split(text)
    else:  # the sentences at the cuts are not whole
        found = [*_END.split(text[:_EDGE])[:-1][:2], *_END.split(text[-_EDGE:])[1:][-2:]]
    return [line for sentence in found if 2 < len(line := sentence.strip(" \t-*•")) <= _LONGEST_SENTENCE]


def without_question(sentence: str) -> str:
    """A sentence; of a question only what is stated ahead of it: "I'm vegan" of "I'm vegan, what can I eat?"."""
    if not sentence.endswith(("?", "？")):
        return sentence
    return sentence[: clause.start()] if (clause := _CLAUSE.search(sentence)) else ""


def _statement(sentence: str) -> str:
    """The sentence, or what is stated ahead of a question, if it is to be kept."""
    sentence = sentence if _is_rule(sentence) else without_question(sentence)
    if _has("skip", sentence) or sentence.startswith(_QUOTES):
        return ""
    speaks = _has("me", sentence) or (_has("respect", sentence) and _has("mine", sentence))
    return sentence if speaks or _is_rule(sentence) else ""


def _is_rule(sentence: str) -> bool:
    """Whether a sentence says how to answer from now on."""
    asks = _has("ask", sentence, start=True) or (_has("ever", sentence, start=True) and _has("ask", sentence))
    return _has("rule", sentence, start=True) or (asks and _has("ever", sentence))


def _operation(sentence: str) -> Operation:
    rule = _is_rule(sentence)
    kind = "style" if rule else "fact"
    if _has("dislike", sentence):
        kind = "dislike"
    elif not rule and _has("like", sentence) and not _has("not", sentence):
        kind = "like"
    if kind in ("like", "dislike") and _is_mixed(sentence, kind):
        kind = "fact"
    health = _has("respect", sentence)
    kind = "fact" if health and kind == "like" else kind  # "I'm allergic to dogs and I like mornings"
    scope = "always" if rule or health else "topic"
    return Operation.model_validate({"text": sentence, "quote": sentence, "kind": kind, "scope": scope})


def _is_mixed(sentence: str, kind: str) -> bool:
    """Whether a like or dislike speaks of several things, so that it would act against itself.

    "I love spicy food but my husband hates it"; "I like tea and hate coffee", but not "I don't like tea"; and one in a
    second clause: "I'm vegan and I hate meetings".
    """
    dislike, marker = _marker("dislike", start=False), _marker(kind, start=False).search(sentence)
    both = dislike.search(sentence) is not None and _has("like", dislike.sub(" ", sentence))
    ahead = _AND.split(sentence[: marker.start()])[:-1] if marker else []
    return both or _has("mixed", sentence) or any(_has("me", part) for part in ahead)


def _has(role: str, text: str, *, start: bool = False) -> bool:
    """Whether a marker of a role occurs; `start`: at the beginning, after words such as "please" or "and"."""
    return _marker(role, start=start).search(text) is not None


@cache
def _words() -> dict[str, dict[str, str]]:
    path = importlib.resources.files("langchain_persona") / "data" / "verbatim.json"
    words: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return words


def _join(role: str, *, spaced: bool) -> str:
    found = [words[role] for name, words in _words().items() if role in words and (name not in _UNSPACED) is spaced]
    return "|".join(found) or r"(?!)"


@cache
def _marker(role: str, *, start: bool) -> re.Pattern[str]:
    """Compiled at the first message: the languages with spaces between words, and those without."""
    lead = rf"^\W*(?:(?:{_join('lead', spaced=True)})\W+)*" if start else r"(?<!\w)"
    spaced = rf"{lead}(?:{_join(role, spaced=True)})(?!\w)"
    return re.compile(f"{spaced}|{_join(role, spaced=False)}", re.IGNORECASE)


@cache
def _task() -> re.Pattern[str]:
    """A task on a text, such as "translate", and the colon behind it if there is one."""
    words = rf"(?<!\w)(?:{_join('paste', spaced=True)})(?!\w)|{_join('paste', spaced=False)}"
    return re.compile(rf"(?:{words})(?:[^:：\n]{{0,80}}([:：]))?", re.IGNORECASE)
