"""Batch scoring: the champion of the partition's cutoff, the features known then, kept as served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from sqlalchemy.orm import Session

from ml_platform.errors import IntegrityError, NotReadyError
from ml_platform.features.dbt import compiled_views
from ml_platform.kinds.base import Floats
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.timing import TIMING, is_current, views_timing
from ml_platform.lifecycle.views import compute
from ml_platform.modeling import bundle
from ml_platform.modeling.model import Model
from ml_platform.monitoring.evidence import conform, prediction_schema
from ml_platform.registry import promotions
from ml_platform.registry.promotions import champion, require_champion
from ml_platform.serving.records import entity_key
from ml_platform.storage.lake import digest_of
from ml_platform.storage.ledger import NewPublication
from ml_platform.storage.parquet import read_table, write_table
from ml_platform.storage.tables import Promotion, Publication

Status = Literal["new", "unchanged", "empty", "no_champion", "not_reached"]
ARM, ROLE = "main", "champion"


@dataclass(frozen=True)
class Scored:
    """What became of one partition.

    Attributes:
        partition: Its key.
        status: ``new`` predictions, ``unchanged`` ones, ``empty`` (nothing to score), ``no_champion`` at
            its cutoff, or ``not_reached`` yet.
        rows: Predictions.
        summary: Mean score or shares of the decisions, by name.
        model_version: The champion's version.
        revision: Scoring revision, from 1.
    """

    partition: str
    status: Status
    rows: int = 0
    summary: Mapping[str, float] = field(default_factory=dict)
    model_version: int | None = None
    revision: int | None = None


def score(
    platform: Platform,
    target: Target,
    keys: Sequence[str],
    as_of: datetime,
    features: Mapping[str, pa.Table] | None = None,
) -> list[Scored]:
    """Score partitions, each with the champion and the knowledge of its own cutoff.

    A partition whose cutoff is before the first promotion has no champion: it is left out and said so. One
    that a later champion has scored, after a rollback or before its use, stays with that one.
    Where ``as_of`` is the present and the present is the first champion's promotion, it scores from there; on
    the wall clock from the newest partition with rows, of whose labels it can have seen none.
    What was scored under another cutoff or known_at than today's stays as it was served.
    ``features`` by partition, where they have been computed already, are not computed again.

    Raises:
        NoChampionError: The model has never had a champion.
        IntegrityError: The champion's bundle is not what the ledger says.
    """
    require_champion(platform.ledger, target.key)
    ready = {k: target.use_case.cutoff(k) for k in keys if target.use_case.cutoff(k) <= as_of}
    heads = platform.ledger.heads(predictions_asset(target), list(ready))
    champions = _champions(platform, target, ready, heads)
    scorable = [k for k, c in champions.items() if c is not None]
    late = _before_the_first(platform, target, champions, as_of)
    if features is not None:
        tables = {k: features[k] for k in scorable}
    else:
        tables = compute(platform, target.use_case, "features", [*late, *scorable], as_of)
    if begin := next((k for k in reversed(late) if k in tables and tables[k].num_rows), None):
        champions[begin], scorable = champion(platform.ledger, target.key), [begin, *scorable]
    tables = {k: tables[k] for k in scorable}
    if platform.outside.served is not None:
        tables = platform.outside.served(tables)
    results: dict[str, Scored] = {k: Scored(k, "not_reached") for k in keys}
    results |= {k: Scored(k, "no_champion") for k in ready}
    items: list[NewPublication] = []
    for key in scorable:
        promotion = champions[key]
        assert promotion is not None
        if not tables[key].num_rows:
            results[key] = Scored(key, "empty", model_version=promotion.version)
            continue
        if key in heads and not is_current(target.use_case, key, heads[key].details):
            results[key] = _as_served(heads[key])
            continue
        timing = views_timing(target.use_case, key)
        results[key], item = _revise(platform, target, promotion, tables[key], heads.get(key), timing)
        items += [item] if item else []
    if items:
        platform.ledger.publish(items, as_of)
    return [results[k] for k in keys]


def _champions(
    platform: Platform, target: Target, cutoffs: Mapping[str, datetime], heads: Mapping[str, Publication]
) -> dict[str, Promotion | None]:
    """Who scores each partition: the champion of its cutoff, or a later one that has scored it already."""
    everything = promotions.history(platform.ledger, target.key)
    found: dict[str, Promotion | None] = {}
    for key, cutoff in cutoffs.items():
        in_force = next((p for p in everything if p.as_of <= cutoff), None)
        by = heads[key].details["model_digest"] if key in heads else None
        later = [p for p in everything if p.as_of > cutoff and p.model_digest == by]
        found[key] = later[0] if later and (in_force is None or in_force.model_digest != by) else in_force
    return found


def _before_the_first(
    platform: Platform, target: Target, champions: Mapping[str, Promotion | None], as_of: datetime
) -> list[str]:
    """Partitions that the first champion may score though their cutoff was before it, in order.

    Whoever begins on the wall clock would wait a partition for the first prediction, and see nothing. Only
    until something has been served, and only partitions after the last whose labels could have trained it.
    """
    use_case = target.use_case
    if use_case.config.timeline.clock != "wall" or platform.ledger.heads(predictions_asset(target)):
        return []
    seen = use_case.last_mature(target.model, as_of)
    return sorted(k for k, promotion in champions.items() if promotion is None and k > seen)


def predict(
    platform: Platform, target: Target, promotion: Promotion, features: pa.Table, revision: int
) -> pa.Table:
    """Predictions of some rows, with the features as served and where everything came from."""
    model = load_champion(platform, promotion.model_digest)
    scores = np.asarray(model.predict(features), dtype=np.float64)
    if not target.kind.valid(scores).all():
        raise IntegrityError(
            "the champion's scores are NaN or none of its kind",
            where=target.key,
            fix="`ml-platform rollback`, then look at its bundle",
        )
    interval = model.interval.around(scores) if model.interval else None
    return _evidence(target, promotion, features, scores, interval, revision)


def _evidence(
    target: Target,
    promotion: Promotion,
    features: pa.Table,
    scores: Floats,
    interval: tuple[Floats, Floats] | None,
    revision: int,
) -> pa.Table:
    """Predictions in the schema of stored evidence, with the entity's key columns added."""
    views, key = compiled_views(target.use_case), target.use_case.config.views.key
    words = target.kind.decide(scores, target.model.serving.decision)
    names = zip(*(features[c].to_pylist() for c in ("partition_key", *key)), strict=True)
    size = features.num_rows
    columns = {
        "entity_key": pa.array([entity_key(row[0], row[1:]) for row in names], pa.string()),
        **target.kind.serve(scores, interval),
        "decision": pa.array(words, pa.string()),
        "model_version": pa.array([str(promotion.version)] * size, pa.string()),
        "model_digest": pa.array([promotion.model_digest] * size, pa.string()),
        "feature_code_version": pa.array([views.feature_version] * size, pa.string()),
        # Which generation served a segment stands in the ledger: it is made after the predictions.
        "cache_generation": pa.nulls(size, pa.string()),
        "arm": pa.array([ARM] * size, pa.string()),
        "role": pa.array([ROLE] * size, pa.string()),
        "scoring_revision": pa.array([revision] * size, pa.int32()),
    }
    table = features
    for name, column in columns.items():
        table = table.append_column(name, column)
    stored = conform(table, prediction_schema(target.model.features, target.kind.served()))
    for name in key:
        if name not in stored.column_names:
            stored = stored.append_column(name, features[name])
    return stored


