"""A new prior by kind of target: what moves, and what stays as it was."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml
from library import FOLDER, NAME

from ml_platform.config import load_use_case
from ml_platform.errors import ConfigError
from ml_platform.lifecycle.drills.mapping import DrillMap, Entity, Segment, drill_map
from ml_platform.lifecycle.drills.scenario import Clean, DrillContext, Visible
from ml_platform.lifecycle.drills.world_incidents import ConceptDrift, PriorShift
from ml_platform.lifecycle.platform import Target
from ml_platform.model_config import ModelConfig

USE_CASE = load_use_case(FOLDER / NAME / "use_case.yaml")
NUMBER, BANDS = (
    ModelConfig.model_validate(m)
    for m in yaml.safe_load((FOLDER / NAME / "more_models.yaml").read_text(encoding="utf-8"))["models"]
)
WEEK = "2020-10-05"
MAP = drill_map(Target(USE_CASE, USE_CASE.config.models[0]))


@dataclass
class Weeks:
    """A world of two feeds."""

    loans: pa.Table
    returns: pa.Table

    def clean(self, feed: str, key: str) -> pa.Table:
        return self.loans if feed == "loans" else self.returns


@dataclass
class TwoTimes:
    """Another world before the onset."""

    now: Weeks
    earlier: Weeks

    def clean(self, feed: str, key: str) -> pa.Table:
        return (self.now if key >= WEEK else self.earlier).clean(feed, key)


def weeks(rows: int = 4000, late_share: float = 0.25) -> Weeks:
    """Loans of which those of many pages are late more often; every tenth is not returned yet."""
    rng = np.random.default_rng(5)
    pages = rng.integers(50, 400, rows)
    late = rng.random(rows) < late_share * pages / pages.mean()
    due = datetime(2020, 10, 6, tzinfo=UTC)
    keys = {"branch": rng.choice(["north", "harbour"], rows), "loan_no": np.arange(rows)}
    loans = pa.table({**keys, "pages": pages})
    returned = [due + timedelta(hours=5 if x else -5) for x in late]
    table = pa.table({**keys, "due_at": [due] * rows, "returned_at": returned, "known_at": returned})
    return Weeks(loans, table.filter(pa.array(np.arange(rows) % 10 > 0)))


def context(model: ModelConfig, world: Clean, mapped: DrillMap | None = None) -> DrillContext:
    return DrillContext(USE_CASE, model, mapped or MAP, WEEK, 2.0, 1, world)


def by_key(table: pa.Table) -> dict[tuple[str, int], dict[str, object]]:
    return {(r["branch"], r["loan_no"]): r for r in table.to_pylist()}


def test_of_several_classes_whole_cases_come_twice() -> None:
    world, scenario = weeks(), PriorShift()
    told = context(BANDS, world)
    loans = scenario.feed("loans", world.loans, WEEK, told)
    returns = scenario.feed("returns", world.returns, WEEK, told)
    assert (loans.num_rows, returns.num_rows) == (world.loans.num_rows, world.returns.num_rows)
    assert loans.schema == world.loans.schema and returns.schema == world.returns.schema
    now, then, outcomes = by_key(loans), by_key(world.loans), by_key(returns)
    assert len(now) == loans.num_rows, "no key stands twice"
    assert all(row == then[key] for key, row in now.items() if key in then)
    new = sorted(n for _, n in now.keys() - then.keys())
    assert new and new == list(range(4000, 4000 + len(new)))
    assert all(outcomes[k]["returned_at"] > outcomes[k]["due_at"] for k in now.keys() - then.keys())
    late = MAP.positive
    assert late is not None
    moved = late(returns).mean() - late(world.returns).mean()
    assert moved == pytest.approx(0.2, abs=0.02), "severity 2 of what is seen where nothing was measured"
    assert scenario.feed("loans", world.loans, WEEK, told) == loans, "read again it is the same"


def test_features_of_each_class_stay_what_they_were() -> None:
    world, scenario = weeks(20_000), PriorShift()
    told = context(BANDS, world)

    def pages(loans: pa.Table, returns: pa.Table) -> tuple[float, float]:
        rows = loans.join(returns, keys=["branch", "loan_no"], join_type="inner")
        late = pc.greater(rows["returned_at"], rows["due_at"])
        return tuple(pc.mean(rows.filter(m)["pages"]).as_py() for m in (late, pc.invert(late)))

    before = pages(world.loans, world.returns)
    after = pages(*(scenario.feed(n, world.clean(n, WEEK), WEEK, told) for n in ("loans", "returns")))
    assert before[0] > before[1] + 30, "the classes differ"
    assert after == pytest.approx(before, abs=5)


def test_without_positives_nothing_takes_their_place() -> None:
    world = weeks(200, late_share=0.0)
    told = context(BANDS, world)
    assert PriorShift().feed("loans", world.loans, WEEK, told) == world.loans


def test_where_numbers_recur_a_copy_has_a_history() -> None:
    entity = {"feeds": ["loans", "returns"], "key": ["branch", "loan_no"], "number": "loan_no"}
    mapped = MAP.model_copy(update={"entity": Entity(**entity, recurring=True)})  # type: ignore[arg-type]
    now, earlier = weeks(400), weeks(3000)
    told = context(BANDS, TwoTimes(now, earlier), mapped)
    loans = PriorShift().feed("loans", now.loans, WEEK, told)
    new = by_key(loans).keys() - by_key(now.loans).keys()
    late = {k for k, r in by_key(earlier.returns).items() if r["returned_at"] > r["due_at"]}  # type: ignore[operator]
    assert len(by_key(loans)) == loans.num_rows == 400
    assert len(new) > 20 and new <= late, "each had a late return before, at the same branch"


def test_the_class_that_is_seen_best_sets_the_size_of_a_prior_shift() -> None:
    seen = [("in_time", 0.3, 0.05), ("late", 0.04, 0.05), ("very_late", 0.12, 0.05), ("none", None, 0.05)]
    visible = [Visible("concept", "bias", *each) for each in seen]
    told = context(BANDS, weeks())
    assert PriorShift()._smallest(replace(told, visible=visible)) == 0.05
    assert PriorShift()._smallest(told) == 0.1, "nothing was measured"


def test_amounts_grow_in_their_feed_only() -> None:
    mapped = DrillMap(amount={"feed": "loans", "columns": ["fee"]})  # type: ignore[arg-type]
    table = pa.table({"fee": [2.0, 0.0, 5.01], "pages": [1, 2, 3]})
    scenario, told = PriorShift(), context(NUMBER, weeks(), mapped)
    assert scenario.feed("loans", table, WEEK, told)["fee"].to_pylist() == [3.0, 0.0, 7.52]
    assert scenario.feed("returns", table, WEEK, told) is table
    assert scenario.amount(told) == "loans: fee × 1.5"


def test_the_number_of_a_copy_is_part_of_its_key() -> None:
    with pytest.raises((ValueError, ConfigError), match="'line' is no column of the key"):
        DrillMap(entity={"feeds": ["loans"], "key": ["loan_no"], "number": "line"})  # type: ignore[arg-type]


def test_a_segment_may_stand_in_a_feed_beside_the_outcomes() -> None:
    world = weeks(2000)
    key = pa.array([WEEK] * world.loans.num_rows)
    world = Weeks(
        world.loans.append_column("partition_key", key),
        world.returns.append_column("partition_key", key.slice(0, world.returns.num_rows)),
    )
    own = ConceptDrift()._inside(world.returns, context(BANDS, world))
    segment = Segment(column="branch", values=("harbour", "north"), feed="loans", key=("loan_no",))
    elsewhere = Segment(column="branch", values=("harbour",), feed="loans", key=("loan_no",))
    told = [context(BANDS, world, MAP.model_copy(update={"segment": each})) for each in (segment, elsewhere)]
    both, one = (ConceptDrift()._inside(world.returns, each) for each in told)
    assert own.all() and both.all() and not one.all()
    assert one.tolist() == [b == "harbour" for b in world.returns["branch"].to_pylist()]
    fewer = Weeks(world.loans.slice(0, 5), world.returns)
    found = ConceptDrift()._inside(world.returns, context(BANDS, fewer, told[0].map))
    assert found.sum() == sum(n < 5 for n in world.returns["loan_no"].to_pylist()), "the others have no row"
    with pytest.raises((ValueError, ConfigError), match="go together"):
        Segment(column="branch", values=("north",), feed="loans")


def test_what_all_outcomes_together_cannot_show_is_told_as_small() -> None:
    """With a segment half of which is late nothing is gained by turning it round, and a bias has a most."""
    half = context(BANDS, weeks(late_share=0.5))
    assert ConceptDrift().visible(half) < 0.5
    seen = [Visible("concept", "bias", "all", 0.6, None)]
    told = replace(context(USE_CASE.config.models[0], weeks()), visible=seen)
    assert 1.1 < PriorShift().visible(told) < 1.4, "three of four may become late, 1.2 were asked for"
    assert PriorShift().visible(replace(told, visible=[])) == pytest.approx(2.0)
