"""Signals to rewards: the scale, the edges, the refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona import rewards
from langchain_persona.rewards import KeywordReward, Signal, combine, edit, thumb_in

# the scale -----------------------------------------------------------------------------------------------------------


def test_numbers_in_range_are_taken_as_floats():
    for good in (0, -1, 0.5, np.float32(0.5), np.int64(1)):
        value = rewards.validated(good)
        assert (type(value), value) == (float, float(good))


def test_what_is_no_reward_is_refused():
    for bad in (math.nan, math.inf, 1.0001, -2):
        with pytest.raises(ValueError, match="between -1"):
            rewards.validated(bad)
    for bad in ("1", None, True, 1j, np.array([0.5])):
        with pytest.raises(TypeError, match="number from -1"):
            rewards.validated(bad)


def test_what_the_user_says_is_stronger_than_what_is_seen():
    values = [rewards.thumbs(False), *(rewards.WORTH[one] for one in ("retry", "click", "copy")), rewards.thumbs(True)]
    assert values == sorted(values) == [-1.0, -0.5, 0.3, 0.5, 1.0]
    assert (rewards.tool_outcome(True), rewards.tool_outcome(False)) == (0.5, -0.5)
    order = ["thumbs", "edit", "judge", "follow_up", "copy", "tool", "dwell", "click"]
    weights = [rewards.RELIABILITY[source] for source in order]
    assert weights == sorted(weights, reverse=True)


def test_every_source_has_its_worth_or_its_function():
    functions = {"rating": "stars", "tool": "tool_outcome", "follow_up": "KeywordReward"}
    for source in rewards.RELIABILITY:
        assert source in rewards.WORTH or callable(getattr(rewards, functions.get(source, source)))


@given(st.floats(1, 5))
def test_stars_are_linear_and_in_range(rating):
    assert rewards.validated(rewards.stars(rating)) == pytest.approx((rating - 3) / 2)


def test_stars_outside_their_scale_are_refused():
    for rating, worst, best in ((0, 1, 5), (6, 1, 5), (math.nan, 1, 5), (1, 5, 1), (1, 1, 1)):
        with pytest.raises(ValueError, match="must lie between"):
            rewards.stars(rating, worst=worst, best=best)


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_dwell_grows_and_saturates(one, other):
    low, high = sorted((one, other))
    assert 0.0 <= rewards.dwell(low) <= rewards.dwell(high) <= 1.0 == rewards.dwell(math.inf)


def test_dwell_refuses_impossible_times():
    for seconds, half in ((-1, 30), (math.nan, 30), (1, 0), (1, math.nan)):
        with pytest.raises(ValueError, match="at least 0"):
            rewards.dwell(seconds, half=half)


def test_a_judge_says_yes_no_or_a_score():
    verdicts = {True: 1.0, "yes": 1.0, " No. ": -1.0, 10: 1.0, 0.0: -1.0, 5.0: 0.0, "7.5": 0.5}
    assert {verdict: rewards.judge(verdict) for verdict in verdicts} == verdicts
    assert rewards.judge(False) == -1.0
    assert rewards.judge("4", worst=1, best=5) == 0.5


def test_what_a_judge_cannot_mean_is_refused():
    for wrong in ("perhaps", "", "8/10", "nan", 11, None):
        with pytest.raises(ValueError, match="must"):
            rewards.judge(wrong)


# edits ---------------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abcd"), max_size=9))
def test_the_share_kept_is_that_of_the_longest_common_subsequence(old, new):
    row = [0] * (len(new) + 1)
    for one in old:
        above = row[:]
        for at, other in enumerate(new):
            row[at + 1] = above[at] + 1 if one == other else max(above[at + 1], row[at])
    share = 2 * row[-1] / (len(old) + len(new)) if old or new else 1.0
    assert edit(" ".join(old), " ".join(new)) == pytest.approx(2 * share - 1)


@given(st.text(max_size=30), st.text(max_size=30))
def test_edit_is_in_range_and_one_when_untouched(shown, accepted):
    assert -1.0 <= edit(shown, accepted) <= 1.0 == edit(shown, shown)


def test_spaces_are_no_edit_and_chinese_goes_by_character():
    assert edit("one  two\nthree", "one two three") == 1.0
    assert edit("abc", "xyz") == -1.0
    assert edit("我喜欢茶", "我喜欢水") == pytest.approx(0.5)


def test_a_long_edit_is_compared_by_its_beginning():
    for shown, accepted in (("。a" * 50_000, "a。" * 50_000), ("", "a" * 10**6)):
        assert -1.0 <= edit(shown, accepted) <= 1.0
    assert edit("x " * 10_000 + "one", "x " * 10_000 + "other") == 1.0


# messages ------------------------------------------------------------------------------------------------------------


def test_a_message_of_thumbs_alone_is_a_thumb():
    for message in ("👍", " 👍🏽\n", "👍👍 👍🏿", "👍\ufe0f"):
        assert (thumb_in(message), thumb_in(message.replace("👍", "👎"))) == (1.0, -1.0), message
    for message in ("", "  ", "👍 thanks", "ok 👍", "👍👎", "🏽", "👌", "+1", "👍" * 50_000 + "!"):
        assert thumb_in(message) is None, message


def test_the_keyword_rule_reads_whole_words_at_the_beginning():
    said = {
        "Thanks, that was great!": 1.0,
        "That’s not what I meant.": -1.0,
        "You didn't read it. Thanks anyway.": 0.0,
        "And a film for tomorrow?": None,
        "The greatest wrongdoer of all time": None,  # whole words only
        "": None,
        "word " * 200 + "thanks": None,  # a verdict comes first
    }
    assert {message: KeywordReward()("A film?", "Alien.", message) for message in said} == said


def test_the_keyword_rule_takes_words_of_ones_own():
    rule = KeywordReward(praise="danke|gut", complaint="falsch")
    assert [rule("", "", message) for message in ("Danke!", "Falsch.", "thanks")] == [1.0, -1.0, None]
    assert rule == KeywordReward("danke|gut", "falsch")


# signals -------------------------------------------------------------------------------------------------------------


def test_a_signal_is_checked_plain_and_fixed():
    signal = Signal("tool", np.float32(0.5), "it worked")
    assert type(signal.reward) is float
    with pytest.raises(AttributeError):
        signal.reward = 1.0
    for source, reward, error in (("", 0.5, ValueError), ("x", 2, ValueError), ("x", "1", TypeError)):
        with pytest.raises(error):
            Signal(source, reward, "why")


def test_the_most_reliable_source_says_most():
    up, down = Signal("thumbs", 1.0, "thumbs up"), Signal("click", -1.0, "left at once")
    both = combine([down, up])
    assert (both.source, both.reason) == ("thumbs", "left at once; thumbs up")
    assert both.reward == pytest.approx(0.85 / 1.15)
    assert combine([down]) == down
    assert combine([]) is None


def test_a_source_of_ones_own_has_a_weight():
    own, thumb = Signal("own", -1.0, "own"), Signal("thumbs", 1.0, "")
    assert combine([own, thumb]).reward == pytest.approx(0.7 / 1.3)
    assert [rewards.trust(source) for source in ("thumbs", "click", "survey")] == [1.0, 0.15, 0.3]


SOURCES = st.sampled_from([*rewards.RELIABILITY, "own"])
SIGNALS = st.lists(st.builds(Signal, SOURCES, st.floats(-1, 1), st.sampled_from(["", "one", "two"])), max_size=8)


@given(SIGNALS.flatmap(lambda parts: st.tuples(st.just(parts), st.permutations(parts))))
def test_a_combined_reward_lies_between_its_parts_whatever_their_order(orders):
    one, other = map(combine, orders)
    assert (one is None) is (other is None)
    if one is not None and other is not None:
        values = [part.reward for part in orders[0]]
        assert min(values) - 1e-9 <= one.reward <= max(values) + 1e-9
        assert one.reward == pytest.approx(other.reward, abs=1e-12)
        assert set(one.reason.split("; ")) == set(other.reason.split("; "))
