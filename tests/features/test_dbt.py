"""dbt compiles the views once, and again when their sources change."""

from pathlib import Path

import pytest

from ml_platform.config import UseCase, load_use_case
from ml_platform.errors import ConfigError, NotFoundError
from ml_platform.features.dbt import (
    _run_dbt,
    compile_project,
    compiled_views,
    copy_project,
    dbt_command,
    manifest_path,
)


@pytest.fixture
def use_case(own_use_case: Path) -> UseCase:
    return load_use_case(own_use_case / "use_case.yaml")


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """dbt in an interpreter of its own, as the platform runs it."""
    monkeypatch.setattr("ml_platform.features.dbt.dbt_command", dbt_command)


def model(use_case: UseCase, name: str) -> Path:
    return use_case.dbt_dir / "models" / f"{name}.sql"


def test_the_compiled_text_reads_relations_by_name_and_nothing_else(use_case: UseCase) -> None:
    views = compiled_views(use_case)
    assert (views.entities.name, views.labels.name) == ("library_loans_entities", "library_loans_labels")
    for view in (views.entities, views.features, views.labels):
        assert "{{" not in view.sql and str(use_case.folder) not in view.sql
    assert '"warehouse"."main"."feed_returns"' in views.features.sql
    assert views.features.columns["branch_late_rate"] == "Smoothed rate of late returns by the branch."
    assert len({views.feature_version, views.label_version, views.features.version}) == 3


def test_it_is_compiled_once_and_again_when_the_sql_changes(use_case: UseCase, cold: None) -> None:
    before = compiled_views(use_case)
    compiled = manifest_path(use_case.dbt_dir).stat().st_mtime_ns
    assert compiled_views(use_case) == before
    assert manifest_path(use_case.dbt_dir).stat().st_mtime_ns == compiled
    file = model(use_case, "library_loans_labels")
    file.write_text(file.read_text().replace("r.returned_at > r.due_at", "r.returned_at >= r.due_at"))
    after = compiled_views(use_case)
    assert manifest_path(use_case.dbt_dir).stat().st_mtime_ns > compiled
    assert ">=" in after.labels.sql and after.label_version != before.label_version
    assert after.feature_version == before.feature_version, "labels are no part of the feature code"


def test_a_copy_has_all_but_the_output_and_is_not_parsed_anew(use_case: UseCase, tmp_path: Path) -> None:
    macros = use_case.dbt_dir / "macros" / "target"
    macros.mkdir(parents=True)
    (macros / "logs.sql").write_text("{% macro nothing() %}{% endmacro %}")
    compile_project(use_case.dbt_dir)
    database = copy_project(use_case.dbt_dir, tmp_path / "copy")
    assert database == tmp_path / "copy" / "target" / "warehouse.duckdb" and not database.exists()
    assert (tmp_path / "copy" / "macros" / "target" / "logs.sql").exists(), "no output of dbt, but source"
    assert [f.name for f in database.parent.iterdir()] == ["partial_parse.msgpack"]

    _run_dbt(tmp_path / "copy", "compile", "--log-path", "target")

    log = (database.parent / "dbt.log").read_text()
    assert "Partial parsing enabled" in log and "Unable to do partial parsing" not in log


def test_a_model_that_dbt_refuses_is_told_in_dbts_words(use_case: UseCase, cold: None) -> None:
    model(use_case, "library_loans_labels").write_text("select * from {{ ref('no_such_model') }}")
    with pytest.raises(ConfigError, match="no_such_model") as caught:
        compile_project(use_case.dbt_dir)
    assert caught.value.where == str(model(use_case, "library_loans_labels"))
    assert not (use_case.dbt_dir / "target" / "sources.sha256").exists(), "it is compiled again next time"


def test_a_view_that_is_no_dbt_model_is_named(use_case: UseCase) -> None:
    views = use_case.config.views.model_copy(update={"labels": "no_such_view"})
    other = UseCase(use_case.config.model_copy(update={"views": views}), use_case.folder)
    with pytest.raises(NotFoundError, match="no model 'no_such_view'"):
        compiled_views(other)


def test_a_folder_without_a_project_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dbt_project"):
        compile_project(tmp_path)
