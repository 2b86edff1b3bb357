"""``ml-platform quarantine``: rows that broke a rule, and bringing them back after a fix."""

from __future__ import annotations

from typing import Annotated

import typer

from ml_platform.cli.shared import console, platform, table, tell_absent

app = typer.Typer(help="Quarantined rows.", no_args_is_help=True)
Feed = Annotated[str, typer.Argument(help="Name of the feed.")]
Partition = Annotated[str | None, typer.Option(help="Only this partition, as 2023-08 or 2023-W31 too.")]


@app.command("list")
def list_rows(feed: Annotated[str | None, typer.Option(help="Only of this feed.")] = None) -> None:
    """Where rows are quarantined, and why."""
    from ml_platform.lifecycle.quarantine import summary

    stores = platform()
    rows = [(s.feed, s.partition, s.rows, s.reasons) for s in summary(stores, feed)]
    tell_absent(stores)
    console.print(table("Quarantine", ("feed", "partition", "rows", "rules broken"), rows))


@app.command()
def show(
    feed: Feed, partition: Partition = None, most: Annotated[int, typer.Option(help="Rows to show.")] = 20
) -> None:
    """The rows themselves, with rule, value and reason."""
    from ml_platform.lifecycle.quarantine import rows

    found = rows(platform(), feed, partition)
    names = ("partition_key", "rule", "column", "value", "reason", "row")
    cells = [[record[n] for n in names] for record in found.slice(0, most).to_pylist()]
    console.print(table(f"{feed}: {found.num_rows} quarantined row(s)", names, cells))


@app.command()
def replay(
    feed: Feed,
    partition: Partition = None,
    accepted: Annotated[
        bool, typer.Option(help="Check what another contract accepted, too; what fails now is withdrawn.")
    ] = False,
) -> None:
    """Check quarantined rows and held partitions again; what passes now is accepted as of now."""
    from ml_platform.lifecycle.quarantine import replay as again

    report = again(platform(), feed, partition, accepted=accepted)
    console.print(report.sentence())
    for each in report.partitions:
        if each.status == "held":
            console.print(f"  {each.partition} is held back: {'; '.join(each.reasons)}", highlight=False)
