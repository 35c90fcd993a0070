"""Signals to rewards: the scale, the edges, the refusals."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona import rewards
from langchain_persona.errors import ConfigError
from langchain_persona.signals import follow_up


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


@pytest.mark.parametrize("weight", [-1.0, 1.01, math.inf, math.nan])
def test_impossible_reliabilities_are_refused(weight):
    with pytest.raises(ValueError, match="reliability"):
        rewards.combine([rewards.Signal("own", 1.0, "")], {"own": weight})


SIGNALS = st.lists(
    st.builds(
        rewards.Signal,
        st.sampled_from([*rewards.RELIABILITY, "own"]),
        st.floats(-1, 1),
        st.sampled_from(["", "one", "two"]),
    ),
    max_size=8,
)
WEIGHTS = st.dictionaries(st.sampled_from([*rewards.RELIABILITY, "own"]), st.floats(0, 1))


@given(SIGNALS, st.floats(1e-300, 1))
def test_a_combined_reward_lies_between_its_parts(parts, weight):
    combined = rewards.combine(parts, {"own": weight})
    values = [part.reward for part in parts]
    if combined is None:
        assert not parts
    else:
        assert min(values) - 1e-9 <= combined.reward <= max(values) + 1e-9


@given(SIGNALS.flatmap(lambda parts: st.tuples(st.just(parts), st.permutations(parts))), WEIGHTS)
def test_the_order_of_signals_does_not_matter(orders, weights):
    one, other = (rewards.combine(parts, rewards.reliabilities(weights)) for parts in orders)
    assert (one is None) is (other is None)
    if one is not None and other is not None:
        assert one.reward == pytest.approx(other.reward, abs=1e-12)
        assert rewards.trust(one.source) >= 0.0
        assert set(one.reason.split("; ")) == set(other.reason.split("; "))


@given(SIGNALS, st.floats(1e-3, 1))
def test_only_the_ratios_of_the_weights_matter(parts, factor):
    scaled = {source: weight * factor for source, weight in rewards.RELIABILITY.items()} | {"own": 0.3 * factor}
    one, other = rewards.combine(parts), rewards.combine(parts, scaled)
    assert (one is None) is (other is None)
    if one is not None and other is not None:
        assert one.reward == pytest.approx(other.reward, abs=1e-9)


@given(WEIGHTS, st.sampled_from([*rewards.RELIABILITY, "own", "unheard of"]))
def test_trust_is_a_share(weights, source):
    assert 0.0 <= rewards.trust(source, rewards.reliabilities(weights)) <= 1.0


def test_own_weights_stand_beside_the_usual_ones():
    assert rewards.reliabilities() is rewards.RELIABILITY
    own = rewards.reliabilities({"follow_up": 0, "survey": 0.8})
    assert (own["follow_up"], own["survey"], own["thumbs"]) == (0.0, 0.8, 1.0)
    assert [rewards.trust(source, own) for source in ("thumbs", "survey", "else")] == [1.0, 0.8, 0.3]
    with pytest.raises(TypeError):
        own["thumbs"] = 0.0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"follow_up": -0.1}, "'follow_up' must be a number from 0 .*, got -0.1"),
        ({"survey": 2}, r"'survey' must be a number from 0 .* to 1 .*, got 2; to let it count more .* lower theirs"),
        ({"follow_up": math.nan}, "got nan"),
        ({"follow_up": math.inf}, "got inf"),
        ({"follow_up": "much"}, "got 'much'"),
        ({"follow_up": True}, "got True"),
        ({"": 1.0}, "must be a word"),
        ({1: 1.0}, "must be a word"),
        (0.5, "must be a mapping"),
    ],
)
def test_weights_that_cannot_work_are_refused_in_words(wrong, told):
    with pytest.raises(ConfigError, match=told):
        rewards.reliabilities(wrong)


@pytest.mark.parametrize(
    ("verdict", "reward"),
    [(True, 1.0), (False, -1.0), ("yes", 1.0), (" No. ", -1.0), (10, 1.0), (0, -1.0), (5.0, 0.0), ("7.5", 0.5)],
)
def test_a_judge_says_yes_no_or_a_score(verdict, reward):
    assert rewards.judge(verdict) == reward


@given(st.floats(-3, 8), st.floats(-3, 8))
def test_a_higher_score_is_no_worse(one, other):
    low, high = sorted((one, other))
    assert -1.0 <= rewards.judge(low, worst=-3, best=8) <= rewards.judge(high, worst=-3, best=8) <= 1.0


@pytest.mark.parametrize("wrong", ["perhaps", "", "8/10", math.nan, "nan", 11, -1, None, [1]])
def test_what_a_judge_cannot_mean_is_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        rewards.judge(wrong)


def test_what_is_seen_goes_from_a_no_to_a_yes():
    values = [rewards.thumbs(False), rewards.retry(), rewards.click(), rewards.copy(), rewards.thumbs(True)]
    assert values == sorted(values)


def test_the_next_message_is_one_of_the_family():
    assert rewards.follow_up is follow_up
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rewards.nothing


def test_every_source_has_its_function_and_every_name_its_documentation():
    functions = {"rating": "stars", "tool": "tool_outcome"}
    for source in rewards.RELIABILITY:
        function = functions.get(source, source)
        assert function in rewards.__all__
        assert f"`{function}`" in rewards.__doc__


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abcd"), max_size=9))
def test_the_share_kept_is_that_of_the_longest_common_subsequence(old, new):
    row = [0] * (len(new) + 1)
    for one in old:
        above = row[:]
        for at, other in enumerate(new):
            row[at + 1] = above[at] + 1 if one == other else max(above[at + 1], row[at])
    share = 2 * row[-1] / (len(old) + len(new)) if old or new else 1.0
    assert rewards.edit(" ".join(old), " ".join(new)) == pytest.approx(2 * share - 1)


@given(st.integers(0, 12), st.integers(0, 12))
def test_the_more_words_change_the_lower_the_reward(one, other):
    shown = [f"w{n}" for n in range(12)]
    few, many = sorted((one, other))
    values = [rewards.edit(" ".join(shown), " ".join(["new"] * count + shown[count:])) for count in (few, many)]
    assert values[0] >= values[1]


def test_a_long_edit_is_cheap_whatever_it_holds():
    begin = time.perf_counter()
    for shown, accepted in [("。a" * 50_000, "a。" * 50_000), ("x " * 50_000, "x y " * 50_000), ("", "a" * 10**6)]:
        assert -1.0 <= rewards.edit(shown, accepted) <= 1.0
    assert time.perf_counter() - begin < 2.0


def test_spaces_are_no_edit_and_chinese_goes_by_character():
    assert rewards.edit("one  two\nthree", "one two three") == 1.0
    assert rewards.edit("", " ") == 1.0
    assert rewards.edit("我喜欢茶", "我喜欢水") == pytest.approx(0.5)


def test_what_was_said_outright_is_more_reliable_than_what_was_only_seen():
    order = ["thumbs", "edit", "judge", "follow_up", "copy", "tool", "dwell", "click"]
    weights = [rewards.RELIABILITY[source] for source in order]
    assert weights == sorted(weights, reverse=True)
    assert rewards.RELIABILITY["rating"] == 1.0
    assert rewards.RELIABILITY["retry"] == rewards.RELIABILITY["copy"]
