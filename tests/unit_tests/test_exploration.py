"""Drawing what is shown: Gumbel-top-k, the chance of each candidate, the chance of a list."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.learning import gumbel_order, inclusion, list_log_probability, policy


def test_one_seed_gives_one_draw_and_another_another():
    logits = np.zeros(20)
    assert gumbel_order(logits, 5) == gumbel_order(logits, 5)
    assert gumbel_order(logits, 5) != gumbel_order(logits, 6)
    assert sorted(gumbel_order(logits, 5)) == list(range(20))


@given(st.integers(0, 1_000), st.integers(2, 6), st.floats(0.0, 6.0))
def test_the_chances_of_all_lists_sum_to_one_and_give_the_inclusion(seed, n, spread):
    logits = spread * np.random.default_rng(seed).normal(size=n)
    for k in range(1, n + 1):
        exact = np.zeros(n)
        for shown in permutations(range(n), k):
            exact[list(shown)] += np.exp(list_log_probability(logits, shown))
        assert exact.sum() == pytest.approx(k)
        assert inclusion(logits, k) == pytest.approx(exact, abs=1e-6, rel=1e-5)


def test_draws_come_as_often_as_they_should():
    logits = np.array([0.0, 1.0, 2.0, -1.0, 0.5])
    counts = np.zeros(5)
    for seed in range(4_000):
        counts[gumbel_order(logits, seed)[:2]] += 1
    expected = inclusion(logits, 2)
    assert counts / 4_000 == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(4_000))


def test_one_shown_is_the_softmax_and_all_shown_is_certain():
    logits = [0.3, -0.2, 1.0]
    assert inclusion(logits, 1) == pytest.approx(policy(logits))
    assert inclusion(logits, 3).tolist() == [1.0, 1.0, 1.0]
    assert inclusion(logits, 9).tolist() == [1.0, 1.0, 1.0]


@given(st.integers(0, 1_000), st.integers(2, 40), st.integers(1, 12), st.sampled_from([0.1, 5.0, 50.0, 5_000.0]))
def test_any_logits_give_chances_that_sum_to_the_count(seed, n, k, spread):
    logits = spread * np.random.default_rng(seed).normal(size=n)
    chances = inclusion(logits, k)
    assert chances.sum() == pytest.approx(min(k, n), rel=1e-4)
    assert np.all((chances >= 0.0) & (chances <= 1.0))
    order = np.argsort(logits)
    assert np.all(np.diff(chances[order]) >= -1e-6)
    assert np.isfinite(list_log_probability(logits, range(min(k, n))))
