"""For models of a few billion parameters: one small question a sentence of the user, all in one batch.

Such a model reads one sentence well and a long message badly, and fills one short record better than a list. So each
sentence is one call, with the assistant's turn where the user answers it; and for what was found one more call asks
which of the known notes it makes untrue. Examples teach it more than rules do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.utils.json import parse_json_markdown

from langchain_persona.prompt import clean_line
from langchain_persona.records import PreferenceCard
from langchain_persona.reflection import Exchange, Findings, Operation
from langchain_persona.reflection.model import answer_text, shorten
from langchain_persona.reflection.verbatim import own_words, sentences

PROMPT = """\
You note what a message says about the user as a person. First the note: one short sentence in the third person, in the
language of the message. Then its kind:
like, dislike: a taste or habit that lasts. health: allergy, illness, diet, phobia. fact: of the user's own life.
rule: how the user always wants to be answered. choice: what the user's choice among options shows; name the quality
that sets it apart from the others, not its number.
none: a question, a task, something for this once, other people, a thing in the world, thanks, small talk."""
"""What is asked about each sentence, ahead of the examples."""

CHANGE = """\
A new message of the user and old notes. Which old note is not true any more? "none" when all can still be true: a new
fact beside an old one changes nothing."""
"""What is asked about the notes for each sentence in which something was found."""

_EXAMPLES = [
    ("", "I can't stand cilantro.", "Can't stand cilantro.", "dislike"),
    ("", "How do I boil rice?", "Asks how to boil rice.", "none"),
    ("", "Bin Krankenschwester und arbeite meist nachts", "Ist Krankenschwester, arbeitet meist nachts.", "fact"),
    ("", "Write a mail to my landlord about the heating.", "Wants a mail written.", "none"),
    (
        "1. a big resort with a pool bar 2. a hut in the hills 3. a hotel in the city centre",
        "I'll take option 2. The others aren't for me.",
        "Prefers simple places in nature to resorts and city hotels.",
        "choice",
    ),
    ("", "La cacahuète m'envoie à l'hôpital.", "Est gravement allergique à la cacahuète.", "health"),
    ("", "My brother loves jazz and collects records.", "Speaks of a brother.", "none"),
    ("", "Prefiero ir en bici, nunca cojo el coche.", "Prefiere la bici y nunca usa el coche.", "like"),
    ("Shall I make it blue or green?", "Green for this one.", "Picks green this time.", "none"),
    ("", "回答请一直用中文。", "希望回答一直用中文。", "rule"),
    (
        "How about a horror film?",
        "Last time I slept with the light on for a week.",
        "Dislikes horror films.",
        "dislike",
    ),
    ("", "Thanks, I'm in a hurry today!", "Is in a hurry today.", "none"),
]
_CHANGES = [
    (("Lives in Berlin.", "Plays the piano."), "I live in a small flat.", "none"),
    (("Is vegetarian.", "Has two cats."), "I eat fish again these days.", "Is vegetarian."),
    (("Arbeitet als Koch.", "Mag Jazz."), "Den Jazzabend lasse ich nie aus.", "none"),
    (
        ("Likes long walks.", "Rides a motorbike to work."),
        "Sold the bike, I take the train.",
        "Rides a motorbike to work.",
    ),
    (("Drinks tea.", "Wants short answers."), "Give me all the details from now on.", "Wants short answers."),
    (("Is allergic to nuts.",), "I have a daughter who plays chess.", "none"),
]
_KINDS: dict[str, dict[str, str]] = {
    "like": {"kind": "like"},
    "dislike": {"kind": "dislike"},
    "health": {"kind": "fact", "scope": "always"},
    "fact": {"kind": "fact"},
    "rule": {"kind": "style", "scope": "always"},
    "choice": {"kind": "like", "origin": "inferred"},
    "none": {},
}
_CONFIG: RunnableConfig = {"run_name": "reflect", "tags": ["langsmith:nostream"], "max_concurrency": 4}
_CONTEXT, _REPLY, _NOTE_LENGTH = 600, 300, 200  # characters of the assistant's turn, of a short reply, of a note
_OPTION = re.compile(r"(?:^|\s)(?:[(（]?(?:\d{1,2}|[a-d])[.)）:、]|[-*•])\s?(?=\S)", re.MULTILINE)
_CLAUSE = re.compile(r"[,，;；—–](?!.*[,，;；—–])")


def _record(title: str, fields: dict[str, Any]) -> dict[str, Any]:
    whole = {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}
    return {"title": title, "description": "What the message says.", **whole}


_NOTE = _record(
    "note", {"note": {"type": "string", "maxLength": _NOTE_LENGTH}, "kind": {"type": "string", "enum": [*_KINDS]}}
)


class _Unit(NamedTuple):
    """What one call asks about: words of the user, and what they answer."""

    context: str
    quote: str


class FlatReflection:
    """Asks a small chat model about each sentence of the user.

    Args:
        model: the chat model; one that holds to a JSON schema.
        instructions: more to heed, behind the prompt.

    Example:
        >>> FlatReflection(ChatOpenAI(base_url="http://127.0.0.1:8080/v1", model="small"))  # doctest: +SKIP
    """

    name = "flat"

    def __init__(self, model: BaseChatModel, *, instructions: str = "") -> None:
        self.model = model
        self.prompt = f"{PROMPT}\n{instructions}" if instructions else PROMPT

    def reflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        """What the sentences teach. One that cannot be read is left out; `ValueError` where none can be."""
        units = _units(exchanges)
        answers = self._caller(_NOTE).batch(self._ask(units), _CONFIG, return_exceptions=True)
        found = _notes(units, _read(answers))
        asked = _ask_changes(found, cards)
        answers = self._caller(_change_schema(cards)).batch(asked, _CONFIG, return_exceptions=True)
        return _findings(found, _read(answers), cards)

    async def areflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        """Async twin of `reflect`."""
        units = _units(exchanges)
        answers = await self._caller(_NOTE).abatch(self._ask(units), _CONFIG, return_exceptions=True)
        found = _notes(units, _read(answers))
        asked = _ask_changes(found, cards)
        answers = await self._caller(_change_schema(cards)).abatch(asked, _CONFIG, return_exceptions=True)
        return _findings(found, _read(answers), cards)

    def _caller(self, schema: dict[str, Any]) -> Any:
        try:
            return self.model.with_structured_output(schema, method="json_schema", include_raw=True)
        except NotImplementedError:
            return self.model

    def _ask(self, units: Sequence[_Unit]) -> list[list[AnyMessage]]:
        examples = [(_question(context, said), {"note": note, "kind": kind}) for context, said, note, kind in _EXAMPLES]
        return [_chat(self.prompt, examples, _question(*unit)) for unit in units]


def _units(exchanges: Sequence[Exchange]) -> list[_Unit]:
    """What to ask about, each once: the sentences but for mere questions; a short reply to options as a whole."""
    found: dict[_Unit, None] = {}
    for exchange in exchanges:
        words, before = own_words(exchange.user).strip(), exchange.previous_assistant.strip()
        parts = list(filter(None, map(_statement, every := sentences(words))))
        options = len(_OPTION.findall(before)) > 1
        if len(parts) > 1 and options and len(words) < _REPLY:
            parts = [words]
        context = before if options or len(every) < 4 else ""
        found |= dict.fromkeys(_Unit(shorten(context, _CONTEXT), part) for part in parts or every[:1])
    return list(found)


def _statement(sentence: str) -> str:
    """A sentence; of a question only what is stated ahead of it: "I'm vegan" of "I'm vegan, what can I eat?"."""
    if not sentence.endswith(("?", "？")):
        return sentence
    return sentence[: clause.start()] if (clause := _CLAUSE.search(sentence)) else ""


def _question(context: str, said: str) -> str:
    return f"Assistant: {context}\nUser: {said}" if context else f"User: {said}"


def _chat(prompt: str, examples: Sequence[tuple[str, dict[str, str]]], question: str) -> list[AnyMessage]:
    """The same messages at the head each time, so that a server reads them once."""
    shown: list[AnyMessage] = [SystemMessage(prompt)]
    for asked, answer in examples:
        shown += [HumanMessage(asked), AIMessage(json.dumps(answer, ensure_ascii=False))]
    return [*shown, HumanMessage(question)]


def _read(answers: Sequence[Any]) -> list[dict[str, Any]]:
    """The records; an empty one where a call failed or cannot be read. Raises the first error where all did."""
    records, errors = list[dict[str, Any]](), list[Exception]()
    for answer in answers:
        try:
            if isinstance(answer, Exception):
                raise answer
            record = parse_json_markdown(answer_text(answer))
            if not isinstance(record, dict):
                raise ValueError(f"not a record: {record!r:.100}")
            records.append(record)
        except Exception as error:
            records.append({})
            errors.append(error)
    if errors and len(errors) == len(answers):
        raise errors[0]
    return records


def _notes(units: Sequence[_Unit], records: Sequence[dict[str, Any]]) -> list[Operation]:
    """An "add" for each unit that says something."""
    found = []
    for unit, record in zip(units, records, strict=True):
        fields, text = _KINDS.get(str(record.get("kind"))), str(record.get("note", "")).strip()
        if fields and text:
            found.append(Operation.model_validate({"text": text, "quote": unit.quote, **fields}))
    return found


def _ask_changes(found: Sequence[Operation], cards: Sequence[PreferenceCard]) -> list[list[AnyMessage]]:
    """One question for each finding, where there are notes."""
    examples = [(_change(notes, said), {"untrue": answer}) for notes, said, answer in _CHANGES]
    texts = [clean_line(card.text, _NOTE_LENGTH) for card in cards]
    return [_chat(CHANGE, examples, _change(texts, one.quote)) for one in found if texts]


def _change(notes: Sequence[str], said: str) -> str:
    return "\n".join(["Old notes:", *(f"- {note}" for note in notes), f"New message: {said}"])


def _change_schema(cards: Sequence[PreferenceCard]) -> dict[str, Any]:
    texts = dict.fromkeys(clean_line(card.text, _NOTE_LENGTH) for card in cards)
    return _record("change", {"untrue": {"type": "string", "enum": [*texts, "none"]}})


def _findings(
    found: Sequence[Operation], changes: Sequence[dict[str, Any]], cards: Sequence[PreferenceCard]
) -> Findings:
    """The findings; one that makes a note untrue takes its place."""
    ids = {clean_line(card.text, _NOTE_LENGTH): card.id for card in cards}
    operations = []
    for one, change in zip(found, changes or [{}] * len(found), strict=True):
        target = ids.pop(str(change.get("untrue")), None)
        operations.append(one.model_copy(update={"action": "update", "target": target}) if target else one)
    return Findings(operations=tuple(operations))