@dataclass(frozen=True)
class Prepared:
    """Predictions that are written and requested, to be published by the caller's transaction."""

    items: list[NewPublication]
    rows: list[Publication]

    def publish_in(self, platform: Platform, session: Session) -> None:
        """Put them in force."""
        if self.items:
            platform.ledger.commit_in(session, self.items, [r.id for r in self.rows])


def prepare_again(
    platform: Platform, target: Target, promotion: Promotion, keys: Sequence[str], as_of: datetime
) -> Prepared:
    """Score partitions again with another champion, on the features as served."""
    items = []
    for head in platform.ledger.heads(predictions_asset(target), keys).values():
        served = read_table(platform.lake.get(head.digest))
        given = ["partition_key", "event_time", "cutoff", *target.use_case.config.views.key]
        features = served.select(list(dict.fromkeys([*given, *target.model.feature_names])))
        _, item = _revise(platform, target, promotion, features, head, head.details.get(TIMING))
        items += [item] if item else []
    ids = platform.ledger.request(items, as_of) if items else []
    return Prepared(items, platform.ledger.publications(ids))


def load_champion(platform: Platform, digest: str) -> Model:
    """The model of a digest, verified, kept in memory while it is the last one used."""
    return _loaded(platform.lake.path(digest), digest)


def predictions(platform: Platform, target: Target, keys: Sequence[str] | None = None) -> pa.Table | None:
    """Published predictions of some partitions, or of all; ``None`` where there are none."""
    tables = predictions_by_partition(platform, target, keys)
    return pa.concat_tables(tables.values(), promote_options="default") if tables else None


