"""Gathers the evidence of one model as of an instant and lets the monitors speak, for a diagnosis.

Whatever cannot be had makes its question UNKNOWN, with the reason; it is never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import func, select

from ml_platform.datasets import versions
from ml_platform.diagnosis import evidence as names
from ml_platform.diagnosis.evidence import Evidence, IncidentFacts, PromotionFacts, TrainingFacts
from ml_platform.errors import PlatformError
from ml_platform.features.dbt import compiled_views
from ml_platform.lifecycle import views
from ml_platform.lifecycle.guard.live import Live
from ml_platform.lifecycle.guard.records import cleared_partitions
from ml_platform.lifecycle.maturity import label_keys, maturity_of
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.reference import Reference, daily_losses, reference_of
from ml_platform.lifecycle.training_data import held_partitions
from ml_platform.monitoring.breaks import data_breaks
from ml_platform.monitoring.concept import ConceptReport, concept_change
from ml_platform.monitoring.covariates import CovariateReport, covariate_shift
from ml_platform.monitoring.estimated import EstimatedReport, estimated_loss
from ml_platform.monitoring.harm import judge_harm
from ml_platform.monitoring.label_maturity import LabelMaturity
from ml_platform.monitoring.label_replay import label_replay
from ml_platform.monitoring.leakage import leakage
from ml_platform.monitoring.season import season
from ml_platform.monitoring.skew import SkewReport, feature_breaks, serving_skew
from ml_platform.monitoring.units import unit_changes
from ml_platform.registry import promotions
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.storage.parquet import read_table
from ml_platform.storage.tables import Acceptance, Promotion


@dataclass
class Gathered:
    """The evidence and the reports behind it, for pages and plots.

    Attributes:
        evidence: What the diagnosis reads.
        skew: Batch and serving parity; None where it could not be measured.
        maturity: How labels arrive.
        concept: P(y|x).
        covariates: X.
        estimated: Loss expected without labels.
        losses: Realised loss by matured partition of the champion.
        reference_losses: The reference's.
    """

    evidence: Evidence
    skew: SkewReport | None = None
    maturity: LabelMaturity | None = None
    concept: ConceptReport | None = None
    covariates: CovariateReport | None = None
    estimated: EstimatedReport | None = None
    losses: dict[str, float] = field(default_factory=dict)
    reference_losses: dict[str, float] = field(default_factory=dict)


def gather(
    platform: Platform,
    target: Target,
    as_of: datetime,
    incident: IncidentFacts | None = None,
    rebuilt: Mapping[str, pa.Table] | None = None,
    fixed: Sequence[str] = (),
) -> Gathered:
    """All evidence on the champion in force at an instant of the timeline.

    Args:
        platform: The stores.
        target: The model.
        as_of: The present; what became known later does not count.
        incident: The open incident.
        rebuilt: Features of the last served partitions, where they have been rebuilt already.
        fixed: Partitions whose features as served are left out of the window, as are those of incidents that
            a person has closed.

    Raises:
        NoChampionError: There was none.
    """
    promotion = promotions.require_champion(platform.ledger, target.key, as_of)
    return _Gatherer(Live(platform, target, as_of, promotion), incident, rebuilt, fixed).gathered()


class _Gatherer:
    """One gathering: tables are read once and shared by the questions."""

    def __init__(
        self,
        live: Live,
        incident: IncidentFacts | None,
        rebuilt: Mapping[str, pa.Table] | None,
        fixed: Sequence[str],
    ) -> None:
        self.live, self.incident, self.given, self.fixed = live, incident, rebuilt, fixed
        self.platform, self.target = live.platform, live.target
        self.model, self.settings = live.target.model, live.target.model.diagnosis
        self.reports = Gathered(Evidence(live.target.key, live.partition, live.as_of, {}))

    def gathered(self) -> Gathered:
        """Every question answered."""
        asked: dict[str, Callable[[], Findings]] = {
            "contract": self.contract,
            "units": self.units,
            "skew": self.skew,
            "label_definition": self.label_definition,
            "maturity": self.maturity,
            "volume": self.volume,
            "harm": self.harm,
            "concept": self.concept,
            "covariates": self.covariates,
            "leakage": self.leakage,
            "season": self.season,
        }
        findings = {name: _answer(name, question) for name, question in asked.items()}
        findings = _new_or_renamed(findings, self.reference, lambda: self.window)
        concept = self.reports.concept
        served, rebuilt = self.breaks()
        self.reports.evidence = Evidence(
            model_key=self.target.key,
            partition=self.live.partition,
            as_of=self.live.as_of,
            findings=findings,
            broken_served=served,
            broken_rebuilt=rebuilt,
            concept_kind=concept.kind if concept and findings["concept"].state != "UNKNOWN" else None,
            concept_onset=concept.onset if concept else None,
            matured_partitions=len(self.concept_keys),
            promotion=self.promotion_facts(),
            training=self.training_facts(),
            open_incident=self.incident,
            days_per_partition=self.target.use_case.scheme.days,
        )
        return self.reports

    # --- tables ---------------------------------------------------------------------------------

    @cached_property
    def reference(self) -> Reference:
        return reference_of(self.platform, self.target, self.live.promotion)

    @cached_property
    def reference_frame(self) -> pd.DataFrame:
        """The reference's rows.

        Raises:
            PlatformError: There are none.
        """
        if self.reference.rows is None:
            raise PlatformError(self.reference.reason, where=self.target.key)
        frame: pd.DataFrame = self.reference.rows.to_pandas()
        return frame

    @cached_property
    def window_keys(self) -> list[str]:
        over = {*self.fixed, *cleared_partitions(self.platform, self.target, self.live.as_of)}
        last = list(self.live.heads)[-self.settings.covariate_partitions :]
        return [k for k in last if k not in over]

    @cached_property
    def window(self) -> pd.DataFrame:
        """The last served partitions, features as served."""
        served = self.live.served(self.window_keys)
        if served is None:
            why = "nothing has been served" + (" since the last incident" if self.live.heads else "")
            raise PlatformError(why, where=self.target.key)
        frame: pd.DataFrame = served.to_pandas()
        return frame

    @cached_property
    def rebuilt(self) -> pd.DataFrame:
        """The same rows' features, rebuilt by the training code from what was known at their cutoffs."""
        tables = self.given
        if tables is None or not set(self.window_keys) <= set(tables):
            tables = views.compute(
                self.platform, self.target.use_case, "features", self.window_keys, self.live.as_of
            )
        tables = {k: tables[k] for k in self.window_keys}
        frame: pd.DataFrame = pa.concat_tables(tables.values()).to_pandas()
        return frame

    @cached_property
    def label_keys(self) -> list[str]:
        """Partitions whose labels are looked at: aged ones for the law, and all that the champion scored."""
        first = self.live.by_champion[0] if self.live.by_champion else None
        return label_keys(self.target, self.live.as_of, first)

    @cached_property
    def labels(self) -> pa.Table:
        found = self.live.labels(self.label_keys)
        if found is None:
            raise PlatformError("no partition has begun yet", where=self.target.key)
        return found

    @cached_property
    def judged(self) -> pd.DataFrame:
        """Matured rows that the champion scored, with their labels."""
        keys = [k for k in self.live.matured if k in self.mature_names]
        rows = self.live.judged(keys, self.labels) if keys else None
        if rows is None or not rows.num_rows:
            raise PlatformError("no matured partition was scored by the champion yet", where=self.target.key)
        frame: pd.DataFrame = rows.to_pandas()
        return frame

    @cached_property
    def mature_names(self) -> set[str]:
        if self.reports.maturity is None:
            return set()
        return set(self.reports.maturity.named("mature"))

    @cached_property
    def concept_keys(self) -> list[str]:
        """The window of P(y|x): the last matured partitions, growing from the onset of an open incident."""
        try:
            keys = sorted(set(self.judged["partition_key"]))
        except PlatformError:
            return []
        size = self.settings.concept_partitions
        if self.incident is not None and self.incident.family == "model":
            since = [k for k in keys if k >= self.incident.first_partition]
            size = min(max(size + len(since), size), self.settings.maximum_partitions)
        return keys[-size:]

    def breaks(self) -> tuple[frozenset[str], frozenset[str]]:
        """Features that look broken as served, and as rebuilt.

        Another distribution on both sides is a shift of the world, unless a contract or a unit says
        otherwise: smoothed rates leave their reference in any real summer.
        """
        try:
            served, rebuilt = (
                feature_breaks(self.reference_frame, rows, self.model.features, self.settings)
                for rows in (self.window, self.rebuilt)
            )
        except PlatformError:
            return frozenset(), frozenset()
        shifted = {n for n in served.keys() & rebuilt.keys() if served[n].kind == rebuilt[n].kind == "shape"}
        return frozenset(served.keys() - shifted), frozenset(rebuilt.keys() - shifted)

    # --- questions ------------------------------------------------------------------------------

    @property
    def segments(self) -> list[str]:
        return list(self.settings.segments) or [s.column for s in self.model.gates.slices]

    @property
    def categorical_segments(self) -> list[str]:
        return [s for s in self.segments if s in self.model.categorical]

    def contract(self) -> Findings:
        columns = self.model.feature_names
        found = data_breaks(
            self.reference_frame,
            self.window,
            columns=columns,
            # Segments are judged by the feeds' contracts: a feature that looks back is null in a new one.
            segments=(),
            settings=self.settings,
        )
        items = (*self.deliveries(), *self.premature_labels(), *found.items)
        return Findings.of("contract", items, found.reason)

    def premature_labels(self) -> list[Finding]:
        """Labels that were known when their prediction was made: then nothing was predicted."""
        keys = self.live.by_champion[-self.settings.maximum_partitions :]
        served = self.live.served(keys)
        if served is None:
            return []
        column = self.model.label.column
        join = ["partition_key", *self.target.use_case.config.views.key]
        known = self.labels.filter(pc.is_valid(self.labels[column])).select([*join, "label_known_at"])
        rows = served.select([*join, "cutoff"]).join(known, keys=join, join_type="inner")
        early = rows.filter(pc.less_equal(rows["label_known_at"], rows["cutoff"]))
        if not rows.num_rows:
            return []
        share, limit = early.num_rows / rows.num_rows, self.settings.mismatch_share
        return [
            Finding(
                statistic="label_before_prediction",
                subject=column,
                state="FAIL" if share > limit else "PASS",
                detail=f"{early.num_rows:,} of {rows.num_rows:,} labels were known when they were predicted",
                estimate=share,
                floor=limit,
                rows=rows.num_rows,
                partitions=tuple(sorted(set(early["partition_key"].to_pylist()))) if share > limit else (),
            )
        ]

    def deliveries(self) -> list[Finding]:
        """Partitions of the use case's feeds that their contract holds back at present."""
        last = (
            select(func.max(Acceptance.id))
            .where(
                Acceptance.feed.in_(f.name for f in self.target.use_case.config.feeds),
                Acceptance.partition >= self.window_keys[0],
                Acceptance.as_of <= self.live.as_of,
            )
            .group_by(Acceptance.feed, Acceptance.partition)
        )
        with self.platform.ledger.begin() as session:
            rows = list(session.scalars(select(Acceptance).where(Acceptance.id.in_(last))))
        held = [r for r in rows if r.status == "held"]
        broken = self._broken_rules(rows)
        found = [
            Finding(
                statistic="held_partition",
                subject=feed,
                state="FAIL",
                detail=f"the contract holds back {', '.join(r.partition for r in held if r.feed == feed)}",
                estimate=float(sum(r.held for r in held if r.feed == feed)),
                partitions=tuple(sorted(r.partition for r in held if r.feed == feed)),
            )
            for feed in sorted({r.feed for r in held})
        ]
        found += broken
        landed, bad = sum(r.landed for r in rows), sum(r.quarantined for r in rows)
        if landed:
            share = bad / landed
            limit = self.settings.mismatch_share * 10
            found.append(
                Finding(
                    statistic="quarantined_share",
                    subject="all feeds",
                    state="FAIL" if share > limit else "PASS",
                    detail=f"{bad:,} of {landed:,} rows of the last partitions are in quarantine",
                    estimate=share,
                    floor=limit,
                    rows=landed,
                )
            )
        return found

    def _broken_rules(self, rows: Sequence[Acceptance]) -> list[Finding]:
        """Rules about a segment's nulls that the last deliveries broke, though they were let in."""
        broken: dict[tuple[str, str], list[tuple[str, str]]] = {}
        mine = {(r.feed, r.partition) for r in rows if r.status == "accepted"}
        for digest in {r.evidence_digest for r in rows if r.evidence_digest}:
            table = read_table(self.platform.lake.get(digest))
            table = table.filter(pc.equal(table["state"], "FAIL"))
            feed = next(r.feed for r in rows if r.evidence_digest == digest)
            for row in table.select(["partition", "rule", "on_breach", "reason"]).to_pylist():
                if row["on_breach"] == "hold" and (feed, row["partition"]) in mine:
                    broken.setdefault((feed, row["rule"]), []).append((row["partition"], row["reason"]))
        return [
            Finding(
                statistic="contract_rule",
                subject=feed,
                state="FAIL",
                detail=f"{rule}: {seen[-1][1]}",
                partitions=tuple(sorted({p for p, _ in seen})),
            )
            for (feed, rule), seen in sorted(broken.items())
        ]

    def units(self) -> Findings:
        numeric = [f.name for f in self.model.features if f.kind == "numeric" and not f.runs_with_time]
        if not numeric:
            return Findings.of(
                "units", [Finding("unit", "all", "PASS", "there is no numeric feature that could change")]
            )
        # A unit changes at a source: the coarsest segment is the likeliest to be one.
        frame = self.reference_frame
        segment = min(self.categorical_segments, key=lambda s: frame[s].nunique(), default=None)
        return unit_changes(frame, self.window, columns=numeric, segment=segment, settings=self.settings)

    def skew(self) -> Findings:
        self.reports.skew = serving_skew(
            self.window,
            self.rebuilt,
            key=self.target.use_case.config.views.key,
            features=self.model.features,
            settings=self.settings,
        )
        return self.reports.skew.findings

    def label_definition(self) -> Findings:
        """Labels of the current code against those of the code that the champion was trained with."""
        trained = promotions.model(self.platform.ledger, self.live.promotion.model_digest)
        dataset = versions.find(self.platform.ledger, trained.dataset_version)
        code = views.kept_views(self.platform, dataset)
        if code is None:
            return Findings.unknown("label_definition", "the champion's training SQL was not kept")
        keys = [k for k in self.label_keys if k <= self.live.last_mature][-self.settings.concept_partitions :]
        stored = self.labels.filter(pc.is_in(self.labels["partition_key"], pa.array(keys, pa.string())))
        rebuilt = stored
        if code.label_version != compiled_views(self.target.use_case).label_version:
            tables = views.compute(
                self.platform, self.target.use_case, "labels", keys, self.live.as_of, code=code
            )
            rebuilt = pa.concat_tables(tables.values())
        return label_replay(
            stored,
            rebuilt,
            key=self.target.use_case.config.views.key,
            kind=self.target.kind,
            label=self.model.label.column,
            settings=self.settings,
        )

    def maturity(self) -> Findings:
        self.reports.maturity = maturity_of(self.target, self.labels, self.live.as_of)
        return self.reports.maturity.findings

    def volume(self) -> Findings:
        settings, label = self.settings, self.model.label.column
        try:
            judged = self.judged
        except PlatformError as error:
            few = Finding("rows", "all", "UNDERPOWERED", error.what, 0.0, floor=float(settings.minimum_rows))
            return Findings.of("volume", [few])
        days = int(judged["partition_key"].nunique())
        classes = self.target.kind.counts(judged[label].to_numpy())
        # Two classes are enough to go on: the question of P(y|x) leaves out those that are rarer still.
        frequent = sorted(classes, key=lambda c: -classes[c])[:2]
        counts = {"rows": (len(judged), settings.minimum_rows)}
        counts |= {c: (classes[c], settings.minimum_class_rows) for c in frequent}
        return Findings.of(
            "volume",
            [
                Finding(
                    statistic=name,
                    subject="all",
                    state="PASS" if count >= least else "UNDERPOWERED",
                    detail=f"{count:,} matured {name}; {least:,} are needed",
                    estimate=float(count),
                    floor=float(least),
                    blocks=days,
                    rows=count,
                )
                for name, (count, least) in counts.items()
            ],
        )

    def harm(self) -> Findings:
        losses, before = (daily_losses(self.target, rows) for rows in (self.judged, self.reference_frame))
        self.reports.losses, self.reports.reference_losses = losses, before
        return judge_harm(
            list(before.values()),
            list(losses.values()),
            list(losses),
            self.settings,
            self.target.kind.loss_words,
        )

    @cached_property
    def current(self) -> pd.DataFrame:
        """Matured rows of the window of P(y|x)."""
        rows = self.judged
        return rows[rows["partition_key"].isin(self.concept_keys)]

    def concept(self) -> Findings:
        self.reports.concept = concept_change(
            self.reference_frame,
            self.current,
            kind=self.target.kind,
            label=self.model.label.column,
            features=self.model.features,
            segments=self.segments,
            settings=self.settings,
        )
        return self.reports.concept.findings()

    def covariates(self) -> Findings:
        self.reports.covariates = covariate_shift(
            self.reference_frame,
            self.window,
            features=self.model.features,
            score=self.target.kind.names()[0],
            settings=self.settings,
        )
        found = [self._with_labels(f) for f in self.reports.covariates.findings.items]
        try:
            current = self.current
        except PlatformError:
            current = self.window
        self.reports.estimated = estimated_loss(
            self.reference_frame,
            current,
            kind=self.target.kind,
            label=self.model.label.column,
            features=self.model.features,
            settings=self.settings,
            density=False,
        )
        expected = self.reports.estimated.finding
        found.append(replace(expected, statistic=names.ESTIMATED_LOSS_CHANGE))
        return Findings.of("covariates", found, self.reports.covariates.findings.reason)

    def _with_labels(self, finding: Finding) -> Finding:
        """A new region with the number of its rows whose labels are known: what there is to learn from."""
        if finding.statistic != "new_categories" or self.reports.covariates is None:
            return finding
        new = [u.category for u in self.reports.covariates.unseen if u.feature == finding.subject]
        try:
            rows = self.judged
        except PlatformError:
            return replace(finding, facts={**finding.facts, "labelled_rows": 0})
        count = int(rows[finding.subject].astype(str).isin(new).sum())
        return replace(finding, facts={**finding.facts, "labelled_rows": count})

    def leakage(self) -> Findings:
        first = dict(list(self.matured_losses().items())[: self.settings.concept_partitions])
        return leakage(
            self.reports.reference_losses,
            first,
            self.current,
            features=self.model.features,
            kind=self.target.kind,
            label=self.model.label.column,
            settings=self.settings,
        )

    def season(self) -> Findings:
        losses = self.matured_losses()
        before = self.reports.reference_losses
        floor = self.settings.loss_floor * sum(before.values()) / len(before)
        current = {k: losses[k] for k in self.concept_keys if k in losses}
        return season(before, current, floor=floor, settings=self.settings)

    def matured_losses(self) -> dict[str, float]:
        """Losses by day, which the question of harm has computed.

        Raises:
            PlatformError: It could not.
        """
        if not self.reports.losses:
            raise PlatformError("no matured loss is known", where=self.target.key)
        return self.reports.losses

    # --- facts ----------------------------------------------------------------------------------

    def promotion_facts(self) -> PromotionFacts:
        promotion, scheme = self.live.promotion, self.target.use_case.scheme
        first = self.live.by_champion[0] if self.live.by_champion else self.live.partition
        age = scheme.whole(self.live.as_of - promotion.as_of)
        line = [p for p in promotions.history(self.platform.ledger, self.target.key) if _before(p, promotion)]
        return PromotionFacts(
            version=str(promotion.version),
            as_of=promotion.as_of,
            partition=first,
            age_partitions=age,
            partitions_since=len(self.live.by_champion),
            matured_since=len(self.live.matured),
            action=promotion.action,
            previous_exists=bool(line),
        )

    def training_facts(self) -> TrainingFacts:
        keys = set(self.target.use_case.trained_on(self.model, self.live.last_mature))
        held = held_partitions(self.platform, self.target, only_open=True)
        held = {k: why for k, why in held.items() if k in keys}
        return TrainingFacts(not_green=held, partitions=len(keys))


