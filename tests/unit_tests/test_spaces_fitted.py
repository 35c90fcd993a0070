"""Spaces fitted from many users' ratings: what is recovered, who can spoil it, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as prop
from hypothesis import strategies as st

from langchain_persona.errors import ConfigError, DimensionMismatchError
from langchain_persona.spaces import PreferenceSpace, UserRatings, taste
from langchain_persona.spaces.fitted import fit_map

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
    assert space.matrix is not None
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
    root = np.diag([1.0, 0.5, 0.1])
    tastes = rng.normal(size=(600, 3)) @ root + np.array([0.0, 0.8, 0.0])
    users = []
    for wants in tastes:
        items = rng.normal(size=(20, 3))
        users.append(taste.Observed(items, items @ wants + 0.3 * rng.normal(size=20)))
    found = taste.estimate(users, shrink=0.0, iterations=60)
    assert np.allclose(found.mean, tastes.mean(axis=0), atol=0.02)
    assert np.allclose(found.covariance, np.cov(tastes.T), atol=0.05)
    assert found.noise == pytest.approx(0.09, rel=0.05)
    assert np.allclose(found.second_moment, tastes.T @ tastes / 600, atol=0.05)


@prop(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([0.0, 3.0, 200.0]))
def test_the_likelihood_does_not_fall(seed, each, shrink):
    rng = np.random.default_rng(seed)
    users = [
        taste.Observed(rng.normal(size=(n, 8)), rng.uniform(-1, 1, size=n))
        for n in (int(rng.integers(1, each + 1)) for _ in range(12))
    ]
    evidence = taste.estimate(users, shrink=shrink, iterations=15).evidence
    assert np.diff(evidence).min() > -1e-6 * abs(evidence[0])


def test_few_and_many_ratings_go_by_two_matrices_and_give_the_same():
    rng = np.random.default_rng(3)
    start = taste.Taste(rng.normal(size=5), np.diag([3.0, 2.0, 1.0, 0.5, 0.1]), 0.4)
    user = taste.Observed(rng.normal(size=(7, 5)), rng.uniform(-1, 1, size=7))
    sums = [taste._Sums(start), taste._Sums(start)]
    rest = user.rewards - user.items @ start.mean
    sums[0]._add_few(user.items, rest)
    sums[1]._add_many(user.items, rest)
    assert sums[0].likelihood == pytest.approx(sums[1].likelihood)
    assert sums[0].error == pytest.approx(sums[1].error)
    for one, other in zip(sums[0].moments(), sums[1].moments(), strict=True):
        assert np.allclose(one, other)


def test_ridge_regression_in_the_space_is_the_posterior_mean():
    users, _ = planted(4)
    space = PreferenceSpace.fit(users, k=D, ridge=0.3)
    noise = space.about["noise"]
    items, rewards, _ = users[0].arrays()
    rows = space.project(items)
    fast = space.lift(np.linalg.solve(rows.T @ rows + 0.3 * np.eye(space.k), rows.T @ rewards))
    moment = space.matrix.T @ space.matrix * noise / 0.3  # S, as the map says it
    centred = items - space.mean
    slow = moment @ centred.T @ np.linalg.solve(centred @ moment @ centred.T + noise * np.eye(30), rewards)
    assert np.allclose(fast, slow, atol=1e-5)


def test_the_prior_is_what_the_mean_user_is_expected_to_give():
    users, basis = planted(5, lean=2.0, users=60)
    space = PreferenceSpace.fit(users, k=D, shrink=1.0, iterations=40)
    direction = space.lift(space.prior)
    assert direction @ basis[0] / np.linalg.norm(direction) > 0.97
    likely = np.mean([user.arrays()[1] @ space.project(user.arrays()[0]) @ space.prior for user in users])
    assert likely > 0.0


def test_the_same_users_in_any_order_give_the_same_space():
    users, _ = planted(6)
    one, other = PreferenceSpace.fit(users), PreferenceSpace.fit(users[::-1])
    assert one.id == other.id == PreferenceSpace.fit(users, version="other").id
    assert one.id != PreferenceSpace.fit(users[1:]).id


def test_json_keeps_map_prior_name_and_story():
    space = PreferenceSpace.fit(planted(7)[0], k=5, version="spring")
    again = PreferenceSpace.from_json(json.loads(json.dumps(space.to_json())))
    assert again.id == space.id
    assert np.array_equal(again.prior, space.prior)
    assert dict(again.about) == dict(space.about)
    assert (again.about["users"], again.about["events"], again.about["version"]) == (40, 1200, "spring")
    assert PreferenceSpace("fitted", space.mean, space.matrix).id != space.id
    assert PreferenceSpace("fitted", space.mean, space.matrix, space.prior, {"a": 1}).id == space.id


def test_documents_of_before_there_were_priors_are_read():
    document = PreferenceSpace.pca(planted(8)[0][0].arrays()[0], k=3).to_json()
    del document["prior"], document["about"]
    assert PreferenceSpace.from_json(document).prior is None


def test_a_prior_without_a_matrix_has_a_name_of_its_own():
    space = PreferenceSpace("shop", np.zeros(3), None, np.ones(3))
    assert space.id != PreferenceSpace("shop", np.zeros(3)).id
    assert np.array_equal(PreferenceSpace.from_json(space.to_json()).prior, np.ones(3))


def hostile(kind: str) -> UserRatings:
    rng = np.random.default_rng(99)
    odd = np.eye(D)[0]
    if kind == "many":  # 10,000 thumbs along one direction
        return UserRatings(np.tile([odd, -odd], (5_000, 1)), np.tile([1.0, -1.0], 5_000))
    if kind == "ups":
        return UserRatings(np.tile(odd, (300, 1)), np.ones(300))
    return UserRatings(rng.normal(size=(300, D)), rng.choice([-1.0, 1.0], size=300))


@pytest.mark.parametrize("kind", ["many", "ups", "random"])
def test_one_hostile_user_does_not_take_over(kind):
    users, basis = planted(10, users=60)
    honest = within(PreferenceSpace.fit(users, k=2, shrink=1.0), basis)
    spoilt = within(PreferenceSpace.fit([*users, hostile(kind)], k=2, shrink=1.0), basis)
    assert spoilt > honest - 0.1


def test_nobody_moves_the_origin_by_rating_more():
    users, _ = planted(10, users=20)
    honest = PreferenceSpace.fit(users)
    spoilt = PreferenceSpace.fit([*users, hostile("ups")])
    assert np.allclose(spoilt.mean, (20 * honest.mean + np.eye(D)[0]) / 21, atol=1e-6)


def test_only_the_latest_ratings_count_and_only_those_with_a_weight():
    rows = np.arange(10.0)[:, None] * np.ones(2)
    user = UserRatings(rows, np.zeros(10), [1.0] * 9 + [0.0])
    assert (len(user), len(user.latest(3))) == (10, 3)
    assert user.latest(3).arrays()[0][:, 0].tolist() == [6.0, 7.0, 8.0]


def test_users_with_few_ratings_are_left_out():
    users, _ = planted(11, users=25)
    few = [UserRatings(np.ones((2, D)), [1.0, 1.0])] * 50
    assert PreferenceSpace.fit([*users, *few]).id == PreferenceSpace.fit(users).id


def test_progress_is_told_and_a_fit_that_stands_still_ends_early():
    told: list[tuple[int, int]] = []
    space = PreferenceSpace.fit(planted(12)[0], iterations=500, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 500) for done in range(1, space.about["iterations"] + 1)]
    assert len(told) < 500


@pytest.mark.parametrize("reward", [-1.0, 0.0, 1.0])
def test_ratings_that_are_all_alike_are_refused(reward):
    users = [UserRatings(np.eye(3), np.full(3, reward))] * 20
    with pytest.raises(ConfigError, match=f"every one of the 60 ratings is {reward:g}: .* thumbs down as well as up"):
        PreferenceSpace.fit(users, min_events=3)


def test_ratings_that_are_explained_to_the_last_digit_are_refused():
    rows = np.concatenate([np.eye(3), -np.eye(3)] * 20)
    users = [UserRatings(rows, sign * 0.5 * rows[:, 0]) for sign in (1.0, -1.0) * 15]
    with pytest.raises(ConfigError, match="explained to the last digit"):
        PreferenceSpace.fit(users, min_events=3, shrink=0.0, iterations=500)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([[1.0], [2.0]], [1.0]), "shape"),
        (([1.0], [1.0]), "shape"),
        (([[1.0]], [1.0], [1.0, 1.0]), "shape"),
        (([[float("nan")]], [1.0]), "finite"),
        (([[1.0]], [float("nan")]), "rewards"),
        (([[1.0]], [1.5]), "rewards"),
        (([[1.0]], [1.0], [-1.0]), "weights"),
        (([[1.0]], [1.0], [float("nan")]), "weights"),
    ],
)
def test_ratings_that_cannot_be_are_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        UserRatings(*arguments)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 0}, "k must"),
        ({"k": True}, "k must"),
        ({"min_users": 1}, "min_users must"),
        ({"min_events": 0}, "min_events must"),
        ({"max_events": 0}, "max_events must"),
        ({"iterations": 2.5}, "iterations must"),
        ({"shrink": -1.0}, "shrink"),
        ({"shrink": float("nan")}, "shrink"),
        ({"ridge": 0.0}, "ridge"),
        ({"min_users": 41}, "41 users with 5 ratings each, got 40 of 40"),
        ({"min_events": 31}, "20 users with 31 ratings each, got 0 of 40"),
    ],
)
def test_a_fit_that_cannot_work_is_refused_in_plain_words(options, words):
    with pytest.raises(ConfigError, match=words):
        PreferenceSpace.fit(planted(13)[0], **options)


def test_embeddings_of_two_models_are_refused():
    users = [UserRatings(np.ones((5, 2 + number % 2)), np.ones(5)) for number in range(20)]
    with pytest.raises(DimensionMismatchError, match="one embedding model"):
        PreferenceSpace.fit(users)


def test_one_item_alone_tells_no_tastes_apart():
    with pytest.raises(ConfigError, match="same embedding"):
        PreferenceSpace.fit([UserRatings(np.ones((5, 2)), np.ones(5))] * 20)


def test_a_prior_of_another_length_and_a_story_that_is_not_json_are_refused():
    with pytest.raises(DimensionMismatchError, match="prior"):
        PreferenceSpace("x", np.zeros(3), np.ones((2, 3)), np.ones(3))
    with pytest.raises(ConfigError, match="about"):
        PreferenceSpace("x", np.zeros(3), about={"when": object()})


def test_no_vector_of_a_user_is_kept():
    users, _ = planted(14)
    found = fit_map(
        users, k=4, min_users=20, min_events=5, max_events=500, iterations=5, shrink=1.0, ridge=0.1, progress=None,
        version="1",
    )  # fmt: skip
    assert {name: np.shape(getattr(found, name)) for name in ("mean", "matrix", "prior")} == {
        "mean": (D,),
        "matrix": (4, D),
        "prior": (4,),
    }
    assert set(found.about) == {"version", "users", "events", "noise", "iterations", "shrink", "ridge"}
