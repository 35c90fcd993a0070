"""The contenders of the learning benchmark that are no rules of this package, against numbers found by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.classics import BayesianRegression, ItemAverages, Rocchio
from benchmarks.contenders import contenders
from benchmarks.learners import Learner, Plain, Rated
from benchmarks.popularity import Popular, Popularity

ROWS = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
IDS = np.array([4, 7, 9])
BASE = np.array([0.5, 0.4, -0.2])


def thumb(place: int, up: bool) -> Rated:
    return Rated("s", str(place), up, int(IDS[place]), ROWS[place], ROWS.mean(axis=0))


def scored(learner: Learner, *thumbs: Rated) -> list[float]:
    learner.learn(thumbs)
    return [float(score) for score in learner.scores(ROWS, IDS, BASE, None)]


def test_averages_per_item_by_hand() -> None:
    # 4: w = .3 and then .3 + .3 (1 − .3) = .51; a relevance of .5 is moved by .3 · .51 · .5; 9: w = −.3 on −.2
    found = scored(ItemAverages(), thumb(0, True), thumb(0, True), thumb(2, False))
    assert found == pytest.approx([0.5 + 0.3 * 0.51 * 0.5, 0.4, -0.2 - 0.3 * 0.3 * 0.2])


def test_averages_per_item_are_bounded() -> None:
    for up, limit in ((True, 0.65), (False, 0.35)):
        assert scored(ItemAverages(), *[thumb(0, up)] * 100)[0] == pytest.approx(limit)


def test_rocchio_by_hand() -> None:
    mean = np.array([0.2, 0.2])
    # v = .2 · ((1, 0) − μ) − .1 · ((0, 1) − μ) = (.16 + .02, −.04 − .08) = (.18, −.12); bonus ⟨v, e − μ⟩
    learner = Rocchio(mean, liked=0.2, disliked=0.1)
    found = scored(learner, thumb(0, True), thumb(1, False))
    assert learner.direction() == pytest.approx([0.18, -0.12])
    assert found == pytest.approx([0.5 + 0.168, 0.4 - 0.132, -0.2 + 0.072 - 0.072])


def test_rocchio_is_bounded() -> None:
    learner = Rocchio(np.zeros(2), liked=5.0)
    learner.learn([thumb(0, True)])
    assert np.linalg.norm(learner.direction()) == pytest.approx(0.75)


def test_bayesian_regression_by_hand() -> None:
    # one thumb on (1, 0): covariance 1 + 1 + .5, mean of w (1 / 2.5, 0); a gain of .2
    found = scored(BayesianRegression(np.zeros(2)), thumb(0, True))
    assert found == pytest.approx([0.5 + 0.08, 0.4, -0.2 + 0.048])


def test_bayesian_regression_is_the_posterior_with_full_covariance() -> None:
    rng = np.random.default_rng(1)
    rows, rewards = rng.normal(size=(20, 5)), rng.choice([-1.0, 1.0], 20)
    learner = BayesianRegression(np.zeros(5), prior=0.4, intercept=0.7, noise=0.3, gain=0.01)
    some = [
        Rated("s", str(i), reward > 0, i, row, row) for i, (row, reward) in enumerate(zip(rows, rewards, strict=True))
    ]
    learner.learn(some[:10])
    learner.direction()
    learner.learn(some[10:])
    wide = np.hstack([rows, np.ones((20, 1))])
    precision = wide.T @ wide / 0.3 + np.diag([1 / 0.4] * 5 + [1 / 0.7])
    posterior = np.linalg.solve(precision, wide.T @ rewards / 0.3)
    assert learner.direction() == pytest.approx(0.01 * posterior[:5])


def test_popularity_leaves_the_user_out_by_hand() -> None:
    own = [(0, True), (2, False)]
    others = [(0, True), (0, True), (1, False), (1, True)]
    shares = Popularity([*own, *others], 4).without(own)
    # the others: 3 of 4 up; item 0: (2 + 5 · .75) / 7, item 1: (1 + 3.75) / 7, items 2 and 3 nothing: .75
    assert shares == pytest.approx([5.75 / 7, 4.75 / 7, 0.75, 0.75])
    base = np.zeros((2, 2))
    bonus = Popular(shares).scores(ROWS[:2], np.array([0, 3]), base, None)
    assert bonus == pytest.approx(np.tile([0.2 * (2 * 5.75 / 7 - 1), 0.1], (2, 1)))


def test_popularity_of_nobody_is_one_half() -> None:
    own = [(0, True)]
    assert Popularity(own, 2).without(own).tolist() == [0.5, 0.5]


def test_who_knows_nothing_changes_nothing() -> None:
    assert scored(Plain(), thumb(0, True)) == BASE.tolist()
    for rule in contenders(np.eye(2)):
        if rule.id == "random":
            continue
        learner = rule.learner("ana", 2)
        learner.learn([])
        assert learner.scores(ROWS, IDS, BASE, None) == pytest.approx(BASE), rule.id
        several = np.stack([BASE, 2 * BASE])
        learner.learn([thumb(0, True), thumb(1, False)])
        each = [learner.scores(ROWS, IDS, row, None) for row in several]
        assert learner.scores(ROWS, IDS, several, None) == pytest.approx(np.stack(each)), rule.id


def test_the_settings_of_every_contender_are_in_the_document() -> None:
    from benchmarks.contenders import described

    found = {str(rule["id"]): rule for rule in map(described, contenders(np.eye(2)))}
    assert found["rocchio"]["rule"] == "Rocchio(liked=0.75, disliked=0.75, reach=0.75)"
    assert str(found["ours"]["rule"]).startswith("WindowedRidge(")
    assert found["paper"]["space"] != found["ours"]["space"] == "identity"
