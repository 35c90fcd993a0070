"""New cards among old ones: strengthened, updated, superseded, dropped, all or none; and what is forgotten."""

from __future__ import annotations

import contextlib
import json
import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import chromadb
import pytest
from langgraph.store.base import Op, PutOp, Result
from langgraph.store.memory import InMemoryStore

from langchain_persona.cards import Cards
from langchain_persona.effects import Embed, StoreOps, arun, run
from langchain_persona.errors import DimensionMismatchError
from langchain_persona.memory import PersonaMemory
from langchain_persona.reconciliation import Change, forget_matching, reconcile
from langchain_persona.reconciliation.reading import fold, read, values
from langchain_persona.reconciliation.relations import SAME, VALUE, about, relation
from langchain_persona.records import Evidence, PreferenceCard
from langchain_persona.signals.forgetting import ForgetRequest
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel

PAIRS = json.loads((Path(__file__).parents[1] / "data" / "reconciliation.json").read_text(encoding="utf-8"))


class CountingEmbeddings(HashEmbeddings):
    """Remembers its calls."""

    def __init__(self, dimension: int = 64) -> None:
        super().__init__(dimension)
        self.calls: list[list[str]] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(list(texts))
        return super().embed_documents(texts)


class BreakingStore(InMemoryStore):
    """Breaks off at the n-th write: before the batch of it, as a store with transactions, or in the middle of it."""

    def __init__(self, *, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.left: int | None = None

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        ops = list(ops)
        writes = [op for op in ops if isinstance(op, PutOp)]
        if self.left is None or not writes:
            return super().batch(ops)
        if self.left >= len(writes):
            self.left -= len(writes)
            return super().batch(ops)
        if self.halves:
            super().batch(writes[: self.left])
        raise OSError("the store broke off")


def memory_of(store: Any = None, embeddings: Any = None) -> PersonaMemory:
    collection = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
    return PersonaMemory(store=store or InMemoryStore(), cards=collection, embeddings=embeddings or HashEmbeddings(64))


@pytest.fixture
def memory() -> PersonaMemory:
    return memory_of()


def said(note: str, message: str | None = "m1", **fields: Any) -> PreferenceCard:
    evidence = () if message is None else (Evidence(message_id=message, quote=note),)
    return PreferenceCard(note=note, evidence=evidence, **fields)


def take(memory: PersonaMemory, *cards: PreferenceCard, user: str = "ana", **options: Any) -> list[Change]:
    return run(reconcile(memory.cards, user, cards, **options))


def notes(memory: PersonaMemory, user: str = "ana") -> list[str]:
    return [card.note for card in memory.preferences(user)]


def tell(memory: PersonaMemory, *texts: str) -> list[str]:
    """Each text in a message of its own; the actions."""
    found = []
    for number, text in enumerate(texts):
        found += [change.action for change in take(memory, said(text, f"m{number}"))]
    return found


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# readings and relations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("note", "wanted", "unwanted", "change"),
    [
        ("I like coffee", {"coffe"}, set(), False),
        ("I don't like coffee any more.", set(), {"coffe"}, True),
        ("I can't stand coffee", set(), {"coffe"}, False),
        ("I don't hate coffee", {"coffe"}, set(), False),
        ("I switched from Java to Rust", {"rust"}, {"jav"}, True),
        ("Ich bin von Java auf Rust umgestiegen", {"rust"}, {"jav"}, True),
        ("Ich trinke lieber Kaffee als Tee", {"kaffe"}, {"tee"}, False),
        ("Ich arbeite als Arzt", {"arzt"}, set(), False),
        ("Je n'aime plus le café", set(), {"caf"}, True),
        ("Je suis revenu au coca, plus de café", {"coc"}, {"caf"}, True),
        ("Je préfère le café au coca", {"caf"}, {"coc"}, False),
        ("Sin emojis, por favor", set(), {"emoji"}, False),
        ("Prefiero el café a la cola", {"caf"}, {"col"}, False),
        ("比起可乐，我现在更喜欢咖啡", {"咖啡"}, {"可乐"}, True),
        ("I prefer coffee in a mug", {"coffe", "mug"}, set(), False),  # "a" is Spanish for "to"
        ("", set(), set(), False),
        ("!?", set(), set(), False),
    ],
)
def test_a_note_is_taken_apart(note, wanted, unwanted, change):
    reading = read(note)
    assert (set(reading.wanted), set(reading.unwanted), reading.change) == (wanted, unwanted, change)


