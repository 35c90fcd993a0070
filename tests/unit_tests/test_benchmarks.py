"""The learning benchmark: its statistics against values found by hand, and the whole of it on tiny data."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.progress import Progress

from benchmarks import cache, learning, movielens, recall
from benchmarks.blocks import SUMMED
from benchmarks.bootstrap import auc, over_users, verdict
from benchmarks.contenders import contenders
from benchmarks.films import AFTER
from benchmarks.life import live
from benchmarks.pahf import load
from benchmarks.shopping import shoppers
from benchmarks.tables import ratio_words, words
from langchain_persona.testing import HashEmbeddings
from tests.benchmark_data import write_all, write_films, write_home, write_shop

INTERVAL = {"mean", "low", "high", "users"}


# statistics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "liked", "expected"),
    [
        ([3.0, 2.0, 1.0], [True, False, False], 1.0),
        ([1.0, 2.0, 3.0], [True, False, False], 0.0),
        ([1.0, 1.0], [True, False], 0.5),
        # pairs: 4>3 yes, 4>1 yes, 2>3 no, 2>1 yes
        ([4.0, 3.0, 2.0, 1.0], [True, False, True, False], 0.75),
        # pairs: 2=2 one half, 2>1 yes
        ([2.0, 2.0, 1.0], [True, False, False], 0.75),
    ],
)
def test_auc_by_hand(scores: list[float], liked: list[bool], expected: float) -> None:
    assert auc(scores, liked) == expected


def test_auc_needs_both_kinds() -> None:
    assert math.isnan(auc([1.0, 2.0], [True, True]))
    assert math.isnan(auc([1.0, 2.0], [False, False]))


def test_bootstrap_by_hand() -> None:
    # means of two draws from {0, 1}: 0 and 1 with probability 1/4 each, so that the 95 % interval is everything
    found = over_users([0.0, 1.0], resamples=2_000)
    assert (found.mean, found.low, found.high, found.users) == (0.5, 0.0, 1.0, 2)
    assert verdict(found) == "no clear difference"


def test_bootstrap_agrees_with_the_exact_distribution() -> None:
    values = [0.0, 1.0, 3.0, 7.0]
    means = [sum(drawn) / 4 for drawn in itertools.product(values, repeat=4)]  # all 256 resamples
    low, high = np.percentile(means, [2.5, 97.5])
    found = over_users(values, resamples=50_000)
    assert found.mean == 2.75
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)


def test_bootstrap_is_the_same_twice_and_leaves_out_who_has_no_value() -> None:
    values = [0.1, 0.4, math.nan, 0.3]
    assert over_users(values) == over_users(values) == over_users([0.1, 0.4, 0.3])


@pytest.mark.parametrize(
    ("values", "said"),
    [([0.1, 0.2, 0.3], "better"), ([-0.1, -0.2], "worse"), ([0.5], "too few users"), ([], "too few users")],
)
def test_verdict(values: list[float], said: str) -> None:
    found = over_users(values, resamples=500)
    assert verdict(found) == said
    assert found.users == len(values)


# the whole of it ------------------------------------------------------------------------------------------------


def run(tmp_path: Path, *arguments: str, seeds: int = 2) -> dict[str, Any]:
    """The benchmark's document."""
    target = tmp_path / "out" / "result.json"
    code = learning.main(
        [
            *arguments,
            "--json",
            str(target),
            "--seeds",
            str(seeds),
            "--resamples",
            "200",
            "--cache",
            str(tmp_path / "c"),
        ],
        embeddings=HashEmbeddings(256),
    )
    assert code == 0
    document: dict[str, Any] = json.loads(target.read_text())
    return document


def test_ours_beats_chance_on_a_taste_that_words_can_tell(tmp_path: Path) -> None:
    document = run(tmp_path, "--data", str(write_shop(tmp_path, scenarios=24)))
    part = document["pahf"]["parts"][0]
    for phase in ("test", "test after drift"):
        place = part["columns"].index(phase)
        assert part["values"]["random"][place]["mean"] == pytest.approx(1 / 3)
        assert part["values"]["ours"][place]["mean"] > 0.6


