"""The world of a drill: whole partitions permuted, moved, changed from the onset on, cut by as_of."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from library import FOLDER, NAME

from ml_platform.config import UseCase, load_use_case
from ml_platform.errors import ConfigError
from ml_platform.ingestion.reader import INSTANT, KNOWN_AT, PARTITION_KEY, read_feed
from ml_platform.lifecycle.drills import world as world_module
from ml_platform.lifecycle.drills.mapping import DrillMap, drill_map
from ml_platform.lifecycle.drills.scenario import DrillContext, Scenario, with_column
from ml_platform.lifecycle.drills.world import Feeds, World, first_told, last_told, moved, permutation
from ml_platform.lifecycle.platform import Target
from ml_platform.partitions import PartitionScheme

DAILY = PartitionScheme("daily", "America/New_York", date(2013, 1, 1), date(2013, 12, 31))
WEEKS = ["2020-08-31", "2020-09-07", "2020-09-14"]


@pytest.fixture(scope="module")
def use_case() -> UseCase:
    return load_use_case(FOLDER / NAME / "use_case.yaml")


@pytest.fixture(scope="module")
def mapped(use_case: UseCase) -> DrillMap:
    return drill_map(Target(use_case, use_case.config.models[0]))


@pytest.fixture(scope="module")
def world(use_case: UseCase, mapped: DrillMap, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("world"), use_case, mapped, "2020-12-21", 5)


def test_a_permutation_keeps_weekdays_parts_what_was_close_and_leaves_odd_days() -> None:
    keys = DAILY.keys("2013-01-01", "2013-12-31")
    whole = frozenset(keys) - {"2013-12-31"}

    source = permutation(DAILY, keys, whole, 1)

    days = {k: (date.fromisoformat(k), date.fromisoformat(s)) for k, s in source.items()}
    assert sorted(source.values()) == keys
    assert all(a.weekday() == b.weekday() for a, b in days.values())
    assert sum(a == b for a, b in days.values()) < 30
    assert all(source[k] == k for k in ("2013-03-10", "2013-11-03", "2013-12-31"))
    joined = [b for _, b in days.values()]
    assert min(abs((b - a).days) for a, b in pairwise(joined)) > 42
    assert source == permutation(DAILY, keys, whole, 1)
    assert source != permutation(DAILY, keys, whole, 2)


def test_a_beginning_that_does_not_repeat_stays_where_it_is(
    use_case: UseCase, mapped: DrillMap, tmp_path: Path
) -> None:
    kept = mapped.model_copy(update={"permuted_from": date(2020, 4, 6)})
    real = World.make(tmp_path / "real", use_case, mapped, "2020-12-21", None)
    world = World.make(tmp_path / "world", use_case, kept, "2020-12-21", 5)

    keys = use_case.scheme.keys("2020-01-06", "2020-12-21")
    same = [k for k in keys if world.clean("loans", k).equals(real.clean("loans", k))]
    assert same[:13] == keys[:13] and len(same) < 20


def test_a_lag_has_nothing_to_say_in_the_first_partitions_and_they_stay_there() -> None:
    def told(**columns: list[float | None]) -> pa.Table:
        return pa.table({name: pa.array(values, pa.float64()) for name, values in columns.items()})

    keys = list("123456789")
    tables = {k: told(value=[1, 2, 3], lag=[1, None, 3], rare=[None, None, None]) for k in keys}
    assert first_told(tables, keys) == "1", "a column that is always rare does not start"
    tables["1"] = told(value=[], lag=[], rare=[])
    tables["2"] = told(value=[1, 2, 3], lag=[None, None, None], rare=[None, None, None])
    tables["3"] = told(value=[1, 2, 3], lag=[None, None, 3], rare=[None, None, None])
    assert first_told(tables, keys) == "4"
    tables["6"] = tables["2"]
    assert first_told(tables, keys) == "4", "what fails later on is not the beginning"


def test_the_last_partitions_of_a_file_are_complete_only_with_their_outcomes() -> None:
    def days(*rows: int) -> dict[str, pa.Table]:
        return {str(n): pa.table({"x": list(range(count))}) for n, count in enumerate(rows, 1)}

    keys = list("123456")
    scored = days(50, 40, 60, 50, 50, 50)
    whole = {"scored": scored, "told": days(49, 40, 59, 50, 49, 50)}
    assert last_told(whole, "told", keys, 2) == "6", "a label that never comes is as rare as before"
    cut = {"scored": scored, "told": days(49, 40, 59, 50, 40, 12), "staffing": days(2, 2, 2, 2, 2, 2)}
    assert last_told(cut, "told", keys, 2) == "4"
    assert last_told(cut, None, keys, 2) == last_told(cut, "told", keys, 0) == "6"
    assert last_told({"told": cut["told"]}, "told", keys, 2) == "6", "nothing says how many there should be"


def test_outcomes_that_the_file_does_not_tell_yet_are_not_moved_among_the_live_ones(
    use_case: UseCase, mapped: DrillMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = datetime(2020, 12, 28, tzinfo=UTC)

    def cut(asked: UseCase, feed: Any, *rest: Any) -> pa.Table:
        table = read_feed(asked, feed, *rest)
        if feed.name != mapped.outcome:
            return table
        return table.filter(pc.less_equal(table[KNOWN_AT], pa.scalar(written, INSTANT)))

    monkeypatch.setattr(world_module, "read_feed", cut)
    world = World.make(tmp_path / "world", use_case, mapped, "2020-12-21", 5)
    keys = use_case.scheme.keys("2020-01-06", "2020-12-21")
    told = {k: world.clean(mapped.outcome or "", k).num_rows / world.clean("loans", k).num_rows for k in keys}
    waits = max(m.label.maturity_partitions for m in use_case.config.models)
    assert min(told[k] for k in keys[: -waits - 1]) > 0.9
    assert min(told.values()) < 0.9, "there was something to move"


def test_the_beginning_of_a_lag_is_not_moved(
    use_case: UseCase, mapped: DrillMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = "2020-03-02"

    def lagging(*asked: Any) -> pa.Table:
        table = read_feed(*asked)
        if "pages" not in table.column_names:
            return table
        early = pc.less(table[PARTITION_KEY], late)
        return with_column(table, "pages", pc.if_else(early, None, table["pages"]))

    monkeypatch.setattr(world_module, "read_feed", lagging)
    world = World.make(tmp_path / "world", use_case, mapped, "2020-12-21", 5)
    keys = use_case.scheme.keys("2020-01-06", "2020-12-21")
    empty = [k for k in keys if world.clean("loans", k)["pages"].null_count]
    assert empty == [k for k in keys if k < late]


def test_moved_rows_keep_their_time_of_day_on_local_clocks(mapped: DrillMap) -> None:
    winter, summer = DAILY.partition("2013-01-08"), DAILY.partition("2013-07-09")
    table = pa.table(
        {
            "instant": pa.array([winter.start + timedelta(hours=7)], pa.timestamp("us", "UTC")),
            "local": pa.array([datetime(2013, 1, 8, 7)], pa.timestamp("s")),
            "day": pa.array([date(2013, 1, 8)]),
        }
    )

    (row,) = moved(table, "any", 182, summer.start - winter.start, mapped).to_pylist()

    assert row["instant"].astimezone(ZoneInfo("America/New_York")).hour == 7
    assert row["instant"].date() == row["day"] == date(2013, 7, 9)
    assert row["local"] == datetime(2013, 7, 9, 7)


def test_feeds_tell_what_had_landed_and_what_was_changed_from_the_onset(
    use_case: UseCase, mapped: DrillMap, world: World
) -> None:
    class Longer(Scenario):
        name, cause, right = "longer", "", frozenset({"none"})

        def feed(self, name: str, table: pa.Table, partition: str, context: DrillContext) -> pa.Table:
            if name != "loans":
                return table
            return with_column(table, "pages", np.full(table.num_rows, context.severity))

    model = use_case.config.models[0]
    context = DrillContext(use_case, model, mapped, WEEKS[1], 9.0, 5, world)
    feeds = Feeds(world, Longer(), context)
    partitions = [use_case.scheme.partition(k) for k in WEEKS]

    rows = feeds(use_case, use_case.feed("loans"), partitions, use_case.cutoff(WEEKS[1])).to_pandas()

    assert sorted(set(rows["partition_key"])) == WEEKS[:2], "the third is told on the Friday before it only"
    assert set(rows.loc[rows["partition_key"] == WEEKS[1], "pages"]) == {9}
    assert rows.loc[rows["partition_key"] == WEEKS[0], "pages"].nunique() > 20
    later = feeds(use_case, use_case.feed("returns"), partitions[:1], datetime(2020, 9, 4, tzinfo=UTC))
    assert 0 < later.num_rows < world.clean("returns", WEEKS[0]).num_rows
    assert (
        feeds(
            use_case,
            use_case.feed("branches"),
            [use_case.feed_partition(use_case.feed("branches"), "")],
            datetime(2020, 9, 4, tzinfo=UTC),
        ).num_rows
        == 4
    )


def test_flipped_outcomes_are_flipped(use_case: UseCase, mapped: DrillMap, world: World) -> None:
    rows = world.clean("returns", WEEKS[0])
    positive = mapped.positive(rows)

    flipped = mapped.flip(rows, positive == 0, positive == 1)

    assert (mapped.positive(flipped) == 1 - positive).all()
    assert flipped.schema == rows.schema


def test_a_wrong_map_says_so(own_use_case: Path) -> None:
    use_case = load_use_case(own_use_case / "use_case.yaml")
    (own_use_case / "drills.py").write_text("DRILLS = {'unti': 1}\n")
    with pytest.raises(ConfigError, match="unti"):
        drill_map(Target(use_case, use_case.config.models[0]))


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)", "1 / 0"])
def test_a_map_whose_code_ends_the_process_says_where(own_use_case: Path, end: str) -> None:
    use_case = load_use_case(own_use_case / "use_case.yaml")
    target, file = Target(use_case, use_case.config.models[0]), own_use_case / "drills.py"
    sound = file.read_text()
    lines = sound.count("\n")
    file.write_text(f"{sound}import os, sys\n{end}\n")
    with pytest.raises(ConfigError, match=r"the use case's drills\.py fails") as told:
        drill_map(target)
    assert told.value.where == f"{file}:{lines + 2}" and told.value.fix
    file.write_text(f"{sound}import os, sys\ndef ends(*_):\n    {end}\n\nDRILLS['positive'] = ends\n")
    mapped = drill_map(target)
    assert mapped.positive is not None
    with pytest.raises(ConfigError, match="'positive' of the use case's") as told:
        mapped.positive(pa.table({}))
    assert told.value.where == f"{file}:{lines + 3}"
