"""Features and labels against a plain calculation from the file's lines."""

import datetime as dt

import pandas as pd
import pytest

from ml_platform.config import UseCase
from ml_platform.features.dbt import compiled_views
from ml_platform.ingestion.reader import read_feed
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Outside, Platform

from .conftest import FIRST, LAST, Shop, monday

WEEK = "1997-02-03"


def days(frame: pd.DataFrame) -> pd.Series:
    return frame.groupby("customer_id")["day"].nunique().astype(float)


def test_features_are_what_the_lines_before_the_monday_say(shop: Shop, raw: pd.DataFrame) -> None:
    found = shop.rows("features", WEEK, monday(LAST))
    past = raw[raw["day"] < WEEK]
    by = past.groupby("customer_id")
    monday_ = pd.Timestamp(WEEK)
    first, last, count = by["day"].min(), by["day"].max(), days(past)
    expected = pd.DataFrame(
        {
            "recency_days": (monday_ - last).dt.days,
            "tenure_days": (monday_ - first).dt.days,
            "purchase_days": count,
            "purchase_days_91": days(past[past["day"] >= monday_ - pd.Timedelta(days=91)]),
            "active_share": (last - first).dt.days / (monday_ - first).dt.days,
            "mean_gap_days": ((last - first).dt.days / (count - 1)).where(count > 1),
            "mean_value_usd": by["value_usd"].sum() / count,
            "mean_cds": by["cds"].sum() / count,
            "total_value_usd": by["value_usd"].sum(),
        }
    ).astype(float)
    assert len(found) == len(expected) == 8445
    pd.testing.assert_frame_equal(
        found[list(expected)].sort_index(), expected.sort_index(), check_names=False, rtol=1e-9
    )
    assert found["acquired"].sort_index().tolist() == first.dt.strftime("%Y-%m").sort_index().tolist()


def test_a_feature_never_knows_its_own_week(shop: Shop) -> None:
    """As of the cutoff and as of months later the features are the same bytes."""
    then = shop.rows("features", WEEK, monday(WEEK))
    pd.testing.assert_frame_equal(then, shop.rows("features", WEEK, monday(LAST)))


def test_those_who_have_not_bought_yet_are_not_scored(shop: Shop, raw: pd.DataFrame) -> None:
    early = shop.rows("features", "1997-01-13", monday(LAST))
    assert set(early.index) == set(raw.loc[raw["day"] < "1997-01-13", "customer_id"])
    assert len(early) == 2764


def test_labels_are_true_at_once_and_false_only_when_the_window_is_over(
    shop: Shop, raw: pd.DataFrame
) -> None:
    begin = pd.Timestamp(WEEK)
    known = raw.loc[raw["day"] < begin, "customer_id"]
    window = raw[(raw["day"] >= begin) & (raw["day"] < begin + pd.Timedelta(days=90))]
    window = window[window["customer_id"].isin(known)]
    for weeks in (0, 1, 4, 8, 12):
        as_of = monday(WEEK) + dt.timedelta(weeks=weeks)
        found = shop.rows("labels", WEEK, as_of)
        told = window[window["day"] < pd.Timestamp(as_of.date())]
        assert set(found.index[found["bought"] == 1]) == set(told["customer_id"]), weeks
        assert not (found["bought"] == 0).any(), weeks
        assert found.loc[found["bought"].isna(), "label_known_at"].isna().all()
    found = shop.rows("labels", WEEK, monday(WEEK) + dt.timedelta(weeks=13))
    assert found["bought"].notna().all()
    assert found["bought"].mean() == pytest.approx(window["customer_id"].nunique() / 8445)


def test_a_label_is_known_when_the_feed_told_it(shop: Shop) -> None:
    found = shop.rows("labels", WEEK, monday(LAST))
    begin = pd.Timestamp(WEEK, tz="UTC")
    over = begin + pd.Timedelta(days=90, hours=4)
    assert found.loc[found["bought"] == 0, "label_known_at"].eq(over).all()
    bought = found[found["bought"] == 1]
    told = pd.to_datetime(bought["next_on"]).dt.tz_localize("UTC") + pd.Timedelta(days=1, hours=4)
    assert bought["label_known_at"].eq(told).all()
    assert bought["label_known_at"].between(begin, over).all()


def test_spend_is_the_sum_of_the_window_and_known_when_it_is_over(shop: Shop, raw: pd.DataFrame) -> None:
    begin = pd.Timestamp(WEEK)
    window = raw[(raw["day"] >= begin) & (raw["day"] < begin + pd.Timedelta(days=90))]
    early = shop.rows("labels", WEEK, monday(WEEK) + dt.timedelta(weeks=12))
    assert (early["bought"] == 1).any(), "who has bought is known to have"
    assert early["spend_usd"].isna().all() and early["spend_known_at"].isna().all()
    found = shop.rows("labels", WEEK, monday(WEEK) + dt.timedelta(weeks=13))
    truth = window.groupby("customer_id")["value_usd"].sum().reindex(found.index, fill_value=0.0)
    assert found["spend_usd"].to_numpy() == pytest.approx(truth.to_numpy(), abs=1e-6)
    over = pd.Timestamp(WEEK, tz="UTC") + pd.Timedelta(days=90, hours=4)
    assert found["spend_known_at"].eq(over).all()
    assert found.loc[found["bought"] == 0, "spend_usd"].eq(0).all()


def test_an_outage_of_the_feed_makes_no_negatives(
    use_case: UseCase, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The feed stops before a window ends: nobody has been told of its last day, so nobody is a negative."""

    def silent(use_case: UseCase, feed, partitions, as_of):  # type: ignore[no-untyped-def]
        return read_feed(use_case, feed, [p for p in partitions if p.key < "1997-04-28"], as_of)

    outside = Outside(use_cases={use_case.name: use_case}, feeds=silent)
    home = tmp_path_factory.mktemp("outage")
    shop = Shop(Platform({"ML_PLATFORM_HOME": str(home)}, outside), use_case)
    ingest(shop.platform, use_case, use_case.scheme.keys(FIRST, LAST), monday(LAST))
    found = shop.rows("labels", WEEK, monday(LAST))
    assert set(found["bought"].dropna()) == {1} and found["bought"].isna().mean() > 0.6
    assert found["spend_usd"].isna().all(), "no sum is known, of nobody"


def test_base_rates_are_those_of_the_readme(raw: pd.DataFrame) -> None:
    def rate(week: str) -> float:
        begin = pd.Timestamp(week)
        known = set(raw.loc[raw["day"] < begin, "customer_id"])
        later = raw[(raw["day"] >= begin) & (raw["day"] < begin + pd.Timedelta(days=90))]
        return len(known & set(later["customer_id"])) / len(known)

    assert [round(rate(w), 3) for w in ("1997-01-06", "1997-06-30", "1998-03-30")] == [0.289, 0.178, 0.141]


def test_every_feature_of_the_model_is_a_column_with_a_description(use_case: UseCase) -> None:
    views = compiled_views(use_case)
    for model in use_case.config.models:
        assert model.label.column in views.labels.columns
        for feature in model.features:
            assert feature.name in views.features.columns and feature.description and feature.feeds


def test_what_ages_with_the_customers_is_declared(use_case: UseCase) -> None:
    features = {f.name: f for f in use_case.config.models[0].features}
    for name in ("recency_days", "purchase_days", "total_value_usd", "active_share", "mean_gap_days"):
        assert features[name].runs_with_time, name
