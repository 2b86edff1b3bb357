"""The description of the dialect shows contracts that the platform reads."""

import re
from pathlib import Path
from textwrap import indent

import pytest

from ml_platform.config import project_root
from ml_platform.contracts.parse import load_contract

README = (project_root() / "data_contracts" / "README.md").read_text(encoding="utf-8")
EXAMPLE, *ENTRIES = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
ENTRY = """
      - name: shown
        dimension: accuracy
        severity: error
        customProperties: [{property: onBreach, value: hold}]
"""


def test_the_example_is_a_contract(tmp_path: Path) -> None:
    path = tmp_path / "orders.yaml"
    path.write_text(EXAMPLE, encoding="utf-8")
    assert "price_known" in [r.name for r in load_contract(path).rules]


@pytest.mark.parametrize("entry", ENTRIES)
def test_each_quality_entry_shown_is_understood(tmp_path: Path, entry: str) -> None:
    entry = entry.replace("by: shop", "by: status").replace("kwargs: {", "kwargs: {column: price, ")
    path = tmp_path / "orders.yaml"
    path.write_text(EXAMPLE + "    quality:" + ENTRY + indent(entry, " " * 8), encoding="utf-8")
    assert load_contract(path).rule("shown").on_breach == "hold"
