"""``ml-platform demo`` and ``prepare``."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Annotated, Any

import typer
from rich.markup import escape

from ml_platform.cli.shared import console, platform
from ml_platform.errors import PlatformError
from ml_platform.lifecycle.platform import Platform


def prepare() -> None:
    """Make the folders, bring the ledger up to date, and compile the dbt projects."""
    from ml_platform.features.dbt import compile_project
    from ml_platform.lifecycle.doctor import marker

    stores = platform()
    marker(stores)
    stores.ledger.heads("nothing")
    for use_case in stores.use_cases.values():
        compile_project(use_case.dbt_dir)


def demo(
    use_case: Annotated[str | None, typer.Argument(help="Use case; all with a demo when left out.")] = None,
) -> None:
    """Play the first months of use cases as real runs; say what happened in each, and where to look.

    A use case that fails holds up no other; the exit status is then 1.
    """
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    started = time.perf_counter()
    stores = platform()
    chosen = [stores.use_case(use_case)] if use_case else list(stores.use_cases.values())
    with console.status("opening the platform …"):
        prepare()
        # Dagster costs seconds of import; only commands that run jobs pay them.
        from ml_platform.cli.summary import print_next
        from ml_platform.orchestration.demo import open_instance

        instance = open_instance(stores)
    log = stores.home / "demo.log"
    # What dbt and other libraries print goes to the log; the console keeps the terminal it was made with.
    console.file = sys.stdout
    try:
        with (
            instance,
            log.open("a") as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
        ):
            names = [each.name for each in chosen if each.config.demo is not None]
            failed = [name for name in names if not _played(stores, instance, name)]
        print_next(stores, names, time.perf_counter() - started)
    finally:
        console.file = None  # type: ignore[assignment]  # again whatever stdout is
    if failed:
        raise typer.Exit(1)


def _played(stores: Platform, instance: Any, name: str) -> bool:
    """Whether a use case was played to its end; says why where it was not."""
    try:
        _play(stores, instance, name)
    except PlatformError as error:
        console.print(f"[red]{name}: {escape(str(error))}[/]", highlight=False)
        return False
    return True


def _play(stores: Platform, instance: Any, name: str) -> None:
    from ml_platform.cli.summary import print_summary
    from ml_platform.orchestration.demo import play

    started = time.perf_counter()
    use_case = stores.use_case(name)
    console.print(f"\n[bold]{use_case.config.title}[/]  ({name})", highlight=False)
    with console.status("") as status:

        def say(act: Any, event: Any) -> None:
            if event is None:
                console.print(
                    f"\n[bold cyan]▶ {act.title}[/]  {act.partitions[0]} to {act.partitions[1]}, "
                    f"as of {act.clock:%Y-%m-%d %H:%M}",
                    highlight=False,
                )
            elif event.event_type_value == "STEP_START":
                status.update(f"{_short(event.step_key, name)} …")
            elif event.event_type_value == "STEP_SUCCESS":
                took = event.event_specific_data.duration_ms / 1000
                if took >= 0.5:
                    console.print(
                        f"  [green]✓[/] {_short(event.step_key, name):44} {took:6.1f} s", highlight=False
                    )
            elif event.event_type_value == "STEP_FAILURE":
                console.print(f"  [red]✗ {_short(event.step_key, name)}[/]", highlight=False)

        played = list(play(stores, _definitions, instance, use_case, say))
    if all(p.before for p in played):
        console.print("[green]everything has been played already[/]: nothing was done again", highlight=False)
    print_summary(stores, use_case, played, time.perf_counter() - started)


def _definitions() -> Any:
    """The code location; it and dbt cost seconds of import, which a finished demo need not pay."""
    from ml_platform.definitions import defs

    return defs


def _short(step: str, use_case: str) -> str:
    return step.removeprefix(f"{use_case}__").replace("__", " / ")
