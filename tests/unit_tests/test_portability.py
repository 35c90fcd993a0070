"""A user goes, and nobody brings them back; a user is taken along, and ranks as before."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.base import BaseStore, PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from portable_ai_memory import MemoryStore, validate
from portable_ai_memory.schemas import load_schema

from langchain_persona.errors import ConfigError, DocumentError, StoreError
from langchain_persona.identity import label
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.episodes import Progress
from langchain_persona.memory.portability import ImportReceipt, UserDocument
from langchain_persona.records import CommunicationStyle, Episode, Evidence, PreferenceCard, Trait
from langchain_persona.retrieval import VARSRetriever
from tests.memories import FOREVER, MODEL, TEXTS, Clock, Watched, show, warnings_in, writes


def fresh(store: BaseStore | None = None, **options: Any) -> PersonaMemory:
    return PersonaMemory(Watched() if store is None else store, MODEL, retrieval_ttl_seconds=FOREVER, **options)


def episode(name: str, **fields: Any) -> Episode:
    fields = {"thread": "t1", "message_id": f"m {name}", "query": f"What of {name}?", "answer": "Good.", **fields}
    return Episode(id=name, **fields)


def live(memory: PersonaMemory, user: str = "ana") -> None:
    """A little of everything."""
    ship = PreferenceCard(text="Likes ships.", kind="like", evidence=(Evidence(message_id="m ships", quote="ships!"),))
    card = memory.remember(user, ship)
    memory.update(user, memory.remember(user, "Lives in Kiel.").id, "Lives in Bremen.")
    shown = show(memory, user)
    first = memory.feedback(user, shown.id, reward=1.0, key="k1")
    memory.feedback(user, shown.id, reward=-0.5, docs=shown.chosen[:1])
    memory.withdraw(user, first.id)
    memory.vectors(user)
    memory.episodes.record(user, episode("ships"), "verbatim")
    memory.episodes.write(user, episode("rockets", thread="t2", query="Rockets?"))
    memory.turns.finish(user, [], Progress(since=1), style=CommunicationStyle(warmth=Trait(value=0.5, confidence=1.0)))
    memory.revise_persona(user, "Sails.\nWants short answers.")
    memory.revise_persona(user, "Sails.")
    memory.forget(user, memory.remember(user, "Hates fog.").id)
    assert memory.preferences(user)[0] == card


def kept(memory: PersonaMemory, user: str = "ana") -> list[Any]:
    store = memory.store.store if isinstance(memory.store, Watched) else memory.store
    items = store.search(("persona", label(user)), limit=10_000)
    return sorted([[*item.namespace, item.key, item.value] for item in items], key=json.dumps)


class Threads(InMemorySaver):
    """Notes which threads were deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.deleted: list[str] = []

    def delete_thread(self, thread_id: str) -> None:
        super().delete_thread(thread_id)
        self.deleted.append(thread_id)


# deletion -------------------------------------------------------------------------------------------------------------


def test_everything_of_a_user_goes_and_of_nobody_else():
    memory = fresh()
    live(memory), live(memory, "anabel")
    others = kept(memory, "anabel")
    receipt = memory.delete_user("ana", checkpointer=(saver := Threads()))
    assert receipt.records["cards"] == 3
    assert receipt.records["feedback"] == 3
    assert set(receipt.records) >= {"episodes", "pending", "persona", "retrievals", "keys", "versions", "erased"}
    assert receipt.threads == ("t1", "t2") == tuple(saver.deleted)
    assert repr(receipt).startswith("<DeletionReceipt 3 cards, 2 episodes, 1 erased, 3 feedback, ")
    assert kept(memory) == []
    assert kept(memory, "anabel") == others
    assert "ana" not in memory._store.users()
    (tomb,) = memory.store.store.search(("persona", "deleted"))
    assert "ana" not in tomb.key
    assert tomb.value["threads"] == []
    again = memory.delete_user("ana", checkpointer=saver)
    assert (again.records, again.threads, len(saver.deleted)) == ({}, (), 2)
    for user in (None, " "):
        with pytest.raises(KeyError, match="anonymous"):
            memory.delete_user(user)
    with pytest.raises(ConfigError, match="checkpointer"):
        memory.delete_user("ana", checkpointer=object())


