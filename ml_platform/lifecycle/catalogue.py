"""The catalogue: every feed, feature, dataset, model and prediction, with owner and lineage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ml_platform.config import UseCase
from ml_platform.datasets.versions import versions
from ml_platform.features.lineage import ViewLineage, through
from ml_platform.features.relations import feed_of
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.column_lineage import column_lineage
from ml_platform.lifecycle.feed_contracts import contract_of
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.registry.promotions import champion


@dataclass(frozen=True)
class Entry:
    """One thing of the catalogue.

    Attributes:
        kind: ``feed``, ``column``, ``feature``, ``label``, ``dataset``, ``model`` or ``predictions``.
        name: Its name.
        type: Its type or format.
        source: Where it comes from.
        owner: Who answers for it.
        classification: How confidential it is, as its contract says.
        lineage: What it is made from.
        description: For people.
        usage: Where it is used.
        columns: For features and labels: the columns of feeds and cutoffs that they are made from.
    """

    kind: str
    name: str
    type: str
    source: str
    owner: str
    classification: str
    lineage: str
    description: str
    usage: str
    columns: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The entry as plain values."""
        return asdict(self)


def entries(platform: Platform) -> list[Entry]:
    """All entries: feeds and their columns first, then each use case's features, datasets and models."""
    found: list[Entry] = []
    seen: set[str] = set()
    for use_case in platform.use_cases.values():
        for feed in use_case.config.feeds:
            if feed.name not in seen:
                seen.add(feed.name)
                found += _feed(use_case, feed.name)
        lineage = column_lineage(use_case)
        for model in use_case.config.models:
            target = Target(use_case, model)
            found += [*_features(target, lineage), *_datasets(platform, target), *_model(platform, target)]
    return found


def _feed(use_case: UseCase, name: str) -> Iterator[Entry]:
    contract, feed = contract_of(use_case, name), use_case.feed(name)
    users = f"{use_case.name}: {use_case.config.views.features}, {use_case.config.views.labels}"
    yield Entry(
        kind="feed",
        name=name,
        type="reference" if feed.static else f"{use_case.scheme.width} partitions",
        source=feed.origin,
        owner=contract.owner,
        classification=", ".join(sorted({c.classification for c in contract.columns if c.classification})),
        lineage=f"feed/{name}/landed → feed/{name}/accepted",
        description=contract.description,
        usage=users,
    )
    for column in contract.columns:
        yield Entry(
            kind="column",
            name=f"{name}.{column.name}",
            type=column.logical_type,
            source=name,
            owner=contract.owner,
            classification=column.classification,
            lineage=f"feed/{name}/accepted",
            description=column.description,
            usage=", ".join(f.name for m in use_case.config.models for f in m.features if name in f.feeds),
        )


def _features(target: Target, lineage: Mapping[str, ViewLineage]) -> Iterator[Entry]:
    use_case, model = target.use_case, target.model
    features, labels = (
        through(lineage, v) for v in (use_case.config.views.features, use_case.config.views.labels)
    )
    owner = use_case.config.owner.team
    for feature in model.features:
        yield Entry(
            kind="feature",
            name=f"{use_case.name}.{feature.name}",
            type=feature.kind,
            source=f"dbt model {use_case.config.views.features}",
            owner=owner,
            classification="",
            lineage=", ".join(feature.feeds) or ", ".join(f.name for f in use_case.config.feeds),
            description=feature.description,
            usage=target.key,
            columns=_columns(features, feature.name),
        )
    yield Entry(
        kind="label",
        name=f"{use_case.name}.{model.label.column}",
        type=model.kind,
        source=f"dbt model {use_case.config.views.labels}",
        owner=owner,
        classification="",
        lineage=f"mature after {model.label.maturity_partitions} partitions",
        description=model.label.description,
        usage=target.key,
        columns=_columns(labels, model.label.column),
    )


def _columns(lineage: ViewLineage, name: str) -> tuple[str, ...]:
    if lineage.problem is not None:
        return (f"unknown: {lineage.problem}",)
    return tuple(f"{feed_of(s.relation) or s.relation}.{s.column}" for s in lineage.columns.get(name, ()))


def _datasets(platform: Platform, target: Target) -> Iterator[Entry]:
    for row in versions(platform.ledger, target.key):
        yield Entry(
            kind="dataset",
            name=row.version,
            type=f"{row.rows:,} rows, Parquet",
            source=f"{row.first_partition} to {row.last_partition}",
            owner=target.use_case.config.owner.team,
            classification="",
            lineage=f"{target.use_case.name}/features, {target.use_case.name}/labels",
            description=f"as of {row.as_of.isoformat()}",
            usage=target.key,
        )


def _model(platform: Platform, target: Target) -> Iterator[Entry]:
    owner = target.use_case.config.owner.team
    promotion = champion(platform.ledger, target.key)
    serving = (
        f"version {promotion.version}, {promotion.model_digest[:12]}" if promotion else "no champion yet"
    )
    yield Entry(
        kind="model",
        name=target.key,
        type=f"{target.model.kind}, {target.model.training.estimator}",
        source=serving,
        owner=owner,
        classification="",
        lineage=target.asset("training_dataset"),
        description=target.model.title,
        usage="predictions, serving cache",
    )
    heads = platform.ledger.heads(predictions_asset(target))
    yield Entry(
        kind="predictions",
        name=predictions_asset(target),
        type=f"{sum(h.rows for h in heads.values()):,} rows, Parquet",
        source=f"{min(heads)} to {max(heads)}" if heads else "none yet",
        owner=owner,
        classification="",
        lineage=f"{target.asset('champion_model')}, {target.use_case.name}/features",
        description="Scores with the features as served.",
        usage="serving cache, export, monitoring",
    )
