from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ml_platform.errors import IntegrityError
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.monitoring.breaks import data_breaks
from ml_platform.monitoring.days import by_day, daily_ks
from ml_platform.statistics.finding import Finding, Findings

SETTINGS = DiagnosisConfig()
NUMBERS = [f"measure_{i}" for i in range(12)]
COLUMNS = [*NUMBERS, "hour", "depot", "brand"]


def key(day: int) -> str:
    return (date(2024, 3, 1) + timedelta(days=day)).isoformat()


def window(first: int, days: int, rows: int = 900, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed * 1000 + first)
    frames = []
    for day in range(first, first + days):
        size = int(rows * rng.uniform(0.97, 1.03))
        measures = {n: rng.normal(rng.normal(0, 0.5), 1, size) for n in NUMBERS}
        frame = pd.DataFrame({"partition_key": key(day), **measures})
        frame["hour"] = np.arange(size) % 18 + 5
        frame["depot"] = rng.choice(["north", "south", "west"], size)
        frame["brand"] = rng.choice([f"brand {i}" for i in range(12)], size)
        frame.loc[rng.random(size) < 0.01, "measure_0"] = np.nan
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def judge(current: pd.DataFrame, reference: pd.DataFrame | None = None) -> Findings:
    before = window(0, 28) if reference is None else reference
    return data_breaks(before, current, columns=COLUMNS, segments=["depot", "brand"], settings=SETTINGS)


def of(findings: Findings, statistic: str, subject: str) -> Finding:
    return next(f for f in findings.items if (f.statistic, f.subject) == (statistic, subject))


def test_clean_days_pass() -> None:
    for seed in range(8):
        assert not judge(window(28, 7, seed=seed), window(0, 28, seed=seed)).failed


def test_tables_of_arrow_do_as_well_and_nothing_is_unknown() -> None:
    reference, current = (pa.Table.from_pandas(window(f, d, 100)) for f, d in ((0, 8), (8, 2)))
    found = data_breaks(reference, current, columns=COLUMNS, segments=["depot"], settings=SETTINGS)
    assert found.state == "PASS"
    empty = data_breaks(reference, current.slice(0, 0), columns=COLUMNS, segments=[], settings=SETTINGS)
    assert empty.state == "UNKNOWN"
    with pytest.raises(IntegrityError, match="brand"):
        data_breaks(
            reference, current.drop_columns(["brand"]), columns=COLUMNS, segments=[], settings=SETTINGS
        )


def test_a_null_spike_is_found_on_its_day() -> None:
    now = window(28, 7)
    now.loc[(now.partition_key == key(33)) & (now.index % 10 == 0), "measure_3"] = np.nan
    (found,) = judge(now).failed
    assert (found.statistic, found.subject, found.partitions) == ("null_rate", "measure_3", (key(33),))
    assert found.estimate == pytest.approx(0.1, abs=0.01)


def test_a_null_spike_in_one_segment_is_named_though_the_whole_hides_it() -> None:
    now = window(28, 7)
    rng = np.random.default_rng(0)
    now.loc[(now.brand == "brand 3") & (rng.random(len(now)) < 0.5), "measure_0"] = np.nan
    (found,) = judge(now).failed
    assert (found.subject, next(iter(found.facts["segments"]))) == ("measure_0", "brand=brand 3")
    two = window(28, 7)
    days = (key(31), key(33))
    two.loc[(two.brand == "brand 3") & two.partition_key.isin(days), "measure_0"] = np.nan
    (broken,) = judge(two).failed
    assert broken.partitions == days and list(broken.facts["segments"]) == ["brand=brand 3"], (
        "it is too small to be judged on a day, and the other days are sound"
    )
    assert found.estimate is not None
    assert found.estimate < 0.08


def test_a_segment_of_a_whole_day() -> None:
    now = window(28, 7)
    rng = np.random.default_rng(0)
    hit = (now.depot == "west") & (now.partition_key == key(30)) & (rng.random(len(now)) < 0.22)
    now.loc[hit, "measure_5"] = np.nan
    (found,) = judge(now).failed
    assert found.partitions == (key(30),)
    assert list(found.facts["segments"]) == ["depot=west"]


