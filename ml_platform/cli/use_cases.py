"""``ml-platform use-case …``: what there is, what is wrong with it, and a new one from a file."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from ml_platform.cli.shared import console, platform, table

app = typer.Typer(help="Use cases: list them, make a new one from a file, check one.", no_args_is_help=True)

_COLOURS = {"ok": "[green]ok[/]", "broken": "[red]broken[/]", "removed": "[yellow]removed[/]"}


@app.command("list")
def list_use_cases(
    run_code: Annotated[
        bool, typer.Option(help="Import each one's feed code too, in a process of its own.")
    ] = True,
) -> None:
    """All use cases: built-in ones and those of ML_PLATFORM_USE_CASES; broken and removed ones with why."""
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
    ill = [h for h in healths if h.error is not None]
    for health in ill:
        console.print(f"\n[bold red]{escape(health.name)}[/] ({health.state})", highlight=False)
        console.print(escape(str(health.error)), highlight=False)
    if ill:
        raise typer.Exit(1)
