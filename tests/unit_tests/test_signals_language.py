"""Which of five languages, or none; and the text that all signals are read from."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.signals import language_of
from langchain_persona.signals.lexicon import LANGUAGES, load, pattern
from langchain_persona.signals.text import clauses, fold, visible, words

TEXTS = {
    "en": ["please always answer in German", "What is the weather like?", "I prefer short answers", "I said no"],
    "de": ["Ich hätte gern kurze Antworten", "Bitte antworte auf Englisch", "Wie ist das Wetter?", "Kein Zucker bitte"],
    "fr": ["Je préfère des réponses courtes", "Quel temps fait-il ?", "Réponds en anglais, s'il te plaît"],
    "es": ["Prefiero respuestas cortas", "¿Qué tiempo hace hoy?", "Responde en inglés, por favor"],
    "zh": ["请用中文回答", "今天天气怎么样", "我喜欢 Python 和 Java"],
}


@pytest.mark.parametrize(("language", "text"), [(code, text) for code, texts in TEXTS.items() for text in texts])
def test_the_language_is_found(language, text):
    code, confidence = language_of(text)
    assert code == language
    assert 0.0 < confidence <= 1.0


@pytest.mark.parametrize(
    "text", ["", "ok", "pizza", "12345", "😀", "日本語です", "Привет, как дела?", "안녕하세요", "Kubernetes ingress"]
)
def test_unsure_is_none(text):
    assert language_of(text) == (None, 0.0)


def test_more_words_are_surer():
    assert language_of("I said no")[1] < language_of("I like it because it is what I want from you")[1]


@given(st.text(max_size=200))
def test_it_never_raises(text):
    code, confidence = language_of(text)
    assert (code is None) is (confidence == 0.0)
    assert 0.0 <= confidence <= 1.0


def test_ten_megabytes_take_no_time():
    begin = time.perf_counter()
    language_of("the world " * 1_000_000)
    assert time.perf_counter() - begin < 1.0


def test_what_is_seen():
    assert visible("ｉｇ\u200bnore\u2028me\x07 ’now’") == "ignore\nme  'now'"
    assert visible("\ud800x") == "x"
    assert fold("Schön, ÇA VA") == "schon, ca va"
    assert words("Don't, 不要! x_y") == ["don't", "不", "要", "x", "y"]
    assert clauses("No, I meant - Java.") == ["No", "I meant", "Java"]


def test_lists_match_whole_words():
    assert pattern(["no"]).search("know") is None
    assert pattern(["ignor*"]).search("ignoring")[0] == "ignoring"
    assert pattern(["thank you", "thank"]).search("thank  you")[0] == "thank  you"
    assert pattern(["不要"]).search("请不要这样")[0] == "不要"
    assert pattern([]).search("") is None


@pytest.mark.parametrize("folder", ["followup", "guard", "objective"])
def test_every_language_has_every_list(folder):
    lists = load(folder)
    assert set(lists) == set(LANGUAGES)
    assert len({frozenset(of_one) for of_one in lists.values()}) == 1
    assert all("" not in entries for of_one in lists.values() for name, entries in of_one.items())
