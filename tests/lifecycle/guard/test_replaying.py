"""A stretch of production played week by week: verdicts, and resumption."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from threading import current_thread
from typing import Any

import pytest
from guarded import FIRST, LAST, SNAPSHOT, Replayed, guarded, ledger_attempts, ledger_verdicts, rows_of
from library import Library, killed, open_library

from ml_platform.config import UseCase
from ml_platform.errors import PlatformError
from ml_platform.lifecycle import views
from ml_platform.lifecycle.guard import days, replaying
from ml_platform.lifecycle.guard.asked import FAILED, RUNNING
from ml_platform.lifecycle.guard.ingesting_ahead import Ingestion
from ml_platform.lifecycle.guard.replaying import replay
from ml_platform.lifecycle.guard.retraining import claim
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.views import accepted_asset
from ml_platform.limited import LimitError


class Dead(BaseException):
    """Stands for a power cut where a fork of this process, with its threads of OpenMP, would hang."""


@pytest.fixture(autouse=True)
def _unchecked(unchecked: None) -> None:
    """Bundles are checked in other tests."""


def test_each_week_gets_its_verdict_and_the_ledger_keeps_it(replayed: Replayed, lived: Library) -> None:
    weeks = lived.weeks(FIRST, LAST)
    assert [d.partition for d in replayed.days] == weeks and all(d.rows == 90 for d in replayed.days)
    assert replayed.days[0].note.startswith("promoted")
    kept = ledger_verdicts(lived)
    assert [v.id for v in kept] == [d.verdict for d in replayed.days if d.verdict]
    assert [v.as_of for v in kept] == [lived.use_case.cutoff(w) for w in weeks]
    assert {"wait_for_labels", "retrain"} <= {v.verdict for v in kept}
    done = [d for d in replayed.days if d.done]
    assert done and len(ledger_attempts(lived)) == len(done)
    for day in done:
        assert day.line.endswith(day.done)


def test_a_second_call_plays_nothing(lived: Library) -> None:
    before = len(ledger_verdicts(lived)), lived.now
    assert list(replay(lived.platform, guarded(lived), FIRST, LAST, ahead=False)) == []
    assert (len(ledger_verdicts(lived)), lived.now) == before


def test_a_replay_that_stopped_goes_on_and_ingestion_ahead_changes_nothing(
    early: Library, lived: Library
) -> None:
    """Stopped after three weeks, and played on with another process that ingests."""
    played = [d.partition for d in replay(early.platform, guarded(early), FIRST, LAST, ahead=True)]
    assert played == early.weeks(SNAPSHOT, LAST)[1:]
    assert rows_of(ledger_verdicts(early)) == rows_of(ledger_verdicts(lived))
    outcomes = [[(a.run_key, a.status, a.outcome) for a in ledger_attempts(x)] for x in (early, lived)]
    assert outcomes[0] and outcomes[0] == outcomes[1]


def test_a_week_in_which_the_replay_was_killed_is_played_again(early: Library) -> None:
    target, week = guarded(early), early.weeks(SNAPSHOT, LAST)[1]
    before = len(ledger_verdicts(early))
    early.close()

    def step(library: Library) -> None:
        list(replay(library.platform, target, FIRST, week, ahead=False))

    killed(early.platform.home, (days, "diagnose_now"), step)
    assert early.now == early.use_case.cutoff(week) and len(ledger_verdicts(early)) == before
    (day,) = replay(early.platform, target, FIRST, week, ahead=False)
    assert day.partition == week and day.rows == 90 and len(ledger_verdicts(early)) == before + 1


def test_an_action_that_a_kill_prevented_is_carried_out_on_resume(
    early: Library, lived: Library, replayed: Replayed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped dead between a verdict that asks for a retraining and the retraining: the end is the same."""
    week = next(d.partition for d in replayed.days if d.done)
    target, before = guarded(early), early.weeks(SNAPSHOT, week)[-2]
    list(replay(early.platform, target, FIRST, before, ahead=False))

    def dead(*_: object) -> None:
        raise Dead

    with monkeypatch.context() as patch, pytest.raises(Dead):
        patch.setattr(days, "consider", dead)
        list(replay(early.platform, target, FIRST, week, ahead=False))
    asking = ledger_verdicts(early)[-1]
    assert asking.as_of == early.use_case.cutoff(week) and ledger_attempts(early) == []
    (day,) = replay(early.platform, target, FIRST, week, ahead=False)
    assert (day.partition, day.diagnosed) == (asking.partition, None) and (day.attempt or day.refusal)
    assert day.note.startswith("retrain: ")
    (resumed,) = ledger_attempts(early)
    first = ledger_attempts(lived)[0]
    assert (resumed.run_key, resumed.status, resumed.outcome) == (first.run_key, first.status, first.outcome)
    assert list(replay(early.platform, target, FIRST, week, ahead=False)) == [], "and only once"


