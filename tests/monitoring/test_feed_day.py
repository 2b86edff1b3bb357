from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ml_platform.errors import IntegrityError
from ml_platform.monitoring.evidence import FEED_DAY_SCHEMA
from ml_platform.monitoring.feed_day import (
    GROWTH,
    SMALLEST,
    feed_evidence,
    histogram,
    lattice_step,
    off_lattice_share,
)


def readings() -> pa.Table:
    begin = datetime(2024, 3, 1, tzinfo=UTC)
    return pa.table(
        {
            "partition_key": ["2024-03-02"] * 2 + ["2024-03-01"] * 4,
            "weight": [4.0, None, 1.0, 2.0, float("nan"), 2.0],
            "parcels": pa.array([5, 6, 1, 2, 3, 4], pa.int64()),
            "depot": ["west", "west", "north", "south", "north", None],
            "fragile": [True, False, True, True, True, None],
            "seen_at": pa.array([begin + timedelta(hours=i) for i in range(6)], pa.timestamp("us", tz="UTC")),
        }
    )


def described(table: pa.Table) -> dict[tuple[str, str], dict[str, object]]:
    rows = feed_evidence(table, feed="depots").to_pylist()
    return {(r["partition_key"], r["column"]): r for r in rows}


def test_one_row_per_partition_and_column_in_order() -> None:
    evidence = feed_evidence(readings(), feed="depots", columns=["parcels", "depot"])
    assert evidence.schema.equals(FEED_DAY_SCHEMA, check_metadata=True)
    pairs = zip(evidence["partition_key"].to_pylist(), evidence["column"].to_pylist(), strict=True)
    assert list(pairs) == [
        ("2024-03-01", "parcels"),
        ("2024-03-01", "depot"),
        ("2024-03-02", "parcels"),
        ("2024-03-02", "depot"),
    ]


def test_counts_nulls_and_moments_of_a_day() -> None:
    weight = described(readings())["2024-03-01", "weight"]
    assert (weight["rows"], weight["nulls"], weight["null_rate"]) == (4, 1, 0.25)
    assert (weight["minimum"], weight["maximum"], weight["distinct"]) == (1, 2, 2)
    assert weight["mean"] == pytest.approx(5 / 3)
    assert sum(weight["histogram_counts"]) == 3
    assert (weight["values"], weight["value_counts"]) == (["2.0", "1.0"], [2, 1])


def test_categories_flags_and_instants() -> None:
    found = described(readings())
    depot, fragile = found["2024-03-01", "depot"], found["2024-03-01", "fragile"]
    assert (depot["kind"], depot["values"], depot["value_counts"]) == (
        "categorical",
        ["north", "south"],
        [2, 1],
    )
    assert (fragile["nulls"], fragile["minimum"]) == (1, None)
    seen = found["2024-03-02", "seen_at"]
    assert (seen["kind"], seen["distinct"], seen["lattice_step"]) == ("instant", 2, None)
    assert seen["minimum"] == datetime(2024, 3, 1, tzinfo=UTC).timestamp()


def test_days_described_alone_or_together_give_the_same_evidence() -> None:
    table, together = readings(), described(readings())
    for key in ("2024-03-01", "2024-03-02"):
        day = table.filter(pa.compute.equal(table["partition_key"], key))
        assert described(day) == {k: v for k, v in together.items() if k[0] == key}


def test_histograms_of_two_days_add_up_to_that_of_both() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(0, 3, 500), rng.lognormal(2, 1, 300)
    assert histogram(one) + histogram(two) == histogram(np.concatenate([one, two]))


def test_a_bin_holds_its_value_within_five_percent() -> None:
    for value in (1e-6, 0.37, 1.0, 451.0, 8e9):
        (number,) = histogram(np.array([value])).bins
        assert SMALLEST * GROWTH ** (number - 1) <= value * (1 + 1e-9)
        assert value <= SMALLEST * GROWTH**number * (1 + 1e-9)
        assert histogram(np.array([-value])).bins == (-number,)
    assert histogram(np.array([0.0, np.nan])).bins == (0,)


def test_a_change_of_unit_leaves_the_lattice() -> None:
    fahrenheit = np.arange(20, 90, dtype=np.float64)
    celsius = (fahrenheit - 32) / 1.8
    assert lattice_step(fahrenheit) == 1.0
    assert off_lattice_share(fahrenheit, 1.0) == 0
    assert off_lattice_share(celsius, 1.0) > 0.8
    assert lattice_step(np.round(celsius, 1)) == 0.1
    assert lattice_step(np.random.default_rng(0).normal(size=100)) is None
    assert lattice_step(fahrenheit[:5]) is None


def test_an_empty_feed_has_no_evidence_and_a_missing_column_is_named() -> None:
    assert feed_evidence(readings().slice(0, 0), feed="depots").num_rows == 0
    with pytest.raises(IntegrityError, match="height"):
        feed_evidence(readings(), feed="depots", columns=["height"])
