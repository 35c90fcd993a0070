"""Does the replay by the pure core say the same as the real retriever over Chroma? Offer by offer, in one order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from langchain_core.embeddings import Embeddings
from rich.progress import Progress

from benchmarks.choices import PHASES, Chooser
from benchmarks.contenders import PLAIN, Contender
from benchmarks.life import live
from benchmarks.pahf import Pahf
from benchmarks.replay import Rule, Shop, outcomes_in, replay

__all__ = ["compare"]


def compare(
    data: Pahf, embeddings: Embeddings, users: Sequence[Chooser], rules: Sequence[Contender], progress: Progress
) -> list[dict[str, Any]]:
    """Run every rule that the retriever can run through both, in the order of the data, protocol A.

    Returns:
        For each rule the number of offers, of those with another outcome, and the first of these, with the margin by
        which its option won here: a margin of some 1e-7 is a tie that single precision decides.
    """
    shop = Shop(data.catalogue, embeddings)
    rules = [rule for rule in rules if (rule.config is not None and rule.said is None) or rule.id == PLAIN]
    task = progress.add_task("the real retriever", total=len(rules) * outcomes_in(data))
    found = []
    for rule in rules:
        real: dict[tuple[str, int], list[bool]] = defaultdict(list)
        for space, names in _by_space(rule, users):
            for outcome in replay(data, shop, Rule(rule.name, rule.config, space), users=names):
                real[outcome.user, outcome.phase].append(outcome.accepted)
                progress.advance(task)
        offers, differences, first = 0, 0, None
        for shopper in users:
            life = live(shopper, rule)
            for phase in PHASES:
                pairs = zip(life.accepted[phase], real[shopper.name, phase], strict=True)
                for place, (here, there) in enumerate(pairs):
                    offers += 1
                    if bool(here) != there:
                        differences += 1
                        first = first or {
                            "user": shopper.name,
                            "phase": phase,
                            "place": place,
                            "margin": float(life.margin[phase][place]),
                        }
        found.append({"id": rule.id, "name": rule.name, "offers": offers, "differences": differences, "first": first})
    return found


def _by_space(rule: Contender, users: Sequence[Chooser]) -> list[tuple[Any, list[str]]]:
    """The users of one space together: a retriever's memory has one."""
    spaces: dict[int, tuple[Any, list[str]]] = {}
    for user in users:
        space = rule.space_of(user.name)
        spaces.setdefault(id(space), (space, []))[1].append(user.name)
    return list(spaces.values())
