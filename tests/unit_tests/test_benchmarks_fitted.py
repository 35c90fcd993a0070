"""Spaces fitted on other users: nobody is scored in a space that has seen them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.contenders import contenders
from benchmarks.fitted import GROUPS, cross_fitted, group
from langchain_persona import ConfigError, PreferenceSpace
from tests.benchmark_data import write_all
from tests.unit_tests.test_benchmarks import run

USERS = ("ana@example.com", "李雷", "0", "", " ", "../5", "a/b c", "user 7")


@dataclass(frozen=True)
class Ratings:
    items: Any
    rewards: Any


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[list[Ratings]]:
    """A fit that remembers on what it was called, and refuses fewer than one user."""
    seen: list[list[Ratings]] = []

    def fit(ledgers: Sequence[Ratings]) -> PreferenceSpace:
        if not ledgers:
            raise ConfigError("a fitted space needs at least 1 user, got 0; collect more feedback")
        seen.append(list(ledgers))
        d = ledgers[0].items.shape[1]
        return PreferenceSpace("fitted", np.full(d, 0.01 * len(seen)), 0.5 * np.eye(d))

    monkeypatch.setattr(PreferenceSpace, "fit", fit, raising=False)
    monkeypatch.setattr("benchmarks.fitted.UserRatings", Ratings)
    return seen


def test_groups_are_the_same_in_every_run() -> None:
    assert [group(user) for user in USERS] == [group(user) for user in USERS]
    assert {group(str(user)) for user in range(50)} == set(range(GROUPS))


def test_everybody_is_scored_in_a_space_of_the_others(fits: list[list[Ratings]]) -> None:
    ledgers = {user: (np.full((1, 2), float(place)), np.ones(1)) for place, user in enumerate(USERS)}
    found = cross_fitted(ledgers)
    assert found.spaces is not None
    assert found.refused is None
    assert sum(found.users) == (GROUPS - 1) * len(USERS)
    for place, user in enumerate(USERS):
        fitted_on = fits[found.spaces.index(found.of(user))]
        assert place not in {int(one.items[0, 0]) for one in fitted_on}
    rules = {rule.id: rule for rule in contenders(np.eye(2), found)}
    assert rules["ours_fitted"].space_of(USERS[0]) is rules["paper_fitted"].space_of(USERS[0]) is found.of(USERS[0])


def test_too_few_users_are_said_in_words(fits: list[list[Ratings]]) -> None:
    found = cross_fitted({"ana": (np.eye(2), np.ones(2))})
    assert (found.spaces, found.refused) == (None, "a fitted space needs at least 1 user, got 0")
    assert "ours_fitted" not in {rule.id for rule in contenders(np.eye(2), found)}


def test_who_has_rated_nothing_is_no_user(fits: list[list[Ratings]]) -> None:
    assert cross_fitted({"ana": (np.zeros((0, 2)), np.zeros(0))}).spaces is None
    assert not fits


@pytest.mark.slow
def test_the_whole_of_it(fits: list[list[Ratings]], tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("<!-- bench-learning -->\n<!-- /bench-learning -->\n")
    summary = tmp_path / "SUMMARY.md"
    summary.write_text("<!-- bench-learning-summary -->\n<!-- /bench-learning-summary -->\n")
    data = str(write_all(tmp_path, users=6))
    document = run(tmp_path, "--data", data, "--check", "--readme", str(page), "--summary", str(summary), seeds=1)
    assert [rule["id"] for rule in document["movielens"]["rules"]][-3:] == [
        "paper_fitted",
        "ours",
        "ours_fitted",
    ]
    films = document["movielens"]["parts"][0]
    assert films["reference"] == "ours_fitted"
    assert {"left": "ours", "right": "paper"}.items() <= films["pairs"][0].items()
    gap = films["values"]["ours"][1]["mean"] - films["values"]["paper"][1]["mean"]
    assert films["pairs"][0]["values"][1]["mean"] == pytest.approx(gap)
    shop = document["pahf"]["parts"][0]
    assert shop["reference"] == "ours"
    assert set(shop["recovery"]["ratios"]) == {"ours", "ours_fitted"}
    assert "Reference: ours, fitted space." in page.read_text()
    assert "*ours, fitted space − paper's rule, PCA-" in summary.read_text()
    assert [rule["differences"] for rule in document["check"]] == [0] * len(document["check"])
    assert "ours_fitted" in {rule["id"] for rule in document["check"]}
