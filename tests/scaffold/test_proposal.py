"""What is proposed from a file, and what each kind of bad file gets."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from pyarrow import csv

from ml_platform.errors import ConfigError, PlatformError
from ml_platform.guard_config import DiagnosisConfig
from ml_platform.scaffold.columns import in_percent, profile_file
from ml_platform.scaffold.features import LEAK_AUC
from ml_platform.scaffold.proposal import Proposal, Refusal, propose
from ml_platform.scaffold.readme import readme
from ml_platform.scaffold.roles import Wishes
from ml_platform.scaffold.settings import use_case_yaml
from ml_platform.scaffold.sql import calendar, dbt_files

from . import boilers
from .boilers import Row, rows, write
from .meters import hours, readings

Change = Callable[[int, Row], None]
GOOD = rows(days=60, per_day=25, boilers=80)


def proposed(path: Path, **wishes: object) -> Proposal:
    said = {"label": "failed", **wishes}
    return propose(profile_file(path), Wishes("boilers", **said))  # type: ignore[arg-type]


def refused(tmp_path: Path, change: Change, found: list[Row] | None = None, **wishes: object) -> str:
    file = write(tmp_path / "inspections.csv", found or GOOD, change)
    with pytest.raises(Refusal) as caught:
        proposed(file, **wishes)
    assert all(r.what and r.where and r.fix for r in caught.value.remarks if r.level == "error")
    assert "nothing has been written" in caught.value.fix
    return str(caught.value)


def put(column: str, value: object, when: Callable[[int], bool]) -> Change:
    def change(number: int, row: Row) -> None:
        if when(number):
            row[column] = value

    return change


def test_a_good_file_is_understood(tmp_path: Path) -> None:
    p = proposed(write(tmp_path / "inspections.csv", GOOD))
    assert [c.name for c in p.roles.entity] == ["boiler_id"]
    assert p.roles.time.name == "inspected_at"
    assert p.roles.known_at is not None and p.roles.known_at.name == "failure_known_at"
    assert (p.label.kind, p.label.positive) == ("binary", "yes")
    uses = {f.column.source: f.use for f in p.features}
    assert uses == {
        "fuel": "categorical",
        "age years": "numeric",
        "strain (bar)": "numeric",
        "report no": "dropped",
        "country": "dropped",
        "verdict code": "dropped",
    }
    reasons = {f.column.source: f.why.split(":")[0] for f in p.features if f.use == "dropped"}
    assert reasons == {"report no": "ID", "country": "CONSTANT", "verdict code": "LEAK"}
    assert (p.scheme.width, p.scheme.first_key, p.scheme.last_key) == ("daily", "2023-01-02", "2023-03-02")
    assert [c.name for c in p.past] == ["boiler_id"]
    assert p.windows.maturity == 4, "at most 41 hours and a day after the event, seen at a midnight"
    waits = p.windows.maturity * 2 + p.windows.train + p.windows.gate
    assert waits < 60


def test_parquet_with_types_is_understood_alike(tmp_path: Path) -> None:
    file = write(tmp_path / "inspections.csv", GOOD)
    pq.write_table(csv.read_csv(file), tmp_path / "inspections.parquet")
    one, other = proposed(file), proposed(tmp_path / "inspections.parquet")
    assert [(f.name, f.use) for f in one.features] == [(f.name, f.use) for f in other.features]
    assert (one.scheme, one.windows) == (other.scheme, other.windows)


def test_each_type_of_parquet_has_its_place_and_nested_ones_have_none(tmp_path: Path) -> None:
    file = tmp_path / "meters.parquet"
    pq.write_table(readings(hours(20), timedelta(hours=4)), file)
    p = propose(profile_file(file), Wishes("meters", entity=("Meter",), label="failed"))
    kinds = {c.source: c.kind for c in p.profile.columns if not c.unusable}
    assert kinds == {
        "Meter": "integer",
        "read at": "timestamp",
        "make": "string",
        "age": "integer",
        "heat °C": "number",
        "price": "number",
        "outdoors": "boolean",
        "serviced on": "timestamp",
        "slot": "string",
        "failed": "boolean",
        "failure known at": "timestamp",
    }
    assert p.profile.column("price").nulls > 0 and p.scheme.width == "hourly"
    dropped = {f.column.source: f.why.split(":")[0] for f in p.features if f.use == "dropped"}
    assert dropped == {"slot": "MANY", "notes": "TYPE", "photo": "TYPE"}
    with pytest.raises(ConfigError, match=r"no single value stands in a cell of notes \(list") as caught:
        propose(p.profile, Wishes("meters", entity=("Meter",), label="notes"))
    assert caught.value.fix


def test_dates_without_a_time_of_day_need_no_known_at(tmp_path: Path) -> None:
    """Each lies at the begin of its partition: a label must not be taken for known when that ends."""

    def change(_number: int, row: Row) -> None:
        row["inspected at"], row["failure known at"] = row["inspected at"][:10], ""

    p = proposed(write(tmp_path / "inspections.csv", GOOD, change))
    assert p.label_delay == timedelta(days=2) and p.windows.maturity == 3
    assert not any("known before the cutoff" in r.what for r in p.remarks)


def test_what_was_not_said_is_told_with_its_flag(tmp_path: Path) -> None:
    p = proposed(write(tmp_path / "inspections.csv", GOOD), entity=("Boiler ID",))
    told = {r.what: r.fix for r in p.remarks if r.what.startswith("taken for")}
    assert told == {
        "taken for when a row happened: inspected at": "say --time for another",
        "taken for when the label became known: failure known at": "say --known-at for another",
    }


def test_a_number_is_a_regression_and_several_values_are_classes(tmp_path: Path) -> None:
    file = write(tmp_path / "inspections.csv", GOOD)
    number = proposed(file, label="strain (bar)", known_at="failure known at")
    assert number.label.kind == "regression"
    classes = proposed(file, label="fuel", known_at="failure known at").label
    assert (classes.kind, set(classes.classes)) == ("multiclass", {"gas", "oil", "coal"})


@pytest.mark.parametrize(
    ("change", "wishes", "why"),
    [
        (put("Boiler ID", "B000", lambda i: i < 40), {}, "share their key"),
        (put("Boiler ID", "", lambda i: i == 7), {}, "1 row(s) have no entity"),
        (put("failed", "no", lambda i: True), {}, "the label is constant: every row that has one has 'no'"),
        (
            put("failed", "", lambda i: i % 200 != 0),
            {},
            "the label is missing in 1,492 of 1,500 rows (99.5%)",
        ),
        (put("failed", "maybe", lambda i: i % 3 == 0), {"kind": "binary"}, "a binary label has two values"),
        (put("inspected at", "31.01.2023 10:00", lambda i: i % 2 == 0), {}, "dates in several formats"),
        (put("inspected at", "03/04/2023", lambda i: True), {}, "can be read in several formats"),
        (put("inspected at", "", lambda i: i == 3), {}, "have no event time"),
        (put("inspected at", "yesterday", lambda i: True), {}, "no dates or instants"),
        (put("failure known at", "2020-01-01 00:00:00", lambda i: True), {}, "known before their event"),
    ],
)
def test_what_cannot_be_used_is_refused_with_where_and_fix(
    tmp_path: Path, change: Change, wishes: dict[str, object], why: str
) -> None:
    said = {"time": "inspected at", "entity": ("Boiler ID",), "known_at": "failure known at"} | wishes
    assert why in refused(tmp_path, change, **said)


def test_a_repeated_key_names_rows_and_a_column_that_tells_them_apart(tmp_path: Path) -> None:
    told = refused(tmp_path, put("Boiler ID", "B000", lambda i: i < 40))
    assert "rows [1, 2, 3]: B000 in 2023-01-02" in told
    assert "--entity 'Boiler ID,report no'" in told


def test_a_repeated_key_is_told_only_what_really_tells_rows_apart(tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        row["Boiler ID"] = f"B{number % 3}"
        row["report no"] = "" if number < 9 else f"R{number % 5}"

    told = refused(tmp_path, change, label="failed", known_at="failure known at")
    assert "no one column more and no narrower --width tells them apart" in told
    hour = {f"{h:02}": number for number, h in enumerate(range(7, 18))}

    def spread(number: int, row: Row) -> None:
        row["Boiler ID"] = f"B{number % 25 // 11}"
        at = row["inspected at"]
        row["inspected at"] = f"{at[:11]}{[*hour][number % 25 % 11]}:00:00"
        row["report no"] = "same"

    told = refused(tmp_path, spread, found=[r for i, r in enumerate(GOOD) if i % 25 < 22], width="daily")
    assert "tell them apart with --width hourly, or correct the file" in told


@pytest.mark.parametrize(
    ("said", "written", "fix"),
    [
        ("%d/%m/%Y", "%Y-%m-%d %H:%M:%S", "leave --time-format out: these are ISO"),
        ("%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "say --time-format '%d/%m/%Y %H:%M', which reads all rows"),
        ("nonsense", "%d.%m.%Y", "say --time-format '%d.%m.%Y'"),
    ],
)
def test_a_format_that_does_not_fit_is_refused_with_the_one_that_does(
    tmp_path: Path, said: str, written: str, fix: str
) -> None:
    def change(number: int, row: Row) -> None:
        row["inspected at"] = datetime.fromisoformat(row["inspected at"]).strftime(written)

    told = refused(tmp_path, change, time="inspected at", label_delay=timedelta(days=3), time_format=said)
    first = datetime.fromisoformat(GOOD[0]["inspected at"]).strftime(written)
    assert f"value(s) cannot be read as {said}, for example '" in told
    assert fix in told
    assert "%m" in said or first in told


UNUSUAL = "%d-%b-%Y %I.%M %p"
"""No format that a file is looked at in by itself."""


def unusual(number: int, row: Row) -> None:
    for name in ("inspected at", "failure known at"):
        row[name] = datetime.fromisoformat(row[name]).strftime(UNUSUAL)


def test_a_format_that_is_said_is_read_whatever_it_is(tmp_path: Path) -> None:
    plain = proposed(write(tmp_path / "plain.csv", GOOD))
    p = proposed(write(tmp_path / "inspections.csv", GOOD, unusual), time_format=UNUSUAL)
    assert [c and c.name for c in (p.roles.time, p.roles.known_at)] == ["inspected_at", "failure_known_at"]
    assert (p.scheme, p.windows) == (plain.scheme, plain.windows)
    feeds = yaml.safe_load(use_case_yaml(p, tmp_path / "boilers"))["feeds"]
    assert [f["time_format"] for f in feeds] == [UNUSUAL] * 2


def test_a_format_that_reads_nothing_or_not_all_is_told(tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        unusual(number, row)
        row["inspected at"] = "soon" if number == 7 else row["inspected at"]

    def told(said: str) -> str:
        wait = timedelta(days=3)
        return refused(tmp_path, change, time="inspected at", label_delay=wait, time_format=said)

    assert "say how they are written with --time-format, such as '%d-%b-%Y" in told("")
    assert "and --time-format '%A %j' reads none of them" in told("%A %j")
    assert f"1 of 1,500 value(s) cannot be read as {UNUSUAL}, for example 'soon'" in told(UNUSUAL)
    assert "no known format (1 rows, such as row 8: 'soon')" in told(UNUSUAL)


@pytest.mark.parametrize(
    ("write_one", "time_format"),
    [
        (lambda m: str(int(m.timestamp())), "epoch_seconds"),
        (lambda m: str(int(m.timestamp() * 1000)), "epoch_milliseconds"),
        (lambda m: m.strftime("%m/%d/%Y %I:%M %p"), "%m/%d/%Y %I:%M %p"),
        (
            lambda m: m.astimezone(timezone(timedelta(hours=1 + (m.month > 1)))).isoformat(),
            None,
        ),
    ],
)
def test_numbers_from_1970_afternoons_and_mixed_offsets_are_instants(
    tmp_path: Path, write_one: Callable[[datetime], str], time_format: str | None
) -> None:
    def change(number: int, row: Row) -> None:
        for name in ("inspected at", "failure known at"):
            row[name] = write_one(datetime.fromisoformat(row[name]).replace(tzinfo=UTC))

    plain = proposed(write(tmp_path / "plain.csv", GOOD))
    p = proposed(write(tmp_path / "inspections.csv", GOOD, change))
    assert [c and c.name for c in (p.roles.time, p.roles.known_at)] == ["inspected_at", "failure_known_at"]
    assert (p.scheme, p.windows) == (plain.scheme, plain.windows)
    feeds = yaml.safe_load(use_case_yaml(p, tmp_path / "boilers"))["feeds"]
    assert [f.get("time_format") for f in feeds] == [time_format] * 2
    pq.write_table(csv.read_csv(tmp_path / "inspections.csv"), tmp_path / "typed.parquet")
    assert proposed(tmp_path / "typed.parquet").scheme == plain.scheme


def test_numbers_that_are_no_instants_are_refused_with_what_is_read(tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        moment = datetime.fromisoformat(row["inspected at"]).replace(tzinfo=UTC).timestamp()
        row["inspected at"] = int(moment * (1000 if number % 2 else 1))

    told = refused(tmp_path, change, time="inspected at")
    assert "its values are no dates or instants (integer: 16" in told
    assert "numbers are read where all count seconds, or all milliseconds from 1970" in told


def test_the_format_that_is_asked_for_is_one_for_all_times_of_the_file(tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        row["inspected at"], row["failure known at"] = "03/04/2023", "05/04/2023"

    told = refused(tmp_path, change)
    day, month = (f"--time-format '{f}' (then '03/04/2023' is 2023-" for f in ("%d/%m/%Y", "%m/%d/%Y"))
    assert f"say which: {day}04-03) or {month}03-04)" in told
    assert "the --time-format that is said for 'inspected at' is read here too" in told

    def other(number: int, row: Row) -> None:
        row["inspected at"], row["failure known at"] = "03/04/2023", "05/04/2023 10:00"

    assert "write it as 'inspected at' is written, best both in ISO" in refused(tmp_path, other)

    def later(number: int, row: Row) -> None:
        row["failure known at"] = "05/04/2023"

    told = refused(tmp_path, later, known_at="failure known at", time="inspected at")
    assert "these are %d/%m/%Y or %m/%d/%Y" in told


def test_all_times_of_a_feed_have_one_format(tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        row["failure known at"] = datetime.fromisoformat(row["failure known at"]).strftime("%d.%m.%Y")
        row["fuel"] = "2001/02/20" if number % 2 else "2002/02/20"

    told = refused(tmp_path, change, known_at="failure known at", time="inspected at")
    assert "write it as 'inspected at' is written: a feed reads one format; these are %d.%m.%Y" in told

    def other(number: int, row: Row) -> None:
        row["fuel"] = "2001/02/20" if number % 2 else "2002/02/20"

    p = proposed(write(tmp_path / "inspections.csv", GOOD, other), known_at="failure known at")
    assert "fuel" in {f.name for f in p.features if f.use == "dropped"}
    assert any(r.level == "warning" and "not written as the event times are" in r.what for r in p.remarks)


def test_each_format_of_a_mixed_column_is_named_with_a_row_and_how_many(tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        moment = datetime.fromisoformat(row["inspected at"])
        row["inspected at"] = moment.strftime(("%Y-%m-%d", "%d/%m/%Y", "%d.%m.%Y")[number % 10 % 3])

    told = refused(tmp_path, change, time="inspected at", label_delay=timedelta(days=3))
    assert "ISO (600 rows, such as row 1: '2023-01-02')" in told
    assert "%d/%m/%Y (450 rows, such as row 2: '02/01/2023')" in told
    assert "%d.%m.%Y (450 rows, such as row 3: '02.01.2023')" in told
    assert "%m/%d/%Y" not in told, "what another format reads as well is no format of its own"


def test_few_labels_that_lack_are_rows_and_no_rounded_nothing(tmp_path: Path) -> None:
    file = write(tmp_path / "inspections.csv", GOOD, put("failed", "", lambda i: i == 7))
    (note,) = [r for r in proposed(file).remarks if "the label is missing" in r.what]
    assert note.level == "note" and "1 of 1,500 rows (0.07%)" in note.what
    assert [in_percent(s) for s in (0, 0.00012, 1e-9, 0.25, 0.99999, 1)] == [
        "0.0%",
        "0.01%",
        "<0.001%",
        "25.0%",
        "99.9%",
        "100.0%",
    ]


def test_a_regression_on_words_says_that_they_are_no_numbers(tmp_path: Path) -> None:
    told = refused(tmp_path, lambda _i, _r: None, kind="regression")
    assert "the label's values are none: 'yes', 'no'" in told or "none: 'no', 'yes'" in told
    assert "say --kind binary or name a column of numbers with --label" in told


def test_a_rule_of_when_labels_are_known_is_told_in_words(tmp_path: Path) -> None:
    file = write(tmp_path / "inspections.csv", [{**r, "failure known at": ""} for r in GOOD])
    p = proposed(file, label_delay=timedelta(days=1, hours=12))
    assert any("known 1 day 12 hours after the event" in r.what for r in p.remarks)
    assert "1 day 12 hours after the event" in readme(p, tmp_path)


def test_what_the_diagnosis_will_take_for_a_leak_is_kept_with_a_warning(tmp_path: Path) -> None:
    """A column that is not certain to know the label, and stronger than production lets pass."""
    random = np.random.default_rng(5)

    def change(_number: int, row: Row) -> None:
        row["strain (bar)"] = f"{3 * (row['failed'] == 'yes') + random.normal():.4f}"

    p = proposed(write(tmp_path / "inspections.csv", GOOD, change))
    (strain,) = [f for f in p.features if f.column.source == "strain (bar)"]
    assert DiagnosisConfig().leakage_auc < strain.strength < LEAK_AUC and strain.use == "numeric"
    (warned,) = [r for r in p.remarks if "blocks training" in r.what]
    assert warned.level == "warning" and "strain (bar)" in warned.where and "leakage_auc" in warned.fix


def test_labels_known_before_the_cutoff_are_named_with_their_rows(tmp_path: Path) -> None:
    def at_once(number: int, row: Row) -> None:
        if number % 10 == 3:
            row["failure known at"] = row["inspected at"]

    p = proposed(write(tmp_path / "inspections.csv", GOOD, at_once))
    (told,) = [r for r in p.remarks if "known before the cutoff" in r.what]
    assert told.level == "warning" and told.what.startswith("10.0% of the labels")
    assert "for example row 4, known at 2023-01-" in told.where and "; row 14, known at" in told.where
    assert "the end of their daily partition" in told.what and "narrower --width" in told.fix
    sql = dbt_files(p)["dbt/models/boilers_entities.sql"]
    assert "left join {{ source('lake', 'feed_boilers_outcomes') }} as k" in sql
    assert p.median_rows == round(0.9 * proposed(write(tmp_path / "others.csv", GOOD)).median_rows)


@pytest.mark.parametrize(("times", "told"), [(1, "once"), (4, "4 times"), (5, ""), (30, "")])
def test_an_outcome_that_hardly_occurs_is_refused(tmp_path: Path, times: int, told: str) -> None:
    def rare(number: int, row: Row) -> None:
        row["failed"] = "yes" if number % 300 == 7 and number < 300 * times else "no"
        if times > 4:
            row["failed"] = "yes" if number % 40 == 7 and number < 40 * times else "no"

    if told:
        why = refused(tmp_path, rare)
        assert f"the rarest outcome occurs {told} in 1,500 rows: nothing can be learned" in why
        assert "in which it occurs 5 times at least" in why
        return
    p = proposed(write(tmp_path / "inspections.csv", GOOD, rare))
    assert any("the rarest outcome occurs 5 times" in r.what for r in p.remarks) == (times == 5)


def test_words_for_missing_among_numbers_are_told_with_how_many(tmp_path: Path) -> None:
    change = put("age years", "n/a", lambda i: i % 3 == 0)
    p = proposed(write(tmp_path / "inspections.csv", GOOD, change))
    (told,) = [r for r in p.remarks if "is read as missing" in r.what]
    assert told.what.startswith("'n/a' is read as missing: ") and "`source: missing`" in told.fix


def test_a_label_that_is_known_before_the_cutoff_is_refused(tmp_path: Path) -> None:
    told = refused(tmp_path, lambda _i, _r: None, width="monthly")
    assert "known before the cutoff (the end of their monthly partition)" in told
    assert "narrower --width" in told


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        row["failed"] = "no"
        row["inspected at"] = "" if number == 3 else row["inspected at"]

    told = refused(tmp_path, change)
    assert "constant" in told and "no event time" in told


@pytest.mark.parametrize(
    ("change", "why", "where"),
    [
        (put("age years", "old", lambda i: i % 40 == 0), "are no integer (row 1: 'old'", "age years"),
        (put("age years", "old", lambda i: i % 3 == 0), "MIXED: numbers and texts row 1: 'old'", "age years"),
        (put("failed", "", lambda i: i % 3 != 0), "missing in 1,000 of 1,500 rows (66.7%)", "failed"),
        (
            lambda i, row: row.update(fuel="unknown" if i % 4 == 0 else str(i % 3)),
            "mixed types, 1,125 numbers (0, 1, 2) and 375 texts ('unknown')",
            "column 'fuel', for example row 1: 'unknown', row 5: 'unknown'",
        ),
        (
            put("failure known at", "", lambda i: i == 5),
            "no instant at which it was known",
            "failure known at",
        ),
        (
            lambda i, row: row.update(fuel=(" Gas", "GAS ", "gas")[i % 3] if row["fuel"] == "gas" else "oil"),
            "1 categories are written in several ways that differ in case or spaces only: ",
            "fuel",
        ),
        (
            put("age years", 290, lambda i: i % 200 == 0),
            "8 of 1,500 numbers (0.5%) lie far beyond the others, which are from 1 to 39: 290",
            "age years",
        ),
        (
            put("strain (bar)", -999.5, lambda i: i == 7),
            "1 of 1,500 numbers (0.07%) lie far beyond the others",
            "strain (bar)",
        ),
    ],
)
def test_what_is_doubtful_is_a_warning(tmp_path: Path, change: Change, why: str, where: str) -> None:
    p = proposed(write(tmp_path / "inspections.csv", GOOD, change), known_at="failure known at")
    (found,) = [r for r in p.remarks if why in r.what]
    assert found.level == "warning"
    assert where in found.where


def test_odd_values_are_told_in_the_readme_and_change_nothing_and_a_long_tail_is_not_odd(
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(5)

    def tail(_number: int, row: Row) -> None:
        row["strain (bar)"] = round(float(random.lognormal(1, 0.8)), 2)

    calm = proposed(write(tmp_path / "inspections.csv", GOOD, tail))
    assert not [r for r in calm.remarks if "far beyond" in r.what or "spaces only" in r.what]
    some = put("fuel", "Gas", lambda i: GOOD[i]["fuel"] == "gas" and i % 2 == 0)
    odd = proposed(write(tmp_path / "odd.csv", GOOD, some))
    assert {f.column.source: f.use for f in odd.features} == {f.column.source: f.use for f in calm.features}
    assert "'gas' (" in readme(odd, tmp_path) and "differ in case or spaces only" in readme(odd, tmp_path)


def test_rows_that_repeat_exactly_are_only_a_warning(tmp_path: Path) -> None:
    p = proposed(write(tmp_path / "inspections.csv", [*GOOD, GOOD[0], GOOD[5]]))
    assert any("2 row(s) repeat another row exactly" in r.what for r in p.remarks)


def test_entities_that_are_seen_once_have_no_past(tmp_path: Path) -> None:
    p = proposed(write(tmp_path / "inspections.csv", GOOD), entity=("report no",))
    assert p.past == ()
    assert any("each entity is seen once" in r.what for r in p.remarks)


def test_without_known_at_the_cost_is_said(tmp_path: Path) -> None:
    found = [{**r, "failure known at": ""} for r in GOOD]
    file = write(tmp_path / "inspections.csv", found)
    assert any("look better than production" in r.what for r in proposed(file).remarks)
    said = proposed(file, label_delay=timedelta(days=3))
    assert not any("look better than production" in r.what for r in said.remarks)
    assert said.windows.maturity == 4


def test_words_for_missing_and_another_format_are_found(tmp_path: Path) -> None:
    def change(number: int, row: Row) -> None:
        row["age years"] = "NA" if number % 9 == 0 else row["age years"]
        for name in ("inspected at", "failure known at"):
            row[name] = datetime.fromisoformat(row[name]).strftime("%d.%m.%Y %H:%M")

    p = proposed(
        write(tmp_path / "inspections.csv", GOOD, change), known_at="failure known at", time="inspected at"
    )
    assert p.profile.column("age_years").missing_words == ("NA",)
    assert p.profile.column("age_years").kind == "integer"
    assert p.profile.column("inspected_at").time_format == "%d.%m.%Y %H:%M"


def test_german_numbers_and_names_are_read_and_written_down(tmp_path: Path) -> None:
    """A decimal comma, semicolons and umlauts, as a spreadsheet writes them there."""
    rows_ = [
        f"B{i % 80:03};2023-{1 + i // 700:02}-{1 + i // 25 % 28:02} 09:00;{1000 + i % 700}.{i % 10}".replace(
            ".", ","
        )
        + f";{'ja' if i % 3 else 'nein'};"
        for i in range(1400)
    ]
    file = tmp_path / "kessel.csv"
    file.write_text(
        "Kessel;geprüft am;Wohnfläche (m²);Größe ok;bekannt\n" + "\n".join(rows_), encoding="utf-8"
    )
    p = proposed(
        file,
        label="Größe ok",
        entity=("Kessel",),
        time="geprüft am",
        positive="nein",
        label_delay=timedelta(days=2),
    )
    area = p.profile.column("Wohnfläche (m²)")
    assert (area.name, area.kind, area.decimal_comma, area.low) == ("wohnflaeche_m2", "number", True, 1000.0)
    assert [c.name for c in p.profile.columns][:4] == [
        "kessel",
        "geprueft_am",
        "wohnflaeche_m2",
        "groesse_ok",
    ]
    text = use_case_yaml(p, tmp_path / "case")
    assert "decimal_comma: [wohnflaeche_m2]" in text
    assert "Wohnfläche (m²)" in text
    assert yaml.safe_load(text)["feeds"][0]["source"]["columns"]["wohnflaeche_m2"] == "Wohnfläche (m²)"


def test_commas_in_texts_are_no_numbers(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("code;share;thousands\n" + "1,2,3;1,5;1.234\nx,1;2,0;5.678\n" * 20)
    code, share, thousands = profile_file(file).columns
    assert (code.kind, code.decimal_comma) == ("string", False)
    assert (share.kind, share.decimal_comma, share.high) == ("number", True, 2.0)
    assert (thousands.decimal_comma, thousands.high) == (False, 5.678), "nothing says that it is a thousand"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda i, row: row.update(failed="no"), ["constant"]),
        (lambda i, row: row.update(failed=""), ["missing in"]),
    ],
)
def test_a_label_that_is_one_value_or_none_is_told_that_alone(
    tmp_path: Path, change: Callable[[int, Row], None], said: list[str]
) -> None:
    profile = profile_file(write(tmp_path / "a.csv", rows(days=50, per_day=25), change))
    with pytest.raises(Refusal) as caught:
        propose(profile, Wishes("boilers", label="failed"))
    told = [r.what for r in caught.value.remarks if r.level == "error" and "label" in r.what]
    assert len(told) == 1 and said[0] in told[0]


def test_a_label_of_words_and_numbers_is_no_third_class_without_a_word(tmp_path: Path) -> None:
    def some(number: int, row: Row) -> None:
        row["failed"] = "1" if number % 5 == 0 else row["failed"]

    profile = profile_file(write(tmp_path / "a.csv", rows(days=50, per_day=25), some))
    found = [
        r for r in propose(profile, Wishes("boilers", label="failed")).remarks if "a word in others" in r.what
    ]
    assert [r.level for r in found] == ["warning"] and "(1)" in found[0].what


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("absent.csv", None, "no such file"),
        ("data.xlsx", "x", "no CSV or Parquet"),
        ("data.csv", "a,b\n", "no rows, only a header: a, b"),
        ("data.csv", "", "the file is empty"),
        ("data.csv", "a,b,b\n1,2,3\n", "columns 2 and 3 share the name 'b'"),
        ("data.csv", "a,,b,\n1,2,3,4\n", "columns 2 and 4 have no name"),
        ("data.csv", "PK\x03\x04\0\0", "it is binary, no text"),
        ("data.csv", "a,b\n1,2\n1,2,3\n", "as csv: line 3 has 3 values, the header has 2: 1,2,3"),
        (
            "data.csv",
            "a,b\n" + "1,2\n" * 5 + "1\n" * 5,
            "line 7 has 1 values, .*; see line\\(s\\) 8, 9, too, and more",
        ),
        (
            "data.csv",
            'a,b\n"x\ny",2\n1,"2\n' + "1,2,3\n" * 9,
            "line 4 opens a quote that is never closed, so that all up to line 13 is one value",
        ),
        (
            "data.csv",
            'a,b\n"x\ny",2\n"1,2\n' + "1,2,3\n" * 9,
            "line 4 opens a quote that is not closed in it, so that all up to line 13 is one row",
        ),
        ("data.csv", "\udc82\x01\x02ab\udcff\x0f,", "it is binary, no text"),
        ("data.csv", "a,b\n1,\udce9\n", r"not UTF-8 \(line 2: .* iconv -f WINDOWS-1252"),
        ("data.csv", "a,b\n1,\udc81\n", "iconv -f ITS-ENCODING"),
        ("data.parquet", "PAR1", "cannot be read as parquet"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, name: str, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, errors="surrogateescape")
    with pytest.raises(PlatformError, match=why) as caught:
        profile_file(tmp_path / name)
    assert name in caught.value.where and caught.value.fix


def test_a_text_of_several_lines_may_end_a_file(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text('a,b\n1,2\n3,"two\nlines"\n')
    assert profile_file(tmp_path / "data.csv").table["b"].to_pylist() == ["2", "two\nlines"]


def test_a_folder_is_told_with_a_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "data.csv").mkdir()
    (tmp_path / "data.csv" / "part.csv").write_text("a\n1\n")
    with pytest.raises(PlatformError, match="this is a folder") as caught:
        profile_file(tmp_path / "data.csv")
    assert "part.csv" in caught.value.fix


def test_what_a_file_holds_never_commands_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n1,2\n\x1b[31mred,1,2,3\n")
    with pytest.raises(PlatformError, match="cannot be read as csv") as caught:
        profile_file(tmp_path / "data.csv")
    assert "red,1,2,3" in caught.value.what and caught.value.what.isprintable()


def test_what_the_data_do_not_tell_is_asked_for_with_the_columns_there_are(tmp_path: Path) -> None:
    file = tmp_path / "plain.csv"
    file.write_text("a,b\n" + "1,2\n" * 30)
    with pytest.raises(ConfigError, match=r"--time .* and --label .* and --entity") as caught:
        propose(profile_file(file), Wishes("plain"))
    assert "a (integer), b (integer)" in caught.value.fix


def test_too_short_a_history_is_told(tmp_path: Path) -> None:
    file = write(tmp_path / "inspections.csv", boilers.rows(days=12))
    with pytest.raises(ConfigError, match="12 daily partitions are too little history"):
        proposed(file, width="daily")


@pytest.mark.parametrize(
    ("yes", "no", "words"),
    [
        ("1", "0", ("watch out for failed = 1", "expect failed = 0")),
        ("yes", "no", ("watch out for failed = yes", "expect failed = no")),
        ("broken", "sound", ("watch out for broken", "expect sound")),
    ],
)
def test_what_is_said_of_a_rare_outcome_is_no_expectation(
    tmp_path: Path, yes: str, no: str, words: tuple[str, str]
) -> None:
    def change(number: int, row: Row) -> None:
        row["failed"] = yes if number % 8 == 0 else no

    p = proposed(write(tmp_path / "inspections.csv", GOOD, change), positive=yes)
    (model,) = yaml.safe_load(use_case_yaml(p, tmp_path))["models"]
    decision = model["serving"]["decision"]
    assert decision["threshold"] < 0.5 and (decision["positive"], decision["negative"]) == words


def test_a_weekday_that_is_always_the_same_is_no_feature(tmp_path: Path) -> None:
    good = proposed(write(tmp_path / "inspections.csv", GOOD))
    assert "event_weekday" in [name for name, _, _ in calendar(good)]

    def change(number: int, row: Row) -> None:
        week = number // 25
        row["inspected at"] = (boilers.BEGIN + timedelta(weeks=week)).date().isoformat()
        row["failure known at"] = (boilers.BEGIN + timedelta(weeks=week, days=9)).date().isoformat()

    weekly = proposed(write(tmp_path / "weekly.csv", GOOD, change), width="weekly")
    assert [name for name, _, _ in calendar(weekly)] == []
