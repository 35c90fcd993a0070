"""One right answer, or a matter of taste: what abstains from a personal ranking, and what does not.

`tests/data/objective.json` has three parts, all by one author. "dev" is what the lists were made on. "held_out" was
written before them and looked at once: none of 66 matters of taste was taken for a fact, 62 of 66 facts were found; two
of the four missed showed an entry that hid another, which was mended. "hard" is taste in the form of a question for a
fact ("Who tells the wittiest jokes?"): at first sight 14 of 42 were taken for one; the lists have since been widened.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_persona.signals import is_objective
from langchain_persona.signals.lexicon import LANGUAGES, load

SETS = json.loads((Path(__file__).parents[1] / "data" / "objective.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("part", ["dev", "held_out", "hard"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_matter_of_taste_is_hardly_ever_taken_for_a_fact(part, language):
    wrong = [query for query in SETS[part][language]["subjective"] if is_objective(query)]
    assert len(wrong) <= (0 if part == "dev" else 2), wrong


@pytest.mark.parametrize("language", LANGUAGES)
def test_most_facts_are_found(language):
    for part, share in (("dev", 1.0), ("held_out", 0.75), ("hard", 0.75)):
        facts = SETS[part][language]["objective"]
        missed = [query for query in facts if not is_objective(query)]
        assert len(missed) <= (1.0 - share) * len(facts), missed


def test_nothing_that_was_held_out_was_there_to_develop_on():
    sides = [{query for of_one in SETS[part].values() for kind in of_one.values() for query in kind} for part in SETS]
    assert sum(map(len, sides)) == len(set().union(*sides))


@pytest.mark.parametrize(
    "query",
    [
        "Can you tell me who won the 2018 World Cup?",
        "When did World War I end?",
        "what is 9-5",
        "(3 + 4) * 2 =",
        "what is 7 plus 5?",
        "100 usd in eur",
        "java.lang.NullPointerException at Main.java:12",
        "Please help me: bash: foo: command not found",
        "how do I undo the last git commit",
        "distance from earth to sun",
        "Solve for $z$ in the following equation: $2-3iz = 3 + 2iz$. I need to show my work.",
        "Which of these is mine?\n\nChoices:\n0. I only\n1. II only\n2. III only",
    ],
)
def test_one_right_answer(query):
    assert is_objective(query)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "what is",
        "What is there in Rome",
        "9-5 outfits",
        "9-5",
        "4x4 cars",
        "laptop between $500 and $700",
        "date for two in Paris",
        "law of attraction books",
        "how do I react to criticism",
        "how do I learn python",
        "计算机书籍",
        "King size bed",
        "What was the first issue I had with my new car?",
        "Which of the following would you recommend to me? A. tea B. coffee",
        "Who should I vote for",
        "the best author of all",
    ],
)
def test_taste_or_doubt(query):
    assert not is_objective(query)


@pytest.mark.parametrize("before", ["recommend me something: ", "my favourite: ", "what should I do? "])
def test_what_tells_of_the_person_turns_a_question_for_a_fact(before):
    assert is_objective("Who wrote Emma?")
    assert not is_objective(before + "Who wrote Emma?")


def test_a_word_is_never_found_inside_another():
    assert is_objective("who was Goodyear")  # "good"
    assert is_objective("What is the population of Santa Fe?")  # "sana"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_list_hides_an_entry_of_another(language):
    lists = load("objective")[language]
    asked = [f"{entry} xyzzy" for entry in lists["facts"]] + [f"xyzzy {entry}" for entry in lists["anywhere"]]
    asked += [f"{lists['asks'][0]} {entry}" for entry in lists["attributes"]]
    assert [query for query in asked if not is_objective(query)] == []


@given(st.text(max_size=300))
def test_any_text_has_an_answer(query):
    assert is_objective(query) in (True, False)


@pytest.mark.parametrize("piece", ["what is ", "1-", "$a", "(", "A) ", "的", "in ", "¿"])
def test_long_texts_take_no_time(piece):
    begin = time.perf_counter()
    is_objective(piece * 1_000_000)
    is_objective((piece * 600)[:600])
    assert time.perf_counter() - begin < 0.2


@pytest.mark.parametrize(
    "query",
    [
        "1" + "--1" * 200 + "x",
        "1" + "--1" * 190 + "x",
        "((1" * 180 + "x",
        "1" + " x 1" * 140 + "!",
        "1 + " * 140 + "+",
        "(1)" * 190 + "-",
        "1 km in" + " " * 580 + "x",
        "1,1km in " * 60,
        "$" + "=" * 7_990,
        "$= " * 2_600,
        "ﷺ" * 600,
    ],
)
def test_no_hostile_sum_formula_or_conversion_costs_time(query):
    begin = time.perf_counter()
    is_objective(query)
    assert time.perf_counter() - begin < 0.1


@pytest.mark.parametrize("query", ["5 - -3", "2*-3", "(1 + 2) * 3", "((1)) plus 2 =", "1.000,5 × 3", "7 x 8"])
def test_signs_brackets_and_words_are_still_sums(query):
    assert is_objective(query)
