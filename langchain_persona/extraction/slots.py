"""What each rule means: one table for all languages; the words of each language are in `data/rules/<language>.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["SLOTS", "Slot"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One thing that a message can tell about its user.

    Attributes:
        kind, topic, always, origin, confidence: of the card, see `PreferenceCard`.
        style: what it says about the way of talking: trait of `CommunicationStyle` to a value in [−1, 1].
        lasting: holds although the sentence speaks of one occasion ("as a vegetarian, what can I cook tonight?").
    """

    kind: Literal["preference", "fact", "style", "avoid"]
    topic: str | None = None
    always: bool = False
    origin: Literal["stated", "inferred"] = "stated"
    confidence: float = 0.9
    style: Mapping[str, float] = field(default_factory=dict)
    lasting: bool = False


def _style(topic: str, *, inferred: bool = False, **style: float) -> Slot:
    """A way of answering: in force in every conversation."""
    if inferred:
        return Slot("style", topic, always=True, origin="inferred", confidence=0.6, style=style)
    return Slot("style", topic, always=True, style=style)


SLOTS: Mapping[str, Slot] = {
    "language": _style("answer language"),
    "short": _style("answer length", verbosity=-1.0),
    "long": _style("answer length", verbosity=1.0),
    "too_long": _style("answer length", inferred=True, verbosity=-1.0),
    "too_short": _style("answer length", inferred=True, verbosity=1.0),
    "formal": _style("formality", formality=1.0),
    "casual": _style("formality", formality=-1.0),
    "emojis": _style("emojis", warmth=0.5),
    "no_emojis": _style("emojis"),
    "lists": _style("lists", structure=1.0),
    "no_lists": _style("lists", structure=-1.0),
    "tables": _style("tables", structure=1.0),
    "no_tables": _style("tables"),
    "no_markdown": _style("markdown", structure=-1.0),
    "simple": _style("technical depth", technical_depth=-1.0),
    "too_complex": _style("technical depth", inferred=True, technical_depth=-1.0),
    "expert": _style("technical depth", technical_depth=1.0),
    "blunt": _style("directness", directness=1.0),
    "gentle": _style("directness", directness=-1.0),
    "no_small_talk": _style("small talk", directness=0.5, warmth=-1.0),
    "only_asked": _style("follow-up questions", proactivity=-1.0),
    "proactive": _style("follow-up questions", proactivity=1.0),
    "metric": _style("units"),
    "imperial": _style("units"),
    "name": Slot("fact", "name", always=True),
    "allergy": Slot("fact", always=True, lasting=True),
    "diet": Slot("fact", "diet", always=True, lasting=True),
    "health": Slot("fact", always=True, lasting=True),
    "family": Slot("fact", always=True, confidence=0.8, lasting=True),
    "home": Slot("fact", "home", lasting=True),
    "job": Slot("fact", "job", lasting=True),
    "learning": Slot("fact", lasting=True, confidence=0.8),
    "favourite": Slot("preference"),
    "like": Slot("preference"),
    "prefer": Slot("preference"),
    "dislike": Slot("avoid"),
    "habit": Slot("preference", confidence=0.8),
    "no_habit": Slot("avoid", confidence=0.8),
    "changed": Slot("preference", confidence=0.8),
    "always_do": Slot("preference", always=True),
    "never_do": Slot("avoid", always=True),
    "avoid": Slot("avoid"),
}
"""By name; a rule of a language file names the slot that it fills."""
