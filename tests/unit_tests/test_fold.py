"""The fold and its state: law 5 (order, duplicates, snapshots), bounds, JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.errors import ConfigError, CorruptRecordError, DimensionMismatchError
from langchain_persona.learning import Event, LearnerState, Reinforce, VARSConfig, fold
from langchain_persona.testing import random_events

CONFIGS = [VARSConfig(), VARSConfig.paper(), VARSConfig.simplified()]


@given(st.integers(0, 1_000), st.integers(0, 25), st.randoms(), st.sampled_from(CONFIGS))
def test_law_5_order_of_arrival_and_duplicates_do_not_matter(seed, count, random, config):
    events = random_events(seed, count)
    shuffled = events + events[: count // 2]
    random.shuffle(shuffled)
    assert fold(shuffled, config, k=8).to_json() == fold(events, config, k=8).to_json()


@given(st.integers(0, 1_000), st.integers(0, 20), st.sampled_from(CONFIGS))
def test_law_5_a_snapshot_anywhere_gives_the_same_bits(seed, cut, config):
    events = random_events(seed, 20)
    stored = json.loads(json.dumps(fold(events[:cut], config, k=8).to_json()))
    resumed = fold(events[cut:], config, k=8, start=LearnerState.from_json(stored), before=events[:cut])
    assert resumed.to_json() == fold(events, config, k=8).to_json()


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("cut", [0, 5, 20])
def test_events_of_gate_zero_change_nothing(config, cut):
    """A window's worth of them: none may push a rating out of what the regression remembers, nor start a session."""
    events = random_events(4, 20)
    silent = [replace(events[-1], id=f"n{i}", time=events[cut - 1].time + 1e-3 * i, gate=0.0) for i in range(128)]
    silent += [replace(events[-1], id=f"o{i}", time=1e9 + i, session=f"new-{i}", gate=0.0) for i in range(128)]
    alone = fold(events, config, k=8).to_json()
    assert fold([*events, *silent], config, k=8).to_json() == alone
    before = [*events[:cut], *silent[:128]]
    start = fold(before, config, k=8)
    assert fold([*events[cut:], *silent[128:]], config, k=8, start=start, before=before).to_json() == alone


def test_the_fold_of_nothing_is_cold():
    state = fold([], VARSConfig(), k=3)
    assert not state.long.any()
    assert state.count == 0


def test_only_the_latest_sessions_keep_a_short_term_vector():
    config = VARSConfig(rule=Reinforce(), keep_sessions=2)
    state = fold(random_events(0, 30, sessions=5), config, k=8)
    latest = list(dict.fromkeys(event.session for event in reversed(random_events(0, 30, sessions=5))))[:2]
    assert list(state.sessions) == latest[::-1]
    assert not state.short("s-unknown").any()
    assert not state.short(None).any()


def test_every_stored_vector_is_bounded():
    loud = VARSConfig(rule=Reinforce(eta_long=1e3, eta_short=1e3), max_norm=2.0)
    state = fold(random_events(3, 50), loud, k=8)
    assert np.linalg.norm(state.long) <= 2.0 + 1e-6
    assert max(np.linalg.norm(vector) for vector in state.sessions.values()) <= 2.0 + 1e-6


@given(st.integers(0, 100))
def test_json_round_trip_of_a_state(seed):
    state = fold(random_events(seed, 10), VARSConfig(), k=8)
    assert LearnerState.from_json(json.loads(json.dumps(state.to_json()))).to_json() == state.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"k": "x"},
        {"long": "!"},
        {"long": ""},
        {"sessions": {"a": 1}},
        {"sessions": 3},
        {"baseline": None},
        {"baseline": float("nan")},
        {"extra": [1]},
    ],
)
def test_a_broken_state_is_corrupt(change):
    with pytest.raises(CorruptRecordError):
        LearnerState.from_json({**fold(random_events(0, 3), VARSConfig(), k=8).to_json(), **change})


def test_a_state_of_vectors_that_do_not_agree_is_refused():
    with pytest.raises(DimensionMismatchError):
        LearnerState(np.zeros(3), sessions={"a": np.zeros(2)})


def test_a_state_cannot_be_changed_in_place():
    state = fold(random_events(0, 3), VARSConfig(), k=8)
    with pytest.raises(ValueError, match="read-only"):
        state.long[0] = 1.0
    with pytest.raises(TypeError):
        state.sessions["new"] = np.zeros(8)


def test_the_direction_of_an_event():
    assert Event(0.0, "f", "s", 1.0, 1.0, np.array([1.0, 0.0]), np.array([0.5, 0.5])).direction.tolist() == [
        0.5,
        -0.5,
    ]


def test_the_fingerprint_changes_with_what_changes_the_fold_and_with_nothing_else():
    plain = VARSConfig.paper()
    assert VARSConfig.paper().fingerprint == plain.fingerprint
    assert VARSConfig(rule=Reinforce(), candidates=3, strength=0.5, max_bonus=0.1).fingerprint == plain.fingerprint
    assert VARSConfig(rule=Reinforce(), temperature=0.5).fingerprint != plain.fingerprint
    assert VARSConfig(rule=Reinforce(decay=0.2)).fingerprint != plain.fingerprint
    assert VARSConfig(rule=Reinforce(), keep_sessions=3).fingerprint != plain.fingerprint


def test_the_state_of_a_user_stays_below_8_kilobytes_at_384_dimensions():
    state = fold(random_events(0, 60, k=384, sessions=7), VARSConfig(), k=384)
    assert len(json.dumps(state.to_json())) <= 8 * 1024


def test_a_bound_on_vectors_fits_the_precision_of_states():
    assert np.isfinite(np.float16(VARSConfig(max_norm=6e4).max_norm))
    with pytest.raises(ConfigError, match="max_norm"):
        VARSConfig(max_norm=7e4)
