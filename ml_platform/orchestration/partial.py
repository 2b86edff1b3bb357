"""Materialise only some partitions of a range run.

Dagster marks every partition of a range as materialised when an asset returns. Here a partition that was
held back, or is not due yet, must not look materialised, while the good ones go on and later stages still
run. The step's output event is therefore emitted by hand, without the automatic materialisations; this
needs private names of Dagster, which is why they live in this one module, held by its tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetObservation,
)
from dagster._core.events import DagsterEvent
from dagster._core.execution.plan.outputs import StepOutputData, StepOutputHandle


@dataclass(frozen=True)
class PartitionMetadata:
    """One partition to show as materialised, and what to show with it."""

    partition: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


def materialise(
    context: AssetExecutionContext,
    partitions: Iterable[PartitionMetadata],
    checks: Iterable[AssetCheckResult] = (),
) -> Iterator[AssetMaterialization | AssetCheckResult]:
    """Yield a materialisation for each partition given, then the checks, and finish the step."""
    for each in partitions:
        yield AssetMaterialization(context.asset_key, metadata=each.metadata, partition=each.partition)
    yield from checks
    finish(context, "result")


def left_out(
    context: AssetExecutionContext,
    reason: str,
    partitions: Iterable[str] = (),
    checks: Iterable[str] = (),
) -> Iterator[AssetObservation | AssetCheckResult]:
    """Say why the run goes on without this asset: neither it nor what follows it is materialised.

    Its checks are UNKNOWN, which is never a pass.
    """
    context.log.warning(reason)
    keys: list[str | None] = [*partitions]
    for key in keys or [None]:
        yield AssetObservation(context.asset_key, metadata={"left_out": reason}, partition=key)
    for name in checks:
        yield AssetCheckResult(
            asset_key=context.asset_key,
            check_name=name,
            passed=False,
            severity=AssetCheckSeverity.WARN,
            description=f"UNKNOWN: {reason}",
            metadata={"state": "UNKNOWN"},
        )


def skip_check(context: AssetExecutionContext, name: str, reason: str) -> None:
    """Leave a check without a result: Dagster shows it as skipped, neither as passed nor as failed.

    Dagster knows no such result, and takes a check that its asset does not answer for an error.
    """
    context.log.info(f"check {name} is skipped: {reason}")
    output = AssetCheckSpec(name, asset=context.asset_key).get_python_identifier()
    context.op_execution_context._step_execution_context.observe_output(output)


def finish(context: AssetExecutionContext, output_name: str) -> None:
    """Tell Dagster that an output is there, so that later stages run."""
    op = context.op_execution_context
    step = op._step_execution_context
    op._events.append(
        DagsterEvent.step_output_event(step, StepOutputData(StepOutputHandle(step.step.key, output_name)))
    )


def materialisation(key: AssetKey, each: PartitionMetadata) -> AssetMaterialization:
    """The event that shows one partition of an asset as materialised."""
    return AssetMaterialization(key, metadata=each.metadata, partition=each.partition)
