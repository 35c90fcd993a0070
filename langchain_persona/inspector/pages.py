"""What the pages show, as plain values for the templates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.runnables.config import run_in_executor

from langchain_persona.experiments.offpolicy import evaluate
from langchain_persona.identity import Identity
from langchain_persona.learning import Event, LearnerState, Vector, decode_vectors, unit
from langchain_persona.learning.arrays import fix_signs
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.explanation import Rating
from langchain_persona.memory.spaces import valid_feedback
from langchain_persona.records import Feedback, PreferenceCard
from langchain_persona.retrieval import VARSRetriever

KINDS = {"like": "You like", "dislike": "You don't like", "fact": "About you", "style": "How you want answers"}
AXES = {
    "verbosity": ("short", "detailed"),
    "formality": ("casual", "formal"),
    "directness": ("gentle", "blunt"),
    "technical_depth": ("for a layman", "for an expert"),
    "warmth": ("matter-of-fact", "warm"),
    "structure": ("flowing prose", "lists"),
    "proactivity": ("only what I asked", "suggests more"),
}
PARTS = {"base": "relevance", "long": "long-term", "short": "session", "words": "words"}
_SHOWN = 8  # ratings on the page before one asks for all
_MOVES = 240  # ratings of which the path of the vector is drawn
_BACK = 10  # ratings over which the learning curve and the drift look back

FILTERS = {
    "day": lambda seconds: f"{(day := datetime.fromtimestamp(seconds, UTC)).day} {day:%b %Y}",
    "signed": lambda value: f"{value:+.3f}".replace("-", "−"),
    "score": lambda value: f"{value:.3f}".replace("-", "−"),
}


# what we know about you -----------------------------------------------------------------------------------------------


def read_user(memory: PersonaMemory, user: str, whole: bool) -> dict[str, Any]:
    """Everything for *What we know about you*; with `whole` all ratings, not only the latest."""
    reading = memory.turns.read(user)
    cards, ratings = reading.cards.all, memory.ratings(user)
    retired = [card for card in cards if card.retired]
    groups: dict[str, list[PreferenceCard]] = {kind: [] for kind in KINDS}
    for card in reversed(cards):
        if not card.retired:
            groups[card.kind].append(card)
    return {
        "deleted": memory._store.tombstone(user) is not None,
        "groups": [(kind, title, groups[kind]) for kind, title in KINDS.items() if groups[kind]],
        "kinds": KINDS,
        "count": len(cards) - len(retired),
        "retired": sorted(retired, key=lambda card: -card.retired.time if card.retired else 0.0),
        "texts": {card.id: card.text for card in cards},
        "persona": reading.persona,
        "lines": "\n".join(line for line, _ in reading.persona.revision.lines_in_force(reading.cards.rest)),
        "history": memory.history(user)[::-1],
        "style": [(name, *ends, getattr(reading.style, name)) for name, ends in AXES.items()],
        "ratings": ratings if whole else ratings[:_SHOWN],
        "more": 0 if whole else max(len(ratings) - _SHOWN, 0),
        "rated": len(ratings),
    }


def count_all(memory: PersonaMemory, user: str) -> dict[str, Any]:
    """How much `delete_user` would delete."""
    document = memory.export_user(user)
    names = {"cards": "notes", "ledger": "ratings", "episodes": "past turns", "history": "versions of the persona text"}
    return {"counts": [(len(document[name]), what) for name, what in names.items()]}


def list_users(memory: PersonaMemory) -> list[str]:
    """Ids of all users of the store whose label tells them, sorted: very long ones are hashed."""
    labels = [str(name)[2:].encode() for name in memory._store.users() if name.startswith("u=")]
    names = [re.sub(rb"~([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), one) for one in labels]
    return sorted(name.decode("utf-8", "replace") for name in names)


# why this ranking -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """What *Why this ranking?* is asked: query, documents to show, strength, and the session whose thumbs count."""

    q: str = ""
    k: int = 8
    strength: float = 1.0
    session: str = "inspector"

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Question:
        """From the address; what is no number there, or out of range, is as if it were not there."""

        def number(name: str, default: float, least: float, most: float) -> float:
            try:
                value = float(query.get(name, default))
            except ValueError:
                return default
            return min(max(value, least), most) if value == value else default

        session = query.get("session", "").strip()[:200] or cls.session
        k, strength = int(number("k", cls.k, 1, 50)), number("strength", cls.strength, 0.0, 4.0)
        return cls(query.get("q", "").strip()[:2_000], k, strength, session)


async def rank_both(
    memory: PersonaMemory, retriever: VARSRetriever, user: str, asked: Question, *, own: bool
) -> dict[str, Any]:
    """The plain and the personalised ranking of one query, and what is behind each score; `own`: of cards."""
    if not asked.q:
        return {"asked": asked, "plain": [], "ranked": [], "parts": PARTS, "abstained": None, "zero": 0.0}
    known = Identity(user, asked.session)
    plain = await retriever.arank_for(asked.q, known if own else Identity(""), k=asked.k, strength=0.0)
    found = await retriever.arank_for(asked.q, known, k=asked.k, strength=asked.strength)
    names = [str(doc.id) for doc in found]
    entries, ratings, vectors = await run_in_executor(None, _behind, memory, retriever, user, names)
    sums = [sum(value for value in _parts(doc).values() if value > 0) for doc in [*plain, *found]] or [1.0]
    depths = [sum(value for value in _parts(doc).values() if value < 0) for doc in [*plain, *found]] or [0.0]
    low, high = min(min(depths), 0.0), max(*sums, 1e-6)
    scale = 100.0 / (high - low)
    places = {str(doc.id): rank for rank, doc in enumerate(plain, start=1)}
    rows = [_row(doc, rank, -low, scale) for rank, doc in enumerate(found, start=1)]
    for row in rows:
        row["was"] = places.get(row["id"])
        row["thumb"] = next((one for one in ratings if not one.reason and row["id"] in one.documents), None)
        row["alike"] = _alike(entries, vectors.get(row["id"]), row["id"])
    left = [_row(doc, rank, -low, scale) for rank, doc in enumerate(plain, start=1)]
    abstained = found[0].metadata["persona"]["abstained"] if found else None
    return {
        "asked": asked,
        "plain": left,
        "ranked": rows,
        "parts": PARTS,
        "abstained": abstained,
        "zero": round(-low * scale, 2),
    }


def _behind(
    memory: PersonaMemory, retriever: VARSRetriever, user: str, names: Sequence[str]
) -> tuple[list[Feedback], list[Rating], Mapping[str, Vector]]:
    """The user's ratings, twice, and the vectors of some documents where the source gives them."""
    entries = memory.ledger.entries(user)
    try:
        vectors = retriever.source.vectors(names)
    except Exception:  # stores differ, and this is an extra
        vectors = {}
    return valid_feedback(entries), memory.ratings(user), vectors


