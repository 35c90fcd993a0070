"""What a benchmark is made of, and how its published files are read: strictly, with errors that name the place."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from langchain_persona.errors import PersonaError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

R = TypeVar("R", bound=BaseModel)


class DataError(PersonaError, ValueError):
    """Raised when a file of a benchmark is not in its published format; names the file, the line and the field."""


class DataRow(BaseModel):
    """Base of the rows of published files: types are not converted, and columns that nobody reads are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Turn(NamedTuple):
    """One message of the user and what was answered."""

    user: str
    assistant: str = "Noted."


Session = Sequence[Turn]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a benchmark.

    Attributes:
        id: names it within the benchmark.
        user: whose question it is; the bootstrap draws users where a benchmark says so.
        memory: names the history; items of one memory share one, which is learned once. By default the user.
        history: earlier sessions of the user.
        before: earlier turns of the present conversation.
        question: the user's message.
        options, right: of a multiple choice, in the order shown, and the place of the right one.
        groups: for the tables: name and value.
        data: what the benchmark itself needs.
    """

    id: str
    user: str
    question: str
    memory: str = ""
    history: Sequence[Session] = ()
    before: Sequence[Turn] = ()
    options: Sequence[str] = ()
    right: int = 0
    groups: Mapping[str, str] = field(default_factory=dict)
    data: Any = None

    @property
    def key(self) -> str:
        """The name of the history."""
        return self.memory or self.user


class Outcome(NamedTuple):
    """What came of an item in an arm.

    Attributes:
        scores: metric to value, the main one first.
        answer: what was answered.
    """

    scores: dict[str, float]
    answer: str = ""


@dataclass(kw_only=True)
class Row:
    """How one item went in one arm.

    Attributes:
        scores, answer: see `Outcome`; the answer is shortened.
        calls, read, written, seconds: model calls, tokens in and out, and how long it took, without the learning.
        error: why there are no scores; such a row is tried again when the run is resumed.
    """

    item: str
    user: str
    arm: str
    scores: dict[str, float] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    answer: str = ""
    calls: int = 0
    read: int = 0
    written: int = 0
    seconds: float = 0.0
    error: str = ""


def shuffle_options(options: Sequence[str], right: int, seed: object) -> tuple[tuple[str, ...], int]:
    """Options in an order that the seed alone decides, and the new place of the right one.

    Example:
        >>> shuffle_options(["yes", "no", "maybe"], 0, "item-7")
        (('no', 'maybe', 'yes'), 2)
    """
    order = list(range(len(options)))
    random.Random(str(seed)).shuffle(order)
    return tuple(options[place] for place in order), order.index(right)


def find(folder: Path, *names: str, what: str) -> Path:
    """The first of some relative paths that is there; `DataError` names where it was looked for."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise DataError(f"no {what} in {folder}: looked for {', '.join(names)}")


def read_rows(path: Path, kind: type[R]) -> list[R]:
    """Every row of a JSON list, of a file of JSON lines (`.jsonl`) or of a table (`.csv`), checked.

    `DataError`: there is no such file, it cannot be parsed, or a row is not in the format.
    """
    text = _text(path)
    places = {".csv": _csv_rows, ".jsonl": _json_lines}.get(path.suffix, _json_list)
    return [_check(path, kind, value, text, at) for value, at in places(path, text)]


def read_object(path: Path, kind: Any) -> Any:
    """A JSON file as one value of a type that pydantic knows, such as `dict[str, Profile]`; `DataError` as above."""
    text = _text(path)
    return _check(path, kind, _parse(path, text), text, 0)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error


def _parse(path: Path, text: str, line: int = 1) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        at = line + getattr(error, "lineno", 1) - 1
        raise DataError(f"{path}, line {at}: no JSON: {error}") from error


def _json_list(path: Path, text: str) -> Iterator[tuple[Any, int]]:
    if not isinstance(_parse(path, text), list):
        raise DataError(f"{path}, line 1: a list of rows is needed")
    return _elements(text, 0)


def _elements(text: str, at: int) -> Iterator[tuple[Any, int]]:
    """Elements of the next list in a JSON text, each with the place where it begins."""
    decoder, at = json.JSONDecoder(), text.index("[", at) + 1
    while True:
        while text[at] in " \t\r\n,":
            at += 1
        if text[at] == "]":
            return
        value, end = decoder.raw_decode(text, at)
        yield value, at
        at = end


def _json_lines(path: Path, text: str) -> Iterator[tuple[Any, int]]:
    at = 0
    for number, line in enumerate(io.StringIO(text), start=1):
        if line.strip():
            yield _parse(path, line, number), at
        at += len(line)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[Any, int]]:
    lines = list(io.StringIO(text, newline=""))
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    csv.field_size_limit(1 << 27)
    reader, before = csv.DictReader(iter(lines), strict=True), 0
    try:
        _ = reader.fieldnames
        before = reader.line_num
        for row in reader:
            if None in row:
                raise DataError(f"{path}, line {before + 1}: more cells than columns")
            yield row, starts[before]
            before = reader.line_num
    except csv.Error as error:
        raise DataError(f"{path}, line {before + 1}: no table: {error}") from error


def _check(path: Path, kind: Any, value: Any, text: str, at: int) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        for name in first["loc"][: -1 if first["type"] == "missing" else None]:  # as far as it is written there
            if isinstance(name, str):
                at = max(at, text.find(json.dumps(name, ensure_ascii=False), at))
            elif path.suffix != ".csv":
                _, at = next(islice(_elements(text, at), name, None))
        where = ".".join(map(str, first["loc"])) or "row"
        given = "" if first["type"] == "missing" else f", got {first['input']!r:.80}"
        line = text.count("\n", 0, at) + 1
        raise DataError(f"{path}, line {line}, field {where}: {first['msg']}{given}") from error
