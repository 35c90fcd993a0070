"""Preference cards: the text in the store, the vector in Chroma, exactly the user's own, never stale, never lost."""

from __future__ import annotations

import json
import logging
import uuid
from typing import Any

import chromadb
import numpy as np
import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from langchain_persona.cards import Cards
from langchain_persona.effects import run
from langchain_persona.errors import ConfigError, DimensionMismatchError
from langchain_persona.identity import label
from langchain_persona.memory import PersonaMemory
from langchain_persona.records import PreferenceCard
from langchain_persona.testing import HashEmbeddings

MODEL = HashEmbeddings(32)


class CountingEmbeddings(HashEmbeddings):
    """Remembers what it embedded."""

    def __init__(self, dimension: int = 32) -> None:
        super().__init__(dimension)
        self.embedded: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded += texts
        return super().embed_documents(texts)


class Moody:
    """A collection that can be told to fail."""

    def __init__(self, collection: chromadb.Collection) -> None:
        self.collection = collection
        self.failing: set[str] = set()
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            if name in self.failing:
                raise chromadb.errors.InternalError("the disk is full")
            return getattr(self.collection, name)(*arguments, **options)

        return call


def empty() -> chromadb.Collection:
    return chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)


@pytest.fixture
def collection() -> chromadb.Collection:
    return empty()


@pytest.fixture(params=["memory", "sqlite"])
def store(request):
    if request.param == "memory":
        yield InMemoryStore()
    else:
        with SqliteStore.from_conn_string(":memory:") as store:
            store.setup()
            yield store


def over(store: BaseStore, collection: Any, embeddings: Any = MODEL) -> PersonaMemory:
    return PersonaMemory(store=store, cards=collection, embeddings=embeddings)


@pytest.fixture
def memory(store, collection) -> PersonaMemory:
    return over(store, collection)


def notes(memory: PersonaMemory, user: object = "ana", query: str = "drinks", k: int = 10, **options: Any) -> list[str]:
    return [doc.page_content for doc in memory.as_retriever(k=k).invoke(query, user_id=user, **options)]


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# add, get, search -------------------------------------------------------------------------------------------


def test_a_card_is_kept_and_found(memory):
    card = memory.remember("ana", "  Drinks her coffee black.  ")
    assert card.note == "Drinks her coffee black."
    assert memory.preferences("ana") == [card]
    (doc,) = memory.as_retriever(k=5).invoke("coffee", user_id="ana")
    assert (doc.id, doc.page_content, doc.metadata["kind"]) == (card.id, card.note, "preference")
    assert "evidence" not in doc.metadata


async def test_the_async_twins():
    memory = over(InMemoryStore(), empty())
    first = await memory.aremember("ana", "likes tea")
    second = await memory.asupersede("ana", first.id, "likes coffee")
    assert await memory.apreferences("ana") == [second]
    assert (await memory.apin("ana", second.id)).pinned
    assert (await memory.ahold_back("ana", second.id)).held_back
    assert await memory.apreferences("ana") == []
    await memory.ahold_back("ana", second.id, False)
    docs = await memory.as_retriever(k=3).ainvoke("coffee", user_id="ana")
    assert [doc.id for doc in docs] == [second.id]
    await memory.aforget("ana", second.id)  # and what it replaced, which tells it too
    assert await memory.apreferences("ana", all=True) == []


def test_a_whole_card_keeps_its_fields(memory):
    card = PreferenceCard(
        note="No peanuts!", condition="food is suggested", action="leave out nuts", kind="avoid", always=True
    )
    assert memory.remember("ana", card) == card
    assert memory.preferences("ana") == [card]


def test_the_search_is_exact(memory):
    rng = np.random.default_rng(0)
    words = ["tea", "coffee", "film", "book", "train", "walk", "rain", "sun"]
    texts = [" ".join(rng.choice(words, 4)) + f" {number}" for number in range(60)]
    for text in texts:
        memory.remember("ana", text)
        memory.remember("bo", text + " other")
    query = "tea film"
    vectors = np.asarray(MODEL.embed_documents(texts))
    scores = vectors @ np.asarray(MODEL.embed_query(query))
    docs = memory.as_retriever(k=7).invoke(query, user_id="ana")
    assert [doc.metadata["persona"]["base"] for doc in docs] == pytest.approx(
        sorted(scores, reverse=True)[:7], abs=1e-6
    )
    assert all(
        scores[texts.index(doc.page_content)] == pytest.approx(doc.metadata["persona"]["base"], abs=1e-6)
        for doc in docs
    )