def test_values_are_the_users_own_words():
    note = "I switched to Coffee and Café-crème"
    assert values(note, read(note)) == "Coffee Café crème"


def test_case_width_and_punctuation_do_not_count():
    assert fold("  Coffee -- BLACK! ") == fold("coffee black")
    assert fold("ｃｏｆｆｅｅ") == "coffee"


def test_a_long_note_is_read_in_no_time():
    begin = time.perf_counter()
    read("no longer " * 400)
    read("、" * 4_000)
    read("咖" * 4_000)
    assert time.perf_counter() - begin < 1.0


@pytest.mark.parametrize("half", ["tune", "held"])
def test_words_alone_decide_most_labelled_pairs(half):
    pairs = [pair for pair in PAIRS if pair["half"] == half]
    right = sum(relation(read(pair["old"]), read(pair["new"]), 0.0).relation == pair["relation"] for pair in pairs)
    assert right / len(pairs) >= 0.92


def test_no_labelled_pair_that_says_the_opposite_counts_as_the_same():
    for pair in PAIRS:
        verdict = relation(read(pair["old"]), read(pair["new"]), 1.0)
        if pair["relation"] == "contradicts" and verdict.relation == "same":
            pytest.fail(pair["id"])


def test_the_labels_are_balanced_over_halves_and_languages():
    for language in ("en", "de", "fr", "es", "zh"):
        for half in ("tune", "held"):
            found = {pair["relation"] for pair in PAIRS if (pair["language"], pair["half"]) == (language, half)}
            assert found == {"same", "refines", "contradicts", "unrelated"}


@pytest.mark.parametrize(
    ("old", "new", "cosine", "value", "expected"),
    [
        ("I like cofee", "I like coffee", SAME, None, "same"),
        ("I like cofee", "I like coffee", SAME - 0.01, None, "unrelated"),
        ("我喜欢咖啡", "我喜欢可乐", 1.0, None, "unrelated"),
        ("I like cofee", "I don't like coffee", 0.99, None, "unrelated"),
        ("I like cofee", "I like coffee biscuits", 0.99, None, "unrelated"),
        ("I live in Berlin", "I like Berlni", 0.99, None, "unrelated"),
        ("My sister lives in Bern", "My sister lives in Berlin", 0.99, None, "contradicts"),
        ("I love coke", "I switched to coffee", 0.3, VALUE, "contradicts"),
        ("I love coke", "I switched to coffee", 0.3, VALUE - 0.01, "unrelated"),
        ("I live in Rome", "I like Rome", 0.9, None, "unrelated"),
        ("I have two cats", "I have three cats", 0.9, None, "unrelated"),
        ("I drink coke", "I now drink coffee too", 0.9, 0.9, "unrelated"),
        ("My wife likes tea", "I like tea", 0.9, None, "unrelated"),
        ("I don't eat pork", "I don't eat pork or beef", 0.9, None, "refines"),
        ("I don't like films", "I don't like horror films", 0.9, None, "unrelated"),
    ],
)
def test_rules_at_their_edges(old, new, cosine, value, expected):
    assert relation(read(old), read(new), cosine, value).relation == expected


# one card after another ------------------------------------------------------------------------------------------


def test_a_new_card_is_added(memory):
    (change,) = take(memory, said("I like tea"))
    assert (change.action, change.card.note, change.previous) == ("added", "I like tea", None)
    assert memory.preferences("ana") == [change.card]


def test_said_again_is_strengthened(memory):
    (first,) = take(memory, said("I like tea", "m1", confidence=0.6, origin="inferred"))
    (again,) = take(memory, said("I love tea!", "m2", confidence=0.8, always=True), now=7.0)
    (card,) = memory.preferences("ana", all=True)
    assert (again.action, again.card, again.previous) == ("strengthened", card, first.card)
    assert (card.id, card.note, card.created) == (first.card.id, "I like tea", first.card.created)
    assert card.confidence == pytest.approx(1 - 0.4 * 0.6)
    assert [seen.message_id for seen in card.evidence] == ["m1", "m2"]
    assert (card.updated, card.origin, card.always) == (7.0, "stated", True)


def test_a_message_counts_once(memory):
    take(memory, said("I like tea", "m1", confidence=0.5))
    before = memory.preferences("ana", all=True)
    changes = take(memory, said("I love tea", "m1", confidence=0.5))
    assert [(change.action, change.reason) for change in changes] == [("dropped", "this was counted before")]
    assert memory.preferences("ana", all=True) == before


