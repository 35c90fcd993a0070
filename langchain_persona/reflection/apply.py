"""From findings to cards, kept honest.

A quote must occur in the user's own words. A target must be a card that was shown and is not pinned. Nothing is erased:
what no longer holds is retired, with date and reason. What fails a check is left out, and the reason is told.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_persona.learning.arrays import Vector
from langchain_persona.masking import mask
from langchain_persona.memory.cards import CardSet
from langchain_persona.records import CommunicationStyle, Evidence, PreferenceCard, Retirement, Trait
from langchain_persona.reflection import Exchange, Findings, Operation, Reaction, StyleChange
from langchain_persona.reflection.verbatim import own_words

_SAME = 0.92  # cosine from which two cards may say the same
_RELATED = 0.2  # cosine below which two texts are about different things; with MiniLM, changes of mind begin at .23
_EVIDENCE = 5  # quotes kept of a card: the first, and the latest
_STRAIGHT = str.maketrans("’‘`´“”„«»<>", "''''" + 5 * '"' + "()")  # a prompt shows angle brackets as round ones
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+")

Rows = Mapping[str, Vector]
Said = Sequence[tuple[Exchange, str]]  # exchanges, each with the user's own words for comparing


class Applied(NamedTuple):
    """Cards to write; and for the state what was done with which text, and why something was left out or retired.

    `style` is the new one, and `reaction` the one that holds; None where nothing was said. `reacting` is the id of the
    exchange in which the reaction stands.
    """

    cards: tuple[PreferenceCard, ...] = ()
    changes: tuple[dict[str, Any], ...] = ()
    style: CommunicationStyle | None = None
    reaction: Reaction | None = None
    reacting: str = ""


class _LeftOutError(Exception):
    """Why an operation is not applied."""


def texts_to_embed(findings: Findings) -> list[str]:
    """The texts of new cards and their questions, each once, as `apply_findings` writes them."""
    texts = (text for one in findings.operations for text in (_text(one), *_questions(one)))
    return list(dict.fromkeys(filter(None, texts)))


def apply_findings(
    findings: Findings,
    exchanges: Sequence[Exchange],
    cards: CardSet,
    vectors: Rows,
    *,
    shown: Collection[str] | None = None,
    style: CommunicationStyle | None = None,
) -> Applied:
    """Check each proposal and make the cards, and the style.

    Doing it twice gives the same cards: the id of a new one is made from its message and its text. The reflection was
    shown the cards of the ids in `shown`, by default all in force. `vectors` are unit embeddings of new texts, each of
    shape (d,); a text without one is compared by its words alone.
    """
    rows = {card.id: row for card, row in zip(cards.active, cards.vectors, strict=False)}
    current, shown = {card.id: card for card in cards.all}, set(rows if shown is None else shown)
    said = [(exchange, _fold(own_words(exchange.user))) for exchange in exchanges]
    written, changes = dict[str, PreferenceCard](), list[dict[str, Any]]()
    for operation in findings.operations:
        try:
            target = current.get(operation.target or "")
            exchange = _source(operation, said, target, [current[one] for one in shown if one in current])
            if operation.action == "add" or _differs(operation, target, vectors, rows):
                done = _add(operation, exchange, current, vectors, rows)
            else:
                done = _change(operation, exchange, target, shown, current, vectors, rows)
        except _LeftOutError as error:
            changes.append({"change": "left out", "text": mask(operation.text), "reason": str(error)})
            continue
        for card in done:
            if card.id not in current:  # cards of one message keep the order of its sentences
                moment = card.created + 1e-6 * len(written)
                card = card.model_copy(update={"created": moment, "updated": moment})
            told = "retired" if card.retired else "confirmed" if card.id in current else "added"
            reason = {"reason": card.retired.reason} if card.retired else {}
            changes.append({"change": told, "text": card.text, "scope": card.scope, **reason})
            written[card.id] = current[card.id] = card
            rows |= {card.id: vectors[card.text]} if card.text in vectors else {}
    reaction, found = findings.reaction, _find(findings.reaction.quote, said) if findings.reaction else []
    reaction, answers = (reaction, found[-1].id) if reaction and reaction.reward and found else (None, "")
    moved = [one for one in findings.style if one.change and _find(one.quote, said)]
    changes += [{"change": "style", "text": f"{one.axis} {one.change:+.1f}"} for one in moved]
    new_style = _move(style or CommunicationStyle(), moved) if moved else None
    return Applied(tuple(written.values()), tuple(changes), new_style, reaction, answers)


def _source(
    operation: Operation, said: Said, target: PreferenceCard | None, rivals: Sequence[PreferenceCard]
) -> Exchange:
    """The exchange that shows it. The text of a later card is enough to retire one that it contradicts."""
    if not _fold(operation.quote):
        raise _LeftOutError("there is no quote")
    found = _find(operation.quote, said)
    if not found and target and operation.action == "retire":
        later = [_fold(card.text) for card in rivals if card.active and card.created > target.created]
        found = [exchange for exchange, _ in said if _fold(operation.quote) in later]
    if found:
        return found[-1]
    raise _LeftOutError("the quote is not in the user's own words")


def _find(quote: str, said: Said) -> list[Exchange]:
    """The exchanges in which a quote occurs; a letter or two only where it is all that was said ("B")."""
    quote = _fold(quote)
    long = len(quote) >= (4 if quote.isascii() else 2)
    return [one for one, words in said if quote and (quote in words if long else quote == words)]


def _move(style: CommunicationStyle, changes: Sequence[StyleChange]) -> CommunicationStyle:
    """The style moved half of each change, and half of what it lacks surer."""
    moved = dict[str, Trait]()
    for one in changes:
        old: Trait = moved.get(one.axis) or getattr(style, one.axis)
        value = min(1.0, max(-1.0, old.value + one.change / 2))
        moved[one.axis] = Trait(value=value, confidence=(old.confidence + 1) / 2)
    return style.model_copy(update=moved)


def _add(
    operation: Operation,
    exchange: Exchange,
    current: Mapping[str, PreferenceCard],
    vectors: Rows,
    rows: Rows,
    old: PreferenceCard | None = None,
) -> list[PreferenceCard]:
    """A new card, in the place of an old one; or the one that says the same already, confirmed."""
    card = _new_card(operation, exchange, old)
    if card.id in current:
        return []  # done before
    for other in current.values():
        if other.retired is None and _says_no_more(card, other, vectors.get(card.text), rows.get(other.id)):
            return [] if other.pinned or other.held_back else _confirm(operation, exchange, other)
    return [card]


def _change(
    operation: Operation,
    exchange: Exchange,
    target: PreferenceCard | None,
    shown: Collection[str],
    current: Mapping[str, PreferenceCard],
    vectors: Rows,
    rows: Rows,
) -> list[PreferenceCard]:
    if target is None or target.id not in shown:
        raise _LeftOutError("the card is not among those that were shown")
    if target.pinned or not target.active:
        raise _LeftOutError(f"the card {'is pinned' if target.pinned else 'has been retired'}")
    updates = operation.action == "update"
    if operation.action == "confirm" or (updates and _fold(operation.text) == _fold(target.text)):
        return _confirm(operation, exchange, target)
    if exchange.time < target.created:
        raise _LeftOutError("the card is newer than what was said")
    others = {name: card for name, card in current.items() if name != target.id}
    new = _add(operation, exchange, others, vectors, rows, target) if updates else []
    reason = mask(operation.reason) or ("updated" if updates else "no longer holds")
    retirement = Retirement(time=exchange.time, reason=reason, by=new[0].id if new else None)
    return [*new, target.model_copy(update={"retired": retirement})]


def _differs(operation: Operation, target: PreferenceCard | None, vectors: Rows, rows: Rows) -> bool:
    """Whether an update is about something else than the card that it names; then both stay."""
    if operation.action != "update" or target is None:
        return False
    new, old = vectors.get(_text(operation)), rows.get(target.id)
    return new is not None and old is not None and new.shape == old.shape and bool(new @ old < _RELATED)


def _confirm(operation: Operation, exchange: Exchange, card: PreferenceCard) -> list[PreferenceCard]:
    """The card with one more quote and a newer date, so that a reader sees what was said last."""
    if any(one.message_id == exchange.message_id for one in card.evidence):
        return []
    evidence = (*card.evidence[:1], *card.evidence[1:][-_EVIDENCE + 2 :], _evidence(operation, exchange))
    sure = {"confidence": (card.confidence + 1) / 2, "updated": max(card.updated, exchange.time)}
    return [card.model_copy(update={"evidence": evidence, **sure})]


def _text(operation: Operation) -> str:
    return mask(operation.text.strip())[:1_000]


def _questions(operation: Operation) -> tuple[str, ...]:
    return tuple(question for one in operation.questions if (question := mask(one.strip())))


def _evidence(operation: Operation, exchange: Exchange) -> Evidence:
    return Evidence(message_id=exchange.message_id, quote=mask(operation.quote.strip()))


def _new_card(operation: Operation, exchange: Exchange, old: PreferenceCard | None = None) -> PreferenceCard:
    """The card that is proposed; what an update does not name is as in the old one."""
    if not (text := _text(operation)):
        raise _LeftOutError("there is no text")
    name = f"{exchange.id or exchange.message_id}|{_fold(text)}"
    fields = {"kind", "scope", "origin", "confidence"}
    before = {} if old is None else old.model_dump(include={"kind", "scope"} - operation.model_fields_set)
    return PreferenceCard(
        **(operation.model_dump(include=fields) | before),
        questions=_questions(operation),
        id=hashlib.sha256(name.encode()).hexdigest()[:32],
        text=text,
        replaces="" if old is None else old.id,
        condition=mask(operation.condition or "") or None,
        evidence=(_evidence(operation, exchange),),
        created=exchange.time,
        updated=exchange.time,
    )


def _says_no_more(new: PreferenceCard, old: PreferenceCard, vector: Vector | None, row: Vector | None) -> bool:
    """Whether a new text says nothing that an old one does not.

    An embedding alone cannot tell: with MiniLM "I prefer tea to coffee" and its reverse have a cosine of .99, "two
    cats" and "three cats" .94. So the words of the new text must also occur in the old one, in order.
    """
    words, known = _WORD.findall(_fold(new.text)), _WORD.findall(_fold(old.text))
    if words == known or new.kind != old.kind or vector is None or row is None or vector.shape != row.shape:
        return words == known
    left = iter(known)
    return float(vector @ row) >= _SAME and all(word in left for word in words)


def _fold(text: str) -> str:
    """A text for comparing: one form of each letter and mark, small letters, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().translate(_STRAIGHT).split())
