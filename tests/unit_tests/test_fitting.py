"""Spaces fitted to many users' ratings: what is recovered, who can spoil it, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as prop
from hypothesis import strategies as st

from langchain_persona.errors import ConfigError, DimensionMismatchError
from langchain_persona.learning import PreferenceSpace, UserRatings
from langchain_persona.learning.fitting import Taste, _expect, choose_users, fit_taste

D = 12


def planted(
    seed: int = 0, users: int = 40, each: int = 30, rank: int = 2, lean: float = 0.0
) -> tuple[list[UserRatings], np.ndarray]:
    """Users whose tastes lie in a few directions (returned, shape (rank, D)), with a common lean along the first."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(D, D)))[0][:rank]
    made = []
    for _ in range(users):
        wants = (rng.normal(size=rank) + lean * np.eye(rank)[0]) @ basis
        items = rng.normal(size=(each, D))
        items /= np.linalg.norm(items, axis=1, keepdims=True)
        made.append(UserRatings(items, np.clip(items @ wants + 0.05 * rng.normal(size=each), -1.0, 1.0)))
    return made, basis


def within(space: PreferenceSpace, basis: np.ndarray) -> float:
    """Share of the map's squared length that lies in the planted directions."""
    return float(np.sum((space.matrix @ basis.T) ** 2) / np.sum(space.matrix**2))


@prop(max_examples=10)
@given(st.integers(0, 10_000), st.integers(1, 3))
def test_a_planted_covariance_of_low_rank_is_recovered(seed, rank):
    users, basis = planted(seed, rank=rank)
    space = PreferenceSpace.fit(users, k=rank, shrink=1.0, iterations=40)
    assert within(space, basis) > 0.97
    assert (space.kind, space.k, space.d) == ("fitted", rank, D)


def test_without_shrinkage_the_moments_are_those_that_were_planted():
    rng = np.random.default_rng(1)
    tastes = rng.normal(size=(600, 3)) @ np.diag([1.0, 0.5, 0.1]) + np.array([0.0, 0.8, 0.0])
    users = []
    for wants in tastes:
        items = rng.normal(size=(20, 3))
        users.append((items, items @ wants + 0.3 * rng.normal(size=20)))
    found = fit_taste(users, shrink=0.0, iterations=60)
    assert np.allclose(found.mean, tastes.mean(axis=0), atol=0.02)
    assert np.allclose(found.covariance, np.cov(tastes.T), atol=0.05)
    assert found.noise == pytest.approx(0.09, rel=0.05)
    assert np.allclose(found.second_moment, tastes.T @ tastes / 600, atol=0.05)


@prop(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([0.0, 3.0, 200.0]))
def test_the_likelihood_does_not_fall(seed, each, shrink):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, each + 1, size=12)
    users = [(rng.normal(size=(n, 8)), rng.uniform(-1, 1, size=n)) for n in counts]
    evidence = fit_taste(users, shrink=shrink, iterations=15).evidence
    assert np.diff(evidence).min() > -1e-6 * abs(evidence[0])


def test_few_and_many_ratings_go_by_two_matrices_and_give_the_same():
    """Three idle axes make seven ratings few; they change nothing else."""
    rng = np.random.default_rng(3)
    mean, variances, rows, rewards = rng.normal(size=5), [3.0, 2.0, 1.0, 0.5, 0.1], rng.normal(size=(7, 5)), np.ones(7)
    idle = Taste(np.pad(mean, (0, 3)), np.diag([*variances, 1.0, 1.0, 1.0]), 0.4)
    many = _expect(Taste(mean, np.diag(variances), 0.4), [(rows, rewards), (rows, -rewards)])
    wide = np.pad(rows, ((0, 0), (0, 3)))
    few = _expect(idle, [(wide, rewards), (wide, -rewards)])
    assert few[:2] == pytest.approx(many[:2])
    assert np.allclose(few[2], np.pad(many[2], (0, 3)))
    assert np.allclose(few[3][:5, :5], many[3])


def test_ridge_regression_in_the_space_is_the_posterior_mean():
    users, _ = planted(4)
    space = PreferenceSpace.fit(users, k=D, ridge=0.3)
    noise = space.about["noise"]
    items, rewards = users[0].items, users[0].rewards
    rows = space.project(items)
    fast = space.lift(np.linalg.solve(rows.T @ rows + 0.3 * np.eye(space.k), rows.T @ rewards))
    moment = space.matrix.T @ space.matrix * noise / 0.3  # S, as the map says it
    centred = items - space.mean
    slow = moment @ centred.T @ np.linalg.solve(centred @ moment @ centred.T + noise * np.eye(30), rewards)
    assert np.allclose(fast, slow, atol=1e-5)


def test_the_same_users_in_any_order_give_the_same_space_and_its_story():
    users, _ = planted(6)
    one, other = PreferenceSpace.fit(users), PreferenceSpace.fit(users[::-1], version="spring")
    assert one.id == other.id
    assert one.id != PreferenceSpace.fit(users[1:]).id
    assert (other.about["users"], other.about["events"], other.about["version"]) == (40, 1200, "spring")
    assert set(one.about) == {"version", "users", "events", "noise", "iterations", "shrink", "ridge"}


