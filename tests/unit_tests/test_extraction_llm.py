"""Extraction by a model: what it returns is a proposal that must stand on the user's own words."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langgraph.constants import TAG_NOSTREAM

from langchain_persona.errors import ConfigError
from langchain_persona.extraction import LLMExtractor, PreferenceExtractor, Turn
from langchain_persona.extraction.fitness import SOFT
from langchain_persona.extraction.schema import flat_schema, list_schema, read_answer
from langchain_persona.prompts import FLAT_EXAMPLES, LIST_EXAMPLES, REPAIR_PROMPT
from langchain_persona.testing import ScriptedChatModel

HOSTILE = json.loads((Path(__file__).parents[1] / "data" / "hostile.json").read_text(encoding="utf-8"))


def card(quote, note=None, **more):
    """One card as a model writes it."""
    base = {
        "condition": "",
        "action": "",
        "kind": "preference",
        "scope": "topic",
        "origin": "stated",
        "confidence": "high",
    }
    return {"quote": quote, "note": quote if note is None else note, **base, **more}


def extract(user, *responses, shape="list", assistant="", **options):
    model = ScriptedChatModel(list(responses))
    extractor = LLMExtractor(model, shape=shape, **options)
    return extractor.extract([Turn("m1", user, assistant)]), model


def listed(user, *cards, **options):
    return extract(user, {"cards": list(cards)}, **options)[0]


def test_a_card_carries_all_that_the_model_found():
    (found,) = listed(
        "For trips I'd take the bus.",
        card("I'd take the bus", "Takes the bus.", condition="travel", action="Suggest buses.", confidence="medium"),
    )
    assert (found.note, found.condition, found.action) == ("Takes the bus.", "travel", "Suggest buses.")
    assert (found.kind, found.always, found.origin) == ("preference", False, "stated")
    assert 0.0 < found.confidence < 0.9  # a model's word counts less than a rule
    assert (found.evidence[0].message_id, found.evidence[0].quote) == ("m1", "I'd take the bus")


def test_one_call_for_a_window_and_the_quote_finds_its_message():
    model = ScriptedChatModel([{"cards": [card("I keep bees"), card("I hate jazz", kind="avoid")]}])
    turns = [Turn("m1", "I keep bees.", "Nice!"), Turn("m2", "What now?"), Turn("m3", "I hate jazz.")]
    found = LLMExtractor(model).extract(turns)
    assert len(model.calls) == 1
    assert [one.evidence[0].message_id for one in found] == ["m1", "m3"]


def test_flat_is_one_call_a_message_and_none_is_allowed():
    answers = [
        {"quote": "I keep bees", "note": "Keeps bees.", "category": "fact"},
        {"quote": "", "note": "", "category": "none"},
    ]
    model = ScriptedChatModel(answers)
    found = LLMExtractor(model, shape="flat").extract([Turn("m1", "I keep bees."), Turn("m2", "What now?")])
    assert len(model.calls) == 2
    assert [(one.note, one.kind) for one in found] == [("Keeps bees.", "fact")]


def test_the_quote_may_differ_in_case_and_white_space_and_is_kept_as_written():
    (found,) = listed("Well, I  really\nHATE jazz!", card('"i really hate jazz."', "Hates jazz."))
    assert found.evidence[0].quote == "I  really\nHATE jazz"


@pytest.mark.parametrize("quote", ["I love tea", "", "I", "!!!", "I keep wasps"])
def test_a_quote_that_does_not_occur_is_dropped(caplog, quote):
    assert listed("I keep bees.", card(quote)) == []
    assert caplog.records == []


def test_the_assistants_words_are_no_source():
    assert listed("And now?", card("You love jazz"), assistant="You love jazz.") == []


@pytest.mark.parametrize(
    "user",
    ["Translate: I hate jazz.", "Imagine I hate jazz.", "My friend says I hate jazz.", '"I hate jazz" is a song.'],
)
def test_what_was_not_meant_is_dropped(user):
    assert listed(user, card("I hate jazz")) == []


@pytest.mark.parametrize(
    ("user", "quote", "foreign", "note"),
    [
        (
            "Ich trinke keinen Alkohol, das ist mir wichtig.",
            "Ich trinke keinen Alkohol",
            "Does not drink any of this.",
            None,
        ),
        ("我早上只喝绿茶。", "我早上只喝绿茶", "Drinks only green tea in the morning.", None),
        ("J'adore le jazz et je ne l'écoute que le soir.", "J'adore le jazz", "Adore le jazz.", "Adore le jazz."),
        ("Trabajo de noche en un hospital.", "Trabajo de noche", "Trabaja de noche.", "Trabaja de noche."),
        ("I keep bees.", "I keep bees", "Likes cooking.", None),
        ("I keep bees.", "I keep bees", "", None),
    ],
)
def test_the_note_keeps_the_language_and_the_subject_or_falls_back_on_the_users_words(user, quote, foreign, note):
    assert [one.note for one in listed(user, card(quote, foreign))] == [note or quote]


@pytest.mark.parametrize(
    ("user", "quote", "note", "kept"),
    [
        ("I fly from Hamburg, never from Berlin.", "never from Berlin", "Prefers Berlin.", "never from Berlin"),
        ("Ich fliege nie ab Berlin.", "nie ab Berlin", "Fliegt gern ab Berlin.", "nie ab Berlin"),
        ("Nunca vuelo desde Berlín.", "Nunca vuelo desde Berlín", "Vuela desde Berlín.", "Nunca vuelo desde Berlín"),
        ("For me it's aisle seats.", "it's aisle seats", "Wants no aisle seats.", "it's aisle seats"),
        ("I never fly from Berlin.", "never fly from Berlin", "Never flies from Berlin.", "Never flies from Berlin."),
    ],
)
def test_a_note_that_turns_the_words_around_gives_way_to_them(user, quote, note, kept):
    assert [one.note for one in listed(user, card(quote, note))] == [kept]


def test_a_note_that_says_too_little_gives_way_to_the_users_words(monkeypatch):
    monkeypatch.setattr(
        "langchain_persona.extraction.fitness.objection",
        lambda text, always=False: None if "I " in text else next(iter(SOFT)),
    )
    assert [one.note for one in listed("I run a bakery.", card("run a bakery", "Runs a bakery."))] == [
        "I run a bakery."
    ]
    assert listed("We run a bakery.", card("run a bakery", "Runs a bakery.")) == []


@pytest.mark.parametrize(
    ("user", "quote", "kept"),
    [
        ("What's the boiling point of ethanol?", "boiling point of ethanol", 0),
        ("I'm vegan, what's a quick dinner?", "quick dinner", 0),
        ("I'm vegan, what's a quick dinner?", "I'm vegan", 1),
        ("Could we skip the anecdotes and get the command?", "skip the anecdotes", 1),
        ("Welche Farbe hat Kupfer?", "Farbe hat Kupfer", 0),
        ("Könntest du immer Beispiele nennen?", "immer Beispiele nennen", 1),
        ("光速是多少\uff1f", "光速是多少", 0),
    ],
)
def test_a_question_is_no_preference_but_a_request_in_its_form_is(user, quote, kept):
    assert len(listed(user, card(quote))) == kept


def test_a_condition_in_another_language_is_left_out():
    user = "Ich höre beim Arbeiten am liebsten nur Bach und sonst nichts."
    (found,) = listed(user, card("am liebsten nur Bach", condition="Musik", action="Suggest Bach music."))
    assert (found.condition, found.action) == ("Musik", None)


def test_what_may_not_hold_everywhere_holds_for_its_topic(monkeypatch):
    monkeypatch.setattr(
        "langchain_persona.extraction.fitness.objection", lambda text, always=False: "no" if always else None
    )
    assert [one.always for one in listed("I keep bees.", card("I keep bees", scope="always"))] == [False]


@pytest.mark.parametrize("attack", HOSTILE, ids=lambda attack: attack["id"])
def test_a_model_that_repeats_a_hostile_text_gives_no_global_card(attack):
    text = attack["text"][:400]
    found = listed(text, card(text[:160], scope="always", kind="style"), card(text[:60], scope="always"))
    assert not any(one.always for one in found)


def test_an_inferred_note_may_use_other_words():
    (found,) = listed(
        "That was a wall of text.", card("wall of text", "Wants short answers.", origin="inferred", kind="style")
    )
    assert (found.note, found.origin, found.always) == ("Wants short answers.", "inferred", True)


def test_a_topic_with_one_value_is_recognised():
    (found,) = listed(
        "Hi! Please answer in German.", card("Please answer in German", "Wants German answers.", kind="style")
    )
    assert (found.topic, found.always) == ("answer language", True)


@pytest.mark.parametrize("name", ["objection", "has_secret"])
def test_instructions_and_secrets_are_dropped(monkeypatch, name):
    answer = {"objection": "an instruction", "has_secret": True}[name]
    monkeypatch.setattr(f"langchain_persona.extraction.fitness.{name}", lambda text, **_: answer)
    assert listed("I keep bees.", card("I keep bees")) == []


def test_the_model_never_sees_a_secret():
    _, model = extract("My password is hunter2swordfish. I keep bees.", {"cards": []})
    assert "hunter2swordfish" not in str(model.calls)


def test_each_thing_once_and_no_more_than_the_cap():
    assert len(listed("I keep bees.", card("I keep bees"), card("I keep bees"))) == 1
    words = " ".join(f"I like item{number}." for number in range(9))
    assert len(listed(words, *[card(f"I like item{number}") for number in range(9)], max_cards=3)) == 3


def test_what_cannot_be_read_is_asked_for_once_more():
    found, model = extract("I keep bees.", "Sure! Here it is.", {"cards": [card("I keep bees")]})
    assert [one.note for one in found] == ["I keep bees"]
    assert model.calls[1][-1].content == REPAIR_PROMPT


def test_then_it_is_skipped_with_one_warning(caplog):
    with caplog.at_level(logging.WARNING):
        found, model = extract("My aunt Zelda keeps bees.", "junk", "more junk")
    assert (found, len(model.calls)) == ([], 2)
    assert len(caplog.records) == 1
    assert "Zelda" not in caplog.text


@pytest.mark.parametrize("error", [TimeoutError("Zelda"), RuntimeError("Zelda"), ValueError("Zelda")])
def test_what_a_failing_model_raises_comes_out_so_that_the_turn_is_tried_again(error):
    with pytest.raises(type(error)):
        extract("My aunt Zelda keeps bees.", error)


def test_what_was_found_before_the_failure_is_kept():
    model = ScriptedChatModel(
        [{"quote": "I keep bees", "note": "Keeps bees.", "category": "fact"}, TimeoutError("slow")]
    )
    found = LLMExtractor(model, shape="flat").extract([Turn("m1", "I keep bees."), Turn("m2", "I hate jazz.")])
    assert [one.note for one in found] == ["Keeps bees."]


@pytest.mark.parametrize("junk", ["x" * 10_000_000, "{" * 10_000_000, '{"a": ' * 2_000_000, "[" * 10_000_000])
def test_ten_megabytes_of_junk_are_survived_quickly(junk):
    began = time.perf_counter()
    assert extract("I keep bees.", junk, junk)[0] == []
    assert time.perf_counter() - began < 10.0


def test_ten_megabytes_from_the_user_are_survived_quickly():
    began = time.perf_counter()
    found, model = extract("I keep bees. " + "x" * 10_000_000, {"cards": [card("I keep bees")]})
    assert [one.note for one in found] == ["I keep bees"]
    assert sum(len(message.content) for message in model.calls[0]) < 20_000
    assert time.perf_counter() - began < 10.0


def test_silence_costs_no_call():
    for shape in ("list", "flat"):
        model = ScriptedChatModel([])
        assert LLMExtractor(model, shape=shape).extract([Turn("m1", "  ")]) == []
        assert LLMExtractor(model, shape=shape).extract([]) == []
        assert model.calls == []


def test_our_calls_are_kept_out_of_the_stream():
    seen = []

    class Watched(ScriptedChatModel):
        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            seen.append(run_manager.tags)
            return super()._generate(messages, stop, run_manager, **kwargs)

    LLMExtractor(Watched([{"cards": []}])).extract([Turn("m1", "Hello there.")])
    assert {TAG_NOSTREAM, "langsmith:nostream"} <= set(seen[0])


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode", "text"])
async def test_every_way_of_asking_sync_and_async(method):
    answer = json.dumps({"cards": [card("I keep bees")]})
    model = ScriptedChatModel([answer, answer])
    extractor = LLMExtractor(model, method=method)
    assert isinstance(extractor, PreferenceExtractor)
    turns = [Turn("m1", "I keep bees.")]
    one, other = await asyncio.to_thread(extractor.extract, turns), await extractor.aextract(turns)
    assert [found.note for found in one] == [found.note for found in other] == ["I keep bees"]
    assert model.calls[0] == model.calls[1]


async def test_failures_are_twins_too():
    with pytest.raises(TimeoutError):
        await LLMExtractor(ScriptedChatModel([TimeoutError("slow")])).aextract([Turn("m1", "I keep bees.")])


def test_the_model_is_capped_without_being_changed():
    class Capped(ScriptedChatModel):
        max_tokens: int | None = None

    free, set_already = Capped([]), Capped([], max_tokens=77)
    extractor = LLMExtractor(free, max_tokens=300)
    assert free.max_tokens is None
    assert extractor._model.bound.max_tokens == 300
    assert LLMExtractor(set_already)._model.bound.max_tokens == 77
    assert LLMExtractor(free, max_tokens=None)._model.bound.max_tokens is None


@pytest.mark.parametrize(
    ("options", "words"),
    [({"shape": "tree"}, "shape"), ({"max_cards": 0}, "max_cards"), ({"max_tokens": 3}, "max_tokens")],
)
def test_misuse_raises_early(options, words):
    with pytest.raises(ConfigError, match=words):
        LLMExtractor(ScriptedChatModel([]), **options)


def test_a_model_without_structured_output_is_told_the_way_out():
    model = FakeListChatModel(responses=[json.dumps({"cards": [card("I keep bees")]})])
    with pytest.raises(ConfigError, match="method='text'"):
        LLMExtractor(model)
    found = LLMExtractor(model, method="text").extract([Turn("m1", "I keep bees.")])
    assert [one.note for one in found] == ["I keep bees"]


@pytest.mark.parametrize(
    ("text", "quotes"),
    [
        ('```json\n{"cards": [{"quote": "a b"}]}\n```', ["a b"]),
        ('Here: {"cards": [{"quote": "a b"}, {"quote": "c d"}, {"quo', ["a b", "c d"]),
        ('{"cards": []}', []),
        ('{"cards": [7, {"quote": "a b", "kind": "nonsense"}, {"quote": "c d"}]}', ["c d"]),
        ('{"quote": "a b", "note": "n", "category": "style"}', ["a b"]),
    ],
)
def test_damaged_answers_give_what_is_whole_in_them(text, quotes):
    assert [found.quote for found in read_answer(text)] == quotes


@pytest.mark.parametrize("text", ["", "none", "{", '{"cards": 7}', '{"cards": [{"x": 1}]}', "[]", None, 7])
def test_what_holds_nothing_readable_is_none(text):
    assert read_answer(text) is None


def test_the_answer_may_come_as_a_tool_call_or_in_blocks():
    call = {"name": "notes", "args": {"cards": [card("I keep bees")]}, "id": "1"}
    blocks = [{"type": "text", "text": json.dumps({"cards": [card("I keep bees")]})}]
    for message in (AIMessage("", tool_calls=[call]), AIMessage(blocks)):
        assert len(extract("I keep bees.", message)[0]) == 1


def test_every_string_and_list_that_a_model_writes_is_bounded():
    def unbounded(schema):
        if schema.get("type") == "string" and "enum" not in schema and "maxLength" not in schema:
            yield schema
        if schema.get("type") == "array" and "maxItems" not in schema:
            yield schema
        for child in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
            yield from unbounded(child)

    assert list(unbounded(flat_schema())) == list(unbounded(list_schema(5))) == []
    assert list(flat_schema()["properties"])[-1] == "category"  # text before category


def test_the_examples_obey_their_own_rules():
    for message, record in FLAT_EXAMPLES:
        assert record["quote"] in message
        assert set(record) == set(flat_schema()["properties"])
    for window, cards in LIST_EXAMPLES:
        for one in cards:
            assert one["quote"] in window
            assert set(one) == set(list_schema(5)["properties"]["cards"]["items"]["properties"])


def test_a_note_in_the_assistants_own_words_gives_way_to_the_users():
    record = {"quote": "I love westerns", "note": "Stopped here because this needed many steps.", "category": "style"}
    turn = Turn("m1", "I love westerns.", "I stopped here: this request needed more steps than I may take.")
    (card,) = LLMExtractor(ScriptedChatModel([record]), shape="flat").extract([turn])
    assert card.note == "I love westerns"
