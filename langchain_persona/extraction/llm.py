"""Extraction by a chat model: one structured call over a window of turns, or one flat record a message."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig, RunnableSequence
from langgraph.constants import TAG_NOSTREAM

from langchain_persona.effects import Steps, Twin, arun, run
from langchain_persona.errors import ConfigError
from langchain_persona.extraction.grounding import MAX_MESSAGE, grounded
from langchain_persona.extraction.protocol import Turn
from langchain_persona.extraction.rulebook import warm_up
from langchain_persona.extraction.schema import MAX_OUTPUT, Found, flat_schema, list_schema, read_answer
from langchain_persona.prompts import FLAT_EXAMPLES, FLAT_PROMPT, LIST_EXAMPLES, LIST_PROMPT, REPAIR_PROMPT
from langchain_persona.records import PreferenceCard
from langchain_persona.signals.secrets import mask
from langchain_persona.trouble import warn

__all__ = ["LLMExtractor"]

logger = logging.getLogger(__name__)

Method = Literal["json_schema", "function_calling", "json_mode", "text"]

_CONFIG: RunnableConfig = {"tags": [TAG_NOSTREAM, "langsmith:nostream"], "run_name": "extract_preferences"}
_CONTEXT = 300
"""Characters of an assistant's answer that are shown, so that "that is too long" has something to stand on."""


class LLMExtractor:
    """Preferences and facts by a chat model, each checked against the user's own words.

    What a model returns is a proposal. Kept is what quotes the user verbatim (white space and case aside), was meant
    (not quoted, pasted, hypothetical or for one task only), is in the user's language, holds no secret and is no
    instruction to the assistant. Output that cannot be read is asked for once more, then skipped with one warning. What
    a failing model raises comes out, unless something was found before: the graph tries such a turn again later.

    Args:
        model: any chat model.
        shape: "list" is one call over the window, for capable models; "flat" is one record a message, for small ones
            (a 0.5-billion model that finds next to nothing as a list finds most of it flat).
        method: how JSON is asked for: "json_schema", "function_calling" and "json_mode" are handed to the model's
            `with_structured_output`; "text" only says so in words, for models that have none of these.
        max_cards: at most so many from one window.
        max_tokens: cap on the model's output, where the model has such a setting and none is set; None leaves it alone.

    Raises:
        ConfigError: an argument is out of range, or the model has no structured output.

    Example:
        >>> from langchain_persona.testing import ScriptedChatModel
        >>> answer = {"quote": "I never fly", "note": "Never flies.", "category": "avoid"}
        >>> cards = LLMExtractor(ScriptedChatModel([answer]), shape="flat").extract([Turn("m1", "I never fly, sorry.")])
        >>> [(card.note, card.kind, card.evidence[0].quote) for card in cards]
        [('Never flies.', 'avoid', 'I never fly')]
    """

    def __init__(
        self,
        model: BaseChatModel,
        *,
        shape: Literal["list", "flat"] = "list",
        method: Method = "json_schema",
        max_cards: int = 5,
        max_tokens: int | None = 800,
    ) -> None:
        if shape not in ("list", "flat"):
            raise ConfigError(f"shape must be 'list' or 'flat', got {shape!r}")
        if not 1 <= max_cards <= 50:
            raise ConfigError(f"max_cards must lie between 1 and 50, got {max_cards}")
        if max_tokens is not None and max_tokens < 50:
            raise ConfigError(f"max_tokens must be at least 50, or None, got {max_tokens}; a card takes about 90")
        warm_up()
        self.shape = shape
        self.max_cards = max_cards
        schema = flat_schema() if shape == "flat" else list_schema(max_cards)
        self._schema = json.dumps(schema["properties"]) if method == "text" else ""
        self._model = _structured(_capped(model, max_tokens), schema, method)

    def extract(self, turns: Sequence[Turn]) -> list[PreferenceCard]:
        """Cards for what the user's messages say.

        Raises what the model raises when that left nothing: who calls it tries again later.
        """
        return run(self._steps(turns))

    async def aextract(self, turns: Sequence[Turn]) -> list[PreferenceCard]:
        """Async twin of `extract`."""
        return await arun(self._steps(turns))

    def _steps(self, turns: Sequence[Turn]) -> Steps[list[PreferenceCard]]:
        kept = [turn for turn in turns if turn.user.strip()]
        cards: list[PreferenceCard] = []
        unread = 0
        try:
            for window in [kept] if self.shape == "list" and kept else [[turn] for turn in kept]:
                found = yield from self._ask(self._prompt(window))
                unread += found is None
                known = {(card.note, card.evidence) for card in cards}
                cards += [card for card in grounded(window, found or []) if (card.note, card.evidence) not in known]
        except Exception as error:
            if not cards:
                raise
            # the name only: a provider's message may repeat the request, and with it the user's words
            warn(
                logger,
                "The model's extraction failed half-way; what it found is kept (%s)",
                type(error).__name__,
            )
        else:
            if unread:
                warn(logger, "The extraction model gave %d answers that cannot be read, also when asked again", unread)
        return cards[: self.max_cards]

    def _ask(self, messages: list[BaseMessage]) -> Steps[list[Found] | None]:
        """One call, and one more when the answer cannot be read."""
        answer = yield self._call(messages)
        found = _read(answer)
        if found is None:
            again = [*messages, AIMessage(_text(answer)[:1_000] or "{"), HumanMessage(REPAIR_PROMPT)]
            found = _read((yield self._call(again)))
        return found

    def _call(self, messages: list[BaseMessage]) -> Twin:
        return Twin(
            lambda: self._model.invoke(messages, _CONFIG),
            lambda: self._model.ainvoke(messages, _CONFIG),
        )

    def _prompt(self, window: Sequence[Turn]) -> list[BaseMessage]:
        """System prompt, examples as earlier turns, the window: the same prefix each time, so that it is cached."""
        prompt = FLAT_PROMPT if self.shape == "flat" else LIST_PROMPT
        if self._schema:
            prompt += f"\nReply with one JSON object with these properties, nothing else: {self._schema}"
        messages: list[BaseMessage] = [SystemMessage(prompt)]
        for asked, answered in _examples(self.shape):
            messages += [HumanMessage(asked), AIMessage(json.dumps(answered, ensure_ascii=False))]
        if self.shape == "flat":
            return [*messages, HumanMessage(_shown(window[0].user))]
        return [*messages, HumanMessage("\n".join(_lines(window)))]