def _parts(document: Document) -> dict[str, float]:
    why = document.metadata["persona"]
    return {name: float(why[name]) for name in PARTS}


def _row(document: Document, rank: int, shift: float, scale: float) -> dict[str, Any]:
    """A document with its score as boxes of a bar that is 100 wide; what lowers the score lies left of zero."""
    why, boxes, right, left = document.metadata["persona"], [], 0.0, 0.0
    for name, value in _parts(document).items():
        start = right if value >= 0 else left + value
        right, left = right + max(value, 0.0), left + min(value, 0.0)
        boxes.append((name, value, round((start + shift) * scale, 2), round(abs(value) * scale, 2)))
    score, cards = float(why["score"]), [card for card in why["cards"] if abs(card["share"]) >= 0.002]
    title, _, rest = document.page_content[:240].partition(": ")
    title, rest = (title, rest) if rest and len(title) < 60 else (document.page_content[:240], "")
    return {"id": str(document.id), "rank": rank, "title": title, "rest": rest, "score": score, "boxes": boxes} | {
        "cards": cards,
        "retrieval": why["retrieval_id"],
        "end": round((score + shift) * scale, 2),
    }


def _alike(entries: Sequence[Feedback], vector: Vector | None, name: str) -> list[dict[str, Any]]:
    """The user's ratings of this document and of the two most alike, how often up and down."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for entry in entries if vector is not None else ():
        (chosen,) = decode_vectors(entry.chosen or "", entry.dimension)
        if vector is None or chosen.shape != vector.shape or not entry.gate or not entry.reward:
            continue
        title, _, _ = "; ".join(entry.titles).partition(": ")
        row: dict[str, Any] = {"title": title or "a document", "cosine": float(unit(chosen) @ vector)}
        row = rows.setdefault(entry.documents, {**row, "up": 0, "down": 0, "own": name in entry.documents})
        row["up" if entry.reward > 0 else "down"] += 1
    near = [row for row in rows.values() if row["own"] or row["cosine"] > 0.35]
    return sorted(near, key=lambda row: (-row["own"], -row["cosine"]))[:3]


# how it learns --------------------------------------------------------------------------------------------------------


def read_learning(memory: PersonaMemory, user: str) -> dict[str, Any]:
    """The map, the curves and the off-policy table of a user; `map` is None below three ratings."""
    current = memory.ledger.current(user)
    entries = valid_feedback(memory.ledger.entries(user))
    evaluation = evaluate(memory, (0.0, 0.5, 1.0, 2.0), [user])
    found: dict[str, Any] = {"map": None, "curves": [], "count": len(entries), "evaluation": evaluation}
    entries = [entry for entry in entries if current is not None and (entry.embedding, entry.dimension) == current]
    entries = [entry for entry in entries if entry.gate > 0.0][-2_000:]
    if current is None or len(entries) < 3:
        return found
    space = memory.ledger.fold(user, *current).space
    rows = np.array([decode_vectors(entry.chosen or "", entry.dimension)[0] for entry in entries])
    offered = np.array([decode_vectors(entry.expected or "", entry.dimension)[0] for entry in entries])
    events = [
        Event(one.time, one.id, one.session, one.reward, one.gate, item, other, one.retrieval_id)
        for one, item, other in zip(entries, space.project(rows), space.project(offered), strict=True)
    ]
    path = np.array([space.lift(vector) for vector in _path(memory, events, space.k)])
    latest, rows, offered = entries[-len(path) :], rows[-len(path) :], offered[-len(path) :]
    found["map"] = _map(unit(rows), path, latest)
    found["curves"] = _curves(path, latest, rows - offered)
    return found


def _path(memory: PersonaMemory, events: Sequence[Event], k: int) -> list[Vector]:
    """The long-term vector after each of the latest events, as the ledger folds them."""
    config, state, path = memory.config, LearnerState.cold(k), []
    for place, event in enumerate(events):
        state = config.rule.step(state, event, temperature=config.temperature, keep=config.keep_sessions)
        state = state.rounded(config.max_norm)
        if place >= len(events) - _MOVES:
            path.append(config.rule.settle(state, events[max(place + 1 - config.rule.window, 0) : place + 1]).long)
    return path


def _map(rows: Vector, path: Vector, entries: Sequence[Feedback]) -> dict[str, Any]:
    """Documents on their two main axes (PCA), and the user's vector as a path from their middle; 100 wide and high."""
    centred = rows - rows.mean(axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    axes = fix_signs(axes[:2])
    spots, trail = _spots(centred @ axes.T, 1.0), _spots(path @ axes.T, 1.25)
    rated: dict[tuple[str, ...], dict[str, Any]] = {}
    for place, entry in zip(spots, entries, strict=True):
        one = rated.setdefault(entry.documents, {"at": place, "net": 0.0, "title": "; ".join(entry.titles)[:60]})
        one["net"] += entry.reward * entry.gate
    strongest = sorted(rated.values(), key=lambda one: -abs(one["net"]))
    labels: list[dict[str, Any]] = []
    for one in strongest:
        name, (x, y) = one["title"].partition(": ")[0][:26], one["at"]
        clear = all(abs(y - other["at"][1]) > 5 or abs(x - other["at"][0]) > 34 for other in labels)
        if name and clear and len(labels) < 6:
            labels.append({"at": (x, y), "name": name, "left": x > 62})
    shown = float((spread[:2] ** 2).sum() / ((spread**2).sum() or 1.0))
    return {"rated": strongest, "labels": labels, "path": trail, "shown": shown}


def _spots(rows: Vector, margin: float) -> list[tuple[float, float]]:
    """Points of shape (n, 2) in a square of 100 whose middle is zero, `y` upwards."""
    scale = 46.0 / margin / (float(np.abs(rows).max()) or 1.0)
    return [(round(50 + scale * x, 1), round(50 - scale * y, 1)) for x, y in rows.tolist()]


def _curves(path: Vector, entries: Sequence[Feedback], contrast: Vector) -> list[dict[str, Any]]:
    """The learning curve and the drift; `contrast`, shape (n, d), is what was rated less what was on offer."""
    rewards = np.array([entry.reward for entry in entries])
    # before each rating: would the vector have moved the document the way in which the user then judged it?
    foreseen = 100.0 * (np.einsum("nd,nd->n", path[:-1], contrast[1:]) * rewards[1:] > 0)
    directions = unit(path)
    before = directions[np.maximum(np.arange(len(path)) - _BACK, 0)]
    turned = np.degrees(np.arccos(np.clip(np.einsum("nd,nd->n", directions, before), -1.0, 1.0)))[2:]
    return [
        _curve("Foreseen", "of the latest 10 ratings went where the vector pointed", _recent(foreseen), 0, 100, " %"),
        _curve("Reward", "mean of the latest 10 ratings, from −1 to +1", _recent(rewards), -1, 1, ""),
        _curve("Drift", "by which the vector turned over 10 ratings", turned, 0, 90 if max(turned) < 90 else 180, "°"),
    ]


def _recent(values: Vector) -> Vector:
    """At each place the mean of the latest ten."""
    return np.array([values[max(0, end - _BACK) : end].mean() for end in range(1, len(values) + 1)])


def _curve(title: str, about: str, values: Vector, low: int, high: int, unit: str) -> dict[str, Any]:
    """A curve that is 100 wide and 40 high, and what is written beside it."""
    heights = 40.0 - 40.0 * (np.clip(values, low, high) - low) / (high - low)
    points = [(round(100 * i / max(len(values) - 1, 1), 2), round(y, 2)) for i, y in enumerate(heights.tolist())]
    last = f"{values[-1]:.0f}{unit}" if unit else f"{values[-1]:+.2f}"
    told = {"last": last, "low": f"{low}{unit}", "high": f"{high}{unit}"}
    told = {name: text.replace("-", "−") for name, text in told.items()}
    return {"title": title, "about": about, "points": points, **told}
