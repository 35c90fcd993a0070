"""The loader of the PAHF fixture: acceptance by rule agrees with the data's own answers."""

import json
from pathlib import Path

import pytest

from benchmarks.pahf import BUNDLED, Option, Pahf, load


@pytest.fixture(scope="module")
def data() -> Pahf:
    return load()


def test_acceptance_by_rule_agrees_with_the_answers_in_the_data(data: Pahf) -> None:
    for scenario in data.scenarios:
        if scenario.gt is None:
            assert not any(scenario.acceptable)
        else:
            assert scenario.acceptable[scenario.gt]


def test_it_is_complete(data: Pahf) -> None:
    assert len(data.users) == 12
    for user in data.users:
        for phase in (1, 2, 3, 4):
            scenarios = data.of(user, phase)
            assert len(scenarios) == 45
            assert len({scenario.product for scenario in scenarios}) == 5


def test_the_choice_matters_when_some_but_not_all_are_acceptable(data: Pahf) -> None:
    for scenario in data.scenarios:
        assert scenario.matters == (sum(scenario.acceptable) in (1, 2))
    assert {sum(scenario.acceptable) for scenario in data.scenarios} == {0, 1, 2, 3}


def test_every_option_is_in_the_catalogue_once(data: Pahf) -> None:
    offered = {option for scenario in data.scenarios for option in scenario.options}
    assert offered == set(data.catalogue)
    for attribute in ("id", "text"):
        assert len({getattr(option, attribute) for option in data.catalogue}) == len(data.catalogue)
    for option in data.catalogue:
        assert option.text == f"{option.product}: {', '.join(option.features)}"


def test_the_same_features_in_another_order_are_one_option(data: Pahf) -> None:
    assert len({(option.product, frozenset(option.features)) for option in data.catalogue}) == len(data.catalogue)


def test_accepting_an_option_follows_the_persona_of_the_phase(data: Pahf) -> None:
    for scenario in data.scenarios:
        for option, acceptable in zip(scenario.options, scenario.acceptable, strict=True):
            assert scenario.accepts(option.id) is acceptable
            assert data.accepts(scenario.user, option, scenario.phase) is acceptable
    with pytest.raises(KeyError, match="'boat-1' is not one of"):
        data.scenarios[0].accepts("boat-1")
    assert Option("boat-1", "boat: small", ("small",)).product == "boat"


@pytest.mark.parametrize("folder", [BUNDLED / "pahf" / "shopping", str(BUNDLED)])
def test_the_folder_is_found_from_above(data: Pahf, folder: Path) -> None:
    assert load(folder) == data


def test_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "shopping").mkdir()
    for name in ("phase1.json", "phase2.json", "phase3.json", "persona_info.json"):
        (tmp_path / "shopping" / name).write_text("[]")
    with pytest.raises(FileNotFoundError, match=r"shopping lacks phase4\.json, updated_persona_info\.json \(looked in"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("phase2.json", "{", "phase2.json is not JSON"),
        ("phase3.json", '[{"product": "laptop"}]', r"phase3\.json: scenario 0 cannot be read \(KeyError"),
        ("persona_info.json", "[]", r"persona_info\.json is not a PAHF persona file"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: str, says: str) -> None:
    for path in (BUNDLED / "pahf" / "shopping").iterdir():
        rows = json.loads(path.read_text(encoding="utf-8"))
        (tmp_path / path.name).write_text(json.dumps(rows[:1] if isinstance(rows, list) else rows))
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=says):
        load(tmp_path)