def test_rows_of_one_segment_that_stay_away_are_named_though_the_whole_hides_it() -> None:
    now = window(28, 7)
    short = now[(now.depot != "west") | (now.partition_key != key(30)) | (now.index % 4 == 0)]
    found = of(judge(short), "row_count", "all")
    assert (found.state, found.partitions, list(found.facts["segments"])) == (
        "FAIL",
        (key(30),),
        ["depot=west"],
    )
    gone = now[(now.brand != "brand 3")]
    assert of(judge(gone), "row_count", "all").state == "PASS", "too small on a day to be judged"


def test_a_segment_must_jump_from_the_days_before_too() -> None:
    """A null rate that rose over weeks is the world's; one that jumps is a break."""
    rng = np.random.default_rng(0)

    def spoilt(frame: pd.DataFrame, share: float) -> pd.DataFrame:
        hit = (frame.brand == "brand 3") & (rng.random(len(frame)) < share)
        return frame.assign(measure_0=frame.measure_0.mask(hit))

    def against(earlier: pd.DataFrame) -> Findings:
        return data_breaks(
            window(0, 28),
            spoilt(window(35, 7), 0.4),
            columns=COLUMNS,
            segments=["brand"],
            settings=SETTINGS,
            earlier=earlier,
        )

    assert not against(spoilt(window(28, 7), 0.35)).failed
    (found,) = against(window(28, 7)).failed
    assert list(found.facts["segments"]) == ["brand=brand 3"]


def test_a_segment_that_the_reference_does_not_know_is_no_break() -> None:
    now = window(28, 7)
    now.loc[now.brand == "brand 3", "brand"] = "brand new"
    now.loc[(now.brand == "brand new") & (now.index % 2 == 0), "measure_0"] = np.nan
    assert [(f.statistic, f.subject) for f in judge(now).failed] == [("new_categories", "brand")]


def test_new_categories_fail_only_with_enough_rows() -> None:
    now = window(28, 7)
    now.loc[now.index % 40 == 0, "brand"] = "brand new"
    (found,) = judge(now).failed
    assert (found.statistic, list(found.facts["categories"])) == ("new_categories", ["brand new"])
    few = now[now.partition_key == key(34)].iloc[:150]
    assert of(judge(few), "new_categories", "brand").state == "UNDERPOWERED"


def test_few_rows_hold_back_and_an_unusual_number_only_warns() -> None:
    now = window(28, 7)
    short = now[(now.partition_key != key(31)) | (now.index % 3 == 0)]
    found = of(judge(short), "row_count", "all")
    assert (found.state, found.partitions) == ("FAIL", (key(31),))
    unusual = of(judge(now[(now.partition_key != key(31)) | (now.index % 3 > 0)]), "row_count", "all")
    assert (unusual.state, unusual.facts["warn"], unusual.facts["unusual"]) == ("PASS", True, [key(31)])
    assert of(judge(now), "row_count", "all").facts["warn"] is False


def test_half_of_a_few_rows_is_chance_and_none_of_them_is_not() -> None:
    """A small use case has days of seven rows among days of fifteen."""

    def rows(count: int) -> Finding:
        before = pd.concat([window(d, 1).iloc[:15] for d in range(28)], ignore_index=True)
        return of(judge(window(28, 1).iloc[:count], before), "row_count", "all")

    assert (rows(7).state, rows(7).facts["warn"]) == ("PASS", True)
    assert rows(4).state == "PASS"
    assert rows(2).state == "FAIL"


def test_rows_are_compared_with_their_weekday() -> None:
    def weekly(first: int, days: int) -> pd.DataFrame:
        whole = window(first, days)
        sunday = pd.to_datetime(whole.partition_key).dt.weekday == 6
        return whole[~sunday | (whole.index % 4 == 0)]

    assert of(judge(weekly(28, 7), weekly(0, 28)), "row_count", "all").facts["warn"] is False
    assert of(judge(weekly(28, 7), window(0, 28)), "row_count", "all").state == "FAIL"


