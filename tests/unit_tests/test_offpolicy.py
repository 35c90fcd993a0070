"""Estimates of what another strength would have earned, against a simulation whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from langchain_persona.learning import Decision, estimate, gumbel_order, inclusion

USERS, EACH, N, K, TEMPERATURE = 30, 6, 10, 3, 0.05


class World:
    """Retrievals with candidates whose rewards are known; the bonus foretells them in part."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.user = np.repeat(np.arange(USERS), EACH)
        count = len(self.user)
        self.base = 0.05 * rng.normal(size=(count, N))
        reward = rng.normal(size=(count, N)) + 0.3 * rng.normal(size=USERS)[self.user, None]
        self.bonus = 0.05 * (0.7 * reward + 0.7 * rng.normal(size=(count, N)))
        self.reward = np.clip(0.4 * reward, -1.0, 1.0)

    def truth(self, strength: float, k: int = K) -> float:
        """Mean reward of what a strength shows, drawn at the temperature; strength 0 draws nothing."""
        if strength == 0.0:
            return self.best(0.0)
        logits = (self.base + strength * self.bonus) / TEMPERATURE
        values = [inclusion(row, k) @ reward / k for row, reward in zip(logits, self.reward, strict=True)]
        return float(np.mean(values))

    def best(self, strength: float) -> float:
        """Likewise of the best, without a draw."""
        order = np.argsort(-(self.base + strength * self.bonus), axis=1)[:, :K]
        return float(np.take_along_axis(self.reward, order, axis=1).mean())

    def log(self, seed: int, strength: float = 1.0, *, explore: float = TEMPERATURE) -> list[Decision]:
        """Every document shown is rated, each by a feedback of its own."""
        decisions = []
        for index, user in enumerate(self.user):
            scores = self.base[index] + strength * self.bonus[index]
            drawn = gumbel_order(scores / explore, 100_000 * seed + index) if explore else np.argsort(-scores)
            shown = tuple(int(place) for place in drawn[:K])
            for place in shown:
                one = Decision(
                    str(user), str(index), float(self.reward[index, place]), (place,), shown,
                    self.base[index], self.bonus[index], strength, explore,
                )  # fmt: skip
                decisions.append(one)
        return decisions


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_the_truth_is_that_of_running_the_other_strength(world):
    """The closed form that the estimates are held against, by drawing."""
    values = [np.mean([decision.reward for decision in world.log(seed, 2.0)]) for seed in range(30)]
    assert np.mean(values) == pytest.approx(world.truth(2.0), abs=4 * np.std(values) / np.sqrt(30))
    assert world.truth(2.0) > world.truth(1.0) > world.truth(0.0) + 0.05


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.0])
def test_the_estimate_of_one_log_holds_the_truth(world, strength):
    found = estimate(world.log(1), strength)
    truth = world.truth(strength)
    for value, (low, high) in ((found.ips, found.ips_interval), (found.snips, found.snips_interval)):
        assert low <= truth <= high
        assert low < value < high
        assert high - low < 0.3
    assert found.ratings == USERS * EACH * K
    assert 0 < found.effective <= found.ratings * (1 + 1e-9)


def test_over_seeds_the_estimate_is_unbiased_and_clipping_lowers_its_variance(world):
    logs = [world.log(seed) for seed in range(25)]
    for strength in (0.0, 2.0):
        free = np.array([estimate(log, strength, clip=float("inf")).ips for log in logs])
        clipped = np.array([estimate(log, strength, clip=2.0).ips for log in logs])
        own = np.array([estimate(log, strength).snips for log in logs])
        truth = world.truth(strength)
        assert free.mean() == pytest.approx(truth, abs=3.5 * free.std() / np.sqrt(len(logs)))
        assert own.mean() == pytest.approx(truth, abs=0.02)
        assert clipped.std() < free.std()


def test_the_intervals_hold_the_truth_about_as_often_as_they_say():
    truth, held = np.mean([World(2_000 + number).truth(0.0) for number in range(60)]), []
    for seed in range(30):
        one = World(1_000 + seed)  # users are the units: other users each time
        low, high = estimate(one.log(seed), 0.0).snips_interval
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.8


