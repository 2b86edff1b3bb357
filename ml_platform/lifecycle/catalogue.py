"""The catalogue: every feed, feature, dataset, model and prediction, with owner and lineage to the column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ml_platform.config import UseCase
from ml_platform.datasets.versions import versions
from ml_platform.features.lineage import Source, ViewLineage, through
from ml_platform.features.relations import feed_of, history_names
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.column_lineage import column_lineage
from ml_platform.lifecycle.feed_contracts import arrow_schema, contract_of
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.recorded import has_data
from ml_platform.model_config import FeatureConfig
from ml_platform.registry import promotions

UNKNOWN = "unknown: "
"""What the columns of a feature begin with whose SQL could not be followed."""


@dataclass(frozen=True)
class Entry:
    """One thing of the catalogue.

    Attributes:
        kind: ``feed``, ``column``, ``feature``, ``label``, ``dataset``, ``model`` or ``predictions``.
        name: Its name.
        type: Its type or extent.
        format: How it is kept.
        source: Where it comes from.
        owner: Who answers for it.
        classification: How confidential it is, as contracts say; of what is derived, that of the columns it
            is made from.
        lineage: What it is made from.
        description: For people.
        usage: Where it is used.
        use_cases: Use cases that it belongs to; a feed may serve several.
        columns: For features and labels: the columns of feeds and cutoffs that they are made from.
        joined_on: For features and labels: the columns that the rows behind them are joined or grouped by.
            They hand no classification on, for the value does not tell them.
        run: Whether this installation has any record of its use case; those that come with the platform are
            there before anybody runs them.
    """

    kind: str
    name: str
    type: str
    format: str
    source: str
    owner: str
    classification: str
    lineage: str
    description: str
    usage: str
    use_cases: tuple[str, ...]
    columns: tuple[str, ...] = ()
    joined_on: tuple[str, ...] = ()
    run: bool = True

    def as_dict(self) -> dict[str, Any]:
        """The entry as plain values."""
        return asdict(self)


def entries(platform: Platform) -> list[Entry]:
    """All entries: feeds and their columns first, then each use case's features, datasets and models.

    Raises:
        ConfigError: dbt refuses a use case's project.
        ContractError: A feed's contract is missing or malformed.
    """
    users: dict[str, list[UseCase]] = {}
    for use_case in platform.use_cases.values():
        for feed in use_case.config.feeds:
            users.setdefault(feed.name, []).append(use_case)
    labels = {c: t for u in users.values() for c, t in _classified(u[0]).items()}
    derived: list[Entry] = []
    for use_case in platform.use_cases.values():
        lineage, views = column_lineage(use_case), use_case.config.views
        features = through(lineage, views.features)
        known = _of_equals(labels, features)
        made = list(_views(use_case, known, features, through(lineage, views.labels)))
        derived += made
        # Rows of datasets and predictions carry the entity's key, whatever the model learns from.
        keys = (known.get(c, "") for name in views.key for c in _columns(features, name))
        inherited = _together([*(e.classification for e in made), *keys])
        for model in use_case.config.models:
            target = Target(use_case, model)
            derived += [*_datasets(platform, target, inherited), *_model(platform, target, inherited)]
    found = [e for name, of in users.items() for e in _feed(of, name, derived)] + derived
    run = {name for name, use_case in platform.use_cases.items() if has_data(platform, use_case)}
    return [replace(e, run=not run.isdisjoint(e.use_cases)) for e in found]


def of_use_case(found: Iterable[Entry], name: str) -> list[Entry]:
    """The entries that belong to a use case."""
    return [e for e in found if name in e.use_cases]


def _classified(use_case: UseCase) -> dict[str, str]:
    return {
        f"{feed.name}.{column.name}": column.classification
        for feed in use_case.config.feeds
        for column in contract_of(use_case, feed.name).columns
    }


def _of_equals(classified: Mapping[str, str], lineage: ViewLineage) -> dict[str, str]:
    """Classifications by column; columns that joins hold equal share theirs: it is one value in two feeds."""
    found, pairs = dict(classified), [tuple(map(_full, pair)) for pair in lineage.equal]
    for _ in pairs:  # each pass hands them on by one join at least
        for a, b in pairs:
            found[a] = found[b] = _together((found.get(a, ""), found.get(b, "")))
    return found


def _full(source: Source) -> str:
    return f"{feed_of(source.relation) or source.relation}.{source.column}"


def _together(classifications: Iterable[str]) -> str:
    return ", ".join(sorted({c for text in classifications for c in text.split(", ") if c}))


def _feed(users: list[UseCase], name: str, derived: list[Entry]) -> Iterator[Entry]:
    use_case, names = users[0], tuple(u.name for u in users)
    contract, feed = contract_of(use_case, name), use_case.feed(name)
    yield Entry(
        kind="feed",
        name=name,
        type="reference" if feed.static else f"{use_case.scheme.width} partitions",
        format="Parquet, every revision kept",
        source=feed.origin,
        owner=contract.owner,
        classification=_together(c.classification for c in contract.columns),
        lineage=f"feed/{name}/landed → feed/{name}/accepted",
        description=contract.description,
        usage="; ".join(
            f"{u.name}: {u.config.views.features}, {u.config.views.labels}"
            for u in users
            if name in (u.config.views.feeds or tuple(f.name for f in u.config.feeds))
        ),
        use_cases=names,
    )
    schema = arrow_schema(contract)
    for column in contract.columns:
        full = f"{name}.{column.name}"
        yield Entry(
            kind="column",
            name=full,
            type=column.logical_type,
            format=str(schema.field(column.name).type),
            source=name,
            owner=contract.owner,
            classification=column.classification,
            lineage=f"feed/{name}/accepted",
            description=column.description,
            usage=", ".join(e.name for e in derived if full in e.columns),
            use_cases=names,
        )


def _views(
    use_case: UseCase, classified: Mapping[str, str], features: ViewLineage, labels: ViewLineage
) -> Iterator[Entry]:
    """Features and labels; models that share one share its entry."""
    views = use_case.config.views
    shared: dict[str, tuple[FeatureConfig, list[str]]] = {}
    targets: dict[str, list[Target]] = {}
    for model in use_case.config.models:
        targets.setdefault(model.label.column, []).append(Target(use_case, model))
        for feature in model.features:
            shared.setdefault(feature.name, (feature, []))[1].append(f"{use_case.name}/{model.name}")
    for feature, models in shared.values():
        columns = _columns(features, feature.name)
        yield Entry(
            kind="feature",
            name=f"{use_case.name}.{feature.name}",
            type=feature.kind,
            format="string" if feature.kind == "categorical" else "double",
            source=f"dbt model {views.features}",
            owner=use_case.config.owner.team,
            classification=_together(classified.get(c, "") for c in columns),
            lineage=", ".join(feature.feeds) or ", ".join(f.name for f in use_case.config.feeds),
            description=feature.description,
            usage=", ".join(models),
            use_cases=(use_case.name,),
            columns=columns,
            joined_on=_joined(features, feature.name, columns),
        )
    for column, of in targets.items():
        columns, label = _columns(labels, column), of[0].model.label
        yield Entry(
            kind="label",
            name=f"{use_case.name}.{column}",
            type=of[0].model.kind,
            format="null while it is not known",
            source=f"dbt model {views.labels}",
            owner=use_case.config.owner.team,
            classification=_together(classified.get(c, "") for c in columns),
            lineage=f"mature after {label.maturity_partitions} partitions",
            description=label.description,
            usage=", ".join(t.key for t in of),
            use_cases=(use_case.name,),
            columns=columns,
            joined_on=_joined(labels, column, columns),
        )


def _joined(lineage: ViewLineage, name: str, sources: Iterable[str]) -> tuple[str, ...]:
    """Feeds' columns only: partitions and cutoffs are the platform's, and join everything."""
    own = {"partition_key", *history_names(())}
    keys = (_full(s) for s in lineage.joined.get(name, ()) if feed_of(s.relation) and s.column not in own)
    return tuple(dict.fromkeys(k for k in keys if k not in set(sources)))


def _columns(lineage: ViewLineage, name: str) -> tuple[str, ...]:
    if lineage.problem is not None:
        return (f"{UNKNOWN}{lineage.problem}",)
    return tuple(map(_full, lineage.columns.get(name, ())))


def _datasets(platform: Platform, target: Target, classification: str) -> Iterator[Entry]:
    for row in versions(platform.ledger, target.key):
        yield Entry(
            kind="dataset",
            name=row.version,
            type=f"{row.rows:,} rows",
            format="Parquet, one object per partition and a manifest",
            source=f"{row.first_partition} to {row.last_partition}",
            owner=target.use_case.config.owner.team,
            classification=classification,
            lineage=f"{target.use_case.name}/features, {target.use_case.name}/labels",
            description=f"as of {row.as_of.isoformat()}",
            usage=target.key,
            use_cases=(target.use_case.name,),
        )


_FORMATS = {"lightgbm": "LightGBM text", "logistic": "skops"}


def _model(platform: Platform, target: Target, classification: str) -> Iterator[Entry]:
    owner = target.use_case.config.owner.team
    promotion = promotions.champion(platform.ledger, target.key)
    serving = (
        f"version {promotion.version}, {promotion.model_digest[:12]}" if promotion else "no champion yet"
    )
    # Where the baseline won, or the settings have changed since, the champion is of another kind.
    estimator = (
        promotions.model(platform.ledger, promotion.model_digest).estimator
        if promotion
        else target.model.training.estimator
    )
    yield Entry(
        kind="model",
        name=target.key,
        type=f"{target.model.kind}, {estimator}",
        format=_FORMATS.get(estimator, estimator),
        source=serving,
        owner=owner,
        classification=classification,
        lineage=target.asset("training_dataset"),
        description=target.model.title,
        usage="predictions, serving cache",
        use_cases=(target.use_case.name,),
    )
    heads = platform.ledger.heads(predictions_asset(target))
    yield Entry(
        kind="predictions",
        name=predictions_asset(target),
        type=f"{sum(h.rows for h in heads.values()):,} rows",
        format="Parquet, one object per partition",
        source=f"{min(heads)} to {max(heads)}" if heads else "none yet",
        owner=owner,
        classification=classification,
        lineage=f"{target.asset('champion_model')}, {target.use_case.name}/features",
        description="Scores with the features as served.",
        usage="serving cache, export, monitoring",
        use_cases=(target.use_case.name,),
    )
