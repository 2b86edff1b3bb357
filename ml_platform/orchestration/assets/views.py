"""Stage 3: entities, features and labels, built by dbt in a disposable DuckDB, one object per partition."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetsDefinition,
    AssetSpec,
    BackfillPolicy,
    Output,
    TableColumnDep,
    TableColumnLineage,
    TableSchema,
)
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, dbt_assets
from packaging.version import Version

from ml_platform.config import UseCase
from ml_platform.features.dbt import DIRECTORY_VARIABLE, TARGET, build_error, compile_project, copy_project
from ml_platform.features.lineage import ViewLineage
from ml_platform.features.relations import feed_of
from ml_platform.lifecycle.column_lineage import column_lineage
from ml_platform.orchestration import metadata, partial
from ml_platform.orchestration.dbt_selection import known_selection, selected_nodes, selection
from ml_platform.orchestration.keys import feed_key, owners, partitions_of, view_key
from ml_platform.orchestration.limits import pool_of
from ml_platform.orchestration.resources import PlatformResource
from ml_platform.orchestration.run_context import as_of, partition_keys

if TYPE_CHECKING:
    import pyarrow as pa
    from dagster_dbt import DbtProject


class UseCaseTranslator(DagsterDbtTranslator):  # type: ignore[misc]
    """Names a use case's dbt models and sources as the graph does."""

    def __init__(self, use_case: UseCase) -> None:
        super().__init__()
        self.use_case = use_case
        views = use_case.config.views
        self.lineage = column_lineage(use_case)
        self.names = {views.entities: "entities", views.features: "features", views.labels: "labels"}

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> AssetKey:
        """``<use_case>/<view>``; a feed's relation is the feed's accepted history."""
        return self.key_of(dbt_resource_props["name"])

    def get_asset_check_spec(
        self, asset_spec: AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: "DbtProject | None"
    ) -> AssetCheckSpec | None:
        """dbt's own, and what its test says that it asks: dagster-dbt looks in ``meta`` alone."""
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        said = manifest["nodes"][unique_id].get("description")
        return spec._replace(description=said) if spec is not None and said and not spec.description else spec

    def key_of(self, relation: str) -> AssetKey:
        """The asset behind a relation of the SQL."""
        feed = feed_of(relation)
        if feed is not None:
            return feed_key(feed, "accepted")
        return view_key(self.use_case, self.names.get(relation, relation))

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """dbt's own, and which columns each column is made from."""
        found = {**super().get_metadata(dbt_resource_props), **metadata.readme(self.use_case)}
        known = self.lineage.get(dbt_resource_props["name"])
        if known is not None:
            found |= self._lineage(known)
        return found

    def _lineage(self, known: ViewLineage) -> dict[str, Any]:
        if known.problem is not None:
            return {"column_sources": known.problem}
        deps = {
            column: [TableColumnDep(self.key_of(s.relation), s.column) for s in sources]
            for column, sources in known.columns.items()
        }
        # The open-source UI draws no column lineage, so that it is there as a table as well.
        rows = [
            {
                "column": c,
                "made from": ", ".join(f"{d.asset_key.to_user_string()}.{d.column_name}" for d in ds),
            }
            for c, ds in deps.items()
        ]
        return {"dagster/column_lineage": TableColumnLineage(deps), "column_sources": metadata.table(rows)}

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The use case is the group."""
        return self.use_case.name

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str]:
        """The use case's owners."""
        return owners(self.use_case)


def view_assets(use_case: UseCase) -> list[AssetsDefinition]:
    """The dbt models of a use case, and the relation of cutoffs that they read."""
    views = use_case.config.views
    models = (views.features, views.labels)
    manifest = json.loads(compile_project(use_case.dbt_dir).read_text(encoding="utf-8"))
    with known_selection(selected_nodes(manifest, models)):
        build_views = _build_views(use_case, manifest, selection(models))
    cutoffs = AssetsDefinition(
        specs=[
            AssetSpec(
                view_key(use_case, "cutoffs"),
                group_name=use_case.name,
                description="The partitions asked for: span, and the instant after which nothing counts.",
                owners=owners(use_case),
            )
        ]
    )
    return [build_views, cutoffs]