def test_the_document_has_its_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = run(tmp_path, "--data", str(write_shop(tmp_path) / "pahf"))
    assert {"benchmark", "version", "date", "seconds", "seeds", "resamples", "model", "versions", "absent"} < set(
        document
    )
    assert (document["benchmark"], document["seeds"], document["model"]) == ("learning", 2, "hash-256")
    assert document["movielens"] is None
    assert document["absent"]["movielens"].startswith("no MovieLens data: no folder with movies.csv and ratings.csv")
    assert "Not measured: no MovieLens data" in capsys.readouterr().out
    result = document["pahf"]
    rules = [rule["id"] for rule in result["rules"]]
    talkers = ["words_some", "words_all", "both_some", "both_all"]
    assert rules == ["random", "plain", "items", "rocchio", "bayes", "simplified", "paper", "ours", *talkers]
    assert result["users"] == 2
    assert result["scenarios"]["test"] == 24
    assert [part["id"] for part in result["parts"]] == ["A", "B", "kept"]
    assert result["parts"][2]["values"]["plain"][1]["mean"] == pytest.approx(1.0)
    assert result["parts"][2]["values"]["plain"][0]["mean"] is None  # a shop of two products has no others
    for part in result["parts"][:2]:
        assert part["columns"] == ["learn", "test", "learn after drift", "test after drift"]
        assert list(part["values"]) == rules
        assert list(part["differences"]) == [rule for rule in rules if rule != "ours"]
        assert part["reference"] == "ours"
        for values in part["values"].values():
            assert [set(value) for value in values] == [INTERVAL] * 4
        for rule, gaps in part["differences"].items():
            for place, gap in enumerate(gaps):
                assert set(gap) == {*INTERVAL, "verdict"}
                expected = part["values"]["ours"][place]["mean"] - part["values"][rule][place]["mean"]
                assert gap["mean"] == pytest.approx(expected)
    points = [(point["phase"], point["scenarios"]) for point in result["parts"][0]["curve"]]
    assert points == [(phase, count) for phase in (2, 4) for count in range(13)]
    back = result["parts"][0]["recovery"]
    assert (back["users"], back["scenarios"], list(back["rules"])) == (2, 12, rules[1:])
    assert back["rules"]["ours"]["level"] == pytest.approx(result["parts"][0]["values"]["ours"][3]["mean"])
    assert any("fitted space" in reason for reason in result["left_out"])  # two users are too few


def test_films(tmp_path: Path) -> None:
    document = run(tmp_path, "--data", str(write_films(tmp_path)))
    assert document["pahf"] is None
    assert "no PAHF shopping data" in document["absent"]["pahf"]
    result = document["movielens"]
    assert (result["users"], result["films"], result["unknown_films"]) == (3, 30, 1)
    assert [part["id"] for part in result["parts"]] == ["auc", "ndcg", "auc_same", "asked", "kept"]
    for part in result["parts"][:3]:
        assert part["columns"] == [f"after {after}" for after in AFTER]
        assert [value["users"] for value in part["values"]["ours"]] == [2, 2, 2, 2, 0, 0, 0]
        assert part["values"]["ours"][-1] == {"mean": None, "low": None, "high": None, "users": 0}
        assert part["values"]["ours"][3]["mean"] > 0.9  # one word decides
        assert part["values"]["popularity"][0]["mean"] == pytest.approx(1.0)  # the two agree
    auc = result["parts"][0]["values"]
    assert auc["random"][0]["mean"] == auc["random"][3]["mean"] == auc["ours"][0]["mean"] == 0.5
    asked, kept = result["parts"][3:]
    assert asked["columns"][0] == "nDCG@10, films rated later, after 20"
    assert [value["users"] for value in asked["values"]["plain"]] == [2, 0, 0, 0, 2, 0]  # a comedy is liked, always
    assert kept["values"]["plain"][2]["mean"] is None  # both have rated every genre


