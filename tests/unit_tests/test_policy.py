"""The retrieval policy and its gradient; the attribution gate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.errors import ConfigError
from langchain_persona.learning import attribution_gate, policy, unit


@given(st.integers(0, 10_000), st.floats(0.2, 3.0), st.floats(-1, 1), st.integers(1, 4))
def test_the_update_is_the_numerical_gradient_of_the_surrogate_objective(seed, tau, advantage, count):
    """`A/τ · g` against central differences of `A · mean log π_chosen(z)`, `π = softmax((s_0 + ⟨z, v⟩) / τ)`."""
    rng = np.random.default_rng(seed)
    items, base, z = unit(rng.normal(size=(8, 5))), rng.normal(size=8), rng.normal(size=5)
    chosen = list(rng.choice(8, size=count, replace=False))

    def objective(vector: np.ndarray) -> float:
        return advantage * float(np.log(policy(base + items @ vector, tau))[chosen].mean())

    step = 1e-6
    numerical = np.array([(objective(z + step * axis) - objective(z - step * axis)) / (2 * step) for axis in np.eye(5)])
    direction = items[chosen].mean(axis=0) - policy(base + items @ z, tau) @ items  # `chosen − expected` of an event
    assert np.allclose(advantage / tau * direction, numerical, atol=1e-6)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.floats(0.01, 100))
def test_probabilities_sum_to_one_and_keep_the_order(scores, tau):
    probabilities = policy(scores, tau)
    assert probabilities.sum() == pytest.approx(1.0)
    assert np.all(np.diff(probabilities[np.argsort(scores)]) >= -1e-12)


def test_huge_scores_do_not_overflow():
    assert policy([1e6, 0.0], 1e-3).tolist() == [1.0, 0.0]


def test_what_cannot_be_is_refused():
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match="temperature"):
            policy([1.0], temperature)


def test_the_gate_follows_the_table_of_the_paper():
    table = {
        (-1.0, 0.1): 0.9,
        (-0.51, 0.19): 0.9,
        (-1.0, 0.51): 0.2,
        (-1.0, 0.2): 0.5,
        (-1.0, 0.5): 0.5,
        (-0.5, 0.1): 0.5,
        (1.0, 0.41): 0.6,
        (1.0, 0.4): 0.3,
        (0.51, 0.0): 0.3,
        (0.5, 0.9): 0.5,
        (0.0, 0.9): 0.5,
    }
    assert {case: attribution_gate(*case) for case in table} == table