def test_values_of_the_day_before_are_stale_unless_they_always_repeat() -> None:
    now = window(28, 7)
    day, last = (now.partition_key == key(d) for d in (31, 30))
    repeated = now.loc[last, "measure_7"].to_numpy()
    now.loc[day, "measure_7"] = np.resize(repeated, int(day.sum()))
    (found,) = judge(now).failed
    assert (found.statistic, found.subject, found.partitions) == ("staleness", "measure_7", (key(31),))
    assert of(judge(now), "staleness", "hour").state == "PASS"


def test_one_number_a_day_that_stays_is_stale() -> None:
    def level(first: int, levels: list[float]) -> pd.DataFrame:
        return pd.concat([window(first + i, 1, rows=34).assign(level=x) for i, x in enumerate(levels)])

    reference = level(0, [10.1, *np.round(np.random.default_rng(6).uniform(10, 25, 26), 1), 25.1])
    moving, resting = level(28, [12.05, 15.05, 11.05]), level(28, [12.05, 15.05, 15.05, 15.05, 15.05, 15.05])

    def judged(current: pd.DataFrame) -> Finding:
        settings = DiagnosisConfig()
        found = data_breaks(reference, current, columns=["level"], segments=[], settings=settings)
        return of(found, "staleness", "level")

    assert judged(moving).state == "PASS"
    found = judged(resting)
    assert (found.state, found.partitions) == ("FAIL", tuple(key(day) for day in range(30, 34)))
    assert found.detail == (
        f"one number, 15.1, stays from the day before {key(30)} on; of the earlier days 0% repeat one"
    )


def test_the_day_before_the_first_is_the_last_of_those_right_before_not_of_a_reference_of_long_ago() -> None:
    reference, recent, now = window(0, 28), window(60, 7), window(67, 7)

    def repeating(day: pd.DataFrame) -> pd.DataFrame:
        found, first = now.copy(), now.partition_key == key(67)
        found.loc[first, "measure_7"] = np.resize(day["measure_7"].to_numpy(), int(first.sum()))
        return found

    def failed(current: pd.DataFrame) -> list[tuple[str, ...]]:
        found = data_breaks(
            reference, current, columns=COLUMNS, segments=[], settings=SETTINGS, earlier=recent
        )
        return [f.partitions for f in found.failed]

    assert failed(repeating(reference[reference.partition_key == key(27)])) == []
    assert failed(repeating(recent[recent.partition_key == key(66)])) == [(key(67),)]


def test_the_distance_of_days_is_that_of_kolmogorov_and_smirnov() -> None:
    from scipy.stats import ks_2samp

    before, now = (by_day(window(f, d), NUMBERS, "rows") for f, d in ((0, 28), (28, 7)))
    own, far = daily_ks(before, now, "measure_0")
    pooled = before.frame.dropna()
    for i in (0, 3):
        today = now.frame[now.frame.partition_key == now.keys[i]]["measure_0"].dropna()
        assert far[i] == pytest.approx(ks_2samp(today, pooled["measure_0"]).statistic, abs=0.01)
        mine = pooled.partition_key == before.keys[i]
        expected = ks_2samp(pooled[mine]["measure_0"], pooled[~mine]["measure_0"]).statistic
        assert own[i] == pytest.approx(expected, abs=0.01)


