"""A contract says all that is enforced; whatever it says and is not enforced is an error with its line."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ml_platform.contracts.model import Contract, RowCheck, SameWeekdayCheck, SegmentNullRateCheck
from ml_platform.contracts.parse import contract_path, load_contract
from ml_platform.errors import ContractError

Edit = Callable[[str, str], Path]


def test_columns_key_and_description_are_read(contract: Contract) -> None:
    assert (contract.name, contract.version, contract.owner) == ("orders", "1.2.0", "shop")
    assert contract.description == "Orders of a made-up shop."
    assert contract.key == ["shop", "number"]
    assert contract.payload == ["status", "ordered_at", "price", "discount"]
    assert contract.column("shop").required, "key columns are required without saying so"
    assert contract.column("shop").classification == "public"
    assert contract.column("status").enum == ("paid", "open")


def test_service_levels_are_durations_or_text(contract: Contract) -> None:
    assert (contract.latency, contract.freshness) == (timedelta(hours=2), timedelta(days=3))
    assert [s.property for s in contract.service_levels] == ["latency", "freshness", "retention"]


def test_every_promise_is_a_rule_that_says_what_a_breach_does(contract: Contract) -> None:
    assert {r.name: r.on_breach for r in contract.rules} == {
        "schema_columns": "hold",
        "schema_extra_columns": "warn",
        "schema_types": "quarantine",
        "key_unique": "quarantine",
        "shop_required": "quarantine",
        "number_required": "quarantine",
        "number_range": "quarantine",
        "status_required": "quarantine",
        "status_enum": "quarantine",
        "ordered_at_range": "quarantine",
        "price_known": "warn",
        "price_sane": "quarantine",
        "price_mean": "hold",
        "discount_range": "hold",
        "discount_below_price": "quarantine",
        "some_rows": "hold",
        "row_count_same_weekday": "warn",
        "price_nulls_by_shop": "warn",
    }


def test_values_take_the_type_of_their_column(contract: Contract) -> None:
    check = contract.rule("ordered_at_range").check
    assert isinstance(check, RowCheck)
    assert check.expectations[0].kwargs["min_value"] == datetime(2024, 1, 1, tzinfo=UTC)


def test_our_own_rules_keep_their_thresholds(contract: Contract) -> None:
    assert contract.rule("row_count_same_weekday").check == SameWeekdayCheck(0.10, 4, 0.5)
    assert contract.rule("price_nulls_by_shop").check == SegmentNullRateCheck(
        "price", "shop", 10, 0.05, 0.005
    )


def test_a_requirement_is_a_sentence(contract: Contract) -> None:
    assert contract.rule("price_sane").requirement == "must be at least 0 and at most 1000"
    assert contract.rule("discount_below_price").requirement == "price must be at least discount"
    assert contract.rule("discount_range").requirement.endswith("at most 50 percent may break it")


def test_the_digest_is_of_the_content(contract: Contract, edited: Edit) -> None:
    assert load_contract(edited("kind:", "# a comment\nkind:")).digest == contract.digest
    assert load_contract(edited("max_value: 1000", "max_value: 1001")).digest != contract.digest


def test_a_property_may_say_what_a_breach_of_its_own_rules_does(edited: Edit) -> None:
    custom = "customProperties: [{property: onBreach, value: warn}]"
    path = edited("        required: true\n", f"        required: true\n        {custom}\n")
    assert load_contract(path).rule("status_enum").on_breach == "warn"


@pytest.mark.parametrize(
    ("metric", "arguments", "expectations"),
    [
        ("nullValues", "{}", ["expect_column_values_to_not_be_null"]),
        ("duplicateValues", "{}", ["expect_compound_columns_to_be_unique"]),
        ("missingValues", "{missingValues: [-1]}", ["expect_column_values_to_not_be_in_set"]),
        (
            "missingValues",
            "{missingValues: [null, -1]}",
            ["expect_column_values_to_not_be_null", "expect_column_values_to_not_be_in_set"],
        ),
        ("invalidValues", "{validValues: [1, 2]}", ["expect_column_values_to_be_in_set"]),
    ],
)
def test_library_metrics_become_expectations(
    edited: Edit, metric: str, arguments: str, expectations: list[str]
) -> None:
    path = edited("metric: nullValues", f"metric: {metric}\n            arguments: {arguments}")
    check = load_contract(path).rule("price_known").check
    assert isinstance(check, RowCheck)
    assert [e.name for e in check.expectations] == expectations


@pytest.mark.parametrize(
    ("old", "new", "line", "why"),
    [
        ("status: active", "statsu: active", "statsu: active", "did you mean 'status'?"),
        ("logicalType: string", "logicalTyp: string", "- name: shop", "is none of string, integer"),
        ("logicalType: string", "logicalTyp: string", "logicalTyp: string", "did you mean 'logicalType'?"),
        ("unit: percent", "unit: percent\n            mustbe: 3", "mustbe: 3", "did you mean 'mustBe'?"),
        ("  name: shop", "  nam: shop", "nam: shop", "did you mean 'name'?"),
        ("- value: paid", "- valu: paid", "- valu: paid", "did you mean 'value'?"),
        ("version: 1.2.0", "version: 1.2.0\nversion: 1.3.0", "version: 1.3.0", "stands here twice"),
        ("kind: DataContract", "kind: Data", "kind: Data", "must be DataContract"),
        ("apiVersion: v3.1.0", "apiVersion: v2.2.2", "apiVersion: v2.2.2", "must be v3"),
        ("id: orders", "name: orders", "kind: DataContract", "id: is required"),
        ("- name: orders", "- name: order", "- name: order", "must be the file's name, 'orders'"),
        ("name: status", "name: revision", "- name: revision", "column of the platform's own"),
        ("name: status", "name: Status", "- name: Status", "lower-case"),
        ("name: status", "name: price", "properties:", "2 properties are named 'price'"),
        ("logicalType: integer", "logicalType: int", "logicalType: int", "is none of string, integer"),
        ("logicalType: integer", "logicalType: int", "logicalType: int", "'int'; did you mean 'integer'?"),
        ("logicalType: integer", "title: none", "- name: number", "found nothing"),
        ("required: true", "required: maybe", "required: maybe", "true or false is expected, found the text"),
        ("version: 1.2.0", "version: 1.2", "version: 1.2", "found the number 1.2; write it in quotes"),
        ("Position: 2", "Position: 1", "primaryKeyPosition: 1", "positions 1 to 2"),
        ("minimum: 1", "minimun: 1", "minimun: 1", "is not enforced for integer"),
        (
            "minimum: 1",
            "minimum: 1\n          maximum: 0",
            "maximum: 0",
            "at least 1 and at most 0",
        ),
        ("minimum: 1", "minimum: one", "minimum: one", "'one' is no whole number"),
        ("value: paid", "value: no", "- value: no", "write it in quotes"),
        ("00:00:00Z", "00:00:00", "minimum: 2024-01-01T00:00:00", "no UTC offset"),
        ("unit: h", "unit: y", "- property: latency", "unit 'y'"),
        ("value: 2\n", "value: soon\n", "- property: latency", "'soon' is no number"),
        ("metric: nullValues", "metric: nullValue", "metric: nullValue", "is none of nullValues"),
        ("            mustBeLessThan: 50\n", "", "metric: nullValues", "exactly one limit"),
        ("unit: percent", "unit: percent\n            mustBe: 1", "metric: nullValues", "exactly one limit"),
        ("unit: percent", "unit: share", "unit: share", "neither rows nor percent"),
        ("dimension: completeness", "dimension: full", "dimension: full", "is none of accuracy"),
        ("            severity: warning\n", "", "- name: price_known", "needs a severity"),
        ("value: warn", "value: ignore", "customProperties:", "onBreach, one of quarantine"),
        ("onBreach", "onBraech", "- property: onBraech", "is none of onBreach, tolerance"),
        ("greatExpectations", "soda", "engine: soda", "is none of greatExpectations"),
        (
            "expect_column_values_to_be_between",
            "expect_column_values_to_be",
            "expectation: expect_column_values_to_be",
            "is none of: expect_",
        ),
        ("min_value: 0", "minimum: 0", "minimum: 0", "unknown key (known: "),
        (
            "                min_value: 0\n                max_value: 1000",
            "                strict_min: true",
            "kwargs:",
            "needs min_value or max_value",
        ),
        ("max_value: 1000", "max_value: much", "max_value: much", "'much' is no number"),
        ("value: 0.5", "value: 50", "customProperties:", "share from 0 to 1"),
        ("column_A: price", "column_A: prize", "column_A: prize", "no column 'prize'"),
        ("GreaterThan: 0", "GreaterThan: none", "mustBeGreaterThan: none", "a whole number"),
        ("same_weekday_row_count", "same_day", "rule: same_day", "is none of same_weekday"),
        ("warn_deviation", "warn_devaition", "warn_devaition: 0.10", "unknown key"),
        ("hold_below: 0.5", "hold_below: half", "hold_below: half", "number of at least 0"),
        ("by: shop", "by: store", "by: store", "no column 'store'"),
        ("name: some_rows", "name: price_sane", "- name: orders", "2 rules are named 'price_sane'"),
        ("type: custom", "type: sql", "type: sql", "use library, custom or text"),
    ],
)
def test_an_error_names_line_and_reason(edited: Edit, old: str, new: str, line: str, why: str) -> None:
    path = edited(old, new)
    with pytest.raises(ContractError) as caught:
        load_contract(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    told = [text.strip().removeprefix(f"{path}:") for text in caught.value.what.splitlines()[1:]]
    found = [(lines[int(number) - 1].strip(), what) for number, what in (t.split(":", 1) for t in told)]
    assert any(at == line and why in what for at, what in found), found
    assert caught.value.where.startswith(f"{path}:") and caught.value.fix


def test_a_rule_about_the_table_cannot_quarantine(edited: Edit) -> None:
    path = edited("value: hold\n      - name: discount\n", "value: quarantine\n      - name: discount\n")
    with pytest.raises(ContractError, match="can hold or warn, not quarantine"):
        load_contract(path)


def test_all_errors_are_told_at_once(edited: Edit) -> None:
    with pytest.raises(ContractError, match="2 error"):
        load_contract(edited("kind: DataContract\napiVersion: v3.1.0", "kind: Data\napiVersion: v2.2.2"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"- a list", "holds a list"),
        (b"kind: [", "not YAML"),
        (b"kind: 2024-02-31", "a date or time cannot be"),
        ("name: café".encode("latin-1"), "cannot read"),
    ],
)
def test_a_file_that_is_no_contract_says_so(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "orders.yaml"
    path.write_bytes(content)
    with pytest.raises(ContractError, match=why):
        load_contract(path)


def test_a_feed_has_one_contract(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no contract"):
        contract_path(tmp_path, "orders")
    (tmp_path / "orders.odcs.yaml").touch()
    assert contract_path(tmp_path, "orders").name == "orders.odcs.yaml"
    (tmp_path / "orders.yaml").touch()
    with pytest.raises(ContractError, match="two contracts"):
        contract_path(tmp_path, "orders")