def test_law_4_cards_are_searched_per_user(memory):
    users = ["user-1", "user-10", "a@b.c", "..", "🦉", "x" * 2_000, "7"]
    for user in users:
        memory.remember(user, f"a secret of {user[:10]}")
    for user in users:
        assert notes(memory, user, "a secret") == [f"a secret of {user[:10]}"]
        assert [card.note for card in memory.preferences(user)] == [f"a secret of {user[:10]}"]
    assert notes(memory, 7, "a secret") == ["a secret of 7"]
    assert notes(memory, "stranger", "a secret") == []


def test_law_4_one_card_id_under_two_users_stays_two_cards(memory):
    for user in ("ana", "bo"):
        memory.remember(user, PreferenceCard(id="same", note=f"likes {user}"))
    memory.forget("bo", "same")
    assert notes(memory, "ana") == ["likes ana"]
    assert notes(memory, "bo") == []


@pytest.mark.parametrize("nobody", ["", None, "  "])
def test_law_4_the_anonymous_have_no_cards(collection, nobody):
    store = InMemoryStore()
    memory = over(store, collection)
    card = memory.remember(nobody, "a secret")
    assert card.note == "a secret"
    assert memory.preferences(nobody) == []
    assert notes(memory, nobody) == []
    memory.forget(nobody, card.id)
    for change in (memory.pin, memory.hold_back):
        with pytest.raises(KeyError, match="anonymous"):
            change(nobody, card.id)
    with pytest.raises(KeyError, match="anonymous"):
        memory.supersede(nobody, card.id, "new")
    assert store.search(()) == []
    assert collection.count() == 0


# change -----------------------------------------------------------------------------------------------------


def test_superseding_keeps_the_old_card_readable(memory):
    old = memory.remember("ana", "likes tea")
    new = memory.supersede("ana", old.id, "likes coffee")
    assert memory.preferences("ana") == [new]
    assert notes(memory) == ["likes coffee"]
    kept, latest = memory.preferences("ana", all=True)
    assert (kept.id, kept.note, kept.superseded_by, kept.active) == (old.id, "likes tea", new.id, False)
    assert latest == new


def test_superseding_with_a_changed_copy_keeps_the_old_text_too(memory):
    old = memory.remember("ana", "likes tea")
    new = memory.supersede("ana", old.id, old.model_copy(update={"note": "likes coffee"}))
    assert new.id != old.id
    assert {card.note for card in memory.preferences("ana", all=True)} == {"likes tea", "likes coffee"}
    assert notes(memory) == ["likes coffee"]


def test_pinning(memory):
    card = memory.remember("ana", "likes tea")
    assert memory.pin("ana", card.id).pinned
    assert memory.preferences("ana")[0].pinned
    assert not memory.pin("ana", card.id, False).pinned
    assert not memory.preferences("ana")[0].pinned


def test_holding_back(memory):
    card = memory.remember("ana", "likes tea")
    assert notes(memory) == ["likes tea"]
    memory.hold_back("ana", card.id)
    assert notes(memory) == []
    assert memory.preferences("ana") == []
    assert [found.held_back for found in memory.preferences("ana", all=True)] == [True]
    memory.hold_back("ana", card.id, False)
    assert notes(memory) == ["likes tea"]


def test_forgetting_takes_text_and_vector(store, collection):
    memory = over(store, collection)
    card, kept = memory.remember("ana", "a secret wish"), memory.remember("ana", "likes tea")
    assert "a secret wish" in notes(memory)
    memory.forget("ana", card.id)
    assert notes(memory) == ["likes tea"]
    assert memory.preferences("ana", all=True) == [kept]
    assert collection.count() == 1
    assert all("secret" not in json.dumps(item.value) for item in store.search(("persona",), limit=1_000))
    memory.forget("ana", card.id)  # once more is no error
    memory.forget("ana", "never was")


@pytest.mark.parametrize("call", ["pin", "hold_back", "supersede"])
def test_changing_a_card_that_is_not_there(memory, call):
    memory.remember("bo", PreferenceCard(id="x", note="likes tea"))
    arguments = ["new text"] if call == "supersede" else []
    with pytest.raises(KeyError, match="no card 'x'"):
        getattr(memory, call)("ana", "x", *arguments)
    assert memory.preferences("ana", all=True) == []


# several writers, cache -------------------------------------------------------------------------------------


def test_a_card_of_another_process_is_seen_by_the_next_read(store, collection):
    one, other = over(store, collection), over(store, collection)
    assert notes(one) == []
    card = other.remember("ana", "likes tea")
    assert notes(one) == ["likes tea"]
    new = other.supersede("ana", card.id, "likes coffee")
    assert notes(one) == ["likes coffee"]
    other.hold_back("ana", new.id)
    assert notes(one) == []
    other.hold_back("ana", new.id, False)
    assert notes(one) == ["likes coffee"]
    other.forget("ana", new.id)
    assert notes(one) == []


