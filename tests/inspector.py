"""A user with a past, for the tests and pictures of the inspector."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_persona import PersonaMemory, PreferenceCard, VARSRetriever
from langchain_persona.experiments import ExperimentRetriever
from langchain_persona.records import Evidence, Trait

FILMS = json.loads((Path(__file__).parents[1] / "graphs" / "films.json").read_text(encoding="utf-8"))
DAY = 86_400.0
USER = "ana@example.com"

SAID = [
    ("fact", "I'm allergic to peanuts.", "I'm allergic to peanuts, so please no snacks with them.", 41),
    ("fact", "Lives in Berlin with two children.", "With two kids in Berlin it's mostly short evenings.", 38),
    ("fact", "Watches on a train on Thursdays.", "On Thursdays I'm on the train, so something I can pause.", 12),
    ("like", "Quiet science fiction.", "I could watch quiet science fiction all week.", 30),
    ("like", "Films about the sea.", "Anything with the sea in it works for me.", 9),
    ("dislike", "No horror, not even mild.", "Please no horror, not even the mild kind.", 33),
    ("dislike", "Slapstick.", "Slapstick leaves me cold.", 20),
    ("style", "Short answers, no lists.", "Keep it short, and no lists please.", 25),
]
EARLY = ("comedy", "romantic", "family")
LATE = ("science fiction", "documentary", "drama", "sea", "strait", "quiet")
QUERIES = ["a film for tonight", "something calm", "a film about space", "something by the sea", "a film for all"]


def make_retriever(memory: PersonaMemory, embeddings: Embeddings, explore: float = 0.0) -> VARSRetriever:
    """The films of the demo server."""
    films = InMemoryVectorStore(embeddings)
    films.add_texts([f"{film['title']}: {film['text']}" for film in FILMS], ids=[film["title"] for film in FILMS])
    if explore:
        return ExperimentRetriever(vectorstore=films, memory=memory, k=6, explore=explore, seed=0)
    return VARSRetriever(vectorstore=films, memory=memory, k=6)


def make_past(memory: PersonaMemory, retriever: VARSRetriever, rounds: int = 15) -> None:
    """Notes, some of them replaced, ratings of a taste that drifts, a persona with versions, a style."""
    now = time.time()
    for number, (kind, text, quote, days) in enumerate(SAID):
        evidence = (Evidence(message_id=f"m{number}", quote=quote),)
        when = {"created": now - days * DAY, "updated": now - days * DAY}
        memory.remember(USER, PreferenceCard.model_validate({"text": text, "kind": kind, "evidence": evidence, **when}))
    cards = {card.text: card for card in memory.preferences(USER)}
    memory.pin(USER, cards["I'm allergic to peanuts."].id)
    memory.hold_back(USER, cards["Lives in Berlin with two children."].id)
    old = memory.remember(USER, PreferenceCard(text="Loves westerns.", kind="like", created=now - 60 * DAY))
    memory.update(USER, old.id, "Westerns, but only the slow ones.")
    memory.retire(USER, memory.remember(USER, "Is looking for a present for her brother.").id, "no longer holds")
    memory.revise_persona(USER, "Enjoys calm films.", reason="first draft from 3 notes")
    memory.revise_persona(USER, "Enjoys calm films, best by the sea.\nHas little time.", reason="2 new notes")
    memory.revise_persona(USER, "Enjoys calm science fiction and films by the sea.\nHas little time in the evening.")
    for number in range(rounds):
        tastes = EARLY if number < rounds // 3 else LATE
        for doc in retriever.invoke(QUERIES[number % len(QUERIES)], user_id=USER, session_id=f"t{number}")[:4]:
            good = any(taste in doc.page_content for taste in tastes)
            retriever.feedback(doc, 1.0 if good else -1.0, user_id=USER)
    document = memory.export_user(USER)
    document["style"] |= {
        "verbosity": Trait(value=-0.7, confidence=0.8).to_json(),
        "structure": Trait(value=-0.5, confidence=0.6).to_json(),
        "warmth": Trait(value=0.4, confidence=0.5).to_json(),
        "directness": Trait(value=0.2, confidence=0.3).to_json(),
    }
    memory.import_user(document, USER)


def attempts(count: int, other: str, ids: Sequence[str], actions: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Requests of a signed-in user that try to reach another's data, by ids that are known; for `client.request`."""
    draw, pages = random.Random(7), ["", "why", "learning", "delete", "export", "inspector.css", f"../persona/{other}"]
    names = [other, f"{other} ", other.upper(), f"u={other}", f"{USER}&user={other}", f"{USER}\n{other}", "", USER]
    forged = [{}, {"x-user": other, "x-forwarded-user": other, "cookie": f"user={other}; persona_user={other}"}]
    for _ in range(count):
        asked: dict[str, Any] = {"params": {"user": draw.choice(names), "said": draw.choice(actions), "q": "a film"}}
        asked["headers"] = draw.choice(forged)
        fields = ("card", "rating", "retrieval", "user", "user_id", "session", "document")
        form = {name: draw.choice([*ids, other]) for name in fields}
        form |= {
            "do": draw.choice(actions),
            "reward": "1",
            "number": "1",
            "text": "Mine.",
            "axis": "warmth",
            "value": "",
        }
        kind = draw.choice(["page", "page", "do", "feedback"])
        if kind == "page":
            yield {"method": "GET", "url": f"/persona/{draw.choice(pages)}", **asked}
        elif kind == "do":
            yield {"method": "POST", "url": "/persona/do", "data": form, **asked}
        else:
            given = {"retrieval_id": draw.choice(ids), "reward": 1.0}
            yield {"method": "POST", "url": "/persona/feedback", "json": given, **asked}
