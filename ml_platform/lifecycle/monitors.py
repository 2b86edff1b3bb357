"""Monitoring: how labels arrive, how the served predictions do on matured days, what drifts.

The results and what they were computed from are stored: a diagnosis later needs evidence, not alarms.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from ml_platform.errors import NotReadyError
from ml_platform.lifecycle import pages
from ml_platform.lifecycle.agenda import next_due
from ml_platform.lifecycle.maturity import label_keys, maturity_of
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.recorded import results
from ml_platform.lifecycle.reference import Reference, daily_losses, reference_of, with_features_of
from ml_platform.lifecycle.scoring import predictions_by_partition
from ml_platform.lifecycle.story import story_of
from ml_platform.lifecycle.views import labels_of
from ml_platform.monitoring.chart import model_chart
from ml_platform.monitoring.daily import DailyDistance, daily_distance
from ml_platform.monitoring.drift import DriftReport, drift
from ml_platform.monitoring.drift_chart import drift_chart
from ml_platform.monitoring.estimated import EstimatedReport, estimated_loss
from ml_platform.monitoring.label_maturity import LabelMaturity
from ml_platform.monitoring.maturity_chart import maturity_chart
from ml_platform.monitoring.performance import PerformanceReport, live_performance
from ml_platform.registry import promotions
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.tables import MonitorResult

_REPORT_EVERY = 7


@dataclass(frozen=True)
class MaturityView:
    """Label maturity and its plot."""

    report: LabelMaturity
    chart: bytes


@dataclass(frozen=True)
class Unlabelled:
    """Loss of served partitions as expected without labels, by partition; never mixed with the realised one.

    Attributes:
        cbpe: Of every served partition.
        weighted: Of the last ones, by the density-weighted curve.
        unknown: Why the latter is not known where it was looked at.
    """

    cbpe: Mapping[str, float] = field(default_factory=dict)
    weighted: Mapping[str, float] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PerformanceView:
    """Live performance and the chart of the model.

    Attributes:
        report: Realised losses, and weighted ones of young partitions.
        estimated: Loss of each served partition as expected without labels.
        chart: PNG.
        reference: What it is held against, for people.
    """

    report: PerformanceReport
    estimated: Unlabelled
    chart: bytes
    reference: str


@dataclass(frozen=True)
class DriftView:
    """Drift, its plot, and the digest of Evidently's page when one was made."""

    report: DriftReport
    chart: bytes
    evidently: str | None


def label_arrival(platform: Platform, target: Target, as_of: datetime) -> MaturityView:
    """How labels arrive, and which partitions may be judged, up to the present."""
    labels = _labels(platform, target, label_keys(target, as_of), as_of)
    report = maturity_of(target, labels, as_of)
    summary = {
        "state": report.state,
        "last_mature": report.last_mature,
        "weighted": report.named("weighted"),
        "immature": report.named("weighted", "immature", "overdue"),
        "share_known": {c.partition_key: c.share_known for c in report.cohorts},
        "horizon_hours": report.law.horizon(target.model.diagnosis.mature_share),
        "sentence": report.sentence(),
    }
    _remember(platform, target, "label_maturity", report.state, summary, report.record(), as_of)
    return MaturityView(report, maturity_chart(target.key, report))


