"""Hours and months, from a Parquet file of many types to a prediction and a diagnosis, stage by stage."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_platform.lifecycle import promotion
from ml_platform.lifecycle.reading import client
from ml_platform.partitions import Width
from ml_platform.scaffold.columns import profile_file
from ml_platform.scaffold.proposal import Proposal, propose
from ml_platform.scaffold.roles import Wishes
from ml_platform.scaffold.writing import write_use_case

from .living import live
from .meters import PER_TIME, hours, months, readings


def proposed(folder: Path, table: pa.Table) -> Proposal:
    file = folder / "meters.parquet"
    pq.write_table(table, file)
    return propose(profile_file(file), Wishes("meters", entity=("Meter",), label="failed"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("times", "wait", "width", "keys"),
    [
        (hours(5), dt.timedelta(hours=4), "hourly", ("2023-01-06T00",)),
        (months(36), dt.timedelta(days=40), "monthly", ("2020-06-01",)),
    ],
)
def test_rows_of_hours_and_months_are_landed_scored_served_and_judged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    times: list[dt.datetime],
    wait: dt.timedelta,
    width: Width,
    keys: tuple[str, ...],
) -> None:
    monkeypatch.setattr(promotion, "check_bundle", lambda *_: None)  # a process of its own costs seconds
    p = proposed(tmp_path, readings(times, wait))
    assert p.scheme.width == width

    platform, target, played = live(write_use_case(p, tmp_path / "cases"), tmp_path / "home", len(keys))

    assert tuple(d.partition for d in played) == keys
    assert all(d.rows == PER_TIME for d in played)
    for day in played:
        assert day.diagnosed is not None
        assert day.diagnosed.diagnosis.verdict.name in ("none", "wait_for_labels")
    row = PER_TIME * next(i for i, t in enumerate(times) if p.scheme.key_at(t) == keys[-1])
    served = client(platform).get(target.key, f"{keys[-1]}/{p.profile.table['meter'][row]}")
    assert 0 < served.record.probability < 1