def test_law_4_the_thread_of_an_imported_turn_may_be_anothers_and_is_not_deleted():
    memory, saver = fresh(), Threads()
    theirs = {**memory.export_user("eve"), "episodes": [episode("x", thread="ana's", imported=False).to_json()]}
    memory.import_user(theirs, "eve")
    assert memory.export_user("eve") == theirs
    (judged,) = memory.episodes.all("eve")
    memory.episodes.write("eve", judged.model_copy(update={"reward": 1.0}))  # as a later turn does
    memory.episodes.record("eve", episode("y", thread="eve's"), "verbatim")
    assert memory.delete_user("eve", checkpointer=saver).threads == ("eve's",)
    assert saver.deleted == ["eve's"]


def test_what_fails_half_way_is_resumed_at_every_batch():
    memory = fresh()
    live(memory)
    before = kept(memory)
    memory.store.batches.clear()
    memory.delete_user("ana", checkpointer=Threads())
    batches = len(memory.store.batches)
    assert 5 <= batches <= 12
    for position in range(batches):
        for late in (False, True):  # fails before it wrote, or the answer is lost
            memory = fresh()
            store, saver = memory.store, Threads()
            memory.store.store.batch([PutOp(tuple(path), key, value) for *path, key, value in before])
            store.batches.clear()

            def fail(*_: Any, store: Watched = store, position: int = position) -> None:
                if len(store.batches) == position + 1:
                    raise ConnectionError("gone")

            setattr(store, "after" if late else "before", fail)
            with pytest.raises(StoreError):
                memory.delete_user("ana", checkpointer=saver)
            other = fresh(store.store)  # another process reads in between, and may even clear up
            other.preferences("ana")
            memory.delete_user("ana", checkpointer=saver)
            assert kept(memory) == [], (position, late)
            assert set(saver.deleted) == {"t1", "t2"}, (position, late)


def remember(memory: PersonaMemory) -> None:
    memory.remember("ana", "Late words.")


def rate(memory: PersonaMemory) -> None:
    memory.feedback("ana", "20260101-" + "0" * 32, reward=1.0, key="late")


def finish(memory: PersonaMemory) -> None:
    card = PreferenceCard(text="Late words.")
    style = CommunicationStyle(warmth=Trait(value=0.5, confidence=1.0))
    memory.turns.finish("ana", [], Progress(since=1), cards=[card], style=style)


LATE: list[Callable[[PersonaMemory], object]] = [
    remember,
    rate,
    finish,
    lambda memory: memory.revise_persona("ana", "Late words."),
    lambda memory: memory.pin_persona("ana"),
    lambda memory: memory.episodes.record("ana", episode("late"), "verbatim"),
    lambda memory: memory.episodes.retry(memory.marks),
    lambda memory: show(memory),
    lambda memory: memory.rebuild("ana"),
    lambda memory: memory.forget("ana", "c1"),
]


@pytest.mark.parametrize("write", LATE)
def test_no_late_writer_brings_a_deleted_user_back(write):
    """An old worker that knows nothing of the deletion, whatever it writes, and whenever during the deletion."""
    memory = fresh()
    live(memory)
    before, marks = kept(memory), memory.episodes.pending("ana")
    memory.store.batches.clear()
    memory.delete_user("ana")
    for position in range(len(memory.store.batches) + 1):
        memory = fresh()
        memory.store.store.batch([PutOp(tuple(path), key, value) for *path, key, value in before])
        worker = fresh(memory.store.store)
        worker.marks = marks
        worker.preferences("ana"), worker.vectors("ana")
        memory.store.batches.clear()

        def intrude(
            *_: Any, store: Watched = memory.store, position: int = position, worker: PersonaMemory = worker
        ) -> None:
            if len(store.batches) == position + 1:
                write(worker)

        memory.store.before = intrude
        memory.delete_user("ana")
        if position == len(memory.store.batches):
            write(worker)
        worker.preferences("bo")  # whatever it reads next
        assert kept(memory) == [], position
        assert worker.preferences("ana", all=True) == []


