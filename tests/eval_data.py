"""Tiny files in the published formats of the benchmarks, for the tests of `langchain_persona.evals`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from tests.benchmark_data import write_shop

TASTES = ("avoid hotels with nightlife", "eat nothing with gluten", "hate heights", "love trains")
WORDS = ("nightlife", "gluten", "heights", "trains")


def dump(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def write_prefeval(folder: Path) -> Path:
    """Two topics with two preferences each; the aligned option repeats the preference's last word."""
    for topic, places in {"travel": (0, 2), "food": (1, 3)}.items():
        cases = [
            {"preference": f"I {TASTES[place]}.", "question": f"What about {place}?", "explanation": "-"}
            for place in places
        ]
        options = [
            [f"It suits {WORDS[place]}.", "Nothing.", "Anything at all, really.", "No idea."] for place in places
        ]
        choice = [
            {
                "query": case["question"],
                "assistant_options": "1. this 2. that",
                "user_selection": f"That. {case['preference']}",
                "assistant_acknowledgment": "Fine.",
            }
            for case in cases
        ]
        talks = [{"0": {"user": case["preference"], "assistant": "I see."}} for case in cases]
        dump(folder / "explicit_preference" / f"{topic}.json", cases)
        where = folder / "implicit_preference"
        for name, said in (("choice-based", choice), ("persona-driven", talks)):
            rows = [{**case, "conversation": one} for case, one in zip(cases, said, strict=True)]
            dump(where / name / f"{topic}.json", rows)
        rows = [{**case, "classification_task_options": one} for case, one in zip(cases, options, strict=True)]
        dump(folder / "mcq_options" / f"{topic}.json", rows)
    return folder


def write_pahf(folder: Path) -> Path:
    """Both halves; the household has two users."""
    write_shop(folder)
    where = folder / "pahf" / "embodied"
    for name in ("original_scenarios_A", "original_scenarios_B", "evolved_scenarios_A", "evolved_scenarios_B"):
        drink = "tea" if name.startswith("original") else "juice"
        row = {"task": "A drink?", "context": "Tired", "user_intent_location": "pick-up"}
        row |= {"user_intent_object": drink, "scene_objects": ["tea", "juice"], "scene": "tea, juice", "index": 0}
        dump(where / f"{name}.json", [{**row, "user": user} for user in ("Ash", "Bryn")])
    return folder


def write_personamem(folder: Path) -> Path:
    """Two users with a question each; the table's cells are as published, texts with line breaks in them."""
    rows = []
    for number, word in enumerate(("gluten", "heights")):
        talk = [
            {"role": "system", "content": f"The whole persona: {word} and a secret."},
            {"role": "user", "content": f"I can't stand {word}.\nAnyway, what is 2 + 2?"},
            {"role": "assistant", "content": "4."},
        ]
        for size in ("32k", "128k"):
            dump(folder / "chats" / f"{number}_{size}.json", {"metadata": {"persona_id": number}, "chat_history": talk})
        rows.append(
            {
                "persona_id": str(number),
                "chat_history_32k_link": f"chats/{number}_32k.json",
                "chat_history_128k_link": f"chats/{number}_128k.json",
                "raw_persona_file": "-",
                "preference": f"no {word}",
                "pref_type": ("ask_to_forget", "neutral_preferences")[number],
                "user_query": str({"role": "user", "content": "What do you\nsuggest?"}),
                "correct_answer": f"Without {word}.",
                "incorrect_answers": json.dumps(["One.", "Two.", "A third one, which is longer."]),
                "who": "self",
                "updated": "False",
                "sensitive_info": "False",
            }
        )
    with (folder / "benchmark.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return folder / "benchmark.csv"


SHORT = "You prefer the agent responses to be no longer than three sentences. Enforce if there are more."


def write_collab(folder: Path, wish: str = SHORT, problem: str = "What is") -> Path:
    """A user whose wishes a program can check, and one with a wish that only a judge can."""
    points = "You prefer the agent responses structured in bullet-point format. Enforce if there are none."
    warm = "You prefer the agent responses to be friendly. Enforce if they are not."
    people = [{"i": 0, "persona": "-", "preferences": [wish, points, warm]}]
    people += [{"i": 1, "persona": "-", "preferences": [warm]}]
    root = folder / "collaborativeagents"
    dump(root / "user_profiles" / "user_profiles.json", people)
    problems = [{"problem": f"{problem} {number} + 1?", "solution": str(number + 1)} for number in range(4)]
    dump(root / "datasets" / "cache" / "mmlu" / "testset_size20_seed42.json", problems)
    return folder


def write_lamp(folder: Path) -> Path:
    """LaMP-2M for dev, LaMP-3 for train."""
    head = (
        "Which tag does this movie relate to among the following tags? tags: [comedy, sci-fi, classic] description: x"
    )
    films = [{"id": "p1", "tag": "comedy", "description": "A wedding."}]
    stars = [{"id": "p2", "score": "5", "text": "Loved it."}]
    dump(folder / "dev_questions.json", [{"id": name, "input": head, "profile": films} for name in ("200", "201")])
    golds = [{"id": name, "output": "sci-fi"} for name in ("200", "201")]
    dump(folder / "dev_outputs.json", {"task": "LaMP_2M", "golds": golds})
    dump(folder / "train_questions.json", [{"id": "300", "input": "What is the score of: x", "profile": stars}])
    dump(folder / "train_outputs.json", {"task": "LaMP_3", "golds": [{"id": "300", "output": "4"}]})
    return folder


def write_rpeval(folder: Path) -> Path:
    """Requests with one preference and with two, outright and in dialogues."""
    talk = "用户：我喜欢安静。\n\n助手：好的。\n\n用户：谢谢。"
    for form in ("explicit", "implicit"):
        told = {"implicit_persona": talk} if form == "implicit" else {}
        one = {"question": "去哪儿？", "persona": "用户喜欢安静。", "intent_type": "dominate", "reason": "-", **told}
        support = {**one, "intent_type": "支持性偏好" if told else "support"}
        dump(folder / f"{form}_preference" / "single_testset.json", [one, support])
        many = {"question": "去哪儿？", "persona": ["用户喜欢安静。", "用户喜欢茶。"], "intent_type": "CA"}
        many |= {"implicit_persona": [talk, talk]} if told else {}
        dump(folder / f"{form}_preference" / "multi_testset.json", [many])
    return folder


WRITERS = {
    "prefeval": write_prefeval,
    "pahf": write_pahf,
    "personamem": write_personamem,
    "collab": write_collab,
    "lamp": write_lamp,
    "rpeval": write_rpeval,
}
