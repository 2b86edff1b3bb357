from datetime import date, timedelta

import numpy as np
import pandas as pd

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.model_config import FeatureConfig
from ml_platform.monitoring.covariates import covariate_shift
from ml_platform.monitoring.season import older_model, same_season, season
from ml_platform.statistics.finding import Finding

SETTINGS = DiagnosisConfig()
Days = dict[str, float]


def losses(first: int, days: int, level: float, seed: int = 0) -> Days:
    rng = np.random.default_rng(seed + first)
    return {
        (date(2024, 3, 1) + timedelta(days=first + d)).isoformat(): float(rng.normal(level, 0.03))
        for d in range(days)
    }


def judge(current: Days, year_ago: tuple[Days, Days] | None = None) -> dict[str, Finding]:
    found = season(losses(0, 28, 0.4), current, floor=0.04, settings=SETTINGS, year_ago=year_ago)
    return {f.statistic: f for f in found.items}


def test_an_alarm_of_one_storm_hangs_on_its_day() -> None:
    current = losses(28, 7, 0.4)
    storm = list(current)[3]
    found = judge(current | {storm: 1.4})["single_day"]
    assert (found.state, found.partitions) == ("FAIL", (storm,))
    assert found.facts["without"][storm] < 0.04


def test_an_alarm_of_all_days_hangs_on_none() -> None:
    found = judge(losses(28, 7, 0.5))["single_day"]
    assert (found.state, found.facts["alarm"]) == ("PASS", True)
    assert judge(losses(28, 7, 0.4))["single_day"].facts["alarm"] is False
    assert judge(losses(28, 2, 0.5))["single_day"].state == "UNKNOWN"


def test_an_alarm_of_known_events_hangs_on_all_their_days_together() -> None:
    current = losses(28, 10, 0.4)
    fair = dict.fromkeys(list(current)[3:6], "Fair")
    reference = losses(0, 28, 0.4)

    def asked(days: Days, events: dict[str, str]) -> dict[str, Finding]:
        found = season(reference, days, floor=0.04, settings=SETTINGS, events=events)
        return {f.statistic: f for f in found.items}

    found = asked(current | dict.fromkeys(fair, 0.9), fair)
    assert found["single_day"].state == "PASS", "no one day carries it"
    assert (found["known_events"].state, found["known_events"].partitions) == ("FAIL", tuple(fair))
    assert "(Fair)" in found["known_events"].detail and abs(found["known_events"].estimate or 0) < 0.04
    assert asked(losses(28, 10, 0.6), fair)["known_events"].state == "PASS", "every day is worse"
    assert asked(current, fair)["known_events"].state == "PASS", "there is no alarm"
    assert "known_events" not in asked(current, {"2023-01-01": "Long ago"})
    assert asked(current, dict.fromkeys(current, "Fair"))["known_events"].state == "UNKNOWN"


def test_events_of_the_reference_are_left_out_of_it_too() -> None:
    reference = losses(0, 28, 0.4)
    fairs = dict.fromkeys(list(reference)[:6], "Fair")
    current = losses(28, 10, 0.4)
    today = {next(iter(current)): "Fair"}
    found = season(
        reference | dict.fromkeys(fairs, 0.9), current, floor=0.04, settings=SETTINGS, events=fairs | today
    )
    (finding,) = [f for f in found.items if f.statistic == "known_events"]
    assert finding.state == "FAIL", "the fairs of the reference made the present look better than usual"


def test_a_change_that_came_a_year_ago_too_is_a_season() -> None:
    summer = losses(28, 7, 0.55)
    assert judge(summer, (losses(0, 28, 0.4, 9), losses(28, 7, 0.55, 9)))["year_ago"].state == "FAIL"
    assert judge(summer, (losses(0, 28, 0.4, 9), losses(28, 7, 0.4, 9)))["year_ago"].state != "FAIL"
    assert judge(summer, (losses(0, 28, 0.4, 9), losses(28, 7, 0.25, 9)))["year_ago"].state != "FAIL"


