"""What Mia says in her three conversations; no code, only the script."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ANOTHER", "DISLIKED", "ERASED", "LIKED", "NATURE", "PROMPT", "SESSIONS", "USER", "Line"]

PROMPT = "You are a friendly film adviser. Suggest films from the documents, and what to eat and drink with them."
USER, ANOTHER = "mia@example.com", "tom@example.com"

LIKED, DISLIKED = "Whales of the North", "Howl"
"""Films that get a thumb up and a thumb down."""

NATURE = "Something about nature?"
"""A question to which the liked film is an answer, but none of the first three by relevance alone."""

ERASED = "pregnant"
"""The word of the one note that Mia erases."""


@dataclass(frozen=True, slots=True)
class Line:
    """One message of the user.

    Attributes:
        text: what she says.
        thumb: reward and title: a thumb on a film that came with the answer before.
        erase: before she says it, she erases the notes with this word, as a page for users would.
    """

    text: str
    thumb: tuple[float, str] | None = None
    erase: str = ""


SESSIONS: dict[str, tuple[Line, ...]] = {
    "Monday": (
        Line("Please always answer in bullet points. I'm allergic to peanuts. Which film shall I watch tonight?"),
        Line("No thanks, after my last horror film I slept with the light on for a week.", thumb=(-1.0, DISLIKED)),
        Line("My favourite drink is coke. What could go with it?"),
        Line("I enjoy cycling at weekends. Is there a film about animals in the ice?"),
        Line("I'm pregnant. Which film is calm enough for me?"),
    ),
    "Tuesday": (
        Line("Forget it. What could I cook for a film night?", erase=ERASED),
        Line("My favourite drink is coffee now. A quiet film with whales?"),
        Line("What else is there?", thumb=(1.0, LIKED)),
    ),
    "Wednesday": (
        Line("What could I do outdoors on Sunday?"),
        Line("Which film shall I watch tonight, and what shall I drink with it?"),
        Line("What is the capital of Portugal?"),
    ),
}
