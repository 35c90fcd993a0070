"""Real small models understand what users say: `FlatReflection` on cases that its prompts were not written with."""

from collections import Counter
from collections.abc import Iterator

import pytest
from langchain_core.language_models import BaseChatModel

from benchmarks.reflection import Learner, measure_cases
from langchain_persona.reflection import Exchange
from langchain_persona.reflection.flat import FlatReflection
from tests.models import model_file
from tests.reflection_data import FOLDER

pytestmark = [pytest.mark.integration, pytest.mark.model_files, pytest.mark.slow]


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest) -> Iterator[BaseChatModel]:
    pytest.importorskip("xllamacpp", reason="needs the extra local-llm")
    from graphs.local_llm import serve

    with serve(model_file(request.param)) as server:
        yield server.chat_model(max_tokens=300, timeout=1_200)


@pytest.mark.parametrize("model", ["qwen2.5-coder-1.5b"], indirect=True)
def test_what_is_stated_chosen_or_changed_becomes_a_card(model: BaseChatModel) -> None:
    learner = Learner(FlatReflection(model))
    results = [job() for job in measure_cases(learner, FOLDER / "held_out.jsonl")]
    counts = Counter(one.group for one in results)
    right = {group: sum(one.right for one in results if one.group == group) / n for group, n in counts.items()}
    # measured: .80, .60, .40, .50, .80; lower here, for another build of llama.cpp gives a few other answers
    floors = {"stated": 0.7, "implied_choice": 0.4, "implied_dialogue": 0.2, "change": 0.3, "control": 0.7}
    assert all(right[group] >= floor for group, floor in floors.items()), right
    assert sum(one.false for one in results if one.group == "change") <= 1


@pytest.mark.parametrize("model", ["qwen2.5-coder-0.5b"], indirect=True)
def test_half_a_billion_parameters_find_a_plain_statement(model: BaseChatModel) -> None:
    turn = Exchange("m1", "Shellfish put me in hospital. Which is the longest river?")  # no plain statement to rules
    (found,) = FlatReflection(model).reflect([turn], ()).operations
    assert "hellfish" in found.text
