"""Words in the ranking: the regression on statements, and the retriever that reads it from a user's cards."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from langchain_persona.errors import ConfigError
from langchain_persona.learning import Statements, VARSConfig, Words
from langchain_persona.memory import PersonaMemory
from langchain_persona.records import PreferenceCard
from langchain_persona.testing import HashEmbeddings
from tests.retrievals import (
    MODEL,
    QUERY,
    TEXTS,
    VECTORS,
    FailingStore,
    films,
    found,
    ids,
    over,
    record,
    scores,
    vector,
    why,
)

LOUD = Words(silent=-1.0, heard=-0.99)
"""Every statement counts, for embeddings that mean nothing."""

D = 8
SEEDS = st.integers(0, 2**32 - 1)


def said(seed: int, n: int) -> Statements:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, D))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Statements(
        rows.astype(np.float32), rng.choice([-1.0, 1.0], n), rng.uniform(0.1, 1, n), rng.uniform(0, 1e8, n)
    )


def some(statements: Statements, places: np.ndarray) -> Statements:
    return Statements(*(getattr(statements, name)[places] for name in ("vectors", "signs", "confidence", "since")))


@given(SEEDS, st.integers(1, 32))
def test_it_does_not_depend_on_the_order_and_stays_bounded(seed, n):
    statements, query = said(seed, n), vector(seed, D)
    total = statements.about(query, LOUD, 1e8).vector
    shuffled = some(statements, np.random.default_rng(seed).permutation(n))
    np.testing.assert_allclose(shuffled.about(query, LOUD, 1e8).vector, total, atol=1e-5)
    assert np.linalg.norm(total) <= np.sqrt(n / LOUD.ridge)  # where z = 0 would cost less
    assert abs(total @ query) < 1e-5  # how well a document answers is left to relevance


@given(SEEDS, st.integers(1, 200))
def test_repetition_is_no_louder_than_certainty(seed, times):
    one, query = said(seed, 1), vector(seed, D)
    rows = some(one, np.zeros(times, dtype=int)).about(query, LOUD, 1e8).vector
    apart = one.vectors[0] - (one.vectors[0] @ query) * query
    assert abs(rows @ apart) <= 1.0 + 1e-6


def test_of_a_like_and_a_dislike_of_one_thing_the_newer_counts():
    row, query = np.float32([[0.6, 0.8], [0.6, 0.8]]), np.array([1.0, 0.0])
    for signs in ([1.0, -1.0], [-1.0, 1.0]):
        both = Statements(row, np.array(signs), np.ones(2), np.array([0.0, 1.0]))
        alone = some(both, np.array([1]))
        assert np.allclose(both.about(query, Words(), 1.0).vector, alone.about(query, Words(), 1.0).vector)


def test_a_guess_does_not_silence_what_was_stated():
    row, query, signs = np.float32([[0.6, 0.8], [0.6, 0.8]]), np.array([1.0, 0.0]), np.array([1.0, -1.0])
    heard = Statements(row, signs, np.array([1.0, 0.2]), np.array([0.0, 1.0])).about(query, Words(), 1.0)
    assert heard.vector @ row[0] > 0.0


def test_a_like_and_a_dislike_of_one_thing_said_at_once_cancel():
    row = np.float32([[0.6, 0.8], [0.6, 0.8]])
    both = Statements(row, np.array([1.0, -1.0]), np.ones(2), np.zeros(2))
    assert np.abs(both.about(np.array([1.0, 0.0]), Words(), 0.0).vector).max() < 1e-9


def test_sure_and_recent_statements_count_more_and_pinned_ones_do_not_age():
    row, query, year = np.float32([[0.6, 0.8]]), np.array([1.0, 0.0]), 365 * 86_400.0

    def length(confidence: float, since: float) -> float:
        one = Statements(row, np.ones(1), np.array([confidence]), np.array([since]))
        return float(np.linalg.norm(one.about(query, Words(), year).vector))

    assert length(0.5, year) == pytest.approx(length(1.0, 0.0))  # a year old counts half
    assert length(0.5, year) < length(1.0, year) == length(1.0, np.inf)


def test_silent_below_a_cosine_and_off_at_weight_0():
    one = Statements(np.float32([[0.6, 0.8]]), np.ones(1), np.ones(1), np.zeros(1))
    assert one.about(np.array([1.0, 0.0]), Words(silent=0.6, heard=0.7), 0.0) is None
    assert one.about(np.array([1.0, 0.0]), Words(weight=0.0), 0.0) is None


def test_only_the_nearest_act():
    statements, query = said(1, 60), vector(2, D)
    heard = statements.about(query, Words(silent=-1.0, heard=-0.9, most=5), 0.0)
    assert set(heard.places) == set(np.argsort(-(statements.vectors @ query))[:5])
    rows = np.eye(D)
    np.testing.assert_allclose(heard.shares(rows, 5)[1].sum(axis=1), rows @ heard.vector, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"weight": -1.0}, {"silent": 0.5, "heard": 0.5}, {"most": 0}, {"ridge": 0.0}])
def test_wrong_knobs_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"Words\."):
        Words(**wrong)


def test_the_learner_refuses_other_words_and_folds_alike_whatever_they_are():
    with pytest.raises(ConfigError, match="Words"):
        VARSConfig(words=1.0)
    assert VARSConfig(words=Words(weight=0.0)).fingerprint == VARSConfig().fingerprint


# the retriever --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collection():
    return films()


def talkative(*texts: str, kind: str = "like", config: VARSConfig | None = None, store: Any = None) -> PersonaMemory:
    """A memory in which ana stated some texts; every one counts."""
    memory = PersonaMemory(store or InMemoryStore(), MODEL, config=config or VARSConfig(words=LOUD, spread=1e6))
    for text in texts:
        memory.remember("ana", PreferenceCard(text=text, kind=kind))
    return memory


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_sentence_moves_the_very_next_ranking_and_each_document_says_why(collection, mode):
    liked = TEXTS["d07"]
    retriever = over(collection, talkative(liked), k=5)
    docs = found(retriever, mode, user_id="ana")
    assert ids(docs).index("d07") < ids(found(retriever, mode, user_id="bob", k=20)).index("d07")
    assert (
        ids(found(retriever, mode, user_id="bob")) == ids(found(retriever, mode, user_id="ana", words=0.0)) != ids(docs)
    )
    for fact in why(docs):
        assert fact["score"] == fact["base"] + fact["long"] + fact["short"] + fact["words"]
        assert fact["abstained"] is None
    (card,) = why(docs)[0]["cards"]
    assert card["text"] == liked
    assert card["share"] == pytest.approx(why(docs)[0]["words"])
    assert card["id"] not in json.dumps(record(retriever, docs).to_json())  # a card must not outlive itself there
    assert liked in str(retriever.memory.explain("ana"))


def test_a_dislike_moves_away_and_facts_and_styles_do_not_act(collection):
    top = ids(over(collection, k=1).invoke(QUERY))[0]
    assert ids(over(collection, talkative(TEXTS[top], kind="dislike"), k=20).invoke(QUERY, user_id="ana"))[0] != top
    for kind in ("fact", "style"):
        silent = over(collection, talkative(TEXTS["d07"], kind=kind), k=5).invoke(QUERY, user_id="ana")
        assert scores(silent) == scores(over(collection, k=5).invoke(QUERY, user_id="ana"))


def test_without_cards_and_with_words_off_everything_is_as_it_was(collection):
    thumbs = over(collection, talkative(), k=6)
    told = over(collection, talkative(TEXTS["d07"]), k=6, words=0.0)
    for retriever in (thumbs, told):
        retriever.feedback(retriever.invoke(QUERY, user_id="ana")[3], 1.0, user_id="ana")
    off = over(collection, thumbs.memory, k=6, words=0.0)
    docs = [one.invoke(QUERY, user_id="ana") for one in (thumbs, told, off)]
    assert scores(docs[0]) == scores(docs[1]) == scores(docs[2])
    assert any(fact["long"] for fact in why(docs[0]))


def test_a_retired_a_held_back_and_an_erased_card_are_silent_at_once(collection):
    memory = talkative(TEXTS["d07"], TEXTS["d11"], TEXTS["d13"])
    retriever = over(collection, memory, k=20)
    plain = scores(retriever.invoke(QUERY, user_id="bob"))
    first, second, third = memory.preferences("ana")
    memory.retire("ana", first.id)
    memory.hold_back("ana", second.id)
    acting = {card["id"] for fact in why(retriever.invoke(QUERY, user_id="ana")) for card in fact["cards"]}
    assert acting == {third.id}
    memory.forget("ana", third.id)
    assert scores(retriever.invoke(QUERY, user_id="ana")) == plain


def test_a_thousand_cards_that_say_the_same_stay_below_the_cap_and_erasing_them_restores_all(collection):
    memory = talkative(config=VARSConfig(words=LOUD, spread=1e6, max_bonus=0.1))
    retriever = over(collection, memory, k=20)
    before = scores(retriever.invoke(QUERY, user_id="ana"))
    cards = [PreferenceCard(text=f"{TEXTS['d07']} {number}", kind="like") for number in range(1_000)]
    memory.cards.write("ana", memory.cards.with_vectors(cards, {card.text: VECTORS["d07"] for card in cards}))
    docs = retriever.invoke(QUERY, user_id="ana")
    assert 0.02 < max(abs(fact["words"]) for fact in why(docs)) <= 0.1 + 1e-9
    assert scores(docs) != before
    memory.forget("ana", [card.id for card in cards])
    assert scores(retriever.invoke(QUERY, user_id="ana")) == before


def test_words_are_moderated_like_thumbs(collection):
    free, kept = (
        np.ptp(
            [
                fact["words"]
                for fact in why(
                    over(collection, talkative(TEXTS["d07"], config=config), k=20).invoke(QUERY, user_id="ana")
                )
            ]
        )
        for config in (VARSConfig(words=LOUD, spread=1e6), VARSConfig(words=LOUD, spread=0.05))
    )
    assert 0.0 < kept < free / 2


def test_of_another_model_words_are_silent_and_say_so_once(collection, caplog):
    memory = PersonaMemory(InMemoryStore(), HashEmbeddings(24), config=VARSConfig(words=LOUD))
    memory.remember("ana", PreferenceCard(text=TEXTS["d07"], kind="like"))
    retriever = over(collection, memory, k=5)
    docs = [retriever.invoke(QUERY, user_id="ana") for _ in range(2)][1]
    assert scores(docs) == scores(retriever.invoke(QUERY, user_id="bob"))
    assert sum("do not act on rankings" in line.getMessage() for line in caplog.records) == 1


def test_cards_are_read_in_the_batch_of_the_ledger_and_own_cards_are_not_ranked_by_words(collection):
    memory = talkative(TEXTS["d07"], store=(store := FailingStore()))
    retriever = over(collection, memory, k=5)
    retriever.invoke(QUERY, user_id="ana")
    before = store.count
    retriever.invoke(QUERY, user_id="ana")
    assert store.count - before == 2  # what is known of the user, and the record
    assert all(not fact["cards"] for fact in why(memory.as_retriever(k=1).invoke(QUERY, user_id="ana")))


def test_a_like_that_was_kept_while_the_embedder_was_down_acts_after_the_next_retrieval(collection, monkeypatch):
    memory = PersonaMemory(InMemoryStore(), MODEL, config=VARSConfig(words=LOUD))
    with monkeypatch.context() as down:
        down.setattr(type(MODEL), "embed_documents", lambda self, texts: 1 / 0)
        memory.remember("ana", PreferenceCard(text=TEXTS["d07"], kind="like"))
    retriever = over(collection, memory, k=5)
    assert not any(fact["words"] for fact in why(retriever.invoke(QUERY, user_id="ana")))
    assert memory.drain()
    assert any(fact["words"] for fact in why(retriever.invoke(QUERY, user_id="ana")))
