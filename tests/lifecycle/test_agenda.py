"""What is due next on the timeline."""

from datetime import timedelta

from library import NEXT_WEEK, SERVED, Library

from ml_platform.lifecycle.agenda import last_scored, next_due


def due(library: Library, *, may_advance: bool = False) -> tuple[str | None, str]:
    found = next_due(library.platform, library.use_case, may_advance=may_advance)
    return found.partition, found.reason


def test_nothing_is_due_without_a_champion(trained: Library) -> None:
    partition, reason = due(trained, may_advance=True)
    assert partition is None and "no champion yet" in reason
    assert last_scored(trained.platform, trained.target) is None


def test_the_week_after_the_last_one_scored_is_due_at_its_cutoff(served: Library) -> None:
    assert last_scored(served.platform, served.target) == SERVED[1]
    partition, reason = due(served)
    assert partition is None and reason.startswith(f"partition {NEXT_WEEK} is due at 2020-09-13T18:00")
    served.platform.clock(served.use_case).advance(timedelta(days=7))
    assert due(served)[0] == NEXT_WEEK


def test_on_a_replay_the_next_week_is_due_at_once(served: Library) -> None:
    assert due(served, may_advance=True)[0] == NEXT_WEEK


def test_weeks_that_were_missed_are_caught_up_in_order(served: Library) -> None:
    served.advance(4)
    assert due(served)[0] == NEXT_WEEK


def test_before_the_first_scoring_the_next_cutoff_counts(trained: Library, unchecked: None) -> None:
    assert trained.promote().outcome == "promoted"
    trained.platform.clock(trained.use_case).advance(timedelta(hours=1))
    assert due(trained, may_advance=True)[0] == SERVED[1], "the cutoff of the one before is past"


def test_the_timeline_ends(served: Library) -> None:
    scheme = served.use_case.scheme
    partitions = served.use_case.config.partitions.model_copy(update={"end": scheme.day(SERVED[1])})
    config = served.use_case.config.model_copy(update={"partitions": partitions})
    ended = type(served.use_case)(config, served.use_case.folder)
    found = next_due(served.platform, ended, may_advance=True)
    assert found.partition is None and "ends with 2020-09-07" in found.reason