def test_a_write_that_hangs_while_the_user_is_deleted_is_taken_back_when_it_lands():
    inner, gate = InMemoryStore(), threading.Event()
    slow, landed = Watched(inner), threading.Event()
    worker = fresh(slow, timeout_seconds=0.2)
    slow.before = lambda ops: gate.wait(10) if any(isinstance(op, PutOp) for op in ops) else None
    slow.after = lambda ops, results: landed.set()
    with pytest.raises(StoreError, match="no answer"):
        worker.remember("ana", "Late words.")
    fresh(inner).delete_user("ana")
    gate.set()
    assert landed.wait(10)
    while not worker._store._written:  # the same thread notes it right after
        time.sleep(0.001)
    assert worker.preferences("bo") == []
    assert inner.search(("persona", label("ana"))) == []


def test_a_deleted_user_is_anonymous_with_one_warning_until_they_are_readmitted(caplog):
    memory = fresh()
    live(memory)
    other = fresh(memory.store.store)
    assert other.preferences("ana")
    memory.delete_user("ana")
    assert not any(cache._kept for cache in memory._store.caches)
    for one in (memory, other):
        caplog.clear()
        memory.store.batches.clear()
        assert one.preferences("ana") == [] == one.ratings("ana")
        assert one.vectors("ana").count == 0
        assert one.remember("ana", "Likes tea.").text == "Likes tea."
        assert not one.revise_persona("ana", "x").pinned
        (said,) = warnings_in(caplog)
        assert "readmit_user" in said
        assert "ana" not in said.replace("anonymous", "")
        assert not [op for ops in memory.store.batches for op in ops if isinstance(op, PutOp)]
        assert kept(memory) == []
    memory.readmit_user("ana")
    memory.readmit_user("bo")
    assert other.remember("ana", "Likes tea.") in memory.preferences("ana")  # the other one learns of it


def test_what_a_dead_worker_left_does_not_come_back_with_the_user():
    memory = fresh()
    memory.delete_user("ana")
    left = PreferenceCard(id="1", text="Left.").to_json()
    memory.store.store.put(("persona", label("ana"), "cards"), "c=1", left)
    assert fresh(memory.store.store).preferences("ana") == []
    assert kept(memory) == []  # who meets it clears it up
    memory.store.store.put(("persona", label("ana"), "cards"), "c=1", left)
    memory.readmit_user("ana")
    assert memory.preferences("ana") == []


async def test_the_async_twins_do_the_same():
    memory, other = fresh(), fresh()
    await asyncio.to_thread(live, memory)
    receipt = await other.aimport_user(await memory.aexport_user("ana"))
    assert (receipt.cards, receipt.ratings, receipt.persona) == (3, 3, True)
    assert (await other.adelete_user("ana")).records["cards"] == 3
    await other.areadmit_user("ana")


# documents ------------------------------------------------------------------------------------------------------------


def test_a_document_ranks_bit_for_bit_the_same_on_another_store(tmp_path, monkeypatch):
    memory = fresh()
    live(memory)
    document = json.loads(json.dumps(memory.export_user("ana")))
    documents = InMemoryVectorStore(MODEL)
    documents.add_texts(list(TEXTS.values()), ids=list(TEXTS))
    with SqliteStore.from_conn_string(str(tmp_path / "s.sqlite3")) as store:
        store.setup()
        other = fresh(store)
        receipt = other.import_user(document)
        assert (receipt.cards, receipt.ratings, receipt.episodes, receipt.persona) == (3, 3, 2, True)
        found, now = [], time.time()
        # what was said counts less with age: both are asked at one moment
        monkeypatch.setattr("langchain_persona.retrieval.ranking.time", SimpleNamespace(time=lambda: now))
        for one in (memory, other):
            retriever = VARSRetriever(vectorstore=documents, memory=one, k=6)
            for query in ("film", "rockets and ships"):
                docs = retriever.invoke(query, {"configurable": {"user_id": "ana", "thread_id": "t1"}})
                found.append([(doc.id, doc.metadata["persona"]["score"]) for doc in docs])
        assert found[:2] == found[2:]
        assert found[0] != found[1]
        vectors = memory.vectors("ana", "t1")
        assert vectors.count == 1
        assert vectors.long.tobytes() == other.vectors("ana", "t1").long.tobytes()
        # a used key counts as used there too
        assert not other.feedback("ana", show(other).id, reward=1.0, key="k1").applied
        assert other.persona("ana") == memory.persona("ana")
        assert other.history("ana") == memory.history("ana")
        assert other.profile("ana") == memory.profile("ana")


