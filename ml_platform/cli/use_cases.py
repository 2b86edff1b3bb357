"""``ml-platform use-case …``: what there is, what is wrong with it, and a new one from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.markup import escape

from ml_platform.cli.new_use_case import new, show_remarks
from ml_platform.cli.shared import console, platform, table
from ml_platform.config import use_case_files
from ml_platform.remarks import Remark

app = typer.Typer(help="Use cases: list them, make a new one from a file, check one.", no_args_is_help=True)

app.command("new")(new)

_COLOURS = {"ok": "[green]ok[/]", "broken": "[red]broken[/]", "removed": "[yellow]removed[/]"}


@app.command("list")
def list_use_cases(
    run_code: Annotated[
        bool, typer.Option(help="Import each one's feed code too, in a process of its own.")
    ] = True,
) -> None:
    """All use cases: built-in ones and those of ML_PLATFORM_USE_CASES; broken and removed ones with why."""
    from ml_platform.lifecycle.absent import lacking_folders
    from ml_platform.lifecycle.health import examine

    stores = platform()
    made = table("Use cases", ("name", "models", "partitions", "folder"), [])
    made.add_column("state")
    healths = examine(stores, run_code=run_code)
    for health in healths:
        use_case = stores.use_cases.get(health.name)
        models = ", ".join(m.name for m in use_case.config.models) if use_case else "–"
        width = use_case.scheme.width if use_case else "–"
        made.add_row(escape(health.name), models, width, escape(health.where) or "–", _COLOURS[health.state])
    console.print(made)
    if lacking := lacking_folders():
        console.print(f"[yellow]{escape(lacking)}[/]", highlight=False)
    ill = [h for h in healths if h.error is not None]
    for health in ill:
        console.print(f"\n[bold red]{escape(health.name)}[/] ({health.state})", highlight=False)
        console.print(escape(str(health.error)), highlight=False)
    if ill:
        raise typer.Exit(1)


@app.command("check")
def check(
    name: Annotated[
        str | None, typer.Argument(help="Name of the use case, or its folder; all when left out.")
    ] = None,
    data: Annotated[bool, typer.Option(help="Read a few partitions of its feeds too.")] = True,
    everything: Annotated[
        bool, typer.Option("--all", help="Read all partitions: what is wrong in later ones, too.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds that reading the data may take; limits.run_time when left out, and 300 at most "
            "without --all."
        ),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(help="MiB of memory that it may take; limits.memory_mb of the use case when left out."),
    ] = None,
) -> None:
    """Everything that is wrong with a use case, at once, each with file and fix. It changes nothing.

    YAML, contracts, feed code and dbt project; then, in a process of its own over a few partitions: what the
    feeds deliver against their contracts, keys, labels, copies of the label among the features, and whether
    features see what became known after the cutoff. One that is broken stops no other from being checked.
    Exits with 1 when something must be mended.
    """
    how = _Look(timeout, memory, everything) if data else None
    if name is not None:
        broken = [name] if _wrong(name, _file_of(name), how) else []
    else:
        files = {p.resolve(): p.parent.name for p in use_case_files()}
        broken = [each for path, each in files.items() if _wrong(each, path, how)]
        if broken:
            console.print(f"[red]broken: {escape(', '.join(broken))}[/]", highlight=False)
    if broken:
        raise typer.Exit(1)


class _Look(NamedTuple):
    """How data are read: longest time (s), largest memory (MiB), and whether all of them are."""

    seconds: float | None
    megabytes: float | None
    everything: bool


def _wrong(name: str, path: Path, how: _Look | None) -> int:
    """How many things must be mended in a use case; all that is wrong is printed.

    Its data are not read where nothing says how.
    """
    from ml_platform.lifecycle.checking import check_data, check_files
    from ml_platform.lifecycle.contract_changes import contract_remarks
    from ml_platform.lifecycle.timing_changes import timing_remarks

    stores = platform()
    with console.status(f"reading the files of {name} …"):
        use_case, remarks = check_files(path, stores.use_cases.values())
    # Of two with one name neither is wrong by itself.
    others = [b for b in stores.discovery.broken if b.path.resolve() == path.resolve()]
    remarks += [r for r in (Remark.of(b.error) for b in others) if r not in remarks]
    if use_case is not None and not any(r.level == "error" for r in remarks):
        remarks += [*contract_remarks(stores, use_case), *timing_remarks(stores, use_case)]
        if how is not None:
            few = "all" if how.everything else "a few"
            with console.status(f"reading {few} partitions of {name} …"):
                remarks += check_data(use_case, **how._asdict())
        else:
            # It needs Arrow and DuckDB, which most of this module's commands need not pay for.
            from ml_platform.lifecycle.runnable import dry_remarks

            remarks += dry_remarks(use_case)
    show_remarks(remarks)
    wrong = sum(r.level == "error" for r in remarks)
    if wrong:
        console.print(f"[red]{wrong} thing(s) must be mended[/] in {escape(name)}\n", highlight=False)
        return wrong
    doubtful = sum(r.level == "warning" for r in remarks)
    told = f", {doubtful} warning(s)" if doubtful else ""
    console.print(f"[green]nothing is wrong[/] with {escape(name)}{told}", highlight=False)
    return 0


def _file_of(name: str) -> Path:
    """The ``use_case.yaml`` of a use case that may be too broken to say its name."""
    if (Path(name) / "use_case.yaml").is_file():
        return Path(name) / "use_case.yaml"
    from ml_platform.lifecycle.absent import no_use_case

    stores = platform()
    if name in stores.use_cases:
        return stores.use_cases[name].folder / "use_case.yaml"
    for path in use_case_files():
        if path.parent.name == name:
            return path
    raise no_use_case(stores, name)
