"""What was learned about a user, in numbers and in words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from langchain_persona.memory.cards import CardSet
from langchain_persona.records import Feedback, Withdrawal

_MOST = 10


@dataclass(frozen=True, slots=True)
class Rating:
    """One feedback that a user gave, or that the loop wrote for them.

    Attributes:
        id, time: for `PersonaMemory.withdraw`, and seconds since the epoch.
        source, reward: the kind of signal, such as "thumbs", and its value from −1 (bad) to 1 (good).
        documents, titles: ids of the documents that it is about, and their first words.
        moved: how strongly it pulls the ranking towards these documents: the reward times how much it counts.
        reason: why it moves nothing; "" where it does.
        retrieval_id: the retrieval that it is about.
    """

    id: str
    time: float
    source: str
    reward: float
    documents: tuple[str, ...]
    titles: tuple[str, ...]
    moved: float
    reason: str
    retrieval_id: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a user's ranking is what it is; `str(...)` says it in words.

    Attributes:
        user: the user's id.
        cards: texts of the cards in force, oldest first.
        words: those of them that move rankings: likes and dislikes with a vector.
        events, sources, mean_reward: feedback that moves the vectors; how many of each source; the mean, in [−1, 1].
        withdrawn, inert: feedback taken back, and what could not be learned from (retrieval unknown or expired).
        liked, disliked: documents by net reward, strongest first: `(id, first words, sum of rewards)`, at most ten.
        space, embedding: of the vectors: id and name of the model; None before the first feedback.
    """

    user: str
    cards: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    events: int = 0
    sources: dict[str, int] = field(default_factory=dict)
    mean_reward: float = 0.0
    withdrawn: int = 0
    inert: int = 0
    liked: tuple[tuple[str, str, float], ...] = ()
    disliked: tuple[tuple[str, str, float], ...] = ()
    space: str | None = None
    embedding: str | None = None

    def __str__(self) -> str:
        if not self.user:
            return "An anonymous user: nothing is kept, every ranking is the plain one."
        lines = [f"Known of {self.user!r} in words:"] if self.cards else []
        lines += [f"  - {text}" for text in self.cards[:_MOST]]
        if len(self.cards) > _MOST:
            lines.append(f"  and {len(self.cards) - _MOST} more")
        if self.words:
            shown = "; ".join(map(repr, self.words[:_MOST])) + (" …" if len(self.words) > _MOST else "")
            lines.append(f"These move rankings of what they are about: {shown}")
        if not self.events:
            moved = "only what they said moves rankings" if self.words else "rankings are the plain ones"
            lines.append(f"{self.user!r} gave no feedback yet: {moved}.")
        else:
            sources = ", ".join(f"{count} × {source}" for source, count in self.sources.items())
            mean = f"{self.mean_reward:+.2f} in the mean"
            often = "once" if self.events == 1 else f"{self.events} times"
            lines.append(f"{self.user!r} gave feedback {often} ({sources}), {mean}.")
            for title, named in (("Most liked", self.liked), ("Least liked", self.disliked)):
                if named:
                    said = ", ".join(f"{text or one} ({net:+.1f})" for one, text, net in named)
                    lines.append(f"{title}: {said}.")
        if self.withdrawn:
            lines.append(f"Withdrawn, so they count for nothing: {self.withdrawn}.")
        if self.inert:
            lines.append(f"Not learned from, because their retrieval was unknown or had expired: {self.inert}.")
        return "\n".join(lines)


def list_ratings(entries: Sequence[Feedback | Withdrawal]) -> list[Rating]:
    """Every feedback of a ledger, newest first; what `migrate_embeddings` carried over is listed once."""
    withdrawn = {entry.target for entry in entries if isinstance(entry, Withdrawal)}

    def rating(entry: Feedback) -> Rating:
        reason = "it was withdrawn" if entry.id in withdrawn else ""
        if not reason and entry.chosen is None:
            reason = "its retrieval was unknown or had expired"
        if not reason and entry.gate == 0.0:
            reason = "its gate is 0"
        told = {name: getattr(entry, name) for name in Rating.__slots__ if name not in ("moved", "reason")}
        return Rating(**told, moved=0.0 if reason else entry.reward * entry.gate, reason=reason)

    found = [rating(entry) for entry in entries if isinstance(entry, Feedback) and entry.origin is None]
    return sorted(found, key=lambda one: (-one.time, one.id))


def explain_ledger(
    user: str, entries: Sequence[Feedback | Withdrawal], cards: CardSet, embedding: str | None, space: str | None
) -> Explanation:
    """Sum up what is kept of a user; pure."""
    withdrawn = {entry.target for entry in entries if isinstance(entry, Withdrawal)}
    given = [entry for entry in entries if isinstance(entry, Feedback) and entry.origin is None]
    valid = [entry for entry in given if entry.gate and entry.id not in withdrawn]
    carried = {entry.origin for entry in entries if isinstance(entry, Feedback) and entry.embedding == embedding}
    counted = [entry for entry in valid if entry.chosen and (entry.embedding == embedding or entry.id in carried)]
    net: defaultdict[str, float] = defaultdict(float)
    titles = {card.id: card.text[:80] for card in cards.all}  # where cards were rated; a record holds no text of theirs
    for entry in counted:
        titles |= dict(zip(entry.documents, entry.titles, strict=False))
        for document in entry.documents:
            net[document] += entry.reward
    rated = [(name, titles.get(name, ""), value) for name, value in net.items()]
    ranked = sorted(rated, key=lambda one: (-one[2], one))
    return Explanation(
        user=user,
        cards=tuple(card.text for card in cards.active),
        words=() if cards.statements is None else cards.statements.texts,
        events=len(counted),
        sources=dict(Counter(entry.source for entry in counted).most_common()),
        mean_reward=sum(entry.reward for entry in counted) / len(counted) if counted else 0.0,
        withdrawn=sum(entry.id in withdrawn for entry in given),
        inert=len(valid) - len(counted),
        liked=tuple(one for one in ranked if one[2] > 0)[:_MOST],
        disliked=tuple(one for one in reversed(ranked) if one[2] < 0)[:_MOST],
        space=space,
        embedding=embedding,
    )
