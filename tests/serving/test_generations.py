"""Generations: which comes next, and what may be dropped."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from ml_platform.errors import ConflictError, IntegrityError, NotReadyError
from ml_platform.serving.generations import (
    Generation,
    Segment,
    droppable,
    next_generation,
    parse_generation,
)

from .conftest import AS_OF, MODEL


def day(number: int, content: str = "a") -> Segment:
    return Segment(partition_key=f"2024-05-{number:02}", segment_id=f"{content}{number}", rows=3)


def made(*segments: Segment) -> Generation:
    return Generation.of(MODEL, "m" * 64, segments, AS_OF)


def after(current: Generation | None, *new: Segment, keep: int = 3) -> Generation:
    return next_generation(
        current, new, model_key=MODEL, model_digest="m" * 64, as_of=AS_OF, keep_segments=keep
    )


def test_a_new_day_is_served_and_the_oldest_leaves() -> None:
    generation = after(made(day(1), day(2), day(3)), day(4))
    assert [s.partition_key[-2:] for s in generation.segments] == ["02", "03", "04"]
    assert generation.served_partition == "2024-05-04"


def test_a_backfill_of_an_older_day_replaces_it_and_keeps_the_served_day() -> None:
    before = made(day(1), day(2), day(3))
    generation = after(before, day(2, "corrected"))
    assert generation.served_partition == before.served_partition
    assert [s.segment_id for s in generation.segments] == ["a1", "corrected2", "a3"]
    assert generation.id != before.id


def test_a_backfill_older_than_the_window_changes_nothing() -> None:
    before = made(day(3), day(4), day(5))
    assert after(before, day(1)) is before


def test_equal_content_is_one_generation_whenever_it_is_made() -> None:
    before = made(day(1), day(2))
    later = next_generation(
        before,
        [day(2)],
        model_key=MODEL,
        model_digest="m" * 64,
        as_of=AS_OF + timedelta(days=1),
        keep_segments=3,
    )
    assert later is before
    assert made(day(2), day(1)).id == before.id


def test_the_first_generation_needs_no_predecessor_but_a_segment() -> None:
    assert after(None, day(1)).rows == 3
    with pytest.raises(NotReadyError):
        after(None)


def test_another_models_generation_is_refused() -> None:
    foreign = Generation.of("parcels/lost", "m" * 64, [day(1)], AS_OF)
    with pytest.raises(ConflictError, match="belongs to parcels/lost"):
        after(foreign, day(2))


def test_a_manifest_survives_the_round_trip_and_an_altered_one_does_not() -> None:
    generation = made(day(1), day(2))
    raw = generation.to_json().encode()
    assert parse_generation(raw, "here") == generation
    for spoilt in (raw.replace(b'"a2"', b'"b2"'), raw.replace(b'"rows":3', b'"rows":4'), raw[:-1], b"{}"):
        with pytest.raises(IntegrityError, match="manifest is corrupt"):
            parse_generation(spoilt, "here")


def test_a_partition_cannot_be_listed_twice() -> None:
    with pytest.raises(ValidationError, match="unique"):
        made(day(1), day(1, "b"))


def test_segments_go_only_when_no_generation_of_any_model_lists_them() -> None:
    first, second = made(day(1), day(2)), made(day(2), day(3))
    foreign = Generation.of("parcels/lost", "m" * 64, [day(1)], AS_OF)
    assert droppable({MODEL: [first, second]}, MODEL, {second.id}) == ([first], ["a1"])
    stored = {MODEL: [first, second], "parcels/lost": [foreign]}
    assert droppable(stored, MODEL, {second.id}) == ([first], [])
