"""Experiments: draws and their chances, off-policy estimates against a known truth, shadow mode, and `evaluate`."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from langchain_persona.errors import ConfigError, StoreError
from langchain_persona.experiments import (
    Decision,
    Estimate,
    Evaluation,
    ExperimentRetriever,
    aevaluate,
    estimate,
    evaluate,
)
from langchain_persona.experiments.offpolicy import draw, inclusion
from langchain_persona.learning import UserVectors, policy
from langchain_persona.memory import PersonaMemory
from langchain_persona.records import read_record
from langchain_persona.retrieval.sources import CardSource
from tests.retrievals import (
    FREE,
    MODEL,
    QUERY,
    VECTORS,
    D,
    FailingStore,
    Wrapped,
    films,
    found,
    ids,
    over,
    record,
    run,
    scores,
    warnings_in,
    why,
)

MODES = pytest.mark.parametrize("mode", ["sync", "async"])


# draws ----------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 1_000), st.integers(2, 6), st.floats(0.0, 6.0))
def test_the_chances_of_all_lists_sum_to_one_and_give_the_inclusion(seed, n, spread):
    logits = spread * np.random.default_rng(seed).normal(size=n)
    for k in range(1, n + 1):
        exact = np.zeros(n)
        for shown in permutations(range(n), k):
            left, chance = np.exp(logits), 1.0
            for place in shown:
                chance *= left[place] / left.sum()
                left[place] = 0.0
            exact[list(shown)] += chance
        assert exact.sum() == pytest.approx(k)
        assert inclusion(logits, k) == pytest.approx(exact, abs=1e-6, rel=1e-5)
    assert inclusion(logits, 1) == pytest.approx(policy(logits))
    assert inclusion(logits, n + 3).tolist() == [1.0] * n


@given(st.integers(0, 1_000), st.integers(2, 40), st.integers(1, 12), st.sampled_from([0.1, 5.0, 50.0, 5_000.0]))
def test_any_logits_give_chances_that_sum_to_the_count(seed, n, k, spread):
    logits = spread * np.random.default_rng(seed).normal(size=n)
    chances = inclusion(logits, k)
    assert chances.sum() == pytest.approx(min(k, n), rel=1e-4)
    assert np.all((chances >= 0.0) & (chances <= 1.0))
    assert np.all(np.diff(chances[np.argsort(logits)]) >= -1e-6)


def test_draws_come_as_often_as_they_should():
    logits, random = np.array([0.0, 1.0, 2.0, -1.0, 0.5]), np.random.default_rng(0)
    counts = np.zeros(5)
    for _ in range(4_000):
        counts[draw(logits, 2, random)] += 1
    assert counts / 4_000 == pytest.approx(inclusion(logits, 2), abs=4 * 0.5 / np.sqrt(4_000))


# estimates ------------------------------------------------------------------------------------------------------------

USERS, EACH, N, K, TEMPERATURE = 30, 6, 10, 3, 0.05


class World:
    """Retrievals with candidates whose rewards are known; the bonus foretells them in part."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.user = np.repeat(np.arange(USERS), EACH)
        count = len(self.user)
        self.base = 0.05 * rng.normal(size=(count, N))
        reward = rng.normal(size=(count, N)) + 0.3 * rng.normal(size=USERS)[self.user, None]
        self.bonus = 0.05 * (0.7 * reward + 0.7 * rng.normal(size=(count, N)))
        self.reward = np.clip(0.4 * reward, -1.0, 1.0)

    def truth(self, strength: float) -> float:
        """Mean reward of what a strength shows, drawn at the temperature; strength 0 draws nothing."""
        if strength == 0.0:
            order = np.argsort(-self.base, axis=1)[:, :K]
            return float(np.take_along_axis(self.reward, order, axis=1).mean())
        logits = (self.base + strength * self.bonus) / TEMPERATURE
        values = [inclusion(row, K) @ reward / K for row, reward in zip(logits, self.reward, strict=True)]
        return float(np.mean(values))

    def log(self, seed: int, strength: float = 1.0) -> list[Decision]:
        """Every document shown is rated, each by a feedback of its own."""
        decisions, random = [], np.random.default_rng(seed)
        for index, user in enumerate(self.user):
            base, bonus = self.base[index].round(5), self.bonus[index].round(5)
            for place in draw((base + strength * bonus) / TEMPERATURE, K, random):
                reward = float(self.reward[index, place])
                decisions.append(decision(str(user), str(index), reward, place, base, bonus, strength, TEMPERATURE, K))
        return decisions


