"""What a reflection makes of messages: how much is found, and what is made up.

    python -m benchmarks.reflection --data tests/data/reflection/development.jsonl --model-url http://127.0.0.1:8080/v1
        [--shape flat | whole | verbatim] [--prefeval FOLDER --topics travel_hotel,shop_home --per-topic 3]
        [--limit N] [--verbose]

Cases are judged by `tests.reflection_data`, on the cards that `apply_findings` makes. The model's answers are kept in
`.cache`, so that a second run of the same is quick. PrefEval (arXiv 2502.09597, CC BY-NC 4.0) does not come with the
repository.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.language_models import BaseChatModel
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.bootstrap import over_users
from benchmarks.cache import FOLDER
from langchain_persona import LocalEmbeddings, PreferenceCard
from langchain_persona.evals.models import AnswerCache
from langchain_persona.memory.cards import CardSet
from langchain_persona.reflection import Exchange, Reflection
from langchain_persona.reflection.apply import apply_findings, texts_to_embed
from langchain_persona.reflection.flat import FlatReflection
from langchain_persona.reflection.model import ModelReflection
from langchain_persona.reflection.verbatim import VerbatimReflection
from tests.reflection_data import judge, read

__all__ = ["Result", "chat_model", "measure_cases", "measure_prefeval", "recovers"]

KINDS = {
    "explicit": "explicit_preference",
    "choice": "implicit_preference/choice-based",
    "dialogue": "implicit_preference/persona-driven",
}
SAME = 0.5
RULE = f"""recovered: a card's text has a cosine (all-MiniLM-L6-v2) of at least {SAME} to the explicit preference, and
is no inversion of it: a card without a negation, all of whose words occur in a preference with one, is."""
_NEGATION = re.compile(
    r"\b(?:not|no|never|avoid\w*|dislike\w*|hate\w*|aver\w+|against|refuse\w*|can'?t|cannot|don'?t|doesn'?t|steer|"
    r"without|allerg\w+|fear\w*|phobia|uncomfortable|discomfort|difficult|only|rather|to|over)\b",
    re.IGNORECASE,
)
_FILLER = frozenset({"a", "an", "the", "of", "in", "for", "with", "that", "are", "likes", "loves", "prefers", "enjoys"})


@dataclass(frozen=True)
class Result:
    """How one case went: 1.0 for right, a group for the table, tokens read and written, and what it says of a miss."""

    group: str
    language: str
    right: float
    false: bool
    tokens: int
    told: str


def chat_model(url: str, key: str = "local", cache: Path = FOLDER) -> BaseChatModel:
    """The chat model of an OpenAI-compatible server, with its answers kept on disk."""
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    client = httpx.Client(trust_env=False)
    name = client.get(f"{url}/models", headers={"Authorization": f"Bearer {key}"}).json()["data"][0]["id"]
    given: dict[str, Any] = {"http_client": client, "timeout": 1_200, "max_retries": 1, "max_tokens": 300}
    name = Path(name).name
    return ChatOpenAI(
        model=name, base_url=url, api_key=SecretStr(key), temperature=0, cache=AnswerCache(cache), **given
    )


def reflection_of(shape: str, model: BaseChatModel | None) -> Reflection:
    """The reflection of a shape."""
    if shape == "verbatim":
        return VerbatimReflection()
    if model is None:
        raise SystemExit("this shape needs --model-url")
    return FlatReflection(model) if shape == "flat" else ModelReflection(model)


class Learner:
    """Applies what a reflection finds as the agent does, one exchange after the other."""

    def __init__(self, reflection: Reflection) -> None:
        self.reflection, self.embeddings = reflection, LocalEmbeddings(threads=1)
        self.tokens: list[int] = []

    def embed(self, texts: Sequence[str]) -> Any:
        """Unit vectors, shape (n, d)."""
        return np.asarray(self.embeddings.embed_documents(list(texts)))

    def learn(self, exchange: Exchange, cards: Sequence[PreferenceCard]) -> tuple[list[PreferenceCard], int]:
        """All cards after an exchange, and the tokens that the model read and wrote."""
        with get_usage_metadata_callback() as used:
            findings = self.reflection.reflect([exchange], [card for card in cards if card.active])
        tokens = sum(one["total_tokens"] for one in used.usage_metadata.values())
        active = tuple(card for card in cards if card.active)
        rest = tuple(card for card in cards if not card.active)
        vectors = self.embed([card.text for card in active]) if active else np.zeros((0, 384))
        texts = texts_to_embed(findings)
        rows = dict(zip(texts, self.embed(texts), strict=True)) if texts else {}
        applied = apply_findings(findings, [exchange], CardSet(active, rest, vectors), rows)
        after = {card.id: card for card in (*cards, *applied.cards)}
        return list(after.values()), tokens


def measure_cases(learner: Learner, path: Path, limit: int | None = None) -> Iterator[Callable[[], Result]]:
    """One job for each case of a file."""
    for case in read(path)[:limit]:

        def run(case: Any = case) -> Result:
            exchange = Exchange(case.id, case.user, case.answer, case.assistant, time.time(), case.id)
            cards, tokens = learner.learn(exchange, case.cards)
            outcome = judge(case, case.cards, cards)
            new = [f"{one.text} [{one.kind}]" for one in cards if one.active and one not in case.cards]
            gone = [f"gone: {one.text}" for one in cards if one.retired]
            told = f"{outcome.verdict} {case.id}: {case.user[:200]} -> {'; '.join([*new, *gone])} ({outcome.reason})"
            right = float(outcome.verdict in ("found", "right"))
            return Result(case.category, case.language, right, outcome.verdict == "false", tokens, told)

        yield run


def measure_prefeval(
    learner: Learner, folder: Path, kinds: Iterable[str], topics: Sequence[str] | None, per_topic: int
) -> Iterator[Callable[[], Result]]:
    """One job for each sampled preference of each topic, in the ways of telling it that are asked for."""
    for kind in kinds:
        for path in sorted((folder / KINDS[kind]).glob("*.json")):
            rows = json.loads(path.read_text(encoding="utf-8"))
            chosen = random.Random(path.stem).sample(range(len(rows)), min(per_topic, len(rows)))
            for number in sorted(chosen) if topics is None or path.stem in topics else []:
                row, name = rows[number], f"{path.stem}-{number}"

                def run(kind: str = kind, row: Any = row, name: str = name) -> Result:
                    cards: list[PreferenceCard] = []
                    total = 0
                    for place, (before, said, answer) in enumerate(turns(kind, row)):
                        exchange = Exchange(f"{name}-{place}", said, answer, before, float(place), f"{name}-{place}")
                        cards, tokens = learner.learn(exchange, cards)
                        total += tokens
                    texts = [card.text for card in cards if card.active]
                    right, best = recovers(row["preference"], texts, learner.embed)
                    told = f"{name} {kind}: {row['preference']} -> {best} ({len(texts)} cards)"
                    return Result(f"prefeval {kind}", "en", float(right), False, total, told)

                yield run


def turns(kind: str, row: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The exchanges of a case: the assistant's message before, the user's, the answer."""
    if kind == "explicit":
        yield "", row["preference"], ""
        return
    talk = row["conversation"]
    if kind == "choice":
        yield "", talk["query"], talk["assistant_options"]
        yield talk["assistant_options"], talk["user_selection"], talk["assistant_acknowledgment"]
        return
    before = ""
    for turn in talk.values():
        if "user" in turn:
            yield before, turn["user"], turn.get("assistant", "")
            before = turn.get("assistant", "")


