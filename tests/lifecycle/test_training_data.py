"""The windows, and the dataset version that the same inputs always give."""

import pytest
from library import MODEL, SERVED, Library, killed, open_library

from ml_platform.datasets import versions
from ml_platform.errors import NotFoundError, NotReadyError
from ml_platform.lifecycle import doctor, pointers, training_data
from ml_platform.storage.tables import Dataset


def build(library: Library, **changes: dict[str, int]) -> training_data.DatasetReport:
    return training_data.build(library.platform, library.model(**changes), library.now)


def manifest(library: Library, version: str) -> versions.Manifest:
    return versions.manifest_of(library.platform.lake, versions.find(library.platform.ledger, version))


def later(library: Library) -> None:
    """A week on, with the labels that have matured meanwhile."""
    library.platform.clock(library.use_case).set(library.use_case.cutoff(SERVED[1]))
    library.deliver("returns", [SERVED[0]])
    library.build("labels", ["2020-08-10"])


def test_the_gate_ends_at_the_last_mature_partition_and_training_before_it(trained: Library) -> None:
    found = training_data.windows(trained.target, trained.now)
    assert (found.train[0], found.train[-1], len(found.train)) == ("2020-02-10", "2020-06-08", 18)
    assert (found.gate[0], found.gate[-1], len(found.gate)) == ("2020-06-15", "2020-08-03", 8)


def test_the_same_inputs_give_the_same_version_without_a_rebuild(trained: Library) -> None:
    first = versions.versions(trained.platform.ledger, MODEL)
    objects = set(trained.platform.lake.digests())
    again = build(trained)
    assert again.new is False and [d.version for d in first] == [again.version]
    assert set(trained.platform.lake.digests()) == objects
    assert again.rows == 26 * 90 and 0.4 < again.outcomes["positives"] < 0.5


def test_a_later_version_shares_the_partitions_that_did_not_change(trained: Library) -> None:
    old = build(trained)
    later(trained)
    new = build(trained)
    change = versions.diff(manifest(trained, old.version), manifest(trained, new.version))
    assert new.new and new.version != old.version
    assert (change.added, change.removed) == (["2020-08-10"], ["2020-02-10"])
    assert change.changed == ["2020-06-15"], "it moved from the gate to training"
    assert change.shared == 24 and not change.code and not change.schema


def test_labels_built_before_they_were_mature_are_left_out_and_reported(trained: Library) -> None:
    trained.platform.clock(trained.use_case).set(trained.use_case.cutoff(SERVED[1]))
    report = build(trained)
    assert (
        list(report.left_out) == ["2020-08-10"] and "before they were mature" in report.left_out["2020-08-10"]
    )
    assert report.gate.last == "2020-08-03"


def test_too_few_partitions_are_refused_and_the_last_version_stays(trained: Library) -> None:
    before = pointers.current(trained.platform, trained.target, "training_dataset")
    with pytest.raises(NotReadyError, match="at least 60 and 4 are needed"):
        build(trained, windows={"train": 60, "minimum_train": 60})
    after = pointers.current(trained.platform, trained.target, "training_dataset")
    assert before is not None and after is not None and before.id == after.id


def test_without_any_features_it_says_what_to_do(fresh: Library) -> None:
    with pytest.raises(NotReadyError, match="no features are published"):
        build(fresh)


def test_a_feed_that_is_held_back_is_named_with_what_brings_it_in(fresh: Library) -> None:
    fresh.deliver("loans", fresh.weeks("2020-01-06", "2020-07-27"), rows={"2020-07-06": 20})
    with pytest.raises(NotReadyError, match="feed loans is held back in 1 of them") as caught:
        build(fresh)
    assert "`ml-platform quarantine list --feed loans` shows why" in caught.value.fix
    assert "`ml-platform quarantine replay loans`" in caught.value.fix


def test_a_feature_that_the_sql_lacks_is_named(trained: Library) -> None:
    features = trained.target.model.features
    wanted = (*features, features[0].model_copy(update={"name": "colour"}))
    target = type(trained.target)(
        trained.use_case, trained.target.model.model_copy(update={"features": wanted})
    )
    with pytest.raises(NotReadyError, match="the features lack colour"):
        training_data.build(trained.platform, target, trained.now)


def test_a_kill_before_the_version_is_published_leaves_the_last_one_in_force(trained: Library) -> None:
    before = build(trained).version
    later(trained)
    killed(trained.platform.home, (versions, "commit"), build)
    after = open_library(trained.platform.home)
    with after.platform.ledger.begin() as session:
        (half,) = [d for d in session.query(Dataset) if d.status == "requested"]
    assert [d.version for d in versions.versions(after.platform.ledger)] == [before]
    with pytest.raises(NotFoundError):
        versions.find(after.platform.ledger, half.version)
    at = pointers.current(after.platform, after.target, "training_dataset")
    assert at is not None and at.details["version"] == before
    repaired = [f.what for f in doctor.examine(after.platform) if f.state == "repaired"]
    assert any("1 unfinished" in what for what in repaired)
    again = build(after)
    assert again.new and again.version == half.version


def test_an_embargo_keeps_partitions_out_of_both(trained: Library) -> None:
    found = training_data.windows(trained.model(windows={"embargo": 3, "train": 10}), trained.now)
    assert (found.gate[0], found.gate[-1]) == ("2020-06-15", "2020-08-03")
    assert (found.train[0], found.train[-1], len(found.train)) == ("2020-03-16", "2020-05-18", 10)
