"""What the third conversation must show, checked by the program; no check reads what the model answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from demo.script import ANOTHER, DISLIKED, FORGOTTEN, LIKED, PROMPT, SESSIONS, USER

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from rich.console import Console

    from langchain_persona import PersonaMemory, VARSRetriever

__all__ = ["Check", "on_files", "on_memory", "on_ranking", "on_states", "show"]

FENCE = "<user_notes>"
PADDED = "length.bin"
"""A file of Chroma's index, filled up with a few hundred bytes of whatever lay in this program's memory when it was
written: what is found in it need not have been stored, so it is not read here."""
TASTE = "I enjoy cycling at weekends", "my favourite drink is coffee now"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold: what, where it was looked up, whether it does, and what was found."""

    what: str
    where: str
    holds: bool
    found: str = ""


def on_states(states: Sequence[Mapping[str, Any]], stranger: Mapping[str, Any]) -> list[Check]:
    """What the model was told in the third conversation, and what it was told of another user."""
    film, outdoors, fact = states
    prompts = [str(state["system"]) for state in states]
    said = [line.text for line in SESSIONS["Wednesday"]]
    where = "system prompt"
    checks = [
        Check(what, where, all(words in prompt for prompt in prompts), f"in {_share(words, prompts)}")
        for what, words in (
            ("stated: bullet points", "answer in bullet points"),
            ("stated: the allergy", "allergic to peanuts"),
            ("implied by “too long”: short answers", "Keep answers short."),
        )
    ]
    hobby, _ = TASTE
    checks += [
        Check("stated: the hobby, where it is called for", where, hobby in outdoors["system"], _cards(outdoors)),
        Check("changed mind: coffee is told, coke is not", where, _only_coffee(film), _cards(film)),
        Check("a question of fact gets neither", where, not _any(TASTE, fact["system"]), _cards(fact) or "no card"),
        Check("forgotten: not told any more", where, not any(FORGOTTEN in prompt for prompt in prompts), "no trace"),
        Check("the host's prompt is at the front, untouched", where, all(map(_untouched, prompts)), "3 of 3"),
        Check(
            "this conversation repeated none of it",
            "messages",
            not any(_any(("bullet", "peanut", "short", "cycling", "coffee", "coke"), text) for text in said),
            f"{len(said)} messages",
        ),
        Check(
            f"another user, {ANOTHER}, gets none of it",
            where,
            _untouched(stranger["system"]) and FENCE not in stranger["system"] and not stranger["cards"],
            "no notes",
        ),
    ]
    return checks


def on_memory(memory: PersonaMemory) -> list[Check]:
    """What is kept of the user."""
    cards = memory.preferences(USER)
    notes = [card.note for card in cards]
    history = [card for card in memory.preferences(USER, all=True) if not card.active]
    persona = memory.persona(USER).revision
    revisions = [f"{old.text} {old.diff}" for old in memory.history(USER)]
    learned = memory.explain(USER)
    style = memory.profile(USER).style.verbosity
    by_topic = {card.topic: card for card in cards if card.topic}
    short = by_topic.get("answer length")
    allergy = next((card for card in cards if "allergic" in card.note), None)
    seen = 0 if allergy is None else len(allergy.evidence)
    old = [card.note for card in history if "coke" in card.note]
    return [
        Check(
            "“short answers” is marked as inferred",
            "preferences",
            short is not None and short.origin == "inferred",
            "nothing" if short is None else short.origin,
        ),
        Check(
            "… and the style says so",
            "profile",
            style.value < 0 < style.confidence,
            f"verbosity {style.value:+.2f}",
        ),
        Check("the repeated allergy is one card, seen twice", "preferences", seen == 2, f"{seen} messages"),
        Check("coffee holds", "preferences", any("coffee" in note for note in notes), f"{len(notes)} active cards"),
        Check("coke is history, and readable there", "preferences", len(old) == 1, f"“{old[0]}”" if old else "no card"),
        Check(
            "the persona tells form, length and allergy",
            "persona",
            all(words in persona.text for words in ("bullet points", "peanuts", "Keep answers short")),
            f"revision {persona.number}, {len(persona.text.splitlines())} lines",
        ),
        Check(
            "forgotten: not in the persona's history",
            "persona",
            not any(FORGOTTEN in text for text in revisions),
            f"{len(revisions)} revisions read",
        ),
        Check(
            "thumbs, praise and blame reached the learner",
            "explain",
            {"thumbs"} < set(learned.sources),
            ", ".join(f"{count} × {source}" for source, count in learned.sources.items()) or "nothing",
        ),
    ]


