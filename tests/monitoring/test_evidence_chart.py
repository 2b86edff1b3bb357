"""The picture of the evidence draws multiples of a limit, and only those."""

from ml_platform.monitoring.evidence_chart import evidence_chart
from ml_platform.statistics.finding import Finding


def drawn(*findings: tuple[str, Finding]) -> bytes:
    return evidence_chart("model", "a sentence", "PASS", findings)


def test_what_is_compared_with_a_least_is_left_out() -> None:
    rows = Finding("rows", "all", "PASS", "", estimate=17_000.0, floor=100.0)
    assert drawn(("volume", rows)) == drawn()
    share = Finding("null_rate", "all", "PASS", "", estimate=0.1, floor=0.05)
    assert drawn(("contract", share)) != drawn()
