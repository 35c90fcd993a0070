"""Signals to rewards: the scale, the edges, the refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona import rewards


@pytest.mark.parametrize("good", [0, 1, -1, 0.5, np.float32(0.5), np.float64(-1.0), np.int64(1)])
def test_numbers_in_range_are_taken(good):
    value = rewards.validated(good)
    assert type(value) is float
    assert value == float(good)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.0001, -2, np.float32("nan")])
def test_nan_and_out_of_range_are_value_errors(bad):
    with pytest.raises(ValueError, match="between -1"):
        rewards.validated(bad)


@pytest.mark.parametrize("bad", ["1", None, True, False, [1.0], 1j, np.array([0.5])])
def test_what_is_no_number_is_a_type_error(bad):
    with pytest.raises(TypeError, match="number from -1"):
        rewards.validated(bad)


@given(st.floats(1, 5))
def test_stars_are_linear_and_in_range(rating):
    assert rewards.validated(rewards.stars(rating)) == pytest.approx((rating - 3) / 2)


@pytest.mark.parametrize(("rating", "worst", "best"), [(0, 1, 5), (6, 1, 5), (math.nan, 1, 5), (1, 5, 1), (1, 1, 1)])
def test_stars_outside_their_scale_are_refused(rating, worst, best):
    with pytest.raises(ValueError, match=r"must lie"):
        rewards.stars(rating, worst=worst, best=best)


@given(st.text(max_size=30), st.text(max_size=30))
def test_edit_is_in_range_one_when_untouched_and_falls_with_changes(shown, accepted):
    assert -1.0 <= rewards.edit(shown, accepted) <= 1.0
    assert rewards.edit(shown, shown) == 1.0


def test_edit_orders_small_before_large_changes():
    shown = "The quick brown fox jumps over the lazy dog."
    assert rewards.edit(shown, shown.replace("quick", "slow")) > rewards.edit(shown, "Something else entirely!")


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_dwell_grows_and_saturates(one, other):
    low, high = sorted((one, other))
    assert 0.0 <= rewards.dwell(low) <= rewards.dwell(high) <= 1.0
    assert rewards.dwell(math.inf) == 1.0


@pytest.mark.parametrize(("seconds", "half"), [(-1, 30), (math.nan, 30), (1, 0), (1, math.nan)])
def test_dwell_refuses_impossible_times(seconds, half):
    with pytest.raises(ValueError, match="at least 0"):
        rewards.dwell(seconds, half=half)


def test_what_the_user_says_counts_more_than_what_can_be_seen():
    assert rewards.thumbs(True) > rewards.tool_outcome(True) > rewards.click() > 0
    assert rewards.thumbs(False) < rewards.tool_outcome(False) < 0
