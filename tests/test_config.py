"""What a product team writes is read strictly; each error names file, line and key."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import yaml

from ml_platform.config import json_schema, load_use_case
from ml_platform.discovery import discover
from ml_platform.errors import ConfigError, NotFoundError

LIBRARY = Path(__file__).parent / "library_use_case" / "library_loans" / "use_case.yaml"


@pytest.fixture
def file(own_use_case: Path) -> Path:
    return own_use_case / "use_case.yaml"


def line_of(file: Path, text: str) -> int:
    return next(n for n, line in enumerate(file.read_text().splitlines(), 1) if text in line)


def edited(file: Path, old: str, new: str) -> ConfigError:
    """The error of the file with one edit."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_use_case(file)
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "key", "why"),
    [
        (
            "    reader: feeds:read_loans",
            "    raeder: feeds:read_loans",
            "feeds.0.raeder",
            "did you mean 'reader'?",
        ),
        ("    lookback: 4", "    lookback: four", "feeds.1.lookback", "whole number"),
        ("{threshold: 0.4,", "{threshold: 1.4,", "models.0.serving.decision.threshold", "at most 1"),
        (
            "      folds: 3",
            "      folds: 3\n      fold: 3",
            "models.0.training.fold",
            "did you mean 'folds'?",
        ),
        ("{width: weekly,", "{width: yearly,", "partitions.width", "daily"),
        ("name: library_loans\n", "name: Library Loans\n", "name", "is no name"),
    ],
)
def test_an_unknown_or_wrong_key_is_told_with_file_line_and_key(
    file: Path, old: str, new: str, key: str, why: str
) -> None:
    error = edited(file, old, new)
    number = line_of(file, new.rsplit("\n", 1)[-1].strip() or new.strip())
    assert f"{file}:{number}: {key}: " in error.what and why in error.what
    assert "ml-platform schema" in error.fix


def test_a_known_event_names_the_partition_that_holds_its_day(file: Path) -> None:
    events = "[{name: Fair, dates: [2020-03-04, 2020-03-11]}, {name: Move, dates: [2020-03-05]}]"
    file.write_text(f"{file.read_text()}events: {events}\n")
    use_case = load_use_case(file)
    keys = use_case.scheme.keys(use_case.scheme.key_of_day(date(2020, 2, 20)), "2020-03-30")
    week, next_week = (use_case.scheme.key_of_day(date(2020, 3, d)) for d in (4, 11))
    assert use_case.events_of(keys) == {week: "Fair, Move", next_week: "Fair"}


def test_a_missing_key_points_at_what_it_is_missing_from(file: Path) -> None:
    error = edited(file, "owner: {team: lending, email: lending@example.org}\n", "owner: {team: lending}\n")
    assert f"{file}:{line_of(file, 'owner:')}: owner: 'email' is missing" in error.what


def test_all_errors_are_told_at_once(file: Path) -> None:
    text = file.read_text().replace("lookback: 4", "lookback: -1").replace("segments: 3", "segments: 0", 1)
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"2 error\(s\)"):
        load_use_case(file)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("  - name: returns", "  - name: loans", "feed named twice: loans"),
        ("\nname: library_loans", "\nname: platform", "the platform keeps for itself"),
        ("\nname: library_loans", "\nname: temp", "'temp' is a name that SQL keeps for itself"),
        ("schema_version: 1", "schema_version: 2", "schema_version 2, and this platform reads up to 1"),
        ("feeds: [returns]}", "feeds: [retuns]}", "not declared: retuns"),
        ("- {column: branch}", "- {column: colour}", "slices of no feature: colour"),
        (
            "    windows: {train",
            "    retraining: {freshness_partitions: 30}\n    windows: {train",
            "freshness_partitions is less than diagnosis.label_horizon",
        ),
        (
            "    windows: {train",
            "    retraining: {freshness_gate: 50}\n    windows: {train",
            "freshness_partitions is less than freshness_gate",
        ),
        (
            "    windows: {train",
            "    diagnosis: {concept_partitions: 50}\n    windows: {train",
            "maximum_partitions is less than concept_partitions",
        ),
        (
            "    windows: {train",
            "    diagnosis: {mature_share: 0.4}\n    windows: {train",
            "no partition could have weights",
        ),
        (
            "    windows: {train",
            "    diagnosis: {minimum_rows: 150}\n    windows: {train",
            "of either class are more than minimum_rows",
        ),
        (", start: 2020-08-30T20:00:00+02:00", ", start: 2020-08-30T20:00:00", "UTC offset"),
    ],
)
def test_what_does_not_fit_together_is_told(file: Path, old: str, new: str, why: str) -> None:
    assert why in edited(file, old, new).what


