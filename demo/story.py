"""One user: the plain ranking, their thumbs, the ranking that is theirs, and what happens when their taste changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_core.documents import Document
from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.pahf import Option, Pahf, Scenario
from benchmarks.replay import Rule
from langchain_persona import VARSConfig, VARSRetriever

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.replay import Shop

__all__ = ["intro", "tell"]

TOP = 5
DEPTHS = (5, 10, 20)


def intro(console: Console, data: Pahf, user: str) -> None:
    """What this is about, in plain words."""
    console.rule("[bold]langchain-persona: retrieval that learns from thumbs[/]")
    console.print(
        f"\n{len(data.users)} people shop for household goods. {len(data.catalogue):,} options lie in a Chroma "
        "collection, each with three features. A request such as “help me buy a laptop that suits my taste” says "
        "nothing about taste, so plain retrieval cannot know. Everyone answers an offer with a thumb, and from the "
        "thumbs alone a vector is learned for each of them; it is added to the next query.\n\n"
        "The people and their decisions come from PAHF (arXiv 2602.16173, MIT). No key, no server, no model call.\n"
        f"First one person in detail: {user}. Then all of them.\n"
    )


@dataclass(frozen=True)
class _Scene:
    """One user who shops for one product."""

    console: Console
    data: Pahf
    user: str
    product: str
    query: str
    options: Mapping[str, Option]
    retriever: VARSRetriever

    def ranking(self, session: str) -> list[Document]:
        """All options of the product, ranked for this user."""
        where, k = {"product": self.product}, len(self.options)
        return self.retriever.invoke(self.query, k=k, filter=where, user_id=self.user, session_id=session)

    def takes(self, doc: Document, phase: int) -> bool:
        """Whether the user would take a document, as their persona stands in a phase."""
        return self.data.accepts(self.user, self.options[str(doc.id)], phase)

    def show(self, doc: Document, phase: int) -> Text:
        """The features of a document, one a line, with what the user thinks of each."""
        likes = {feature for some in self.data.liked(self.user, self.product, phase).values() for feature in some}
        lines = [Text("✓ takes it", "bold green") if self.takes(doc, phase) else Text("✗ leaves it", "bold red")]
        for feature in self.options[str(doc.id)].features:
            good = feature in likes
            lines.append(Text(f"{'+' if good else '−'} {feature}", "green" if good else "red"))
        return Text("\n").join(lines)


def tell(console: Console, data: Pahf, shop: Shop, user: str) -> None:
    """The whole story of one user and one product."""
    first = data.of(user, 1)[0]
    product = first.product
    options = {option.id: option for option in data.catalogue if option.product == product}
    retriever = shop.retriever(Rule("default", VARSConfig()))
    assert isinstance(retriever, VARSRetriever)
    scene = _Scene(console, data, user, product, first.task, options, retriever)
    plain = shop.store.as_retriever().invoke(first.task, k=len(options), filter={"product": product})

    console.rule(f"[bold]1. What {user} wants[/]")
    console.print(f"{user} asks: “{first.task}”. There are {len(options)} to choose from.")
    console.print("Nobody tells the retriever that these are the features this person likes:\n")
    console.print(_tastes(scene))

    console.rule(f"[bold]2. {user} answers with thumbs[/]")
    lessons = [scenario for scenario in data.of(user, 1) if scenario.product == product]
    _thumbs(scene, lessons, session="first visit")

    console.rule("[bold]3. The same question again[/]")
    after = scene.ranking("first visit")
    _side_by_side(scene, ("plain Chroma", plain), (f"for {user}", after), phase=1)

    console.rule("[bold]4. Why? memory.explain says[/]")
    console.print(_explained(scene))

    console.rule(f"[bold]5. {user}'s taste changes[/]")
    console.print("Some features that were liked are now disliked, and the other way round:\n")
    console.print(_tastes(scene, changed=True))
    stale = scene.ranking("second visit")
    _thumbs(
        scene,
        [scenario for scenario in data.of(user, 3) if scenario.product == product],
        session="second visit",
    )
    after = scene.ranking("second visit")
    _side_by_side(scene, ("before new thumbs", stale), ("after new thumbs", after), phase=3)


def _tastes(scene: _Scene, *, changed: bool = False) -> Table:
    """What the user likes about the product; with `changed`, before and after."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("feature")
    table.add_column("likes before" if changed else "likes", ratio=1)
    if changed:
        table.add_column("likes now", ratio=1)
    now = scene.data.liked(scene.user, scene.product, 3)
    for category, liked in scene.data.liked(scene.user, scene.product, 1).items():
        if not changed:
            table.add_row(category, ", ".join(liked))
            continue
        kept = set(liked) & set(now[category])
        cells = [
            Text(", ").join(Text(feature, "dim" if feature in kept else style) for feature in features)
            for features, style in ((liked, "red"), (now[category], "green"))
        ]
        table.add_row(category, *cells)
    return table


