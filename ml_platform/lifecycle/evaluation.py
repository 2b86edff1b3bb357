"""Evaluation: the candidate on the gate's days, against its baseline and the champion in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml_platform.datasets import versions
from ml_platform.errors import NotReadyError, PlatformError, StoreError
from ml_platform.lifecycle import pointers
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.modeling import bundle, card, plots
from ml_platform.modeling.blocking import block_names
from ml_platform.modeling.comparison import Missing
from ml_platform.modeling.evaluate import Evaluation as Scores
from ml_platform.modeling.evaluate import evaluate
from ml_platform.modeling.gate_names import gate_names
from ml_platform.modeling.gates import Assessment, as_record, assess
from ml_platform.modeling.model import Model
from ml_platform.registry import promotions
from ml_platform.storage.ledger import wall_now
from ml_platform.storage.parquet import write_table
from ml_platform.storage.tables import Evaluation

Floats = npt.NDArray[np.float64]

SKIPPED = "SKIPPED"
"""State of a gate that a model need not meet now: neither a pass nor missing evidence."""


@dataclass(frozen=True)
class EvaluationReport:
    """How a candidate was judged.

    Attributes:
        id: The ledger's number of it.
        model_digest: The contender that was judged: the candidate, or its baseline where that is better.
        contender: ``candidate`` or ``baseline``.
        passed: Whether every gate passed.
        reused: Whether the same evaluation had been made before.
        gates: One dictionary per gate: name, state, measured, limit, sentence.
        metrics: Numbers of the contender on the gate's days.
        images: PNG by name.
        card: The model card, Markdown.
        warning: What could not be projected.
    """

    id: int
    model_digest: str
    contender: str
    passed: bool
    reused: bool
    gates: list[dict[str, Any]]
    metrics: dict[str, float]
    images: dict[str, bytes]
    card: str
    warning: str = ""

    def shown(self) -> dict[str, Any]:
        """Facts for the UI."""
        table = [{k: g[k] for k in ("name", "state", "measured", "comparison", "limit")} for g in self.gates]
        return {
            "passed": self.passed,
            "contender": self.contender,
            "model": self.model_digest,
            **self.metrics,
            "gates": table,
            "model_card": self.card,
            **self.images,
            "warning": self.warning or None,
        }


def evaluate_candidate(platform: Platform, target: Target, as_of: datetime) -> EvaluationReport:
    """Judge the candidate that ``candidate_model`` is at.

    A champion that cannot be read makes its gate UNKNOWN, and UNKNOWN never promotes. The same candidate
    against the same champion on the same rows has been judged before: nothing is done again.

    Raises:
        NotReadyError: There is no candidate.
    """
    head = pointers.current(platform, target, "candidate_model")
    if head is None:
        raise NotReadyError(
            "there is no candidate to evaluate", where=target.key, fix="materialise candidate_model"
        )
    champion = promotions.champion(platform.ledger, target.key)
    dataset = versions.find(platform.ledger, head.details["dataset_version"])
    rows = versions.load(platform.lake, versions.manifest_of(platform.lake, dataset), "gate")
    candidate = _model(platform, head.digest)
    baseline = _model(platform, head.details["baseline"]) if head.details.get("baseline") else None
    incumbent, incumbent_scores = _champion(
        platform, target, rows, champion.model_digest if champion else None
    )
    scores = {"candidate": candidate.predict(rows)}
    if baseline is not None:
        scores["baseline"] = baseline.predict(rows)
    judged = {name: judged_by_slices(target, rows, values) for name, values in scores.items()}
    verdict = assess(
        judged["candidate"],
        target.model.gates,
        baseline=judged.get("baseline"),
        champion=incumbent,
        kind=target.kind,
        constant=candidate.constant,
    )
    chosen = candidate if verdict.contender == "candidate" or baseline is None else baseline
    digest = head.digest if chosen is candidate else head.details["baseline"]
    evidence = _evidence(target, rows, scores, verdict.contender, incumbent_scores)
    against = champion.model_digest if champion else None
    row, reused = _record(platform, target, digest, against, dataset.version, verdict, evidence, as_of)
    images = _images(chosen, verdict, judged, incumbent)
    text = card.model_card(chosen, digest, _card_text(target), judged[verdict.contender], verdict)
    metrics = _metrics(judged[verdict.contender])
    files = {f"plots/{name}.png": data for name, data in images.items()} | {"model_card.md": text.encode()}
    warning = _project(platform, head.details.get("run_id"), metrics, files)
    return EvaluationReport(
        id=row.id,
        model_digest=digest,
        contender=verdict.contender,
        passed=row.passed,
        reused=reused,
        gates=row.gates,
        metrics=metrics,
        images=images,
        card=text,
        warning=warning,
    )


def every_gate(target: Target, gates: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All gates that a model may meet; one that did not apply is SKIPPED, which is no pass, and says why."""
    found = {g["name"]: g for g in gates}
    first = "champion" not in found
    # What is asked of a first champion only; a later candidate is compared with the champion instead.
    firsts = (target.kind.quality, "base_rate")
    shown = []
    for name in gate_names(target.model):
        if first and name == "champion":
            state, why = SKIPPED, "there is no champion yet to compare with"
        elif not first and name in firsts:
            state, why = SKIPPED, "asked of a first champion only; this one is compared with the champion"
        else:
            state, why = "UNKNOWN", "was not judged"
        absent = {
            "name": name,
            "state": state,
            "measured": None,
            "comparison": "",
            "limit": None,
            "sentence": f"{state}: {why}",
        }
        shown.append(found.get(name, absent))
    return shown


