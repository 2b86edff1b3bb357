"""What drills know of a use case without drills.py: it follows from settings and SQL, or has a reason."""

import re
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from library import FOLDER, NAME
from scaffold.boilers import rows, write

from ml_platform.config import load_use_case
from ml_platform.errors import NotReadyError
from ml_platform.features.dbt import compile_project
from ml_platform.lifecycle.drills.default_map import FACTOR, WHOLE_FACTOR, default_map
from ml_platform.lifecycle.drills.mapping import drill_map
from ml_platform.lifecycle.drills.running import chosen, inapplicable
from ml_platform.lifecycle.drills.sandbox import default_onset, first_served
from ml_platform.lifecycle.platform import Target
from ml_platform.model_config import ModelConfig
from ml_platform.scaffold.columns import profile_file
from ml_platform.scaffold.proposal import propose
from ml_platform.scaffold.roles import Wishes
from ml_platform.scaffold.writing import write_use_case


@pytest.fixture(scope="module")
def proposed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a written use case with a binary label."""
    place = tmp_path_factory.mktemp("proposed")
    file = write(place / "inspections.csv", rows(days=60, per_day=25, boilers=80))
    wishes = Wishes("boilers", label="failed", known_at="failure known at")
    folder = write_use_case(propose(profile_file(file), wishes), place / "cases")
    compile_project(folder / "dbt")
    return folder


@pytest.fixture
def written(proposed: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change; what dbt compiled comes along."""
    return shutil.copytree(proposed, tmp_path / "boilers")


def target(folder: Path) -> Target:
    use_case = load_use_case(folder / "use_case.yaml")
    return Target(use_case, use_case.config.models[0])


