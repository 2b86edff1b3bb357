"""Gathers the evidence of one model as of an instant and lets the monitors speak, for a diagnosis.

Whatever cannot be had makes its question UNKNOWN, with the reason; it is never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.datasets import versions
from ml_platform.diagnosis.evidence import Evidence, IncidentFacts, PromotionFacts, TrainingFacts
from ml_platform.diagnosis.steps import TERMINATING
from ml_platform.errors import PlatformError
from ml_platform.features.dbt import compiled_views
from ml_platform.lifecycle import views
from ml_platform.lifecycle.guard.deliveries import deliveries, premature_labels
from ml_platform.lifecycle.guard.evidence_tables import Tables
from ml_platform.lifecycle.guard.live import Live
from ml_platform.lifecycle.guard.records import unanswered_since
from ml_platform.lifecycle.guard.seasons import a_season_ago, drift_of_the_season, older_models
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.reference import Reference, daily_losses
from ml_platform.lifecycle.scoring import load_champion
from ml_platform.lifecycle.training_data import held_partitions
from ml_platform.monitoring.breaks import data_breaks
from ml_platform.monitoring.concept import ConceptReport, concept_change
from ml_platform.monitoring.constant_label import constant_label
from ml_platform.monitoring.covariates import Contributions, CovariateReport, covariate_shift
from ml_platform.monitoring.estimated import EstimatedReport, estimated_loss
from ml_platform.monitoring.harm import judge_harm
from ml_platform.monitoring.label_maturity import LabelMaturity
from ml_platform.monitoring.label_replay import label_replay
from ml_platform.monitoring.leakage import leakage
from ml_platform.monitoring.season import NO_ALARM, OLDER_MODEL, season
from ml_platform.monitoring.skew import FeatureBreak, SkewReport, feature_breaks, serving_skew
from ml_platform.monitoring.units import unit_changes
from ml_platform.registry import promotions
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.storage.tables import Promotion


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


class _Gatherer(Tables):
    """One gathering: tables are read once and shared by the questions."""

    def __init__(
        self,
        live: Live,
        incident: IncidentFacts | None,
        rebuilt: Mapping[str, pa.Table] | None,
        fixed: Sequence[str],
    ) -> None:
        super().__init__(live, incident, rebuilt, fixed)
        self.reports = Gathered(Evidence(live.target.key, live.partition, live.as_of, {}))
        self.answered: dict[str, Findings] = {}

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
        for name, question in asked.items():
            self.answered[name] = _answer(name, question)
        findings = _new_or_renamed(self.answered, self.reference, lambda: self.window)
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
            older_season_model_wins=_older_wins(findings["season"]),
            older_season_model=_best_older(findings["season"]),
            open_incident=self.incident,
            events=self.target.use_case.events_of({*self.window_keys, *self.concept_keys}),
            unanswered_since=self.unanswered_since(findings),
            days_per_partition=self.target.use_case.scheme.days,
        )
        return self.reports

    def breaks(self) -> tuple[frozenset[str], frozenset[str]]:
        """Features that look broken as served, and as rebuilt.

        Another distribution on both sides is a shift of the world, unless a contract or a unit says
        otherwise: smoothed rates leave their reference in any real summer.
        """
        looked_at = ["partition_key", *self.model.feature_names]
        try:
            served = self.left_reference(self.window)
            # Nearly always both sides are the same, and so is the answer.
            same = set(looked_at) <= set(self.window) & set(self.rebuilt)
            same = same and self.window[looked_at].equals(self.rebuilt[looked_at])
            rebuilt = served if same else self.left_reference(self.rebuilt)
        except PlatformError:
            return frozenset(), frozenset()
        shifted = {n for n in served.keys() & rebuilt.keys() if served[n].kind == rebuilt[n].kind == "shape"}
        return frozenset(served.keys() - shifted), frozenset(rebuilt.keys() - shifted)

    def left_reference(self, rows: pd.DataFrame) -> dict[str, FeatureBreak]:
        """Features that left their reference abruptly."""
        return feature_breaks(self.reference_frame, rows, self.model.features, self.settings)

    @property
    def alarmed(self) -> bool:
        """Harm or P(y|x), which are asked before, has fired: then what costs more is looked at too."""
        return any(self.answered[q].failed for q in ("harm", "concept") if q in self.answered)

    # --- questions ------------------------------------------------------------------------------

    def contract(self) -> Findings:
        columns = self.model.feature_names
        found = data_breaks(
            self.reference_frame,
            self.window,
            columns=columns,
            segments=self.categorical_segments,
            settings=self.settings,
            earlier=self.earlier,
        )
        items = (*deliveries(self), *premature_labels(self), *found.items)
        return Findings.of("contract", items, found.reason)

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
        """Labels of the current code against those of the champion's, and whether they tell anything."""
        keys = [k for k in self.label_keys if k <= self.live.last_mature][-self.settings.concept_partitions :]
        stored = self.labels.filter(pc.is_in(self.labels["partition_key"], pa.array(keys, pa.string())))
        replayed, label = self.label_replay(keys, stored), self.model.label.column
        try:
            stuck = constant_label(self.reference_frame, stored, label=label)
        except PlatformError as error:  # what the replay found stays
            stuck = Finding("constant_label", label, "UNKNOWN", error.what)
            return Findings.of("label_definition", [*replayed.items, stuck], error.what)
        if stuck is None or (stuck.state != "FAIL" and replayed.state == "UNKNOWN"):
            return replayed
        return Findings.of("label_definition", [*replayed.items, stuck], replayed.reason)

    def label_replay(self, keys: Sequence[str], stored: pa.Table) -> Findings:
        """Labels of some partitions against those that the champion's training code makes."""
        trained = promotions.model(self.platform.ledger, self.live.promotion.model_digest)
        dataset = versions.find(self.platform.ledger, trained.dataset_version)
        code = views.kept_views(self.platform, dataset)
        if code is None:
            return Findings.unknown("label_definition", "the champion's training SQL was not kept")
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
        self.reports.maturity = self.arrival
        return self.arrival.findings

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
            self.target.kind.loss_scale(self.reference_frame[self.model.label.column].to_numpy()),
        )

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
            contributions=self.contributions(),
        )
        found = [self._with_labels(f) for f in self.reports.covariates.findings.items]
        try:
            current = self.current
        except PlatformError:
            current = self.window
        self.reports.estimated = self.expected_loss(current)
        found += self.reports.estimated.both
        return Findings.of("covariates", found, self.reports.covariates.findings.reason)

    def contributions(self) -> Contributions | None:
        """Mean absolute contributions of the features to the champion's scores; None if it cannot be read."""
        try:
            shares = load_champion(self.platform, self.live.promotion.model_digest).importance
        except PlatformError:
            return None
        found = np.array([shares.get(name, 0.0) for name in self.model.feature_names])
        return found, found

    def expected_loss(self, current: pd.DataFrame) -> EstimatedReport:
        """Loss expected without labels; where something fired also by density-weighted curves, which cost."""

        def estimate(density: bool) -> EstimatedReport:
            return estimated_loss(
                self.reference_frame,
                current,
                kind=self.target.kind,
                label=self.model.label.column,
                features=self.model.features,
                settings=self.settings,
                density=density,
            )

        found = estimate(self.alarmed)
        return estimate(True) if not self.alarmed and found.finding.state == "FAIL" else found

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
            self.backtest_losses,
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
        ago = a_season_ago(self, list(before), list(current)) if self.alarmed else NO_ALARM
        events = self.target.use_case.events_of({*before, *current})
        known, lacking = (None, ago) if isinstance(ago, str) else (ago, "")
        found = season(
            before,
            current,
            floor=floor,
            settings=self.settings,
            year_ago=known,
            events=events,
            lacking=lacking,
        )
        older = older_models(self, current, floor=floor, compare=self.alarmed)
        drift = drift_of_the_season(self, self.answered["covariates"])
        return Findings.of("season", [*found.items, *older, drift], found.reason)

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

    def unanswered_since(self, findings: Mapping[str, Findings]) -> dict[str, str]:
        """Since when questions that end the diagnosis have had no answer."""
        unknown = [s for s in TERMINATING if findings[s].state == "UNKNOWN"]
        if not unknown:
            return {}
        return unanswered_since(self.platform, self.target, unknown, self.live.partition, self.live.as_of)

    def training_facts(self) -> TrainingFacts:
        keys = set(self.target.use_case.trained_on(self.model, self.live.last_mature))
        held = held_partitions(self.platform, self.target, only_open=True)
        held = {k: why for k, why in held.items() if k in keys}
        return TrainingFacts(not_green=held, partitions=len(keys))


def _older(season: Findings) -> list[Finding]:
    return [f for f in season.items if f.statistic == OLDER_MODEL]


def _older_wins(season: Findings) -> bool | None:
    """None where no older model of the season could be judged."""
    states = {f.state for f in _older(season)}
    return True if "FAIL" in states else False if states == {"PASS"} else None


def _best_older(season: Findings) -> str | None:
    """The version of the older model that wins by most."""
    winners = [f for f in _older(season) if f.state == "FAIL"]
    return max(winners, key=lambda f: f.estimate or 0.0).subject if winners else None


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
