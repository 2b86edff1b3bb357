"""History only grows: at each instant it shows what was visible then, however it was loaded."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_platform.errors import IntegrityError
from ml_platform.ingestion.history import FAR_FUTURE, MergeResult, as_of_view, gained_columns, merge, withdraw

START = datetime(2024, 1, 1, tzinfo=UTC)
LAG = timedelta(hours=1)
SCHEMA = pa.schema(
    [
        ("partition_key", pa.string()),
        ("id", pa.int64()),
        ("value", pa.float64()),
        ("note", pa.string()),
        ("known_at", pa.timestamp("us", "UTC")),
    ]
)


def hour(number: float) -> datetime:
    return START + timedelta(hours=number)


def delivery(*rows: tuple[Any, ...], partition: str = "2024-01-01") -> pa.Table:
    """Rows of (id, value, hour of known_at[, partition])."""
    found = [
        {
            "partition_key": (*r[3:], partition)[0],
            "id": r[0],
            "value": r[1],
            "note": "n",
            "known_at": hour(r[2]),
        }
        for r in rows
    ]
    return pa.Table.from_pylist(found, schema=SCHEMA)


def add(history: pa.Table | None, rows: pa.Table, clock: float, previous: float | None = None) -> MergeResult:
    before = {} if previous is None else dict.fromkeys(rows["partition_key"].to_pylist(), hour(previous))
    return merge(
        history, rows, key=["id"], payload=["value", "note"], lag=LAG, clock=hour(clock), previous=before
    )


def versions(table: pa.Table, number: int) -> list[tuple[Any, ...]]:
    names = ("revision", "value", "accepted_at", "visible_from", "visible_to")
    return [tuple(r[n] for n in names) for r in table.to_pylist() if r["id"] == number]


def test_a_first_load_is_accepted_when_it_would_have_come() -> None:
    result = add(None, delivery((1, 5.0, 0), (2, 6.0, 30)), clock=1000)
    assert result.backfilled == ("2024-01-01",)
    assert versions(result.table, 1) == [(1, 5.0, hour(1), hour(1), FAR_FUTURE)]
    assert versions(result.table, 2) == [(1, 6.0, hour(31), hour(31), FAR_FUTURE)]
    assert (result.new_rows, result.late_rows) == (2, 0)


def test_a_key_that_could_not_have_come_earlier_is_on_time() -> None:
    first = add(None, delivery((1, 5.0, 0)), clock=10)
    second = add(first.table, delivery((1, 5.0, 0), (2, 6.0, 9.5)), clock=20, previous=10)
    assert versions(second.table, 2) == [(1, 6.0, hour(10.5), hour(10.5), FAR_FUTURE)]
    assert (second.new_rows, second.unchanged_rows, second.late_rows) == (1, 1, 0)


def test_a_key_that_should_have_come_earlier_counts_from_the_clock() -> None:
    first = add(None, delivery((1, 5.0, 0)), clock=10)
    second = add(first.table, delivery((1, 5.0, 0), (2, 6.0, 9)), clock=20, previous=10)
    assert versions(second.table, 2) == [(1, 6.0, hour(20), hour(20), FAR_FUTURE)]
    assert second.late_rows == 1


def test_what_was_held_back_at_first_is_late_even_without_history() -> None:
    result = add(None, delivery((1, 5.0, 0), (2, 6.0, 11), (3, 7.0, 9)), clock=20, previous=10)
    assert versions(result.table, 1)[0][2] == hour(20)
    assert versions(result.table, 2)[0][2] == hour(12)
    assert versions(result.table, 3)[0][2] == hour(20), "it arrived at the very instant of the last delivery"
    assert (result.new_rows, result.late_rows, result.backfilled) == (3, 2, ())


def test_a_changed_payload_is_a_revision_from_the_clock() -> None:
    first = add(None, delivery((1, 5.0, 0)), clock=10)
    second = add(first.table, delivery((1, 7.0, 0)), clock=20, previous=10)
    third = add(second.table, delivery((1, 5.0, 0)), clock=30, previous=20)
    assert versions(third.table, 1) == [
        (1, 5.0, hour(1), hour(1), hour(20)),
        (2, 7.0, hour(20), hour(20), hour(30)),
        (3, 5.0, hour(30), hour(30), FAR_FUTURE),
    ]
    assert as_of_view(third.table, hour(25))["value"].to_pylist() == [7.0]


def test_the_same_again_changes_nothing_nulls_and_nan_included() -> None:
    rows = delivery((1, math.nan, 0), (2, None, 0), (3, 1.0, 0))
    first = add(None, rows, clock=10)
    again = add(first.table, rows, clock=20, previous=10)
    assert again.table.equals(first.table) or str(again.table.to_pylist()) == str(first.table.to_pylist())
    assert (again.unchanged_rows, again.touched) == (3, ())


def test_null_nan_and_zero_are_three_values() -> None:
    first = add(None, delivery((1, math.nan, 0), (2, None, 0), (3, 0.0, 0)), clock=10)
    second = add(first.table, delivery((1, None, 0), (2, 0.0, 0), (3, math.nan, 0)), clock=20, previous=10)
    assert second.changed_rows == 3


def test_a_row_with_a_known_at_after_the_clock_is_not_visible_before_it() -> None:
    first = add(None, delivery((1, 5.0, 0)), clock=10)
    second = add(first.table, delivery((1, 6.0, 25)), clock=20, previous=10)
    assert versions(second.table, 1)[1][3] == hour(25)
    assert as_of_view(second.table, hour(24))["value"].to_pylist() == [5.0]


def test_a_revision_that_is_visible_before_an_earlier_one_ends_all_before_it() -> None:
    first = add(None, delivery((1, 5.0, 0)), clock=10)
    early = add(first.table, delivery((1, 6.0, 40)), clock=20, previous=10)
    third = add(early.table, delivery((1, 7.0, 0)), clock=30, previous=20)
    assert [v[3:] for v in versions(third.table, 1)] == [
        (hour(1), hour(30)),
        (hour(40), hour(30)),
        (hour(30), FAR_FUTURE),
    ]
    assert as_of_view(third.table, hour(35))["value"].to_pylist() == [7.0]
    assert as_of_view(third.table, hour(45))["value"].to_pylist() == [7.0]


def test_a_withdrawn_row_is_not_seen_from_then_on_and_comes_back_when_it_is_accepted_again() -> None:
    first = add(None, delivery((1, 5.0, 0), (2, 6.0, 0), (1, 5.0, 0, "b")), clock=10).table
    refused = first.slice(0, 1).select(["partition_key", "id"])
    gone = withdraw(first, refused, key=["id"], clock=hour(20))
    later = add(gone, delivery((3, 7.0, 24)), clock=25, previous=10).table
    back = add(later, delivery((1, 5.0, 0)), clock=30, previous=25)

    def seen(at: float) -> list[tuple[str, int]]:
        rows = as_of_view(back.table, hour(at)).to_pylist()
        return [(r["partition_key"], r["id"]) for r in rows]

    assert gone.schema == first.schema
    assert seen(15) == [("2024-01-01", 1), ("2024-01-01", 2), ("b", 1)], "as it was seen then"
    assert seen(26) == [("2024-01-01", 2), ("2024-01-01", 3), ("b", 1)], "later deliveries keep it withdrawn"
    assert ("2024-01-01", 1) in seen(30) and back.changed_rows == 1
    assert [v[3:] for v in versions(back.table, 1)][:2] == [(hour(1), hour(20)), (hour(30), FAR_FUTURE)]


def test_partitions_are_apart_and_those_not_delivered_stay() -> None:
    first = add(None, delivery((1, 5.0, 0, "a"), (1, 6.0, 0, "b")), clock=10)
    second = add(first.table, delivery((1, 9.0, 0, "b")), clock=20, previous=10)
    assert second.touched == ("b",)
    current = as_of_view(second.table, hour(99))
    values = zip(current["partition_key"].to_pylist(), current["value"].to_pylist(), strict=True)
    assert list(values) == [("a", 5.0), ("b", 9.0)]


def add_sized(history: pa.Table, rows: pa.Table, *sizes: int | None) -> MergeResult:
    """A delivery with a column that is new, and without one that is gone."""
    payload = ["value", "size"]
    partitions = set(history["partition_key"].to_pylist())
    return merge(
        history,
        rows.drop_columns(["note"]).append_column("size", pa.array(sizes, pa.int64())),
        key=["id"],
        payload=payload,
        lag=LAG,
        clock=hour(20),
        previous=dict.fromkeys(partitions, hour(10)),
        gained=gained_columns(dict.fromkeys(partitions, history), payload),
    )


def test_a_new_column_of_a_row_that_stands_is_known_when_the_row_was() -> None:
    first = add(None, delivery((1, 5.0, 0), (2, 6.0, 0), (3, 7.0, 0)), clock=10).table
    second = add_sized(first, delivery((1, 5.0, 0), (2, 6.5, 0), (3, 7.0, 1)), 3, 4, 5)
    assert "note" not in second.table.column_names
    (row,) = (r for r in second.table.to_pylist() if r["id"] == 1)
    assert (row["size"], row["revision"], row["visible_from"]) == (3, 1, hour(1))
    told = {(r["id"], r["revision"]): r["size"] for r in second.table.to_pylist()}
    assert told == {(1, 1): 3, (2, 1): None, (2, 2): 4, (3, 1): None, (3, 2): 5}, (
        "a row that changed besides, or was known at another time, tells it from the clock on"
    )
    counts = second.by_partition["2024-01-01"]
    assert (counts.filled, counts.changed, counts.unchanged, counts.touched) == (1, 2, 1, True)
    assert second.filled_rows == 1


def test_a_column_is_gained_by_the_last_version_once_and_where_it_is_told() -> None:
    first = add(None, delivery((1, 5.0, 0), (2, 6.0, 0), (3, 6.0, 0, "2024-01-02")), clock=10).table
    revised = add(first, delivery((1, 8.0, 12)), clock=12, previous=10).table
    second = add_sized(revised, delivery((1, 8.0, 12), (2, 6.0, 0)), 3, None)
    told = {(r["id"], r["revision"]): r["size"] for r in second.table.to_pylist()}
    assert told == {(1, 1): None, (1, 2): 3, (2, 1): None, (3, 1): None}
    assert second.touched == ("2024-01-01",) and second.filled_rows == 1
    again = add_sized(second.table, delivery((1, 8.0, 12), (2, 6.0, 0)), 3, None)
    assert (again.filled_rows, again.changed_rows, again.touched) == (0, 0, ())
    assert again.table.equals(second.table)
    later = add_sized(second.table, delivery((1, 8.0, 12), (2, 6.0, 0)), 3, 4)
    assert (later.filled_rows, later.changed_rows) == (0, 1), "history has the column now: a change is one"


def test_a_withdrawn_row_gains_nothing() -> None:
    first = add(None, delivery((1, 5.0, 0), (2, 6.0, 0)), clock=10).table
    gone = withdraw(first, first.filter(pc.equal(first["id"], 1)), key=["id"], clock=hour(12))
    second = add_sized(gone, delivery((1, 5.0, 0), (2, 6.0, 0)), 3, 4)
    told = {(r["id"], r["revision"]): r["size"] for r in second.table.to_pylist()}
    assert told == {(1, 1): None, (1, 2): 3, (2, 1): 4}


def test_partitions_gain_what_each_of_them_lacks() -> None:
    one = add(None, delivery((1, 5.0, 0)), clock=10).table
    other = add(None, delivery((2, 6.0, 0, "2024-01-02")), clock=10).table
    other = other.append_column("size", pa.array([None], pa.int64()))
    assert gained_columns({"a": one, "b": other}, ["value", "size"]) == {"a": frozenset({"size"})}
    both = merge(
        pa.concat_tables([one, other], promote_options="default"),
        delivery((1, 5.0, 0), (2, 6.0, 0, "2024-01-02"))
        .drop_columns(["note"])
        .append_column("size", pa.array([3, 4])),
        key=["id"],
        payload=["value", "size"],
        lag=LAG,
        clock=hour(20),
        previous=dict.fromkeys(("2024-01-01", "2024-01-02"), hour(10)),
        gained={"2024-01-01": frozenset({"size"})},
    )
    assert (both.filled_rows, both.changed_rows) == (1, 1)


def test_types_and_order_are_fixed() -> None:
    result = add(None, delivery((2, 1.0, 0), (1, 1.0, 0), (1, 1.0, 0, "2023-12-31")), clock=10)
    assert result.table.schema.field("revision").type == pa.int32()
    assert {
        str(result.table.schema.field(n).type) for n in ("accepted_at", "visible_from", "visible_to")
    } == {"timestamp[us, tz=UTC]"}
    order = list(zip(result.table["partition_key"].to_pylist(), result.table["id"].to_pylist(), strict=True))
    assert order == sorted(order)
    later = add(result.table, delivery((0, 1.0, 11)), clock=20, previous=10)
    assert later.table.schema == result.table.schema


@pytest.mark.parametrize("rows", [delivery((1, 1.0, 0), (1, 2.0, 0)), delivery((None, 1.0, 0))])
def test_a_repeated_or_null_key_is_refused(rows: pa.Table) -> None:
    with pytest.raises(IntegrityError, match="cannot be merged"):
        add(None, rows, clock=10)


def test_history_of_another_shape_is_refused() -> None:
    first = add(None, delivery((1, 5.0, 0)), clock=10).table
    with pytest.raises(IntegrityError, match="no column id"):
        add(first.drop_columns(["id"]), delivery((1, 5.0, 0)), clock=20, previous=10)
    with pytest.raises(IntegrityError, match="does not fit"):
        text = first.set_column(1, "id", pa.array(["one"]))
        add(text, delivery((1, 5.0, 0)), clock=20, previous=10)


def facts_until(last: int) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Rows with distinct keys, known from hour 0 to ``last``."""
    values = st.sampled_from([1.0, 2.0, math.nan, None])
    row = st.tuples(st.integers(0, 6), values, st.integers(0, last))
    return st.lists(row, max_size=12, unique_by=lambda f: f[0])


