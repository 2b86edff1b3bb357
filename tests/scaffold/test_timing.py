"""Widths and windows, from when rows happened and labels were known."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_platform.config import load_use_case
from ml_platform.errors import ConfigError
from ml_platform.partitions import Width
from ml_platform.scaffold.columns import profile_file
from ml_platform.scaffold.proposal import propose
from ml_platform.scaffold.roles import Wishes
from ml_platform.scaffold.timing import choose_width, choose_windows, scheme_of
from ml_platform.scaffold.writing import write_use_case

from .boilers import rows, write
from .meters import hours, months

DAYS = [dt.datetime(2024, 1, 1, 9, tzinfo=dt.UTC) + dt.timedelta(days=d) for d in range(60)]


@pytest.mark.parametrize(
    ("times", "delay", "width"),
    [
        (DAYS, None, "daily"),
        ([d for d in DAYS if d.weekday() < 5] + DAYS, dt.timedelta(days=2), "daily"),
        ([d + dt.timedelta(weeks=6 * i) for i in range(7) for d in DAYS[:42:7]], None, "weekly"),
        (months(66), dt.timedelta(days=35), "monthly"),
        (hours(10), None, "hourly"),
        (hours(60), dt.timedelta(hours=4), "hourly"),
        (hours(60), dt.timedelta(days=4), "daily"),
    ],
)
def test_the_width_is_that_of_the_rows_and_leaves_time_to_predict(
    times: list[dt.datetime], delay: dt.timedelta | None, width: Width
) -> None:
    assert choose_width(times * 12, delay, "UTC")[0] == width


def test_one_wrong_year_is_named_instead_of_a_history_that_is_too_short() -> None:
    times = [DAYS[0] + dt.timedelta(hours=2 * h) for h in range(720)]
    times[54] = dt.datetime(3024, 1, 20, tzinfo=dt.UTC)
    with pytest.raises(ConfigError, match=r"1 row\(s\) lie .* from all others \(row 55: 3024-01-20 00:00\)"):
        choose_width(times, None, "UTC")


def test_hours_count_by_the_day_where_there_are_days_enough() -> None:
    scheme = scheme_of("hourly", "UTC", hours(20)[0], hours(20)[-1])
    windows = choose_windows(scheme, maturity=6)
    assert (windows.block, windows.gate) == (24, 120)
    served = scheme.distance(*windows.served) + 1
    assert windows.train + windows.gate + 2 * windows.maturity + served - 1 == 480
    assert served >= 3 * windows.block, "a look back on one block could judge nothing"
    short = choose_windows(scheme_of("hourly", "UTC", hours(5)[0], hours(5)[-1]), maturity=6)
    assert short.block == 1


def test_labels_that_take_long_leave_a_renewal_that_can_be_judged(tmp_path: Path) -> None:
    """The floor of a renewal's age is the wait for labels and the gate after it."""
    file = write(tmp_path / "inspections.csv", [{**r, "failure known at": ""} for r in rows(120, 12, 60)])
    wishes = Wishes("boilers", label="failed", label_delay=dt.timedelta(days=30))
    folder = write_use_case(propose(profile_file(file), wishes), tmp_path / "cases")
    (model,) = load_use_case(folder / "use_case.yaml").config.models
    assert model.label.maturity_partitions == 31
    assert model.retraining.freshness_partitions == 31 + model.retraining.freshness_gate


def test_a_renewal_waits_until_a_change_could_be_seen(tmp_path: Path) -> None:
    """In weeks a window of outcomes takes longer than the usual age of a renewal."""
    start = dt.datetime(2024, 1, 1, 9)
    times = [start + dt.timedelta(weeks=w, hours=n % 12) for w in range(90) for n in range(30)]
    told = [
        {"shop": f"s{n % 30}", "day": t, "size": n % 7 + 0.5, "sold": (n * 37) % 101 + 0.25}
        for n, t in enumerate(times)
    ]
    pq.write_table(pa.Table.from_pylist(told), tmp_path / "shops.parquet")
    wishes = Wishes("shops", entity=("shop",), label="sold", label_delay=dt.timedelta(days=7), width="weekly")
    folder = write_use_case(propose(profile_file(tmp_path / "shops.parquet"), wishes), tmp_path / "cases")
    (model,) = load_use_case(folder / "use_case.yaml").config.models
    seen = model.label.maturity_partitions + 2 * model.diagnosis.concept_partitions
    assert model.retraining.freshness_partitions == seen > 6
    assert model.retraining.value.per_loss_unit is None, "a price is the owner's to say"
