"""Records: what goes into a cache comes out again, and nothing else does."""

import dataclasses
import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ml_platform.errors import IntegrityError
from ml_platform.serving.records import decode, encode, encode_table, entity_key, segment_id

from .conftest import AS_OF, MODEL, WORDS, predictions, scoring

KEY = ["depot", "parcel"]
DAY = "2024-05-01"


def test_a_table_becomes_records_with_the_decision_in_words() -> None:
    items = encode_table(predictions(DAY), KEY, scoring(version=3))
    records = [decode(data, model_key=MODEL, key=key) for key, data in items]
    assert [key for key, _ in items] == [f"{DAY}/K7/{n}" for n in "123"]
    assert [r.probability for r in records] == [0.25, 0.5, 0.75]
    assert [r.positive for r in records] == [False, True, True]
    assert [r.decision for r in records] == [WORDS.negative, WORDS.positive, WORDS.positive]
    assert records[0].event_time == datetime(2024, 5, 1, 15, tzinfo=UTC)
    assert (records[0].cutoff, records[0].scored_at) == (datetime(2024, 5, 1, 2, tzinfo=UTC), AS_OF)
    assert records[0].model_version == 3


def test_one_record_and_a_table_have_one_encoding() -> None:
    key, data = encode_table(predictions(DAY), KEY, scoring())[0]
    record = decode(data, model_key=MODEL, key=key)
    assert decode(encode(record), model_key=MODEL, key=key) == record


def test_probabilities_keep_every_bit() -> None:
    odd = 0.1 + 0.2
    items = encode_table(predictions(DAY, ["1"], chance=odd), KEY, scoring())
    assert decode(items[0][1], model_key=MODEL, key=items[0][0]).probability == odd


@pytest.mark.parametrize("position", [0, 3, 8, 40, -2])
def test_a_flipped_bit_is_found_out(position: int) -> None:
    key, data = encode_table(predictions(DAY), KEY, scoring())[0]
    spoilt = bytearray(data)
    spoilt[position] ^= 1
    with pytest.raises(IntegrityError, match="doctor"):
        decode(bytes(spoilt), model_key=MODEL, key=key)


@pytest.mark.parametrize("data", [b"", b"x", b"00000000", b"00000000null"])
def test_foreign_bytes_are_found_out(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode(data, model_key=MODEL, key="k")


def test_a_record_of_another_layout_is_found_out() -> None:
    key, data = encode_table(predictions(DAY), KEY, scoring())[0]
    later = decode(data, model_key=MODEL, key=key).model_copy(update={"schema_version": 2})
    with pytest.raises(IntegrityError, match="layout"):
        decode(encode(later), model_key=MODEL, key=key)


@pytest.mark.parametrize("asked", [(MODEL, "another"), ("another/model", f"{DAY}/K7/1")])
def test_a_record_of_another_key_or_model_is_found_out(asked: tuple[str, str]) -> None:
    _, data = encode_table(predictions(DAY), KEY, scoring())[0]
    with pytest.raises(IntegrityError, match="is that of"):
        decode(data, model_key=asked[0], key=asked[1])


def test_key_values_with_slashes_do_not_collide() -> None:
    assert entity_key(DAY, ["a/b", "c"]) != entity_key(DAY, ["a", "b/c"])
    assert entity_key(DAY, ["a%2Fb"]) != entity_key(DAY, ["a/b"])


def _replaced(name: str, values: pa.Array) -> pa.Table:
    table = predictions(DAY)
    return table.set_column(table.schema.get_field_index(name), name, values)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (_replaced("probability", pa.array([0.1, float("nan"), 0.2])), "NaN"),
        (_replaced("probability", pa.array([0.1, 1.1, 0.2])), "outside"),
        (_replaced("probability", pa.array([0.1, None, 0.2])), "nulls in probability"),
        (_replaced("parcel", pa.array(["1", None, "2"])), "nulls in parcel"),
        (_replaced("parcel", pa.array(["1", "2", "1"])), f"the key '{DAY}/K7/1'"),
        (_replaced("cutoff", pc.cast(predictions(DAY)["cutoff"], pa.timestamp("us"))), "time zone"),
        (predictions(DAY).drop_columns(["event_time"]), "lack the column event_time"),
    ],
)
def test_predictions_that_cannot_be_served_are_refused(table: pa.Table, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        encode_table(table, KEY, scoring())


def test_an_empty_day_is_an_empty_segment() -> None:
    assert encode_table(predictions(DAY).slice(0, 0), KEY, scoring()) == []


def test_a_segments_id_covers_everything_that_its_bytes_depend_on() -> None:
    one = scoring()
    other_words = one.decision.model_copy(update={"positive": "late"})
    variants = [
        one,
        dataclasses.replace(one, model_version=2),
        dataclasses.replace(one, decision=other_words),
        dataclasses.replace(one, revision=2),
        dataclasses.replace(one, arm="b"),
    ]
    ids = {segment_id("d" * 64, by) for by in variants} | {segment_id("e" * 64, one)}
    assert len(ids) == len(variants) + 1
    assert segment_id("d" * 64, one) == segment_id("d" * 64, scoring())


def test_bytes_are_readable_json_after_the_checksum() -> None:
    _, data = encode_table(predictions(DAY), KEY, scoring())[0]
    assert json.loads(data[8:])["decision"] == WORDS.negative