def test_imported_twice_changes_nothing_and_what_is_there_stays():
    memory, other = fresh(), fresh()
    live(memory)
    document = memory.export_user("ana")
    other.import_user(document)
    (first, *_) = other.preferences("ana")
    other.retire("ana", first.id, "changed my mind")
    other.revise_persona("ana", "Flies.")
    before = other.export_user("ana")
    again = other.import_user(json.dumps(document))
    assert again == ImportReceipt()
    assert other.export_user("ana") == before
    # into a user with a ledger of their own, whose snapshot is younger than the imported ratings
    bo = fresh()
    bo.feedback("bo", show(bo, "bo", query="guns").id, reward=1.0)
    bo.rebuild("bo")
    document["ledger"] = [{**entry, "time": entry["time"] - 1_000.0} for entry in document["ledger"]]
    assert bo.import_user(document, "bo").ratings == 3
    found, expected = fresh(bo.store.store).vectors("bo"), bo.rebuild("bo")
    assert found.count == expected.count == 2
    assert found.long.tobytes() == expected.long.tobytes()


def test_law_5_a_snapshot_written_while_older_ratings_are_imported_does_not_hide_them(monkeypatch):
    clock, memory, bo = Clock(monkeypatch), fresh(), fresh()
    memory.feedback("ana", show(memory, now=clock.now - 1_000.0).id, reward=1.0)
    document = memory.export_user("ana")
    document["ledger"][0]["time"] -= 1_000.0
    bo.feedback("bo", show(bo, "bo", query="guns", now=clock.now).id, reward=1.0)
    clock.now += 100.0
    other = fresh(bo.store.store)

    def while_writing(ops: list[Any]) -> None:
        if writes(ops, "state"):
            bo.store.before = lambda ops: None
            assert other.import_user(document, "bo").ratings == 1

    bo.store.before = while_writing
    bo.vectors("bo")  # folds what it read ahead of the import
    found = [one.vectors("bo") for one in (bo, other, fresh(bo.store.store))]
    assert [one.count for one in found] == [2, 2, 2]
    assert {one.long.tobytes() for one in found} == {bo.rebuild("bo").long.tobytes()}


def test_an_erased_card_stays_out_with_its_story_until_the_user_is_deleted_and_readmitted():
    memory = fresh()
    live(memory)
    document = memory.export_user("ana")
    ships = next(card for card in memory.preferences("ana") if "ships" in card.text)
    memory.forget("ana", ships.id)
    receipt = memory.import_user(document)
    assert (receipt.cards, receipt.episodes, receipt.erased) == (0, 0, 2)  # the card, and the turn that it came from
    assert "ships" not in json.dumps(memory.export_user("ana")["cards"] + memory.export_user("ana")["episodes"])
    told = {**document["persona"], "revision": {"number": 1, "text": "Likes ships.\nSails."}}
    late = fresh()
    late.forget("ana", late.remember("ana", ships).id)
    assert late.import_user({**document, "persona": told}).persona
    assert late.persona("ana").revision.text == "Sails."
    # the erasure travels: the older document does not bring it back elsewhere either
    other = fresh()
    other.import_user(memory.export_user("ana"))
    assert other.import_user(document).erased == 2
    memory.delete_user("ana")
    with pytest.raises(ConfigError, match="readmit_user"):
        memory.import_user(document)
    memory.readmit_user("ana")
    assert memory.import_user(document).cards == 3


def changed(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: {**document, **changes}


REFUSED: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda document: json.dumps(document)[:-40], "cut off"),
    (lambda document: b"\xff", "not JSON"),
    (lambda document: 7, "not a document"),
    (lambda document: {"cards": []}, "not a document"),
    (lambda document: {**document, "x": document.keys()}, "not JSON"),
    (lambda document: {key: value for key, value in document.items() if key != "ledger"}, "ledger: Field required"),
    (changed(version=2), "version 2, and this package reads 1"),
    (changed(cards=[{"text": "fine"}, {"text": ""}]), "cards.1.text"),
    (changed(user=" "), "user"),
    (changed(erased=["../x"]), "erased"),
    (changed(cards=[{"text": "a date in milliseconds", "updated": 1.7e12}]), "cards.0.updated"),
    (changed(cards=[{"text": "a date before all", "updated": -1e20}]), "cards.0.updated"),
    (changed(style={"warmth": {"value": float("nan")}}), "not JSON"),
    (changed(persona={"revision": {"text": "x" * 5_000}}), "4,000 characters"),
    (lambda document: {**document, "ledger": [{**document["ledger"][0], "time": 1e300}]}, "time"),
    (lambda document: {**document, "ledger": [{**document["ledger"][0], "dimension": 10**9}]}, "vectors"),
    (changed(padding="x" * 1_000_000), "raise max_bytes"),
    (lambda document: "[" * 2_000_000, "raise max_bytes"),
    (lambda document: [{"memory": "fine"}, {"memory": ""}], "1 to 4,000"),
]


