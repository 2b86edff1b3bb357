"""A label that tells one value only is an incident where it is more than chance."""

import numpy as np
import pandas as pd
import pytest

from ml_platform.monitoring.constant_label import constant_label


def labels(shares: list[float], rows: int = 40, first: int = 0) -> pd.DataFrame:
    """Partitions of 0 and 1, of which so large a share is 1."""
    ones = [np.arange(rows) < round(share * rows) for share in shares]
    keys = [f"{first + i:03}" for i in range(len(shares))]
    return pd.DataFrame({"partition_key": np.repeat(keys, rows), "late": np.concatenate(ones).astype(float)})


USUAL = labels([0.3] * 28)


@pytest.mark.parametrize(
    ("shares", "run"),
    [
        ([0.3, 0.3, 0, 0, 0], ["102", "103", "104"]),
        ([0.3, 0.3, 1, 1, 1], ["102", "103", "104"]),
        ([0, 0, 0, 0, 0.3], []),  # it tells again
    ],
)
def test_a_run_of_one_value_is_told_with_its_partitions(shares: list[float], run: list[str]) -> None:
    found = constant_label(USUAL, labels(shares, first=100), label="late")
    assert found is not None and list(found.partitions) == run
    assert found.state == ("FAIL" if run else "PASS")


@pytest.mark.parametrize("shares", [[0.3, 0.3, 0.3, 0, 0], [0, 0, 0, 1, 1]])
def test_two_odd_days_cannot_tell_yet_and_are_no_pass(shares: list[float]) -> None:
    found = constant_label(USUAL, labels(shares, first=100), label="late")
    assert found is not None and (found.state, found.partitions) == ("UNDERPOWERED", ())


def test_what_the_reference_often_does_is_no_incident() -> None:
    rare = labels([0.05 if i % 2 else 0 for i in range(28)])
    found = constant_label(rare, labels([0] * 5, first=100), label="late")
    assert found is not None and found.state == "PASS"


def test_few_rows_of_a_rare_label_are_chance() -> None:
    rare = labels([0.05] * 28)
    few, many = (constant_label(rare, labels([0] * 4, rows=n, first=100), label="late") for n in (20, 400))
    assert few is not None and many is not None
    assert (few.state, many.state) == ("PASS", "FAIL")


def test_classes_are_told_as_they_are_and_nulls_are_no_label() -> None:
    reference = USUAL.assign(late=np.where(USUAL["late"] == 1, "late", "in_time"))
    now = labels([0.3] * 4, first=100).assign(late="in_time")
    now.loc[::2, "late"] = None
    found = constant_label(reference, now, label="late")
    assert found is not None and found.state == "FAIL"
    assert (
        "all 80 labels of the last 4 partitions are in_time, as 70% of the reference's were" in found.detail
    )
    assert constant_label(reference, now.assign(late=None), label="late") is None


def test_a_value_that_the_reference_never_had_is_one_too() -> None:
    amounts = USUAL.assign(late=np.random.default_rng(0).gamma(2, 1, len(USUAL)))
    found = constant_label(amounts, labels([0] * 4, first=100), label="late")
    assert found is not None and found.state == "FAIL"
