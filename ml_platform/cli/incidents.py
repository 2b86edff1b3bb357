"""``ml-platform incident``: causes that last."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from ml_platform.cli.shared import OptionalModel, Who, Why, console, person, platform, table

app = typer.Typer(help="Incidents: causes that last.", no_args_is_help=True)


@app.command("list")
def list_incidents(model: OptionalModel = None) -> None:
    """All incidents, newest first."""
    from ml_platform.lifecycle.guard.records import all_incidents, predictions_touched

    stores = platform()
    found = all_incidents(stores, stores.target(model) if model else None)
    rows = [
        (
            i.id,
            i.status,
            i.model_key,
            i.report["cause"],
            i.report["first_partition"],
            i.report["last_partition"],
            ", ".join(i.report["subjects"][:4]),
            f"{predictions_touched(stores, i):,}",
        )
        for i in found
    ]
    columns = ("id", "status", "model", "cause", "first", "last", "where", "predictions")
    console.print(table("Incidents", columns, rows))


@app.command("show")
def show_incident(number: Annotated[int, typer.Argument(help="Its number.")]) -> None:
    """One incident: what it touched, how the verdict went, what is held."""
    from ml_platform.lifecycle.guard.records import holds_of, predictions_touched, require_incident

    stores = platform()
    row = require_incident(stores, number)
    report = row.report
    console.print(f"[bold]incident {row.id}[/] {row.status}: {escape(report['cause'])}  ({row.fingerprint})")
    facts = {
        "model": row.model_key,
        "partitions": f"{report['first_partition']} to {report['last_partition']} "
        f"({len(report['partitions'])} diagnosed)",
        "where": ", ".join(report["subjects"]) or "everywhere",
        "model versions": ", ".join(report["model_versions"]),
        "predictions touched": f"{predictions_touched(stores, row):,}",
        "verdicts": " → ".join(f"{p} {v}" for p, v in report["verdicts"]),
        "closed": f"{report['closed_partition']} by {report['closed_by']}" if report["closed_by"] else "no",
    }
    for name, value in facts.items():
        console.print(f"  {name:20} {escape(value)}", highlight=False)
    held = holds_of(stores, number)
    if held:
        state = ", ".join(f"{h.partition}{' (released)' if h.released_at else ''}" for h in held)
        console.print(f"  {'held from training':20} {state}", highlight=False)


@app.command("close")
def close(number: Annotated[int, typer.Argument()], why: Why, who: Who = None) -> None:
    """Close an incident with its cause; what it held stays out of training."""
    from ml_platform.lifecycle.guard.records import close_incident, require_incident

    stores = platform()
    target = stores.target(require_incident(stores, number).model_key)
    now = stores.clock(target.use_case).now()
    close_incident(stores, target, number, who or person(), why, now, free=False)
    console.print(f"incident {number} is closed; partitions it held stay out of training")


@app.command("resolve")
def resolve(number: Annotated[int, typer.Argument()], why: Why, who: Who = None) -> None:
    """After a fix: replay what was quarantined, diagnose again, release what is sound, offer the rollback."""
    from ml_platform.lifecycle.guard.resolving import resolve_incident

    stores = platform()
    result = resolve_incident(stores, number, who or person(), why)
    for line in result.lines:
        console.print(escape(line), highlight=False)
    if not result.resolved:
        raise typer.Exit(1)