def test_an_unchanged_user_is_read_from_the_cache(collection):
    moody, model = Moody(collection), CountingEmbeddings()
    memory = over(InMemoryStore(), moody, model)
    memory.remember("ana", "likes tea")
    assert notes(memory) == ["likes tea"]
    moody.calls.clear()
    model.embedded.clear()
    assert notes(memory) == ["likes tea"]
    assert moody.calls == []
    assert model.embedded == []


def test_the_cache_is_bounded():
    moody = Moody(empty())
    cards = Cards(InMemoryStore(), ("persona",), moody, MODEL, cached_users=2)
    for user in "abc":
        run(cards.put(user, PreferenceCard(note=f"of {user}")))
        run(cards.matrix(user))
    moody.calls.clear()
    for user in "bc":
        run(cards.matrix(user))
    assert moody.calls == []
    assert [card.note for card in run(cards.matrix("a")).cards] == ["of a"]
    assert moody.calls == ["get"]


def test_a_changed_text_gets_a_new_vector(collection):
    model = CountingEmbeddings()
    memory = over(InMemoryStore(), collection, model)
    card = memory.remember("ana", "likes tea")
    memory.remember("ana", card.model_copy(update={"note": "likes coffee"}))
    (doc,) = memory.as_retriever(k=1).invoke("likes coffee", user_id="ana")
    assert doc.metadata["persona"]["base"] == pytest.approx(1.0, abs=1e-6)
    assert model.embedded == ["likes tea", "likes coffee"]


def test_a_changed_flag_keeps_the_vector_right(memory):
    card = memory.remember("ana", "likes coffee")
    memory.pin("ana", card.id)
    (doc,) = memory.as_retriever(k=1).invoke("likes coffee", user_id="ana")
    assert doc.metadata["persona"]["base"] == pytest.approx(1.0, abs=1e-6)
    assert doc.metadata["pinned"] is True


# Chroma and its troubles ------------------------------------------------------------------------------------


def test_no_text_is_ever_in_chroma(memory, collection):
    card = memory.remember(
        "ana@example.com", PreferenceCard(note="a secret", condition="secret if", action="secret then")
    )
    memory.supersede("ana@example.com", card.id, "another secret")
    notes(memory, "ana@example.com")
    everything = collection.get(include=["documents", "metadatas", "embeddings"])
    assert everything["documents"] == [None, None]
    assert "secret" not in json.dumps([everything["ids"], everything["metadatas"]])
    assert {tuple(sorted(facts)) for facts in everything["metadatas"]} == {("digest", "user_id")}


def test_a_vector_missing_in_chroma_is_made_again(store, collection):
    memory = over(store, collection)
    memory.remember("ana", "likes tea")
    memory.remember("ana", "likes coffee")
    collection.delete(ids=collection.get()["ids"])
    model = CountingEmbeddings()
    assert set(notes(over(store, collection, model))) == {"likes tea", "likes coffee"}
    assert sorted(model.embedded) == ["likes coffee", "likes tea"]
    assert collection.count() == 2


