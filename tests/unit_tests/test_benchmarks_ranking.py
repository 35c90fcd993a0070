"""Films with and without a query: nDCG, ties, topics and what is left of the query, against numbers found by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.asked import Asked, ask
from benchmarks.learners import Plain, Rated, Rows
from benchmarks.movielens import MovieLens
from benchmarks.ranking import ndcg, ranked, top
from benchmarks.topics import Topics, rated_topics, topics_of


@pytest.mark.parametrize(
    ("gains", "total", "expected"),
    [
        ([1, 1, 0], 2, 1.0),
        ([0, 1], 1, 1 / math.log2(3)),
        # the ideal has three at the top
        ([1, 0, 1], 3, 1.5 / (1 + 1 / math.log2(3) + 0.5)),
        ([0] * 10 + [1], 1, 0.0),  # rank 11 does not count
        ([1] * 12, 12, 1.0),
        ([], 1, 0.0),
    ],
)
def test_ndcg_by_hand(gains: list[int], total: int, expected: float) -> None:
    assert ndcg(gains, total) == pytest.approx(expected)


def test_ndcg_of_nothing_wanted() -> None:
    assert math.isnan(ndcg([0, 0], 0))


def test_ties_are_broken_by_the_given_order() -> None:
    scores = np.array([0.5, 0.9, 0.5, 0.5])
    tie = np.array([2, 0, 1, 3])
    assert ranked(scores, tie).tolist() == [1, 2, 0, 3]
    assert top(scores, tie, 2).tolist() == [1, 2]
    assert top(scores, tie).tolist() == [1, 2, 0, 3]
    assert top(scores[:0], tie[:0]).size == 0


def test_the_top_is_the_head_of_the_whole_ranking() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        scores, tie = rng.integers(0, 6, 40).astype(float), rng.permutation(40)
        assert top(scores, tie).tolist() == ranked(scores, tie)[:10].tolist()


def test_topics_by_hand() -> None:
    tags = (("Time Travel", "comedy"), ("time travel", "rare"), ("time travel ",), ("rare",))
    genres = (("Comedy", "Sci-Fi"), ("Film-Noir",), ("Action",), ())
    topics = topics_of(MovieLens(("a", "b", "c", "d"), {}, 0, genres, tags))
    assert topics.names == ("action", "comedy", "film-noir", "sci-fi", "time travel")
    assert topics.queries == (
        "an action film", "a comedy film", "a film noir", "a science fiction film", "time travel films",
    )  # fmt: skip
    assert topics.on.astype(int).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]]
    assert rated_topics(topics, [1, 3]).tolist() == [False, False, True, False, True]
    assert not rated_topics(topics, []).any()


def test_topics_are_drawn_by_the_seed() -> None:
    topics = Topics(("a",) * 9, ("q",) * 9, np.ones((9, 1), dtype=bool))
    allowed = np.arange(9) != 4
    drawn = [topics.pick(allowed, np.random.default_rng(seed), 5) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(some) == 5 and 4 not in some for some in drawn)
    assert topics.pick(np.zeros(9, dtype=bool), np.random.default_rng(1), 5) == []


class Lifts(Plain):
    """Lifts some items."""

    def __init__(self, bonus: list[float]) -> None:
        self.bonus = np.array(bonus, dtype=np.float32)

    def learn(self, thumbs: object) -> None:
        raise AssertionError("a query teaches nothing")

    def scores(self, rows: Rows, ids: object, base: Rows, session: str | None, spread: Rows | None = None) -> Rows:
        assert session is None
        return base + self.bonus


def test_a_query_by_hand() -> None:
    # twelve films; topic 0 is on films 0 to 3, topic 1 on film 11, which nobody has rated
    on = np.zeros((2, 12), dtype=bool)
    on[0, :4] = on[1, 11] = True
    relevance = np.array([np.linspace(0.9, -0.2, 12), np.linspace(-0.2, 0.9, 12)], dtype=np.float32)
    asked = Asked(Topics(("x", "y"), ("x film", "y film"), on), relevance, np.ones((2, 1)))
    films, ties = np.zeros((12, 2), dtype=np.float32), np.arange(12)
    # seen: film 0. Later: 1 (disliked), 2 (liked, on topic), 5 (liked, off topic)
    learners = {"plain": Plain(), "lift": Lifts([0.0] * 2 + [0.15] + [0.0] * 2 + [2.0] + [0.0] * 6)}
    found = ask(asked, films, learners, [0], np.array([2, 5]), np.array([1, 2, 5]), ties, np.random.default_rng(0))
    # rated: plain ranks 1, 2, 5; lifted 5, 2, 1. The wanted film is 2
    assert found["plain"]["rated"] == pytest.approx(1 / math.log2(3))
    assert found["lift"]["rated"] == pytest.approx(1 / math.log2(3))
    # of the two on topic: plain 1, 2; lifted 2, 1
    assert found["plain"]["taste"] == pytest.approx(1 / math.log2(3))
    assert found["lift"]["taste"] == 1.0
    # all unseen: plain 1, 2, …; lifted 5, 2, 1, …
    assert found["plain"]["all"] == pytest.approx(1 / math.log2(3))
    # on topic: 0, 1, 2, 3 of ten either way
    assert found["plain"]["topic"] == found["lift"]["topic"] == pytest.approx(0.4)
    # never rated: plain 11, 10, …, 2; lifted 5, 11, …: the same ten
    assert found["plain"]["never"] == found["lift"]["never"] == 1.0
    found = ask(
        asked,
        films,
        {"away": Lifts([0.0] * 2 + [-3.0, -3.0] + [0.0] * 8)},
        [0],
        np.array([2]),
        np.array([1, 2, 5]),
        ties,
        np.random.default_rng(0),
    )
    assert found["away"] == {
        "rated": pytest.approx(0.5),  # behind 1 and 5
        "taste": pytest.approx(1 / math.log2(3)),  # behind 1
        "all": pytest.approx(1 / math.log2(11)),  # behind nine unseen films
        "topic": pytest.approx(0.2),  # 0 and 1
        "never": pytest.approx(0.8),  # 2 and 3 gave way to 0 and 1
    }


def test_nothing_to_ask() -> None:
    asked = Asked(
        Topics(("x",), ("x film",), np.ones((1, 3), dtype=bool)), np.zeros((1, 3), dtype=np.float32), np.ones((1, 1))
    )
    nobody = np.array([], dtype=np.intp)
    rng = np.random.default_rng(0)
    films = np.zeros((3, 2), dtype=np.float32)
    assert ask(asked, films, {"plain": Plain()}, [0], nobody, np.array([1]), np.arange(3), rng) == {"plain": {}}


def test_a_learner_is_not_asked_to_learn() -> None:
    with pytest.raises(AssertionError, match="teaches nothing"):
        Lifts([]).learn([Rated("s", "r", True, 0, np.zeros(1), np.zeros(1))])