def _examples(shape: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if shape == "flat":
        yield from FLAT_EXAMPLES
    else:
        for asked, cards in LIST_EXAMPLES:
            yield asked, {"cards": cards}


def _lines(window: Sequence[Turn]) -> Iterator[str]:
    for number, turn in enumerate(window, 1):
        yield f"[{number}] user: {_shown(turn.user)}"
        if turn.assistant:
            yield f"assistant: {mask(turn.assistant[:_CONTEXT])}"


def _shown(text: str) -> str:
    return mask(text[:MAX_MESSAGE])


def _capped(model: BaseChatModel, max_tokens: int | None) -> BaseChatModel:
    """A copy with a cap on its output, where it knows one and has none: without it small models run on."""
    if max_tokens is None or "max_tokens" not in type(model).model_fields or model.max_tokens is not None:  # type: ignore[attr-defined]  # looked up in the line itself
        return model
    return model.model_copy(update={"max_tokens": max_tokens})


def _structured(model: BaseChatModel, schema: dict[str, Any], method: Method) -> Runnable[Any, Any]:
    """The model bound to the schema, without LangChain's parser: that takes minutes for 10 MB of junk."""
    if method == "text":
        return model
    try:
        made = model.with_structured_output(schema, method=method, include_raw=False)
    except NotImplementedError as error:
        raise ConfigError(
            f"{type(model).__name__} has no structured output; use LLMExtractor(model, method='text')"
        ) from error
    if isinstance(made, RunnableSequence) and isinstance(made.first, BaseChatModel | RunnableBinding):
        return made.first
    return made


def _read(answer: object) -> list[Found] | None:
    if isinstance(answer, AIMessage):
        if answer.tool_calls and (found := read_answer(answer.tool_calls[0]["args"])) is not None:
            return found
        return read_answer(_text(answer))
    return read_answer(answer)


def _text(answer: object) -> str:
    return str(answer.text)[:MAX_OUTPUT] if isinstance(answer, AIMessage) else ""
