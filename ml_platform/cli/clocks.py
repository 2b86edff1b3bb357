"""``ml-platform clock``: where a timeline stands, and moving a replay's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from ml_platform.cli.shared import console, platform, table
from ml_platform.errors import PlatformError
from ml_platform.storage.clock import Clock

app = typer.Typer(help="The clocks of the timelines.", no_args_is_help=True)
Timeline = Annotated[str, typer.Option("--timeline", help="Name of the timeline.")]


@app.command()
def show(timeline: Annotated[str | None, typer.Option(help="Only this timeline.")] = None) -> None:
    """Where the clocks stand."""
    stores = platform()
    names = [timeline] if timeline else sorted(stores.timelines)
    rows = [_row(stores.timeline(n)) for n in names]
    console.print(table("Clocks", ("timeline", "kind", "now (UTC)"), rows))


@app.command("set")
def set_clock(
    instant: Annotated[str, typer.Argument(help="Instant with offset, e.g. 2013-06-08T22:00:00-04:00.")],
    timeline: Timeline,
    back: Annotated[bool, typer.Option("--back", help="Allow it to go backwards.")] = False,
) -> None:
    """Set a replay clock."""
    clock = platform().timeline(timeline)
    try:
        wanted = datetime.fromisoformat(instant)
    except ValueError:
        raise PlatformError(
            f"'{instant}' is no instant", where="clock set", fix="write for example 2013-06-08T22:00:00-04:00"
        ) from None
    console.print(f"{timeline} now stands at {clock.set(wanted, back=back).isoformat()}")


@app.command()
def advance(
    timeline: Timeline,
    days: Annotated[int, typer.Option(help="Days.")] = 0,
    hours: Annotated[int, typer.Option(help="Hours.")] = 0,
) -> None:
    """Move a replay clock forward (one day when nothing is said)."""
    step = timedelta(days=days, hours=hours) or timedelta(days=1)
    clock = platform().timeline(timeline)
    console.print(f"{timeline} now stands at {clock.advance(step).isoformat()}")


def _row(clock: Clock) -> tuple[str, str, str]:
    return clock.timeline.name, clock.timeline.clock, clock.now().isoformat(timespec="minutes")
