"""What users may take along, and how they go: one JSON document of a user, erasure of cards, deletion of everything.

Ids stay what they are, so a document can be imported again. Import adds what is missing and changes nothing that is
there. What was erased in the store is not imported.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from langgraph.checkpoint.base import BaseCheckpointSaver
from pydantic import Field, model_validator

from langchain_persona.errors import ConfigError, CorruptRecordError, DocumentError
from langchain_persona.identity import Label, label
from langchain_persona.learning.arrays import decode_vectors
from langchain_persona.masking import mask
from langchain_persona.memory.cards import Cards
from langchain_persona.memory.episodes import Episodes
from langchain_persona.memory.ledger import Entry, Ledger
from langchain_persona.memory.persona import LONGEST_PERSONA, Personas, contains
from langchain_persona.memory.store import UserStore, chunks
from langchain_persona.records import (
    CommunicationStyle,
    Episode,
    Feedback,
    Persona,
    PersonaRevision,
    PreferenceCard,
    Record,
    Retirement,
    read_record,
)

DocumentFormat = Literal["langchain-persona", "pam"]

FORMAT: Final = "langchain-persona"
VERSION, PAM = 1, "portable-ai-memory"
_PAM_TYPES = {"like": "preference", "dislike": "preference", "fact": "fact", "style": "instruction"}
_AHEAD = 86_400.0  # seconds by which the clock that wrote a document may be ahead
_TOMBSTONE = re.compile(r"x[=#][\w~@+-]{1,118}")
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # some stores cannot hold it


class UserDocument(Record):
    """All that is exported of a user; `UserDocument.model_json_schema()` is the schema of `export_user`.

    Attributes:
        format, version: of the document.
        user: id of whom it is about.
        cards: also retired and held-back ones, oldest first.
        ledger: ratings and withdrawals, oldest first, with the vectors that they were learned from.
        episodes: oldest first.
        style: how the user wants to be talked to.
        persona, history: the text in force, and every revision, oldest first.
        erased: names of erased cards and episodes, so that an older document does not bring them back.
    """

    format: Literal["langchain-persona"]
    version: Literal[1]
    user: Annotated[str, Field(pattern=r"\S")]
    cards: tuple[PreferenceCard, ...]
    ledger: tuple[Annotated[Entry, Field(discriminator="type")], ...]
    episodes: tuple[Episode, ...]
    style: CommunicationStyle
    persona: Persona
    history: tuple[PersonaRevision, ...]
    erased: tuple[Annotated[str, Field(pattern=_TOMBSTONE.pattern + "$")], ...]

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if any(not _is_readable(entry) for entry in self.ledger):
            raise ValueError("an entry of the ledger has no usable name, time or vectors")
        if any(len(one.text) > LONGEST_PERSONA for one in (self.persona.revision, *self.history)):
            raise ValueError(f"a persona has at most {LONGEST_PERSONA:,} characters")
        return self


@dataclass(frozen=True, slots=True, repr=False)
class DeletionReceipt:
    """What `delete_user` deleted.

    Attributes:
        records: how many of each part, such as `{"cards": 3, "feedback": 12}`; empty where nothing was left.
        threads: ids of the user's conversations; they are deleted where a checkpointer was given.
        overwritten: True when the bytes are gone from the file of the embedded store too. False: another connection
            still reads it; call again. None: another store, whose files are its own business.
    """

    records: Mapping[str, int] = field(default_factory=dict)
    threads: tuple[str, ...] = ()
    overwritten: bool | None = None

    def __repr__(self) -> str:
        """The numbers: `<DeletionReceipt 3 cards, 12 feedback; 1 threads; overwritten=True>`."""
        parts = ", ".join(f"{number} {part}" for part, number in sorted(self.records.items())) or "nothing"
        return f"<DeletionReceipt {parts}; {len(self.threads)} threads; overwritten={self.overwritten}>"


@dataclass(frozen=True, slots=True)
class ImportReceipt:
    """What `import_user` added: how many cards, ratings (with withdrawals) and episodes, and whether the persona.

    `erased` counts cards and episodes of the document that stay out, for they were erased here.
    """

    cards: int = 0
    ratings: int = 0
    episodes: int = 0
    persona: bool = False
    erased: int = 0


class Portability:
    """Export, import and erasure, over the parts of a memory. `user` is a normalised id, never the anonymous one."""

    def __init__(self, store: UserStore, cards: Cards, ledger: Ledger, episodes: Episodes, personas: Personas) -> None:
        self._store = store
        self._cards = cards
        self._ledger = ledger
        self._episodes = episodes
        self._personas = personas

    def delete_user(self, user: str, checkpointer: BaseCheckpointSaver[Any] | None) -> DeletionReceipt:
        """Delete everything of a user: see `PersonaMemory.delete_user`."""
        if checkpointer is not None and not isinstance(checkpointer, BaseCheckpointSaver):
            raise ConfigError(f"checkpointer must be a LangGraph checkpointer, got {type(checkpointer).__name__}")
        # the tombstone names the threads until all is done: after a crash nothing else tells them
        tomb = self._store.tombstone(user) or {}
        values = [item.value for item in self._store.scan((user, "episodes"), deleted=True)]
        # what a document calls its thread may be another user's conversation
        found = (value.get("thread") for value in values if not value.get("imported"))
        threads = sorted({*map(str, filter(None, found)), *tomb.get("threads", ())})
        self._store.bury_user(user, threads)
        if checkpointer is not None:
            for thread in threads:
                checkpointer.delete_thread(thread)
        records = self._store.sweep(label(user))
        self._store.bury_user(user)
        return DeletionReceipt(dict(records), tuple(threads), self._store.scrub(3_600.0))

    def forget(self, user: str, card_ids: Collection[str]) -> list[PreferenceCard]:
        """Erase cards and what tells of them: see `PersonaMemory.forget`."""
        gone = self._cards.bury(user, card_ids)
        doomed = {card.id for card in gone} | set(card_ids)
        texts, tells = traces(gone)
        episodes = {episode.id for episode in self._episodes.all(user, expired=True) if tells(episode)}
        self._episodes.erase(user, episodes)
        self._personas.drop(user, doomed | episodes, texts)
        self._ledger.forget_retrievals(user, {card.id for card in gone})
        self._cards.take_back(user, doomed)  # the texts go last, so that what failed half-way can be repeated
        self._cards.read(user)  # so that the next turn has them
        self._store.scrub()
        return gone

    def export_user(self, user: str, form: DocumentFormat = FORMAT) -> dict[str, Any]:
        """All of a user as plain JSON: see `PersonaMemory.export_user`."""
        if form not in (FORMAT, "pam"):
            raise ConfigError(f'format must be "{FORMAT}" or "pam", got {form!r}')
        if form == "pam":
            return _pam_document(user, self._cards.read(user).all)
        style, persona = self._personas.read(user)
        erased = {item.key for item in self._store.scan((user, "erased"))}
        episodes = (one for one in self._episodes.all(user) if _tombstone(one.id) not in erased)
        return UserDocument.model_construct(  # checked when it was read
            format="langchain-persona",
            version=1,
            user=user,
            cards=tuple(self._cards.read(user).all),
            ledger=tuple(filter(_is_readable, self._ledger.entries(user))),
            episodes=tuple(one.model_copy(update={"imported": False}) for one in episodes),
            style=style,
            persona=persona,
            history=tuple(one.model_copy(update={"diff": ""}) for one in self._personas.history(user)),
            erased=tuple(sorted(erased)),
        ).to_json()

    def import_user(self, document: object, user: str, max_bytes: int) -> tuple[str, ImportReceipt]:
        """Add what is missing: see `PersonaMemory.import_user`. `user` is "" for the document's; returns it too."""
        read = read_document(document, user, max_bytes)
        user = user or read.user
        if self._store.tombstone(user) is not None:
            raise ConfigError("this user was deleted: memory.readmit_user(user) first, if they really come back")
        tombs = {item.key for item in self._store.scan((user, "erased"))}
        gone = [card for card in read.cards if _tombstone(card.id) in tombs]
        texts, tells = traces(gone)
        stays_out = {one.id for one in read.episodes if tells(one) or _tombstone(one.id) in tombs}
        told_here = self._episodes.all(user, expired=True)
        known = {card.id for card in self._cards.read(user).all} | {one.id for one in told_here}
        new = lambda one: one.id not in known and _tombstone(one.id) not in tombs and one.id not in stays_out  # noqa: E731
        cards, episodes = list(filter(new, read.cards)), list(filter(new, read.episodes))
        buried = set(read.erased) - {_tombstone(one) for one in known} - tombs
        for names in chunks(sorted(buried)):
            self._store.batch(self._store.bury(user, map(Label, names)))
        for some in chunks(cards):
            self._cards.write(user, some)
        for told in chunks(episodes):
            self._episodes.write_all(user, [one.model_copy(update={"imported": True}) for one in told])
        ratings = self._import_ledger(user, read.ledger)
        adopted = self._personas.adopt(user, read.style, read.persona, read.history)
        if gone or stays_out:
            self._personas.drop(user, {card.id for card in gone} | stays_out, texts)
        return user, ImportReceipt(len(cards), ratings, len(episodes), adopted, len(gone) + len(stays_out))

    def _import_ledger(self, user: str, given: Sequence[Entry]) -> int:
        if not given:
            return 0
        there = self._ledger.entries(user)
        known = {entry.id for entry in there}
        missing = [entry for entry in given if entry.id not in known]
        for some in chunks(missing):
            self._ledger.append(user, some)
        self._ledger.forget_folds(user)
        every = [*there, *missing]
        learned = [entry for entry in every if isinstance(entry, Feedback) and entry.embedding is not None]
        # the latest once more: it names the embedding model in force
        self._ledger.append(user, sorted(learned, key=lambda entry: (entry.time, entry.id))[-1:])
        return len(missing)