def test_one_user_and_films_without_genres(tmp_path: Path) -> None:
    folder = write_home(write_films(write_shop(tmp_path, users=1)), users=1)
    movies = folder / "movielens" / "movies.csv"
    movies.write_text(re.sub(r"(Comedy|Horror\|War)$", "(no genres listed)", movies.read_text(), flags=re.MULTILINE))
    (folder / "movielens" / "tags.csv").unlink()
    page = tmp_path / "README.md"
    page.write_text("<!-- bench-learning-summary -->\n<!-- /bench-learning-summary -->\n")
    document = run(tmp_path, "--data", str(folder), "--summary", str(page), "--figure", str(tmp_path / "x.png"))
    assert document["pahf"]["users"] == document["embodied"]["users"] == 1
    assert document["pahf"]["parts"][0]["differences"]["paper"][0]["verdict"] == "too few users"
    assert document["movielens"]["queries"] == []
    assert [part["id"] for part in document["movielens"]["parts"]] == ["auc", "ndcg", "auc_same"]


def test_film_texts_and_thumbs(tmp_path: Path) -> None:
    data = movielens.load(write_films(tmp_path) / "movielens")
    assert data.texts[:2] == ("Film 0 (1999). Horror, War", "Film 1 (1999). Comedy. funny, warm")
    assert [thumb.up for thumb in data.thumbs["3"]] == [False, True, False, True]
    assert len(data.thumbs["1"]) == 30


def test_a_broken_film_file_is_named(tmp_path: Path) -> None:
    path = write_films(tmp_path) / "movielens" / "ratings.csv"
    path.write_text("userId,movieId,rating,timestamp\n1,1,good,5")
    with pytest.raises(ValueError, match=r"ratings\.csv, line 2: could not convert"):
        movielens.load(tmp_path)
    path.write_text("userId,movieId,rating\n1,1,5")
    with pytest.raises(ValueError, match=r"ratings\.csv has no column timestamp"):
        movielens.load(tmp_path)