def test_without_evidence_nothing_counts_twice(memory):
    take(memory, said("I like tea", None, confidence=0.5))
    assert [change.action for change in take(memory, said("I like tea", None, confidence=0.5))] == ["dropped"]


def test_evidence_is_bounded(memory):
    for number in range(30):
        take(memory, said("I like tea", f"m{number}"))
    (card,) = memory.preferences("ana")
    assert [seen.message_id for seen in card.evidence] == ["m0", *(f"m{number}" for number in range(11, 30))]
    assert card.confidence <= 1.0


def test_more_precise_is_updated_and_the_old_text_stays_in_the_history(memory):
    (first,) = take(memory, said("I like tea", "m1"))
    (change,) = take(memory, said("I like tea without sugar", "m2"))
    assert (change.action, change.previous, change.card.id) == ("updated", first.card, first.card.id)
    assert memory.preferences("ana") == [change.card]
    assert change.card.note == "I like tea without sugar"
    old = next(card for card in memory.preferences("ana", all=True) if not card.active)
    assert (old.note, old.superseded_by) == ("I like tea", change.card.id)
    (doc,) = memory.as_retriever(k=1).invoke("sugar", user_id="ana")
    assert doc.metadata["persona"]["base"] > 0.3  # the vector is that of the new text


def test_a_contradiction_supersedes_with_dates(memory):
    (first,) = take(memory, said("I like coffee", "m1"))
    (change,) = take(memory, said("I don't like coffee any more", "m2"), now=9.0)
    assert (change.action, change.previous) == ("superseded", first.card)
    assert notes(memory) == ["I don't like coffee any more"]
    old = memory.preferences("ana", all=True)[0]
    assert (old.superseded_by, old.updated, old.note) == (change.card.id, 9.0, "I like coffee")


@pytest.mark.parametrize(
    "chain",
    [
        ["I drink coke", "I now prefer coffee over coke", "I'm back to coke, no more coffee"],
        ["I drink coke", "I drink coffee now", "I drink coke again"],
        ["My favourite drink is coke", "My favourite drink is coffee", "My favourite drink is coke"],
        ["Ich trinke Cola", "Ich trinke jetzt lieber Kaffee als Cola", "Ich trinke wieder Cola statt Kaffee"],
        ["J'aime le coca", "Maintenant je préfère le café au coca", "Je suis revenu au coca, plus de café"],
        ["Me gusta la cola", "Ahora prefiero el café a la cola", "He vuelto a la cola en vez del café"],
        ["我喜欢可乐", "比起可乐，我现在更喜欢咖啡", "我又喝回可乐，不喝咖啡了"],
    ],
)
def test_coke_coffee_coke_ends_as_coke(memory, chain):
    tell(memory, "I like jazz", "I live in Oslo")
    for number, text in enumerate(chain):
        take(memory, said(text, f"d{number}"))
    assert notes(memory) == ["I like jazz", "I live in Oslo", chain[-1]]
    history = [card for card in memory.preferences("ana", all=True) if card.superseded_by]
    assert [card.note for card in history] == chain[:-1]
    assert history[0].superseded_by == history[1].id


def test_likes_side_by_side_stay_side_by_side(memory):
    texts = ["I like coffee", "I like tea", "I don't like dogs", "I like cats", "I have a dog", "I love Italian films"]
    assert tell(memory, *texts) == ["added"] * len(texts)
    assert notes(memory) == texts


def test_a_word_of_change_ends_at_most_the_nearest(memory):
    tell(memory, "I drink coke", "I drink wine at the cinema", "I drink tea")
    (change,) = take(memory, said("I drink coffee now", "m9"))
    assert change.action == "superseded"
    assert len(memory.preferences("ana")) == 3


def test_what_is_named_as_ended_ends_and_nothing_else(memory):
    tell(memory, "I drink tea", "I drink coke")
    take(memory, said("I now drink coffee instead of coke", "m9"))
    assert notes(memory) == ["I drink tea", "I now drink coffee instead of coke"]


def test_said_again_with_a_change_ends_the_other(memory):
    tell(memory, "I like coffee", "I like coke")
    changes = take(memory, said("I switched from coke to coffee", "m9"))
    assert [change.action for change in changes] == ["updated", "superseded"]
    assert notes(memory) == ["I switched from coke to coffee"]


# topics, pins, holding back ----------------------------------------------------------------------------------------


