"""Features and labels: one object per partition, point in time, built alone or with others alike."""

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest
from library import SERVED, Library, open_library, slowed

from ml_platform.errors import ConflictError, StoreError
from ml_platform.lifecycle import views
from ml_platform.storage.parquet import read_table, write_table

WEEK = "2020-07-06"


def published(library: Library, view: str, week: str) -> pa.Table:
    head = library.platform.ledger.head(f"{library.use_case.name}/{view}", week)
    assert head is not None
    return read_table(library.platform.lake.get(head.digest))


def computed(library: Library, view: views.ViewName, weeks: list[str]) -> dict[str, bytes]:
    tables = views.compute(library.platform, library.use_case, view, weeks, library.now)
    return {week: write_table(table) for week, table in tables.items()}


def test_one_partition_alone_is_bit_for_bit_what_it_was_among_many(trained: Library) -> None:
    alone = computed(trained, "features", [WEEK])[WEEK]
    assert alone == write_table(published(trained, "features", WEEK))
    table = read_table(alone)
    assert table.num_rows == 90 and table["branch_late_rate"].null_count == 0


def test_what_has_not_changed_keeps_its_publication(trained: Library) -> None:
    asset = f"{trained.use_case.name}/features"
    before = trained.platform.ledger.head(asset, WEEK)
    assert [p.status for p in trained.build("features", [WEEK])] == ["unchanged"]
    after = trained.platform.ledger.head(asset, WEEK)
    assert before is not None and after is not None and before.id == after.id


def test_partitions_to_come_are_not_built_and_said_so(trained: Library) -> None:
    done = trained.build("features", [SERVED[0], SERVED[1]])
    assert {p.partition: p.status for p in done} == {SERVED[0]: "unchanged", SERVED[1]: "not_reached"}


def test_a_partition_whose_feed_was_held_back_is_empty_and_not_published(served: Library) -> None:
    week = "2020-09-14"
    served.advance(2)
    assert served.deliver("loans", [week], rows={week: 9}).held == [week]
    done = served.build("features", [SERVED[1], week])
    assert {p.partition: p.status for p in done} == {SERVED[1]: "new", week: "empty"}
    assert served.platform.ledger.head(f"{served.use_case.name}/features", week) is None


def test_later_outcomes_and_revisions_reach_labels_but_no_past_feature(served: Library) -> None:
    weeks = served.weeks("2020-07-06", "2020-08-31")
    features = computed(served, "features", weeks)
    label = published(served, "labels", WEEK)
    late = {"edits": {WEEK: {"returned": {0: served.now.replace(month=7, day=30)}}}}
    served.advance(2)
    report = served.deliver("returns", [WEEK], **late)
    assert sum(p.counts.changed for p in report.partitions if p.counts) == 1
    assert computed(served, "features", weeks) == features
    again = read_table(computed(served, "labels", [WEEK])[WEEK])
    assert again["returned_at"].to_pylist() != label["returned_at"].to_pylist()


def test_labels_of_unknown_outcomes_are_null_and_counted_when_they_come(served: Library) -> None:
    week = SERVED[0]
    early = served.build("labels", [week])[0]
    assert early.details["mature"] is False and early.details["known"]["late"] < 90
    assert published(served, "labels", week)["late"].null_count == 90 - early.details["known"]["late"]
    served.advance(3)
    served.deliver("returns", served.weeks(week, "2020-09-28"))
    later = served.build("labels", [week])[0]
    assert later.status == "new" and later.details["mature"] is True and later.details["known"]["late"] == 90


def test_of_two_runs_that_publish_one_partition_one_wins(served: Library) -> None:
    week, other = SERVED[1], open_library(served.platform.home)
    run = slowed(served, lambda: other.build("features", [week]))
    with pytest.raises(ConflictError):
        run.build("features", [week])
    assert published(served, "features", week).num_rows == 90
    assert served.platform.ledger.requested() == []


def test_what_was_foreseen_is_handed_out_once_and_to_the_same_question_only(served: Library) -> None:
    platform, use_case = served.platform, served.use_case
    with ThreadPoolExecutor(1) as beside:
        views.foresee(platform, use_case, "features", SERVED, served.now, beside)
        (foreseen,) = platform.foreseen.values()
        for view, weeks in (("labels", SERVED), ("features", SERVED[:1])):
            views.compute(platform, use_case, view, weeks, served.now)  # type: ignore[arg-type]
        assert len(platform.foreseen) == 1
        found = views.compute(platform, use_case, "features", SERVED, served.now)
    assert found is foreseen.result() and platform.foreseen == {}
    assert views.compute(platform, use_case, "features", SERVED, served.now) == found


def test_an_error_of_what_was_foreseen_is_raised_to_who_asks(
    served: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> object:
        raise StoreError("no such file", where="lake")

    monkeypatch.setattr(views, "warehouse", broken)
    with ThreadPoolExecutor(1) as beside:
        views.foresee(served.platform, served.use_case, "labels", SERVED, served.now, beside)
        with pytest.raises(StoreError, match="no such file"):
            views.compute(served.platform, served.use_case, "labels", SERVED, served.now)
