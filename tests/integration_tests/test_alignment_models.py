"""Persona alignment with a real small model: whatever it writes, a text that is kept rests on what it was shown."""

from __future__ import annotations

import pytest

from langchain_persona.records import Episode, Persona, PreferenceCard
from langchain_persona.reflection.persona import Replay, propose_persona
from tests.models import model_file

pytestmark = [pytest.mark.integration, pytest.mark.model_files, pytest.mark.slow]

TURNS = [
    ("A film for tonight?", "Try The Godfather, a crime epic.", -0.5),
    ("Not with a six-year-old on the sofa! Something to laugh about?", "Paddington 2 is fine for children.", 0.9),
    ("She loved it. What can we do on Sunday if it rains?", "Visit a whisky tasting in the old town.", -0.7),
    ("With a child? Come on. Where can we eat out?", "The pizzeria at the park has a play corner.", 0.8),
]


def test_what_a_small_model_writes_has_sources_or_the_text_stands(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("xllamacpp", reason="needs the extra local-llm")
    from graphs.local_llm import serve

    episodes = [
        Episode(id=f"e{place}", query=query, answer=answer, reward=reward, previous=f"e{place - 1}", time=100.0 + place)
        for place, (query, answer, reward) in enumerate(TURNS)
    ]
    replay = Replay(Persona(), [PreferenceCard(id="c0", text="Lives in Leeds.")], episodes)
    with serve(model_file("qwen2.5-coder-1.5b")) as server:
        draft = propose_persona(server.chat_model(max_tokens=120, timeout=1_200), replay)
    assert draft.origin == "model"
    assert not caplog.records  # it answered; what it wrote is another matter
    lines = draft.lines or []
    assert all(names and {"c0", "e0", "e1", "e2"}.issuperset(names) for _, names in lines), draft
    assert len("\n".join(line for line, _ in lines)) <= 1_200