def test_one_topic_holds_one_value(memory):
    take(memory, said("Keep answers short.", "m1", topic="answer length"))
    (same,) = take(memory, said("Keep answers short!", "m2", topic="answer length"))
    (other,) = take(memory, said("Explain at length.", "m3", topic="answer length"))
    assert (same.action, other.action) == ("strengthened", "superseded")
    assert notes(memory) == ["Explain at length."]


def test_two_topics_are_two_things(memory):
    take(memory, said("Answer in German.", "m1", topic="answer language"))
    (change,) = take(memory, said("Don't answer in German now.", "m2", topic="formality"))
    assert change.action == "added"


def test_topics_are_found_among_many(memory):
    take(memory, said("Zzz", "m0", topic="units"))
    take(memory, *(said(f"I like thing{number}", f"n{number}") for number in range(80)))
    (change,) = take(memory, said("Qqq", "m9", topic="units"))
    assert (change.action, change.previous.note) == ("superseded", "Zzz")


def test_words_are_found_among_many_where_vectors_are_far(memory):
    take(memory, said("I like coffee", "m0"))
    take(memory, *(said(f"I don't like whatever number {number}", f"n{number}") for number in range(80)))
    (change,) = take(memory, said("I can't stand coffees", "m9"))
    assert (change.action, change.previous.note) == ("superseded", "I like coffee")


def test_a_pinned_card_is_never_replaced(memory):
    card = memory.remember("ana", said("I like coffee", "m1"))
    memory.pin("ana", card.id)
    (change,) = take(memory, said("I don't like coffee", "m2"))
    assert (change.action, change.reason) == ("dropped", "a pinned card says otherwise")
    (finer,) = take(memory, said("I like coffee with milk", "m3"))
    assert finer.action == "added"
    (again,) = take(memory, said("I love coffee", "m4"))
    assert (again.action, again.card.pinned) == ("strengthened", True)
    assert notes(memory) == ["I like coffee", "I like coffee with milk"]


def test_a_pinned_card_of_the_same_topic_stays(memory):
    card = memory.remember("ana", said("Answer in German.", "m1", topic="answer language"))
    memory.pin("ana", card.id)
    judge = ScriptedChatModel([], then="raise")
    (change,) = take(memory, said("Answer in French.", "m2", topic="answer language"), judge=judge)
    assert (change.action, judge.calls) == ("dropped", [])
    assert notes(memory) == ["Answer in German."]


def test_a_guess_never_ends_a_pinned_card(memory):
    card = memory.remember("ana", said("I drink coke", "m1"))
    memory.pin("ana", card.id)
    assert [change.action for change in take(memory, said("I drink coffee now", "m2"))] == ["added"]


def test_what_is_held_back_does_not_come_back(memory):
    card = memory.remember("ana", said("I like coffee", "m1"))
    memory.hold_back("ana", card.id)
    (change,) = take(memory, said("I love coffee", "m2"))
    assert (change.action, change.reason) == ("dropped", "the user holds this back")
    assert notes(memory) == []


# batches ------------------------------------------------------------------------------------------------------------


def test_a_batch_is_one_embedding_and_one_write():
    embeddings = CountingEmbeddings()
    memory = memory_of(embeddings=embeddings)
    take(memory, said("I like coffee"), said("I drink coke"), said("I live in Rome"))
    memory.preferences("ana")
    run(memory.cards.matrix("ana"))
    embeddings.calls.clear()
    cards = [said("I love coffee", "m2"), said("I drink tea now", "m3"), said("I have a dog", "m4")]
    steps = reconcile(memory.cards, "ana", cards)
    effects: list[Any] = []

    def watched():
        answer = None
        while True:
            try:
                effect = steps.send(answer)
            except StopIteration as stop:
                return stop.value
            effects.append(effect)
            answer = yield effect

    changes = run(watched())
    assert [change.action for change in changes] == ["strengthened", "superseded", "added"]
    assert embeddings.calls == [["I love coffee", "I drink tea now", "I have a dog", "tea"]]
    assert sum(isinstance(effect, Embed) for effect in effects) == 1
    batches = [effect.ops for effect in effects if isinstance(effect, StoreOps)]
    assert [any(isinstance(op, PutOp) for op in ops) for ops in batches] == [False, True]


def test_messages_of_one_batch_are_taken_in_order(memory):
    changes = take(memory, said("I drink coke", "m1"), said("I drink coffee now", "m2"), said("I drink tea now", "m3"))
    assert [change.action for change in changes] == ["added", "superseded", "superseded"]
    assert notes(memory) == ["I drink tea now"]
    by_id = {card.id: card for card in memory.preferences("ana", all=True)}
    chain = [card for card in by_id.values() if card.superseded_by]
    assert [by_id[card.superseded_by].note for card in chain] == ["I drink coffee now", "I drink tea now"]