@pytest.mark.parametrize(("spoil", "words"), REFUSED)
def test_what_is_not_a_whole_document_is_refused_in_plain_words_and_nothing_is_written(spoil, words):
    memory, other = fresh(), fresh()
    live(memory)
    with pytest.raises(DocumentError, match=words) as caught:
        other.import_user(spoil(memory.export_user("ana")), "bo", max_bytes=900_000)
    assert not other.store.batches or not [op for ops in other.store.batches for op in ops if isinstance(op, PutOp)]
    assert "ships" not in str(caught.value)


def test_characters_that_stores_refuse_are_left_out_of_a_document():
    memory = fresh()
    memory.import_user([{"id": "1", "memory": "Likes\0 tea \ud800 and \\u0000."}], "ana")
    assert [card.text for card in memory.preferences("ana")] == ["Likes tea ? and \\u0000."]


def test_an_imported_past_is_found_again_and_only_its_latest_exchanges_are_copied():
    memory, other = fresh(), fresh()
    for number in range(230):
        told = episode(f"e{number}", query=f"Number {number}?", time=1e9 + number)
        memory.episodes.write_all("ana", [memory.episodes.with_vector(told)])
    other.import_user(memory.export_user("ana"))
    expected = [f"e{number}" for number in range(30, 230)]
    assert list(fresh(other.store.store).episodes.read_past("ana")) == expected
    third = fresh()
    recent = episode("recent", query="Recent?", time=2e9)
    third.episodes.write_all("ana", [third.episodes.with_vector(recent)])
    third.import_user(memory.export_user("ana"))
    assert list(fresh(third.store.store).episodes.read_past("ana")) == [*expected[1:], "recent"]


def test_what_other_tools_remember_becomes_cards():
    memory = fresh()
    mem0 = {"results": [{"id": "m1", "memory": "Likes tea", "created_at": "2026-01-02T03:04:05-07:00"}]}
    langmem = [{"namespace": ["memories"], "key": "l1", "value": {"kind": "Memory", "content": {"content": "Is tall"}}}]
    with pytest.raises(DocumentError, match="whose"):
        memory.import_user(mem0)
    assert memory.import_user(mem0, "ana").cards == memory.import_user(langmem, "ana").cards == 1
    assert memory.import_user(langmem, "ana").cards == 0
    tea, tall = memory.preferences("ana")
    assert (tea.id, tea.text, tea.created, tall.text) == ("m1", "Likes tea", 1_767_348_245.0, "Is tall")
    assert memory.cards.read("ana").vectors.any(axis=1).all()


