"""What the third conversation must show, checked by the program; no check reads what the model answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from demo.script import ANOTHER, DISLIKED, ERASED, LIKED, PROMPT, SESSIONS, USER

if TYPE_CHECKING:
    from rich.console import Console

    from langchain_persona import PersonaMemory, VARSRetriever

__all__ = ["Check", "on_erased", "on_memory", "on_prompts", "on_ranking", "show"]

STATED = ("bullet points", "peanuts", "cycling")
"""What Mia says of herself, by the words that must come back; the first two hold in every conversation."""

UP = 5
"""Ranks by which one thumb lifts a film for a question that is not about it; far more would put taste above it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold: what, whether it does, and what was found."""

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
        Check("stated: answers' form, allergy, hobby are told", not missing, ", ".join(missing) or "in 3 of 3 prompts"),
        Check("implied: no horror films, by a story of hers", bool(implied), implied[0]["text"] if implied else ""),
        Check("changed: coffee is told, behind coke if at all", coke < coffee, "in 3 of 3 prompts"),
        Check("the host's own prompt is in front, untouched", untouched, f"{len(prompts)} prompts"),
        Check(f"{ANOTHER} is told of none of it", alone, "the host's prompt alone"),
    ]


def on_memory(memory: PersonaMemory) -> list[Check]:
    """What is kept of the user."""
    texts = [card.text for card in memory.preferences(USER)]
    persona = memory.persona(USER).revision
    ratings = memory.ratings(USER)
    return [
        Check("“Forget it.” erased nothing", any("peanuts" in text for text in texts), f"{len(texts)} cards in force"),
        Check(
            "the persona text tells form and allergy",
            all(words in persona.text for words in STATED[:2]),
            f"revision {persona.number}",
        ),
        Check("both thumbs are in the ledger", len(ratings) == 2, f"{len(ratings)} ratings"),
    ]


def on_ranking(films: VARSRetriever, shown: Sequence[Mapping[str, Any]], k: int) -> list[Check]:
    """The user's ranking of all films against the plain one, for the first message of the third conversation."""
    query = SESSIONS["Wednesday"][0].text
    plain, own, other = (
        [str(film.id) for film in films.invoke(query, k=k, user_id=user)] for user in ("", USER, ANOTHER)
    )
    moved = {film: (plain.index(film) + 1, own.index(film) + 1) for film in (LIKED, DISLIKED)}
    (low, first), (high, last) = moved[LIKED], moved[DISLIKED]
    told = {film: f"rank {before} → {after} of {k}" for film, (before, after) in moved.items()}
    most = len(shown)
    same = [film["id"] for film in shown] == own[:most]
    return [
        Check(f"thumb up: “{LIKED}” rises", first <= low - UP, told[LIKED]),
        Check(f"thumb down: “{DISLIKED}” is out", same and high <= most < last, told[DISLIKED]),
        Check(f"{ANOTHER} has the plain ranking", other == plain, f"{k} films"),
    ]


def on_erased(turns: Sequence[Mapping[str, Any]], revisions: str, folder: Path) -> Check:
    """The erased word, in what the model was told and in the bytes of the closed memory's files."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    data = b"".join(path.read_bytes().lower() for path in files)
    told = any(ERASED in str(turn["system"]) for turn in turns) or ERASED in revisions
    gone = not told and ERASED.encode() not in data and b"peanuts" in data
    return Check("erased: in no prompt, revision or byte of a file", gone, f"{len(data) / 1e6:.1f} MB read")


def show(console: Console, checks: Sequence[Check]) -> bool:
    """Print them; returns whether all hold."""
    console.print("[bold cyan]Is it in force on Wednesday?[/]")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(style="dim", overflow="ellipsis", no_wrap=True)
    for check in checks:
        table.add_row("  [bold green]✓[/]" if check.holds else "  [bold red]✗[/]", check.what, check.found)
    console.print(table)
    failed = sum(not check.holds for check in checks)
    if failed:
        console.print(f"[bold red]{failed} of {len(checks)} checks failed.[/]")
    else:
        console.print(f"[bold green]All {len(checks)} checks hold.[/]")
    return not failed
