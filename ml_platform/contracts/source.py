"""A YAML file whose problems are reported together, each with its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from ml_platform.config_errors import dotted, known_keys, read_yaml, unknown_key
from ml_platform.errors import ContractError

Location = tuple[str | int, ...]
_EXAMPLE = "begin with 'kind: DataContract'; see data_contracts/README.md"


class Problem(Exception):
    """Something is wrong at a place below the part of the contract at hand.

    Args:
        what: What is wrong.
        place: Keys and indexes that lead from that part to the place.
    """

    def __init__(self, what: str, *place: str | int) -> None:
        super().__init__(what)
        self.what, self.place = what, place


def require_order(ends: Mapping[str, Any], *place: str | int) -> None:
    """No value lies between ends that are exchanged: each row would break the rule.

    Raises:
        Problem: ``min_value`` is more than ``max_value``.
    """
    low, high = ends.get("min_value"), ends.get("max_value")
    if low is not None and high is not None and low > high:
        raise Problem(f"no value is at least {low} and at most {high}; exchange them", *place)


class ContractSource:
    """The text of a contract, and the problems found in it so far.

    Args:
        path: The file.

    Raises:
        ContractError: The file cannot be read, or is not a YAML mapping.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[tuple[int, str]] = []
        self._file = read_yaml(path, "the contract", ContractError, _EXAMPLE)
        self.data: dict[str, Any] = self._file.data
        self._report_repeated_keys(self._file.node, ())

    def problem(self, location: Location, what: str) -> None:
        """Note a problem at a place in the file, for example ``("schema", 0, "name")``."""
        self.problems.append((self._file.line(location), f"{dotted(location)}: {what}"))

    def report_unknown_keys(
        self, written: Any, understood: Any, model: type[BaseModel], location: Location = ()
    ) -> None:
        """Note each key of ``written`` that did not survive parsing by ``model`` into ``understood``."""
        if isinstance(written, dict) and isinstance(understood, dict):
            for key, value in written.items():
                if key not in understood:
                    self.problem((*location, key), unknown_key(key, known_keys(model, location)))
                else:
                    self.report_unknown_keys(value, understood[key], model, (*location, key))
        elif isinstance(written, list) and isinstance(understood, list):
            for i, (one, other) in enumerate(zip(written, understood, strict=False)):
                self.report_unknown_keys(one, other, model, (*location, i))

    def raise_problems(self, fix: str) -> None:
        """Stop if there were problems.

        Raises:
            ContractError: Lists them all as ``file:line: place: what``.
        """
        if not self.problems:
            return
        lines: Sequence[str] = [f"{self.path}:{line}: {what}" for line, what in sorted(set(self.problems))]
        first = min(line for line, _ in self.problems)
        raise ContractError(
            f"{len(lines)} error(s) in the contract:\n    " + "\n    ".join(lines),
            where=f"{self.path}:{first}",
            fix=fix,
        )

    def _report_repeated_keys(self, node: yaml.Node | None, location: Location) -> None:
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen:
                    self.problem((*location, key.value), "this key stands here twice")
                seen.add(key.value)
                self._report_repeated_keys(value, (*location, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                self._report_repeated_keys(value, (*location, i))
