"""From what is remembered to a system prompt: the host's prompt first and untouched, then the notes, fenced as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from langchain_core.messages import SystemMessage

from langchain_persona.persona.clean import FENCE, clean_line
from langchain_persona.prompts_persona import NOTES_HEADING

__all__ = ["Notes", "approximate", "notes", "render", "system_message"]

_SECTIONS = (
    ("persona", "About the user:"),
    ("style", "How to answer:"),
    ("always", "In every conversation:"),
    ("relevant", "Perhaps of use now:"),
)
_MOST = 200


@dataclass(frozen=True, slots=True)
class Notes:
    """The block that goes behind the host's prompt, and what stands in it.

    Attributes:
        text: the fenced block; "" when there is nothing to say.
        persona: lines of the persona that are in it.
        style, always, relevant: positions of the notes that are in it, in the lists that were given.
        left_out: notes that did not fit the budget.
    """

    text: str = ""
    persona: int = 0
    style: tuple[int, ...] = ()
    always: tuple[int, ...] = ()
    relevant: tuple[int, ...] = ()
    left_out: int = 0


def approximate(text: str) -> int:
    """Tokens of a text, roughly and without a tokenizer: ASCII at 4 characters a token, CJK at 1, all else at 2.

    Example:
        >>> approximate("Answer in German."), approximate("请用中文回答")
        (5, 6)
    """
    plain = sum(char.isascii() for char in text)
    wide = sum("\u2e80" <= char <= "\ud7ff" or "\uf900" <= char <= "\ufaff" or char >= "\U00010000" for char in text)
    return math.ceil(plain / 4 + wide + (len(text) - plain - wide) / 2)


def notes(
    *,
    persona: str = "",
    style: Sequence[str] = (),
    always: Sequence[str] = (),
    relevant: Sequence[str] = (),
    budget_tokens: int = 600,
    count: Callable[[str], int] = approximate,
) -> Notes:
    """The fenced block, in stable order: persona, style, global notes, notes for this message.

    The longest beginning of that order that fits is kept: the least relevant note falls out first, the first line of
    the persona last. A line that says what an earlier one says is shown once. What changes with every message stands
    last, so that a model server's prefix cache survives.

    Args:
        persona: lines of text; what does not fit falls out from its end.
        style: sentences on how to answer.
        always: notes for every conversation, most important first.
        relevant: notes for this message, most relevant first.
        budget_tokens: upper bound on `count` of the block, with fence and heading.
        count: tokens of a text; the default needs no tokenizer.

    Example:
        >>> notes(relevant=["Drinks her coffee black."]).relevant
        (0,)
    """
    given = (persona[:100_000].splitlines(), style, always, relevant)
    items: list[tuple[int, int, str]] = []
    seen: set[str] = set()
    for section, texts in enumerate(given):
        for position, text in enumerate(texts[:_MOST]):
            line = clean_line(text)
            if line and (key := line.casefold().rstrip(".!")) not in seen:
                seen.add(key)
                items.append((section, position, line))
    low, high, best = 0, len(items), ""
    while low < high:  # the longest beginning whose block fits
        middle = (low + high + 1) // 2
        block = _block(items[:middle])
        if count(block) <= budget_tokens:
            low, best = middle, block
        else:
            high = middle - 1
    kept: tuple[list[int], ...] = ([], [], [], [])
    for section, position, _ in items[:low]:
        kept[section].append(position)
    return Notes(best, len(kept[0]), tuple(kept[1]), tuple(kept[2]), tuple(kept[3]), left_out=len(items) - low)


def render(
    base: str,
    *,
    persona: str = "",
    style: Sequence[str] = (),
    always: Sequence[str] = (),
    relevant: Sequence[str] = (),
    budget_tokens: int = 600,
    count: Callable[[str], int] = approximate,
) -> str:
    """The host's prompt and the `notes` behind it; the same object as `base` when there is nothing to say."""
    block = notes(
        persona=persona, style=style, always=always, relevant=relevant, budget_tokens=budget_tokens, count=count
    ).text
    if not block:
        return base
    return f"{base}\n\n{block}" if base else block


def system_message(existing: SystemMessage | None, addition: str) -> SystemMessage | None:
    """A system message with a text behind its own content; the same object when there is nothing to add.

    Content blocks stay as they are and get one text block more, so that a cache mark on them holds.
    """
    if not addition:
        return existing
    if existing is None:
        return SystemMessage(addition)
    content = existing.content
    if isinstance(content, str):
        return existing.model_copy(update={"content": f"{content}\n\n{addition}" if content else addition})
    text = f"\n\n{addition}" if content else addition
    return existing.model_copy(update={"content": [*content, {"type": "text", "text": text}]})


def _block(items: Sequence[tuple[int, int, str]]) -> str:
    lines = [f"<{FENCE}>", NOTES_HEADING]
    for section, (_, title) in enumerate(_SECTIONS):
        own = [f"- {line}" for number, _, line in items if number == section]
        if own:
            lines += [title, *own]
    return "\n".join([*lines, f"</{FENCE}>"])
