"""The contracts of a use case's feeds, read once per change."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ml_platform.config import UseCase
from ml_platform.contracts.model import Contract
from ml_platform.contracts.parse import contract_path, load_contract

# Importing Arrow costs .5 CPU-seconds, and describing a contract in a graph needs none of it.
if TYPE_CHECKING:
    import pyarrow as pa


def contract_of(use_case: UseCase, feed: str) -> Contract:
    """The contract of a feed.

    Raises:
        ContractError: There is none, or it is malformed.
    """
    path = contract_path(use_case.contracts_dir, feed)
    return _load(path, path.stat().st_mtime_ns)


def contract_digests(use_case: UseCase) -> dict[str, str]:
    """The digest of each feed's contract as it stands."""
    return {f.name: contract_of(use_case, f.name).digest for f in use_case.config.feeds}


def arrow_schema(contract: Contract) -> pa.Schema:
    """The contract's columns as Arrow fields, in order."""
    import pyarrow as pa

    from ml_platform.contracts.casting import ARROW_TYPES

    return pa.schema([pa.field(c.name, ARROW_TYPES[c.logical_type]) for c in contract.columns])


@lru_cache(maxsize=64)
def _load(path: Path, _changed: int) -> Contract:
    return load_contract(path)
