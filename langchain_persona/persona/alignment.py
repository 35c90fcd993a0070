"""The writer with a model: PersonaAgent's test-time alignment, with checks on everything that the model gives.

Source: *PersonaAgent*, arXiv 2506.06254: simulate the latest n interactions under the current persona, ask for a
textual gradient of each against what the user accepted, rewrite the persona. Ours goes on: one interaction is held
back, and the new text is kept only when the answer to it comes no less near to what the user accepted; and no line is
kept that does not rest on the user's own words (`grounding`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM

from langchain_persona.effects import Steps, Twin
from langchain_persona.persona.clean import clean_line
from langchain_persona.persona.grounding import carries, sources_of, support
from langchain_persona.persona.likeness import likeness
from langchain_persona.persona.render import render
from langchain_persona.persona.writer import Line, sentence_of
from langchain_persona.prompts_persona import GRADIENT, GRADIENT_CASE, REPLAY, REWRITE, REWRITE_CASE
from langchain_persona.records import Episode, PreferenceCard

__all__ = ["Aligner", "Case", "cases_of", "lines_of"]

_LINES = 12
_LINE = 200
_REPLY = 20_000
_CARDS = 20
_TOLERANCE = 0.02

_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")
_THOUGHT = re.compile(r"<think>.*?(?:</think>|$)", re.DOTALL)
_NOTHING = re.compile(r"^\W*(?:nothing|none|n/a|no change)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Case:
    """One interaction from which something can be learned.

    Attributes:
        episode: the interaction.
        target: the answer that the user accepted; None when only a rejected one is known.
    """

    episode: Episode
    target: str | None

    @property
    def verdict(self) -> str:
        """What the user accepted or said, in words for a prompt."""
        episode = self.episode
        said = [f"The user said: {clean_line(episode.follow_up)}"] if episode.follow_up else []
        if episode.accepted is not None:
            said.append(f"The user changed it to: {clean_line(episode.accepted, 600)}")
        elif self.target is not None:
            said.append(f"The user accepted: {clean_line(self.target, 600)}")
        elif not said:
            said.append("The user did not like it.")
        return "\n".join(said)


def cases_of(episodes: Sequence[Episode], n: int) -> tuple[list[Case], Case | None]:
    """The latest n interactions with a verdict, and one more that is held back; None when there is none to spare.

    The one held back is the latest whose accepted answer is known, else the latest.
    """
    cases = [
        Case(episode, episode.accepted or (episode.answer if (episode.reward or 0.0) > 0.0 else None) or None)
        for episode in episodes
        if episode.query.strip() and (episode.accepted or episode.follow_up or episode.reward)
    ][-(n + 1) :]
    if len(cases) < 2:
        return cases, None
    held = next((case for case in reversed(cases) if case.target is not None), cases[-1])
    return [case for case in cases if case is not held], held


def lines_of(reply: str) -> list[str]:
    """The notes of a model's reply, each once; its bullet points, or its lines where it has none."""
    lines = _THOUGHT.sub("", reply[:_REPLY]).splitlines()
    bullets = [line for line in lines if _BULLET.match(line)]
    found = (_BULLET.sub("", line) for line in bullets or lines if len(line) <= _LINE)
    return [line for line in dict.fromkeys(map(clean_line, found)) if line][:_LINES]


class Aligner:
    """The steps of one alignment.

    Args:
        model: answers, criticises and rewrites.
        embeddings: compare answers; without them words are compared.
        concurrency: calls at once, where they do not depend on each other.
    """

    def __init__(self, model: BaseChatModel, embeddings: Embeddings | None, concurrency: int) -> None:
        self._model = model
        self._embeddings = embeddings
        self._config: RunnableConfig = {
            "tags": [TAG_NOSTREAM, "langsmith:nostream"],
            "run_name": "persona_writer",
            "max_concurrency": concurrency,
        }

    def rewritten(
        self,
        text: str,
        cases: Sequence[Case],
        cards: Sequence[PreferenceCard],
        style: Sequence[str],
    ) -> Steps[list[Line]]:
        """New lines with their sources: 2 calls an interaction and 1 more; what is not grounded is left out.

        Args:
            text: the persona in force.
            cases: to learn from.
            cards: global cards; those that depend on the topic have no place in a text for every conversation.
            style: how to answer.
        """
        asked = [self._replay(text, cards, style, case.episode.query) for case in cases]
        answers = yield from self._asked(asked)
        pairs = zip(cases, answers, strict=True)
        hints = yield from self._asked([_gradient(case, answer) for case, answer in pairs])
        hints = [clean_line(hint) for hint in hints if not _NOTHING.match(hint)]
        said = _listed([card.note for card in cards[:_CARDS]])
        prompt = REWRITE_CASE.format(notes=_listed(text.splitlines()), said=said, hints=_listed(hints))
        request: list[BaseMessage] = [SystemMessage(REWRITE.format(lines=_LINES)), HumanMessage(prompt)]
        (reply,) = yield from self._asked([request])
        sources = sources_of(cards, [case.episode for case in cases])
        notes = {card.id: card.note for card in cards}
        found = ((line, support(line, sources)) for line in lines_of(reply))
        # a card that stands in the persona is not shown beside it: nothing of it may be lost
        return [
            (sentence_of(line), names)
            for line, names in found
            if names and all(carries(line, notes[name]) for name in names if name in notes)
        ]

    def scores(
        self, old: str, new: str, held: Case, cards: Sequence[PreferenceCard], style: Sequence[str]
    ) -> Steps[tuple[float, float]]:
        """How near the answers under the old and the new text come to what the user accepted, in [0, 1]: 2 calls."""
        asked = [self._replay(text, cards, style, held.episode.query) for text in (old, new)]
        answers = yield from self._asked(asked)
        reference = held.episode.answer if held.target is None else held.target
        near = yield from likeness(reference, answers, self._embeddings)
        if held.target is None:  # only what the user did not want is known: the further from it the better
            near = [1.0 - value for value in near]
        return near[0], near[1]

    @staticmethod
    def no_worse(scores: tuple[float, float]) -> bool:
        """True when the new text may replace the old one."""
        return scores[1] >= scores[0] - _TOLERANCE

    def _replay(
        self, text: str, cards: Sequence[PreferenceCard], style: Sequence[str], query: str
    ) -> list[BaseMessage]:
        # as in a real turn, global cards stand beside a persona: old and new text differ in the persona alone
        system = render(REPLAY, persona=text, style=style, always=[card.note for card in cards])
        return [SystemMessage(system), HumanMessage(query[:2_000])]

    def _asked(self, requests: Sequence[list[BaseMessage]]) -> Steps[list[str]]:
        model, config = self._model, self._config
        replies = yield Twin(lambda: model.batch(list(requests), config), lambda: model.abatch(list(requests), config))
        return [str(reply.text)[:_REPLY] for reply in replies]


def _gradient(case: Case, answer: str) -> list[BaseMessage]:
    query = clean_line(case.episode.query, 600)
    text = GRADIENT_CASE.format(query=query, answer=clean_line(answer, 600), verdict=case.verdict)
    return [SystemMessage(GRADIENT), HumanMessage(text)]


def _listed(lines: Sequence[str]) -> str:
    cleaned = dict.fromkeys(line for line in map(clean_line, lines) if line)
    return "\n".join(f"- {line}" for line in cleaned) or "- (none)"