def test_one_batch_can_add_and_strengthen_and_update(memory):
    changes = take(memory, said("I like tea", "m1"), said("I love tea", "m2"), said("I like tea without sugar", "m3"))
    assert [change.action for change in changes] == ["added", "strengthened", "updated"]
    assert notes(memory) == ["I like tea without sugar"]
    assert [card.note for card in memory.preferences("ana", all=True)].count("I like tea") == 1


def test_one_message_corrects_itself_within_a_topic(memory):
    take(memory, said("Answer in French.", "m0", topic="answer language"))
    german, english = (said(f"Answer in {name}.", "m1", topic="answer language") for name in ("German", "English"))
    changes = take(memory, german, english)
    assert [(change.action, change.card.note) for change in changes] == [
        ("dropped", "Answer in German."),
        ("superseded", "Answer in English."),
    ]
    assert notes(memory) == ["Answer in English."]
    old = next(card for card in memory.preferences("ana", all=True) if card.superseded_by)
    assert old.superseded_by == memory.preferences("ana")[0].id


def test_one_message_does_not_contradict_itself(memory):
    take(memory, said("I don't drink coffee", "m1"))
    (inverted,) = take(memory, said("I drink coffee", "m1"))
    assert (inverted.action, inverted.reason) == ("dropped", "the same message says otherwise")
    assert tell(memory_of(), "I like tea") == ["added"]
    both = memory_of()
    assert [c.action for c in take(both, said("I drink tea now"), said("I drink coffee now"))] == ["added", "added"]


def test_an_id_in_use_is_not_overwritten(memory):
    take(memory, said("I like tea", "m1", id="same"))
    (change,) = take(memory, said("I have a dog", "m2", id="same"))
    assert change.card.id != "same"
    assert notes(memory) == ["I like tea", "I have a dog"]


def test_a_late_retry_does_not_bring_back_what_ended(memory):
    first, second = said("I drink coke", "m1"), said("I drink coffee now", "m2")
    take(memory, first)
    take(memory, second)
    before = memory.preferences("ana", all=True)
    for card in (first, second, said("I drink coke", "m1")):
        assert [change.action for change in take(memory, card)] == ["dropped"]
    assert memory.preferences("ana", all=True) == before


def test_a_late_retry_of_what_was_updated_since_adds_nothing(memory):
    batch = [said("I like tea", "m1"), said("I drink tea now", "m2"), said("I like tea without sugar", "m3")]
    for card in batch:
        take(memory, card)
    before = memory.preferences("ana", all=True)
    assert [change.action for change in take(memory, *batch)] == ["dropped"] * 3
    assert memory.preferences("ana", all=True) == before


def test_a_late_retry_does_not_end_what_came_after(memory):
    take(memory, said("I drink coffee now", "m1", created=1.0))
    take(memory, said("I drink coke", "m2", created=2.0))
    before = memory.preferences("ana", all=True)
    assert [change.action for change in take(memory, said("I drink coffee now", "m1", created=1.0))] == ["dropped"]
    assert memory.preferences("ana", all=True) == before


def test_law_4_another_users_cards_are_not_touched(memory):
    take(memory, said("I like coffee"), user="user-1")
    take(memory, said("I don't like coffee"), user="user-10")
    assert (notes(memory, "user-1"), notes(memory, "user-10")) == (["I like coffee"], ["I don't like coffee"])


def test_nothing_comes_of_nothing_and_of_nobody(memory):
    assert take(memory) == []
    assert take(memory, said("I like tea"), user="") == []
    assert memory.store.search(()) == []


async def test_the_async_form_does_the_same():
    sync, other = memory_of(), memory_of()
    for number, text in enumerate(["I like tea", "I love tea", "I don't like tea any more"]):
        one = run(reconcile(sync.cards, "ana", [said(text, f"m{number}")], now=1.0))
        two = await arun(reconcile(other.cards, "ana", [said(text, f"m{number}")], now=1.0))
        assert [(change.action, change.reason) for change in one] == [(change.action, change.reason) for change in two]
    assert notes(sync) == [card.note for card in await other.apreferences("ana")]
    gone = await arun(forget_matching(other.cards, "ana", ForgetRequest("matching", "tea"), []))
    assert len(gone) == 2


# all or nothing -----------------------------------------------------------------------------------------------------

