"""The walk through the manifest finds what dbt's own engine finds."""

import json
from importlib.metadata import version
from typing import Any

import pytest
from dagster_dbt import asset_utils
from library import FOLDER, NAME

from ml_platform.config import UseCase, load_use_case, use_case_files
from ml_platform.features.dbt import compile_project
from ml_platform.orchestration.assets.views import InstalledDbt
from ml_platform.orchestration.dbt_selection import known_selection, selected_nodes, selection


def manifest_of(use_case: UseCase) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(compile_project(use_case.dbt_dir).read_text())
    return found


@pytest.mark.parametrize("views", [("features", "labels"), ("labels",), ("entities",)])
@pytest.mark.parametrize("path", use_case_files(), ids=lambda p: p.parent.name)
def test_the_nodes_are_those_of_dbt_s_engine(path: Any, views: tuple[str, ...]) -> None:
    use_case = load_use_case(path)
    manifest = manifest_of(use_case)
    models = [getattr(use_case.config.views, view) for view in views]

    expected = asset_utils.select_unique_ids(
        select=selection(models), exclude="", selector="", project=None, manifest_json=manifest
    )

    assert selected_nodes(manifest, models) == expected
    assert len(expected) >= len(views)


def test_models_of_another_use_case_in_the_project_are_left_out() -> None:
    use_case = load_use_case(FOLDER / NAME / "use_case.yaml")
    manifest = manifest_of(use_case)
    stranger = {"resource_type": "model", "name": "stranger"}
    manifest["nodes"]["model.library.stranger"] = stranger
    manifest["parent_map"]["model.library.stranger"] = []

    assert "model.library.stranger" not in selected_nodes(manifest, [use_case.config.views.features])


def test_dagster_s_own_way_is_restored_even_after_an_error() -> None:
    before = asset_utils.select_unique_ids

    with pytest.raises(RuntimeError), known_selection(frozenset()):
        assert asset_utils.select_unique_ids is not before
        raise RuntimeError

    assert asset_utils.select_unique_ids is before


def test_dbt_is_not_started_to_ask_for_its_version() -> None:
    dbt = InstalledDbt(project_dir=str(FOLDER / NAME / "dbt"), dbt_executable="false")
    assert str(dbt._cli_version) == version("dbt-core")