def test_no_vector_of_a_user_is_kept():
    users, _ = planted(14)
    written = PreferenceSpace.fit(users, k=4).to_json()
    assert (len(written["matrix"]), len(written["mean"])) == (4 * D * 16 // 3, 64)


def hostile(kind: str) -> UserRatings:
    rng = np.random.default_rng(9)
    odd = np.eye(D)[0]
    if kind == "many":  # 10,000 thumbs along one direction
        return UserRatings(np.tile([odd, -odd], (5_000, 1)), np.tile([1.0, -1.0], 5_000))
    if kind == "ups":
        return UserRatings(np.tile(odd, (300, 1)), np.ones(300))
    return UserRatings(rng.normal(size=(300, D)), rng.choice([-1.0, 1.0], size=300))


def test_one_hostile_user_does_not_take_over():
    users, basis = planted(10, users=60)
    honest = within(PreferenceSpace.fit(users, k=2, shrink=1.0), basis)
    for kind in ("many", "ups", "random"):
        spoilt = PreferenceSpace.fit([*users, hostile(kind)], k=2, shrink=1.0)
        assert within(spoilt, basis) > honest - 0.1, kind


def test_nobody_moves_the_origin_by_rating_more():
    users, _ = planted(10, users=20)
    honest, spoilt = PreferenceSpace.fit(users), PreferenceSpace.fit([*users, hostile("ups")])
    assert np.allclose(spoilt.mean, (20 * honest.mean + np.eye(D)[0]) / 21, atol=1e-6)


def test_only_the_latest_ratings_count_and_only_those_with_a_weight():
    rows = np.arange(10.0)[:, None] * np.ones(2)
    user = UserRatings(rows, np.zeros(10), [1.0] * 9 + [0.0])
    (latest,) = choose_users([user], min_users=1, min_events=1, max_events=3)
    assert latest.items[:, 0].tolist() == [6.0, 7.0, 8.0]
    assert repr(user) == "<UserRatings of 10 items>"


def test_users_with_few_ratings_are_left_out():
    users, _ = planted(11, users=25)
    few = [UserRatings(np.ones((2, D)), [1.0, 1.0])] * 50
    assert PreferenceSpace.fit([*users, *few]).id == PreferenceSpace.fit(users).id


def test_progress_is_told_and_a_fit_that_stands_still_ends_early():
    told: list[tuple[int, int]] = []
    space = PreferenceSpace.fit(planted(12)[0], iterations=500, progress=lambda *done: told.append(done))
    assert told == [(done, 500) for done in range(1, space.about["iterations"] + 1)]
    assert len(told) < 500


def test_ratings_that_say_nothing_of_taste_are_refused():
    alike = [UserRatings(np.eye(3), np.full(3, 1.0))] * 20
    with pytest.raises(ConfigError, match=r"every one of the 60 ratings is 1: .* thumbs down as well as up"):
        PreferenceSpace.fit(alike, min_events=3)
    rows = np.concatenate([np.eye(3), -np.eye(3)] * 20)
    ruled = [UserRatings(rows, sign * 0.5 * rows[:, 0]) for sign in (1.0, -1.0) * 15]
    with pytest.raises(ConfigError, match="explained to the last digit"):
        PreferenceSpace.fit(ruled, min_events=3, shrink=0.0, iterations=500)
    with pytest.raises(ConfigError, match="same embedding"):
        PreferenceSpace.fit([UserRatings(np.ones((5, 2)), np.ones(5))] * 20)
    mixed = [UserRatings(np.ones((5, 2 + number % 2)), np.ones(5)) for number in range(20)]
    with pytest.raises(DimensionMismatchError, match="one embedding model"):
        PreferenceSpace.fit(mixed)


def test_ratings_that_cannot_be_are_refused():
    nan = float("nan")
    for arguments, words in (
        (([[1.0], [2.0]], [1.0]), "shape"),
        (([1.0], [1.0]), "shape"),
        (([[1.0]], [1.0], [1.0, 1.0]), "shape"),
        (([[nan]], [1.0]), "finite"),
        (([[1.0]], [nan]), "rewards"),
        (([[1.0]], [1.5]), "rewards"),
        (([[1.0]], [1.0], [nan]), "weights"),
    ):
        with pytest.raises(ConfigError, match=words):
            UserRatings(*arguments)


def test_a_fit_that_cannot_work_is_refused_in_plain_words():
    users, _ = planted(13)
    for options, words in (
        ({"k": True}, "k must be a whole number of at least 1, got True"),
        ({"min_users": 1}, "min_users must be a whole number of at least 2"),
        ({"min_events": 0}, "min_events must"),
        ({"max_events": 0}, "max_events must"),
        ({"iterations": 2.5}, "iterations must"),
        ({"shrink": float("nan")}, "shrink"),
        ({"ridge": 0.0}, "ridge"),
        ({"min_users": 41}, "41 users with 5 ratings each, got 40 of 40"),
        ({"min_events": 31}, "20 users with 31 ratings each, got 0 of 40"),
    ):
        with pytest.raises(ConfigError, match=words):
            PreferenceSpace.fit(users, **options)
