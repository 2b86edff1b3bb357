"""``ml-platform smoke``: a fast look at use cases before a merge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ml_platform.cli.shared import console, platform, table


def smoke(
    models: Annotated[list[str] | None, typer.Argument(help="<use_case>/<model>; all when left out.")] = None,
    drill: Annotated[list[str] | None, typer.Option(help="Drill to play; may be given again.")] = None,
    horizon: Annotated[
        int | None,
        typer.Option(
            min=0, help="Partitions after the onset that are played at most; 7 unless a drill is named."
        ),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="File to write the result to, as a comment.")] = None,
) -> None:
    """Play a few drills on a sample of each use case's data in a sandbox; fails where one goes wrong."""
    from ml_platform.lifecycle.drills.judging import Settings
    from ml_platform.lifecycle.smoke import DRILLS, HORIZON
    from ml_platform.lifecycle.smoke import markdown as comment
    from ml_platform.lifecycle.smoke import smoke as play

    stores = platform()
    if horizon is None and not drill:
        horizon = HORIZON
    targets = [stores.target(m) for m in models] if models else stores.targets()
    with console.status("") as status:
        found = list(play(targets, drill or DRILLS, Settings(horizon=horizon), status.update))
    rows = [(s.model_key, s.what, s.state, s.said, f"{s.seconds:.1f}") for s in found]
    console.print(table("Smoke", ("model", "drill", "result", "why", "seconds"), rows))
    if markdown is not None:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        markdown.write_text(comment(found), encoding="utf-8")
    if any(s.state == "FAIL" for s in found):
        raise typer.Exit(1)
