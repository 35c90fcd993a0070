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


@pytest.mark.parametrize(
    ("source", "reward", "error"), [("", 0.5, ValueError), ("x", 2, ValueError), ("x", "1", TypeError)]
)
def test_a_signal_is_checked(source, reward, error):
    with pytest.raises(error):
        rewards.Signal(source, reward, "why")


def test_a_signal_is_plain_and_fixed():
    signal = rewards.Signal("tool", np.float32(0.5), "it worked")
    assert type(signal.reward) is float
    with pytest.raises(AttributeError):
        signal.reward = 1.0


def test_the_most_reliable_source_says_most():
    up, down = rewards.Signal("thumbs", 1.0, "thumbs up"), rewards.Signal("click", -1.0, "left at once")
    both = rewards.combine([down, up])
    assert (both.source, both.reason) == ("thumbs", "left at once; thumbs up")
    assert both.reward == pytest.approx(0.85 / 1.15)
    assert rewards.combine([down]) == down
    assert rewards.combine([]) is None


def test_a_source_of_ones_own_has_a_weight_and_a_weight_of_zero_counts_for_nothing():
    own, thumb = rewards.Signal("own", -1.0, "own"), rewards.Signal("thumbs", 1.0, "")
    assert rewards.combine([own, thumb]).reward == pytest.approx(0.7 / 1.3)
    assert rewards.combine([own, thumb], {"own": 0.0, "thumbs": 1.0}) == thumb
    assert rewards.combine([own], {"own": 0.0}) is None


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_impossible_reliabilities_are_refused(weight):
    with pytest.raises(ValueError, match="reliability"):
        rewards.combine([rewards.Signal("own", 1.0, "")], {"own": weight})


@given(st.lists(st.tuples(st.sampled_from(["thumbs", "tool", "own"]), st.floats(-1, 1))), st.floats(1e-300, 1e300))
def test_a_combined_reward_lies_between_its_parts(parts, weight):
    combined = rewards.combine([rewards.Signal(source, reward, "") for source, reward in parts], {"own": weight})
    values = [reward for _, reward in parts]
    if combined is None:
        assert not parts
    else:
        assert min(values) - 1e-9 <= combined.reward <= max(values) + 1e-9


def test_what_was_said_outright_is_more_reliable_than_what_was_only_seen():
    order = ["thumbs", "edit", "judge", "follow_up", "copy", "tool", "dwell", "click"]
    weights = [rewards.RELIABILITY[source] for source in order]
    assert weights == sorted(weights, reverse=True)
    assert rewards.RELIABILITY["rating"] == 1.0
    assert rewards.RELIABILITY["retry"] == rewards.RELIABILITY["copy"]
