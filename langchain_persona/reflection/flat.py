"""For models of a few billion parameters: one small question a sentence of the user, batched.

Such a model reads one sentence well and a long message badly, and fills one short record better than a list. So plain
statements are kept word for word, as `VerbatimReflection` does, and each other sentence is a call. A short reply is one
beside the assistant's turn or its options. About what was found one more call asks which note is on the same subject,
and whether that one still holds. So a message costs at most eleven calls. Examples teach such a model more than rules.
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
One short note on what the message tells about the user: third person, language of the message. Then {fields}.
like, dislike: a lasting taste or habit. fact: of the user's own life. health: the user's allergy, illness, diet, fear.
answers: how to answer the user. And what says nothing lasting: now: what happens today, or does not work.
others: what other people like or do. thing: a place, an object, a story. task: asks, orders, thanks, plays."""
_NOTES = """\
I can't stand cilantro. => Can't stand cilantro. => dislike
How do I boil rice? => Asks how to boil rice. => task
Bin Pfleger und arbeite meist nachts => Ist Pfleger, arbeitet meist nachts. => fact
Write a mail to my landlord. => Asks for a mail. => task
My brother loves jazz. => The brother loves jazz. => others
No vuelo, voy siempre en tren. => No vuela, va siempre en tren. => like
How about a horror film? -- Last time I slept with the light on for a week. => Can't bear horror films. => dislike
Thanks, I'm in a hurry today! => Is in a hurry today. => now
La cacahuète m'envoie à l'hôpital. => Est allergique à la cacahuète. => health
The hall is near the river and holds eighty people. => The hall holds eighty people. => thing
回答请一直用中文。 => 希望一直用中文回答。 => answers
You could bake. -- I do, every Sunday, it's the best hour of my week. => Loves to bake on Sundays. => like
Die Datei lässt sich nicht öffnen. => Kann die Datei nicht öffnen. => now
I tried it twice. => Tried it twice. => now
We gave the boat back in the spring. => Has no boat any more. => fact
Let's play: you are a king. => Asks for a role play. => task
Stop the long introductions. => Wants no long introductions. => answers
我钥匙忘在家里了。 => 忘了带钥匙。 => now
I do my sums on paper, so show me all the steps => Does sums on paper, wants all the steps. => fact
J'ai quitté l'armée en juin. => N'est plus dans l'armée. => fact
Mein Onkel hat den Hof verkauft. => Der Onkel hat den Hof verkauft. => others
It is on the second floor and looks like a barn. => It looks like a barn. => thing
In the second act he leaves the farm. => He leaves the farm. => thing
We only use Linux, so no Windows tips please => Uses only Linux. => fact
Une brioche ? -- Du sucre le matin ? Plutôt rien du tout. => Ne mange pas sucré le matin. => dislike
Merci beaucoup, à demain ! => Remercie. => task
I'm tall, so most chairs don't fit me => Is tall. => fact
Our son Tim is six and talks of trains all day. => Has a son Tim, six, who talks of trains. => fact
他弟弟最近总在打篮球。 => 他弟弟在打篮球。 => others
No politics, please! => Wants no politics. => answers
Vivo en Lugo y busco un dentista => Vive en Lugo. => fact
Call me Bo, not Robert. => Wants to be called Bo. => answers
Ma voisine adore le ski et le fromage. => La voisine adore le ski. => others
Try our oysters! -- Oysters again. The last one went straight into my napkin. => Dislikes oysters. => dislike
Nimm den Aufzug. -- In so einen Kasten bringt mich keiner mehr. => Meidet Aufzüge. => health
Ayer cené paella con unos amigos. => Cenó paella ayer. => now
It's her birthday on Monday. => It's her birthday. => others
The gig is standing only. -- With my knees I'd be on the floor after ten minutes. => Can't stand for long. => health
Bof, ça va. => Va bien. => now"""

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
Old notes on the user and what they say now. First the note on the same subject, or "none". Then whether it holds.
still true: a new fact beside it, today, other people, a thing.
not any more: the user has stopped, left, sold, lost or changed it, or says the opposite."""
_CHANGES = """\
Lives in Berlin. | Plays the piano. -- I live in a small flat. => Lives in Berlin. => still true
Is vegetarian. | Has two cats. -- I eat fish again these days. => Is vegetarian. => not any more
Arbeitet als Koch. | Mag Jazz. -- Den Jazzabend lasse ich nie aus. => Mag Jazz. => still true
Likes long walks. | Rides a motorbike. -- Sold the bike. I take the train. => Rides a motorbike. => not any more
Is allergic to nuts. -- I have a daughter who plays chess. => none => still true
Drinks tea. | Wants short answers. -- From now on all the details, please. => Wants short answers. => not any more
Vive con su madre. | Le gusta el mar. -- Mi hermana vive ahora en la playa. => Le gusta el mar. => still true
Has a van. | Works in a shop. -- I do my accounts with a pencil every Monday. => Works in a shop. => still true
Goes to the gym. | Loue un studio. -- On a acheté la maison. => Loue un studio. => not any more
Drinks coffee at work. -- The coffee machine broke today. => Drinks coffee at work. => still true
Has a horse. | Hat einen Bruder. -- We lost old Bella in the spring. => Has a horse. => not any more
Plays the flute. | Is a baker. -- I also sing in a choir. => Plays the flute. => still true
喜欢猫。 | 在学校教书。 -- 我退休了。 => 在学校教书。 => not any more
Hates the cold. -- My son swims in the lake all winter. => Hates the cold. => still true"""

_OTHERS, _HOLDS = ("others", "thing"), ("still true", "not any more")
_KINDS = {
    "like": {"kind": "like"},
    "dislike": {"kind": "dislike"},
    "fact": {"kind": "fact"},
    "health": {"kind": "fact", "scope": "always"},
    "answers": {"kind": "style", "scope": "always"},
}
_CONFIG: RunnableConfig = {"run_name": "reflect", "tags": [TAG_NOSTREAM], "max_concurrency": 4}
_CONTEXT, _LONGEST, _MOST = 600, 200, 10  # characters of the assistant's turn and of a note; sentences of a message
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
        self.model = chat_model(model)
        prompt, kinds = f"{_NOTE}\n{instructions}".strip(), (*_KINDS, "now", *_OTHERS, "task")
        # a sentence may speak of anybody, and a small model tells when it is asked; a reply speaks of the user
        named = (line.rpartition(" => ") for line in _NOTES.splitlines())
        whose = "\n".join(f"{note} => {'other' if kind in _OTHERS else 'user'} => {kind}" for note, _, kind in named)
        asked = prompt.replace("{fields}", "whom it is about, and its kind")
        self._questions = {
            "note": _Question(asked, whose, note=None, who=("user", "other"), kind=kinds),
            "reply": _Question(prompt.replace("{fields}", "its kind"), _NOTES, note=None, kind=kinds),
            "choice": _Question(_CHOICE, _CHOICES, picked=None, left=None, note=None, kind=(*_KINDS, "none")),
        }

    def reflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        """What the sentences teach. One that cannot be read is left out; if none can, its error is raised."""
        (kept, units), answers = _units(exchanges), list[Any]()
        for name, question in self._questions.items():
            answers += self._caller(question).batch(question.ask(units[name]), _CONFIG, return_exceptions=True)
        found = kept | _notes(units, answers)
        change, asked = _ask_changes(found, cards)
        answers = self._caller(change).batch(change.ask(asked), _CONFIG, return_exceptions=True)
        return _findings(found, asked, answers, cards)

    async def areflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        """Async twin of `reflect`."""
        (kept, units), answers = _units(exchanges), list[Any]()
        for name, question in self._questions.items():
            answers += await self._caller(question).abatch(question.ask(units[name]), _CONFIG, return_exceptions=True)
        found = kept | _notes(units, answers)
        change, asked = _ask_changes(found, cards)
        answers = await self._caller(change).abatch(change.ask(asked), _CONFIG, return_exceptions=True)
        return _findings(found, asked, answers, cards)

    def _caller(self, question: _Question) -> Any:
        return bind_schema(self.model, question.schema, method="json_schema")


def _units(exchanges: Sequence[Exchange]) -> tuple[dict[_Unit, Operation], dict[str, list[_Unit]]]:
    """Plain statements, kept word for word without a call; and what each question is asked about, each once."""
    kept, units = dict[_Unit, Operation](), dict[str, list[_Unit]](note=[], reply=[], choice=[])
    for number, exchange in enumerate(exchanges):
        stated = {one.quote: one for one in VerbatimReflection().reflect([exchange], ()).operations}
        words = own_words(exchange.user).strip()
        every, before = sentences(words), exchange.previous_assistant.strip()
        context = shorten(before, _CONTEXT) if len(every) < 4 else ""
        if 0 < len(every) < 3 and len(words) <= 300 and (len(_OPTION.findall(before)) > 1 or _LISTED.search(before)):
            units["choice"].append(_Unit(context, words, number))
            continue
        kept |= {_Unit("", quote, number): one for quote, one in stated.items()}
        parts = list(filter(None, map(without_question, every))) or every[:1]
        parts = list(dict.fromkeys(part for part in parts if part not in stated))[:_MOST]
        if parts and context and len(words) <= 300 and not stated:  # "A bar? It's been six years. So no." is one reply
            parts = [words[: words.rindex(parts[-1]) + len(parts[-1])]]
        units["reply" if context else "note"] += [_Unit(context, part, number) for part in parts]
    return kept, units


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


def _notes(units: dict[str, list[_Unit]], answers: Sequence[Any]) -> dict[_Unit, Operation]:
    """An "add" for each unit that says something lasting of the user."""
    found = dict[_Unit, Operation]()
    named = [(name, unit) for name, some in units.items() for unit in some]
    for (name, unit), record in zip(named, _read(answers), strict=True):
        fields, text = _KINDS.get(str(record.get("kind"))), str(record.get("note", "")).strip()[:_LONGEST]
        asks = name != "choice" and unit.quote.endswith(("?", "？"))  # but "Could you use grams, always?" is a wish
        if not fields or not text or record.get("who") == "other" or (asks and fields["kind"] != "style"):
            continue
        if name == "note" or (name == "reply" and not _is_said(text, f"{unit.context} {unit.quote}", 0.3)):
            text = unit.quote  # a note of a sentence that can be understood alone could only lose some of it
        picked = clean_line(str(record.get("picked", "")), _LONGEST)
        if picked and not _is_said(picked, text):
            text = f"{text} ({picked})"
        origin = "inferred" if name == "choice" else "stated"
        found[unit] = Operation.model_validate({"text": text, "quote": unit.quote, "origin": origin, **fields})
    return found


def _is_said(note: str, quote: str, share: float = 0.6) -> bool:
    """Whether a share of a note's words, by their first letters, was said: small models translate and invent."""
    said = {word[:4] for word in _WORD.findall(quote.casefold())}
    words = _WORD.findall(note.casefold())
    return sum(word[:4] in said for word in words) >= share * len(words)


