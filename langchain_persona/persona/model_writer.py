"""`ModelWriter`: a persona aligned by a model, behind checks; what fails costs the rewrite and no more."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from langchain_persona.effects import Steps, arun, run
from langchain_persona.errors import ConfigError
from langchain_persona.memory.revisions import Draft
from langchain_persona.persona.alignment import Aligner, cases_of
from langchain_persona.persona.writer import (
    CHARACTERS,
    Line,
    TemplateWriter,
    always_cards,
    checked_cap,
    kept_lines,
    with_always,
)
from langchain_persona.records import CommunicationStyle, Episode, Persona, PreferenceCard
from langchain_persona.style import describe
from langchain_persona.trouble import warn

__all__ = ["ModelWriter"]

logger = logging.getLogger(__name__)


class ModelWriter:
    """Aligns a persona with what the user accepted: PersonaAgent (arXiv 2506.06254), behind checks.

    With n interactions to learn from and one held back it makes 2n + 3 model calls; with fewer than two the
    `TemplateWriter` writes. Lines that a person wrote stay word for word; every other line must rest on the user's own
    words and pass the guard; global cards that no line carries follow in their own words. Free rewriting works from
    about 1.5 billion parameters; below that use the template.

    Args:
        model: any chat model.
        n: interactions to replay.
        embeddings: compare answers on the interaction held back; without them words are compared.
        characters: cap on the text.
        concurrency: model calls at once.

    Raises:
        ConfigError: an argument that cannot work.
    """

    def __init__(
        self,
        model: BaseChatModel,
        *,
        n: int = 3,
        embeddings: Embeddings | None = None,
        characters: int = CHARACTERS,
        concurrency: int = 1,
    ) -> None:
        if not isinstance(model, BaseChatModel):
            raise ConfigError(f"model must be a LangChain chat model, got {type(model).__name__}")
        if embeddings is not None and not isinstance(embeddings, Embeddings):
            raise ConfigError(f"embeddings must be a LangChain Embeddings object, got {type(embeddings).__name__}")
        for name, value in (("n", n), ("concurrency", concurrency)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}")
        self.n = n
        self.characters = checked_cap(characters)
        self._template = TemplateWriter(characters)
        self._aligner = Aligner(model, embeddings, concurrency)

    def write(
        self, current: Persona, cards: Sequence[PreferenceCard], style: CommunicationStyle, episodes: Sequence[Episode]
    ) -> Draft | None:
        """A draft; None when the persona in force is as good, and with one warning when a step failed."""
        return run(self._survived(current, cards, style, episodes))

    async def awrite(
        self, current: Persona, cards: Sequence[PreferenceCard], style: CommunicationStyle, episodes: Sequence[Episode]
    ) -> Draft | None:
        """Async twin of `write`."""
        return await arun(self._survived(current, cards, style, episodes))

    def _survived(
        self, current: Persona, cards: Sequence[PreferenceCard], style: CommunicationStyle, episodes: Sequence[Episode]
    ) -> Steps[Draft | None]:
        try:
            return (yield from self._written(current, cards, style, episodes))
        except Exception as error:
            # the kind only: a model's message may quote what the user said
            warn(logger, "The persona stays as it is: the model that writes it failed (%s)", type(error).__name__)
            return None

    def _written(
        self, current: Persona, cards: Sequence[PreferenceCard], style: CommunicationStyle, episodes: Sequence[Episode]
    ) -> Steps[Draft | None]:
        cases, held = cases_of(episodes, self.n)
        if held is None:
            return self._template.write(current, cards)
        kept, told = kept_lines(current, cards), describe(style)
        by_hand = [(line, names) for line, names in kept if not names]
        text = "\n".join(line for line, _ in kept)
        always = always_cards(cards)
        new = yield from self._aligner.rewritten(text, cases, always, told)
        lines = with_always(self._capped([*by_hand, *new]), cards, self.characters)
        if not new or [line for line, _ in lines] == current.revision.text.splitlines():
            return self._template.write(current, cards)
        written = "\n".join(line for line, _ in lines)
        scores = yield from self._aligner.scores(text, written, held, always, told)
        if not self._aligner.no_worse(scores):
            return self._template.write(current, cards)
        reason = (
            f"aligned on {len(cases)} interactions; likeness to what was accepted on the one held back: "
            f"{scores[0]:.2f} before, {scores[1]:.2f} now"
        )
        names = {card.id for card in cards}
        return Draft.of(current, lines, cards=names, reason=reason, origin="model", scores=scores)

    def _capped(self, lines: Sequence[Line]) -> list[Line]:
        """Each line once, up to the cap on the text."""
        found: dict[str, Line] = {}
        size = 0
        for line, names in lines:
            key = line.casefold().rstrip(".!")
            if key not in found and size + len(line) <= self.characters:
                found[key] = (line, names)
                size += len(line) + 1
        return list(found.values())
