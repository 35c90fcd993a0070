"""For models of a few billion parameters: one small question a sentence of the user, batched.

Such a model reads one sentence well and a long message badly, and fills one short record better than a list. So plain
statements are kept word for word, as `VerbatimReflection` does, and each other sentence is a call, with the assistant's
turn where it may answer one. A reply to options is read beside them, and about what was found one more call asks which
known note it makes untrue. Examples teach such a model more than rules do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM

from langchain_persona.prompt import clean_line
from langchain_persona.records import PreferenceCard
from langchain_persona.reflection import Exchange, Findings, Operation
from langchain_persona.reflection.model import answer_json, bind_schema, chat_model, shorten
from langchain_persona.reflection.verbatim import VerbatimReflection, own_words, sentences, without_question

_NOTE = """\
One short note on what the message tells about the user: third person, language of the message. Then its kind.
like, dislike: a lasting taste or habit. fact: of the user's own life. health: the user's allergy, illness, diet, fear.
answers: how to answer the user. none: asks, orders, thanks, speaks of others, of a thing, of today only."""
_NOTES = """\
I can't stand cilantro. => Can't stand cilantro. => dislike
How do I boil rice? => Asks how to boil rice. => none
Bin Pfleger und arbeite meist nachts => Ist Pfleger, arbeitet meist nachts. => fact
Write a mail to my landlord. => Asks for a mail. => none
My brother loves jazz. => Speaks of the brother. => none
No vuelo, voy siempre en tren. => No vuela, va siempre en tren. => like
How about a horror film? -- Last time I slept with the light on for a week. => Can't bear horror films. => dislike
Thanks, I'm in a hurry today! => Speaks of today. => none
La cacahuète m'envoie à l'hôpital. => Est allergique à la cacahuète. => health
The hall is near the river and holds eighty people. => Speaks of a hall. => none
回答请一直用中文。 => 希望一直用中文回答。 => answers
You could bake. -- I do, every Sunday, it's the best hour of my week. => Loves to bake on Sundays. => like
Let's play: you are a king. => Asks for a role play. => none
Stop the long introductions. => Wants no long introductions. => answers
I do my sums on paper, so show me all the steps => Does sums on paper, wants all the steps. => fact
I never take sugar or milk. => Takes no sugar or milk. => dislike
It is on the second floor and looks like a barn. => Speaks of a thing. => none
We only use Linux, so no Windows tips please => Uses only Linux. => fact
I'm tall, so most chairs don't fit me => Is tall. => fact
Our son Tim is six and talks of trains all day. => Has a son Tim, six, who talks of trains. => fact
No politics, please! => Wants no politics. => answers
Vivo en Lugo y busco un dentista => Vive en Lugo. => fact
Call me Bo, not Robert. => Wants to be called Bo. => answers
Ma voisine adore le ski et le fromage. => Speaks of a neighbour. => none
Try our oysters! -- Oysters again. The last one went straight into my napkin. => Dislikes oysters. => dislike
Nimm den Aufzug. -- In so einen Kasten bringt mich keiner mehr. => Meidet Aufzüge. => health
Ayer cené paella con unos amigos. => Speaks of yesterday. => none
You are the king and I am your cook. => Asks for a role play. => none
It's her birthday on Monday. => Speaks of someone else. => none
The gig is standing only. -- With my knees I'd be on the floor after ten minutes. => Can't stand for long. => health
Bof, ça va. => Small talk. => none"""

_CHOICE = """\
The user answers the assistant's options. Name what is picked and what is left; then the note: which lasting taste the
difference shows, in the third person, in the user's language. Name the quality that the others lack, not the option's
name or number, and what is avoided.
kind: like, dislike, fact, health; none: for this once, or no taste shows."""
_CHOICES = """\
1. a resort with a pool bar 2. a hut in the hills 3. a hotel in the centre -- I'll take option 2. The others aren't \
for me. => a hut in the hills => a resort, a hotel in the centre => Prefers simple places in nature, \
avoids busy hotels. => like
(a) Tuesday at 9 (b) Tuesday at 3 -- The second one, please. => Tuesday at 3 => Tuesday at 9 => Takes 3 pm. => none
Es gibt: Leder, Kunstleder. -- Kunstleder, sonst wird mir übel. => Kunstleder => Leder => Mag Kunstleder, meidet \
Leder. => dislike
For her birthday a scented candle, a pottery class, or perfume? -- The class. The others don't really appeal to me. \
=> a pottery class => a scented candle, perfume => Prefers things to do, avoids things with a scent. => like
1. rice 2. bread -- The 2, as ever. => bread => rice => Always takes bread, avoids rice. => like"""

_CHANGE = """\
Old notes on the user and a new message. Which note is not true any more? "none" where all can still be true: a new
fact beside an old one changes nothing."""
_CHANGES = """\
Lives in Berlin. | Plays the piano. -- I live in a small flat. => none
Is vegetarian. | Has two cats. -- I eat fish again these days. => Is vegetarian.
Arbeitet als Koch. | Mag Jazz. -- Den Jazzabend lasse ich nie aus. => none
Likes long walks. | Rides a motorbike. -- Sold the bike, I take the train. => Rides a motorbike.
Drinks tea. | Wants short answers. -- From now on all the details, please. => Wants short answers.
Is allergic to nuts. -- I have a daughter who plays chess. => none
Has a van. | Works in a shop. -- I do my accounts with a pencil every Monday. => none
Goes to the gym. | Rents a flat. -- We bought the house, we move in May. => Rents a flat."""

_KINDS = {
    "like": {"kind": "like"},
    "dislike": {"kind": "dislike"},
    "fact": {"kind": "fact"},
    "health": {"kind": "fact", "scope": "always"},
    "answers": {"kind": "style", "scope": "always"},
}
_CONFIG: RunnableConfig = {"run_name": "reflect", "tags": [TAG_NOSTREAM], "max_concurrency": 4}
_CONTEXT, _LONGEST = 600, 200  # characters of the assistant's turn, and of a note
_OPTION = re.compile(r"(?:^|\s)(?:[(（]?(?:\d{1,2}|[a-d])[.)）:、]|[-*•])\s?(?=\S)")
_LISTED = re.compile(r"[,;、，；][^.!?。\n]+[,;、，；]")  # "a play, a film, or a walk"
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")


class _Unit(NamedTuple):
    """What one call asks about: the assistant's words and the user's, and the number of their exchange."""

    context: str
    quote: str
    exchange: int = 0


class _Question:
    """A prompt with examples, and the record that answers it: fields in the order in which they are written.

    A field is free text, or one of some words. An example is a line: assistant -- user => field => field.
    """

    def __init__(self, prompt: str, examples: str, lead: str = "Assistant: ", **fields: Sequence[str] | None) -> None:
        texts = {
            name: {"type": "string", **({"enum": [*words]} if words else {"maxLength": _LONGEST})}
            for name, words in fields.items()
        }
        whole = {"type": "object", "properties": texts, "required": [*fields], "additionalProperties": False}
        self.schema: dict[str, Any] = {"title": "record", "description": "The answer.", **whole}
        self.lead = lead
        self.head: list[AnyMessage] = [SystemMessage(prompt)]  # the same each time, so that a server reads it once
        for line in examples.splitlines():
            shown, *answer = line.split(" => ")
            context, _, quote = shown.rpartition(" -- ")
            record = json.dumps(dict(zip(fields, answer, strict=True)), ensure_ascii=False)
            self.head += [HumanMessage(self._show(_Unit(context.replace(" | ", "\n- "), quote))), AIMessage(record)]

    def ask(self, units: Sequence[_Unit]) -> list[list[AnyMessage]]:
        """The messages of one call for each unit."""
        return [[*self.head, HumanMessage(self._show(unit))] for unit in units]

    def _show(self, unit: _Unit) -> str:
        return f"{self.lead}{unit.context}\nUser: {unit.quote}" if unit.context else f"User: {unit.quote}"


class FlatReflection:
    """Asks a small chat model about each sentence of the user.

    Args:
        model: the chat model, or its name; one that holds to a JSON schema.
        instructions: more to heed, behind the prompt.

    Example:
        >>> FlatReflection(ChatOpenAI(base_url="http://127.0.0.1:8080/v1", model="small"))  # doctest: +SKIP
    """

    name = "flat"

    def __init__(self, model: BaseChatModel | str, *, instructions: str = "") -> None:
        kinds = (*_KINDS, "none")
        self.model = chat_model(model)
        self._note = _Question(f"{_NOTE}\n{instructions}".strip(), _NOTES, note=None, kind=kinds)
        self._choice = _Question(_CHOICE, _CHOICES, picked=None, left=None, note=None, kind=kinds)

    def reflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        """What the sentences teach. One that cannot be read is left out; if none can, its error is raised."""
        kept, plain, choices = _units(exchanges)
        answers = self._caller(self._note).batch(self._note.ask(plain), _CONFIG, return_exceptions=True)
        answers += self._caller(self._choice).batch(self._choice.ask(choices), _CONFIG, return_exceptions=True)
        found, change = kept | _notes(plain, choices, answers), _change(cards)
        asked = _ask_changes(found, cards)
        answers = self._caller(change).batch(change.ask(asked), _CONFIG, return_exceptions=True)
        return _findings(found, asked, answers, cards)

    async def areflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        """Async twin of `reflect`."""
        kept, plain, choices = _units(exchanges)
        answers = await self._caller(self._note).abatch(self._note.ask(plain), _CONFIG, return_exceptions=True)
        answers += await self._caller(self._choice).abatch(self._choice.ask(choices), _CONFIG, return_exceptions=True)
        found, change = kept | _notes(plain, choices, answers), _change(cards)
        asked = _ask_changes(found, cards)
        answers = await self._caller(change).abatch(change.ask(asked), _CONFIG, return_exceptions=True)
        return _findings(found, asked, answers, cards)

    def _caller(self, question: _Question) -> Any:
        return bind_schema(self.model, question.schema, method="json_schema")


def _units(exchanges: Sequence[Exchange]) -> tuple[dict[_Unit, Operation], list[_Unit], list[_Unit]]:
    """Plain statements, kept word for word without a call; and what to ask about, each once: sentences, and choices."""
    kept, plain, choices = dict[_Unit, Operation](), dict[_Unit, None](), dict[_Unit, None]()
    for number, exchange in enumerate(exchanges):
        stated = {one.quote: one for one in VerbatimReflection().reflect([exchange], ()).operations}
        words = own_words(exchange.user).strip()
        every, before = sentences(words), exchange.previous_assistant.strip()
        context = shorten(before, _CONTEXT)
        if 0 < len(every) < 3 and len(words) <= 300 and (len(_OPTION.findall(before)) > 1 or _LISTED.search(before)):
            choices[_Unit(context, words, number)] = None
        else:
            kept |= {_Unit("", quote, number): one for quote, one in stated.items()}
            parts = list(filter(None, map(without_question, every))) or every[:1]
            parts = [part for part in parts if part not in stated]
            plain |= dict.fromkeys(_Unit(context if len(every) < 4 else "", part, number) for part in parts)
    return kept, list(plain), list(choices)


def _read(answers: Sequence[Any], *, strict: bool = True) -> list[dict[str, Any]]:
    """The records; an empty one where a call failed or cannot be read. `strict` raises the first error if all did."""
    records, errors = list[dict[str, Any]](), list[Exception]()
    for answer in answers:
        try:
            if isinstance(answer, Exception):
                raise answer
            record = answer_json(answer)
            if not isinstance(record, dict):
                raise ValueError(f"not a record: {record!r:.100}")
            records.append(record)
        except Exception as error:
            records.append({})
            errors.append(error)
    if strict and errors and len(errors) == len(answers):
        raise errors[0]
    return records


def _notes(plain: Sequence[_Unit], choices: Sequence[_Unit], answers: Sequence[Any]) -> dict[_Unit, Operation]:
    """An "add" for each unit that says something lasting."""
    found = {}
    for unit, record in zip([*plain, *choices], _read(answers), strict=True):
        fields, text = _KINDS.get(str(record.get("kind"))), str(record.get("note", "")).strip()
        if not fields or not text:
            continue
        if unit in plain and unit.quote.endswith(("?", "？")) and fields["kind"] != "style":
            continue  # a mere question; but "Could you use grams, always?" is a wish
        if not unit.context and not _is_said(text, unit.quote):
            text = unit.quote
        picked = clean_line(str(record.get("picked", "")), _LONGEST)
        if picked and not _is_said(picked, text):
            text = f"{text} ({picked})"
        origin = "stated" if unit in plain else "inferred"
        found[unit] = Operation.model_validate({"text": text, "quote": unit.quote, "origin": origin, **fields})
    return found


def _is_said(note: str, quote: str) -> bool:
    """Whether most words of a note, by their first letters, are the user's: small models translate and invent."""
    said = {word[:4] for word in _WORD.findall(quote.casefold())}
    words = _WORD.findall(note.casefold())
    return sum(word[:4] in said for word in words) >= 0.6 * len(words)


