"""Samples of a collection: how long they are kept, how many, and how much room they take."""

from __future__ import annotations

import time as real_time
import uuid
from types import SimpleNamespace

import chromadb
import numpy as np
import pytest

from langchain_persona import samples
from langchain_persona.effects import run
from langchain_persona.memo import Memo
from langchain_persona.samples import SAMPLE_SECONDS, SHORT_SECONDS, Samples, sample_blocks


@pytest.fixture
def clock(monkeypatch):
    now = [real_time.monotonic()]
    monkeypatch.setattr(samples, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def made(rows: int) -> chromadb.Collection:
    collection = chromadb.EphemeralClient().create_collection(f"s{uuid.uuid4().hex}", embedding_function=None)
    if rows:
        add(collection, rows)
    return collection


def add(collection: chromadb.Collection, rows: int) -> None:
    kinds = [{"kind": "even" if number % 2 == 0 else "odd"} for number in range(rows)]
    collection.add(ids=list(map(str, range(rows))), embeddings=np.ones((rows, 3)), metadatas=kinds)


@pytest.mark.parametrize("before", [0, 5])
def test_a_sample_of_a_collection_that_is_being_filled_is_soon_drawn_again(clock, before):
    collection, kept = made(before), Samples()
    assert len(run(kept.of(lambda: collection, 128, None))) == before
    add(collection, 200)
    assert len(run(kept.of(lambda: collection, 128, None))) == before
    clock[0] += SHORT_SECONDS
    whole = run(kept.of(lambda: collection, 128, None))
    assert len(whole) == 128
    clock[0] += SAMPLE_SECONDS - 1.0
    assert run(kept.of(lambda: collection, 128, None)) is whole


def test_each_filter_has_its_own(clock):
    collection, kept = made(8), Samples()
    assert len(run(kept.of(lambda: collection, 8, {"kind": "even"}))) == 4
    assert len(run(kept.of(lambda: collection, 8, None))) == 8


def test_samples_take_no_more_than_their_room(monkeypatch):
    drawn = []
    monkeypatch.setattr(samples, "ROOM", 3 * 8 * 1_000)
    monkeypatch.setattr(samples, "_drawn", lambda *_: drawn.append(1) or np.zeros((8, 125)))
    kept = Samples()
    for number in (0, 1, 2, 0, 3, 0, 2, 1):
        run(kept.of(lambda: None, 8, {"user": number}))
    assert len(drawn) == 5  # 3 takes the place of 1, the least recently used, and 1 that of 3


def test_a_memo_forgets_what_it_replaces():
    memo = Memo[str](room=6, weigh=len)
    for value in ("aaaa", "bb", "cccc"):
        memo.put("key", None, value, 0.0)
    memo.put("other", None, "dd", 0.0)
    assert (memo.latest("key"), memo.latest("other")) == ("cccc", "dd")
    memo.put("third", None, "e", 0.0)
    assert (memo.latest("key"), memo.latest("other")) == (None, "dd")


def test_blocks_are_as_far_apart_as_can_be():
    assert sample_blocks(0, 128) == []
