"""Preference cards: one record a card, its vectors within; read once a user and kept while their version stands.

A user's cards lie in 64 parts, by a hash of their ids. Each part has a version too: of many cards only those parts are
read again in which somebody wrote.

An erased card never comes back. A `BaseStore` cannot refuse a write that was decided on before the erasure, so erasing
leaves a tombstone: readers pass over a card that has one, and every writer looks for it after the write and takes back
what it has just written. For the same reason several writers at once can keep one statement twice, or put several cards
in the place of one; whoever reads takes all but one of them for retired, and chooses the same.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
from langgraph.store.base import Op, Result

from langchain_persona.identity import label
from langchain_persona.learning import Statements
from langchain_persona.learning.arrays import Vector, dots, unit
from langchain_persona.memory.embedder import Embedder
from langchain_persona.memory.store import Path, UserStore, VersionedCache, chunks, parse_record, version_of
from langchain_persona.records import PreferenceCard, Retirement, new_id

_CACHED_USERS = 128
_NO_ROWS = np.zeros((0, 0))
_KEY, _PARTS = "c", 64  # prefix of a record's key, and parts over which the records are spread
_MANY = 500  # cards from which on only changed parts are read again; fewer are read in one batch
_QUESTIONS = 4  # stored questions of a card that are embedded


@dataclass(frozen=True, slots=True, eq=False)
class CardSet:
    """One user's cards.

    Attributes:
        active: cards that may be shown, oldest first.
        rest: retired and held-back cards.
        vectors: unit embeddings of the active cards' texts, shape (n, d); a row of zeros where there is none yet, and
            d = 0 where no card has one.
        rows: the same with the rows of stored questions behind the row of their card, shape (m, d).
        starts: the place of each card's first row.
        erased: keys of the tombstones, of cards and episodes.
        statements: the active likes and dislikes that have a vector; None where there are none.
        unembedded: active cards without a vector.
        memo: what was made of this set, under names that its makers choose.
    """

    active: tuple[PreferenceCard, ...] = ()
    rest: tuple[PreferenceCard, ...] = ()
    vectors: Vector = field(default_factory=lambda: np.zeros((0, 0)))
    rows: Vector = field(default_factory=lambda: np.zeros((0, 0)))
    starts: tuple[int, ...] = ()
    erased: frozenset[str] = frozenset()
    statements: Statements | None = None
    unembedded: tuple[PreferenceCard, ...] = ()
    memo: dict[Hashable, Any] = field(default_factory=dict)

    def relevance(self, direction: Vector) -> Vector:
        """The dot product of each active card with a vector of shape (d,): mean of its text's and its best row's.

        The best row alone would put cards with questions ahead of all others. On PrefEval, where half of 392 cards had
        one, recall@5 went from .37 to .51 for these, but from .35 to .12 for the rest; the mean gives .52 and .22.
        """
        found = dots(self.rows, direction)
        if len(self.rows) == len(self.active):
            return found
        best: Vector = np.maximum.reduceat(found, self.starts)
        return (found[list(self.starts)] + best) / 2.0

    @property
    def all(self) -> list[PreferenceCard]:
        """Every card, oldest first."""
        return sorted((*self.active, *self.rest), key=_age) if self.rest else list(self.active)

    @property
    def silent(self) -> list[PreferenceCard]:
        """Retired and held-back cards whose statement is not in force in another card either."""
        said = set(map(_statement, self.active)) if self.rest else set()
        return [card for card in self.rest if _statement(card) not in said]


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """What was read of a user's cards: the set that they make, the versions of the parts, and each part's records."""

    cards: CardSet
    versions: Mapping[str, str]
    parts: Mapping[str, Mapping[str, PreferenceCard]]

    @property
    def many(self) -> bool:
        """Whether only changed parts are read again."""
        return sum(map(len, self.parts.values())) >= _MANY


class Cards:
    """The cards of all users."""

    def __init__(self, store: UserStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._cache: VersionedCache[_Reading] = VersionedCache(_CACHED_USERS)
        store.caches.append(self._cache)

    def read(self, user: str) -> CardSet:
        """The user's cards, from the cache while its version is still the stored one."""
        return self.parse(user, self._store.batch(self.read_ops(user)))

    def latest(self, user: str) -> CardSet:
        """The cards as this process read them last; reads them where it has none."""
        known = self._cache.get(user)
        return self.read(user) if known is None else known.cards

    def read_ops(self, user: str) -> list[Op]:
        """What `read` asks of the store, for a batch: the version, and the cards where this process has none."""
        version = self._store.get((user, "versions"), "cards")
        return [version] if self._cache.get(user) is not None else [version, *self._search(user)]

    def parse(self, user: str, results: Sequence[Result]) -> CardSet:
        """The cards, given the results of `read_ops`; reads on where the cached ones are out of date."""
        version, known = version_of(results[0]), self._cache.get(user)
        found = self._cache.get(user, version)
        if found is not None:
            return found.cards
        many = len(results) == 1 and known is not None and known.many
        if len(results) == 1:
            results = [results[0], *self._store.batch(self._search(user)[: 2 if many else 3])]
        versions = {item.key: version_of(item) for item in self._store.found(_versions(user), results[1])}
        erased = {item.key for item in self._store.found((user, "erased"), results[2])}
        if many and known is not None:
            names = [one for one in {**known.versions, **versions} if known.versions.get(one) != versions.get(one)]
            places = [(user, "cards", name) for name in names]
            pages = zip(places, self._store.batch(list(map(self._store.search, places))), strict=True)
            items = [item for place, page in pages for item in self._store.found(place, page)]
            parts = {name: dict(part) for name, part in known.parts.items() if name not in names}
        else:
            items, parts = self._store.found((user, "cards"), results[3]), {}
        for item in items:
            if (card := parse_record(PreferenceCard, item)) is not None:
                parts.setdefault(item.namespace[-1], {})[item.key] = card
        for tomb in erased:
            for part in parts.values():
                part.pop(_KEY + tomb[1:], None)
        old = known.cards if known is not None else CardSet()
        every = sorted((card for part in parts.values() for card in part.values()), key=_age)
        found = _Reading(self._card_set(every, erased, old), versions, parts)
        self._cache.put(user, version, found)
        return found.cards

    def embedded(self, user: str, dimension: int = 0) -> CardSet:
        """The cards, each active one with its vector; what was missing is made and written back.

        With `dimension`, vectors of another length count as missing.
        """
        cards = self.read(user)
        other = dimension and cards.vectors.shape[1] != dimension
        if missing := cards.active if other else cards.unembedded:
            texts = card_texts(missing)
            rows = dict(zip(texts, self._embedder.embed_documents(texts), strict=True))
            with self._store.editing(user):  # it took a while: what was changed meanwhile stays so
                self.write(user, self.with_vectors([one for one in self.read(user).active if one.text in rows], rows))
            cards = self.read(user)
        return cards

    def with_vectors(self, cards: Sequence[PreferenceCard], vectors: Mapping[str, Vector]) -> list[PreferenceCard]:
        """The cards with the unit vectors of their `card_texts`, each of shape (d,).

        One that has vectors of this length already, or whose text is not among these, stays as it is.
        """
        found = list[PreferenceCard]()
        for card in cards:
            rows = [vectors[one] for one in card_texts([card]) if one in vectors]
            size = self._embedder.decode(card.vector, card.embedding).shape[1]
            missing = card.text in vectors and size != vectors[card.text].size
            found.append(card.model_copy(update=self._embedder.encode(np.stack(rows))) if missing else card)
        return found

    def get(self, user: str, card_id: str) -> PreferenceCard:
        """One card; `KeyError`: the user has no such card."""
        for card in self.read(user).all:
            if card.id == card_id:
                return card
        raise KeyError(f"no card {card_id!r} for this user; memory.preferences(user, all=True) lists them")

    def twin(self, user: str, card: PreferenceCard) -> PreferenceCard | None:
        """Another card in force that says the same as a new one, and counts as much."""
        alike = (one for one in self.read(user).active if one.id != card.id and _statement(one) == _statement(card))
        return next((one for one in alike if _weakness(one) <= _weakness(card)), None)

    def write(self, user: str, cards: Sequence[PreferenceCard]) -> list[PreferenceCard]:
        """Write new and changed cards; returns those that stand, without any that was erased meanwhile.

        Reads what stands then, so that the next turn has it.
        """
        for some in chunks(cards):
            self._store.batch(self.write_ops(user, some))
        tombs = self.read(user).erased
        erased = {card.id for card in cards if label(card.id, prefix="x") in tombs}
        self.take_back(user, erased)
        return [card for card in cards if card.id not in erased]

    def write_ops(self, user: str, cards: Sequence[PreferenceCard]) -> list[Op]:
        """The writes of some cards, for a batch. Who uses it looks for tombstones afterwards, as `write` does."""
        puts = [self._store.put(_part(user, _key(card.id)), _key(card.id), card.to_json()) for card in cards]
        return [*puts, *self._touch(user, [card.id for card in cards])] if cards else []

    def take_back(self, user: str, card_ids: Collection[str]) -> None:
        """Delete the records of cards that were erased."""
        if card_ids:
            deletes = [self._store.delete(_part(user, _key(name)), _key(name)) for name in card_ids]
            self._store.batch([*deletes, *self._touch(user, card_ids)])

    def replace(self, user: str, card_id: str, new: PreferenceCard, reason: str) -> PreferenceCard:
        """Put a new card in the place of another, which is retired; `KeyError`: the user has no such card."""
        now = time.time()  # of both: what is retired later than its twin was updated takes that with it
        retired = Retirement(time=now, reason=reason, by=new.id)
        new = new.model_copy(update={"replaces": card_id, "updated": now})
        with self._store.editing(user):
            self.write(user, [new, self.get(user, card_id).model_copy(update={"retired": retired})])
        return new

    def change(self, user: str, card_id: str, **changes: object) -> PreferenceCard:
        """Write a card with some fields changed; not its text. `KeyError`: the user has none such, or not any more."""
        with self._store.editing(user):
            changed = self.get(user, card_id).model_copy(update={**changes, "updated": time.time()})
            if not self.write(user, [changed]):
                raise KeyError(f"card {card_id!r} was erased")
        return changed

    def bury(self, user: str, card_ids: Collection[str]) -> list[PreferenceCard]:
        """Hide cards for ever, and with them the retired ones that say the same or that they replaced; returns these.

        `take_back` deletes them; until then an erasure that failed half-way can be repeated.
        """
        cards = self.read(user)
        # what an erasure that failed half-way has hidden, and not deleted yet
        keys = [_KEY + tomb[1:] for tomb in cards.erased]
        found = self._store.batch([self._store.get(_part(user, key), key) for key in keys])
        hidden = (parse_record(PreferenceCard, result) for result in found)
        every = retire_superfluous(sorted([*cards.all, *filter(None, hidden)], key=_age))
        doomed = {card.id for card in every}.intersection(card_ids)
        more = doomed
        while more:
            said = {_statement(card) for card in every if card.id in doomed}
            old = (card for card in every if card.retired and (card.retired.by in doomed or _statement(card) in said))
            more = {card.id for card in old} - doomed
            doomed |= more
        self._store.batch([*self._store.bury(user, doomed), *self._touch(user, ())])
        return [card for card in every if card.id in doomed]

    def _search(self, user: str) -> list[Op]:
        """The reads of versions, tombstones and cards: versions first, so that none is newer than what was read."""
        return [self._store.search(path) for path in (_versions(user), (user, "erased"), (user, "cards"))]

    def _touch(self, user: str, card_ids: Iterable[str]) -> list[Op]:
        """The writes of new versions: of the parts in which some cards lie, and of all."""
        known, version = self._cache.get(user), {"version": new_id()}
        if known is not None and not known.many:  # all are read again, at once
            self._cache.drop(user)
        parts = {_part(user, _key(name))[-1] for name in card_ids}
        versions = [self._store.put(_versions(user), part, version) for part in sorted(parts)]
        return [*versions, self._store.put((user, "versions"), "cards", version)]

    def _card_set(self, every: Sequence[PreferenceCard], erased: Collection[str], old: CardSet) -> CardSet:
        """The set of all readable cards, given oldest first; rows that `old` has are not decoded again."""
        found = retire_superfluous(every)
        active = tuple(card for card in found if card.retired is None and not card.held_back)
        rest = () if len(active) == len(found) else tuple(card for card in found if not card.active)
        places = pairwise((*old.starts, len(old.rows)))
        known = {card.id: (card, old.rows[slice(*place)]) for card, place in zip(old.active, places, strict=True)}
        for card in old.unembedded:
            del known[card.id]

        def rows_of(card: PreferenceCard) -> Vector:
            before, rows = known.get(card.id, (None, _NO_ROWS))
            if before is card or (before and before.vector == card.vector and before.embedding == card.embedding):
                return rows
            return unit(self._embedder.decode(card.vector, card.embedding))

        rows = list(map(rows_of, active))
        # one model has one length; if a custom one changed it under its name, the latest counts
        size = next((one.shape[1] for one in reversed(rows) if one.size), 0)
        rows = [one if one.shape[1] == size and one.size else np.zeros((1, size)) for one in rows]
        starts = tuple(accumulate(map(len, rows[:-1]), initial=0)) if rows else ()
        vectors = np.concatenate(rows) if rows else np.zeros((0, 0))
        texts = vectors if len(vectors) == len(active) else vectors[list(starts)]
        for array in (vectors, texts):
            array.setflags(write=False)
        embedded: npt.NDArray[np.bool_] = np.any(texts, axis=1)
        late = tuple(active[place] for place in np.flatnonzero(~embedded))
        return CardSet(
            active, rest, texts, vectors, starts, frozenset(erased), _statements(active, texts, embedded), late
        )