def decision(
    user: str,
    retrieval: str,
    reward: float,
    rated: int | tuple[int, ...],
    base: Any,
    bonus: Any,
    strength: float = 1.0,
    explore: float = 0.1,
    count: int = 2,
) -> Decision:
    return Decision(
        user=user,
        retrieval=retrieval,
        reward=reward,
        rated=(rated,) if isinstance(rated, int) else rated,
        count=count,
        base=tuple(map(float, base)),
        bonus=tuple(map(float, bonus)),
        strength=strength,
        explore=explore,
    )


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.0])
def test_the_estimate_of_one_log_holds_the_truth(world, strength):
    one = estimate(world.log(1), strength)
    for value, (low, high) in ((one.ips, one.ips_interval), (one.snips, one.snips_interval)):
        assert low <= world.truth(strength) <= high
        assert low < value < high
        assert high - low < 0.3
    assert one.ratings == USERS * EACH * K
    assert 0 < one.effective <= one.ratings * (1 + 1e-9)


def test_over_seeds_the_estimate_is_unbiased_and_clipping_lowers_its_variance(world):
    logs = [world.log(seed) for seed in range(12)]
    for strength in (0.0, 2.0):
        free = np.array([estimate(log, strength, clip=float("inf")).ips for log in logs])
        clipped = np.array([estimate(log, strength, clip=2.0).ips for log in logs])
        own = np.array([estimate(log, strength).snips for log in logs])
        assert free.mean() == pytest.approx(world.truth(strength), abs=3.5 * free.std() / np.sqrt(len(logs)))
        assert own.mean() == pytest.approx(world.truth(strength), abs=0.02)
        assert clipped.std() < free.std()


def test_the_intervals_hold_the_truth_about_as_often_as_they_say():
    truth, held = np.mean([World(2_000 + number).truth(0.0) for number in range(60)]), []
    for seed in range(30):
        one = World(1_000 + seed)  # users are the units: other users each time
        low, high = estimate(one.log(seed), 0.0).snips_interval
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.8


def test_the_logged_strength_is_estimated_by_the_plain_mean_and_far_ones_lack_support(world):
    log = world.log(3)
    one = estimate(log, 1.0)
    mean = np.mean([one.reward for one in log])
    assert (one.ips, one.snips) == (pytest.approx(mean), pytest.approx(mean))
    assert (one.effective, one.unsupported) == (pytest.approx(len(log)), 0.0)
    shares = [estimate(log, strength, clip=2.0).unsupported for strength in (1.0, 2.0, 5.0, 10.0)]
    assert shares == sorted(shares)
    assert shares[-1] > 0.2
    assert estimate(log, 10.0).effective < estimate(log, 2.0).effective


def test_small_logs():
    alike, bonus = np.zeros(3), np.array([0.1, 0.0, 0.0])
    both = decision("ana", "1", 1.0, (0, 1), alike, bonus)
    single = [decision("ana", "1", 1.0, place, alike, bonus) for place in (0, 1)]
    # one reward for several documents counts for each in part
    assert estimate([both], 2.0).ips == pytest.approx(estimate(single, 2.0).ips)
    never = decision("ana", "1", 1.0, 2, bonus, bonus, count=1)
    one = estimate([never], 0.0)
    assert (one.ips, one.snips, one.ips_interval, one.snips_interval) == (0.0, None, None, None)
    assert estimate([], 1.0) == Estimate(1.0)


# the retriever --------------------------------------------------------------------------------------------------------


class Tastes(PersonaMemory):
    """Each user has a taste; the vectors know it in part, and no feedback moves them."""

    def user_vectors(self, user: str, session: str, embedding: str, dimension: int) -> UserVectors:
        number = int(user) if user.isdigit() else 5
        noise = np.random.default_rng(1_000 + number).normal(size=D)
        return UserVectors(0.1 * (likes(user) + 0.7 * noise), np.zeros(D), count=1)


