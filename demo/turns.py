"""One turn of the conversation on the screen: said, settled, learned, retrieved and why, and the persona's diff."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from rich.console import Console

    from demo.script import Line

__all__ = ["show"]

SHORTENED = 150
COLOURS = {"added": "green", "strengthened": "cyan", "updated": "yellow", "superseded": "yellow", "erased": "red"}


def show(console: Console, line: Line, state: Mapping[str, Any], before: str, after: str) -> None:
    """Print a turn.

    Args:
        console: where to.
        line: what the user said.
        state: of the graph when the turn was over.
        before, after: the persona's text.
    """
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False, expand=True)
    table.add_column(style="dim", width=10, no_wrap=True)
    table.add_column(ratio=1)
    if line.thumb is not None:
        reward, title = line.thumb
        table.add_row("thumb", f"{'up' if reward > 0 else 'down'}, for “{title}” of the answer before")
    table.add_row("Mia", Text(line.text, "bold"))
    table.add_row("answer", Text(_shortened(state["messages"][-1].text), "italic dim"), end_section=True)
    table.add_row("settled", _lines(map(_settled, state["settled"])))
    table.add_row("learned", _lines(map(_learned, state["learned"])))
    table.add_row("cards", _lines(_cards(state["cards"])))
    table.add_row("films", _films(state["documents"]))
    table.add_row("persona", _diff(before, after))
    console.print(f"[bold cyan]▸[/] [cyan]{line.about}[/]")
    console.print(table)


def _lines(found: Any) -> Text:
    """One below the other, or a dash."""
    return Text("\n").join(found) or Text("–", "dim")


def _shortened(answer: str) -> str:
    text = " ".join(answer.split())
    return text if len(text) <= SHORTENED else f"{text[:SHORTENED]}… ({len(text):,} characters)"


def _settled(signal: Mapping[str, Any]) -> Text:
    """A signal on the answer before."""
    colour = "green" if signal["reward"] > 0 else "red"
    return Text.assemble((f"{signal['reward']:+.2f} ", colour), f"{signal['source']}: {signal['reason']}")


def _learned(change: Mapping[str, Any]) -> Text:
    """A change of a card."""
    told = Text.assemble((change["change"], COLOURS.get(change["change"], "")))
    if "note" not in change:
        return told.append(" a card, with its vector and what was said", "")
    told.append(f" “{change['note']}”" + (", for every conversation" if change["always"] else ""))
    if change.get("before", change["note"]) != change["note"]:
        told.append(f" in place of “{change['before']}”")
    return told.append(f" ({change['reason']})", "dim") if change["reason"] else told


def _cards(cards: Sequence[Mapping[str, Any]]) -> list[Text]:
    """The cards that the model sees, and why."""
    always = [f"“{card['note']}”" for card in cards if card["why"] != "relevant"]
    rows = [Text.assemble(("for every conversation: ", "dim"), ", ".join(always))] if always else []
    for card in cards:
        if card["why"] == "relevant":
            rows.append(Text.assemble(f"“{card['note']}” ", (f"relevant {_sum(card)}", "dim")))
    return rows


def _films(documents: Sequence[Document]) -> Text:
    """The films that the model sees, and why they stand where they stand."""
    rows = []
    for document in documents:
        why = document.metadata["persona"]
        moved = "" if why["rank"] == why["base_rank"] else f", plain rank {why['base_rank']}"
        rows.append(Text.assemble(f"{why['rank']}. {document.id} ", (f"{_sum(why)}{moved}", "dim")))
    return _lines(rows)


def _sum(why: Mapping[str, Any]) -> str:
    """The score as its parts: similarity, long-term and session bonus."""
    if not why["long"] and not why["short"]:
        return f"{why['score']:.2f}"
    return f"{why['score']:.2f} = {why['base']:.2f} {why['long']:+.2f} long {why['short']:+.2f} session"


def _diff(before: str, after: str) -> Text:
    """What became of the persona's text."""
    colours = {"+": "green", "-": "red", " ": "dim"}
    if before == after:
        return Text(f"unchanged, {_counted(len(after.splitlines()))}" if after else "none yet", "dim")
    lines = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in colours]
    return _lines(Text(line, colours[line[0]]) for line in lines)


def _counted(lines: int) -> str:
    return "1 line" if lines == 1 else f"{lines} lines"
