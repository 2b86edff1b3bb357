"""Each landed row is accepted, quarantined or held, and says why; good partitions go on."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_platform.contracts.accept import Acceptance, AcceptanceContext, PartitionAcceptance, check
from ml_platform.contracts.checks import unique
from ml_platform.contracts.model import Contract, Expectation, RowCheck, RuleResult, TableCheck
from ml_platform.contracts.parse import load_contract
from ml_platform.errors import ContractError

from .deliveries import CONTRACT_FILE, KNOWN, days, orders

DAY = "2024-05-01"
NAN = float("nan")
UNJUDGEABLE = Expectation("expect_column_values_to_be_between", {"column": "status", "min_value": 1})
HISTORICAL = ("row_count_same_weekday", "price_nulls_by_shop")


def judge(contract: Contract, *tables: pa.Table, **context: Any) -> Acceptance:
    delivery = pa.concat_tables(tables)
    context.setdefault("partitions", tuple(dict.fromkeys(delivery["partition_key"].to_pylist())))
    verdict = check(contract, delivery, AcceptanceContext(**context))
    assert_nothing_is_lost(verdict, delivery)
    return verdict


def assert_nothing_is_lost(verdict: Acceptance, delivery: pa.Table) -> None:
    assert verdict.landed_rows == delivery.num_rows
    assert verdict.landed_rows == verdict.accepted_rows + verdict.quarantined_rows + verdict.held_rows
    for one in verdict.partitions.values():
        assert one.landed_rows == one.accepted.num_rows + one.quarantined.num_rows + one.held.num_rows
        assert [r.rule for r in one.results] == [r.name for r in verdict.contract.rules]


def one(contract: Contract, table: pa.Table, **context: Any) -> PartitionAcceptance:
    return judge(contract, table, **context).partitions[DAY]


def result(verdict: PartitionAcceptance, rule: str) -> RuleResult:
    return next(r for r in verdict.results if r.rule == rule)


def broken(verdict: PartitionAcceptance) -> set[str]:
    return {r.rule for r in verdict.results if r.state == "FAIL"}


def test_good_rows_are_accepted_in_the_contracts_types(contract: Contract) -> None:
    table = orders(number=pa.array([1, 2, 3, 4], pa.int16()), price=pa.array(["1", "2", "3", "4"]))
    verdict = one(contract, table)
    assert not broken(verdict) and not verdict.is_held
    assert verdict.accepted.column_names == ["partition_key", *contract.column_names, "known_at"]
    assert verdict.accepted["price"].to_pylist() == [1.0, 2.0, 3.0, 4.0]
    assert verdict.accepted.schema.field("number").type == pa.int64()


def test_a_broken_row_keeps_rule_value_reason_and_all_it_had(contract: Contract) -> None:
    verdict = one(contract, orders(status=["paid", "lost", "paid", "open"], price=[1.0, -2.0, 3.0, NAN]))
    assert verdict.accepted["number"].to_pylist() == [1, 3, 4]
    (row,) = verdict.quarantined.to_pylist()
    assert (row["partition_key"], row["row"], row["known_at"]) == (DAY, 1, KNOWN)
    assert (row["rule"], row["column"], row["value"]) == ("status_enum", "status", '"lost"')
    assert row["reason"] == "must be one of paid, open"
    assert row["further_rules"] == ["price_sane", "discount_below_price"]
    assert json.loads(row["record"]) | {"status": "lost", "price": -2.0, "number": 2} == json.loads(
        row["record"]
    )
    assert result(verdict, "status_enum").failed_rows == 1


def test_a_rule_about_two_columns_keeps_both_values(contract: Contract) -> None:
    verdict = one(contract, orders(price=[10.0, 0.25, None, 10.0]))
    (row,) = verdict.quarantined.to_pylist()
    assert (row["rule"], json.loads(row["value"])) == (
        "discount_below_price",
        {"price": 0.25, "discount": 0.5},
    )


@pytest.mark.parametrize("value", [None, NAN])
def test_a_missing_or_nan_key_is_quarantined(contract: Contract, value: float | None) -> None:
    verdict = one(contract, orders(number=pa.array([1.0, value, 3.0, 4.0])))
    assert verdict.accepted["number"].to_pylist() == [1, 3, 4]
    assert verdict.quarantined["rule"].to_pylist() == ["number_required"]


def test_contradicting_duplicates_all_go_and_copies_leave_one(contract: Contract) -> None:
    table = orders(
        rows=6,
        shop=["n"] * 6,
        number=[1, 1, 2, 2, 2, 3],
        price=[10.0, 11.0, 5.0, 5.0, 5.0, 7.0],
    )
    verdict = one(contract, table)
    assert verdict.accepted.select(["number", "price"]).to_pylist() == [
        {"number": 2, "price": 5.0},
        {"number": 3, "price": 7.0},
    ]
    assert verdict.quarantined["row"].to_pylist() == [0, 1, 3, 4]
    assert set(verdict.quarantined["rule"].to_pylist()) == {"key_unique"}


def test_a_key_may_come_again_in_another_partition(contract: Contract) -> None:
    verdict = judge(contract, orders(), orders("2024-05-02"))
    assert verdict.quarantined_rows == 0


def test_large_numbers_beside_a_missing_one_are_not_taken_for_duplicates(contract: Contract) -> None:
    check_unique = RowCheck((unique(["number"]),))
    rules = [
        replace(r, check=check_unique, on_breach="quarantine", columns=("number",))
        if r.name == "price_mean"
        else r
        for r in contract.rules
    ]
    table = orders(shop=["n"] * 4, number=[2**60, 2**60 + 1, None, 1])
    verdict = one(replace(contract, rules=tuple(rules)), table)
    assert verdict.accepted["number"].to_pylist() == [2**60, 2**60 + 1, 1]


def test_a_missing_column_holds_everything_back(contract: Contract) -> None:
    verdict = one(contract, orders(price=None))
    assert verdict.held.num_rows == 4 and "price" not in verdict.held.column_names
    assert verdict.reasons == ("schema_columns: promised columns that were not delivered: price",)
    assert result(verdict, "price_sane").state == "UNKNOWN"
    assert result(verdict, "status_enum").state == "PASS"


def test_an_extra_column_is_told_and_dropped(contract: Contract) -> None:
    verdict = one(contract, orders(surprise=[1, 2, 3, 4]))
    assert (verdict.accepted.num_rows, "surprise" in verdict.accepted.column_names) == (4, False)
    found = result(verdict, "schema_extra_columns")
    assert (found.state, found.on_breach, found.observed) == ("FAIL", "warn", "surprise")


@pytest.mark.parametrize(
    "price", [pa.array([True] * 4), pa.array(["cheap", "dear", "dear", "3"]), pa.array([KNOWN] * 4)]
)
def test_a_retyped_column_holds_everything_back(contract: Contract, price: pa.Array) -> None:
    verdict = one(contract, orders(price=price))
    assert verdict.held.num_rows == 4
    assert verdict.reasons[0].startswith("schema_types: price was retyped")
    assert result(verdict, "schema_types").on_breach == "hold"


def test_single_values_of_another_type_are_quarantined(contract: Contract) -> None:
    verdict = one(contract, orders(number=pa.array(["1", "two", "3", "4"])))
    assert verdict.accepted["number"].to_pylist() == [1, 3, 4]
    (row,) = verdict.quarantined.to_pylist()
    assert (row["rule"], row["column"], row["value"]) == ("schema_types", "number", '"two"')
    assert row["further_rules"] == [], "an unreadable key is not also a missing one"


def test_one_partition_is_held_and_the_others_go_on(contract: Contract) -> None:
    dear = orders("2024-05-02", price=[900.0] * 4)
    verdict = judge(contract, orders(), dear, orders("2024-05-03"))
    assert verdict.held_partitions == ("2024-05-02",)
    assert verdict.partitions["2024-05-02"].reasons == ("price_mean: 900.0: mean must be at most 500",)
    assert (verdict.accepted_rows, verdict.held_rows) == (8, 4)


def test_a_held_partition_keeps_its_rows_as_delivered(contract: Contract) -> None:
    dear = orders(price=[900.0, 900.0, 900.0, -1.0], extra=[1, 2, 3, 4])
    verdict = one(contract, dear)
    assert verdict.held.equals(dear) and verdict.quarantined.num_rows == 0


@pytest.mark.parametrize(
    ("values", "state", "held"), [([0.1, 0.2, 3, 4], "PASS", False), ([1.5] * 4, "FAIL", True)]
)
def test_tolerance_is_a_share_of_rows(
    contract: Contract, values: list[float], state: str, held: bool
) -> None:
    verdict = one(contract, orders(discount=pa.array(values, pa.float64())))
    assert (result(verdict, "discount_range").state, verdict.is_held) == (state, held)


def test_a_warning_lets_everything_in(contract: Contract) -> None:
    verdict = one(contract, orders(price=pa.array([None, None, 3.0, 4.0])))
    found = result(verdict, "price_known")
    assert (found.state, found.observed, found.failed_rows, found.checked_rows) == ("FAIL", 50.0, 2, 4)
    assert verdict.accepted.num_rows == 4


def test_an_empty_delivery_is_judged_once_it_is_complete(contract: Contract) -> None:
    nothing = orders().slice(0, 0)
    early = judge(contract, nothing, partitions=(DAY,)).partitions[DAY]
    assert (early.state, early.is_held, early.landed_rows) == ("UNKNOWN", False, 0)
    late = judge(contract, nothing, partitions=(DAY,), complete=frozenset({DAY})).partitions[DAY]
    assert late.reasons == ("some_rows: 0 rows; must have more than 0 rows",)


def test_a_delivery_without_rows_or_columns_lacks_none(contract: Contract) -> None:
    verdict = one(contract, orders().slice(0, 0).select(["partition_key", "known_at"]), partitions=(DAY,))
    assert result(verdict, "schema_columns").state == "UNKNOWN"
    assert verdict.accepted.column_names == ["partition_key", *contract.column_names, "known_at"]


def test_too_few_rows_for_the_weekday_hold_and_are_counted_after_quarantine(contract: Contract) -> None:
    wednesdays = dict.fromkeys(["2024-04-03", "2024-04-10", "2024-04-17", "2024-04-24"], 8)
    context: dict[str, Any] = {"row_counts": wednesdays, "complete": frozenset({DAY})}
    assert not broken(one(contract, orders(rows=8), **context))
    warned = one(contract, orders(rows=8, status=["paid"] * 7 + ["lost"]), **context)
    assert result(warned, "row_count_same_weekday").state == "FAIL" and not warned.is_held
    held = one(contract, orders(rows=3), **context)
    assert held.reasons == ("row_count_same_weekday: 3 rows where this weekday has 8",)


def test_many_partitions_at_once_and_one_by_one_are_judged_alike(contract: Contract) -> None:
    keys = days(10, step=7)
    sizes = dict(zip(keys, [30, 30, 31, 30, 30, 12, 31, 30, 40, 30], strict=True))
    nulls = {keys[7]: 0.8, keys[9]: 0.9}
    tables = {
        k: orders(k, n, price=pa.array([None if i < n * nulls.get(k, 0) else 9.0 for i in range(n)]))
        for k, n in sizes.items()
    }
    bulk = judge(contract, *tables.values(), complete=frozenset(keys))
    counts: dict[str, int] = {}
    rates: dict[str, Any] = {}
    for key in keys:
        alone = judge(
            contract, tables[key], complete=frozenset({key}), row_counts=dict(counts), null_rates=dict(rates)
        ).partitions[key]
        assert alone.results == bulk.partitions[key].results
        assert alone.accepted.equals(bulk.partitions[key].accepted)
        if not alone.is_held:
            counts[key], rates[key] = alone.accepted.num_rows, alone.null_rates
    fails = {rule: [k for k, p in bulk.partitions.items() if rule in broken(p)] for rule in HISTORICAL}
    assert fails == {
        "row_count_same_weekday": [keys[5], keys[8]],
        "price_nulls_by_shop": [keys[7], keys[9]],
    }
    assert bulk.held_partitions == (keys[5],)


def test_a_partition_that_broke_a_null_rule_is_no_reference(contract: Contract) -> None:
    good = {k: {"price_nulls_by_shop": {"north": 0.0, "south": 0.0}} for k in days(4, "2024-04-01")}
    nulls = orders(rows=40, price=pa.array([None] * 20 + [1.0] * 20, pa.float64()))
    verdict = one(contract, nulls, null_rates=good)
    assert result(verdict, "price_nulls_by_shop").state == "FAIL" and verdict.null_rates == {}
    assert one(contract, orders(rows=40), null_rates=good).null_rates == {
        "price_nulls_by_shop": {"north": 0.0, "south": 0.0}
    }


@pytest.mark.parametrize(
    ("checked", "on_breach", "held"),
    [
        (RowCheck((UNJUDGEABLE,)), "quarantine", True),
        (RowCheck((UNJUDGEABLE,)), "warn", False),
        (TableCheck(replace(UNJUDGEABLE, name="expect_column_mean_to_be_between")), "hold", True),
    ],
)
def test_a_check_that_crashes_has_not_passed(
    contract: Contract, checked: Any, on_breach: Any, held: bool
) -> None:
    rules = [
        replace(r, check=checked, on_breach=on_breach, columns=("status",)) if r.name == "price_mean" else r
        for r in contract.rules
    ]
    verdict = one(replace(contract, rules=tuple(rules)), orders())
    found = result(verdict, "price_mean")
    assert (found.state, found.crashed, bool(found.reason)) == ("UNKNOWN", True, True)
    assert verdict.is_held == held


def test_rows_of_other_partitions_or_without_a_time_are_refused(contract: Contract) -> None:
    with pytest.raises(ContractError, match="2024-05-01"):
        check(contract, orders(), AcceptanceContext(("2024-05-02",)))
    for table in (orders(known_at=None), orders(known_at=pa.nulls(4, pa.timestamp("us", "UTC")))):
        with pytest.raises(ContractError, match="partition_key and known_at"):
            check(contract, table, AcceptanceContext((DAY,)))


cells = {
    "shop": st.sampled_from(["n", "s", None]),
    "number": st.sampled_from([1, 2, 3, None, 0]),
    "status": st.sampled_from(["paid", "lost", None]),
    "price": st.sampled_from([1.0, NAN, None, -1.0, 2000.0]),
    "partition_key": st.sampled_from([DAY, "2024-05-02"]),
}


@settings(max_examples=6, deadline=None)
@given(rows=st.lists(st.fixed_dictionaries(cells), max_size=12))
def test_whatever_is_delivered_nothing_is_lost_and_nothing_bad_gets_in(rows: list[dict[str, Any]]) -> None:
    contract = load_contract(CONTRACT_FILE)
    fixed = {"known_at": KNOWN, "ordered_at": datetime(2024, 5, 1, tzinfo=UTC), "discount": 0.0}
    table = pa.Table.from_pylist([r | fixed for r in rows], schema=orders().schema)
    verdict = judge(contract, table, partitions=(DAY, "2024-05-02"))
    accepted = verdict.accepted.to_pylist()
    keys = [(r["partition_key"], r["shop"], r["number"]) for r in accepted]
    assert len(keys) == len(set(keys)) and all(None not in k for k in keys)
    assert all(r["status"] == "paid" and not (r["price"] or 0) < 0 for r in accepted)
