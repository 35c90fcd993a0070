"""The benchmarks of `langchain_persona.evals` on tiny files, with scripted models: files, arms, runs, reports."""

import json
import re
import sys
from types import SimpleNamespace

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel

from benchmarks.memories import _ToolsBySchema
from langchain_persona.errors import ConfigError
from langchain_persona.evals import BENCHMARKS, benchmark
from langchain_persona.evals.arms import ARMS, Arm, Kit, PersonaArm, Reply, Settings, choose_option, make_arms
from langchain_persona.evals.items import DataError, Item, Turn, read_rows
from langchain_persona.evals.models import AnswerCache, Meter, ask_yes_no, choose_letter, count_calls
from langchain_persona.evals.report import draw, read_results, scores_of, tables_of
from langchain_persona.evals.runner import Run
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel
from tests.eval_data import WORDS, WRITERS, dump, write_collab

VARIANTS = [
    ("prefeval", {}),
    ("prefeval", {"form": "choice", "task": "recall"}),
    ("prefeval", {"form": "persona", "task": "generation", "turns": "2"}),
    ("restraint", {}),
    ("pahf", {}),
    ("pahf", {"part": "embodied"}),
    ("personamem", {}),
    ("personamem", {"task": "open", "size": "128k"}),
    ("collab", {}),
    ("collab", {"user": "judge", "sessions": "2"}),
    ("collab", {"task": "standing"}),
    ("lamp", {}),
    ("lamp", {"task": "3", "split": "train"}),
    ("rpeval", {}),
    ("rpeval", {"form": "implicit", "count": "multi"}),
]


def answer(messages):
    """Takes the option with a word that the prompt tells of the user; else the first one. Reflections find nothing."""
    asked = messages[-1].text
    told = "\n".join(message.text for message in messages[:-1])
    if "\nA. " not in asked:
        return "{}" if "notes on" in told[:200] else "Here is a plain answer."
    options = re.findall(r"^([A-Z])\. (.+)$", asked, re.MULTILINE)
    fits = [letter for letter, text in options if any(word in text and word in told for word in WORDS)]
    return json.dumps({"letter": (fits or ["A"])[0]})


def run_of(tmp_path, name, options=None, *, model=None, data=None, max_calls=None, out="out.json", **more):
    arms, limit = more.pop("arms", ()), more.pop("limit", None)
    path = data or (WRITERS[name](tmp_path / "data") if name in WRITERS else None)
    known_as = more.pop("known_as", "scripted")
    settings = Settings(benchmark=name, options=options or {}, model=known_as, limit=limit, **more)
    cache = AnswerCache(tmp_path / "cache", max_calls)
    model = model or ScriptedChatModel(answer)
    return Run(settings, path, model=model, embeddings=HashEmbeddings(), cache=cache, out=tmp_path / out, arms=arms)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_every_benchmark_runs_in_its_arms(tmp_path, name, options):
    run = run_of(tmp_path, name, options, limit=6)
    results = run.start(parallel=2)
    assert results["rows"], results
    assert {row["error"] for row in results["rows"]} == {""}
    left_out = set() if run.kit.others else {"another"}  # a control needs a second user
    left_out |= set() if any(item.options for item in run.items) else {"length"}
    assert {row["arm"] for row in results["rows"]} == set(benchmark(name).ARMS) - left_out
    assert len(results["rows"]) == len(run.items) * len(run.names)
    assert all(score >= 0 for row in results["rows"] for score in row["scores"].values())
    assert tables_of(results)


