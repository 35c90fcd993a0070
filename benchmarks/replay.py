"""Replay of PAHF through the real components: a Chroma collection, a `VARSRetriever`, thumbs, a ledger.

In every scenario the three options are retrieved for the user's request, the first is offered, and in the learning
phases the user's thumb on it is recorded: up when they would take it, down when not. Every rule sees the same vectors,
the same scenarios in the same order, and its own fresh memory. Nothing is printed here.
"""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from chromadb.config import Settings
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langgraph.store.memory import InMemoryStore

from benchmarks.pahf import LEARNING_PHASES, Option, Pahf, Scenario
from langchain_persona import PersonaMemory, PreferenceSpace, VARSConfig, VARSRetriever

__all__ = [
    "CachedEmbeddings",
    "Outcome",
    "Rule",
    "Shop",
    "accepted",
    "four_rules",
    "learning_curve",
    "outcomes_in",
    "rate",
    "replay",
]


class CachedEmbeddings(Embeddings):
    """Embeddings that are computed once a text and kept in memory, so that several rules run on the same vectors.

    Args:
        inner: the model.
    """

    def __init__(self, inner: Embeddings) -> None:
        self.inner = inner
        self.model = str(getattr(inner, "model", type(inner).__name__))
        self._known: dict[str, list[float]] = {}

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """The vectors of texts; only new ones go to the model."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self.inner.embed_documents(new), strict=True))
        return [self._known[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query; a query is not a document for every model, hence its own key."""
        key = f"query\0{text}"
        if key not in self._known:
            self._known[key] = self.inner.embed_query(text)
        return self._known[key]


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to learn.

    Attributes:
        name: for tables and pictures.
        config: the learner; None is plain Chroma, which does not learn.
        space: preference space; None is the identity.
    """

    name: str
    config: VARSConfig | None
    space: PreferenceSpace | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one offer.

    Attributes:
        user, phase: whose scenario, and in which phase of the data.
        thumbs: how many thumbs this user had given in the learning phase at hand before this offer (phases 1 and 3: the
            phase itself; 2 and 4: the learning phase before).
        matters: whether the choice made a difference (see `Scenario.matters`).
        accepted: whether the user took the offer.
    """

    user: str
    phase: int
    thumbs: int
    matters: bool
    accepted: bool


class Shop:
    """The catalogue in a Chroma collection of its own, kept in memory.

    Args:
        options: what is sold.
        embeddings: the model; wrap it in `CachedEmbeddings` when several rules are compared.
    """

    def __init__(self, options: Sequence[Option], embeddings: Embeddings) -> None:
        import chromadb
        from langchain_chroma import Chroma

        self.embeddings = embeddings
        texts = [option.text for option in options]
        self.vectors = np.asarray(embeddings.embed_documents(texts))
        # in-memory clients of one process share their collections: the name makes this one ours
        self.store = Chroma(
            collection_name=f"shop-{uuid.uuid4().hex}",
            embedding_function=embeddings,
            client=chromadb.EphemeralClient(Settings(anonymized_telemetry=False)),
            collection_configuration={"hnsw": {"space": "cosine"}},
        )
        self.store.add_documents(
            [
                Document(
                    id=option.id,
                    page_content=option.text,
                    metadata={"option": option.id, "product": option.product},
                )
                for option in options
            ]
        )

    def retriever(self, rule: Rule, **kwargs: Any) -> BaseRetriever:
        """A `VARSRetriever` with a fresh memory, or Chroma's own retriever for a rule that does not learn."""
        if rule.config is None:
            return self.store.as_retriever(search_kwargs=kwargs)
        memory = PersonaMemory(InMemoryStore(), self.embeddings, config=rule.config, space=rule.space)
        return VARSRetriever(vectorstore=self.store, memory=memory, **kwargs)


def four_rules(shop: Shop) -> tuple[Rule, ...]:
    """Plain Chroma, the two published rules with their published settings, and this package's default."""
    return (
        Rule("plain Chroma", None),
        Rule("simplified rule", VARSConfig.simplified()),
        Rule(
            "paper's rule",
            VARSConfig.paper(),
            PreferenceSpace.pca(shop.vectors, k=min(256, *shop.vectors.shape)),
        ),
        Rule("our default", VARSConfig()),
    )