def read_document(document: object, user: str, max_bytes: int) -> UserDocument:
    """A document as `export_user` made it, in PAM, or a list of what another tool remembers; nothing is written.

    Raises:
        DocumentError: it is something else, or too large.
    """
    if isinstance(document, str | bytes) and len(document) > max_bytes:
        raise DocumentError(_TOO_LARGE.format(len(document), max_bytes))
    try:
        value = json.loads(document) if isinstance(document, str | bytes) else document
        text = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode()
        value = json.loads(_NUL.sub(r"\1", text))
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentError(f"the document is not JSON, or was cut off: {error!r:.200}") from None
    if len(text) > max_bytes:
        raise DocumentError(_TOO_LARGE.format(len(text), max_bytes))
    found = value.get("results") if isinstance(value, dict) and value.get("format") != FORMAT else value
    if isinstance(value, dict) and value.get("schema") == PAM:
        if not str(value.get("schema_version")).startswith("1."):
            raise DocumentError(f"the PAM document has version {value.get('schema_version')!r:.20}, and 1.0 is read")
        owner = value["owner"].get("id") if isinstance(value.get("owner"), dict) else ""
        value = _document_of(value.get("memories"), user or owner, _pam_card)
    elif isinstance(found, list):
        value = _document_of(found, user, _foreign_card)
    elif not isinstance(value, dict) or value.get("format") != FORMAT:
        raise DocumentError(f'not a document of memory.export_user: its "format" must be "{FORMAT}"')
    elif value.get("version") != VERSION:
        raise DocumentError(f"the document has version {value.get('version')!r:.20}, and this package reads {VERSION}")
    try:
        return read_record(UserDocument, value)
    except CorruptRecordError as error:
        raise DocumentError(f"the document is damaged, and nothing of it was imported: {error}") from None