START = [said("I like tea", "a1"), said("I drink coke", "a2"), said("I like jazz", "a3")]
BATCH = [
    said("I love tea", "b1"),
    said("I drink coffee now", "b2"),
    said("I like jazz from the fifties", "b3"),
    said("I have a dog", "b4"),
    said("I no longer have a dog", "b5"),
    said("I drink milk now", "b6"),
]


def state(memory: PersonaMemory) -> list[tuple[Any, ...]]:
    """Cards without ids."""
    cards = {card.id: card for card in memory.preferences("ana", all=True)}
    return sorted(
        (
            card.note,
            card.active,
            round(card.confidence, 6),
            "" if card.superseded_by is None else cards[card.superseded_by].note,
            tuple(sorted(seen.message_id for seen in card.evidence)),
        )
        for card in cards.values()
    )


@pytest.mark.parametrize("halves", [False, True], ids=["whole batches", "halves of batches"])
def test_a_store_that_breaks_off_leaves_nothing_half_written(halves):
    complete = memory_of()
    take(complete, *START)
    take(complete, *BATCH)
    broken = 0
    for point in range(40):
        store = BreakingStore(halves=halves)
        memory = memory_of(store)
        take(memory, *START)
        before = state(memory)
        store.left = point
        try:
            take(memory, *BATCH)
        except OSError:
            broken += 1
        store.left = None
        fresh = PersonaMemory(store=store, cards=memory.cards._collection, embeddings=HashEmbeddings(64))
        cards = {card.id: card for card in fresh.preferences("ana", all=True)}
        for card in cards.values():  # what is marked as replaced has its replacement
            assert card.superseded_by is None or card.superseded_by in cards
        assert {note for note, *_ in before} <= {card.note for card in cards.values()}
        if not halves:
            assert state(fresh) in (before, state(complete))
        if point >= 12:
            assert state(fresh) == state(complete)
    assert 5 <= broken < 15


@pytest.mark.parametrize("point", range(12))
def test_the_next_try_completes_what_broke_off(point):
    store = BreakingStore(halves=True)
    memory = memory_of(store)
    take(memory, *START)
    store.left = point
    with contextlib.suppress(OSError):
        take(memory, *BATCH[:4])
    store.left = None
    fresh = PersonaMemory(store=store, cards=memory.cards._collection, embeddings=HashEmbeddings(64))
    take(fresh, *BATCH[:4])
    assert sorted(notes(fresh)) == [
        "I drink coffee now",
        "I have a dog",
        "I like jazz from the fifties",
        "I like tea",
    ]
    assert {card.note for card in fresh.preferences("ana", all=True) if card.superseded_by} == {
        "I drink coke",
        "I like jazz",
    }


def test_a_vector_that_cannot_be_written_follows_later(memory, caplog, monkeypatch):
    take(memory, said("I like tea"))
    collection = memory.cards._collection

    def full(**_: Any) -> None:
        raise chromadb.errors.InternalError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(memory.cards, "_collection", type("Full", (), {"upsert": staticmethod(full)})())
        patch.setattr(memory.cards._collection, "get", collection.get, raising=False)
        (change,) = take(memory, said("I have a dog", "m2"))
    assert change.action == "added"
    assert len(warnings_in(caplog)) == 1
    assert len(run(memory.cards.matrix("ana")).vectors) == 2


def test_vectors_that_do_not_fit_store_nothing(memory):
    take(memory, said("I like tea"))
    other = Cards(memory.store, memory.cards._root, memory.cards._collection, HashEmbeddings(32))
    with pytest.raises(DimensionMismatchError):
        run(reconcile(other, "ana", [said("I have a dog", "m2")]))
    assert notes(memory) == ["I like tea"]


# the judge ----------------------------------------------------------------------------------------------------------


def verdicts(*rows: tuple[int, int, str]) -> dict[str, Any]:
    return {"verdicts": [{"new": new, "known": known, "relation": relation} for new, known, relation in rows]}


def known(*texts: str) -> PersonaMemory:
    memory = memory_of()
    tell(memory, *texts)
    return memory


def test_the_judge_is_asked_once_for_a_batch():
    memory = known("I like tea in the morning", "I read novels")
    judge = ScriptedChatModel([verdicts((0, 0, "same"), (1, 1, "contradicts"), (2, -1, "unrelated"))])
    batch = [said("Breakfast tea in the morning is the best", "n1"), said("I gave up novels for films", "n2")]
    changes = take(memory, *batch, said("I like rain in the morning", "n3"), judge=judge)
    assert [change.action for change in changes] == ["strengthened", "superseded", "added"]
    assert [change.reason for change in changes[:1]] == ["the judge says so"]
    (call,) = judge.calls
    shown = json.loads(call[-1].content)
    assert shown["known"][0] == "I like tea in the morning"
    assert shown["new"] == [card.note for card in batch] + ["I like rain in the morning"]