def replay(
    data: Pahf,
    shop: Shop,
    rule: Rule,
    *,
    users: Iterable[str] | None = None,
    every: int | None = None,
    seed: int | None = None,
) -> Iterator[Outcome]:
    """Let users live through the four phases under one rule; yields what came of every offer as it happens.

    Args:
        data: the scenarios.
        shop: sells the catalogue of `data`.
        rule: how to learn.
        users: some of the data's; all by default.
        every: run the test scenarios that matter before the first thumb of each learning phase, after each `every`
            thumbs and at the end, for a learning curve; None runs the whole test phases once, at their place. Nothing
            is learned from a test scenario, and each learning phase goes on from what the last one left.
        seed: shuffles the order of the products within the learning phases of each user; None keeps that of the data.

    Yields:
        Outcomes in the order of time. With `every` those of the test phases come several times, told apart by `thumbs`.
    """
    retriever = shop.retriever(rule)
    for user in data.users if users is None else users:
        for learning, testing in LEARNING_PHASES.items():
            lessons = _shuffled(data.of(user, learning), seed)
            exam = _exam(data, user, testing, every)
            for thumbs, scenario in enumerate(lessons):
                if every is not None and thumbs % every == 0:
                    yield from (_offer(retriever, test, thumbs, learn=False) for test in exam)
                yield _offer(retriever, scenario, thumbs, learn=True)
            yield from (_offer(retriever, test, len(lessons), learn=False) for test in exam)


def outcomes_in(data: Pahf, *, users: Iterable[str] | None = None, every: int | None = None) -> int:
    """How many outcomes `replay` will yield, for a progress bar."""
    total = 0
    for user in data.users if users is None else users:
        for learning, testing in LEARNING_PHASES.items():
            lessons, exam = len(data.of(user, learning)), len(_exam(data, user, testing, every))
            total += lessons + exam * (1 if every is None else 1 + len(range(0, lessons, every)))
    return total


def accepted(outcomes: Iterable[Outcome], phase: int) -> dict[str, list[bool]]:
    """For each user, whether the offers of a phase were taken, where the choice matters.

    Of a test phase that ran several times, the last run counts: the one after all thumbs.

    Args:
        outcomes: of one rule.
        phase: 1 to 4.
    """
    kept = [outcome for outcome in outcomes if outcome.matters and outcome.phase == phase]
    last = max((outcome.thumbs for outcome in kept), default=0)
    result: dict[str, list[bool]] = defaultdict(list)
    for outcome in kept:
        if phase in LEARNING_PHASES or outcome.thumbs == last:
            result[outcome.user].append(outcome.accepted)
    return dict(result)


def learning_curve(outcomes: Iterable[Outcome], phase: int) -> dict[int, dict[str, list[bool]]]:
    """For each number of thumbs and each user, whether the offers of a test phase were taken, where the choice matters.

    Args:
        outcomes: of `replay(..., every=...)`.
        phase: a test phase.
    """
    points: dict[int, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for outcome in outcomes:
        if outcome.phase == phase and outcome.matters:
            points[outcome.thumbs][outcome.user].append(outcome.accepted)
    return {thumbs: dict(points[thumbs]) for thumbs in sorted(points)}


def rate(by_user: Mapping[str, Sequence[bool]]) -> float:
    """The share of offers taken, over all users' offers; NaN without any."""
    pooled = [taken for values in by_user.values() for taken in values]
    return sum(pooled) / len(pooled) if pooled else float("nan")


def _offer(retriever: BaseRetriever, scenario: Scenario, thumbs: int, *, learn: bool) -> Outcome:
    """Offer the first of the three options, and let the user react."""
    where = {"option": {"$in": [option.id for option in scenario.options]}}
    if isinstance(retriever, VARSRetriever):
        session = f"{scenario.phase}-{scenario.product}"
        docs = retriever.invoke(scenario.task, k=3, filter=where, user_id=scenario.user, session_id=session)
    else:
        docs = retriever.invoke(scenario.task, k=3, filter=where)
    first = docs[0]
    taken = scenario.accepts(str(first.id))
    if learn and isinstance(retriever, VARSRetriever):
        retrieval_id = first.metadata["persona"]["retrieval_id"]
        retriever.memory.feedback(scenario.user, retrieval_id, reward=1.0 if taken else -1.0, docs=first)
    return Outcome(scenario.user, scenario.phase, thumbs, scenario.matters, taken)


def _exam(data: Pahf, user: str, phase: int, every: int | None) -> list[Scenario]:
    """The scenarios of a test phase; only those that matter where it runs several times."""
    return [scenario for scenario in data.of(user, phase) if every is None or scenario.matters]


def _shuffled(scenarios: Sequence[Scenario], seed: int | None) -> list[Scenario]:
    """The scenarios with their products in another order; those of one product stay together, in order."""
    blocks: dict[str, list[Scenario]] = defaultdict(list)
    for scenario in scenarios:
        blocks[scenario.product].append(scenario)
    products = list(blocks)
    if seed is not None and scenarios:
        random.Random(f"{seed} {scenarios[0].user} {scenarios[0].phase}").shuffle(products)
    return [scenario for product in products for scenario in blocks[product]]
