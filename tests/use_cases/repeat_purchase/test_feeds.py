"""The feed: each line in its week, known when its day was over."""

import datetime as dt

import pandas as pd
import pyarrow.compute as pc
import pytest

from ml_platform.config import UseCase
from ml_platform.contracts.accept import AcceptanceContext, check
from ml_platform.contracts.parse import load_contract
from ml_platform.errors import FeedError

from .conftest import Read


def test_every_line_lies_in_the_week_of_its_day(read: Read, raw: pd.DataFrame) -> None:
    table = read().to_pandas()
    assert len(table) == len(raw)
    begin = pd.to_datetime(table["partition_key"])
    ago = (pd.to_datetime(table["purchased_on"]) - begin).dt.days
    assert begin.dt.weekday.eq(0).all() and ago.between(0, 6).all()


def test_only_the_weeks_that_were_asked_for_come(read: Read) -> None:
    table = read("1997-03-03", "1997-03-10")
    assert set(table["partition_key"].to_pylist()) == {"1997-03-03", "1997-03-10"}
    assert table.num_rows == 3116 + 3092


def test_a_day_is_known_when_it_is_over(read: Read) -> None:
    row = read("1997-01-06", "1997-01-06").slice(0, 1).to_pylist()[0]
    midnight = dt.datetime.combine(row["purchased_on"], dt.time(), dt.UTC) + dt.timedelta(days=1)
    assert row["known_at"] == midnight


def test_cohorts_can_be_held_back(read: Read, raw: pd.DataFrame) -> None:
    kept = read(hold_back=["1997-03"])
    gone = set(raw["customer_id"]) - set(kept["customer_id"].to_pylist())
    first = raw.groupby("customer_id")["day"].min()
    assert gone == set(first[first >= "1997-03-01"].index)
    assert pc.max(kept["purchased_on"]).as_py() == dt.date(1998, 6, 30), "the others go on buying"


def test_an_unknown_setting_is_an_error(read: Read) -> None:
    with pytest.raises(FeedError, match="holdback"):
        read("1997-03-03", "1997-03-03", holdback=["1997-03"])


def test_duplicates_warn_and_all_rows_are_let_in(use_case: UseCase, read: Read, raw: pd.DataFrame) -> None:
    contract = load_contract(use_case.contracts_dir / "purchases.yaml")
    keys = tuple(use_case.scheme.keys("1996-12-30", "1998-06-22"))
    found = check(contract, read(keys[0], keys[-1]), AcceptanceContext(keys, frozenset(keys)))
    parts = found.partitions.values()
    assert sum(p.accepted.num_rows for p in parts) == sum(p.landed_rows for p in parts) == 69_659 - 120
    assert not any(p.quarantined.num_rows or p.held.num_rows for p in parts)
    failed = {
        rule: sum(o.state == "FAIL" for p in parts for o in p.results if o.rule == rule)
        for rule in ("exact_duplicates", "same_customer_and_day")
    }
    assert failed == {"exact_duplicates": 66, "same_customer_and_day": 7}