OWNER = "owner: {team: lending, email: lending@example.org}"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("lookback: 4", "lookback: four", "a whole number is expected, found the text 'four'"),
        ("key: [branch, loan_no]", "key: branch", "views.key: a list is expected, found the text 'branch'"),
        (OWNER, "owner: lending", "a mapping of keys to values with the keys team, email is expected, found"),
        (OWNER, "owner: {team: lending, email: at home}", "'at home' is no mail address such as"),
        (OWNER, "owner: {team: ' ', email: a@example.org}", "the team's name is empty"),
        ("landing_lag: PT1H", "landing_lag: 1h", "PT2H (hours) or PT30M (minutes) is expected, found the te"),
        ("landing_lag: PT1H", "landing_lag: 60", "is expected, found the number 60"),
        ("start: 2020-01-06,", "start: 06.01.2020,", "a date such as 2024-01-31 is expected, found the text"),
        (
            "start: 2020-01-06,",
            "start: 2020,",
            "such as 2024-01-31 is expected, found the number 2020",
        ),
        ('at: "20:00"', "at: 20:00", "the number 1200 (as which YAML reads 20:00 without quotes)"),
        ('at: "20:00"', "at: 8pm", 'a time of day in quotes, such as "20:00", is expected, found the text'),
        ("width: weekly", "width: week", "is expected, found the text 'week'; did you mean 'weekly'?"),
        ("Europe/Berlin", "Berlin", "partitions.timezone: 'Berlin' is no IANA zone"),
        ("title: Late returns at the library", "title: 2020", "found the number 2020; write it in quotes"),
        ("static: true", "static: maybe", "true or false is expected, found the text 'maybe'"),
        ("{train: 18,", "{train: 0,", "models.0.windows.train: it must be at least 2, found 0"),
        (
            "- {column: branch}",
            "- branch",
            "the keys column, bands is expected, found the text 'branch'",
        ),
        ("feeds: [returns]}", "feeds: [retuns]}", "are not declared: retuns; did you mean 'returns'?"),
        ("{column: branch}", "{column: brunch}", "slices of no feature: brunch; did you mean 'branch'?"),
        ("{threshold: 0.4,", "{bands: [2, 1],", "serving.decision.bands: the edges of 'bands' must rise"),
        (
            "      folds: 3",
            "      baseline: ridge",
            "models.0.training.baseline: model late_return is b",
        ),
        (
            "parameters: {n_estimators: 60}",
            "parameters: {a: [1]}",
            "parameters.a: a number or a whole",
        ),
    ],
)
def test_a_typical_mistake_is_told_in_plain_words_at_its_own_line(
    file: Path, old: str, new: str, told: str
) -> None:
    error = edited(file, old, new)
    (said,) = error.what.splitlines()[1:]
    assert said.strip().startswith(f"{file}:{line_of(file, new)}: ")
    assert told in said
    assert error.where == f"{file}:{line_of(file, new)}"


def test_a_wrong_date_or_instant_is_told_once(file: Path) -> None:
    demo = "{promote_at: 1, serve_first: soon, serve_last: 2020-10-05, judge_at: 2020-10-09T00:00:00+00:00}"
    error = edited(file, "\nviews:", f"\ndemo: {demo}\nviews:")
    told = "\n".join(error.what.splitlines()[1:])
    assert told.count("serve_first") == 1 and told.count("promote_at") == 1
    assert "a date such as 2024-01-31 or an instant such as 2024-01-31T10:00:00+01:00 is expected" in told


