"""The contract of a made-up shop's orders."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ml_platform.contracts.model import Contract
from ml_platform.contracts.parse import load_contract

from .deliveries import CONTRACT_FILE


@pytest.fixture(scope="session")
def contract() -> Contract:
    return load_contract(CONTRACT_FILE)


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[str, str], Path]:
    """The contract's file with one piece of text replaced."""

    def edit(old: str, new: str) -> Path:
        text = CONTRACT_FILE.read_text(encoding="utf-8")
        assert old in text
        path = tmp_path / "orders.yaml"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return path

    return edit