_TOO_LARGE = "the document has {:,} characters, and {:,} are allowed: raise max_bytes if it can be trusted"


def _is_readable(entry: Entry) -> bool:
    """Whether an entry can be kept in a store and folded."""
    if not (entry.id.isprintable() and 0 < len(entry.id) <= 120 and 0.0 <= entry.time <= time.time() + _AHEAD):
        return False
    if not isinstance(entry, Feedback) or entry.embedding is None:
        return True
    try:
        return all(len(decode_vectors(one or "", entry.dimension)) == 1 for one in (entry.chosen, entry.expected))
    except CorruptRecordError:
        return False


def traces(gone: Sequence[PreferenceCard]) -> tuple[set[str], Callable[[Episode], bool]]:
    """The texts of erased cards, and which episodes tell of them: those that they came from, or that repeat them."""
    evidence = [one for card in gone for one in card.evidence]
    # a quote such as "the second one" says nothing by itself: it is looked for where it was said
    quotes = (one.quote for card in gone if card.origin == "stated" for one in card.evidence)
    texts = {text for text in (*(card.text for card in gone), *quotes) if len(text) > 3}
    messages, repeats = {one.message_id for one in evidence if one.message_id}, contains(texts)

    def tells(episode: Episode) -> bool:
        answers = (episode.answer, episode.accepted or "", *(one.answer for one in episode.retried))
        said = (episode.query, episode.before, *answers, *episode.reasons)
        return episode.message_id in messages or any(map(repeats, said))

    return texts, tells


def _tombstone(name: str) -> str:
    return label(name, prefix="x")


# what other products keep -------------------------------------------------------------------------------------------