def test_a_vector_of_another_model_is_made_again(store, collection):
    over(store, collection).remember("ana", "likes tea")

    class Other(HashEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            return super().embed_query(text)[::-1]

    (doc,) = over(store, collection, Other(32)).as_retriever(k=1).invoke("likes tea", user_id="ana")
    assert doc.metadata["persona"]["base"] == pytest.approx(1.0, abs=1e-6)


def test_law_5_when_the_vector_cannot_be_written_the_text_is_kept_and_found_later(store, collection, caplog):
    moody = Moody(collection)
    memory = over(store, moody)
    memory.remember("ana", "likes tea")
    notes(memory)
    moody.failing = {"upsert"}
    caplog.clear()
    card = memory.remember("ana", "likes coffee")
    assert len(warnings_in(caplog)) == 1
    assert card in memory.preferences("ana")
    moody.failing = set()
    assert set(notes(memory)) == {"likes tea", "likes coffee"}
    assert set(notes(over(store, collection))) == {"likes tea", "likes coffee"}
    assert collection.count() == 2


@pytest.mark.parametrize("failing", ["get", "upsert"])
def test_law_3_a_read_without_chroma_gives_nothing_and_one_warning(collection, caplog, failing):
    moody = Moody(collection)
    memory = over(InMemoryStore(), moody)
    memory.remember("ana", "likes tea")
    collection.delete(ids=collection.get()["ids"])
    moody.failing = {failing}
    caplog.clear()
    assert notes(memory) == []
    assert len(warnings_in(caplog)) == 1
    moody.failing = set()
    assert notes(memory) == ["likes tea"]


def test_forgetting_fails_loudly_when_the_vector_cannot_be_deleted_and_can_be_repeated(collection):
    moody = Moody(collection)
    memory = over(InMemoryStore(), moody)
    card = memory.remember("ana", "likes tea")
    moody.failing = {"delete"}
    with pytest.raises(Exception, match="disk"):
        memory.forget("ana", card.id)
    assert memory.preferences("ana") == []  # the text is gone already
    assert collection.count() == 1
    moody.failing = set()
    memory.forget("ana", card.id)
    assert memory.preferences("ana", all=True) == []
    assert collection.count() == 0


def test_a_corrupt_card_costs_itself_and_one_warning(collection, caplog):
    store = InMemoryStore()
    memory = over(store, collection)
    memory.remember("ana", PreferenceCard(id="x", note="likes tea"))
    memory.remember("ana", "likes coffee")
    store.put(("persona", label("ana"), "cards"), label("x", prefix="c"), {"note": 3})
    assert notes(over(store, collection)) == ["likes coffee"]
    assert len(warnings_in(caplog)) == 1
    assert "tea" not in caplog.text


# filters and misuse -----------------------------------------------------------------------------------------


def test_filters_compare_fields(memory):
    memory.remember("ana", PreferenceCard(note="drinks tea", always=True))
    memory.remember("ana", PreferenceCard(note="no drinks with milk", kind="avoid"))
    memory.remember("ana", PreferenceCard(note="no peanuts", kind="avoid", pinned=True))
    assert notes(memory, filter={"kind": "avoid"}) == ["no drinks with milk", "no peanuts"]
    assert notes(memory, filter={"kind": "avoid", "pinned": True}) == ["no peanuts"]
    assert notes(memory, filter={"always": True}) == ["drinks tea"]
    assert notes(memory, filter={"kind": "fact"}) == []
    assert len(notes(memory, filter={})) == 3
    assert [
        doc.page_content for doc in memory.as_retriever(filter={"kind": "avoid"}, k=1).invoke("drinks", user_id="ana")
    ] == ["no drinks with milk"]
    with pytest.raises(ConfigError, match="'knd'"):
        notes(memory, filter={"knd": "avoid"})


@pytest.mark.parametrize("wrong", ["", "   ", "\n", None, 3, {"note": "x"}, "x" * 4_001])
@pytest.mark.parametrize("call", ["remember", "supersede"])
def test_texts_that_cannot_be_a_card(memory, wrong, call):
    kept = memory.remember("ana", "x" * 4_000)
    with pytest.raises(ConfigError, match="card"):
        memory.remember("ana", wrong) if call == "remember" else memory.supersede("ana", kept.id, wrong)
    assert memory.preferences("ana", all=True) == [kept]


def test_a_collection_of_another_dimension_is_refused(collection):
    collection.add(ids=["x"], embeddings=[[0.1] * 8])
    memory = over(InMemoryStore(), collection)
    with pytest.raises(DimensionMismatchError, match="32"):
        memory.remember("ana", "likes tea")
    assert memory.preferences("ana") == []  # refused is not stored
    assert notes(memory) == []


def test_a_memory_without_cards_says_so():
    memory = PersonaMemory(store=InMemoryStore())
    for call in (lambda: memory.remember("ana", "x"), lambda: memory.preferences("ana"), lambda: memory.as_retriever()):
        with pytest.raises(ConfigError, match="no preference cards"):
            call()


def test_cards_can_be_rated_like_documents(memory):
    for text in ("likes tea", "likes coffee", "likes cake"):
        memory.remember("ana", text)
    retriever = memory.as_retriever(k=3)
    last = retriever.invoke("likes", user_id="ana")[-1]
    assert retriever.feedback(last, 1.0, user_id="ana").applied
    again = {doc.id: doc.metadata["persona"]["long"] for doc in retriever.invoke("likes", user_id="ana")}
    assert max(again, key=lambda name: again[name]) == last.id
    assert again[last.id] > 0


def test_a_superseded_card_is_not_superseded_again(memory):
    coke = memory.remember("ana", "likes coke")
    coffee = memory.supersede("ana", coke.id, "likes coffee")
    with pytest.raises(ConfigError, match="supersede that"):
        memory.supersede("ana", coke.id, "likes tea")
    memory.supersede("ana", coffee.id, "likes coke again")
    assert [card.note for card in memory.preferences("ana")] == ["likes coke again"]


def test_cards_are_filtered_by_equality_only(memory):
    memory.remember("ana", "likes tea")
    with pytest.raises(ConfigError, match="by equality"):
        notes(memory, filter={"kind": {"$ne": "fact"}})


def test_law_3_a_store_that_is_gone_costs_the_cards_and_one_warning(collection, caplog):
    class Gone(InMemoryStore):
        gone = False

        def batch(self, ops):
            if self.gone:
                raise ConnectionError("the store is gone")
            return super().batch(ops)

    store = Gone()
    memory = over(store, collection)
    memory.remember("ana", "likes tea")
    store.gone = True
    caplog.clear()
    assert memory.as_retriever().invoke("tea", user_id="ana") == []
    assert len(warnings_in(caplog)) == 1
