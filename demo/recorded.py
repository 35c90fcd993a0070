"""What a small model noted of Mia and answered her, recorded once, for those who have no model at hand.

    python -m demo.recorded URL MODEL

records it anew from a server that speaks OpenAI's API, such as llama.cpp's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_persona import PreferenceCard
from langchain_persona.reflection import Exchange, Findings, Operation, Reflection

__all__ = ["Recorded", "model_name", "recorded_answers"]

FILE = Path(__file__).with_name("recorded.json")


class Recorded:
    """A reflection that finds what was found when it was recorded; nothing in a message that is not on record."""

    name = "recorded"

    def __init__(self) -> None:
        self.notes: dict[str, list[dict[str, Any]]] = json.loads(FILE.read_text(encoding="utf-8"))["notes"]

    def reflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        """The notes on each message; a card to change is named by its text."""
        ids = {card.text: card.id for card in cards}
        notes = [note for one in exchanges for note in self.notes.get(one.user, ())]
        found = [Operation.model_validate(note | {"target": ids.get(note.get("target", ""))}) for note in notes]
        return Findings(operations=tuple(found))

    async def areflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        """Async twin of `reflect`."""
        return self.reflect(exchanges, cards)


class _Recorder:
    """Another reflection, whose findings are kept."""

    name = "recorder"

    def __init__(self, inner: Reflection) -> None:
        self.inner, self.notes = inner, dict[str, list[dict[str, Any]]]()

    def reflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        found = self.inner.reflect(exchanges, cards)
        texts = {card.id: card.text for card in cards}
        for one in exchanges:
            notes = [note.model_dump(mode="json", exclude_defaults=True) for note in found.operations]
            self.notes[one.user] = [
                note | ({"target": texts[note["target"]]} if "target" in note else {}) for note in notes
            ]
        return found

    async def areflect(self, exchanges: Sequence[Exchange], cards: Sequence[PreferenceCard]) -> Findings:
        raise NotImplementedError


def model_name() -> str:
    """The model whose notes are on record."""
    name: str = json.loads(FILE.read_text(encoding="utf-8"))["model"]
    return name


def recorded_answers() -> tuple[str, str]:
    """The answers to Mia's first message on Wednesday: to her, and to somebody new."""
    ours, theirs = json.loads(FILE.read_text(encoding="utf-8"))["answers"]
    return ours, theirs


def record(url: str, model: str) -> None:
    """Have a model reflect on all that Mia says, and answer her on Wednesday; write it down."""
    from langchain_openai import ChatOpenAI
    from langgraph.store.memory import InMemoryStore

    from demo.agent import wednesday_answers
    from demo.script import PROMPT, SESSIONS, USER
    from graphs.template import template_model
    from langchain_persona import LocalEmbeddings, PersonaMemory, create_persona_graph
    from langchain_persona.reflection.flat import FlatReflection

    small = ChatOpenAI(base_url=url, api_key="none", model=model, temperature=0.0, max_tokens=200, timeout=600)
    recorder = _Recorder(FlatReflection(small))
    memory = PersonaMemory(InMemoryStore(), LocalEmbeddings())
    agent = create_persona_graph(
        template_model(), memory=memory, system_prompt=PROMPT, reflection=recorder, memory_tools=False, align_every=0
    ).compile()
    for line in (line for lines in SESSIONS.values() for line in lines):
        agent.invoke({"messages": [("user", line.text)]}, context={"user_id": USER})
        print(line.text, *recorder.notes.get(line.text, ()), sep="\n    ")
    found: dict[str, Any] = {"model": model, "notes": recorder.notes}
    _write(found)
    _write(found | {"answers": wednesday_answers(small)})  # these are given with the notes at hand


def _write(found: dict[str, Any]) -> None:
    FILE.write_text(f"{json.dumps(found, ensure_ascii=False, indent=1)}\n", encoding="utf-8")


if __name__ == "__main__":
    record(*sys.argv[1:3])
