"""What the third conversation must show, checked by the program; no check reads what the model answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from demo.script import ANOTHER, DISLIKED, ERASED, LIKED, NATURE, PROMPT, SESSIONS, USER

if TYPE_CHECKING:
    from rich.console import Console

    from langchain_persona import PersonaMemory, VARSRetriever

__all__ = ["Check", "on_erased", "on_memory", "on_prompts", "on_ranking", "show"]

STATED = ("bullet points", "peanuts", "cycling")
"""What Mia says of herself, by the words that must come back; the first two hold in every conversation."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold: what, whether it does, and what to say of it where it does not."""

    what: str
    holds: bool
    found: str = ""


def on_prompts(turns: Sequence[Mapping[str, Any]], stranger: Mapping[str, Any]) -> list[Check]:
    """What the model was told in the third conversation, and what it was told of another user."""
    prompts = [str(turn["system"]) for turn in turns]
    missing = [words for words in STATED if not all(words in prompt for prompt in prompts)]
    coke, coffee = (prompts[0].find(word) for word in ("coke", "coffee"))
    implied = [card for card in turns[0]["cards"] if "horror" in card["text"].lower()]
    alone = stranger["system"] in ("", PROMPT) and not stranger["cards"]
    untouched = all(prompt == PROMPT or prompt.startswith(f"{PROMPT}\n\n") for prompt in prompts)
    return [
        Check("stated: form of answers, allergy, hobby", not missing, f"not told: {', '.join(missing)}"),
        Check("implied: no horror, from her story", bool(implied), "no card on horror"),
        Check("changed: coffee is the later note", coke < coffee, "in the first prompt"),
        Check("your own prompt comes first, untouched", untouched),
        Check(f"the prompt of {ANOTHER} has none of it", alone),
    ]


def on_memory(memory: PersonaMemory) -> list[Check]:
    """What is kept of the user."""
    texts = [card.text for card in memory.preferences(USER)]
    persona = memory.persona(USER).revision
    ratings = memory.ratings(USER)
    return [
        Check("saying “Forget it.” erased nothing", any("peanuts" in text for text in texts)),
        Check(
            "the persona text has form and allergy",
            all(words in persona.text for words in STATED[:2]),
            f"revision {persona.number}",
        ),
        Check("both thumbs are in the ledger", len(ratings) == 2, f"{len(ratings)} ratings"),
    ]


def on_ranking(films: VARSRetriever, shown: Sequence[Mapping[str, Any]], k: int) -> list[Check]:
    """The user's ranking of all films against the plain one, for two questions."""
    most = len(shown)
    question = SESSIONS["Wednesday"][1].text
    plain, own, other = (_ranking(films, question, k, user) for user in ("", USER, ANOTHER))
    low, first = (_ranking(films, NATURE, k, user).index(LIKED) + 1 for user in ("", USER))
    high, last = (ranking.index(DISLIKED) + 1 for ranking in (plain, own))
    same = [film["id"] for film in shown] == own[:most]
    return [
        Check(f"thumb up: {LIKED}, rank {low} → {first}", first <= most < low, f"of {k}, for “{NATURE}”"),
        Check(f"thumb down: {DISLIKED}, rank {high} → {last}", same and high <= most < last, f"of {k}"),
        Check(f"{ANOTHER} has the plain ranking", other == plain),
    ]


def _ranking(films: VARSRetriever, query: str, k: int, user: str) -> list[str]:
    return [str(film.id) for film in films.invoke(query, k=k, user_id=user)]


def on_erased(turns: Sequence[Mapping[str, Any]], revisions: str, folder: Path) -> Check:
    """The erased word, in what the model was told and in the bytes of the closed memory's files."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    data = b"".join(path.read_bytes().lower() for path in files)
    told = any(ERASED in str(turn["system"]) for turn in turns) or ERASED in revisions
    gone = not told and ERASED.encode() not in data and b"peanuts" in data
    return Check(f"erased: no byte of “{ERASED}” in {len(data) / 1e6:.1f} MB", gone)


def show(console: Console, checks: Sequence[Check]) -> bool:
    """Print them, two in a row, and what is wrong with those that fail; returns whether all hold."""
    console.print(
        "[bold cyan]Does it hold on Wednesday?[/] (The checks read prompts, rankings and files, not answers.)"
    )
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(ratio=1)
    table.add_column(ratio=1)
    cells = [_cell(check) for check in checks]
    for left, right in zip_longest(cells[::2], cells[1::2], fillvalue=Text()):
        table.add_row(left, right)
    console.print(table)
    failed = sum(not check.holds for check in checks)
    if failed:
        console.print(f"[bold red]{failed} of {len(checks)} checks failed.[/]")
    else:
        console.print(f"[bold green]All {len(checks)} checks hold.[/]")
    return not failed


def _cell(check: Check) -> Text:
    mark = ("  ✓ ", "bold green") if check.holds else ("  ✗ ", "bold red")
    found = "" if check.holds or not check.found else f" ({check.found})"
    return Text.assemble(mark, check.what, (found, "dim"))