def _before(one: Promotion, other: Promotion) -> bool:
    return one.action != "rollback" and one.version < other.version and one.as_of <= other.as_of


def _answer(name: str, question: Callable[[], Findings]) -> Findings:
    """The findings on a question; UNKNOWN with the reason where evidence is missing or unusable."""
    try:
        return question()
    except PlatformError as error:
        return Findings.unknown(name, error.what)


def _new_or_renamed(
    findings: dict[str, Findings], reference: Reference, window: Callable[[], pd.DataFrame]
) -> dict[str, Findings]:
    """New categories break the contract only where known ones vanished at once: a renamed code.

    A category that comes beside all the known ones is a cold start, and is reported with X.
    """
    contract = findings["contract"]
    fresh = [f for f in contract.items if f.statistic == "new_categories" and f.state == "FAIL"]
    if not fresh or reference.rows is None:
        return findings
    items = []
    for finding in contract.items:
        if finding in fresh and not _vanished(reference.rows, window(), finding):
            detail = f"{finding.detail}; every known category is still there: a new region, no renamed code"
            items.append(replace(finding, state="PASS", detail=detail))
        else:
            items.append(finding)
    return findings | {"contract": Findings.of("contract", items, contract.reason)}


def _vanished(reference: pa.Table, window: pd.DataFrame, finding: Finding) -> list[str]:
    """Known categories, at least half as frequent as the new ones, that occur no more."""
    column = finding.subject.split("=")[0]
    if column not in window.columns or column not in reference.column_names:
        return []
    now = set(window[column].dropna().astype(str))
    counts = reference[column].value_counts()
    total = reference.num_rows
    before: Sequence[tuple[str, float]] = [
        (str(c["values"].as_py()), c["counts"].as_py() / total)
        for c in counts
        if c["values"].as_py() is not None
    ]
    least = (finding.estimate or 0) / 2
    return [name for name, share in before if share >= least and name not in now]
