"""Conversations as training data: JSON lines in TRL's conversational shapes, of the users who agreed to it.

A row is what a user judged: an answer that they rated, edited or had made once more. It holds no id of a user, a
message or a conversation; the words themselves stay as they were, but for secrets and the user's own id.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Literal

from langchain_persona.errors import ConfigError, check_number
from langchain_persona.identity import label
from langchain_persona.masking import mask
from langchain_persona.memory.cards import Cards
from langchain_persona.memory.episodes import Episodes
from langchain_persona.memory.ledger import Entry, Ledger
from langchain_persona.memory.portability import traces
from langchain_persona.memory.store import UserStore
from langchain_persona.records import Episode, Feedback, Withdrawal

DatasetFormat = Literal["sft", "dpo", "kto"]
Row = dict[str, Any]
Messages = list[dict[str, str]]

_GOOD, _BETTER, _WORSE, _BAD = 2, 1, -1, -2  # said outright, or only in comparison with another answer
_NO_ROW = {"sft": "no liked answer", "dpo": "no two answers to compare", "kto": "no judged answer"}
# A chat template would read it as the end of a message, and what follows as another's words.
_ROLE_TOKEN = re.compile(r"(?i)<[|｜][^<>\n]{1,40}[|｜]>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>")


@dataclass(frozen=True, slots=True)
class DatasetReceipt:
    """What `export_dataset` wrote.

    Attributes:
        rows: lines of the file.
        users: how many users these are from.
        left_out: how many exchanges are not in it, by reason; for "deleted user" users, for "repeated" rows.
    """

    rows: int = 0
    users: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Datasets:
    """Reads what users judged, over the parts of a memory. `users` are normalised ids, none of them anonymous."""

    store: UserStore
    cards: Cards
    ledger: Ledger
    episodes: Episodes

    def write(self, path: Path, form: DatasetFormat, users: Iterable[str], threshold: float) -> DatasetReceipt:
        """Write the rows of some users: see `PersonaMemory.export_dataset`."""
        if form not in _NO_ROW:
            raise ConfigError(f'format must be "sft", "dpo" or "kto", got {form!r}')
        check_number("threshold", threshold, 0.0, 1.0)
        if path.exists() and not path.is_file():
            raise ConfigError(f"path must name a file, and {str(path)!r} is something else")
        found, left = dict[str, tuple[str, str]](), Counter[str]()
        for user in dict.fromkeys(users):
            if self.store.tombstone(user) is not None:
                left["deleted user"] += 1
                continue
            for row in self._rows(user, form, threshold, left):
                name = _digest(row)
                left["repeated"] += name in found
                found.setdefault(name, (user, json.dumps(row)))
        # who left while this was read is not in it either
        gone = {user for user, _ in found.values() if self.store.tombstone(user) is not None}
        left["deleted user"] += len(gone)
        kept = [found[name] for name in sorted(found) if found[name][0] not in gone]  # in no order of users or time
        _write_lines(path, [line for _, line in kept])
        return DatasetReceipt(len(kept), len({user for user, _ in kept}), dict(sorted((+left).items())))

    def _rows(self, user: str, form: DatasetFormat, threshold: float, left: Counter[str]) -> Iterator[Row]:
        clean, groups = _cleaner(user), defaultdict[str, list[tuple[Messages, Episode]]](list)
        for prompt, episode in self._exchanges(user, left):
            prompt = [{**one, "content": clean(one["content"])} for one in prompt]
            # answers to the same words can be compared, whenever they were given
            groups[_digest({"prompt": prompt}) if form == "dpo" else episode.id].append((prompt, episode))
        for group in groups.values():
            ranked = [(clean(text), rank) for _, one in group for text, rank in _rank(one, threshold)]
            rows = _make(form, group[0][0], ranked)
            left[_NO_ROW[form]] += 0 if rows else len(group)
            yield from rows

    def _exchanges(self, user: str, left: Counter[str]) -> Iterator[tuple[Messages, Episode]]:
        """What may be used of a user, oldest first, each with the messages that were answered."""
        episodes = self.episodes.all(user)  # ahead of the cards: what is erased meanwhile has its tombstone there
        cards, withdrawn = self.cards.read(user), _find_withdrawn(self.ledger.entries(user))
        _, tells = traces(cards.silent)
        held_back, earlier = {card.id for card in cards.rest if card.held_back}, dict[tuple[str, str], Episode]()

        def reason(one: Episode) -> str:
            texts = (one.query, one.answer, one.accepted or "", one.before, *(each.answer for each in one.retried))
            if any(label(name, prefix="x") in cards.erased for name in (one.id, *one.cards)):
                return "erased"
            if tells(one) or held_back.intersection(one.cards):
                return "held back or retired"
            if any(map(_ROLE_TOKEN.search, texts)):
                return "role tokens"
            return "context missing" if one.before and (one.thread, one.before) not in earlier else ""

        for one in episodes:
            if why := reason(one):
                left[why] += 1
                continue
            before = earlier.get((one.thread, one.before)) if one.before else None
            context = [_message("user", before.query), _message("assistant", one.before)] if before else []
            earlier |= {(one.thread, text): one for text in (one.answer, one.accepted) if text}
            if one.id in withdrawn:
                left["withdrawn"] += 1
            elif one.query.strip():
                yield [*context, _message("user", one.query)], one


def _rank(episode: Episode, threshold: float) -> Iterator[tuple[str, int]]:
    """The answers of a turn, and what their user thought of them. Of one that was only given nothing is known."""
    reward, last = episode.reward or 0.0, episode.accepted or episode.answer
    if episode.accepted or reward > threshold:
        yield last, _GOOD
    elif reward < -threshold:
        yield last, _BAD
    elif episode.retried:
        yield last, _BETTER
    if episode.accepted and episode.answer != episode.accepted:
        yield episode.answer, _BAD if reward < -threshold else _WORSE
    for one in episode.retried:
        if (one.reward or 0.0) <= threshold:
            yield one.answer, _BAD if (one.reward or 0.0) < -threshold else _WORSE


def _make(form: DatasetFormat, prompt: Messages, ranked: Sequence[tuple[str, int]]) -> list[Row]:
    """The rows of one prompt; of answers that are the same the best judgement counts."""
    best = dict[str, int]()
    for text, rank in ranked:
        if text.strip():
            best[text] = max(rank, best.get(text, rank))
    if form == "sft":
        return [{"messages": [*prompt, _message("assistant", text)]} for text, rank in best.items() if rank == _GOOD]
    if form == "kto":
        outright = [(text, rank > 0) for text, rank in best.items() if rank in (_GOOD, _BAD)]
        return [
            {"prompt": prompt, "completion": [_message("assistant", text)], "label": good} for text, good in outright
        ]
    sides = [[[_message("assistant", text)] for text, rank in best.items() if (rank > 0) == up] for up in (True, False)]
    return [{"prompt": prompt, "chosen": chosen, "rejected": rejected} for chosen, rejected in product(*sides)]


def _find_withdrawn(entries: Sequence[Entry]) -> set[str]:
    """Ids of turns whose verdict was taken back; the loop calls its entries `turn:source:number`."""
    targets = {entry.target for entry in entries if isinstance(entry, Withdrawal)}
    latest = dict[tuple[str, str], Feedback]()
    for entry in entries:
        if isinstance(entry, Feedback) and entry.key and entry.origin is None:
            turn, _, rest = entry.key.partition(":")
            latest[turn, rest.rpartition(":")[0]] = entry  # a verdict that was replaced was withdrawn as well
    return {turn for (turn, _), entry in latest.items() if entry.id in targets}


def _cleaner(user: str) -> Callable[[str], str]:
    """What a text becomes in a file: without secrets, and without the user's id where that is a name."""
    named = re.compile(rf"(?i)(?<!\w){re.escape(user)}(?!\w)") if len(user) > 2 and not user.isdigit() else None

    def clean(text: str) -> str:
        text = mask(text.encode("utf-8", "replace").decode())
        return named.sub("[user]", text) if named else text

    return clean


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _digest(row: Row) -> str:
    """The same for rows that differ in spaces and capital letters only."""
    words = {key: [one["content"].casefold().split() for one in said] for key, said in row.items() if key != "label"}
    return hashlib.sha256(json.dumps([words, row.get("label")]).encode()).hexdigest()


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    """All or nothing: a file that is there stays as it is until the new one is complete."""
    with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".dataset-", delete=False) as file:
        try:
            file.writelines(f"{line}\n" for line in lines)
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(file.name).unlink()
            raise