def _build_views(use_case: UseCase, manifest: Mapping[str, Any], select: str) -> AssetsDefinition:
    views = use_case.config.views
    described = {
        name: _descriptions(manifest, model)
        for name, model in (("features", views.features), ("labels", views.labels))
    }

    @dbt_assets(
        manifest=manifest,
        select=select,
        dagster_dbt_translator=UseCaseTranslator(use_case),
        partitions_def=partitions_of(use_case),
        backfill_policy=BackfillPolicy.single_run(),
        name=f"{use_case.name}__views",
        pool=pool_of(use_case),
        required_resource_keys={dbt_resource_key(use_case), "platform"},
    )
    def build_views(context: AssetExecutionContext) -> Iterator[Any]:
        from ml_platform.lifecycle.views import open_warehouse, publish_built, reached

        platform: PlatformResource = context.resources.platform
        stores = platform.get()
        now = as_of(context, stores, use_case)
        keys = reached(use_case, partition_keys(context), now)
        if not keys:
            context.log.info("no partition's cutoff has been reached yet: nothing to build")
            yield from _done(context, [])
            return
        with tempfile.TemporaryDirectory(prefix="ml-platform-dbt-") as folder:
            file = copy_project(use_case.dbt_dir, Path(folder))
            with open_warehouse(stores, use_case, keys, now, file=file):
                pass
            dbt = context.resources.original_resource_dict[dbt_resource_key(use_case)]
            events = _run_dbt(context, dbt, Path(folder), use_case.dbt_dir)
            published = publish_built(stores, use_case, keys, now, file)
        for view, results in published.items():
            made = [each for each in results if each.digest is not None]
            for each in made:
                numbers = {"rows": each.rows, "status": each.status, **each.details}
                # The UI shows the latest: once per run is enough.
                typed = _column_schema(each.schema, described[view]) if each is made[-1] else {}
                yield AssetMaterialization(
                    view_key(use_case, view),
                    partition=each.partition,
                    metadata=_readable(numbers) | typed,
                )
        yield from _done(context, events)

    return build_views


def _descriptions(manifest: Mapping[str, Any], model: str) -> dict[str, str]:
    nodes = [n for n in manifest["nodes"].values() if n["resource_type"] == "model" and n["name"] == model]
    return {name: column.get("description", "") for n in nodes for name, column in n["columns"].items()}


def _column_schema(schema: "pa.Schema | None", described: Mapping[str, str]) -> dict[str, TableSchema]:
    """Names and types as they were built: dbt's manifest has the descriptions, but no types."""
    if schema is None:
        return {}
    columns = {field.name: (str(field.type), described.get(field.name, "")) for field in schema}
    return {"dagster/column_schema": metadata.schema(columns)}


def dbt_resource_key(use_case: UseCase) -> str:
    """Each use case has a dbt resource of its own: one broken project breaks no other's."""
    return f"dbt__{use_case.name}"


def dbt_resource(use_case: UseCase) -> DbtCliResource:
    """dbt on the use case's project."""
    import sys

    return DbtCliResource(
        project_dir=str(use_case.dbt_dir),
        profiles_dir=str(use_case.dbt_dir),
        dbt_executable=str(Path(sys.executable).parent / "dbt"),
    )


class InstalledDbt(DbtCliResource):  # type: ignore[misc]
    """dbt whose version is known: ``dbt --version`` takes seconds, and asks a registry for the newest one."""

    @property
    def _cli_version(self) -> Version:
        return Version(version("dbt-core"))


def _run_dbt(context: AssetExecutionContext, dbt: DbtCliResource, folder: Path, dbt_dir: Path) -> list[Any]:
    """Build and test in a copy of the project; dbt's tests come back as asset checks.

    Raises:
        ConfigError: A model could not be built, or a test failed.
    """
    copy = InstalledDbt(project_dir=str(folder), profiles_dir=str(folder), dbt_executable=dbt.dbt_executable)
    # dbt's profile reads it, and the child inherits the environment.
    os.environ[DIRECTORY_VARIABLE] = TARGET
    target = folder / TARGET
    (target / "run_results.json").unlink(missing_ok=True)
    invocation = copy.cli(["build"], context=context, target_path=target, raise_on_error=False)
    events = list(invocation.stream())
    error = invocation.get_error()
    if error is not None:
        raise build_error(dbt_dir, target, str(error))
    return events


def _done(context: AssetExecutionContext, events: list[Any]) -> Iterator[Any]:
    """Pass dbt's checks on, and finish each model's output without its automatic materialisations."""
    for event in events:
        if isinstance(event, AssetCheckResult | AssetCheckEvaluation) or not isinstance(
            event, Output | AssetMaterialization
        ):
            yield event
    for name in context.op_execution_context.selected_output_names:
        if "_check" not in name and not _is_check(context, name):
            partial.finish(context, name)


def _is_check(context: AssetExecutionContext, name: str) -> bool:
    outputs = context.assets_def.check_specs_by_output_name
    return name in outputs


def _readable(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, dict) else v for k, v in numbers.items()}