async def test_the_judge_async():
    memory = known("I like tea in the morning")
    judge = ScriptedChatModel([verdicts((0, 0, "contradicts"))])
    steps = reconcile(memory.cards, "ana", [said("Only water in the morning", "n1")], judge=judge)
    assert [change.action for change in await arun(steps)] == ["superseded"]


def test_what_is_certain_needs_no_judge():
    memory = known("I like tea")
    take(memory, said("Keep it short", "m8", topic="answer length"))
    judge = ScriptedChatModel([])
    batch = [said("I like TEA", "n1"), said("At length, please", "n2", topic="answer length"), said("xyzzy", "n3")]
    changes = take(memory, *batch, judge=judge)
    assert [change.action for change in changes] == ["strengthened", "superseded", "added"]
    assert judge.calls == []


@pytest.mark.parametrize(
    "answer",
    [
        "no json",
        "",
        "{" * 1_000,
        "x" * 1_000_000,
        {"verdicts": "same"},
        verdicts((7, 0, "same")),
        verdicts((0, 7, "same")),
        verdicts((0, -2, "same")),
        verdicts((0, 0, "delete everything")),
        verdicts((0, 0, "same"), (0, 0, "contradicts")),
        verdicts(*[(0, 0, "same")] * 41),
        TimeoutError("slow"),
        ConnectionError("I love tea"),
    ],
    ids=lambda answer: str(answer)[:30],
)
def test_a_judge_that_talks_nonsense_leaves_it_to_the_rules(answer, caplog):
    memory = known("I like tea")
    judge = ScriptedChatModel([answer])
    (change,) = take(memory, said("I love tea", "n1"), judge=judge)
    assert (change.action, change.reason) == ("strengthened", "it says the same")
    (warning,) = warnings_in(caplog)
    assert "by rules" in warning
    assert "tea" not in warning
    assert len(judge.calls) == 1