def _document_of(items: Any, user: Any, read_card: Callable[[Any], PreferenceCard]) -> dict[str, Any]:
    """A document with the cards of what another tool holds."""
    if not user:
        raise DocumentError("a list of memories does not say whose they are: import_user(document, user=...)")
    try:
        cards = [read_card(item).to_json() for item in items]
    except (AttributeError, KeyError, TypeError, ValueError):
        told = 'each needs a "memory" or "content" of 1 to 4,000 characters'
        raise DocumentError(f"a memory of the list cannot be read, and nothing was imported: {told}") from None
    empty = dict.fromkeys(("ledger", "episodes", "history", "erased"), ())
    return {"format": FORMAT, "version": VERSION, "user": user, "cards": cards, "style": {}, "persona": {}, **empty}


def _foreign_card(item: Mapping[str, Any]) -> PreferenceCard:
    """The card of an item of mem0's `get_all` or of a LangMem namespace."""
    content = item.get("value", item)
    while not isinstance(content, str):
        content = content["memory"] if "memory" in content else content["content"]
    text = mask(content.strip())
    name = item.get("id") or item.get("key") or hashlib.sha256(text.encode()).hexdigest()[:32]
    times = [item.get("created_at"), item.get("updated_at") or item.get("created_at")]
    created, updated = (_seconds(one) if one else time.time() for one in times)
    return PreferenceCard(id=str(name), text=text, origin="inferred", created=created, updated=updated)


def _pam_document(user: str, cards: Sequence[PreferenceCard]) -> dict[str, Any]:
    """A memory store in Portable AI Memory 1.0 (PAM): texts with conditions, kinds, dates, what replaced what."""
    ids = {card.id for card in cards}
    memories = [_pam_memory(card, ids) for card in cards]
    return {"schema": PAM, "schema_version": "1.0", "owner": {"id": user}, "memories": memories}


def _pam_memory(card: PreferenceCard, ids: set[str]) -> dict[str, Any]:
    content = f"{card.text} ({card.condition})" if card.condition else card.text
    plain = re.sub(r"\s+", " ", unicodedata.normalize("NFC", content.strip().lower()))
    marks = [name for name in ("pinned", "held_back") if getattr(card, name)]
    temporal = {"created_at": _date(card.created), "updated_at": _date(max(card.created, card.updated))}
    status = "archived" if card.held_back else "active"
    if card.retired:
        status, temporal["valid_until"] = "deprecated", _date(card.retired.time)
        if card.retired.by in ids:
            status, temporal["superseded_by"] = "superseded", card.retired.by
    method = "explicit_user_input" if card.origin == "stated" else "llm_inference"
    return {
        "id": card.id,
        "type": _PAM_TYPES[card.kind],
        "status": status,
        "content": content,
        "content_hash": f"sha256:{hashlib.sha256(plain.encode()).hexdigest()}",
        "tags": [card.kind, card.scope, *marks],
        "confidence": {"current": card.confidence},
        "temporal": temporal,
        "provenance": {"platform": "langchain-persona", "extraction_method": method},
    }


def _pam_card(memory: Mapping[str, Any]) -> PreferenceCard:
    """The card of a memory in PAM, or any error. What is not active is retired; without our tag it is style or fact."""
    temporal, confidence = memory["temporal"], memory.get("confidence") or {}
    tags, status = memory.get("tags") or (), memory.get("status") or "active"
    created, updated = _seconds(temporal["created_at"]), _seconds(temporal.get("updated_at") or temporal["created_at"])
    until, held_back = temporal.get("valid_until"), "held_back" in tags
    gone = Retirement(time=_seconds(until) if until else updated, reason=status, by=temporal.get("superseded_by"))
    stated = memory["provenance"].get("extraction_method") in ("explicit_user_input", "manual")
    kind: Any = next((one for one in tags if one in _PAM_TYPES), "style" if memory["type"] == "instruction" else "fact")
    share = confidence.get("current", confidence.get("initial"))
    return PreferenceCard(
        id=memory["id"],
        text=mask(memory["content"].strip()),
        kind=kind,
        scope="always" if "always" in tags else "topic",
        origin="stated" if stated else "inferred",
        confidence=1.0 if share is None else share,
        created=created,
        updated=updated,
        retired=gone if until or (status != "active" and not held_back) else None,
        pinned="pinned" in tags,
        held_back=held_back,
    )


def _date(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def _seconds(date: str) -> float:
    moment = datetime.fromisoformat(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()  # wherever this process runs
