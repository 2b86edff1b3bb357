"""Findings are read on their own scale."""

import ast
from pathlib import Path

import pytest

import ml_platform
from ml_platform.statistics import scales
from ml_platform.statistics.finding import Finding
from ml_platform.statistics.scales import counts_from, limit, multiple, strength, visible, why_passed

NO_SKILL = Finding("domain_auc", "all", "PASS", "", estimate=0.49, floor=0.1, minimal_detectable_effect=0.08)


def test_an_auc_of_no_skill_is_no_multiple_of_its_limit() -> None:
    assert limit("covariates", NO_SKILL) == pytest.approx(0.6)
    assert visible("covariates", NO_SKILL) == pytest.approx(0.58)
    assert multiple("covariates", NO_SKILL, 0.49) == pytest.approx(-0.1)
    assert strength("covariates", NO_SKILL) == pytest.approx(0.1)
    assert counts_from("covariates", NO_SKILL) == "0.6"


def test_the_limit_of_a_feature_s_auc_is_a_value_and_no_distance() -> None:
    leak = Finding("feature_auc", "x", "PASS", "", estimate=0.7, floor=0.9)
    assert multiple("leakage", leak, 0.7) == pytest.approx(0.5)


def test_a_least_that_is_needed_is_no_unit_and_the_scarcest_ranks_first() -> None:
    rows, rare = (
        Finding(n, "all", "UNDERPOWERED", "", estimate=v, floor=100.0)
        for n, v in (("rows", 90.0), ("a", 9.0))
    )
    assert multiple("volume", rows, 17_000.0) is None
    assert counts_from("volume", rows) == "below 100"
    assert strength("volume", rare) > strength("volume", rows)


def test_a_pass_beyond_its_limit_says_why() -> None:
    far = Finding("bias", "all", "PASS", "", estimate=0.08, low=-0.01, high=0.17, floor=0.05)
    assert "its interval holds 0" in why_passed("concept", far)
    chance = Finding("bias", "all", "PASS", "", estimate=0.08, low=0.01, high=0.15, floor=0.05, p_value=0.07)
    assert "more than chance" in why_passed("concept", chance) and "p 0.07" in why_passed("concept", chance)
    unit = Finding("unit", "feed.x", "PASS", "", estimate=0.4, floor=0.2)
    assert "another unit" in why_passed("units", unit)


def test_nothing_is_explained_where_nothing_is_beyond() -> None:
    better = Finding("loss_change", "all", "PASS", "", estimate=-0.3, low=-0.4, high=-0.2, floor=0.05)
    assert why_passed("harm", better) == ""
    assert why_passed("covariates", NO_SKILL) == ""
    failed = Finding("bias", "all", "FAIL", "", estimate=0.08, floor=0.05)
    assert why_passed("concept", failed) == ""


def test_each_statistic_of_a_monitor_has_a_unit() -> None:
    """Names that monitors write as literals or constants of their module."""
    lacking = {}
    for file in (Path(ml_platform.__file__).parent / "monitoring").glob("*.py"):
        tree = ast.parse(file.read_text())
        constants = {}
        for node in tree.body:
            if not isinstance(node, ast.Assign):
                continue
            (target,) = node.targets
            names = (
                target.elts
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                else [target]
            )
            both = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            values = node.value.elts if both else [node.value]
            constants |= {
                n.id: v.value
                for n, v in zip(names, values, strict=True)
                if isinstance(n, ast.Name) and isinstance(v, ast.Constant)
            }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                first = next((k.value for k in node.keywords if k.arg == "statistic"), None) or node.args[0]
                name = (
                    first.value
                    if isinstance(first, ast.Constant)
                    else constants.get(getattr(first, "id", ""))
                )
                if name is not None and name not in scales._SCALES:
                    lacking[file.name] = name
    assert lacking == {}