def test_a_value_that_is_told_over_and_over_is_stuck() -> None:
    """Half of a day's rows tell one value of a column that varies; a column that always does so may go on."""
    current = window(28, 3)
    day = np.flatnonzero(current.partition_key == key(29))
    current.loc[day[: len(day) // 2], "measure_3"] = 0.5
    found = judge(current)
    assert [(f.statistic, f.subject, f.partitions) for f in found.failed] == [
        ("stuck_value", "measure_3", (key(29),))
    ]
    reference = window(0, 28)
    for frame in (reference, current):
        dry = np.random.default_rng(1).random(len(frame)) < 0.7
        frame["measure_3"] = np.where(dry, 0.0, frame["measure_3"].abs() + 0.1)
    assert not judge(current, reference).failed


def test_an_hour_is_held_against_its_like_and_a_month_against_all() -> None:
    """Few rows at night are as usual; few at noon are not. Months begin on any weekday."""
    nights = {h: 20 if h < 6 else 200 for h in range(24)}

    def rows_of(sizes: dict[str, int]) -> Findings:
        keys = np.repeat(list(sizes), list(sizes.values()))
        frame = pd.DataFrame(
            {"partition_key": keys, "measure_0": np.random.default_rng(1).normal(size=len(keys))}
        )
        last = sorted(sizes)[-6:]
        now = frame["partition_key"].isin(last)
        return data_breaks(frame[~now], frame[now], columns=["measure_0"], segments=[], settings=SETTINGS)

    usual = {f"2024-03-{d:02}T{h:02}": n for d in range(4, 10) for h, n in nights.items()}
    usual |= {f"2024-03-10T{h:02}": nights[h] for h in range(6)}
    assert of(rows_of(usual), "row_count", "all").state == "PASS"
    assert of(rows_of(usual | {"2024-03-10T04": 3}), "row_count", "all").partitions == ("2024-03-10T04",)
    months = {f"{2020 + m // 12}-{m % 12 + 1:02}-01": 200 + m for m in range(36)}
    months["2020-06-01"] = months["2021-02-01"] = 900  # Mondays, as the last but one is
    assert of(rows_of(months), "row_count", "all").state == "PASS"


def even(frame: pd.DataFrame, depot: str, rows: int = 250) -> pd.DataFrame:
    """As many rows of one depot on each day."""
    number = frame.groupby(["partition_key", "depot"]).cumcount()
    return frame[(frame.depot != depot) | (number < rows)].reset_index(drop=True)


def test_values_of_the_day_before_in_one_segment_are_named_though_the_whole_hides_them() -> None:
    now = even(window(28, 7), "west")
    days = {d: np.flatnonzero((now.partition_key == key(d)) & (now.depot == "west")) for d in (30, 31)}
    now.loc[days[31], "measure_7"] = now.loc[days[30], "measure_7"].to_numpy()
    (found,) = judge(now).failed
    assert (found.statistic, found.subject, found.partitions) == ("staleness", "measure_7", (key(31),))
    assert list(found.facts["segments"]) == ["depot=west"] and found.facts["segments"]["depot=west"] > 0.9
    assert found.estimate is not None and found.floor is not None and found.estimate < found.floor
    small = now.drop(index=np.r_[days[30][150:], days[31][150:]])
    assert of(judge(small), "staleness", "measure_7").state == "PASS", "too few rows on the day to be judged"


def test_a_value_that_is_stuck_in_one_segment_is_named_though_the_whole_hides_it() -> None:
    now = window(28, 7)
    rng = np.random.default_rng(2)
    hit = (now.partition_key == key(29)) & (now.depot == "south") & (rng.random(len(now)) < 0.6)
    now.loc[hit, "measure_3"] = 0.5
    (found,) = judge(now).failed
    assert (found.statistic, found.subject, found.partitions) == ("stuck_value", "measure_3", (key(29),))
    assert list(found.facts["segments"]) == ["depot=south"] and found.estimate is not None
    assert found.estimate < 0.25, "of all rows it is nothing"


def test_a_segment_whose_timetable_sometimes_repeats_is_no_alarm() -> None:
    """On two days of four weeks the same plan as the day before: by the median it hardly ever repeats."""

    def planned(first: int, days: int, repeated: set[int]) -> pd.DataFrame:
        frame = even(window(first, days), "north")
        for d in range(first, first + days):
            at = np.flatnonzero((frame.partition_key == key(d)) & (frame.depot == "north"))
            plan = np.random.default_rng(d - (d in repeated)).choice(5000, 250) / 10
            frame.loc[at, "measure_9"] = plan
        return frame

    reference, now = planned(0, 28, {9, 20}), planned(28, 7, {32})
    assert not judge(now, reference).failed
    assert [f.partitions for f in judge(now, planned(0, 28, set())).failed] == [(key(32),)]
