"""Preference spaces: identity, PCA, names, JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.errors import ConfigError, CorruptRecordError, DimensionMismatchError
from langchain_persona.learning import PreferenceSpace, unit


def corpus(n: int = 40, d: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return unit(rng.normal(size=(n, d)) * np.linspace(1.0, 0.1, d) + 0.3)


def test_identity_changes_nothing_and_needs_no_fit():
    space = PreferenceSpace.identity(6)
    rows = corpus()
    assert np.array_equal(space.project(rows), rows)
    assert np.array_equal(space.lift(rows[0]), rows[0])
    assert (space.id, space.k, space.d) == ("identity-6", 6, 6)
    assert repr(space) == "<PreferenceSpace identity-6>"


def test_pca_is_centred_ordered_and_agrees_with_the_covariance():
    rows = corpus()
    items = PreferenceSpace.pca(rows, k=6).project(rows)
    assert np.allclose(items.mean(axis=0), 0.0, atol=1e-6)
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(rows.T, bias=True)))[::-1]
    assert np.allclose(items.var(axis=0), eigenvalues, atol=1e-6)


@given(st.integers(0, 100))
def test_lift_is_the_transpose_of_project(seed):
    rng = np.random.default_rng(seed)
    space = PreferenceSpace.pca(corpus(seed=seed), k=3)
    z, e = rng.normal(size=3), rng.normal(size=6)
    assert np.isclose(z @ space.project(e), space.lift(z) @ (e - space.mean))


def test_one_corpus_gives_one_space_whatever_the_order_of_its_rows():
    rows = corpus()
    one, other = PreferenceSpace.pca(rows, k=4), PreferenceSpace.pca(rows[::-1], k=4)
    assert np.allclose(one.matrix, other.matrix, atol=1e-5)


def test_json_round_trip_keeps_map_name_and_story():
    pca = PreferenceSpace.pca(corpus(), k=3)
    fitted = PreferenceSpace("fitted", pca.mean, pca.matrix, {"users": 7})
    for space in (PreferenceSpace.identity(6), pca, fitted):
        again = PreferenceSpace.from_json(json.loads(json.dumps(space.to_json())))
        assert (again.id, again.about) == (space.id, space.about)
        assert np.array_equal(again.project(corpus()), space.project(corpus()))


def test_the_name_changes_with_the_map_and_not_with_the_story():
    names = {PreferenceSpace.pca(corpus(seed=seed), k=k).id for seed in (0, 1) for k in (2, 3)}
    assert len(names) == 4
    zero, one = np.zeros(3), np.ones(3)
    assert PreferenceSpace("identity", one).id != PreferenceSpace("identity", zero).id
    assert PreferenceSpace("x", one, about={"a": 1}).id == PreferenceSpace("x", one).id


def test_what_is_not_a_space_is_corrupt():
    good = PreferenceSpace.pca(corpus(), k=3).to_json()
    for document in ({}, 3, {**good, "mean": "!"}, {**good, "d": "x"}, {**good, "about": [1]}):
        with pytest.raises(CorruptRecordError):
            PreferenceSpace.from_json(document)


def test_misuse_is_refused_in_plain_words():
    zero = np.zeros(3)
    for call, words in (
        (lambda: PreferenceSpace.identity(0), "at least 1"),
        (lambda: PreferenceSpace.pca(np.ones((1, 3))), "two embeddings"),
        (lambda: PreferenceSpace.pca(corpus(), k=7), "from 1 to 6"),
        (lambda: PreferenceSpace("x", np.zeros((2, 2))), "shape"),
        (lambda: PreferenceSpace("x", np.array([np.nan])), "finite"),
        (lambda: PreferenceSpace("x", zero, np.zeros((2, 4))), "matrix"),
    ):
        with pytest.raises(ConfigError, match=words):
            call()


def test_embeddings_of_another_length_are_refused():
    with pytest.raises(DimensionMismatchError, match="6 numbers, got 5"):
        PreferenceSpace.identity(6).project(np.zeros(5))
