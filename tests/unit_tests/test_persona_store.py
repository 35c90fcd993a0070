"""Style, persona and revisions in the store: two reads, nothing lost, nothing left of what was forgotten."""

from __future__ import annotations

import json
import logging

import pytest
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore

from langchain_persona.effects import arun, run
from langchain_persona.errors import ConfigError
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.revisions import FORGOTTEN, MAX_CHARACTERS, Draft, SourcedPersona, diff
from langchain_persona.persona import TemplateWriter
from langchain_persona.records import CommunicationStyle, Language, PreferenceCard, Trait

TEA = PreferenceCard(id="tea", note="drinks green tea", always=True, created=1.0)
NUTS = PreferenceCard(id="nuts", note="no nuts", kind="avoid", always=True, created=2.0)
JAZZ = PreferenceCard(id="jazz", note="loves jazz", always=True, created=3.0)


@pytest.fixture(params=["memory", "sqlite"])
def memory(request):
    if request.param == "memory":
        yield PersonaMemory(InMemoryStore())
    else:
        with SqliteStore.from_conn_string(":memory:") as store:
            store.setup()
            yield PersonaMemory(store)


def draft(memory: PersonaMemory, *cards: PreferenceCard, user: str = "ana") -> Draft:
    found = TemplateWriter().write(memory.persona(user), cards)
    assert found is not None
    return found


def adopt(memory: PersonaMemory, *cards: PreferenceCard, user: str = "ana", **options):
    return run(memory.personas.adopt(user, draft(memory, *cards, user=user), **options))


def stored(memory: PersonaMemory, user: str = "ana") -> str:
    items = memory.store.search(memory.ledger.namespace(user), limit=1_000)
    return json.dumps([item.value for item in items], ensure_ascii=False)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_before_anything_there_are_defaults(memory):
    assert memory.persona("ana").revision.text == ""
    assert memory.profile("ana").style == CommunicationStyle()
    assert memory.history("ana") == []


def test_the_hot_path_reads_both_in_one_batch(memory):
    style = CommunicationStyle(
        verbosity=Trait(value=-0.5, confidence=0.7), language=Language(code="de", confidence=1.0)
    )
    memory.store.batch([memory.personas.style_op("ana", style)])
    kept = adopt(memory, TEA)
    items = memory.store.batch(memory.personas.ops("ana"))
    assert memory.personas.parse(items) == (style, kept)
    assert memory.personas.parse(memory.store.batch(memory.personas.ops("ana2")))[1] == SourcedPersona()
    assert memory.profile("ana").style == style


def test_revisions_are_numbered_with_reason_and_diff(memory):
    adopt(memory, TEA)
    persona = adopt(memory, TEA, NUTS)
    assert (persona.revision.number, persona.latest) == (2, 2)
    assert persona.revision.text == "Drinks green tea.\nNo nuts."
    assert persona.revision.diff == "--- revision 1\n+++ revision 2\n@@ -1 +1,2 @@\n Drinks green tea.\n+No nuts."
    assert persona.revision.reason == "preferences for every conversation: 1 added"
    assert (persona.revision.cards, persona.revision.sources) == (("tea", "nuts"), (("tea",), ("nuts",)))
    assert [revision.number for revision in memory.history("ana")] == [1, 2]
    assert memory.persona("ana") == persona
    assert memory.history("bob") == []


def test_the_same_text_makes_no_revision(memory):
    once = draft(memory, TEA)
    run(memory.personas.adopt("ana", once))
    run(memory.personas.adopt("ana", once))
    assert len(memory.history("ana")) == 1


def test_a_draft_survives_json_and_waits_for_a_person(memory):
    waiting = Draft.model_validate(json.loads(json.dumps(draft(memory, TEA, NUTS).to_json())))
    assert waiting.diff.startswith("--- revision 0\n+++ revision 1")
    persona = run(memory.personas.adopt("ana", waiting, text=" No nuts. \n\nNever nuts."))
    assert (persona.revision.text, persona.revision.origin) == ("No nuts.\nNever nuts.", "user")
    assert (persona.revision.sources, persona.revision.cards) == ((("nuts",), ()), ("nuts",))


def test_a_card_erased_while_a_draft_waited_does_not_come_back(memory):
    persona = adopt(memory, TEA, NUTS, active={"tea"})
    assert persona.revision.text == "Drinks green tea."
    assert "nuts" not in stored(memory)


def test_pinned_stays_until_a_person_speaks(memory):
    adopt(memory, TEA)
    assert memory.pin_persona("ana").pinned
    assert adopt(memory, TEA, NUTS).revision.number == 1
    assert adopt(memory, TEA, NUTS, text="Mine.").revision.text == "Mine."
    assert memory.revise_persona("ana", "Mine, again.").pinned
    assert not memory.pin_persona("ana", False).pinned


def test_written_by_hand(memory):
    adopt(memory, TEA, NUTS)
    persona = memory.revise_persona("ana", "No nuts.\nCall me Al.", reason="asked for it")
    assert (persona.revision.origin, persona.revision.reason) == ("user", "asked for it")
    assert persona.revision.sources == (("nuts",), ())
    for wrong in (None, 7, "x" * (MAX_CHARACTERS + 1)):
        with pytest.raises(ConfigError, match="4,000"):
            memory.revise_persona("ana", wrong)
    assert memory.revise_persona("ana", "").revision.text == ""