def test_a_date_without_a_zone_is_utc_wherever_it_is_read(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        memory = fresh()
        memory.import_user([{"memory": "Likes tea", "created_at": "2026-01-02T03:04:05"}], "ana")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert memory.preferences("ana")[0].created == 1_767_323_045.0


def test_cards_travel_to_another_product_and_back_in_portable_ai_memory():
    memory, other = fresh(), fresh()
    old = memory.remember("ana", PreferenceCard(text="Drinks coke.", kind="like", confidence=0.5, origin="inferred"))
    new = memory.update("ana", old.id, PreferenceCard(text="Drinks  Coffee.", kind="like", condition="before noon"))
    memory.pin("ana", memory.remember("ana", PreferenceCard(text="Be brief.", kind="style", scope="always")).id)
    memory.hold_back("ana", memory.remember("ana", "Is ill.").id)
    memory.retire("ana", memory.remember("ana", "Lives in Lyon.").id, "moved")
    document = memory.export_user("ana", format="pam")
    assert memory.export_user("bob", format="pam")["memories"] == []
    assert other.import_user(json.dumps(document)).cards == 5
    facts = {"id", "kind", "scope", "origin", "confidence", "pinned", "held_back"}
    told = lambda memory: [one.model_dump(include=facts) for one in memory.preferences("ana", all=True)]  # noqa: E731
    assert told(other) == told(memory)
    first, second, *_, last = other.preferences("ana", all=True)
    assert (second.text, first.retired.by, last.retired.reason) == (
        "Drinks  Coffee. (before noon)",
        new.id,
        "deprecated",
    )
    for damage in ({"schema_version": "2.0"}, {"memories": None}, {"memories": [{"content": "x"}]}, {"owner": "ana"}):
        with pytest.raises(DocumentError):
            fresh().import_user({**document, **damage})
    with pytest.raises(ConfigError, match='"langchain-persona" or "pam"'):
        memory.export_user("ana", format="vcard")

    jsonschema.validate(document, load_schema("memory-store"), format_checker=jsonschema.FormatChecker())
    assert validate(MemoryStore.model_validate(document)).issues == []


def test_a_document_of_nobody_is_asked_for_in_vain_and_an_anonymous_user_gets_none():
    memory = fresh()
    with pytest.raises(KeyError, match="anonymous"):
        memory.export_user(None)
    with pytest.raises(KeyError, match="anonymous"):
        memory.import_user(memory.export_user("ana"), "")
    assert memory.import_user(memory.export_user("ana")).persona is False


def test_the_schema_describes_what_is_exported():
    memory = fresh()
    live(memory)
    schema = UserDocument.model_json_schema()
    assert set(schema["required"]) == set(memory.export_user("ana")) == set(schema["properties"])


# any history ----------------------------------------------------------------------------------------------------------

STEPS = st.sampled_from(
    ["remember", "update", "retire", "revive", "pin", "forget", "rate", "withdraw", "turn", "persona", "back", "read"]
)


def step(memory: PersonaMemory, what: str, index: int) -> None:
    cards = memory.preferences("ana", all=True)
    card = cards[index % len(cards)].id if cards else None
    ratings, history = memory.ratings("ana"), memory.history("ana")
    if what == "remember":
        memory.remember("ana", f"Likes number {index}. \U0001f600")
    elif what in ("update", "retire", "revive", "pin", "forget") and card:
        more = (f"Prefers number {index}.",) if what == "update" else ()
        getattr(memory, what)("ana", card, *more)
    elif what == "rate":
        shown = show(memory, "ana", f"t{index % 2}", TEXTS[f"d{index % 6}"])
        memory.feedback("ana", shown.id, reward=(index % 5 - 2) / 2, key=f"k{index}" if index % 3 else None)
    elif what == "withdraw" and ratings:
        memory.withdraw("ana", ratings[index % len(ratings)].id)
    elif what == "turn":
        memory.episodes.record("ana", episode(f"e{index}", query=f"Number {index}?"), "verbatim")
    elif what == "persona":
        memory.revise_persona("ana", f"Counts to {index}.")
    elif what == "back" and history:
        memory.rollback_persona("ana", history[index % len(history)].number)
    elif what == "read":
        memory.vectors("ana")


@settings(max_examples=40)
@given(steps=st.lists(st.tuples(STEPS, st.integers(0, 20)), max_size=25))
def test_after_any_history_an_imported_user_is_equal(steps):
    memory, other = fresh(InMemoryStore()), fresh(InMemoryStore())
    for what, index in steps:
        step(memory, what, index)
    document = memory.export_user("ana")
    assert json.loads(json.dumps(document)) == document
    other.import_user(document, "ana")
    assert other.export_user("ana") == document
    for session in ("", "t0", "t1"):
        mine, theirs = memory.vectors("ana", session), other.vectors("ana", session)
        assert mine.long.tobytes() == theirs.long.tobytes()
        assert mine.short.tobytes() == theirs.short.tobytes()
        assert (mine.count, mine.baseline) == (theirs.count, theirs.baseline)
    assert np.array_equal(memory.cards.read("ana").vectors, other.cards.read("ana").vectors)
    before = kept(other)
    assert other.import_user(document, "ana") == ImportReceipt()
    assert [one for one in kept(other) if "versions" not in one] == [one for one in before if "versions" not in one]
    other.delete_user("ana")
    assert kept(other) == []
