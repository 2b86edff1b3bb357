"""Right and wrong decisions in money, on matured labels only."""

import pyarrow.compute as pc
from library import MODEL, NAME, Library

from ml_platform.guard_config import DecisionValueConfig, ValueConfig
from ml_platform.lifecycle import sql
from ml_platform.lifecycle.guard.decisions import decision_worth
from ml_platform.lifecycle.platform import Target

AMOUNTS = DecisionValueConfig(right=1, false_alarm=2, missed=5)


def priced(library: Library, amounts: DecisionValueConfig | None) -> Target:
    return library.model(retraining={"value": ValueConfig(decisions=amounts)})


def grown(library: Library) -> None:
    """A month later: the labels of what was served are known."""
    library.advance(weeks=5)
    library.deliver("returns", library.weeks("2020-08-31", "2020-10-05"))
    library.build("labels", library.weeks("2020-08-31", "2020-09-07"))


def test_decisions_are_counted_on_matured_labels_and_priced(served: Library) -> None:
    grown(served)
    found = decision_worth(served.platform, priced(served, AMOUNTS), served.now)

    rows = sql.query(
        served.platform,
        f"select p.decision = 'probably late' as said, l.late as truth from {NAME}.late_return_predictions p "
        f"join {NAME}.labels l using (partition_key, branch, loan_no) where l.late is not null",
    )
    said = rows["said"].to_numpy(zero_copy_only=False)
    truth = pc.cast(rows["truth"], "bool").to_numpy(zero_copy_only=False)
    alarms, missed = int((said & ~truth).sum()), int((~said & truth).sum())
    assert rows.num_rows > 100 and alarms and missed
    right = rows.num_rows - alarms - missed
    assert (found.state, found.rows, found.right) == ("known", rows.num_rows, right)
    assert (found.false_alarms, found.missed) == (alarms, missed)
    assert found.worth == right - 2 * alarms - 5 * missed
    positives = int(truth.sum())
    assert found.constant == max(
        positives - 2 * (rows.num_rows - positives), rows.num_rows - positives - 5 * positives
    )
    assert found.added == found.worth - found.constant


def test_without_a_champion_nothing_can_be_known(fresh: Library) -> None:
    assert "promoted" in decision_worth(fresh.platform, priced(fresh, AMOUNTS), fresh.now).reason


def test_what_cannot_be_known_is_said(served: Library) -> None:
    young = decision_worth(served.platform, priced(served, AMOUNTS), served.now)
    assert (young.state, young.worth, young.added) == ("unknown", None, None)
    assert "mature" in young.reason
    assert "does not say" in decision_worth(served.platform, priced(served, None), served.now).reason
    assert young.model_key == MODEL


def test_words_that_have_changed_are_not_guessed(served: Library) -> None:
    grown(served)
    target = served.model(
        retraining={"value": ValueConfig(decisions=AMOUNTS)},
        serving={"decision": served.target.model.serving.decision.model_copy(update={"positive": "late!"})},
    )
    assert "words" in decision_worth(served.platform, target, served.now).reason
