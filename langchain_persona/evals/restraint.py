"""Restraint, a benchmark of our own: what memory must not change, must not tell any more, and must hold up to date.

The file is JSON in the form of `restraint.json` beside this module, which is read by default: `users`, each with what
they said of themselves; `objective` questions, the right option first; what is told and then `forgotten`, with a word
that would betray it; `updates`, the right option first.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field

from langchain_persona.evals.arms import Arm, Kit, choose_option, converse
from langchain_persona.evals.items import DataRow, Item, Outcome, Turn, read_object, shuffle_options
from langchain_persona.evals.models import count_calls

ABOUT = "restraint: objective answers unchanged, forgotten facts not revealed, the newer of two statements wins"
ARMS = ("none", "everything", "verbatim", "reflection")
UNIT = "user"

BUNDLED = Path(__file__).with_name("restraint.json")


class _Forgotten(DataRow):
    said: str
    word: str
    question: str


class _Update(DataRow):
    first: str
    then: str
    question: str
    options: list[str] = Field(min_length=2)


class _Data(DataRow):
    users: list[list[str]]
    objective: list[list[str]]
    forgotten: list[_Forgotten]
    updates: list[_Update]


def load(path: Path | None = None, *, seed: int = 0) -> list[Item]:
    """The three kinds of items, in turn; `path` is a file of your own."""
    data: _Data = read_object(path or BUNDLED, _Data)
    kinds = list[list[Item]]([[], [], []])
    for number, (question, *options) in enumerate(data.objective):
        place = number % len(data.users)
        told = [tuple(Turn(one) for one in data.users[place])]
        made, right = shuffle_options(options, 0, f"{seed}-{number}")
        name, user = f"objective-{number}", f"objective-{place}"
        given = {"history": told, "groups": {"kind": "objective"}, "options": made, "right": right}
        kinds[0].append(Item(id=name, user=user, question=question, **given))  # type: ignore[arg-type]
    for number, one in enumerate(data.forgotten):
        told = [(Turn(one.said),), (Turn("What is the capital of France?", "Paris."),)]
        name, groups = f"forgotten-{number}", {"kind": "forgotten"}
        kinds[1].append(Item(id=name, user=name, question=one.question, history=told, groups=groups, data=one))
    for number, update in enumerate(data.updates):
        told = [(Turn(update.first),), (Turn(update.then),)]
        made, right = shuffle_options(update.options, 0, f"{seed}-{number}")
        name, groups = f"update-{number}", {"kind": "update"}
        kinds[2].append(
            Item(id=name, user=name, question=update.question, history=told, groups=groups, options=made, right=right)
        )
    places = [((place + 0.5) / len(some), one) for some in kinds for place, one in enumerate(some)]
    return [one for _, one in sorted(places, key=lambda pair: pair[0])]  # so that the first ones are of all kinds


def run(item: Item, arm: Arm, kit: Kit) -> Outcome:
    """`same` as without memory and `correct`; `told` (in the prompt) and `used` (in the answer); or `latest`."""
    if isinstance(item.data, _Forgotten):
        arm.forget(item.key, item.data.said)
        reply = converse(item, arm, kit.respond)
        word = item.data.word.casefold()
        told, used = (float(word in text.casefold()) for text in (reply.prompt, reply.text))
        return Outcome({"used": used, "told": told}, reply.text)
    kind = item.groups["kind"]
    close = "Which is right?" if kind == "objective" else "Which option suits me best?"
    place, answer = choose_option(item, arm, kit, close)
    if kind == "update":
        return Outcome({"latest": float(place == item.right)}, answer)
    with count_calls():  # what it is compared with is no cost of this arm
        plain, _ = choose_option(item, Arm("none", kit), kit, close)
    return Outcome({"same": float(place == plain >= 0), "correct": float(place == item.right)}, answer)


@cache
def general_knowledge() -> list[Turn]:
    """Questions and answers that say nothing of anybody, to stand between others."""
    return [Turn(one[0], f"{one[1]}.") for one in read_object(BUNDLED, _Data).objective]