@pytest.mark.parametrize(
    ("cutoff", "first", "last", "judged", "at", "told"),
    [
        ("{of: start}", "2020-08-24", "2020-10-05", "2020-11-01", "serve_first", "begin with 2020-08-31, or"),
        ("{of: end}", "2020-08-17", "2020-10-05", "2020-11-01", "serve_first", "begin with 2020-08-24, or"),
        ("{of: end}", "2020-08-24", "2020-08-17", "2020-11-01", "serve_last", "before serve_first"),
        (
            "{of: end}",
            "2020-08-24",
            "2020-10-05",
            "2020-10-11",
            "judge_at",
            "cutoff of serve_last, 2020-10",
        ),
        ("{of: end}", "2020-08-24", "2030-10-07", "2020-10-09", "serve_last", "is outside the partitions, "),
    ],
)
def test_a_demo_that_cannot_be_played_is_told_before_it_is(
    file: Path, cutoff: str, first: str, last: str, judged: str, at: str, told: str
) -> None:
    """The champion comes before what it serves, and that before the look back."""
    text = file.read_text()
    file.write_text(
        re.sub(r"\ncutoff: .*", f"\ncutoff: {cutoff}", text)
        + f"\ndemo:\n  promote_at: 2020-08-31T00:00:00+02:00\n  serve_first: {first}\n  serve_last: {last}\n"
        f"  judge_at: {judged}T00:00:00+02:00\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_use_case(file)
    (said,) = caught.value.what.splitlines()[1:]
    assert f"demo.{at}: " in said and told in said


@pytest.mark.parametrize(
    ("old", "new", "at", "what", "fix"),
    [
        ("feeds: [returns]}", "feeds: [returns}", "returns}", "did not find expected ',' or ']'", "mend"),
        ("    lookback: 4", "\tlookback: 4", "lookback: 4", "a tab character", "spaces"),
        ("title: Late", "title: L\x00te", "title: L", "control characters are not allowed", "mend"),
    ],
)
def test_wrong_syntax_is_told_with_its_line_and_in_one(
    file: Path, old: str, new: str, at: str, what: str, fix: str
) -> None:
    error = edited(file, old, new)
    assert error.what.startswith("this is not YAML: ") and what in error.what
    assert "unicode string" not in error.what and "\n" not in error.what
    assert error.where == f"{file}:{line_of(file, at)}"
    assert fix in error.fix


@pytest.mark.parametrize("when", ["2024-13-08", "2024-06-31T10:00:00+00:00", "2024-01-01T25:00:00"])
def test_a_date_that_cannot_be_is_told_with_its_line(file: Path, when: str) -> None:
    error = edited(file, "\ntitle: ", f"\ntitle: {when} # ")
    assert error.what.startswith("a date or time cannot be: ")
    assert error.where == f"{file}:{line_of(file, 'title:')}"


def test_a_use_case_with_such_a_date_stops_no_other(file: Path) -> None:
    edited(file, "\ntitle: ", "\ntitle: 2024-13-08 # ")
    found = discover([LIBRARY, file])
    assert list(found.use_cases) == ["library_loans"]
    assert [b.path for b in found.broken] == [file]


def test_a_key_that_stands_twice_is_told(file: Path) -> None:
    error = edited(file, "    lookback: 4\n", "    lookback: 4\n    lookback: 5\n")
    first = line_of(file, "lookback: 4")
    assert error.what == f"'lookback' stands twice, first in line {first}"
    assert error.where == f"{file}:{first + 1}"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"name: [unclosed", "this is not YAML"),
        (b"name: caf\xe9", "cannot read"),
        (b"", "the use case is empty"),
        (b"# only a comment", "the use case is empty"),
        (b"- a list", "holds a list, and no keys with values"),
        (b"some text", "holds the text 'some text'"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(file: Path, content: bytes, why: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=why) as caught:
        load_use_case(file)
    assert caught.value.where.split(":")[0] == str(file)
    assert caught.value.fix


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_use_case(tmp_path / "use_case.yaml")


def test_cutoff_due_and_maturity_are_local_times_told_in_utc(file: Path) -> None:
    use_case = load_use_case(file)
    loans, returns, branches = (use_case.feed(n) for n in ("loans", "returns", "branches"))
    assert use_case.cutoff("2020-09-07") == datetime(2020, 9, 6, 18, tzinfo=UTC)
    assert use_case.cutoff("2020-11-02") == datetime(2020, 11, 1, 19, tzinfo=UTC), "winter time"
    assert use_case.due_at(loans, "2020-09-07") == datetime(2020, 9, 6, 10, tzinfo=UTC)
    assert use_case.complete_at(returns, "2020-09-07") == datetime(2020, 9, 27, 22, tzinfo=UTC)
    assert use_case.due_at(branches, "static") == datetime(2020, 1, 5, 23, tzinfo=UTC)
    assert use_case.last_mature(use_case.config.models[0], datetime(2020, 9, 6, tzinfo=UTC)) == "2020-08-10"


def test_a_training_window_trails_or_grows(file: Path) -> None:
    use_case = load_use_case(file)
    model = use_case.config.models[0]
    trailing = use_case.trained_on(model, "2020-09-07")
    assert (len(trailing), trailing[-1]) == (model.windows.train, "2020-09-07")
    # A Wednesday: its week is the first that trains, however far the last one is.
    growing = model.model_copy(
        update={"windows": model.windows.model_copy(update={"since": date(2020, 8, 12)})}
    )
    assert use_case.trained_on(growing, "2020-08-24") == ["2020-08-10", "2020-08-17", "2020-08-24"]
    assert use_case.trained_on(growing, "2020-09-07")[0] == "2020-08-10"
    assert use_case.trained_on(growing, "2020-08-03") == []


def test_what_is_not_there_is_answered_with_what_is(file: Path) -> None:
    use_case = load_use_case(file)
    with pytest.raises(NotFoundError, match="loans, returns, branches"):
        use_case.feed("nothing")
    with pytest.raises(NotFoundError, match="late_return"):
        use_case.model("nothing")


def test_the_schema_for_editors_knows_every_key_and_forbids_others(file: Path) -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    assert set(yaml.safe_load(file.read_text())) <= set(schema["properties"])
    for definition in schema["$defs"].values():
        assert all("description" in p for p in definition.get("properties", {}).values())
