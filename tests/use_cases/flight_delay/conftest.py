"""What the tests of this use case share: its settings, its files, and an accepted history of some months."""

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from ml_platform.config import UseCase, load_use_case, project_root
from ml_platform.features.dbt import CompiledViews, compiled_views
from ml_platform.ingestion.reader import FeedRequest, load_reader
from ml_platform.use_cases.flight_delay.source import data_folder

from .world import World, accepted_history

Read = Callable[..., pa.Table]


@pytest.fixture(scope="session")
def use_case() -> UseCase:
    return load_use_case(project_root() / "ml_platform/use_cases/flight_delay/use_case.yaml")


@pytest.fixture(scope="session")
def views(use_case: UseCase) -> CompiledViews:
    return compiled_views(use_case)


@pytest.fixture(scope="session")
def read(use_case: UseCase) -> Read:
    """Reads a feed as the platform does: ``read(feed, first, last, **settings)``."""

    def call(feed: str, first: str = "2013-01-01", last: str = "2013-12-31", **settings: object) -> pa.Table:
        config = use_case.feed(feed)
        keys = ["static"] if config.static else use_case.scheme.keys(first, last)
        partitions = tuple(use_case.feed_partition(config, k) for k in keys)
        reader = load_reader(use_case.folder, config.reader)
        table = reader(FeedRequest(feed, partitions, {**config.settings, **settings}))
        assert isinstance(table, pa.Table)
        return table

    return call


@pytest.fixture(scope="session")
def history(
    use_case: UseCase, read: Read, tmp_path_factory: pytest.TempPathFactory, views: CompiledViews
) -> World:
    """Everything of 15 March to 12 June as it would have been accepted day by day."""
    folder = tmp_path_factory.mktemp("history")
    tables = {
        feed.name: accepted_history(feed, read(feed.name, "2013-03-15", "2013-06-12"))
        for feed in use_case.config.feeds
    }
    return World(use_case, views, folder, tables)


@pytest.fixture
def few_files(tmp_path: Path) -> Path:
    """A folder with the first rows of each file, to be damaged."""
    source = data_folder({})
    for name in ("weather", "planes", "airports", "airlines"):
        lines = (source / f"{name}.csv").read_bytes().splitlines(keepends=True)
        rows = 2000 if name == "airports" else 60
        (tmp_path / f"{name}.csv").write_bytes(b"".join(lines[: rows + 1]))
    with zipfile.ZipFile(source / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        head = b"".join(next(file) for _ in range(101))
    (tmp_path / "flights.csv").write_bytes(head)
    return tmp_path


def rewrite(file: Path, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> None:
    """Change a CSV file's rows."""
    rows = change(list(csv.DictReader(io.StringIO(file.read_text()))))
    sink = io.StringIO()
    writer = csv.DictWriter(sink, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    file.write_text(sink.getvalue())
