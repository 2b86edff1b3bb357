"""``ml-platform get``, ``serve``, ``export``: reading predictions."""

from __future__ import annotations

from typing import Annotated

import typer

from ml_platform.cli.shared import console, one_target, platform, table, tell_absent


def get(
    model: Annotated[str, typer.Argument(help="<use_case>, or <use_case>/<model>.")],
    key: Annotated[str, typer.Argument(help="Key: the partition and the entity's key, joined by '/'.")],
) -> None:
    """One prediction from the serving cache."""
    from ml_platform.lifecycle.reading import prediction
    from ml_platform.serving.answers import answer

    stores = platform()
    target = stores.target(model)
    now = stores.clock(target.use_case).now()
    told = answer(prediction(stores, target, key), now).model_dump(mode="json", exclude_none=True)
    console.print(told.pop("text"), highlight=False)
    rows = [(k, v) for k, v in told.items() if not isinstance(v, dict)]
    rows += [(f"{k}.{inner}", v) for k, d in told.items() if isinstance(d, dict) for inner, v in d.items()]
    console.print(table(key, ("what", "value"), rows))


def serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8080,
) -> None:
    """Serve predictions over HTTP on loopback; OpenAPI at /docs."""
    from ml_platform.lifecycle.reading import application
    from ml_platform.serving.http import run

    stores = platform()
    tell_absent(stores)
    run(application(stores), port=port)


def export(
    model: Annotated[str | None, typer.Argument(help="<use_case>/<model>.")] = None,
    to: Annotated[
        str, typer.Option(help="File ending in .csv or .parquet, or an SQLAlchemy URL.")
    ] = "predictions.csv",
    first: Annotated[str | None, typer.Option("--from", help="First partition.")] = None,
    last: Annotated[str | None, typer.Option("--to-partition", help="Last partition.")] = None,
    sql_table: Annotated[str, typer.Option("--table", help="Table, for a database.")] = "predictions",
) -> None:
    """Export predictions as CSV, Parquet, or into a table of a database."""
    from ml_platform.lifecycle.exporting import export_predictions

    stores = platform()
    result = export_predictions(stores, one_target(stores, model), to, first, last, sql_table)
    console.print(f"{result.rows:,} predictions of {result.partitions} partition(s) → {result.where}")