def test_tables_and_summary_stand_between_their_markers_and_nothing_else_changes(tmp_path: Path) -> None:
    page, summary, figure = tmp_path / "page.md", tmp_path / "README.md", tmp_path / "curves.png"
    page.write_text("before\n<!-- bench-learning -->\nold\n<!-- /bench-learning -->\nafter\n")
    summary.write_text("<!-- bench-learning-summary -->\n<!-- /bench-learning-summary -->\n")
    written = ("--readme", str(page), "--summary", str(summary), "--figure", str(figure))
    document = run(tmp_path, "--data", str(write_all(tmp_path)), *written, seeds=1)
    text = page.read_text()
    assert text.startswith("before\n<!-- bench-learning -->\n")
    assert text.endswith("<!-- /bench-learning -->\nafter\n")
    assert "old" not in text
    assert "| | learn | test | learn after drift | test after drift |" in text
    for name in ("pahf", "embodied", "movielens"):
        for part in document[name]["parts"]:
            assert words(part, document[name]["rules"]) in text
            if "recovery" in part:
                assert ratio_words(part, document[name]["rules"]) in text
    assert str(tmp_path) not in text
    rows = [line for line in summary.read_text().splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    assert rows[0].count("|") == len(SUMMED) + 2
    assert rows[-1].startswith("| *ours, no fit − paper's rule, PCA-")
    assert [row.split(" | ")[0] for row in rows[2:5]] == ["| random order", "| popularity", "| plain Chroma"]
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_users_of_films_can_be_sampled_and_the_table_says_so(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("<!-- bench-learning -->\n<!-- /bench-learning -->\n")
    data = str(write_films(tmp_path))
    document = run(tmp_path, "--data", data, "--film-users", "2", "--readme", str(page), seeds=1)
    assert (document["film_users"], document["movielens"]["users"], document["movielens"]["all_users"]) == (2, 2, 3)
    assert "of 2 users (a sample of 3)" in page.read_text()


def test_where_ours_does_not_win_is_said() -> None:
    part: dict[str, Any] = {
        "columns": ["learn", "test"],
        "reference": "ours",
        "differences": {
            "a": [{"verdict": "better"}, {"verdict": "worse"}],
            "b": [{"verdict": "no clear difference"}] * 2,
        },
    }
    rules = [{"id": "a", "name": "rule A"}, {"id": "b", "name": "rule B"}, {"id": "ours", "name": "ours"}]
    said = (
        "Reference: ours. Where it does not beat a rule: "
        "worse than rule A (test); no clear difference from rule B (in every column)."
    )
    assert words(part, rules) == said
    part["differences"] = {"a": [{"verdict": "better"}] * 2}
    assert words(part, rules) == "Reference: ours. It is better than every other rule in every column."


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "{tmp}"], "nothing to measure. no PAHF shopping data"),
        (["--readme", "{tmp}/page.md"], "is not a file with <!-- bench-learning -->"),
        (["--seeds", "0"], "--seeds must be at least 1"),
    ],
)
def test_what_cannot_work_is_said_first(
    tmp_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        learning.main([argument.format(tmp=tmp_path) for argument in arguments], embeddings=HashEmbeddings(8))
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err


def test_the_core_and_the_real_retriever_agree(tmp_path: Path) -> None:
    document = run(tmp_path, "--data", str(write_shop(tmp_path, scenarios=6)), "--check", seeds=1)
    assert [rule["id"] for rule in document["check"]] == ["plain", "simplified", "paper", "ours"]
    for rule in document["check"]:
        assert (rule["offers"], rule["differences"]) == (48, 0)


def test_orders_differ_by_seed_and_repeat(tmp_path: Path) -> None:
    data, model = load(write_shop(tmp_path)), HashEmbeddings(48)
    texts = {text: np.array(model.embed_query(text)) for o in data.catalogue for text in (o.text,)}
    tasks = {one.task: np.array(model.embed_query(one.task)) for one in data.scenarios}
    (first, _), ours = shoppers(data, texts, tasks), contenders(np.stack(list(texts.values())))[-1]
    margins = [live(first, ours, seed=seed).margin[1].tolist() for seed in range(6)]
    assert margins == [live(first, ours, seed=seed).margin[1].tolist() for seed in range(6)]
    assert len({tuple(margin) for margin in margins}) == 2  # two products can be put in two orders


def test_embeddings_are_computed_once(tmp_path: Path) -> None:
    class Counting(HashEmbeddings):
        calls = 0

        def embed_query(self, text: str) -> list[float]:
            Counting.calls += 1
            return super().embed_query(text)

    model = Counting(8)
    with Progress(disable=True) as progress:
        first = cache.embedded(["a", "b"], model, tmp_path, progress, "texts")
        again = cache.embedded(["a", "b"], model, tmp_path, progress, "texts")
        assert Counting.calls == 2
        (file,) = tmp_path.glob("*.npy")
        file.write_bytes(b"broken")
        mended = cache.embedded(["a", "b"], model, tmp_path, progress, "texts")
        cache.embedded(["b", "a"], model, tmp_path, progress, "texts")
    assert Counting.calls == 6
    assert np.array_equal(first, again)
    assert np.array_equal(first, mended)
    assert (tmp_path / ".gitignore").read_text() == "*\n"


def test_recall_tells_what_reaches_the_prompt(tmp_path):
    folder = tmp_path / "explicit_preference"
    folder.mkdir()
    for topic in ("food", "trips"):
        items = [{"preference": f"likes {topic} {one}", "question": f"asks {topic} {one}"} for one in range(30)]
        (folder / f"{topic}.json").write_text(json.dumps(items), encoding="utf-8")
    needs = recall.load(tmp_path)
    stored = {one.preference: [one.question] for one in needs}
    texts = [text for one in needs for text in (one.preference, one.question)]
    rows = dict(zip(texts, np.eye(len(texts)), strict=True))  # nothing resembles anything but itself
    found = {row.what: (row.value, row.met) for row in recall.measure(needs, rows, stored, pool=60, seeds=1)}
    assert found["recall@5, pool of 60"] == (5 / 60, None)
    assert found["recall@5, pool of 60, with stored questions"] == (1.0, True)
    assert found["in the prompt, 20 mixed"] == found["in the prompt, 20 of one topic"] == (1.0, True)