def performance(platform: Platform, target: Target, as_of: datetime) -> PerformanceView:
    """Served predictions against matured labels, and the one chart of the model.

    Raises:
        NotReadyError: Nothing has been served yet.
    """
    served = _served(platform, target)
    keys = sorted(served)
    labels = _labels(platform, target, label_keys(target, as_of, keys[0]), as_of)
    frozen = reference(platform, target, as_of)
    before = frozen.rows
    report = live_performance(
        _together(served),
        labels,
        key=target.use_case.config.views.key,
        maturity=maturity_of(target, labels, as_of),
        as_of=as_of,
        reference=_loss_by_day(target, before) if before is not None else None,
        settings=target.model.monitoring,
        kind=target.kind,
        label=target.model.label.column,
        maximum_bias=target.model.gates.maximum_bias,
    )
    distance = _distance(target, before, served)
    estimated = _estimated(target, before, served)
    story = story_of(platform, target, keys, as_of)
    told = replace(story, estimated=estimated.cbpe, density_weighted=estimated.weighted)
    noun = target.use_case.scheme.noun
    chart = model_chart(target.key, report, distance=distance, story=told, noun=noun)
    summary = {
        "state": report.state,
        "loss": report.loss,
        "quality": target.kind.quality,
        "reference": frozen.sentence(),
        "matured_partitions": len(report.mature),
        "immature_partitions": report.immature,
        "weighted_partitions": report.weighted,
        f"estimated_{report.loss}": estimated.cbpe,
        f"density_weighted_{report.loss}": estimated.weighted,
        "density_weighted_unknown": estimated.unknown,
        "rows": report.rows,
        "metrics": {m.name: asdict(m) for m in report.metrics},
    }
    _remember(platform, target, "live_performance", report.state, summary, asdict(report), as_of)
    return PerformanceView(report, estimated, chart, frozen.sentence())


def drifting(platform: Platform, target: Target, as_of: datetime) -> DriftView:
    """Drift of the last served partitions against the days that the champion was gated on.

    What was served before a feature was added has not lost its values: it is left out, while there is other.

    Raises:
        NotReadyError: Nothing has been served, or the champion's reference cannot be read.
    """
    tables = _served(platform, target)
    frozen = reference(platform, target, as_of)
    if frozen.rows is None:
        raise NotReadyError(frozen.reason, where=target.key, fix="promote a champion first")
    keys = sorted(tables)
    features = with_features_of(frozen.rows, target.model).features
    recent = keys[-target.model.monitoring.current_partitions :]
    told = _with(tables, recent, [f.name for f in features])
    current = _together({k: tables[k] for k in told or recent})
    report = drift(frozen.rows, current, features, target.kind.names(), target.model.monitoring)
    chart = drift_chart(target.key, report, floor=target.model.monitoring.drift_effect)
    before = next(reversed(results(platform, target, "drift")), None)
    evidently = None
    if before is not None and before.summary["current"] == list(report.current):
        evidently = before.summary.get("evidently_page")
    elif report.state == "FAIL" or len(keys) % _REPORT_EVERY == 0:
        html = _evidently(target, frozen.rows, current)
        evidently = pages.publish(platform, target, "evidently", max(report.current), html, as_of)
    summary = {
        "state": report.state,
        "alarms": report.alarms,
        "current": list(report.current),
        "columns": {c.name: {"state": c.state, "effect": c.values.effect} for c in report.columns},
        "evidently_page": evidently,
    }
    _remember(platform, target, "drift", report.state, summary, asdict(report), as_of)
    return DriftView(report, chart, evidently)


def reference(platform: Platform, target: Target, as_of: datetime | None = None) -> Reference:
    """The reference of the champion in force; without rows, and with the reason, where there is none."""
    champion = promotions.champion(platform.ledger, target.key, as_of)
    if champion is None:
        return Reference(None, "there is no champion")
    return reference_of(platform, target, champion, as_of)


def _labels(platform: Platform, target: Target, keys: Sequence[str], as_of: datetime) -> pa.Table:
    """The labels of some partitions as known at an instant, by the same SQL that training uses."""
    labels = labels_of(platform, target, keys, as_of)
    if labels is None:
        raise NotReadyError(
            "no partition has begun yet", where=target.key, fix="wait, or advance the clock of its timeline"
        )
    return labels


def _served(platform: Platform, target: Target) -> dict[str, pa.Table]:
    tables = predictions_by_partition(platform, target)
    if not tables:
        due = next_due(platform, target.use_case, may_advance=False)
        raise NotReadyError(
            f"nothing has been served yet: {due.reason}",
            where=target.key,
            fix=f"`ml-platform run {target.use_case.name}` scores it when it is due, as does its schedule",
        )
    return tables


