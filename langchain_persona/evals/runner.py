"""Runs a benchmark: arms beside each other, answers cached, interrupted and taken up again, not more calls than said.

The results are one JSON file: what was run and with what, a row for each item and arm, and what learning the histories
cost. A run that finds such a file of the same settings goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from pydantic import ValidationError, validate_call

from langchain_persona.errors import ConfigError
from langchain_persona.evals import Benchmark, benchmark
from langchain_persona.evals.arms import MODEL_ONLY, Another, Arm, Kit, Settings, arm_class, make_arms
from langchain_persona.evals.items import DataError, Item, Row
from langchain_persona.evals.models import AnswerCache, NamedCache, count_calls
from langchain_persona.evals.report import read_results
from langchain_persona.prompt import approximate_tokens
from langchain_persona.resilience import quiet
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel

PACKAGES = ("langchain-persona", "langchain-core", "langgraph", "langchain-openai", "chromadb", "numpy")
_SAVE_EVERY = 5.0  # seconds
_SAMPLE = 4  # items of the first history, from which an estimate is made
_SHOWN = 300  # characters of an answer in the results


class Estimate(NamedTuple):
    """About how much a run will ask of the model, without what the cache holds."""

    items: int
    calls: int
    tokens: int


class Run:
    """One benchmark with one model.

    Args:
        settings: what decides the results.
        data: the path of the published files; None where the benchmark brings its own.
        arms: names of arms; the benchmark's own by default.
        model, judge, embeddings: as in `Kit`; the judge is the model itself by default.
        cache: keeps answers, and says how many calls may be made.
        out: the results file.

    `DataError`, `ConfigError`: the data, an arm, an option or an earlier results file do not fit.
    """

    def __init__(
        self,
        settings: Settings,
        data: Path | None,
        *,
        model: BaseChatModel,
        embeddings: Embeddings,
        cache: AnswerCache,
        out: Path,
        arms: Sequence[str] = (),
        judge: BaseChatModel | None = None,
    ) -> None:
        self.settings, self.cache, self.out = settings, cache, out
        self.module: Benchmark = benchmark(settings.benchmark)
        if data is not None and not data.exists():
            raise DataError(f"there is no file or folder {data}")
        self.items = load_items(self.module, data, settings)
        if not self.items:
            raise DataError(f"{data} has no items of {settings.benchmark}")
        for one, name in ((model, settings.model), (judge or model, settings.judge or settings.model)):
            key = f"{name} {settings.temperature} {settings.max_tokens} "
            one.cache = cache if one.is_lc_serializable() else NamedCache(cache, key)
        self.kit = Kit(
            model=model,
            judge=judge or model,
            embeddings=embeddings,
            settings=settings,
            others=_others(self.items),
        )
        usual = (name for name in self.module.ARMS if settings.reflection == "model" or name not in MODEL_ONLY)
        self.names = tuple(arms or usual)
        for name in self.names:
            arm_class(name)
        if not any(one.options for one in self.items):
            if "length" in arms:
                raise ConfigError("the arm length needs options to choose from, and these items have none")
            self.names = tuple(name for name in self.names if name != "length")
        if not self.kit.others:
            if "another" in arms:
                raise ConfigError("the arm another needs a second user with earlier sessions, and there is none")
            self.names = tuple(name for name in self.names if name != "another")
        digest, histories = hashlib.sha256(), {one.key: one.history for one in self.items}
        shown = ((one.id, one.key, one.question, one.options, one.right, one.before) for one in self.items)
        for part in (*histories.items(), *shown):
            digest.update(repr(part).encode())
        self.items = self.items[: settings.limit]
        self.results = self._open(digest.hexdigest()[:16])
        self._lock, self._saved, self._calls_before = Lock(), 0.0, int(self.results["calls"])
        self._stop, self._unlearned = False, set[tuple[str, str]]()

    def estimate(self) -> Estimate:
        """From a dry run of a few items with a model that always answers A."""
        key = self.items[0].key
        sample = [one for one in self.items if one.key == key][:_SAMPLE]
        memories = {one.key for one in self.items}
        likely = {"logprobs": {"content": [{"top_logprobs": [{"token": "A", "logprob": 0.0}]}]}}
        mute = ScriptedChatModel(lambda messages: AIMessage('{"letter": "A"}', response_metadata=likely))
        kit = replace(self.kit, model=mute, judge=mute, embeddings=HashEmbeddings())
        todo, total = Counter(name for _, name in self._todo()), np.zeros(2)

        def count_asked() -> npt.NDArray[np.int64]:
            texts = [one.text for call in mute.calls for one in call]
            return np.array([len(mute.calls), sum(map(approximate_tokens, texts))])

        with quiet():
            for name, arm in make_arms(self.names, kit).items():
                before = count_asked()
                arm.learn(key, sample[0].history)
                learned = count_asked()
                for item in sample:
                    self.module.run(item, arm, kit)
                histories = memories
                if isinstance(arm, Another):
                    histories = {self.kit.others[one][0] for one in memories if one in self.kit.others}
                    histories -= memories if self._is_shared(arm) else set()
                each = (learned - before) * len(histories) + (count_asked() - learned) * len(self.items) / len(sample)
                total += each * todo[name] / len(self.items)
        return Estimate(todo.total(), round(total[0]), round(total[1]))

    def start(self, *, parallel: int = 4, progress: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
        """Run what is not done yet, and return the results; `progress` is told how many items went by.

        Args:
            parallel: histories at a time.
            progress: called with 1 for each item.
        """
        arms, jobs = make_arms(self.names, self.kit), dict[tuple[str, str], list[Item]]()
        for item, name in self._todo():
            jobs.setdefault((item.key, name), []).append(item)
        self._stop = False
        with _counted_warnings(self), ThreadPoolExecutor(parallel) as pool:
            try:
                list(pool.map(lambda job: self._work(arms[job[0][1]], job[1], progress), jobs.items()))
            finally:
                self._stop = True  # where it is interrupted, the threads end with the answer that they wait for
                self._save(now=True)
        return self.results

    def _work(self, arm: Arm, items: Sequence[Item], progress: Callable[[int], None]) -> None:
        for item in items:
            if self._is_stopped():
                return
            row = Row(item=item.id, user=item.user, arm=arm.name, groups=dict(item.groups))
            try:
                self._learn(arm, item)
                began = time.perf_counter()
                with count_calls() as used:
                    done = self.module.run(item, arm, self.kit)
                row.scores, row.answer = done.scores, done.answer[:_SHOWN]
                row.calls, row.read, row.written = used.calls, used.read, used.written
                row.seconds = round(time.perf_counter() - began, 3)
            except ConfigError:  # a server that cannot do what was asked of it fails each answer
                raise
            except Exception as error:
                row.error = f"{type(error).__name__}: {error}"[:_SHOWN]
            if self._is_stopped():  # what was learned or answered without the model counts for nothing
                return
            with self._lock:
                self.results["rows"].append(asdict(row))
            self._save()
            progress(1)

    def _learn(self, arm: Arm, item: Item) -> None:
        began = time.perf_counter()
        with count_calls() as used:
            new = arm.learn(item.key, item.history)
        name = "reflection" if self._is_shared(arm) else arm.name
        memory = self.kit.others[item.key][0] if isinstance(arm, Another) else item.key
        if not used.complete:
            self._unlearned.add((name, memory))
        if (name, memory) in self._unlearned:
            raise ConnectionError("a model call failed while the history was learned; the same command learns it again")
        known = {(one["arm"], one["memory"]) for one in self.results["learning"]}
        if new and (name, memory) not in known and not self.cache.exhausted:
            cost = {"calls": used.calls, "read": used.read, "written": used.written}
            cost["seconds"] = round(time.perf_counter() - began, 3)  # type: ignore[assignment]
            with self._lock:
                self.results["learning"].append({"arm": name, "memory": memory, **cost})

    def _is_shared(self, arm: Arm) -> bool:
        """Whether what an arm learns is learned for `reflection` too."""
        return isinstance(arm, Another) and "reflection" in self.names

    def _is_stopped(self) -> bool:
        return self._stop or self.cache.exhausted

    def _todo(self) -> list[tuple[Item, str]]:
        """What is not done yet."""
        done = {(one["item"], one["arm"]) for one in self.results["rows"]}
        return [(item, name) for item in self.items for name in self.names if (item.id, name) not in done]

    def _open(self, data: str) -> dict[str, Any]:
        """The results so far, without rows that failed; or new ones. `data` names what the items were read from."""
        plain = {key: value for key, value in asdict(self.settings).items() if key != "limit"}
        found = read_results(self.out) if self.out.exists() else {}
        if found:
            found["rows"] = [one for one in found["rows"] if not one["error"]]
            usual = {name: str(one.default) for name, one in inspect.signature(self.module.load).parameters.items()}
            for one in (before := dict(found["settings"]), now := dict(plain)):
                one["options"] = usual | one["options"]
            if differ := [key for key, value in now.items() if before.get(key) != value]:
                raise ConfigError(f"{self.out} has other settings ({', '.join(differ)}); name another file with --out")
            if found.get("data", data) != data:
                raise ConfigError(f"{self.out} was made from other data; name another file with --out")
        unit, about = self.module.UNIT, self.module.ABOUT
        new: dict[str, Any] = {"settings": plain, "data": data, "about": about, "unit": unit, "calls": 0}
        new |= {"versions": _versions(), "started": f"{datetime.now(UTC):%Y-%m-%d %H:%M}"}
        new |= {"learning": [], "rows": [], "warnings": {}}
        return new | found | {"arms": list(dict.fromkeys([*found.get("arms", ()), *self.names]))}

    def _save(self, *, now: bool = False) -> None:
        with self._lock:
            if not now and time.monotonic() - self._saved < _SAVE_EVERY:
                return
            self.results["calls"] = self._calls_before + self.cache.calls
            self.out.parent.mkdir(parents=True, exist_ok=True)
            partial = self.out.with_suffix(".partial")
            partial.write_text(json.dumps(self.results, ensure_ascii=False, indent=1), encoding="utf-8")
            partial.replace(self.out)
            self._saved = time.monotonic()


def load_items(module: Benchmark, data: Path | None, settings: Settings) -> list[Item]:
    """The items of a benchmark with its options; `ConfigError`: an option that it does not have or cannot take."""
    known = {name: one for name, one in inspect.signature(module.load).parameters.items() if name != "path"}
    if unknown := settings.options.keys() - known.keys():
        raise ConfigError(f"no option {', '.join(sorted(unknown))}; there are {', '.join(known) or 'none'}")
    options: dict[str, Any] = {"seed": str(settings.seed)} if "seed" in known else {}
    try:
        return validate_call(module.load)(data, **{**options, **settings.options})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(
            f"option {'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}"
        ) from error


def _others(items: Sequence[Item]) -> dict[str, tuple[str, Any]]:
    """For each history the next one of another user, of the same number of sessions where there is such a one."""
    firsts = list({one.key: one for one in reversed(items)}.values())[::-1]
    found = dict[str, tuple[str, Any]]()
    for place, one in enumerate(firsts):
        following = sorted(
            (*firsts[place + 1 :], *firsts[:place]), key=lambda two: len(two.history) != len(one.history)
        )
        if other := next((two for two in following if two.user != one.user and two.history), None):
            found[one.key] = (other.key, other.history)
    return found


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class _Counting(logging.Handler):
    def __init__(self, run: Run) -> None:
        super().__init__(logging.WARNING)
        self.run = run

    def emit(self, record: logging.LogRecord) -> None:
        if not self.run.cache.exhausted:  # what comes of --max-calls is no warning
            counts, message = self.run.results["warnings"], record.getMessage()
            with self.run._lock:
                counts[message] = counts.get(message, 0) + 1


@contextmanager
def _counted_warnings(run: Run) -> Iterator[None]:
    """Counts what the package warns of, such as a reflection that failed: it stands in the results."""
    logger, handler = logging.getLogger("langchain_persona"), _Counting(run)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