def test_a_model_without_structured_output_leaves_it_to_the_rules(caplog):
    class Plain(ScriptedChatModel):
        def with_structured_output(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

    memory = known("I like tea")
    (change,) = take(memory, said("I love tea", "n1"), judge=Plain(["x"]))
    assert change.action == "strengthened"
    assert len(warnings_in(caplog)) == 1


def test_an_empty_answer_is_one_and_rules_decide():
    memory = known("I like tea")
    (change,) = take(memory, said("I love tea", "n1"), judge=ScriptedChatModel([verdicts()]))
    assert change.action == "strengthened"


def test_the_judge_cannot_replace_what_is_pinned():
    memory = known("I like tea in the morning")
    memory.pin("ana", memory.preferences("ana")[0].id)
    judge = ScriptedChatModel([verdicts((0, 0, "contradicts"))])
    (change,) = take(memory, said("Only water in the morning", "n1"), judge=judge)
    assert change.action == "dropped"


def test_the_judge_cannot_strengthen_the_opposite():
    memory = known("I like tea")
    judge = ScriptedChatModel([verdicts((0, 0, "same"))])
    (change,) = take(memory, said("I don't like tea", "n1"), judge=judge)
    assert change.action == "superseded"


def test_the_judge_can_keep_apart_what_rules_confuse():
    memory = known("I drink coke")
    judge = ScriptedChatModel([verdicts((0, 0, "unrelated"))])
    (change,) = take(memory, said("I drink coffee now", "n1"), judge=judge)
    assert change.action == "added"


# forgetting ---------------------------------------------------------------------------------------------------------


def forget(memory: PersonaMemory, scope: Any, what: str = "", recent: Sequence[str] = ()) -> list[str]:
    return [card.note for card in run(forget_matching(memory.cards, "ana", ForgetRequest(scope, what), recent))]


def left(memory: PersonaMemory) -> list[str]:
    return [card.note for card in memory.preferences("ana", all=True)]


def test_forget_the_last():
    memory = known("I like tea", "I have a dog", "I live in Rome")
    assert forget(memory, "last", recent=["m1"]) == ["I have a dog"]
    assert left(memory) == ["I like tea", "I live in Rome"]
    assert memory.cards._collection.count() == 2
    assert forget(memory, "last", recent=[]) == []


def test_forgetting_takes_what_was_replaced_along():
    memory = known("I drink coke", "I drink coffee now", "I drink tea now", "I like jazz")
    assert forget(memory, "last", recent=["m2"]) == ["I drink coke", "I drink coffee now", "I drink tea now"]
    assert left(memory) == ["I like jazz"]
    assert memory.cards._collection.count() == 1


def test_forgetting_takes_former_texts_along():
    memory = known("I like tea", "I like tea without sugar")
    assert len(left(memory)) == 2
    assert len(forget(memory, "matching", "tea")) == 2
    assert memory.store.search(("persona",)) == [] or left(memory) == []


@pytest.mark.parametrize(
    ("what", "gone"),
    [
        ("coffee", ["I like coffee", "I don't drink coffee at night"]),
        ("that I like coffee", ["I like coffee", "I don't drink coffee at night"]),
        ("my dog", ["I have a dog called Rex"]),
        ("where I live", ["I live in Rome"]),
        ("that I live in Rome", ["I live in Rome"]),
        ("my allergy", ["I'm allergic to nuts"]),
        ("我喜欢爵士乐", ["我喜欢爵士乐"]),
        ("Kaffee", []),
        ("my cat", []),
        ("that I live in Paris", []),
        ("coffee with milk", []),
        ("", []),
        ("!", []),
        ("it", []),
        ("my wife", []),
    ],
)
def test_forget_what_is_about_something(what, gone):
    texts = [
        "I like coffee",
        "I don't drink coffee at night",
        "I have a dog called Rex",
        "I live in Rome",
        "I like Rome",
        "My husband hates rain",
    ]
    memory = known(*texts, "I'm allergic to nuts", "我喜欢爵士乐", "我喜欢可乐")
    assert forget(memory, "matching", what) == gone
    assert set(left(memory)) == {*texts, "I'm allergic to nuts", "我喜欢爵士乐", "我喜欢可乐"} - set(gone)


def test_a_superseded_text_is_found_too():
    memory = known("I drink coke", "I now prefer coffee over coke")
    assert "I drink coke" in forget(memory, "matching", "coke")


def test_a_topic_can_be_named(memory):
    take(memory, said("Keep it brief", "m1", topic="answer length"))
    assert forget(memory, "matching", "answer length") == ["Keep it brief"]


class OneVector(HashEmbeddings):
    """All texts are alike."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]


@pytest.mark.parametrize(("what", "gone"), [("I live in Berlni", 1), ("I live in Bern", 0), ("I like jazz", 0)])
def test_a_mistyped_request_means_what_it_nearly_says(what, gone):
    memory = memory_of(embeddings=OneVector(2))
    tell(memory, "I live in Berlin")
    assert len(forget(memory, "matching", what)) == gone


def test_not_to_remember_this_takes_what_already_says_it():
    memory = known("I like tea", "I have a dog")
    assert forget(memory, "this", "I like tea") == ["I like tea"]
    assert forget(memory, "this") == []


def test_everything_means_everything():
    memory = known("I like tea", "I don't like tea any more")
    memory.pin("ana", memory.preferences("ana")[0].id)
    memory.remember("bo", "likes rain")
    assert len(forget(memory, "everything")) == 2
    assert (left(memory), notes(memory, "bo")) == ([], ["likes rain"])
    assert forget(memory, "everything") == []


def test_nobody_forgets_nothing(memory):
    take(memory, said("I like tea"))
    assert run(forget_matching(memory.cards, "", ForgetRequest("everything"), [])) == []
    assert left(memory) == ["I like tea"]


def test_forgetting_that_broke_off_is_completed_by_the_same_call():
    for point in range(5):
        store = BreakingStore(halves=True)
        memory = memory_of(store)
        tell(memory, "I drink coke", "I drink coffee now", "I drink tea now")
        store.left = point
        with contextlib.suppress(OSError):
            forget(memory, "last", recent=["m2"])
        store.left = None
        fresh = PersonaMemory(store=store, cards=memory.cards._collection, embeddings=HashEmbeddings(64))
        forget(fresh, "last", recent=["m2"])
        assert left(fresh) == []


@pytest.mark.parametrize(
    ("note", "subject", "expected"),
    [("My wife likes tea", "my wife", True), ("I like tea", "my wife", False), ("I like tea", "i like TEA!", True)],
)
def test_about(note: str, subject: str, expected: bool):
    assert about(read(note), read(subject)) is expected
