"""``ml-platform sql``: read everything that is published, as of any day."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ml_platform.cli.shared import console, day_or_instant, platform, table
from ml_platform.errors import ConfigError


class Format(StrEnum):
    """How rows are told."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def sql(
    text: Annotated[str | None, typer.Argument(help="One SELECT; '-' reads it from standard input.")] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Day or instant; the answer is the one given then.")
    ] = None,
    kind: Annotated[Format | None, typer.Option("--format", help="By --out's ending when left out.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; else the terminal.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show relations and their columns.")] = False,
) -> None:
    """Query features, labels, predictions, verdicts and the rest of what is published; it only reads."""
    from ml_platform.lifecycle import sql as reading

    moment = day_or_instant(as_of)
    if listed:
        rows = [
            (d.name, d.source, d.about, ", ".join(f"{n} {t}" for n, t in d.columns))
            for d in reading.describe(platform(), moment)
        ]
        console.print(table("Relations", ("name", "source", "what", "columns"), rows))
        return
    if text is None:
        raise ConfigError("there is no query", where="sql", fix="ml-platform sql 'select …', or --list")
    chosen = kind or _by_ending(out)
    if chosen is Format.parquet and out is None:
        raise ConfigError("Parquet is no text", where="--format parquet", fix="add --out FILE.parquet")
    found = reading.query(platform(), sys.stdin.read() if text == "-" else text, moment)
    if out is not None:
        if chosen is Format.table:
            raise ConfigError(
                "a table is for the terminal", where="--out", fix="add --format csv, json or parquet"
            )
        reading.write(found, chosen.value, out)
        console.print(f"{found.num_rows:,} rows → {out}", highlight=False)
    elif chosen is Format.csv:
        _print_csv(found)
    elif chosen is Format.json:
        sys.stdout.write(json.dumps(found.to_pylist(), default=str, indent=2) + "\n")
    else:
        console.print(table(f"{found.num_rows:,} rows", found.column_names, _cells(found)))


def _by_ending(out: Path | None) -> Format:
    if out is None:
        return Format.table
    ending = out.suffix.removeprefix(".")
    return Format(ending) if ending in Format.__members__ else Format.table


def _cells(found: Any) -> list[list[str]]:
    return [["" if v is None else str(v) for v in row.values()] for row in found.to_pylist()]


def _print_csv(found: Any) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(found.column_names)
    writer.writerows(_cells(found))
