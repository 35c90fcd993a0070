"""PrefEval (arXiv 2502.09597): does an answer follow a preference that its user told in an earlier session?

The folder is the published `benchmark_dataset`: `explicit_preference/TOPIC.json`,
`implicit_preference/{choice-based,persona-driven}/TOPIC.json`, `mcq_options/TOPIC.json` (the aligned option stands
first), and for the distractors `filtered_inter_turns.json`; where that is not there, general knowledge stands in.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from langchain_core.messages import AIMessage
from pydantic import NonNegativeInt, PositiveInt

from langchain_persona.evals.arms import Arm, Kit, choose_option, converse
from langchain_persona.evals.items import DataError, DataRow, Item, Outcome, Session, Turn, read_rows, shuffle_options
from langchain_persona.evals.models import ask_yes_no
from langchain_persona.evals.restraint import general_knowledge

ABOUT = "PrefEval (arXiv 2502.09597): preferences told in earlier sessions, followed after distracting turns"
ARMS = ("none", "length", "everything", "another", "verbatim", "reflection")
UNIT = "item"

FOLDERS = {
    "explicit": "explicit_preference",
    "choice": "implicit_preference/choice-based",
    "persona": "implicit_preference/persona-driven",
}
SAME = 0.5
"""The cosine from which a line of the prompt counts as saying a preference."""


class _Case(DataRow):
    preference: str
    question: str


class _Choice(DataRow):
    query: str
    assistant_options: str
    user_selection: str
    assistant_acknowledgment: str


class _ChoiceCase(_Case):
    conversation: _Choice


class _Said(DataRow):
    user: str = ""
    assistant: str = ""


class _PersonaCase(_Case):
    conversation: dict[str, _Said]


class _Options(_Case):
    classification_task_options: list[str]


class _Message(DataRow):
    role: Literal["user", "assistant"]
    content: str


class _Talk(DataRow):
    conversation: list[_Message]


def load(
    path: Path | None,
    *,
    form: Literal["explicit", "choice", "persona"] = "explicit",
    task: Literal["choice", "generation", "recall"] = "choice",
    turns: NonNegativeInt = 10,
    per_user: PositiveInt = 20,
    topics: str = "",
    seed: int = 0,
) -> list[Item]:
    """One item for each preference; a user has `per_user` of them, of mixed topics, each told in a session of its own.

    Args:
        path: the folder.
        form: how it is told: outright, by choosing among options, or in passing.
        task: "choice" among four options; "generation", judged; "recall", whether it stands in the prompt.
        turns: distracting turns ahead of the question.
        per_user: preferences a user has.
        topics: names of topics, with commas between; all by default.
        seed: of who has which preferences, and of the order of options.
    """
    if path is None:
        raise DataError("PrefEval needs --data: its folder benchmark_dataset")
    kinds: dict[str, type[_Case]] = {"explicit": _Case, "choice": _ChoiceCase, "persona": _PersonaCase}
    wanted, found = set(filter(None, topics.split(","))), dict[str, tuple[str, _Case, _Options, int]]()
    files = sorted((path / FOLDERS[form]).glob("*.json"))
    for file in files:
        if wanted and file.stem not in wanted:
            continue
        cases, choices = read_rows(file, kinds[form]), read_rows(path / "mcq_options" / file.name, _Options)
        if len(cases) != len(choices):
            raise DataError(f"{file} has {len(cases)} rows, but mcq_options/{file.name} has {len(choices)}")
        for number, (case, choice) in enumerate(zip(cases, choices, strict=True)):
            if case.question != choice.question or len(choice.classification_task_options) < 2:
                where = f"{path / 'mcq_options' / file.name}, row {number + 1}, field question"
                raise DataError(f"{where}: not the question of {FOLDERS[form]}, or fewer than two options")
            found.setdefault(case.preference, (file.stem, case, choice, number))
    if not found:
        raise DataError(f"no preferences in {path / FOLDERS[form]}" + (f" of topics {topics}" if topics else ""))
    mixed = list(found.values())
    random.Random(seed).shuffle(mixed)
    before = tuple(islice(_distractors(path), turns))
    items = list[Item]()
    for start in range(0, len(mixed), per_user):
        some, user = mixed[start : start + per_user], f"user-{start // per_user}"
        history = [tuple(_tell(case)) for _, case, _, _ in some]
        for topic, case, choice, number in some:
            name = f"{topic}-{number}"
            options, right = shuffle_options(choice.classification_task_options, 0, f"{seed}-{name}")
            about = {"groups": {"form": form, "topic": topic}, "history": history, "before": before}
            given: dict[str, Any] = {**about, "data": (task, case)}
            given |= {"options": options, "right": right} if task == "choice" else {}
            items.append(Item(id=name, user=user, question=case.question, **given))
    return items


def run(item: Item, arm: Arm, kit: Kit) -> Outcome:
    """Scores and answer: `correct` of a choice; `in_prompt`; or `follows` and the four ways of failing it."""
    task, case = item.data
    if task == "choice":
        place, answer = choose_option(item, arm, kit, "Pick the one that best matches my preferences.")
        return Outcome({"correct": float(place == item.right)}, answer)
    if task == "recall":
        reply = converse(item, arm, lambda messages: AIMessage("-"))
        told = reply.prompt.replace(item.question, "").splitlines()
        return Outcome({"in_prompt": float(_says(told, case.preference, kit))})
    reply = converse(item, arm, kit.respond)
    return Outcome(_judge(case, reply.text, kit), reply.text)


def _judge(case: _Case, answer: str, kit: Kit) -> dict[str, float]:
    """The paper's four types of error, from four questions to the judge; an answer without any follows."""
    head = (
        f"A user's preference: {case.preference}\nTheir question: {case.question}\nThe assistant's answer: {answer}\n\n"
    )
    violates = ask_yes_no(kit.judge, f"{head}Does the answer recommend something that contradicts the preference?")
    knows = ask_yes_no(kit.judge, f"{head}Does the answer mention or acknowledge a preference of the user?")
    wrong = knows and not ask_yes_no(
        kit.judge, f"{head}Is the preference that the answer mentions the one given above?"
    )
    helps = ask_yes_no(kit.judge, f"{head}Does the answer give a helpful and substantial response to the question?")
    scores = {
        "unhelpful": not helps,
        "inconsistent": helps and violates and knows and not wrong,
        "hallucinated": helps and violates and knows and wrong,
        "unaware": helps and violates and not knows,
    }
    return {"follows": float(not any(scores.values())), **{name: float(value) for name, value in scores.items()}}


def _says(lines: Sequence[str], preference: str, kit: Kit) -> bool:
    lines = [line for line in lines if line.strip()]
    rows = np.asarray(kit.embeddings.embed_documents([preference, *lines]))
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return bool((rows[1:] @ rows[0] >= SAME).any())


def _tell(case: _Case) -> Session:
    """The session in which a preference is told."""
    if isinstance(case, _ChoiceCase):
        said = case.conversation
        return [Turn(said.query, said.assistant_options), Turn(said.user_selection, said.assistant_acknowledgment)]
    if isinstance(case, _PersonaCase):
        return [Turn(one.user, one.assistant or "Noted.") for one in case.conversation.values() if one.user]
    return [Turn(case.preference)]


def _distractors(path: Path) -> Iterator[Turn]:
    file = path / "filtered_inter_turns.json"
    if not file.exists():
        yield from cycle(general_knowledge())
    for talk in read_rows(file, _Talk):
        said = [one.content for one in talk.conversation]
        yield from (Turn(*pair) for pair in zip(said[::2], said[1::2], strict=False))