def likes(user: str) -> np.ndarray:
    return np.random.default_rng(int(user) if user.isdigit() else 5).normal(size=D)


def reward(user: str, document: Any) -> float:
    return float(np.clip(0.5 * VECTORS[str(document)] @ likes(user), -1.0, 1.0))


@pytest.fixture(scope="module")
def collection() -> Any:
    return films()


def trying(collection: Any, memory: PersonaMemory | None = None, **options: Any) -> ExperimentRetriever:
    memory = memory or Tastes(InMemoryStore())
    options = {"user_id": "ana", "k": 4, **options}
    return ExperimentRetriever(vectorstore=collection, embeddings=MODEL, memory=memory, **options)


def logged(retriever: ExperimentRetriever, docs: Any) -> Decision:
    """What was logged, as a rating of the first document."""
    about = {"user": "ana", "retrieval": "1", "reward": 1.0, "rated": [0]}
    return read_record(Decision, {**record(retriever, docs).logged, **about})


def by_number(query: str, docs: Any) -> list[float]:
    return [float(int(doc.id[1:]) * 7 % 20) for doc in docs]


def test_switches_that_cannot_work(collection):
    for wrong in ({"explore": -1.0}, {"explore": "much"}, {"explore": float("nan")}, {"seed": 1.5}, {"seed": True}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            trying(collection, **wrong)
    for wrong in ({"search_type": "mmr"}, {"shadow": True}):
        with pytest.raises(ConfigError, match="excludes shadow=True and search_type"):
            trying(collection, explore=0.1, **wrong)


@MODES
def test_without_a_switch_it_ranks_as_its_base_does(collection, mode):
    for options in ({}, {"strength": 3.0}, {"reranker": by_number}, {"search_type": "mmr"}):
        base = found(over(collection, Tastes(InMemoryStore()), **options), mode, user_id="ana")
        retriever = trying(collection, **options)
        docs = found(retriever, mode)
        assert scores(docs) == scores(base)
        assert record(retriever, docs).logged is None


@MODES
def test_one_seed_gives_one_sequence_of_draws(collection, mode):
    def sequence(**options: Any) -> list[list[str]]:
        retriever = trying(collection, explore=0.2, **options)
        return [ids(found(retriever, mode)) for _ in range(5)]

    first = sequence(seed=7)
    assert first == sequence(seed=7)
    assert first != sequence(seed=8)
    assert len({tuple(shown) for shown in first}) > 1
    assert sequence() != sequence()  # without a seed every draw is fresh


@pytest.mark.parametrize(
    "options",
    [{}, {"strength": 2.5}, {"reranker": lambda query, docs: [40.0 * by_number("", [d])[0] for d in docs]}],
)
def test_the_record_says_how_likely_the_draw_was(collection, options):
    retriever = trying(collection, explore=0.1, **options)
    docs = retriever.invoke(QUERY)
    kept, log = record(retriever, docs), logged(retriever, docs)
    total = np.array(log.base) + log.strength * np.array(log.bonus)
    units = np.ptp(kept.scores) / np.ptp(total)
    assert total - total.max() == pytest.approx((np.array(kept.scores) - max(kept.scores)) / units, abs=1e-4)
    assert inclusion(np.array(kept.scores) / (0.1 * units), 4) == pytest.approx(log.chances(log.strength), abs=1e-3)
    assert (log.count, log.strength, log.explore) == (4, options.get("strength", 1.0), 0.1)
    assert list(kept.chosen) == ids(docs)
    assert [fact["rank"] for fact in why(docs)] == [1, 2, 3, 4]
    assert len(json.dumps(kept.logged)) <= 500


def test_draws_come_as_often_as_the_log_says_and_either_strength_has_its_chance(collection):
    retriever = trying(collection, explore=0.15, seed=3, k=2)
    shown = [ids(retriever.invoke(QUERY)) for _ in range(300)]
    docs = retriever.invoke(QUERY)
    kept, log = record(retriever, docs), logged(retriever, docs)
    counts = np.array([sum(name in each for each in shown) for name in kept.candidates]) / 300
    assert counts == pytest.approx(log.chances(1.0), abs=4 * 0.5 / np.sqrt(300))
    for strength in (0.0, 1.0):
        best = ids(over(collection, retriever.memory, strength=strength).invoke(QUERY))
        assert set(kept.candidates) >= set(best)
    plain = np.array(kept.candidates)[log.chances(0.0) == 1.0]
    assert set(plain) == set(ids(over(collection, retriever.memory, strength=0.0, k=2).invoke(QUERY)))


def test_law_1_who_is_unknown_is_not_explored(collection):
    plain = ids(over(collection).invoke(QUERY))
    cold = trying(collection, PersonaMemory(InMemoryStore()), explore=50.0)
    for user in ("ana", ""):
        assert ids(cold.invoke(QUERY, user_id=user)) == plain
    for options in ({"max_bonus": 0.0}, {"strength": 0.0}):
        assert ids(trying(collection, explore=50.0, **options).invoke(QUERY)) == plain


@MODES
@pytest.mark.parametrize("options", [{}, {"reranker": by_number}, {"search_type": "mmr"}, {"k": 11, "fetch_k": 5}])
def test_shadow_mode_returns_exactly_the_plain_ranking(collection, mode, options):
    plain = found(over(collection, **{"k": 4, **options}), mode, user_id="ana")
    shadow = trying(collection, shadow=True, strength=2.0, **options)
    docs = found(shadow, mode)
    assert ids(docs) == ids(plain)

    def told(some: Any) -> str:
        facts = scores(some)
        return json.dumps([{k: v for k, v in fact.items() if k not in ("abstained", "shadow_rank")} for fact in facts])

    assert told(docs) == told(plain)
    assert record(shadow, docs).chosen == tuple(ids(plain))
    ranks = {doc.id: doc.metadata["persona"]["shadow_rank"] for doc in docs}
    assert list(ranks.values()) != [1, 2, 3, 4][: len(docs)]
    if "search_type" not in options and "fetch_k" not in options:
        everything = found(trying(collection, strength=2.0, **options), mode, k=20)
        personal = [name for name in ids(everything) if name in ranks]
        assert personal == sorted(ranks, key=ranks.__getitem__)


def test_shadow_mode_learns_and_the_unknown_have_a_shadow_too(collection):
    retriever = trying(collection, PersonaMemory(InMemoryStore(), config=FREE), shadow=True)
    for user in ("ana", ""):
        assert [fact["shadow_rank"] for fact in why(retriever.invoke(QUERY, user_id=user))] == [1, 2, 3, 4]
    plain = ids(retriever.invoke(QUERY))
    for _ in range(5):
        retriever.feedback(retriever.invoke(QUERY)[3], 1.0)
    assert retriever.memory.vectors("ana").count == 5
    assert ids(retriever.invoke(QUERY)) == plain
    assert why(retriever.invoke(QUERY))[3]["shadow_rank"] < 4
    cards = PersonaMemory(InMemoryStore(), MODEL)
    for number in range(6):
        cards.remember("ana", f"likes film {number}")
    assert len(trying(CardSource(cards), cards, shadow=True).invoke(QUERY)) == 4


@MODES
def test_law_3_a_second_query_that_fails_leaves_the_plain_candidates(collection, caplog, mode):
    calls: list[int] = []

    def query(**options: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise OSError("gone")
        return collection.query(**options)

    docs = found(trying(Wrapped(collection, query=query), shadow=True), mode)
    assert ids(docs) == ids(over(collection).invoke(QUERY))
    assert len(warnings_in(caplog)) == 1


# evaluation -----------------------------------------------------------------------------------------------------------


def rated(collection: Any, memory: PersonaMemory, users: int, each: int = 3, **options: Any) -> ExperimentRetriever:
    """Some users rate everything that they are shown."""
    retriever = trying(collection, memory, **{"k": 3, **options})
    for user in map(str, range(users)):
        for number in range(each):
            for doc in retriever.invoke(f"question {number}", user_id=user):
                retriever.feedback(doc, reward(user, doc.id), user_id=user)
    return retriever


def evaluated(memory: PersonaMemory, mode: str, *arguments: Any, **options: Any) -> Evaluation:
    if mode == "async":
        return run(lambda: aevaluate(memory, *arguments, **options))
    return evaluate(memory, *arguments, **options)


def test_the_estimates_hold_the_true_value_of_running_other_strengths(collection):
    users, each = 20, 3
    memory = Tastes(InMemoryStore())
    retriever = rated(collection, memory, users, each, explore=0.1, seed=1)
    whole = evaluate(memory, (0.0, 1.0, 2.0), seed=2)
    for strength in (1.0, 2.0):
        values = [
            reward(str(user), doc.id)
            for user in range(users)
            for number in range(each)
            for _ in range(4)
            for doc in retriever.invoke(f"question {number}", user_id=user, strength=strength)
        ]
        one = whole.estimates[strength]
        assert one.snips_interval[0] <= np.mean(values) <= one.snips_interval[1]
        assert one.ips_interval[0] <= np.mean(values) <= one.ips_interval[1]
    assert whole.estimates[2.0].snips > whole.estimates[1.0].snips > whole.estimates[0.0].snips
    assert (whole.users, whole.retrievals, whole.ratings) == (users, users * each, users * each * 3)


@MODES
def test_users_withdrawals_and_ratings_without_a_log(collection, mode):
    memory = Tastes(InMemoryStore())
    rated(collection, memory, 2, 2, explore=0.1)
    for plain in (over(collection, memory), trying(collection, memory, shadow=True)):
        plain.feedback(plain.invoke(QUERY, user_id="0")[0], 1.0, user_id="0")
    whole = evaluated(memory, mode)
    assert (whole.ratings, whole.left_out) == (12, 2)
    assert "2 more ratings are of what was not drawn" in str(whole)
    for users, count in ((["0"], 6), ([0, "0", None, "nobody"], 6), ([], 0)):
        assert evaluated(memory, mode, users=users).ratings == count
    memory.withdraw("1", memory.ratings("1")[0].id)
    assert evaluated(memory, mode).ratings == 11
    assert evaluated(memory, "sync") == evaluated(memory, "async")


@pytest.mark.parametrize(
    "wrong",
    [
        {"rated": [99]},
        {"rated": [-1]},
        {"rated": []},
        {"count": 0},
        {"base": "AAA"},
        {"base": [0.0]},
        {"bonus": []},
        {"explore": 0.0},
        {"strength": float("nan")},
    ],
)
def test_a_damaged_log_costs_the_evaluation_of_one_rating_and_not_the_rating(collection, caplog, wrong):
    memory = Tastes(InMemoryStore())
    retriever = trying(collection, memory, explore=0.1)
    for question in ("first", "question"):
        retriever.feedback(retriever.invoke(question)[0], 1.0)
    damaged = next(
        item for item in memory.store.search(("persona",), limit=100) if item.value.get("type") == "feedback"
    )
    value = {**damaged.value, "logged": {**damaged.value["logged"], **wrong}}
    memory.store.put(damaged.namespace, damaged.key, value, index=False)
    assert len(memory.ratings("ana")) == 2
    whole = evaluate(memory)
    assert (whole.ratings, whole.left_out) == (1, 1)
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"strengths": "0"},
        {"strengths": (11.0,)},
        {"strengths": (True,)},
        {"clip": 0.5},
        {"clip": "10"},
        {"users": "ana"},
    ],
)
def test_questions_that_cannot_work(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        evaluate(PersonaMemory(InMemoryStore()), **wrong)


def test_a_table_says_how_far_to_trust_it(collection):
    memory = Tastes(InMemoryStore())
    rated(collection, memory, 2)
    assert "There is nothing to evaluate" in str(evaluate(memory))
    rated(collection, memory, 3, explore=0.1, seed=4)
    whole = evaluate(memory, (0.0, 1.0, 5.0), clip=5.0)
    table = str(whole)
    for says in ("27 ratings of 9 drawn retrievals by 3 users", "18 more ratings", "IPS", "SNIPS", "weak"):
        assert says in table
    assert max(map(len, table.splitlines())) <= 120
    assert list(whole.estimates) == [0.0, 1.0, 5.0]


def test_a_store_that_fails_is_an_error(collection):
    memory = Tastes(FailingStore(at=1, for_good=True))
    with pytest.raises(StoreError):
        evaluate(memory)
    with pytest.raises(StoreError):
        run(lambda: aevaluate(memory))
