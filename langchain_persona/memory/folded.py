"""What a read of the ledger gives, and what a process keeps of it to go on from there."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_persona.learning import Event, LearnerState
from langchain_persona.spaces import PreferenceSpace

__all__ = ["Folded", "Remembered"]


@dataclass(frozen=True, slots=True)
class Folded:
    """What a read of the ledger gives.

    Attributes:
        state: the fold of every valid entry.
        space: where it lies.
        young: entries that the snapshot did not hold.
        skipped: stored values that could not be read; logged, kept, and left out.
        written: False when the user's ledger was never written to.
    """

    state: LearnerState
    space: PreferenceSpace
    young: int = 0
    skipped: int = 0
    written: bool = True


@dataclass(frozen=True, slots=True)
class Remembered:
    """What this process keeps of a fold, to go on from there.

    Attributes:
        folded: the result.
        after: horizon of the snapshot on which it stands.
        window: decoded events up to that horizon that the rule looks at again.
        young: decoded events later than that, in order.
    """

    folded: Folded
    after: float
    window: tuple[Event, ...]
    young: tuple[Event, ...]
