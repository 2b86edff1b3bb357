"""Answers in words."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ml_platform.serving.answers import EXAMPLE, PredictionAnswer, answer, in_words, sentence
from ml_platform.serving.cache import ServingCache
from ml_platform.serving.client import PredictionClient

from .conftest import AS_OF, MODEL, publish_days

ONE = "2024-05-01"


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(0), "0 seconds"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=119), "1 minute"),
        (timedelta(hours=23, minutes=59), "23 hours"),
        (timedelta(days=12), "12 days"),
        (timedelta(hours=-2), "-2 hours"),
    ],
)
def test_ages_read_like_a_person_would_say_them(age: timedelta, words: str) -> None:
    assert in_words(age) == words


def test_an_answer_says_all_that_matters_in_one_sentence(lmdb_cache: ServingCache) -> None:
    publish_days(lmdb_cache, ONE, chance=0.731, version=3)
    prediction = PredictionClient(lmdb_cache).get(MODEL, "K7/1")
    told = answer(prediction, AS_OF + timedelta(hours=14, minutes=20))
    assert (
        told.text == f"{ONE}/K7/1: will be late (73.1 % probable), says model version 3, scored 14 hours ago."
    )
    assert (told.age_seconds, told.age) == (14 * 3600 + 20 * 60, "14 hours")
    assert told.generation.id == prediction.generation.id


def test_what_was_scored_this_very_second_is_just_now(lmdb_cache: ServingCache) -> None:
    publish_days(lmdb_cache, ONE)
    prediction = PredictionClient(lmdb_cache).get(MODEL, "K7/1")
    assert sentence(prediction, AS_OF).endswith(", scored just now.")
    assert sentence(prediction, AS_OF + timedelta(seconds=1)).endswith(", scored 1 second ago.")
    assert sentence(prediction, AS_OF - timedelta(hours=1)).endswith(", scored 1 hour ahead of the clock.")


def test_a_negative_decision_gives_the_probability_of_the_positive_outcome_unmistakably(
    lmdb_cache: ServingCache,
) -> None:
    publish_days(lmdb_cache, ONE, chance=0.1)
    told = answer(PredictionClient(lmdb_cache).get(MODEL, "K7/1"), AS_OF)
    assert not told.positive
    assert "will be on time" in told.text
    assert "(90.0 % probable)" in told.text


@pytest.mark.parametrize(
    ("probability", "threshold", "said"),
    [
        (0.119, 0.1, "only 11.9 % probable, but said from 10 % on"),
        (0.7, 0.8, "only 30.0 % probable, but said from 20 % on"),
        (0.5, 0.5, "50.0 % probable"),
        (0.05, 0.1, "95.0 % probable"),
    ],
)
def test_the_less_probable_outcome_is_said_with_its_threshold(
    lmdb_cache: ServingCache, probability: float, threshold: float, said: str
) -> None:
    publish_days(lmdb_cache, ONE)
    prediction = PredictionClient(lmdb_cache).get(MODEL, "K7/1")
    facts = {"probability": probability, "threshold": threshold, "positive": probability >= threshold}
    changed = replace(prediction, record=prediction.record.model_copy(update=facts))
    assert f"({said}), says" in sentence(changed, AS_OF)


def test_a_clock_that_was_set_back_is_told(lmdb_cache: ServingCache) -> None:
    publish_days(lmdb_cache, ONE)
    told = answer(PredictionClient(lmdb_cache).get(MODEL, "K7/1"), AS_OF - timedelta(days=2))
    assert "2 days ahead of the clock" in told.text
    assert told.age == "-2 days"


def test_the_documented_example_is_a_valid_answer() -> None:
    assert PredictionAnswer.model_validate(EXAMPLE).model_dump(mode="json", exclude_none=True) == EXAMPLE


def test_a_number_is_not_said_twice(lmdb_cache: ServingCache) -> None:
    publish_days(lmdb_cache, ONE)
    prediction = PredictionClient(lmdb_cache).get(MODEL, "K7/1")
    facts = {"kind": "regression", "prediction": 19.07, "low": 16.49, "high": 22.8, "unit": "kg"}
    said = {}
    for decision in ("about 19.07 kg", "a usual week"):
        changed = prediction.record.model_copy(update={**facts, "decision": decision})
        said[decision] = sentence(replace(prediction, record=changed), AS_OF)
    assert "about 19.07 kg (in four cases of five between 16.49 and 22.8)" in said["about 19.07 kg"]
    assert "a usual week (19.07 kg, in four cases of five" in said["a usual week"]
