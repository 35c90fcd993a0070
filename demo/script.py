"""What Mia says in her three conversations, and what is to be seen in each; no code, only the script."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ANOTHER", "DISLIKED", "FORGOTTEN", "LIKED", "PROMPT", "SESSIONS", "USER", "Line"]

PROMPT = "You are a friendly film adviser. Suggest films from the documents, and what to eat and drink with them."
USER, ANOTHER = "mia@example.com", "tom@example.com"

LIKED, DISLIKED = "Whales of the North", "Howl"
"""Films that get a thumb up and a thumb down."""

FORGOTTEN = "pregnant"
"""The word of the one thing that Mia wants forgotten."""


@dataclass(frozen=True, slots=True)
class Line:
    """One message of the user.

    Attributes:
        text: what she says.
        about: what to watch for in this turn.
        thumb: reward and title: a thumb on a film that came with the answer before.
    """

    text: str
    about: str
    thumb: tuple[float, str] | None = None


SESSIONS: dict[str, tuple[Line, ...]] = {
    "Monday": (
        Line(
            "Please always answer in bullet points. I'm allergic to peanuts. Which film shall I watch tonight?",
            "two preferences stated: the form of answers, and an allergy",
        ),
        Line(
            "That is too long. My favourite drink is coke. What could go with it?",
            "implied: shorter answers; a drink stated; a thumb down on a film",
            thumb=(-1.0, DISLIKED),
        ),
        Line("Thanks! I enjoy cycling at weekends. Is there a film about animals in the ice?", "praise, and a hobby"),
        Line("I'm pregnant. Which film is calm enough for me?", "something that she will regret having said"),
    ),
    "Tuesday": (
        Line("Forget that I'm pregnant.", "forgetting: card, vector, what was said, and the line of the persona"),
        Line("What could I cook for a film night?", "the allergy holds in this conversation, too"),
        Line(
            "I said it already: I'm allergic to peanuts! Something without them, please.",
            "a constraint repeated: the answer before was bad, and the card gets stronger",
        ),
        Line("Actually, my favourite drink is coffee now. A quiet film with whales?", "a changed mind"),
        Line("Perfect, that is it!", "a thumb up on a film", thumb=(1.0, LIKED)),
    ),
    "Wednesday": (
        Line("Which film shall I watch tonight, and what shall I drink with it?", "drink and films, by what is known"),
        Line("What could I do outdoors on Sunday?", "the hobby is called for"),
        Line("What is the capital of Portugal?", "a question of fact: drink and hobby stay out"),
    ),
}