facts = facts_until(40)


def known_by(rows: Sequence[tuple[Any, ...]], as_of: float) -> pa.Table:
    """What a source tells by an instant: rows whose known_at and lag have passed."""
    return delivery(*[r for r in rows if hour(r[2]) + LAG <= hour(as_of)])


@settings(max_examples=40, deadline=None)
@given(rows=facts, cuts=st.lists(st.integers(1, 50), min_size=1, max_size=3, unique=True))
def test_bulk_and_step_by_step_give_one_history(rows: list[tuple[Any, ...]], cuts: list[int]) -> None:
    bulk = add(None, known_by(rows, 60), clock=60).table
    history, before = None, None
    for clock in [*sorted(cuts), 60]:
        history = add(history, known_by(rows, clock), clock, before).table
        before = clock
    assert history is not None
    assert str(history.to_pylist()) == str(bulk.to_pylist())


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(facts_until(120), min_size=1, max_size=4), at=st.integers(0, 160))
def test_whatever_comes_each_key_shows_one_value_and_none_too_early(
    steps: list[list[tuple[Any, ...]]], at: int
) -> None:
    history, before = None, None
    for number, rows in enumerate(steps):
        clock = 50 + 20 * number
        history = add(history, delivery(*rows), clock, before).table
        before = clock
    assert history is not None
    shown = as_of_view(history, hour(at))
    keys = shown["id"].to_pylist()
    assert len(keys) == len(set(keys))
    assert all(r["known_at"] <= hour(at) and r["accepted_at"] <= hour(at) for r in shown.to_pylist())
    again = add(history, delivery(*steps[-1]), clock=500, previous=before)
    assert str(again.table.to_pylist()) == str(history.to_pylist())


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(facts, min_size=2, max_size=4))
def test_what_was_visible_once_stays_so(steps: list[list[tuple[Any, ...]]]) -> None:
    history = add(None, delivery(*steps[0]), clock=50).table
    for number, rows in enumerate(steps[1:], start=1):
        before = as_of_view(history, hour(49 + 20 * (number - 1))).to_pylist()
        late = add(history, delivery(*rows), clock=50 + 20 * number, previous=50 + 20 * (number - 1)).table
        shown = as_of_view(late, hour(49 + 20 * (number - 1))).to_pylist()
        names = ("id", "value", "revision")
        assert [[str(r[n]) for n in names] for r in shown] == [[str(r[n]) for n in names] for r in before]
        history = late