def _ask_changes(found: dict[_Unit, Operation], cards: Sequence[PreferenceCard]) -> tuple[_Question, list[_Unit]]:
    """Which note is meant and whether it holds, asked about what was found in each exchange."""
    numbers, lines = dict.fromkeys(unit.exchange for unit in found if cards), [*dict.fromkeys(map(_line, cards))]
    said = {one: " ".join(unit.quote for unit in found if unit.exchange == one) for one in numbers}
    question = _Question(_CHANGE, _CHANGES, "Notes:\n- ", about=[*lines, "none"], holds=_HOLDS)
    return question, [_Unit("\n- ".join(lines), words, one) for one, words in said.items()]


def _line(card: PreferenceCard) -> str:
    return clean_line(card.text, _LONGEST)


def _findings(
    found: dict[_Unit, Operation], asked: Sequence[_Unit], answers: Sequence[Any], cards: Sequence[PreferenceCard]
) -> Findings:
    """The findings; the first of an exchange that makes a note untrue takes its place."""
    known = {_line(card): card for card in cards}
    for unit, record in zip(asked, _read(answers, strict=False), strict=True):
        target = known.pop(str(record.get("about")), None) if record.get("holds") == _HOLDS[1] else None
        same = [one for one in found if one.exchange == unit.exchange]
        # a wish how to be answered says nothing about the user's life
        if target and (alike := [one for one in same if (found[one].kind == "style") == (target.kind == "style")]):
            found[alike[0]] = found[alike[0]].model_copy(update={"action": "update", "target": target.id})
    return Findings(operations=tuple(found.values())[:50])
