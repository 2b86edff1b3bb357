"""The cache follows the ledger: written aside, read back, then published."""

import pytest
from library import MODEL, NEXT_WEEK, SERVED, Library, killed, open_library, slowed

from ml_platform.errors import ConflictError, IntegrityError, NoChampionError, NotFoundError, StoreError
from ml_platform.lifecycle import caching, doctor, scoring
from ml_platform.lifecycle.platform import Target
from ml_platform.lifecycle.reading import client
from ml_platform.serving.generations import Generation

CLOSED = "redis://127.0.0.1:9/0"


def generation(library: Library) -> Generation:
    row = caching.committed_generation(library.platform, MODEL)
    assert row is not None
    return caching.as_generation(row)


def key(library: Library, week: str) -> str:
    segment = generation(library).by_partition[week].segment_id
    return library.platform.cache.neighbours(segment, f"{week}/", 1)[0]


def otherwise(library: Library) -> Target:
    """The model with another threshold, so that scoring again gives a new revision."""
    decision = library.target.model.serving.decision.model_copy(update={"threshold": 0.9})
    return library.model(serving={"decision": decision})


def score_again(library: Library, week: str) -> None:
    assert scoring.score(library.platform, otherwise(library), [week], library.now)[0].status == "new"


def next_week(library: Library) -> None:
    """A week on, scored but not yet served."""
    library.platform.clock(library.use_case).set(library.use_case.cutoff(NEXT_WEEK))
    library.deliver_all([NEXT_WEEK])
    library.score(NEXT_WEEK)


def test_what_is_served_is_read_back(served: Library) -> None:
    report = served.serve()
    assert (report.new, report.written, report.rows, report.segments) == (False, 0, 180, 2)
    assert report.served_partition == SERVED[1]
    asked, decision = report.sample
    prediction = client(served.platform).get(MODEL, asked)
    table = scoring.predictions(served.platform, served.target, [SERVED[1]])
    assert table is not None and prediction.record.decision == decision
    assert prediction.record.probability in table["probability"].to_pylist()
    assert prediction.record.model_version == 1


def test_a_week_on_a_generation_is_added_and_the_oldest_are_dropped(succeeded: Library) -> None:
    assert [s.partition_key for s in generation(succeeded).segments] == [*SERVED, NEXT_WEEK]
    assert len(succeeded.platform.cache.manifests(MODEL)) == 2, "keep_generations"
    week = "2020-09-21"
    succeeded.serve_week(week)
    assert [s.partition_key for s in generation(succeeded).segments] == [SERVED[1], NEXT_WEEK, week]


def test_an_older_day_scored_again_does_not_move_the_served_day_backwards(served: Library) -> None:
    before = generation(served)
    score_again(served, SERVED[0])
    report = caching.refresh(served.platform, otherwise(served), served.now)
    after = generation(served)
    assert report.new and report.written == 2, "another threshold is said in each record"
    assert after.id != before.id and after.served_partition == before.served_partition == SERVED[1]
    record = client(served.platform).get(MODEL, key(served, SERVED[0])).record
    assert record.revision == 2 and record.threshold == 0.9


def test_a_day_older_than_the_window_changes_nothing(succeeded: Library) -> None:
    succeeded.serve_week("2020-09-21")
    before = generation(succeeded)
    score_again(succeeded, SERVED[0])
    assert not succeeded.serve().new and generation(succeeded).id == before.id


def test_nothing_is_served_without_a_champion(trained: Library) -> None:
    with pytest.raises(NoChampionError):
        trained.serve()
    with pytest.raises(Exception, match="no published generation"):
        client(trained.platform).get(MODEL, "x")


def test_a_key_that_is_not_there_is_told_with_its_neighbours(served: Library) -> None:
    with pytest.raises(NotFoundError, match=f"keys nearby: {SERVED[1]}/"):
        client(served.platform).get(MODEL, f"{SERVED[1]}/harbour/9999")


def test_a_cache_that_is_down_changes_nothing_in_the_ledger(served: Library) -> None:
    before = generation(served)
    next_week(served)
    run = open_library(served.platform.home, ML_PLATFORM_CACHE=CLOSED)
    with pytest.raises(StoreError):
        run.serve()
    assert generation(served).id == before.id and not doctor_repairs(served)
    assert client(served.platform).get(MODEL, key(served, SERVED[1])).generation.id == before.id
    assert served.serve().served_partition == NEXT_WEEK


def test_of_two_runs_that_publish_a_generation_one_wins(served: Library) -> None:
    next_week(served)
    other = open_library(served.platform.home)
    run = slowed(served, other.serve)
    run.platform.__dict__["cache"] = other.platform.cache
    with pytest.raises(ConflictError, match="another run has published a generation"):
        run.serve()
    assert generation(served).served_partition == NEXT_WEEK
    assert other.platform.cache.current(MODEL) == generation(served).id
    assert not doctor_repairs(served), "the loser leaves nothing to repair"


def test_a_kill_before_the_generation_is_published_serves_the_last_one(served: Library) -> None:
    before = generation(served)
    next_week(served)
    killed(served.platform.home, (caching, "_commit"), Library.serve)
    after = open_library(served.platform.home)
    assert generation(after).id == before.id == after.platform.cache.current(MODEL)
    assert client(after.platform).get(MODEL, key(after, SERVED[1])).generation.id == before.id
    assert any("1 unfinished" in what for what in doctor_repairs(after))
    assert generation(after).id == before.id
    report = after.serve()
    assert report.new and report.served_partition == NEXT_WEEK and report.written == 0


def test_a_kill_after_the_ledger_decided_is_caught_up_by_readers_and_doctor(served: Library) -> None:
    before = generation(served)
    next_week(served)
    killed(served.platform.home, (caching, "project"), Library.serve)
    after = open_library(served.platform.home)
    decided = generation(after)
    assert decided.id != before.id and after.platform.cache.current(MODEL) == before.id
    assert client(after.platform).get(MODEL, key(after, NEXT_WEEK)).generation.id == decided.id
    assert any(f"serves generation {decided.id} again" in what for what in doctor_repairs(after))
    assert after.platform.cache.current(MODEL) == decided.id


def test_a_spoilt_segment_is_found_out_and_the_doctor_writes_it_again(served: Library) -> None:
    asked, cache = key(served, SERVED[1]), served.platform.cache
    segment = generation(served).by_partition[SERVED[1]]
    keys = cache.neighbours(segment.segment_id, SERVED[1], 200)
    whole = zip(keys, cache.read([(segment.segment_id, k) for k in keys]), strict=True)
    spoilt = [(k, (value or b"").replace(b"0.", b"1.")) for k, value in whole]
    assert cache.write_segment(segment.segment_id, spoilt) == 90
    with pytest.raises(IntegrityError, match="corrupt"):
        client(served.platform).get(MODEL, asked)
    assert any("1 segment(s) written" in what for what in doctor_repairs(served))
    assert client(served.platform).get(MODEL, asked).record.probability < 1


def test_a_lost_segment_is_an_error_until_it_is_written_again(served: Library) -> None:
    asked, segment = key(served, SERVED[1]), generation(served).by_partition[SERVED[1]]
    served.platform.cache.write_segment(segment.segment_id, [])
    with pytest.raises(IntegrityError, match="has 0 of 90 rows"):
        client(served.platform).get(MODEL, asked)
    assert served.serve().written == 1
    assert client(served.platform).get(MODEL, asked).record.key == asked


def doctor_repairs(library: Library) -> list[str]:
    return [f.what for f in doctor.examine(library.platform) if f.state == "repaired"]
