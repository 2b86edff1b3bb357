"""Which nodes of a dbt manifest belong to a use case, found without dbt's selection engine.

``@dbt_assets`` asks that engine when it is composed. Loading it, with the graph library behind it, costs a
CPU-second in every process of Dagster, for what a walk through the manifest tells. Dagster has no public
way to pass a selection that is known already, so its private name is kept in this one module; a test holds
that both find the same nodes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dagster_dbt import asset_utils

_ENGINE = "select_unique_ids"


def selection(models: Iterable[str]) -> str:
    """Models and everything above them, as dbt's command line says it."""
    return " ".join(f"+{name}" for name in models)


def selected_nodes(manifest: Mapping[str, Any], models: Iterable[str]) -> frozenset[str]:
    """Unique ids of models, everything above them, and the tests on any of these."""
    wanted = set(models)
    nodes, parents = manifest["nodes"], manifest["parent_map"]
    found: set[str] = set()
    waiting = [uid for uid, n in nodes.items() if n["resource_type"] == "model" and n["name"] in wanted]
    while waiting:
        uid = waiting.pop()
        if uid not in found:
            found.add(uid)
            waiting += parents.get(uid, ())
    tests = {
        uid
        for uid, node in nodes.items()
        if node["resource_type"] == "test" and not found.isdisjoint(parents.get(uid, ()))
    }
    return frozenset(found | tests)


@contextlib.contextmanager
def known_selection(chosen: frozenset[str]) -> Iterator[None]:
    """Let ``@dbt_assets`` take these nodes instead of asking dbt's engine."""
    engine = getattr(asset_utils, _ENGINE)
    setattr(asset_utils, _ENGINE, lambda **_: chosen)
    try:
        yield
    finally:
        setattr(asset_utils, _ENGINE, engine)
