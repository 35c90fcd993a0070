"""What was learned about a user from feedback, in numbers and in words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from langchain_persona.records import Feedback, Withdrawal
from langchain_persona.vectors import UserVectors

__all__ = ["Explanation", "explanation_of"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a user's ranking is what it is; `str(...)` says it in words.

    Attributes:
        user: the user's id.
        events: feedback that moves the vectors.
        withdrawn: feedback taken back.
        inert: feedback that could not be learned from (unknown or expired retrieval).
        sources: events by source.
        mean_reward: mean over the events, in [−1, 1]; 0 without any.
        long_norm, short_norm: lengths of the two vectors as they act on the ranking, before the cap.
        liked, disliked: documents by net reward, strongest first: `(id, sum of rewards)`, at most ten.
        space: id of the preference space.
        embedding: name of the embedding model; None before the first feedback.
        several: True for a user without feedback who starts at a mean user, in whose space the embedding model decides.
    """

    user: str
    events: int
    withdrawn: int
    inert: int
    sources: dict[str, int]
    mean_reward: float
    long_norm: float
    short_norm: float
    liked: tuple[tuple[str, float], ...]
    disliked: tuple[tuple[str, float], ...]
    space: str | None
    embedding: str | None
    several: bool = False

    def __str__(self) -> str:
        """Some sentences for people."""
        if not self.user:
            return "An anonymous user: nothing is kept, every ranking is the plain one."
        if not self.events and self.several:
            return (
                f"Nothing was learned about {self.user!r} yet: a ranking may start at the mean user of a fitted space; "
                "several are in force, one for an embedding model."
            )
        if not self.events and self.long_norm:
            return (
                f"Nothing was learned about {self.user!r} yet: every ranking is that of the mean user of {self.space}."
            )
        if not self.events:
            return f"Nothing was learned about {self.user!r} yet: every ranking is the plain one."
        sources = ", ".join(f"{count} × {source}" for source, count in self.sources.items())
        lines = [
            f"{self.user!r} gave feedback {self.events} times ({sources}); the mean reward is {self.mean_reward:+.2f}.",
            f"The long-term preference has length {self.long_norm:.3f}, that of this session {self.short_norm:.3f} "
            f"(in the space {self.space}, over {self.embedding}).",
        ]
        if self.liked:
            lines.append("Most liked: " + ", ".join(f"{name} ({net:+.1f})" for name, net in self.liked) + ".")
        if self.disliked:
            lines.append("Least liked: " + ", ".join(f"{name} ({net:+.1f})" for name, net in self.disliked) + ".")
        if self.withdrawn:
            lines.append(f"{self.withdrawn} of the user's ratings were withdrawn and count for nothing.")
        if self.inert:
            lines.append(f"{self.inert} more could not be learned from (their retrieval was unknown or had expired).")
        return "\n".join(lines)


def explanation_of(
    user: str,
    entries: Sequence[Feedback | Withdrawal],
    vectors: UserVectors,
    space: str | None,
    embedding: str | None,
    *,
    several: bool = False,
) -> Explanation:
    """Sum up a ledger; pure."""
    targets = {entry.target for entry in entries if isinstance(entry, Withdrawal)}
    feedback = [entry for entry in entries if isinstance(entry, Feedback)]
    # a thumb that was translated into another embedding model is one thumb
    replaced = {entry.origin for entry in feedback if entry.origin is not None and entry.embedding == embedding}
    feedback = [
        entry
        for entry in feedback
        if entry.id not in replaced and (entry.origin is None or entry.embedding == embedding)
    ]
    valid = [entry for entry in feedback if entry.id not in targets and entry.origin not in targets]
    counted = [entry for entry in valid if entry.chosen is not None and entry.embedding == embedding]
    net: defaultdict[str, float] = defaultdict(float)
    for entry in counted:
        for document in entry.documents:
            net[document] += entry.reward
    ranked = sorted(net.items(), key=lambda item: (-item[1], item[0]))
    return Explanation(
        user=user,
        events=len(counted),
        withdrawn=len(feedback) - len(valid),
        inert=len(valid) - len(counted),
        sources=dict(Counter(entry.source for entry in counted).most_common()),
        mean_reward=sum(entry.reward for entry in counted) / len(counted) if counted else 0.0,
        long_norm=float(np.linalg.norm(vectors.beta_long * vectors.long)),
        short_norm=float(np.linalg.norm(vectors.beta_short * vectors.short)),
        liked=tuple((name, value) for name, value in ranked if value > 0)[:10],
        disliked=tuple((name, value) for name, value in reversed(ranked) if value < 0)[:10],
        space=space,
        embedding=embedding,
        several=several,
    )
