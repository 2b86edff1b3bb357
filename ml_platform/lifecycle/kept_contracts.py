"""Each contract that judged anything, kept in the lake as it was written."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ml_platform.config import UseCase
from ml_platform.contracts.model import Contract
from ml_platform.contracts.parse import contract_path, load_contract
from ml_platform.lifecycle.platform import Platform
from ml_platform.storage.ledger import NewPublication


def contracts_asset(feed: str) -> str:
    """The ledger's name of a feed's contracts; a "partition" is a contract's digest."""
    return f"feed/{feed}/contract"


def contract_item(platform: Platform, use_case: UseCase, contract: Contract) -> NewPublication | None:
    """What keeps a contract's text; None when it is kept already."""
    asset = contracts_asset(contract.name)
    if platform.ledger.heads(asset, [contract.digest]):
        return None
    text = contract_path(use_case.contracts_dir, contract.name).read_bytes()
    return NewPublication(asset, contract.digest, platform.lake.put(text), 0)


def kept_contract(platform: Platform, feed: str, digest: str) -> Contract | None:
    """A contract as it was; None where it judged before texts were kept."""
    heads = platform.ledger.heads(contracts_asset(feed), [digest])
    if digest not in heads:
        return None
    with tempfile.TemporaryDirectory(prefix="ml-platform-contract-") as folder:
        path = Path(folder) / f"{feed}.yaml"
        path.write_bytes(platform.lake.get(heads[digest].digest))
        return load_contract(path)
