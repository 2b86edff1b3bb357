import numpy as np
import pandas as pd
import pytest

from ml_platform.errors import IntegrityError
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.kinds.binary import Binary
from ml_platform.monitoring.label_replay import label_replay
from ml_platform.statistics.finding import Findings

DAYS = [f"2024-03-{d:02}" for d in range(1, 8)]


def minutes() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "partition_key": np.repeat(DAYS, 400),
            "parcel": np.tile(np.arange(400), len(DAYS)),
            "minutes": rng.exponential(20, 400 * len(DAYS)),
        }
    )


def labels(limit: float, since: str = "") -> pd.DataFrame:
    """Late parcels: over 15 minutes, and over ``limit`` minutes from a partition on."""
    rows = minutes()
    late = rows.minutes > np.where(rows.partition_key >= since, limit, 15)
    return rows[["partition_key", "parcel"]].assign(late=late.astype(float))


def replay(stored: pd.DataFrame, rebuilt: pd.DataFrame) -> Findings:
    return label_replay(
        stored, rebuilt, key=["parcel"], kind=Binary(), label="late", settings=DiagnosisConfig()
    )


def test_equal_labels_pass_whatever_is_still_unknown() -> None:
    stored, rebuilt = labels(15).sample(frac=1, random_state=0), labels(15)
    stored.iloc[:500, 2] = np.nan
    found = replay(stored, rebuilt)
    assert found.state == "PASS"
    assert found.items[0].rows == 2300
    assert found.items[0].facts["only_rebuilt_known"] == 500
    assert found.items[0].facts["revision_rate"] is None


def test_a_new_threshold_is_found_from_its_first_day() -> None:
    (found,) = replay(labels(30, since=DAYS[4]), labels(15)).failed
    assert found.partitions == tuple(DAYS[4:])
    assert found.facts["became_lower"] > 0 == found.facts["became_higher"]
    assert found.facts["stored"]["positives"] < found.facts["rebuilt"]["positives"]


def test_the_rate_of_revisions_is_a_fact() -> None:
    stored = labels(15).assign(revision=1)
    stored.loc[:139, "revision"] = 2
    found = replay(stored, labels(15))
    assert found.state == "PASS"
    assert found.items[0].facts["revision_rate"] == pytest.approx(0.05)


def test_without_common_labels_it_is_unknown() -> None:
    assert replay(labels(15).assign(late=None), labels(15)).state == "UNKNOWN"
    assert replay(labels(15), labels(15).assign(parcel=-1 - np.arange(2800))).state == "UNKNOWN"
    with pytest.raises(IntegrityError, match="late"):
        replay(labels(15).drop(columns="late"), labels(15))
