"""The shapes in which a model answers: their JSON schemas, and how what came back is read, also when it is damaged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

__all__ = ["MAX_OUTPUT", "Found", "flat_schema", "list_schema", "read_answer"]

MAX_OUTPUT = 64_000
"""Characters of a model's answer that are looked at; a full list of cards is a twentieth of it."""


def _cut(value: object) -> object:
    return value[:400] if isinstance(value, str) else value


_Text = Annotated[str, BeforeValidator(_cut)]


class Found(BaseModel):
    """One card as a model gives it, before any check."""

    quote: _Text
    note: _Text = ""
    condition: _Text = ""
    action: _Text = ""
    kind: Literal["preference", "fact", "style", "avoid", "none"] = Field("preference", alias="kind")
    scope: Literal["always", "topic"] = "topic"
    origin: Literal["stated", "inferred"] = "stated"
    confidence: Literal["high", "medium", "low"] = "medium"


def _text(length: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": length}


def _choice(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def _object(title: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": title,
        "description": "What the user's words tell about the user.",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def flat_schema() -> dict[str, Any]:
    """One record a message: the text before the category, which may be "none".

    A small model that has to choose the category first chooses blindly.
    """
    kinds = _choice("preference", "fact", "style", "avoid", "none")
    return _object("note", {"quote": _text(160), "note": _text(160), "category": kinds})


def list_schema(max_cards: int) -> dict[str, Any]:
    """A list of cards over a window of turns; every string and the list are bounded, or small models run on."""
    card = _object(
        "card",
        {
            "quote": _text(160),
            "note": _text(160),
            "condition": _text(80),
            "action": _text(120),
            "kind": _choice("preference", "fact", "style", "avoid"),
            "scope": _choice("always", "topic"),
            "origin": _choice("stated", "inferred"),
            "confidence": _choice("high", "medium", "low"),
        },
    )
    return _object("notes", {"cards": {"type": "array", "items": card, "maxItems": max_cards}})


def read_answer(answer: object) -> list[Found] | None:
    """What a model found.

    Args:
        answer: a parsed object, or text that holds one, perhaps fenced, with talk around it, or cut off.

    Returns:
        The records that can be read; None when there is nothing that could be.
    """
    if isinstance(answer, str):
        return _read_text(answer[:MAX_OUTPUT])
    if isinstance(answer, Mapping):
        if isinstance(cards := answer.get("cards"), list):
            found = [record for card in cards[:100] if (record := _record(card))]
            return found if found or not cards else None
        record = _record(answer)
        return [record] if record else None
    return None


def _record(value: object) -> Found | None:
    if not isinstance(value, Mapping):
        return None
    named = dict(value)
    if "category" in named:
        named["kind"] = named.pop("category")
        named.setdefault("scope", "always" if named["kind"] == "style" else "topic")
    try:
        return Found.model_validate(named)
    except ValidationError:
        return None


def _read_text(text: str) -> list[Found] | None:
    """The whole object if it parses; else each complete record in it, for an answer that was cut off keeps those."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    if start < 0:
        return None
    try:
        return read_answer(decoder.raw_decode(text, start)[0])
    except (ValueError, RecursionError):
        pass
    found: list[Found] = []
    position = text.find("{", start + 1)
    attempts = 0
    while position >= 0 and attempts < 100:
        attempts += 1
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            if record := _record(value):
                found.append(record)
        position = text.find("{", end)
    return found or None