TRAVEL, FOOD, CHOICE = "explicit_preference/travel.json", "mcq_options/food.json", "choice-based/food.json"
PHASE, PEOPLE, LATER = "pahf/shopping/phase1.json", "pahf/shopping/persona_info.json", "evolved_scenarios_B.json"
PROFILES, PROBLEMS = "user_profiles/user_profiles.json", "datasets/cache/mmlu/testset_size20_seed42.json"
SINGLE, MULTI = "explicit_preference/single_testset.json", "explicit_preference/multi_testset.json"
MALFORMED = [
    ("prefeval", TRAVEL, ('"question"', '"query"'), "line 2, field question: Field required"),
    ("prefeval", FOOD, ('"Nothing."', "7"), r"line 8, field classification_task_options.1: .*got 7"),
    ("prefeval", FOOD, ("What about 1?", "What about 9?"), "row 1, field question"),
    ("prefeval", FOOD, ('"classification', '"'), "line 2, field classification_task_options: Field required"),
    (
        "prefeval form=choice",
        CHOICE,
        ('"user_selection": "', '"user_selection": 3, "x": "'),
        r"field .*\.user_selection",
    ),
    ("prefeval topics=sport", FOOD, ("", ""), "no preferences in .* of topics sport"),
    ("pahf", PHASE, ('"Option A": [', '"Option A": [7, '), "line 1, field Option A.0: .*got 7"),
    ("pahf", PHASE, ('"product": "mug"', '"product": "cup"'), "row 1, field User or product"),
    ("pahf", PEOPLE, ('"like_most"', '"likes"'), "line 1, field .*mug.*like_most"),
    ("pahf part=embodied", f"pahf/embodied/{LATER}", ('"context"', '"x"'), "line 2, field context: Field required"),
    ("personamem", "benchmark.csv", ("'role': 'user'", "'role': 'user"), "line 2, field user_query: .*Python dict"),
    ("personamem", "benchmark.csv", ("correct_answer", "answer"), "line 2, field correct_answer: Field required"),
    ("personamem", "benchmark.csv", ('""One.""', "One."), "line 2, field incorrect_answers: .*JSON list"),
    ("personamem", "benchmark.csv", ("1,chats/1_32k.json", "1,chats/9.json"), "9.json cannot be read: No such file"),
    (
        "personamem",
        "chats/1_32k.json",
        ('"role": "user"', '"role": "tool"'),
        r"line 11, field chat_history\.1\.role: .*got 'tool'",
    ),
    ("personamem", "chats/1_32k.json", ("]", ""), r"line \d+: no JSON"),
    ("collab", f"collaborativeagents/{PROFILES}", ('"i": 0', '"i": "0"'), "line 3, field i: .*integer, got '0'"),
    ("collab", f"collaborativeagents/{PROBLEMS}", ('"solution"', '"answer"'), "line 2, field solution"),
    ("lamp", "dev_questions.json", ('"tag": "comedy"', '"tag": null'), r"line 8, field profile\.0\.tag"),
    ("lamp", "dev_outputs.json", ("sci-fi", "horror"), "row 1, field id: 200 has the gold 'horror'"),
    ("lamp task=3", "dev_questions.json", ("", ""), r"field profile\.0\.score: Field required"),
    ("rpeval", SINGLE, ("dominate", "decide"), "line 5, field intent_type: .*got 'decide'"),
    ("rpeval count=multi", MULTI, ('"CA"', '"CX"'), "row 1, field intent_type"),
]


@pytest.mark.parametrize(("benchmark_and_option", "file", "change", "words"), MALFORMED)
def test_a_malformed_file_is_named_with_its_place(tmp_path, benchmark_and_option, file, change, words):
    name, *options = benchmark_and_option.split()
    data, path = WRITERS[name](tmp_path / "data"), tmp_path / "data" / file
    path = path if path.exists() else tmp_path / "data" / "implicit_preference" / file
    text = path.read_text(encoding="utf-8")
    assert change[0] in text
    path.write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(DataError, match=words):
        run_of(tmp_path, name, dict(one.split("=") for one in options), data=data)


