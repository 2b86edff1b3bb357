"""Carrying verdicts out: the jobs, and the sensor that asks for them. It reads verdicts, never raw drift."""

import json
from collections.abc import Iterator
from typing import Any

from dagster import (
    AssetMaterialization,
    Config,
    DagsterRun,
    DefaultSensorStatus,
    Failure,
    JobDefinition,
    OpExecutionContext,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    in_process_executor,
    job,
    op,
    sensor,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import Field

from ml_platform.config import UseCase
from ml_platform.lifecycle.platform import Target
from ml_platform.orchestration.keys import model_key
from ml_platform.orchestration.resources import PlatformResource

VERDICT_TAG = "ml_platform/verdict"
FINGERPRINT_TAG = "ml_platform/fingerprint"
ATTEMPT_TAG = "ml_platform/attempt"
ASK_TAG = "ml_platform/ask"
SENSOR_SECONDS = 30


class ActionConfig(Config):
    """Which verdict to carry out. Launched by hand it is just as guarded."""

    model: str = Field(description="<use_case>/<model>.")
    verdict_id: int = Field(default=0, description="The verdict's number; the newest one when 0.")
    attempt: int = Field(default=0, description="Number of the attempt; the next one when 0.")
    override_by: str = Field(default="", description="Your name, to retrain in spite of the guards.")
    override_why: str = Field(default="", description="Your reason. Corrupted data cannot be overridden.")


class RollbackConfig(Config):
    """What to roll back, who asks, and why."""

    model: str = Field(description="<use_case>/<model>.")
    who: str = Field(description="Who asks for it: kept in the ledger.")
    why: str = Field(description="The reason: kept in the ledger.")
    verdict_id: int = Field(default=0, description="The verdict that asks for it; a person does when 0.")
    attempt: int = Field(default=0, description="Number of the attempt on that verdict.")


def _carry_out(context: OpExecutionContext, config: ActionConfig, platform: PlatformResource) -> None:
    from ml_platform.diagnosis.guards import Override
    from ml_platform.lifecycle.guard.asked import attempts_on
    from ml_platform.lifecycle.guard.records import latest_verdict, verdict_by_id
    from ml_platform.lifecycle.guard.retraining import carry_out

    stores = platform.get()
    target = stores.target(config.model)
    if bool(config.override_by.strip()) != bool(config.override_why.strip()):
        raise Failure("an override needs a name and a reason: override_by and override_why")
    override = Override(config.override_by, config.override_why) if config.override_by.strip() else None
    verdict = (
        verdict_by_id(stores, config.verdict_id) if config.verdict_id else latest_verdict(stores, target)
    )
    number = config.attempt or len(attempts_on(stores, verdict)) + 1
    now = stores.clock(target.use_case).now()
    attempt = carry_out(stores, target, verdict.id, number, now, override=override, progress=context.log.info)
    context.log.info(f"{attempt.action} {attempt.status}: {attempt.outcome}")
    shown: dict[str, Any] = {
        "verdict": verdict.sentence,
        "status": attempt.status,
        "outcome": attempt.outcome,
        "seconds": attempt.seconds,
        **{
            k: str(v)
            for k, v in attempt.details.items()
            if k in ("sentence", "train", "gate", "refit", "onset")
        },
    }
    context.add_output_metadata(shown)
    if attempt.promotion_id is not None:
        context.log_event(AssetMaterialization(model_key(target, "champion_model"), metadata=shown))


@op(name="retrain_champion", description="Challenger, gates, refit, promotion, cache: if every guard agrees.")
def retrain_op(context: OpExecutionContext, config: ActionConfig, platform: PlatformResource) -> None:
    """Carry out a verdict that asks for a retraining."""
    _carry_out(context, config, platform)


@op(
    name="recalibrate_champion",
    description="A new calibrator on many matured days, if later days are better.",
)
def recalibrate_op(context: OpExecutionContext, config: ActionConfig, platform: PlatformResource) -> None:
    """Carry out a verdict that asks for a recalibration."""
    _carry_out(context, config, platform)


@op(description="Restores the champion before this one, and its cache, in one step.")
def roll_back_champion(
    context: OpExecutionContext, config: RollbackConfig, platform: PlatformResource
) -> None:
    """Roll back: because a person asks for it, or because a verdict does."""
    from ml_platform.lifecycle.promotion import roll_back

    if config.verdict_id:
        named = ActionConfig(model=config.model, verdict_id=config.verdict_id, attempt=config.attempt)
        _carry_out(context, named, platform)
        return
    stores = platform.get()
    report = roll_back(stores, stores.target(config.model), config.who, config.why)
    context.log.info(report.sentence())
    context.add_output_metadata(
        {
            "version": report.promotion.version,
            "model": report.promotion.model_digest,
            "what": report.sentence(),
        }
    )


@job(description="Carries out a verdict that asks for a retraining.", executor_def=in_process_executor)
def retrain() -> None:
    """Retrain."""
    retrain_op()


@job(description="Carries out a verdict that asks for a recalibration.", executor_def=in_process_executor)
def recalibrate() -> None:
    """Recalibrate."""
    recalibrate_op()


@job(
    description="Restores the champion before this one, and its cache, in one step.",
    executor_def=in_process_executor,
)
def rollback() -> None:
    """Roll back a champion."""
    roll_back_champion()


ACTION_JOBS: dict[str, JobDefinition] = {
    "retrain": retrain,
    "recalibrate": recalibrate,
    "rollback": rollback,
}
"""Job by the verdict that it carries out."""
_OPS = {
    "retrain": "retrain_champion",
    "recalibrate": "recalibrate_champion",
    "rollback": "roll_back_champion",
}


def retraining_sensor(use_case: UseCase, monitor: UnresolvedAssetJobDefinition) -> SensorDefinition:
    """The sensor of one use case: it asks for what the newest verdict on each model asks for, once."""

    @sensor(
        name=f"{use_case.name}_retraining",
        jobs=[*ACTION_JOBS.values(), monitor],
        minimum_interval_seconds=SENSOR_SECONDS,
        default_status=DefaultSensorStatus.STOPPED,
        description="Reads new verdicts, not raw drift, and asks for retrain, recalibrate or rollback, or "
        "for a new diagnosis when a wait is over. A tick that finds nothing says why.",
    )
    def retraining(context: SensorEvaluationContext, platform: PlatformResource) -> SensorResult | SkipReason:
        from ml_platform.lifecycle.guard.asked import Ask, newest_verdict, next_ask

        stores = platform.get()
        settled: dict[str, int] = json.loads(context.cursor) if context.cursor else {}
        now = stores.clock(use_case).now()
        asked: list[RunRequest] = []
        reasons = []
        for model in use_case.config.models:
            target = Target(use_case, model)
            if model.retraining.mode == "off":
                reasons.append(f"{target.key}: retraining is switched off (retraining.mode)")
                continue
            _close_dead(context, stores, target)
            verdict = newest_verdict(stores, target)
            runs = dict(_runs(context, verdict.id)) if verdict else {}
            found = next_ask(stores, target, runs, now, settled.get(target.key, 0))
            if isinstance(found, Ask):
                asked.append(_request(use_case, monitor.name, found, stores))
                continue
            reasons.append(found.reason)
            if found.settled and verdict is not None:
                settled[target.key] = verdict.id
        return SensorResult(
            run_requests=asked,
            cursor=json.dumps(settled, sort_keys=True),
            skip_reason=SkipReason("; ".join(reasons)) if reasons and not asked else None,
        )

    return retraining


def _close_dead(context: SensorEvaluationContext, stores: Any, target: Target) -> None:
    """Close attempts on any verdict whose runs are all over; those that a person makes have no runs here."""
    from ml_platform.lifecycle.guard.asked import close_ended, running

    for verdict_id in {a.verdict_id for a in running(stores, target) if a.verdict_id is not None}:
        states = [state for _, state in _runs(context, verdict_id)]
        if states and "under way" not in states:
            close_ended(stores, verdict_id)


def _runs(context: SensorEvaluationContext, verdict_id: int) -> Iterator[tuple[str, Any]]:
    """State of the runs that were asked for a verdict, by run id."""
    for run in context.instance.get_runs(RunsFilter(tags={VERDICT_TAG: str(verdict_id)})):
        yield run.run_id, _state(run)


def _state(run: DagsterRun) -> str:
    if not run.is_finished:
        return "under way"
    return "succeeded" if run.is_success else "failed"


def _request(use_case: UseCase, monitor_job: str, ask: Any, stores: Any) -> RunRequest:
    tags = {
        VERDICT_TAG: str(ask.verdict_id),
        FINGERPRINT_TAG: ask.fingerprint,
        ATTEMPT_TAG: str(ask.number),
        ASK_TAG: ask.action,
    }
    if ask.action == "recheck":
        key = use_case.scheme.key_at(stores.clock(use_case).now())
        return RunRequest(run_key=ask.run_key, job_name=monitor_job, partition_key=key, tags=tags)
    config = {"model": ask.model_key, "verdict_id": ask.verdict_id, "attempt": ask.number}
    if ask.action == "rollback":
        config |= {"who": "the retraining sensor", "why": f"verdict {ask.verdict_id} asks for it"}
    return RunRequest(
        run_key=ask.run_key,
        job_name=ACTION_JOBS[ask.action].name,
        run_config={"ops": {_OPS[ask.action]: {"config": config}}},
        tags=tags,
    )
