"""What a turn teaches: from the latest exchanges to what changes in the user's cards.

A reflection reads and proposes (`Findings`); `apply` checks each proposal and makes the cards. `ModelReflection` asks a
chat model, `VerbatimReflection` needs none. One of your own has a name and the two methods of `Reflection`;
`docs/agents.md` shows one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import ConfigDict, Field, model_validator

from langchain_persona.records import Axis, PreferenceCard, Record, Reward, Share

__all__ = ["Exchange", "Findings", "Operation", "Reaction", "Reflection", "StyleChange"]


Text = Annotated[str, Field(max_length=500)]  # a grammar of endless strings lets a small model run on
Phrase = Annotated[str, Field(max_length=200)]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One turn, as a reflection reads it; secrets are masked.

    Attributes:
        message_id, user: id and text of the user's message.
        assistant, previous_assistant: what was answered, and the assistant's message that the user answers.
        time, id: seconds since the epoch, and the turn; cards that are made from it are named after it.
    """

    message_id: str
    user: str
    assistant: str = ""
    previous_assistant: str = ""
    time: float = 0.0
    id: str = ""


class Proposal(Record):
    """Base of what a model proposes: a field that is null is as good as left out."""

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, value: Any) -> Any:
        return {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value


class Operation(Proposal):
    """One proposed change of a user's cards.

    Attributes:
        action: "add" a card, "update" the text of one, "retire" one that no longer holds, "confirm" one.
        text, condition, kind, scope, origin, confidence: of the new card, as in `PreferenceCard`.
        quote: the user's words that show it.
        target, reason: id of the card to update, retire or confirm, and why it is retired.
        questions: up to four questions or situations in which the new card matters.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    action: Literal["add", "update", "retire", "confirm"] = "add"
    text: Text = ""
    condition: Phrase | None = None
    kind: Literal["like", "dislike", "fact", "style"] = "fact"
    scope: Literal["always", "topic"] = "topic"
    origin: Literal["stated", "inferred"] = "stated"
    confidence: Share = 1.0
    quote: Text = ""
    target: Phrase | None = None
    reason: Phrase = ""
    questions: Annotated[tuple[Phrase, ...], Field(max_length=4)] = ()


class Reaction(Proposal):
    """What the user's message says of the answer before it.

    Attributes:
        reward: from −1 (rejects it) to 1 (is glad of it).
        blame: what the reward is due to: the answer itself, the retrieved documents, both, or neither.
        quote: the user's words that show it.
    """

    reward: Reward = 0.0
    blame: Literal["answer", "documents", "both", "neither"] = "answer"
    quote: Text = ""


class StyleChange(Proposal):
    """How the user wants to be talked to: which way on an axis of `CommunicationStyle`, from −1 to 1, and the quote."""

    axis: Axis
    change: Reward
    quote: Text = ""


class Findings(Proposal):
    """What a reflection proposes. The reaction is to the answer before the exchange in which its quote stands."""

    operations: Annotated[tuple[Operation, ...], Field(max_length=50)] = ()
    reaction: Reaction | None = None
    style: Annotated[tuple[StyleChange, ...], Field(max_length=7)] = ()


@runtime_checkable
class Reflection(Protocol):
    """Finds in some exchanges what is to be remembered of the user.

    The `name` tells two reflections on one memory apart: each works through its own turns. Keep it between releases.
    """

    name: str

    def reflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        """What the exchanges teach, oldest first. What it raises is tried again later.

        `cards` are those in force that could be meant, at most 20; only these can be updated, retired or confirmed.
        """
        ...

    async def areflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        """Async twin of `reflect`."""
        ...