def test_rolled_back(memory):
    first = adopt(memory, TEA)
    adopt(memory, TEA, NUTS)
    persona = memory.rollback_persona("ana", 1)
    assert (persona.revision.text, persona.revision.number) == (first.revision.text, 3)
    assert (persona.revision.origin, persona.revision.cards) == ("rollback", ("tea",))
    assert "-No nuts." in persona.revision.diff
    assert memory.rollback_persona("ana", 0).revision.text == ""
    with pytest.raises(KeyError, match="no revision 9"):
        memory.rollback_persona("ana", 9)


def test_forgetting_takes_it_out_of_every_revision_and_diff(memory):
    adopt(memory, TEA)
    adopt(memory, TEA, NUTS)
    adopt(memory, TEA, NUTS, JAZZ)
    memory.revise_persona("ana", "No nuts.\nLoves jazz.\nReally, drinks GREEN tea!", reason="green tea matters")
    memory.revise_persona("ana", "No nuts.\nLoves jazz.", reason="shorter")
    persona = run(memory.drop_from_persona("ana", [TEA]))
    assert persona.revision.text == "No nuts.\nLoves jazz."
    assert "tea" not in stored(memory).casefold().replace("instead", "")
    history = memory.history("ana")
    assert [revision.number for revision in history] == [1, 2, 3, 4, 5]
    assert [revision.text for revision in history][:2] == ["", "No nuts."]
    assert history[0].reason == FORGOTTEN
    assert history[1].diff == diff("", "No nuts.", 1, 2)
    assert history[4].reason == "shorter"


def test_forgetting_by_id_shortens_the_persona_in_force(memory):
    adopt(memory, TEA, NUTS)
    persona = run(memory.drop_from_persona("ana", ["nuts"]))
    assert (persona.revision.text, persona.revision.number, persona.latest) == ("Drinks green tea.", 2, 2)
    assert (persona.revision.cards, persona.revision.diff) == (("tea",), "")
    assert memory.persona("ana") == persona
    assert "nuts" not in stored(memory).casefold()
    again = run(memory.drop_from_persona("ana", ["nuts"]))
    assert again == persona
    assert len(memory.history("ana")) == 2
    assert adopt(memory, TEA, JAZZ).revision.number == 3


def test_a_corrupt_record_costs_one_warning_and_no_number(memory, caplog):
    adopt(memory, TEA)
    place = memory.ledger.namespace("ana", "persona")
    memory.store.put(place, "style", {"verbosity": {"value": 9}}, index=False)
    memory.store.put(place, "current", {"revision": "secret"}, index=False)
    assert memory.personas.parse(memory.store.batch(memory.personas.ops("ana"))) == (
        CommunicationStyle(),
        SourcedPersona(),
    )
    (warning,) = warnings_in(caplog)
    assert "secret" not in warning
    caplog.clear()
    assert adopt(memory, NUTS).revision.number == 2
    assert [revision.number for revision in memory.history("ana")] == [1, 2]
    memory.store.batch(
        [PutOp(memory.ledger.namespace("ana", "persona", "revisions"), "x", {"number": "?"}, index=False)]
    )
    assert len(memory.history("ana")) == 2
    assert any("unreadable revision" in line for line in warnings_in(caplog))


def test_two_writers_at_once_lose_no_revision(memory):
    one, other = draft(memory, TEA), draft(memory, NUTS)
    steps = [memory.personas.adopt("ana", each) for each in (one, other)]
    effects = [next(each) for each in steps]  # both have yet to read
    answers = [memory.store.batch(effect.ops) for effect in effects]
    for each, answer in zip(steps, answers, strict=True):
        effect = each.send(answer)
        while True:
            try:
                effect = each.send(memory.store.batch(effect.ops))
            except StopIteration:
                break
    assert {revision.text for revision in memory.history("ana")} == {one.text, other.text}


def test_the_anonymous_user_has_nothing(memory):
    for user in (None, "", "  "):
        assert memory.revise_persona(user, "Mine.").revision.text == ""
        assert memory.pin_persona(user).pinned is False
        assert memory.profile(user).facts == ()
        assert memory.history(user) == []
        assert run(memory.drop_from_persona(user, ["tea"])) == SourcedPersona()
        with pytest.raises(KeyError):
            memory.rollback_persona(user, 0)
    assert memory.store.search((), limit=10) == []


async def test_the_async_twins():
    memory = PersonaMemory(InMemoryStore())
    await memory.arevise_persona("ana", "Drinks tea.")
    await memory.arevise_persona("ana", "Drinks coffee.")
    assert (await memory.apersona("ana")).revision.text == "Drinks coffee."
    assert (await memory.arollback_persona("ana", 1)).revision.text == "Drinks tea."
    assert (await memory.apin_persona("ana")).pinned
    assert [revision.number for revision in await memory.ahistory("ana")] == [1, 2, 3]
    assert (await memory.aprofile("ana")).style == CommunicationStyle()
    assert (await arun(memory.drop_from_persona("ana", []))).revision.number == 3


def test_facts_are_part_of_the_profile():
    import uuid

    import chromadb

    from langchain_persona.testing import HashEmbeddings

    collection = chromadb.EphemeralClient().create_collection(f"t{uuid.uuid4().hex}", embedding_function=None)
    memory = PersonaMemory(InMemoryStore(), cards=collection, embeddings=HashEmbeddings(8))
    nurse = memory.remember("ana", PreferenceCard(note="I work as a nurse", kind="fact"))
    memory.remember("ana", TEA)
    old = memory.remember("ana", PreferenceCard(note="I live in Rome", kind="fact"))
    memory.hold_back("ana", old.id)
    assert memory.profile("ana").facts == (nurse,)
