"""Scoring uses the champion and the knowledge of each partition's cutoff, and keeps what was served."""

from datetime import timedelta

import pytest
from library import MODEL, NEXT_WEEK, SERVED, Library, open_library, second, slowed, spoil
from sqlalchemy import select, update

from ml_platform.config import UseCase
from ml_platform.errors import ConflictError, IntegrityError, NoChampionError, NotFoundError, NotReadyError
from ml_platform.lifecycle import promotion, scoring
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.platform import Target
from ml_platform.registry import promotions
from ml_platform.storage.parquet import read_table
from ml_platform.storage.tables import Promotion, Publication


def statuses(scored: list[scoring.Scored]) -> dict[str, str]:
    return {s.partition: s.status for s in scored}


def head(library: Library, week: str) -> Publication:
    return scoring.require_predictions(library.platform, library.target, week)


def test_without_a_champion_nothing_is_scored(trained: Library) -> None:
    with pytest.raises(NoChampionError, match="has no champion"):
        trained.score(SERVED[0])
    assert trained.platform.ledger.heads(predictions_asset(trained.target)) == {}


def test_a_prediction_keeps_the_features_as_served_and_where_it_came_from(served: Library) -> None:
    table = scoring.predictions(served.platform, served.target, [SERVED[0]])
    champion = promotions.champion(served.platform.ledger, MODEL)
    assert table is not None and champion is not None and table.num_rows == 90
    assert {*served.target.model.feature_names, "event_time", "loan_no"} <= set(table.column_names)
    row = table.slice(0, 1).to_pylist()[0]
    assert row["entity_key"] == f"{SERVED[0]}/harbour/{row['loan_no']}"
    assert row["cutoff"] == served.use_case.cutoff(SERVED[0]) and 0 < row["probability"] < 1
    assert (row["model_version"], row["model_digest"]) == ("1", champion.model_digest)
    assert (row["arm"], row["role"], row["scoring_revision"]) == ("main", "champion", 1)
    assert row["decision"] == ("probably late" if row["probability"] >= 0.4 else "probably on time")
    assert len(row["feature_code_version"]) == 64


def test_the_same_again_is_unchanged(served: Library) -> None:
    before = head(served, SERVED[0])
    (again,) = served.score(SERVED[0])
    assert (again.status, again.revision, again.model_version) == ("unchanged", 1, 1)
    assert head(served, SERVED[0]).id == before.id


def test_what_became_known_after_the_cutoff_changes_no_prediction(served: Library) -> None:
    before = head(served, SERVED[1]).digest
    late = {"edits": {"2020-07-06": {"returned": dict.fromkeys(range(60), served.now)}}}
    served.advance(2)
    report = served.deliver("returns", ["2020-07-06"], **late)
    assert sum(p.counts.changed for p in report.partitions if p.counts) == 60
    assert statuses(served.score(*SERVED)) == dict.fromkeys(SERVED, "unchanged")
    assert head(served, SERVED[1]).digest == before


def test_each_partition_is_scored_by_the_champion_of_its_own_cutoff(succeeded: Library) -> None:
    scored = succeeded.score(*SERVED, NEXT_WEEK)
    assert [(s.status, s.model_version) for s in scored] == [("unchanged", v) for v in (1, 1, 2)]


def test_partitions_before_the_first_champion_or_after_the_present_are_said_so(served: Library) -> None:
    scored = served.score("2020-08-24", SERVED[0], NEXT_WEEK)
    assert [s.status for s in scored] == ["no_champion", "unchanged", "not_reached"]


def test_on_the_wall_clock_the_first_champion_begins_with_the_newest_partition_it_cannot_have_seen(
    trained: Library, unchecked: None
) -> None:
    assert trained.promote().outcome == "promoted"
    config = trained.use_case.config
    wall = config.model_copy(update={"timeline": config.timeline.model_copy(update={"clock": "wall"})})
    live = Target(UseCase(wall, trained.use_case.folder), trained.target.model)
    weeks, now = trained.weeks("2020-08-03", "2020-09-07"), trained.now - timedelta(hours=1)
    assert live.use_case.cutoff("2020-08-24") < now < live.use_case.cutoff(SERVED[0]), "no cutoff since"
    assert live.use_case.last_mature(live.model, now) < "2020-08-17"

    def scored(target: Target) -> dict[str, str]:
        return statuses(scoring.score(trained.platform, target, weeks, now))

    assert set(scored(trained.target).values()) == {"no_champion", "not_reached"}, "a replay goes on to it"
    begun = scored(live)
    assert [k for k, status in begun.items() if status == "new"] == ["2020-08-24"]
    assert begun["2020-08-17"] == "no_champion" and begun[SERVED[0]] == "not_reached"
    again = scored(live)
    assert again["2020-08-24"] == "unchanged", "it stays with the champion that scored it"
    assert "new" not in again.values(), "once something is served, each waits for its own"