UP = 10
"""Ranks by which one thumb lifts a film for a question that is not about it; far more would put taste above it."""


def on_ranking(films: VARSRetriever, shown: Sequence[Document], k: int) -> list[Check]:
    """The user's ranking of all films against the plain one, for the first message of the third conversation."""
    query = SESSIONS["Wednesday"][0].text
    plain = [str(film.id) for film in films.invoke(query, k=k, user_id="")]
    own = [str(film.id) for film in films.invoke(query, k=k, user_id=USER)]
    other = [str(film.id) for film in films.invoke(query, k=k, user_id=ANOTHER)]
    moved = {film: (plain.index(film) + 1, own.index(film) + 1) for film in (LIKED, DISLIKED)}
    (low, first), (high, last) = moved[LIKED], moved[DISLIKED]
    most = len(shown)
    told = {film: f"rank {before} → {after} of {k}" for film, (before, after) in moved.items()}
    bonus = [film.metadata["persona"]["long"] for film in shown]
    return [
        Check(f"thumb up: “{LIKED}” comes up, if asked for another", "films", first <= low - UP, told[LIKED]),
        Check(f"thumb down: “{DISLIKED}” leaves them", "films", high <= most < last, told[DISLIKED]),
        Check(
            "the answer had these films, by their bonus",
            "films",
            [film.id for film in shown] == own[:most] and any(bonus),
            " ".join(f"{value:+.2f}" for value in bonus),
        ),
        Check(f"{ANOTHER} has the plain ranking", "films", other == plain, f"{k} films"),
    ]


def on_files(folder: Path) -> list[Check]:
    """The forgotten word in the bytes of the closed memory's files; beside it a word that must be there."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != PADDED]
    contents = {path.relative_to(folder).as_posix(): path.read_bytes().lower() for path in files}
    traces = [name for name, data in contents.items() if FORGOTTEN.encode() in data]
    control = [name for name, data in contents.items() if b"peanuts" in data]
    size = sum(map(len, contents.values())) / 1e6
    return [
        Check(
            "forgotten: in no file of the memory",
            "folder",
            not traces,
            ", ".join(traces) or f"{size:.1f} MB read, all but {PADDED}",
        ),
        Check("… while “peanuts” is found that way", "folder", bool(control), ", ".join(control) or "nowhere"),
    ]


def show(console: Console, checks: Sequence[Check]) -> bool:
    """Print the table; returns whether all hold."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("on Wednesday …")
    table.add_column("checked on", no_wrap=True)
    table.add_column("found")
    for check in checks:
        table.add_row("[bold green]✓[/]" if check.holds else "[bold red]✗[/]", check.what, check.where, check.found)
    console.print(table)
    failed = sum(not check.holds for check in checks)
    if failed:
        console.print(f"[bold red]{failed} of {len(checks)} checks failed.[/]")
    else:
        console.print(f"[bold green]All {len(checks)} checks hold.[/]")
    return not failed


def _untouched(prompt: str) -> bool:
    return prompt.startswith(f"{PROMPT}\n\n<") or prompt == PROMPT


def _any(words: Sequence[str], text: str) -> bool:
    return any(word.casefold() in text.casefold() for word in words)


def _share(words: str, prompts: Sequence[str]) -> str:
    return f"{sum(words in prompt for prompt in prompts)} of {len(prompts)} prompts"


def _only_coffee(state: Mapping[str, Any]) -> bool:
    return "coffee" in state["system"] and "coke" not in state["system"]


def _cards(state: Mapping[str, Any]) -> str:
    """The cards that are not for every conversation."""
    return ", ".join(f"“{card['note']}” {card['score']:.2f}" for card in state["cards"] if card["why"] == "relevant")
