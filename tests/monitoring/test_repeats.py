from collections import Counter

import numpy as np
import pytest

from ml_platform.monitoring.repeats import OF_A_SEGMENT, OF_ALL, DayNumbers, stale, stuck


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
