"""Whether the preference that a request needs reaches the prompt: on PrefEval, of which each user has some.

    python -m benchmarks.recall PREFEVAL [--questions FILE] [--pool 392] [--limit N] [--seeds 5] [--json FILE]

PREFEVAL is a folder with `explicit_preference/*.json` (CC BY-NC 4.0, not part of this repository). No chat model is
asked. Recall@5 is by cosine alone, in a pool of preferences of all topics; a file of stored questions, `{preference:
[question, ...]}`, adds rows to the cards. "In the prompt" asks the whole graph, with its default budget: for users who
have 20 preferences, of mixed topics or of one, and for one who has the whole pool.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.memory import InMemoryStore
from tqdm import tqdm

from benchmarks.rows import Row, arguments_of, publish
from langchain_persona import LocalEmbeddings, PersonaMemory, PreferenceCard, create_persona_graph
from langchain_persona.learning import Vector
from langchain_persona.memory.cards import card_texts
from langchain_persona.testing import ScriptedChatModel

__all__ = ["Need", "in_prompt", "load", "measure", "recall_at"]

A_USER = 20
DEPTH = 5


class Need(NamedTuple):
    """A request, the preference that it needs, and the topic."""

    topic: str
    preference: str
    question: str


class Known(Embeddings):
    """Embeddings that were made before, by text."""

    def __init__(self, rows: Mapping[str, Vector]) -> None:
        self.rows = rows

    def embed_query(self, text: str) -> list[float]:
        """The row of a text."""
        found: list[float] = self.rows[text].tolist()
        return found

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The rows of texts."""
        return [self.embed_query(text) for text in texts]


def load(folder: Path) -> list[Need]:
    """Every explicit preference with its request; each preference once."""
    found = {}
    for path in sorted(folder.glob("explicit_preference/*.json")):
        for one in json.loads(path.read_text(encoding="utf-8")):
            found.setdefault(one["preference"], Need(path.stem, one["preference"], one["question"]))
    if not found:
        raise SystemExit(f"no explicit_preference/*.json in {folder}")
    return list(found.values())


def card_of(need: Need, questions: Mapping[str, Sequence[str]]) -> PreferenceCard:
    """The card that a note of a preference would be."""
    return PreferenceCard(id=need.preference, text=need.preference, questions=tuple(questions.get(need.preference, ())))


def memory_of(
    needs: Iterable[Need], rows: Mapping[str, Vector], questions: Mapping[str, Sequence[str]]
) -> PersonaMemory:
    """A memory in which one user, "u", has these preferences."""
    memory = PersonaMemory(InMemoryStore(), Known(rows))
    memory.cards.write("u", memory.cards.with_vectors([card_of(one, questions) for one in needs], rows))
    return memory


def recall_at(needs: Sequence[Need], rows: Mapping[str, Vector], questions: Mapping[str, Sequence[str]]) -> float:
    """Share of requests whose preference is among the `DEPTH` nearest cards."""
    cards = memory_of(needs, rows, questions).cards.read("u")
    found = 0
    for need in needs:
        nearest = np.argsort(-cards.relevance(rows[need.question]), kind="stable")[:DEPTH]
        found += need.preference in {cards.active[place].text for place in nearest}
    return found / len(needs)


def in_prompt(needs: Sequence[Need], rows: Mapping[str, Vector], questions: Mapping[str, Sequence[str]]) -> float:
    """Share of requests with whose prompt the model is told the preference, of a user who has all of these."""
    memory, model = memory_of(needs, rows, questions), ScriptedChatModel(lambda messages: "An answer.")
    graph = create_persona_graph(model, memory=memory, reflect="off").compile()
    for need in needs:
        graph.invoke({"messages": [("user", need.question)]}, context={"user_id": "u"})
    told = ["\n".join(message.text for message in call) for call in model.calls]
    return sum(need.preference in text for need, text in zip(needs, told, strict=True)) / len(needs)


def measure(
    needs: Sequence[Need], rows: Mapping[str, Vector], questions: Mapping[str, Sequence[str]], pool: int, seeds: int
) -> list[Row]:
    """All figures, as means over seeds."""
    found, stored = defaultdict[str, list[float]](list), [("", {})]
    stored += [(", with stored questions", questions)] if questions else []
    for seed in tqdm(range(seeds), desc="recall", unit="seed"):
        mixed = [needs[place] for place in np.random.default_rng(seed).permutation(len(needs))]
        topics = defaultdict[str, list[Need]](list)
        for need in mixed:
            topics[need.topic].append(need)
        users = {"20 mixed": [mixed[:A_USER]], "20 of one topic": [one[:A_USER] for one in topics.values()]}
        for name, with_questions in stored:
            found[f"recall@{DEPTH}, pool of {len(mixed[:pool])}{name}"] += [
                recall_at(mixed[:pool], rows, with_questions)
            ]
            found[f"in the prompt, pool of {len(mixed[:pool])}{name}"] += [
                in_prompt(mixed[:pool], rows, with_questions)
            ]
        for name, some in users.items():
            found[f"in the prompt, {name}"] += [in_prompt(one, rows, {}) for one in some]
    aims = {what: 1.0 for what in found if "prompt, 20" in what}
    aims |= {what: 0.4 for what in found if what.startswith("recall") and "stored" in what}
    means = {what: float(np.mean(shares)) for what, shares in found.items()}
    return [
        Row(what, mean, "share", aim=f"≥ {aims[what]:.2f}", met=mean >= aims[what])
        if what in aims
        else Row(what, mean, "share")
        for what, mean in means.items()
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = arguments_of(__doc__, "bench-recall")
    parser.add_argument("folder", type=Path, metavar="PREFEVAL")
    parser.add_argument("--questions", type=Path, help="stored questions: {preference: [question, ...]}")
    parser.add_argument("--pool", type=int, default=392, help="preferences in the pool (default 392)")
    parser.add_argument("--limit", type=int, help="only so many preferences, for a quick look")
    parser.add_argument("--seeds", type=int, default=5, help="pools drawn (default 5)")
    options = parser.parse_args(arguments)
    needs = load(options.folder)[: options.limit]
    questions = json.loads(options.questions.read_text(encoding="utf-8")) if options.questions else {}
    texts = list(
        dict.fromkeys([*(one.question for one in needs), *card_texts(card_of(one, questions) for one in needs)])
    )
    model = LocalEmbeddings()
    parts = [texts[start : start + 32] for start in range(0, len(texts), 32)]
    made = [row for part in tqdm(parts, desc="texts", unit="batch") for row in model.embed_documents(part)]
    rows = {text: np.asarray(row) for text, row in zip(texts, made, strict=True)}
    head = f"{len(needs)} requests of PrefEval's explicit preferences; means over {options.seeds} pools."
    rows_out = measure(needs, rows, questions, options.pool, options.seeds)
    publish(
        rows_out, options, title="Whether the needed preference reaches the prompt", head=head, block="bench-recall"
    )


if __name__ == "__main__":
    main()