def _change(cards: Sequence[PreferenceCard]) -> _Question:
    return _Question(_CHANGE, _CHANGES, "Notes:\n- ", untrue=[*dict.fromkeys(map(_line, cards)), "none"])


def _ask_changes(found: dict[_Unit, Operation], cards: Sequence[PreferenceCard]) -> list[_Unit]:
    """What was found in each exchange, beside the notes."""
    numbers = dict.fromkeys(unit.exchange for unit in found if cards)
    notes = "\n- ".join(map(_line, cards))
    return [_Unit(notes, " ".join(unit.quote for unit in found if unit.exchange == one), one) for one in numbers]


def _line(card: PreferenceCard) -> str:
    return clean_line(card.text, _LONGEST)


def _findings(
    found: dict[_Unit, Operation], asked: Sequence[_Unit], answers: Sequence[Any], cards: Sequence[PreferenceCard]
) -> Findings:
    """The findings; the first of an exchange that makes a note untrue takes its place."""
    known = {_line(card): card for card in cards}
    for unit, record in zip(asked, _read(answers, strict=False), strict=True):
        target = known.pop(str(record.get("untrue")), None)
        alike = [  # a wish how to be answered says nothing about the user's life
            one
            for one, operation in found.items()
            if target and one.exchange == unit.exchange and (operation.kind == "style") == (target.kind == "style")
        ]
        if target and alike:
            found[alike[0]] = found[alike[0]].model_copy(update={"action": "update", "target": target.id})
    return Findings(operations=tuple(found.values())[:50])
