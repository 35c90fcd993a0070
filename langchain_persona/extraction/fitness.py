"""Whether something found may be kept at all, and whether it may be shown in every conversation."""

from __future__ import annotations

from collections.abc import Iterable

from langchain_persona.signals.guard import objection
from langchain_persona.signals.secrets import has_secret

__all__ = ["bare", "fit", "fit_for_always"]

SOFT = frozenset({"is neither about how to answer nor about the user", "too long for a note"})
"""Objections of the guard to a text as a note, which say nothing against the message that it came from."""


def fit(texts: Iterable[str | None], spoken: Iterable[str]) -> bool:
    """Whether a card may be kept.

    Args:
        texts: what the card would say; the guard must have nothing against it.
        spoken: the user's words that it rests on, with their whole sentence: of a sentence that is an attack no
            harmless-looking half is kept either, but it need not make a note itself.
    """
    said, heard = [text for text in texts if text], list(spoken)
    if any(has_secret(text) for text in (*said, *heard)) or any(objection(text) for text in said):
        return False
    return all(objection(text) in (None, *SOFT) for text in heard)


def fit_for_always(texts: Iterable[str | None]) -> bool:
    """Whether a card that says so may be shown in every conversation."""
    return not any(text and objection(text, always=True) for text in texts)


def bare(text: str) -> bool:
    """Whether the guard sees no attack in a text but also nothing that makes it a note."""
    return objection(text) in SOFT