def test_an_attempt_that_a_killed_replay_left_running_refuses_no_other(early: Library) -> None:
    target, week = guarded(early), early.weeks(SNAPSHOT, LAST)[1]
    left = claim(early.platform, target, ledger_verdicts(early)[-1], 1, early.now)
    assert left.status == RUNNING
    list(replay(early.platform, target, FIRST, week, ahead=False))
    (found,) = ledger_attempts(early)
    assert (found.status, found.outcome) == (FAILED, "the replay that made it ended")


def test_a_wall_clock_cannot_be_replayed(lived: Library) -> None:
    config = lived.use_case.config
    timeline = config.timeline.model_copy(update={"clock": "wall"})
    use_case = type(lived.use_case)(config.model_copy(update={"timeline": timeline}), lived.use_case.folder)
    with pytest.raises(PlatformError, match="follows the wall clock"):
        list(replay(lived.platform, Target(use_case, lived.target.model), FIRST, LAST, ahead=False))


def test_what_was_computed_ahead_is_what_the_week_asks_for_and_changes_nothing(
    early: Library, lived: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the next week has been ingested its features and labels come from beside."""
    computed: list[tuple[str, datetime, str]] = []

    def watched(_: Platform, __: UseCase, view: str, keys: Sequence[str], as_of: datetime, *rest: Any) -> Any:
        computed.append((view, as_of, current_thread().name))
        return anew(_, __, view, keys, as_of, *rest)

    anew = views._computed  # type: ignore[attr-defined]
    monkeypatch.setattr(views, "_computed", watched)
    target, platform, use_case = guarded(early), early.platform, early.use_case
    first, second, third = early.weeks(SNAPSHOT, LAST)[1:4]
    for week in (first, second, third):
        ingest(platform, use_case, [week], use_case.cutoff(week))
    ingestion = Ingestion(platform, use_case, [first, second, third], ahead=True)
    ingestion.done |= {first, second}
    with (
        platform.keeping_feeds(),
        replaying._ViewsAhead(platform, target, ingestion, [first, second, third]) as ahead,
    ):
        for week in (first, second, third):
            platform.clock(use_case).set(use_case.cutoff(week))
            ahead.foresee(week)
            days.play_day(platform, target, week, use_case.cutoff(week))
    assert platform.foreseen == {} and platform.kept_feeds == {}
    here = current_thread().name
    beside = {(view, as_of) for view, as_of, thread in computed if thread != here}
    then = use_case.cutoff(second)
    assert beside == {("features", then), ("labels", then)}, "the third had not been ingested"
    assert not {(view, as_of) for view, as_of, thread in computed if thread == here} & beside
    played = rows_of(ledger_verdicts(early))
    assert played == rows_of(ledger_verdicts(lived))[: len(played)]


PARENT = """
import sys, time
from ml_platform.lifecycle.guard.ingesting_ahead import Ingestion
from ml_platform.lifecycle.platform import Platform

if __name__ == "__main__":
    platform = Platform()
    use_case = platform.use_case("library_loans")
    with Ingestion(platform, use_case, [sys.argv[1]], ahead=True):
        time.sleep(120)
"""
LOOP = """
    import os
    open({file!r}, "w").write(str(os.getpid()))
    while True:
        pass
"""


def looping(own_use_case: Path, code: str) -> None:
    """The feed's code runs this first."""
    feeds = own_use_case / "feeds.py"
    text, head = feeds.read_text(), "def read_loans(request):\n"
    assert head in text
    feeds.write_text(text.replace(head, head + code))


def test_a_replay_past_the_limits_of_a_run_ends_and_says_why(own_use_case: Path, tmp_path: Path) -> None:
    looping(own_use_case, LOOP.format(file=str(tmp_path / "pid")))
    with (own_use_case / "use_case.yaml").open("a") as file:
        file.write("limits: {run_time: PT1S}\n")
    library = open_library(tmp_path / "home")

    with pytest.raises(LimitError, match="landing what came before took longer than 1 s") as caught:
        list(replay(library.platform, guarded(library), FIRST, LAST))

    assert caught.value.where == f"limits.run_time in {own_use_case / 'use_case.yaml'}"
    assert library.platform.ledger.heads(accepted_asset("loans")) == {}


def test_feed_code_that_loops_does_not_outlive_a_replay_that_was_killed(
    own_use_case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "pid"
    looping(own_use_case, LOOP.format(file=str(told)))
    monkeypatch.setenv("ML_PLATFORM_HOME", str(tmp_path / "home"))
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script), FIRST])
    child = int(eventually(lambda: told.exists() and told.read_text()))
    assert works(child)

    parent.kill()
    parent.wait(30)

    eventually(lambda: not works(child))


def works(process: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def eventually(found: Callable[[], Any], seconds: float = 60) -> Any:
    """What is found within some seconds."""
    until = time.monotonic() + seconds
    while not (there := found()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return there
