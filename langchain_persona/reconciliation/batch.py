"""From new cards to changed ones: said again, said more precisely, said otherwise, or new."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from langchain_core.language_models import BaseChatModel

from langchain_persona.cards import CardMatrix, Cards
from langchain_persona.effects import Steps
from langchain_persona.identity import ANONYMOUS
from langchain_persona.reconciliation.changes import Change, messages_of, news, strengthened, updated
from langchain_persona.reconciliation.desk import Desk, Entry, New
from langchain_persona.reconciliation.judge import Judged, ask_judge
from langchain_persona.reconciliation.reading import read, values
from langchain_persona.reconciliation.relations import Verdict, relation
from langchain_persona.records import PreferenceCard, new_id

__all__ = ["reconcile"]

_OFFERED = 5
_OFFERED_FROM = 0.25


def reconcile(
    cards: Cards,
    user: str,
    new: Sequence[PreferenceCard],
    *,
    judge: BaseChatModel | None = None,
    now: float | None = None,
) -> Steps[list[Change]]:
    """Take new cards up among those that a user has.

    Said again, an old card is strengthened, by each message once. Said more precisely, it is updated, and its old text
    stays in the history. Where both cannot hold, the newer one does and the old one is superseded; the same topic with
    another value is such a case. A pinned card is never replaced, and what the user holds back does not come back.

    One embedding call, one batch of the store, and at most one call of the judge, whatever the number of cards: all
    changes are written or none. Doing it again changes nothing.

    Args:
        cards: the card store.
        user: whose; nothing is done for the anonymous user.
        new: in the order in which they were said.
        judge: a chat model that is asked, once, how they stand to known cards; None decides by rules alone.
        now: seconds since the epoch.

    Returns:
        What became of each new card, in order; one that ends several old cards has several.
    """
    if not new or user == ANONYMOUS:
        return []
    matrix = yield from cards.matrix(user)
    batch = yield from _embedded(cards, new)
    desk = Desk(matrix)
    judged: Judged = {}
    if judge is not None:
        judged = yield from ask_judge(judge, new, _offered(desk, batch))
    work = _Work(desk, judged, time.time() if now is None else now)
    for position, item in enumerate(batch):
        work.take(position, item)
    changed, vectors = desk.writes()
    if changed:
        yield from cards.write(user, changed, vectors)
    return work.changes


def _embedded(cards: Cards, new: Sequence[PreferenceCard]) -> Steps[list[New]]:
    readings = [read(card.note) for card in new]
    asked = {
        position: text
        for position, reading in enumerate(readings)
        if reading.change and not reading.unwanted and not reading.chinese
        if (text := values(new[position].note, reading))
    }
    rows = yield from cards.embed([*(card.note for card in new), *asked.values()])
    vectors = dict(zip(asked, rows[len(new) :], strict=True))
    return [New(card, readings[position], rows[position], vectors.get(position)) for position, card in enumerate(new)]


def _offered(desk: Desk, batch: Sequence[New]) -> dict[int, list[PreferenceCard]]:
    """Known cards that the judge is to compare a new one with; none where rules are certain already."""
    offered: dict[int, list[PreferenceCard]] = {}
    for position, new in enumerate(batch):
        if _settled(desk.matrix, new) is not None:
            continue
        near = desk.near(new)
        if any(_certain(entry, new) for entry, _, _ in near):
            continue
        found = [
            entry.card
            for entry, cosine, value in near
            if max(cosine, value or 0.0) >= _OFFERED_FROM or _by_rule(entry, new, cosine, value).relation != "unrelated"
        ]
        offered[position] = found[:_OFFERED]
    return offered


def _certain(old: Entry, new: New) -> bool:
    """Cases in which no model is asked: the same words, the same topic, the same message."""
    return (
        old.reading.text == new.reading.text
        or (old.card.topic is not None and old.card.topic == new.card.topic)
        or bool(messages_of(old.card) & messages_of(new.card))
    )


def _settled(matrix: CardMatrix, new: New) -> tuple[PreferenceCard, str] | None:
    """A card out of force that says it, and why that keeps the new one away."""
    for old in matrix.rest:
        if old.superseded_by is not None:
            seen = messages_of(old) & messages_of(new.card)
            if seen and relation(read(old.note), new.reading, 0.0).relation == "same":
                return old, "this message was counted, and later ones say otherwise"
        elif relation(read(old.note), new.reading, 0.0).relation == "same":
            return old, "the user holds this back"
    return None


def _by_rule(entry: Entry, new: New, cosine: float, value: float | None) -> Verdict:
    verdict = relation(entry.reading, new.reading, cosine, value)
    old, topic = entry.card, new.card.topic
    if entry.reading.text == new.reading.text or old.topic is None or topic is None:
        return verdict
    if old.topic != topic:
        return Verdict("unrelated", "another topic")
    if verdict.relation in ("same", "refines"):
        return verdict
    return Verdict("contradicts", "it gives another value of the same topic")


@dataclass(slots=True)
class _Work:
    """One pass over a batch; `changes` grows with each card taken."""

    desk: Desk
    judged: Judged
    now: float
    changes: list[Change] = field(default_factory=list)

    def take(self, position: int, new: New) -> None:
        """Decide about one new card."""
        settled = _settled(self.desk.matrix, new)
        if settled is not None:
            self._drop(new, *settled)
            return
        near = [
            (entry, self._verdict(position, new, entry, cosine, value)) for entry, cosine, value in self.desk.near(new)
        ]
        same = [(entry, verdict) for entry, verdict in near if verdict.relation == "same"]
        finer = [(entry, verdict) for entry, verdict in near if verdict.relation == "refines"]
        ended = self._ended(near, new)
        if ended is None:
            return
        # the same words before another way to say it
        same.sort(key=lambda found: found[0].reading.text != new.reading.text)
        finer = [(entry, verdict) for entry, verdict in finer if not entry.card.pinned]
        target, fresh = self._target(new, same, finer, ended)
        for entry, verdict in ended:
            # what was counted before must not end what came after it
            if fresh or entry.card.created < target.created:
                self.changes.append(Change("superseded", target, entry.card, verdict.reason))
                self.desk.end(entry, target, self.now)

    def _target(
        self,
        new: New,
        same: Sequence[tuple[Entry, Verdict]],
        finer: Sequence[tuple[Entry, Verdict]],
        ended: Sequence[tuple[Entry, Verdict]],
    ) -> tuple[PreferenceCard, bool]:
        """The card that holds what was said, and whether this message is news to it."""
        for entry, verdict in [*same, *finer][:1]:
            old = entry.card
            if not news(old, new.card):
                self._drop(new, old, "this was counted before")
                return old, False
            if verdict.relation == "same":
                entry.card = strengthened(old, new.card, self.now)
                self.changes.append(Change("strengthened", entry.card, old, verdict.reason))
            else:
                self.desk.update(entry, updated(old, new.card, self.now), new.vector, self.now)
                self.changes.append(Change("updated", entry.card, old, verdict.reason))
            return entry.card, True
        card = new.card
        if self.desk.knows(card.id):
            card = card.model_copy(update={"id": new_id()})
        self.desk.add(card, new.vector)
        if not ended:
            self.changes.append(Change("added", card, None, "it is new"))
        return card, True

    def _ended(self, near: Sequence[tuple[Entry, Verdict]], new: New) -> list[tuple[Entry, Verdict]] | None:
        """Cards that hold no longer; None where the new one is not taken."""
        against = [(entry, verdict) for entry, verdict in near if verdict.relation == "contradicts"]
        named = [(entry, verdict) for entry, verdict in against if not verdict.guessed]
        for entry, _ in named:
            if entry.card.pinned:
                self._drop(new, entry.card, "a pinned card says otherwise")
                return None
            if not messages_of(entry.card) & messages_of(new.card):
                continue
            if entry.stored is not None or entry.card.topic is None or entry.card.topic != new.card.topic:
                self._drop(new, entry.card, "the same message says otherwise")
                return None
            self._correct(entry, new)
            return None
        if named:
            return named
        # it names nothing that ended: at most the nearest
        return [
            found
            for found in against
            if not found[0].card.pinned and not messages_of(found[0].card) & messages_of(new.card)
        ][:1]

    def _correct(self, entry: Entry, new: New) -> None:
        """One message, one topic, two values: the later one counts, and the earlier one never held."""
        was = entry.card
        card = new.card.model_copy(update={"id": was.id})
        self.desk.correct(card, new.vector)
        corrected = []
        for change in self.changes:
            mine = change.card.id == was.id and change.action in ("added", "superseded")
            corrected.append(replace(change, card=card) if mine else change)
        at = next((index for index, change in enumerate(corrected) if change.card is card), len(corrected))
        corrected.insert(at, Change("dropped", was, None, "the same message says otherwise later"))
        self.changes = corrected

    def _verdict(self, position: int, new: New, entry: Entry, cosine: float, value: float | None) -> Verdict:
        rule = _by_rule(entry, new, cosine, value)
        said = self.judged.get((position, entry.card.id))
        # models read a denial as its opposite; to supersede loses no text, to strengthen the wrong card does
        if said is None or said == rule.relation or (said == "same" and rule.relation == "contradicts"):
            return rule
        return Verdict(said, "the judge says so")

    def _drop(self, new: New, old: PreferenceCard, reason: str) -> None:
        self.changes.append(Change("dropped", new.card, old, reason))
