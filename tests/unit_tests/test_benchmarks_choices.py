"""PAHF embodied, scenarios with unlike numbers of options, and recovery after drift, against numbers found by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import embodied
from benchmarks.choices import Scene, chooser
from benchmarks.contenders import contenders
from benchmarks.life import _within, live
from benchmarks.measure_choices import _after_drift
from benchmarks.recovery import first_stay, recovery
from tests.benchmark_data import NAMES, write_home


@pytest.fixture
def home(tmp_path: Path) -> embodied.Embodied:
    return embodied.load(write_home(tmp_path))


def test_what_can_be_chosen(home: embodied.Embodied) -> None:
    assert home.users == NAMES[:2]
    assert (home.left_out, home.unanswered) == (8, 8)  # of 40: no options; what is wanted is not there
    fetch, _, put, sold_out = home.errands[:4]
    assert (fetch.options, fetch.wanted) == (("green tea", "cold juice", "dry toast"), 0)
    # what is to be put away is no place to put it
    assert (put.options, put.wanted) == (("top shelf", "low drawer"), 0)
    assert sold_out.wanted is None
    assert home.errands[-2].wanted == 1  # after the change
    assert fetch.request == "Bring me a drink? (Tired)"
    assert fetch.texts("object")[0] == "green tea"
    assert fetch.texts("context")[0] == "green tea (Tired)"


def test_what_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no PAHF embodied data: no folder with original_scenarios_A"):
        embodied.load(tmp_path)
    where = write_home(tmp_path) / "pahf" / "embodied"
    (where / "evolved_scenarios_A.json").write_text("{")
    with pytest.raises(ValueError, match=r"evolved_scenarios_A\.json is not JSON"):
        embodied.load(tmp_path)
    (where / "evolved_scenarios_A.json").write_text(json.dumps([{"user": "ana"}]))
    with pytest.raises(ValueError, match=r"evolved_scenarios_A\.json: scenario 0 cannot be read \(KeyError"):
        embodied.load(tmp_path)


def test_scenarios_with_unlike_numbers_of_options() -> None:
    rows = np.eye(3)
    scenes = [
        Scene("a", np.array([0.1, 0.2, 0.3]), rows, [0, 1, 2], [True, False, False]),
        Scene("a", np.array([-0.9, -0.8]), rows[:2], [0, 1], [True, False]),
        Scene("b", np.array([0.5, 0.4]), rows[:2], [0, 1], [True, True]),
    ]
    user = chooser("ana", {1: scenes, 2: scenes}, 3)
    assert user.matters(1).tolist() == [True, True, False]
    assert user.chance(1) == pytest.approx((1 / 3 + 1 / 2) / 2)
    items, rewards = user.rated(1)
    assert items.shape == (7, 3)
    assert rewards.tolist() == [1, -1, -1, 1, -1, 1, 1]
    plain = next(rule for rule in contenders(rows) if rule.id == "plain")
    life = live(user, plain, curves=True)
    # the third option is best and wrong; the second beats the first; an option that is not there never wins
    assert life.accepted[2].tolist() == [False, False, True]
    assert life.margin[2] == pytest.approx([0.1, 0.1, 0.1])
    assert set(life.curve) == {(2, 0), (2, 1), (2, 2), (2, 3), (4, 0)}
    assert life.within == {(2, 0): 0.0, (2, 1): 0.0, (2, 2): 0.0}  # of block "a"; in "b" no choice matters
    assert np.isnan(life.rates[4])


def test_within_a_block_by_hand() -> None:
    scenes = [Scene(block, np.array([0.1, 0.2]), np.eye(2), [0, 1], [True, False]) for block in ("a", "a", "b")]
    user = chooser("ana", {2: scenes}, 2)
    flags = [[False, False, False], [True, False, False], [True, True, False], [True, False, True], [True, True, True]]
    # lived: a, b, a, b; block a is tested before the first scenario and after the first and third, b after others
    found = _within(["a", "b", "a", "b"], user, 2, [np.array(row) for row in flags])
    # 0 scenarios: a [0, 0], b [0]; 1: a [1, 0], b [0]; 2: a [1, 0], b [1]
    assert found == pytest.approx({0: 0.0, 1: 1 / 3, 2: 2 / 3})


@pytest.mark.parametrize(
    ("curve", "target", "expected"),
    [
        ([0.4, 0.6, 0.5, 0.6], 0.55, 3),  # it was there at 1, and lost it again
        ([0.4, 0.6, 0.7, 0.6], 0.55, 1),
        ([0.6, 0.6], 0.6, 0),
        ([0.6, 0.5], 0.6, 2),  # never
    ],
)
def test_the_first_point_from_which_it_stays(curve: list[float], target: float, expected: int) -> None:
    assert first_stay(curve, target) == expected


def test_recovery_by_hand() -> None:
    curves = {
        # means .2, .4, .4, .5: .9 · .5 = .45 from 3 on; the paper's .5 from 3 on
        "paper": np.array([[0.2, 0.4, 0.4, 0.6], [0.2, 0.4, 0.4, 0.4]]),
        # means .1, .5, .9, 1: its own .9 from 2 on, the paper's from 1 on
        "ours": np.array([[0.1, 0.5, 0.9, 1.0], [0.1, 0.5, 0.9, 1.0]]),
        # flat: back at once, and never where the paper's rule is
        "plain": np.array([[0.3, 0.3, 0.3, 0.3], [0.3, 0.3, 0.3, 0.3]]),
    }
    found = recovery(curves, resamples=200)
    rules = found["rules"]
    assert [rules[rule]["own"]["mean"] for rule in curves] == [3, 2, 0]
    assert [rules[rule]["paper"]["mean"] for rule in curves] == [3, 1, 4]
    assert (rules["ours"]["before"], rules["ours"]["level"]) == pytest.approx((0.1, 1.0))
    assert found["ratios"] == {"ours": {"own": pytest.approx(2 / 3), "paper": pytest.approx(1 / 3)}}
    assert rules["ours"]["own_minus_paper"]["mean"] == -1
    assert rules["ours"]["own"]["low"] == rules["ours"]["own"]["high"] == 2
    assert (found["scenarios"], found["users"]) == (3, 2)


def test_recovery_of_one_user_and_of_nobody() -> None:
    one = {"paper": np.array([[0.5, 0.5], [np.nan, np.nan]])}
    found = recovery(one | {"ours": one["paper"]}, resamples=100)
    assert (found["users"], found["rules"]["ours"]["own"]["low"]) == (1, None)
    assert found["ratios"]["ours"] == {"own": None, "paper": None}
    assert recovery({"paper": np.full((2, 3), np.nan)}, resamples=100)["rules"] == {}


def test_who_has_fewer_scenarios_keeps_the_last_value() -> None:
    curve = {(2, 0): [0.0, 0.0], (4, 0): [0.1, 0.2], (4, 1): [0.3, float("nan")], (4, 2): [0.4, float("nan")]}
    assert _after_drift(curve).tolist() == [[0.1, 0.3, 0.4], [0.2, 0.2, 0.2]]
