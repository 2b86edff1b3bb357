"""``ml-platform quarantine``: rows that broke a rule, and bringing them back after a fix."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from ml_platform.cli.shared import console, platform, table, tell_absent

app = typer.Typer(help="Quarantined rows.", no_args_is_help=True)
Feed = Annotated[str, typer.Argument(help="Name of the feed.")]
Partition = Annotated[str | None, typer.Option(help="Only this partition, as 2023-08 or 2023-W31 too.")]


@app.command("list")
def list_rows(
    feed: Annotated[str | None, typer.Option(help="Only of this feed.")] = None,
    every: Annotated[bool, typer.Option("--all", help="A line for each partition.")] = False,
) -> None:
    """Where rows are quarantined or held back, and why."""
    from ml_platform.lifecycle.quarantine import grouped, summary

    stores = platform()
    found = summary(stores, feed)
    tell_absent(stores)
    if every:
        rows = [(s.feed, s.partition, s.rows, s.reasons) for s in found]
        console.print(table("Quarantine", ("feed", "partition", "rows", "rules broken"), rows))
        return
    groups = grouped(found)
    columns = ("feed", "partitions", "first", "last", "rows", "rules broken; of the last what held it back")
    shown = [
        (g.feed, len(g.partitions), g.partitions[0], g.partitions[-1], g.rows, g.reasons) for g in groups
    ]
    console.print(table("Quarantine", columns, shown))
    if len(found) > len(groups):
        console.print("`ml-platform quarantine list --all` has a line for each partition", highlight=False)


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
    from ml_platform.lifecycle.held import held_feed, tell_newly_held
    from ml_platform.lifecycle.quarantine import find_feed
    from ml_platform.lifecycle.quarantine import replay as again

    stores = platform()
    report = again(stores, feed, partition, accepted=accepted)
    console.print(report.sentence(), highlight=False)
    held = held_feed(stores, feed, report.held)
    if held is None:
        return
    use_case, _ = find_feed(stores, feed)
    rows = [(r.rule, len(r.partitions), r.partitions[0], r.partitions[-1], r.example) for r in held.rules]
    columns = ("rule", "partitions", "first", "last", "of the last one")
    console.print(table(f"{feed}: held back", columns, rows))
    console.print(f"{escape(held.sentence())}.", highlight=False)
    console.print(escape(held.next_steps(use_case)), highlight=False)
    console.print(f"  - a line for each: `ml-platform quarantine list --feed {feed} --all`", highlight=False)
    for line in tell_newly_held(stores, use_case, feed, report.newly_held):
        console.print(f"  {line}", highlight=False)
