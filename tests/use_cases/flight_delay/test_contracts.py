"""The six contracts: they hold for the real feeds, and find what is wrong in them."""

from collections import Counter

import pytest
from open_data_contract_standard.model import OpenDataContractStandard

from ml_platform.config import UseCase
from ml_platform.contracts.accept import Acceptance, AcceptanceContext, check
from ml_platform.contracts.model import Contract
from ml_platform.contracts.parse import load_contract

from .conftest import Read

FEEDS = ("flight_schedule", "weather_observations", "flight_outcomes", "planes", "airports", "airlines")
DAILY = FEEDS[:3]


def contract(use_case: UseCase, feed: str) -> Contract:
    return load_contract(use_case.contracts_dir / f"{feed}.yaml")


def accept(use_case: UseCase, read: Read, feed: str, *days: str) -> Acceptance:
    table = read(feed, min(days), max(days)) if days else read(feed)
    keys = tuple(use_case.scheme.keys(min(days), max(days))) if days else ("static",)
    return check(contract(use_case, feed), table, AcceptanceContext(keys, frozenset(keys)))


def outcome(acceptance: Acceptance) -> tuple[Counter[str], list[tuple[str, str, str]], list[str]]:
    """Rows by what became of them, quarantined rows, and reasons why partitions are held back."""
    rows: Counter[str] = Counter()
    quarantined, reasons = [], []
    for key, part in acceptance.partitions.items():
        rows["landed"] += part.landed_rows
        rows["accepted"] += part.accepted.num_rows
        rows["quarantined"] += part.quarantined.num_rows
        rows["held"] += part.held.num_rows
        quarantined += [(key, r["rule"], r["value"]) for r in part.quarantined.to_pylist()]
        reasons += part.reasons
    return rows, quarantined, reasons


def test_there_is_one_for_each_feed_and_no_other(use_case: UseCase) -> None:
    assert {f.name for f in use_case.config.feeds} == set(FEEDS)
    assert {p.stem for p in use_case.contracts_dir.glob("*.yaml")} == set(FEEDS)


@pytest.mark.parametrize("feed", FEEDS)
def test_it_is_a_whole_odcs_contract(use_case: UseCase, feed: str) -> None:
    document = OpenDataContractStandard.from_file(str(use_case.contracts_dir / f"{feed}.yaml"))
    assert document.kind == "DataContract" and document.slaProperties
    ours = contract(use_case, feed)
    assert ours.name == feed and ours.owner and ours.description and ours.key
    for column in ours.columns:
        assert column.description and column.classification, column.name


@pytest.mark.parametrize("feed", FEEDS)
def test_it_promises_the_columns_that_the_reader_returns(use_case: UseCase, read: Read, feed: str) -> None:
    table = read(feed, "2013-06-09", "2013-06-09")
    assert set(contract(use_case, feed).column_names) == set(table.column_names) - {
        "partition_key",
        "known_at",
    }


@pytest.mark.parametrize("feed", DAILY)
def test_the_key_of_flights_and_hours_is_the_contracts(use_case: UseCase, feed: str) -> None:
    expected = ["origin", "observed_at"] if feed.startswith("weather") else list(use_case.config.views.key)
    assert contract(use_case, feed).key == expected


@pytest.mark.parametrize("feed", DAILY)
def test_ordinary_days_the_change_of_clocks_included_are_accepted_whole(
    use_case: UseCase, read: Read, feed: str
) -> None:
    for days in (("2013-03-09", "2013-03-11"), ("2013-11-02", "2013-11-04")):
        rows, quarantined, reasons = outcome(accept(use_case, read, feed, *days))
        assert rows["landed"] > 200 and rows["accepted"] == rows["landed"]
        assert not quarantined and not reasons


def test_a_snow_storm_is_accepted_with_a_warning(use_case: UseCase, read: Read) -> None:
    acceptance = accept(use_case, read, "flight_outcomes", "2013-02-02", "2013-02-09")
    rows, quarantined, reasons = outcome(acceptance)
    assert rows["accepted"] == rows["landed"] and not quarantined and not reasons
    states = {r.rule: r.state for r in acceptance.partitions["2013-02-09"].results}
    assert states["tailnum_by_origin"] == "FAIL"
    calm = {r.rule: r.state for r in acceptance.partitions["2013-02-07"].results}
    assert calm["tailnum_by_origin"] == "PASS"


def test_a_wind_of_a_thousand_miles_an_hour_is_quarantined(use_case: UseCase, read: Read) -> None:
    rows, quarantined, _ = outcome(accept(use_case, read, "weather_observations", "2013-02-12"))
    assert quarantined == [("2013-02-12", "wind_speed_range", "1048.36058")]
    assert rows["accepted"] == rows["landed"] - 1


def test_a_hop_between_new_york_airports_is_quarantined(use_case: UseCase, read: Read) -> None:
    _, quarantined, _ = outcome(accept(use_case, read, "flight_schedule", "2013-07-27"))
    assert quarantined == [("2013-07-27", "dest_outside_new_york", '"LGA"')]


def test_airports_with_a_wrong_place_are_quarantined_and_no_flight_goes_there(
    use_case: UseCase, read: Read
) -> None:
    acceptance = accept(use_case, read, "airports")
    rows, quarantined, reasons = outcome(acceptance)
    assert Counter(rule for _, rule, _ in quarantined) == {"tzone_pattern": 2, "lat_range": 1} and not reasons
    accepted = set(acceptance.partitions["static"].accepted["faa"].to_pylist())
    assert {"DVT", "MYF", "EEN"}.isdisjoint(accepted)
    assert set(read("flight_schedule")["dest"].unique().to_pylist()) - {"LGA"} <= accepted
    assert rows["accepted"] == 1459


@pytest.mark.parametrize("feed", ["planes", "airlines"])
def test_the_other_reference_feeds_are_accepted_whole(use_case: UseCase, read: Read, feed: str) -> None:
    rows, quarantined, reasons = outcome(accept(use_case, read, feed))
    assert rows["accepted"] == rows["landed"] > 10 and not quarantined and not reasons


def test_a_truncated_reference_feed_is_held_back(use_case: UseCase, read: Read) -> None:
    context = AcceptanceContext(("static",), frozenset({"static"}))
    acceptance = check(contract(use_case, "planes"), read("planes").slice(0, 20), context)
    assert acceptance.partitions["static"].held.num_rows == 20


def test_the_catalogue_says_that_reporting_times_are_made(use_case: UseCase) -> None:
    contract = load_contract(use_case.contracts_dir / "flight_outcomes.yaml")
    assert "The source holds no reporting time" in contract.description