def test_files_that_are_none_are_named(tmp_path):
    class Pair(BaseModel):
        a: str

    for name, text, words in (
        ("x.json", '{"a": 1}', "line 1: a list of rows"),
        ("x.jsonl", '{"a": "1"}\n\n{"a":', "line 3: no JSON"),
        ("y.jsonl", '{"a": "1"}\n{"b": 2}', "line 2, field a"),
        ("x.csv", 'a,b\n"1,2', "line 2: no table"),
        ("y.csv", "a,b\n1,2\n3,hello, world", "line 3: more cells than columns"),
        ("z.json", "\ufeff[]", "no JSON"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=words):
            read_rows(tmp_path / name, Pair)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_rows(tmp_path / "nowhere.json", Pair)
    for name in WRITERS:
        with pytest.raises(DataError, match="needs --data"):
            benchmark(name).load(None)
        with pytest.raises(DataError):
            benchmark(name).load(tmp_path)


def test_the_persona_in_a_history_and_the_question_are_never_learned(tmp_path):
    (item, _) = benchmark("personamem").load(WRITERS["personamem"](tmp_path))
    assert item.history == ((Turn("I can't stand gluten.\nAnyway, what is 2 + 2?", "4."),),)


def test_links_may_start_above_the_table_and_what_is_to_be_forgotten_counts_apart(tmp_path):
    table = tmp_path / "benchmark" / "text" / "benchmark.csv"  # as it is published
    table.parent.mkdir(parents=True)
    WRITERS["personamem"](tmp_path).rename(table)
    items = benchmark("personamem").load(table)
    arm = make_arms(["length"], kit_of())["length"]
    assert [list(benchmark("personamem").run(one, arm, arm.kit).scores) for one in items] == [
        ["correct (to forget)"],
        ["correct"],
    ]


def test_a_long_history_is_read_in_chunks_of_5000_tokens(tmp_path):
    table = WRITERS["personamem"](tmp_path)
    said = [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": "word " * 1_600}]  # 2,000 tokens
    dump(tmp_path / "chats" / "0_32k.json", {"metadata": {}, "chat_history": 3 * said})
    assert [len(one) for one in benchmark("personamem").load(table)[0].history] == [2, 1]


def kit_of(model=None, others=None, **more):
    model, settings = model or ScriptedChatModel(answer), Settings(benchmark="", **{"reflection": "verbatim", **more})
    return Kit(model=model, judge=model, embeddings=HashEmbeddings(), settings=settings, others=others or {})


HISTORY = [(Turn("I'm allergic to gluten."), Turn("What is 2 + 2?", "4.")), (Turn("I love trains."),)]


def asked(arm, user="ana", question="A meal?"):
    reply = arm.answer(user, "now", [HumanMessage(question, id="q")], lambda messages: AIMessage("ok"))
    assert isinstance(reply, Reply)
    return reply.prompt


def test_what_each_arm_tells():
    writes = ("no-persona", "no-questions")
    for name in writes:
        with pytest.raises(ConfigError, match=f'the arm {name} leaves out .*; only reflection "model" writes any'):
            make_arms([name], kit_of())
    arms = make_arms(
        [name for name in ARMS if name not in writes], kit_of(others={"ana": ("bob", [(Turn("I hate heights."),)])})
    )
    for arm in arms.values():
        arm.learn("ana", HISTORY)
        assert not arm.learn("ana", HISTORY)
    told = {name: asked(arm) for name, arm in arms.items()}
    assert told["none"] == told["length"] == "You are a helpful assistant.\nA meal?"
    for name in ("everything", "chroma", "verbatim", "reflection"):
        assert "allergic to gluten" in told[name], name
        assert "trains" in told[name], name
    assert "2 + 2" in told["everything"]
    assert "heights" in told["another"]
    assert "gluten" not in told["another"]
    assert "<earlier_exchanges>" in asked(arms["verbatim"], question="What is 2 + 2?")
    assert "<earlier_exchanges>" not in asked(arms["no-episodes"], question="What is 2 + 2?")
    with pytest.raises(ConfigError, match="no arm magic; there are none"):
        make_arms(["magic"], kit_of())


class Threads(Arm):
    """Notes which threads it sees, and fails once where it is told to."""

    fails = ()

    def __init__(self, name, kit):
        super().__init__(name, kit)
        self.heard, self.answered = [], []

    def observe(self, user, thread, messages):
        if messages[-2].text in self.fails:
            self.fails = ()
            raise OSError("no disk")
        self.heard.append((thread, messages[-2].text))

    def answer(self, user, thread, messages, respond):
        self.answered.append(thread)
        return super().answer(user, thread, messages, respond)


@pytest.mark.parametrize("name", ["prefeval", "pahf", "personamem", "lamp", "rpeval"])
def test_a_question_is_asked_in_a_thread_of_its_own(tmp_path, name):
    items, arm = benchmark(name).load(WRITERS[name](tmp_path)), Threads("threads", kit_of())
    for item in items:
        arm.learn(item.key, item.history)
        benchmark(name).run(item, arm, arm.kit)
    assert len(set(arm.answered)) == len(items)
    assert set(arm.answered).isdisjoint(thread for thread, _ in arm.heard)


def test_after_an_error_a_history_is_learned_from_the_turn_that_failed():
    arm = Threads("threads", kit_of())
    arm.fails = (HISTORY[0][1].user,)
    with pytest.raises(OSError, match="no disk"):
        arm.learn("ana", HISTORY)
    assert [arm.learn("ana", HISTORY) for _ in range(2)] == [True, False]
    assert [text for _, text in arm.heard] == [turn.user for session in HISTORY for turn in session]


class Diary(Arm):
    """A memory of somebody else's."""

    def tell(self, user, messages):
        return "The user collects stamps."


def test_a_class_of_ones_own_is_an_arm_by_its_path(monkeypatch):
    monkeypatch.setitem(sys.modules, "diary", SimpleNamespace(Diary=Diary, answer=answer))
    assert "stamps" in asked(make_arms(["diary:Diary"], kit_of())["diary:Diary"])
    for name, problem in (("diary:Missing", "cannot be imported"), ("diary:answer", "must be a subclass")):
        with pytest.raises(ConfigError, match=problem):
            make_arms([name], kit_of())


def test_stored_questions_are_left_out_where_an_arm_says_so():
    found = {"action": "add", "text": "Loves trains.", "quote": "I love trains.", "questions": ["a trip"]}
    model = ScriptedChatModel(lambda messages: {"operations": [found]})
    arms = make_arms(["reflection", "no-questions"], kit_of(model, reflection="model"))
    for name, questions in (("reflection", ("a trip",)), ("no-questions", ())):
        arms[name].learn("ana", [(Turn("I love trains."),)])
        assert [card.questions for card in arms[name].memory.preferences("ana")] == [questions]


def test_a_small_model_reflects_sentence_by_sentence():
    model = ScriptedChatModel(lambda messages: {"note": "Fears horror films.", "who": "user", "kind": "dislike"})
    arm = make_arms(["reflection"], kit_of(model, reflection="flat"))["reflection"]
    arm.learn("ana", [(Turn("Horror films, brr, not with these nerves.", "Oh."),)])
    assert "Horror films, brr, not with these nerves." in asked(arm)
    with pytest.raises(ConfigError, match='"model", "flat" or "verbatim", got \'deep\''):
        make_arms(["reflection"], kit_of(reflection="deep"))


def test_what_is_to_be_forgotten_is_told_before_and_not_after():
    for name, arm in make_arms(["everything", "chroma", "verbatim"], kit_of()).items():
        arm.learn("ana", HISTORY)
        assert "gluten" in asked(arm), name
        arm.forget("ana", "I'm allergic to gluten.")
        assert "gluten" not in asked(arm), name
        assert "trains" in asked(arm), name


def test_everything_keeps_the_latest_where_not_all_fits():
    arm = make_arms(["everything"], kit_of(history=20))["everything"]
    arm.learn("ana", HISTORY)
    assert "trains" in asked(arm)
    assert "gluten" not in asked(arm)


def likely(*tokens):
    top = [{"token": token, "logprob": -float(place)} for place, token in enumerate(tokens)]
    return AIMessage(
        tokens[0], response_metadata={"logprobs": {"content": [{"token": tokens[0], "top_logprobs": top}]}}
    )


@pytest.mark.parametrize(
    ("how", "said", "letter"),
    [
        ("schema", {"letter": "B"}, "B"),
        ("schema", "I think (C) is best.", "C"),
        ("schema", {"letter": "Q"}, ""),
        ("schema", {"letter": "BC"}, ""),
        ("logprobs", likely("The", " c", " B", "A"), "B"),
        ("logprobs", likely("B", "The"), "B"),
        ("logprobs", likely("The", "Well", "Q"), ""),
        ("text", "A is tempting, but it is not right.\nFinal Answer: C", "C"),
        ("text", "B. A good choice", "B"),
        ("text", "I can't say.", ""),
        ("text", "Final answer: E", ""),
        ("text", "My final answer: a quiet hotel, so C.", "C"),
        ("text", "The best answer is C. A hotel in the centre is too loud.", "C"),
        ("text", "Final answer: c", "C"),
        ("text", "B, I believe.", "B"),
        ("text", "Final Answer: A because it suits.", "A"),
        ("text", "Option A is the best choice.", "A"),
    ],
)
def test_a_letter_is_read_from_what_a_model_can_give(how, said, letter):
    model = ScriptedChatModel([said])
    assert choose_letter(model, 3, how)([HumanMessage("?")]).text == letter
    if how == "logprobs":
        assert model.options[0]["max_tokens"] == 1
        with pytest.raises(ConfigError, match="no log probabilities of tokens; use --letters schema"):
            choose_letter(ScriptedChatModel(["B"]), 3, how)([HumanMessage("?")])


@pytest.mark.parametrize(
    ("said", "yes"),
    [
        ({"letter": "B"}, False),
        ({"letter": "yes"}, True),
        ("A. yes", True),
        ("Yes.", True),
        ("Yes, there is no problem.", True),
        ("Yes it does.", True),
        ("No, it does not.", False),
        ("No, since option A is too loud.", False),
        ("The answer is **yes**, there is no doubt.", True),
        ("It is A, there is no doubt.", True),
    ],
)
def test_a_judge_may_answer_with_a_letter_or_a_word(said, yes):
    assert ask_yes_no(ScriptedChatModel([said]), "Does it fit?") is yes


def test_a_judge_that_says_neither_is_an_error():
    for said in ("I know nothing.", {"letter": "C"}):
        with pytest.raises(ValueError, match="neither A nor B, yes nor no"):
            ask_yes_no(ScriptedChatModel([said]), "Does it fit?")


def test_calls_and_tokens_are_counted_as_the_model_tells_them():
    usage = {"input_tokens": 100, "output_tokens": 7, "total_tokens": 107}
    model = ScriptedChatModel([AIMessage("a", usage_metadata=usage), "four by four"])
    with count_calls() as used:
        model.invoke("one")
        model.invoke("to be counted roughly")
    model.then = "loop"
    model.invoke("outside")
    assert isinstance(used, Meter)
    assert (used.calls, used.read, used.written) == (2, 106, 10)


def test_a_call_to_a_tool_by_schema_is_counted_once():
    usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
    model = ScriptedChatModel([AIMessage('{"tool": "none"}', usage_metadata=usage)])
    tool = {"title": "note", "description": "Keep a note.", "type": "object", "properties": {}}
    with count_calls() as used:
        _ToolsBySchema(model=model).bind_tools([tool]).invoke("Hi.")
    assert (used.calls, used.read, used.written) == (1, 100, 10)


def test_two_models_that_do_not_tell_their_name_share_no_answer(tmp_path):
    asked = []
    for name in ("ollama:a", "ollama:b", "ollama:a"):
        run = run_of(tmp_path, "prefeval", arms=["none"], known_as=name, out=f"{len(asked)}.json", limit=1)
        run.start()
        asked.append(len(run.kit.model.calls))
    assert asked == [1, 1, 0]


def test_memory_shows_and_the_controls_do_not(tmp_path):
    arms = ["none", "length", "everything", "another", "verbatim"]
    run = run_of(tmp_path, "prefeval", {"per_user": "1"}, arms=arms, reflection="verbatim")
    results = run.start()
    means = {arm: sum(some.values()) / len(some) for arm, some in scores_of(results, "correct").items()}
    assert means["verbatim"] == means["everything"] == 1.0
    assert means["none"] == means["another"] < 1.0
    assert means["length"] == 0.0
    table = next(one for one in tables_of(results) if one.title == "correct")
    rows = {row[0]: row for row in table.rows}
    assert rows["another"][3] == "+0.00"
    assert rows["verbatim"][1:3] == ["4", "1.00"]
    assert rows["verbatim"][3].startswith(f"+{1 - means['none']:.2f}")
    assert "| verbatim | 4 | 1.00 |" in str(table)
    draw(results, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1_000


def test_a_liking_for_a_letter_cancels_out(tmp_path):
    def likes_b(messages):
        letter = json.loads(answer(messages))["letter"]  # what fits gains 1, and B stands 2 ahead of all others
        told = [{"token": one, "logprob": -3.0 + (one == letter) + 2 * (one == "B")} for one in "ABCD"]
        return AIMessage("B", response_metadata={"logprobs": {"content": [{"token": "B", "top_logprobs": told}]}})

    model = ScriptedChatModel(likes_b)
    run = run_of(tmp_path, "prefeval", arms=["verbatim"], model=model, letters="logprobs")
    assert run.estimate().calls == 16  # four orders
    assert [row["scores"]["correct"] for row in run.start()["rows"]] == [1.0] * 4


@pytest.mark.parametrize("count", [2, 3, 5, 15])
def test_each_option_stands_once_at_each_letter(count):
    def likes_a(messages):  # the right one gains a little, and A far more
        lines = messages[-1].text.splitlines()
        told = {line[0]: -9.0 + ("right" in line) + 5 * (line[0] == "A") for line in lines if line[1:2] == "."}
        top = [{"token": letter, "logprob": value} for letter, value in told.items()]
        return AIMessage("A", response_metadata={"logprobs": {"content": [{"top_logprobs": top}]}})

    kit = kit_of(ScriptedChatModel(likes_a), letters="logprobs")
    options = tuple("right" if place == count - 1 else f"wrong {place}" for place in range(count))
    item = Item(id="1", user="ana", question="Which?", options=options, right=count - 1)
    assert choose_option(item, make_arms(["none"], kit)["none"], kit) == (count - 1, "right")


def test_where_no_letter_is_likely_nothing_is_chosen():
    kit = kit_of(ScriptedChatModel(lambda messages: likely("The", "Well")), letters="logprobs")
    item = Item(id="1", user="ana", question="Which?", options=("tea", "juice"))
    assert choose_option(item, make_arms(["none"], kit)["none"], kit) == (-1, "")


def test_memory_is_searched_by_the_question_alone():
    kit, seen = kit_of(), []

    class Searching(Arm):
        def tell(self, user, messages):
            seen.append(messages[-1].text)
            return "The user collects stamps."

    item = Item(id="1", user="ana", question="Which?", options=("stamps", "coins"))
    choose_option(item, Searching("searching", kit), kit)
    assert seen == ["Which?"]
    system, asked = kit.model.calls[-1]
    assert asked.text.startswith("Which?\n\nA. stamps\nB. coins\n\n")
    assert system.text.endswith("collects stamps.")


def test_the_control_has_a_history_of_the_same_length(tmp_path):
    others = run_of(tmp_path, "pahf").kit.others
    for memory, (other, _) in others.items():
        assert (memory.split(", ")[0] != other.split(", ")[0], memory.split(", ")[1]) == (True, other.split(", ")[1])


def test_nobody_is_asked_for_the_longest_option_where_there_are_none(tmp_path):
    assert "length" not in run_of(tmp_path, "prefeval", {"task": "generation"}).names
    with pytest.raises(ConfigError, match="needs options to choose from"):
        run_of(tmp_path, "personamem", {"task": "open"}, arms=["length"])


def test_users_are_what_is_drawn_where_a_benchmark_says_so(tmp_path):
    results = run_of(tmp_path, "pahf", {"part": "embodied"}, arms=["none"]).start()
    for row in results["rows"]:  # two users with two scenarios each
        row["scores"]["accepted"] = float(row["user"] == "Ash")
    table = next(one for one in tables_of(results) if one.title == "accepted")
    assert table.rows[0][1:3] == ["4", "0.50 [0.00, 1.00]"]


TALK = [{"role": "user", "content": "Who was Bach?"}, {"role": "assistant", "content": "A composer."}]


def test_a_run_that_was_stopped_goes_on_and_asks_nothing_twice(tmp_path):
    whole = run_of(tmp_path / "whole", "prefeval", arms=["none", "reflection"])
    estimate = whole.estimate()
    expected = whole.start(parallel=1)
    assert estimate.calls == 12  # 2 × 4 answers, and 4 exchanges that are reflected on
    assert expected["calls"] == 8  # nothing was found, and without cards the prompt is that of `none`
    model, kept = ScriptedChatModel(answer), []
    while True:
        run = run_of(tmp_path, "prefeval", arms=["none", "reflection"], model=model, max_calls=3)
        if not run.estimate().items:
            break
        results = run.start(parallel=1)
        assert run.cache.calls <= 3
        assert results["calls"] == len(model.calls)
        kept.append(len(results["rows"]))
    assert kept == sorted(kept)
    assert len(model.calls) == expected["calls"]
    plain = [sorted((row["item"], row["arm"], row["answer"]) for row in one["rows"]) for one in (expected, results)]
    assert plain[0] == plain[1]
    assert read_results(tmp_path / "out.json")["rows"] == results["rows"]
    for changed in ({"seed": 1}, {"options": {"turns": "9"}}):
        with pytest.raises(ConfigError, match="other settings"):
            run_of(tmp_path, "prefeval", **changed)
    assert not run_of(tmp_path, "prefeval", {"turns": "10"}, arms=["none"]).estimate().items  # as by default
    file = next((tmp_path / "data" / "explicit_preference").iterdir())
    text = file.read_text()
    file.write_text(text.replace("I ", "We "))
    with pytest.raises(ConfigError, match="made from other data"):
        run_of(tmp_path, "prefeval", data=tmp_path / "data")
    file.write_text(text)
    turns = dump(tmp_path / "data" / "filtered_inter_turns.json", [{"conversation": TALK}])
    with pytest.raises(ConfigError, match="made from other data"):
        run_of(tmp_path, "prefeval", data=tmp_path / "data")
    turns.unlink()
    more = run_of(tmp_path, "prefeval", arms=["length"], limit=2).start()
    assert more["arms"] == ["none", "reflection", "length"]


def test_what_fails_is_told_and_tried_again(tmp_path):
    def fails(messages):
        raise TimeoutError("slow")

    broken = run_of(tmp_path, "prefeval", arms=["none", "reflection"], model=ScriptedChatModel(fails)).start()
    errors = {row["arm"]: row["error"] for row in broken["rows"]}
    assert errors["none"] == "TimeoutError: slow"
    assert errors["reflection"].startswith("ConnectionError: a model call failed while the history was learned")
    assert any("learned from" in message for message in broken["warnings"])
    mended = run_of(tmp_path, "prefeval", arms=["none", "reflection"]).start()
    assert len(mended["rows"]) == 8
    assert not any(row["error"] for row in mended["rows"])


def test_a_history_of_which_a_call_failed_is_learned_again(tmp_path):
    def fails_to_reflect(messages):
        if "notes on" in messages[0].text[:200]:
            raise TimeoutError("slow")
        return answer(messages)

    model = ScriptedChatModel(fails_to_reflect)
    broken = run_of(tmp_path, "prefeval", arms=["none", "reflection"], model=model).start()
    assert {row["arm"]: bool(row["error"]) for row in broken["rows"]} == {"none": False, "reflection": True}
    mended = run_of(tmp_path, "prefeval", arms=["none", "reflection"])
    assert mended.estimate().items == 4
    assert {row["error"] for row in mended.start()["rows"]} == {""}


def test_a_server_that_tells_no_log_probabilities_ends_the_run(tmp_path):
    run = run_of(tmp_path, "prefeval", arms=["none"])
    object.__setattr__(run.kit.settings, "letters", "logprobs")
    with pytest.raises(ConfigError, match="tells no log probabilities"):
        run.start()


def test_an_estimate_counts_the_judge_and_a_row_does_not(tmp_path):
    run = run_of(tmp_path, "prefeval", {"task": "generation"}, arms=["none"])
    assert run.estimate().calls == 4 * 5  # an answer, and four questions to a judge who says yes to each
    assert {row["calls"] for row in run.start()["rows"]} == {1}


def test_a_history_that_could_not_be_learned_is_learned_before_the_next_question(tmp_path, monkeypatch):
    run, failed = run_of(tmp_path, "prefeval", arms=["verbatim"]), []
    learn = PersonaArm.learn

    def fails_once(self, user, history):
        if not failed:
            failed.append(user)
            raise OSError("no disk")
        return learn(self, user, history)

    monkeypatch.setattr(PersonaArm, "learn", fails_once)
    rows = run.start(parallel=1)["rows"]
    assert [row["error"] for row in rows] == ["OSError: no disk", "", "", ""]
    assert sum(row["scores"].get("correct", 0.0) for row in rows) == 3


def test_an_interrupt_keeps_what_was_done(tmp_path):
    def interrupted(messages):
        if len(model.calls) == 3:
            raise KeyboardInterrupt
        return answer(messages)

    model = ScriptedChatModel(interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_of(tmp_path, "prefeval", arms=["none"], model=model).start(parallel=1)
    assert len(read_results(tmp_path / "out.json")["rows"]) == 2
    assert len(run_of(tmp_path, "prefeval", arms=["none"]).start()["rows"]) == 4


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("prefeval", {"colour": "red"}, "no option colour; there are form"),
        ("prefeval", {"turns": "many"}, "option turns: .*'many'"),
        ("collab", {"sessions": "1"}, "sessions must be 2 or more"),
    ],
)
def test_an_option_that_cannot_be_is_refused(tmp_path, name, options, words):
    with pytest.raises(ConfigError, match=words):
        run_of(tmp_path, name, options)


def test_a_wish_is_not_found_in_the_words_of_a_problem(tmp_path):
    data = write_collab(
        tmp_path / "data", "You prefer problem solving to have numbered steps. Enforce.", "Which number?"
    )
    results = run_of(tmp_path, "collab", {"task": "standing"}, data=data, arms=["none", "everything"]).start()
    assert [row["scores"] for row in results["rows"]] == [{"standing": 0.0}, {"standing": 1.0}]


def test_arms_that_only_a_model_tells_apart_are_left_out_without_one(tmp_path):
    assert "no-persona" in run_of(tmp_path, "lamp").names
    assert "no-persona" not in run_of(tmp_path / "flat", "lamp", reflection="flat").names


def test_registry():
    with pytest.raises(ConfigError, match="no benchmark 'nothing'"):
        benchmark("nothing")
    for name in BENCHMARKS:
        assert set(benchmark(name).ARMS) <= set(ARMS)
