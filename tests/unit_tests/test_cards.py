"""Preference cards: text and vector in one record, and an erased one never comes back."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import numpy as np
import pytest
from langgraph.store.sqlite import SqliteStore

from langchain_persona.errors import ConfigError, StoreError
from langchain_persona.identity import Label, label
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.cards import CardSet
from langchain_persona.records import Episode, Evidence, PreferenceCard, Retirement
from langchain_persona.testing import HashEmbeddings
from tests.memories import MODEL, D, Twins, Watched, warnings_in, writes


class Moody(HashEmbeddings):
    """Can be told to fail, and remembers what it embedded."""

    def __init__(self, dimension: int = D) -> None:
        super().__init__(dimension)
        self.down = False
        self.embedded: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if self.down:
            raise ConnectionError("the embedder is down")
        self.embedded += texts
        return super().embed_documents(texts)


@pytest.fixture
def store() -> Watched:
    return Watched()


@pytest.fixture
def memory(store) -> PersonaMemory:
    return PersonaMemory(store, MODEL)


def texts(memory: PersonaMemory, **options: Any) -> list[str]:
    return [card.text for card in memory.preferences("ana", **options)]


def stored(store: Watched, user: str = "ana") -> str:
    """Everything that is kept of a user, as one text."""
    items = store.store.search(("persona", label(user)), limit=10_000)
    return json.dumps([[item.namespace, item.key, item.value] for item in items], ensure_ascii=False)


def once(store: Watched, when: Callable[[list[Any]], bool], action: Callable[[], object]) -> None:
    """Do something else right ahead of the first batch for which `when` is true."""

    def before(ops: list[Any]) -> None:
        if when(ops):
            store.before = lambda ops: None
            action()

    store.before = before


# erasure --------------------------------------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[PersonaMemory, PreferenceCard], object]] = {
    "pin": lambda memory, card: memory.pin("ana", card.id),
    "hold_back": lambda memory, card: memory.hold_back("ana", card.id, False),
    "retire": lambda memory, card: memory.retire("ana", card.id),
    "revive": lambda memory, card: memory.revive("ana", card.id),
    "update": lambda memory, card: memory.update("ana", card.id, "Drinks water."),
    "embedded": lambda memory, card: memory.cards.embedded("ana"),
    "migrate": lambda memory, card: memory.migrate_embeddings(progress=False),
    "remember": lambda memory, card: memory.remember("ana", card),
}


@pytest.mark.parametrize("name", CHANGES)
def test_law_5_a_card_erased_while_a_change_is_under_way_stays_erased(store, memory, name):
    """The change has read the card and is about to write it when another process erases it."""
    card = memory.remember("ana", "Likes zebras.")
    if name in ("embedded", "migrate"):
        memory = PersonaMemory(store, HashEmbeddings(D + 1))
    other = PersonaMemory(store, MODEL)
    once(store, lambda ops: writes(ops, "cards"), lambda: other.forget("ana", card.id))
    silent = name in ("update", "embedded", "migrate")
    with nullcontext() if silent else pytest.raises(KeyError, match="was erased"):
        CHANGES[name](memory, card)
    for one in (memory, other, PersonaMemory(store, MODEL)):
        assert texts(one, all=True) == (["Drinks water."] if name == "update" else [])
    assert "zebras" not in stored(store)


def test_law_5_a_reader_never_shows_a_card_between_write_and_take_back(store, memory):
    card = memory.remember("ana", "Likes zebras.")
    memory.forget("ana", card.id)
    seen: list[list[str]] = []
    store.after = lambda ops, _: writes(ops, "cards") and seen.append(texts(PersonaMemory(store, MODEL), all=True))
    memory.cards.write("ana", [card])
    assert seen == [[]]
    assert "zebras" not in stored(store)


def test_law_5_what_a_reflection_read_before_an_erasure_does_not_come_back(store, memory):
    said = "I keep zebras and bees"
    episode = Episode(message_id="m1", query=said, answer="Noted.")
    memory.episodes.record("ana", episode, "verbatim")
    evidence = (Evidence(message_id="m1", quote=said),)
    zebras = memory.remember("ana", PreferenceCard(text="Keeps zebras.", evidence=evidence))
    bees = memory.remember("ana", "Keeps bees.")
    reading = memory.turns.read_pending("ana", "verbatim")
    lines = [("Loves zebras.", (zebras.id,)), ("Loves bees.", (bees.id,))]
    persona = memory.personas.revised(reading.persona, lines, reason="new", origin="model")
    confirmed = zebras.model_copy(update={"confidence": 0.9})
    added = PreferenceCard(text="Owns two zebras.", evidence=(Evidence(message_id="m1", quote="zebras"),))
    other = bees.model_copy(update={"confidence": 0.8})
    once(store, lambda ops: writes(ops, "cards"), lambda: PersonaMemory(store, MODEL).forget("ana", zebras.id))
    kept = memory.turns.finish("ana", reading.marks, reading.progress, cards=[confirmed, added, other], persona=persona)
    assert kept == [other]  # the new one rests on a message that was erased with the card
    assert texts(memory) == ["Keeps bees."]
    assert memory.persona("ana").revision.text == "Loves bees."
    assert memory.episodes.all("ana") == []
    assert "zebras" not in stored(store)


def test_law_5_an_old_card_that_an_erased_turn_confirmed_stays_without_its_words(store, memory):
    old = memory.remember(
        "ana", PreferenceCard(text="Keeps bees.", evidence=(Evidence(message_id="m0", quote="bees"),))
    )
    zebras = memory.remember("ana", "Keeps zebras.")
    memory.episodes.record("ana", Episode(message_id="m1", query="Keeps zebras. And bees", answer="Noted."), "verbatim")
    reading = memory.turns.read_pending("ana", "verbatim")
    said = Evidence(message_id="m1", quote="zebras. And bees")
    confirmed = old.model_copy(update={"evidence": (*old.evidence, said), "confidence": 0.9})
    once(store, lambda ops: writes(ops, "cards"), lambda: PersonaMemory(store, MODEL).forget("ana", zebras.id))
    kept = memory.turns.finish("ana", reading.marks, reading.progress, cards=[confirmed])
    assert kept == [old.model_copy(update={"confidence": 0.9})] == memory.preferences("ana")
    assert "zebras" not in stored(store)


def test_law_5_an_old_card_that_an_erased_turn_replaced_is_in_force_again(store, memory):
    old, zebras = memory.remember("ana", "Keeps bees."), memory.remember("ana", "Keeps zebras.")
    memory.episodes.record("ana", Episode(message_id="m1", query="Keeps zebras. No bees", answer="Noted."), "verbatim")
    reading = memory.turns.read_pending("ana", "verbatim")
    evidence = (Evidence(message_id="m1", quote="No bees"),)
    new = PreferenceCard(text="Keeps no bees.", evidence=evidence, replaces=old.id)
    gone = old.model_copy(update={"retired": Retirement(time=new.created, reason="updated", by=new.id)})
    once(store, lambda ops: writes(ops, "cards"), lambda: PersonaMemory(store, MODEL).forget("ana", zebras.id))
    memory.turns.finish("ana", reading.marks, reading.progress, cards=[new, gone])
    assert texts(memory) == ["Keeps bees."]


@pytest.mark.parametrize("change", ["pin_persona", "revise_persona", "rollback_persona"])
def test_law_5_what_was_erased_does_not_come_back_with_the_persona(store, memory, change):
    card = memory.remember("ana", "Likes zebras.")
    for lines in ([("Loves zebras.", (card.id,))], [("Loves zebras.", (card.id,)), ("Loves tea.", ())]):
        persona = memory.personas.revised(memory.persona("ana"), lines, reason="new", origin="template")
        memory.personas.write("ana", persona)
    once(store, lambda ops: writes(ops, "persona"), lambda: PersonaMemory(store, MODEL).forget("ana", card.id))
    argument = {"revise_persona": ["Loves zebras.\nLoves coffee."], "rollback_persona": [1]}.get(change, [])
    getattr(memory, change)("ana", *argument)
    assert "zebras" not in memory.persona("ana").revision.text
    assert "zebras" not in stored(store)


def test_law_6_erasing_a_card_takes_all_that_tells_of_it(store, memory):
    evidence = (Evidence(message_id="m1", quote="zebra milk, please"),)
    first = memory.remember("ana", PreferenceCard(text="Drinks zebra milk.", evidence=evidence))
    second = memory.update("ana", first.id, "Drinks quagga milk.")
    last = memory.update("ana", second.id, "Drinks okapi milk.")
    bees = memory.remember("ana", "Keeps bees.")
    told = [
        Episode(id="quoted", query="And zebra milk, please!", answer="Sure."),
        Episode(id="shown", query="A drink?", answer="Tea.", cards=(last.id,)),  # every turn shows all cards
        Episode(id="said", message_id="m1", query="-", answer="-"),
        Episode(id="answered", query="What do you know?", answer="That you: Drinks quagga milk."),
        Episode(id="bees", query="Honey?", answer="Yours.", cards=(bees.id,)),
    ]
    for episode in told:
        memory.episodes.record("ana", episode, "verbatim")
    lines = [("Drinks okapi milk.", (last.id,)), ("Striped.", ("said",)), ("Keeps bees.", (bees.id,))]
    persona = memory.personas.revised(memory.persona("ana"), lines, reason="new", origin="model")
    memory.personas.write("ana", persona)
    memory.revise_persona("ana", "drinks OKAPI milk!\nLoves honey.")
    assert {card.id for card in memory.forget("ana", last.id)} == {first.id, second.id, last.id}
    assert [episode.id for episode in memory.episodes.all("ana")] == ["shown", "bees"]
    assert [mark.episode.id for mark in memory.episodes.pending("ana")] == ["shown", "bees"]
    assert memory.history("ana")[0].text == "Keeps bees."
    assert memory.persona("ana").revision.text == "Loves honey."
    for word in ("zebra", "quagga", "okapi", "OKAPI", "triped"):
        assert word not in stored(store)


def test_law_6_erasing_a_card_takes_the_retrievals_that_hold_its_vector(store, memory):
    card, other = memory.remember("ana", "Likes zebras."), memory.remember("ana", "Keeps bees.")
    retrievals = []
    for kind in ("zebras", "bees"):
        docs = memory.as_retriever(k=1).invoke(kind, user_id="ana")
        retrievals.append(docs[0].metadata["persona"]["retrieval_id"])
        if kind == "zebras":
            memory.hold_back("ana", card.id)  # not in the second
    memory.forget("ana", card.id)
    assert [memory.feedback("ana", one, reward=1.0).applied for one in retrievals] == [False, True]
    assert card.id not in stored(store).replace(f"x={card.id}", "")
    assert other.id in stored(store)


def test_law_6_erasing_a_word_leaves_longer_words_and_takes_its_endings(store, memory):
    told = ["Is JavaScript fun?", "Her Javas?", "(Java)", "java", "我用Java写", "Try TryJava", "JAVA"]
    for query in told:
        memory.episodes.record("ana", Episode(query=query), "verbatim")
    memory.revise_persona("ana", "Writes JavaScript.\nWrites JAVA.\nHas javas.")
    memory.forget("ana", memory.remember("ana", "Java").id)
    assert [one.query for one in memory.episodes.all("ana")] == ["Is JavaScript fun?", "java", "Try TryJava", "JAVA"]
    assert memory.persona("ana").revision.text == "Writes JavaScript."
    for text in ("喜欢猫咪", "Is vegan."):
        memory.episodes.record("ana", Episode(query=f"我{text}你"), "verbatim")
        memory.forget("ana", memory.remember("ana", text).id)
        assert text not in stored(store)


def test_law_6_a_chain_stays_one_story_when_a_part_of_it_is_retired_again(store, memory):
    first = memory.remember("ana", "Drinks zebra milk.")
    last = memory.update("ana", first.id, "Drinks okapi milk.")
    memory.retire("ana", first.id, "changed my mind")
    memory.forget("ana", last.id)
    assert "zebra" not in stored(store)


def test_law_6_an_erasure_that_failed_half_way_can_be_repeated():
    failed = [erase_twice(fails_at) for fails_at in range(1, 16)]
    assert failed[0]
    assert not failed[-1]  # every call to the store was once the first to fail


def erase_twice(fails_at: int) -> bool:
    """Erase cards while a call to the store fails, then again; whether the first time failed."""
    store = Watched()
    memory = PersonaMemory(store, MODEL)
    first = memory.remember("ana", "Drinks zebra milk.")
    last = memory.update("ana", first.id, "Drinks okapi milk.")
    memory.episodes.record("ana", Episode(query="Drinks zebra milk.", answer="Drinks okapi milk."), "verbatim")
    memory.personas.revise("ana", "Drinks okapi milk.", "by hand")
    count = iter(range(1, 1_000))

    def fail(ops: object) -> None:
        if next(count) >= fails_at:
            raise ConnectionError("the store is gone")

    store.before = fail
    failed = False
    try:
        memory.forget("ana", last.id)
    except StoreError:
        failed = True
    store.before = lambda ops: None
    PersonaMemory(store, MODEL).forget("ana", last.id)
    assert "zebra" not in stored(store)
    assert "okapi" not in stored(store)
    return failed


# vectors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_law_3_without_the_embedder_the_text_is_kept_and_its_vector_follows(store, caplog, mode):
    model = Moody()
    memory = PersonaMemory(store, model)
    await memory.aremember("ana", "likes tea")
    model.down = True
    card = await Twins(memory, mode).remember("ana", "likes coffee")
    assert (card.text, card.vector) == ("likes coffee", "")
    (warning,) = warnings_in(caplog)
    assert "ConnectionError" in warning
    assert "coffee" not in warning
    cards = await memory.apreferences("ana")
    assert [one.text for one in cards] == ["likes tea", "likes coffee"]

    def embedded() -> CardSet:
        assert [one.text for one in memory.cards.read("ana").unembedded] == ["likes coffee"]
        with pytest.raises(ConnectionError):
            memory.cards.embedded("ana")
        model.down = False
        return memory.cards.embedded("ana")

    found = await asyncio.to_thread(embedded)
    assert found.vectors == pytest.approx(np.asarray(MODEL.embed_documents(["likes tea", "likes coffee"])), abs=1e-3)
    assert model.embedded == ["likes tea", "likes coffee"]
    assert (await asyncio.to_thread(PersonaMemory(store, model).cards.read, "ana")).unembedded == ()


def test_a_changed_flag_costs_no_embedding_and_a_changed_text_does(store):
    model = Moody()
    memory = PersonaMemory(store, model)
    card = memory.remember("ana", "likes tea")
    memory.pin("ana", card.id)
    memory.remember("ana", memory.preferences("ana")[0].model_copy(update={"text": "likes coffee"}))
    assert model.embedded == ["likes tea", "likes coffee"]
    assert memory.cards.read("ana").vectors[0] == pytest.approx(MODEL.embed_query("likes coffee"), abs=1e-3)


def test_cards_under_another_model_are_embedded_again_when_told(store, capsys):
    PersonaMemory(store, MODEL).remember("ana", "likes tea")
    PersonaMemory(store, MODEL).remember("bo", "likes coffee")
    model = Moody(D + 4)
    memory = PersonaMemory(store, model)
    assert memory.cards.read("ana").vectors.shape == (1, 0)
    report = memory.migrate_embeddings()
    assert (report.users, report.cards) == (2, 2)
    assert "embedding model" in capsys.readouterr().err
    fresh = PersonaMemory(store, model)
    assert fresh.cards.read("ana").vectors == pytest.approx(np.asarray([model.embed_query("likes tea")]), abs=1e-3)
    assert memory.migrate_embeddings(progress=False).cards == 0


def test_a_memory_without_a_model_keeps_texts(store, memory):
    plain = PersonaMemory(store)
    card = plain.remember("ana", "likes tea")
    assert (card.vector, texts(plain)) == ("", ["likes tea"])
    assert memory.cards.embedded("ana").vectors.shape == (1, D)
    assert plain.cards.read("ana").vectors.shape == (1, 0)
    with pytest.raises(ConfigError, match="no embedding model"):
        plain.cards.embedded("ana")


# several readers ------------------------------------------------------------------------------------------------------


def test_an_unchanged_user_costs_one_read_and_what_others_wrote_is_seen_by_the_next(store, memory):
    other = PersonaMemory(store, MODEL)
    memory.remember("ana", "likes tea")
    assert texts(memory) == ["likes tea"]
    store.batches.clear()
    assert texts(memory) == ["likes tea"]
    assert [len(ops) for ops in store.batches] == [2]  # the version, and whether the user was deleted
    card = other.update("ana", other.preferences("ana")[0].id, "likes coffee")
    assert texts(memory) == ["likes coffee"]
    other.forget("ana", card.id)
    assert texts(memory, all=True) == []


def test_law_4_one_card_id_under_two_users_stays_two_cards(memory):
    for user in ("ana", "bo"):
        memory.remember(user, PreferenceCard(id="same", text=f"likes {user}"))
    memory.forget("bo", "same")
    assert texts(memory) == ["likes ana"]
    assert memory.preferences("bo", all=True) == []


# texts ----------------------------------------------------------------------------------------------------------------

SECRETS = ["my card is 4111 1111 1111 1111", "my password is hunter2", "use sk-proj-abcdefghijklmnop1234567890"]


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_masked_wherever_they_stand(store, memory, secret):
    whole = PreferenceCard(text=secret, condition=secret, evidence=(Evidence(message_id="m", quote=secret),))
    card = memory.remember("ana", secret)
    assert "[secret]" in card.text
    memory.update("ana", card.id, f"{secret} indeed")
    card = memory.remember("ana", whole)
    memory.update("ana", card.id, whole)
    memory.retire("ana", card.id, secret)
    memory.revise_persona("ana", secret, reason=secret)
    kept = stored(store)
    for word in ("4111 1111", "hunter2", "abcdefghijkl"):
        assert word not in kept
    assert kept.count("[secret]") >= 9


def test_texts_that_cannot_be_a_card_are_refused(memory):
    kept = memory.remember("ana", "x" * 4_000)
    for wrong in ("", "   ", "\n", None, 3, {"text": "x"}, "x" * 4_001):
        with pytest.raises(ConfigError, match="card"):
            memory.remember("ana", wrong)
        with pytest.raises(ConfigError, match="card"):
            memory.update("ana", kept.id, wrong)
    assert memory.preferences("ana", all=True) == [kept]


def test_a_corrupt_card_costs_itself_and_one_warning(store, memory, caplog):
    memory.remember("ana", PreferenceCard(id="x", text="likes tea"))
    memory.remember("ana", "likes coffee")
    (item,) = [one for one in store.search(("persona", label("ana"), "cards")) if one.value["id"] == "x"]
    store.put(item.namespace, item.key, {"text": 3, "quote": "secret words"})
    assert texts(PersonaMemory(store, MODEL)) == ["likes coffee"]
    (warning,) = warnings_in(caplog)
    assert "secret words" not in warning


def test_a_corrupt_vector_costs_an_embedding(store, memory):
    card = memory.remember("ana", "likes tea")
    memory.cards.write("ana", [card.model_copy(update={"vector": "AAAA"})])
    assert memory.cards.read("ana").unembedded
    assert memory.cards.embedded("ana").vectors[0] == pytest.approx(MODEL.embed_query("likes tea"), abs=1e-3)


def test_reviving_a_card_retires_its_successor_wherever_it_stands(memory):
    first = memory.remember("ana", "likes tea")
    second = memory.update("ana", first.id, "likes coffee")
    memory.hold_back("ana", second.id)
    assert memory.revive("ana", first.id).retired is None
    memory.hold_back("ana", second.id, False)
    assert texts(memory) == ["likes tea"]
    assert isinstance(memory.cards.get("ana", second.id).retired, Retirement)


def test_reviving_the_first_of_a_chain_leaves_it_alone_in_force(memory):
    first = memory.remember("ana", "likes tea")
    second = memory.update("ana", first.id, "likes coffee")
    memory.update("ana", second.id, "likes cocoa")
    memory.revive("ana", first.id)
    assert texts(memory) == ["likes tea"]
    assert memory.revive("ana", first.id).retired is None  # in force already
    assert texts(memory) == ["likes tea"]
    memory.revive("ana", second.id)
    assert texts(memory) == ["likes coffee"]


def test_more_cards_than_sqlite_takes_in_one_statement_are_written(tmp_path):
    with SqliteStore.from_conn_string(str(tmp_path / "s.sqlite3")) as sqlite:
        sqlite.setup()
        sqlite.conn.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 2_000)
        memory = PersonaMemory(sqlite)
        memory.cards.write("ana", [PreferenceCard(text=f"wish {number}") for number in range(500)])
        assert len(memory.preferences("ana")) == 500


def test_an_explanation_names_rated_cards_by_their_text(memory):
    memory.remember("ana", "Likes zebras.")
    cards = memory.as_retriever(user_id="ana")
    cards.feedback(cards.invoke("animals"), 1.0, user_id="ana")
    assert [text for _, text, _ in memory.explain("ana").liked] == ["Likes zebras."]


def test_stored_questions_are_further_rows_and_the_best_row_counts_half(store):
    model = Moody()
    memory = PersonaMemory(store, model)
    memory.remember("ana", "Rides a bicycle.")
    asked = ("a recipe for a cake", "what to cook")
    nuts = memory.remember("ana", PreferenceCard(text="No nuts.", questions=asked))
    assert model.embedded[-3:] == ["No nuts.", *asked]
    cards = PersonaMemory(store, model).cards.read("ana")
    assert (cards.vectors.shape, cards.rows.shape, cards.starts) == ((2, D), (4, D), (0, 1))
    assert cards.vectors[1] == pytest.approx(model.embed_query("No nuts."), abs=1e-3)
    query = np.asarray(model.embed_query("what to cook"))
    assert cards.relevance(query) == pytest.approx(
        [cards.vectors[0] @ query, (cards.vectors[1] @ query + 1) / 2], abs=1e-3
    )
    # a card that is confirmed keeps its rows, although its text was embedded once more
    (same,) = memory.cards.with_vectors([nuts], {"No nuts.": query})
    assert same is nuts
    other = PersonaMemory(store, HashEmbeddings(D + 1))
    assert other.cards.embedded("ana").rows.shape == (4, D + 1)


@pytest.mark.parametrize("change", ["the  KEYS ring", {"scope": "always"}])
def test_an_update_that_says_the_same_stays_in_force(memory, change):
    card = memory.remember("ana", "The keys ring")
    given = change if isinstance(change, str) else card.model_copy(update=change)
    new = memory.update("ana", card.id, given)
    assert [one.id for one in memory.preferences("ana")] == [new.id]


def test_an_update_keeps_what_it_does_not_name(memory):
    card = memory.remember("ana", PreferenceCard(text="Is pregnant", condition="until May", pinned=True))
    memory.hold_back("ana", card.id)
    memory.update("ana", card.id, "Is pregnant, due in June")
    assert memory.preferences("ana") == []
    (new, _) = memory.preferences("ana", all=True)[::-1]
    assert (new.held_back, new.pinned, new.condition) == (True, True, "until May")


def test_law_6_what_says_the_same_is_erased_with_it(store, memory):
    first = memory.remember("ana", "Has zebritis.")
    memory.retire("ana", first.id)
    memory.forget("ana", memory.remember("ana", "has  zebritis.").id)
    assert memory.preferences("ana", all=True) == []
    assert "zebritis" not in stored(store)


def test_one_model_with_another_length_embeds_again_once(store):
    before, model = Moody(D), Moody(2 * D)
    before.model = model.model = "one name"
    PersonaMemory(store, before).remember("ana", "Likes tea.")
    new = PersonaMemory(store, model)
    assert new.migrate_embeddings(progress=False).cards == 1
    assert new.cards.read("ana").vectors.shape == (1, 2 * D)
    new.remember("ana", "Has a cat.")
    model.embedded.clear()
    assert new.cards.embedded("ana").vectors.shape == (2, 2 * D)
    assert new.migrate_embeddings(progress=False).cards == 0
    assert model.embedded == []


def test_of_twins_the_strongest_stays_and_what_ends_one_ends_all(store):
    memory, other = PersonaMemory(store), PersonaMemory(store)
    guess = PreferenceCard(text="No nuts", kind="dislike", origin="inferred", confidence=0.3)
    rule = PreferenceCard(text="no  nuts", kind="dislike", scope="always")
    other.cards.write("ana", [rule])  # two chats at once
    memory.cards.write("ana", [guess])
    assert [card.id for card in memory.preferences("ana")] == [rule.id]
    assert memory.remember("ana", PreferenceCard(text="No nuts", kind="dislike")).id == rule.id
    assert memory.pin("ana", rule.id).pinned
    memory.pin("ana", rule.id, False)
    for end, undo in ((memory.hold_back, partial(memory.hold_back, held_back=False)), (memory.retire, memory.revive)):
        end("ana", rule.id)
        assert memory.preferences("ana") == []  # the twin does not come forward
        assert len(memory.cards.read("ana").silent) == 2  # nor what was said around it
        undo("ana", rule.id)
        assert [card.id for card in memory.preferences("ana")] == [rule.id]
    memory.forget("ana", rule.id)
    assert memory.preferences("ana", all=True) == []


@pytest.mark.parametrize("change", ["retire", "update"])
def test_law_6_a_twin_goes_with_the_statement_that_took_it_out_of_force(store, memory, change):
    memory.remember("ana", PreferenceCard(text="Has zebritis.", origin="inferred", confidence=0.5))
    last = memory.remember("ana", "Has zebritis.")
    if change == "retire":
        memory.retire("ana", last.id)
    else:
        last = memory.update("ana", last.id, "Had zebritis once.")
    memory.forget("ana", last.id)
    assert memory.preferences("ana", all=True) == []
    assert "zebritis" not in stored(store)


def test_one_user_has_one_lock_whatever_their_name_is(memory):
    assert memory.turns.editing("ana") is memory.turns.editing(Label(label("ana")))


def test_what_was_changed_while_cards_were_embedded_stays_so(store, monkeypatch):
    memory = PersonaMemory(store, MODEL)
    with monkeypatch.context() as down:
        down.setattr(type(MODEL), "embed_documents", lambda self, texts: 1 / 0)
        card = memory.remember("ana", "Is pregnant.")
    embed = memory.embedder.embed_documents

    def meanwhile(texts):
        memory.hold_back("ana", card.id)
        return embed(texts)

    monkeypatch.setattr(memory.embedder, "embed_documents", meanwhile)
    memory.cards.embedded("ana")
    assert memory.preferences("ana") == []


# many cards -----------------------------------------------------------------------------------------------------------


def test_of_many_cards_only_what_changed_is_read_again_and_makes_the_same_set(store, monkeypatch):
    memory, other, rng = PersonaMemory(store, MODEL), PersonaMemory(store, MODEL), random.Random(3)
    monkeypatch.setattr("langchain_persona.memory.cards._MANY", 100)
    kinds = ("like", "dislike", "fact")
    cards = [PreferenceCard(id=f"c{i}", text=f"topic {i % 190}", kind=kinds[i % 3]) for i in range(200)]
    memory.cards.write("ana", cards)
    memory.cards.embedded("ana")
    other.cards.read("ana")
    memory.pin("ana", "c7")
    rows: list[int] = []
    store.after = lambda ops, results: rows.extend(len(one) for one in results if isinstance(one, list))
    assert [card.id for card in other.preferences("ana") if card.pinned] == ["c7"]
    assert rows[0] > 55  # versions
    assert sum(rows[1:]) < 12  # one of 64 parts
    store.after = lambda ops, results: None
    changes = [*CHANGES.values(), lambda memory, card: memory.forget("ana", card.id)]
    for turn in range(60):
        writer, reader = (memory, other) if rng.random() < 0.5 else (other, memory)
        card, change = rng.choice(writer.preferences("ana", all=True)), rng.choice(changes)
        with suppress(KeyError):
            change(writer, card.model_copy(update={"id": f"new {turn}"}) if turn % 9 == 0 else card)
        found = reader.cards.read("ana")
        fresh = PersonaMemory(store, MODEL).cards.read("ana")
        for name in ("active", "rest", "starts", "erased", "unembedded"):
            assert getattr(found, name) == getattr(fresh, name)
        assert np.array_equal(found.rows, fresh.rows)
        assert np.array_equal(found.statements.vectors, fresh.statements.vectors)
        kept = reader.cards._cache.get("ana").parts.values()
        assert sorted(card.id for part in kept for card in part.values()) == sorted(card.id for card in found.all)
    assert len(found.erased) > 3
