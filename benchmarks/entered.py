"""How much of the package one retrieval and one chat turn enter: files, functions, changes of file.

    python -m benchmarks.entered [--list] [--json FILE] [--readme FILE]

These are counts, taken with `sys.setprofile` in every thread, and no times. Each call is counted the second time, when
everything is imported and cached.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from rich.console import Console
from rich.table import Table

import langchain_persona
from benchmarks.report import write_block
from langchain_persona import PersonaMemory, VARSRetriever, create_persona_graph
from langchain_persona.testing import HashEmbeddings, ScriptedChatModel

__all__ = ["MOST", "Entered", "calls", "count"]

PACKAGE = Path(langchain_persona.__file__).parent

MOST = {"one retrieval": 15, "one chat turn": 30}
"""Files that a call may enter."""

_DOUBLES = {"testing.py", "embeddings.py"}
"""They stand in for the host's models, and are not counted."""


@dataclass
class Entered:
    """What a call entered.

    Attributes:
        functions: file and name of each function, and how often it was called.
        changes: how often the next call was in another file than the one before, in the same thread.
    """

    functions: dict[tuple[str, str], int] = field(default_factory=dict)
    changes: int = 0

    @property
    def files(self) -> list[str]:
        """Paths below the package, sorted."""
        return sorted({file for file, _ in self.functions})


def count(call: Callable[[], object]) -> Entered:
    """Run something and count what it enters, in this thread, in new ones and in those of thread pools."""
    entered, last = Entered(), threading.local()

    def profile(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(PACKAGE)):
            return
        file, name = Path(code.co_filename).relative_to(PACKAGE).as_posix(), code.co_qualname
        if file in _DOUBLES:
            return
        entered.functions[file, name] = entered.functions.get((file, name), 0) + 1
        entered.changes += getattr(last, "file", file) != file
        last.file = file

    with _everywhere(profile):
        call()
    return entered


@contextmanager
def _everywhere(profile: Callable[[FrameType, str, Any], None]) -> Iterator[None]:
    """Set a profile function in this thread, in new threads, and in whatever a thread pool runs."""
    submit = ThreadPoolExecutor.submit

    def profiled_submit(pool: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        def profiled() -> Any:
            sys.setprofile(profile)
            try:
                return function(*args, **kwargs)
            finally:
                sys.setprofile(None)

        return submit(pool, profiled)

    with patch.object(ThreadPoolExecutor, "submit", profiled_submit):
        threading.setprofile(profile)
        sys.setprofile(profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]  # None is documented


def calls() -> dict[str, Callable[[], object]]:
    """What is counted: a user with a thumb and two cards retrieves, and chats from memory to reflection."""
    embeddings = HashEmbeddings(64)
    films = InMemoryVectorStore(embeddings)
    films.add_texts([f"a film about the {what} number {place}" for place in range(20) for what in ("ship", "train")])
    memory = PersonaMemory(InMemoryStore(), embeddings)
    memory.remember("ana", "Likes films about the sea.")
    memory.remember("ana", "Never watches horror.")
    retriever = VARSRetriever(vectorstore=films, memory=memory, k=2)
    retriever.feedback(retriever.invoke("a film", user_id="ana")[:1], 1.0, user_id="ana")
    model = ScriptedChatModel(lambda messages: "Here is one.")
    graph = create_persona_graph(model, memory=memory, reflection="verbatim", retriever=retriever).compile(
        checkpointer=InMemorySaver()
    )
    turn = {"messages": [("user", "I never eat fish. A film about ships, please?")]}
    config: Any = {"configurable": {"thread_id": "t1"}}
    context: Any = {"user_id": "ana"}

    async def async_turn() -> None:
        await graph.ainvoke(turn, config, context=context)

    return {
        "one retrieval": lambda: retriever.invoke("a film about ships", user_id="ana", session_id="t1"),
        "one chat turn": lambda: graph.invoke(turn, config, context=context),
        "one chat turn, async": lambda: asyncio.run(async_turn()),
    }


def measure() -> dict[str, Entered]:
    """The second run of each call."""
    found = {}
    for what, call in calls().items():
        call()
        found[what] = count(call)
    return found


def markdown(found: dict[str, Entered]) -> str:
    """For a page."""
    lines = ["| | files entered | functions entered | calls | changes of file |", "| --- | ---: | ---: | ---: | ---: |"]
    for what, one in found.items():
        most = f" (at most {MOST[what]})" if what in MOST else ""
        called = sum(one.functions.values())
        lines.append(f"| {what} | {len(one.files)}{most} | {len(one.functions)} | {called} | {one.changes} |")
    return "\n".join(lines)


def table(found: dict[str, Entered]) -> Table:
    """For a terminal."""
    view = Table("", title="What a call enters of the package", title_justify="left")
    for column in ("files", "at most", "functions", "calls", "changes of file"):
        view.add_column(column, justify="right")
    for what, one in found.items():
        numbers = (len(one.files), MOST.get(what, ""), len(one.functions), sum(one.functions.values()), one.changes)
        view.add_row(what, *map(str, numbers))
    return view


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="also name every file and its functions")
    parser.add_argument("--json", type=Path, help="also write the result here")
    parser.add_argument("--readme", type=Path, help="write the table between the bench-entered markers of this page")
    options = parser.parse_args(arguments)
    found = measure()
    console = Console()
    if options.list:
        for what, one in found.items():
            console.print(f"\n{what}", style="bold")
            for file in one.files:
                names = [f"{name} ×{times}" for (where, name), times in one.functions.items() if where == file]
                console.print(f"  {file}: {', '.join(names)}", highlight=False, markup=False)
    console.print(table(found))
    if options.json:
        plain = {
            what: {"files": one.files, "functions": len(one.functions), "changes": one.changes}
            for what, one in found.items()
        }
        options.json.write_text(json.dumps(plain, indent=1) + "\n")
    if options.readme:
        write_block(options.readme, "bench-entered", markdown(found))


if __name__ == "__main__":
    main()
