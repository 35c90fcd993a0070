"""MultiSessionCollab (arXiv 2601.02702, used by VARS, 2603.20939): users who insist on how they want to be answered.

The folder is the published repository. A user has a few sessions, each with a problem, and insists where an answer does
not keep to a preference, until it does or turns run out. A program plays the user for the preferences that it can check
(`user=rules`), a judge for all (`user=judge`). What is measured is the sessions after the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from pydantic import Field, PositiveInt

from langchain_persona.errors import ConfigError
from langchain_persona.evals.arms import Arm, Kit, Reply
from langchain_persona.evals.items import DataError, DataRow, Item, Outcome, find, read_rows
from langchain_persona.evals.models import ask_yes_no
from langchain_persona.evals.report import mean

ABOUT = "MultiSessionCollab (arXiv 2601.02702): users who insist on the form of answers, over several sessions"
ARMS = ("none", "everything", "verbatim", "reflection")
UNIT = "user"

PLAIN = (
    "Thank you for this great question! I think one can look at it from several sides. It helps to see what is given. "
    "Then one can compare what is possible. In the end the second option fits. You might also want to read more on it."
)
"""An answer that keeps to one rule alone, that for a closing suggestion; given where no model is asked."""

_LIST = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
_NUMBERS = re.compile(r"^\s*\d+[.)]\s", re.MULTILINE)
_HEADINGS = re.compile(r"^(?:#{1,6}\s|\*\*[^*\n]+\*\*:?\s*$)", re.MULTILINE)
_ADVICE = re.compile(r"you (?:might|could|may) (?:also )?(?:want|consider|try)|next steps?|let me know", re.IGNORECASE)
_POLITE = re.compile(r"\b(?:sorry|thank|great question|happy to|delighted|glad|certainly|of course)\b", re.IGNORECASE)
_SHORT = re.compile(r"(?:tl;?dr|in short|summary).*\s*\Z", re.IGNORECASE)
_PLAN = re.compile(r"outline|we(?:'ll| will) (?:cover|look)|here(?:'s| is) what|plan", re.IGNORECASE)
_CONFIDENCE = re.compile(r"confiden|\d ?%", re.IGNORECASE)
_TAKEAWAYS = re.compile("takeaway|summary|sum up", re.IGNORECASE)


class Rule(NamedTuple):
    """A preference that a program can check.

    Attributes:
        about: words by which it is known in the published text.
        wish: what the user asks for, behind "Please".
        word: a pattern that a rightly worded note of it has.
        kept: whether an answer keeps to it.
    """

    about: str
    wish: str
    word: str
    kept: Callable[[str], bool]


def _has(pattern: re.Pattern[str], part: slice = slice(None)) -> Callable[[str], bool]:
    return lambda text: pattern.search(text[part]) is not None


def _lacks(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.search(text) is None


def _is_short(text: str) -> bool:
    return len([one for one in re.split(r"(?<=[.!?])\s+", text.strip()) if one]) <= 3


RULES = (
    Rule(
        "no longer than three sentences",
        "keep every answer to three sentences at most",
        "(?:three|3) sentences",
        _is_short,
    ),
    Rule("bullet-point format", "always answer in bullet points", "bullet", _has(_LIST)),
    Rule("have numbered steps", "always number the steps", "number", _has(_NUMBERS)),
    Rule("headings for each section", "always give each section a heading", "heading", _has(_HEADINGS)),
    Rule("one-line TL;DR at the end", "always end with a one-line TL;DR", "tl;?dr", _has(_SHORT)),
    Rule("contain confidence estimates", "always say how confident you are", "confiden", _has(_CONFIDENCE)),
    Rule(
        "start out with an outline", "always start with an outline of your answer", "outline", _has(_PLAN, slice(300))
    ),
    Rule("key takeaways or a summary", "always add the key takeaways", "takeaway", _has(_TAKEAWAYS)),
    Rule(
        "does not provide unsolicited suggestions",
        "never add suggestions that I did not ask for",
        "suggest",
        _lacks(_ADVICE),
    ),
    Rule(
        "end responses with a proactive suggestion",
        "always end with a suggestion for a next step",
        "next step",
        _has(_ADVICE, slice(-300, None)),
    ),
    Rule(
        "blunt without pleasantries", "always answer bluntly, without pleasantries", "blunt|pleasantr", _lacks(_POLITE)
    ),
)

_WORDS = re.compile("|".join(rule.word for rule in RULES), re.IGNORECASE)


class _Profile(DataRow):
    i: int
    preferences: list[str] = Field(min_length=1)


class _Problem(DataRow):
    problem: str
    solution: str


class _Task(NamedTuple):
    wishes: list[tuple[str, Rule | None]]
    problems: list[_Problem]
    turns: int
    standing: bool


def load(
    path: Path | None,
    *,
    dataset: Literal["mmlu", "logiqa", "medqa", "math-500", "math_hard"] = "mmlu",
    user: Literal["rules", "judge"] = "rules",
    task: Literal["chat", "standing"] = "chat",
    sessions: int = 3,
    turns: PositiveInt = 4,
) -> list[Item]:
    """One item for each user; with rules, for those who have a preference that can be checked.

    Args:
        path: the folder.
        dataset: the problems.
        user: who plays the user.
        task: "chat"; or "standing", in which no model answers: every wish is said once in the first session, and what
            counts is whether it stands in the prompts of the others. Only with rules.
        sessions: of a user, at least 2.
        turns: answers in a session, at most.
    """
    if path is None:
        raise DataError("MultiSessionCollab needs --data: its repository's folder")
    if sessions < 2 or (task == "standing" and user != "rules"):
        raise ConfigError("sessions must be 2 or more, and task=standing needs user=rules")
    profiles, problems = "user_profiles/user_profiles.json", f"datasets/cache/{dataset}/testset_size20_seed42.json"
    inside = "collaborativeagents/"
    file = find(path, f"{inside}{profiles}", profiles, what="MultiSessionCollab profiles")
    asked = read_rows(find(path, f"{inside}{problems}", problems, what="MultiSessionCollab problems"), _Problem)
    items = list[Item]()
    for place, row in enumerate(read_rows(file, _Profile)):
        known: list[tuple[str, Rule | None]] = [
            (text, next((rule for rule in RULES if rule.about in text), None)) for text in row.preferences
        ]
        wishes = [(text, rule if user == "rules" else None) for text, rule in known if rule or user == "judge"]
        if wishes:
            some = [asked[(place * sessions + number) % len(asked)] for number in range(sessions)]
            if task == "standing":  # nobody solves them, and no wish is to be found in their own words
                some = [one.model_copy(update={"problem": _WORDS.sub("", one.problem)}) for one in some]
            data = _Task(wishes, some, turns, task == "standing")
            items.append(Item(id=f"user-{row.i}", user=f"user-{row.i}", question=some[0].problem, data=data))
    return items


def run(item: Item, arm: Arm, kit: Kit) -> Outcome:
    """Later sessions: `kept` at the first answer, `insisted` (turns), `solved` (judged), `words`; or `standing`."""
    task: _Task = item.data
    kept, insisted, solved, words, standing, last = *([list[float]() for _ in range(5)]), ""
    for number, problem in enumerate(task.problems):
        thread, messages = f"{item.id}-{number}", [HumanMessage(problem.problem, id=f"{item.id}-{number}-0")]
        talk: list[AnyMessage] = [*messages]
        said = 0
        for turn in range(max(task.turns, len(task.wishes) + 1) if task.standing else task.turns):
            reply = arm.answer(item.key, thread, talk, _plain if task.standing else kit.respond)
            last = reply.text
            talk.append(AIMessage(reply.text or "-", id=f"{thread}-{turn}-a"))
            arm.observe(item.key, thread, talk)
            if number:
                words.append(len(reply.text.split()))
                if turn == 0:
                    standing += _standing(task, reply)
            wish = _next_wish(task, reply.text, kit, said if task.standing else 0)
            if number and turn == 0:
                kept.append(float(not wish))
            if not wish or (task.standing and number):
                break
            said += 1
            talk.append(HumanMessage(wish, id=f"{thread}-{turn + 1}"))
        if number:
            insisted.append(said)
            asked = f"A problem:\n{problem.problem}\n\nIts solution: {problem.solution}\n\nAn answer:\n{last}\n\n"
            if not task.standing:
                solved.append(float(ask_yes_no(kit.judge, f"{asked}Does the answer reach this solution?")))
    if task.standing:
        return Outcome({"standing": mean(standing)}, last)
    scores = {"kept": kept, "insisted": insisted, "solved": solved, "words": words}
    return Outcome({name: mean(values) for name, values in scores.items()}, last)


def _next_wish(task: _Task, answer: str, kit: Kit, said: int) -> str:
    """What the user insists on next; "" where the answer keeps to all, or all was said."""
    for text, rule in task.wishes[said:]:
        if rule is not None and (task.standing or not rule.kept(answer)):
            return f"Please {rule.wish}."
        asked = f"An answer:\n{answer}\n\nA rule for it: {text}\n\nIs the rule to be enforced?"
        if rule is None and ask_yes_no(kit.judge, asked):
            return text.partition(" Enforce ")[0].replace("You prefer", "I prefer", 1).replace("you prefer", "I prefer")
    return ""


def _standing(task: _Task, reply: Reply) -> list[float]:
    """For each checkable wish of the first session whether it stands in the prompt of this one."""
    rules = [rule for _, rule in task.wishes if rule is not None]
    return [float(bool(re.search(rule.word, reply.prompt, re.IGNORECASE))) for rule in rules]


def _plain(messages: object) -> AIMessage:
    return AIMessage(PLAIN)
