"""The doctor holds every projection against the ledger, and says what it did."""

import shutil

import pytest
from library import MODEL, NEXT_WEEK, SERVED, Library, killed, open_library

from ml_platform.lifecycle import acceptance, caching
from ml_platform.lifecycle.doctor import Finding, examine
from ml_platform.lifecycle.landing import land, landed_asset
from ml_platform.lifecycle.reading import client
from ml_platform.registry import promotions
from ml_platform.storage.ledger import Ledger


def deliver_otherwise(library: Library) -> None:
    library.deliver("loans", [SERVED[1]], rows={SERVED[1]: 89})


def states(findings: list[Finding]) -> set[str]:
    return {f.state for f in findings}


def test_a_sound_installation_is_found_sound(served: Library) -> None:
    findings = examine(served.platform)
    assert states(findings) == {"ok"}
    said = " ".join(f.what for f in findings)
    for words in ("nothing is left", "in force are there", f"{MODEL}: serving cache serves", "alias"):
        assert words in said
    assert (served.platform.home / ".ml-platform-home").exists()


def test_an_empty_installation_is_sound_too(fresh: Library) -> None:
    assert states(examine(fresh.platform)) == {"ok"}


def test_a_lost_cache_is_written_again_from_the_lake(served: Library) -> None:
    shutil.rmtree(served.platform.home / "serving.lmdb")
    findings = [f for f in examine(served.platform) if "serving cache" in f.what and MODEL in f.what]
    assert [f.state for f in findings] == ["repaired"] and "2 segment(s) written" in findings[0].what
    row = caching.committed_generation(served.platform, MODEL)
    assert row is not None and served.platform.cache.current(MODEL) == row.id
    segment = caching.as_generation(row).by_partition[SERVED[1]].segment_id
    asked = served.platform.cache.neighbours(segment, SERVED[1], 1)[0]
    assert client(served.platform).get(MODEL, asked).record.key == asked


def test_an_object_in_force_that_is_missing_is_named(served: Library) -> None:
    head = served.platform.ledger.heads(f"{served.use_case.name}/features")["2020-07-06"]
    served.platform.lake.path(head.digest).unlink()
    broken = [f.what for f in examine(served.platform) if f.state == "broken"]
    assert len(broken) == 1 and f"{served.use_case.name}/features 2020-07-06 is missing" in broken[0]


def test_a_half_written_object_is_swept(served: Library) -> None:
    folder = served.platform.home / "lake" / "objects" / "ab"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".writing-x").write_bytes(b"half")
    assert any(f.state == "repaired" and "half-written" in f.what for f in examine(served.platform))
    assert not (folder / ".writing-x").exists()


def test_without_repair_it_only_tells(served: Library) -> None:
    shutil.rmtree(served.platform.home / "serving.lmdb")
    served.platform.tracking.project_champion(MODEL, "0" * 64, None)
    killed(served.platform.home, (Ledger, "committing"), deliver_otherwise)
    first, again = (examine(served.platform, repair=False) for _ in range(2))
    assert [f.state for f in first] == [f.state for f in again]
    broken = [f.what for f in again if f.state == "broken"]
    assert len(broken) == 3 and any("left as they are" in what for what in broken)
    assert states(examine(served.platform)) == {"ok", "repaired"}
    assert states(examine(served.platform)) == {"ok"}
    champion = promotions.champion(served.platform.ledger, MODEL)
    assert champion is not None
    assert served.platform.tracking.champion_digest(MODEL) == champion.model_digest


def test_a_kill_in_landing_loses_nothing(served: Library) -> None:
    served.advance()
    feed = served.feed("loans")

    def deliver(library: Library) -> None:
        land(library.platform, library.use_case, feed, [NEXT_WEEK], library.now)

    killed(served.platform.home, (Ledger, "committing"), deliver)
    after = open_library(served.platform.home)
    assert after.platform.ledger.head(landed_asset("loans"), NEXT_WEEK) is None
    assert any(f.state == "repaired" for f in examine(after.platform))
    deliver(after)
    report = acceptance.accept(after.platform, after.use_case, feed, after.now)
    assert [(p.partition, p.accepted) for p in report.partitions] == [(NEXT_WEEK, 90)]


def test_a_kill_in_acceptance_judges_the_delivery_again(served: Library) -> None:
    served.advance()
    feed = served.feed("loans")
    land(served.platform, served.use_case, feed, [NEXT_WEEK], served.now)
    killed(
        served.platform.home,
        (Ledger, "committing"),
        lambda run: acceptance.accept(run.platform, run.use_case, feed, run.now),
    )
    after = open_library(served.platform.home)
    examine(after.platform)
    report = acceptance.accept(after.platform, after.use_case, feed, after.now)
    assert [(p.partition, p.accepted, p.published) for p in report.partitions] == [(NEXT_WEEK, 90, True)]
    assert states(examine(after.platform)) == {"ok"}


@pytest.mark.parametrize("variable", ["ML_PLATFORM_CACHE", "ML_PLATFORM_MLFLOW_URI"])
def test_a_store_that_is_down_is_told_and_the_others_are_looked_at(served: Library, variable: str) -> None:
    (served.platform.home / "a file").touch()
    down = {
        "ML_PLATFORM_CACHE": "redis://127.0.0.1:9/0",
        "ML_PLATFORM_MLFLOW_URI": f"sqlite:///{served.platform.home / 'a file' / 'mlflow.db'}",
    }[variable]
    findings = examine(open_library(served.platform.home, **{variable: down}).platform)
    assert [f.state for f in findings if MODEL in f.what].count("broken") == 1
    assert [f.state for f in findings if MODEL in f.what].count("ok") == 1
