"""The scale of a bonus beside relevance and beside a reranker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.learning import moderation, scale_of, unit
from langchain_persona.learning.vectors import MIN_SPREAD


def test_the_scale_is_the_ratio_of_the_spreads():
    assert scale_of([-10.0, 0.0, 10.0], [0.4, 0.5, 0.6]) == pytest.approx(100.0)
    assert scale_of([0.4, 0.5, 0.6], [0.4, 0.5, 0.6]) == pytest.approx(1.0)
    # near duplicates make no huge scale
    assert scale_of([0.0, 1.0, 2.0], [0.5, 0.5, 0.5]) == pytest.approx(np.std([0.0, 1.0, 2.0]) / MIN_SPREAD)


def test_without_a_spread_to_speak_of_the_bonus_is_out_of_play():
    for scores in ([], [1.0], [0.0, 9.0], [0.3, 0.3, 0.3], [1e6 + 0.1] * 7):
        assert scale_of(scores, [0.1 * number for number in range(len(scores))]) == 0.0


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 30),
    gain=st.sampled_from([1e-3, 0.05, 1.0, 10.0, 1e3]),
    offset=st.floats(-100, 100),
)
def test_affine_scores_give_one_personalised_order(seed, n, gain, offset):
    rng = np.random.default_rng(seed)
    scores, cosines, bonus = rng.normal(size=(3, n))
    other = gain * scores + offset
    assert scale_of(other, cosines) == pytest.approx(gain * scale_of(scores, cosines), rel=1e-6)
    order = np.argsort(-(scores + scale_of(scores, cosines) * bonus))
    assert np.array_equal(np.argsort(-(other + scale_of(other, cosines) * bonus)), order)


@given(st.integers(0, 10_000), st.floats(0.01, 2.0), st.floats(0.01, 50.0))
def test_a_moderated_bonus_varies_by_at_most_its_share(seed, share, length):
    rng = np.random.default_rng(seed)
    rows, query, bonus = unit(rng.normal(size=(30, 8))), unit(rng.normal(size=8)), length * rng.normal(size=8)
    relevance, spread = float(np.std(rows @ query)), float(np.std(rows @ bonus))
    factor = moderation(relevance, spread, share)
    assert np.std(rows @ (factor * bonus)) <= share * relevance * (1 + 1e-9)
    assert factor == (1.0 if spread <= share * relevance else pytest.approx(share * relevance / spread))


def test_no_share_is_no_bonus():
    assert moderation(0.2, 0.4, 0.0) == 0.0