def test_a_partition_that_now_comes_out_otherwise_is_a_new_revision(served: Library) -> None:
    before = head(served, SERVED[0])
    target = served.model(
        serving={"decision": served.target.model.serving.decision.model_copy(update={"threshold": 0.9})}
    )
    (again,) = scoring.score(served.platform, target, [SERVED[0]], served.now)
    assert (again.status, again.revision) == ("new", 2) and again.summary["share_positive"] == 0
    table = read_table(served.platform.lake.get(head(served, SERVED[0]).digest))
    assert set(table["scoring_revision"].to_pylist()) == {2}
    assert set(table["decision"].to_pylist()) == {"probably on time"}
    assert served.platform.lake.exists(before.digest), "what was served before is evidence"
    with served.platform.ledger.begin() as session:
        kept = list(session.scalars(select(Publication.id).where(Publication.digest == before.digest)))
    assert kept == [before.id]
    back = served.score(SERVED[0])[0]
    assert (back.status, back.revision) == ("new", 3)


def test_a_partition_with_nothing_to_score_is_empty(served: Library) -> None:
    served.advance(2)
    assert served.deliver("loans", [NEXT_WEEK], rows={NEXT_WEEK: 9}).held == [NEXT_WEEK]
    assert statuses(served.score(NEXT_WEEK)) == {NEXT_WEEK: "empty"}
    with pytest.raises(NotReadyError, match="has no predictions"):
        head(served, NEXT_WEEK)


def test_a_spoilt_bundle_of_the_champion_stops_scoring_and_what_was_served_stays(served: Library) -> None:
    before, champion = head(served, SERVED[1]), promotions.champion(served.platform.ledger, MODEL)
    assert champion is not None
    spoil(served, champion.model_digest)
    with pytest.raises(IntegrityError, match="SHA-256"):
        served.score(*SERVED)
    assert head(served, SERVED[1]).id == before.id and served.platform.ledger.requested() == []


def test_a_champion_whose_bundle_is_no_bundle_or_missing_stops_scoring(served: Library) -> None:
    foreign = served.platform.lake.put(b"no bundle at all")
    with served.platform.ledger.begin() as session:
        session.execute(update(Promotion).values(model_digest=foreign))
    with pytest.raises(IntegrityError):
        served.score(SERVED[1])
    served.platform.lake.path(foreign).unlink()
    with pytest.raises(NotFoundError, match="not in the lake"):
        served.score(SERVED[1])


def test_of_two_runs_that_score_one_partition_one_wins(served: Library) -> None:
    served.advance()
    served.deliver_all([NEXT_WEEK])
    other = open_library(served.platform.home)
    run = slowed(served, lambda: other.score(NEXT_WEEK))
    with pytest.raises(ConflictError):
        run.score(NEXT_WEEK)
    assert head(served, NEXT_WEEK).rows == 90 and served.platform.ledger.requested() == []


def test_a_rollback_scores_again_on_the_features_as_served(succeeded: Library) -> None:
    first = promotions.history(succeeded.platform.ledger, MODEL)[-1]
    served = read_table(succeeded.platform.lake.get(head(succeeded, NEXT_WEEK).digest))
    prepared = scoring.prepare_again(succeeded.platform, second(succeeded), first, [NEXT_WEEK], succeeded.now)
    (item,) = prepared.items
    again = read_table(succeeded.platform.lake.get(item.digest))
    for name in ("entity_key", *succeeded.target.model.feature_names):
        assert again[name].equals(served[name])
    assert set(again["model_version"].to_pylist()) == {"1"} and item.details["revision"] == 2
    assert head(succeeded, NEXT_WEEK).details["model_version"] == 2, "requested is not published"


def test_what_a_rollback_has_scored_stays_when_its_partition_is_run_again(succeeded: Library) -> None:
    """The champion of the cutoff was rolled back: it must not come back with the next run."""
    cutoff = succeeded.use_case.cutoff(NEXT_WEEK)
    succeeded.platform.clock(succeeded.use_case).set(cutoff + timedelta(days=1))
    in_force = promotions.champion(succeeded.platform.ledger, MODEL, cutoff)
    assert in_force is not None and in_force.version == 2
    assert promotion.roll_back(succeeded.platform, succeeded.target, "ada", "complaints").rescored
    before = head(succeeded, NEXT_WEEK)
    assert before.details["model_version"] == 1
    (again,) = scoring.score(succeeded.platform, succeeded.target, [NEXT_WEEK], cutoff + timedelta(days=2))
    assert (again.status, again.model_version) == ("unchanged", 1)
    assert head(succeeded, NEXT_WEEK).id == before.id
