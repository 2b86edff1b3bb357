"""One day's monitoring and diagnosis against that day's scoring, and against Evidently's drift preset.

The platform gathers the evidence of all eleven questions, diagnoses and enters the verdict; the other sides
score the same day (SQL, model, evidence, cache), and run Evidently's preset on the same rows.
"""

from datetime import datetime

from benchmarks.daily_step import first_to_come, seconds
from benchmarks.installation import installation
from benchmarks.report import Line, in_turn, middle
from ml_platform.lifecycle.caching import refresh
from ml_platform.lifecycle.guard.diagnosing import diagnose_now
from ml_platform.lifecycle.guard.live import Live
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.reference import reference_of
from ml_platform.lifecycle.scoring import score
from ml_platform.monitoring.evidently_report import evidently_html
from ml_platform.registry.promotions import require_champion

WARM_UP, ROUNDS = 1, 5


def run() -> list[Line]:
    """Days that are still to come; the first of them warms all sides up."""
    with installation() as (platform, target):
        first = first_to_come(platform, target)
        scheme = target.use_case.scheme
        days = [scheme.shift(first, i) for i in range(WARM_UP + ROUNDS)]
        measured: list[list[float]] = [[], [], []]
        for day in days:
            now = platform.clock(target.use_case).set(target.use_case.cutoff(day))
            ingest(platform, target.use_case, [day], now)
            sides = in_turn(
                1,
                lambda day=day, now=now: seconds(lambda: serve(platform, target, day, now)),  # type: ignore[misc]
                lambda now=now: seconds(lambda: diagnose_now(platform, target, now)),  # type: ignore[misc]
                lambda now=now: seconds(lambda: preset(platform, target, now)),  # type: ignore[misc]
            )
            for column, found in zip(measured, sides, strict=True):
                column.extend(found)
        scoring, diagnosing, evidently = (middle(side[WARM_UP:]) for side in measured)
        note = f"median of {ROUNDS} partitions of {target.key}"
        return [
            Line("diagnosis / scoring", diagnosing, scoring, "s", None, note),
            Line("diagnosis / Evidently's preset", diagnosing, evidently, "s", None, note),
        ]


def serve(platform: Platform, target: Target, day: str, now: datetime) -> None:
    """Score a day and refresh the cache."""
    score(platform, target, [day], now)
    refresh(platform, target, now)


def preset(platform: Platform, target: Target, now: datetime) -> None:
    """Evidently's preset on the reference and the last served partitions."""
    promotion = require_champion(platform.ledger, target.key)
    live = Live(platform, target, now, promotion)
    reference = reference_of(platform, target, promotion).rows
    keys = list(live.heads)[-target.model.diagnosis.covariate_partitions :]
    current = live.served(keys)
    assert reference is not None
    assert current is not None
    numeric = [f.name for f in target.model.features if f.kind == "numeric"] + target.kind.names()
    evidently_html(reference, current, numeric, target.model.categorical)
