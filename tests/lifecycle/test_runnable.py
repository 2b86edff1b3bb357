"""What would stop a run after minutes is told before it, and what would run is let through."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ml_platform.config import load_use_case
from ml_platform.errors import ConfigError
from ml_platform.lifecycle.runnable import dry_remarks, require_runnable

FEATURES, LABELS = "library_loans_features", "library_loans_labels"


@pytest.fixture
def edit(own_use_case: Path) -> Callable[[str, str, str], None]:
    """Changes a text in a view of the use case."""

    def change(view: str, old: str, new: str) -> None:
        path = own_use_case / "dbt" / "models" / f"{view}.sql"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def test_a_good_one_is_let_through(own_use_case: Path) -> None:
    use_case = load_use_case(own_use_case / "use_case.yaml")
    assert dry_remarks(use_case) == []
    require_runnable(use_case, [m.name for m in use_case.config.models])


@pytest.mark.parametrize(
    ("view", "old", "new", "what", "where"),
    [
        (FEATURES, "cast(e.pages as double)", "cast(e.pagez as double)", '"pagez"', f"{FEATURES}.sql:14"),
        (FEATURES, "left join rates", "left joyn rates", "syntax error", f"{FEATURES}.sql:20"),
        (FEATURES, "as pages", "as pags", "feature pages is not in the features view", "model late_return"),
        (
            FEATURES,
            "cast(e.pages as double)",
            "e.genre",
            "feature pages is string, not numeric",
            "late_return",
        ),
        (LABELS, "as late", "as too_late", "the labels view has no column late", f"{LABELS}.sql: late"),
        (LABELS, "label_known_at", "known", "the labels view has no column label_known_at", f"{LABELS}.sql"),
    ],
)
def test_wrong_sql_is_told_without_a_look_at_the_data(
    own_use_case: Path,
    edit: Callable[[str, str, str], None],
    view: str,
    old: str,
    new: str,
    what: str,
    where: str,
) -> None:
    edit(view, old, new)
    with pytest.raises(ConfigError, match=r"(?s)where: .*fix: ") as error:
        require_runnable(load_use_case(own_use_case / "use_case.yaml"), ["late_return"])
    assert what in error.value.what and where in error.value.where


def test_all_that_is_wrong_is_told_at_once_and_only_of_the_models_to_run(
    own_use_case: Path, edit: Callable[[str, str, str], None]
) -> None:
    edit(FEATURES, "as pages", "as pags")
    file = own_use_case / "use_case.yaml"
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config["models"][0]["training"] = {"estimator": "logistic", "parameters": {"num_leaves": 8}}
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    use_case = load_use_case(file)
    with pytest.raises(ConfigError, match="2 things must be mended") as error:
        require_runnable(use_case, ["late_return"])
    assert "1. logistic has no parameter num_leaves" in str(error.value)
    assert "2. feature pages is not in the features view" in str(error.value)
    require_runnable(use_case, [])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("cast(e.pages as double)", "cast(e.genre as double)"),
        ("cast(e.pages as double)", "cast((select error('no row')) as double)"),
        (
            "left join rates",
            "left join (pivot (select 1 as x) on x using count(*)) as p on false left join rates",
        ),
    ],
)
def test_what_only_the_data_can_tell_stops_no_run(
    own_use_case: Path, edit: Callable[[str, str, str], None], old: str, new: str
) -> None:
    """A text may be a number in all rows, and columns that are made of values are not there without them."""
    edit(FEATURES, old, new)
    require_runnable(load_use_case(own_use_case / "use_case.yaml"), ["late_return"])