def test_without_a_year_it_says_so() -> None:
    found = season(losses(0, 28, 0.4), losses(28, 7, 0.4), floor=0.04, settings=SETTINGS)
    assert (found.state, found.reason) == ("UNKNOWN", "nothing is known of what was served a year ago")


def test_an_older_model_wins_by_the_same_days_alone() -> None:
    champion = losses(0, 12, 0.5)
    storms = {k: v + (1.0 if i in (3, 4) else 0.0) for i, (k, v) in enumerate(champion.items())}
    better = {k: v - 0.1 for k, v in storms.items()}
    found = older_model("v2", storms, better, floor=0.05, level=0.01)
    assert (found.state, found.subject) == ("FAIL", "v2") and abs((found.estimate or 0) - 0.1) < 1e-9
    assert older_model("v2", better, storms, floor=0.05, level=0.01).state == "PASS"
    assert older_model("v2", storms, better, floor=0.15, level=0.01).state == "PASS", "less than counts"
    few = dict(list(storms.items())[:5])
    assert older_model("v2", few, better, floor=0.05, level=0.01).state == "UNDERPOWERED"
    assert older_model("v2", {}, better, floor=0.05, level=0.01).state == "UNKNOWN"


# --- the features of two years ----------------------------------------------------------------------

FEATURES = [FeatureConfig(name="warmth"), FeatureConfig(name="weight")]


def two_years(first: date, days: int, moved: float = 0.0) -> pd.DataFrame:
    """Warmth comes back every year; ``moved`` is what does not."""
    frames = []
    for day in (first + timedelta(days=d) for d in range(days)):
        rng = np.random.default_rng(day.toordinal())
        warmth = 3 * np.sin(2 * np.pi * day.timetuple().tm_yday / 365) + rng.normal(0, 0.05)
        frame = {
            "warmth": rng.normal(warmth, 1, 300),
            "weight": rng.normal(moved + rng.normal(0, 0.1), 1, 300),
        }
        frames.append(pd.DataFrame({"partition_key": day.isoformat(), "score": 0.2, **frame}))
    return pd.concat(frames, ignore_index=True)


def against(reference: pd.DataFrame, current: pd.DataFrame) -> Finding:
    report = covariate_shift(reference, current, features=FEATURES, score="score", settings=SETTINGS)
    return next(f for f in report.findings.items if f.statistic == "domain_auc")


def second_reference(moved: float = 0.0) -> Finding:
    """A week of July 2025 against a recent reference, and against four weeks around it in 2024."""
    current = two_years(date(2025, 7, 1), 7, moved)
    then = two_years(date(2024, 6, 21), 28)
    return same_season(against(two_years(date(2025, 1, 10), 28), current), against(then, current))


def test_a_drift_that_a_year_ago_had_too_is_the_seasons() -> None:
    found = second_reference()
    assert (found.statistic, found.state) == ("same_season", "FAIL")
    assert "the drift is the season's" in found.detail and found.blocks == 35
    assert abs((found.estimate or 0) - 0.5) < 0.1, "the estimate is that against the season"


def test_more_than_the_season_is_no_season() -> None:
    found = second_reference(moved=2.0)
    assert found.state == "PASS" and "more than the season drifted" in found.detail


def test_without_a_drift_there_is_no_season_to_explain() -> None:
    calm = Finding("domain_auc", "all", "PASS", "it did not", 0.51)
    found = same_season(calm, Finding("domain_auc", "all", "FAIL", "unlike a year ago", 0.9))
    assert found.state == "PASS" and "there is no drift" in found.detail


def test_a_second_reference_that_was_not_judged_explains_nothing() -> None:
    drifted = Finding("domain_auc", "all", "FAIL", "it drifted", 0.9)
    unknown = same_season(drifted, Finding("domain_auc", "all", "UNKNOWN", "no rows"))
    assert unknown.state == "UNKNOWN" and "no rows" in unknown.detail
    weak = same_season(drifted, Finding("domain_auc", "all", "UNDERPOWERED", "few", 0.55))
    assert weak.state == "UNDERPOWERED" and "cannot be told" in weak.detail