def _thumbs(scene: _Scene, lessons: Sequence[Scenario], *, session: str) -> None:
    """Offer the first of three options, round after round, and record the thumb."""
    scene.console.print(
        f"In each of {len(lessons)} rounds three options are ranked, the first is offered, and {scene.user} reacts:\n"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("round", justify="right")
    table.add_column("offered", ratio=1)
    table.add_column("good ones\namong the 3", justify="right")
    table.add_column("thumb")
    for number, scenario in enumerate(lessons, start=1):
        docs = scene.retriever.invoke(
            scenario.task,
            k=3,
            filter={"option": {"$in": [option.id for option in scenario.options]}},
            user_id=scene.user,
            session_id=session,
        )
        up = scenario.accepts(str(docs[0].id))
        scene.retriever.feedback(docs[0], 1.0 if up else -1.0, user_id=scene.user)
        thumb = Text("▲ up", "green") if up else Text("▼ down", "red")
        features = ", ".join(scene.options[str(docs[0].id)].features)
        table.add_row(str(number), features, str(sum(scenario.acceptable)), thumb)
    scene.console.print(table)


def _side_by_side(
    scene: _Scene,
    left: tuple[str, Sequence[Document]],
    right: tuple[str, Sequence[Document]],
    *,
    phase: int,
) -> None:
    """Two rankings beside each other, the right one with its scores and where each option stood on the left."""
    table = Table(box=box.HORIZONTALS, pad_edge=False, show_lines=True, border_style="dim")
    table.add_column("", justify="right")
    table.add_column(left[0], ratio=1)
    table.add_column(right[0], ratio=1)
    table.add_column("moved", no_wrap=True)
    table.add_column("score", no_wrap=True)
    ranks = {doc.id: rank for rank, doc in enumerate(left[1], start=1)}
    for rank, (old, new) in enumerate(zip(left[1][:TOP], right[1][:TOP], strict=True), start=1):
        why = new.metadata["persona"]
        table.add_row(
            str(rank),
            scene.show(old, phase),
            scene.show(new, phase),
            _moved(ranks.get(new.id), rank),
            f"base  {why['base']:+.3f}\nlong  {why['long']:+.3f}\nshort {why['short']:+.3f}\n    = {why['score']:+.3f}",
        )
    scene.console.print(table)
    counts = []
    for name, docs in (left, right):
        taken = [sum(scene.takes(doc, phase) for doc in docs[:depth]) for depth in DEPTHS]
        counts.append(f"{', '.join(map(str, taken[:-1]))} and {taken[-1]} ({name})")
    depths = f"{', '.join(map(str, DEPTHS[:-1]))} and {DEPTHS[-1]}"
    scene.console.print(f"Of the first {depths}, {scene.user} would take {counts[0]}; {counts[1]}.\n")


def _moved(old: int | None, new: int) -> Text:
    if old is None:
        return Text(f"▲ new → {new}", "cyan")
    if old == new:
        return Text(f"= {new}", "dim")
    return Text(f"▲ {old} → {new}", "cyan") if old > new else Text(f"▼ {old} → {new}", "yellow")


def _explained(scene: _Scene) -> str:
    """The explanation, with the options' features in place of their ids."""
    words = str(scene.retriever.memory.explain(scene.user, "first visit"))
    for option in scene.options.values():
        words = words.replace(option.id, f"“{', '.join(option.features)}”")
    return words + "\n"
