"""Public benchmarks, end to end, with any chat model: `langchain-persona eval run BENCHMARK --data PATH --model NAME`.

A benchmark is a module with `ABOUT`, its default `ARMS`, the `UNIT` that the bootstrap draws ("item" or "user"),
`load(path, **options)`, which reads the published files into items, and `run(item, arm, kit)`, which gives the scores
and the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from langchain_persona.errors import ConfigError
from langchain_persona.evals.arms import Arm, Kit
from langchain_persona.evals.items import Item, Outcome

BENCHMARKS = ("prefeval", "restraint", "pahf", "personamem", "collab", "lamp", "rpeval")


class Benchmark(Protocol):
    """What the module of a benchmark has."""

    ABOUT: str
    ARMS: Sequence[str]
    UNIT: str

    def load(self, path: Path | None, **options: object) -> list[Item]:
        """The items in a published folder or file; `DataError`: something in it is not in the format."""
        ...

    def run(self, item: Item, arm: Arm, kit: Kit) -> Outcome:
        """What comes of an item in an arm."""
        ...


def benchmark(name: str) -> Benchmark:
    """The module of a benchmark; `ConfigError`: there is none of this name."""
    if name not in BENCHMARKS:
        raise ConfigError(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    return cast("Benchmark", import_module(f"{__name__}.{name}"))
