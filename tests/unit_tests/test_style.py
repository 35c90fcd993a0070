"""Communication style: slow, bounded, told only when known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.errors import ConfigError
from langchain_persona.records import CommunicationStyle, Language, Trait
from langchain_persona.rewards import Signal
from langchain_persona.style import MAX_STEP, NAMES, describe, observe

TRAITS = [name for name in CommunicationStyle.model_fields if name != "language"]


def after(*messages, style=None):
    style = style or CommunicationStyle()
    for message in messages:
        style = observe(style, message)
    return style


def test_nothing_known_nothing_said():
    assert describe(CommunicationStyle()) == []
    assert describe(observe(CommunicationStyle(), "What is the capital of Peru?")) == []


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("Too long!", "Keep answers short."),
        ("Zu lang.", "Keep answers short."),
        ("C'est trop long.", "Keep answers short."),
        ("Demasiado largo.", "Keep answers short."),
        ("太长了。", "Keep answers short."),
        ("I prefer detailed answers.", "Answer in full detail."),
        ("Du kannst mich duzen.", "Write in a casual tone."),
        ("Explain like I'm five.", "Explain in plain words, without jargon."),
        ("No lists please.", "Write in prose, without lists."),
        ("in German please", "Answer in German."),
        ("请用英文回答", "Answer in English."),
    ],
)
def test_what_is_asked_for_is_in_force_at_once(message, sentence):
    assert describe(after(message)) == [sentence]


def test_it_changes_slowly():
    known = after("Too long!", "Too long!", "Too long!")
    assert known.verbosity == Trait(value=-1.0, confidence=0.875)
    once = observe(known, "I prefer long answers.")
    assert once.verbosity == Trait(value=-0.5, confidence=0.4375)
    assert "Keep answers short." in describe(once)
    turned = after("I prefer long answers.", "I prefer long answers.", "I want long answers.", style=once)
    assert "Answer in full detail." in describe(turned)


def test_how_the_user_writes_counts_little():
    once = after("hey dude, gonna need a cake")
    assert -0.1 <= once.formality.value < 0.0
    assert describe(once) == []
    assert "Write in a casual tone." in describe(after(*["hey dude, gonna need a cake"] * 12))


def test_the_language_that_is_written_is_learned_slowly_and_an_asked_one_at_once():
    german = "Ich habe heute eine Frage zu meinem Garten und weiß nicht, wie ich das machen soll."
    once = after(german)
    assert once.language.code == "de"
    assert describe(once) == []
    assert describe(after(*[german] * 4)) == ["Answer in German."]
    asked = after("Please answer in French from now on.")
    assert asked.language == Language(code="fr", confidence=1.0)
    assert after(german, german, style=asked).language.code == "fr"


def test_another_language_weakens_before_it_replaces():
    known = CommunicationStyle(language=Language(code="fr", confidence=0.5))
    german = "Ich habe heute eine Frage zu meinem Garten und weiß nicht, wie ich das machen soll."
    once = observe(known, german)
    assert (once.language.code, once.language.confidence) == ("fr", pytest.approx(0.2))
    assert observe(once, german).language.code == "de"


def test_praise_strengthens_and_blame_weakens_what_is_in_force():
    known = CommunicationStyle(verbosity=Trait(value=-1.0, confidence=0.6))
    up = observe(known, "ok", follow_up=Signal("follow_up", 0.8, "thanks"))
    down = observe(known, "ok", follow_up=Signal("follow_up", -0.8, "complaint"))
    assert down.verbosity.confidence < 0.6 < up.verbosity.confidence
    assert up.warmth == Trait()  # nothing known, nothing to strengthen
    assert observe(known, "ok", follow_up=Signal("follow_up", 0.1, "meh")) == known


def test_observe_changes_no_argument():
    style = CommunicationStyle()
    observe(style, "Too long!")
    assert style == CommunicationStyle()


@given(
    st.lists(
        st.sampled_from(["Too long!", "Too short!", "hey lol dude", "I prefer long answers.", "ok", "太长了"]),
        max_size=12,
    )
)
def test_a_step_is_bounded(messages):
    style = CommunicationStyle()
    for message in messages:
        new = observe(style, message, follow_up=Signal("follow_up", 1.0, "thanks"))
        for name in TRAITS:
            old_trait, new_trait = getattr(style, name), getattr(new, name)
            assert abs(new_trait.value - old_trait.value) <= MAX_STEP + 1e-9
            assert abs(new_trait.confidence - old_trait.confidence) <= MAX_STEP + 1e-9
        style = new


@pytest.mark.parametrize("name", TRAITS)
def test_both_ends_of_every_trait_have_words(name):
    low, high = (CommunicationStyle(**{name: Trait(value=value, confidence=0.9)}) for value in (-1.0, 1.0))
    assert len({*describe(low), *describe(high)}) == 2


def test_every_language_name_is_told():
    for code, name in NAMES.items():
        assert describe(CommunicationStyle(language=Language(code=code, confidence=1.0))) == [f"Answer in {name}."]
    assert describe(CommunicationStyle(language=Language(code="xx", confidence=1.0))) == []


def test_the_threshold_counts_and_is_checked():
    style = CommunicationStyle(verbosity=Trait(value=-1.0, confidence=0.5))
    assert describe(style, 0.6) == []
    assert describe(style, 0.5) == ["Keep answers short."]
    for wrong in (0.0, 1.5):
        with pytest.raises(ConfigError, match="minimum_confidence"):
            describe(style, wrong)