def predictions_by_partition(
    platform: Platform, target: Target, keys: Sequence[str] | None = None
) -> dict[str, pa.Table]:
    """Published predictions of some partitions, or of all, each with the columns it was served with."""
    heads = platform.ledger.heads(predictions_asset(target), keys)
    platform.lake.paths(h.digest for h in heads.values())
    return {k: read_table(platform.lake.get(h.digest), where=f"{target.key} {k}") for k, h in heads.items()}


def require_predictions(platform: Platform, target: Target, key: str) -> Publication:
    """The published predictions of a partition.

    Raises:
        NotReadyError: There are none.
    """
    head = platform.ledger.head(predictions_asset(target), key)
    if head is None:
        raise NotReadyError(
            f"partition {key} has no predictions", where=target.key, fix="run the job that scores it"
        )
    return head


def _as_served(head: Publication) -> Scored:
    """A partition whose predictions stay, though today's settings would score other rows."""
    told = {"model_version": head.details["model_version"], "revision": head.details["revision"]}
    return Scored(head.partition, "unchanged", head.rows, **told)


def _revise(
    platform: Platform,
    target: Target,
    promotion: Promotion,
    features: pa.Table,
    head: Publication | None,
    timing: Mapping[str, Any] | None,
) -> tuple[Scored, NewPublication | None]:
    """Predictions of one partition as a new scoring revision, unless they are those in force.

    ``timing`` is what the features rest on; None where it was not kept.
    """
    key = str(features["partition_key"][0].as_py())
    revision = head.details["revision"] if head else 1
    table = predict(platform, target, promotion, features, revision)
    data = write_table(table)
    same = head is not None and head.digest == digest_of(data)
    if head is not None and not same:
        revision += 1
        column = pa.array([revision] * table.num_rows, pa.int32())
        index = table.column_names.index("scoring_revision")
        table = table.set_column(index, table.schema.field(index), column)
        data = write_table(table)
    scored = Scored(
        partition=key,
        status="unchanged" if same else "new",
        rows=table.num_rows,
        summary=target.kind.selected(target.kind.scores(table), target.model.serving.decision),
        model_version=promotion.version,
        revision=revision,
    )
    if same:
        return scored, None
    details = {
        "revision": revision,
        "model_version": promotion.version,
        "model_digest": promotion.model_digest,
        "cutoff": target.use_case.cutoff(key).isoformat(),
        **({TIMING: timing} if timing is not None else {}),
    }
    expects = head.id if head else None
    digest = platform.lake.put(data)
    return scored, NewPublication(predictions_asset(target), key, digest, table.num_rows, details, expects)


@lru_cache(maxsize=2)
def _loaded(path: Path, digest: str) -> Model:
    return bundle.from_bytes(path.read_bytes(), digest)