def recovers(preference: str, texts: Sequence[str], embed: Callable[[Sequence[str]], Any]) -> tuple[bool, str]:
    """Whether a card says what a preference says, by `RULE`; and the nearest card with its cosine."""
    if not texts:
        return False, "no card"
    rows = embed([preference, *texts])
    scores = rows[1:] @ rows[0]
    best = int(scores.argmax())
    said = f"{scores[best]:.2f} {texts[best]}"
    words = set(re.findall(r"\w+", preference.casefold()))
    right = any(
        score >= SAME and not (_NEGATION.search(preference) and not _NEGATION.search(text) and _words(text) <= words)
        for score, text in zip(scores, texts, strict=True)
    )
    return right, said


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold())) - _FILLER


def report(results: Sequence[Result], console: Console, *, verbose: bool) -> None:
    """The tables: by group, by group and language, tokens; and the misses."""
    groups = defaultdict[str, list[Result]](list)
    for one in results:
        groups[one.group].append(one)
    table = Table("group", "n", "right", "95 % interval", "false cards", "tokens p50", "p95", "languages")
    for name, some in groups.items():
        interval = over_users([one.right for one in some])
        tokens = sorted(one.tokens for one in some)
        by_language = defaultdict[str, list[float]](list)
        for one in some:
            by_language[one.language].append(one.right)
        languages = " ".join(f"{key} {sum(rows):.0f}/{len(rows)}" for key, rows in by_language.items())
        bounds = "" if interval.low is None else f"{interval.low:.2f} to {interval.high:.2f}"
        p95 = tokens[min(len(tokens) - 1, int(0.95 * len(tokens)))]
        false = f"{sum(one.false for one in some)}/{len(some)}"
        row = (name, str(len(some)), f"{interval.mean:.2f}", bounds, false)
        table.add_row(*row, str(int(statistics.median(tokens))), str(p95), languages)
    console.print(table)
    if verbose:
        for one in results:
            console.print(f"{' ' if one.right else 'x'} {one.told}", markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", default=[])
    parser.add_argument("--prefeval", type=Path)
    parser.add_argument("--kinds", default=",".join(KINDS), help="of PrefEval: " + ", ".join(KINDS))
    parser.add_argument("--topics")
    parser.add_argument("--per-topic", type=int, default=3)
    parser.add_argument("--model-url")
    parser.add_argument("--model-key", default="local")
    parser.add_argument("--shape", choices=("flat", "whole", "verbatim"), default="flat")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--parallel", type=int, default=4, help="cases at a time")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    model = chat_model(given.model_url, given.model_key) if given.model_url else None
    learner = Learner(reflection_of(given.shape, model))
    jobs = [job for path in given.data for job in measure_cases(learner, path, given.limit)]
    if given.prefeval:
        topics = given.topics.split(",") if given.topics else None
        jobs += list(measure_prefeval(learner, given.prefeval, given.kinds.split(","), topics, given.per_topic))
    console = Console(stderr=True)
    with Progress(console=console) as progress, ThreadPoolExecutor(given.parallel) as pool:
        results = list(progress.track(pool.map(lambda job: job(), jobs), total=len(jobs), description=given.shape))
    report(results, Console(width=160), verbose=given.verbose)
    if given.prefeval:
        print(RULE)


if __name__ == "__main__":
    main()
