from collections import Counter

import numpy as np
import pytest

from ml_platform.monitoring.repeats import OF_A_SEGMENT, OF_ALL, DayNumbers, at_rest, stale, stuck


def numbers(days: list[list[float]]) -> DayNumbers:
    of = np.repeat(np.arange(len(days)), [len(d) for d in days])
    return DayNumbers(np.array([v for d in days for v in d], dtype=float), of, len(days))


def plans(count: int, seed: int = 0, size: int = 150) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [list(rng.choice(5000, size)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_shares_are_those_of_counting_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [0, 5, 25, 40, 60, 41, 30, 0, 22]
    days = [list(np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 12, n))) for n in sizes]
    found = numbers(days)
    known = [[v for v in d if not np.isnan(v)] for d in days]
    assert found.tops.tolist() == [max(Counter(d).values(), default=0) for d in known]
    assert found.sizes.tolist() == [len(d) for d in known]
    assert found.distinct.tolist() == [len(set(d)) for d in known]
    every = Counter(v for d in known for v in d)
    assert every[found.commonest] == max(every.values())
    left = [Counter(v for v in d if v != found.commonest) for d in known]
    for share, one, other in zip(found.repeated(found.commonest), left, left[1:], strict=False):
        few = min(one.total(), other.total()) < 20 or len(other) < 3
        both = (one & other).total() / max(one.total(), other.total(), 1)
        assert share == pytest.approx(0.0 if few else both)


def test_nothing_is_told_of_no_numbers() -> None:
    nothing, some = numbers([[np.nan] * 30, [np.nan] * 30]), numbers(plans(2))
    for past, now in ((nothing, some), (some, nothing), (nothing, nothing)):
        assert not stale(past, now, OF_ALL).days.any()
        assert not stuck(past, now).days.any()


def test_what_one_earlier_day_did_excuses_a_segment_and_not_the_whole() -> None:
    first, second, third, last = plans(4)
    past = numbers([first, first, second, third])
    now = numbers([last, last])
    assert stale(past, now, OF_ALL).days.tolist() == [False, True]
    assert not stale(past, now, OF_A_SEGMENT).days.any()
    assert stale(numbers([first, second, third]), now, OF_A_SEGMENT).days.tolist() == [False, True]


def test_a_short_timetable_must_repeat_twice() -> None:
    rng = np.random.default_rng(1)
    days = [list(rng.choice(40, 60)) for _ in range(6)]
    past = numbers(days[:3])
    assert not stale(past, numbers([days[3], days[3], days[4]]), OF_ALL).days.any()
    assert stale(past, numbers([days[3], days[3], days[3]]), OF_ALL).days.tolist() == [False, True, True]
    assert stale(past, numbers([days[2], days[2]]), OF_ALL).days.tolist() == [True, True], (
        "the day before too"
    )


def test_days_with_too_few_rows_are_not_judged() -> None:
    past, now = numbers(plans(3)), numbers([[7.0] * 150, *plans(1, seed=1)])
    assert stuck(past, now).days.tolist() == [True, False]
    assert not stuck(past, now, np.array([False, True])).days.any()


def mild(count: int, step: float = 0.1, seed: int = 0) -> list[list[float]]:
    """One number a day, in steps, near that of the day before."""
    rng = np.random.default_rng(seed)
    level, found = 0.0, []
    for _ in range(count):
        level = 0.8 * level + rng.normal(0, 2.4)
        found.append([round(round((12 + level) / step) * step, 6)])
    return found


def resting(past: list[list[float]], now: list[list[float]]) -> list[bool]:
    return at_rest(numbers(past), numbers(now)).days.tolist()


@pytest.mark.parametrize("rows", [1, 3])
def test_a_column_of_one_number_a_day_that_stays_is_stuck(rows: int) -> None:
    days = [day * rows for day in mild(36)]
    past, last = days[:35], [sorted(d[0] for d in days)[18]] * rows
    assert resting(past, [days[35], last, last, last, last]) == [False] * 5, "three repeats may be chance"
    assert resting(past, [days[35], last, last, last, last, last]) == [False] * 2 + [True] * 4
    assert resting([*past, last], [last] * 4) == [True] * 4, "from the day before the first one on"
    assert resting(past, [last] * 6 + [days[35]]) == [False] * 7, "it moves again"
    assert resting(past, [last] * 3 + [[]] + [last] * 3) == [False] + [True] * 2 + [False] + [True] * 3


def test_coarse_numbers_must_stay_for_longer() -> None:
    days = mild(35, step=1.0)
    middle = [sorted(d[0] for d in days)[18]]
    assert not any(resting(days, [middle] * 5))
    assert all(resting([*days, middle], [middle] * 9))


def test_what_rests_by_nature_is_not_stuck() -> None:
    rng = np.random.default_rng(4)
    showers = [[round(float(rng.gamma(1, 5)), 1)] for _ in range(35)]
    assert not any(resting(showers, [[0.0]] * 7)), "no rain, though none of the days before was dry"
    assert not any(resting(showers, [[60.0]] * 7)), "a gauge that is full"
    assert any(resting(showers, [[4.05]] * 7)), "and yet a rain of 4.05 mm on each of seven days"
    price = [[float(i // 4)] for i in range(35)]
    assert not any(resting(price, [[5.5]] * 7)), "a price of some days"
    short, nothing = mild(4), [[np.nan]] * 3
    assert not any(resting(short, [[12.0]] * 7)), "nobody knows yet what it does"
    for past, now in ((nothing, short), (short, nothing), (nothing, nothing)):
        assert not any(resting(past, now))


@pytest.mark.parametrize("step", [0.1, 0.5, 1.0])
def test_ten_years_of_one_number_a_day_raise_no_alarm(step: float) -> None:
    days = mild(3650, step, seed=7)
    wet = np.random.default_rng(8).random(3650) < 0.4
    rain = [[d[0] if w else 0.0] for d, w in zip(mild(3650, step, seed=9), wet, strict=True)]
    for series in (days, rain):
        assert not any(any(resting(series[i : i + 35], series[i + 35 : i + 42])) for i in range(0, 3600, 3))
