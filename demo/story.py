"""One user: what is offered in choices of three before and after their thumbs, and when their taste has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_core.documents import Document
from rich.table import Table
from rich.text import Text

from benchmarks.pahf import Option, Pahf, Scenario
from benchmarks.replay import Rule
from langchain_persona import PreferenceCard, VARSConfig, VARSRetriever

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.replay import Shop

__all__ = ["tell"]

SHOWN = 2
"""Choices in the table; `--verbose` shows all."""


@dataclass(frozen=True)
class _Shopper:
    """One user in the shop."""

    data: Pahf
    user: str
    retriever: VARSRetriever
    options: Mapping[str, Option]

    def offer(self, scenario: Scenario) -> Document:
        """The first of the three options, as ranked now."""
        return self.retriever.invoke(
            scenario.task,
            k=3,
            filter={"option": {"$in": [option.id for option in scenario.options]}},
            user_id=self.user,
            session_id=f"{scenario.phase}-{scenario.product}",
        )[0]

    def offers(self, scenarios: Sequence[Scenario]) -> list[Option]:
        """What is offered in each of some choices; nothing is learned from these."""
        return [self.options[str(self.offer(scenario).id)] for scenario in scenarios]

    def learn(self, phase: int) -> int:
        """Offer and record the thumb, round after round; returns how many."""
        lessons = self.data.of(self.user, phase)
        for scenario in lessons:
            offered = self.offer(scenario)
            self.retriever.feedback(offered, 1.0 if scenario.accepts(str(offered.id)) else -1.0, user_id=self.user)
        return len(lessons)


def tell(console: Console, data: Pahf, shop: Shop, user: str, *, verbose: bool) -> None:
    """The story of one user."""
    retriever = shop.retriever(Rule("default", VARSConfig()))
    assert isinstance(retriever, VARSRetriever)
    shopper = _Shopper(data, user, retriever, {option.id: option for option in data.catalogue})
    choices = _choices(data, user, 2)
    console.print(
        f"{user} shops (PAHF data, {len(shop.vectors):,} offers in Chroma). “{choices[0].task}” says nothing about "
        "taste. Of three offers the retriever ranks one first. ✓ is taken, ✗ is not:"
    )
    before = shopper.offers(choices)
    said = _say(shopper, choices, before)
    thumbs = shopper.learn(1)
    after = shopper.offers(choices)
    console.print(_table(choices, before, after, thumbs, verbose=verbose))
    console.print(
        f"Of all {len(choices)} such choices {user} takes [bold]{_taken(choices, before)}[/] before, "
        f"[bold]{_taken(choices, after)}[/] after {thumbs} thumbs."
    )
    if said:
        console.print(f"Words count without any thumb: {said}")
    choices = _choices(data, user, 4)
    stale = _taken(choices, shopper.offers(choices))
    thumbs = shopper.learn(3)
    console.print(
        f"Then the taste changes: of {len(choices)} new choices {user} takes [bold]{stale}[/], and "
        f"[bold]{_taken(choices, shopper.offers(choices))}[/] after {thumbs} new thumbs."
    )
    if verbose:
        explained = str(retriever.memory.explain(user))
        console.print(f"\n[bold]memory.explain({user!r})[/] says:\n{explained}\n")


def _say(shopper: _Shopper, choices: Sequence[Scenario], before: Sequence[Option]) -> str:
    """What one sentence changes, said before any thumb; it is erased again, so that thumbs start anew.

    Its feature is in no offer that was refused for another one: that would read like a contradiction.
    """
    memory, user = shopper.retriever.memory, shopper.user
    pairs = list(zip(choices, before, strict=True))
    refused = {feature for choice, offer in pairs if not choice.accepts(offer.id) for feature in offer.features}
    for choice, offer in pairs:
        liked = [option for option in choice.options if choice.accepts(option.id)]
        wanted = [one for option in liked for one in option.features if one not in refused]
        if offer in liked or not wanted:
            continue
        said = f"I like {choice.product} with {wanted[0]}."
        card = memory.remember(user, PreferenceCard(text=said, kind="like"))
        now = shopper.offers(choices)
        memory.forget(user, card.id)
        found = now[choices.index(choice)]
        if found in liked:
            return f"“{said}” alone makes it {_taken(choices, now)}."
    return ""


def _choices(data: Pahf, user: str, phase: int) -> list[Scenario]:
    return [scenario for scenario in data.of(user, phase) if scenario.matters]


def _taken(choices: Sequence[Scenario], offers: Sequence[Option]) -> int:
    return sum(choice.accepts(offer.id) for choice, offer in zip(choices, offers, strict=True))


def _table(
    choices: Sequence[Scenario], before: Sequence[Option], after: Sequence[Option], thumbs: int, *, verbose: bool
) -> Table:
    """The choices in which something else is offered now."""
    table = Table(box=None, pad_edge=False, show_edge=False, expand=True)
    table.add_column("product", no_wrap=True)
    table.add_column("first without a thumb", ratio=1)
    table.add_column(f"first after {thumbs} thumbs on other requests", ratio=1)
    rows = [row for row in zip(choices, before, after, strict=True) if verbose or row[1] != row[2]]
    for choice, old, new in rows if verbose else rows[:SHOWN]:
        both = set() if verbose else set(old.features) & set(new.features)
        table.add_row(choice.product, _cell(choice, old, both), _cell(choice, new, both))
    return table


def _cell(choice: Scenario, option: Option, left_out: Set[str]) -> Text:
    """Whether the user takes it, and what sets it apart."""
    taken = choice.accepts(option.id)
    words = ", ".join(feature for feature in option.features if feature not in left_out)
    return Text.assemble(("✓ " if taken else "✗ ", "bold"), words, style="green" if taken else "red")