def _model(platform: Platform, digest: str) -> Model:
    return bundle.from_bytes(platform.lake.get(digest), digest)


def _champion(
    platform: Platform, target: Target, rows: pa.Table, digest: str | None
) -> tuple[Scores | Missing | None, Floats | None]:
    """The champion's evaluation; Missing when it cannot be read, None when there is no champion yet."""
    if digest is None:
        return None, None
    try:
        scores = _model(platform, digest).predict(rows)
        return judged_by_slices(target, rows, scores), scores
    except PlatformError as error:
        return Missing(f"the champion cannot be read: {error.what}"), None


def judged_by_slices(target: Target, rows: pa.Table, scores: Floats) -> Scores:
    """How some scores did on labelled rows, in all and per slice of the gates."""
    gates = target.model.gates
    return evaluate(
        rows,
        scores,
        kind=target.kind,
        label=target.model.label.column,
        slices=gates.slices,
        confidence=gates.confidence,
        blocks=block_names(rows, target.model, target.use_case.config.views.key),
    )


def with_scores(target: Target, table: pa.Table, stem: str, scores: Floats) -> pa.Table:
    """The table with a model's scores added, in columns of one stem."""
    for name, values in target.kind.columns(scores, stem).items():
        table = table.append_column(name, pa.array(values))
    return table


def _evidence(
    target: Target,
    rows: pa.Table,
    scores: dict[str, Floats],
    contender: str,
    champion: Floats | None,
) -> pa.Table:
    """Scores of the gate's rows; ``candidate`` is the contender that was judged."""
    keys = ["partition_key", *target.use_case.config.views.key, target.model.label.column]
    table = rows.select(list(dict.fromkeys(keys)))
    table = with_scores(target, table, "candidate", scores[contender])
    if "baseline" in scores:
        table = with_scores(target, table, "baseline", scores["baseline"])
    return table if champion is None else with_scores(target, table, "champion", champion)


def _record(
    platform: Platform,
    target: Target,
    digest: str,
    against: str | None,
    dataset_version: str,
    verdict: Assessment,
    evidence: pa.Table,
    as_of: datetime,
) -> tuple[Evaluation, bool]:
    """The ledger's entry, and whether the same one was the last made."""
    stored = platform.lake.put(write_table(evidence))
    gates = [as_record(g) for g in verdict.gates]
    last = promotions.latest_evaluation(platform.ledger, target.key)
    same = (digest, against, stored, gates)
    if last and same == (last.model_digest, last.against_digest, last.evidence_digest, last.gates):
        return last, True
    row = Evaluation(
        model_key=target.key,
        model_digest=digest,
        against_digest=against,
        dataset_version=dataset_version,
        passed=verdict.decision.promote,
        gates=gates,
        evidence_digest=stored,
        as_of=as_of,
        recorded_at=wall_now(),
    )
    promotions.record_evaluation(platform.ledger, row)
    return row, False


def _metrics(scores: Scores) -> dict[str, float]:
    return scores.metrics() | {"gate_rows": float(scores.rows)}


def _images(
    model: Model, verdict: Assessment, judged: dict[str, Scores], champion: Scores | Missing | None
) -> dict[str, bytes]:
    shown = {verdict.contender: judged[verdict.contender], **judged}
    if isinstance(champion, Scores):
        shown["champion"] = champion
    images = plots.evaluation_plots(shown) | {"importance": plots.importance(model.importance)}
    sliced = next((g for g in verdict.gates if g.name == "slices"), None)
    return images if sliced is None else images | {"slices": plots.slices(sliced)}


def _card_text(target: Target) -> card.CardText:
    config = target.use_case.config
    return card.CardText(
        title=target.model.title or target.key,
        question=config.description,
        label=target.model.label.description,
        owner=f"{config.owner.team} <{config.owner.email}>",
        features={f.name: f.description for f in target.model.features},
    )


def _project(
    platform: Platform, run_id: str | None, metrics: dict[str, float], files: dict[str, bytes]
) -> str:
    if run_id is None:
        return ""
    try:
        platform.tracking.add(run_id, {f"gate_{k}": v for k, v in metrics.items()}, files)
    except StoreError as error:
        return f"MLflow does not show it: {error.what}"
    return ""