def card_texts(cards: Iterable[PreferenceCard]) -> list[str]:
    """What is embedded of some cards, each text once: their texts, and the questions in which they matter."""
    return list(dict.fromkeys(text for card in cards for text in (card.text, *card.questions[:_QUESTIONS])))


def retire_superfluous(cards: Sequence[PreferenceCard]) -> list[PreferenceCard]:
    """The cards, given oldest first, without too many in force where several writers met.

    Of one statement the strongest stays: pinned, held back, for every conversation, stated rather than inferred, surer,
    older. Of several cards in the place of one the latest stays. What was retired or updated takes its twins with it.
    """
    names, stays, heirs = list(map(_statement, cards)), dict[str, str](), dict[str, str]()
    often, ended, gone = Counter(names), dict[str, float](), dict[str, Retirement]()
    twins = [(card, name) for card, name in zip(cards, names, strict=True) if often[name] > 1]
    for card, name in twins:
        if card.retired is not None:
            ended[name] = max(card.retired.time, ended.get(name, 0.0))
    for card, name in sorted((one for one in twins if one[0].retired is None), key=lambda one: _weakness(one[0])):
        twin = stays.setdefault(name, card.id)
        if not card.pinned and (twin != card.id or card.updated < ended.get(name, 0.0)):
            gone[card.id] = Retirement(time=card.created, reason="said twice", by=twin if twin != card.id else None)
    for card in sorted((one for one in reversed(cards) if one.replaces), key=lambda card: not card.pinned):
        heir = heirs.setdefault(card.replaces, card.id)
        if heir != card.id and card.retired is None and not card.pinned and card.id not in gone:
            gone[card.id] = Retirement(time=card.created, reason="another card took the same place", by=heir)
    return [card.model_copy(update={"retired": gone[card.id]}) if card.id in gone else card for card in cards]


