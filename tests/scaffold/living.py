"""A written use case lives through its first partitions, stage by stage, as the daily job does."""

from pathlib import Path

from ml_platform.config import load_use_case
from ml_platform.lifecycle.guard.days import Day, first_champion, play_day
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Outside, Platform, Target
from ml_platform.orchestration.demo import acts


def live(folder: Path, home: Path, partitions: int) -> tuple[Platform, Target, list[Day]]:
    """Train the first champion when the use case's demo does, and serve and judge some partitions."""
    use_case = load_use_case(folder / "use_case.yaml")
    outside = Outside(use_cases={use_case.name: use_case}, tracked=False)
    platform = Platform({"ML_PLATFORM_HOME": str(home)}, outside)
    target, scheme, demo = Target(use_case, use_case.config.models[0]), use_case.scheme, use_case.config.demo
    assert demo is not None
    _, served = acts(use_case, demo, [target.model.name])[0].partitions
    ingest(platform, use_case, scheme.keys(scheme.first_key, scheme.shift(served, -1)), demo.promote_at)
    platform.clock(use_case).set(demo.promote_at)
    report = first_champion(platform, target, demo.promote_at)
    assert report.candidate_serves, report.sentence()
    played = []
    for key in scheme.keys(served, scheme.shift(served, partitions - 1)):
        now = use_case.cutoff(key)
        ingest(platform, use_case, [key], now)
        platform.clock(use_case).set(now)
        played.append(play_day(platform, target, key, now))
    return platform, target, played
