"""All commands, and how errors are shown."""

from __future__ import annotations

import faulthandler
import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.markup import escape

from ml_platform.cli import (
    champions,
    clocks,
    datasets,
    drills,
    guards,
    incidents,
    pages,
    quarantine,
    querying,
    replaying,
    running,
    serving,
    smoke,
    use_cases,
)
from ml_platform.cli.shared import console, errors, platform, tell_absent
from ml_platform.errors import PlatformError

app = typer.Typer(
    name="ml-platform",
    help="The ML lifecycle on Dagster: contracts, dataset versions, gates, promotion, serving, monitoring.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(datasets.app, name="dataset")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(champions.app, name="champion")
app.add_typer(clocks.app, name="clock")
app.add_typer(use_cases.app, name="use-case")
app.add_typer(guards.verdicts, name="verdict")
app.add_typer(incidents.app, name="incident")
app.command()(champions.approve)
app.command()(champions.reject)
app.command()(champions.rollback)
app.command()(guards.retrain)
app.command()(replaying.replay)
app.command()(drills.drill)
app.command()(smoke.smoke)
app.command()(guards.roi)
app.command()(guards.chart)
app.command()(serving.get)
app.command()(serving.serve)
app.command()(serving.export)
app.command()(querying.sql)
app.command()(pages.pages)
app.command()(pages.mlflow)
app.command()(running.demo)
app.command("run")(running.run)
app.command()(running.prepare)


@app.command()
def doctor(
    repair: Annotated[bool, typer.Option(help="Mend what can be mended.")] = True,
) -> None:
    """Check projections against the ledger, mend them, and say what was done."""
    from ml_platform.lifecycle.doctor import examine

    findings = examine(platform(), repair=repair)
    for finding in findings:
        colour = {"ok": "green", "repaired": "yellow", "broken": "red"}[finding.state]
        console.print(f"[{colour}]{finding.state:9}[/] {escape(finding.what)}")
    if any(f.state == "broken" for f in findings):
        raise typer.Exit(1)


@app.command()
def catalogue(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Folder to write a site with search into.")] = None,
) -> None:
    """Every feed, feature, dataset, model and prediction: source, type, owner, lineage to the column."""
    from ml_platform.cli.shared import table
    from ml_platform.lifecycle.catalogue import entries

    stores = platform()
    tell_absent(stores)
    if html is not None:
        from ml_platform.lifecycle.catalogue_pages import catalogue_of, write_site

        pages = catalogue_of(stores)
        console.print(f"{len(pages)} pages → {write_site(pages, html)}", highlight=False)
        return
    rows = [e.as_dict() for e in entries(stores)]
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2, default=str) + "\n")
        return
    columns = ("kind", "name", "type", "source", "owner", "classification", "lineage", "columns")
    shown = [r | {"columns": ", ".join(r["columns"])} for r in rows]
    console.print(table("Catalogue", columns, [[str(r[c] or "") for c in columns] for r in shown]))


@app.command()
def schema(
    target: Annotated[Path | None, typer.Option("--output", help="File to write; else the terminal.")] = None,
) -> None:
    """Print the JSON schema of use_case.yaml, for editors."""
    from ml_platform.config import json_schema

    text = json.dumps(json_schema(), indent=2) + "\n"
    if target:
        target.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


def main() -> None:
    """Run the command line; a platform error is shown as text, not as a traceback."""
    # Of code that crashes the process the last words are the lines that it ran.
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__, all_threads=False)
    try:
        app()
    except PlatformError as error:
        _fail(error)
    except OSError as error:
        if error.filename is None:
            raise
        fix = "check the path, its rights, and whether there is room"
        _fail(PlatformError(str(error.strerror), where=str(error.filename), fix=fix))


def _fail(error: PlatformError) -> NoReturn:
    errors.print(f"[bold red]{type(error).__name__}[/]: {escape(str(error))}", highlight=False)
    sys.exit(2)
