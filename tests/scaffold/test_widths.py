"""Hours and months, from a Parquet file of many types to a prediction and a diagnosis, stage by stage."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_platform.config import load_use_case
from ml_platform.lifecycle import promotion
from ml_platform.lifecycle.guard.days import Day, first_champion, play_day
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Outside, Platform, Target
from ml_platform.lifecycle.reading import client
from ml_platform.partitions import Width
from ml_platform.scaffold.columns import profile_file
from ml_platform.scaffold.proposal import Proposal, propose
from ml_platform.scaffold.roles import Wishes
from ml_platform.scaffold.writing import write_use_case

from .meters import PER_TIME, hours, months, readings


def proposed(folder: Path, table: pa.Table) -> Proposal:
    file = folder / "meters.parquet"
    pq.write_table(table, file)
    return propose(profile_file(file), Wishes("meters", entity=("Meter",), label="failed"))


def lived(p: Proposal, folder: Path, days: int) -> tuple[Platform, Target, list[Day]]:
    """Write the proposal and live through its first partitions, as the daily job does."""
    use_case = load_use_case(write_use_case(p, folder / "cases") / "use_case.yaml")
    outside = Outside(use_cases={use_case.name: use_case})
    platform = Platform({"ML_PLATFORM_HOME": str(folder / "home")}, outside)
    target, scheme = Target(use_case, use_case.config.models[0]), use_case.scheme
    first = p.windows.served[0]
    ingest(platform, use_case, scheme.keys(scheme.first_key, scheme.shift(first, -1)), p.windows.promote_at)
    platform.clock(use_case).set(p.windows.promote_at)
    report = first_champion(platform, target, p.windows.promote_at)
    assert report.candidate_serves, report.sentence()
    played = []
    for key in scheme.keys(first, scheme.shift(first, days - 1)):
        now = use_case.cutoff(key)
        ingest(platform, use_case, [key], now)
        platform.clock(use_case).set(now)
        played.append(play_day(platform, target, key, now))
    return platform, target, played


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

    platform, target, played = lived(p, tmp_path, len(keys))

    assert tuple(d.partition for d in played) == keys
    assert all(d.rows == PER_TIME for d in played)
    for day in played:
        assert day.diagnosed is not None
        assert day.diagnosed.diagnosis.verdict.name in ("none", "wait_for_labels")
    row = PER_TIME * next(i for i, t in enumerate(times) if p.scheme.key_at(t) == keys[-1])
    served = client(platform).get(target.key, f"{keys[-1]}/{p.profile.table['meter'][row]}")
    assert 0 < served.record.probability < 1
