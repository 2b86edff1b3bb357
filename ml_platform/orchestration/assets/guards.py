"""Diagnosis and verdict: from evidence to a cause, from a cause to what may be done."""

from collections.abc import Iterator
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetsDefinition,
    MaterializeResult,
    MetadataValue,
    asset,
)

from ml_platform.diagnosis.steps import STEPS
from ml_platform.lifecycle.platform import Target
from ml_platform.orchestration import metadata, partial
from ml_platform.orchestration.assets.models import common
from ml_platform.orchestration.assets.monitors import served, state_check
from ml_platform.orchestration.assets.serving import accepted_feeds
from ml_platform.orchestration.keys import model_key
from ml_platform.orchestration.resources import PlatformResource
from ml_platform.orchestration.run_context import as_of


def guard_assets(target: Target) -> list[AssetsDefinition]:
    """Skew, diagnosis and verdict of one model."""
    return [_skew(target), _diagnosis(target), _retraining_verdict(target)]


def _skew(target: Target) -> AssetsDefinition:
    key = model_key(target, "skew")
    settings = target.model.diagnosis

    @asset(
        **common(target, "skew", {"python"}),
        output_required=False,
        deps=[served(target), *accepted_feeds(target)],
        check_specs=[
            AssetCheckSpec(
                "served_equals_rebuilt",
                asset=key,
                description=f"At most {settings.mismatch_share:.0%} of a partition's rows differ.",
            )
        ],
        description="Features as served against the same features rebuilt by the training code from what was "
        "known then: batch and serving parity, per feature.",
    )
    def skew(context: AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from ml_platform.errors import NotReadyError
        from ml_platform.lifecycle.agenda import left_out
        from ml_platform.lifecycle.guard.parity import parity

        stores = platform.get()
        reason = left_out(stores, target, needs="predictions")
        if reason:
            yield from partial.left_out(context, reason, checks=["served_equals_rebuilt"])
            return
        try:
            report = parity(stores, target, as_of(context, stores, target.use_case))
        except NotReadyError as error:  # all that was served is of another cutoff than today's
            yield from partial.left_out(context, error.what, checks=["served_equals_rebuilt"])
            return
        worst = min(report.parity, key=lambda n: report.parity[n], default="")
        yield MaterializeResult(
            metadata={
                "state": report.findings.state,
                "rows": report.rows,
                "least_parity": report.parity.get(worst, 0.0),
                "parity": metadata.table(
                    {"feature": n, "parity": round(p, 6)} for n, p in sorted(report.parity.items())
                ),
            }
        )
        text = (
            report.findings.failed[0].detail if report.findings.failed else f"{report.rows:,} rows compared"
        )
        yield state_check(target, "skew", "served_equals_rebuilt", report.findings.state, text)

    return skew


def _diagnosis(target: Target) -> AssetsDefinition:
    key = model_key(target, "diagnosis")

    @asset(
        **common(target, "diagnosis", {"python"}),
        deps=[
            model_key(target, "skew"),
            model_key(target, "live_performance"),
            model_key(target, "drift"),
            model_key(target, "label_maturity"),
        ],
        check_specs=[AssetCheckSpec(s.name, asset=key, description=s.question) for s in STEPS],
        description="What is wrong, how sure that is, and what could not be seen: eleven questions in order, "
        "ranked causes, a verdict. A monitor that fires starts this, never a training.",
    )
    def diagnosis(context: AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from ml_platform.lifecycle.alerts import send
        from ml_platform.lifecycle.guard.diagnosing import diagnose_now
        from ml_platform.lifecycle.guard.showing import show
        from ml_platform.lifecycle.guard.telling import alert_about
        from ml_platform.lifecycle.pages import address

        stores = platform.get()
        now = as_of(context, stores, target.use_case)
        found = diagnose_now(stores, target, now)
        shown = show(stores, target, found.diagnosis)
        said = found.diagnosis.verdict
        context.log.info(f"{said.name}: {said.sentence}")
        alert = alert_about(target, found, link=address(stores, shown.page))
        for line in send(alert) if alert else ():
            context.log.info(line)
        yield MaterializeResult(
            metadata={
                "verdict": said.name,
                "sentence": said.sentence,
                "next": found.diagnosis.next,
                "diagnosis": MetadataValue.md(shown.markdown),
                "evidence": metadata.image(shown.evidence, "what convinced it"),
                "page": MetadataValue.url(address(stores, shown.page)),
                "fingerprint": said.fingerprint,
                "incident": found.verdict.incident_id or "none",
            }
        )
        for step in found.diagnosis.steps:
            headline = step.headline.detail if step.headline else step.reason or "no finding"
            yield state_check(target, "diagnosis", step.name, step.state, headline)

    return diagnosis


def _retraining_verdict(target: Target) -> AssetsDefinition:
    key = model_key(target, "retraining_verdict")

    @asset(
        **common(target, "retraining_verdict", {"python"}),
        deps=[model_key(target, "diagnosis")],
        check_specs=[
            AssetCheckSpec("nothing_to_do", asset=key, description="The verdict asks for nothing."),
            AssetCheckSpec("guards_agree", asset=key, description="No guard refuses what is asked for."),
        ],
        description="The day's verdict and every guard on it, with the date on which it could pass. The "
        "sensor reads this, not the drift.",
    )
    def retraining_verdict(context: AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from ml_platform.lifecycle.guard.records import latest_verdict
        from ml_platform.lifecycle.guard.retraining import consider

        stores = platform.get()
        verdict = latest_verdict(stores, target, as_of(context, stores, target.use_case))
        found = consider(stores, target, verdict)
        context.log.info(found.sentence() if found else verdict.sentence)
        shown: dict[str, Any] = {
            "verdict": verdict.verdict,
            "sentence": verdict.sentence,
            "cause": verdict.cause or "none",
            "day": verdict.partition,
            "recheck_at": verdict.recheck_at.isoformat() if verdict.recheck_at else "none",
        }
        if found is not None:
            shown["guards"] = metadata.table(
                {
                    "guard": g.name,
                    "agrees": "yes" if g.passed else "UNKNOWN" if g.passed is None else "no",
                    "value": str(g.value),
                    "limit": str(g.limit),
                    "could_pass": g.could_pass or "",
                    "sentence": g.sentence,
                }
                for g in found.guards
            )
        yield MaterializeResult(metadata=shown)
        state = "PASS" if verdict.verdict == "none" else "FAIL"
        yield state_check(target, "retraining_verdict", "nothing_to_do", state, verdict.sentence)
        text = found.sentence() if found else "the verdict asks for no action"
        yield AssetCheckResult(
            asset_key=key,
            check_name="guards_agree",
            passed=found is None or found.allowed,
            severity=AssetCheckSeverity.WARN,
            description=text,
        )

    return retraining_verdict
