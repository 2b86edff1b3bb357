"""The client: what the ledger says counts, and errors help."""

from datetime import timedelta

import pytest

from ml_platform.errors import IntegrityError, NotFoundError, NotReadyError, StoreError
from ml_platform.serving.cache import ServingCache
from ml_platform.serving.client import PredictionClient
from ml_platform.serving.generations import Generation, Segment

from .conftest import AS_OF, MODEL, publish_days

ONE, TWO = "2024-05-01", "2024-05-02"


class Ledger:
    """What the command line passes as ``resolve``, with a switch to be down."""

    def __init__(self) -> None:
        self.generation: Generation | None = None
        self.down = False
        self.asked = 0

    def __call__(self, model_key: str) -> Generation | None:
        self.asked += 1
        if self.down:
            raise StoreError("the ledger is down", where="ledger", fix="start it")
        return self.generation if model_key == MODEL else None


def test_a_prediction_comes_with_its_model_and_generation(lmdb_cache: ServingCache) -> None:
    generation = publish_days(lmdb_cache, ONE, TWO, version=4)
    prediction = PredictionClient(lmdb_cache).get(MODEL, "K7/2")
    assert prediction.record.key == f"{TWO}/K7/2"
    assert prediction.record.model_version == 4
    assert prediction.generation == generation
    assert prediction.segment_id == generation.segments[1].segment_id
    assert prediction.age(AS_OF + timedelta(hours=3)) == timedelta(hours=3)


def test_many_keys_come_from_one_generation_with_the_missing_ones_named(lmdb_cache: ServingCache) -> None:
    generation = publish_days(lmdb_cache, ONE)
    answers = PredictionClient(lmdb_cache).get_many(MODEL, ["K7/1", "nobody", f"{ONE}/K7/3", "nobody"])
    assert list(answers.found) == ["K7/1", f"{ONE}/K7/3"]
    assert answers.missing == ("nobody",)
    assert answers.generation == generation


def test_a_missing_key_says_what_is_served_and_what_is_near(lmdb_cache: ServingCache) -> None:
    publish_days(lmdb_cache, ONE, TWO)
    client = PredictionClient(lmdb_cache)
    with pytest.raises(NotFoundError) as caught:
        client.get(MODEL, f"{TWO}/K7/0")
    assert "no prediction of 'K7/0'" in caught.value.what
    assert f"{ONE}, {TWO}" in caught.value.where
    assert f"{TWO}/K7/1" in caught.value.fix
    with pytest.raises(NotFoundError, match="no served partition") as caught:
        client.get(MODEL, "2024-06-30/K7/1")
    assert f"{TWO}/K7/1" in caught.value.fix


def test_the_ledger_decides_when_the_pointer_lags_behind(lmdb_cache: ServingCache) -> None:
    """A kill after the ledger's commit and before the cache's pointer moved."""
    ledger = Ledger()
    committed = publish_days(lmdb_cache, ONE, chance=0.5)
    pointed_at = publish_days(lmdb_cache, ONE, chance=0.0)
    ledger.generation = committed
    prediction = PredictionClient(lmdb_cache, ledger).get(MODEL, "K7/1")
    assert lmdb_cache.published(MODEL) == pointed_at
    assert (prediction.generation, prediction.record.probability) == (committed, 0.5)


def test_nothing_is_served_that_the_ledger_has_not_committed(lmdb_cache: ServingCache) -> None:
    publish_days(lmdb_cache, ONE)
    with pytest.raises(NotReadyError, match="no published generation"):
        PredictionClient(lmdb_cache, Ledger()).get(MODEL, "K7/1")


def test_a_generation_is_trusted_for_a_while_and_then_asked_for_again(lmdb_cache: ServingCache) -> None:
    ledger = Ledger()
    ledger.generation = publish_days(lmdb_cache, ONE, chance=0.0)
    patient = PredictionClient(lmdb_cache, ledger, refresh_seconds=3600)
    eager = PredictionClient(lmdb_cache, ledger, refresh_seconds=0)
    assert [c.get(MODEL, "K7/1").record.probability for c in (patient, eager, patient)] == [0.0, 0.0, 0.0]
    assert ledger.asked == 2
    ledger.generation = publish_days(lmdb_cache, ONE, chance=0.5)
    assert patient.get(MODEL, "K7/1").record.probability == 0.0
    assert eager.get(MODEL, "K7/1").record.probability == 0.5


def test_a_trusted_generation_that_was_pruned_is_replaced_at_once(lmdb_cache: ServingCache) -> None:
    client = PredictionClient(lmdb_cache, refresh_seconds=3600)
    publish_days(lmdb_cache, ONE, chance=0.0)
    client.get(MODEL, "K7/1")
    publish_days(lmdb_cache, ONE, chance=0.5)
    lmdb_cache.prune(MODEL, [])
    assert client.get(MODEL, "K7/1").record.probability == 0.5


def test_the_last_known_generation_is_served_while_the_ledger_is_down(lmdb_cache: ServingCache) -> None:
    ledger = Ledger()
    ledger.generation = publish_days(lmdb_cache, ONE)
    client = PredictionClient(lmdb_cache, ledger, refresh_seconds=0)
    client.get(MODEL, "K7/1")
    assert client.trouble(MODEL) is None
    ledger.down = True
    assert client.get(MODEL, "K7/1").generation == ledger.generation
    assert "the ledger is down" in (client.trouble(MODEL) or "")
    ledger.down = False
    client.get(MODEL, "K7/1")
    assert client.trouble(MODEL) is None


def test_a_ledger_that_is_down_from_the_start_is_an_error(lmdb_cache: ServingCache) -> None:
    publish_days(lmdb_cache, ONE)
    ledger = Ledger()
    ledger.down = True
    with pytest.raises(StoreError, match="ledger is down"):
        PredictionClient(lmdb_cache, ledger).get(MODEL, "K7/1")


def test_a_corrupt_prediction_is_never_answered(cache: ServingCache) -> None:
    cache.write_segment("s", [(f"{ONE}/K7/1", b'00000000{"probability":0.9}')])
    segment = Segment(partition_key=ONE, segment_id="s", rows=1)
    cache.publish(MODEL, Generation.of(MODEL, "m", [segment], AS_OF))
    with pytest.raises(IntegrityError, match="corrupt"):
        PredictionClient(cache).get(MODEL, "K7/1")


def test_a_segment_that_the_ledger_names_and_the_cache_lost_is_an_error(lmdb_cache: ServingCache) -> None:
    ledger = Ledger()
    ledger.generation = Generation.of(
        MODEL, "m", [Segment(partition_key=ONE, segment_id="lost", rows=3)], AS_OF
    )
    publish_days(lmdb_cache, ONE)
    with pytest.raises(IntegrityError, match="doctor"):
        PredictionClient(lmdb_cache, ledger).get(MODEL, "K7/1")
