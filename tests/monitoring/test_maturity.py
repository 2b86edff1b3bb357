import dataclasses
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_platform.errors import ConfigError, IntegrityError
from ml_platform.monitoring.maturity import label_arrival

START = datetime(2024, 3, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=30)
LAST_AGED = "2024-03-20"


def parcels(days: int = 30, slower: dict[int, float] | None = None, seed: int = 0) -> pd.DataFrame:
    """Parcels with a label an hour (on time) or three days (late) after delivery, in the median."""
    rng, frames = np.random.default_rng(seed), []
    for day in range(days):
        begin = START + timedelta(days=day)
        late = (rng.random(200) < 0.25).astype(int)
        hours = np.where(late, 72.0, 6.0) * rng.lognormal(0, 0.4, 200) * (slower or {}).get(day, 1)
        event = pd.Series(pd.to_datetime([begin] * 200)) + pd.to_timedelta(rng.uniform(0, 24, 200), unit="h")
        frames.append(
            pd.DataFrame(
                {
                    "partition_key": begin.date().isoformat(),
                    "event_time": event,
                    "label": late,
                    "label_known_at": event + pd.to_timedelta(np.minimum(hours, 220), unit="h"),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def test_what_is_known_later_counts_as_unknown() -> None:
    young = parcels()
    cohort = label_arrival(young, AS_OF, last_aged=LAST_AGED).cohorts[-1]
    told = young[young.partition_key == "2024-03-30"].label_known_at <= pd.Timestamp(AS_OF)
    assert cohort.known == told.sum() < 200
    assert cohort.share_known == pytest.approx(told.mean())


def test_young_partitions_are_immature_however_many_labels_they_have() -> None:
    table = parcels()
    table["label_known_at"] = table["event_time"]
    report = label_arrival(table, AS_OF, last_aged=LAST_AGED)
    assert report.last_mature == LAST_AGED
    assert report.immature[0] == "2024-03-21"
    assert len(report.immature) == 10
    assert report.share_known["2024-03-25"] == 1


def test_an_aged_partition_without_its_labels_is_overdue_and_left_out_of_the_curve() -> None:
    table = parcels()
    lost = table["partition_key"] == "2024-03-10"
    table.loc[lost, ["label_known_at"]] = pd.NaT
    report = label_arrival(table, AS_OF, last_aged=LAST_AGED)
    cohort = next(c for c in report.cohorts if c.partition_key == "2024-03-10")
    assert cohort.maturity == "overdue"
    assert cohort.state == report.state == "FAIL"
    assert "2024-03-10" not in report.mature
    assert report.curves[0].share[-1] == 1


def test_the_curve_comes_from_fully_aged_cohorts_only() -> None:
    report = label_arrival(parcels(), AS_OF, last_aged=LAST_AGED, ages=[0, 24, 48, 72, 240])
    every = label_arrival(parcels(60), START + timedelta(days=80), last_aged="2024-04-29", ages=[72])
    positive = next(c for c in report.curves if c.group == "positive")
    assert positive.share[3] == pytest.approx(every.curves[1].share[0], abs=0.05)
    assert positive.share[-1] == 1


def test_positives_that_take_longer_have_a_later_horizon() -> None:
    curves = {c.group: c for c in label_arrival(parcels(), AS_OF, last_aged=LAST_AGED).curves}
    assert curves["negative"].horizon_hours < 24
    assert curves["positive"].horizon_hours > 72
    assert curves["all"].rows == curves["positive"].rows + curves["negative"].rows


def test_labels_that_come_as_fast_as_ever_raise_no_alarm() -> None:
    report = label_arrival(parcels(), AS_OF, last_aged=LAST_AGED)
    assert all(c.state != "FAIL" for c in report.cohorts)
    assert all(abs(c.shortfall) < 0.15 for c in report.cohorts if c.shortfall is not None)


def test_a_cohort_whose_labels_come_late_is_found() -> None:
    report = label_arrival(parcels(slower={27: 8}), AS_OF, last_aged=LAST_AGED)
    assert [c.partition_key for c in report.cohorts if c.state == "FAIL"] == ["2024-03-28"]
    assert report.state == "FAIL"


def test_without_a_mature_cohort_nothing_is_known() -> None:
    report = label_arrival(parcels(5), START + timedelta(days=5), last_aged="2024-02-20")
    assert (report.state, report.last_mature, report.mature) == ("UNKNOWN", None, [])
    assert report.curves[0].rows == 0


def test_few_mature_cohorts_are_underpowered() -> None:
    report = label_arrival(parcels(8), START + timedelta(days=8), last_aged="2024-03-04", minimum_share=0.5)
    assert {c.state for c in report.cohorts if c.maturity == "immature"} == {"UNDERPOWERED"}


def test_arrow_tables_and_json() -> None:
    table = parcels()
    table["label"] = table["label"].astype(bool)
    report = label_arrival(pa.Table.from_pandas(table), AS_OF, last_aged=LAST_AGED)
    assert report == label_arrival(parcels(), AS_OF, last_aged=LAST_AGED)
    assert json.loads(json.dumps(dataclasses.asdict(report), allow_nan=False))["last_mature"] == LAST_AGED


def test_bad_input_says_what_and_where() -> None:
    with pytest.raises(IntegrityError, match="label_known_at"):
        label_arrival(parcels().drop(columns="label_known_at"), AS_OF, last_aged=LAST_AGED)
    with pytest.raises(ConfigError, match="offset"):
        label_arrival(parcels(), datetime(2024, 3, 31), last_aged=LAST_AGED)