def edited(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_written_use_case_is_drilled_without_python(written: Path) -> None:
    boilers = target(written)
    mapped = drill_map(boilers)
    assert mapped.unit is not None and mapped.nulls is not None and mapped.segment is not None
    assert (mapped.unit.feed, mapped.unit.columns, mapped.unit.factor) == (
        "boilers_records",
        ("strain_bar",),
        FACTOR,
    ), "a measure with decimals, not whole years"
    assert (mapped.nulls.feed, mapped.nulls.columns) == ("boilers_records", ("age_years",))
    assert mapped.outcome == "boilers_outcomes"
    assert (mapped.segment.column, mapped.segment.feed, mapped.segment.key) == (
        "fuel",
        "boilers_records",
        ("boiler_id",),
    )
    assert len(mapped.segment.values) == 1 and mapped.segment.values[0] in {"gas", "oil", "coal"}
    left_out = inapplicable(boilers, chosen([]))
    assert set(left_out) == {"benign_shift"}
    assert "matters little" in left_out["benign_shift"] and "`benign`" in left_out["benign_shift"]


def test_raw_outcomes_are_read_as_the_labels_sql_does_and_turned(written: Path) -> None:
    mapped = drill_map(target(written))
    assert mapped.positive is not None and mapped.flip is not None
    raw = pa.table({"boiler_id": list("abcd"), "failed": ["yes", "no", "no", None]})
    assert mapped.positive(raw)[:3].tolist() == [1, 0, 0] and np.isnan(mapped.positive(raw)[3])
    turned = mapped.flip(raw, np.array([0, 1, 0, 0], bool), np.array([1, 0, 0, 0], bool))
    assert turned["failed"].to_pylist() == ["no", "yes", "no", None] and turned.schema == raw.schema
    alone = raw.filter(pa.array([False, True, True, False]))
    turned = mapped.flip(alone, np.array([1, 1], bool), np.zeros(2, bool))
    assert turned["failed"].to_pylist() == ["yes", "yes"], "no row says yes; the SQL names it"
    turned = mapped.flip(raw.slice(0, 1), np.zeros(1, bool), np.ones(1, bool))
    assert turned["failed"].to_pylist() == ["yes"], "nobody names another value, so that nothing is made up"


def test_a_label_of_several_rows_is_no_raw_outcome(written: Path) -> None:
    labels = written / "dbt" / "models" / "boilers_labels.sql"
    edited(
        labels, "cast(o.\"failed\" = 'yes' as integer)", "max(cast(o.\"failed\" = 'yes' as integer)) over ()"
    )
    mapped, left_out = drill_map(target(written)), inapplicable(target(written), chosen([]))
    assert mapped.positive is None and mapped.flip is None and mapped.outcome == "boilers_outcomes"
    assert set(left_out) == {"benign_shift", "prior_shift", "concept_drift"}
    assert "does not follow from one raw row" in left_out["prior_shift"]
    assert "`positive` and `flip`" in left_out["prior_shift"]


def test_outcomes_that_a_rule_dates_are_never_late(written: Path) -> None:
    edited(written / "use_case.yaml", "known_at: {column: failure_known_at}", "known_at: {delay: P2D}")
    left_out = inapplicable(target(written), ["late_labels", "prior_shift"])
    assert (
        set(left_out) == {"late_labels"}
        and "a fixed delay of 2 days after the event" in left_out["late_labels"]
    )


def test_flags_keys_and_times_have_no_unit(written: Path) -> None:
    contract = written / "contracts" / "boilers_records.yaml"

    def unit() -> tuple[tuple[str, ...], float] | None:
        found = drill_map(target(written)).unit
        return None if found is None else (found.columns, found.factor)

    def ranged(column: str, maximum: int) -> None:
        text = contract.read_text()
        after = text.index("logicalTypeOptions", text.index(f"name: {column}"))
        options = f"{{minimum: 0, maximum: {maximum}}}"
        contract.write_text(text[:after] + re.sub(r"\{.*\}", options, text[after:], count=1))

    assert unit() == (("strain_bar",), FACTOR)
    ranged("age_years", 2)
    ranged("strain_bar", 16)
    edited(contract, "logicalType: number", "logicalType: integer")
    assert unit() == (("strain_bar",), WHOLE_FACTOR), "of whole numbers those over a wide range"
    ranged("strain_bar", 2)
    assert unit() is None
    assert "looks like a measure" in inapplicable(target(written), ["unit_change"])["unit_change"]


def test_sql_that_is_not_understood_leaves_the_drills_that_need_none(written: Path) -> None:
    features = written / "dbt" / "models" / "boilers_features.sql"
    edited(features, "from ", "from nothing_of_the_kind where from ")
    left_out = inapplicable(target(written), chosen([]))
    assert {"clean", "serving_skew", "label_redefinition"} == set(chosen([])) - set(left_out)
    assert "no lineage of columns is known: sqlglot does not understand" in left_out["null_spike"]
    edited(features, "nothing_of_the_kind", "{{ nothing('of_the_kind') }}")
    assert "dbt cannot compile" in inapplicable(target(written), ["unit_change"])["unit_change"]


def test_the_first_partition_served_leaves_room_to_see_what_follows(written: Path) -> None:
    boilers = target(written)
    windows, scheme = boilers.model.windows, boilers.use_case.scheme
    least = (
        windows.minimum_train + windows.embargo + windows.gate + boilers.model.label.maturity_partitions + 1
    )
    assert first_served(boilers, drill_map(boilers)) == scheme.shift(scheme.first_key, least), (
        "as early as can be"
    )
    edited(written / "use_case.yaml", f"end: {scheme.last}", "end: 2026-12-31")
    grown = target(written)
    assert first_served(grown, drill_map(grown)) == scheme.shift(
        scheme.first_key, least + windows.train - windows.minimum_train
    )


def test_too_little_history_is_told_before_anything_is_played(written: Path) -> None:
    boilers = target(written)
    served = first_served(boilers, drill_map(boilers))
    edited(written / "use_case.yaml", f"end: {boilers.use_case.scheme.last}", f"end: {served}")
    settings = written / "use_case.yaml"
    settings.write_text(settings.read_text().split("\ndemo:")[0])
    ended = target(written)
    with pytest.raises(NotReadyError, match="too little history for a drill: the first champion serves from"):
        default_onset(ended, drill_map(ended))


def test_what_follows_for_the_library(own_use_case: Path) -> None:
    """Its label is made of two columns, and its key is a number."""
    use_case = load_use_case(FOLDER / NAME / "use_case.yaml")
    late = Target(use_case, use_case.config.models[0])
    mapped = default_map(late)
    assert mapped.unit is not None and mapped.unit.columns == ("pages",), (
        "staff is of a feed without event time"
    )
    assert mapped.entity is not None and mapped.segment is not None and mapped.positive is not None
    assert (mapped.entity.feeds, mapped.entity.number) == (("loans", "returns"), "loan_no")
    assert mapped.entity.recurring and (mapped.segment.column, mapped.segment.feed) == ("branch", "")
    assert mapped.flip is None and "due_at, returned_at" in mapped.absent["flip"]
    own = drill_map(late)
    assert own.flip is not None and own.first == date(2020, 8, 31) and own.absent == {}, (
        "an own map is not filled up"
    )


def test_each_model_has_a_map_of_its_own() -> None:
    use_case = load_use_case(FOLDER / NAME / "use_case.yaml")
    binary = use_case.config.models[0]
    band = binary.model_dump() | {"name": "band", "kind": "multiclass"}
    band |= {
        "label": {
            "column": "return_band",
            "classes": ["in_time", "late", "very_late"],
            "maturity_partitions": 3,
        }
    }
    number = binary.model_dump() | {"name": "days", "kind": "regression", "training": {}}
    number |= {"label": {"column": "days_late", "maturity_partitions": 3}}
    due = np.array(["2020-01-07T12"] * 4, "datetime64[us]")
    back = due + np.array([-5, 30, 200, 0]).astype("timedelta64[h]")
    returns = pa.table({"due_at": pa.array(due), "returned_at": pa.array(back)}).cast(
        pa.schema([(n, pa.timestamp("us", "UTC")) for n in ("due_at", "returned_at")])
    )
    models = (binary, ModelConfig.model_validate(band), ModelConfig.model_validate(number))
    maps = [default_map(Target(use_case, model)) for model in models]
    assert [m.positive(returns).tolist() if m.positive else None for m in maps] == [
        [0, 1, 1, 0],
        [0, 1, 1, 0],
        None,
    ]
    assert [m.amount for m in maps] == [None] * 3 and "not simply one raw column" in maps[2].absent["amount"]
