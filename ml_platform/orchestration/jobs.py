"""Jobs: the whole lifecycle, a day's scoring, training, and what a person asks for."""

from collections.abc import Sequence
from typing import Literal

from dagster import (
    AssetKey,
    AssetSelection,
    Config,
    JobDefinition,
    OpExecutionContext,
    define_asset_job,
    in_process_executor,
    job,
    op,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import Field

from ml_platform.config import UseCase
from ml_platform.lifecycle.platform import Target
from ml_platform.orchestration.keys import feed_key, model_key, partitions_of, view_key
from ml_platform.orchestration.limits import limit_tags
from ml_platform.orchestration.resources import PlatformResource

SCORING_JOB = "score_day"
TRAINING = ("training_dataset", "candidate_model", "evaluation", "champion_model")
_SCORING = ("predictions", "export", "serving_cache")
MONITORING = ("label_maturity", "live_performance", "drift", "skew", "diagnosis", "retraining_verdict")


def _a(noun: str) -> str:
    return f"an {noun}" if noun.startswith("h") else f"a {noun}"


def job_name(use_case: UseCase, job_title: str) -> str:
    """``<use_case>_<job>``: several use cases live in one code location. What scores a day is named by the
    width of the partitions, such as ``score_hour``."""
    if job_title == SCORING_JOB:
        job_title = f"score_{use_case.scheme.noun}"
    return f"{use_case.name}_{job_title}"


def asset_jobs(use_case: UseCase) -> list[UnresolvedAssetJobDefinition]:
    """The asset jobs of a use case. Their steps are few and cheap, so each run is one process."""
    feeds = _feeds(use_case, static=None)
    moving = _feeds(use_case, static=False)
    views = [view_key(use_case, v) for v in ("entities", "features", "labels")]
    training, scoring = _stages(use_case, TRAINING), _stages(use_case, _SCORING)
    monitoring = _stages(use_case, MONITORING)
    catalogue = view_key(use_case, "catalogue")
    return [
        _job(
            use_case,
            "lifecycle",
            [*feeds, *views, *training, *scoring, *monitoring, catalogue],
            "The whole lifecycle: land, accept, build features and labels, version, train, judge, promote, "
            "score, serve, monitor. Launch it over a range of partitions as one run.",
        ),
        _job(
            use_case,
            "land",
            feeds,
            "Land and accept a range of partitions: history that later stages look back on.",
        ),
        _job(
            use_case,
            SCORING_JOB,
            [*moving, *scoring, *monitoring],
            f"What {_a(use_case.scheme.noun)} needs: land and accept what has come, score the partition, "
            "refresh the cache, look at the monitors, diagnose. "
            f"The {use_case.scheme.width} schedule launches it; a range of partitions is one backfill.",
        ),
        _job(
            use_case,
            "train_and_promote",
            [*views, *training],
            "Features and labels over a range of partitions, a dataset version as of the clock, a candidate, "
            "its gates, and promotion where they pass.",
        ),
        _job(
            use_case,
            "monitor",
            [*moving, *monitoring],
            "Land and accept what has come since, then the monitors, a diagnosis and its verdict.",
        ),
    ]


def _job(
    use_case: UseCase, title: str, keys: Sequence[AssetKey], description: str
) -> UnresolvedAssetJobDefinition:
    return define_asset_job(
        job_name(use_case, title),
        selection=AssetSelection.assets(*keys),
        partitions_def=partitions_of(use_case),
        executor_def=in_process_executor,
        description=description,
        tags={"use_case": use_case.name, **limit_tags(use_case)},
    )


def _feeds(use_case: UseCase, *, static: bool | None) -> list[AssetKey]:
    chosen = [f for f in use_case.config.feeds if static is None or f.static == static]
    return [feed_key(f.name, stage) for f in chosen for stage in ("landed", "accepted", "quarantine")]


def _stages(use_case: UseCase, stages: Sequence[str]) -> list[AssetKey]:
    return [model_key(Target(use_case, m), stage) for m in use_case.config.models for stage in stages]


class DecisionConfig(Config):
    """A person's word on the candidate that waits."""

    model: str = Field(description="<use_case>/<model>.")
    decision: Literal["approve", "reject"] = Field(description="The word.")
    who: str = Field(description="Who decides: kept in the ledger.")
    why: str = Field(description="The reason: kept in the ledger.")


class ReplayConfig(Config):
    """Which quarantined rows to judge again."""

    feed: str = Field(description="Name of the feed.")
    partition: str | None = Field(default=None, description="Only this partition.")
    accepted: bool = Field(
        default=False,
        description="Judge what another contract accepted, too; what fails now is withdrawn from now on.",
    )


@op(description="Approves or rejects the candidate that waits; an approved one is promoted.")
def decide_on_candidate(
    context: OpExecutionContext, config: DecisionConfig, platform: PlatformResource
) -> None:
    """Approve or reject."""
    from ml_platform.lifecycle.promotion import approve_waiting, reject_waiting

    stores = platform.get()
    target = stores.target(config.model)
    if config.decision == "approve":
        promotion = approve_waiting(stores, target, config.who, config.why)
        context.log.info(f"{target.key}: version {promotion.version} serves")
    else:
        reject_waiting(stores, target, config.who, config.why)
        context.log.info(f"{target.key}: rejected; the champion in force goes on")


@op(description="Judges quarantined rows and held partitions again, by the contract as it stands now.")
def replay_quarantined(context: OpExecutionContext, config: ReplayConfig, platform: PlatformResource) -> None:
    """Replay."""
    from ml_platform.lifecycle.held import tell_newly_held
    from ml_platform.lifecycle.quarantine import find_feed, replay

    stores = platform.get()
    report = replay(stores, config.feed, config.partition, accepted=config.accepted)
    context.log.info(report.sentence())
    use_case, feed = find_feed(stores, config.feed)
    for line in tell_newly_held(stores, use_case, feed.name, report.newly_held):
        context.log.info(line)
    numbers = {name: report.total(name) for name in ("landed", "accepted", "quarantined", "held")}
    context.add_output_metadata(numbers | {"withdrawn": report.withdrawn})


@job(description="A person's word on the candidate that waits.", executor_def=in_process_executor)
def decide_promotion() -> None:
    """Approve or reject a candidate."""
    decide_on_candidate()


@job(description="Brings quarantined rows back after a fix.", executor_def=in_process_executor)
def replay_quarantine() -> None:
    """Replay quarantined rows."""
    replay_quarantined()


PERSONS_JOBS: tuple[JobDefinition, ...] = (decide_promotion, replay_quarantine)
