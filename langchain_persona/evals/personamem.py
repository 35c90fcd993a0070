"""PersonaMem-v2 (arXiv 2512.06688): preferences that only show in long conversations about other things.

The file is the published table, `benchmark.csv`; its links to chat histories are relative to it, or to a folder above
it. The first system message of a history holds the whole persona and is dropped. A history is split into sessions of
5,000 tokens and read turn by turn, as the agent does; the question is never seen while learning.
"""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from langchain_persona.evals.arms import Arm, Kit, choose_option, converse
from langchain_persona.evals.items import (
    DataError,
    DataRow,
    Item,
    Outcome,
    Session,
    Turn,
    read_object,
    read_rows,
    shuffle_options,
)
from langchain_persona.evals.models import ask_yes_no
from langchain_persona.prompt import approximate_tokens

ABOUT = (
    "PersonaMem-v2 (arXiv 2512.06688): implicit preferences in long conversations; use --budget 2048 --history 40000"
)
ARMS = ("none", "length", "everything", "chroma", "another", "verbatim", "reflection")
UNIT = "user"

_CHUNK = 5_000  # tokens, as the paper's agentic memory reads


class _Query(BaseModel):
    model_config = ConfigDict(strict=True)

    role: Literal["user"]
    content: str


class _Case(DataRow):
    persona_id: str = Field(min_length=1)
    chat_history_32k_link: str
    chat_history_128k_link: str
    preference: str
    pref_type: str
    user_query: _Query
    correct_answer: str = Field(min_length=1)
    incorrect_answers: list[str] = Field(min_length=1)
    who: str
    updated: str
    sensitive_info: str

    @field_validator("user_query", mode="before")
    @classmethod
    def _read_query(cls, value: object) -> object:
        try:
            return ast.literal_eval(str(value))
        except (SyntaxError, ValueError) as error:
            raise ValueError("must be a Python dict with role and content") from error

    @field_validator("incorrect_answers", mode="before")
    @classmethod
    def _read_answers(cls, value: object) -> object:
        try:
            return json.loads(str(value))
        except ValueError as error:
            raise ValueError("must be a JSON list of texts") from error


class _Message(DataRow):
    role: Literal["system", "user", "assistant"]
    content: str


class _History(DataRow):
    chat_history: list[_Message]


def load(
    path: Path | None,
    *,
    size: Literal["32k", "128k"] = "32k",
    task: Literal["choice", "open"] = "choice",
    kinds: str = "",
    seed: int = 0,
) -> list[Item]:
    """One item for each row, in the order of the personas.

    Args:
        path: the table.
        size: which history.
        task: "choice" among the four answers, or "open", judged.
        kinds: values of `pref_type`, with commas between; all by default.
        seed: of the order of options; the published shuffle cannot be repeated.
    """
    if path is None:
        raise DataError("PersonaMem-v2 needs --data: its file benchmark.csv")
    wanted, items = set(filter(None, kinds.split(","))), list[Item]()
    read = cache(_read_history)
    for number, row in enumerate(read_rows(path, _Case)):
        if wanted and row.pref_type not in wanted:
            continue
        link = row.chat_history_32k_link if size == "32k" else row.chat_history_128k_link
        name = f"{row.persona_id}-{number}"
        options, right = shuffle_options([row.correct_answer, *row.incorrect_answers], 0, f"{seed}-{name}")
        sensitive = "yes" if row.sensitive_info.strip().lower() not in ("", "false", "no", "none") else "no"
        groups = {"pref_type": row.pref_type, "updated": row.updated, "who": row.who, "sensitive": sensitive}
        about = {"memory": f"{row.persona_id}, {link}", "history": read(_find(path, link)), "groups": groups}
        given: dict[str, Any] = {**about, "data": (task, row)}
        given |= {"options": options, "right": right} if task == "choice" else {}
        items.append(Item(id=name, user=row.persona_id, question=row.user_query.content, **given))
    if not items:
        raise DataError(f"no rows in {path}" + (f" with pref_type {kinds}" if kinds else ""))
    return sorted(items, key=lambda one: one.key)


def run(item: Item, arm: Arm, kit: Kit) -> Outcome:
    """`correct` of a choice, or `fits`, judged; apart where the user asked to forget it, or it is sensitive."""
    task, row = item.data
    apart = " (to forget)" if row.pref_type == "ask_to_forget" else " (sensitive)" * (item.groups["sensitive"] == "yes")
    if task == "choice":
        place, answer = choose_option(item, arm, kit, "Which answer suits me best?")
        return Outcome({f"correct{apart}": float(place == item.right)}, answer)
    reply = converse(item, arm, kit.respond)
    head = f"What is known of a user: {row.preference}\nTheir message: {item.question}\nAn answer: {reply.text}\n\n"
    fits = ask_yes_no(kit.judge, f"{head}Does the answer respect what is known of the user?")
    return Outcome({f"fits{apart}": float(fits)}, reply.text)


def _find(table: Path, link: str) -> Path:
    """The file of a link; where there is none, the place beside the table."""
    return next((up / link for up in table.resolve().parents if (up / link).is_file()), table.parent / link)


def _read_history(path: Path) -> tuple[Session, ...]:
    """The exchanges of a chat history, in chunks; what stands before the first message of the user is dropped."""
    found: _History = read_object(path, _History)
    turns, chunks, left = list[Turn](), list[list[Turn]](), 0
    for message in found.chat_history:
        if message.role == "user":
            turns.append(Turn(message.content, ""))
        elif message.role == "assistant" and turns:
            turns[-1] = Turn(turns[-1].user, f"{turns[-1].assistant}\n{message.content}".strip())
    for turn in turns:
        needed = approximate_tokens(turn.user + turn.assistant)
        if not chunks or needed > left:
            chunks.append([])
            left = _CHUNK
        chunks[-1].append(turn)
        left -= needed
    return tuple(map(tuple, chunks))
