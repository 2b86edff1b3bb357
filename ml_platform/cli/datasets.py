"""``ml-platform dataset``: the versions that models were trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ml_platform.cli.shared import console, platform, table

if TYPE_CHECKING:
    from ml_platform.storage.tables import Dataset

app = typer.Typer(help="Dataset versions.", no_args_is_help=True)
Version = Annotated[str, typer.Argument(help="Version, or the beginning of it.")]


@app.command("list")
def list_versions(
    model: Annotated[str | None, typer.Option(help="Only of <use_case>/<model>.")] = None,
) -> None:
    """All versions, newest first."""
    from ml_platform.datasets.versions import versions

    stores = platform()

    def day(d: Dataset) -> str:
        use_case = stores.use_cases.get(d.model_key.partition("/")[0])
        # Of a use case that is gone nobody knows the zone any more.
        return f"{d.as_of.date()} UTC" if use_case is None else str(use_case.scheme.local_day(d.as_of))

    rows = [
        (d.version, d.model_key, f"{d.first_partition} to {d.last_partition}", f"{d.rows:,}", day(d))
        for d in versions(stores.ledger, model)
    ]
    console.print(table("Dataset versions", ("version", "model", "partitions", "rows", "as of"), rows))


@app.command()
def show(version: Version) -> None:
    """What a version consists of."""
    from ml_platform.datasets.versions import find, manifest_of

    stores = platform()
    row = find(stores.ledger, version)
    manifest = manifest_of(stores.lake, row)
    facts = [
        ("version", row.version),
        ("model", row.model_key),
        ("as of", row.as_of.isoformat()),
        ("rows", f"{row.rows:,}"),
        ("training", _span(row.details["train"])),
        ("gate", _span(row.details["gate"])),
        ("left out", ", ".join(f"{k} ({v})" for k, v in row.details["left_out"].items()) or "none"),
        ("features", ", ".join(f"{n}: {t}" for n, t in manifest.features)),
        ("label", manifest.label),
        ("feature code", manifest.feature_version[:12]),
        ("label code", manifest.label_version[:12]),
        *((f"contract {f}", digest[:12]) for f, digest in manifest.contracts.items()),
    ]
    console.print(table("Dataset version", ("what", "value"), facts))


@app.command()
def diff(old: Version, new: Version) -> None:
    """What changed from one version to another."""
    from ml_platform.datasets.versions import diff as compare
    from ml_platform.datasets.versions import find, manifest_of

    stores = platform()
    change = compare(*(manifest_of(stores.lake, find(stores.ledger, v)) for v in (old, new)))
    facts = [
        ("partitions shared", change.shared),
        ("added", _keys(change.added)),
        ("removed", _keys(change.removed)),
        ("changed", _keys(change.changed)),
        ("rows", f"{change.rows[0]:,} → {change.rows[1]:,}"),
        *((f"{name}", f"{a[:12]} → {b[:12]}") for name, (a, b) in change.code.items()),
        *((f"column {name}", f"{a or 'absent'} → {b or 'absent'}") for name, (a, b) in change.schema.items()),
    ]
    console.print(table(f"{old} → {new}", ("what", "value"), facts))


@app.command()
def verify(version: Version) -> None:
    """Hash every object of a version again."""
    from ml_platform.datasets.versions import find
    from ml_platform.datasets.versions import verify as check

    stores = platform()
    result = check(stores.lake, find(stores.ledger, version))
    for problem in result.problems:
        console.print(f"[red]{problem}[/]")
    if not result.ok:
        raise typer.Exit(1)
    console.print(f"[green]{result.version}[/]: all {result.objects} objects are there and whole")


@app.command()
def checkout(
    version: Version,
    to: Annotated[Path, typer.Option(help="Folder to write into.")] = Path(),
) -> None:
    """Write a version's labelled rows as one Parquet file."""
    from ml_platform.datasets.versions import checkout as write
    from ml_platform.datasets.versions import find

    stores = platform()
    console.print(f"wrote {write(stores.lake, find(stores.ledger, version), to)}")


def _span(span: dict[str, object]) -> str:
    return f"{span['first']} to {span['last']} ({span['partitions']} partitions)"


def _keys(keys: list[str]) -> str:
    return f"{len(keys)}: {keys[0]} to {keys[-1]}" if keys else "none"