def _statement(card: PreferenceCard) -> str:
    return "\0".join((card.kind, card.condition or "", *card.text.casefold().split()))


def _weakness(card: PreferenceCard) -> tuple[bool, bool, bool, bool, float]:
    return not card.pinned, not card.held_back, card.scope != "always", card.origin != "stated", -card.confidence


def _key(card_id: str) -> str:
    return label(card_id, prefix=_KEY)


def _part(user: str, key: str) -> Path:
    """Where a record lies, given its key."""
    return user, "cards", f"p{crc32(key.encode()) % _PARTS:02d}"


def _versions(user: str) -> Path:
    return user, "versions", "parts"


def _statements(cards: Sequence[PreferenceCard], vectors: Vector, embedded: npt.NDArray[np.bool_]) -> Statements | None:
    places = [i for i, card in enumerate(cards) if card.kind in ("like", "dislike") and embedded[i]]
    said = [cards[i] for i in places]
    if not said:
        return None
    return Statements(
        vectors=vectors.astype(np.float32)[places],
        signs=np.array([1.0 if card.kind == "like" else -1.0 for card in said]),
        confidence=np.array([card.confidence for card in said]),
        since=np.array([np.inf if card.pinned else card.updated for card in said]),
        ids=tuple(card.id for card in said),
        texts=tuple(card.text for card in said),
        embedding=said[0].embedding,
    )


_age = attrgetter("created", "id")