def _together(tables: Mapping[str, pa.Table]) -> pa.Table:
    return pa.concat_tables(tables.values(), promote_options="default")


def _with(tables: Mapping[str, pa.Table], keys: Sequence[str], columns: Collection[str]) -> list[str]:
    """The partitions that were served with all of these columns."""
    return [k for k in keys if set(columns) <= set(tables[k].column_names)]


def _loss_by_day(target: Target, rows: pa.Table) -> pa.Table:
    losses = daily_losses(target, rows)
    return pa.table({"partition_key": list(losses), target.kind.loss: list(losses.values())})


def _distance(
    target: Target, before: pa.Table | None, served: Mapping[str, pa.Table]
) -> DailyDistance | None:
    if before is None:
        return None
    rows = _together(served)
    features = with_features_of(rows, with_features_of(before, target.model)).features
    found = daily_distance(before, rows, features, target.kind.names())
    # A feature that was added since has no null rate on days before it.
    rates = [
        tuple(rate if name in served[day].column_names else None for day, rate in pairs)
        for name, rates in zip(found.features, found.null_rate, strict=True)
        for pairs in [zip(found.partitions, rates, strict=True)]
    ]
    return replace(found, null_rate=tuple(rates))


def _estimated(target: Target, before: pa.Table | None, served: Mapping[str, pa.Table]) -> Unlabelled:
    """Loss of each served partition as expected from its features alone; empty where it cannot be had.

    The density-weighted version looks at the last partitions only, in windows: a curve is weighted to look
    like one window at a time, and the cost stays the same as a model grows old.
    """
    if before is None:
        return Unlabelled()

    features = with_features_of(before, target.model).features

    def estimate(rows: pa.Table, density: bool) -> EstimatedReport:
        return estimated_loss(
            before,
            rows,
            kind=target.kind,
            label=target.model.label.column,
            features=features,
            settings=target.model.diagnosis,
            density=density,
        )

    found = {d.partition_key: d.cbpe for d in estimate(_together(served), False).days}
    weighted: dict[str, float] = {}
    unknown: dict[str, str] = {}
    size, most = target.model.diagnosis.concept_partitions, target.model.diagnosis.maximum_partitions
    keys = _with(served, sorted(found)[-most:], [f.name for f in features])
    for end in range(len(keys), 0, -size):
        window = keys[max(0, end - size) : end]
        report = estimate(_together({k: served[k] for k in window}), True)
        weighted |= {d.partition_key: d.pape for d in report.days if d.pape is not None}
        if report.weighted is not None and report.weighted.state == "UNKNOWN":
            unknown |= dict.fromkeys(window, report.weighted.detail)
    return Unlabelled(found, dict(sorted(weighted.items())), dict(sorted(unknown.items())))


def _evidently(target: Target, before: pa.Table, current: pa.Table) -> bytes:
    # Evidently costs 8.8 CPU-seconds to import; it runs weekly and on a FAIL only.
    from ml_platform.monitoring.evidently_report import evidently_html

    model = with_features_of(before, target.model)
    numeric = [f.name for f in model.features if f.kind == "numeric"] + target.kind.names()
    return evidently_html(before, current, numeric, model.categorical).html


def _remember(
    platform: Platform,
    target: Target,
    monitor: str,
    state: str,
    summary: dict[str, Any],
    evidence: dict[str, Any],
    as_of: datetime,
) -> None:
    digest = platform.lake.put(json.dumps(evidence, sort_keys=True, default=str).encode())
    row = MonitorResult(
        model_key=target.key,
        monitor=monitor,
        partition=target.use_case.scheme.key_at(as_of),
        state=state,
        summary=json.loads(json.dumps(summary, default=str)),
        evidence_digest=digest,
        as_of=as_of,
        recorded_at=wall_now(),
    )
    with platform.ledger.begin() as session:
        session.add(row)
