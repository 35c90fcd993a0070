"""The persona text: numbered revisions, pin and rollback, two reads a turn, and nothing lost between two writers."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_persona.errors import ConfigError
from langchain_persona.identity import label
from langchain_persona.memory import PersonaMemory
from langchain_persona.memory.persona import LONGEST_PERSONA, diff_texts
from langchain_persona.records import CommunicationStyle, Persona, PersonaRevision
from tests.memories import MODEL, Watched, warnings_in, writes

TEA, NUTS, JAZZ = ("Drinks green tea.", ("tea",)), ("No nuts.", ("nuts",)), ("Loves jazz.", ("jazz",))
PLACE = ("persona", label("ana"), "persona")


@pytest.fixture
def memory() -> PersonaMemory:
    return PersonaMemory(Watched(), MODEL)


def write(memory: PersonaMemory, *lines: tuple[str, tuple[str, ...]], **options: Any) -> Persona:
    """What a template writer does."""
    options = {"reason": "new", "origin": "template", **options}
    new = memory.personas.revised(memory.persona("ana"), lines, **options)
    return new if new == memory.persona("ana") else memory.personas.write("ana", new)


def test_a_revision_has_a_number_a_reason_a_diff_and_sources(memory):
    write(memory, TEA)
    persona = write(memory, TEA, NUTS)
    assert (persona.revision.number, persona.latest, persona.revision.reason) == (2, 2, "new")
    assert persona.revision.diff == "--- revision 1\n+++ revision 2\n@@ -1 +1,2 @@\n Drinks green tea.\n+No nuts."
    assert persona.revision.lines == [TEA, NUTS]
    assert memory.persona("ana") == persona
    assert [(one.number, one.diff) for one in memory.history("ana")][1] == (2, persona.revision.diff)
    assert memory.history("bob") == []
    again = memory.personas.revised(persona, [TEA, NUTS], reason="again", origin="template")
    assert again is persona  # the same text is no revision


def test_a_pinned_persona_is_changed_by_people_only(memory):
    write(memory, TEA)
    assert memory.pin_persona("ana").pinned
    for origin in ("template", "model"):
        assert write(memory, TEA, NUTS, origin=origin).revision.number == 1
    assert memory.revise_persona("ana", "Mine.").revision.text == "Mine."
    assert memory.rollback_persona("ana", 1).pinned
    assert not memory.pin_persona("ana", False).pinned
    assert write(memory, JAZZ).revision.number == 4


def test_lines_kept_by_hand_keep_their_sources(memory):
    write(memory, TEA, NUTS)
    assert memory.revise_persona("ana", " No nuts. \nCall me Al.").revision.sources == (("nuts",), ())
    assert memory.rollback_persona("ana", 1).revision.lines == [TEA, NUTS]
    assert memory.rollback_persona("ana", 0).revision.text == ""
    assert memory.revise_persona("ana", "").latest == 4  # nothing to change
    for wrong in (None, 7, "x" * (LONGEST_PERSONA + 1)):
        with pytest.raises(ConfigError, match="4,000 characters"):
            memory.revise_persona("ana", wrong)


def test_law_6_dropping_takes_a_line_out_of_every_revision_and_diff(memory):
    write(memory, TEA)
    write(memory, TEA, NUTS)
    memory.revise_persona("ana", "No nuts.\nReally, drinks GREEN tea!", reason="asked for it")
    memory.revise_persona("ana", "No nuts.\nLoves jazz.", reason="shorter")
    memory.personas.drop("ana", ["tea"], ["Drinks green tea."])
    assert memory.persona("ana").revision.text == "No nuts.\nLoves jazz."
    history = memory.history("ana")
    assert [one.text for one in history] == ["", "No nuts.", "No nuts.", "No nuts.\nLoves jazz."]
    assert [one.reason for one in history[2:]] == ["shortened: something that it rested on was erased", "shorter"]
    assert history[3].diff == diff_texts(history[2], history[3])
    assert "green" not in str([item.value for item in memory.store.search(PLACE, limit=100)]).casefold()
    before = len(memory.store.search(PLACE, limit=100))
    memory.personas.drop("ana", ["nuts"], ())
    persona = memory.persona("ana")
    assert (persona.revision.text, persona.revision.number, persona.latest) == ("Loves jazz.", 5, 5)
    memory.personas.drop("ana", ["nuts"], ["Drinks green tea."])
    assert memory.persona("ana") == persona
    assert len(memory.store.search(PLACE, limit=100)) == before + 1


def test_law_5_two_writers_at_once_lose_no_revision(memory):
    other = PersonaMemory(memory.store, MODEL)

    def meanwhile(ops: list[Any]) -> None:
        if writes(ops, "persona"):
            memory.store.before = lambda ops: None
            other.revise_persona("ana", "Theirs.")

    memory.store.before = meanwhile
    memory.revise_persona("ana", "Mine.")
    assert {revision.text for revision in memory.history("ana")} == {"Mine.", "Theirs."}
    assert other.persona("ana") == memory.persona("ana")


def test_a_corrupt_record_costs_one_warning_and_no_revision(memory, caplog):
    write(memory, TEA)
    memory.store.put(PLACE, "style", {"verbosity": {"value": 9}}, index=False)
    assert memory.profile("ana").style == CommunicationStyle()
    memory.store.put((*PLACE, "revisions"), "x", {"number": "?", "text": "secret words"}, index=False)
    assert [revision.number for revision in memory.history("ana")] == [1]
    memory.store.put(PLACE, "current", {"revision": "secret words"}, index=False)
    assert memory.persona("ana").revision == PersonaRevision()
    assert "secret words" not in caplog.text
    assert write(memory, NUTS).revision.text == "No nuts."
    assert {revision.text for revision in memory.history("ana")} == {"Drinks green tea.", "No nuts."}
    assert warnings_in(caplog) != []
