"""Other policies on the same weeks, and their fits made ahead."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from guarded import FIRST, LAST, guarded
from library import Library
from pydantic import ValidationError

from ml_platform.guard_config import RetrainingConfig
from ml_platform.lifecycle.guard import policies as other
from ml_platform.lifecycle.guard.ingesting_ahead import ingest_days
from ml_platform.lifecycle.guard.policies import fit_calendars, policies
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.modeling.train import train

FITTED = [FIRST, "2020-09-28"]
"""First days of the calendar of four weeks."""


@pytest.fixture(autouse=True)
def _unchecked(unchecked: None) -> None:
    """Bundles are checked in other tests."""


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Windows that are being fitted while a test runs."""
    seen: list[Any] = []

    def watched(table: Any, *args: Any, **settings: Any) -> Any:
        seen.append((min(table["partition_key"].to_pylist()), max(table["partition_key"].to_pylist())))
        return train(table, *args, **settings)

    monkeypatch.setattr(other, "train", watched)
    return seen


def test_other_policies_are_judged_on_the_same_weeks(lived: Library) -> None:
    found = policies(lived.platform, guarded(lived, comparison_periods=(4,)), lived.now)
    assert [p.name for p in found] == ["guarded", "never", "every 4 weeks"]
    weeks = lived.weeks(FIRST, "2020-10-12")
    for policy in found:
        assert list(policy.by_day) == weeks
        assert policy.loss == pytest.approx(sum(policy.by_day.values()) / len(weeks))
        assert 0 < policy.loss < 2 * math.log(2)
    guarded_, never, calendar = found
    assert (never.trainings, calendar.trainings) == (0, 1)
    # Nothing was promoted in these weeks, so what was served is what the first champion says.
    assert guarded_.trainings == 0 and guarded_.by_day == pytest.approx(never.by_day)


def test_policies_are_judged_on_the_weeks_asked_for_only(lived: Library) -> None:
    target = guarded(lived, comparison_periods=(4,))
    whole = policies(lived.platform, target, lived.now)
    weeks = lived.weeks(FIRST, "2020-10-12")
    for asked in (weeks[1:3], weeks[3:], [*weeks[2:], LAST]):
        found = policies(lived.platform, target, lived.now, within=(asked[0], asked[-1]))
        for policy, other_ in zip(found, whole, strict=True):
            same = {k: v for k, v in other_.by_day.items() if k in asked}
            assert same and policy.by_day == pytest.approx(same), "each goes on as it had begun"
            assert policy.loss == pytest.approx(sum(same.values()) / len(same))
        assert found[2].trainings == (weeks[4] in asked)
    assert policies(lived.platform, target, lived.now, within=(LAST, LAST)) == [], "it is not mature"


def test_the_calendars_to_compare_with_are_28_and_42_partitions_unless_told(lived: Library) -> None:
    assert guarded(lived).model.retraining.comparison_periods == (28, 42)
    none = policies(lived.platform, guarded(lived, comparison_periods=()), lived.now)
    assert [p.name for p in none] == ["guarded", "never"]
    with pytest.raises(ValidationError, match="comparison_periods"):
        RetrainingConfig(comparison_periods=(0,))


def test_without_predictions_there_is_no_policy(fresh: Library, target: Target) -> None:
    assert policies(fresh.platform, target, fresh.now) == []


def test_fits_that_were_made_ahead_are_found_and_are_those_that_would_be_made(
    lived: Library, trainings: list[Any]
) -> None:
    target = guarded(lived, comparison_periods=(4,))
    without = policies(lived.platform, target, lived.now)
    assert len(trainings) == 2
    _forget(lived.platform)
    heads = _heads(lived, target)
    assert list(fit_calendars(lived.platform, target, lived.weeks(FIRST, LAST), lived.now)) == FITTED
    assert _heads(lived, target) == heads, "the ledger is left alone"
    assert len(trainings) == 4
    assert policies(lived.platform, target, lived.now) == without
    assert len(trainings) == 4, "each was found"


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda f: f.write_text("no digest"), id="unreadable"),
        pytest.param(lambda f: f.write_text("0" * 64), id="of an object that is gone"),
    ],
)
def test_a_fit_that_cannot_be_read_is_made_again(
    lived: Library, trainings: list[Any], spoil: Callable[[Path], object]
) -> None:
    target = guarded(lived, comparison_periods=(4,))
    before = policies(lived.platform, target, lived.now)
    spoil(sorted((lived.platform.home / "fits").iterdir())[0])
    assert policies(lived.platform, target, lived.now) == before
    assert len(trainings) == 3


def test_other_settings_of_the_training_are_another_fit(lived: Library, trainings: list[Any]) -> None:
    target = guarded(lived, comparison_periods=(4,))
    policies(lived.platform, target, lived.now)
    training = target.model.training.model_copy(update={"seed": 99})
    changed = Target(target.use_case, target.model.model_copy(update={"training": training}))
    policies(lived.platform, changed, lived.now)
    assert len(trainings) == 4


def test_without_a_mature_day_there_is_nothing_to_fit(early: Library) -> None:
    target = guarded(early, comparison_periods=(4,))
    assert list(fit_calendars(early.platform, target, early.weeks(FIRST, LAST)[:1], early.now)) == []


@dataclass
class Heard:
    """What the process that ingests tells, in place of a queue between processes."""

    words: list[str | Mapping[str, str]]

    def put(self, word: str | Mapping[str, str]) -> None:
        self.words.append(word)


def test_what_has_ingested_the_days_then_fits_the_calendars(
    lived: Library, trainings: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.nice", lambda _: 0)
    heard, keys = Heard([]), lived.weeks(FIRST, LAST)
    ingest_days(dict(lived.platform.environment), lived.use_case.name, keys, heard, lived.target.model.name)
    assert heard.words == keys and len(trainings) == 1, "28 and 42 weeks both begin on the first day"
    policies(lived.platform, lived.target, lived.now)
    assert len(trainings) == 1


def _forget(platform: Platform) -> None:
    for kept in (platform.home / "fits").iterdir():
        kept.unlink()


def _heads(library: Library, target: Target) -> dict[str, Any]:
    names = (f"{library.use_case.name}/{v}" for v in ("features", "labels"))
    return {n: {k: h.id for k, h in library.platform.ledger.heads(n).items()} for n in names}
