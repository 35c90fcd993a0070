"""Arrays, bonus vectors and user vectors: law 2 (bounded), the folded query, base64, no aliasing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from langchain_persona.errors import CorruptRecordError, DimensionMismatchError
from langchain_persona.learning import PreferenceSpace, UserVectors, decode_vectors, encode_vectors, frozen, unit
from langchain_persona.learning.arrays import gram, solve

numbers = st.floats(-1e3, 1e3, width=32)
vectors = arrays(np.float64, 6, elements=numbers)


@given(vectors, vectors, st.floats(0, 2), st.floats(0, 3), st.integers(0, 2**32 - 1))
def test_law_2_no_unit_embedding_gets_a_bonus_above_the_cap(long, short, cap, strength, seed):
    rng = np.random.default_rng(seed)
    corpus = unit(rng.normal(size=(20, 6)))
    for space in (PreferenceSpace.identity(6), PreferenceSpace.pca(corpus, k=6)):
        user = UserVectors(long, short, beta_long=2.0, beta_short=5.0)
        bonus = user.bonus(space, max_bonus=cap, strength=strength)
        extremes = unit(np.vstack([rng.normal(size=(50, 6)), bonus.total, -bonus.total]))
        assert np.abs(sum(bonus.parts(extremes))).max() <= strength * cap * (1 + 1e-9) + 1e-12


@given(vectors, vectors)
def test_a_bonus_below_the_cap_is_the_effective_vector_and_splits_into_its_parts(long, short):
    user = UserVectors(long, short, beta_long=0.5, beta_short=0.25)
    bonus = user.bonus(PreferenceSpace.identity(6), max_bonus=float("inf"))
    assert np.allclose(bonus.total, user.effective)
    long_part, short_part, _ = bonus.parts(np.eye(6))
    assert np.allclose(long_part, 0.5 * long)
    assert np.allclose(short_part, 0.25 * short)


@given(vectors, vectors, vectors, st.floats(0.1, 3))
def test_the_inner_product_with_the_folded_query_is_the_personalised_score_up_to_a_constant(query, long, short, scale):
    bonus = UserVectors(long, short).bonus(PreferenceSpace.identity(6), max_bonus=1.0)
    rows = unit(np.random.default_rng(0).normal(size=(10, 6)))
    scored = rows @ query + scale * sum(bonus.parts(rows))
    assert np.allclose(rows @ (query + scale * bonus.total), scored, atol=1e-6)


def test_the_cap_shrinks_both_parts_by_one_factor_and_zero_switches_off():
    user, space = UserVectors(np.array([3.0, 0.0]), np.array([0.0, 4.0])), PreferenceSpace.identity(2)
    bonus = user.bonus(space, max_bonus=1.0)
    assert np.allclose([bonus.long, bonus.short], [[0.6, 0.0], [0.0, 0.8]])
    assert not user.bonus(space, max_bonus=0.0).total.any()
    assert not user.bonus(space, max_bonus=1.0, strength=0.0).total.any()


def test_a_cold_user_has_zero_vectors_and_no_bonus():
    user = UserVectors.cold(4)
    assert not user.bonus(PreferenceSpace.identity(4), max_bonus=1.0).total.any()


def test_vectors_cannot_be_changed_in_place_nor_through_the_array_they_came_from():
    source = np.ones(3)
    user = UserVectors(source, np.zeros(3))
    source[0] = 9.0
    assert user.long[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        user.long[0] = 5.0
    assert frozen(user.long) is user.long  # what is frozen already is not copied again


def test_shapes_that_do_not_agree_are_refused():
    with pytest.raises(DimensionMismatchError, match="one length"):
        UserVectors(np.zeros(3), np.zeros(2))
    with pytest.raises(DimensionMismatchError, match="rebuild"):
        UserVectors.cold(3).bonus(PreferenceSpace.identity(4), max_bonus=1.0)


def test_a_repr_shows_no_numbers_of_the_vectors():
    user = UserVectors(np.full(384, 0.123), np.zeros(384), count=3, space=PreferenceSpace.identity(384))
    assert "0.123" not in repr(user) + repr(user.bonus(user.space, max_bonus=1.0))
    assert "count=3, space=<PreferenceSpace identity-384>" in repr(user)


@given(arrays(np.float32, (3, 5), elements=st.floats(-1e6, 1e6, width=32)))
def test_base64_round_trip_is_exact_in_float32(array):
    assert np.array_equal(decode_vectors(encode_vectors(array), 5), array.astype(np.float64))


def test_what_is_not_a_vector_is_corrupt():
    for text in ("!", "AAAA", encode_vectors([1.0, 2.0, 3.0]), encode_vectors([np.nan, 0.0]), None):
        with pytest.raises(CorruptRecordError):
            decode_vectors(text, 2)


@given(arrays(np.float64, (4, 3), elements=numbers))
def test_unit_gives_length_one_and_leaves_zero_alone(array):
    lengths = np.linalg.norm(unit(array), axis=1)
    assert np.allclose(lengths, np.where(np.linalg.norm(array, axis=1) > 0, 1.0, 0.0), atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 128, 131])
def test_gram_and_solve_are_numpys(n):
    rng = np.random.default_rng(n)
    rows, right = rng.normal(size=(n, 24)), rng.normal(size=(n, 3))
    matrix = gram(rows) + 0.1 * np.eye(n)
    assert np.allclose(matrix, rows @ rows.T + 0.1 * np.eye(n), rtol=0, atol=1e-12)
    assert np.allclose(solve(matrix, right), np.linalg.solve(matrix, right), rtol=1e-9, atol=1e-9)
