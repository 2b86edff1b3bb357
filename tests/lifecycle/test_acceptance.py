"""What landed is accepted, quarantined or held back, and the three add up."""

import pytest
from library import Library, open_library, slowed
from sqlalchemy import select

from ml_platform.errors import ConflictError
from ml_platform.lifecycle.acceptance import accept, profile_asset, quarantine_asset
from ml_platform.lifecycle.landing import land, landed_asset
from ml_platform.lifecycle.recorded import acceptance_totals
from ml_platform.lifecycle.views import accepted_asset
from ml_platform.storage.parquet import read_table
from ml_platform.storage.tables import Acceptance

EARLIER = ("2020-01-06", "2020-03-02")
WEEKS = ["2020-03-09", "2020-03-16", "2020-03-23"]
SHORT, DIRTY = "2020-03-16", "2020-03-23"
BAD = {"rows": {SHORT: 12}, "edits": {DIRTY: {"pages": {4: 9999, 7: 0, 11: -5}}}}


@pytest.fixture
def library(fresh: Library) -> Library:
    fresh.deliver("loans", fresh.weeks(*EARLIER))
    return fresh


def test_a_held_partition_stays_back_while_the_good_ones_of_the_range_go_on(library: Library) -> None:
    report = library.deliver("loans", WEEKS, **BAD)
    by_week = {p.partition: p for p in report.partitions}
    assert [by_week[w].status for w in WEEKS] == ["accepted", "held", "accepted"]
    assert by_week[SHORT].held == 12 and not by_week[SHORT].published and by_week[SHORT].reasons
    assert set(library.platform.ledger.heads(accepted_asset("loans"), WEEKS)) == set(WEEKS) - {SHORT}


def test_landed_is_accepted_and_quarantined_and_held(library: Library) -> None:
    report = library.deliver("loans", WEEKS, **BAD)
    landed = {p.partition: p.rows for p in library.platform.ledger.heads(landed_asset("loans")).values()}
    for each in report.partitions:
        assert each.landed == each.accepted + each.quarantined + each.held == landed[each.partition]
    assert report.total("quarantined") == 3 and report.total("held") == 12
    totals = acceptance_totals(library.platform, "loans")
    assert totals["landed"] == sum(landed.values())
    assert totals["landed"] == totals["accepted"] + totals["quarantined"] + totals["held"]
    assert "3 quarantined" in report.sentence() and "12 held back" in report.sentence()


def test_only_good_rows_reach_history_and_the_others_are_kept_aside(library: Library) -> None:
    library.deliver("loans", WEEKS, **BAD)
    ledger, lake = library.platform.ledger, library.platform.lake
    head, aside = ledger.head(accepted_asset("loans"), DIRTY), ledger.head(quarantine_asset("loans"), DIRTY)
    assert head is not None and aside is not None
    history, kept = read_table(lake.get(head.digest)), read_table(lake.get(aside.digest))
    assert history.num_rows == 87 and not {9999, 0, -5} & set(history["pages"].to_pylist())
    assert sorted(kept["value"].to_pylist()) == ["-5", "0", "9999"]


def test_a_held_revision_keeps_what_was_accepted_before(library: Library) -> None:
    library.deliver("loans", [SHORT])
    before = library.platform.ledger.head(accepted_asset("loans"), SHORT)
    report = library.deliver("loans", [SHORT], **BAD)
    after = library.platform.ledger.head(accepted_asset("loans"), SHORT)
    assert report.held == [SHORT] and before and after and after.id == before.id


def test_rules_are_summed_up_with_their_numbers(library: Library) -> None:
    rules = {r.name: r for r in library.deliver("loans", WEEKS, **BAD).rules}
    pages, rows = rules["pages_in_range"], rules["row_count_same_weekday"]
    assert (pages.state, pages.failed_rows, pages.failed_partitions) == ("FAIL", 3, (DIRTY,))
    assert rows.state == "FAIL" and rows.failed_partitions == (SHORT,) and "broken" in rows.sentence()
    assert all(r.state == "PASS" for r in rules.values() if r.name not in {pages.name, rows.name})


def test_a_delivery_is_judged_once(library: Library) -> None:
    assert library.deliver("loans", WEEKS).total("landed") == 270
    again = accept(library.platform, library.use_case, library.feed("loans"), library.now)
    assert again.partitions == ()


def test_of_two_deliveries_that_wait_the_later_one_counts(library: Library) -> None:
    feed = library.feed("loans", **BAD)
    land(library.platform, library.use_case, feed, [DIRTY], library.now)
    land(library.platform, library.use_case, library.feed("loans"), [DIRTY], library.now)
    report = accept(library.platform, library.use_case, feed, library.now)
    assert report.total("landed") == report.total("accepted") == 90


def test_every_verdict_is_kept_with_its_evidence(library: Library) -> None:
    library.deliver("loans", WEEKS, **BAD)
    with library.platform.ledger.begin() as session:
        rows = list(session.scalars(select(Acceptance).where(Acceptance.partition.in_(WEEKS))))
    assert {r.partition: r.status for r in rows} == dict(
        zip(WEEKS, ["accepted", "held", "accepted"], strict=True)
    )
    evidence = read_table(library.platform.lake.get(rows[0].evidence_digest or ""))
    failed = {(r["partition"], r["rule"]) for r in evidence.to_pylist() if r["state"] == "FAIL"}
    assert failed == {(SHORT, "row_count_same_weekday"), (DIRTY, "pages_in_range")}


def test_of_two_runs_that_accept_one_partition_one_wins(library: Library) -> None:
    feed = library.feed("loans")
    land(library.platform, library.use_case, feed, [DIRTY], library.now)
    other = open_library(library.platform.home)
    run = slowed(library, lambda: accept(other.platform, other.use_case, feed, other.now))
    with pytest.raises(ConflictError, match="another run"):
        accept(run.platform, run.use_case, feed, run.now)
    head = library.platform.ledger.head(accepted_asset("loans"), DIRTY)
    assert head is not None and head.rows == 90
    assert library.platform.ledger.requested() == [], "the loser leaves nothing behind"


def test_of_two_runs_that_land_one_partition_one_wins(library: Library) -> None:
    feed, other = library.feed("loans"), open_library(library.platform.home)
    first = library.feed("loans", rows={DIRTY: 80})
    run = slowed(library, lambda: land(other.platform, other.use_case, first, [DIRTY], other.now))
    with pytest.raises(ConflictError):
        land(run.platform, run.use_case, feed, [DIRTY], run.now)
    head = library.platform.ledger.head(landed_asset("loans"), DIRTY)
    assert head is not None and head.rows == 80


def test_a_profile_of_what_was_accepted_is_kept_as_evidence(library: Library) -> None:
    library.deliver("loans", WEEKS, **BAD)
    heads = library.platform.ledger.heads(profile_asset("loans"), WEEKS)
    assert set(heads) == set(WEEKS) - {SHORT}, "a partition that is held back has none"
    profile = read_table(library.platform.lake.get(heads[DIRTY].digest)).to_pylist()
    pages = next(r for r in profile if r["partition_key"] == DIRTY and r["column"] == "pages")
    accepted = library.platform.ledger.heads(accepted_asset("loans"), [DIRTY])[DIRTY]
    assert pages["rows"] == accepted.rows and pages["nulls"] == 0 and pages["minimum"] >= 1
