"""Quarantined rows can be seen, and come back after a fix without changing the past."""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from library import Library, open_library

from ml_platform.errors import NotFoundError, PartitionError
from ml_platform.ingestion.history import FAR_FUTURE
from ml_platform.lifecycle import quarantine
from ml_platform.lifecycle.contract_changes import contract_changes
from ml_platform.lifecycle.homes import copy_home
from ml_platform.lifecycle.views import accepted_asset, compute
from ml_platform.storage.parquet import read_table, write_table

WEEK, SHORT = "2020-03-23", "2020-03-30"
PAST = ["2020-03-09", "2020-03-16", WEEK, SHORT, "2020-04-06"]
BAD = {"edits": {WEEK: {"pages": {4: 2500, 7: 3000}}}, "rows": {SHORT: 20}}


@pytest.fixture(scope="module")
def spoilt_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weeks with two rows in quarantine and one week held back."""
    home = tmp_path_factory.mktemp("spoilt") / "home"
    library = open_library(home)
    library.deliver("loans", library.weeks("2020-01-06", "2020-03-16"))
    library.deliver("loans", [WEEK, SHORT], **BAD)
    library.deliver("loans", ["2020-04-06"])
    for name in ("returns", "branches"):
        library.deliver(name, library.weeks("2020-01-06", "2020-04-06"))
    library.close()
    return home


@pytest.fixture
def library(spoilt_home: Path, own_use_case: Path, tmp_path: Path) -> Library:
    return open_library(copy_home(spoilt_home, tmp_path / "home"))


def relax(use_case: Path) -> None:
    contract = use_case / "contracts" / "loans.yaml"
    text = contract.read_text()
    for strict, lax in (
        ("max_value: 2000", "max_value: 9000"),
        ("warn_deviation: 0.10", "warn_deviation: 0.9"),
        ("hold_below: 0.5", "hold_below: 0.1"),
    ):
        assert strict in text
        text = text.replace(strict, lax)
    contract.write_text(text)


def features(library: Library) -> dict[str, bytes]:
    tables = compute(library.platform, library.use_case, "features", PAST, library.now)
    return {week: write_table(table) for week, table in tables.items()}


def test_what_is_kept_out_is_listed_with_its_reason(library: Library) -> None:
    listed = {(s.partition, s.rows, s.reasons) for s in quarantine.summary(library.platform)}
    assert {(p, n) for p, n, _ in listed} == {(WEEK, 2), (SHORT, 20)}
    (rule,), (held,) = ([r for p, _, r in listed if p == week] for week in (WEEK, SHORT))
    assert rule == "pages_in_range"
    assert held.startswith("held back: row_count_same_weekday (20 rows")
    assert quarantine.summary(library.platform, "returns") == []


def test_a_quarantined_row_keeps_rule_value_reason_and_itself(library: Library) -> None:
    rows = quarantine.rows(library.platform, "loans", WEEK).to_pylist()
    assert [(r["rule"], r["column"], r["value"]) for r in rows] == [
        ("pages_in_range", "pages", "2500"),
        ("pages_in_range", "pages", "3000"),
    ]
    assert "2000" in rows[0]["reason"] and '"loan_no": 4' in rows[0]["row"]
    assert quarantine.rows(library.platform, "returns").num_rows == 0


def test_a_replay_accepts_later_and_changes_no_past_feature(library: Library, own_use_case: Path) -> None:
    before = features(library)
    relax(own_use_case)
    library.advance()
    report = quarantine.replay(library.platform, "loans", WEEK)
    assert [(p.partition, p.accepted, p.quarantined) for p in report.partitions] == [(WEEK, 90, 0)]
    head = library.platform.ledger.head(accepted_asset("loans"), WEEK)
    assert head is not None
    history = read_table(library.platform.lake.get(head.digest)).to_pylist()
    late = [r for r in history if r["pages"] > 2000]
    assert len(late) == 2 and all(r["accepted_at"] == r["visible_from"] == library.now for r in late)
    assert all(r["accepted_at"] < library.now for r in history if r["pages"] <= 2000)
    assert features(library) == before
    assert WEEK not in {s.partition for s in quarantine.summary(library.platform)}


def test_a_held_partition_is_replayed_as_of_now(library: Library, own_use_case: Path) -> None:
    before = features(library)
    relax(own_use_case)
    library.advance()
    report = quarantine.replay(library.platform, "loans", SHORT)
    assert report.total("accepted") == 20 and report.held == []
    head = library.platform.ledger.head(accepted_asset("loans"), SHORT)
    assert head is not None
    assert set(read_table(library.platform.lake.get(head.digest))["visible_from"].to_pylist()) == {
        library.now
    }
    assert features(library) == before, "the week's cutoff is past: it stays without features"


def test_a_replay_without_a_fix_lets_nothing_in(library: Library) -> None:
    library.advance()
    report = quarantine.replay(library.platform, "loans")
    assert report.total("quarantined") == 2 and report.held == [SHORT]
    assert {s.partition for s in quarantine.summary(library.platform)} == {WEEK, SHORT}


def test_a_corrected_delivery_empties_the_quarantine(library: Library) -> None:
    library.platform.clock(library.use_case).advance(timedelta(hours=1))
    report = library.deliver("loans", [WEEK])
    assert report.total("accepted") == 90
    assert WEEK not in {s.partition for s in quarantine.summary(library.platform)}


def test_partitions_are_read_as_people_write_them(library: Library) -> None:
    assert quarantine.rows(library.platform, "loans", "2020-W13").num_rows == 2
    assert quarantine.rows(library.platform, "branches", "static").num_rows == 0
    for wrong, why in (
        ("soon", "is not a partition key"),
        ("2020-03-25", "first day of"),
        ("2031-W02", "outside"),
    ):
        for asked in (quarantine.rows, quarantine.replay):
            with pytest.raises(PartitionError, match=why):
                asked(library.platform, "loans", wrong)
    with pytest.raises(NotFoundError, match=r"nothing waits to be replayed.*\n.*loans, 2020-03-16"):
        quarantine.replay(library.platform, "loans", "2020-W12")
    library.advance()
    report = quarantine.replay(library.platform, "loans", "2020-W13")
    assert [p.partition for p in report.partitions] == [WEEK]


def test_a_replay_of_nothing_says_so(library: Library) -> None:
    with pytest.raises(NotFoundError, match="nothing waits"):
        quarantine.replay(library.platform, "returns")
    with pytest.raises(NotFoundError, match=r"choose one of: .*\bbranches"):
        quarantine.replay(library.platform, "no_such_feed")


def test_what_another_contract_accepted_is_judged_again_and_withdrawn_from_now_on(
    library: Library, own_use_case: Path
) -> None:
    before, weeks = features(library), library.weeks("2020-01-06", "2020-04-06")
    contract = own_use_case / "contracts" / "loans.yaml"
    contract.write_text(contract.read_text().replace("max_value: 2000", "max_value: 500"))
    library.advance()
    with pytest.raises(NotFoundError, match="--accepted judges what was accepted"):
        quarantine.replay(library.platform, "loans", weeks[0])

    report = quarantine.replay(library.platform, "loans", accepted=True)

    assert report.held == [SHORT] and len(report.partitions) == len(weeks)
    heads = library.platform.ledger.heads(accepted_asset("loans"))
    history = pa.concat_tables(read_table(library.platform.lake.get(h.digest)) for h in heads.values())
    too_long = [r for r in history.to_pylist() if r["pages"] > 500]
    assert report.withdrawn == len(too_long) > 0
    assert f"{report.withdrawn:,} accepted rows are withdrawn" in report.sentence()
    assert {r["visible_to"] for r in too_long} == {library.now}
    assert {r["visible_to"] for r in history.to_pylist() if r["pages"] <= 500} == {FAR_FUTURE}
    assert features(library) == before, "what was served then stays"
    assert contract_changes(library.platform, library.use_case) == []
    assert sum(s.rows for s in quarantine.summary(library.platform, "loans")) == report.withdrawn + 2 + 20
    assert quarantine.replay(library.platform, "loans", accepted=True).withdrawn == 0


def test_a_partition_that_loses_all_rows_is_not_told_again(library: Library, own_use_case: Path) -> None:
    contract = own_use_case / "contracts" / "loans.yaml"
    contract.write_text(contract.read_text().replace("max_value: 2000", "max_value: 1"))
    library.advance()
    assert contract_changes(library.platform, library.use_case) != []

    report = quarantine.replay(library.platform, "loans", accepted=True)

    assert report.withdrawn > 0 and report.total("accepted") == 0
    assert contract_changes(library.platform, library.use_case) == []
    assert sum(s.rows for s in quarantine.summary(library.platform, "loans")) == report.total("landed")


def test_the_first_load_that_is_let_in_is_a_first_load(fresh: Library, own_use_case: Path) -> None:
    """A contract that held all of it back was wrong from the start, and nobody has seen a row."""
    contract = own_use_case / "contracts" / "loans.yaml"
    text = contract.read_text()
    contract.write_text(text.replace("      - name: pages\n", "      - name: sheets\n"))
    library = open_library(fresh.platform.home)
    assert library.deliver("loans", [WEEK, SHORT]).held == [WEEK, SHORT]
    library.advance()

    contract.write_text(text)
    report = quarantine.replay(library.platform, "loans")

    assert report.held == [] and report.total("accepted") == 180
    head = library.platform.ledger.head(accepted_asset("loans"), WEEK)
    assert head is not None
    seen = read_table(library.platform.lake.get(head.digest))["visible_from"].to_pylist()
    assert max(seen) < library.use_case.cutoff(WEEK), "as it would have come day by day"
