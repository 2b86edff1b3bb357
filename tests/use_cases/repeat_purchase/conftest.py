"""What the tests of this use case share: settings, file, and an installation with some months in it."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from ml_platform.config import UseCase, load_use_case, project_root
from ml_platform.ingestion.reader import FeedRequest, load_reader
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Outside, Platform
from ml_platform.lifecycle.views import ViewName, compute
from ml_platform.use_cases.repeat_purchase.source import data_file, read_source

FIRST, LAST = "1996-12-30", "1997-05-12"
Read = Callable[..., pa.Table]


def monday(day: str) -> dt.datetime:
    """Six o'clock on a Monday, the cutoff."""
    return dt.datetime.fromisoformat(day).replace(hour=6, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Shop:
    """An installation into which the weeks up to :data:`LAST` have come."""

    platform: Platform
    use_case: UseCase

    def rows(self, view: ViewName, week: str, as_of: dt.datetime) -> pd.DataFrame:
        """A view's rows of one week, by customer."""
        table = compute(self.platform, self.use_case, view, [week], as_of)[week]
        return table.to_pandas().set_index("customer_id")


@pytest.fixture(scope="session")
def use_case() -> UseCase:
    return load_use_case(project_root() / "ml_platform/use_cases/repeat_purchase/use_case.yaml")


@pytest.fixture(scope="session")
def raw() -> pd.DataFrame:
    """The file's lines, days as timestamps."""
    frame: pd.DataFrame = read_source(data_file({})).to_pandas()
    return frame.assign(day=pd.to_datetime(frame["purchased_on"]))


@pytest.fixture(scope="session")
def read(use_case: UseCase) -> Read:
    def call(first: str = FIRST, last: str = "1998-06-29", **settings: object) -> pa.Table:
        feed = use_case.feed("purchases")
        weeks = tuple(use_case.scheme.partition(k) for k in use_case.scheme.keys(first, last))
        table = load_reader(use_case.folder, feed.reader)(FeedRequest(feed.name, weeks, settings))
        assert isinstance(table, pa.Table)
        return table

    return call


@pytest.fixture(scope="session")
def shop(use_case: UseCase, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    home: Path = tmp_path_factory.mktemp("shop")
    outside = Outside(use_cases={use_case.name: use_case})
    platform = Platform({"ML_PLATFORM_HOME": str(home)}, outside)
    ingest(platform, use_case, use_case.scheme.keys(FIRST, LAST), monday(LAST))
    return Shop(platform, use_case)