def test_the_logged_strength_is_estimated_by_the_plain_mean(world):
    log = world.log(3)
    found = estimate(log, 1.0)
    mean = np.mean([decision.reward for decision in log])
    assert found.ips == pytest.approx(mean)
    assert found.snips == pytest.approx(mean)
    assert found.effective == pytest.approx(len(log))
    assert found.unsupported == 0.0


def test_the_best_of_another_strength_and_another_count(world):
    logs = [world.log(seed) for seed in range(20)]
    best = [estimate(log, 1.0, deterministic=True, clip=float("inf")).ips for log in logs]
    assert np.mean(best) == pytest.approx(world.best(1.0), abs=0.03)
    fewer = [estimate(log, 2.0, k=1).snips for log in logs]
    assert np.mean(fewer) == pytest.approx(world.truth(2.0, k=1), abs=0.04)


def test_what_is_hardly_ever_shown_has_no_support(world):
    log = world.log(5)
    shares = [estimate(log, strength, clip=2.0).unsupported for strength in (1.0, 2.0, 5.0, 10.0)]
    assert shares == sorted(shares)
    assert shares[-1] > 0.2
    assert estimate(log, 10.0).effective < estimate(log, 2.0).effective


def test_without_a_draw_only_what_both_show_counts(world):
    log = world.log(0, explore=0.0)
    own = estimate(log, 1.0)
    assert (own.ips, own.snips, own.unsupported, own.ratings) == (None, None, None, 0)
    assert (own.coverage, own.agreement, own.replayed) == (1.0, 1.0, len(log))
    assert own.replay == pytest.approx(np.mean([decision.reward for decision in log]))
    other = estimate(log, 0.9)
    assert 0.0 < other.coverage < 1.0
    assert other.coverage < other.agreement < 1.0
    same = [one for one in log if set(one.best(0.9, None)) == set(one.shown)]
    assert other.replay == pytest.approx(np.mean([one.reward for one in same]))
    nothing = estimate(log[:1], 1.0, k=9)
    assert (nothing.replay, nothing.coverage) == (None, 0.0)


def test_one_reward_for_several_documents_counts_for_each_in_part():
    base, bonus = np.zeros(3), np.array([0.1, 0.0, 0.0])
    both = Decision("ana", "1", 1.0, (0, 1), (0, 1), base, bonus, 0.0, 0.1)
    single = [Decision("ana", "1", 1.0, (place,), (0, 1), base, bonus, 0.0, 0.1) for place in (0, 1)]
    assert estimate([both], 1.0).ips == pytest.approx(estimate(single, 1.0).ips)


def test_what_shadow_mode_knows_of_itself_is_not_computed_again():
    base, bonus = np.array([0.0, -0.1, -0.2]), np.array([0.0, 0.0, 0.15])
    shadow = Decision("ana", "1", 1.0, (0,), (0, 1), base, bonus, 1.0, 0.0, would=(0, 2))
    assert shadow.best(0.0, None) == (0, 1)
    assert shadow.best(1.0, None) == (0, 2)
    assert shadow.best(1.0, 1) == (0,)
    assert shadow.best(1.0, 3) == (0, 2, 1)
    assert shadow.best(2.0, None) == (2, 0)
    alike = Decision("ana", "1", 1.0, (0,), (0, 1), np.zeros(0), np.zeros(0), 1.0)
    assert alike.best(5.0, None) == (0, 1)
    assert alike.best(5.0, 3) == ()


def test_one_user_has_no_interval_and_no_weight_no_mean():
    base, bonus = np.zeros(2), np.array([0.1, 0.0])
    never = Decision("ana", "1", 1.0, (1,), (1,), base, bonus, 0.0, 0.1)
    found = estimate([never], 1.0, deterministic=True)
    assert (found.ips, found.snips, found.ips_interval, found.snips_interval) == (0.0, None, None, None)
    assert estimate([], 1.0).ips is None
    mixed = [never, Decision("bob", "2", 1.0, (0,), (0,), base, bonus, 0.0, 0.1)]
    found = estimate(mixed, 1.0, deterministic=True)
    assert (found.snips, found.snips_interval) == (1.0, None)  # all of it is one user's
    more = [*mixed, Decision("eve", "3", 0.0, (0,), (0,), base, bonus, 0.0, 0.1)]
    found = estimate(more, 1.0, deterministic=True)
    assert (found.snips, found.snips_interval) == (0.5, (0.0, 1.0))  # resamples without a weight are left out