def test_rows_that_another_rule_dates_are_known_when_it_says() -> None:
    """As loaded at first: but what came at the clock stays so, and so does what a row had been before."""
    first = add(None, delivery((1, 1.0, 10), (2, 2.0, 10), (3, 3.0, 10)), clock=20).table
    late = add(first, delivery((4, 4.0, 10)), clock=30, previous=20).table
    corrected = add(late, delivery((3, 3.5, 10)), clock=40, previous=30).table

    told = delivery((1, 1.0, 2), (2, 2.5, 2), (3, 3.5, 2), (4, 4.0, 2), (5, 5.0, 2))
    result = merge(
        corrected,
        told,
        key=["id"],
        payload=["value", "note"],
        lag=LAG,
        clock=hour(50),
        previous={"2024-01-01": hour(40)},
        redated=["2024-01-01"],
    )

    assert versions(result.table, 1) == [(1, 1.0, hour(3), hour(3), FAR_FUTURE)]
    assert versions(result.table, 2) == [
        (1, 2.0, hour(11), hour(11), hour(50)),
        (2, 2.5, hour(50), hour(50), FAR_FUTURE),
    ], "a row that changed besides is dated for what it is now"
    assert versions(result.table, 3) == [
        (1, 3.0, hour(11), hour(11), hour(40)),
        (2, 3.5, hour(40), hour(40), FAR_FUTURE),
    ]
    assert versions(result.table, 4) == [(1, 4.0, hour(30), hour(30), FAR_FUTURE)], "late stays late"
    assert versions(result.table, 5) == [(1, 5.0, hour(3), hour(3), FAR_FUTURE)], "the old rule kept it back"
    assert result.by_partition["2024-01-01"].redated == 3
    same = add(corrected, told, clock=50, previous=40)
    assert versions(same.table, 1) == [(1, 1.0, hour(11), hour(11), FAR_FUTURE)], "the rule is the same"
