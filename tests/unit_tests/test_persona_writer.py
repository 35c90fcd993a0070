"""The template persona: one line for every card that holds in every conversation."""

from __future__ import annotations

from langchain_persona.records import Persona, PersonaRevision, PreferenceCard, Retirement
from langchain_persona.reflection.persona import draft_persona


def card(name: str, **fields: object) -> PreferenceCard:
    return PreferenceCard.model_validate({"id": name, "text": f"Text of {name}.", "scope": "always", **fields})


def persona(text: str, *sources: tuple[str, ...], pinned: bool = False) -> Persona:
    return Persona(revision=PersonaRevision(number=1, text=text, sources=sources), latest=1, pinned=pinned)


def test_one_line_for_every_always_card_in_the_users_words():
    cards = [card("a"), card("b", scope="topic"), card("c")]
    assert draft_persona(Persona(), cards) == [("Text of a.", ("a",)), ("Text of c.", ("c",))]
    assert draft_persona(Persona(), [card("b", scope="topic")]) is None


def test_it_stands_while_nothing_changes():
    cards = [card("a"), card("b")]
    lines = draft_persona(Persona(), cards)
    assert lines is not None
    same = persona("\n".join(line for line, _ in lines), *(names for _, names in lines))
    assert draft_persona(same, cards) is None


def test_lines_of_a_person_and_of_a_model_stay_and_those_of_retired_cards_go():
    now = persona("By hand.\nOf a and b.\nText of c.", (), ("a", "b"), ("c",))
    retired = card("c", retired=Retirement(time=1.0))
    assert draft_persona(now, [card("a"), card("b"), retired]) == [("By hand.", ()), ("Of a and b.", ("a", "b"))]
    assert draft_persona(now, [card("a"), card("b", held_back=True), retired]) == [
        ("By hand.", ()),
        ("Text of a.", ("a",)),
    ]


def test_a_pinned_persona_is_left_alone():
    assert draft_persona(persona("By hand.", pinned=True), [card("a")]) is None


def test_the_text_is_bounded_and_each_line_is_clean():
    cards = [card(f"c{number}", text=f"{number} <b>{'x' * 250}</b>") for number in range(50)]
    lines = draft_persona(Persona(), cards)
    assert lines is not None
    assert sum(len(line) + 1 for line, _ in lines) <= 4_000
    assert not any("<" in line for line, _ in lines)
