"""The fold and its state: law 5 (order, duplicates, snapshots), bounds, JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.errors import CorruptRecordError, DimensionMismatchError
from langchain_persona.learning import LearnerState, Reinforce, VARSConfig, fold
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
    assert LearnerState.from_json(stored).to_json() == stored
    resumed = fold(events[cut:], config, k=8, start=LearnerState.from_json(stored), before=events[:cut])
    assert resumed.to_json() == fold(events, config, k=8).to_json()


def test_events_of_gate_zero_change_nothing():
    """A window's worth of them: none may push a rating out of what the regression remembers, nor start a session."""
    events = random_events(4, 20)
    silent = [replace(events[-1], id=f"n{i}", time=4.5 + 1e-3 * i, gate=0.0) for i in range(128)]
    silent += [replace(events[-1], id=f"o{i}", time=1e9 + i, session=f"new-{i}", gate=0.0) for i in range(128)]
    before = [*events[:5], *silent[:128]]
    for config in CONFIGS:
        alone = fold(events, config, k=8).to_json()
        assert fold([*events, *silent], config, k=8).to_json() == alone
        start = fold(before, config, k=8)
        assert fold([*events[5:], *silent[128:]], config, k=8, start=start, before=before).to_json() == alone


def test_the_fold_of_nothing_is_cold():
    state = fold([], VARSConfig(), k=3)
    assert (state.long.tolist(), state.count) == ([0.0, 0.0, 0.0], 0)


def test_only_the_latest_sessions_keep_a_short_term_vector():
    events = random_events(0, 30, sessions=5)
    state = fold(events, VARSConfig(rule=Reinforce(), keep_sessions=2), k=8)
    latest = list(dict.fromkeys(event.session for event in reversed(events)))[:2]
    assert list(state.sessions) == latest[::-1]
    assert state.short(latest[0]).any()
    for none in ("s-unknown", "", None):
        assert not state.short(none).any()


def test_feedback_without_a_session_moves_the_long_term_alone():
    state = fold([replace(event, session="") for event in random_events(0, 5)], VARSConfig(), k=8)
    assert state.long.any()
    assert not state.sessions


def test_every_stored_vector_is_bounded():
    loud = VARSConfig(rule=Reinforce(eta_long=1e3, eta_short=1e3), max_norm=2.0)
    state = fold(random_events(3, 50), loud, k=8)
    assert max(np.linalg.norm(vector) for vector in (state.long, *state.sessions.values())) <= 2.0 + 1e-6
    assert np.isfinite(np.float16(VARSConfig(max_norm=6e4).max_norm))


def test_a_broken_state_is_corrupt():
    good = fold(random_events(0, 3), VARSConfig(), k=8).to_json()
    broken = {"k": "x", "long": "!", "sessions": {"a": 1}, "baseline": None, "count": "", "extra": [1]}
    for name, value in [*broken.items(), ("long", ""), ("baseline", float("nan"))]:
        with pytest.raises(CorruptRecordError):
            LearnerState.from_json({**good, name: value})


def test_a_state_cannot_be_changed_in_place_and_its_vectors_agree():
    state = fold(random_events(0, 3), VARSConfig(), k=8)
    with pytest.raises(ValueError, match="read-only"):
        state.long[0] = 1.0
    with pytest.raises(TypeError):
        state.sessions["new"] = np.zeros(8)
    with pytest.raises(DimensionMismatchError):
        LearnerState(np.zeros(3), sessions={"a": np.zeros(2)})
    assert repr(state) == f"LearnerState(baseline={state.baseline}, count=3)"


def test_the_fingerprint_changes_with_what_changes_the_fold_and_with_nothing_else():
    plain = VARSConfig.paper()
    acting = VARSConfig(rule=Reinforce(), candidates=3, strength=0.5, max_bonus=0.1, spread=0.2, min_feedback=4)
    assert plain.fingerprint == VARSConfig.paper().fingerprint == acting.fingerprint
    for other in ({"temperature": 0.5}, {"rule": Reinforce(decay=0.2)}, {"keep_sessions": 3}, {"max_norm": 50.0}):
        assert replace(plain, **other).fingerprint != plain.fingerprint


def test_the_state_of_a_user_stays_below_8_kilobytes_at_384_dimensions():
    state = fold(random_events(0, 60, k=384, sessions=7), VARSConfig(), k=384)
    assert len(json.dumps(state.to_json())) <= 8 * 1024
